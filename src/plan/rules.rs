//! What administrators grant, and what they publish of Services that do not ask themselves.
//!
//! Whoever may edit a Service must not be able to speak for somebody else's. So what a rule does not name is not
//! granted: by default names begin with the namespace, addresses are those of pods, and Dubbo's parameters are those that
//! change nothing but the load.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::pattern::{NamePattern, Pattern, anything, matches};
use super::template::Template;
use super::viewed::Viewed;
use crate::format::Format;
use crate::model::{AddressKind, EnsembleName, Service, ServiceKey};

/// All rules, as one ensemble sees them: those that are not for it grant nothing there. Whatever none grants is not
/// published.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Vec<Rule>")]
pub struct Rules {
    /// In the order of the configuration.
    pub list: Vec<Rule>,
    ensemble: EnsembleName,
}

/// One grant. An empty list of patterns, formats or addresses grants nothing.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Rule {
    /// Which namespaces. Shell patterns.
    #[serde(default = "anything")]
    pub namespaces: Vec<Pattern>,
    /// Which Services in them. Shell patterns.
    #[serde(default = "anything")]
    pub services: Vec<Pattern>,
    /// For which ensembles it grants, and gives annotations.
    #[serde(default = "the_first")]
    pub ensembles: Vec<EnsembleName>,
    /// Which labels a Service must have, each with shell patterns of which one must fit its value. Whoever may edit
    /// the Service chooses its labels: they select, they protect nothing.
    #[serde(default)]
    pub labels: BTreeMap<String, Vec<Pattern>>,
    /// Which formats.
    pub formats: Vec<Format>,
    /// Which names: of services, sets and directories, of Dubbo's interfaces. Shell patterns in which `{namespace}`,
    /// `{name}` and `{label:KEY}` are filled in; a namespace has no dot and no slash, so by default no two namespaces
    /// have a name in common.
    #[serde(default = "of_the_namespace")]
    pub names: Vec<NamePattern>,
    /// Which kinds of addresses.
    #[serde(default = "pods")]
    pub addresses: Vec<AddressKind>,
    /// Which of Dubbo's parameters, beyond those that only change load and time-outs. Shell patterns.
    #[serde(default)]
    pub parameters: Vec<Pattern>,
    /// May it be published where others have registered instances, beside them? An endpoint that registers itself there
    /// is then not registered a second time.
    #[serde(default)]
    pub shared: bool,
    /// Annotations, without `zoobridge.io/`, for Services that do not have them; those of a Service count more, and those
    /// of an earlier rule. `{namespace}`, `{name}` and `{label:KEY}` are filled in. The names and parameters that they
    /// give are granted, but not where a label is filled in: whoever may edit the Service chooses that.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub annotations: BTreeMap<String, Template>,
}

/// What is granted to one Service for one name in one format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Which kinds of addresses.
    pub addresses: BTreeSet<AddressKind>,
    /// May it be beside what others have registered?
    pub is_shared: bool,
    parameters: Vec<Pattern>,
    any_parameter: bool,
}

/// A Service's annotations, completed by rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completed<'a> {
    /// All of them.
    pub annotations: Cow<'a, BTreeMap<String, String>>,
    /// Those that come from a rule and of which the Service chose nothing, with the rule's place in the list.
    from: BTreeMap<String, usize>,
}

fn of_the_namespace() -> Vec<NamePattern> {
    let patterns = ["{namespace}.*", "{namespace}/*"];
    patterns.into_iter().filter_map(|pattern| NamePattern::try_from(pattern.to_owned()).ok()).collect()
}

fn pods() -> Vec<AddressKind> {
    vec![AddressKind::Pod]
}

fn the_first() -> Vec<EnsembleName> {
    vec![EnsembleName::default()]
}

impl From<Vec<Rule>> for Rules {
    /// As the first ensemble sees them.
    fn from(list: Vec<Rule>) -> Self {
        Rules { list, ensemble: EnsembleName::default() }
    }
}

impl Rules {
    /// The same, as this ensemble sees them.
    #[must_use]
    pub fn of(&self, ensemble: &EnsembleName) -> Rules {
        Rules { list: self.list.clone(), ensemble: ensemble.clone() }
    }

    /// Is what this Service asks for asked of this ensemble? It is, if a rule for it selects the Service. One that no
    /// rule selects asks the first ensemble, which refuses it.
    #[must_use]
    pub fn are_about(&self, service: &Service) -> bool {
        let selected = |here: bool| {
            self.list.iter().any(|rule| rule.is_for(&self.ensemble) == here && rule.is_about(service))
        };
        (self.ensemble.is_default() && !selected(false)) || selected(true)
    }

