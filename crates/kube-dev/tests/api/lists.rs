//! Lists: order, pages, selectors, and the Table that `kubectl get` asks for.

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{ListParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::json;

use crate::cluster::{Cluster, object, quiet, refusal};

async fn put(cluster: &Cluster, namespace: &str, names: &[&str]) {
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    if namespaces.get_opt(namespace).await.unwrap().is_none() {
        let namespace = object(json!({"metadata": {"name": namespace}}));
        namespaces.create(&PostParams::default(), &namespace).await.unwrap();
    }
    let api: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), namespace);
    for name in names {
        let config = object(json!({"metadata": {"name": name, "labels": {"name": name}}}));
        api.create(&PostParams::default(), &config).await.unwrap();
    }
}

/// All pages of a size, as `namespace/name`.
async fn pages(api: &Api<ConfigMap>, size: u32) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    let mut params = ListParams::default().limit(size);
    loop {
        let page = api.list(&params).await.unwrap();
        let place = |c: &ConfigMap| format!("{}/{}", c.namespace().unwrap(), c.name_any());
        pages.push(page.items.iter().map(place).collect());
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return pages,
        }
    }
}

/// `-` is less than `/`: as texts, `shop-a/x` comes before `shop/z`.
#[tokio::test]
async fn pages_of_any_size_have_every_object_once_although_namespaces_begin_alike() {
    let cluster = Cluster::start(quiet()).await;
    for namespace in ["shop", "shop-a", "shop-b", "sho", "shopper"] {
        put(&cluster, namespace, &["a", "a-b", "a.b", "z"]).await;
    }
    let api: Api<ConfigMap> = Api::all(cluster.client.clone());
    let whole = pages(&api, 1_000).await.concat();
    assert_eq!(whole.len(), 20);
    for size in 1..=21 {
        let pages = pages(&api, size).await;
        assert!(pages.iter().rev().skip(1).all(|page| page.len() == size as usize), "{pages:?}");
        assert_eq!(pages.concat(), whole, "pages of {size}");
    }
}

#[tokio::test]
async fn pages_stay_in_their_namespace_and_keep_the_revision_of_the_first() {
    let cluster = Cluster::start(quiet()).await;
    put(&cluster, "shop", &["a", "b", "c"]).await;
    put(&cluster, "shop-a", &["a"]).await;
    let api: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), "shop");
    let first = api.list(&ListParams::default().limit(2)).await.unwrap();
    put(&cluster, "shop", &["d"]).await;
    let token = first.metadata.continue_.unwrap();
    let second = api.list(&ListParams::default().limit(9).continue_token(&token)).await.unwrap();
    assert_eq!(second.metadata.resource_version, first.metadata.resource_version);
    assert_eq!(second.items.iter().map(|c| c.name_any()).collect::<Vec<_>>(), ["c", "d"]);
}

#[tokio::test]
async fn a_page_whose_revision_is_forgotten_is_gone() {
    let cluster = Cluster::start(kube_dev::Options { history: 2, ..quiet() }).await;
    put(&cluster, "default", &["a", "b", "c"]).await;
    let api: Api<ConfigMap> = cluster.api();
    let token = api.list(&ListParams::default().limit(1)).await.unwrap().metadata.continue_.unwrap();
    put(&cluster, "default", &["d", "e", "f"]).await;
    let next = api.list(&ListParams::default().limit(1).continue_token(&token)).await;
    assert_eq!(refusal(next.map(|list| list.items.len())), (410, "Expired".to_owned()));
}

#[tokio::test]
async fn selectors_choose_by_labels_and_fields() {
    let cluster = Cluster::start(quiet()).await;
    put(&cluster, "default", &["a", "b", "c"]).await;
    let api: Api<ConfigMap> = cluster.api();
    for (labels, fields, expected) in [
        ("name=a", "", vec!["a"]),
        ("name!=a", "", vec!["b", "c"]),
        ("name in (a, c)", "", vec!["a", "c"]),
        ("name notin (a,b)", "", vec!["c"]),
        ("name", "metadata.name!=b", vec!["a", "c"]),
        ("!name", "", vec![]),
        ("", "metadata.namespace=default,metadata.name=b", vec!["b"]),
    ] {
        let params = ListParams::default().labels(labels).fields(fields);
        let found = api.list(&params).await.unwrap();
        let found: Vec<_> = found.items.iter().map(|c| c.name_any()).collect();
        assert_eq!(found, expected, "{labels:?} {fields:?}");
    }
}

#[tokio::test]
async fn selectors_that_do_not_parse_are_bad_requests() {
    let cluster = Cluster::start(quiet()).await;
    let api: Api<ConfigMap> = cluster.api();
    // Refused by Kubernetes 1.37 as well.
    for labels in
        ["a b", "a in", "a in (x", "a=b=c", "!", "a,,b", "(a)", "a in x", "=x", "Ä=1", "a=b c", ",", "a,"]
    {
        let list = api.list(&ListParams::default().labels(labels)).await;
        assert_eq!(refusal(list.map(|list| list.items.len())), (400, "BadRequest".to_owned()), "{labels:?}");
    }
    let list = api.list(&ListParams::default().fields("metadata.name")).await;
    assert_eq!(refusal(list.map(|list| list.items.len())), (400, "BadRequest".to_owned()));
}

#[tokio::test]
async fn a_table_has_a_row_for_each_object() {
    let cluster = Cluster::start(quiet()).await;
    put(&cluster, "default", &["a", "b"]).await;
    let request = axum::http::Request::get("/api/v1/namespaces/default/configmaps")
        .header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
        .body(Vec::new())
        .unwrap();
    let table: serde_json::Value = cluster.client.request(request).await.unwrap();
    assert_eq!(table["kind"], "Table");
    let rows = table["rows"].as_array().unwrap();
    assert_eq!(rows.iter().map(|row| row["cells"][0].as_str().unwrap()).collect::<Vec<_>>(), ["a", "b"]);
}
