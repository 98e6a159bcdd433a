//! Sockets, threads and clocks around the [core](crate::server::core).
//!
//! ```text
//!   client ◀─▶ connection (a reader and a writer task) ◀─▶ driver (one task owns the core) ◀─▶ log thread
//!                                                                    └─▶ snapshot thread
//! ```

pub mod connection;
pub mod driver;
pub mod listener;
pub mod log_thread;
pub mod outstanding;
pub mod ports;
pub mod process;
pub mod report;
pub mod snapshot_thread;
pub mod tls;
pub mod words;