    /// Is this the ensemble that tells of a mistake which is none of one ensemble alone? That is the first one, or the
    /// first by name, whose rules select the Service.
    #[must_use]
    pub fn are_first_about(&self, service: &Service) -> bool {
        let about = self.list.iter().filter(|rule| rule.is_about(service)).flat_map(|rule| &rule.ensembles);
        let first = about.min_by_key(|name| (!name.is_default(), *name));
        first.is_none_or(|first| *first == self.ensemble)
    }

    /// Does another ensemble have rules that grant this Service all these names in this format? Then what it asks for is
    /// published there.
    #[must_use]
    pub fn grant_elsewhere(&self, service: &Service, format: Format, names: &[&str]) -> bool {
        let others: BTreeSet<_> = self.list.iter().flat_map(|rule| &rule.ensembles).collect();
        others.into_iter().filter(|other| **other != self.ensemble).any(|other| {
            let grant = |name: &str| {
                self.list.iter().any(|rule| {
                    rule.is_for(other)
                        && rule.formats.contains(&format)
                        && rule.is_about(service)
                        && rule.has_name(service, name)
                })
            };
            names.iter().copied().all(grant)
        })
    }

    /// Does a rule of another ensemble give this Service this annotation?
    #[must_use]
    pub(super) fn give_elsewhere(&self, service: &Service, annotation: &str) -> bool {
        let mut elsewhere = self.list.iter().filter(|rule| !rule.is_for(&self.ensemble));
        elsewhere.any(|rule| rule.annotations.contains_key(annotation) && rule.is_about(service))
    }

    /// The rules of this ensemble, with their places.
    fn here(&self) -> impl Iterator<Item = (usize, &Rule)> {
        self.list.iter().enumerate().filter(|(_, rule)| rule.is_for(&self.ensemble))
    }

    /// The Service's annotations, and those that rules give it.
    #[must_use]
    pub fn complete<'s>(&self, service: &'s Service) -> Completed<'s> {
        let mut completed =
            Completed { annotations: Cow::Borrowed(&service.annotations), from: BTreeMap::new() };
        for (index, rule) in self.here() {
            if rule.annotations.is_empty() || !rule.is_about(service) {
                continue;
            }
            for (annotation, template) in &rule.annotations {
                if completed.annotations.contains_key(annotation) {
                    continue;
                }
                if let Some(value) = template.fill(service) {
                    completed.annotations.to_mut().insert(annotation.clone(), value);
                    if !template.has_labels() {
                        completed.from.insert(annotation.clone(), index);
                    }
                }
            }
        }
        completed
    }

    /// What this Service may do under this name in this format and view; `None` if it may not publish it at all.
    #[must_use]
    pub fn grant(&self, service: &Service, by: &Completed<'_>, viewed: &Viewed, name: &str) -> Option<Grant> {
        let parameters = viewed.format.parameters_annotation();
        let parameters = parameters.and_then(|it| viewed.view.said(&by.annotations, it));
        let mut grant: Option<Grant> = None;
        for (index, rule) in self.all_granting(service, by, viewed, name) {
            let grant = grant.get_or_insert_with(|| Grant {
                addresses: BTreeSet::new(),
                is_shared: false,
                parameters: Vec::new(),
                any_parameter: false,
            });
            grant.addresses.extend(&rule.addresses);
            grant.is_shared |= rule.shared;
            grant.parameters.extend_from_slice(&rule.parameters);
            grant.any_parameter |= parameters.as_ref().is_some_and(|it| by.is_from(&it.annotation, index));
        }
        grant
    }

    /// The position of the first rule that grants this Service this name in this format and view.
    #[must_use]
    pub fn granting(
        &self,
        service: &Service,
        by: &Completed<'_>,
        viewed: &Viewed,
        name: &str,
    ) -> Option<usize> {
        self.all_granting(service, by, viewed, name).map(|(index, _)| index).next()
    }

    fn all_granting(
        &self,
        service: &Service,
        by: &Completed<'_>,
        viewed: &Viewed,
        name: &str,
    ) -> impl Iterator<Item = (usize, &Rule)> {
        let annotation = viewed.to_string();
        self.here().filter(move |&(index, rule)| {
            rule.formats.contains(&viewed.format)
                && rule.is_about(service)
                && (by.is_from(&annotation, index) || rule.has_name(service, name))
        })
    }

    /// Does any rule grant addresses of this kind, for whichever ensemble?
    #[must_use]
    pub fn grant_any(&self, kind: AddressKind) -> bool {
        self.list.iter().any(|rule| rule.addresses.contains(&kind))
    }

    /// The patterns of names that this Service may have in this format, for people.
    #[must_use]
    pub fn names_of(&self, service: &Service, format: Format) -> BTreeSet<String> {
        let rules = self.here().filter(|(_, rule)| rule.formats.contains(&format) && rule.is_about(service));
        rules.flat_map(|(_, rule)| rule.names.iter().map(|name| name.text().to_owned())).collect()
    }
}

