//! What `kubectl` asks before it does anything: which groups, versions and kinds there are.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::kinds::{KINDS, Kind};

/// `/api`.
pub(crate) fn core_versions() -> Value {
    json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})
}

/// `/apis`.
pub(crate) fn groups() -> Value {
    let groups: BTreeSet<_> =
        KINDS.iter().filter(|kind| !kind.group.is_empty()).map(|kind| (kind.group, kind.version)).collect();
    let groups: Vec<_> = groups
        .into_iter()
        .map(|(group, version)| {
            let version = json!({"groupVersion": format!("{group}/{version}"), "version": version});
            json!({"name": group, "versions": [version], "preferredVersion": version})
        })
        .collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `/api/v1`, `/apis/<group>/<version>`; none if there is no such group.
pub(crate) fn resources(group: &str, version: &str) -> Option<Value> {
    let mut resources = Vec::new();
    for kind in KINDS.iter().filter(|kind| kind.group == group && kind.version == version) {
        let verbs = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
        resources.push(json!({
            "name": kind.plural, "singularName": kind.kind.to_lowercase(), "namespaced": kind.namespaced,
            "kind": kind.kind, "verbs": verbs, "shortNames": kind.short, "categories": categories(kind),
        }));
        let mut subresource = |name: &str, kind_name: &str| {
            resources.push(json!({
                "name": format!("{}/{name}", kind.plural), "singularName": "", "namespaced": kind.namespaced,
                "kind": kind_name, "verbs": ["get", "patch", "update"],
            }));
        };
        if kind.has_status {
            subresource("status", kind.kind);
        }
        if kind.has_scale {
            subresource("scale", "Scale");
        }
    }
    let version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    (!resources.is_empty())
        .then(|| json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources}))
}

/// `/openapi/v3`: where the documents are.
pub(crate) fn openapi_index() -> Value {
    let mut paths = Map::new();
    for kind in &KINDS {
        let path = root(kind);
        let url = format!("/openapi/v3/{path}");
        paths.insert(path, json!({"serverRelativeURL": url}));
    }
    json!({"paths": paths})
}

/// `/openapi/v3/<path>`: just enough to tell `kubectl` that the server validates fields itself.
pub(crate) fn openapi(path: &str) -> Option<Value> {
    let mut paths = BTreeMap::new();
    for kind in KINDS.iter().filter(|kind| root(kind) == path) {
        let namespace = if kind.namespaced { "namespaces/{namespace}/" } else { "" };
        let gvk = json!({"group": kind.group, "version": kind.version, "kind": kind.kind});
        let operation = json!({
            "x-kubernetes-group-version-kind": gvk,
            "parameters": [{"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}],
            "responses": {"200": {"description": "OK"}},
        });
        let path = format!("/{path}/{namespace}{}/{{name}}", kind.plural);
        paths.insert(path, json!({"patch": operation, "put": operation}));
    }
    let info = json!({"title": "kube-dev", "version": VERSION});
    (!paths.is_empty())
        .then(|| json!({"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": {}}}))
}

/// The release whose behaviour is imitated.
const VERSION: &str = "v1.33.0";

/// `/version`.
pub(crate) fn version() -> Value {
    json!({"major": "1", "minor": "33", "gitVersion": format!("{VERSION}+kube-dev"), "platform": "kube-dev"})
}

fn root(kind: &Kind) -> String {
    if kind.group.is_empty() { "api/v1".to_owned() } else { format!("apis/{}/{}", kind.group, kind.version) }
}

fn categories(kind: &Kind) -> &'static [&'static str] {
    match kind.plural {
        "pods" | "services" | "deployments" | "replicasets" | "statefulsets" => &["all"],
        _ => &[],
    }
}
