//! Services with several views, and with names instead of addresses: what every plan keeps, whatever they ask for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use super::tests::{Leaves, carry_out, roots, slice};
use super::*;
use crate::format::Format;
use crate::model::{
    Fingerprint, Host, HostName, Known, Point, Service, ServicePort, ServiceType, Slice, ViewName,
};

fn rules() -> Rules {
    serde_saphyr::from_str(
        "[{formats: [curator, dubbo, dubbo3, spring, serverset, nerve, hostport], names: ['*'], \
           addresses: [pod, load-balancer, cluster-ip, external-name]}]",
    )
    .unwrap()
}

fn desire(service: &Service, slices: &[Slice], rules: &Rules) -> Desired {
    let (roots, none) = (roots(), Drains::new());
    let given = Given {
        rules,
        roots: &roots,
        nodes: None,
        draining: &none,
        now: Duration::ZERO,
        is_there: &|_| false,
        beside: &|_| Beside::nobody(),
    };
    desired(Some(service), slices.iter(), &given)
}

fn changes(desired: &Desired, held: &Leaves) -> Changes {
    diff(&Known::Known(desired.clone()), held, &roots(), |_| true)
}

/// What a Service is, beside its annotations.
#[derive(Debug, Clone)]
enum Kind {
    ClusterIp,
    /// With a balancer at these.
    Balanced(Vec<&'static str>),
    External(&'static str),
}

const BALANCERS: [&str; 4] = ["203.0.113.1", "203.0.113.2", "a.lb.example", "b.lb.example"];
const EXTERNAL: [&str; 4] = ["a.ext.example", "b.ext.example", "localhost", "10.0.0.1"];

fn service(kind: &Kind, annotations: &BTreeMap<String, String>) -> Service {
    let mut service = Service::sample(&[], vec![ServicePort::tcp("http", 80)]);
    service.annotations = annotations.clone();
    let cluster_ip = (AddressKind::ClusterIp, vec![Point::at(Host::parse("10.96.0.1").unwrap())]);
    (service.r#type, service.points) = match kind {
        Kind::ClusterIp => (ServiceType::ClusterIp, [cluster_ip].into()),
        Kind::Balanced(hosts) => {
            let points = hosts.iter().map(|host| Point::at(Host::parse(host).unwrap())).collect();
            (ServiceType::LoadBalancer, [cluster_ip, (AddressKind::LoadBalancer, points)].into())
        }
        Kind::External(name) => {
            let host = HostName::of_service(name).map(Host::Name);
            let point = Point { host, broken: Vec::new() };
            (ServiceType::ExternalName, [(AddressKind::ExternalName, vec![point])].into())
        }
    };
    service
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        3 => Just(Kind::ClusterIp),
        3 => prop::sample::subsequence(&BALANCERS[..], 0..3).prop_map(Kind::Balanced),
        2 => prop::sample::select(&EXTERNAL[..]).prop_map(Kind::External),
    ]
}

/// Names are few, so that views clash.
fn annotations() -> impl Strategy<Value = BTreeMap<String, String>> {
    let view = || prop::sample::select(&["", "inside.", "outside."][..]);
    let format =
        || prop::sample::select(&["curator", "spring", "hostport", "serverset", "dubbo", "dubbo3"][..]);
    let address = || prop::sample::select(&["pod", "load-balancer", "cluster-ip"][..]);
    let one = prop_oneof![
        6 => (view(), format(), prop::sample::select(&["A", "B"][..])).prop_map(|(view, format, name)| {
            (format!("{view}{format}"), name.to_owned())
        }),
        2 => (view(), address()).prop_map(|(view, kind)| (format!("{view}address"), kind.to_owned())),
        2 => (view(), format(), address())
            .prop_map(|(view, format, kind)| (format!("{view}{format}-address"), kind.to_owned())),
        1 => (view(), prop::sample::select(&["x", "y"][..]))
            .prop_map(|(view, name)| (format!("{view}dubbo3-application"), name.to_owned())),
        1 => view().prop_map(|view| (format!("{view}curator-port"), "nosuch".to_owned())),
    ];
    prop::collection::vec(one, 0..12).prop_map(|all| all.into_iter().collect())
}

fn slices() -> impl Strategy<Value = Vec<Slice>> {
    let endpoints = prop::collection::vec((0u8..5, any::<bool>()), 0..4);
    prop::collection::vec(endpoints.prop_map(|endpoints| slice(&endpoints)), 0..3)
}

/// Which kind of address it is: no two kinds have one in common.
fn kind_of(host: &Host) -> &'static str {
    match host.to_string() {
        pod if pod.starts_with("10.0.0.") => "pod",
        own if own == "10.96.0.1" => "cluster-ip",
        name if name.ends_with(".ext.example") => "external-name",
        _ => "load-balancer",
    }
}

