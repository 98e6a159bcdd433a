//! Dubbo's interface-level registration: `<root>/<interface>/providers/<encoded URL>`, no data
//! (`ZookeeperRegistry.toUrlPath`).
//!
//! The name is the record. It is form-encoded once as `java.net.URLEncoder` does, with upper-case hex;
//! parameters are sorted, and the first one is `anyhost`, since dubbo2.js loses the first.
//!
//! Who asks for it has endpoints drained. With a weight of 0 the balancers that weigh call a provider only if all have
//! that. Those of Dubbo 3 look at the weights only if the first provider has one (`needWeightLoadBalance`), so all get
//! one. With `disabled=true` no consumer has an invoker of it (`RegistryDirectory.toInvokers`), and one that would
//! have none left keeps those that it had.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use zk_wire::path::PathError;

use super::definition::{Asking, BadAnnotation, Definition, NoIpv6, Target};
use super::registered::{self, MAX_RECORD_BYTES, Registered, Unreadable};
use super::{BadValue, Drain, Instance, Leaf, shortened};
use crate::model::{Host, ZnodePath};

/// Dubbo, one directory per interface.
pub(super) struct Format;

/// What one Service publishes as a provider of one interface.
#[derive(Debug)]
struct Dubbo {
    provider: Provider,
    /// May IPv6 providers be written? Consumers before 2.7 fail as a whole on one.
    ipv6: bool,
}

/// A provider of one interface, without its address.
#[derive(Debug)]
pub(super) struct Provider {
    /// The Java interface.
    pub(super) interface: String,
    /// All parameters.
    pub(super) parameters: BTreeMap<String, String>,
    /// The names of those that are not [`HARMLESS`].
    pub(super) to_be_granted: Vec<String>,
}

/// Why something cannot be part of a provider's URL.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum DubboError {
    /// An interface's name with characters that a URL's path cannot have.
    #[error("{0:?} is not the name of a Java interface")]
    Interface(String),
    /// A name below the root that Dubbo keeps for something else than an interface.
    #[error("Dubbo keeps {0:?} beside its interfaces for itself")]
    Sibling(String),
    /// A version or group that consumers cannot read, or an application.
    #[error("the {part} {reason}")]
    Key {
        /// Which one.
        part: KeyPart,
        /// What is wrong with it.
        reason: TextError,
    },
    /// A parameter without a name or value.
    #[error("{0:?} is not a parameter; write name=value, separated by '&'")]
    Malformed(String),
    /// A parameter's name that consumers cannot read.
    #[error("the name of parameter {name:?} {reason}")]
    Name {
        /// As it was written.
        name: String,
        /// What is wrong with it.
        reason: TextError,
    },
    /// A parameter's value that consumers cannot read.
    #[error("the value of parameter {name:?} {reason}")]
    Value {
        /// The parameter.
        name: String,
        /// What is wrong with it.
        reason: TextError,
    },
    /// Dubbo 3 removes `pid=…` and `timestamp=…` by substring, also from the end of a longer name.
    #[error(
        "parameter {0:?} ends in 'pid' or 'timestamp', which Dubbo 3 removes together with its neighbour"
    )]
    Stripped(String),
    /// A parameter that the bridge itself decides.
    #[error("parameter {0:?} follows from the Service and cannot be set")]
    Reserved(String),
    /// Longer than 4096 bytes, encoded.
    #[error("the provider's encoded URL has {0} bytes; at most {MAX_URL_BYTES} are allowed")]
    TooLong(usize),
}

/// What is written beside the parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyPart {
    /// The second part of an interface's key.
    Version,
    /// The third one.
    Group,
    /// The provider's application.
    Application,
}

/// Why consumers cannot read a name or value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum TextError {
    /// Java writes no empty values.
    #[error("is empty")]
    Empty,
    /// A character at which some consumers cut a text, so that what follows is a parameter of its own.
    #[error("has a character at which consumers cut it: '&', ';' or a control")]
    Cut,
    /// `pid=` or `timestamp=`.
    #[error("has 'pid=' or 'timestamp=' in it, which Dubbo 3 removes together with what follows")]
    Stripped,
    /// `0.0.0`.
    #[error("is 0.0.0, which no consumer takes for the absence of a version; leave it out")]
    NoVersion,
}

/// Where a mistake is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Interface, version and group.
    Key,
    /// The application.
    Application,
    /// The parameters.
    Parameters,
}

/// No provider is longer, but for what is told of where it runs and for what a name is longer than an address. A `getChildren` reply of 1 MiB, the limit of Java
/// clients, then has room for 250.
const MAX_URL_BYTES: usize = 4_096;