impl Rule {
    /// Is this Service one that it selects?
    #[must_use]
    pub fn is_about(&self, service: &Service) -> bool {
        let has_label = |(label, patterns): (&String, &Vec<Pattern>)| {
            service.labels.get(label).is_some_and(|value| matches(patterns, value))
        };
        matches(&self.namespaces, &service.key.namespace)
            && matches(&self.services, &service.key.name)
            && self.labels.iter().all(has_label)
    }

    /// The same, for every Service, in the first ensemble.
    pub(super) fn for_everybody(&self) -> Rule {
        Rule {
            namespaces: anything(),
            services: anything(),
            ensembles: the_first(),
            labels: BTreeMap::new(),
            ..self.clone()
        }
    }

    fn is_for(&self, ensemble: &EnsembleName) -> bool {
        self.ensembles.contains(ensemble)
    }

    fn has_name(&self, service: &Service, name: &str) -> bool {
        self.names.iter().any(|pattern| pattern.matches(service, name))
    }

    /// A Service that has every label that the annotations fill in.
    pub(super) fn sample(&self) -> Service {
        let labels = self.annotations.values().flat_map(Template::labels);
        Service {
            labels: labels.map(|label| (label.to_owned(), "label".to_owned())).collect(),
            ..Service::named(ServiceKey::new("namespace", "name"))
        }
    }
}

impl Completed<'_> {
    /// Does this rule give this annotation?
    fn is_from(&self, annotation: &str, rule: usize) -> bool {
        self.from.get(annotation) == Some(&rule)
    }
}

