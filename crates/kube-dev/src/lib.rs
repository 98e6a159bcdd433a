//! A small in-memory Kubernetes API over HTTP, for the demo and for tests.
//!
//! ```text
//!   kubectl, kube-rs ──HTTP──▶ http ──▶ Store ──changes──▶ watches
//!                                        ▲  │
//!                                        └──┴── workloads: Deployment ▶ Pods ▶ EndpointSlices
//! ```
//!
//! It has what the bridge and `kubectl get/apply/delete/scale` need: discovery, lists with pages and
//! selectors, watches with bookmarks and 410 Gone, optimistic concurrency, merge, strategic merge and JSON
//! patches, status and scale subresources, owner references. It has no authentication, no admission, no
//! server-side apply yet, and forgets everything when it ends.

mod apply_set;
mod discovery;
mod error;
mod http;
mod kinds;
mod patch;
mod selector;
mod server;
mod store;
mod table;
mod workloads;

pub use apply_set::ManifestError;
pub use server::{KubeDev, Options, StartError};
