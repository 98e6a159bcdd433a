//! From partial objects to the model. What makes no sense in one endpoint costs that endpoint only.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use super::field::Field;
use super::objects::{
    EndpointObject, HintsObject, IngressObject, LoadBalancerObject, Metadata, NamedObject, NodeObject,
    NodeSpec, NodeStatus, PortObject, PortStatusObject, ServiceObject, ServicePortObject, ServiceSpec,
    ServiceStatus, SliceObject,
};
use crate::model::{
    ANNOTATION_PREFIX, AddressKind, Conditions, Families, Family, Hints, Host, HostName, Node, Placement,
    Point, Protocol, Service, ServiceKey, ServicePort, ServiceType, Slice, SliceEndpoint, SlicePort, Writer,
};

/// An object that is not what Kubernetes says. What was known of it before stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {name:?} makes no sense: its {field} is missing, or is not what Kubernetes writes there")]
pub struct Malformed {
    /// Its kind.
    pub kind: &'static str,
    /// Namespace and name, as far as it has them.
    pub name: String,
    /// The first field that is malformed.
    pub field: &'static str,
}

/// A value, or the name of the field that is malformed.
type Read<T> = Result<T, &'static str>;

/// The label that says which Service a slice belongs to.
pub(crate) const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// The label that says who writes a slice; our own are not read back.
pub(crate) const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
pub(crate) const OUR_SLICES: &str = "zoobridge.io";
/// Kubernetes' own controller, which keeps the slices of Services with a selector.
const CONTROLLER: &str = "endpointslice-controller.k8s.io";
/// The label that says who writes a Service; what we imported is not published.
pub(crate) const MANAGER: &str = "app.kubernetes.io/managed-by";
pub(crate) const OURSELVES: &str = "zoobridge";

/// A Service.
///
/// # Errors
/// A field that it needs is malformed.
pub fn service(object: &ServiceObject) -> Result<Service, Malformed> {
    let ServiceObject { metadata, spec, status } = object;
    read_service(metadata, spec, status).map_err(|field| malformed("Service", metadata, field))
}

/// The key of a Service.
///
/// # Errors
/// It has no readable name.
pub fn service_key(object: &ServiceObject) -> Result<ServiceKey, Malformed> {
    key(&object.metadata).map_err(|field| malformed("Service", &object.metadata, field))
}

/// A slice with its Service's key; `None` if it belongs to no Service, or is one that we wrote.
///
/// # Errors
/// A field that it needs is malformed.
pub fn slice(object: &SliceObject) -> Result<Option<(ServiceKey, Slice)>, Malformed> {
    read_slice(object).map_err(|field| malformed("EndpointSlice", &object.metadata, field))
}

/// Namespace and name of a slice.
///
/// # Errors
/// It has no readable name.
pub fn slice_name(object: &SliceObject) -> Result<ServiceKey, Malformed> {
    key(&object.metadata).map_err(|field| malformed("EndpointSlice", &object.metadata, field))
}

fn malformed(kind: &'static str, metadata: &Metadata, field: &'static str) -> Malformed {
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    let name = format!("{}/{}", part(&metadata.known.namespace), part(&metadata.known.name));
    Malformed { kind, name, field }
}

/// Only these two: what else is malformed must not keep a deletion from being understood.
fn key(metadata: &Metadata) -> Read<ServiceKey> {
    let Metadata { known, malformed } = metadata;
    let namespace = known.namespace.as_deref().ok_or(malformed.unwrap_or("metadata.namespace"))?;
    let name = known.name.as_deref().ok_or(malformed.unwrap_or("metadata.name"))?;
    Ok(ServiceKey::new(namespace, name))
}

