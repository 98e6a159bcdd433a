//! The scale subresource (`autoscaling/v1` Scale).

use serde_json::{Value, json};

use crate::error::ApiError;
use crate::kinds::Kind;
use crate::types;

/// The Scale of an object.
pub(super) fn scale(object: &Value) -> Value {
    let metadata = &object["metadata"];
    let labels = object["spec"]["selector"]["matchLabels"].as_object();
    let selector: Vec<_> = labels
        .into_iter()
        .flatten()
        .map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()))
        .collect();
    json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
            "creationTimestamp": metadata["creationTimestamp"],
        },
        "spec": {"replicas": object["spec"]["replicas"]},
        "status": {
            "replicas": object["status"]["replicas"].as_i64().unwrap_or(0), "selector": selector.join(","),
        },
    })
}

/// The object with the replicas of a Scale. What else the Scale says of the object has to be so.
pub(super) fn rescale(kind: &Kind, before: &Value, scale: &Value) -> Result<Value, ApiError> {
    let given =
        types::scale(scale).map_err(|error| ApiError::bad_request(format!("this is no Scale: {error}")))?;
    let mut after = before.clone();
    // Their check is the store's.
    for (field, given) in [
        ("name", given.metadata.name),
        ("namespace", given.metadata.namespace),
        ("resourceVersion", given.metadata.resource_version),
    ] {
        if let Some(given) = given.filter(|given| !given.is_empty()) {
            after["metadata"][field] = given.into();
        }
    }
    let name = before["metadata"]["name"].as_str().unwrap_or_default();
    if let Some(uid) = given.metadata.uid.filter(|uid| before["metadata"]["uid"] != uid.as_str()) {
        return Err(ApiError::other_uid(kind, name, &uid, &before["metadata"]["uid"]));
    }
    // Left out, they are none.
    after["spec"]["replicas"] = given.spec.and_then(|spec| spec.replicas).unwrap_or(0).into();
    Ok(after)
}
