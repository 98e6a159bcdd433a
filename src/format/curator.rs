//! Curator x-discovery: `<base>/<name>/<id>` with a JSON instance (`JsonInstanceSerializer`).
//!
//! Exactly nine members in this order, since readers up to 2.11 reject any other; the payload is null, which
//! every consumer's payload class accepts. Only who asks for it gets `enabled: false` as a tenth one while an
//! endpoint drains: `ServiceProvider` leaves it out since 2.12 and 3.3, earlier readers lose the instance.

use serde::Serialize;
use serde_json::Value;
use zk_wire::path::PathError;

use super::definition::{Asking, BadAnnotation, Definition, NoIpv6, Target};
use super::registered::{Registered, Unreadable, integer, json, member_host, member_port};
use super::{Drain, Instance, Leaf};
use crate::model::{Endpoint, Host, ZnodePath};

/// Curator x-discovery.
pub(super) struct Format;

/// What one Service publishes as Curator instances.
#[derive(Debug)]
struct Curator {
    /// The service's name, one path component.
    name: String,
}

/// The `ServiceInstance` of Curator, with a payload that knows its Java class.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Record<'a, P> {
    name: &'a str,
    id: &'a str,
    address: String,
    port: u16,
    ssl_port: Option<u16>,
    payload: P,
    #[serde(rename = "registrationTimeUTC")]
    registration_time_utc: i64,
    service_type: &'static str,
    uri_spec: Option<UriSpec>,
    #[serde(skip_serializing_if = "Option::is_none")]
    enabled: Option<bool>,
}

#[derive(Serialize)]
pub(super) struct UriSpec {
    parts: [UriPart; 5],
}

#[derive(Serialize)]
struct UriPart {
    value: &'static str,
    variable: bool,
}

/// `{scheme}://{address}:{port}`, Curator's own default.
pub(super) const URI_SPEC: UriSpec = UriSpec {
    parts: [
        UriPart { value: "scheme", variable: true },
        UriPart { value: "://", variable: false },
        UriPart { value: "address", variable: true },
        UriPart { value: ":", variable: false },
        UriPart { value: "port", variable: true },
    ],
};

const ANNOTATION: &str = "curator";

impl Definition for Format {
    fn root(&self) -> &'static str {
        "/services"
    }

    fn drains(&self) -> &'static [Drain] {
        &[Drain::Disable]
    }

    fn targets(&self, asked: &Asking<'_>) -> Vec<Result<Box<dyn Target>, BadAnnotation>> {
        asked.single(ANNOTATION, |name| Curator { name })
    }

    fn host(&self, leaf: &str) -> Option<Host> {
        host(leaf)
    }

    fn registered(&self, service: &str, _: &str, data: &[u8]) -> Result<Registered, Unreadable> {
        registered(service, data)
    }
}

impl Target for Curator {
    fn name(&self) -> &str {
        &self.name
    }

    fn directory(&self, root: &ZnodePath) -> Result<ZnodePath, PathError> {
        root.child(&self.name)
    }

    fn leaf(&self, instance: &Instance<'_>) -> Result<Leaf, NoIpv6> {
        let enabled = instance.is_marked(Drain::Disable).then_some(false);
        let address = instance.endpoint.host.to_string();
        Ok(record(&self.name, instance, address, None::<()>, Some(URI_SPEC), enabled))
    }
}

/// `host:port`, an instance's id.
pub(super) fn id(endpoint: &Endpoint) -> String {
    format!("{}:{}", endpoint.host, endpoint.port)
}

/// The record of one endpoint. Its registration time is the Service's creation, since
/// consumers compare it and it must not change.
pub(super) fn record(
    name: &str,
    &Instance { endpoint, created_ms, .. }: &Instance<'_>,
    address: String,
    payload: impl Serialize,
    uri_spec: Option<UriSpec>,
    enabled: Option<bool>,
) -> Leaf {
    let id = id(endpoint);
    let record = Record {
        name,
        id: &id,
        address,
        port: endpoint.port,
        ssl_port: None,
        payload,
        registration_time_utc: created_ms,
        service_type: "DYNAMIC",
        uri_spec,
        enabled,
    };
    // A struct of strings and numbers always has a JSON form.
    let data = serde_json::to_vec(&record).unwrap_or_default().into();
    Leaf { name: id, data }
}

