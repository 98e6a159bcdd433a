//! A Service, as far as publishing it needs it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::address::AddressKind;
use super::endpoint::Protocol;
use super::family::Families;
use super::host::{Host, HostError};
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
    /// Where it is reached itself, by the kind of address. Of an ExternalName Service that is its name and nothing else,
    /// of any other none.
    pub points: BTreeMap<AddressKind, Vec<Point>>,
    /// `externalTrafficPolicy: Local`: only nodes with an endpoint answer at the node port.
    pub is_local: bool,
}

/// A point where a Service itself is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// An address or a name; or a name that cannot be published.
    pub host: Result<Host, HostError>,
    /// TCP ports of the Service at which it does not answer, as its balancer says.
    pub broken: Vec<u16>,
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
    /// An alias in DNS. It has a name and no endpoints, whatever slices are left over.
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
            points: BTreeMap::new(),
            is_local: false,
        }
    }

    /// Is it an alias in DNS?
    #[must_use]
    pub fn is_external_name(&self) -> bool {
        self.r#type == ServiceType::ExternalName
    }

    /// Where it is reached itself by addresses of this kind.
    #[must_use]
    pub fn points(&self, kind: AddressKind) -> &[Point] {
        self.points.get(&kind).map_or(&[], Vec::as_slice)
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

impl Point {
    /// One that answers at all ports.
    #[must_use]
    pub fn at(host: impl Into<Host>) -> Self {
        Point { host: Ok(host.into()), broken: Vec::new() }
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
