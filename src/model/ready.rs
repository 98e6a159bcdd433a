//! Which endpoints of a Service consumers should know, as kube-proxy sees it.
//!
//! The facts are those of `pkg/proxy/endpointslicecache.go` and `topology.go`: endpoints are told apart by address and
//! port; of two entries the one that does not terminate counts; where nothing is ready, what terminates and still
//! serves is called. Whatever is counted here is counted over all slices, for their borders mean nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::address::AddressKind;
use super::endpoint::{Endpoint, Protocol};
use super::family::FamilyPolicy;
use super::host::{Host, HostError};
use super::node::{Node, Nodes};
use super::placement::{NOWHERE, Placement};
use super::port::{ChosenPort, PortChoice};
use super::service::{Point, Service, ServiceType};
use super::slice::{Conditions, Family, Slice, Writer};

/// Which endpoints count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Readiness {
    /// Those that Kubernetes calls ready.
    #[default]
    Ready,
    /// Of those, the ones that serve and do not terminate: it makes a difference with
    /// `publishNotReadyAddresses`, which calls everything ready.
    Serving,
    /// Those that are ready; if there is none, those that terminate and still serve, as kube-proxy has it.
    Proxy,
}

/// What a Service wants consumers to know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Which port.
    pub port: PortChoice,
    /// Which addresses; not [`AddressKind::Custom`], which is part of the pods.
    pub address: AddressKind,
    /// Of which families.
    pub families: FamilyPolicy,
    /// Which endpoints count.
    pub readiness: Readiness,
}

/// What there is for consumers.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Endpoints<'s> {
    /// To be called.
    pub ready: BTreeMap<Endpoint, &'s Placement>,
    /// Not to be called any more: they terminate, and still serve.
    pub draining: BTreeMap<Endpoint, &'s Placement>,
    /// Kinds of addresses that it has too, and that are not granted.
    pub not_granted: BTreeSet<AddressKind>,
    /// What else slices have and consumers are not told of.
    pub ignored: BTreeSet<Ignored>,
}

/// What is in a slice and is not published.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Ignored {
    /// Names instead of addresses: `addressType: FQDN`, which is deprecated and has no semantics.
    #[error("an EndpointSlice of addressType FQDN; names are no addresses")]
    Names,
    /// Nobody updates them: Kubernetes leaves them when a Service loses its selector.
    #[error(
        "EndpointSlices that are left from when the Service had a selector, and that nobody updates; give it one \
         again, or delete them and write your own with another label endpointslice.kubernetes.io/managed-by"
    )]
    LeftOver,
    /// Only the first address of an endpoint has a meaning.
    #[error("all addresses but the first of an endpoint that has several; write an endpoint for each")]
    MoreAddresses,
    /// A name of its balancer that cannot be published.
    #[error("a name of the Service's balancer: {0}")]
    Host(HostError),
    /// Its balancer has an error for the port (`status.loadBalancer.ingress[].ports[].error`).
    #[error("the balancer at {0}, which says that the port does not work there; see the Service's status")]
    Broken(Host),
}

/// Why a Service's endpoints cannot be told.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum ReadyError {
    /// The Service has several TCP ports and none was chosen.
    #[error("the Service has several TCP ports ({ports}); choose one by annotation zoobridge.io/port")]
    SeveralPorts {
        /// Their names.
        ports: String,
    },
    /// The Service has no ports.
    #[error(
        "the Service names no port; if it is headless or an ExternalName, give the one that is called as a number by \
         annotation zoobridge.io/port"
    )]
    NoPort,
    /// The Service has only ports that consumers cannot connect to.
    #[error("only a TCP port can be published, and the Service has none; it has {ports}")]
    NoTcpPort {
        /// Names or numbers of those it has, with their protocols.
        ports: String,
    },
    /// The Service has no such port.
    #[error("the Service has no TCP port {wanted:?}; it has {ports}")]
    NoSuchPort {
        /// What was asked for.
        wanted: String,
        /// Names or numbers of those it has.
        ports: String,
    },
    /// Slices with ready endpoints exist, and none has the port.
    #[error(
        "no EndpointSlice of the Service has the port {wanted:?} over TCP; is it in a container's ports?"
    )]
    PortInNoSlice {
        /// What was asked for.
        wanted: String,
    },
    /// Its external name cannot be published.
    #[error("the Service's external name {0}")]
    Host(HostError),
    /// Its type has no such addresses, or nobody gave it one.
    #[error("the Service has no address of kind {0}")]
    NoAddress(AddressKind),
    /// The port is not open at the nodes.
    #[error("port {0:?} of the Service has no node port; its type must be NodePort or LoadBalancer")]
    NoNodePort(String),
    /// Nobody watches the nodes.
    #[error(
        "the bridge did not watch nodes when it started, since no rule granted node addresses; restart it"
    )]
    NodesUnknown,
}