/// An instance of any release and of any payload: members may be missing, and what is not needed may be
/// anything. With a port of each kind the plain one counts.
///
/// It is not ready if it says `enabled: false`, as Curator does since 2.12; if its payload has an
/// `instance_status` that is not `UP`, as Spring Cloud's may; or a `weight` of 0, as Dubbo's may.
pub(super) fn registered(service: &str, data: &[u8]) -> Result<Registered, Unreadable> {
    let record = json(data)?;
    let host = member_host(record.get("address"))?;
    let port = ["port", "sslPort"]
        .iter()
        .map(|name| record.get(*name))
        .find(|port| !matches!(port, None | Some(Value::Null)));
    let port = member_port(port.flatten())?;
    let metadata = |name| record.get("payload").and_then(|payload| payload.get("metadata")?.get(name));
    let status = metadata("instance_status").and_then(Value::as_str).unwrap_or_default();
    let is_up = status.trim().is_empty() || status.eq_ignore_ascii_case("UP");
    let has_weight = metadata("weight").and_then(integer) != Some(0);
    let is_enabled = record.get("enabled") != Some(&Value::Bool(false));
    Ok(Registered { service: service.to_owned(), host, port, ready: is_enabled && is_up && has_weight })
}

/// The address or name in an instance's id.
pub(super) fn host(id: &str) -> Option<Host> {
    Host::parse(id.rsplit_once(':')?.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::MAX_RECORD_BYTES;

    #[test]
    fn an_instance_has_exactly_these_bytes() {
        let endpoint = Endpoint::tcp("10.1.2.3", 8080);
        let instance = Instance::new(&endpoint, 1_700_000_000_000);
        let curator = Curator { name: "orders".to_owned() };
        let leaf = curator.leaf(&instance).unwrap();
        assert_eq!(leaf.name, "10.1.2.3:8080");
        assert_eq!(host(&leaf.name).as_ref(), Some(&endpoint.host));
        let expected = r#"{"name":"orders","id":"10.1.2.3:8080","address":"10.1.2.3","port":8080,"sslPort":null,"payload":null,"registrationTimeUTC":1700000000000,"serviceType":"DYNAMIC","uriSpec":{"parts":[{"value":"scheme","variable":true},{"value":"://","variable":false},{"value":"address","variable":true},{"value":":","variable":false},{"value":"port","variable":true}]}}"#;
        assert_eq!(std::str::from_utf8(&leaf.data).unwrap(), expected);
        let draining = Instance { drain: Some(Drain::Disable), is_draining: true, ..instance };
        let leaf = curator.leaf(&draining).unwrap();
        assert_eq!(leaf.name, "10.1.2.3:8080");
        let expected = expected.replace("]}}", "]},\"enabled\":false}");
        assert_eq!(std::str::from_utf8(&leaf.data).unwrap(), expected);
    }

    #[test]
    fn a_name_stands_where_an_address_does() {
        let endpoint = Endpoint::tcp("orders.example", 443);
        let leaf = Curator { name: "orders".to_owned() }.leaf(&Instance::new(&endpoint, 7)).unwrap();
        assert_eq!(leaf.name, "orders.example:443");
        let data = std::str::from_utf8(&leaf.data).unwrap();
        let expected = r#"{"name":"orders","id":"orders.example:443","address":"orders.example","port":443,"#;
        assert!(data.starts_with(expected), "{data}");
    }

    fn read(data: &str) -> Result<(String, bool), Unreadable> {
        let read = registered("orders", data.as_bytes())?;
        assert_eq!(read.service, "orders");
        Ok((read.host.with_port(read.port), read.ready))
    }

    /// As `JsonInstanceSerializer`, Spring Cloud and Dubbo 3 write them (`formats.md` 2.2, 3.2, 4).
    #[test]
    fn instances_of_every_writer_are_read() {
        for (writer, data, address, ready) in [
            (
                "Curator 5",
                r#"{"name":"orders","id":"4e1c","address":"10.1.2.3","port":8080,"sslPort":null,"payload":null,"registrationTimeUTC":1700000000000,"serviceType":"DYNAMIC","uriSpec":{"parts":[{"value":"scheme","variable":true}]}}"#,
                "10.1.2.3:8080",
                true,
            ),
            (
                "Curator 2.13, disabled",
                r#"{"name":"orders","id":"4e1c","address":"10.1.2.3","port":8080,"sslPort":null,"payload":null,"registrationTimeUTC":1,"serviceType":"STATIC","uriSpec":null,"enabled":false}"#,
                "10.1.2.3:8080",
                false,
            ),
            (
                "Spring Cloud",
                r#"{"name":"orders","id":"10.1.2.3:8080","address":"10.1.2.3","port":8080,"sslPort":null,"payload":{"@class":"org.springframework.cloud.zookeeper.discovery.ZookeeperInstance","id":"orders-1","name":"orders","metadata":{"instance_status":"UP","zone":"a"}},"registrationTimeUTC":1700000000000,"serviceType":"DYNAMIC","uriSpec":null}"#,
                "10.1.2.3:8080",
                true,
            ),
            (
                "Spring Cloud, out of service",
                r#"{"address":"10.1.2.3","port":8080,"payload":{"metadata":{"instance_status":"OUT_OF_SERVICE"}}}"#,
                "10.1.2.3:8080",
                false,
            ),
            (
                "Dubbo 3, by application",
                r#"{"name":"orders","id":"10.1.2.3:20880","address":"10.1.2.3","port":20880,"sslPort":null,"payload":{"@class":"org.apache.dubbo.registry.zookeeper.ZookeeperInstance","id":"10.1.2.3:20880","name":"orders","metadata":{"dubbo.endpoints":"[{\"port\":20880,\"protocol\":\"dubbo\"}]","dubbo.metadata.revision":"62602d343f8ef72c09ae0136677b2c28","dubbo.metadata.storage-type":"remote","timestamp":"1700000000000"}},"registrationTimeUTC":1700000000000,"serviceType":"DYNAMIC","uriSpec":null}"#,
                "10.1.2.3:20880",
                true,
            ),
            (
                "Dubbo 3, without weight",
                r#"{"address":"10.1.2.3","port":1,"payload":{"metadata":{"weight":"0"}}}"#,
                "10.1.2.3:1",
                false,
            ),
            (
                "Spring Cloud, by name",
                r#"{"address":"Orders-1.example","port":8080}"#,
                "orders-1.example:8080",
                true,
            ),
            ("TLS only", r#"{"address":"[fd00::1]","port":null,"sslPort":8443}"#, "[fd00::1]:8443", true),
            (
                "a port in quotes, a payload of text",
                r#"{"address":"10.1.2.3","port":"8080","payload":"x"}"#,
                "10.1.2.3:8080",
                true,
            ),
        ] {
            assert_eq!(read(data), Ok((address.to_owned(), ready)), "{writer}");
        }
    }

    #[test]
    fn what_is_no_instance_is_told_by_its_reason() {
        let name = |name: &str| Unreadable::NotAHost(name.to_owned());
        for (data, expected) in [
            ("", Unreadable::NotJson),
            ("10.1.2.3", Unreadable::NotJson),
            ("[]", Unreadable::NotJson),
            ("{\"address\":", Unreadable::NotJson),
            ("{}", Unreadable::NoAddress),
            (r#"{"address":null,"port":1}"#, Unreadable::NoAddress),
            (r#"{"address":"","port":1}"#, Unreadable::NoAddress),
            (r#"{"address":7,"port":1}"#, name("7")),
            (r#"{"address":"host.example/x","port":1}"#, name("host.example/x")),
            (r#"{"address":"::ffff:10.1.2.3","port":1}"#, name("::ffff:10.1.2.3")),
            (r#"{"address":"10.1.2.3"}"#, Unreadable::NoPort),
            (r#"{"address":"10.1.2.3","port":0}"#, Unreadable::NoPort),
            (r#"{"address":"10.1.2.3","port":70000}"#, Unreadable::NoPort),
            (r#"{"address":"10.1.2.3","port":-1,"sslPort":1}"#, Unreadable::NoPort),
            (r#"{"address":"10.1.2.3","port":{}}"#, Unreadable::NoPort),
        ] {
            assert_eq!(read(data), Err(expected), "{data}");
        }
        let long = format!("{{\"x\":\"{}\"}}", "y".repeat(MAX_RECORD_BYTES));
        assert_eq!(read(&long), Err(Unreadable::TooLong(long.len())));
        let deep = "[".repeat(MAX_RECORD_BYTES);
        assert_eq!(read(&deep), Err(Unreadable::NotJson));
    }
}
