//! What the bridge knows of Kubernetes: plain values, no client, no clock.

pub mod cidr;
pub mod endpoint;
pub mod ready;
pub mod service;
pub mod slice;
pub mod znode;

pub use cidr::{Cidr, CidrError};
pub use endpoint::{Endpoint, Protocol};
pub use ready::{PortChoice, ReadyError, ready, ready_addresses};
pub use service::{ANNOTATION_PREFIX, Service, ServiceKey, ServicePort};
pub use slice::{Conditions, Family, Slice, SliceEndpoint, SlicePort};
pub use znode::{Fingerprint, ZnodePath};

/// What is known of a source. `Unknown` never deletes anything; `Known` may be empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known<T> {
    /// Not heard of yet: a cache is not synced.
    Unknown,
    /// This, even if it is nothing.
    Known(T),
}