impl Readiness {
    /// All of them, with what annotations call them.
    pub const ALL: [(&'static str, Readiness); 3] =
        [("ready", Readiness::Ready), ("serving", Readiness::Serving), ("proxy", Readiness::Proxy)];

    fn is_ready(self, conditions: Conditions) -> bool {
        let Conditions { ready, serving, terminating } = conditions;
        ready && (self != Readiness::Serving || serving && !terminating)
    }
}

impl View {
    /// What there is of a Service for consumers. `granted` says which kinds of addresses they may be told.
    ///
    /// # Errors
    /// It cannot be told; see [`ReadyError`]. No slices, or slices without ready endpoints, are legal and give
    /// nothing.
    pub fn of<'s>(
        &self,
        service: &'s Service,
        slices: impl Iterator<Item = &'s Slice> + Clone,
        nodes: Option<&'s Nodes>,
        granted: impl Fn(AddressKind) -> bool,
    ) -> Result<Endpoints<'s>, ReadyError> {
        if service.is_external_name() {
            return self.external_name(service, granted);
        }
        let port = self.port.of(service)?;
        if self.address == AddressKind::Pod {
            return self.pods(service, port, slices, granted);
        }
        if !granted(self.address) {
            return Ok(Endpoints { not_granted: [self.address].into(), ..Endpoints::default() });
        }
        let ChosenPort::Of(chosen) = port else { return Err(ReadyError::NoAddress(self.address)) };
        let number = match self.address {
            AddressKind::Node => chosen.node_port.ok_or_else(|| ReadyError::NoNodePort(port.name()))?,
            _ => chosen.port,
        };
        // Traffic that comes in at any of these addresses goes to the same endpoints.
        let behind = self.pods(service, port, slices, |_| true)?.ready;
        let mut endpoints = Endpoints::default();
        let hosts = match self.address {
            AddressKind::Node => self.nodes(service, nodes.ok_or(ReadyError::NodesUnknown)?, &behind),
            kind => self.own(service, kind, number, &mut endpoints.ignored)?,
        };
        // Each family has its own proxy; only a balancer may lead from one to the other.
        let leads_somewhere = |host: &Host| {
            let is_behind = |endpoint: &Endpoint| endpoint.host.is_ipv6() == host.is_ipv6();
            behind.keys().any(|endpoint| self.address == AddressKind::LoadBalancer || is_behind(endpoint))
        };
        let ready = hosts.into_iter().filter(|(host, _)| leads_somewhere(host));
        endpoints.ready = ready.map(|(host, placement)| (tcp(host, number), placement)).collect();
        Ok(endpoints)
    }

