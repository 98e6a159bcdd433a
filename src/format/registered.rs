//! What somebody else registered. Untrusted: whatever it is, reading it ends with an instance or with the
//! reason why it is none, and never looks at more than [`MAX_RECORD_BYTES`].

use std::net::IpAddr;

use serde_json::{Map, Value};

use crate::model::{Host, HostName};

/// One instance, as far as an import needs it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Registered {
    /// Which service: a Curator name, or a Dubbo interface with its version and group, in Dubbo's own form
    /// `interface[:version[:group]]`.
    pub service: String,
    /// Where it listens.
    pub host: Host,
    /// At which port.
    pub port: u16,
    /// Does it want traffic? Not if it is disabled or out of service, or if its weight is 0.
    pub ready: bool,
}

/// Why something is no instance.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Unreadable {
    /// Too long to look at.
    #[error("it has {0} bytes; at most {MAX_RECORD_BYTES} are read")]
    TooLong(usize),
    /// Not JSON, or not an object.
    #[error("its data is no JSON object")]
    NotJson,
    /// Bytes that are no text.
    #[error("its name is no UTF-8 when it is decoded")]
    NotText,
    /// No URL.
    #[error("its name is no URL")]
    NotUrl,
    /// A URL of something else than a provider.
    #[error("it is no provider: its {what} is {value:?}")]
    NotProvider {
        /// protocol, category or name
        what: &'static str,
        /// What is there instead.
        value: String,
    },
    /// A provider of something else than the directory says.
    #[error("it is in the directory of {directory:?} and says that it is {says:?}")]
    Misplaced {
        /// The interface of the directory.
        directory: String,
        /// What the provider says.
        says: String,
    },
    /// No address.
    #[error("it has no address")]
    NoAddress,
    /// Neither an address nor a name.
    #[error("{0:?} is neither an address nor a name")]
    NotAHost(String),
    /// No port, or one that nobody can connect to.
    #[error("it has no port from 1 to 65535")]
    NoPort,
    /// A version that another group could be taken for.
    #[error("its version {0:?} has a ':' in it")]
    Version(String),
}

/// No instance is longer: no name of a provider, no data of a Curator instance. Dubbo's URLs have 350 to 900
/// bytes.
pub const MAX_RECORD_BYTES: usize = 16 * 1024;

/// An address, perhaps in brackets, or a name in letters of either case. An IPv4 address in IPv6 form is none, since
/// Kubernetes takes none.
pub(super) fn host(text: &str) -> Result<Host, Unreadable> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let found = match bare.parse() {
        Ok(IpAddr::V6(ip)) if ip.to_ipv4_mapped().is_some() => None,
        Ok(ip) => Some(Host::Ip(ip)),
        Err(_) if text.is_empty() => return Err(Unreadable::NoAddress),
        Err(_) if text.len() > HostName::MAX_BYTES => None,
        Err(_) => HostName::new(&text.to_ascii_lowercase()).map(Host::Name),
    };
    found.ok_or_else(|| Unreadable::NotAHost(super::shortened(text)))
}

/// An object that is not too long.
pub(super) fn json(data: &[u8]) -> Result<Map<String, Value>, Unreadable> {
    if data.len() > MAX_RECORD_BYTES {
        return Err(Unreadable::TooLong(data.len()));
    }
    match serde_json::from_slice(data) {
        Ok(Value::Object(record)) => Ok(record),
        _ => Err(Unreadable::NotJson),
    }
}

/// A whole number, which some write as a string.
pub(super) fn integer(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.trim().parse().ok())
}

/// An address or name that is the value of a member.
pub(super) fn member_host(value: Option<&Value>) -> Result<Host, Unreadable> {
    match value {
        None | Some(Value::Null) => Err(Unreadable::NoAddress),
        Some(Value::String(text)) => host(text),
        Some(other) => Err(Unreadable::NotAHost(super::shortened(&other.to_string()))),
    }
}

/// A port that is the value of a member.
pub(super) fn member_port(value: Option<&Value>) -> Result<u16, Unreadable> {
    let port = value.and_then(integer).and_then(|port| u16::try_from(port).ok());
    port.filter(|&port| port > 0).ok_or(Unreadable::NoPort)
}
