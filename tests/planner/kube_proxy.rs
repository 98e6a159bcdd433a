//! The planner against a model of kube-proxy.
//!
//! The model is written from what kube-proxy does (`pkg/proxy/endpointslicecache.go`, `endpointschangetracker.go` and
//! `topology.go` of Kubernetes 1.35) and reads the API's own types, so that it shares nothing with the planner: neither
//! how objects are decoded, nor how they are kept, nor how they are joined. There is one for each family, as there is
//! one proxy for each.
//!
//! kube-proxy itself leaves open which of two entries counts that have one address and port and do not terminate. Where
//! they differ the planner may take either.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use k8s_openapi::api::discovery::v1::{EndpointConditions, EndpointSlice};
use kube::runtime::watcher::Event;
use proptest::prelude::*;
use serde_json::{Value, json};
use zoobridge::format::Format;
use zoobridge::model::{Known, ServiceKey, ZnodePath};
use zoobridge::observe::{Observation, Store};
use zoobridge::plan::{Beside, Drains, Given, Roots, Rules, desired};

/// What kube-proxy knows of the slices of all Services.
#[derive(Default)]
struct Proxy {
    /// By Service, then by slice.
    slices: BTreeMap<String, BTreeMap<String, EndpointSlice>>,
}

/// What may be the conditions of one endpoint: ready, serving, terminating.
type Possible = BTreeSet<(bool, bool, bool)>;

impl Proxy {
    fn service_of(slice: &EndpointSlice) -> Option<String> {
        slice.metadata.labels.as_ref()?.get("kubernetes.io/service-name").cloned()
    }

    /// A changed label is a change of both Services: the informer's handler is told of the old object too.
    fn apply(&mut self, slice: EndpointSlice) {
        let name = slice.metadata.name.clone().unwrap();
        self.slices.values_mut().for_each(|slices| drop(slices.remove(&name)));
        if let Some(service) = Self::service_of(&slice) {
            self.slices.entry(service).or_default().insert(name, slice);
        }
    }

    fn delete(&mut self, name: &str) {
        self.slices.values_mut().for_each(|slices| drop(slices.remove(name)));
    }

    fn endpoints(&self, service: &str, port_name: &str, address_type: &str) -> BTreeMap<String, Possible> {
        let mut entries: BTreeMap<String, Possible> = BTreeMap::new();
        let slices = self.slices.get(service).into_iter().flat_map(BTreeMap::values);
        for slice in slices.filter(|slice| slice.address_type == address_type) {
            for port in slice.ports.iter().flatten() {
                let is_it = port.name.as_deref().unwrap_or_default() == port_name
                    && port.protocol.as_deref().unwrap_or("TCP") == "TCP";
                let Some(number) = port.port.filter(|number| is_it && *number != 0) else { continue };
                for endpoint in &slice.endpoints {
                    let EndpointConditions { ready, serving, terminating } =
                        endpoint.conditions.clone().unwrap_or_default();
                    let conditions =
                        (ready.unwrap_or(true), serving.unwrap_or(true), terminating.unwrap_or(false));
                    let Some(address) = endpoint.addresses.first() else { continue };
                    let address = SocketAddr::new(address.parse().unwrap(), u16::try_from(number).unwrap());
                    entries.entry(address.to_string()).or_default().insert(conditions);
                }
            }
        }
        for possible in entries.values_mut() {
            if possible.iter().any(|(.., terminating)| !terminating) {
                possible.retain(|(.., terminating)| !terminating);
            }
        }
        entries
    }
}

/// What is certain and what is possible.
struct Bounds {
    must: BTreeSet<String>,
    may: BTreeSet<String>,
}

fn bounds(endpoints: &BTreeMap<String, Possible>, is: impl Fn(&(bool, bool, bool)) -> bool) -> Bounds {
    let having = |those: &dyn Fn(&Possible) -> bool| -> BTreeSet<String> {
        endpoints.iter().filter(|(_, possible)| those(possible)).map(|(address, _)| address.clone()).collect()
    };
    Bounds {
        must: having(&|possible| possible.iter().all(&is)),
        may: having(&|possible| possible.iter().any(&is)),
    }
}

/// Where a proxy of one family sends calls: to what is ready, else to what terminates and still serves.
fn usable(endpoints: &BTreeMap<String, Possible>) -> Option<Bounds> {
    let ready = bounds(endpoints, |(ready, ..)| *ready);
    if !ready.must.is_empty() {
        return Some(ready);
    }
    // Is anything ready? That is not certain.
    let fall_back = bounds(endpoints, |(_, serving, terminating)| *serving && *terminating);
    ready.may.is_empty().then_some(fall_back)
}

