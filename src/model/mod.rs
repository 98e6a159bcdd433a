//! What the bridge knows of Kubernetes: plain values, no client, no clock.

pub mod address;
pub mod cidr;
pub mod companion;
pub mod endpoint;
pub mod ensemble;
pub mod family;
pub mod host;
pub mod label;
pub mod node;
pub mod origin;
pub mod placement;
pub mod port;
pub mod ready;
pub mod service;
pub mod slice;
pub mod view;
pub mod znode;

pub use address::AddressKind;
pub use cidr::{Cidr, CidrError};
pub use companion::{Companion, Holds};
pub use endpoint::{Endpoint, Protocol};
pub use ensemble::{EnsembleName, EnsembleNameError};
pub use family::{Families, FamilyPolicy};
pub use host::{Host, HostError, HostName};
pub use label::{MAX_LABEL, is_label};
pub use node::{Node, Nodes};
pub use origin::{Kind, Origin};
pub use placement::{Hints, Placement, Topology};
pub use port::{ChosenPort, PortChoice};
pub use ready::{Endpoints, Ignored, Readiness, ReadyError, View, ready_hosts};
pub use service::{ANNOTATION_PREFIX, Point, Service, ServiceKey, ServicePort, ServiceType};
pub use slice::{Conditions, Family, Slice, SliceEndpoint, SlicePort, Writer};
pub use view::{Said, ViewName};
pub use znode::{Fingerprint, ZnodePath};

/// What is known of a source. `Unknown` never deletes anything; `Known` may be empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known<T> {
    /// Not heard of yet: a cache is not synced.
    Unknown,
    /// This, even if it is nothing.
    Known(T),
}
