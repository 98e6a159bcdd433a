//! Which endpoints of a Service are ready, as kube-proxy sees it.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use super::endpoint::{Endpoint, Protocol};
use super::service::{Service, ServicePort};
use super::slice::{Family, Slice};

/// Which port of a Service to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortChoice {
    /// The only one.
    Only,
    /// The one with this name.
    Named(String),
    /// The one with this number at the Service.
    Numbered(u16),
}

/// Why a Service's ready endpoints cannot be told.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum ReadyError {
    /// The Service has several TCP ports and none was chosen.
    #[error("the Service has several TCP ports ({ports}); choose one by annotation zoobridge.io/port")]
    SeveralPorts {
        /// Their names.
        ports: String,
    },
    /// The Service has no ports.
    #[error("the Service has no port to publish")]
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
    /// An ExternalName Service has no endpoints.
    #[error("an ExternalName Service has no endpoints to publish")]
    ExternalName,
}

/// The union of the ready TCP endpoints of all slices, in the Service's preferred family.
///
/// `ready` is Kubernetes' own: false for a pod that terminates, unless the Service publishes addresses that
/// are not ready. A port with a name that differs in number per pod is looked up in each slice.
///
/// # Errors
/// The port cannot be determined; see [`ReadyError`]. No slices, or slices without ready endpoints, are
/// legal and give an empty set.
pub fn ready<'a>(
    service: &Service,
    choice: &PortChoice,
    slices: impl IntoIterator<Item = &'a Slice>,
) -> Result<BTreeSet<Endpoint>, ReadyError> {
    if service.is_external_name {
        return Err(ReadyError::ExternalName);
    }
    let name = port_name(service, choice)?;
    let family = family(service);
    let (mut endpoints, mut without_port) = (BTreeSet::new(), false);
    for slice in slices.into_iter().filter(|slice| slice.family == family) {
        let mut ready = slice.endpoints.iter().filter(|endpoint| endpoint.conditions.ready).peekable();
        let port = slice.ports.iter().find(|port| &*port.name == name && port.protocol == Protocol::Tcp);
        match port.and_then(|port| port.port) {
            Some(port) => {
                endpoints.extend(ready.map(|e| Endpoint { ip: e.ip, port, protocol: Protocol::Tcp }));
            }
            None => without_port |= ready.peek().is_some(),
        }
    }
    if endpoints.is_empty() && without_port {
        return Err(ReadyError::PortInNoSlice { wanted: wanted(choice, name) });
    }
    Ok(endpoints)
}

/// The ready addresses of all slices, at whatever port.
pub fn ready_addresses<'a>(
    service: &Service,
    slices: impl IntoIterator<Item = &'a Slice>,
) -> BTreeSet<IpAddr> {
    if service.is_external_name {
        return BTreeSet::new();
    }
    let slices = slices.into_iter().filter(|slice| slice.family == family(service));
    let endpoints = slices.flat_map(|slice| slice.endpoints.iter());
    endpoints.filter(|endpoint| endpoint.conditions.ready).map(|endpoint| endpoint.ip).collect()
}

/// The one family that is published.
fn family(service: &Service) -> Family {
    if service.prefers_ipv4 { Family::Ipv4 } else { Family::Ipv6 }
}

/// The name under which slices carry the chosen port. A number may stand for a TCP port and for a UDP port,
/// so ports of other protocols are not even looked at.
fn port_name<'s>(service: &'s Service, choice: &PortChoice) -> Result<&'s str, ReadyError> {
    let tcp: Vec<_> = service.ports.iter().filter(|port| port.protocol == Protocol::Tcp).collect();
    let found = match (choice, tcp.as_slice()) {
        (_, []) if service.ports.is_empty() => return Err(ReadyError::NoPort),
        (_, []) => return Err(ReadyError::NoTcpPort { ports: names(&service.ports) }),
        (PortChoice::Only, [only]) => Some(only),
        (PortChoice::Only, _) => return Err(ReadyError::SeveralPorts { ports: names(tcp) }),
        (PortChoice::Named(name), tcp) => tcp.iter().find(|port| port.name == *name),
        (PortChoice::Numbered(number), tcp) => tcp.iter().find(|port| port.port == *number),
    };
    found
        .map(|port| port.name.as_str())
        .ok_or_else(|| ReadyError::NoSuchPort { wanted: wanted(choice, ""), ports: names(&service.ports) })
}

