//! A small in-memory Kubernetes API over HTTP, for the demo and for tests.
//!
//! ```text
//!   kubectl, kube-rs ──HTTP──▶ http ──▶ admission ──▶ Store ──changes──▶ watches
//!                                                     ▲  │
//!                                                     └──┴── workloads: Deployment ▶ Pods ▶ EndpointSlices
//! ```
//!
//! It has what the bridge and `kubectl get/apply/delete/scale` need: discovery, lists with pages and
//! selectors, watches with bookmarks and 410 Gone, optimistic concurrency, merge, strategic merge and JSON
//! patches, server-side apply with owners of fields, dry runs, status and scale subresources, owner
//! references. It has no authentication and no webhooks, and forgets everything when it ends.
//!
//! Whatever JSON comes, the answer is a success or a `Status` with a 4xx code: before an object is stored, the
//! API's own types have read it, so that nothing behind that has to expect a number where a list should be.

mod addresses;
mod admission;
mod apply_set;
mod defaults;
mod discovery;
mod error;
mod events;
mod fields;
mod http;
mod kinds;
mod names;
mod patch;
mod selector;
mod server;
mod service;
mod store;
mod table;
mod types;
mod workloads;

pub use apply_set::ManifestError;
pub use server::{KubeDev, Options, StartError};