/// What zone, node and hints may add to that, encoded.
const MAX_TOPOLOGY_BYTES: usize = 1_024;

/// What Dubbo takes where a provider says nothing (`Constants.DEFAULT_WEIGHT`).
const DEFAULT_WEIGHT: &str = "100";
const WEIGHT: &str = "weight";

/// What `java.net.URLEncoder` leaves alone, but for the space.
const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'-').remove(b'*').remove(b'_').remove(b' ');

/// Parameters that follow from the Service or from what an ephemeral znode is.
const RESERVED: [&str; 7] = ["anyhost", "category", "dynamic", "enabled", "interface", "side", "disabled"];

/// Parameters of a provider that change load, time-outs and what people see, and nothing else. All others may make a
/// consumer load a filter, a router or a stub, or read what it gets by another serialization.
pub const HARMLESS: [&str; 16] = [
    "actives",
    "application.version",
    "connections",
    "deprecated",
    "executes",
    "methods",
    "module",
    "organization",
    "owner",
    "pid",
    "release",
    "retries",
    "revision",
    "timeout",
    "warmup",
    "weight",
];

/// What Dubbo 2.7 and later keep beside the interfaces.
const SIBLINGS: [&str; 3] = ["config", METADATA, MAPPING];
const METADATA: &str = "metadata";
const MAPPING: &str = "mapping";

/// The directory of an interface's providers.
const PROVIDERS: &str = "providers";

/// Protocols of what stands in a registry and is no provider (`formats.md` 8.1).
const NO_PROVIDERS: [&str; 9] =
    ["override", "route", "condition", "empty", "consumer", "admin", "registry", "mock", "injvm"];

/// Written first, since dubbo2.js loses whatever is.
const FIRST: &str = "anyhost";

/// Removed by Dubbo 3, wherever they are first found in a provider's URL (`stripOffVariableKeys`).
const STRIPPED: [&str; 2] = ["pid", "timestamp"];

impl std::fmt::Display for KeyPart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            KeyPart::Version => "version",
            KeyPart::Group => "group",
            KeyPart::Application => "application",
        })
    }
}

const ANNOTATION: &str = "dubbo";
const APPLICATION: &str = "dubbo-application";
const PARAMETERS: &str = "dubbo-parameters";
const IPV6: &str = "dubbo-ipv6";

impl Definition for Format {
    fn root(&self) -> &'static str {
        "/dubbo"
    }

    fn options(&self) -> &'static [&'static str] {
        &[APPLICATION, PARAMETERS, IPV6]
    }

    fn has_own_name(&self) -> bool {
        false
    }

    fn drains(&self) -> &'static [Drain] {
        &[Drain::Weight, Drain::Disable]
    }

    fn has_topology(&self) -> bool {
        true
    }

    /// Several interfaces are separated by commas or white space.
    fn targets(&self, asked: &Asking<'_>) -> Vec<Result<Box<dyn Target>, BadAnnotation>> {
        let mut targets = Vec::new();
        let ipv6 = match asked.option(IPV6) {
            None | Some("false") => false,
            Some("true") => true,
            Some(other) => {
                let reason = BadValue::Bool(shortened(other));
                targets.push(Err(BadAnnotation { annotation: IPV6, reason }));
                false
            }
        };
        let application = asked.option(APPLICATION).unwrap_or(&asked.service.key.name);
        let parameters = asked.option(PARAMETERS).unwrap_or_default();
        for key in keys(asked.value) {
            targets.push(match Provider::new(key, application, parameters) {
                Ok(provider) => Ok(Box::new(Dubbo { provider, ipv6 }) as Box<dyn Target>),
                Err(error) => Err(BadAnnotation {
                    annotation: error.part().of([ANNOTATION, APPLICATION, PARAMETERS]),
                    reason: error.into(),
                }),
            });
        }
        targets
    }

    fn host(&self, leaf: &str) -> Option<Host> {
        host(leaf)
    }

    fn service_of(&self, child: &str) -> Option<String> {
        interface(child)
    }

    fn between(&self) -> Option<&'static str> {
        Some(PROVIDERS)
    }

    fn is_in_the_name(&self) -> bool {
        true
    }

    fn registered(&self, service: &str, name: &str, _: &[u8]) -> Result<Registered, Unreadable> {
        registered(service, name)
    }
}

