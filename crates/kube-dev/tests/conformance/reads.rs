//! Lists, pages, selectors, watches.

use kube_dev::Options;
use serde_json::json;

use crate::transcript::{MERGE, Transcript};

const SECRETS: &str = "/api/v1/namespaces/{ns}/secrets";

async fn secret(t: &mut Transcript, name: &str, app: &str) -> String {
    let made = t.post(SECRETS, json!({"metadata": {"name": name, "labels": {"app": app}}})).await;
    made["metadata"]["resourceVersion"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn lists_have_pages_and_selectors() {
    let mut t = Transcript::begin("lists").await;
    for (name, app) in [("a", "x"), ("b", "y"), ("c", "x")] {
        secret(&mut t, name, app).await;
    }
    let first = t.get(&format!("{SECRETS}?limit=2")).await;
    let token = first["metadata"]["continue"].as_str().unwrap().to_owned();
    t.page(&format!("{SECRETS}?limit=2"), &token).await;
    for query in [
        "labelSelector=app%3Dx",
        "labelSelector=app%20notin%20(x)",
        "fieldSelector=metadata.name%3Db",
        "fieldSelector=metadata.name!%3Db,type%3DOpaque",
        "fieldSelector=data%3Db",
        "labelSelector=a%20b",
        "limit=x",
        "limit=2&continue=nonsense",
    ] {
        t.get(&format!("{SECRETS}?{query}")).await;
    }
    t.get("/api/v1/namespaces/none/secrets").await;
    t.end().await;
}

#[tokio::test]
async fn watches_resume_and_end() {
    let mut t = Transcript::begin("watches").await;
    let from = secret(&mut t, "a", "x").await;
    secret(&mut t, "b", "y").await;
    let label = |app: &str| json!({"metadata": {"labels": {"app": app}}});
    t.patch(&format!("{SECRETS}/a"), MERGE, label("y")).await;
    t.patch(&format!("{SECRETS}/a"), MERGE, label("x")).await;
    t.delete(&format!("{SECRETS}/a"), "").await;
    t.watch(&format!("{SECRETS}?watch=1&resourceVersion={from}"), 4).await;
    t.watch(&format!("{SECRETS}?watch=1&labelSelector=app%3Dx&resourceVersion={from}"), 3).await;
    t.watch(&format!("{SECRETS}?watch=1&fieldSelector=metadata.name%3Db&resourceVersion={from}"), 1).await;
    t.watch(&format!("{SECRETS}?watch=1"), 1).await;
    let initial = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    t.watch(&format!("{SECRETS}?{initial}"), 2).await;
    t.get(&format!("{SECRETS}?watch=1&resourceVersion=abc")).await;
    t.end().await;
}

/// A real plane forgets once its watch cache has seen more than a hundred later changes of Secrets, and those are
/// older than 75 s; so this one is compared with a plane that has run for long.
#[tokio::test]
async fn a_watch_from_what_is_forgotten_is_gone() {
    let mut t = Transcript::begin_with("gone", Options { history: 1, ..Options::default() }).await;
    secret(&mut t, "a", "x").await;
    secret(&mut t, "b", "x").await;
    t.watch_until_gone(&format!("{SECRETS}?watch=1&resourceVersion=1")).await;
    t.end().await;
}
