//! A Service, as far as publishing it needs it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use super::address::AddressKind;
use super::endpoint::Protocol;
use super::family::Families;
use super::origin::{Kind, Origin};

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
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations below `zoobridge.io/`, without that prefix.
    pub annotations: BTreeMap<String, String>,
    /// Its ports.
    pub ports: Vec<ServicePort>,
    /// Came it from ZooKeeper? Then it does not go back.
    pub is_imported: bool,
    /// Its type.
    pub r#type: ServiceType,
    /// Does Kubernetes put its pods into slices? If not, somebody else writes them.
    pub has_selector: bool,
    /// The families that it has.
    pub families: Families,
    /// Addresses of its own, by their kind.
    pub addresses: BTreeMap<AddressKind, Vec<IpAddr>>,
    /// Is its balancer known by a name only?
    pub has_named_balancer: bool,
    /// `externalTrafficPolicy: Local`: only nodes with an endpoint answer at the node port.
    pub is_local: bool,
}

/// `spec.type`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ServiceType {
    /// The default. A headless Service is one whose `clusterIP` is `None`.
    #[default]
    ClusterIp,
    /// A port at every node.
    NodePort,
    /// A balancer before that.
    LoadBalancer,
    /// An alias in DNS. It has no endpoints, whatever slices are left over.
    ExternalName,
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
    /// Its number at the nodes, if it has one.
    pub node_port: Option<u16>,
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

impl Service {
    /// One of which nothing but the name is known: pods select themselves, IPv4 only.
    #[must_use]
    pub fn named(key: ServiceKey) -> Self {
        Service {
            key,
            uid: "".into(),
            resource_version: "".into(),
            created_ms: 0,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            ports: Vec::new(),
            is_imported: false,
            r#type: ServiceType::ClusterIp,
            has_selector: true,
            families: Families { ipv4: true, ipv6: false },
            addresses: BTreeMap::new(),
            has_named_balancer: false,
            is_local: false,
        }
    }

    /// Is it an alias in DNS?
    #[must_use]
    pub fn is_external_name(&self) -> bool {
        self.r#type == ServiceType::ExternalName
    }

    /// Its addresses of this kind.
    #[must_use]
    pub fn addresses(&self, kind: AddressKind) -> &[IpAddr] {
        self.addresses.get(&kind).map_or(&[], Vec::as_slice)
    }

    /// Which state of it this is.
    #[must_use]
    pub fn origin(&self) -> Origin {
        Origin {
            kind: Kind::Service,
            name: self.key.name.clone(),
            uid: self.uid.clone(),
            resource_version: self.resource_version.clone(),
        }
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
            uid: "u".into(),
            resource_version: "1".into(),
            created_ms: 1_700_000_000_000,
            annotations: annotations.collect(),
            ports,
            ..Service::named(ServiceKey::new("shop", "orders"))
        }
    }
}

#[cfg(test)]
impl ServicePort {
    /// A TCP port without a node port, for tests.
    pub(crate) fn tcp(name: &str, port: u16) -> Self {
        ServicePort { name: name.to_owned(), port, protocol: Protocol::Tcp, node_port: None }
    }
}
