//! What every plan keeps, over arbitrary Services, slices and histories.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::format::Format;
use crate::model::{
    Conditions, Family, Fingerprint, Known, Placement, Protocol, Service, ServicePort, Slice, SliceEndpoint,
    SlicePort, ViewName, Writer,
};

impl Held for Fingerprint {
    fn fingerprint(&self) -> Option<Fingerprint> {
        Some(*self)
    }
}

pub(super) type Leaves = BTreeMap<ZnodePath, Fingerprint>;

pub(super) fn roots() -> Roots {
    Roots(Format::ALL.map(|format| (format, ZnodePath::new(format.default_root()).unwrap())).into())
}

fn everything() -> Rules {
    serde_saphyr::from_str(
        "[{formats: [curator, dubbo, dubbo3, spring, serverset, nerve, hostport], names: ['*'], parameters: ['*']}]",
    )
    .unwrap()
}

fn service(annotations: &[(&str, &str)]) -> Service {
    Service::sample(annotations, vec![ServicePort::tcp("http", 80), ServicePort::tcp("dubbo", 20880)])
}

fn both() -> Service {
    service(&[
        ("curator", ""),
        ("curator-port", "http"),
        ("dubbo", "com.acme.A,com.acme.B:1.0"),
        ("dubbo-port", "dubbo"),
    ])
}

/// A slice with the ports 8080, `http`, and 20880, `dubbo`: each of these at 10.0.0.x, ready or not.
pub(super) fn slice(endpoints: &[(u8, bool)]) -> Slice {
    let port = |name: &str, port| SlicePort { name: name.into(), port: Some(port), protocol: Protocol::Tcp };
    let endpoint = |&(last, ready): &(u8, bool)| SliceEndpoint {
        ip: [10, 0, 0, last].into(),
        conditions: Conditions::new(Some(ready), None, None),
        placement: Placement::default(),
    };
    Slice {
        writer: Writer::Controller,
        family: Family::Ipv4,
        ports: [port("http", 8080), port("dubbo", 20880)].into(),
        endpoints: endpoints.iter().map(endpoint).collect(),
        has_more_addresses: false,
    }
}

/// What a Service should have, if nothing drains.
fn desire(service: Option<&Service>, slices: &[Slice], rules: &Rules) -> Desired {
    let roots = roots();
    let given = Given {
        rules,
        roots: &roots,
        nodes: None,
        draining: &Drains::new(),
        now: Duration::ZERO,
        is_there: &|_| false,
        beside: &|_| Beside::nobody(),
    };
    desired(service, slices.iter(), &given)
}

fn plan(service: &Service, slices: &[Slice], held: &Leaves) -> (Desired, Changes) {
    let desired = desire(Some(service), slices, &everything());
    let known = Known::Known(desired.clone());
    (desired, diff(&known, held, &roots(), |_| false))
}

pub(super) fn carry_out(op: &Op, leaves: &mut Leaves) {
    match op {
        Op::Create(path, data) => assert_eq!(leaves.insert(path.clone(), Fingerprint::of(data)), None),
        Op::Set(path, data) => assert!(leaves.insert(path.clone(), Fingerprint::of(data)).is_some()),
        Op::Delete(path) => assert!(leaves.remove(path).is_some()),
        Op::Swap { create, data, delete } => {
            assert_eq!(leaves.insert(create.clone(), Fingerprint::of(data)), None);
            assert!(leaves.remove(delete).is_some());
        }
    }
}

fn slices() -> impl Strategy<Value = Vec<Slice>> {
    let endpoints = prop::collection::vec((0u8..12, any::<bool>()), 0..8);
    prop::collection::vec(endpoints.prop_map(|endpoints| slice(&endpoints)), 0..4)
}

