//! The reverse direction: what others registered in ZooKeeper becomes Services.
//!
//! ```text
//!   ZooKeeper ──Watcher: one session, one recursive watch a root──▶ Registry ─┐
//!   Kubernetes ──watches of Services, of our slices and Endpoints──▶ Cluster ─┴─plan──▶ writer ──▶ Kubernetes
//! ```
//!
//! - Nothing is deleted for what is not known: a registry counts from its first complete read, and stays as it
//!   is while ZooKeeper is away.
//! - A Service that is not ours is never touched: to create is to apply at a resourceVersion that no object
//!   has, and each later write names the uid and the resourceVersion that it replaces.
//! - Nothing returns: an ephemeral of any session that the pool ever had is ours, and imports begin after the
//!   pool has.

mod cluster;
mod imported;
mod importer;
mod objects;
pub mod plan;
mod watcher;
mod writer;

pub use imported::{Imported, ImportedError};
pub use importer::{ImportError, ImportStatus, Importer};
