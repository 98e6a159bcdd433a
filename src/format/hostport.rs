//! `host:port` as the name of a leaf and as its data, for consumers that read either: shell scripts, Armeria's
//! legacy registration, and many that were written in house.

use zk_wire::path::PathError;

use super::definition::{Asking, BadAnnotation, Definition, NoIpv6, Target};
use super::name::below;
use super::registered::{self, MAX_RECORD_BYTES, Registered, Unreadable};
use super::{Instance, Leaf};
use crate::model::{Endpoint, Host, ZnodePath};

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

    fn host(&self, leaf: &str) -> Option<Host> {
        Host::parse_with_port(leaf).map(|(host, _)| host)
    }

    /// The data, or the name of a leaf without any. Armeria's data may have a weight behind the port; one of 0 is
    /// not ready.
    fn registered(&self, service: &str, name: &str, data: &[u8]) -> Result<Registered, Unreadable> {
        if data.len() > MAX_RECORD_BYTES {
            return Err(Unreadable::TooLong(data.len()));
        }
        let text = std::str::from_utf8(data).map_err(|_| Unreadable::NotText)?.trim();
        let text = if text.is_empty() { name } else { text };
        let (host, port, weight) = split(text)?;
        let port = port.parse().ok().filter(|&port| port > 0).ok_or(Unreadable::NoPort)?;
        let has_weight = weight.and_then(|weight| weight.parse().ok()) != Some(0i64);
        Ok(Registered { service: service.to_owned(), host: registered::host(host)?, port, ready: has_weight })
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
        let Endpoint { host, port, .. } = instance.endpoint;
        let name = host.with_port(*port);
        Ok(Leaf { data: name.clone().into(), name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leaf_has_exactly_these_bytes() {
        let hosts = Hostport { path: "prod/orders".to_owned() };
        for (host, name) in [
            ("10.1.2.3", "10.1.2.3:8080"),
            ("fd00::12", "[fd00::12]:8080"),
            ("orders.example", "orders.example:8080"),
        ] {
            let endpoint = Endpoint::tcp(host, 8080);
            let leaf = hosts.leaf(&Instance::new(&endpoint, 7)).unwrap();
            assert_eq!((&*leaf.name, &*leaf.data), (name, name.as_bytes()));
            assert_eq!(Format.host(&leaf.name), Some(endpoint.host));
        }
    }

    #[test]
    fn addresses_of_others_are_read() {
        let read = |name: &str, data: &str| {
            let read = Format.registered("orders", name, data.as_bytes())?;
            Ok((read.host.with_port(read.port), read.ready))
        };
        for (name, data, address, ready) in [
            ("10.1.2.3:8080", "", "10.1.2.3:8080", true),
            ("server-0000000003", "10.1.2.3:8080\n", "10.1.2.3:8080", true),
            ("10.1.2.3_8080", "10.1.2.3:8080:1000", "10.1.2.3:8080", true),
            ("10.1.2.3_8080", "10.1.2.3:8080:0", "10.1.2.3:8080", false),
            ("x", "fd00::12:8080", "[fd00::12]:8080", true),
            ("x", "[fd00::12]:8080:0", "[fd00::12]:8080", false),
            ("host.example:80", "", "host.example:80", true),
        ] {
            assert_eq!(read(name, data), Ok((address.to_owned(), ready)), "{name} {data}");
        }
        let no_host = |text: &str| Unreadable::NotAHost(text.to_owned());
        for (name, data, expected) in [
            ("orders", "", Unreadable::NoPort),
            ("10.1.2.3", "", Unreadable::NoPort),
            ("10.1.2.3:0", "", Unreadable::NoPort),
            ("10.1.2:80", "", no_host("10.1.2")),
            (":80", "", Unreadable::NoAddress),
        ] {
            assert_eq!(read(name, data), Err(expected), "{name} {data}");
        }
    }
}
