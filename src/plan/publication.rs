//! From a Service's annotations to what it wants to publish.

use std::collections::BTreeSet;

use super::rules::Rules;
use super::{BadValue, Refusal};
use crate::format::curator::Curator;
use crate::format::dubbo::{Dubbo, DubboError, KeyPart};
use crate::format::{Format, shortened};
use crate::model::{PortChoice, Service};

/// One directory that a Service wants to fill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// In which format, under which name.
    pub target: Target,
    /// Which port.
    pub port: PortChoice,
}

/// Format and name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A Curator service.
    Curator(Curator),
    /// A Dubbo interface; `ipv6` allows such addresses.
    Dubbo {
        /// The provider.
        provider: Dubbo,
        /// May IPv6 providers be written?
        ipv6: bool,
    },
}

/// The annotations below `zoobridge.io/`.
const CURATOR: &str = "curator";
const DUBBO: &str = "dubbo";
const PORT: &str = "port";
const CURATOR_PORT: &str = "curator-port";
const DUBBO_PORT: &str = "dubbo-port";
const DUBBO_APPLICATION: &str = "dubbo-application";
const DUBBO_PARAMETERS: &str = "dubbo-parameters";
const DUBBO_IPV6: &str = "dubbo-ipv6";
const KNOWN: [&str; 8] =
    [CURATOR, DUBBO, PORT, CURATOR_PORT, DUBBO_PORT, DUBBO_APPLICATION, DUBBO_PARAMETERS, DUBBO_IPV6];

impl Target {
    /// Its format.
    #[must_use]
    pub fn format(&self) -> Format {
        match self {
            Target::Curator(_) => Format::Curator,
            Target::Dubbo { .. } => Format::Dubbo,
        }
    }

    /// The name that a rule must grant.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Target::Curator(curator) => &curator.name,
            Target::Dubbo { provider, .. } => &provider.interface,
        }
    }
}

/// What a Service asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// What makes sense and is granted.
    pub wanted: Vec<Publication>,
    /// What does not, or is not.
    pub refusals: Vec<Refusal>,
    /// Formats of which an annotation makes no sense, so that `wanted` may lack something.
    pub unclear: BTreeSet<Format>,
}

/// What the annotations and rules ask for, and what of it makes no sense or is not granted. One bad
/// annotation does not touch what the others say.
#[must_use]
pub fn publications(service: &Service, rules: &Rules) -> Asked {
    let mut asked = Asked::default();
    if service.is_imported {
        // What came from ZooKeeper does not go back, whatever is asked for.
        let asks = service.annotations.keys().any(|name| KNOWN.contains(&name.as_str()));
        asked.refusals.extend(asks.then_some(Refusal::Imported));
        return asked;
    }
    for annotation in service.annotations.keys().filter(|name| !KNOWN.contains(&name.as_str())) {
        let known = KNOWN.join(", ");
        asked.refusals.push(Refusal::UnknownAnnotation { annotation: annotation.clone(), known });
    }
    asked.curator(service, rules);
    asked.dubbo(service);
    let Asked { wanted, refusals, .. } = &mut asked;
    wanted.retain(|Publication { target, .. }| {
        let granted = rules.grant(&service.key, target.format(), target.name());
        if !granted {
            let (key, format, name) = (service.key.clone(), target.format(), target.name().to_owned());
            refusals.push(Refusal::NotGranted { key, format, name });
        }
        granted
    });
    asked
}

impl Asked {
    fn curator(&mut self, service: &Service, rules: &Rules) {
        let own_name = || service.key.name.to_string();
        let name = match service.annotations.get(CURATOR).map(String::as_str) {
            None if rules.publish_unasked(&service.key) => own_name(),
            None => return self.needs(service, &[CURATOR_PORT], CURATOR),
            Some("") => own_name(),
            Some(name) => name.to_owned(),
        };
        match Curator::new(&name) {
            Ok(curator) => {
                let port = port(service, CURATOR_PORT);
                self.wanted.push(Publication { target: Target::Curator(curator), port });
            }
            Err(reason) => {
                let reason = BadValue::Name { name: shortened(&name), reason: reason.to_string() };
                self.bad(Format::Curator, CURATOR, reason);
            }
        }
    }

    /// Several interfaces are separated by commas or white space.
    fn dubbo(&mut self, service: &Service) {
        let text = |name: &str| service.annotations.get(name).map(String::as_str);
        let Some(keys) = text(DUBBO) else {
            let others = [DUBBO_PORT, DUBBO_APPLICATION, DUBBO_PARAMETERS, DUBBO_IPV6];
            return self.needs(service, &others, DUBBO);
        };
        let ipv6 = match text(DUBBO_IPV6) {
            None | Some("false") => false,
            Some("true") => true,
            Some(other) => {
                self.bad(Format::Dubbo, DUBBO_IPV6, BadValue::Bool(other.to_owned()));
                false
            }
        };
        let application = text(DUBBO_APPLICATION).unwrap_or(&service.key.name);
        let parameters = text(DUBBO_PARAMETERS).unwrap_or_default();
        let is_separator = |c: char| c == ',' || c.is_whitespace();
        let mut keys: Vec<_> = keys.split(is_separator).filter(|key| !key.is_empty()).collect();
        if keys.is_empty() {
            keys.push("");
        }
        for key in keys {
            match Dubbo::new(key, application, parameters) {
                Ok(provider) => {
                    let port = port(service, DUBBO_PORT);
                    self.wanted.push(Publication { target: Target::Dubbo { provider, ipv6 }, port });
                }
                Err(error) => self.bad(Format::Dubbo, annotation_of(&error), error.into()),
            }
        }
    }

