//! What consumers connect to: an address, or a name that they resolve.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use serde::{Serialize, Serializer};

/// An address, or a name. Names sort behind addresses.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// An address.
    Ip(IpAddr),
    /// A name in DNS. Nobody resolves it here.
    Name(HostName),
}

/// A name as DNS has them (RFC 1123), in lower case and without a dot at its end: labels of letters, digits and '-', 63
/// at most each and 253 together. The last one is none that a resolver takes for a part of an address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(Arc<str>);

/// Why a Service's name is not published, whatever a rule grants.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("{text:?} {reason}")]
pub struct HostError {
    /// As it was written, or how it begins.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

const NO_NAME: &str = "is no name as DNS has them: labels of lower-case letters, digits and '-'";
const MAX_LABEL_BYTES: usize = 63;

impl HostName {
    /// No name is longer.
    pub const MAX_BYTES: usize = 253;

    /// `None` if it is no name.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let is_name = text.len() <= Self::MAX_BYTES && text.split('.').all(is_label) && !is_address(text);
        is_name.then(|| HostName(text.into()))
    }

    /// Its characters, of which there are 38.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What a Service says of itself, which may end in a dot.
    ///
    /// # Errors
    /// It is no name; or it means something else to each consumer, like a loopback address does: the consumer itself, or
    /// whatever is called so in its own domain; or it is a Service of the cluster, which speaks for itself.
    pub fn of_service(text: &str) -> Result<Self, HostError> {
        /// Enough to recognize it.
        const SHOWN: usize = 100;
        let error = |reason| Err(HostError { text: text.chars().take(SHOWN).collect(), reason });
        let bare = text.strip_suffix('.').unwrap_or(text);
        if is_address(bare) || bare.parse::<IpAddr>().is_ok() {
            return error("is an address and no name; write an EndpointSlice for it");
        }
        let Some(name) = HostName::new(bare) else { return error(NO_NAME) };
        let labels: Vec<_> = bare.split('.').collect();
        match labels.as_slice() {
            [.., "localhost" | "localdomain"] => error("is whoever resolves it"),
            [_] => error("has no dot, so each consumer looks for it in domains of its own"),
            ["kubernetes", "default"] | [.., "svc"] | [.., "cluster", "local"] => {
                error("is a name inside a cluster")
            }
            [_, _, behind @ ..] if behind.contains(&"svc") || behind.contains(&"pod") => {
                error("is a name inside a cluster")
            }
            _ => Ok(name),
        }
    }
}

/// Lower-case letters, digits and '-', which is neither first nor last.
fn is_label(label: &str) -> bool {
    let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=MAX_LABEL_BYTES).contains(&label.len())
        && label.chars().all(is_part)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// Would some resolver take it for an IPv4 address? They read `10.1`, `2130706433` and `0x7f.1` as one: whatever ends in
/// a number (as the URL standard has it).
fn is_address(text: &str) -> bool {
    let last = text.rsplit('.').next().unwrap_or_default();
    let hexadecimal = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit())
        || hexadecimal.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

impl Host {
    /// Reads either; `None` for what is neither. An IPv6 address has no brackets.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        text.parse().map(Host::Ip).ok().or_else(|| HostName::new(text).map(Host::Name))
    }

    /// Reads it with a port behind it, where an IPv6 address has brackets.
    #[must_use]
    pub fn parse_with_port(text: &str) -> Option<(Self, u16)> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Some((Host::Ip(address.ip()), address.port()));
        }
        let (name, port) = text.rsplit_once(':')?;
        Some((Host::Name(HostName::new(name)?), port.parse().ok()?))
    }

    /// With a port behind it: `10.1.2.3:80`, `[fd00::1]:80`, `orders.example:80`.
    #[must_use]
    pub fn with_port(&self, port: u16) -> String {
        match self {
            Host::Ip(ip) => SocketAddr::new(*ip, port).to_string(),
            Host::Name(name) => format!("{name}:{port}"),
        }
    }

    /// The address, if it is one.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Host::Ip(ip) => Some(*ip),
            Host::Name(_) => None,
        }
    }

    /// Is it an IPv6 address?
    #[must_use]
    pub fn is_ipv6(&self) -> bool {
        matches!(self, Host::Ip(IpAddr::V6(_)))
    }
}

