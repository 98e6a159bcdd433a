//! The API as its users see it: through HTTP, mostly with kube's client.
#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

mod cluster;
mod endpoint_slices;
mod lists;
mod mad_json;
mod manifests;
mod patches;
mod pods;
mod refusals;
mod subresources;
mod watches;
mod writes;
