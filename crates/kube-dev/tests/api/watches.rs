//! Watches: what they show, where they resume, how they end.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, Patch, PatchParams, WatchEvent, WatchParams};
use kube::{Api, ResourceExt};
use kube_dev::Options;
use serde_json::json;

use crate::cluster::{Cluster, quiet, within};

const CONFIGS: &str = "/api/v1/namespaces/default/configmaps";

fn shown(event: &WatchEvent<ConfigMap>) -> String {
    match event {
        WatchEvent::Added(c) => format!("added {}", c.name_any()),
        WatchEvent::Modified(c) => format!("modified {}", c.name_any()),
        WatchEvent::Deleted(c) => format!("deleted {}", c.name_any()),
        WatchEvent::Bookmark(_) => "bookmark".to_owned(),
        WatchEvent::Error(status) => format!("error {} {}", status.code, status.reason),
    }
}

#[tokio::test]
async fn a_watch_resumes_right_after_its_resource_version() {
    let cluster = Cluster::start(quiet()).await;
    let api: Api<ConfigMap> = cluster.api();
    let first = cluster.config("a", &json!({})).await;
    let second = cluster.config("b", &json!({})).await;
    let patch = Patch::Merge(json!({"data": {"a": "2"}}));
    api.patch("a", &PatchParams::default(), &patch).await.unwrap();
    api.delete("b", &DeleteParams::default()).await.unwrap();
    for (from, expected) in
        [(first, vec!["added b", "modified a", "deleted b"]), (second, vec!["modified a", "deleted b"])]
    {
        let params = WatchParams::default().timeout(60);
        let watch = api.watch(&params, &from).await.unwrap().take(expected.len());
        let events: Vec<_> = within(watch.map_ok(|e| shown(&e)).try_collect::<Vec<_>>()).await.unwrap();
        assert_eq!(events, expected);
    }
}

#[tokio::test]
async fn a_watch_from_nowhere_begins_with_what_there_is() {
    let cluster = Cluster::start(quiet()).await;
    cluster.config("a", &json!({})).await;
    for from in ["", "&resourceVersion=0"] {
        let mut watch = cluster.watch(&format!("{CONFIGS}?watch=1{from}")).await;
        assert_eq!(watch.next_name().await, "ADDED a");
    }
}