    /// An ExternalName Service is there while it has its name; nothing says whether that is ready.
    fn external_name<'s>(
        &self,
        service: &Service,
        granted: impl Fn(AddressKind) -> bool,
    ) -> Result<Endpoints<'s>, ReadyError> {
        let kind = AddressKind::ExternalName;
        if self.address != AddressKind::Pod {
            return Err(ReadyError::NoAddress(self.address));
        }
        if !granted(kind) {
            return Ok(Endpoints { not_granted: [kind].into(), ..Endpoints::default() });
        }
        let number = match self.port.of(service)? {
            ChosenPort::Of(port) => port.port,
            ChosenPort::AtPods(number) => number,
        };
        let [Point { host, .. }, ..] = service.points(kind) else { return Err(ReadyError::NoAddress(kind)) };
        let host = host.clone().map_err(ReadyError::Host)?;
        Ok(Endpoints { ready: [(tcp(host, number), &NOWHERE)].into(), ..Endpoints::default() })
    }

    fn pods<'s>(
        &self,
        service: &Service,
        port: ChosenPort<'_>,
        slices: impl Iterator<Item = &'s Slice>,
        granted: impl Fn(AddressKind) -> bool,
    ) -> Result<Endpoints<'s>, ReadyError> {
        let families = self.families.of(service.families);
        let mut endpoints = Endpoints::default();
        let (mut entries, mut without_port) = (BTreeMap::<Endpoint, Entry<'s>>::new(), false);
        for slice in slices {
            match (service.kind_of(slice), slice.family) {
                (_, Family::Fqdn) => drop(endpoints.ignored.insert(Ignored::Names)),
                // A placeholder: nothing is ready.
                _ if slice.endpoints.is_empty() => {}
                (None, _) => drop(endpoints.ignored.insert(Ignored::LeftOver)),
                (Some(kind), _) if !granted(kind) => drop(endpoints.not_granted.insert(kind)),
                (_, Family::Ipv4) if !families.ipv4 => {}
                (_, Family::Ipv6) if !families.ipv6 => {}
                _ => match port.in_slice(slice) {
                    Some(number) => add(&mut entries, &mut endpoints.ignored, slice, number),
                    None => {
                        without_port |=
                            slice.endpoints.iter().any(|one| self.readiness.is_ready(one.conditions))
                    }
                },
            }
        }
        let having = |is: &dyn Fn(Conditions) -> bool| -> BTreeMap<Endpoint, &'s Placement> {
            let chosen = entries.iter().filter(|(_, entry)| is(entry.conditions));
            chosen.map(|(endpoint, entry)| (endpoint.clone(), entry.placement)).collect()
        };
        endpoints.ready = having(&|conditions| self.readiness.is_ready(conditions));
        let mut draining = having(&|Conditions { serving, terminating, .. }| serving && terminating);
        if self.readiness == Readiness::Proxy {
            // There is one proxy for each family.
            for is_ipv4 in [true, false] {
                let of_family = |endpoint: &Endpoint| endpoint.host.is_ipv6() != is_ipv4;
                if !endpoints.ready.keys().any(of_family) {
                    let still = draining.iter().filter(|(endpoint, _)| of_family(endpoint));
                    let still: Vec<_> =
                        still.map(|(endpoint, placement)| (endpoint.clone(), *placement)).collect();
                    endpoints.ready.extend(still);
                }
            }
        }
        if endpoints.ready.is_empty() && without_port {
            return Err(ReadyError::PortInNoSlice { wanted: port.name() });
        }
        draining.retain(|endpoint, _| !endpoints.ready.contains_key(endpoint));
        endpoints.draining = draining;
        Ok(endpoints)
    }

    /// The nodes that answer at a node port. With `externalTrafficPolicy: Local` only those do that have an
    /// endpoint.
    fn nodes<'s>(
        &self,
        service: &Service,
        nodes: &'s Nodes,
        behind: &BTreeMap<Endpoint, &Placement>,
    ) -> Vec<(Host, &'s Placement)> {
        let families = self.families.of(service.families);
        let local: BTreeSet<_> = behind.values().filter_map(|placement| placement.node.as_ref()).collect();
        let answers =
            |(name, node): &(_, &Node)| node.takes_traffic && (!service.is_local || local.contains(name));
        let nodes = nodes.iter().filter(answers);
        let first = |node: &'s Node, wanted: fn(&IpAddr) -> bool| {
            let of_family = node.addresses.iter().find(|ip| wanted(ip) && families.has(ip));
            of_family.map(|ip| (Host::Ip(*ip), &node.placement))
        };
        nodes
            .flat_map(|(_, node)| [first(node, IpAddr::is_ipv4), first(node, IpAddr::is_ipv6)])
            .flatten()
            .collect()
    }

    /// Where the Service itself is reached, by addresses of a kind, at this port. A balancer that is nowhere yet is
    /// nowhere; a name has no family. Where a Service is headless nothing answers at its `externalIPs`.
    fn own<'s>(
        &self,
        service: &Service,
        kind: AddressKind,
        port: u16,
        ignored: &mut BTreeSet<Ignored>,
    ) -> Result<Vec<(Host, &'s Placement)>, ReadyError> {
        let families = self.families.of(service.families);
        let has_balancer = service.r#type == ServiceType::LoadBalancer;
        let is_headless = service.points(AddressKind::ClusterIp).is_empty();
        let points = match service.points(kind) {
            [] if kind == AddressKind::LoadBalancer && has_balancer => return Ok(Vec::new()),
            _ if kind == AddressKind::ExternalIp && is_headless => return Err(ReadyError::NoAddress(kind)),
            [] => return Err(ReadyError::NoAddress(kind)),
            points => points,
        };
        let mut hosts = Vec::new();
        for Point { host, broken } in points {
            match host {
                Err(reason) => drop(ignored.insert(Ignored::Host(reason.clone()))),
                Ok(Host::Ip(ip)) if !families.has(ip) => {}
                Ok(host) if broken.contains(&port) => drop(ignored.insert(Ignored::Broken(host.clone()))),
                Ok(host) => hosts.push((host.clone(), &NOWHERE)),
            }
        }
        Ok(hosts)
    }
}

