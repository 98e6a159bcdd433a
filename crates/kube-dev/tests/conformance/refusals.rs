//! What is not taken, and the words for it.

use axum::http::Method;
use serde_json::{Value, json};

use crate::transcript::{JSON, Transcript};

#[tokio::test]
async fn objects_that_are_invalid() {
    let mut t = Transcript::begin("refusals").await;
    let configs = "/api/v1/namespaces/{ns}/configmaps";
    let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": ""});
    for metadata in [
        json!({"name": "Bad"}),
        json!({}),
        json!({"name": "a", "labels": {"a b": "x"}}),
        json!({"name": "a", "labels": {"a": "x y"}}),
        json!({"name": "a", "annotations": {"a b": "x"}}),
        json!({"name": "a", "finalizers": ["nonsense"]}),
        json!({"name": "a", "ownerReferences": [owner]}),
        json!({"name": "a", "namespace": "other"}),
        json!({"name": "a", "resourceVersion": "5"}),
    ] {
        t.post(configs, json!({"metadata": metadata})).await;
    }
    let services = "/api/v1/namespaces/{ns}/services";
    for (name, spec) in [
        ("a.b", json!({"ports": [{"port": 80}]})),
        ("s", json!({"ports": [{"port": 0}]})),
        ("s", json!({"ports": []})),
        ("s", json!({"ports": [{"port": 80}, {"port": 81}]})),
    ] {
        t.post(services, json!({"metadata": {"name": name}, "spec": spec})).await;
    }
    let slices = "/apis/discovery.k8s.io/v1/namespaces/{ns}/endpointslices";
    let slice = |part: Value| {
        let mut slice = json!({"metadata": {"name": "e"}, "addressType": "IPv4", "endpoints": []});
        slice.as_object_mut().unwrap().extend(part.as_object().unwrap().clone());
        slice
    };
    for part in [
        json!({"addressType": ""}),
        json!({"endpoints": [{"addresses": ["nonsense"]}]}),
        json!({"endpoints": [{"addresses": []}]}),
    ] {
        t.post(slices, slice(part)).await;
    }
    t.post("/api/v1/namespaces/none/configmaps", json!({"metadata": {"name": "a"}})).await;
    t.send(Method::POST, configs, "application/xml", "<a/>").await;
    t.send(Method::POST, &format!("{configs}/a"), JSON, "{}").await;
    t.get("/api/v1/namespaces/{ns}/nonsense").await;
    t.end().await;
}
