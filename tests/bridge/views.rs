//! Services that ask for more than ready pods: a time to drain, and other addresses.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use zoobridge::config::Config;
use zoobridge::local::Local;

use crate::world::{DIRECTORY, World, leaves, session, until, within};

const LEAF: &str = "10.0.0.1:8080";

async fn conditions(world: &World, conditions: Value) {
    let api: Api<EndpointSlice> = Api::default_namespaced(world.local.client.clone());
    let endpoints = json!([
        {"addresses": ["10.0.0.1"], "conditions": conditions}, {"addresses": ["10.0.0.2"], "conditions": {"ready": true}},
    ]);
    let patch = Patch::Merge(json!({"endpoints": endpoints}));
    api.patch("orders-1", &PatchParams::default(), &patch).await.unwrap();
}

async fn data(world: &World) -> Option<String> {
    let data = world.eye.get(&format!("{DIRECTORY}/{LEAF}")).await.unwrap();
    data.map(|(data, _)| String::from_utf8(data.to_vec()).unwrap())
}

async fn until_data(world: &World, part: &str) -> Instant {
    within(async {
        while !data(world).await.is_some_and(|data| data.contains(part)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Instant::now()
    })
    .await
}

#[tokio::test]
async fn an_endpoint_that_terminates_is_marked_for_its_grace_and_meanwhile_nothing_is_written() {
    let world = World::new().await;
    world.service("orders", &[("curator", ""), ("drain", "disable"), ("drain-grace", "2s")]).await;
    world.slice("orders", &[1, 2]).await;
    world.until(DIRECTORY, &[LEAF, "10.0.0.2:8080"]).await;
    let before = data(&world).await.unwrap();
    conditions(&world, json!({"ready": false, "serving": true, "terminating": true})).await;
    let marked = until_data(&world, "\"enabled\":false").await;
    let zxid = world.marker("/before").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.marker("/behind").await.0, zxid.0 + 1, "only the marker was written");
    world.until(DIRECTORY, &["10.0.0.2:8080"]).await;
    let lasted = marked.elapsed();
    assert!((Duration::from_millis(1_500)..Duration::from_secs(4)).contains(&lasted), "{lasted:?}");
    // It is gone, and nobody brings it back while it still terminates.
    world.slice("orders-a", &[1]).await;
    world.service("orders-a", &[("curator", "")]).await;
    world.until("/services/orders-a", &[LEAF]).await;
    assert_eq!(world.leaves(DIRECTORY).await, ["10.0.0.2:8080"]);
    // A new pod has the address.
    conditions(&world, json!({"ready": true})).await;
    world.until(DIRECTORY, &[LEAF, "10.0.0.2:8080"]).await;
    assert_eq!(data(&world).await, Some(before));
    // One that stops serving goes at once.
    conditions(&world, json!({"ready": false, "serving": true, "terminating": true})).await;
    let marked = until_data(&world, "\"enabled\":false").await;
    conditions(&world, json!({"ready": false, "serving": false, "terminating": true})).await;
    world.until(DIRECTORY, &["10.0.0.2:8080"]).await;
    assert!(marked.elapsed() < Duration::from_millis(1_500));
    world.local.stop().await.unwrap();
}

#[tokio::test]
async fn one_service_is_seen_at_its_pods_and_at_nodes_that_are_ready() {
    let dir = tempfile::tempdir().unwrap();
    let options = kube_dev::Options { workloads: false, ..kube_dev::Options::default() };
    let config = Config::parse(
        "{cluster: test, zookeeper: {connect: replaced, sessionTimeout: 4s}, rules: [\
         {formats: [curator], names: ['*'], addresses: [custom]}, {formats: [hostport], names: ['*'], addresses: [node]}]}",
    )
    .unwrap();
    let local = Local::start(dir.path(), options, config).await.unwrap();
    let eye = session(local.zookeeper()).await;
    let nodes: Api<Node> = Api::all(local.client.clone());
    let condition = |ready: &str| json!([{"type": "Ready", "status": ready}]);
    for (name, ip) in [("n-1", "192.168.0.1"), ("n-2", "192.168.0.2")] {
        let status =
            json!({"addresses": [{"type": "InternalIP", "address": ip}], "conditions": condition("True")});
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}});
        nodes.create(&PostParams::default(), &serde_json::from_value(node).unwrap()).await.unwrap();
        let patch = Patch::Merge(json!({"status": status}));
        nodes.patch_status(name, &PatchParams::default(), &patch).await.unwrap();
    }
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "orders", "annotations": {
            "zoobridge.io/curator": "", "zoobridge.io/hostport": "outside", "zoobridge.io/hostport-address": "node",
        }},
        "spec": {"type": "NodePort", "ports": [{"name": "http", "port": 80, "nodePort": 30080}]},
    });
    let services: Api<Service> = Api::default_namespaced(local.client.clone());
    services.create(&PostParams::default(), &serde_json::from_value(service).unwrap()).await.unwrap();
    crate::world::slice(&local.client, "orders", &[1]).await;
    let outside = "/hosts/outside";
    until(&eye, DIRECTORY, &[LEAF]).await;
    until(&eye, outside, &["192.168.0.1:30080", "192.168.0.2:30080"]).await;
    let patch = Patch::Merge(json!({"status": {"conditions": condition("Unknown")}}));
    nodes.patch_status("n-1", &PatchParams::default(), &patch).await.unwrap();
    until(&eye, outside, &["192.168.0.2:30080"]).await;
    // Nothing is behind the node port any more.
    crate::world::slice(&local.client, "orders", &[]).await;
    until(&eye, outside, &[]).await;
    assert_eq!(leaves(&eye, DIRECTORY).await, [""; 0]);
    local.stop().await.unwrap();
}