impl From<IpAddr> for Host {
    fn from(ip: IpAddr) -> Self {
        Host::Ip(ip)
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Host {
    /// Without brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Ip(ip) => ip.fmt(f),
            Host::Name(name) => name.fmt(f),
        }
    }
}

impl Serialize for Host {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_what_dns_takes_for_one() {
        let long = |labels: usize| vec!["x".repeat(63); labels].join(".");
        for name in [
            "a",
            "orders.example",
            "a-1.b.c",
            "xn--bcher-kva.example",
            "10.example",
            "1a",
            &long(3)[..],
            "0xg.x",
        ] {
            assert!(HostName::new(name).is_some(), "{name}");
        }
        for none in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "-a.b",
            "a-.b",
            "A.b",
            "a_b.c",
            "a b",
            "a:1",
            "a/b",
            "a\"b",
            "a,b",
            "é.b",
            "10.1.2.3",
            "10.1",
            "2130706433",
            "a.1",
            "0x7f.1",
            "a.0x1f",
            "a.0x",
            "fd00::1",
            "[fd00::1]",
            &long(4)[..],
            &"x".repeat(64),
        ] {
            assert_eq!(HostName::new(none), None, "{none}");
        }
    }

    #[test]
    fn a_service_is_not_whoever_resolves_its_name_and_no_other_service() {
        for (text, name) in [
            ("orders.example", "orders.example"),
            ("orders.example.", "orders.example"),
            ("svc.a.b", "svc.a.b"),
        ] {
            assert_eq!(HostName::of_service(text).unwrap().as_str(), name);
        }
        for (text, part) in [
            ("10.0.0.1", "is an address"),
            ("127.1", "is an address"),
            ("2130706433", "is an address"),
            ("0x7f000001", "is an address"),
            ("169.254.169.254.", "is an address"),
            ("fd00::1", "is an address"),
            ("::1", "is an address"),
            ("orders.example:443", "no name"),
            ("orders.example/x", "no name"),
            ("http://orders.example", "no name"),
            ("Orders.example", "no name"),
            ("orders.example..", "no name"),
            ("a@orders.example", "no name"),
            ("", "no name"),
            ("localhost", "whoever"),
            ("a.localhost", "whoever"),
            ("localhost.localdomain", "whoever"),
            ("orders", "no dot"),
            ("kubernetes", "no dot"),
            ("kubernetes.default", "inside a cluster"),
            ("orders.shop.svc", "inside a cluster"),
            ("orders.shop.svc.", "inside a cluster"),
            ("orders.shop.svc.cluster.local", "inside a cluster"),
            ("pod-1.orders.shop.svc.k8s.example", "inside a cluster"),
            ("10-0-0-1.shop.pod.k8s.example", "inside a cluster"),
            ("orders.cluster.local", "inside a cluster"),
        ] {
            let error = HostName::of_service(text).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains(&format!("{text:?}")), "{error}");
        }
        assert!(HostName::of_service(&"x".repeat(100_000)).unwrap_err().to_string().len() < 300);
    }

    #[test]
    fn a_host_is_read_as_it_is_written() {
        for (text, with_port) in [
            ("10.1.2.3", "10.1.2.3:80"),
            ("fd00::1", "[fd00::1]:80"),
            ("orders.example", "orders.example:80"),
        ] {
            let host = Host::parse(text).unwrap();
            assert_eq!((host.to_string(), host.with_port(80)), (text.to_owned(), with_port.to_owned()));
            assert_eq!(Host::parse_with_port(with_port), Some((host, 80)));
        }
        for none in ["", "orders.example", "orders.example:", "orders.example:65536", "fd00::1:80", "a/b:80"]
        {
            assert_eq!(Host::parse_with_port(none), None, "{none}");
        }
    }
}