    /// Annotations that say how, while the one that says what is absent.
    fn needs(&mut self, service: &Service, annotations: &[&str], what: &'static str) {
        for &annotation in annotations.iter().filter(|&&name| service.annotations.contains_key(name)) {
            let (annotation, reason) = (annotation.to_owned(), BadValue::Alone(what));
            self.refusals.push(Refusal::BadAnnotation { annotation, reason });
        }
    }

    fn bad(&mut self, format: Format, annotation: &str, reason: BadValue) {
        self.unclear.insert(format);
        self.refusals.push(Refusal::BadAnnotation { annotation: annotation.to_owned(), reason });
    }
}

/// Where the mistake is. What is too long is so because of the parameters, if there are any.
fn annotation_of(error: &DubboError) -> &'static str {
    match error {
        DubboError::Interface(_)
        | DubboError::Sibling(_)
        | DubboError::Key { part: KeyPart::Version | KeyPart::Group, .. } => DUBBO,
        DubboError::Key { part: KeyPart::Application, .. } => DUBBO_APPLICATION,
        DubboError::Malformed(_)
        | DubboError::Name { .. }
        | DubboError::Value { .. }
        | DubboError::Stripped(_)
        | DubboError::Reserved(_)
        | DubboError::TooLong(_) => DUBBO_PARAMETERS,
    }
}

/// The format's own port annotation, else the common one, else the only port.
fn port(service: &Service, of_format: &str) -> PortChoice {
    match service.annotations.get(of_format).or_else(|| service.annotations.get(PORT)) {
        None => PortChoice::Only,
        Some(port) => match port.parse() {
            Ok(number) => PortChoice::Numbered(number),
            Err(_) => PortChoice::Named(port.clone()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Protocol, ServiceKey, ServicePort};

    fn service(annotations: &[(&str, &str)]) -> Service {
        let annotations = annotations.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
        Service {
            key: ServiceKey::new("shop", "orders"),
            uid: "u".into(),
            resource_version: "1".into(),
            created_ms: 0,
            annotations: annotations.collect(),
            ports: vec![ServicePort { name: String::new(), port: 80, protocol: Protocol::Tcp }],
            is_imported: false,
            is_external_name: false,
            prefers_ipv4: true,
        }
    }

    #[test]
    fn a_bad_annotation_is_refused_by_its_name_and_leaves_the_format_unclear() {
        let rules: Rules = serde_saphyr::from_str("[{formats: [curator, dubbo]}]").unwrap();
        let (long, huge) = ("x".repeat(256), format!("x={}", "y".repeat(100_000)));
        for (annotations, annotation, format, part) in [
            (vec![(CURATOR, &*long)], CURATOR, Format::Curator, "255"),
            (vec![(CURATOR, "a/b")], CURATOR, Format::Curator, "'/'"),
            (vec![(DUBBO, "a/B")], DUBBO, Format::Dubbo, "a/B"),
            (vec![(DUBBO, "config")], DUBBO, Format::Dubbo, "config"),
            (vec![(DUBBO, "a.B:0.0.0")], DUBBO, Format::Dubbo, "0.0.0"),
            (vec![(DUBBO, "a.B"), (DUBBO_APPLICATION, "")], DUBBO_APPLICATION, Format::Dubbo, "empty"),
            (vec![(DUBBO, "a.B"), (DUBBO_APPLICATION, "a;b=c")], DUBBO_APPLICATION, Format::Dubbo, "';'"),
            (
                vec![(DUBBO, "a.B"), (DUBBO_PARAMETERS, "x;dynamic=false")],
                DUBBO_PARAMETERS,
                Format::Dubbo,
                "';'",
            ),
            (vec![(DUBBO, "a.B"), (DUBBO_PARAMETERS, &*huge)], DUBBO_PARAMETERS, Format::Dubbo, "4096"),
        ] {
            let Asked { wanted, refusals, unclear } = publications(&service(&annotations), &rules);
            assert_eq!((wanted, unclear), (vec![], BTreeSet::from([format])));
            let [Refusal::BadAnnotation { annotation: named, reason }] = refusals.as_slice() else {
                panic!("{refusals:?}")
            };
            assert_eq!(named, annotation);
            let reason = reason.to_string();
            assert!(reason.contains(part) && reason.len() < 500, "{reason}");
        }
    }
}
