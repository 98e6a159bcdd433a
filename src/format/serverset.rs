//! Twitter's ServerSets: `<root>/<path>/member_<digits>` with a JSON member (`serverset2.Entry`, `EndpointCodec`).
//!
//! Finagle reads a member's data once and remembers it by the name, so the name must follow from the data: it is
//! the address and the port in decimal digits, as many as the widest have, and four digits of a hash of the metadata
//! if there is any. A name has two digits for each of its characters. Members have sequence numbers elsewhere, and some
//! readers take the digits for a number; none needs them to be in sequence. There is no `shard`: Finagle takes members of one shard for one.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::Serialize;
use serde_json::Value;
use zk_wire::path::PathError;

use super::definition::{Asking, BadAnnotation, Definition, NoIpv6, Target};
use super::instance::TOPOLOGY_DIGITS;
use super::name::below;
use super::registered::{Registered, Unreadable, json, member_host, member_port};
use super::{Instance, Leaf};
use crate::model::{Endpoint, Host, HostName, ZnodePath};

/// ServerSets.
pub(super) struct Format;

/// What one Service publishes as members of a set.
#[derive(Debug)]
struct Serverset {
    /// The set's path below the root, usually role, environment and job.
    path: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Member<'a> {
    service_endpoint: Address<'a>,
    /// Readers of the first generation fail without it.
    additional_endpoints: BTreeMap<&'static str, Address<'a>>,
    status: &'static str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<&'static str, &'a str>,
}

#[derive(Serialize)]
struct Address<'a> {
    host: &'a Host,
    port: u16,
}

const ANNOTATION: &str = "serverset";
const PREFIX: &str = "member_";
/// Digits of the greatest port, IPv4 and IPv6 address.
const PORT_DIGITS: usize = 5;
const IPV4_DIGITS: usize = 10;
const IPV6_DIGITS: usize = 39;
/// The first digit of a name, without and with metadata: addresses begin with a smaller one.
const NAMED: [char; 2] = ['8', '9'];
/// Two digits stand for a character's place here.
const CHARACTERS: &str = "abcdefghijklmnopqrstuvwxyz0123456789-.";

impl Definition for Format {
    fn root(&self) -> &'static str {
        "/twitter/service"
    }

    fn has_topology(&self) -> bool {
        true
    }

    fn targets(&self, asked: &Asking<'_>) -> Vec<Result<Box<dyn Target>, BadAnnotation>> {
        asked.nested(ANNOTATION, |path| Serverset { path })
    }

    fn host(&self, leaf: &str) -> Option<Host> {
        const IPV4: usize = IPV4_DIGITS + PORT_DIGITS;
        const IPV4_METADATA: usize = IPV4 + TOPOLOGY_DIGITS;
        const IPV6: usize = IPV6_DIGITS + PORT_DIGITS;
        const IPV6_METADATA: usize = IPV6 + TOPOLOGY_DIGITS;
        let digits = leaf.strip_prefix(PREFIX)?;
        let [plain, with_metadata] = NAMED.map(|first| digits.strip_prefix(first));
        if let Some(digits) = plain {
            return name_of(digits.get(..digits.len().checked_sub(PORT_DIGITS)?)?);
        }
        if let Some(digits) = with_metadata {
            return name_of(digits.get(..digits.len().checked_sub(PORT_DIGITS + TOPOLOGY_DIGITS)?)?);
        }
        let ip: IpAddr = match digits.len() {
            IPV4 | IPV4_METADATA => Ipv4Addr::from_bits(digits.get(..IPV4_DIGITS)?.parse().ok()?).into(),
            IPV6 | IPV6_METADATA => Ipv6Addr::from_bits(digits.get(..IPV6_DIGITS)?.parse().ok()?).into(),
            _ => return None,
        };
        Some(ip.into())
    }

    /// A member that is not `ALIVE` is not ready.
    fn registered(&self, service: &str, name: &str, data: &[u8]) -> Result<Registered, Unreadable> {
        if !name.starts_with(PREFIX) {
            return Err(Unreadable::NotProvider { what: "name", value: super::shortened(name) });
        }
        let record = json(data)?;
        let endpoint =
            record.get("serviceEndpoint").and_then(Value::as_object).ok_or(Unreadable::NoAddress)?;
        Ok(Registered {
            service: service.to_owned(),
            host: member_host(endpoint.get("host"))?,
            port: member_port(endpoint.get("port"))?,
            ready: record.get("status").and_then(Value::as_str) == Some("ALIVE"),
        })
    }
}

impl Target for Serverset {
    fn name(&self) -> &str {
        &self.path
    }

    fn directory(&self, root: &ZnodePath) -> Result<ZnodePath, PathError> {
        below(root, &self.path)
    }

