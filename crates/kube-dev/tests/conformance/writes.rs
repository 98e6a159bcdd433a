//! Creating, replacing, patching, deleting.

use axum::http::Method;
use serde_json::json;

use crate::transcript::{JSON, MERGE, Transcript};

const CONFIGS: &str = "/api/v1/namespaces/{ns}/configmaps";
const SERVICES: &str = "/api/v1/namespaces/{ns}/services";

#[tokio::test]
async fn a_config_map_lives_and_goes() {
    let mut t = Transcript::begin("configmaps").await;
    let a = format!("{CONFIGS}/a");
    let created =
        t.post(CONFIGS, json!({"metadata": {"name": "a", "labels": {"x": "1"}}, "data": {"k": "1"}})).await;
    t.post(CONFIGS, json!({"metadata": {"name": "a"}})).await;
    t.get(&a).await;
    t.post(CONFIGS, json!({"metadata": {"generateName": "a-"}})).await;
    t.post(&format!("{CONFIGS}?dryRun=All"), json!({"metadata": {"name": "dry"}})).await;
    t.get(&format!("{CONFIGS}/dry")).await;
    let mut changed = created.clone();
    changed["data"]["k"] = json!("2");
    t.send(Method::PUT, &format!("{a}?fieldManager=putter"), JSON, &changed.to_string()).await;
    changed["data"]["k"] = json!("3");
    t.send(Method::PUT, &a, JSON, &changed.to_string()).await;
    t.send(Method::PUT, &a, JSON, r#"{"metadata": {"name": "b"}}"#).await;
    t.send(Method::PUT, &a, JSON, r#"{"metadata": {}}"#).await;
    t.send(Method::PUT, &a, JSON, r#"{"metadata": {"name": "a", "uid": "another"}}"#).await;
    t.send(Method::PUT, &format!("{CONFIGS}/none"), JSON, r#"{"metadata": {"name": "none"}}"#).await;
    t.patch(&a, MERGE, json!({"metadata": {"labels": {"x": null, "y": "2"}}, "data": {"l": "2"}})).await;
    t.patch(&a, MERGE, json!({"metadata": {"resourceVersion": "1"}, "data": {"l": "3"}})).await;
    t.patch(&a, "application/json-patch+json", json!([{"op": "add", "path": "/data/m", "value": "1"}])).await;
    t.patch(&a, "application/strategic-merge-patch+json", json!({"data": {"m": null}})).await;
    t.patch(&a, MERGE, json!({"metadata": {"managedFields": [{}]}})).await;
    t.patch(&format!("{CONFIGS}/none"), MERGE, json!({})).await;
    t.delete(&a, r#"{"preconditions": {"uid": "another"}}"#).await;
    t.delete(&format!("{a}?dryRun=All"), "").await;
    t.delete(&a, "").await;
    t.delete(&a, "").await;
    t.get(&a).await;
    t.end().await;
}

#[tokio::test]
async fn a_service_gets_an_address_and_its_status_a_way_of_its_own() {
    let mut t = Transcript::begin("services").await;
    let service = json!({
        "metadata": {"name": "s"},
        "spec": {"ports": [{"name": "a", "port": 80}, {"name": "b", "port": 81, "targetPort": "web"}], "selector": {"a": "b"}},
    });
    t.post(SERVICES, service).await;
    t.post(
        SERVICES,
        json!({"metadata": {"name": "headless"}, "spec": {"clusterIP": "None", "selector": {"a": "b"}}}),
    )
    .await;
    t.post(
        SERVICES,
        json!({"metadata": {"name": "alias"}, "spec": {"type": "ExternalName", "externalName": "a.b"}}),
    )
    .await;
    let s = format!("{SERVICES}/s");
    t.patch(&s, MERGE, json!({"spec": {"ports": [{"name": "a", "port": 80}]}})).await;
    let condition = json!({"type": "X", "status": "True", "reason": "R", "message": "", "lastTransitionTime": "2020-01-01T00:00:00Z"});
    let status = json!({"spec": {"selector": {"x": "y"}}, "status": {"conditions": [condition]}});
    t.patch(&format!("{s}/status?fieldManager=st"), MERGE, status).await;
    t.patch(&s, MERGE, json!({"status": {"conditions": []}})).await;
    t.patch(&s, MERGE, json!({"spec": {"clusterIP": "10.96.1.1"}})).await;
    t.get(&format!("{s}/status")).await;
    t.delete(&s, "").await;
    t.end().await;
}

#[tokio::test]
async fn finalizers_owners_and_collections() {
    let mut t = Transcript::begin("deletes").await;
    let secrets = "/api/v1/namespaces/{ns}/secrets";
    let held =
        json!({"metadata": {"name": "held", "finalizers": ["test.io/hold"]}, "stringData": {"a": "b"}});
    t.post(secrets, held).await;
    t.delete(&format!("{secrets}/held"), "").await;
    t.patch(&format!("{secrets}/held"), MERGE, json!({"metadata": {"finalizers": null}})).await;
    t.get(&format!("{secrets}/held")).await;
    for name in ["a", "b", "c"] {
        t.post(secrets, json!({"metadata": {"name": name, "labels": {"name": name}}})).await;
    }
    t.delete(&format!("{secrets}/a"), r#"{"propagationPolicy": "Background"}"#).await;
    t.delete(&format!("{secrets}?labelSelector=name%3Db"), "").await;
    t.get(&format!("{secrets}?labelSelector=name")).await;
    t.delete(&format!("{secrets}/c?propagationPolicy=Nonsense"), "").await;
    t.end().await;
}

#[tokio::test]
async fn what_the_bridge_writes_besides() {
    let mut t = Transcript::begin("others").await;
    let leases = "/apis/coordination.k8s.io/v1/namespaces/{ns}/leases";
    let spec = json!({"holderIdentity": "a", "leaseDurationSeconds": 15, "renewTime": "2020-01-01T00:00:00.000000Z"});
    t.post(leases, json!({"metadata": {"name": "l"}, "spec": spec})).await;
    t.patch(&format!("{leases}/l"), MERGE, json!({"spec": {"holderIdentity": "b"}})).await;
    let event = json!({
        "metadata": {"name": "e"}, "type": "Normal", "reason": "R", "note": "hello", "action": "A",
        "eventTime": "2020-01-01T00:00:00.000000Z", "reportingController": "c/x", "reportingInstance": "i",
        "regarding": {"kind": "Service", "name": "s", "namespace": "<ns>"},
    });
    let event = event.to_string().replace("<ns>", "{ns}");
    t.send(Method::POST, "/apis/events.k8s.io/v1/namespaces/{ns}/events", JSON, &event).await;
    t.get("/api/v1/namespaces/{ns}/events/e").await;
    let slice = json!({
        "metadata": {"name": "e", "labels": {"kubernetes.io/service-name": "s"}}, "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.1.2.3"], "conditions": {"ready": true}}], "ports": [{"name": "http", "port": 80}],
    });
    t.post("/apis/discovery.k8s.io/v1/namespaces/{ns}/endpointslices", slice).await;
    let subsets = json!([{"addresses": [{"ip": "10.1.2.3"}], "ports": [{"port": 80}]}]);
    t.post("/api/v1/namespaces/{ns}/endpoints", json!({"metadata": {"name": "e"}, "subsets": subsets})).await;
    t.delete("/api/v1/namespaces/{ns}/endpoints/e", "").await;
    t.get("/api/v1/nodes/none").await;
    t.get("/api/v1/nodes?fieldSelector=metadata.name%3Dnone").await;
    t.end().await;
}
