//! SmartStack: `<root>/<path>/<id>_<ten digits>` with a JSON backend (`nerve`'s `Reporter::Zookeeper`), as synapse
//! reads it.
//!
//! The digits become the server's id in HAProxy: below 2^31 and not 0. They are a hash of address and port, so that
//! they stay; the address and port in front of them keep the name unique. Synapse reads a backend again only when the
//! names change, so four more digits follow from its labels, if it has any: `<address>-<four digits>_<ten digits>`.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use serde::Serialize;
use sha1::{Digest, Sha1};
use zk_wire::path::PathError;

use super::definition::{Asking, BadAnnotation, Definition, NoIpv6, Target};
use super::name::below;
use super::registered::{Registered, Unreadable, integer, json, member_host, member_port};
use super::{Instance, Leaf};
use crate::model::{Endpoint, Host, ZnodePath};

/// SmartStack.
pub(super) struct Format;

/// What one Service publishes as backends.
#[derive(Debug)]
struct Nerve {
    /// The service's path below the root.
    path: String,
}

#[derive(Serialize)]
struct Backend<'a> {
    host: &'a Host,
    port: u16,
    /// In front of the address in the names of HAProxy's servers.
    name: &'a str,
    /// Synapse can be told to take only backends with certain ones.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<&'static str, &'a str>,
}

const ANNOTATION: &str = "nerve";
/// How names begin that carry the whole backend.
const ENCODED: &str = "base64_";

impl Definition for Format {
    fn root(&self) -> &'static str {
        "/nerve/services"
    }

    fn has_topology(&self) -> bool {
        true
    }

    fn targets(&self, asked: &Asking<'_>) -> Vec<Result<Box<dyn Target>, BadAnnotation>> {
        asked.nested(ANNOTATION, |path| Nerve { path })
    }

    fn host(&self, leaf: &str) -> Option<Host> {
        let (id, _) = leaf.rsplit_once('_')?;
        // A name may have a '-' in it, but no port has one.
        let address = id
            .rsplit_once('-')
            .filter(|(_, digits)| !digits.contains(':'))
            .map_or(id, |(address, _)| address);
        Host::parse_with_port(address).map(|(host, _)| host)
    }

    /// The backend is the data, or in the name where nerve was told so. One with a weight of 0 is not ready.
    fn registered(&self, service: &str, name: &str, data: &[u8]) -> Result<Registered, Unreadable> {
        let encoded = name.strip_prefix(ENCODED).and_then(|rest| rest.split('_').nth(1));
        let record = match encoded {
            Some(encoded) => json(&URL_SAFE.decode(encoded).map_err(|_| Unreadable::NotJson)?)?,
            None => json(data)?,
        };
        Ok(Registered {
            service: service.to_owned(),
            host: member_host(record.get("host"))?,
            port: member_port(record.get("port"))?,
            ready: record.get("weight").and_then(integer) != Some(0),
        })
    }
}

impl Target for Nerve {
    fn name(&self) -> &str {
        &self.path
    }

    fn directory(&self, root: &ZnodePath) -> Result<ZnodePath, PathError> {
        below(root, &self.path)
    }

    fn leaf(&self, instance: &Instance<'_>) -> Result<Leaf, NoIpv6> {
        let &Endpoint { ref host, port, .. } = instance.endpoint;
        let address = host.with_port(port);
        let name = self.path.rsplit('/').next().unwrap_or(&self.path);
        let labels = instance.topology.iter().map(|(name, value)| (*name, value.as_str())).collect();
        // A struct of strings and numbers always has a JSON form.
        let data = serde_json::to_vec(&Backend { host, port, name, labels }).unwrap_or_default().into();
        let labels = match instance.topology_digits() {
            none if none.is_empty() => none,
            digits => format!("-{digits}"),
        };
        Ok(Leaf { name: format!("{address}{labels}_{:010}", server_id(&address)), data })
    }
}

fn server_id(address: &str) -> u32 {
    let [a, b, c, d, ..] = <[u8; 20]>::from(Sha1::digest(address));
    (u32::from_be_bytes([a, b, c, d]) >> 1).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_has_exactly_these_bytes() {
        let nerve = Nerve { path: "prod/orders".to_owned() };
        for (host, name) in [
            ("10.1.2.3", "10.1.2.3:8080_1871848594"),
            ("fd00::12", "[fd00::12]:8080_0581806854"),
            ("orders.example", "orders.example:8080_1998806821"),
        ] {
            let endpoint = Endpoint::tcp(host, 8080);
            let instance = Instance::new(&endpoint, 7);
            let leaf = nerve.leaf(&instance).unwrap();
            assert_eq!(Format.host(&leaf.name).as_ref(), Some(&endpoint.host));
            assert_eq!(leaf.name, name);
            let expected = format!(r#"{{"host":"{host}","port":8080,"name":"orders"}}"#);
            assert_eq!(std::str::from_utf8(&leaf.data).unwrap(), expected);
            let topology = [("zone", "a".to_owned())];
            let leaf = nerve.leaf(&Instance { topology: &topology, ..instance }).unwrap();
            assert_eq!(leaf.name, name.replace('_', "-7609_"));
            assert_eq!(Format.host(&leaf.name).as_ref(), Some(&endpoint.host));
            let expected = expected.replace('}', ",\"labels\":{\"zone\":\"a\"}}");
            assert_eq!(std::str::from_utf8(&leaf.data).unwrap(), expected);
        }
    }

    #[test]
    fn backends_of_others_are_read() {
        let read = |name: &str, data: &str| {
            let read = Format.registered("orders", name, data.as_bytes())?;
            Ok((read.host.with_port(read.port), read.ready))
        };
        let address = "10.1.2.3:8080".to_owned();
        let data =
            r#"{"host":"10.1.2.3","port":8080,"name":"orders-7c9f-abcde","weight":10,"labels":{"zone":"a"}}"#;
        assert_eq!(read("i-123_0000000003", data), Ok((address.clone(), true)));
        let encoded = "base64_124_eyJob3N0IjoiMTAuMS4yLjMiLCJwb3J0Ijo4MDgwLCJuYW1lIjoib3JkZXJzLTdjOWYtYWJjZGUiLCJ3ZWlnaHQiOjEwLCJsYWJlbHMiOnsiem9uZSI6ImEifX0=_0000000003";
        assert_eq!(read(encoded, ""), Ok((address.clone(), true)));
        assert_eq!(read("x_1", r#"{"host":"10.1.2.3","port":"8080","weight":0}"#), Ok((address, false)));
        assert_eq!(read("x_1", r#"{"port":8080}"#), Err(Unreadable::NoAddress));
        for name in ["base64_9_%%%_1", "base64__", "base64_", "x_1"] {
            assert_eq!(read(name, ""), Err(Unreadable::NotJson), "{name}");
        }
    }
}