proptest! {
    /// Between any two states of the slices, after every single op: what is desired before and after is
    /// there. In the end exactly the desired leaves are, and then nothing is left to do.
    #[test]
    fn a_ready_endpoint_is_never_absent(states in prop::collection::vec(slices(), 1..6)) {
        let service = both();
        let mut leaves = Leaves::new();
        let mut before = BTreeSet::new();
        for state in &states {
            let (desired, changes) = plan(&service, state, &leaves);
            let after: BTreeSet<_> = desired.leaves.keys().cloned().collect();
            for op in steps(changes).steps.iter().flat_map(|step| &step.ops) {
                carry_out(op, &mut leaves);
                if !cfg!(feature = "delete-first") {
                    for path in before.intersection(&after) {
                        prop_assert!(leaves.contains_key(path), "{path} is missing after {op:?}");
                    }
                }
            }
            prop_assert_eq!(leaves.keys().cloned().collect::<BTreeSet<_>>(), after.clone());
            let (_, mut rest) = plan(&service, state, &leaves);
            rest.companions.clear();
            prop_assert!(rest.is_empty());
            before = after;
        }
    }

    /// However endpoints are spread over slices, the plan is the same.
    #[test]
    fn only_the_union_of_the_slices_counts(endpoints in prop::collection::btree_map(0u8..40, any::<bool>(), 0..30), cut in 0usize..30) {
        let all: Vec<_> = endpoints.into_iter().collect();
        let (left, right) = all.split_at(cut.min(all.len()));
        let (one, _) = plan(&both(), &[slice(&all)], &Leaves::new());
        let (two, _) = plan(&both(), &[slice(right), slice(left), slice(left)], &Leaves::new());
        prop_assert_eq!(one, two);
    }

    /// No annotation, however mad, panics or hides what another one asks for.
    #[test]
    fn a_mad_annotation_touches_nothing_else(name in "[a-z-]{0,20}", value in any::<String>()) {
        prop_assume!(!name.starts_with("curator") && name != "port");
        let mut service = service(&[("curator", "orders"), ("curator-port", "http")]);
        service.annotations.insert(name, value);
        let (desired, _) = plan(&service, &[slice(&[(1, true)])], &Leaves::new());
        let curator = ZnodePath::new("/services/orders/10.0.0.1:8080").unwrap();
        prop_assert!(desired.leaves.contains_key(&curator));
    }
}

#[test]
fn unknown_changes_nothing_and_a_service_that_is_gone_has_nothing() {
    let (desired_leaves, _) = plan(&both(), &[slice(&[(1, true)])], &Leaves::new());
    let held: Leaves =
        desired_leaves.leaves.iter().map(|(path, data)| (path.clone(), Fingerprint::of(data))).collect();
    assert_eq!(held.len(), 3);
    assert!(diff(&Known::Unknown, &held, &roots(), |_| false).is_empty());
    let gone = Known::Known(desire(None, &[], &everything()));
    assert_eq!(diff(&gone, &held, &roots(), |_| false).gone.len(), 3);
}

#[test]
fn a_mistake_keeps_what_is_ready_and_lets_go_of_what_is_not() {
    let (first, _) = plan(&both(), &[slice(&[(1, true), (2, true)])], &Leaves::new());
    let held: Leaves =
        first.leaves.iter().map(|(path, data)| (path.clone(), Fingerprint::of(data))).collect();
    for (annotation, value) in
        [("curator-port", "nosuch"), ("curator", "a/b"), ("dubbo-parameters", "x"), ("dubbo-port", "9")]
    {
        let mut service = both();
        service.annotations.insert(annotation.to_owned(), value.to_owned());
        let (desired, changes) = plan(&service, &[slice(&[(1, true)])], &held);
        assert!(!desired.refusals.is_empty(), "{annotation}");
        let gone = changes.gone.iter().filter(|path| path.as_str().contains("10.0.0.2")).count();
        assert_eq!((gone, changes.gone.len()), (3, 3), "{annotation}: {:?}", changes.gone);
        assert!(changes.creates.is_empty() && changes.replaced.is_empty());
    }
}

#[cfg(not(feature = "delete-first"))]
#[test]
fn a_leaf_that_another_replaces_goes_as_that_comes() {
    let (first, _) = plan(&both(), &[slice(&[(1, true), (2, true)])], &Leaves::new());
    let held: Leaves =
        first.leaves.iter().map(|(path, data)| (path.clone(), Fingerprint::of(data))).collect();
    let mut service = both();
    service.annotations.insert("dubbo-parameters".to_owned(), "weight=1".to_owned());
    let (_, changes) = plan(&service, &[slice(&[(1, true)])], &held);
    // Endpoint 1 gets new names in two interfaces; endpoint 2 goes in three directories.
    assert_eq!((changes.creates.len(), changes.replaced.len(), changes.gone.len()), (2, 2, 3));
    let steps = steps(changes).steps;
    let [Step { ops: swaps, needs_all: false }, Step { ops: gone, needs_all: false }] = &*steps else {
        panic!("{steps:?}")
    };
    assert_eq!(gone.len(), 3);
    assert_eq!(swaps.len(), 2);
    for op in swaps {
        let Op::Swap { create, delete, .. } = op else { panic!("{op:?}") };
        assert_eq!(create.parent(), delete.parent());
    }
}

