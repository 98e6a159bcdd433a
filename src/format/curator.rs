//! Curator x-discovery: `<base>/<name>/<id>` with a JSON instance (`JsonInstanceSerializer`).
//!
//! Exactly nine members in this order, since readers up to 2.11 reject any other; the payload is null, which
//! every consumer's payload class accepts.

use std::net::IpAddr;

use serde::Serialize;
use zk_wire::path::{self, PathError};

use super::Leaf;
use crate::model::Endpoint;

/// What one Service publishes as Curator instances.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Curator {
    /// The service's name, one path component.
    pub name: String,
}

/// Why something cannot be the name of a Curator service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not the name of a znode.
    #[error(transparent)]
    Znode(#[from] PathError),
    /// Longer than [`MAX_NAME_BYTES`].
    #[error("it has {0} bytes; at most {MAX_NAME_BYTES} are allowed")]
    TooLong(usize),
}

/// No service's name is longer. It is part of the path of each instance, and of its data.
pub const MAX_NAME_BYTES: usize = 255;

/// The `ServiceInstance` of Curator.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Instance<'a> {
    name: &'a str,
    id: &'a str,
    address: String,
    port: u16,
    ssl_port: Option<u16>,
    payload: Option<()>,
    #[serde(rename = "registrationTimeUTC")]
    registration_time_utc: i64,
    service_type: &'static str,
    uri_spec: UriSpec,
}

#[derive(Serialize)]
struct UriSpec {
    parts: [UriPart; 5],
}

#[derive(Serialize)]
struct UriPart {
    value: &'static str,
    variable: bool,
}

/// `{scheme}://{address}:{port}`, Curator's own default.
const URI_SPEC: UriSpec = UriSpec {
    parts: [
        UriPart { value: "scheme", variable: true },
        UriPart { value: "://", variable: false },
        UriPart { value: "address", variable: true },
        UriPart { value: ":", variable: false },
        UriPart { value: "port", variable: true },
    ],
};

impl Curator {
    /// A service of this name.
    ///
    /// # Errors
    /// It cannot be the name of a znode, or is too long.
    pub fn new(name: &str) -> Result<Self, NameError> {
        if name.len() > MAX_NAME_BYTES {
            return Err(NameError::TooLong(name.len()));
        }
        path::validate_component(name)?;
        Ok(Curator { name: name.to_owned() })
    }

    /// The instance of one endpoint. Its id is `ip:port`; its registration time is the Service's creation,
    /// since consumers compare it and it must not change.
    #[must_use]
    pub fn leaf(&self, endpoint: Endpoint, created_ms: i64) -> Leaf {
        let id = format!("{}:{}", endpoint.ip, endpoint.port);
        let instance = Instance {
            name: &self.name,
            id: &id,
            address: endpoint.ip.to_string(),
            port: endpoint.port,
            ssl_port: None,
            payload: None,
            registration_time_utc: created_ms,
            service_type: "DYNAMIC",
            uri_spec: URI_SPEC,
        };
        // A struct of strings and numbers always has a JSON form.
        let data = serde_json::to_vec(&instance).unwrap_or_default().into();
        Leaf { name: id, data }
    }
}

/// The address in an instance's id.
pub(super) fn address(id: &str) -> Option<IpAddr> {
    id.rsplit_once(':')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Protocol;

    #[test]
    fn an_instance_has_exactly_these_bytes() {
        let endpoint = Endpoint { ip: "10.1.2.3".parse().unwrap(), port: 8080, protocol: Protocol::Tcp };
        let leaf = Curator::new("orders").unwrap().leaf(endpoint, 1_700_000_000_000);
        assert_eq!(leaf.name, "10.1.2.3:8080");
        assert_eq!(address(&leaf.name), Some(endpoint.ip));
        let expected = r#"{"name":"orders","id":"10.1.2.3:8080","address":"10.1.2.3","port":8080,"sslPort":null,"payload":null,"registrationTimeUTC":1700000000000,"serviceType":"DYNAMIC","uriSpec":{"parts":[{"value":"scheme","variable":true},{"value":"://","variable":false},{"value":"address","variable":true},{"value":":","variable":false},{"value":"port","variable":true}]}}"#;
        assert_eq!(std::str::from_utf8(&leaf.data).unwrap(), expected);
    }

    #[test]
    fn a_name_is_one_component_of_255_bytes_at_most() {
        assert_eq!(Curator::new(&"é".repeat(128)), Err(NameError::TooLong(256)));
        assert!(Curator::new(&"x".repeat(255)).is_ok());
        assert_eq!(Curator::new("a/b"), Err(NameError::Znode(PathError::Slash)));
        assert!(NameError::TooLong(256).to_string().contains("255"));
    }
}
