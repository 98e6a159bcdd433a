//! `status` and `scale`.

use axum::http::Method;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::cluster::{Cluster, object, quiet};

fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {
            "selector": {"matchLabels": {"app": "d"}},
            "template": {
                "metadata": {"labels": {"app": "d"}},
                "spec": {"containers": [{"name": "c", "image": "i"}]},
            },
        },
    })
}

const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/default/deployments/d";

#[tokio::test]
async fn status_and_the_rest_are_written_apart() {
    let cluster = Cluster::start(quiet()).await;
    let api: Api<Deployment> = cluster.api();
    let created = api.create(&PostParams::default(), &object(deployment())).await.unwrap();
    assert_eq!(created.metadata.generation, Some(1));
    let patch = Patch::Merge(json!({"spec": {"replicas": 7}, "status": {"replicas": 3}}));
    let after = api.patch_status("d", &PatchParams::default(), &patch).await.unwrap();
    assert_eq!(after.spec.unwrap().replicas, Some(1));
    assert_eq!(after.status.unwrap().replicas, Some(3));
    assert_eq!(after.metadata.generation, Some(1));
    let patch = Patch::Merge(json!({"spec": {"replicas": 7}, "status": {"replicas": 9}}));
    let after = api.patch("d", &PatchParams::default(), &patch).await.unwrap();
    assert_eq!(after.spec.unwrap().replicas, Some(7));
    assert_eq!(after.status.unwrap().replicas, Some(3));
    assert_eq!(after.metadata.generation, Some(2));
    // A replacement without a status does not remove it.
    let after = api.replace("d", &PostParams::default(), &object(deployment())).await.unwrap();
    assert_eq!(after.status.unwrap().replicas, Some(3));
}

#[tokio::test]
async fn a_status_write_heeds_the_resource_version() {
    let cluster = Cluster::start(quiet()).await;
    let api: Api<Service> = cluster.api();
    let service = json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}});
    let mut seen = api.create(&PostParams::default(), &object(service)).await.unwrap();
    let patch = Patch::Merge(json!({"metadata": {"labels": {"a": "b"}}}));
    api.patch("s", &PatchParams::default(), &patch).await.unwrap();
    seen.status = Some(object(json!({"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}]}})));
    let stale = api.replace_status("s", &PostParams::default(), &seen).await;
    assert_eq!(crate::cluster::refusal(stale), (409, "Conflict".to_owned()));
}

#[tokio::test]
async fn scale_reads_and_writes_the_replicas() {
    let cluster = Cluster::start(quiet()).await;
    let api: Api<Deployment> = cluster.api();
    api.create(&PostParams::default(), &object(deployment())).await.unwrap();
    let mut scale = api.get_scale("d").await.unwrap();
    assert_eq!(scale.spec.as_ref().unwrap().replicas, Some(1));
    assert_eq!(scale.status.as_ref().unwrap().selector.as_deref(), Some("app=d"));
    let old = scale.clone();
    scale.spec.as_mut().unwrap().replicas = Some(4);
    let after = api.replace_scale("d", &PostParams::default(), &scale).await.unwrap();
    assert_eq!(after.spec.unwrap().replicas, Some(4));
    let patch = Patch::Merge(json!({"spec": {"replicas": 5}}));
    api.patch_scale("d", &PatchParams::default(), &patch).await.unwrap();
    assert_eq!(api.get("d").await.unwrap().spec.unwrap().replicas, Some(5));
    let stale = api.replace_scale("d", &PostParams::default(), &old).await;
    assert_eq!(crate::cluster::refusal(stale), (409, "Conflict".to_owned()));
}

#[tokio::test]
async fn a_scale_that_makes_no_sense_is_refused() {
    let cluster = Cluster::start(quiet()).await;
    let api: Api<Deployment> = cluster.api();
    api.create(&PostParams::default(), &object(deployment())).await.unwrap();
    let path = format!("{DEPLOYMENT}/scale");
    let scale = |spec: Value| {
        let metadata = json!({"name": "d"});
        json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": metadata, "spec": spec})
    };
    for (body, expected) in [
        (scale(json!({"replicas": -1})), 422),
        (scale(json!({"replicas": "q"})), 400),
        (scale(json!({"replicas": 3_000_000_000_u64})), 400),
        (scale(json!("x")), 400),
        (json!(5), 400),
        (deployment(), 400),
        (json!({"kind": "Scale", "metadata": {"name": "d", "uid": "another"}}), 409),
        (json!({"kind": "Scale", "metadata": {"name": "other"}, "spec": {"replicas": 3}}), 400),
    ] {
        let (code, status) = cluster.json(Method::PUT, &path, &body).await;
        assert_eq!((code, &status["kind"]), (expected, &json!("Status")), "{body}: {status}");
    }
    assert_eq!(api.get("d").await.unwrap().spec.unwrap().replicas, Some(1));
    // No replicas are none, as Kubernetes reads it.
    let (code, after) = cluster.json(Method::PUT, &path, &scale(json!({}))).await;
    assert_eq!((code, &after["spec"]["replicas"]), (200, &json!(0)));
}

#[tokio::test]
async fn what_has_no_such_subresource_says_so() {
    let cluster = Cluster::start(quiet()).await;
    cluster.config("a", &json!({})).await;
    for path in ["configmaps/a/status", "configmaps/a/scale", "services/a/scale", "pods/a/exec"] {
        let (code, status) = cluster.get(&format!("/api/v1/namespaces/default/{path}")).await;
        assert_eq!((code, &status["reason"]), (404, &json!("NotFound")), "{path}");
    }
}