/// A new directory gets its leaves first; the old one loses them when all of those are there.
#[cfg(not(feature = "delete-first"))]
#[test]
fn a_leaf_that_another_replaces_elsewhere_goes_when_that_is_there() {
    let (first, _) = plan(&both(), &[slice(&[(1, true)])], &Leaves::new());
    let held: Leaves =
        first.leaves.iter().map(|(path, data)| (path.clone(), Fingerprint::of(data))).collect();
    let mut service = both();
    service.annotations.insert("curator".to_owned(), "shop-orders".to_owned());
    let (_, changes) = plan(&service, &[slice(&[(1, true)])], &held);
    let steps: Vec<_> = steps(changes).steps.iter().map(|step| (step.ops.len(), step.needs_all)).collect();
    assert_eq!(steps, [(1, false), (1, true)]);
}

#[test]
fn what_no_rule_grants_is_refused_by_name() {
    let rules: Rules = serde_saphyr::from_str("[{formats: [curator], names: ['orders']}]").unwrap();
    let desired = desire(Some(&both()), &[slice(&[(1, true)])], &rules);
    assert_eq!(desired.leaves.len(), 1);
    let reasons: Vec<_> = desired.refusals.iter().map(Refusal::event_reason).collect();
    assert_eq!(reasons, ["NotGranted", "NotGranted"]);
}

#[test]
fn every_format_is_written_at_once() {
    let service = service(&[
        ("port", "http"),
        ("curator", ""),
        ("dubbo", "a.B"),
        ("dubbo3", "a.B"),
        ("dubbo3-application", "orders-dubbo"),
        ("spring", "orders-app"),
        ("serverset", "web/prod/orders"),
        ("nerve", "prod/orders"),
        ("hostport", "orders"),
    ]);
    let (desired, changes) = plan(&service, &[slice(&[(1, true), (2, false)])], &Leaves::new());
    assert_eq!(desired.refusals, BTreeSet::new());
    assert_eq!(changes.creates.len(), Format::ALL.len());
    let directories: Vec<_> = changes.companions.iter().map(|companion| companion.path.as_str()).collect();
    assert_eq!(
        directories,
        [
            "/dubbo/a.B/providers",
            "/dubbo/mapping/a.B",
            "/dubbo/metadata/orders-dubbo/19ea49a0a936c6ca8320d4961ec971f8",
            "/hosts/orders",
            "/nerve/services/prod/orders",
            "/services/orders",
            "/services/orders-app",
            "/services/orders-dubbo",
            "/twitter/service/web/prod/orders",
        ]
    );
}

#[test]
fn two_formats_of_one_root_do_not_fill_one_directory() {
    let service = service(&[("port", "http"), ("curator", "orders"), ("spring", "orders")]);
    let (desired, _) = plan(&service, &[slice(&[(1, true)])], &Leaves::new());
    let data: Vec<_> = desired.leaves.values().map(|data| String::from_utf8_lossy(data)).collect();
    assert!(matches!(data.as_slice(), [instance] if instance.contains("\"payload\":null")), "{data:?}");
    let directory = ZnodePath::new("/services/orders").unwrap();
    let of = |format| Viewed { view: ViewName::UNNAMED, format };
    let (viewed, first) = (of(Format::Spring), of(Format::Curator));
    assert_eq!(desired.refusals, [Refusal::Twice { viewed, first, directory }].into());
}

