//! From a Service's annotations to what it wants to publish.

use std::collections::BTreeSet;

use super::rules::Rules;
use super::wishes::{BadWish, Wishes};
use super::{BadValue, Refusal};
use crate::format::{Asking, BadAnnotation, Format, Target};
use crate::model::Service;

/// One directory that a Service wants to fill.
#[derive(Debug)]
pub struct Publication {
    /// In which format.
    pub format: Format,
    /// Under which name, and how.
    pub target: Box<dyn Target>,
    /// With which endpoints, and what is told of them.
    pub wishes: Wishes,
}

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
        let asks = service.annotations.keys().any(|name| is_known(name));
        asked.refusals.extend(asks.then_some(Refusal::Imported));
        return asked;
    }
    for annotation in service.annotations.keys().filter(|name| !is_known(name)) {
        let known = known();
        asked.refusals.push(Refusal::UnknownAnnotation { annotation: annotation.clone(), known });
    }
    for format in Format::ALL {
        asked.add(service, rules, format);
    }
    let Asked { wanted, refusals, .. } = &mut asked;
    wanted.retain(|Publication { format, target, .. }| {
        let claims = target.claims();
        let refused: Vec<_> =
            claims.into_iter().filter(|name| !rules.grant(&service.key, *format, name)).collect();
        refusals.extend(refused.iter().map(|&name| {
            let (key, format, name) = (service.key.clone(), *format, name.to_owned());
            Refusal::NotGranted { key, format, name }
        }));
        refused.is_empty()
    });
    asked
}

/// Is there this annotation below `zoobridge.io/`?
fn is_known(annotation: &str) -> bool {
    let of_format = |format: Format| annotation == format.name() || says_how(annotation, format);
    Wishes::are_said_for_all_by(annotation) || Format::ALL.into_iter().any(of_format)
}

/// Does it say how a format is to be written?
fn says_how(annotation: &str, format: Format) -> bool {
    format.options().contains(&annotation) || Wishes::are_said_by(annotation, format)
}

/// The annotations that there are, for people.
fn known() -> String {
    let of_format = |format: Format| [format.name()].into_iter().chain(format.options().iter().copied());
    let known: Vec<_> = Format::ALL.into_iter().flat_map(of_format).chain(Wishes::names()).collect();
    let wishes: Vec<_> = Wishes::names().collect();
    format!(
        "{}; and each of {} with a format in front, like curator-port",
        known.join(", "),
        wishes.join(", ")
    )
}

impl Asked {
    fn add(&mut self, service: &Service, rules: &Rules, format: Format) {
        let value = match service.annotations.get(format.name()) {
            Some(value) => value,
            None if format.has_own_name() && rules.publish_unasked(&service.key, format) => "",
            None => return self.needs(service, format),
        };
        let wishes = match Wishes::of(service, format) {
            Ok(wishes) => wishes,
            Err(BadWish { annotation, reason }) => {
                self.unclear.insert(format);
                self.refusals.push(Refusal::BadAnnotation { annotation, reason });
                return;
            }
        };
        for target in format.targets(&Asking { value, service }) {
            match target {
                Ok(target) => self.wanted.push(Publication { format, target, wishes: wishes.clone() }),
                Err(BadAnnotation { annotation, reason }) => {
                    self.unclear.insert(format);
                    self.refusals.push(Refusal::BadAnnotation { annotation: annotation.to_owned(), reason });
                }
            }
        }
    }

    /// Annotations that say how, while the one that says what is absent.
    fn needs(&mut self, service: &Service, format: Format) {
        for annotation in service.annotations.keys().filter(|name| says_how(name, format)) {
            let (annotation, reason) = (annotation.clone(), BadValue::Alone(format.name()));
            self.refusals.push(Refusal::BadAnnotation { annotation, reason });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ServicePort;

    fn service(annotations: &[(&str, &str)]) -> Service {
        Service::sample(annotations, vec![ServicePort::tcp("", 80)])
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
            (vec![("curator", ""), ("drain", "no")], "drain", Format::Curator, "disable"),
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
