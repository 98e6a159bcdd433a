//! What administrators let in: which part of a registry becomes Services, and where.

use std::net::IpAddr;
use std::num::NonZeroU16;

use serde::Deserialize;

use crate::format::{Format, Registered};
use crate::model::{Cidr, EnsembleName, ZnodePath, is_label};
use crate::plan::{Pattern, anything, matches};

/// One root of a registry. Whoever may write below it is trusted as far as this says and no further.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Import {
    /// Names it on each Service that comes of it.
    pub name: String,
    /// In which ensemble.
    #[serde(default)]
    pub ensemble: EnsembleName,
    /// How instances are written there.
    pub format: Format,
    /// Where they are: services or interfaces are its children.
    #[schemars(with = "String")]
    pub root: ZnodePath,
    /// The namespace of its Services.
    pub namespace: String,
    /// Which Curator services or Dubbo interfaces.
    #[serde(default = "anything")]
    pub names: Vec<Pattern>,
    /// Which addresses endpoints may have. There is no default: whoever can write to the registry could lead
    /// traffic anywhere.
    #[schemars(with = "Vec<String>")]
    pub addresses: Vec<Cidr>,
    /// Which ports.
    #[serde(default = "all_ports")]
    #[schemars(with = "Vec<PortText>")]
    pub ports: Vec<PortRange>,
    /// The port of its Services. By default each gets the lowest port of its instances when it is created, and
    /// keeps that.
    #[serde(default)]
    pub service_port: Option<NonZeroU16>,
    /// Write `Endpoints` beside the slices, for clients that read nothing else?
    #[serde(default)]
    pub endpoints: bool,
    /// Take instances that are not ephemeral? Nothing removes those when their process ends.
    #[serde(default)]
    pub static_instances: bool,
    /// At most so many Services.
    #[serde(default = "max_services")]
    pub max_services: usize,
    /// At most so many endpoints of one Service.
    #[serde(default = "max_endpoints")]
    pub max_endpoints: usize,
}

/// `8080` or `1024-65535`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "PortText")]
pub struct PortRange {
    first: u16,
    last: u16,
}

#[derive(Deserialize, schemars::JsonSchema)]
#[serde(untagged)]
enum PortText {
    Number(u16),
    Text(String),
}

/// Why a text is no range of ports.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no range of ports like 8080 or 1024-65535")]
pub struct PortError(String);

/// Why an instance is not let in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Inadmissible {
    /// Kubernetes takes no such endpoint.
    #[error("{0} cannot be an endpoint: it is loopback, link-local, multicast, unspecified or reserved")]
    Never(IpAddr),
    /// A name instead of an address.
    #[error("{0:?} is no address; names are not resolved")]
    Name(String),
    /// No range has it.
    #[error("{0} is in no range of the import's addresses")]
    Address(IpAddr),
    /// No range has it.
    #[error("port {0} is in no range of the import's ports")]
    Port(u16),
    /// Its znode stays when its process ends.
    #[error("it is not ephemeral, so it may be long gone; the import's staticInstances would take it")]
    Static,
}

impl Import {
    /// Are instances of this service or interface wanted?
    #[must_use]
    pub fn wants(&self, service: &str) -> bool {
        matches(&self.names, service)
    }

    /// May this be an endpoint?
    ///
    /// # Errors
    /// See [`Inadmissible`].
    pub fn admit(&self, registered: &Registered, is_static: bool) -> Result<(), Inadmissible> {
        let &Registered { ref host, port, .. } = registered;
        let Some(ip) = host.ip() else { return Err(Inadmissible::Name(host.to_string())) };
        if is_static && !self.static_instances {
            Err(Inadmissible::Static)
        } else if is_never(ip) {
            Err(Inadmissible::Never(ip))
        } else if !self.addresses.iter().any(|range| range.contains(ip)) {
            Err(Inadmissible::Address(ip))
        } else if !self.ports.iter().any(|range| (range.first..=range.last).contains(&port)) {
            Err(Inadmissible::Port(port))
        } else {
            Ok(())
        }
    }

    /// What is wrong with its names: the key and the reason.
    ///
    /// # Errors
    /// They could not be those of a label and a namespace, or nothing could be let in.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        for (key, text) in [("name", &self.name), ("namespace", &self.namespace)] {
            if !is_label(text) {
                let rule = "is no DNS label: lower-case letters, digits and '-', 63 at most";
                return Err((key, format!("{text:?} {rule}")));
            }
        }
        if self.addresses.is_empty() {
            return Err(("addresses", "is empty, so nothing could be imported".to_owned()));
        }
        for (key, limit) in [("maxServices", self.max_services), ("maxEndpoints", self.max_endpoints)] {
            if limit == 0 {
                return Err((key, "is 0, so nothing could be imported".to_owned()));
            }
        }
        Ok(())
    }
}

