//! The sessions that hold our ephemerals.
//!
//! ```text
//!   CredentialStore ──ids, passwords──▶ Pool ──one keeper task per session──▶ zk-client ──▶ ensemble
//!   Leadership ──a Permit per attach──────┘  │
//!   apply ──write(session, ops)──────────────┘  every write begins with check(fence)
//! ```
//!
//! - An ephemeral stays with the session that created it; budgets bound what closing a session costs.
//! - Letting go of the pool drops connections and closes nothing: whoever has the credentials resumes.
//! - A writer that is not the leader any more is stopped by the fence, whatever it believes.

mod acls;
mod budget;
mod companions;
mod created;
mod credentials;
mod directories;
mod ensemble;
mod exposure;
mod fence;
mod history;
mod identity;
mod keeper;
mod leadership;
mod leftovers;
mod lister;
mod look;
mod members;
mod metrics;
mod own;
mod owned;
mod pool;
mod removal;
mod slots;
mod take_over;
mod tree;

pub use acls::{AclTemplates, Acls};
pub use budget::OverBudget;
pub use credentials::{CredentialError, CredentialStore};
pub(crate) use ensemble::AttemptError;
pub use ensemble::Ensemble;
pub use history::{Note, Subject};
pub use identity::{IdentityError, IdentityFiles, TlsFiles};
pub use leadership::Leadership;
pub use leftovers::{Kept, Leftovers, What};
pub use metrics::SessionMetrics;
pub use own::Own;
pub(crate) use owned::stranger;
pub use owned::{Inherited, Look, Owned, Sighting, Suspect};
pub use pool::{
    Ensured, PlaceError, Pool, PoolConfig, PoolEnd, PoolError, PoolEvent, PoolStart, Sessions, Started,
    WriteError,
};
pub use removal::{RemovalError, Remover};
pub use tree::{Tree, Znode};
