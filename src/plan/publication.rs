//! From a Service's annotations to what it wants to publish.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::rules::{Completed, Grant, Rule, Rules};
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
    /// What rules grant for it.
    pub grant: Grant,
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

/// An annotation of a rule that makes no sense, whatever Service it is given to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleMistake {
    /// The rule's place in the list.
    pub rule: usize,
    /// The annotation, without its prefix.
    pub annotation: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Rules {
    /// Annotations that make no sense for a Service with short names.
    #[must_use]
    pub fn mistakes(&self) -> Vec<RuleMistake> {
        let of_rule = |(rule, one): (usize, &Rule)| {
            let service = one.sample();
            let alone = Rules(vec![one.for_everybody()]);
            let mistakes = publications(&service, &alone).refusals.into_iter().filter_map(move |refusal| {
                let annotation = refusal.annotation()?;
                let template = one.annotations.get(&annotation)?;
                let reason = match refusal {
                    // It may belong to what a Service asks for itself.
                    Refusal::BadAnnotation { reason: BadValue::Alone(_), .. } => return None,
                    Refusal::BadAnnotation { reason, .. } => reason.to_string(),
                    Refusal::UnknownAnnotation { known, .. } => {
                        format!("is no annotation; there are: {known}")
                    }
                    Refusal::NotGranted { format, .. } if !template.has_labels() => {
                        format!("is for {format}, which the rule's formats do not have")
                    }
                    _ => return None,
                };
                Some(RuleMistake { rule, annotation, reason })
            });
            mistakes.collect::<Vec<_>>()
        };
        self.0.iter().enumerate().flat_map(of_rule).collect()
    }
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
    let completed = rules.complete(service);
    let filled = match &completed.annotations {
        Cow::Borrowed(_) => None,
        Cow::Owned(annotations) => Some(Service { annotations: annotations.clone(), ..service.clone() }),
    };
    let service = filled.as_ref().unwrap_or(service);
    for annotation in service.annotations.keys().filter(|name| !is_known(name)) {
        let known = known();
        asked.refusals.push(Refusal::UnknownAnnotation { annotation: annotation.clone(), known });
    }
    for format in Format::ALL {
        asked.add(service, rules, &completed, format);
    }
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

/// The annotations that there are, without their prefix; those that every format has are named once.
#[must_use]
pub fn annotations() -> Vec<&'static str> {
    let of_format = |format: Format| [format.name()].into_iter().chain(format.options().iter().copied());
    Format::ALL.into_iter().flat_map(of_format).chain(Wishes::names()).collect()
}

/// The annotations that there are, for people.
fn known() -> String {
    let wishes: Vec<_> = Wishes::names().collect();
    let (all, wishes) = (annotations().join(", "), wishes.join(", "));
    format!("{all}; and each of {wishes} with a format in front, like curator-port")
}

impl Asked {
    fn add(&mut self, service: &Service, rules: &Rules, completed: &Completed<'_>, format: Format) {
        let Some(value) = service.annotations.get(format.name()) else {
            return self.needs(service, format);
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
                Ok(target) => match granted(service, rules, completed, format, &*target) {
                    Ok(grant) => {
                        self.wanted.push(Publication { format, target, wishes: wishes.clone(), grant });
                    }
                    Err(refusals) => self.refusals.extend(refusals),
                },
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

/// What rules grant for all names of this directory, or all that they do not.
fn granted(
    service: &Service,
    rules: &Rules,
    completed: &Completed<'_>,
    format: Format,
    target: &dyn Target,
) -> Result<Grant, Vec<Refusal>> {
    let key = &service.key;
    let (mut refused, mut common) = (Vec::new(), None::<Grant>);
    for name in target.claims() {
        let Some(grant) = rules.grant(service, completed, format, name) else {
            let names = rules.names_of(service, format);
            let granted = match names.iter().take(10).cloned().collect::<Vec<_>>().join(", ") {
                none if none.is_empty() => format!("and none to publish anything as {format}"),
                names => format!("but names like {names}"),
            };
            let (key, name) = (key.clone(), name.to_owned());
            refused.push(Refusal::NotGranted { key, format, name, granted });
            continue;
        };
        for parameter in target.parameters().iter().filter(|parameter| !grant.has_parameter(parameter)) {
            let (key, name, parameter) = (key.clone(), name.to_owned(), parameter.clone());
            refused.push(Refusal::ParameterNotGranted { key, format, name, parameter });
        }
        match &mut common {
            None => common = Some(grant),
            Some(common) => {
                common.addresses.retain(|kind| grant.addresses.contains(kind));
                common.is_shared &= grant.is_shared;
            }
        }
    }
    match common {
        Some(grant) if refused.is_empty() => Ok(grant),
        _ => Err(refused),
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
        let rules: Rules = serde_saphyr::from_str("[{formats: [curator, dubbo], names: ['*']}]").unwrap();
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
