//! Spring Cloud ZooKeeper: Curator's instances with a payload of Spring's class (`ZookeeperInstance`).
//!
//! The load balancer takes what says `UP`, and prefers instances of its own `zone` if it is told to. Its requests are built from host and port, where an IPv6 address must
//! be in brackets.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Serialize;
use zk_wire::path::PathError;

use super::definition::{Asking, BadAnnotation, Definition, NoIpv6, Target};
use super::registered::{Registered, Unreadable};
use super::{Drain, Instance, Leaf, curator};
use crate::model::{Host, ZnodePath};

/// Spring Cloud ZooKeeper.
pub(super) struct Format;

/// What one Service publishes as instances of an application.
#[derive(Debug)]
struct Spring {
    /// The application's name, one path component.
    name: String,
}

#[derive(Serialize)]
struct Payload<'a> {
    #[serde(rename = "@class")]
    class: &'static str,
    id: &'a str,
    name: &'a str,
    metadata: BTreeMap<&'static str, &'a str>,
}

const ANNOTATION: &str = "spring";
const STATUS: &str = "instance_status";
const CLASS: &str = "org.springframework.cloud.zookeeper.discovery.ZookeeperInstance";

impl Definition for Format {
    fn root(&self) -> &'static str {
        "/services"
    }

    fn drains(&self) -> &'static [Drain] {
        &[Drain::Disable]
    }

    fn has_topology(&self) -> bool {
        true
    }

    fn targets(&self, asked: &Asking<'_>) -> Vec<Result<Box<dyn Target>, BadAnnotation>> {
        asked.single(ANNOTATION, |name| Spring { name })
    }

    fn host(&self, leaf: &str) -> Option<Host> {
        curator::host(leaf)
    }

    fn registered(&self, service: &str, _: &str, data: &[u8]) -> Result<Registered, Unreadable> {
        curator::registered(service, data)
    }
}

impl Target for Spring {
    fn name(&self) -> &str {
        &self.name
    }

    fn directory(&self, root: &ZnodePath) -> Result<ZnodePath, PathError> {
        root.child(&self.name)
    }

    fn leaf(&self, instance: &Instance<'_>) -> Result<Leaf, NoIpv6> {
        let name = &self.name;
        let status = if instance.is_marked(Drain::Disable) { "OUT_OF_SERVICE" } else { "UP" };
        let topology = instance.topology.iter().map(|(name, value)| (*name, value.as_str()));
        let metadata = topology.chain([(STATUS, status)]).collect();
        let payload = Payload { class: CLASS, id: name, name, metadata };
        let address = match &instance.endpoint.host {
            Host::Ip(IpAddr::V6(ip)) => format!("[{ip}]"),
            other => other.to_string(),
        };
        Ok(curator::record(name, instance, address, payload, Some(curator::URI_SPEC), None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Endpoint;

    #[test]
    fn an_instance_has_exactly_these_bytes() {
        let spring = Spring { name: "orders".to_owned() };
        for (host, id, address) in [
            ("10.1.2.3", "10.1.2.3:8080", "10.1.2.3"),
            ("fd00::12", "fd00::12:8080", "[fd00::12]"),
            ("orders.example", "orders.example:8080", "orders.example"),
        ] {
            let endpoint = Endpoint::tcp(host, 8080);
            let instance = Instance::new(&endpoint, 1_700_000_000_000);
            let leaf = spring.leaf(&instance).unwrap();
            assert_eq!(leaf.name, id);
            let expected = format!(
                r#"{{"name":"orders","id":"{id}","address":"{address}","port":8080,"sslPort":null,"payload":{{"@class":"org.springframework.cloud.zookeeper.discovery.ZookeeperInstance","id":"orders","name":"orders","metadata":{{"instance_status":"UP"}}}},"registrationTimeUTC":1700000000000,"serviceType":"DYNAMIC","uriSpec":{{"parts":[{{"value":"scheme","variable":true}},{{"value":"://","variable":false}},{{"value":"address","variable":true}},{{"value":":","variable":false}},{{"value":"port","variable":true}}]}}}}"#
            );
            assert_eq!(std::str::from_utf8(&leaf.data).unwrap(), expected);
            let topology = [("zone", "a".to_owned())];
            let draining =
                Instance { topology: &topology, drain: Some(Drain::Disable), is_draining: true, ..instance };
            let leaf = spring.leaf(&draining).unwrap();
            assert_eq!(leaf.name, id);
            let expected = expected.replace("\"UP\"", "\"OUT_OF_SERVICE\",\"zone\":\"a\"");
            assert_eq!(std::str::from_utf8(&leaf.data).unwrap(), expected);
        }
    }
}
