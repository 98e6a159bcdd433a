//! Where a consumer can connect to.

use std::fmt;

use super::host::Host;

/// One address and port of one pod, or of something else that a Service is reached at. Two slices that list the same one
/// describe one endpoint.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// Its address, or its name.
    pub host: Host,
    /// Its port.
    pub port: u16,
    /// Always TCP for what is published so far.
    pub protocol: Protocol,
}

/// The protocols of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// The default.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// Reads Kubernetes' name of it; absent means TCP.
    #[must_use]
    pub fn from_name(name: Option<&str>) -> Option<Self> {
        match name {
            None | Some("" | "TCP") => Some(Protocol::Tcp),
            Some("UDP") => Some(Protocol::Udp),
            Some("SCTP") => Some(Protocol::Sctp),
            Some(_) => None,
        }
    }
}

impl fmt::Display for Protocol {
    /// Kubernetes' name of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "TCP",
            Protocol::Udp => "UDP",
            Protocol::Sctp => "SCTP",
        })
    }
}

#[cfg(test)]
impl Endpoint {
    /// One for tests, at an address or a name.
    pub(crate) fn tcp(host: &str, port: u16) -> Self {
        Endpoint { host: Host::parse(host).unwrap(), port, protocol: Protocol::Tcp }
    }
}

impl fmt::Display for Endpoint {
    /// `10.1.2.3:8080`, `[fd00::1]:8080`, `orders.example:8080`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host.with_port(self.port))
    }
}
