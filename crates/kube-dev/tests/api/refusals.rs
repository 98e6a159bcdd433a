//! Requests that make no sense are answered with a Status that says why.

use axum::http::Method;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};

use crate::cluster::{Cluster, object, quiet, refusal};

const CONFIGS: &str = "/api/v1/namespaces/default/configmaps";

fn reason(code: u16) -> &'static str {
    match code {
        400 => "BadRequest",
        404 => "NotFound",
        405 => "MethodNotAllowed",
        413 => "RequestEntityTooLarge",
        415 => "UnsupportedMediaType",
        422 => "Invalid",
        other => panic!("no code of this test: {other}"),
    }
}

fn check((code, status): (u16, Value), expected: u16, what: &str) -> String {
    let head = (code, &status["kind"], &status["status"], &status["code"], &status["reason"]);
    let (kind, failure) = (json!("Status"), json!("Failure"));
    assert_eq!(
        head,
        (expected, &kind, &failure, &json!(expected), &json!(reason(expected))),
        "{what}: {status}"
    );
    status["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn names_follow_rfc_1123() {
    let cluster = Cluster::start(quiet()).await;
    let configs: Api<ConfigMap> = cluster.api();
    for name in ["Bad", "under_score", "-a", "a-", ".a", "a.", "", "ä", "a b", "a/b", &"x".repeat(254)] {
        let config = json!({"metadata": {"name": name}});
        let result = configs.create(&PostParams::default(), &object(config)).await;
        assert_eq!(refusal(result), (422, "Invalid".to_owned()), "{name:?}");
    }
    let services: Api<Service> = cluster.api();
    for name in ["a.b", &"x".repeat(64)] {
        let service = json!({"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}});
        let result = services.create(&PostParams::default(), &object(service)).await;
        assert_eq!(refusal(result), (422, "Invalid".to_owned()), "{name:?}");
    }
}

#[tokio::test]
async fn objects_of_the_wrong_shape_are_bad_requests_that_name_the_field() {
    let cluster = Cluster::start(quiet()).await;
    for (metadata, field) in [
        (json!("x"), "metadata"),
        (json!({"name": 5}), "metadata.name"),
        (json!({"name": "a", "labels": "x"}), "metadata.labels"),
        (json!({"name": "a", "labels": {"x": 5}}), "metadata.labels.x"),
        (json!({"name": "a", "finalizers": ["x/y", 5]}), "metadata.finalizers[1]"),
        (json!({"name": "a", "ownerReferences": {}}), "metadata.ownerReferences"),
        (json!({"name": "a", "creationTimestamp": "now"}), "metadata.creationTimestamp"),
    ] {
        let answer = cluster.json(Method::POST, CONFIGS, &json!({"metadata": metadata})).await;
        let message = check(answer, 400, &metadata.to_string());
        assert!(message.contains(&format!("{field}: ")), "{message}");
    }
    let deployment = json!({"metadata": {"name": "d"}, "spec": {"template": {"metadata": {"labels": "x"}}}});
    let answer =
        cluster.json(Method::POST, "/apis/apps/v1/namespaces/default/deployments", &deployment).await;
    let message = check(answer, 400, "labels of a template");
    assert!(message.contains("spec.template.metadata.labels: "), "{message}");
}

#[tokio::test]
async fn bodies_that_are_no_object_are_bad_requests() {
    let cluster = Cluster::start(quiet()).await;
    for body in ["", "{", "[]", "5", "\"x\"", "{}x"] {
        let answer = cluster.send(Method::POST, CONFIGS, "application/json", body).await;
        check(answer, 400, body);
    }
    for (body, expected) in [
        (json!({"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "a"}}), 400),
        (json!({"kind": "ConfigMap", "apiVersion": "v2", "metadata": {"name": "a"}}), 400),
        (json!({"kind": 5, "metadata": {"name": "a"}}), 400),
        (json!({"metadata": {"name": "a", "namespace": "other"}}), 400),
        (json!({}), 422),
        (json!(null), 400),
    ] {
        let answer = cluster.json(Method::POST, CONFIGS, &body).await;
        check(answer, expected, &body.to_string());
    }
    check(cluster.send(Method::POST, CONFIGS, "application/xml", "<a/>").await, 415, "a media type");
    let large = format!("{{\"data\": \"{}\"}}", "x".repeat(4 << 20));
    check(cluster.send(Method::POST, CONFIGS, "application/json", large).await, 413, "too large");
}

#[tokio::test]
async fn values_out_of_range_are_invalid() {
    let cluster = Cluster::start(quiet()).await;
    let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": ""});
    for metadata in [
        json!({"name": "a", "labels": {"a b": "x"}}),
        json!({"name": "a", "labels": {"a": "x y"}}),
        json!({"name": "a", "labels": {"a/b/c": "x"}}),
        json!({"name": "a", "labels": {"a": "x".repeat(64)}}),
        json!({"name": "a", "annotations": {"a b": "x"}}),
        json!({"name": "a", "finalizers": ["not qualified"]}),
        json!({"name": "a", "ownerReferences": [{"uid": "x"}]}),
        json!({"name": "a", "ownerReferences": [owner]}),
    ] {
        let answer = cluster.json(Method::POST, CONFIGS, &json!({"metadata": metadata})).await;
        check(answer, 422, &metadata.to_string());
    }
    for spec in
        [json!({"ports": [{"port": 0}]}), json!({"ports": [{"port": 70_000}]}), json!({"ports": [{}]})]
    {
        let service = json!({"metadata": {"name": "s"}, "spec": spec});
        let answer = cluster.json(Method::POST, "/api/v1/namespaces/default/services", &service).await;
        check(answer, 422, &spec.to_string());
    }
    let deployment = json!({"metadata": {"name": "d"}, "spec": {"replicas": -1}});
    let answer =
        cluster.json(Method::POST, "/apis/apps/v1/namespaces/default/deployments", &deployment).await;
    check(answer, 422, "negative replicas");
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let cluster = Cluster::start(quiet()).await;
    for path in [
        "/api/v1/nonsense",
        "/apis/nope/v1/things",
        "/apis/apps/v1/namespaces/default/foos",
        "/apis/apps/v1/namespaces/default/deployments/missing",
        "/api/v1/namespaces/missing",
        "/api/v1/namespaces/default/configmaps/missing",
        "/nonsense",
    ] {
        check(cluster.get(path).await, 404, path);
    }
    let config = json!({"metadata": {"name": "a"}});
    check(cluster.json(Method::POST, "/api/v1/namespaces/missing/configmaps", &config).await, 404, "POST");
    check(cluster.json(Method::PUT, &format!("{CONFIGS}/a"), &config).await, 404, "PUT");
    let patch =
        cluster.send(Method::PATCH, &format!("{CONFIGS}/a"), "application/merge-patch+json", "{}").await;
    check(patch, 404, "PATCH");
    check(cluster.send(Method::DELETE, &format!("{CONFIGS}/a"), "application/json", "").await, 404, "DELETE");
}

#[tokio::test]
async fn methods_that_a_path_does_not_have_are_not_allowed() {
    let cluster = Cluster::start(quiet()).await;
    cluster.config("a", &json!({})).await;
    let config = json!({"metadata": {"name": "b", "namespace": "default"}});
    for (method, path) in [
        (Method::POST, "/api/v1/configmaps".to_owned()),
        (Method::PUT, CONFIGS.to_owned()),
        (Method::POST, format!("{CONFIGS}/a")),
        (Method::DELETE, "/api/v1/namespaces/default/services/a/status".to_owned()),
    ] {
        check(cluster.json(method.clone(), &path, &config).await, 405, &format!("{method} {path}"));
    }
}

#[tokio::test]
async fn queries_that_make_no_sense_are_bad_requests() {
    let cluster = Cluster::start(quiet()).await;
    for query in ["limit=x", "continue=zzz", "timeoutSeconds=x", "watch=1&labelSelector=a%20b"] {
        check(cluster.get(&format!("{CONFIGS}?{query}")).await, 400, query);
    }
}
