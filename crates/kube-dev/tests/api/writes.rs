//! Creating, replacing and deleting: optimistic concurrency, preconditions, what the server fills in.

use axum::http::Method;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, ListParams, PostParams, Preconditions};
use kube::{Api, ResourceExt};
use serde_json::json;

use crate::cluster::{Cluster, object, quiet, refusal};

fn conflict() -> (u16, String) {
    (409, "Conflict".to_owned())
}

#[tokio::test]
async fn what_exists_is_not_created_again() {
    let cluster = Cluster::start(quiet()).await;
    cluster.config("a", &json!({})).await;
    let api: Api<ConfigMap> = cluster.api();
    let again = api.create(&PostParams::default(), &object(json!({"metadata": {"name": "a"}}))).await;
    assert_eq!(refusal(again), (409, "AlreadyExists".to_owned()));
}

#[tokio::test]
async fn a_generated_name_has_its_prefix_and_does_not_grow_too_long() {
    let cluster = Cluster::start(quiet()).await;
    let api: Api<ConfigMap> = cluster.api();
    for prefix in ["job-".to_owned(), "x".repeat(300)] {
        let config = object(json!({"metadata": {"generateName": prefix}}));
        let name = api.create(&PostParams::default(), &config).await.unwrap().name_any();
        let kept = &prefix[..prefix.len().min(58)];
        assert_eq!(name.strip_prefix(kept).map(str::len), Some(5), "{name}");
    }
}

#[tokio::test]
async fn a_replacement_of_what_was_modified_is_a_conflict() {
    let cluster = Cluster::start(quiet()).await;
    cluster.config("a", &json!({})).await;
    let api: Api<ConfigMap> = cluster.api();
    let seen = api.get("a").await.unwrap();
    let mut changed = seen.clone();
    changed.data = Some([("a".to_owned(), "2".to_owned())].into());
    let first = api.replace("a", &PostParams::default(), &changed).await.unwrap();
    assert_ne!(first.resource_version(), seen.resource_version());
    changed.data = Some([("a".to_owned(), "3".to_owned())].into());
    assert_eq!(refusal(api.replace("a", &PostParams::default(), &changed).await), conflict());
    // Without a version, the last one wins.
    changed.metadata.resource_version = None;
    let last = api.replace("a", &PostParams::default(), &changed).await.unwrap();
    assert_eq!(last.data, changed.data);
    // What says the same is not written.
    let same = api.replace("a", &PostParams::default(), &last).await.unwrap();
    assert_eq!(same.resource_version(), last.resource_version());
}

#[tokio::test]
async fn a_replacement_of_another_object_of_that_name_is_refused() {
    let cluster = Cluster::start(quiet()).await;
    cluster.config("a", &json!({})).await;
    let api: Api<ConfigMap> = cluster.api();
    let replacement = |metadata: serde_json::Value| {
        let api = api.clone();
        async move {
            let path = "/api/v1/namespaces/default/configmaps/a";
            let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata});
            let (code, status) = cluster_put(&api, path, &body).await;
            (code, status["reason"].as_str().unwrap_or_default().to_owned())
        }
    };
    let uid = api.get("a").await.unwrap().uid().unwrap();
    assert_eq!(replacement(json!({"name": "a", "uid": "another"})).await, conflict());
    assert_eq!(replacement(json!({"name": "b"})).await.0, 400);
    assert_eq!(replacement(json!({})).await.0, 400);
    assert_eq!(replacement(json!({"name": "a", "namespace": "other"})).await.0, 400);
    assert_eq!(replacement(json!({"name": "a", "uid": uid})).await.0, 200);
}

async fn cluster_put(api: &Api<ConfigMap>, path: &str, body: &serde_json::Value) -> (u16, serde_json::Value) {
    let request = axum::http::Request::put(path).header("content-type", "application/json");
    let request = request.body(body.to_string().into_bytes().into()).unwrap();
    let response = api.clone().into_client().send(request).await.unwrap();
    let code = response.status().as_u16();
    let bytes = response.into_body().collect_bytes().await.unwrap();
    (code, serde_json::from_slice(&bytes).unwrap())
}

#[tokio::test]
async fn a_delete_heeds_its_preconditions() {
    let cluster = Cluster::start(quiet()).await;
    let api: Api<ConfigMap> = cluster.api();
    let version = cluster.config("a", &json!({})).await;
    let uid = api.get("a").await.unwrap().uid().unwrap();
    let given = |uid: &str, version: &str| {
        let part = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let preconditions = Preconditions { uid: part(uid), resource_version: part(version) };
        DeleteParams::default().preconditions(preconditions)
    };
    for (uid, version) in [("another", ""), ("", "1"), (&*uid, "1"), ("another", &*version)] {
        assert_eq!(refusal(api.delete("a", &given(uid, version)).await), conflict(), "{uid} {version}");
    }
    api.delete("a", &given(&uid, &version)).await.unwrap();
    assert_eq!(refusal(api.delete("a", &given(&uid, &version)).await).0, 404);
}