impl DubboError {
    /// Where the mistake is. What is too long is so because of the parameters, if there are any.
    pub(super) fn part(&self) -> Part {
        match self {
            DubboError::Interface(_)
            | DubboError::Sibling(_)
            | DubboError::Key { part: KeyPart::Version | KeyPart::Group, .. } => Part::Key,
            DubboError::Key { part: KeyPart::Application, .. } => Part::Application,
            DubboError::Malformed(_)
            | DubboError::Name { .. }
            | DubboError::Value { .. }
            | DubboError::Stripped(_)
            | DubboError::Reserved(_)
            | DubboError::TooLong(_) => Part::Parameters,
        }
    }
}

impl Part {
    /// The annotation of each part, in the order of this enum.
    pub(super) fn of(self, [key, application, parameters]: [&'static str; 3]) -> &'static str {
        match self {
            Part::Key => key,
            Part::Application => application,
            Part::Parameters => parameters,
        }
    }
}

/// Keys of interfaces, separated by commas or white space. There is always one, which may be empty.
pub(super) fn keys(value: &str) -> Vec<&str> {
    let is_separator = |c: char| c == ',' || c.is_whitespace();
    let keys: Vec<_> = value.split(is_separator).filter(|key| !key.is_empty()).collect();
    if keys.is_empty() { vec![""] } else { keys }
}

/// The directories of `mapping` and of `metadata` below this root.
pub(super) fn beside(root: &ZnodePath) -> Result<[ZnodePath; 2], PathError> {
    Ok([root.child(MAPPING)?, root.child(METADATA)?])
}

impl Target for Dubbo {
    fn name(&self) -> &str {
        &self.provider.interface
    }

    fn parameters(&self) -> &[String] {
        &self.provider.to_be_granted
    }

    /// Consumers tell providers of one interface apart by version and group.
    fn service(&self) -> Cow<'_, str> {
        let Provider { interface, .. } = &self.provider;
        let [version, group] = ["version", "group"].map(|name| self.provider.parameter(name));
        // A version with a ':' in it is none that a key can have.
        key(interface, version, group).unwrap_or_else(|_| interface.clone()).into()
    }

    fn directory(&self, root: &ZnodePath) -> Result<ZnodePath, PathError> {
        root.child(&form_encode(&self.provider.interface))?.child(PROVIDERS)
    }

    fn leaf(&self, instance: &Instance<'_>) -> Result<Leaf, NoIpv6> {
        let endpoint = instance.endpoint;
        if endpoint.host.is_ipv6() && !self.ipv6 {
            return Err(NoIpv6);
        }
        let name = self.provider.url(&endpoint.to_string(), &self.provider.of_instance(instance));
        Ok(Leaf { name, data: Bytes::new() })
    }
}

impl Provider {
    /// Reads `interface[:version[:group]]`, Dubbo's own colon-separated key, and `name=value&…`.
    ///
    /// # Errors
    /// See [`DubboError`].
    pub(super) fn new(key: &str, application: &str, parameters: &str) -> Result<Self, DubboError> {
        let mut parts = key.splitn(3, ':');
        let interface = parts.next().unwrap_or_default();
        if !interface.split('.').all(is_java_identifier) {
            return Err(DubboError::Interface(shortened(interface)));
        }
        if SIBLINGS.contains(&interface) {
            return Err(DubboError::Sibling(interface.to_owned()));
        }
        let of_key = |part: KeyPart| move |reason| DubboError::Key { part, reason };
        check_value("application", application).map_err(of_key(KeyPart::Application))?;
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
        let named = [("version", KeyPart::Version), ("group", KeyPart::Group)];
        for ((name, part), value) in named.into_iter().zip(parts).filter(|(_, value)| !value.is_empty()) {
            check_value(name, value).map_err(of_key(part))?;
            all.insert(name.to_owned(), value.to_owned());
        }
        let mut to_be_granted = Vec::new();
        for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = read_parameter(parameter)?;
            all.insert(name.to_owned(), value.to_owned());
            if !HARMLESS.contains(&name) {
                to_be_granted.push(name.to_owned());
            }
        }
        let provider = Provider { interface: interface.to_owned(), parameters: all, to_be_granted };
        let longest = Host::Ip(Ipv6Addr::from([0xff; 16]).into()).with_port(u16::MAX);
        match provider.url(&longest, &[]).len() {
            bytes if bytes > MAX_URL_BYTES => Err(DubboError::TooLong(bytes)),
            _ => Ok(provider),
        }
    }

    /// `[group/]interface[:version]:protocol` (`MetadataInfo.ServiceInfo.getMatchKey`).
    pub(super) fn key(&self, protocol: &str) -> String {
        let group = self.parameter("group").map(|group| format!("{group}/")).unwrap_or_default();
        let version = self.parameter("version").map(|version| format!(":{version}")).unwrap_or_default();
        format!("{group}{}{version}:{protocol}", self.interface)
    }