/// Something that the API server says.
#[derive(Debug, Clone)]
enum Word {
    Apply(Value),
    Delete(&'static str),
    /// A new list of all that there is.
    List,
}

const NAMES: [&str; 5] = ["orders-a", "orders-b", "orders-c", "x", "y"];

fn condition() -> impl Strategy<Value = Value> {
    prop_oneof![Just(json!(null)), Just(json!(true)), Just(json!(false))]
}

/// Addresses are few, so that they clash.
fn endpoint(address_type: &'static str) -> impl Strategy<Value = Value> {
    let address = (1u8..6).prop_map(move |last| match address_type {
        "IPv4" => format!("10.0.0.{last}"),
        _ => format!("fd00::{last}"),
    });
    (prop::collection::vec(address, 1..3), condition(), condition(), condition(), any::<bool>()).prop_map(
        |(mut addresses, ready, serving, terminating, has_conditions)| {
            addresses.dedup();
            let conditions = json!({"ready": ready, "serving": serving, "terminating": terminating});
            let conditions = if has_conditions { conditions } else { json!(null) };
            json!({
                "addresses": addresses, "conditions": conditions, "nodeName": null, "zone": "a",
                "hints": {"forZones": [{"name": "b"}]},
            })
        },
    )
}

fn ports() -> impl Strategy<Value = Value> {
    let port =
        |name: Value, port: Value, protocol: Value| json!({"name": name, "port": port, "protocol": protocol});
    let http = prop_oneof![
        Just(port(json!("http"), json!(8080), json!("TCP"))),
        Just(port(json!("http"), json!(8081), json!("TCP"))),
        Just(port(json!("http"), json!(null), json!("TCP"))),
        Just(port(json!("http"), json!(8080), json!("UDP"))),
        Just(port(json!(""), json!(8080), json!("TCP"))),
    ];
    let admin = port(json!("admin"), json!(9090), json!("TCP"));
    (prop::collection::vec(http, 0..2), any::<bool>()).prop_map(move |(mut ports, has_admin)| {
        ports.extend(has_admin.then(|| admin.clone()));
        json!(ports)
    })
}

fn word() -> impl Strategy<Value = Word> {
    let slice = prop_oneof![Just("IPv4"), Just("IPv6")].prop_flat_map(|address_type| {
        let endpoints = prop::collection::vec(endpoint(address_type), 0..5);
        let service = prop_oneof![6 => Just("orders"), 1 => Just("others")];
        let manager = prop_oneof![
            Just(json!("endpointslice-controller.k8s.io")),
            Just(json!("endpointslicemirroring-controller.k8s.io")),
            Just(json!("somebody")),
        ];
        (prop::sample::select(&NAMES[..]), service, manager, endpoints, ports()).prop_map(
            move |(name, service, manager, endpoints, ports)| {
                Word::Apply(json!({
                    "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": address_type,
                    "metadata": {
                        "name": name, "namespace": "shop",
                        "labels": {
                            "kubernetes.io/service-name": service,
                            "endpointslice.kubernetes.io/managed-by": manager,
                        },
                    },
                    "endpoints": endpoints, "ports": ports,
                }))
            },
        )
    });
    prop_oneof![6 => slice, 2 => prop::sample::select(&NAMES[..]).prop_map(Word::Delete), 1 => Just(Word::List)]
}

/// What the bridge has heard, and what the API server has.
#[derive(Default)]
struct Heard {
    store: Store,
    there: BTreeMap<String, Value>,
    proxy: Proxy,
}

impl Heard {
    fn new() -> Heard {
        let mut heard = Heard::default();
        let service = serde_json::from_value(json!({
            "metadata": {"name": "orders", "namespace": "shop", "annotations": {
                "zoobridge.io/port": "http",
            }},
            "spec": {
                "ports": [{"name": "http", "port": 80}, {"name": "admin", "port": 81}],
                "selector": {"app": "orders"}, "ipFamilies": ["IPv4", "IPv6"],
                "clusterIPs": ["10.96.0.1", "fd02::1"],
            },
        }));
        for event in [Event::Init, Event::InitApply(service.unwrap()), Event::InitDone] {
            heard.store.observe(Observation::Service(event));
        }
        heard.list();
        heard
    }

    fn list(&mut self) {
        self.observe(Event::Init);
        for slice in self.there.values().cloned().collect::<Vec<_>>() {
            self.observe(Event::InitApply(slice));
        }
        self.observe(Event::InitDone);
    }

    fn observe(&mut self, event: Event<Value>) {
        let read = |value| serde_json::from_value(value).unwrap();
        let event = match event {
            Event::Init => Event::Init,
            Event::InitDone => Event::InitDone,
            Event::InitApply(value) => Event::InitApply(read(value)),
            Event::Apply(value) => Event::Apply(read(value)),
            Event::Delete(value) => Event::Delete(read(value)),
        };
        self.store.observe(Observation::Slice(event));
    }

    fn hear(&mut self, word: &Word) {
        match word {
            Word::Apply(slice) => {
                self.there.insert(slice["metadata"]["name"].as_str().unwrap().to_owned(), slice.clone());
                self.proxy.apply(serde_json::from_value(slice.clone()).unwrap());
                self.observe(Event::Apply(slice.clone()));
            }
            Word::Delete(name) => {
                if let Some(slice) = self.there.remove(*name) {
                    self.proxy.delete(name);
                    self.observe(Event::Delete(slice));
                }
            }
            Word::List => self.list(),
        }
    }