/// The leaves of Spring and of Curator are below one root: a mistake of the one keeps what is ready of both.
#[test]
fn a_mistake_in_one_format_keeps_the_leaves_of_its_root() {
    let mut service = service(&[("port", "http"), ("curator", "orders"), ("spring", "app")]);
    let (first, _) = plan(&service, &[slice(&[(1, true), (2, true)])], &Leaves::new());
    let held: Leaves =
        first.leaves.iter().map(|(path, data)| (path.clone(), Fingerprint::of(data))).collect();
    service.annotations.insert("spring".to_owned(), "a/b".to_owned());
    let (_, changes) = plan(&service, &[slice(&[(1, true)])], &held);
    assert!(changes.gone.iter().all(|path| path.as_str().contains("10.0.0.2")), "{:?}", changes.gone);
    assert_eq!(changes.gone.len(), 2);
}

#[test]
fn directories_exist_before_the_first_endpoint() {
    let (desired, changes) = plan(&both(), &[], &Leaves::new());
    let paths: Vec<_> = desired.companions.iter().map(|companion| companion.path.as_str()).collect();
    assert_eq!(paths, ["/dubbo/com.acme.A/providers", "/dubbo/com.acme.B/providers", "/services/orders"]);
    assert_eq!(changes.companions, desired.companions);
}

/// A consumer whose client takes 1 MiB reads nothing of a longer list; long before that somebody should know.
#[test]
fn a_list_that_is_about_to_be_too_long_is_told_of_and_published() {
    let parameters = format!("owner={}", "x".repeat(3_800));
    let service = service(&[("port", "dubbo"), ("dubbo", "a.B"), ("dubbo-parameters", &parameters)]);
    let directory = ZnodePath::new("/dubbo/a.B/providers").unwrap();
    for (endpoints, is_told) in [(100u8, false), (200, true)] {
        let ready: Vec<_> = (1..=endpoints).map(|last| (last, true)).collect();
        let (desired, _) = plan(&service, &[slice(&ready)], &Leaves::new());
        assert_eq!(desired.leaves.len(), usize::from(endpoints));
        let told = Refusal::ListTooLong {
            viewed: Viewed { view: ViewName::UNNAMED, format: Format::Dubbo },
            directory: directory.clone(),
        };
        assert_eq!(desired.refusals, is_told.then_some(told).into_iter().collect());
    }
}

#[test]
fn what_was_imported_is_not_published_whatever_asks_for_it() {
    let rules: Rules =
        serde_saphyr::from_str("[{formats: [curator, dubbo], names: ['*'], annotations: {curator: ''}}]")
            .unwrap();
    for (annotations, refused) in
        [(&[("curator", ""), ("dubbo", "a.B")][..], 1), (&[("source", "/services/orders")], 0), (&[], 0)]
    {
        let mut service = service(annotations);
        service.is_imported = true;
        let desired = desire(Some(&service), &[slice(&[(1, true)])], &rules);
        assert!(desired.leaves.is_empty() && desired.companions.is_empty());
        assert_eq!(desired.refusals.len(), refused, "{:?}", desired.refusals);
    }
}

/// What a Service should have at a time, after what was said before, while these leaves are there.
fn desire_at(service: &Service, slices: &[Slice], now: u64, draining: &Drains, held: &Leaves) -> Desired {
    let (rules, roots) = (everything(), roots());
    let given = Given {
        rules: &rules,
        roots: &roots,
        nodes: None,
        draining,
        now: Duration::from_secs(now),
        is_there: &|path| held.contains_key(path),
        beside: &|_| Beside::nobody(),
    };
    desired(Some(service), slices.iter(), &given)
}

fn held(desired: &Desired) -> Leaves {
    desired.leaves.iter().map(|(path, data)| (path.clone(), Fingerprint::of(data))).collect()
}

/// A slice with one endpoint, 10.0.0.1, that terminates.
fn terminating(serving: bool) -> Slice {
    let mut slice = slice(&[(1, false)]);
    slice.endpoints[0].conditions = Conditions::new(Some(false), Some(serving), Some(true));
    slice
}

fn draining_service() -> Service {
    service(&[
        ("port", "http"),
        ("curator", ""),
        ("spring", "app"),
        ("dubbo", "a.B"),
        ("nerve", "orders"),
        ("drain", "disable"),
        ("dubbo-drain", "weight"),
        ("drain-grace", "10s"),
        ("spring-drain-grace", "20s"),
    ])
}

