//! Manifests: what is applied, and how an error says what and where.

use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::Api;
use kube_dev::ManifestError;

use crate::cluster::{Cluster, quiet};

#[tokio::test]
async fn documents_are_created_then_configured_then_unchanged() {
    let cluster = Cluster::start(quiet()).await;
    let manifest = |value: &str| {
        format!(
            "apiVersion: v1\nkind: Namespace\nmetadata: {{name: shop}}\n---\n# nothing\n---\n\
             apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a, namespace: shop}}\ndata: {{k: {value}}}\n"
        )
    };
    let applied = |value: &str| cluster.dev.apply_manifests(&manifest(value)).unwrap();
    assert_eq!(applied("one"), ["namespace/shop created", "configmap/a created"]);
    assert_eq!(applied("two"), ["namespace/shop unchanged", "configmap/a configured"]);
    assert_eq!(applied("two"), ["namespace/shop unchanged", "configmap/a unchanged"]);
    let api: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), "shop");
    assert_eq!(api.get("a").await.unwrap().data.unwrap()["k"], "two");
}

#[tokio::test]
async fn text_of_a_secret_is_encoded() {
    let cluster = Cluster::start(quiet()).await;
    let manifest = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {k: hello}\n";
    cluster.dev.apply_manifests(manifest).unwrap();
    let api: Api<Secret> = cluster.api();
    assert_eq!(api.get("s").await.unwrap().data.unwrap()["k"].0, b"hello");
}

/// YAML has `cpu: 1` as a number; Kubernetes takes it as the quantity "1".
#[tokio::test]
async fn quantities_may_be_numbers() {
    let cluster = Cluster::start(quiet()).await;
    let manifest = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers:\n  \
                    - {name: c, image: i, \
                    resources: {limits: {cpu: 1, memory: 1Gi}, requests: {cpu: 0.5}}}\n";
    cluster.dev.apply_manifests(manifest).unwrap();
    let api: Api<Pod> = cluster.api();
    let resources = api.get("p").await.unwrap().spec.unwrap().containers[0].resources.clone().unwrap();
    assert_eq!(resources.limits.unwrap()["cpu"].0, "1");
    assert_eq!(resources.requests.unwrap()["cpu"].0, "0.5");
}

#[tokio::test]
async fn a_manifest_that_does_not_parse_says_what_and_where() {
    let cluster = Cluster::start(quiet()).await;
    let error = cluster.dev.apply_manifests("apiVersion: v1\nkind: [Service\n").unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, ManifestError::Yaml(_)), "{error:?}");
    assert!(text.starts_with("the manifest does not parse: "), "{text}");
    assert!(text.contains("line"), "{text}");
}

#[tokio::test]
async fn a_document_that_is_refused_is_named_and_those_before_it_are_applied() {
    let cluster = Cluster::start(quiet()).await;
    let good = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: good}\n---\n";
    for (bad, parts) in [
        ("apiVersion: v1\nkind: Gizmo\n", vec!["document 2", "Gizmo"]),
        ("5\n", vec!["document 2"]),
        ("[a]\n", vec!["document 2"]),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: Bad_}\n", vec!["document 2", "configmap/Bad_"]),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: x\n", vec!["document 2", "metadata: "]),
        (
            "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: x\nstringData: {a: b}\n",
            vec!["document 2", "secret/s", "data: "],
        ),
        (
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\n\
             spec: {template: {metadata: {labels: x}}}\n",
            vec!["document 2", "deployment/d", "spec.template.metadata.labels: "],
        ),
        (
            "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{port: http}]}\n",
            vec!["document 2", "service/s", "spec.ports[0].port: "],
        ),
        (
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: missing}\n",
            vec!["document 2", "missing"],
        ),
    ] {
        let error = cluster.dev.apply_manifests(&format!("{good}{bad}")).unwrap_err().to_string();
        for part in parts {
            assert!(error.contains(part), "{error:?} does not say {part:?}");
        }
        assert_eq!(cluster.get("/api/v1/namespaces/default/configmaps/good").await.0, 200);
    }
}