/// Where it can be found, and by which consumers.
fn place(path: &ZnodePath, data: &[u8]) -> (ZnodePath, String) {
    (path.parent().unwrap(), roots().registered(path, data).unwrap().service)
}

/// Which endpoint is in which directory.
fn seen<'a>(paths: impl Iterator<Item = &'a ZnodePath>) -> BTreeSet<(ZnodePath, Host)> {
    paths.filter_map(|path| Some((path.parent()?, roots().endpoint_of(path)?.1))).collect()
}

/// The same Service, if it had this view only, and that had no name.
fn alone(service: &Service, view: &str) -> Service {
    let of_view = |annotation: &str| match (view, annotation.split_once('.')) {
        ("", None) => Some(annotation.to_owned()),
        (view, Some((of, rest))) if of == view => Some(rest.to_owned()),
        _ => None,
    };
    let all = service.annotations.iter();
    let own: BTreeMap<_, _> =
        all.clone().filter_map(|(it, value)| Some((of_view(it)?, value.clone()))).collect();
    let is_format = |annotation: &str| Format::ALL.iter().any(|format| format.name() == annotation);
    // What the view says of all formats counts more than what is said of one without it.
    let is_said_otherwise =
        |annotation: &str| annotation.ends_with("address") && own.contains_key("address") && !view.is_empty();
    let common = all.filter(|(it, _)| !it.contains('.') && !is_format(it) && !is_said_otherwise(it));
    let common = common.map(|(it, value)| (it.clone(), value.clone()));
    Service { annotations: common.chain(own.clone()).collect(), ..service.clone() }
}

