//! Which port of a Service is published.

use std::fmt;

use super::endpoint::Protocol;
use super::ready::ReadyError;
use super::service::{Service, ServicePort};
use super::slice::Slice;

/// Which port of a Service to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortChoice {
    /// The only one.
    Only,
    /// The one with this name.
    Named(String),
    /// The one with this number at the Service, or at the pods of a headless Service that names no ports.
    Numbered(u16),
}

/// The port that was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChosenPort<'s> {
    /// One of the Service's.
    Of(&'s ServicePort),
    /// One of the pods', of which Kubernetes knows nothing.
    AtPods(u16),
}

impl PortChoice {
    /// The port of this Service. A number may stand for a TCP port and for a UDP port, so ports of other
    /// protocols are not even looked at.
    ///
    /// # Errors
    /// It has no such port, or several.
    pub fn of<'s>(&self, service: &'s Service) -> Result<ChosenPort<'s>, ReadyError> {
        let tcp: Vec<_> = service.ports.iter().filter(|port| port.protocol == Protocol::Tcp).collect();
        let found = match (self, tcp.as_slice()) {
            (PortChoice::Numbered(number), []) if service.ports.is_empty() => {
                return Ok(ChosenPort::AtPods(*number));
            }
            (_, []) if service.ports.is_empty() => return Err(ReadyError::NoPort),
            (_, []) => return Err(ReadyError::NoTcpPort { ports: names(&service.ports) }),
            (PortChoice::Only, [only]) => Some(only),
            (PortChoice::Only, _) => return Err(ReadyError::SeveralPorts { ports: names(tcp) }),
            (PortChoice::Named(name), tcp) => tcp.iter().find(|port| port.name == *name),
            (PortChoice::Numbered(number), tcp) => tcp.iter().find(|port| port.port == *number),
        };
        found
            .map(|port| ChosenPort::Of(port))
            .ok_or_else(|| ReadyError::NoSuchPort { wanted: self.to_string(), ports: names(&service.ports) })
    }
}

impl ChosenPort<'_> {
    /// Its number at the endpoints of a slice: a port with a name may differ per pod, so each slice says its own.
    #[must_use]
    pub fn in_slice(self, slice: &Slice) -> Option<u16> {
        match self {
            ChosenPort::AtPods(number) => Some(number),
            ChosenPort::Of(chosen) => {
                let is_it =
                    |port: &&super::SlicePort| *port.name == *chosen.name && port.protocol == Protocol::Tcp;
                slice.ports.iter().find(is_it)?.port
            }
        }
    }

    /// As messages call it.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            ChosenPort::Of(port) if port.name.is_empty() => port.port.to_string(),
            ChosenPort::Of(port) => port.name.clone(),
            ChosenPort::AtPods(number) => number.to_string(),
        }
    }
}

/// `http, 8080, dns (UDP)`.
fn names<'s>(ports: impl IntoIterator<Item = &'s ServicePort>) -> String {
    let names = ports.into_iter().map(|ServicePort { name, port, protocol, .. }| {
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
        match self {
            PortChoice::Only => f.write_str("the only one"),
            PortChoice::Named(name) => f.write_str(name),
            PortChoice::Numbered(number) => number.fmt(f),
        }
    }
}
