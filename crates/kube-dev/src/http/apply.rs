//! Server-side apply: a configuration, and in whose name.

use axum::body::Bytes;
use axum::response::Response;
use serde_json::Value;

use super::caller::Caller;
use super::query::Query;
use super::target::Target;
use super::{json_response, part};
use crate::error::ApiError;

pub(super) const MEDIA_TYPE: &str = "application/apply-patch+yaml";

pub(super) fn apply(
    caller: &Caller<'_>,
    name: &str,
    query: &Query,
    body: &Bytes,
) -> Result<Response, ApiError> {
    let Target { kind, namespace, subresource, .. } = caller.target;
    if query.field_manager.as_deref().unwrap_or_default().is_empty() {
        return Err(ApiError::no_manager());
    }
    let config = decode(body)?;
    check(caller.target, name, &config)?;
    let (object, is_new) = caller.write(|store, stamp| {
        store.apply(kind, namespace, name, part(subresource), &config, query.is_forced(), stamp)
    })?;
    Ok(json_response(if is_new { 201 } else { 200 }, &caller.seen(&object, is_new)))
}

/// JSON is YAML as well.
fn decode(body: &Bytes) -> Result<Value, ApiError> {
    let bad = |why: &str| ApiError::bad_request(format!("error decoding patch: {why}"));
    let config: Value = serde_saphyr::from_slice(body).map_err(|error| bad(&error.to_string()))?;
    if config.is_object() { Ok(config) } else { Err(bad("this is no object")) }
}

/// Is the configuration one of this object?
fn check(target: &Target, name: &str, config: &Value) -> Result<(), ApiError> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (version, kind) = (text(&config["apiVersion"]), text(&config["kind"]));
    if (&*version, &*kind) != (&*target.kind.api_version(), target.kind.kind) {
        let version = if version.contains('/') { version } else { format!("/{version}") };
        return Err(ApiError::bad_request(format!("invalid object type: {version}, Kind={kind}")));
    }
    let metadata = &config["metadata"];
    if !metadata["managedFields"].is_null() {
        return Err(ApiError::bad_request("metadata.managedFields must be nil"));
    }
    let (given, given_namespace) = (text(&metadata["name"]), text(&metadata["namespace"]));
    if !given_namespace.is_empty() && given_namespace != target.namespace {
        return Err(ApiError::other_namespace());
    }
    if given.is_empty() {
        let why = "was undeterminable: name must be provided";
        return Err(ApiError::bad_request(format!("the name of the object ({name} based on URL) {why}")));
    }
    if given != name {
        let why = format!("the name of the object ({given}) does not match the name on the URL ({name})");
        return Err(ApiError::bad_request(why));
    }
    Ok(())
}
