//! `host:port` as the name of a leaf and as its data, for consumers that read either: shell scripts, Armeria's
//! legacy registration, and many that were written in house.

use std::net::{IpAddr, SocketAddr};

use zk_wire::path::PathError;

use super::definition::{Asking, BadAnnotation, Definition, NoIpv6, Target};
use super::name::below;
use super::registered::{self, MAX_RECORD_BYTES, Registered, Unreadable};
use super::{Instance, Leaf};
use crate::model::{Endpoint, ZnodePath};

/// Plain addresses.
pub(super) struct Format;

/// What one Service publishes as addresses.
#[derive(Debug)]
struct Hostport {
    /// The directory's path below the root.
    path: String,
}

const ANNOTATION: &str = "hostport";

impl Definition for Format {
    fn root(&self) -> &'static str {
        "/hosts"
    }

    fn targets(&self, asked: &Asking<'_>) -> Vec<Result<Box<dyn Target>, BadAnnotation>> {
        asked.nested(ANNOTATION, |path| Hostport { path })
    }

    fn address(&self, leaf: &str) -> Option<IpAddr> {
        leaf.parse().ok().map(|address: SocketAddr| address.ip())
    }

    /// The data, or the name of a leaf without any. Armeria's data may have a weight behind the port; one of 0 is
    /// not ready.
    fn registered(&self, service: &str, name: &str, data: &[u8]) -> Result<Registered, Unreadable> {
        if data.len() > MAX_RECORD_BYTES {
            return Err(Unreadable::TooLong(data.len()));
        }
        let text = std::str::from_utf8(data).map_err(|_| Unreadable::NotText)?.trim();
        let text = if text.is_empty() { name } else { text };
        let (ip, port, weight) = split(text)?;
        let port = port.parse().ok().filter(|&port| port > 0).ok_or(Unreadable::NoPort)?;
        let has_weight = weight.and_then(|weight| weight.parse().ok()) != Some(0i64);
        Ok(Registered { service: service.to_owned(), ip: registered::address(ip)?, port, ready: has_weight })
    }
}

/// Host, port and weight. What has more colons is an IPv6 address and has no weight, unless it is in brackets.
fn split(text: &str) -> Result<(&str, &str, Option<&str>), Unreadable> {
    let (host, rest) = match text.split_once("]:") {
        Some((host, rest)) => (host.trim_start_matches('['), rest),
        None if text.matches(':').count() > 2 => text.rsplit_once(':').ok_or(Unreadable::NoPort)?,
        None => text.split_once(':').ok_or(Unreadable::NoPort)?,
    };
    match rest.split_once(':') {
        Some((port, weight)) => Ok((host, port, Some(weight))),
        None => Ok((host, rest, None)),
    }
}

impl Target for Hostport {
    fn name(&self) -> &str {
        &self.path
    }

    fn directory(&self, root: &ZnodePath) -> Result<ZnodePath, PathError> {
        below(root, &self.path)
    }

    fn leaf(&self, instance: &Instance<'_>) -> Result<Leaf, NoIpv6> {
        let Endpoint { ip, port, .. } = instance.endpoint;
        let name = SocketAddr::new(ip, port).to_string();
        Ok(Leaf { data: name.clone().into(), name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Protocol;

    #[test]
    fn a_leaf_has_exactly_these_bytes() {
        let hosts = Hostport { path: "prod/orders".to_owned() };
        for (ip, name) in [("10.1.2.3", "10.1.2.3:8080"), ("fd00::12", "[fd00::12]:8080")] {
            let endpoint = Endpoint { ip: ip.parse().unwrap(), port: 8080, protocol: Protocol::Tcp };
            let leaf = hosts.leaf(&Instance::new(endpoint, 7)).unwrap();
            assert_eq!((&*leaf.name, &*leaf.data), (name, name.as_bytes()));
            assert_eq!(Format.address(&leaf.name), Some(endpoint.ip));
        }
    }

    #[test]
    fn addresses_of_others_are_read() {
        let read = |name: &str, data: &str| {
            let read = Format.registered("orders", name, data.as_bytes())?;
            Ok((SocketAddr::new(read.ip, read.port).to_string(), read.ready))
        };
        for (name, data, address, ready) in [
            ("10.1.2.3:8080", "", "10.1.2.3:8080", true),
            ("server-0000000003", "10.1.2.3:8080\n", "10.1.2.3:8080", true),
            ("10.1.2.3_8080", "10.1.2.3:8080:1000", "10.1.2.3:8080", true),
            ("10.1.2.3_8080", "10.1.2.3:8080:0", "10.1.2.3:8080", false),
            ("x", "fd00::12:8080", "[fd00::12]:8080", true),
            ("x", "[fd00::12]:8080:0", "[fd00::12]:8080", false),
        ] {
            assert_eq!(read(name, data), Ok((address.to_owned(), ready)), "{name} {data}");
        }
        let no_address = |text: &str| Unreadable::NotAnAddress(text.to_owned());
        for (name, data, expected) in [
            ("orders", "", Unreadable::NoPort),
            ("10.1.2.3", "", Unreadable::NoPort),
            ("10.1.2.3:0", "", Unreadable::NoPort),
            ("host.example:80", "", no_address("host.example")),
            (":80", "", Unreadable::NoAddress),
        ] {
            assert_eq!(read(name, data), Err(expected), "{name} {data}");
        }
    }
}