    /// One of its parameters.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }

    /// What one provider says beside all others: where it runs, as far as consumers can read that and the
    /// Service says nothing else, and whether it drains.
    fn of_instance<'a>(&self, instance: &Instance<'a>) -> Vec<(&'static str, &'a str)> {
        let mut bytes = 0;
        let topology = instance.topology.iter().map(|(name, value)| (*name, value.as_str()));
        let mut parameters: Vec<_> = topology
            .filter(|(name, value)| {
                let is_readable = !self.parameters.contains_key(*name) && check_value(name, value).is_ok();
                bytes += if is_readable { form_encode(value).len() } else { 0 };
                is_readable && bytes <= MAX_TOPOLOGY_BYTES
            })
            .collect();
        match (instance.drain, instance.is_draining) {
            (Some(Drain::Weight), true) => parameters.push((WEIGHT, "0")),
            (Some(Drain::Weight), false) if !self.parameters.contains_key(WEIGHT) => {
                parameters.push((WEIGHT, DEFAULT_WEIGHT));
            }
            (Some(Drain::Disable), true) => parameters.push(("disabled", "true")),
            _ => {}
        }
        parameters
    }

    /// Sorted but for `anyhost`, before which a parameter of the Service's may sort.
    fn url(&self, address: &str, more: &[(&str, &str)]) -> String {
        let all = self.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let all: BTreeMap<_, _> = all.chain(more.iter().copied()).collect();
        let (first, rest): (Vec<_>, Vec<_>) = all.iter().partition(|(name, _)| **name == FIRST);
        let query: Vec<_> =
            first.iter().chain(&rest).map(|(name, value)| format!("{name}={value}")).collect();
        form_encode(&format!("dubbo://{address}/{}?{}", self.interface, query.join("&")))
    }
}

fn is_java_identifier(text: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '$');
    !text.is_empty() && !text.starts_with(|c: char| c.is_ascii_digit()) && text.chars().all(is_part)
}

fn read_parameter(parameter: &str) -> Result<(&str, &str), DubboError> {
    let (name, value) = match parameter.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => (name, value),
        _ => return Err(DubboError::Malformed(shortened(parameter))),
    };
    if let Some(reason) = cut(name) {
        return Err(DubboError::Name { name: shortened(name), reason });
    }
    if RESERVED.contains(&name) {
        return Err(DubboError::Reserved(name.to_owned()));
    }
    if STRIPPED.iter().any(|&stripped| name.ends_with(stripped) && name != stripped) {
        return Err(DubboError::Stripped(shortened(name)));
    }
    check_value(name, value).map_err(|reason| DubboError::Value { name: shortened(name), reason })?;
    Ok((name, value))
}

fn check_value(name: &str, value: &str) -> Result<(), TextError> {
    if value.is_empty() {
        return Err(TextError::Empty);
    }
    if let Some(reason) = cut(value) {
        return Err(reason);
    }
    if STRIPPED.iter().any(|stripped| value.contains(&format!("{stripped}="))) {
        return Err(TextError::Stripped);
    }
    if name == "version" && value == "0.0.0" {
        return Err(TextError::NoVersion);
    }
    Ok(())
}

fn cut(text: &str) -> Option<TextError> {
    text.contains(|c: char| matches!(c, '&' | ';') || c.is_control()).then_some(TextError::Cut)
}

fn form_encode(text: &str) -> String {
    utf8_percent_encode(text, FORM).to_string().replace(' ', "+")
}

/// As `java.net.URLDecoder` does, but that a `%` which is none stays.
fn form_decode(text: &str) -> Result<String, Unreadable> {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced)
        .decode_utf8()
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| Unreadable::NotText)
}

/// The interface that a child of the root stands for.
fn interface(child: &str) -> Option<String> {
    if child.len() > MAX_RECORD_BYTES || SIBLINGS.contains(&child) {
        return None;
    }
    form_decode(child).ok().filter(|interface| !interface.is_empty())
}

