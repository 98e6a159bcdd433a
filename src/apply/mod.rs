//! The daemon: observations in, plans made, writes out.
//!
//! ```text
//!   observe ──changed keys──▶ Bridge ──Changes of one Service──▶ write ──multis──▶ session::Pool
//!                               ▲  ▲                               │
//!   Pool: expired, resumed ─────┘  └────────── Outcome ◀───────────┘
//!                               └──▶ Events on Services
//! ```
//!
//! One task owns all state; each Service has at most one change under way. In the steady state nothing is
//! written on either side.

mod bridge;
mod events;
mod write;

pub use bridge::{Bridge, BridgeError, Status};
