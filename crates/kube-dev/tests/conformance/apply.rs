//! Server-side apply: owners, conflicts, what goes when it is no longer applied.

use serde_json::{Value, json};

use crate::transcript::{APPLY, JSON, MERGE, Transcript};

/// Applies a configuration with the type and the name that its path says.
async fn apply(t: &mut Transcript, path: &str, query: &str, kind: (&str, &str), mut config: Value) {
    config["apiVersion"] = kind.0.into();
    config["kind"] = kind.1.into();
    config["metadata"]["name"] = path.rsplit('/').next().into();
    t.patch(&format!("{path}?fieldManager={query}"), APPLY, config).await;
}

#[tokio::test]
async fn maps_are_owned_key_by_key() {
    let mut t = Transcript::begin("apply-maps").await;
    let path = "/api/v1/namespaces/{ns}/configmaps/a";
    let kind = ("v1", "ConfigMap");
    for (query, config) in [
        ("one", json!({"data": {"x": "1"}})),
        ("two", json!({"data": {"x": "1"}})),
        ("two", json!({"data": {"x": "2", "y": "1"}})),
        ("three", json!({"data": {"x": "2", "y": "1"}})),
        ("three", json!({"metadata": {"resourceVersion": "1"}, "data": {"z": "2"}})),
        ("three", json!({"metadata": {"uid": "x"}, "data": {"z": "2"}})),
        ("two&force=true", json!({"data": {"x": "3"}})),
        ("two", json!({"data": {}})),
        ("two", json!({"metadata": {"labels": {"a": "b"}, "finalizers": ["x.io/a"]}, "data": {"l": "1"}})),
        ("five", json!({"metadata": {"labels": {"c": "d"}, "finalizers": ["x.io/b"]}})),
        ("two", json!({"metadata": {"labels": {"a": "c"}}, "data": {"l": "1"}})),
    ] {
        apply(&mut t, path, query, kind, config).await;
    }
    let patch = json!({"metadata": {"labels": {"a": "x"}, "annotations": {"q": "r"}}, "data": {"l": null}});
    t.patch(&format!("{path}?fieldManager=merger"), MERGE, patch).await;
    apply(&mut t, path, "two", kind, json!({"metadata": {"labels": {"a": "c"}}})).await;
    apply(&mut t, path, "annotator", kind, json!({"metadata": {"annotations": {"r": "s"}}})).await;
    apply(&mut t, path, "annotator", kind, json!({})).await;
    t.patch(path, MERGE, json!({"metadata": {"managedFields": [{}], "finalizers": null}})).await;
    apply(&mut t, path, "two", kind, json!({"data": {"k": "1"}})).await;
    t.end().await;
}

#[tokio::test]
async fn ports_are_owned_one_by_one_and_slices_as_a_whole() {
    let mut t = Transcript::begin("apply-lists").await;
    let (path, kind) = ("/api/v1/namespaces/{ns}/services/s", ("v1", "Service"));
    for (query, spec) in [
        ("one", json!({"ports": [{"port": 80, "name": "a"}, {"port": 81, "name": "b"}]})),
        (
            "two",
            json!({"ports": [{"port": 80, "name": "a"}, {"port": 82, "name": "c", "protocol": "UDP"}], "selector": {"a": "b"}}),
        ),
        ("one", json!({"ports": [{"port": 80, "name": "a"}]})),
        ("three", json!({"ports": [{"port": 80, "name": "x"}], "selector": {"a": "c"}})),
        ("one", json!({"sessionAffinity": "None"})),
        ("one", json!({})),
    ] {
        apply(&mut t, path, query, kind, json!({"spec": spec})).await;
    }
    let (path, kind) = (
        "/apis/discovery.k8s.io/v1/namespaces/{ns}/endpointslices/e",
        ("discovery.k8s.io/v1", "EndpointSlice"),
    );
    let endpoints = |ip: &str| json!({"endpoints": [{"addresses": [ip]}]});
    let whole =
        json!({"addressType": "IPv4", "endpoints": [{"addresses": ["10.1.2.3"]}], "ports": [{"port": 80}]});
    apply(&mut t, path, "one", kind, whole).await;
    apply(&mut t, path, "two", kind, endpoints("10.1.2.4")).await;
    apply(&mut t, path, "two&force=true", kind, endpoints("10.1.2.4")).await;
    apply(&mut t, path, "two", kind, json!({})).await;
    let subsets = json!({"subsets": [{"addresses": [{"ip": "10.1.2.3"}], "ports": [{"port": 80}]}]});
    apply(&mut t, "/api/v1/namespaces/{ns}/endpoints/e", "one", ("v1", "Endpoints"), subsets).await;
    let data = json!({"stringData": {"a": "b"}});
    apply(&mut t, "/api/v1/namespaces/{ns}/secrets/s", "one", ("v1", "Secret"), data).await;
    let (path, kind) =
        ("/apis/coordination.k8s.io/v1/namespaces/{ns}/leases/l", ("coordination.k8s.io/v1", "Lease"));
    apply(&mut t, path, "one", kind, json!({"spec": {"holderIdentity": "me"}})).await;
    t.end().await;
}

#[tokio::test]
async fn what_cannot_be_applied() {
    let mut t = Transcript::begin("apply-refusals").await;
    let path = "/api/v1/namespaces/{ns}/configmaps/a";
    let named = |metadata: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata});
    let by = format!("{path}?fieldManager=m");
    t.patch(path, APPLY, named(json!({"name": "a"}))).await;
    t.patch(&by, APPLY, named(json!({}))).await;
    t.patch(&by, APPLY, named(json!({"name": "b"}))).await;
    t.patch(&by, APPLY, named(json!({"name": "a", "uid": "x"}))).await;
    t.patch(&by, APPLY, named(json!({"name": "a", "managedFields": []}))).await;
    t.patch(&by, APPLY, json!({"apiVersion": "v2", "kind": "ConfigMap", "metadata": {"name": "a"}})).await;
    t.patch(&format!("{by}&dryRun=Some"), APPLY, named(json!({"name": "a"}))).await;
    t.patch(&format!("{by}&force=true"), MERGE, json!({})).await;
    t.patch(&format!("{by}&dryRun=All"), APPLY, named(json!({"name": "a"}))).await;
    t.send(axum::http::Method::GET, path, JSON, "").await;
    t.end().await;
}
