//! How a DELETE is meant.

use axum::body::Bytes;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;
use serde_json::{Value, json};

use super::query::Query;
use crate::error::{ApiError, details};
use crate::kinds::Kind;
use crate::types;

/// The options of a DELETE: its body, and what the query says instead.
pub(super) fn options(query: &Query, body: &Bytes) -> Result<DeleteOptions, ApiError> {
    let mut options = DeleteOptions::default();
    if !body.is_empty() {
        let body: Value = serde_json::from_slice(body).map_err(|error| bad(&error.to_string()))?;
        options = types::delete_options(&body).map_err(|error| bad(&error))?;
    }
    options.grace_period_seconds = query.grace_period_seconds.or(options.grace_period_seconds);
    let policy = query.propagation_policy.clone().or(options.propagation_policy.take());
    match policy.as_deref() {
        None | Some("Foreground" | "Background" | "Orphan") => Ok(options),
        Some(other) => Err(ApiError::no_policy(other)),
    }
}

/// What a DELETE answers: the object, if it is still there or its kind is of those that are shown a last time
/// (`ReturnDeletedObject` upstream).
pub(super) fn answer(kind: &Kind, object: &Value) -> Value {
    let is_there = object["metadata"]["deletionTimestamp"].is_string();
    if is_there || matches!(kind.plural, "pods" | "services" | "serviceaccounts" | "namespaces") {
        return object.clone();
    }
    let mut details = details(kind.plural, kind, object["metadata"]["name"].as_str().unwrap_or_default());
    details["uid"] = object["metadata"]["uid"].clone();
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}

/// Is the object the one that the client wants deleted?
pub(super) fn check(options: &DeleteOptions, kind: &Kind, object: &Value) -> Result<(), ApiError> {
    let Some(wanted) = &options.preconditions else { return Ok(()) };
    let metadata = &object["metadata"];
    let name = metadata["name"].as_str().unwrap_or_default();
    if let Some(uid) = wanted.uid.as_ref().filter(|uid| metadata["uid"] != uid.as_str()) {
        return Err(ApiError::deletes_other(kind, name, "UID", uid, &metadata["uid"]));
    }
    match &wanted.resource_version {
        Some(version) if metadata["resourceVersion"] != version.as_str() => {
            let found = &metadata["resourceVersion"];
            Err(ApiError::deletes_other(kind, name, "ResourceVersion", version, found))
        }
        _ => Ok(()),
    }
}

fn bad(why: &str) -> ApiError {
    ApiError::bad_request(format!("these are no DeleteOptions: {why}"))
}
