//! Workloads through the API: pods start, end, and go with what owns them.

use std::time::Duration;

use axum::http::Method;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Service};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::wait::{await_condition, conditions};
use kube::{Api, ResourceExt};
use kube_dev::Options;
use serde_json::{Value, json};

use crate::cluster::{Cluster, object, prompt, quiet, within};

fn deployment(name: &str, replicas: u32) -> Deployment {
    object(json!({
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80}]}]},
            },
        },
    }))
}

fn pod(name: &str, metadata: Value) -> Pod {
    let mut pod = json!({"metadata": metadata, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    pod["metadata"]["name"] = name.into();
    object(pod)
}

async fn running(cluster: &Cluster, name: &str, replicas: i32) {
    let ready = move |d: Option<&Deployment>| {
        d.and_then(|d| d.status.as_ref()).and_then(|s| s.ready_replicas) == Some(replicas)
    };
    within(await_condition(cluster.api(), name, ready)).await.unwrap();
}

async fn gone<K>(api: Api<K>, name: &str, uid: &str)
where
    K: kube::Resource + Clone + std::fmt::Debug + Send + serde::de::DeserializeOwned + 'static,
    K::DynamicType: Default,
{
    within(await_condition(api, name, conditions::is_deleted(uid))).await.unwrap();
}

#[tokio::test]
async fn a_deployment_runs_the_pods_it_asks_for() {
    let cluster = Cluster::start(prompt()).await;
    let api: Api<Deployment> = cluster.api();
    api.create(&PostParams::default(), &deployment("web", 2)).await.unwrap();
    running(&cluster, "web", 2).await;
    let patch = Patch::Merge(json!({"spec": {"replicas": 3}}));
    api.patch_scale("web", &PatchParams::default(), &patch).await.unwrap();
    running(&cluster, "web", 3).await;
    let pods: Api<Pod> = cluster.api();
    let pods = pods.list(&ListParams::default().labels("app=web")).await.unwrap().items;
    let ips: std::collections::BTreeSet<_> =
        pods.iter().map(|pod| pod.status.clone().unwrap().pod_ip.unwrap()).collect();
    assert_eq!(ips.len(), pods.len());
}

#[tokio::test]
async fn a_pod_ends_gracefully_unless_told_to_end_at_once() {
    let cluster = Cluster::start(Options { pod_stop: Duration::from_secs(86_400), ..prompt() }).await;
    let api: Api<Pod> = cluster.api();
    api.create(&PostParams::default(), &pod("p", json!({}))).await.unwrap();
    within(await_condition(api.clone(), "p", conditions::is_pod_running())).await.unwrap();
    let marked = api.delete("p", &DeleteParams::default()).await.unwrap().left().unwrap();
    assert!(marked.metadata.deletion_timestamp.is_some());
    // A second delete changes nothing.
    let again = api.delete("p", &DeleteParams::default()).await.unwrap().left().unwrap();
    assert_eq!(again.resource_version(), marked.resource_version());
    assert!(api.get("p").await.unwrap().metadata.deletion_timestamp.is_some());
    api.delete("p", &DeleteParams::default().grace_period(0)).await.unwrap();
    assert!(api.get_opt("p").await.unwrap().is_none());
}

#[tokio::test]
async fn a_pod_that_was_given_its_time_is_gone_after_it() {
    let cluster = Cluster::start(prompt()).await;
    let api: Api<Pod> = cluster.api();
    let uid = api.create(&PostParams::default(), &pod("p", json!({}))).await.unwrap().uid().unwrap();
    api.delete("p", &DeleteParams::default()).await.unwrap();
    gone(api, "p", &uid).await;
}

/// No kubelet runs, so whoever takes the last finalizer away ends the pod.
#[tokio::test]
async fn without_workloads_a_pod_goes_with_its_last_finalizer() {
    let cluster = Cluster::start(quiet()).await;
    let api: Api<Pod> = cluster.api();
    api.create(&PostParams::default(), &pod("p", json!({"finalizers": ["test/hold"]}))).await.unwrap();
    api.delete("p", &DeleteParams::default()).await.unwrap();
    assert!(api.get("p").await.unwrap().metadata.deletion_timestamp.is_some());
    let release = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    api.patch("p", &PatchParams::default(), &release).await.unwrap();
    assert!(api.get_opt("p").await.unwrap().is_none());
}

#[tokio::test]
async fn nobody_creates_an_object_that_is_going_away_already() {
    let cluster = Cluster::start(quiet()).await;
    let api: Api<Pod> = cluster.api();
    let dying = pod("p", json!({"deletionTimestamp": "2026-01-01T00:00:00Z"}));
    let created = api.create(&PostParams::default(), &dying).await.unwrap();
    assert_eq!(created.metadata.deletion_timestamp, None);
}

#[tokio::test]
async fn what_a_deployment_owns_goes_with_it() {
    let cluster = Cluster::start(prompt()).await;
    let deployments: Api<Deployment> = cluster.api();
    let (sets, pods): (Api<ReplicaSet>, Api<Pod>) = (cluster.api(), cluster.api());
    let owner = deployments.create(&PostParams::default(), &deployment("web", 2)).await.unwrap();
    running(&cluster, "web", 2).await;
    let uid = owner.uid().unwrap();
    let by = |kind: &str, name: &str, uid: &str| {
        let owner = json!({"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": uid});
        json!({"ownerReferences": [owner]})
    };
    let mut set: ReplicaSet =
        object(json!({"metadata": by("Deployment", "web", &uid), "spec": {"selector": {}}}));
    set.metadata.name = Some("web-1".to_owned());
    let set = sets.create(&PostParams::default(), &set).await.unwrap();
    let set_uid = set.uid().unwrap();
    let grandchild = pod("web-1-x", by("ReplicaSet", "web-1", &set_uid));
    pods.create(&PostParams::default(), &grandchild).await.unwrap();
    let doomed = pods.list(&ListParams::default()).await.unwrap().items;
    assert_eq!(doomed.len(), 3);
    deployments.delete("web", &DeleteParams::default()).await.unwrap();
    gone(sets, "web-1", &set_uid).await;
    for pod in doomed {
        gone(pods.clone(), &pod.name_any(), &pod.uid().unwrap()).await;
    }
}

/// As for a pod that is deleted by hand: endpoints have time to leave.
#[tokio::test]
async fn pods_of_a_deleted_deployment_end_gracefully() {
    let cluster = Cluster::start(Options { pod_stop: Duration::from_secs(86_400), ..prompt() }).await;
    let deployments: Api<Deployment> = cluster.api();
    deployments.create(&PostParams::default(), &deployment("web", 1)).await.unwrap();
    running(&cluster, "web", 1).await;
    deployments.delete("web", &DeleteParams::default()).await.unwrap();
    let pods: Api<Pod> = cluster.api();
    let left = pods.list(&ListParams::default()).await.unwrap().items;
    assert_eq!(left.iter().map(|pod| pod.metadata.deletion_timestamp.is_some()).collect::<Vec<_>>(), [true]);
}

#[tokio::test]
async fn what_has_another_owner_stays_and_what_has_a_finalizer_waits() {
    let cluster = Cluster::start(quiet()).await;
    let api: Api<ConfigMap> = cluster.api();
    let mut references = Vec::new();
    for name in ["one", "two"] {
        cluster.config(name, &json!({})).await;
        let uid = api.get(name).await.unwrap().uid().unwrap();
        references.push(json!({"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid}));
    }
    let owned = |name: &str, owners: &[Value], finalizers: &[&str]| {
        object(json!({"metadata": {"name": name, "ownerReferences": owners, "finalizers": finalizers}}))
    };
    for config in [owned("both", &references, &[]), owned("held", &references[..1], &["test/hold"])] {
        api.create(&PostParams::default(), &config).await.unwrap();
    }
    api.delete("one", &DeleteParams::default()).await.unwrap();
    assert!(api.get_opt("both").await.unwrap().is_some());
    assert!(api.get("held").await.unwrap().metadata.deletion_timestamp.is_some());
    api.delete("two", &DeleteParams::default()).await.unwrap();
    assert!(api.get_opt("both").await.unwrap().is_none());
}

#[tokio::test]
async fn a_namespace_takes_its_objects_along() {
    let cluster = Cluster::start(quiet()).await;
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    for name in ["shop", "shop-a"] {
        let namespace = object(json!({"metadata": {"name": name}}));
        namespaces.create(&PostParams::default(), &namespace).await.unwrap();
        let configs: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), name);
        let config = object(json!({"metadata": {"name": "a"}}));
        configs.create(&PostParams::default(), &config).await.unwrap();
        let services: Api<Service> = Api::namespaced(cluster.client.clone(), name);
        let service = object(json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}}));
        services.create(&PostParams::default(), &service).await.unwrap();
    }
    namespaces.delete("shop", &DeleteParams::default()).await.unwrap();
    let place = |meta: &kube::core::ObjectMeta| meta.namespace.clone().unwrap();
    let configs: Api<ConfigMap> = Api::all(cluster.client.clone());
    let left = configs.list(&ListParams::default()).await.unwrap();
    assert_eq!(left.items.iter().map(|c| place(&c.metadata)).collect::<Vec<_>>(), ["shop-a"]);
    let services: Api<Service> = Api::all(cluster.client.clone());
    let left = services.list(&ListParams::default()).await.unwrap();
    assert_eq!(left.items.iter().map(|s| place(&s.metadata)).collect::<Vec<_>>(), ["shop-a"]);
}

/// A pod's name has its Deployment's in front, and this one has no room left for more.
#[tokio::test]
async fn an_object_that_cannot_be_run_does_not_stop_the_others() {
    let cluster = Cluster::start(prompt()).await;
    let deployments: Api<Deployment> = cluster.api();
    let (bad, good) = (deployment(&"a".repeat(253), 1), deployment("web", 1));
    // A label of 253 letters would be refused; the name is what matters here.
    let bad = Deployment { spec: good.spec.clone(), ..bad };
    deployments.create(&PostParams::default(), &bad).await.unwrap();
    deployments.create(&PostParams::default(), &good).await.unwrap();
    running(&cluster, "web", 1).await;
}

#[tokio::test]
async fn a_deployment_gets_no_more_pods_than_the_cluster_takes() {
    let cluster = Cluster::start(Options { pod_limit: 5, ..prompt() }).await;
    let deployments: Api<Deployment> = cluster.api();
    deployments.create(&PostParams::default(), &deployment("web", 1_000_000_000)).await.unwrap();
    running(&cluster, "web", 5).await;
    let (_, pods) = cluster.send(Method::GET, "/api/v1/pods", "application/json", "").await;
    assert_eq!(pods["items"].as_array().unwrap().len(), 5);
}