/// What the API server refuses (`ValidateEndpointIP`), and what else nobody can connect to.
fn is_never(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            ip.is_loopback()
                || ip.is_link_local()
                || ip.is_multicast()
                || ip.octets()[0] == 0
                || ip.octets()[0] >= 240
        }
        IpAddr::V6(ip) => {
            ip.is_loopback()
                || ip.is_unicast_link_local()
                || ip.is_multicast()
                || ip.is_unspecified()
                || ip.to_ipv4_mapped().is_some()
        }
    }
}

impl TryFrom<PortText> for PortRange {
    type Error = PortError;

    fn try_from(text: PortText) -> Result<Self, PortError> {
        let text = match text {
            PortText::Number(port) => port.to_string(),
            PortText::Text(text) => text,
        };
        let (first, last) = text.split_once('-').unwrap_or((&text, &text));
        match (first.trim().parse(), last.trim().parse()) {
            (Ok(first), Ok(last)) if 0 < first && first <= last => Ok(PortRange { first, last }),
            _ => Err(PortError(text)),
        }
    }
}

fn all_ports() -> Vec<PortRange> {
    vec![PortRange { first: 1, last: u16::MAX }]
}

fn max_services() -> usize {
    1_000
}

fn max_endpoints() -> usize {
    1_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Host;

    fn import(more: &str) -> Import {
        let yaml = format!(
            "{{name: a, format: curator, root: /services, namespace: legacy, \
             addresses: [10.0.0.0/8, 'fd00::/8', 0.0.0.0/0, '::/0'], {more}}}"
        );
        serde_saphyr::from_str(&yaml).unwrap()
    }

    fn at(ip: &str, port: u16) -> Registered {
        Registered { service: "orders".to_owned(), host: Host::parse(ip).unwrap(), port, ready: true }
    }

    #[test]
    fn what_the_api_server_refuses_is_refused_whatever_is_allowed() {
        let import = import("");
        for ip in [
            "127.0.0.1",
            "169.254.1.1",
            "0.0.0.0",
            "0.1.2.3",
            "224.0.0.1",
            "239.1.1.1",
            "255.255.255.255",
            "240.0.0.1",
            "::1",
            "::",
            "fe80::1",
            "ff02::1",
            "ff05::1",
            "::ffff:10.1.1.1",
        ] {
            let refused = import.admit(&at(ip, 80), false).unwrap_err();
            assert_eq!(refused, Inadmissible::Never(ip.parse().unwrap()));
        }
        for ip in ["10.1.2.3", "8.8.8.8", "fd00::1", "2001:db8::1"] {
            assert_eq!(import.admit(&at(ip, 80), false), Ok(()), "{ip}");
        }
    }

    #[test]
    fn only_what_is_granted_is_let_in() {
        let mut import = import("ports: [80, 8000-8999], names: ['shop-*'], staticInstances: false");
        import.addresses.truncate(1);
        assert!(import.wants("shop-a") && !import.wants("orders"));
        for (registered, is_static, expected) in [
            (at("10.1.2.3", 80), false, Ok(())),
            (at("10.1.2.3", 8999), false, Ok(())),
            (at("10.1.2.3", 81), false, Err(Inadmissible::Port(81))),
            (at("11.1.2.3", 80), false, Err(Inadmissible::Address([11, 1, 2, 3].into()))),
            (at("10.1.2.3", 80), true, Err(Inadmissible::Static)),
            (at("orders.example", 80), false, Err(Inadmissible::Name("orders.example".to_owned()))),
        ] {
            assert_eq!(import.admit(&registered, is_static), expected, "{registered:?}");
        }
        import.static_instances = true;
        assert_eq!(import.admit(&at("10.1.2.3", 80), true), Ok(()));
    }

    #[test]
    fn a_range_of_ports_that_is_none_is_refused_with_its_text() {
        for text in ["x", "0", "9-8", "1-70000", "-", "70000"] {
            let yaml = format!("['{text}']");
            let error = serde_saphyr::from_str::<Vec<PortRange>>(&yaml).unwrap_err().to_string();
            assert!(error.contains(text) && error.contains("1024-65535"), "{error}");
        }
    }
}