#[tokio::test]
async fn delete_options_that_make_no_sense_are_bad_requests() {
    let cluster = Cluster::start(quiet()).await;
    cluster.config("a", &json!({})).await;
    let path = "/api/v1/namespaces/default/configmaps/a";
    for body in ["[]", "{", "5", r#"{"preconditions": "x"}"#, r#"{"gracePeriodSeconds": "x"}"#] {
        let (code, status) = cluster.send(Method::DELETE, path, "application/json", body).await;
        assert_eq!((code, &status["reason"]), (400, &json!("BadRequest")), "{body}");
    }
    assert_eq!(cluster.get(path).await.0, 200);
}

#[tokio::test]
async fn a_collection_is_deleted_by_its_selector() {
    let cluster = Cluster::start(quiet()).await;
    for (name, app) in [("a", "x"), ("b", "y"), ("c", "x")] {
        cluster.config(name, &json!({"app": app})).await;
    }
    let api: Api<ConfigMap> = cluster.api();
    let params = ListParams::default().labels("app=x");
    api.delete_collection(&DeleteParams::default(), &params).await.unwrap();
    let left = api.list(&ListParams::default()).await.unwrap();
    assert_eq!(left.items.iter().map(ResourceExt::name_any).collect::<Vec<_>>(), ["b"]);
}

#[tokio::test]
async fn a_service_keeps_its_cluster_ip() {
    let cluster = Cluster::start(quiet()).await;
    let api: Api<Service> = cluster.api();
    let service = |spec: serde_json::Value| -> Service {
        Service {
            metadata: ObjectMeta { name: Some("s".to_owned()), ..ObjectMeta::default() },
            ..object(json!({"spec": spec}))
        }
    };
    let created =
        api.create(&PostParams::default(), &service(json!({"ports": [{"port": 80}]}))).await.unwrap();
    let ip = created.spec.unwrap().cluster_ip.unwrap();
    assert!(ip.starts_with("10.96."), "{ip}");
    let replaced = service(json!({"ports": [{"port": 81}]}));
    let replaced = api.replace("s", &PostParams::default(), &replaced).await.unwrap();
    assert_eq!(replaced.spec.unwrap().cluster_ip.as_ref(), Some(&ip));
    let manifest = "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{port: 82}]}\n";
    assert_eq!(cluster.dev.apply_manifests(manifest).unwrap(), ["service/s configured"]);
    assert_eq!(api.get("s").await.unwrap().spec.unwrap().cluster_ip.as_ref(), Some(&ip));
    assert_eq!(cluster.dev.apply_manifests(manifest).unwrap(), ["service/s unchanged"]);
    // Kubernetes does not let it change either.
    for other in ["10.96.200.200", "None"] {
        let other = service(json!({"clusterIP": other, "ports": [{"port": 81}]}));
        assert_eq!(refusal(api.replace("s", &PostParams::default(), &other).await).0, 422);
    }
    // An alias of a name has no address.
    let alias = service(json!({"type": "ExternalName", "externalName": "a.b"}));
    let alias = api.replace("s", &PostParams::default(), &alias).await.unwrap();
    assert_eq!(alias.spec.unwrap().cluster_ip, None);
}

#[tokio::test]
async fn a_service_without_ports_has_no_field_ports() {
    let cluster = Cluster::start(quiet()).await;
    let path = "/api/v1/namespaces/default/services";
    let service = |spec: serde_json::Value| json!({"metadata": {"name": "s"}, "spec": spec});
    for spec in [
        json!({"clusterIP": "None"}),
        json!({"clusterIP": "None", "ports": null}),
        json!({"type": "ExternalName", "externalName": "a.b"}),
    ] {
        let (code, created) = cluster.json(Method::POST, path, &service(spec)).await;
        assert_eq!(code, 201, "{created}");
        assert_eq!(created["spec"].get("ports"), None, "{created}");
        cluster.send(Method::DELETE, &format!("{path}/s"), "application/json", "").await;
    }
    // One with an address needs ports.
    for spec in [json!({}), json!({"selector": {"a": "b"}}), json!({"ports": []})] {
        let (code, status) = cluster.json(Method::POST, path, &service(spec)).await;
        assert_eq!((code, &status["reason"]), (422, &json!("Invalid")), "{status}");
    }
}
