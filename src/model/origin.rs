//! Which state of which object something comes from.

use std::fmt;
use std::sync::Arc;

/// One state of an object of Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: Arc<str>,
    /// Distinguishes it from an earlier object of the same name.
    pub uid: Arc<str>,
    /// Which state of it.
    pub resource_version: Arc<str>,
}

/// The kinds of objects that endpoints come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub enum Kind {
    /// A Service.
    Service,
    /// An EndpointSlice.
    EndpointSlice,
}

impl fmt::Display for Origin {
    /// `EndpointSlice orders-x7k2p at 4711`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Service => "Service",
            Kind::EndpointSlice => "EndpointSlice",
        };
        write!(f, "{kind} {} at {}", self.name, self.resource_version)
    }
}