    fn leaf(&self, instance: &Instance<'_>) -> Result<Leaf, NoIpv6> {
        let &Endpoint { ref host, port, .. } = instance.endpoint;
        let digits = match host {
            Host::Ip(IpAddr::V4(ip)) => format!("{:0IPV4_DIGITS$}", ip.to_bits()),
            Host::Ip(IpAddr::V6(ip)) => format!("{:0IPV6_DIGITS$}", ip.to_bits()),
            Host::Name(name) => name_digits(name, !instance.topology.is_empty()),
        };
        let member = Member {
            service_endpoint: Address { host, port },
            additional_endpoints: BTreeMap::new(),
            status: "ALIVE",
            metadata: instance.topology.iter().map(|(name, value)| (*name, value.as_str())).collect(),
        };
        // A struct of strings and numbers always has a JSON form.
        let data = serde_json::to_vec(&member).unwrap_or_default().into();
        let metadata = instance.topology_digits();
        Ok(Leaf { name: format!("{PREFIX}{digits}{port:0PORT_DIGITS$}{metadata}"), data })
    }
}

fn name_digits(name: &HostName, has_metadata: bool) -> String {
    let place = |c: char| CHARACTERS.chars().position(|one| one == c).unwrap_or_default();
    let digits = name.as_str().chars().map(|c| format!("{:02}", place(c)));
    std::iter::once(NAMED[usize::from(has_metadata)].to_string()).chain(digits).collect()
}

/// The name that has these digits.
fn name_of(digits: &str) -> Option<Host> {
    let are_pairs = digits.len().is_multiple_of(2) && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !are_pairs {
        return None;
    }
    let pairs = digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok()?.parse::<usize>().ok());
    let name: Option<String> = pairs.map(|place| CHARACTERS.chars().nth(place?)).collect();
    HostName::new(&name?).map(Host::Name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_has_exactly_these_bytes() {
        let set = Serverset { path: "web/prod/orders".to_owned() };
        let root = ZnodePath::new("/twitter/service").unwrap();
        assert_eq!(set.directory(&root).unwrap().as_str(), "/twitter/service/web/prod/orders");
        for (host, name) in [
            ("10.1.2.3", "member_016783821108080"),
            ("fd00::12", "member_33629468293358371584466318625092717774608080"),
            ("a-9.b", "member_8003635370108080"),
        ] {
            let endpoint = Endpoint::tcp(host, 8080);
            let instance = Instance::new(&endpoint, 7);
            let leaf = set.leaf(&instance).unwrap();
            assert_eq!(Format.host(&leaf.name).as_ref(), Some(&endpoint.host), "{}", leaf.name);
            assert_eq!(leaf.name, name);
            let expected = format!(
                r#"{{"serviceEndpoint":{{"host":"{host}","port":8080}},"additionalEndpoints":{{}},"status":"ALIVE"}}"#
            );
            assert_eq!(std::str::from_utf8(&leaf.data).unwrap(), expected);
            let topology = [("zone", "a".to_owned())];
            let leaf = set.leaf(&Instance { topology: &topology, ..instance }).unwrap();
            assert_eq!(leaf.name, format!("{}7609", name.replace("member_8", "member_9")));
            assert_eq!(Format.host(&leaf.name).as_ref(), Some(&endpoint.host), "{}", leaf.name);
            let expected = expected.replace("\"ALIVE\"", "\"ALIVE\",\"metadata\":{\"zone\":\"a\"}");
            assert_eq!(std::str::from_utf8(&leaf.data).unwrap(), expected);
        }
    }

    #[test]
    fn members_of_others_are_read() {
        let read = |name: &str, data: &str| {
            let read = Format.registered("orders", name, data.as_bytes())?;
            Ok((read.host.with_port(read.port), read.ready))
        };
        let endpoint = r#""serviceEndpoint":{"host":"10.1.2.3","port":8080}"#;
        let finagle = format!(
            r#"{{{endpoint},"additionalEndpoints":{{"admin":{{"host":"10.1.2.3","port":9990}}}},"status":"ALIVE","shard":0,"metadata":{{"zone":"a"}}}}"#
        );
        assert_eq!(read("member_0000000003", &finagle), Ok(("10.1.2.3:8080".to_owned(), true)));
        let stopping = format!(r#"{{{endpoint},"status":"STOPPING"}}"#);
        assert_eq!(read("member_1", &stopping), Ok(("10.1.2.3:8080".to_owned(), false)));
        let no_member = Unreadable::NotProvider { what: "name", value: "vector_0".to_owned() };
        assert_eq!(read("vector_0", &finagle), Err(no_member));
        assert_eq!(read("member_1", "{}"), Err(Unreadable::NoAddress));
        assert_eq!(read("member_1", r#"{"serviceEndpoint":{"host":"10.1.2.3"}}"#), Err(Unreadable::NoPort));
        assert_eq!(read("member_1", "nonsense"), Err(Unreadable::NotJson));
    }
}