impl Service {
    /// Whose addresses are in this slice? `None` if nobody keeps them up to date.
    fn kind_of(&self, slice: &Slice) -> Option<AddressKind> {
        match (self.has_selector, slice.writer) {
            (true, Writer::Controller) => Some(AddressKind::Pod),
            (false, Writer::Controller) => None,
            (_, Writer::Other) => Some(AddressKind::Custom),
        }
    }
}

/// What slices say of one endpoint.
struct Entry<'s> {
    conditions: Conditions,
    placement: &'s Placement,
}

/// An endpoint may be in two slices for a moment, and a new pod may have the address of one that terminates: of two
/// entries the one counts that does not terminate, and of two of those the one that is ready.
fn add<'s>(
    entries: &mut BTreeMap<Endpoint, Entry<'s>>,
    ignored: &mut BTreeSet<Ignored>,
    slice: &'s Slice,
    number: u16,
) {
    let rank = |Conditions { ready, serving, terminating }: Conditions| (!terminating, ready, serving);
    ignored.extend(slice.has_more_addresses.then_some(Ignored::MoreAddresses));
    for endpoint in &slice.endpoints {
        let entry = Entry { conditions: endpoint.conditions, placement: &endpoint.placement };
        let known = entries.entry(tcp(endpoint.ip.into(), number)).or_insert(Entry { ..entry });
        if rank(entry.conditions) > rank(known.conditions) {
            *known = entry;
        }
    }
}

fn tcp(host: Host, port: u16) -> Endpoint {
    Endpoint { host, port, protocol: Protocol::Tcp }
}

/// Every address and name at which a Service is ready, of whatever kind, family and port.
pub fn ready_hosts<'a>(
    service: &Service,
    slices: impl IntoIterator<Item = &'a Slice>,
    nodes: Option<&Nodes>,
) -> BTreeSet<Host> {
    let own = || service.points.values().flatten().filter_map(|point| point.host.as_ref().ok()).cloned();
    if service.is_external_name() {
        return own().collect();
    }
    let endpoints = slices.into_iter().flat_map(|slice| slice.endpoints.iter());
    let ready = endpoints.filter(|endpoint| endpoint.conditions.ready).map(|endpoint| Host::Ip(endpoint.ip));
    let mut addresses: BTreeSet<_> = ready.collect();
    if !addresses.is_empty() {
        addresses.extend(own());
        let has_node_ports = service.ports.iter().any(|port| port.node_port.is_some());
        let nodes = nodes.filter(|_| has_node_ports).into_iter().flat_map(Nodes::values);
        let nodes = nodes.filter(|node| node.takes_traffic).flat_map(|node| &node.addresses);
        addresses.extend(nodes.map(|ip| Host::Ip(*ip)));
    }
    addresses
}

#[cfg(test)]
#[path = "ready_test.rs"]
mod tests;