fn read_service(
    metadata: &Metadata,
    spec: &Field<ServiceSpec>,
    status: &Field<ServiceStatus>,
) -> Read<Service> {
    metadata.malformed.map_or(Ok(()), Err)?;
    let key = key(metadata)?;
    let known = &metadata.known;
    let annotations = known.annotations.iter().flatten();
    let empty = ServiceSpec::default();
    let spec = spec.get("spec")?.unwrap_or(&empty);
    let ip_families = spec.ip_families.items("spec.ipFamilies")?;
    let ports = spec.ports.items("spec.ports")?.into_iter();
    let r#type = match spec.r#type.get("spec.type")?.map(String::as_str) {
        Some("NodePort") => ServiceType::NodePort,
        Some("LoadBalancer") => ServiceType::LoadBalancer,
        Some("ExternalName") => ServiceType::ExternalName,
        _ => ServiceType::ClusterIp,
    };
    // What else it has is left from when it was of another type, and nobody answers there.
    let points = if r#type == ServiceType::ExternalName {
        let name = spec.external_name.get("spec.externalName")?;
        vec![(AddressKind::ExternalName, name.into_iter().map(|name| named(name)).collect())]
    } else {
        // `None` is what a headless Service has.
        vec![
            (AddressKind::ClusterIp, ips(spec.cluster_ips.items("spec.clusterIPs")?)),
            (AddressKind::ExternalIp, ips(spec.external_ips.items("spec.externalIPs")?)),
            (AddressKind::LoadBalancer, balancer(status)?),
        ]
    };
    let has = |wanted: &str| ip_families.iter().any(|family| *family == wanted);
    Ok(Service {
        key,
        uid: known.uid.as_deref().unwrap_or_default().into(),
        resource_version: known.resource_version.as_deref().unwrap_or_default().into(),
        created_ms: known.creation_timestamp.as_ref().map_or(0, |time| time.0.as_millisecond()),
        labels: known.labels.clone().unwrap_or_default(),
        annotations: annotations
            .filter_map(|(name, value)| {
                Some((name.strip_prefix(ANNOTATION_PREFIX)?.to_owned(), value.clone()))
            })
            .collect(),
        ports: ports.filter_map(|port| service_port(port).transpose()).collect::<Read<_>>()?,
        is_imported: known
            .labels
            .as_ref()
            .and_then(|labels| labels.get(MANAGER))
            .is_some_and(|it| it == OURSELVES),
        r#type,
        has_selector: spec.selector.get("spec.selector")?.is_some_and(|selector| !selector.is_empty()),
        families: Families { ipv4: ip_families.is_empty() || has("IPv4"), ipv6: has("IPv6") },
        points: points.into_iter().filter(|(_, points)| !points.is_empty()).collect(),
        is_local: spec
            .external_traffic_policy
            .get("spec.externalTrafficPolicy")?
            .is_some_and(|policy| policy == "Local"),
    })
}

/// Where its balancer takes traffic. Of a point that has both an address and a name the address counts.
fn balancer(status: &Field<ServiceStatus>) -> Read<Vec<Point>> {
    let Some(balancer) = status.get("status")? else { return Ok(Vec::new()) };
    let Some(LoadBalancerObject { ingress }) = balancer.load_balancer.get("status.loadBalancer")? else {
        return Ok(Vec::new());
    };
    let mut points = Vec::new();
    for IngressObject { ip: address, hostname, ports } in ingress.items("status.loadBalancer.ingress")? {
        let address = address.get("status.loadBalancer.ingress.ip")?.and_then(|text| ip(text));
        let name = hostname.get("status.loadBalancer.ingress.hostname")?.filter(|name| !name.is_empty());
        let point = address.map(Point::at).or_else(|| name.map(|name| named(name)));
        let Some(point) = point else { continue };
        let mut broken = Vec::new();
        for PortStatusObject { port, protocol, error } in ports.items("status.loadBalancer.ingress.ports")? {
            let protocol = protocol.get("status.loadBalancer.ingress.ports.protocol")?;
            let error = error.get("status.loadBalancer.ingress.ports.error")?;
            let port = port.get("status.loadBalancer.ingress.ports.port")?.copied().and_then(number_of_port);
            let is_tcp = Protocol::from_name(protocol.map(String::as_str)) == Some(Protocol::Tcp);
            broken.extend(port.filter(|_| is_tcp && error.is_some_and(|error| !error.is_empty())));
        }
        points.push(Point { broken, ..point });
    }
    Ok(points)
}

/// Those that are addresses.
fn ips(texts: Vec<&String>) -> Vec<Point> {
    texts.into_iter().filter_map(|text| ip(text)).map(Point::at).collect()
}

/// One with a name.
fn named(name: &str) -> Point {
    Point { host: HostName::of_service(name).map(Host::Name), broken: Vec::new() }
}