proptest! {
    /// However a Service changes what it is, what it asks for and what is ready: what can be seen in a directory before
    /// and after is there all the time; in the end exactly what is desired is there, but for what is kept since it is
    /// not clear; and then nothing is left to do.
    #[test]
    #[cfg(not(feature = "delete-first"))]
    fn whatever_changes_what_stays_wanted_stays_visible(
        states in prop::collection::vec((kind(), annotations(), slices()), 1..6),
    ) {
        let rules = rules();
        let mut leaves = Leaves::new();
        for (kind, annotations, slices) in &states {
            let service = service(kind, annotations);
            let desired = desire(&service, slices, &rules);
            let (before, after) = (seen(leaves.keys()), seen(desired.leaves.keys()));
            for op in steps(changes(&desired, &leaves)).steps.iter().flat_map(|step| &step.ops) {
                carry_out(op, &mut leaves);
                let now = seen(leaves.keys());
                let missing = before.intersection(&after).find(|it| !now.contains(*it));
                prop_assert_eq!(missing, None, "after {:?}", op);
            }
            for path in desired.leaves.keys() {
                prop_assert!(leaves.contains_key(path), "{path}");
            }
            for path in leaves.keys().filter(|path| !desired.leaves.contains_key(*path)) {
                let (format, host) = roots().endpoint_of(path).unwrap();
                let kept = desired.undetermined.get(&format);
                prop_assert!(kept.is_some_and(|kept| kept.has(&host)), "{path}: {kept:?}");
            }
            prop_assert!(changes(&desired, &leaves).is_empty());
        }
    }

    /// No two views, and no two formats, are found by the same consumers: each sees addresses of one kind. And a view is
    /// what it would be alone, unless another one has its place.
    #[test]
    fn no_view_is_in_another_ones_way(kind in kind(), annotations in annotations(), slices in slices()) {
        let rules = rules();
        let service = service(&kind, &annotations);
        let desired = desire(&service, &slices, &rules);
        let mut kinds = BTreeMap::<_, BTreeSet<_>>::new();
        for (path, data) in &desired.leaves {
            let host = roots().endpoint_of(path).unwrap().1;
            kinds.entry(place(path, data)).or_default().insert(kind_of(&host));
        }
        for (place, kinds) in &kinds {
            prop_assert_eq!(kinds.len(), 1, "{:?} {:?}", place, kinds);
        }
        let is_twice = |refusal: &Refusal| matches!(refusal, Refusal::Twice { .. });
        let twice = desired.refusals.iter().any(is_twice);
        let apart: Vec<_> = ["", "inside", "outside"].map(|view| desire(&alone(&service, view), &slices, &rules)).into();
        let all: BTreeMap<_, _> = apart.iter().flat_map(|one| one.leaves.clone()).collect();
        if twice || apart.iter().any(|one| one.refusals.iter().any(is_twice)) {
            for path in desired.leaves.keys() {
                prop_assert!(all.contains_key(path), "{path}");
            }
        } else {
            prop_assert_eq!(&desired.leaves, &all);
        }
    }

    /// No view, however mad its name, takes anything from another.
    #[test]
    fn a_mad_view_touches_nothing_else(view in "[a-zA-Z0-9.-]{0,40}", rest in "[a-z.-]{0,20}", value in any::<String>()) {
        let annotation = format!("{view}.{rest}");
        let mut service = service(&Kind::ClusterIp, &BTreeMap::new());
        service.annotations = [("curator".to_owned(), "orders".to_owned()), (annotation, value)].into();
        let desired = desire(&service, &[slice(&[(1, true)])], &rules());
        let curator = ZnodePath::new("/services/orders/10.0.0.1:8080").unwrap();
        prop_assert!(desired.leaves.contains_key(&curator), "{:?}", desired.refusals);
        prop_assert!(desired.refusals.iter().all(|refusal| refusal.to_string().len() < 2_000));
    }
}

