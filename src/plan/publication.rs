//! From a Service's annotations to what it wants to publish.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::rules::{Completed, Grant, Rule, Rules};
use super::viewed::Viewed;
use super::wishes::{BadWish, Wishes};
use super::{BadValue, Refusal};
use crate::format::{Asking, BadAnnotation, Format, Target};
use crate::model::{Service, ViewName};

/// One directory that a Service wants to fill.
#[derive(Debug)]
pub struct Publication {
    /// In which format and view.
    pub viewed: Viewed,
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
    /// What would make sense and is not granted.
    pub denied: Vec<(Format, Box<dyn Target>)>,
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
            let alone = Rules::from(vec![one.for_everybody()]);
            let mistakes = publications(&service, &alone).refusals.into_iter().filter_map(move |refusal| {
                let annotation = refusal.annotation()?;
                let template = one.annotations.get(&annotation)?;
                let reason = match refusal {
                    // It may belong to what a Service asks for itself.
                    Refusal::BadAnnotation {
                        reason: BadValue::Alone(_) | BadValue::EmptyView(_), ..
                    } => return None,
                    Refusal::BadAnnotation { reason, .. } => reason.to_string(),
                    Refusal::UnknownAnnotation { known, .. } => {
                        format!("is no annotation; there are: {known}")
                    }
                    refusal @ Refusal::TooManyViews { .. } => refusal.to_string(),
                    Refusal::NotGranted { viewed, .. } if !template.has_labels() => {
                        format!("is for {}, which the rule's formats do not have", viewed.format)
                    }
                    _ => return None,
                };
                Some(RuleMistake { rule, annotation, reason })
            });
            mistakes.collect::<Vec<_>>()
        };
        self.list.iter().enumerate().flat_map(of_rule).collect()
    }
}

/// What the annotations and rules ask for, and what of it makes no sense or is not granted. One bad
/// annotation does not touch what the others say.
#[must_use]
pub fn publications(service: &Service, rules: &Rules) -> Asked {
    let mut asked = Asked::default();
    if !rules.are_about(service) {
        return asked;
    }
    let tells_for_all = rules.are_first_about(service);
    if service.is_imported {
        // What came from ZooKeeper does not go back, whatever is asked for.
        let asks = service.annotations.keys().any(|name| is_known(name));
        asked.refusals.extend((asks && tells_for_all).then_some(Refusal::Imported));
        return asked;
    }
    let (own, completed) = (&service.annotations, rules.complete(service));
    let filled = match &completed.annotations {
        Cow::Borrowed(_) => None,
        Cow::Owned(annotations) => Some(Service { annotations: annotations.clone(), ..service.clone() }),
    };
    let service = filled.as_ref().unwrap_or(service);
    let is_told_here = |annotation: &&String| tells_for_all || !own.contains_key(*annotation);
    for annotation in service.annotations.keys().filter(|name| !is_known(name)).filter(is_told_here) {
        let known = known();
        asked.refusals.push(Refusal::UnknownAnnotation { annotation: annotation.clone(), known });
    }
    let views = views(service);
    let most = MOST_VIEWS + 1;
    let too_many = views.iter().nth(most).and_then(|view| said_in(service, view, |_| true).next());
    if let Some(annotation) = too_many {
        let (views, annotation) = (views.len() - 1, annotation.clone());
        asked.refusals.push(Refusal::TooManyViews { views, annotation });
    }
    for view in views.iter().take(most) {
        for format in Format::ALL {
            asked.add(service, rules, &completed, Viewed { view: view.clone(), format });
        }
        asked.tell_of_nothing(service, rules, view);
    }
    // What these have published, and are still granted, stays: it is not clear which views should go.
    for view in views.iter().skip(most) {
        let mut more = Asked::default();
        for format in Format::ALL {
            more.add(service, rules, &completed, Viewed { view: view.clone(), format });
        }
        asked.unclear.extend(more.wanted.iter().map(|one| one.viewed.format).chain(more.unclear));
        asked.denied.extend(more.denied);
    }
    asked
}

/// A Service has no more views with a name than these.
pub const MOST_VIEWS: usize = 8;

/// The Service's views, first the one without a name.
fn views(service: &Service) -> BTreeSet<ViewName> {
    let known = service.annotations.keys().filter(|annotation| is_known(annotation));
    let named = known.filter_map(|annotation| ViewName::of(annotation)).map(|(view, _)| view);
    named.chain([ViewName::UNNAMED]).collect()
}