fn wanted(choice: &PortChoice, name: &str) -> String {
    match choice {
        PortChoice::Only => name.to_owned(),
        PortChoice::Named(name) => name.clone(),
        PortChoice::Numbered(number) => number.to_string(),
    }
}

/// `http, 8080, dns (UDP)`.
fn names<'s>(ports: impl IntoIterator<Item = &'s ServicePort>) -> String {
    let names = ports.into_iter().map(|ServicePort { name, port, protocol }| {
        let name = if name.is_empty() { port.to_string() } else { name.clone() };
        match protocol {
            Protocol::Tcp => name,
            other => format!("{name} ({other})"),
        }
    });
    names.collect::<Vec<_>>().join(", ")
}

impl fmt::Display for PortChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&wanted(self, "the only one"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::slice::{Conditions, SliceEndpoint, SlicePort};

    fn service(ports: &[(&str, u16)]) -> Service {
        Service::sample(&[], ports.iter().map(|&(name, number)| port(name, number, Protocol::Tcp)).collect())
    }

    fn port(name: &str, port: u16, protocol: Protocol) -> ServicePort {
        ServicePort { name: name.to_owned(), port, protocol }
    }

    fn slice(ports: &[(&str, Option<u16>)], endpoints: &[(&str, Option<bool>)]) -> Slice {
        let ip = |text: &str| text.parse::<std::net::IpAddr>().unwrap();
        Slice {
            family: if endpoints.iter().any(|(text, _)| ip(text).is_ipv6()) {
                Family::Ipv6
            } else {
                Family::Ipv4
            },
            ports: ports
                .iter()
                .map(|&(name, port)| SlicePort { name: name.into(), port, protocol: Protocol::Tcp })
                .collect(),
            endpoints: endpoints
                .iter()
                .map(|&(text, ready)| SliceEndpoint {
                    ip: ip(text),
                    conditions: Conditions::new(ready, None, None),
                })
                .collect(),
        }
    }

    fn shown(result: Result<BTreeSet<Endpoint>, ReadyError>) -> String {
        result.unwrap().iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_union_of_all_slices_counts_and_absent_ready_means_yes() {
        let slices = [
            slice(&[("http", Some(8080))], &[("10.0.0.1", None), ("10.0.0.2", Some(false))]),
            slice(&[("http", Some(8080))], &[("10.0.0.1", Some(true)), ("10.0.0.3", Some(true))]),
            slice(&[("http", Some(9090))], &[("10.0.0.4", Some(true))]),
            slice(&[], &[]),
        ];
        let found = ready(&service(&[("http", 80)]), &PortChoice::Only, &slices);
        assert_eq!(shown(found), "10.0.0.1:8080 10.0.0.3:8080 10.0.0.4:9090");
    }

    #[test]
    fn one_family_is_published() {
        let slices =
            [slice(&[("", Some(80))], &[("10.0.0.1", None)]), slice(&[("", Some(80))], &[("fd00::1", None)])];
        let mut service = service(&[("", 80)]);
        assert_eq!(shown(ready(&service, &PortChoice::Only, &slices)), "10.0.0.1:80");
        service.prefers_ipv4 = false;
        assert_eq!(shown(ready(&service, &PortChoice::Only, &slices)), "[fd00::1]:80");
    }

    #[test]
    fn ports_that_cannot_be_told_are_refused_by_name() {
        let two = service(&[("http", 80), ("admin", 81)]);
        let slices = [slice(&[("http", Some(8080))], &[("10.0.0.1", None)])];
        let error = |service: &Service, choice: PortChoice| ready(service, &choice, &slices).unwrap_err();
        assert!(matches!(error(&two, PortChoice::Only), ReadyError::SeveralPorts { .. }));
        assert!(matches!(error(&two, PortChoice::Named("grpc".into())), ReadyError::NoSuchPort { .. }));
        assert!(matches!(error(&two, PortChoice::Named("admin".into())), ReadyError::PortInNoSlice { .. }));
        assert!(matches!(error(&service(&[]), PortChoice::Only), ReadyError::NoPort));
        assert_eq!(shown(ready(&two, &PortChoice::Numbered(80), &slices)), "10.0.0.1:8080");
        let mut external = two;
        external.is_external_name = true;
        assert!(matches!(error(&external, PortChoice::Numbered(80)), ReadyError::ExternalName));
    }

    #[test]
    fn no_ready_endpoint_is_no_error() {
        let service = service(&[("http", 80)]);
        assert_eq!(shown(ready(&service, &PortChoice::Only, &[])), "");
        let unready = [slice(&[], &[("10.0.0.1", Some(false))])];
        assert_eq!(shown(ready(&service, &PortChoice::Only, &unready)), "");
    }

    #[test]
    fn a_udp_port_beside_a_tcp_port_is_not_looked_at() {
        let mut dns = service(&[]);
        dns.ports = vec![port("dns", 53, Protocol::Udp), port("dns-tcp", 53, Protocol::Tcp)];
        let mut slices = [slice(&[("dns", Some(5353)), ("dns-tcp", Some(5353))], &[("10.0.0.1", None)])];
        slices[0].ports[0].protocol = Protocol::Udp;
        for choice in [PortChoice::Only, PortChoice::Numbered(53), PortChoice::Named("dns-tcp".into())] {
            assert_eq!(shown(ready(&dns, &choice, &slices)), "10.0.0.1:5353", "{choice}");
        }
        let error = ready(&dns, &PortChoice::Named("dns".into()), &slices).unwrap_err().to_string();
        assert!(error.contains("no TCP port \"dns\"") && error.contains("dns (UDP), dns-tcp"), "{error}");
        dns.ports.pop();
        for choice in [PortChoice::Only, PortChoice::Numbered(53), PortChoice::Named("dns".into())] {
            let error = ready(&dns, &choice, &slices).unwrap_err();
            assert_eq!(error, ReadyError::NoTcpPort { ports: "dns (UDP)".to_owned() }, "{choice}");
        }
    }

    fn endpoint(
        ip: &str,
        ready: Option<bool>,
        serving: Option<bool>,
        terminating: Option<bool>,
    ) -> SliceEndpoint {
        SliceEndpoint { ip: ip.parse().unwrap(), conditions: Conditions::new(ready, serving, terminating) }
    }

    /// What Services publish whose slices are as Kubernetes' own documents and kube-proxy's tests have them.
    #[test]
    fn pitfalls_of_slices() {
        let (yes, no) = (Some(true), Some(false));
        let http = [("http", Some(8080))];
        let with = |endpoints: &[SliceEndpoint]| Slice { endpoints: endpoints.into(), ..slice(&http, &[]) };
        let of_family = |family, slice: Slice| Slice { family, ..slice };
        let cases: &[(&str, Vec<Slice>, &str)] = &[
            (
                "an endpoint is in two slices while it moves",
                vec![slice(&http, &[("10.0.0.1", yes)]), slice(&http, &[("10.0.0.1", yes)])],
                "10.0.0.1:8080",
            ),
            (
                "one slice says ready and the other, older one does not",
                vec![slice(&http, &[("10.0.0.1", no)]), slice(&http, &[("10.0.0.1", yes)])],
                "10.0.0.1:8080",
            ),
            (
                "a new pod has the address of one that terminates, in the same slice",
                vec![with(&[endpoint("10.0.0.1", yes, yes, no), endpoint("10.0.0.1", no, no, yes)])],
                "10.0.0.1:8080",
            ),
            (
                "a pod that terminates stays in its slice, and still serves",
                vec![with(&[endpoint("10.0.0.1", no, yes, yes), endpoint("10.0.0.2", yes, yes, no)])],
                "10.0.0.2:8080",
            ),
            (
                "publishNotReadyAddresses says ready for pods that are not, or that terminate",
                vec![with(&[endpoint("10.0.0.1", yes, no, no), endpoint("10.0.0.2", yes, no, yes)])],
                "10.0.0.1:8080 10.0.0.2:8080",
            ),
            (
                "absent conditions mean ready",
                vec![with(&[endpoint("10.0.0.1", None, None, None), endpoint("10.0.0.2", None, no, yes)])],
                "10.0.0.1:8080 10.0.0.2:8080",
            ),
            ("a placeholder has no ports and no endpoints", vec![slice(&[], &[])], ""),
            (
                "a placeholder is beside a slice with endpoints",
                vec![slice(&[], &[]), slice(&http, &[("10.0.0.1", yes)])],
                "10.0.0.1:8080",
            ),
            (
                "the named port of some pods has no number, since they do not have it",
                vec![slice(&[], &[("10.0.0.1", yes)]), slice(&http, &[("10.0.0.2", yes)])],
                "10.0.0.2:8080",
            ),
            (
                "the named port has another number in each slice",
                vec![
                    slice(&http, &[("10.0.0.1", yes)]),
                    slice(&[("http", Some(9090))], &[("10.0.0.1", yes)]),
                ],
                "10.0.0.1:8080 10.0.0.1:9090",
            ),
            ("names are no addresses", vec![of_family(Family::Fqdn, slice(&http, &[("10.0.0.1", yes)]))], ""),
            (
                "each family has its own slices",
                vec![slice(&http, &[("fd00::1", yes)]), slice(&http, &[("10.0.0.1", yes)])],
                "10.0.0.1:8080",
            ),
        ];
        for (pitfall, slices, expected) in cases {
            let service = service(&[("http", 80)]);
            assert_eq!(&shown(ready(&service, &PortChoice::Only, slices)), expected, "{pitfall}");
            let addresses: BTreeSet<_> =
                expected.split_whitespace().map(|e| e.rsplit_once(':').unwrap().0.to_owned()).collect();
            let ready: BTreeSet<_> =
                ready_addresses(&service, slices).iter().map(ToString::to_string).collect();
            assert!(addresses.is_subset(&ready), "{pitfall}: {ready:?}");
        }
    }

    #[test]
    fn pitfalls_that_are_refused() {
        let mut external = service(&[("http", 80)]);
        external.is_external_name = true;
        let left_over = slice(&[("http", Some(8080))], &[("10.0.0.1", None)]);
        let all_ports = slice(&[("http", None)], &[("10.0.0.1", None)]);
        let no_ports = slice(&[], &[("10.0.0.1", None)]);
        let mut udp = slice(&[("http", Some(8080))], &[("10.0.0.1", None)]);
        udp.ports[0].protocol = Protocol::Udp;
        let in_no_slice = ReadyError::PortInNoSlice { wanted: "http".to_owned() };
        let cases = [
            (
                "an ExternalName Service keeps the slices of its past",
                external,
                left_over,
                ReadyError::ExternalName,
            ),
            (
                "a port without a number means all ports",
                service(&[("http", 80)]),
                all_ports,
                in_no_slice.clone(),
            ),
            (
                "a slice without ports means all ports",
                service(&[("http", 80)]),
                no_ports.clone(),
                in_no_slice.clone(),
            ),
            ("the slice has the port for UDP only", service(&[("http", 80)]), udp, in_no_slice),
            ("a headless Service has no ports", service(&[]), no_ports, ReadyError::NoPort),
        ];
        for (pitfall, service, slice, expected) in cases {
            assert_eq!(ready(&service, &PortChoice::Only, [&slice]), Err(expected), "{pitfall}");
            let kept = ready_addresses(&service, [&slice]).len();
            assert_eq!(kept, usize::from(!service.is_external_name), "{pitfall}");
        }
    }
}
