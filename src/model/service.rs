//! A Service, as far as publishing it needs it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::endpoint::Protocol;

/// Namespace and name of a Service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceKey {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

/// A Service, without what no plan looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Namespace and name.
    pub key: ServiceKey,
    /// Distinguishes it from an earlier Service of the same name.
    pub uid: Arc<str>,
    /// `metadata.resourceVersion`, for references in Events.
    pub resource_version: Arc<str>,
    /// `metadata.creationTimestamp`, in milliseconds since 1970. Stable, so that what is derived from it is.
    pub created_ms: i64,
    /// Its annotations below `zoobridge.io/`, without that prefix.
    pub annotations: BTreeMap<String, String>,
    /// Its ports.
    pub ports: Vec<ServicePort>,
    /// Came it from ZooKeeper? Then it does not go back.
    pub is_imported: bool,
    /// An ExternalName Service has no endpoints, whatever slices are left over.
    pub is_external_name: bool,
    /// Does it have IPv4 addresses? Then those are published, and IPv6 ones are not.
    pub prefers_ipv4: bool,
}

/// One port of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    /// Its name; empty if it has none. Slices repeat it.
    pub name: String,
    /// Its number at the Service's own address.
    pub port: u16,
    /// Its protocol; a number may be used once for each.
    pub protocol: Protocol,
}

/// The prefix of every annotation of ours.
pub const ANNOTATION_PREFIX: &str = "zoobridge.io/";

impl ServiceKey {
    /// A key of these two names.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        ServiceKey { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

#[cfg(test)]
impl Service {
    /// `shop/orders`, created at a round moment, for tests.
    pub(crate) fn sample(annotations: &[(&str, &str)], ports: Vec<ServicePort>) -> Self {
        let annotations = annotations.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
        Service {
            key: ServiceKey::new("shop", "orders"),
            uid: "u".into(),
            resource_version: "1".into(),
            created_ms: 1_700_000_000_000,
            annotations: annotations.collect(),
            ports,
            is_imported: false,
            is_external_name: false,
            prefers_ipv4: true,
        }
    }
}
