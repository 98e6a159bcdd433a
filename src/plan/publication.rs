//! From a Service's annotations to what it wants to publish.

use std::collections::BTreeSet;

use super::rules::Rules;
use super::{BadValue, Refusal};
use crate::format::{Asking, BadAnnotation, Format, Target};
use crate::model::{PortChoice, Service};

/// One directory that a Service wants to fill.
#[derive(Debug)]
pub struct Publication {
    /// In which format.
    pub format: Format,
    /// Under which name, and how.
    pub target: Box<dyn Target>,
    /// Which port.
    pub port: PortChoice,
}

/// The port for every format that has no annotation of its own for it.
const PORT: &str = "port";

/// What a Service asks for.
#[derive(Debug, Default)]
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
        let asks = service.annotations.keys().any(|name| known().any(|known| known == name));
        asked.refusals.extend(asks.then_some(Refusal::Imported));
        return asked;
    }
    for annotation in service.annotations.keys().filter(|name| !known().any(|known| known == *name)) {
        let known = known().collect::<Vec<_>>().join(", ");
        asked.refusals.push(Refusal::UnknownAnnotation { annotation: annotation.clone(), known });
    }
    for format in Format::ALL {
        asked.add(service, rules, format);
    }
    let Asked { wanted, refusals, .. } = &mut asked;
    wanted.retain(|Publication { format, target, .. }| {
        let granted = rules.grant(&service.key, *format, target.name());
        if !granted {
            let (key, format, name) = (service.key.clone(), *format, target.name().to_owned());
            refusals.push(Refusal::NotGranted { key, format, name });
        }
        granted
    });
    asked
}

/// The annotations below `zoobridge.io/`.
fn known() -> impl Iterator<Item = &'static str> {
    let of_format = |format: Format| {
        [format.name(), format.port_annotation()].into_iter().chain(format.options().iter().copied())
    };
    Format::ALL.into_iter().flat_map(of_format).chain([PORT])
}

impl Asked {
    fn add(&mut self, service: &Service, rules: &Rules, format: Format) {
        let value = match service.annotations.get(format.name()) {
            Some(value) => value,
            None if format.has_own_name() && rules.publish_unasked(&service.key, format) => "",
            None => return self.needs(service, format),
        };
        for target in format.targets(&Asking { value, service }) {
            match target {
                Ok(target) => {
                    let port = port(service, format.port_annotation());
                    self.wanted.push(Publication { format, target, port });
                }
                Err(BadAnnotation { annotation, reason }) => {
                    self.unclear.insert(format);
                    self.refusals.push(Refusal::BadAnnotation { annotation: annotation.to_owned(), reason });
                }
            }
        }
    }

    /// Annotations that say how, while the one that says what is absent.
    fn needs(&mut self, service: &Service, format: Format) {
        let how = [format.port_annotation()].into_iter().chain(format.options().iter().copied());
        for annotation in how.filter(|&name| service.annotations.contains_key(name)) {
            let (annotation, reason) = (annotation.to_owned(), BadValue::Alone(format.name()));
            self.refusals.push(Refusal::BadAnnotation { annotation, reason });
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Protocol, ServicePort};

    fn service(annotations: &[(&str, &str)]) -> Service {
        let port = ServicePort { name: String::new(), port: 80, protocol: Protocol::Tcp };
        Service::sample(annotations, vec![port])
    }

    #[test]
    fn a_bad_annotation_is_refused_by_its_name_and_leaves_the_format_unclear() {
        let rules: Rules = serde_saphyr::from_str("[{formats: [curator, dubbo]}]").unwrap();
        let (long, huge) = ("x".repeat(256), format!("x={}", "y".repeat(100_000)));
        for (annotations, annotation, format, part) in [
            (vec![("curator", &*long)], "curator", Format::Curator, "255"),
            (vec![("curator", "a/b")], "curator", Format::Curator, "'/'"),
            (vec![("dubbo", "a/B")], "dubbo", Format::Dubbo, "a/B"),
            (vec![("dubbo", "config")], "dubbo", Format::Dubbo, "config"),
            (vec![("dubbo", "a.B:0.0.0")], "dubbo", Format::Dubbo, "0.0.0"),
            (vec![("dubbo", "a.B"), ("dubbo-application", "")], "dubbo-application", Format::Dubbo, "empty"),
            (
                vec![("dubbo", "a.B"), ("dubbo-application", "a;b=c")],
                "dubbo-application",
                Format::Dubbo,
                "';'",
            ),
            (
                vec![("dubbo", "a.B"), ("dubbo-parameters", "x;dynamic=false")],
                "dubbo-parameters",
                Format::Dubbo,
                "';'",
            ),
            (vec![("dubbo", "a.B"), ("dubbo-parameters", &*huge)], "dubbo-parameters", Format::Dubbo, "4096"),
        ] {
            let Asked { wanted, refusals, unclear } = publications(&service(&annotations), &rules);
            assert!(wanted.is_empty(), "{wanted:?}");
            assert_eq!(unclear, BTreeSet::from([format]));
            let [Refusal::BadAnnotation { annotation: named, reason }] = refusals.as_slice() else {
                panic!("{refusals:?}")
            };
            assert_eq!(named, annotation);
            let reason = reason.to_string();
            assert!(reason.contains(part) && reason.len() < 500, "{reason}");
        }
    }
}
