//! From a Service's annotations to what it wants to publish.

use super::rules::Rules;
use super::{BadValue, Refusal};
use crate::format::Format;
use crate::format::curator::Curator;
use crate::format::dubbo::Dubbo;
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

/// What the annotations and rules ask for, and what of it makes no sense or is not granted. One bad
/// annotation does not touch what the others say.
#[must_use]
pub fn publications(service: &Service, rules: &Rules) -> (Vec<Publication>, Vec<Refusal>) {
    let (mut wanted, mut refusals) = (Vec::new(), Vec::new());
    for annotation in service.annotations.keys().filter(|name| !KNOWN.contains(&name.as_str())) {
        let known = KNOWN.join(", ");
        refusals.push(Refusal::UnknownAnnotation { annotation: annotation.clone(), known });
    }
    curator(service, rules, &mut wanted, &mut refusals);
    dubbo(service, &mut wanted, &mut refusals);
    wanted.retain(|Publication { target, .. }| {
        let granted = rules.grant(&service.key, target.format(), target.name());
        if !granted {
            let (key, format, name) = (service.key.clone(), target.format(), target.name().to_owned());
            refusals.push(Refusal::NotGranted { key, format, name });
        }
        granted
    });
    (wanted, refusals)
}

fn curator(service: &Service, rules: &Rules, wanted: &mut Vec<Publication>, refusals: &mut Vec<Refusal>) {
    let own_name = || service.key.name.to_string();
    let name = match service.annotations.get(CURATOR).map(String::as_str) {
        None if rules.publish_unasked(&service.key) => own_name(),
        None => return needs(service, &[CURATOR_PORT], CURATOR, refusals),
        Some("") => own_name(),
        Some(name) => name.to_owned(),
    };
    match zk_wire::path::validate_component(&name) {
        Ok(()) => {
            let port = port(service, CURATOR_PORT);
            wanted.push(Publication { target: Target::Curator(Curator { name }), port });
        }
        Err(reason) => refusals.push(Refusal::bad_name(CURATOR, &name, reason)),
    }
}

/// Several interfaces are separated by commas or white space.
fn dubbo(service: &Service, wanted: &mut Vec<Publication>, refusals: &mut Vec<Refusal>) {
    let Some(keys) = service.annotations.get(DUBBO) else {
        let others = [DUBBO_PORT, DUBBO_APPLICATION, DUBBO_PARAMETERS, DUBBO_IPV6];
        return needs(service, &others, DUBBO, refusals);
    };
    let bad = |annotation: &str, reason: BadValue| Refusal::BadAnnotation {
        annotation: annotation.to_owned(),
        reason,
    };
    let text = |name: &str| service.annotations.get(name).map(String::as_str);
    let ipv6 = match text(DUBBO_IPV6) {
        None | Some("false") => false,
        Some("true") => true,
        Some(other) => {
            refusals.push(bad(DUBBO_IPV6, BadValue::Bool(other.to_owned())));
            false
        }
    };
    let application = text(DUBBO_APPLICATION).unwrap_or(&service.key.name);
    let parameters = text(DUBBO_PARAMETERS).unwrap_or_default();
    let keys: Vec<_> =
        keys.split(|c: char| c == ',' || c.is_whitespace()).filter(|key| !key.is_empty()).collect();
    if keys.is_empty() {
        let error = Dubbo::new("", application, parameters);
        refusals.extend(error.err().map(|error| bad(DUBBO, error.into())));
    }
    for key in keys {
        match Dubbo::new(key, application, parameters) {
            Ok(provider) => {
                let port = port(service, DUBBO_PORT);
                wanted.push(Publication { target: Target::Dubbo { provider, ipv6 }, port });
            }
            Err(error) => refusals.push(bad(DUBBO, error.into())),
        }
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

/// Annotations that say how, while the one that says what is absent.
fn needs(service: &Service, annotations: &[&str], what: &'static str, refusals: &mut Vec<Refusal>) {
    for &annotation in annotations.iter().filter(|&&name| service.annotations.contains_key(name)) {
        refusals.push(Refusal::BadAnnotation {
            annotation: annotation.to_owned(),
            reason: BadValue::Alone(what),
        });
    }
}
