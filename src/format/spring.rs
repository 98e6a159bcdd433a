//! Spring Cloud ZooKeeper: Curator's instances with a payload of Spring's class (`ZookeeperInstance`).
//!
//! The load balancer takes what says `UP`. Its requests are built from host and port, where an IPv6 address must
//! be in brackets.

use std::net::IpAddr;

use serde::Serialize;
use zk_wire::path::PathError;

use super::definition::{Asking, BadAnnotation, Definition, NoIpv6, Target};
use super::registered::{Registered, Unreadable};
use super::{Leaf, curator};
use crate::model::{Endpoint, ZnodePath};

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
    metadata: Metadata,
}

#[derive(Serialize)]
struct Metadata {
    instance_status: &'static str,
}

const ANNOTATION: &str = "spring";
const CLASS: &str = "org.springframework.cloud.zookeeper.discovery.ZookeeperInstance";

impl Definition for Format {
    fn root(&self) -> &'static str {
        "/services"
    }

    fn targets(&self, asked: &Asking<'_>) -> Vec<Result<Box<dyn Target>, BadAnnotation>> {
        asked.single(ANNOTATION, |name| Spring { name })
    }

    fn address(&self, leaf: &str) -> Option<IpAddr> {
        curator::address(leaf)
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

    fn leaf(&self, endpoint: Endpoint, created_ms: i64) -> Result<Leaf, NoIpv6> {
        let name = &self.name;
        let payload = Payload { class: CLASS, id: name, name, metadata: Metadata { instance_status: "UP" } };
        let address = match endpoint.ip {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        };
        Ok(curator::instance(name, endpoint, address, payload, created_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Protocol;

    #[test]
    fn an_instance_has_exactly_these_bytes() {
        let spring = Spring { name: "orders".to_owned() };
        for (ip, id, address) in
            [("10.1.2.3", "10.1.2.3:8080", "10.1.2.3"), ("fd00::12", "fd00::12:8080", "[fd00::12]")]
        {
            let endpoint = Endpoint { ip: ip.parse().unwrap(), port: 8080, protocol: Protocol::Tcp };
            let leaf = spring.leaf(endpoint, 1_700_000_000_000).unwrap();
            assert_eq!(leaf.name, id);
            let expected = format!(
                r#"{{"name":"orders","id":"{id}","address":"{address}","port":8080,"sslPort":null,"payload":{{"@class":"org.springframework.cloud.zookeeper.discovery.ZookeeperInstance","id":"orders","name":"orders","metadata":{{"instance_status":"UP"}}}},"registrationTimeUTC":1700000000000,"serviceType":"DYNAMIC","uriSpec":{{"parts":[{{"value":"scheme","variable":true}},{{"value":"://","variable":false}},{{"value":"address","variable":true}},{{"value":":","variable":false}},{{"value":"port","variable":true}}]}}}}"#
            );
            assert_eq!(std::str::from_utf8(&leaf.data).unwrap(), expected);
        }
    }
}