    /// The addresses that are published, by view: each family by itself, as Kubernetes calls ready, and both, as the
    /// proxies of both call them; and, of another kind, the Service's own.
    fn published(&mut self) -> [BTreeSet<String>; 4] {
        const VIEWS: [(&str, &[(&str, &str)]); 4] = [
            ("", &[("families", "ipv4")]),
            ("six.", &[("families", "ipv6")]),
            ("proxies.", &[("families", "both"), ("readiness", "proxy")]),
            ("own.", &[("address", "cluster-ip"), ("families", "both"), ("readiness", "proxy")]),
        ];
        let rules: Rules = serde_saphyr::from_str(
            "[{formats: [hostport], names: ['*'], addresses: [pod, custom, cluster-ip]}]",
        )
        .unwrap();
        let roots = Roots([(Format::Hostport, ZnodePath::new("/hosts").unwrap())].into());
        let Known::Known((service, slices)) = self.store.get(&ServiceKey::new("shop", "orders")) else {
            panic!("not synced")
        };
        let mut service = service.unwrap().clone();
        for (view, wishes) in VIEWS {
            let directory = [("hostport", view.trim_end_matches('.'))];
            for (name, value) in wishes.iter().chain(&directory) {
                service.annotations.insert(format!("{view}{name}"), (*value).to_owned());
            }
        }
        let given = Given {
            rules: &rules,
            roots: &roots,
            nodes: None,
            draining: &Drains::new(),
            now: Duration::ZERO,
            is_there: &|_| false,
            beside: &|_| Beside::nobody(),
        };
        let desired = desired(Some(&service), slices.iter().copied(), &given);
        VIEWS.map(|(view, _)| {
            let name = if view.is_empty() { "orders" } else { view.trim_end_matches('.') };
            let directory = ZnodePath::new(&format!("/hosts/{name}")).unwrap();
            let here = desired.leaves.keys().filter(|path| path.is_below(&directory));
            here.map(|path| path.name().to_owned()).collect()
        })
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// After every word of the API server the planner publishes what kube-proxy calls, over both families.
    #[test]
    fn the_planner_publishes_what_kube_proxy_calls(words in prop::collection::vec(word(), 1..20)) {
        let mut heard = Heard::new();
        for word in &words {
            heard.hear(word);
            let of = |address_type| heard.proxy.endpoints("orders", "http", address_type);
            let families = [of("IPv4"), of("IPv6")];
            let ready: Vec<_> = families.iter().map(|family| bounds(family, |(ready, ..)| *ready)).collect();
            let usable: Vec<_> = families.iter().map(usable).collect();

            let [four, six, proxies, own] = heard.published();
            for (published, Bounds { must, may }) in [four, six].iter().zip(&ready) {
                prop_assert!(must.is_subset(published) && published.is_subset(may), "{published:?}");
            }
            for (is_ipv4, bounds) in [true, false].into_iter().zip(&usable) {
                let Some(Bounds { must, may }) = bounds else { continue };
                let of_family = |address: &&String| address.parse::<SocketAddr>().unwrap().is_ipv4() == is_ipv4;
                let published: BTreeSet<_> = proxies.iter().filter(of_family).cloned().collect();
                prop_assert!(must.is_subset(&published) && published.is_subset(may), "{published:?}");
                // A proxy answers at the Service's address if it has somewhere to send a call.
                let answers = own.iter().filter(of_family).count();
                prop_assert!(answers <= usize::from(!may.is_empty()) && answers >= usize::from(!must.is_empty()));
            }
        }
    }
}

/// The model is no mirror: each rule that it has makes a difference that this notices.
#[test]
fn the_model_has_kube_proxys_rules() {
    let slice = |name: &str, endpoints: Value| {
        serde_json::from_value(json!({
            "metadata": {"name": name, "labels": {"kubernetes.io/service-name": "orders"}}, "addressType": "IPv4",
            "ports": [{"name": "http", "port": 80, "protocol": "TCP"}], "endpoints": endpoints,
        }))
        .unwrap()
    };
    let endpoint = |ready: Value, serving: Value, terminating: Value| json!({"addresses": ["10.0.0.1"], "conditions": {"ready": ready, "serving": serving, "terminating": terminating}});
    let (going, new) =
        (endpoint(json!(false), json!(true), json!(true)), endpoint(json!(null), json!(null), json!(null)));
    let mut proxy = Proxy::default();
    let called = |proxy: &Proxy| usable(&proxy.endpoints("orders", "http", "IPv4")).unwrap().must.len();
    assert_eq!(called(&proxy), 0);
    proxy.apply(slice("a", json!([going])));
    assert_eq!(called(&proxy), 1, "nothing is ready, and it still serves");
    proxy.apply(slice("a", json!([endpoint(json!(false), json!(false), json!(true))])));
    assert_eq!(called(&proxy), 0);
    proxy.apply(slice("b", json!([new])));
    assert_eq!(proxy.endpoints("orders", "http", "IPv4")["10.0.0.1:80"], [(true, true, false)].into());
    proxy.delete("b");
    assert_eq!(called(&proxy), 0);
}
