//! The consumer's eye: what a legacy consumer sees, judged against what was ready.
//!
//! ```text
//!   tokio-zookeeper, a client that shares no code with ours ──reader──▶ reads ─┐
//!                                                                 timeline ──▶ judge ─▶ faults
//!   EndpointSlices of the API server ──witness──▶ ready sets ───────────────────┘
//! ```
//!
//! It serves the demo, `zoobridge verify`, the process tests and the benchmark. The bridge itself never asks it.

pub mod judge;
pub mod reader;
pub mod timeline;
pub mod witness;

pub use judge::{Bounds, Change, Fault, FaultKind, Judge};
pub use reader::{Directory, Instance, ReadError, Reader};
pub use witness::{Subject, Witness};
