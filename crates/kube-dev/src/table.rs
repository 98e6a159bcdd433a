//! Lists as `kubectl get` shows them (`meta.k8s.io/v1` Table).

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::kinds::Kind;

/// Objects of a kind as a Table, with their ages at `now`.
pub(crate) fn table(kind: &Kind, objects: &[Arc<Value>], revision: u64, now: Timestamp) -> Value {
    let columns = columns(kind);
    let names = ["Name"].into_iter().chain(columns.iter().map(|(name, _)| *name)).chain(["Age"]);
    let definitions: Vec<_> = names
        .map(|name| {
            let format = if name == "Name" { "name" } else { "" };
            json!({"name": name, "type": "string", "format": format, "description": "", "priority": 0})
        })
        .collect();
    let rows: Vec<_> = objects
        .iter()
        .map(|object| {
            let cells = columns.iter().map(|(_, cell)| cell(object));
            let name = object["metadata"]["name"].clone();
            let age = Value::String(age(object, now));
            let cells: Vec<_> = std::iter::once(name).chain(cells).chain([age]).collect();
            let part = json!({
                "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"],
            });
            json!({"cells": cells, "object": part})
        })
        .collect();
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": revision.to_string()},
        "columnDefinitions": definitions, "rows": rows,
    })
}

type Cell = fn(&Value) -> Value;

fn columns(kind: &Kind) -> Vec<(&'static str, Cell)> {
    match kind.plural {
        "pods" => vec![
            ("Ready", |pod| {
                let ready = usize::from(is_ready(pod));
                format!("{ready}/1").into()
            }),
            ("Status", |pod| match pod["metadata"]["deletionTimestamp"].is_string() {
                true => "Terminating".into(),
                false => pod["status"]["phase"].clone(),
            }),
            ("IP", |pod| pod["status"]["podIP"].clone()),
        ],
        "services" => vec![
            ("Type", |service| service["spec"]["type"].clone()),
            ("Cluster-IP", |service| service["spec"]["clusterIP"].clone()),
            ("Port(s)", |service| {
                list(&service["spec"]["ports"], |port| format!("{}/TCP", port["port"])).into()
            }),
        ],
        "deployments" | "replicasets" | "statefulsets" => vec![
            ("Ready", |deployment| {
                let (ready, wanted) =
                    (&deployment["status"]["readyReplicas"], &deployment["spec"]["replicas"]);
                format!("{}/{wanted}", ready.as_i64().unwrap_or(0)).into()
            }),
            ("Up-to-date", |deployment| deployment["status"]["updatedReplicas"].as_i64().unwrap_or(0).into()),
        ],
        "endpointslices" => vec![
            ("AddressType", |slice| slice["addressType"].clone()),
            ("Ports", |slice| list(&slice["ports"], |port| port["port"].to_string()).into()),
            ("Endpoints", |slice| {
                list(&slice["endpoints"], |endpoint| {
                    endpoint["addresses"][0].as_str().unwrap_or_default().to_owned()
                })
                .into()
            }),
        ],
        "events" => vec![
            ("Type", |event| event["type"].clone()),
            ("Reason", |event| event["reason"].clone()),
            ("Message", |event| {
                event.get("note").or_else(|| event.get("message")).cloned().unwrap_or_default()
            }),
        ],
        "namespaces" => vec![("Status", |namespace| namespace["status"]["phase"].clone())],
        "leases" => vec![("Holder", |lease| lease["spec"]["holderIdentity"].clone())],
        _ => Vec::new(),
    }
}

/// Is the Ready condition true?
pub(crate) fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions
        .is_some_and(|conditions| conditions.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"))
}

fn list(values: &Value, show: impl Fn(&Value) -> String) -> String {
    let shown: Vec<_> = values.as_array().into_iter().flatten().map(show).collect();
    if shown.is_empty() { "<none>".to_owned() } else { shown.join(",") }
}

fn age(object: &Value, now: Timestamp) -> String {
    let created = object["metadata"]["creationTimestamp"].as_str();
    let Some(created) = created.and_then(|text| text.parse::<Timestamp>().ok()) else {
        return "<unknown>".to_owned();
    };
    let age: SignedDuration = now.duration_since(created);
    match age.as_secs() {
        seconds @ ..120 => format!("{}s", seconds.max(0)),
        seconds @ 120..7_200 => format!("{}m", seconds / 60),
        seconds => format!("{}h", seconds / 3_600),
    }
}
