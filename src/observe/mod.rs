//! Watches of the API server, into a compact store.
//!
//! ```text
//!   kube watcher ──raw events of partial objects──▶ decode ──▶ Store ──▶ keys of Services that changed
//! ```
//!
//! A reflector would keep whole objects, 6 to 13 kB for each slice, twice during a relist; the store keeps
//! about 70 bytes for each endpoint, and of a relist only what differs from that, until the list is complete.

pub mod decode;
pub mod field;
mod metrics;
mod nodes;
pub mod objects;
pub mod store;
pub mod watch;

pub use metrics::{WatchMetrics, Watched};
pub use objects::{NodeObject, ServiceObject, SliceObject};
pub use store::{Observation, Store};
