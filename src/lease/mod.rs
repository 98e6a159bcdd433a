//! Which replica leads: a Lease in Kubernetes, as client-go's leader election keeps it.
//!
//! ```text
//!   Elector ──get, create, replace(resourceVersion)──▶ Lease
//!      │ every read ▶ Election (pure) ▶ create, replace or wait
//!      └──"until when"──▶ session::Leadership ──a Permit per attach──▶ session::Pool
//! ```
//!
//! A Lease is no fence: a paused leader does not know that its time is over. So it only decides who may
//! attach; whose writes take effect is decided by the fence in ZooKeeper.

mod election;
mod elector;

pub use election::{Election, Move, Timing};
pub use elector::{Elector, LeaseError};