/// A provider of any release (`formats.md` 8.1). Beside the parameters of a consumer's match only its address
/// counts; it is not ready if it says `enabled=false` or `disabled=true`, or has the weight 0.
fn registered(interface: &str, name: &str) -> Result<Registered, Unreadable> {
    if name.len() > MAX_RECORD_BYTES {
        return Err(Unreadable::TooLong(name.len()));
    }
    let mut url = form_decode(name)?;
    if !url.contains("://") && url.contains("%3A%2F%2F") {
        // Some encode twice.
        url = form_decode(&url)?;
    }
    let (protocol, rest) = url.split_once("://").ok_or(Unreadable::NotUrl)?;
    let (location, query) = rest.split_once('?').unwrap_or((rest, ""));
    if NO_PROVIDERS.contains(&protocol) {
        return Err(Unreadable::NotProvider { what: "protocol", value: shortened(protocol) });
    }
    // Java's parser since 2.7.8 takes both; without a value a name stands for itself.
    let parameters: BTreeMap<_, _> =
        query.split(['&', ';']).map(|one| one.split_once('=').unwrap_or((one, one))).collect();
    let parameter = |name| parameters.get(name).copied().filter(|value| !value.is_empty());
    if let Some(category) = parameter("category").filter(|&category| category != PROVIDERS) {
        return Err(Unreadable::NotProvider { what: "category", value: shortened(category) });
    }
    if let Some(says) = parameter("interface").filter(|&says| says != interface) {
        return Err(Unreadable::Misplaced { directory: shortened(interface), says: shortened(says) });
    }
    let authority = location.split('/').next().unwrap_or_default();
    let authority = authority.rsplit_once('@').map_or(authority, |(_, behind)| behind);
    let (host, port) = authority.rsplit_once(':').ok_or(Unreadable::NoPort)?;
    let host = registered::host(host)?;
    let port = port.parse().ok().filter(|&port| port > 0).ok_or(Unreadable::NoPort)?;
    let is_enabled = parameter("enabled") != Some("false") && parameter("disabled") != Some("true");
    let has_weight = parameter("weight").and_then(|weight| weight.trim().parse().ok()) != Some(0i64);
    let service = key(interface, parameter("version"), parameter("group"))?;
    Ok(Registered { service, host, port, ready: is_enabled && has_weight })
}

/// `interface[:version[:group]]`. A group may have a ':' in it, for nothing comes behind it.
fn key(interface: &str, version: Option<&str>, group: Option<&str>) -> Result<String, Unreadable> {
    match (version, group) {
        (Some(version), _) if version.contains(':') => Err(Unreadable::Version(shortened(version))),
        (None, None) => Ok(interface.to_owned()),
        (Some(version), None) => Ok(format!("{interface}:{version}")),
        (version, Some(group)) => Ok(format!("{interface}:{}:{group}", version.unwrap_or_default())),
    }
}

/// The address or name in a provider's name.
fn host(name: &str) -> Option<Host> {
    let url = percent_decode_str(name).decode_utf8().ok()?;
    let authority = url.strip_prefix("dubbo://")?.split('/').next()?;
    Host::parse_with_port(authority).map(|(host, _)| host)
}