/// Is there this annotation below `zoobridge.io/`?
fn is_known(annotation: &str) -> bool {
    let Some((_, annotation)) = ViewName::of(annotation) else { return false };
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
    format!(
        "{all}; each of {wishes} with a format in front, like curator-port; and all of them with the name of a view in \
         front, like outside.curator"
    )
}

impl Asked {
    fn add(&mut self, service: &Service, rules: &Rules, completed: &Completed<'_>, viewed: Viewed) {
        let Viewed { ref view, format } = viewed;
        let Some(value) = view.own(&service.annotations, format.name()).map(|said| said.value) else {
            return self.needs(service, rules, &viewed);
        };
        let wishes = match Wishes::of(service, &viewed) {
            Ok(wishes) => wishes,
            Err(BadWish { annotation, reason }) => {
                self.unclear.insert(format);
                self.refusals.push(Refusal::BadAnnotation { annotation, reason });
                return;
            }
        };
        for target in format.targets(&Asking { value, service, view }) {
            match target {
                Ok(target) => match granted(service, rules, completed, &viewed, &*target) {
                    Ok(grant) => {
                        let (viewed, wishes) = (viewed.clone(), wishes.clone());
                        self.wanted.push(Publication { viewed, target, wishes, grant });
                    }
                    Err(refusals) => {
                        self.refusals.extend(refusals);
                        self.denied.push((format, target));
                    }
                },
                Err(BadAnnotation { annotation, reason }) => {
                    self.unclear.insert(format);
                    let said = view.said(&service.annotations, annotation);
                    let annotation = said.map_or_else(|| view.annotation(annotation), |said| said.annotation);
                    self.refusals.push(Refusal::BadAnnotation { annotation, reason });
                }
            }
        }
    }

    /// Annotations that say how, while the one that says what is absent. Those without a view's name may be meant for a
    /// view.
    fn needs(&mut self, service: &Service, rules: &Rules, viewed: &Viewed) {
        let asks = |annotation: &String| {
            ViewName::of(annotation).is_some_and(|(_, rest)| rest == viewed.format.name())
        };
        if viewed.view == ViewName::UNNAMED && service.annotations.keys().any(asks) {
            return;
        }
        for annotation in said_in(service, &viewed.view, |rest| says_how(rest, viewed.format)) {
            if rules.give_elsewhere(service, &viewed.to_string()) {
                return;
            }
            let reason = BadValue::Alone(viewed.to_string());
            self.refusals.push(Refusal::BadAnnotation { annotation: annotation.clone(), reason });
        }
    }

    /// Annotations that say how in a view where nothing says what: most often its name is mistyped.
    fn tell_of_nothing(&mut self, service: &Service, rules: &Rules, view: &ViewName) {
        let asks = |format: Format| {
            view.own(&service.annotations, format.name()).is_some()
                || rules.give_elsewhere(service, &view.annotation(format.name()))
        };
        if *view == ViewName::UNNAMED || Format::ALL.into_iter().any(asks) {
            return;
        }
        for annotation in said_in(service, view, Wishes::are_said_for_all_by) {
            let reason = BadValue::EmptyView(view.annotation(Format::Curator.name()));
            self.refusals.push(Refusal::BadAnnotation { annotation: annotation.clone(), reason });
        }
    }
}

/// The annotations of this view, and none of another, of which this holds without the view's name.
fn said_in<'s>(
    service: &'s Service,
    view: &ViewName,
    is: impl Fn(&str) -> bool,
) -> impl Iterator<Item = &'s String> {
    let of_view =
        move |annotation: &str| ViewName::of(annotation).is_some_and(|(of, rest)| of == *view && is(rest));
    service.annotations.keys().filter(move |annotation| of_view(annotation))
}