#[test]
fn what_terminates_is_marked_for_its_grace_and_then_goes() {
    let service = draining_service();
    let none = Drains::new();
    let ready = desire_at(&service, &[slice(&[(1, true)])], 0, &none, &Leaves::new());
    assert_eq!((ready.leaves.len(), ready.draining.len(), ready.wake), (4, 0, None));
    // It begins to terminate after 100 s: what can be marked is, in one change that hides nothing.
    let first = desire_at(&service, &[terminating(true)], 100, &none, &held(&ready));
    let marks: Vec<_> =
        first.leaves.iter().map(|(path, data)| format!("{path} {}", String::from_utf8_lossy(data))).collect();
    assert_eq!(marks.len(), 3, "nerve cannot mark: {marks:?}");
    for mark in ["weight%3D0", "\"enabled\":false", "OUT_OF_SERVICE"] {
        assert!(marks.iter().any(|leaf| leaf.contains(mark)), "{mark}: {marks:?}");
    }
    assert_eq!(first.wake, Some(Duration::from_secs(110)));
    let changes = diff(&Known::Known(first.clone()), &held(&ready), &roots(), |_| true);
    assert_eq!((changes.creates.len(), changes.sets.len()), (1, 2));
    assert_eq!((changes.replaced.len(), changes.gone.len()), (1, 1), "Dubbo's old name, and nerve's leaf");
    // Nothing is to be done until the first grace is over.
    let same = desire_at(&service, &[terminating(true)], 105, &first.draining, &held(&first));
    assert_eq!((&same.leaves, same.wake), (&first.leaves, first.wake));
    let later = desire_at(&service, &[terminating(true)], 110, &same.draining, &held(&first));
    assert_eq!((later.leaves.len(), later.wake), (1, Some(Duration::from_secs(120))), "Spring's is longer");
    let last = desire_at(&service, &[terminating(true)], 120, &later.draining, &held(&later));
    assert_eq!((last.leaves.len(), last.wake), (0, None));
    // What is gone does not come back, whoever plans and whatever he knows.
    let after = desire_at(&service, &[terminating(true)], 121, &none, &Leaves::new());
    assert_eq!((after.leaves.len(), after.draining.len()), (0, 0));
}

#[test]
fn what_serves_no_more_or_is_ready_again_does_not_drain() {
    let service = draining_service();
    let ready = desire_at(&service, &[slice(&[(1, true)])], 0, &Drains::new(), &Leaves::new());
    let dead = desire_at(&service, &[terminating(false)], 1, &Drains::new(), &held(&ready));
    assert!(dead.leaves.is_empty() && dead.draining.is_empty());
    let marked = desire_at(&service, &[terminating(true)], 1, &Drains::new(), &held(&ready));
    // A new pod has the address.
    let both = [terminating(true), slice(&[(1, true)])];
    let again = desire_at(&service, &both, 2, &marked.draining, &held(&marked));
    assert_eq!((&again.leaves, again.draining.len()), (&ready.leaves, 0));
}

#[test]
fn nothing_drains_unless_it_is_asked_to() {
    let service = both();
    let (ready, _) = plan(&service, &[slice(&[(1, true)])], &Leaves::new());
    let gone = desire_at(&service, &[terminating(true)], 1, &Drains::new(), &held(&ready));
    assert!(gone.leaves.is_empty() && gone.draining.is_empty() && gone.wake.is_none());
}

