//! What the real API server fills in and the bridge or `kubectl` look at.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::kinds::Kind;
use crate::service;

/// Fills in what is the same for all objects of a kind. Services have more of it, see [`crate::service`].
pub(crate) fn fill(kind: &Kind, object: &mut Value) {
    complete(object, &blank(kind));
    if kind.plural == "namespaces" {
        let name = object["metadata"]["name"].clone();
        object["metadata"]["labels"]["kubernetes.io/metadata.name"] = name;
    }
    let mut within = |part: &str, field: &str, value: Value| {
        if object.get(part).is_none() {
            object[part] = json!({});
        }
        default(&mut object[part], field, value);
    };
    match kind.plural {
        "deployments" | "statefulsets" | "replicasets" => within("spec", "replicas", json!(1)),
        "services" => service::fill(object),
        "endpoints" => {
            let subsets = object.get_mut("subsets").and_then(Value::as_array_mut).into_iter().flatten();
            subsets.for_each(|subset| of_each(subset, "ports", "protocol", &json!("TCP")));
        }
        "endpointslices" => {
            of_each(object, "ports", "name", &json!(""));
            of_each(object, "ports", "protocol", &json!("TCP"));
            of_each(object, "endpoints", "conditions", &json!({}));
        }
        "secrets" => {
            default(object, "type", json!("Opaque"));
            encode_string_data(object);
        }
        _ => {}
    }
}

/// What the server sets itself, in nobody's name.
pub(crate) fn prepare(kind: &Kind, object: &mut Value) {
    match kind.plural {
        "namespaces" => {
            default(&mut object["status"], "phase", json!("Active"));
            default(&mut object["spec"], "finalizers", json!(["kubernetes"]));
        }
        "pods" => default(&mut object["status"], "phase", json!("Pending")),
        _ => {}
    }
}

/// What an object of a kind has even if nobody gave it anything: fields that its Go type does not omit.
pub(crate) fn blank(kind: &Kind) -> Value {
    let mut blank = match (kind.group, kind.plural) {
        (_, "services") => json!({"spec": {}, "status": {"loadBalancer": {}}}),
        (_, "leases") => json!({"spec": {}}),
        (_, "endpointslices") => json!({"addressType": "", "endpoints": null, "ports": null}),
        ("", "events") => json!({
            "involvedObject": {}, "source": {}, "firstTimestamp": null, "lastTimestamp": null,
            "eventTime": null, "reportingComponent": "", "reportingInstance": "",
        }),
        (_, "events") => json!({
            "regarding": {}, "eventTime": null, "deprecatedSource": {}, "deprecatedFirstTimestamp": null,
            "deprecatedLastTimestamp": null,
        }),
        _ if kind.has_status => json!({"spec": {}, "status": {}}),
        _ => json!({}),
    };
    blank["metadata"] = json!({});
    blank
}

/// Fills in what an object does not have of another.
fn complete(object: &mut Value, by: &Value) {
    let (Value::Object(object), Value::Object(by)) = (object, by) else { return };
    for (name, value) in by {
        complete(object.entry(name).or_insert_with(|| value.clone()), value);
    }
}

/// Sets a field that an object does not have.
pub(crate) fn default(object: &mut Value, field: &str, value: Value) {
    if let Some(map) = object.as_object_mut() {
        map.entry(field).or_insert(value);
    }
}

/// Sets a field that elements of a list do not have.
fn of_each(object: &mut Value, list: &str, field: &str, value: &Value) {
    let elements = object.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten();
    elements.for_each(|element| default(element, field, value.clone()));
}

/// `stringData` of a Secret becomes `data`.
fn encode_string_data(secret: &mut Value) {
    let Some(fields) = secret.as_object_mut() else { return };
    let Some(Value::Object(texts)) = fields.remove("stringData") else { return };
    let Value::Object(data) = fields.entry("data").or_insert_with(|| json!({})) else { return };
    for (name, text) in texts {
        data.insert(name, STANDARD.encode(text.as_str().unwrap_or_default()).into());
    }
}