/// As Go's parser was before 1.17, and as Kubernetes still reads what it once took: zeros may lead.
fn ip(text: &str) -> Option<IpAddr> {
    let sloppy = || {
        let mut octets = text.split('.').map(|octet| {
            let is_number = !octet.is_empty() && octet.bytes().all(|byte| byte.is_ascii_digit());
            octet.parse().ok().filter(|_| is_number)
        });
        let mut next = || octets.next()?;
        let address = Ipv4Addr::new(next()?, next()?, next()?, next()?);
        octets.next().is_none().then_some(IpAddr::V4(address))
    };
    text.parse().ok().or_else(sloppy)
}

/// A Node, with its name.
///
/// # Errors
/// A field that it needs is malformed.
pub fn node(object: &NodeObject) -> Result<(Arc<str>, Node), Malformed> {
    read_node(object).map_err(|field| malformed("Node", &object.metadata, field))
}

/// The name of a Node.
///
/// # Errors
/// It has no readable name.
pub fn node_name(object: &NodeObject) -> Result<Arc<str>, Malformed> {
    let Metadata { known, malformed: field } = &object.metadata;
    let name = known.name.as_deref().ok_or(field.unwrap_or("metadata.name"));
    name.map(Arc::from).map_err(|field| malformed("Node", &object.metadata, field))
}

/// Of the reasons not to send traffic there, those that the service controller has: `nodeReadyPredicate` and
/// what goes with it in `k8s.io/cloud-provider/controllers/service`.
fn read_node(NodeObject { metadata, spec, status }: &NodeObject) -> Read<(Arc<str>, Node)> {
    /// Nodes that have it are kept from balancers.
    const EXCLUDED: &str = "node.kubernetes.io/exclude-from-external-load-balancers";
    /// The autoscaler's word that a node is about to go.
    const GOING: &str = "ToBeDeletedByClusterAutoscaler";
    metadata.malformed.map_or(Ok(()), Err)?;
    let name: Arc<str> = metadata.known.name.as_deref().ok_or("metadata.name")?.into();
    let label = |label| metadata.known.labels.as_ref().and_then(|labels| labels.get(label));
    let (no_spec, no_status) = (NodeSpec::default(), NodeStatus::default());
    let spec = spec.get("spec")?.unwrap_or(&no_spec);
    let status = status.get("status")?.unwrap_or(&no_status);
    let mut is_going = false;
    for taint in spec.taints.items("spec.taints")? {
        is_going |= taint.key.get("spec.taints.key")?.is_some_and(|key| key == GOING);
    }
    let mut is_ready = false;
    for condition in status.conditions.items("status.conditions")? {
        let kind = condition.r#type.get("status.conditions.type")?;
        let status = condition.status.get("status.conditions.status")?;
        is_ready |= kind.is_some_and(|kind| kind == "Ready") && status.is_some_and(|status| status == "True");
    }
    let mut addresses = Vec::new();
    for address in status.addresses.items("status.addresses")? {
        let kind = address.r#type.get("status.addresses.type")?;
        let text = address.address.get("status.addresses.address")?;
        if kind.is_some_and(|kind| kind == "InternalIP") {
            addresses.extend(text.and_then(|text| ip(text)));
        }
    }
    let zone = label("topology.kubernetes.io/zone").map(|zone| zone.as_str().into());
    let placement = Placement { node: Some(name.clone()), zone, hints: None };
    let takes_traffic = is_ready && !is_going && label(EXCLUDED).is_none();
    Ok((name, Node { addresses, takes_traffic, placement }))
}

/// `None` for a protocol that nobody knows.
fn service_port(port: &ServicePortObject) -> Read<Option<ServicePort>> {
    let protocol = port.protocol.get("spec.ports.protocol")?;
    let name = port.name.get("spec.ports.name")?.cloned().unwrap_or_default();
    let number = port.port.get("spec.ports.port")?.copied().unwrap_or_default();
    let node_port = port.node_port.get("spec.ports.nodePort")?.copied().and_then(number_of_port);
    let port = number_of_port(number).ok_or("spec.ports.port")?;
    let protocol = Protocol::from_name(protocol.map(String::as_str));
    Ok(protocol.map(|protocol| ServicePort { name, port, protocol, node_port }))
}