#[cfg(test)]
#[path = "dubbo_readers_test.rs"]
mod readers;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Endpoint;

    fn instance(host: &str) -> Instance<'static> {
        Instance::new(Box::leak(Box::new(Endpoint::tcp(host, 20880))), 7)
    }

    #[test]
    fn a_provider_has_exactly_this_name() {
        let provider = Provider::new(
            "com.acme.OrderService:1.0.0:g1",
            "orders",
            "methods=create,get&pid=1&release=2.7.23&revision=1.0.0&timestamp=1700000000000&weight=200",
        )
        .unwrap();
        let dubbo = Dubbo { provider, ipv6: false };
        let leaf = dubbo.leaf(&instance("10.1.2.3")).unwrap();
        let directory = dubbo.directory(&ZnodePath::new("/dubbo").unwrap()).unwrap();
        assert_eq!(directory.as_str(), "/dubbo/com.acme.OrderService/providers");
        assert_eq!(
            leaf.name,
            "dubbo%3A%2F%2F10.1.2.3%3A20880%2Fcom.acme.OrderService%3Fanyhost%3Dtrue%26application%3Dorders%26deprecated%3Dfalse%26dubbo%3D2.0.2%26dynamic%3Dtrue%26generic%3Dfalse%26group%3Dg1%26interface%3Dcom.acme.OrderService%26methods%3Dcreate%2Cget%26pid%3D1%26release%3D2.7.23%26revision%3D1.0.0%26side%3Dprovider%26timestamp%3D1700000000000%26version%3D1.0.0%26weight%3D200"
        );
        assert!(leaf.data.is_empty());
        assert_eq!(dubbo.leaf(&instance("fd00::1")), Err(NoIpv6));
        let dubbo = Dubbo { ipv6: true, ..dubbo };
        for text in ["10.1.2.3", "fd00::1", "orders.example"] {
            assert_eq!(host(&dubbo.leaf(&instance(text)).unwrap().name), Host::parse(text));
        }
        let name = dubbo.leaf(&instance("orders.example")).unwrap().name;
        assert!(
            name.starts_with("dubbo%3A%2F%2Forders.example%3A20880%2Fcom.acme.OrderService%3F"),
            "{name}"
        );
    }

    #[test]
    fn a_provider_tells_where_it_runs_and_that_it_drains_only_if_it_is_asked_to() {
        let name = |parameters: &str, instance: Instance<'_>| {
            let provider = Provider::new("a.B", "orders", parameters).unwrap();
            Dubbo { provider, ipv6: false }.leaf(&instance).unwrap().name
        };
        let plain = name("", instance("10.1.2.3"));
        let topology =
            [("zone", "a&b".to_owned()), ("node", "n-1".to_owned()), ("forZones", "a,b".to_owned())];
        let with_topology = Instance { topology: &topology, ..instance("10.1.2.3") };
        let expected = plain
            .replace("%26generic", "%26forZones%3Da%2Cb%26generic")
            .replace("%26side", "%26node%3Dn-1%26side");
        assert_eq!(name("", with_topology), expected, "what would be cut is left out");
        assert!(name("node=x", with_topology).contains("%26node%3Dx%26"), "the Service's word counts");
        for (drain, is_draining, parameters, suffix) in [
            (Drain::Weight, false, "", "%26weight%3D100"),
            (Drain::Weight, false, "weight=7", "%26weight%3D7"),
            (Drain::Weight, true, "weight=7", "%26weight%3D0"),
            (Drain::Disable, false, "", "%26side%3Dprovider"),
            (
                Drain::Disable,
                true,
                "",
                "%26disabled%3Dtrue%26dubbo%3D2.0.2%26dynamic%3Dtrue%26generic%3Dfalse%26interface%3Da.B%26side%3Dprovider",
            ),
        ] {
            let name = name(parameters, Instance { drain: Some(drain), is_draining, ..instance("10.1.2.3") });
            assert!(name.ends_with(suffix), "{name}");
            assert_eq!(registered("a.B", &name).unwrap().ready, !is_draining, "{name}");
        }
    }

    const ORDERS: &str = "com.acme.OrderService";

    fn read(url: &str) -> Result<(String, String, bool), Unreadable> {
        let Registered { service, host, port, ready } = registered(ORDERS, &form_encode(url))?;
        Ok((service, host.with_port(port), ready))
    }

    #[test]
    fn what_is_written_is_read() {
        for (key, host) in [
            ("com.acme.OrderService:1.0.0:g1", "10.1.2.3"),
            (ORDERS, "fd00::1"),
            ("a.B::g", "orders.example"),
        ] {
            let provider = Provider::new(key, "orders", "weight=200").unwrap();
            let host = Host::parse(host).unwrap();
            let name = provider.url(&host.with_port(20880), &[]);
            let expected = Registered { service: key.to_owned(), host, port: 20880, ready: true };
            assert_eq!(registered(&provider.interface, &name), Ok(expected));
            assert_eq!(interface(&form_encode(&provider.interface)), Some(provider.interface));
        }
    }

    /// The names that providers of these releases gave their znodes.
    #[test]
    fn providers_of_every_release_are_read() {
        for (release, name) in [
            (
                "2.7.23",
                "dubbo%3A%2F%2F10.1.2.3%3A20880%2Fcom.acme.OrderService%3Fanyhost%3Dtrue%26application%3Dorders%26deprecated%3Dfalse%26dubbo%3D2.0.2%26dynamic%3Dtrue%26generic%3Dfalse%26interface%3Dcom.acme.OrderService%26methods%3Dcreate%2Cget%26pid%3D1%26release%3D2.7.23%26revision%3D1.0.0%26side%3Dprovider%26timestamp%3D1700000000000%26version%3D1.0.0",
            ),
            (
                "3.3.6",
                "dubbo%3A%2F%2F10.1.2.3%3A20880%2Fcom.acme.OrderService%3Fapplication%3Dorders%26background%3Dfalse%26deprecated%3Dfalse%26dubbo%3D2.0.2%26dynamic%3Dtrue%26executor-management-mode%3Disolation%26file-cache%3Dtrue%26generic%3Dfalse%26interface%3Dcom.acme.OrderService%26methods%3Dcreate%2Cget%26prefer.serialization%3Dhessian2%2Cfastjson2%26release%3D3.3.6%26service-name-mapping%3Dtrue%26side%3Dprovider%26timestamp%3D1700000000000%26version%3D1.0.0",
            ),
        ] {
            let Registered { service, host, port, ready } = registered(ORDERS, name).unwrap();
            let address = host.with_port(port);
            let expected = ("com.acme.OrderService:1.0.0", "10.1.2.3:20880", true);
            assert_eq!((&*service, &*address, ready), expected, "{release}");
        }
    }

    #[test]
    fn providers_are_read_as_consumers_read_them() {
        for (url, service, address, ready) in [
            ("dubbo://10.1.2.3:1", ORDERS, "10.1.2.3:1", true),
            ("tri://10.1.2.3:1/x?weight=0", ORDERS, "10.1.2.3:1", false),
            ("dubbo://10.1.2.3:1/x?enabled=false", ORDERS, "10.1.2.3:1", false),
            ("dubbo://10.1.2.3:1/x?disabled=true", ORDERS, "10.1.2.3:1", false),
            ("dubbo://u:p@10.1.2.3:1/x?group=g", "com.acme.OrderService::g", "10.1.2.3:1", true),
            ("dubbo://10.1.2.3:1/x?group=a:b", "com.acme.OrderService::a:b", "10.1.2.3:1", true),
            ("dubbo://10.1.2.3:1/x?a=1;version=2", "com.acme.OrderService:2", "10.1.2.3:1", true),
            ("dubbo://10.1.2.3:1/x?version=&group", "com.acme.OrderService::group", "10.1.2.3:1", true),
            ("dubbo://fd00::12:20880/x", ORDERS, "[fd00::12]:20880", true),
            ("dubbo://[fd00::12]:20880/x", ORDERS, "[fd00::12]:20880", true),
            ("dubbo://Host.example:1/x", ORDERS, "host.example:1", true),
            ("dubbo://10.1.2.3:1/ctx/x?interface=com.acme.OrderService", ORDERS, "10.1.2.3:1", true),
            ("dubbo%3A%2F%2F10.1.2.3%3A1", ORDERS, "10.1.2.3:1", true),
        ] {
            assert_eq!(read(url), Ok((service.to_owned(), address.to_owned(), ready)), "{url}");
        }
    }

    #[test]
    fn what_is_no_provider_is_told_by_its_reason() {
        let host = |text: &str| Unreadable::NotAHost(text.to_owned());
        let protocol = |value: &str| Unreadable::NotProvider { what: "protocol", value: value.to_owned() };
        for (url, expected) in [
            ("_lock", Unreadable::NotUrl),
            ("empty://0.0.0.0/x", protocol("empty")),
            ("override://10.1.2.3:1/x", protocol("override")),
            (
                "dubbo://10.1.2.3:1/x?category=consumers",
                Unreadable::NotProvider { what: "category", value: "consumers".to_owned() },
            ),
            (
                "dubbo://10.1.2.3:1/x?interface=a.B",
                Unreadable::Misplaced { directory: ORDERS.to_owned(), says: "a.B".to_owned() },
            ),
            ("dubbo://10.1.2.3/x", Unreadable::NoPort),
            ("dubbo://10.1.2.3:0/x", Unreadable::NoPort),
            ("dubbo://10.1.2.3:65536/x", Unreadable::NoPort),
            ("dubbo://:1/x", Unreadable::NoAddress),
            ("dubbo://10.1.2:1/x", host("10.1.2")),
            ("dubbo://fe80::1%eth0:1/x", host("fe80::1%eth0")),
            ("dubbo://10.1.2.3:1/x?version=1:2", Unreadable::Version("1:2".to_owned())),
        ] {
            assert_eq!(read(url), Err(expected), "{url}");
        }
        assert_eq!(registered(ORDERS, "dubbo%FF"), Err(Unreadable::NotText));
        let long = "x".repeat(MAX_RECORD_BYTES + 1);
        assert_eq!(registered(ORDERS, &long), Err(Unreadable::TooLong(long.len())));
        for sibling in SIBLINGS {
            assert_eq!(interface(sibling), None);
        }
    }

    #[test]
    fn encoding_is_that_of_java() {
        assert_eq!(form_encode("aZ09.-*_"), "aZ09.-*_");
        assert_eq!(form_encode("a b~+é$"), "a+b%7E%2B%C3%A9%24");
    }

    #[test]
    fn the_first_parameter_is_one_that_may_be_lost() {
        let provider = Provider::new("a.B", "orders", "accepts=9&Z=1").unwrap();
        let name = provider.url("10.1.2.3:20880", &[]);
        assert!(name.contains("%3Fanyhost%3Dtrue%26Z%3D1%26accepts%3D9%26application%3D"), "{name}");
    }

    #[test]
    fn what_breaks_a_consumer_is_refused() {
        let error = |key: &str, parameters: &str| Provider::new(key, "orders", parameters).unwrap_err();
        for interface in ["", "com/acme", "..", "a..B", ".B", "a.", "a.1B", "a.B?x", "a B"] {
            assert_eq!(error(interface, ""), DubboError::Interface(interface.to_owned()));
        }
        for sibling in ["config", "metadata", "mapping"] {
            assert_eq!(error(sibling, ""), DubboError::Sibling(sibling.to_owned()));
        }
        assert!(matches!(error("a.B", "weight"), DubboError::Malformed(_)));
        assert!(matches!(error("a.B", "weight="), DubboError::Malformed(_)));
        assert!(matches!(error("a.B", "=1"), DubboError::Malformed(_)));
        assert!(matches!(error("a.B", "rapid=1"), DubboError::Stripped(_)));
        assert!(matches!(error("a.B", "remote.timestamp=1"), DubboError::Stripped(_)));
        for name in RESERVED {
            assert_eq!(error("a.B", &format!("{name}=x")), DubboError::Reserved(name.to_owned()));
        }
    }

    #[test]
    fn no_parameter_is_smuggled_in_by_another_text() {
        let error = |key: &str, application: &str, parameters: &str| {
            Provider::new(key, application, parameters).unwrap_err().to_string()
        };
        for (error, parts) in [
            (error("a.B", "orders", "x;dynamic=false"), ["name of parameter \"x;dynamic\"", "';'"]),
            (error("a.B", "orders", "x=1;dynamic=false"), ["value of parameter \"x\"", "';'"]),
            (error("a.B", "orders", "x\u{1}=1"), ["name of parameter", "control"]),
            (error("a.B", "a&category=consumers", ""), ["application", "'&'"]),
            (error("a.B", "a;dynamic=false", ""), ["application", "';'"]),
            (error("a.B", "", ""), ["application", "empty"]),
            (error("a.B", "x-pid=1", ""), ["application", "'pid='"]),
            (error("a.B:1&dynamic=false", "orders", ""), ["version", "'&'"]),
            (error("a.B:1:g;dynamic=false", "orders", ""), ["group", "';'"]),
            (error("a.B::g-pid=", "orders", ""), ["group", "'pid='"]),
            (error("a.B", "orders", "x=timestamp=2"), ["value of parameter \"x\"", "'timestamp='"]),
            (error("a.B:0.0.0", "orders", ""), ["version", "0.0.0"]),
            (error("a.B", "orders", "version=0.0.0"), ["\"version\"", "0.0.0"]),
        ] {
            assert!(parts.iter().all(|part| error.contains(part)), "{error}: {parts:?}");
        }
    }

    #[test]
    fn what_resembles_a_mistake_and_is_none_is_accepted() {
        for (key, parameters) in [
            ("a.B$C", ""),
            ("a.B::", ""),
            ("a.B::g", ""),
            ("a.B:0.0.0.1", ""),
            ("Top", "pid=1&timestamp=2"),
            ("a.B", "a=b=c&dubbo.tag=grey&create.timeout=9&x=pid&y=0.0.0"),
        ] {
            Provider::new(key, "orders", parameters).unwrap();
        }
    }

    #[test]
    fn a_url_that_is_too_long_is_refused_with_the_limit() {
        let with = |value: usize| Provider::new("a.B", "orders", &format!("x={}", "y".repeat(value)));
        let longest = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535";
        let fixed = with(1).unwrap().url(longest, &[]).len() - 1;
        assert_eq!(with(MAX_URL_BYTES - fixed).unwrap().url(longest, &[]).len(), MAX_URL_BYTES);
        let error = with(MAX_URL_BYTES - fixed + 1).unwrap_err();
        assert_eq!(error, DubboError::TooLong(MAX_URL_BYTES + 1));
        assert!(error.to_string().contains("4096"), "{error}");
        for huge in ["x".repeat(100_000), format!("{}=1;", "x".repeat(100_000))] {
            let error = Provider::new("a.B", "orders", &huge).unwrap_err().to_string();
            assert!(error.len() < 400, "{} bytes", error.len());
        }
        let error = Provider::new(&"/".repeat(100_000), "orders", "").unwrap_err().to_string();
        assert!(error.len() < 400, "{} bytes", error.len());
    }
}