proptest! {
    /// However endpoints come, drain and go: after every op whatever is desired before and after, under the same name
    /// or for the same endpoint, is there; and in the end nothing is left to do and nothing waits for a time.
    #[test]
    fn what_drains_is_replaced_and_never_absent(
        states in prop::collection::vec(prop::collection::vec((0u8..6, 0u8..4), 0..6), 1..8),
        steps_of_time in prop::collection::vec(0u64..15, 8),
    ) {
        let service = draining_service();
        let (mut leaves, mut drains, mut now) = (Leaves::new(), Drains::new(), 0);
        let mut before = BTreeSet::new();
        let endpoints = |paths: &mut dyn Iterator<Item = &ZnodePath>| -> BTreeSet<_> {
            paths.filter_map(|path| roots().endpoint_of(path)).collect()
        };
        let quiet = states.last().cloned().unwrap_or_default();
        for (state, time) in states.iter().chain([&quiet]).zip(steps_of_time.iter().chain([&1_000])) {
            now += time;
            let conditions = [(true, true, false), (false, true, true), (false, false, true), (false, false, false)];
            let mut state_slice = slice(&state.iter().map(|(last, _)| (*last, true)).collect::<Vec<_>>());
            for (endpoint, (_, which)) in state_slice.endpoints.iter_mut().zip(state) {
                let (ready, serving, terminating) = conditions[usize::from(*which)];
                endpoint.conditions = Conditions { ready, serving, terminating };
            }
            let desired = desire_at(&service, &[state_slice.clone()], now, &drains, &leaves);
            let after = endpoints(&mut desired.leaves.keys());
            let changes = diff(&Known::Known(desired.clone()), &leaves, &roots(), |_| true);
            for op in steps(changes).steps.iter().flat_map(|step| &step.ops) {
                carry_out(op, &mut leaves);
                let there = endpoints(&mut leaves.keys());
                if !cfg!(feature = "delete-first") {
                    let missing = before.intersection(&after).find(|endpoint| !there.contains(*endpoint));
                    prop_assert_eq!(missing, None, "after {:?}", op);
                }
            }
            let again = desire_at(&service, &[state_slice], now, &desired.draining, &leaves);
            prop_assert!(diff(&Known::Known(again.clone()), &leaves, &roots(), |_| true).is_empty());
            prop_assert_eq!(again.wake, desired.wake);
            (before, drains) = (after, desired.draining);
        }
        let desired = desire_at(&service, &[], now, &drains, &leaves);
        prop_assert_eq!(desired.wake, None);
    }
}

#[test]
fn p19_what_was_published_of_a_selector_stays_when_that_goes() {
    let mut service = both();
    let (first, _) = plan(&service, &[slice(&[(1, true), (2, true)])], &Leaves::new());
    service.has_selector = false;
    let (left, changes) = plan(&service, &[slice(&[(1, true), (2, false)])], &held(&first));
    let reasons: BTreeSet<_> = left.refusals.iter().map(Refusal::event_reason).collect();
    assert_eq!(reasons, ["EndpointsIgnored"].into());
    assert!(changes.creates.is_empty() && changes.replaced.is_empty());
    assert!(changes.gone.iter().all(|path| path.as_str().contains("10.0.0.2")), "{:?}", changes.gone);
    assert_eq!(changes.gone.len(), 3);
}

/// Whoever is in an interface's mapping takes its calls, whatever the application is called.
#[test]
fn an_application_is_published_only_if_each_of_its_interfaces_is_granted() {
    let service = service(&[("port", "http"), ("dubbo3", "a.B a.C")]);
    for (names, refused) in [("['*']", 0), ("[orders, a.B]", 1), ("[orders]", 2), ("['a.*']", 1)] {
        let rules: Rules =
            serde_saphyr::from_str(&format!("[{{formats: [dubbo3], names: {names}}}]")).unwrap();
        let desired = desire(Some(&service), &[slice(&[(1, true)])], &rules);
        assert_eq!(desired.refusals.len(), refused, "{names}");
        assert_eq!(
            (desired.leaves.len(), desired.companions.is_empty()),
            (usize::from(refused == 0), refused > 0)
        );
    }
}

/// Consumers of Dubbo 3 look the metadata up as soon as they see an instance that names it.
#[test]
fn what_instances_refer_to_is_there_before_them() {
    let service = service(&[("port", "http"), ("dubbo3", "a.B")]);
    let (desired, changes) = plan(&service, &[slice(&[(1, true)])], &Leaves::new());
    let companions: Vec<_> =
        changes.companions.iter().map(|it| (it.path.as_str(), it.needed_below())).collect();
    let directory = ZnodePath::new("/services/orders").unwrap();
    let [(_, None), (metadata, Some(needed)), (_, Some(_))] = &*companions else { panic!("{companions:?}") };
    assert_eq!(**needed, directory);
    let revision = metadata.rsplit_once('/').unwrap().1;
    let instance = desired.leaves.values().next().unwrap();
    assert!(String::from_utf8_lossy(instance).contains(revision));
    // Companions are the first of all steps, whatever the changes.
    assert_eq!(steps(changes.clone()).companions, changes.companions);
    // Without an endpoint nothing refers to metadata; the application is in the mapping all the same.
    let (desired, _) = plan(&service, &[], &Leaves::new());
    assert_eq!(desired.companions.len(), 2);
}
