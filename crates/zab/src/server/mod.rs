//! The server's core, without sockets, files or clocks.

pub mod audit;
pub mod connection;
pub mod core;
pub mod digests;
pub mod inspect;
pub mod metrics;
pub mod namespaces;
pub mod reads;
pub mod reaper;
pub mod snapshot;
pub mod stats;
pub mod throttle;
pub mod version;
pub mod words;