impl Grant {
    /// May the Service say this parameter?
    #[must_use]
    pub fn has_parameter(&self, name: &str) -> bool {
        self.any_parameter || matches(&self.parameters, name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ViewName;

    fn rules(yaml: &str) -> Rules {
        serde_saphyr::from_str(yaml).unwrap()
    }

    fn service(namespace: &str, name: &str, labels: &[(&str, &str)]) -> Service {
        let labels = labels.iter().map(|&(label, value)| (label.to_owned(), value.to_owned())).collect();
        Service { key: ServiceKey::new(namespace, name), labels, ..Service::sample(&[], vec![]) }
    }

    fn unnamed(format: Format) -> Viewed {
        Viewed { view: ViewName::UNNAMED, format }
    }

    fn grant(rules: &Rules, service: &Service, format: Format, name: &str) -> Option<Grant> {
        rules.grant(service, &rules.complete(service), &unnamed(format), name)
    }

    #[test]
    fn what_no_rule_grants_is_not_granted() {
        let rules = rules(
            "- {namespaces: ['shop-*'], formats: [curator], names: ['shop-*', orders]}\n\
             - {services: [legacy], formats: [dubbo], names: ['*']}\n\
             - {labels: {tier: [web, 'api-*'], team: ['*']}, formats: [nerve], names: ['*']}\n",
        );
        let granted = |service: &Service, format, name| grant(&rules, service, format, name).is_some();
        let orders = service("shop-a", "orders", &[]);
        assert!(granted(&orders, Format::Curator, "orders"));
        assert!(granted(&orders, Format::Curator, "shop-x"));
        assert!(!granted(&orders, Format::Curator, "payments"));
        assert!(!granted(&orders, Format::Dubbo, "orders"));
        assert!(!granted(&service("other", "orders", &[]), Format::Curator, "orders"));
        assert!(granted(&service("other", "legacy", &[]), Format::Dubbo, "com.acme.Any"));
        assert!(granted(&service("a", "b", &[("tier", "api-x"), ("team", "c")]), Format::Nerve, "x"));
        assert!(!granted(&service("a", "b", &[("tier", "api-x")]), Format::Nerve, "x"));
        assert!(!granted(&service("a", "b", &[("tier", "db"), ("team", "c")]), Format::Nerve, "x"));
    }

    #[test]
    fn a_rule_that_names_nothing_grants_little() {
        let rules = rules("- {formats: [curator, dubbo, serverset]}");
        let orders = service("shop", "orders", &[]);
        let of = |format, name| grant(&rules, &orders, format, name);
        let granted = of(Format::Curator, "shop.orders").unwrap();
        assert_eq!(granted.addresses, BTreeSet::from([AddressKind::Pod]));
        assert!(!granted.has_parameter("filter") && !granted.is_shared);
        assert!(of(Format::Serverset, "shop/orders").is_some());
        for name in ["orders", "shop", "shop-a.orders", "shopx", "", "x/shop.orders"] {
            assert_eq!(of(Format::Curator, name), None, "{name}");
        }
    }

    #[test]
    fn what_several_rules_grant_for_one_name_adds_up() {
        let rules = rules(
            "- {formats: [dubbo], names: ['*'], parameters: ['*filter']}\n\
             - {formats: [dubbo], names: [a.B], addresses: [node, custom], shared: true}\n",
        );
        let of = |name| grant(&rules, &service("shop", "orders", &[]), Format::Dubbo, name).unwrap();
        assert!(of("a.B").has_parameter("service.filter") && !of("a.B").has_parameter("router"));
        assert!(of("a.B").is_shared && !of("a.C").is_shared);
        let all = [AddressKind::Pod, AddressKind::Custom, AddressKind::Node].into();
        assert_eq!(of("a.B").addresses, all);
        assert_eq!(of("a.C").addresses, [AddressKind::Pod].into());
    }

    #[test]
    fn rules_speak_for_those_who_may_not_touch_their_services() {
        let rules = rules(
            "- {labels: {legacy: ['*']}, formats: [curator, dubbo], names: ['a.*'],\n\
             \u{20}  annotations: {curator: '{namespace}.{name}', dubbo: '{label:legacy}', port: http,\n\
             \u{20}    dubbo-parameters: 'filter=x'}}\n\
             - {formats: [curator], names: [], annotations: {curator: '', port: grpc}}\n",
        );
        let mut orders = service("shop", "orders", &[("legacy", "a.B")]);
        orders.annotations.insert("port".to_owned(), "8080".to_owned());
        let completed = rules.complete(&orders);
        let text = |name: &str| completed.annotations.get(name).map(String::as_str);
        assert_eq!((text("curator"), text("dubbo")), (Some("shop.orders"), Some("a.B")));
        assert_eq!(text("port"), Some("8080"), "its own counts more");
        let granted = rules.grant(&orders, &completed, &unnamed(Format::Dubbo), "a.B").unwrap();
        assert!(granted.has_parameter("filter"), "the rule says it");
        assert!(
            rules.grant(&orders, &completed, &unnamed(Format::Curator), "shop.orders").is_some(),
            "it says that too"
        );
        // The same asked for by the Service itself, or by way of its label, is not granted.
        orders.annotations.insert("curator".to_owned(), "shop.orders".to_owned());
        orders.labels.insert("legacy".to_owned(), "b.C".to_owned());
        let completed = rules.complete(&orders);
        assert_eq!(rules.grant(&orders, &completed, &unnamed(Format::Curator), "shop.orders"), None);
        assert_eq!(completed.annotations["dubbo"], "b.C");
        assert_eq!(rules.grant(&orders, &completed, &unnamed(Format::Dubbo), "b.C"), None);

        let other = service("shop", "carts", &[]);
        let completed = rules.complete(&other);
        assert_eq!(completed.annotations["curator"], "");
        assert!(rules.grant(&other, &completed, &unnamed(Format::Curator), "carts").is_some());
        assert_eq!(completed.annotations["port"], "grpc");
    }

    /// What a rule says of one view is not granted in another, where the Service says it itself.
    #[test]
    fn each_view_has_its_own_grants() {
        let rules = rules(
            "- {formats: [curator], names: [cart], addresses: [pod]}\n\
             - {formats: [curator], names: [], addresses: [load-balancer], annotations: {outside.curator: cart-ext}}\n\
             - {formats: [dubbo], names: ['a.*'], annotations: {dubbo-parameters: 'filter=x'}}\n",
        );
        let mut cart = service("shop", "cart", &[]);
        let in_view = |view: &str, format| Viewed { view: ViewName::of(view).unwrap().0, format };
        let addresses = |service: &Service, view: &str, name: &str| {
            let grant = rules.grant(service, &rules.complete(service), &in_view(view, Format::Curator), name);
            grant.map(|grant| grant.addresses.into_iter().collect::<Vec<_>>())
        };
        assert_eq!(addresses(&cart, "outside.", "cart-ext"), Some(vec![AddressKind::LoadBalancer]));
        assert_eq!(addresses(&cart, "", "cart"), Some(vec![AddressKind::Pod]));
        for view in ["", "inside."] {
            assert_eq!(addresses(&cart, view, "cart-ext"), None, "{view}");
        }
        // The same name in the same view, but the Service says so.
        cart.annotations.insert("outside.curator".to_owned(), "cart-ext".to_owned());
        assert_eq!(addresses(&cart, "outside.", "cart-ext"), None);
        // A view takes over the rule's parameters; those that the Service says of it are not the rule's.
        let parameter = |service: &Service, view: &str| {
            let grant =
                rules.grant(service, &rules.complete(service), &in_view(view, Format::Dubbo), "a.B").unwrap();
            grant.has_parameter("filter")
        };
        assert!(parameter(&cart, "") && parameter(&cart, "outside."));
        cart.annotations.insert("outside.dubbo-parameters".to_owned(), "filter=evil".to_owned());
        assert!(parameter(&cart, "") && !parameter(&cart, "outside."));
    }

    #[test]
    fn each_ensemble_has_its_own_rules() {
        let rules = rules(
            "- {namespaces: [shop], formats: [curator], annotations: {curator: 'shop.a'}}\n\
             - {namespaces: [shop, old], formats: [dubbo3], names: [app, a.B], ensembles: [legacy]}\n\
             - {namespaces: [shop], formats: [dubbo3], names: [app], ensembles: [default, other]}\n",
        );
        let of = |ensemble: &str| rules.of(&ensemble.parse().unwrap());
        let (first, legacy, other) = (rules.clone(), of("legacy"), of("other"));
        let (shop, old, nobody) =
            (service("shop", "a", &[]), service("old", "a", &[]), service("x", "a", &[]));
        let about = |service: &Service| [&first, &legacy, &other].map(|rules| rules.are_about(service));
        assert_eq!(about(&shop), [true, true, true]);
        assert_eq!(about(&old), [false, true, false]);
        assert_eq!(about(&nobody), [true, false, false], "somebody must refuse it");
        let first_about =
            |service: &Service| [&first, &legacy, &other].map(|rules| rules.are_first_about(service));
        assert_eq!(first_about(&shop), [true, false, false]);
        assert_eq!(first_about(&old), [false, true, false]);

        assert_eq!(first.complete(&shop).annotations["curator"], "shop.a");
        assert!(legacy.complete(&shop).annotations.is_empty());
        let granted = |rules: &Rules, name| grant(rules, &shop, Format::Dubbo3, name).is_some();
        assert!(granted(&legacy, "a.B") && !granted(&first, "a.B") && !granted(&other, "a.B"));
        assert_eq!(other.granting(&shop, &other.complete(&shop), &unnamed(Format::Dubbo3), "app"), Some(2));
        assert_eq!(grant(&legacy, &shop, Format::Curator, "shop.a"), None);

        let elsewhere = |rules: &Rules, names: &[&str]| rules.grant_elsewhere(&shop, Format::Dubbo3, names);
        assert!(elsewhere(&first, &["app", "a.B"]) && elsewhere(&legacy, &["app"]));
        // Two others that grant a half each grant nothing.
        assert!(!elsewhere(&legacy, &["app", "a.B"]) && !elsewhere(&first, &["a.C"]));
        assert!(!rules.grant_elsewhere(&old, Format::Curator, &["old.a"]));
    }

    #[test]
    fn annotations_that_make_no_sense_for_anybody_are_told() {
        let rules = rules(
            "- {formats: [curator], annotations: {curator: '{namespace}.{name}', curator-port: http}}\n\
             - {formats: [curator], annotations: {curator: 'a/{name}', dubbo: a.B, nosuch: x, spring-port: y}}\n\
             - {formats: [dubbo], annotations: {dubbo: '{label:a}', dubbo-parameters: 'x'}}\n",
        );
        let told: Vec<_> =
            rules.mistakes().into_iter().map(|one| format!("{} {}", one.rule, one.annotation)).collect();
        assert_eq!(told, ["1 nosuch", "1 curator", "1 dubbo", "2 dubbo-parameters"]);
    }

    #[test]
    fn a_pattern_that_is_none_is_refused() {
        let error = serde_saphyr::from_str::<Rules>("- {services: ['[a'], formats: [curator]}").unwrap_err();
        assert!(error.to_string().contains("[a"), "{error}");
    }
}