#[tokio::test]
async fn initial_events_end_with_an_annotated_bookmark() {
    let cluster = Cluster::start(quiet()).await;
    let version = cluster.config("a", &json!({})).await;
    let query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch = cluster.watch(&format!("{CONFIGS}?{query}")).await;
    assert_eq!(watch.next_name().await, "ADDED a");
    let (what, bookmark) = watch.next().await;
    assert_eq!(what, "BOOKMARK");
    assert_eq!(bookmark["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    assert_eq!(bookmark["metadata"]["resourceVersion"], version.as_str());
}

#[tokio::test]
async fn bookmarks_carry_the_revision_of_changes_that_the_watch_does_not_show() {
    let options = Options { bookmark_interval: Duration::from_millis(5), ..quiet() };
    let cluster = Cluster::start(options).await;
    let from = cluster.config("a", &json!({})).await;
    let path =
        format!("{CONFIGS}?watch=1&allowWatchBookmarks=true&labelSelector=x%3Dy&resourceVersion={from}");
    let mut watch = cluster.watch(&path).await;
    let unseen = cluster.config("b", &json!({})).await;
    loop {
        let (what, object) = watch.next().await;
        assert_eq!((what.as_str(), &object["kind"]), ("BOOKMARK", &json!("ConfigMap")));
        if object["metadata"]["resourceVersion"] == unseen.as_str() {
            break;
        }
    }
    // Who resumes there sees only what came later.
    let later = cluster.config("c", &json!({"x": "y"})).await;
    let mut watch = cluster.watch(&format!("{CONFIGS}?watch=1&resourceVersion={unseen}")).await;
    let (what, object) = watch.next().await;
    assert_eq!((what.as_str(), object["metadata"]["resourceVersion"].as_str()), ("ADDED", Some(&*later)));
}

#[tokio::test]
async fn without_being_asked_a_watch_sends_no_bookmarks() {
    let options = Options { bookmark_interval: Duration::from_millis(1), ..quiet() };
    let cluster = Cluster::start(options).await;
    cluster.config("a", &json!({})).await;
    let watch = cluster.watch(&format!("{CONFIGS}?watch=1&timeoutSeconds=1")).await;
    assert_eq!(watch.rest().await, ["ADDED a"]);
}

/// As Kubernetes 1.37 shows it: the state that matched, under the revision that ended it.
#[tokio::test]
async fn what_ceases_to_match_is_deleted_in_its_last_matching_state() {
    let cluster = Cluster::start(quiet()).await;
    let api: Api<ConfigMap> = cluster.api();
    let from = cluster.config("a", &json!({"app": "x"})).await;
    let path = format!("{CONFIGS}?watch=1&labelSelector=app%3Dx&resourceVersion={from}");
    let mut watch = cluster.watch(&path).await;
    let patch = Patch::Merge(json!({"metadata": {"labels": {"app": "y"}}, "data": {"a": "2"}}));
    let after = api.patch("a", &PatchParams::default(), &patch).await.unwrap();
    let (what, object) = watch.next().await;
    assert_eq!(what, "DELETED");
    assert_eq!(object["metadata"]["labels"], json!({"app": "x"}));
    assert_eq!(object["data"], json!({"a": "1"}));
    assert_eq!(object["metadata"]["resourceVersion"].as_str(), after.resource_version().as_deref());

    let patch = Patch::Merge(json!({"metadata": {"labels": {"app": "x"}}}));
    api.patch("a", &PatchParams::default(), &patch).await.unwrap();
    assert_eq!(watch.next_name().await, "ADDED a");
}

/// The write that takes the last finalizer away may change labels as well.
#[tokio::test]
async fn what_matched_until_its_last_write_is_deleted_for_the_watch() {
    let cluster = Cluster::start(quiet()).await;
    let api: Api<ConfigMap> = cluster.api();
    cluster.config("a", &json!({"app": "x"})).await;
    let held = Patch::Merge(json!({"metadata": {"finalizers": ["test/hold"]}}));
    api.patch("a", &PatchParams::default(), &held).await.unwrap();
    let marked = api.delete("a", &DeleteParams::default()).await.unwrap().left().unwrap();
    assert!(marked.metadata.deletion_timestamp.is_some());
    let from = marked.resource_version().unwrap();
    let path = format!("{CONFIGS}?watch=1&labelSelector=app%3Dx&resourceVersion={from}");
    let mut watch = cluster.watch(&path).await;
    let release = Patch::Merge(json!({"metadata": {"finalizers": null, "labels": {"app": "y"}}}));
    api.patch("a", &PatchParams::default(), &release).await.unwrap();
    assert_eq!(watch.next_name().await, "DELETED a");
    assert!(api.get_opt("a").await.unwrap().is_none());
}

#[tokio::test]
async fn a_watch_from_before_the_history_is_gone() {
    let cluster = Cluster::start(Options { history: 3, ..quiet() }).await;
    let api: Api<ConfigMap> = cluster.api();
    let from = cluster.config("a", &json!({})).await;
    for name in ["b", "c", "d"] {
        cluster.config(name, &json!({})).await;
    }
    let last = |expected: usize, from: String| {
        let api = api.clone();
        async move {
            let watch = api.watch(&WatchParams::default().timeout(60), &from).await.unwrap();
            let events = watch.take(expected).map_ok(|e| shown(&e)).try_collect::<Vec<_>>();
            within(events).await.unwrap()
        }
    };
    assert_eq!(last(3, from.clone()).await, ["added b", "added c", "added d"]);
    cluster.config("e", &json!({})).await;
    assert_eq!(last(1, from.clone()).await, ["error 410 Expired"]);
    // The watch ends after that.
    let watch = cluster.watch(&format!("{CONFIGS}?watch=1&resourceVersion={from}")).await;
    assert_eq!(watch.rest().await, ["ERROR "]);
}

#[tokio::test]
async fn a_watch_ends_at_its_timeout_however_long() {
    let cluster = Cluster::start(quiet()).await;
    cluster.config("a", &json!({})).await;
    let watch = cluster.watch(&format!("{CONFIGS}?watch=1&timeoutSeconds=0")).await;
    assert_eq!(watch.rest().await, ["ADDED a"]);
    let mut watch = cluster.watch(&format!("{CONFIGS}?watch=1&timeoutSeconds={}", u64::MAX)).await;
    assert_eq!(watch.next_name().await, "ADDED a");
}

/// Kubernetes has one store for both groups: one write, one revision.
#[tokio::test]
async fn an_event_is_written_once_for_both_groups() {
    let cluster = Cluster::start(quiet()).await;
    let path = |group: &str| format!("{group}/namespaces/default/events");
    let (new, core) = (path("/apis/events.k8s.io/v1"), path("/api/v1"));
    let mut watches =
        [cluster.watch(&format!("{new}?watch=1")).await, cluster.watch(&format!("{core}?watch=1")).await];
    let event = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"}, "type": "Normal",
        "reason": "R", "note": "hello", "action": "A", "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "c/x", "reportingInstance": "i", "regarding": {"kind": "Service", "name": "s"},
    });
    let (code, created) = cluster.json(axum::http::Method::POST, &new, &event).await;
    assert_eq!(code, 201, "{created}");
    let version = &created["metadata"]["resourceVersion"];
    for watch in &mut watches {
        let (what, object) = watch.next().await;
        assert_eq!((what.as_str(), &object["metadata"]["resourceVersion"]), ("ADDED", version), "{object}");
        assert_eq!(object["metadata"]["uid"], created["metadata"]["uid"]);
    }
    let seen = cluster.get(&format!("{core}/e")).await.1;
    assert_eq!((&seen["message"], &seen["involvedObject"]["name"]), (&json!("hello"), &json!("s")));
    // From the revision of the write on, there is nothing new in either group.
    for path in [&new, &core] {
        let query = format!("{path}?watch=1&timeoutSeconds=0&resourceVersion={}", version.as_str().unwrap());
        assert_eq!(cluster.watch(&query).await.rest().await, Vec::<String>::new());
    }
    // And what is written or deleted in one group is so in the other.
    let patch = json!({"message": "again"}).to_string();
    cluster
        .send(axum::http::Method::PATCH, &format!("{core}/e"), "application/merge-patch+json", patch)
        .await;
    assert_eq!(cluster.get(&format!("{new}/e")).await.1["note"], "again");
    cluster.send(axum::http::Method::DELETE, &format!("{core}/e"), "application/json", "").await;
    assert_eq!(cluster.get(&format!("{new}/e")).await.0, 404);
}
