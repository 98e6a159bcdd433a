use super::*;
use crate::observe::field::Field;
use kube::runtime::watcher::Event;
use serde_json::json;

fn service(name: &str) -> ServiceObject {
    serde_json::from_value(json!({"metadata": {"namespace": "shop", "name": name}})).unwrap()
}

fn slice(name: &str, service: &str, ip: &str) -> SliceObject {
    serde_json::from_value(json!({
        "metadata": {
            "namespace": "shop", "name": name, "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [ip]}],
    }))
    .unwrap()
}

fn keys(names: &[&str]) -> BTreeSet<ServiceKey> {
    names.iter().map(|name| ServiceKey::new("shop", name)).collect()
}

fn list(store: &mut Store, services: &[ServiceObject], slices: &[SliceObject]) -> BTreeSet<ServiceKey> {
    let mut changed = store.observe(Observation::Service(Event::Init));
    for service in services {
        changed.extend(store.observe(Observation::Service(Event::InitApply(service.clone()))));
    }
    changed.extend(store.observe(Observation::Service(Event::InitDone)));
    changed.extend(store.observe(Observation::Slice(Event::Init)));
    for slice in slices {
        changed.extend(store.observe(Observation::Slice(Event::InitApply(slice.clone()))));
    }
    changed.extend(store.observe(Observation::Slice(Event::InitDone)));
    changed
}

fn slices(store: &Store, name: &str) -> usize {
    match store.get(&ServiceKey::new("shop", name)) {
        Known::Known((_, slices)) => slices.len(),
        Known::Unknown => panic!("not synced"),
    }
}

#[test]
fn nothing_is_known_before_both_lists_are_complete() {
    let mut store = Store::default();
    store.observe(Observation::Service(Event::Init));
    store.observe(Observation::Service(Event::InitDone));
    store.observe(Observation::Slice(Event::Init));
    store.observe(Observation::Slice(Event::InitApply(slice("a-1", "a", "10.0.0.1"))));
    assert!(matches!(store.get(&ServiceKey::new("shop", "a")), Known::Unknown));
    assert_eq!(store.observe(Observation::Slice(Event::InitDone)), keys(&["a"]));
    assert_eq!(slices(&store, "a"), 1);
}

#[test]
fn a_relist_removes_what_it_did_not_mention_and_only_when_it_is_complete() {
    let mut store = Store::default();
    let (a, b) = (slice("a-1", "a", "10.0.0.1"), slice("b-1", "b", "10.0.0.2"));
    list(&mut store, &[service("a"), service("b")], &[a.clone(), b]);
    store.observe(Observation::Slice(Event::Init));
    store.observe(Observation::Slice(Event::InitApply(a.clone())));
    assert_eq!(slices(&store, "b"), 1);
    assert_eq!(store.observe(Observation::Slice(Event::InitDone)), keys(&["b"]));
    assert_eq!(slices(&store, "b"), 0);
    assert_eq!(list(&mut store, &[service("a")], &[a]), keys(&["b"]));
    assert_eq!(store.services().count(), 1);
}

#[test]
fn what_did_not_change_is_not_worth_a_look() {
    let mut store = Store::default();
    list(&mut store, &[service("a")], &[slice("a-1", "a", "10.0.0.1")]);
    let same = Observation::Slice(Event::Apply(slice("a-1", "a", "10.0.0.1")));
    assert_eq!(store.observe(same), keys(&[]));
    let other = Observation::Slice(Event::Apply(slice("a-1", "a", "10.0.0.9")));
    assert_eq!(store.observe(other), keys(&["a"]));
    assert_eq!(store.observe(Observation::Service(Event::Apply(service("a")))), keys(&[]));
}

#[test]
fn a_slice_may_change_its_service_and_outlive_it() {
    let mut store = Store::default();
    list(&mut store, &[service("a")], &[slice("s", "a", "10.0.0.1")]);
    let moved = Observation::Slice(Event::Apply(slice("s", "b", "10.0.0.1")));
    assert_eq!(store.observe(moved), keys(&["a", "b"]));
    assert_eq!(store.observe(Observation::Service(Event::Delete(service("a")))), keys(&["a"]));
    assert_eq!(slices(&store, "b"), 1);
    let gone = Observation::Slice(Event::Delete(slice("s", "b", "10.0.0.1")));
    assert_eq!(store.observe(gone), keys(&["b"]));
    assert!(store.entries.is_empty());
}

fn addresses(store: &Store, name: &str) -> Vec<String> {
    let Known::Known((_, slices)) = store.get(&ServiceKey::new("shop", name)) else { panic!("not synced") };
    let endpoints = slices.iter().flat_map(|slice| &slice.endpoints);
    let found: BTreeSet<_> = endpoints.map(|endpoint| endpoint.ip.to_string()).collect();
    found.into_iter().collect()
}

#[test]
fn a_list_that_moves_an_endpoint_between_slices_never_loses_it() {
    let mut store = Store::default();
    list(&mut store, &[service("a")], &[slice("a-1", "a", "10.0.0.1"), slice("a-2", "a", "10.0.0.2")]);
    for event in [
        Event::Init,
        Event::InitApply(slice("a-1", "a", "10.0.0.9")),
        Event::InitApply(slice("a-2", "a", "10.0.0.1")),
    ] {
        assert_eq!(store.observe(Observation::Slice(event)), keys(&[]));
        assert_eq!(addresses(&store, "a"), ["10.0.0.1", "10.0.0.2"]);
    }
    assert_eq!(store.observe(Observation::Slice(Event::InitDone)), keys(&["a"]));
    assert_eq!(addresses(&store, "a"), ["10.0.0.1", "10.0.0.9"]);
}

#[test]
fn a_list_of_services_is_taken_in_as_a_whole() {
    let mut store = Store::default();
    list(&mut store, &[service("a")], &[]);
    for event in [Event::Init, Event::InitApply(service("b")), Event::InitApply(service("c"))] {
        assert_eq!(store.observe(Observation::Service(event)), keys(&[]));
        assert_eq!(store.services().count(), 1);
    }
    assert_eq!(store.observe(Observation::Service(Event::InitDone)), keys(&["a", "b", "c"]));
    assert_eq!(store.services().count(), 2);
}

#[test]
fn a_list_that_starts_again_forgets_what_it_had() {
    let mut store = Store::default();
    list(&mut store, &[service("a")], &[slice("a-1", "a", "10.0.0.1")]);
    for event in [
        Event::Init,
        Event::InitApply(slice("a-1", "a", "10.0.0.8")),
        Event::InitApply(slice("a-2", "a", "10.0.0.9")),
        Event::Init,
        Event::InitApply(slice("a-1", "a", "10.0.0.1")),
    ] {
        assert_eq!(store.observe(Observation::Slice(event)), keys(&[]));
    }
    assert_eq!(store.observe(Observation::Slice(Event::InitDone)), keys(&[]));
    assert_eq!(addresses(&store, "a"), ["10.0.0.1"]);
}

#[test]
fn what_a_watch_says_during_a_list_is_not_lost() {
    let mut store = Store::default();
    let (a, b) = (slice("a-1", "a", "10.0.0.1"), slice("b-1", "b", "10.0.0.2"));
    list(&mut store, &[service("a"), service("b")], &[a.clone(), b.clone()]);
    for event in [
        Event::Init,
        Event::InitApply(a),
        Event::InitApply(b),
        Event::Apply(slice("a-1", "a", "10.0.0.7")),
        Event::Apply(slice("a-2", "a", "10.0.0.8")),
        Event::Delete(slice("b-1", "b", "10.0.0.2")),
    ] {
        assert_eq!(store.observe(Observation::Slice(event)), keys(&[]));
    }
    for event in [
        Event::Init,
        Event::InitApply(service("a")),
        Event::InitApply(service("b")),
        Event::Apply(service("c")),
        Event::Delete(service("b")),
    ] {
        assert_eq!(store.observe(Observation::Service(event)), keys(&[]));
    }
    assert_eq!(store.observe(Observation::Slice(Event::InitDone)), keys(&["a", "b"]));
    assert_eq!(store.observe(Observation::Service(Event::InitDone)), keys(&["b", "c"]));
    assert_eq!(addresses(&store, "a"), ["10.0.0.7", "10.0.0.8"]);
    assert_eq!(addresses(&store, "b"), [""; 0]);
    assert_eq!(store.services().count(), 2);
}

#[test]
fn a_slice_that_a_list_gives_to_another_service_leaves_the_first() {
    let mut store = Store::default();
    list(&mut store, &[service("a"), service("b")], &[slice("s", "a", "10.0.0.1")]);
    let changed = list(&mut store, &[service("a"), service("b")], &[slice("s", "b", "10.0.0.1")]);
    assert_eq!(changed, keys(&["a", "b"]));
    assert_eq!((slices(&store, "a"), slices(&store, "b")), (0, 1));
}

#[test]
fn an_object_that_makes_no_sense_stays_as_it_was_and_costs_no_other() {
    let mut store = Store::default();
    let (a, b) = (slice("a-1", "a", "10.0.0.1"), slice("b-1", "b", "10.0.0.2"));
    list(&mut store, &[service("a"), service("b")], &[a, b]);
    let mut no_service = service("b");
    no_service.spec = Field::Malformed;
    let mut no_slice = slice("b-1", "b", "10.0.0.8");
    no_slice.endpoints = Field::Malformed;
    assert_eq!(store.observe(Observation::Slice(Event::Apply(no_slice.clone()))), keys(&[]));
    assert_eq!(addresses(&store, "b"), ["10.0.0.2"]);
    let other = slice("a-1", "a", "10.0.0.3");
    let changed = list(&mut store, &[no_service, service("a")], &[no_slice.clone(), other]);
    assert_eq!(changed, keys(&["a"]));
    assert_eq!(addresses(&store, "a"), ["10.0.0.3"]);
    assert_eq!(addresses(&store, "b"), ["10.0.0.2"]);
    assert_eq!(store.services().count(), 2);
    assert_eq!(store.observe(Observation::Slice(Event::Delete(no_slice))), keys(&["b"]));
    assert_eq!(addresses(&store, "b"), [""; 0]);
}

/// What is ready of a Service with one port, in the order that upstream writes: create, update, delete.
#[test]
fn p03_an_endpoint_that_moves_between_slices_is_never_lost() {
    let mut store = Store::default();
    list(&mut store, &[service("a")], &[slice("a-1", "a", "10.0.0.1")]);
    for event in [
        Event::Apply(slice("a-2", "a", "10.0.0.1")),
        Event::Apply(slice("a-1", "a", "10.0.0.2")),
        Event::Delete(slice("a-1", "a", "10.0.0.2")),
    ] {
        store.observe(Observation::Slice(event));
        assert!(addresses(&store, "a").contains(&"10.0.0.1".to_owned()));
    }
    assert_eq!(store.services().count(), 1, "a slice is gone, and not its Service");
}

#[test]
fn p10_a_slice_whose_name_is_used_again_is_another_one() {
    let with_port = |mut slice: SliceObject, port: i32| {
        let port = json!([{"name": "http", "port": port}]);
        slice.ports = serde_json::from_value(port).unwrap();
        slice
    };
    let mut store = Store::default();
    list(&mut store, &[service("a")], &[with_port(slice("a-1", "a", "10.0.0.1"), 80)]);
    // Deleted and created; the watch was away meanwhile, and tells one change.
    let again = with_port(slice("a-1", "a", "10.0.0.9"), 81);
    assert_eq!(store.observe(Observation::Slice(Event::Apply(again))), keys(&["a"]));
    let Known::Known((_, slices)) = store.get(&ServiceKey::new("shop", "a")) else { panic!("not synced") };
    let [slice] = slices.as_slice() else { panic!("{slices:?}") };
    assert_eq!(slice.ports.iter().map(|port| port.port).collect::<Vec<_>>(), [Some(81)]);
    assert_eq!(addresses(&store, "a"), ["10.0.0.9"]);
}

#[test]
fn p26_a_slice_may_come_before_its_service_and_outlive_it() {
    let mut store = Store::default();
    list(&mut store, &[], &[]);
    let (a, there) = (service("a"), slice("a-1", "a", "10.0.0.1"));
    assert_eq!(store.observe(Observation::Slice(Event::Apply(there.clone()))), keys(&["a"]));
    let known = |store: &Store| match store.get(&ServiceKey::new("shop", "a")) {
        Known::Known((service, slices)) => (service.is_some(), slices.len()),
        Known::Unknown => panic!("not synced"),
    };
    assert_eq!(known(&store), (false, 1));
    assert_eq!(store.observe(Observation::Service(Event::Apply(a.clone()))), keys(&["a"]));
    assert_eq!(known(&store), (true, 1));
    assert_eq!(store.observe(Observation::Service(Event::Delete(a))), keys(&["a"]));
    assert_eq!(known(&store), (false, 1));
    store.observe(Observation::Slice(Event::Delete(there)));
    assert_eq!(known(&store), (false, 0));
}

#[test]
fn p29_the_time_of_the_last_trigger_is_no_news() {
    let triggered = |time: Option<&str>| {
        let mut object = slice("a-1", "a", "10.0.0.1");
        let time =
            time.map(|time| ("endpoints.kubernetes.io/last-change-trigger-time".to_owned(), time.to_owned()));
        object.metadata.known.annotations = Some(time.into_iter().collect());
        object
    };
    let mut store = Store::default();
    list(&mut store, &[service("a")], &[triggered(Some("2026-11-23T10:00:00Z"))]);
    for time in [None, Some("2026-11-23T10:00:01Z"), Some("2026-11-23T09:00:00Z")] {
        assert_eq!(store.observe(Observation::Slice(Event::Apply(triggered(time)))), keys(&[]));
    }
}

#[test]
fn a_node_is_news_for_services_with_node_ports_only() {
    let node = |ready: &str| -> NodeObject {
        serde_json::from_value(json!({
            "metadata": {"name": "n"}, "status": {"conditions": [{"type": "Ready", "status": ready}]},
        }))
        .unwrap()
    };
    let mut with_node_port = service("b");
    with_node_port.spec =
        serde_json::from_value(json!({"ports": [{"port": 80, "nodePort": 30080}]})).unwrap();
    let mut store = Store::with_nodes();
    list(&mut store, &[service("a"), with_node_port], &[]);
    assert!(!store.is_synced(), "nodes are not known yet");
    store.observe(Observation::Node(Event::Init));
    store.observe(Observation::Node(Event::InitApply(node("True"))));
    assert_eq!(store.observe(Observation::Node(Event::InitDone)), keys(&["a", "b"]));
    assert!(store.is_synced());
    assert_eq!(store.observe(Observation::Node(Event::Apply(node("True")))), keys(&[]));
    assert_eq!(store.observe(Observation::Node(Event::Apply(node("False")))), keys(&["b"]));
    assert_eq!(store.nodes().map(crate::model::Nodes::len), Some(1));
    assert_eq!(Store::default().nodes(), None);
}