/// What rules grant for all names of this directory, or all that they do not.
fn granted(
    service: &Service,
    rules: &Rules,
    completed: &Completed<'_>,
    viewed: &Viewed,
    target: &dyn Target,
) -> Result<Grant, Vec<Refusal>> {
    let (key, format) = (&service.key, viewed.format);
    let parameters = format.parameters_annotation();
    let parameters = parameters.and_then(|it| viewed.view.said(&service.annotations, it));
    let parameters = parameters.map_or_else(|| viewed.to_string(), |said| said.annotation);
    let (mut refused, mut common) = (Vec::new(), None::<Grant>);
    let claims = target.claims();
    for &name in &claims {
        let Some(grant) = rules.grant(service, completed, viewed, name) else {
            if rules.grant_elsewhere(service, format, &claims) {
                // It is asked of that ensemble.
                return Err(Vec::new());
            }
            let names = rules.names_of(service, format);
            let granted = match names.iter().take(10).cloned().collect::<Vec<_>>().join(", ") {
                none if none.is_empty() => format!("and none to publish anything as {format}"),
                names => format!("but names like {names}"),
            };
            let (key, viewed, name) = (key.clone(), viewed.clone(), name.to_owned());
            refused.push(Refusal::NotGranted { key, viewed, name, granted });
            continue;
        };
        for parameter in target.parameters().iter().filter(|parameter| !grant.has_parameter(parameter)) {
            let (key, viewed, name) = (key.clone(), viewed.clone(), name.to_owned());
            let (parameter, annotation) = (parameter.as_str().into(), parameters.as_str().into());
            refused.push(Refusal::ParameterNotGranted { key, viewed, name, parameter, annotation });
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
            let Asked { wanted, refusals, unclear, .. } = publications(&service(&annotations), &rules);
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

    fn told(annotations: &[(&str, &str)]) -> Vec<String> {
        let rules: Rules = serde_saphyr::from_str("[{formats: [curator, dubbo], names: ['*']}]").unwrap();
        let Asked { wanted, refusals, .. } = publications(&service(annotations), &rules);
        let wanted = wanted.iter().map(|one| format!("{} {}", one.viewed, one.target.name()));
        wanted.chain(refusals.iter().map(ToString::to_string)).collect()
    }

    #[test]
    fn each_view_publishes_what_it_names() {
        let annotations = [
            ("curator", "cart"),
            ("outside.curator", "cart-ext"),
            ("outside.address", "load-balancer"),
            ("b.dubbo", "a.B"),
            ("dubbo-application", "shop"),
        ];
        assert_eq!(told(&annotations), ["curator cart", "b.dubbo a.B", "outside.curator cart-ext"]);
    }

    #[test]
    fn a_mistyped_view_is_told_by_its_annotation() {
        for (annotation, parts) in [
            ("outsid.address", ["zoobridge.io/outsid.address: ", "like zoobridge.io/outsid.curator"]),
            ("curator.address", ["zoobridge.io/curator.address: ", "no format"]),
            (
                "outsid.curator-address",
                ["zoobridge.io/outsid.curator-address: ", "without zoobridge.io/outsid.curator"],
            ),
            ("outside.curatr", ["no annotation zoobridge.io/outside.curatr", "like outside.curator"]),
            ("Outside.curator", ["no annotation zoobridge.io/Outside.curator", "name of a view"]),
            ("a.b.curator", ["no annotation zoobridge.io/a.b.curator", "name of a view"]),
            (".curator", ["no annotation zoobridge.io/.curator", "name of a view"]),
        ] {
            let told =
                told(&[("outside.curator", "cart-ext"), ("outside.address", "pod"), (annotation, "pod")]);
            let [wanted, told] = &*told else { panic!("{annotation}: {told:?}") };
            assert_eq!(wanted, "outside.curator cart-ext");
            assert!(parts.iter().all(|part| told.contains(part)), "{told}: {parts:?}");
        }
        // What makes no sense is told where it is written, and once.
        let told = told(&[("outside.curator", "a"), ("inside.curator", "b"), ("address", "nowhere")]);
        assert!(told.iter().all(|one| one.contains("annotation zoobridge.io/address: ")), "{told:?}");
        let told = self::told(&[("outside.dubbo", "a.B"), ("outside.dubbo-ipv6", "maybe")]);
        assert!(told.iter().any(|one| one.contains("zoobridge.io/outside.dubbo-ipv6: ")), "{told:?}");
    }

    #[test]
    fn a_service_has_so_many_views_and_no_more() {
        let names: Vec<_> = (0..=MOST_VIEWS).map(|view| format!("v{view}.curator")).collect();
        let annotations: Vec<_> = names.iter().map(|name| (&**name, "")).collect();
        let rules: Rules = serde_saphyr::from_str("[{formats: [curator], names: ['*']}]").unwrap();
        let all = publications(&service(&annotations[..MOST_VIEWS]), &rules);
        assert_eq!((all.wanted.len(), all.refusals.len(), all.unclear.len()), (MOST_VIEWS, 0, 0));
        let most = publications(&service(&annotations), &rules);
        assert_eq!(
            most.refusals,
            [Refusal::TooManyViews { views: MOST_VIEWS + 1, annotation: "v8.curator".to_owned() }]
        );
        assert_eq!((most.wanted.len(), most.unclear), (MOST_VIEWS, [Format::Curator].into()));
    }
}