fn annotated(annotations: &[(&str, &str)]) -> BTreeMap<String, String> {
    annotations.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn paths(desired: &Desired) -> Vec<&str> {
    desired.leaves.keys().map(ZnodePath::as_str).collect()
}

#[test]
fn one_format_has_pods_for_inside_and_the_balancer_for_outside() {
    let annotations = annotated(&[
        ("port", "http"),
        ("curator", "shop.cart"),
        ("outside.curator", "shop.cart-ext"),
        ("outside.address", "load-balancer"),
    ]);
    let cart = service(&Kind::Balanced(vec!["a.lb.example", "203.0.113.1"]), &annotations);
    let desired = desire(&cart, &[slice(&[(1, true), (2, false)])], &rules());
    assert_eq!(desired.refusals, BTreeSet::new());
    assert_eq!(
        paths(&desired),
        [
            "/services/shop.cart-ext/203.0.113.1:80",
            "/services/shop.cart-ext/a.lb.example:80",
            "/services/shop.cart/10.0.0.1:8080",
        ]
    );
}

/// Name and kind of address are granted for each view by itself.
#[test]
fn a_view_is_granted_as_if_it_were_alone() {
    let rules: Rules = serde_saphyr::from_str(
        "- {formats: [curator], names: [cart], addresses: [pod]}\n\
         - {formats: [curator], names: [cart-ext], addresses: [load-balancer]}\n",
    )
    .unwrap();
    for (name, kind, refused) in [
        ("cart-ext", "load-balancer", None),
        ("cart-ext", "pod", Some("outside.curator with addresses of kind pod")),
        ("other", "load-balancer", Some("\"other\" as outside.curator")),
        (
            "cart",
            "load-balancer",
            Some("outside.curator: /services/cart is filled already, by annotation zoobridge.io/curator"),
        ),
    ] {
        let annotations =
            annotated(&[("curator", "cart"), ("outside.curator", name), ("outside.address", kind)]);
        let cart = service(&Kind::Balanced(vec!["203.0.113.1"]), &annotations);
        let desired = desire(&cart, &[slice(&[(1, true)])], &rules);
        let told: Vec<_> = desired.refusals.iter().map(ToString::to_string).collect();
        assert!(paths(&desired).contains(&"/services/cart/10.0.0.1:8080"), "{told:?}");
        match (refused, &*told) {
            (None, []) => assert_eq!(desired.leaves.len(), 2),
            (Some(part), [told]) => {
                assert!(told.contains(part), "{told}");
                assert_eq!(desired.leaves.len(), 1);
                let annotation = desired.refusals.first().and_then(Refusal::annotation);
                assert_eq!(annotation.as_deref(), Some("outside.curator"));
            }
            other => panic!("{other:?}"),
        }
    }
}

/// Dubbo's providers of one interface are told apart by version and group.
#[test]
fn two_views_share_an_interface_but_no_group() {
    let told = |outside: &str| {
        let annotations = annotated(&[
            ("dubbo", "a.B:1.0"),
            ("outside.dubbo", outside),
            ("outside.address", "load-balancer"),
        ]);
        let service = service(&Kind::Balanced(vec!["a.lb.example"]), &annotations);
        let desired = desire(&service, &[slice(&[(1, true)])], &rules());
        (desired.leaves.len(), desired.refusals.iter().map(Refusal::event_reason).collect::<Vec<_>>())
    };
    assert_eq!(told("a.B:1.0:ext"), (2, vec![]));
    assert_eq!(told("a.B:2.0"), (2, vec![]));
    assert_eq!(told("a.B:1.0"), (1, vec!["Conflict"]));
}

#[test]
fn a_view_that_comes_to_clash_loses_nothing_that_is_ready() {
    let rules = rules();
    let both = |inside: &str| {
        let annotations = annotated(&[
            ("inside.curator", inside),
            ("outside.curator", "b"),
            ("outside.address", "cluster-ip"),
        ]);
        service(&Kind::ClusterIp, &annotations)
    };
    let slices = [slice(&[(1, true)])];
    let first = desire(&both("a"), &slices, &rules);
    let held: Leaves =
        first.leaves.iter().map(|(path, data)| (path.clone(), Fingerprint::of(data))).collect();
    assert_eq!(held.len(), 2);
    let clash = desire(&both("b"), &slices, &rules);
    let changes = changes(&clash, &held);
    assert!(changes.gone.is_empty() && changes.replaced.is_empty(), "{changes:?}");
}

/// Whoever is granted a name no more has nothing there, whatever else he asks for and whichever mistakes he makes.
#[test]
fn no_mistake_keeps_what_is_granted_no_more() {
    let slices = [slice(&[(1, true)])];
    let none: Rules = serde_saphyr::from_str("[{formats: [curator, dubbo], names: ['z.*']}]").unwrap();
    let many: Vec<_> = (0..20).map(|view| (format!("v{view}.curator"), format!("b{view}"))).collect();
    let many: BTreeMap<_, _> = many.into_iter().collect();
    for annotations in [
        annotated(&[("curator", "a"), ("outside.curator", "a/b")]),
        annotated(&[("dubbo", "a.B a/B")]),
        annotated(&[("curator", "a"), ("outside.curator", "z.b"), ("outside.port", "nosuch")]),
        many,
    ] {
        let service = service(&Kind::ClusterIp, &annotations);
        let first = desire(&service, &slices, &rules());
        let held: Leaves =
            first.leaves.iter().map(|(path, data)| (path.clone(), Fingerprint::of(data))).collect();
        assert!(!held.is_empty() && changes(&first, &held).is_empty());
        let changes = changes(&desire(&service, &slices, &none), &held);
        assert_eq!(changes.gone.len() + changes.replaced.len(), held.len(), "{annotations:?}");
    }
}

/// A Service of one type becomes one of another: what it is now is there before what it was goes.
#[test]
#[cfg(not(feature = "delete-first"))]
fn a_service_gets_another_type_without_a_gap() {
    let annotations =
        annotated(&[("curator", "orders"), ("dubbo", "a.B"), ("serverset", "orders"), ("port", "http")]);
    let (rules, mut leaves) = (rules(), Leaves::new());
    let mut work = |kind: &Kind, slices: &[Slice]| -> (Vec<String>, BTreeSet<&'static str>) {
        let desired = desire(&service(kind, &annotations), slices, &rules);
        let mut done = Vec::new();
        for op in steps(changes(&desired, &leaves)).steps.iter().flat_map(|step| &step.ops) {
            carry_out(op, &mut leaves);
            done.push(if op.creates().is_some() { "create" } else { "delete" }.to_owned());
        }
        done.dedup();
        (done, leaves.keys().map(|path| kind_of(&roots().endpoint_of(path).unwrap().1)).collect())
    };
    let strings = |all: &[&str]| all.iter().map(|&one| one.to_owned()).collect::<Vec<_>>();
    let (pods, name) = (Kind::ClusterIp, Kind::External("a.ext.example"));
    let ready = [slice(&[(1, true)])];
    assert_eq!(work(&pods, &ready), (strings(&["create"]), ["pod"].into()));
    // Kubernetes leaves its slices.
    assert_eq!(work(&name, &ready), (strings(&["create", "delete"]), ["external-name"].into()));
    assert_eq!(
        work(&Kind::External("b.ext.example"), &[]),
        (strings(&["create", "delete"]), ["external-name"].into())
    );
    // Nobody has written a slice yet: it is not known what is ready.
    assert_eq!(work(&pods, &[]), (strings(&[]), ["external-name"].into()));
    assert_eq!(work(&pods, &ready), (strings(&["create", "delete"]), ["pod"].into()));
    // Nothing is ready, and that is known.
    work(&name, &ready);
    assert_eq!(work(&pods, &[slice(&[])]), (strings(&["delete"]), [].into()));
    // A name that is none is nothing that could be called.
    work(&name, &[]);
    assert_eq!(work(&Kind::External("localhost"), &[]), (strings(&["delete"]), [].into()));
}

#[test]
fn an_external_name_is_published_by_every_format_that_is_granted_it() {
    let all: Vec<_> = Format::ALL.iter().map(|format| (format.name(), "a.B")).collect();
    let mut annotations = annotated(&all);
    annotations.insert("spring".to_owned(), "app".to_owned());
    let orders = service(&Kind::External("a.ext.example"), &annotations);
    let desired = desire(&orders, &[], &rules());
    assert_eq!(desired.refusals, BTreeSet::new());
    assert_eq!(desired.leaves.len(), Format::ALL.len());
    for (path, data) in &desired.leaves {
        let registered = roots().registered(path, data).unwrap();
        assert_eq!(registered.host.with_port(registered.port), "a.ext.example:80", "{path}");
        assert_eq!(roots().endpoint_of(path).unwrap().1, registered.host);
    }
    let by_default: Rules = serde_saphyr::from_str("[{formats: [curator], names: ['*']}]").unwrap();
    let refused = desire(&orders, &[], &by_default);
    assert!(refused.leaves.is_empty());
    assert!(refused.refusals.iter().any(|one| one.to_string().contains("kind external-name")));
    let view = Viewed { view: ViewName::UNNAMED, format: Format::Curator };
    let local = desire(&service(&Kind::External("localhost"), &annotations), &[], &rules());
    assert!(local.refusals.iter().all(|one| one.event_reason() == "HostNotAllowed"), "{:?}", local.refusals);
    assert!(local.refusals.iter().any(|one| one.annotation() == Some(view.to_string())));
}
