//! The three kinds of patches through the API.

use axum::http::Method;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::cluster::{Cluster, object, quiet, refusal};

const CONFIG: &str = "/api/v1/namespaces/default/configmaps/a";

async fn patched(cluster: &Cluster, kind: &str, patch: &Value) -> (u16, Value) {
    cluster.send(Method::PATCH, CONFIG, &format!("application/{kind}+json"), patch.to_string()).await
}

#[tokio::test]
async fn a_merge_patch_sets_and_removes() {
    let cluster = Cluster::start(quiet()).await;
    cluster.config("a", &json!({"x": "1", "y": "2"})).await;
    let patch = json!({"metadata": {"labels": {"x": null, "z": "3"}}, "data": {"b": "2"}});
    let (code, after) = patched(&cluster, "merge-patch", &patch).await;
    assert_eq!(code, 200, "{after}");
    assert_eq!(after["metadata"]["labels"], json!({"y": "2", "z": "3"}));
    assert_eq!(after["data"], json!({"a": "1", "b": "2"}));
}

#[tokio::test]
async fn a_json_patch_tests_and_replaces() {
    let cluster = Cluster::start(quiet()).await;
    cluster.config("a", &json!({})).await;
    let replace = |before: &str| {
        json!([
            {"op": "test", "path": "/data/a", "value": before},
            {"op": "replace", "path": "/data/a", "value": "2"},
        ])
    };
    let (code, after) = patched(&cluster, "json-patch", &replace("1")).await;
    assert_eq!((code, &after["data"]["a"]), (200, &json!("2")));
    let (code, status) = patched(&cluster, "json-patch", &replace("1")).await;
    assert_eq!((code, &status["reason"]), (422, &json!("Invalid")));
}

/// Each copy doubles the object: forty of them would be more than any machine has.
#[tokio::test]
async fn a_json_patch_that_grows_without_bounds_is_refused() {
    let cluster = Cluster::start(quiet()).await;
    cluster.config("a", &json!({})).await;
    let copies: Vec<_> =
        (0..40).map(|n| json!({"op": "copy", "from": "", "path": format!("/x{n}")})).collect();
    let (code, status) = patched(&cluster, "json-patch", &copies.into()).await;
    assert_eq!((code, &status["kind"]), (413, &json!("Status")), "{status}");
    let nest: Vec<_> = (0..3_000)
        .map(|n| json!({"op": "add", "path": format!("/x{}", "/x".repeat(n)), "value": {}}))
        .take(1_500)
        .collect();
    let (code, status) = patched(&cluster, "json-patch", &nest.into()).await;
    assert_eq!((code, &status["kind"]), (422, &json!("Status")), "{status}");
    assert_eq!(cluster.get(CONFIG).await.0, 200);
}

/// What Kubernetes 1.37 made of the same patches, in the same order.
#[tokio::test]
async fn a_strategic_merge_patch_merges_finalizers() {
    let cluster = Cluster::start(quiet()).await;
    cluster.config("a", &json!({})).await;
    patched(&cluster, "merge-patch", &json!({"metadata": {"finalizers": ["a/b"]}})).await;
    for (metadata, expected) in [
        (json!({"finalizers": ["c/d"]}), json!(["c/d", "a/b"])),
        (json!({"finalizers": ["a/b"]}), json!(["c/d", "a/b"])),
        (json!({"$deleteFromPrimitiveList/finalizers": ["a/b"]}), json!(["c/d"])),
        (
            json!({"$setElementOrder/finalizers": ["x/y", "c/d"], "finalizers": ["x/y"]}),
            json!(["x/y", "c/d"]),
        ),
        (
            json!({"finalizers": ["zz/y", "c/d"], "$deleteFromPrimitiveList/finalizers": ["x/y"]}),
            json!(["zz/y", "c/d"]),
        ),
    ] {
        let (code, after) = patched(&cluster, "strategic-merge-patch", &json!({"metadata": metadata})).await;
        assert_eq!(code, 200, "{after}");
        assert_eq!(after["metadata"]["finalizers"], expected, "{metadata}");
    }
}

#[tokio::test]
async fn a_strategic_merge_patch_merges_containers_by_name() {
    let cluster = Cluster::start(quiet()).await;
    let api: Api<Pod> = cluster.api();
    let pod = json!({
        "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "x", "image": "1"}, {"name": "y", "image": "1"}]},
    });
    api.create(&PostParams::default(), &object(pod)).await.unwrap();
    let patch = Patch::Strategic(json!({"spec": {"containers": [{"name": "y", "image": "2"}]}}));
    let after = api.patch("p", &PatchParams::default(), &patch).await.unwrap();
    let mut images: Vec<_> =
        after.spec.unwrap().containers.into_iter().map(|c| (c.name, c.image.unwrap())).collect();
    images.sort();
    assert_eq!(images, [("x".to_owned(), "1".to_owned()), ("y".to_owned(), "2".to_owned())]);
}

#[tokio::test]
async fn a_patch_with_an_old_resource_version_is_a_conflict() {
    let cluster = Cluster::start(quiet()).await;
    let version = cluster.config("a", &json!({})).await;
    let api: Api<ConfigMap> = cluster.api();
    let patch =
        |value: &str| Patch::Merge(json!({"metadata": {"resourceVersion": version}, "data": {"a": value}}));
    api.patch("a", &PatchParams::default(), &patch("2")).await.unwrap();
    let again = api.patch("a", &PatchParams::default(), &patch("3")).await;
    assert_eq!(refusal(again), (409, "Conflict".to_owned()));
}

#[tokio::test]
async fn patches_that_make_no_sense_are_refused() {
    let cluster = Cluster::start(quiet()).await;
    cluster.config("a", &json!({})).await;
    let before = cluster.get(CONFIG).await.1;
    for (kind, patch, expected) in [
        ("merge-patch", json!([]), 400),
        ("merge-patch", json!(null), 400),
        ("merge-patch", json!({"data": "x"}), 422),
        ("merge-patch", json!({"metadata": {"labels": "x"}}), 422),
        ("merge-patch", json!({"metadata": {"name": "b"}}), 400),
        ("merge-patch", json!({"metadata": {"uid": "b"}}), 422),
        ("merge-patch", json!({"metadata": null}), 400),
        ("merge-patch", json!({"kind": "Secret"}), 422),
        ("strategic-merge-patch", json!([]), 400),
        ("strategic-merge-patch", json!("x"), 400),
        ("strategic-merge-patch", json!({"metadata": {"labels": "x"}}), 422),
        ("strategic-merge-patch", json!({"metadata": {"$patch": "delete"}}), 400),
        ("strategic-merge-patch", json!({"metadata": {"labels": {"$patch": "bogus"}}}), 400),
        ("json-patch", json!({"op": "x"}), 400),
        ("json-patch", json!([{"op": "replace", "path": "/data/a", "value": 5}]), 422),
        ("json-patch", json!([{"op": "replace", "path": "/nope/a", "value": "5"}]), 422),
        ("json-patch", json!([{"op": "replace", "path": "", "value": 7}]), 422),
        ("json-patch", json!([{"op": "remove", "path": "/metadata"}]), 400),
        ("apply-patch", json!({}), 415),
    ] {
        let (code, status) = patched(&cluster, kind, &patch).await;
        assert_eq!((code, &status["kind"]), (expected, &json!("Status")), "{kind} {patch}: {status}");
    }
    assert_eq!(cluster.get(CONFIG).await.1, before);
}
