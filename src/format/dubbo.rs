//! Dubbo's interface-level registration: `<root>/<interface>/providers/<encoded URL>`, no data
//! (`ZookeeperRegistry.toUrlPath`).
//!
//! The name is the record. It is form-encoded once as `java.net.URLEncoder` does, with upper-case hex;
//! parameters are sorted, and the first one is `anyhost`, since dubbo2.js loses the first.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::Leaf;
use crate::model::Endpoint;

/// What one Service publishes as a provider of one interface.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dubbo {
    /// The Java interface.
    pub interface: String,
    /// Parameters beside those that are always written.
    pub parameters: BTreeMap<String, String>,
}

/// Why something cannot be a parameter of a provider's URL.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum DubboError {
    /// An interface's name with characters that a URL's path cannot have.
    #[error("{0:?} is not the name of a Java interface")]
    Interface(String),
    /// A parameter without a name or value.
    #[error("{0:?} is not a parameter; write name=value, separated by '&'")]
    Malformed(String),
    /// A character that cuts the value for some consumers.
    #[error("the value of parameter {0:?} has a character that consumers cut it at: '&', ';' or a control")]
    Value(String),
    /// Dubbo 3 removes `pid=…` and `timestamp=…` by substring, also from the end of a longer name.
    #[error(
        "parameter {0:?} ends in 'pid' or 'timestamp', which Dubbo 3 removes together with its neighbour"
    )]
    Stripped(String),
    /// A parameter that the bridge itself decides.
    #[error("parameter {0:?} follows from the Service and cannot be set")]
    Reserved(String),
}

/// What `java.net.URLEncoder` leaves alone, but for the space.
const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'-').remove(b'*').remove(b'_').remove(b' ');

/// Parameters that follow from the Service or from what an ephemeral znode is.
const RESERVED: [&str; 7] = ["anyhost", "category", "dynamic", "enabled", "interface", "side", "disabled"];

impl Dubbo {
    /// Reads `interface[:version[:group]]`, Dubbo's own colon-separated key, and `name=value&…`.
    ///
    /// # Errors
    /// See [`DubboError`].
    pub fn new(key: &str, application: &str, parameters: &str) -> Result<Self, DubboError> {
        let mut parts = key.splitn(3, ':');
        let interface = parts.next().unwrap_or_default();
        let is_java = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '$');
        if interface.is_empty() || interface.starts_with('.') || !interface.chars().all(is_java) {
            return Err(DubboError::Interface(interface.to_owned()));
        }
        let mut all: BTreeMap<String, String> = [
            ("anyhost", "true"),
            ("application", application),
            ("deprecated", "false"),
            ("dubbo", "2.0.2"),
            ("dynamic", "true"),
            ("generic", "false"),
            ("interface", interface),
            ("side", "provider"),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
        for (name, value) in ["version", "group"].into_iter().zip(parts) {
            if !value.is_empty() {
                insert(&mut all, name, value)?;
            }
        }
        for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
            match parameter.split_once('=') {
                Some((name, value)) if !name.is_empty() && !value.is_empty() => {
                    if RESERVED.contains(&name) {
                        return Err(DubboError::Reserved(name.to_owned()));
                    }
                    insert(&mut all, name, value)?;
                }
                _ => return Err(DubboError::Malformed(parameter.to_owned())),
            }
        }
        Ok(Dubbo { interface: interface.to_owned(), parameters: all })
    }

    /// The directory's name below the root: the encoded interface.
    #[must_use]
    pub fn directory(&self) -> String {
        form_encode(&self.interface)
    }

    /// The provider of one endpoint.
    #[must_use]
    pub fn leaf(&self, endpoint: Endpoint) -> Leaf {
        let query: Vec<_> = self.parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let url = format!("dubbo://{endpoint}/{}?{}", self.interface, query.join("&"));
        Leaf { name: form_encode(&url), data: Bytes::new() }
    }
}

fn insert(all: &mut BTreeMap<String, String>, name: &str, value: &str) -> Result<(), DubboError> {
    if value.contains(|c: char| matches!(c, '&' | ';') || c.is_control()) {
        return Err(DubboError::Value(name.to_owned()));
    }
    let stripped = |suffix: &str| name.ends_with(suffix) && name != suffix;
    if stripped("pid") || stripped("timestamp") {
        return Err(DubboError::Stripped(name.to_owned()));
    }
    all.insert(name.to_owned(), value.to_owned());
    Ok(())
}

fn form_encode(text: &str) -> String {
    utf8_percent_encode(text, FORM).to_string().replace(' ', "+")
}

/// The address in a provider's name.
pub(super) fn address(name: &str) -> Option<IpAddr> {
    let url = percent_decode_str(name).decode_utf8().ok()?;
    let authority = url.strip_prefix("dubbo://")?.split('/').next()?;
    authority.parse().ok().map(|address: SocketAddr| address.ip())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Protocol;

    fn endpoint(ip: &str) -> Endpoint {
        Endpoint { ip: ip.parse().unwrap(), port: 20880, protocol: Protocol::Tcp }
    }

    #[test]
    fn a_provider_has_exactly_this_name() {
        let dubbo = Dubbo::new(
            "com.acme.OrderService:1.0.0:g1",
            "orders",
            "methods=create,get&pid=1&release=2.7.23&revision=1.0.0&timestamp=1700000000000&weight=200",
        )
        .unwrap();
        let leaf = dubbo.leaf(endpoint("10.1.2.3"));
        assert_eq!(dubbo.directory(), "com.acme.OrderService");
        assert_eq!(
            leaf.name,
            "dubbo%3A%2F%2F10.1.2.3%3A20880%2Fcom.acme.OrderService%3Fanyhost%3Dtrue%26application%3Dorders%26deprecated%3Dfalse%26dubbo%3D2.0.2%26dynamic%3Dtrue%26generic%3Dfalse%26group%3Dg1%26interface%3Dcom.acme.OrderService%26methods%3Dcreate%2Cget%26pid%3D1%26release%3D2.7.23%26revision%3D1.0.0%26side%3Dprovider%26timestamp%3D1700000000000%26version%3D1.0.0%26weight%3D200"
        );
        assert!(leaf.data.is_empty());
        for ip in ["10.1.2.3", "fd00::1"] {
            assert_eq!(address(&dubbo.leaf(endpoint(ip)).name), Some(ip.parse().unwrap()));
        }
    }

    #[test]
    fn encoding_is_that_of_java() {
        assert_eq!(form_encode("aZ09.-*_"), "aZ09.-*_");
        assert_eq!(form_encode("a b~+é$"), "a+b%7E%2B%C3%A9%24");
    }

    #[test]
    fn what_breaks_a_consumer_is_refused() {
        let error = |key: &str, parameters: &str| Dubbo::new(key, "orders", parameters).unwrap_err();
        assert!(matches!(error("", ""), DubboError::Interface(_)));
        assert!(matches!(error("com/acme", ""), DubboError::Interface(_)));
        assert!(matches!(error("a.B", "weight"), DubboError::Malformed(_)));
        assert!(matches!(error("a.B", "weight="), DubboError::Malformed(_)));
        assert!(matches!(error("a.B", "x=1;2"), DubboError::Value(_)));
        assert!(matches!(error("a.B", "rapid=1"), DubboError::Stripped(_)));
        assert!(matches!(error("a.B", "remote.timestamp=1"), DubboError::Stripped(_)));
        assert!(matches!(error("a.B", "dynamic=false"), DubboError::Reserved(_)));
    }
}
