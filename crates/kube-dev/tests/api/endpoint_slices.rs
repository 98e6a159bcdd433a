//! EndpointSlices of Services with a selector.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::{DeleteParams, ListParams, PostParams};
use serde_json::{Value, json};

use crate::cluster::{Cluster, object, prompt};

const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";

async fn pod(cluster: &Cluster, name: &str) {
    let api: Api<Pod> = cluster.api();
    let pod = json!({
        "metadata": {"name": name, "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    });
    api.create(&PostParams::default(), &object(pod)).await.unwrap();
}

async fn service(cluster: &Cluster, name: &str) {
    let api: Api<Service> = cluster.api();
    let service = json!({
        "metadata": {"name": name}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
    });
    api.create(&PostParams::default(), &object(service)).await.unwrap();
}

/// The pods of a slice that are ready.
fn ready(slice: &Value) -> BTreeSet<String> {
    let endpoints = slice["endpoints"].as_array().into_iter().flatten();
    endpoints
        .filter(|endpoint| endpoint["conditions"]["ready"] == true)
        .map(|endpoint| endpoint["targetRef"]["name"].as_str().unwrap().to_owned())
        .collect()
}

/// Slices as a watch has shown them.
#[derive(Default)]
struct Seen(BTreeMap<String, BTreeSet<String>>);

impl Seen {
    fn take(&mut self, (what, slice): (String, Value)) {
        let name = slice["metadata"]["name"].as_str().unwrap().to_owned();
        match what.as_str() {
            "DELETED" => self.0.remove(&name),
            _ => self.0.insert(name, ready(&slice)),
        };
    }

    fn pods(&self) -> BTreeSet<String> {
        self.0.values().flatten().cloned().collect()
    }
}

#[tokio::test]
async fn an_endpoint_is_always_in_some_slice_whatever_comes_and_goes_beside_it() {
    let cluster = Cluster::start(prompt()).await;
    let names: Vec<_> = (0..205).map(|n| format!("p-{n:03}")).collect();
    for name in &names {
        pod(&cluster, name).await;
    }
    service(&cluster, "web").await;
    let mut watch = cluster.watch(&format!("{SLICES}?watch=1")).await;
    let mut seen = Seen::default();
    while seen.pods().len() < names.len() {
        seen.take(watch.next().await);
    }
    assert_eq!(seen.0.values().map(BTreeSet::len).collect::<Vec<_>>(), [100, 100, 5]);
    let staying: BTreeSet<_> = names.iter().filter(|name| *name != "p-050").cloned().collect();

    // Its name comes first, and all slices but the last are full.
    pod(&cluster, "a-first").await;
    while !seen.pods().contains("a-first") {
        seen.take(watch.next().await);
        assert!(seen.pods().is_superset(&staying), "after a pod came");
    }
    // The room of one that went is for the next that comes.
    let api: Api<Pod> = cluster.api();
    api.delete("p-050", &DeleteParams::default()).await.unwrap();
    while seen.pods().contains("p-050") {
        seen.take(watch.next().await);
        assert!(seen.pods().is_superset(&staying), "after a pod went");
    }
    pod(&cluster, "b-next").await;
    while !seen.pods().contains("b-next") {
        seen.take(watch.next().await);
        assert!(seen.pods().is_superset(&staying), "after another pod came");
    }
    assert_eq!(seen.0.values().map(BTreeSet::len).collect::<Vec<_>>(), [100, 100, 6]);
}

#[tokio::test]
async fn a_slice_name_that_somebody_took_is_left_to_them() {
    let cluster = Cluster::start(prompt()).await;
    let api: Api<EndpointSlice> = cluster.api();
    let foreign: EndpointSlice = object(json!({
        "metadata": {"name": "web-0"}, "addressType": "IPv4",
        "endpoints": [{"addresses": ["192.0.2.1"]}], "ports": [],
    }));
    let foreign = api.create(&PostParams::default(), &foreign).await.unwrap();
    service(&cluster, "web").await;
    service(&cluster, "zzz").await;
    pod(&cluster, "p").await;
    let mut watch = cluster.watch(&format!("{SLICES}?watch=1")).await;
    let mut of: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let both: BTreeSet<_> = ["p".to_owned()].into();
    while of.get("web") != Some(&both) || of.get("zzz") != Some(&both) {
        let (_, slice) = watch.next().await;
        if let Some(service) = slice["metadata"]["labels"]["kubernetes.io/service-name"].as_str() {
            of.insert(service.to_owned(), ready(&slice));
        }
    }
    assert_eq!(api.get("web-0").await.unwrap(), foreign);
}

/// A bridge may hang slices of its own on a Service; the controller knows its own by their label.
#[tokio::test]
async fn a_slice_of_another_manager_is_left_alone_although_the_service_owns_it() {
    let cluster = Cluster::start(prompt()).await;
    let services: Api<Service> = cluster.api();
    service(&cluster, "web").await;
    let uid = services.get("web").await.unwrap().metadata.uid.unwrap();
    let api: Api<EndpointSlice> = cluster.api();
    let foreign: EndpointSlice = object(json!({
        "metadata": {
            "name": "mine",
            "labels": {"kubernetes.io/service-name": "web", "endpointslice.kubernetes.io/managed-by": "test"},
            "ownerReferences": [{"apiVersion": "v1", "kind": "Service", "name": "web", "uid": uid}],
        },
        "addressType": "IPv4", "endpoints": [{"addresses": ["192.0.2.1"]}], "ports": [],
    }));
    let foreign = api.create(&PostParams::default(), &foreign).await.unwrap();
    pod(&cluster, "p").await;
    let mut watch = cluster.watch(&format!("{SLICES}?watch=1")).await;
    while !ready(&watch.next().await.1).contains("p") {}
    assert_eq!(api.get("mine").await.unwrap(), foreign);
}

#[tokio::test]
async fn a_service_without_pods_has_one_empty_slice() {
    let cluster = Cluster::start(prompt()).await;
    service(&cluster, "web").await;
    let mut watch = cluster.watch(&format!("{SLICES}?watch=1")).await;
    let (what, slice) = watch.next().await;
    assert_eq!((what.as_str(), &slice["endpoints"]), ("ADDED", &json!([])));
    pod(&cluster, "p").await;
    while ready(&watch.next().await.1).is_empty() {}
    let api: Api<Pod> = cluster.api();
    api.delete("p", &DeleteParams::default().grace_period(0)).await.unwrap();
    while !ready(&watch.next().await.1).is_empty() {}
    let slices: Api<EndpointSlice> = cluster.api();
    assert_eq!(slices.list(&ListParams::default()).await.unwrap().items.len(), 1);
}