/// Curator twice: pods for inside, the balancer for outside, which has a name. Then the Service becomes an alias and is
/// one no more, and a consumer never finds nothing.
#[tokio::test]
async fn one_format_has_two_views_and_the_service_changes_its_type() {
    const OUTSIDE: &str = "/services/orders-ext";
    let dir = tempfile::tempdir().unwrap();
    let options = kube_dev::Options { workloads: false, ..kube_dev::Options::default() };
    let config = Config::parse(
        "{cluster: test, zookeeper: {connect: replaced, sessionTimeout: 4s}, rules: [\
         {formats: [curator], names: [orders], addresses: [pod, custom, external-name]}, \
         {formats: [curator], names: [orders-ext], addresses: [load-balancer]}]}",
    )
    .unwrap();
    let local = Local::start(dir.path(), options, config).await.unwrap();
    let eye = session(local.zookeeper()).await;
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "orders", "annotations": {
            "zoobridge.io/curator": "", "zoobridge.io/outside.curator": "orders-ext",
            "zoobridge.io/outside.address": "load-balancer",
        }},
        "spec": {"type": "LoadBalancer", "selector": {"app": "orders"}, "ports": [{"name": "http", "port": 80}]},
    });
    let services: Api<Service> = Api::default_namespaced(local.client.clone());
    services.create(&PostParams::default(), &serde_json::from_value(service).unwrap()).await.unwrap();
    crate::world::slice(&local.client, "orders", &[1]).await;
    until(&eye, DIRECTORY, &[LEAF]).await;
    assert_eq!(leaves(&eye, OUTSIDE).await, [""; 0], "it has no balancer yet");
    let status = json!({"loadBalancer": {"ingress": [{"hostname": "orders.lb.example"}]}});
    let patch = Patch::Merge(json!({"status": status}));
    services.patch_status("orders", &PatchParams::default(), &patch).await.unwrap();
    until(&eye, OUTSIDE, &["orders.lb.example:80"]).await;
    crate::world::slice(&local.client, "orders", &[]).await;
    until(&eye, OUTSIDE, &[]).await;
    crate::world::slice(&local.client, "orders", &[1]).await;
    until(&eye, OUTSIDE, &["orders.lb.example:80"]).await;

    // Somebody looks all the time.
    let watched = session(local.zookeeper()).await;
    let seen = tokio::spawn(async move {
        let mut seen = Vec::new();
        while !seen.ends_with(&[vec!["10.0.0.2:8080".to_owned()]]) {
            let mut now = leaves(&watched, DIRECTORY).await;
            now.sort();
            if seen.last() != Some(&now) {
                seen.push(now);
            }
        }
        seen
    });
    let external = json!({
        "type": "ExternalName", "externalName": "orders.example", "clusterIP": null, "clusterIPs": null,
    });
    services
        .patch("orders", &PatchParams::default(), &Patch::Merge(json!({"spec": external})))
        .await
        .unwrap();
    until(&eye, DIRECTORY, &["orders.example:80"]).await;
    until(&eye, OUTSIDE, &[]).await;
    let slices: Api<EndpointSlice> = Api::default_namespaced(local.client.clone());
    slices.delete("orders-1", &kube::api::DeleteParams::default()).await.unwrap();
    let cluster_ip = json!({"spec": {"type": "ClusterIP", "externalName": null}});
    services.patch("orders", &PatchParams::default(), &Patch::Merge(cluster_ip)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(leaves(&eye, DIRECTORY).await, ["orders.example:80"], "nobody knows yet what is ready");
    crate::world::slice(&local.client, "orders", &[2]).await;
    let seen = within(seen).await.unwrap();
    assert!(seen.iter().all(|now| !now.is_empty()), "{seen:?}");
    local.stop().await.unwrap();
}

#[tokio::test]
async fn what_no_rule_grants_is_told_by_the_kind_of_its_address() {
    let world = World::new().await;
    world.service("orders", &[("curator", ""), ("address", "cluster-ip")]).await;
    world.slice("orders", &[1]).await;
    world.event_about("orders", "AddressNotGranted", "cluster-ip").await;
    assert_eq!(world.leaves(DIRECTORY).await, [""; 0]);
    world.annotate("orders", "address", Some("nonsense")).await;
    world.event_about("orders", "BadAnnotation", "load-balancer").await;
    world.annotate("orders", "address", None).await;
    world.until(DIRECTORY, &[LEAF]).await;
    world.local.stop().await.unwrap();
}
