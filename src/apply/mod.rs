//! The daemon: observations in, plans made, writes out.
//!
//! ```text
//!   observe ──changed keys──▶ Bridge ──Change of one Service──▶ write ──multis──▶ session::Pool
//!                               │  ▲                             │                 │
//!                Ledger, Neighbours└──────────── Outcome ◀───────┘                 │
//!                               ▲└──────────── looks, events ◀─────────────────────┘
//!                               └──▶ Events on Services
//! ```
//!
//! One task owns all state, and its ledger decides; each Service has at most one change under way. In the
//! steady state nothing is written on either side.

mod audit;
mod bridge;
mod events;
mod filled;
mod imagined;
mod ledger;
mod metrics;
mod neighbours;
mod queue;
mod record;
mod rehearsal;
mod subject;
mod wanted;
mod write;

pub use bridge::{Bridge, BridgeError, Status};
pub(crate) use events::{Events, reference};
pub use imagined::Write;
pub(crate) use metrics::Direction;
pub use metrics::Instruments;
pub(crate) use queue::Queue;
pub use record::{Object, Record, Verb, Written};
pub use rehearsal::{Rehearsal, Rehearsed};
pub use subject::BridgeSubject;
