//! Which endpoints of a Service are ready, as kube-proxy sees it.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use super::endpoint::{Endpoint, Protocol};
use super::service::Service;
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
    /// The Service has several ports and none was chosen.
    #[error("the Service has several ports ({ports}); choose one by annotation zoobridge.io/port")]
    SeveralPorts {
        /// Their names.
        ports: String,
    },
    /// The Service has no ports.
    #[error("the Service has no port to publish")]
    NoPort,
    /// The Service has no such port.
    #[error("the Service has no port {wanted:?}; it has {ports}")]
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

/// The name under which slices carry the chosen port.
fn port_name<'s>(service: &'s Service, choice: &PortChoice) -> Result<&'s str, ReadyError> {
    let found = match choice {
        PortChoice::Only => match service.ports.as_slice() {
            [] => return Err(ReadyError::NoPort),
            [only] => Some(only),
            _ => return Err(ReadyError::SeveralPorts { ports: names(service) }),
        },
        PortChoice::Named(name) => service.ports.iter().find(|port| port.name == *name),
        PortChoice::Numbered(number) => service.ports.iter().find(|port| port.port == *number),
    };
    found
        .map(|port| port.name.as_str())
        .ok_or_else(|| ReadyError::NoSuchPort { wanted: wanted(choice, ""), ports: names(service) })
}

fn wanted(choice: &PortChoice, name: &str) -> String {
    match choice {
        PortChoice::Only => name.to_owned(),
        PortChoice::Named(name) => name.clone(),
        PortChoice::Numbered(number) => number.to_string(),
    }
}

fn names(service: &Service) -> String {
    let names: Vec<_> = service
        .ports
        .iter()
        .map(|port| if port.name.is_empty() { port.port.to_string() } else { port.name.clone() })
        .collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

impl fmt::Display for PortChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&wanted(self, "the only one"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::service::{ServiceKey, ServicePort};
    use crate::model::slice::{Conditions, SliceEndpoint, SlicePort};

    fn service(ports: &[(&str, u16)]) -> Service {
        Service {
            key: ServiceKey::new("shop", "orders"),
            uid: "u".into(),
            resource_version: "1".into(),
            created_ms: 0,
            annotations: [].into(),
            ports: ports.iter().map(|&(name, port)| ServicePort { name: name.to_owned(), port }).collect(),
            is_external_name: false,
            prefers_ipv4: true,
        }
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
}
