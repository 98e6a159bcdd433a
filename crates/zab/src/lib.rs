//! A ZooKeeper-compatible coordination server.
//!
//! ```text
//!  client frame ─▶ prep ─▶ quorum engine ─▶ log (group commit) ─▶ commit ─▶ tree ─▶ events, reply
//!  read ──────────────────────────────────────────────────────────────────▶ tree
//! ```
//!
//! - [`prep`], [`quorum`], [`tree`], [`session`], [`session_password`], [`access`] and [`server`] are pure: no
//!   socket, file, clock or random source; a test holds that.
//! - [`storage`], [`session_key`] and [`net`] do I/O.
//!
//! Guarantees: a reply to a write means that a quorum has it on disk; reads of one session never go back in
//! time; bytes from clients and from the disk never panic the server and never make it allocate more than the
//! configured limits.
//!
//! One node is a quorum of one on the same path as an ensemble.

pub mod access;
pub mod config;
pub mod net;
pub mod prep;
pub mod quorum;
pub mod server;
pub mod session;
pub mod session_key;
pub mod session_password;
pub mod storage;
pub mod tree;

mod start;

pub use config::{AdminConfig, ConfigError, ServerConfig};
pub use net::report::{Report, Reporter};
pub use start::{Server, StartError};