fn read_slice(object: &SliceObject) -> Read<Option<(ServiceKey, Slice)>> {
    let SliceObject { metadata, address_type, endpoints, ports } = object;
    metadata.malformed.map_or(Ok(()), Err)?;
    let name = key(metadata)?;
    let label = |label| metadata.known.labels.as_ref().and_then(|labels| labels.get(label));
    let service = label(SERVICE_NAME).filter(|service| !service.is_empty());
    let Some(service) = service.filter(|_| label(MANAGED_BY).is_none_or(|manager| manager != OUR_SLICES))
    else {
        return Ok(None);
    };
    let writer = if label(MANAGED_BY).is_some_and(|manager| manager == CONTROLLER) {
        Writer::Controller
    } else {
        Writer::Other
    };
    let family = match address_type.get("addressType")?.map(String::as_str) {
        Some("IPv4") => Family::Ipv4,
        Some("IPv6") => Family::Ipv6,
        _ => Family::Fqdn,
    };
    let ports = ports.items("ports")?.into_iter();
    let (mut kept, mut has_more_addresses) = (Vec::new(), false);
    for one in endpoints.items("endpoints")? {
        let addresses = one.addresses.items("endpoints.addresses")?;
        has_more_addresses |= addresses.len() > 1;
        kept.extend(endpoint(one, &addresses, family)?);
    }
    let mut slice = Slice {
        writer,
        family,
        ports: ports.filter_map(|port| slice_port(port).transpose()).collect::<Read<_>>()?,
        endpoints: kept.into(),
        has_more_addresses,
    };
    slice.share_names();
    Ok(Some((ServiceKey::new(&name.namespace, service), slice)))
}

/// `None` for a protocol that nobody knows.
fn slice_port(port: &PortObject) -> Read<Option<SlicePort>> {
    let name = port.name.get("ports.name")?.map(String::as_str).unwrap_or_default();
    let number = port.port.get("ports.port")?.copied().and_then(number_of_port);
    let protocol = Protocol::from_name(port.protocol.get("ports.protocol")?.map(String::as_str));
    Ok(protocol.map(|protocol| SlicePort { name: name.into(), port: number, protocol }))
}

/// `None` for one without an address of the slice's family.
fn endpoint(endpoint: &EndpointObject, addresses: &[&String], family: Family) -> Read<Option<SliceEndpoint>> {
    let conditions = endpoint.conditions.get("endpoints.conditions")?.copied().unwrap_or_default();
    let ready = conditions.ready.get("endpoints.conditions.ready")?.copied();
    let serving = conditions.serving.get("endpoints.conditions.serving")?.copied();
    let terminating = conditions.terminating.get("endpoints.conditions.terminating")?.copied();
    let placement = Placement {
        node: short(endpoint.node_name.get("endpoints.nodeName")?),
        zone: short(endpoint.zone.get("endpoints.zone")?),
        hints: endpoint.hints.get("endpoints.hints")?.map(hints).transpose()?.flatten(),
    };
    let ip = match family {
        Family::Fqdn => None,
        Family::Ipv4 => addresses.first().and_then(|text| ip(text)).filter(IpAddr::is_ipv4),
        Family::Ipv6 => addresses.first().and_then(|text| ip(text)).filter(IpAddr::is_ipv6),
    };
    let conditions = Conditions::new(ready, serving, terminating);
    Ok(ip.map(|ip| SliceEndpoint { ip, conditions, placement }))
}

fn hints(HintsObject { for_zones, for_nodes }: &HintsObject) -> Read<Option<Box<Hints>>> {
    /// Kubernetes allows so many.
    const MOST: usize = 8;
    let names = |names: Vec<&NamedObject>| -> Read<Vec<Arc<str>>> {
        let mut read = Vec::new();
        for name in names.into_iter().take(MOST) {
            read.extend(short(name.name.get("endpoints.hints")?));
        }
        read.sort_unstable();
        read.dedup();
        Ok(read)
    };
    let zones = names(for_zones.items("endpoints.hints.forZones")?)?;
    let nodes = names(for_nodes.items("endpoints.hints.forNodes")?)?;
    Ok((!zones.is_empty() || !nodes.is_empty()).then(|| Box::new(Hints { zones, nodes })))
}

/// A name as Kubernetes has them; what is longer is none.
fn short(name: Option<&String>) -> Option<Arc<str>> {
    const MOST: usize = 253;
    name.filter(|name| !name.is_empty() && name.len() <= MOST).map(|name| name.as_str().into())
}

/// 1 to 65535; nothing listens at another.
fn number_of_port(number: i32) -> Option<u16> {
    u16::try_from(number).ok().filter(|&number| number > 0)
}

#[cfg(test)]
#[path = "decode_test.rs"]
mod tests;
