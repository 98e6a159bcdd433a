//! The daemon: observations in, plans made, writes out.
//!
//! ```text
//!   observe ──changed keys──▶ Bridge ──Change of one Service──▶ write ──multis──▶ session::Pool
//!                               │  ▲                             │                 │
//!                            Ledger└──────────── Outcome ◀───────┘                 │
//!                               ▲└──────────── looks, events ◀─────────────────────┘
//!                               └──▶ Events on Services
//! ```
//!
//! One task owns all state, and its ledger decides; each Service has at most one change under way. In the
//! steady state nothing is written on either side.

mod bridge;
mod events;
mod ledger;
mod metrics;
mod queue;
mod write;

pub use bridge::{Bridge, BridgeError, Status};
pub(crate) use events::{Events, reference};
pub use metrics::{BridgeSubject, Instruments};
pub(crate) use queue::Queue;
