//! How a DELETE is meant.

use axum::body::Bytes;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;
use serde_json::Value;

use super::query::Query;
use crate::error::ApiError;
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
    Ok(options)
}

/// Is the object the one that the client wants deleted?
pub(super) fn check(options: &DeleteOptions, kind: &Kind, object: &Value) -> Result<(), ApiError> {
    let Some(wanted) = &options.preconditions else { return Ok(()) };
    let metadata = &object["metadata"];
    let name = metadata["name"].as_str().unwrap_or_default();
    if let Some(uid) = wanted.uid.as_ref().filter(|uid| metadata["uid"] != uid.as_str()) {
        return Err(ApiError::other_uid(kind, name, uid, &metadata["uid"]));
    }
    match &wanted.resource_version {
        Some(version) if metadata["resourceVersion"] != version.as_str() => {
            let found = &metadata["resourceVersion"];
            let why = format!(
                "the ResourceVersion in the precondition ({version}) does not match that in record ({found})"
            );
            Err(ApiError::precondition(kind, name, &why))
        }
        _ => Ok(()),
    }
}

fn bad(why: &str) -> ApiError {
    ApiError::bad_request(format!("these are no DeleteOptions: {why}"))
}
