//! The HTTP side: which request means which operation on the store.

mod apply;
mod caller;
mod delete;
mod list;
mod protobuf;
mod query;
mod scale;
mod target;
mod watch;

use std::sync::Arc;

use axum::body::{Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::error::ApiError;
use crate::kinds::Kind;
use crate::server::Api;
use crate::store::{Part, name_of, namespace_of};
use crate::table::table;
use crate::{discovery, patch, types};
use caller::Caller;
use list::list;
use query::Query;
use scale::{rescale, scale};
use target::{Target, target};
use watch::watch;

/// The API server's own limit on a request's body.
const BODY_LIMIT: usize = 3 << 20;

/// Answers every request.
pub(crate) async fn handle(State(api): State<Arc<Api>>, request: Request) -> Response {
    match answer(api, request).await {
        Ok(response) => response,
        Err(error) => json_response(error.code, &error.status()),
    }
}

async fn answer(api: Arc<Api>, request: Request) -> Result<Response, ApiError> {
    let path = request.uri().path().trim_matches('/').to_owned();
    let segments: Vec<&str> = path.split('/').collect();
    let found = match segments.as_slice() {
        ["healthz" | "readyz" | "livez", ..] => return Ok("ok".into_response()),
        ["version"] => Some(discovery::version()),
        ["api"] => Some(discovery::core_versions()),
        ["apis"] => Some(discovery::groups()),
        ["api", version] => discovery::resources("", version),
        ["apis", group, version] => discovery::resources(group, version),
        ["openapi", "v3"] => Some(discovery::openapi_index()),
        ["openapi", "v3", rest @ ..] => discovery::openapi(&rest.join("/")),
        ["api", version, rest @ ..] => return object(api, target("", version, rest)?, request).await,
        ["apis", group, version, rest @ ..] => {
            return object(api, target(group, version, rest)?, request).await;
        }
        _ => None,
    };
    found.map(|value| json_response(200, &value)).ok_or_else(ApiError::no_such_path)
}

async fn object(api: Arc<Api>, target: Target, request: Request) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let query = Query::of(&parts.uri)?;
    let as_table = wants_table(&parts.headers);
    let body = to_bytes(body, BODY_LIMIT).await.map_err(|_| ApiError::too_large())?;
    if parts.method == Method::GET && target.name.is_none() && query.is_watch() {
        return watch(api, &target, &query, as_table);
    }
    let caller = Caller::of(&api, &target, &parts.method, &query, &parts.headers)?;
    match (&parts.method, &target.name, &target.subresource) {
        (&Method::GET, None, _) => list(&api, &target, &query, as_table),
        (&Method::GET, Some(name), _) => get(&api, &target, name, as_table),
        (&Method::POST, None, _) if target.kind.namespaced != target.namespace.is_empty() => {
            let object = decode(target.kind, &parts.headers, &body)?;
            let Target { kind, namespace, .. } = &target;
            let created = caller.write(|store, stamp| store.create(kind, namespace, object, stamp))?;
            Ok(json_response(201, &caller.seen(&created, true)))
        }
        (&Method::PUT, Some(name), _) => {
            let object = decode(target.kind, &parts.headers, &body)?;
            update(&caller, name, |before| replace(&target, name, before, object))
        }
        (&Method::PATCH, Some(name), _) => {
            let media_type = media_type(&parts.headers);
            if media_type == apply::MEDIA_TYPE {
                return apply::apply(&caller, name, &query, &body);
            }
            if query.force.is_some() {
                return Err(ApiError::no_force());
            }
            let patch: Value = serde_json::from_slice(&body)
                .map_err(|error| ApiError::bad_request(format!("the patch is no JSON: {error}")))?;
            update(&caller, name, |before| patched(&target, &media_type, before, &patch))
        }
        (&Method::DELETE, Some(name), None) => delete(caller, name, &query, &body),
        (&Method::DELETE, None, _) => delete_collection(caller, &query, &body),
        _ => Err(ApiError::method()),
    }
}

fn get(api: &Api, target: &Target, name: &str, as_table: bool) -> Result<Response, ApiError> {
    let (object, revision) =
        api.read(|store| Ok((store.get(target.kind, &target.namespace, name)?, store.revision())))?;
    Ok(match target.subresource.as_deref() {
        Some("scale") => json_response(200, &scale(&object)),
        _ if as_table => json_response(200, &table(target.kind, &[object], revision, Timestamp::now())),
        _ => json_response(200, &object),
    })
}

/// What a PUT makes of an object. A patch may not change the uid either, but for a PUT another uid means that
/// another object is meant.
fn replace(target: &Target, name: &str, before: &Value, object: Value) -> Result<Value, ApiError> {
    let (given, uid) = (&object["metadata"]["uid"], &before["metadata"]["uid"]);
    match given.as_str() {
        Some(given) if !given.is_empty() && uid != given => {
            Err(ApiError::other_uid(target.kind, name, given, uid))
        }
        _ => Ok(object),
    }
}

/// What a PATCH makes of an object. A result of the wrong shape is the patch's fault.
fn patched(target: &Target, media_type: &str, before: &Value, patch: &Value) -> Result<Value, ApiError> {
    let after = patch::apply(media_type, before, patch)?;
    if target.subresource.as_deref() == Some("scale") {
        return Ok(after);
    }
    types::check(target.kind, &after).map_err(|error| {
        ApiError::unprocessable(format!("the patch leaves no {}: {error}", target.kind.kind))
    })?;
    Ok(after)
}

fn update(
    caller: &Caller<'_>,
    name: &str,
    change: impl FnOnce(&Value) -> Result<Value, ApiError>,
) -> Result<Response, ApiError> {
    let Target { kind, namespace, subresource, .. } = caller.target;
    let is_scale = subresource.as_deref() == Some("scale");
    let after = caller.write(|store, stamp| {
        store.update(kind, namespace, name, part(subresource), stamp, |before| {
            if is_scale { rescale(kind, before, &change(&scale(before))?) } else { change(before) }
        })
    })?;
    Ok(if is_scale { json_response(200, &scale(&after)) } else { json_response(200, &after) })
}

fn part(subresource: &Option<String>) -> Part {
    if subresource.as_deref() == Some("status") { Part::Status } else { Part::Main }
}

fn delete(caller: Caller<'_>, name: &str, query: &Query, body: &Bytes) -> Result<Response, ApiError> {
    let options = delete::options(query, body)?;
    let caller = caller.rehearsing(options.dry_run.as_ref().is_some_and(|how| !how.is_empty()));
    let Target { kind, namespace, .. } = caller.target;
    let deleted = caller.write(|store, stamp| {
        delete::check(&options, kind, &*store.get(kind, namespace, name)?)?;
        let gracefully = store.is_graceful(kind) && options.grace_period_seconds != Some(0);
        store.delete(kind, namespace, name, gracefully, stamp)
    })?;
    Ok(json_response(200, &delete::answer(kind, &deleted)))
}

fn delete_collection(caller: Caller<'_>, query: &Query, body: &Bytes) -> Result<Response, ApiError> {
    let (selector, options) = (query.selector(caller.target.kind)?, delete::options(query, body)?);
    let caller = caller.rehearsing(options.dry_run.as_ref().is_some_and(|how| !how.is_empty()));
    let Target { kind, namespace, .. } = caller.target;
    caller
        .write(|store, stamp| {
            let gracefully = store.is_graceful(kind) && options.grace_period_seconds != Some(0);
            let doomed: Vec<_> = store.list(kind, namespace, &selector).cloned().collect();
            for object in &doomed {
                // One may have gone with another that owned it.
                let _ = store.delete(kind, namespace_of(object), name_of(object), gracefully, stamp);
            }
            Ok(list::list_of(kind, &doomed, json!({"resourceVersion": store.revision().to_string()})))
        })
        .map(|deleted| json_response(200, &deleted))
}

fn media_type(headers: &HeaderMap) -> String {
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("application/json");
    given.split(';').next().unwrap_or_default().trim().to_owned()
}

fn wants_table(headers: &HeaderMap) -> bool {
    headers
        .get(ACCEPT)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|accept| accept.contains("as=Table"))
}

fn decode(kind: &Kind, headers: &HeaderMap, body: &Bytes) -> Result<Value, ApiError> {
    match media_type(headers).as_str() {
        "application/json" => serde_json::from_slice(body)
            .map_err(|error| ApiError::bad_request(format!("the object provided is no JSON: {error}"))),
        protobuf::MEDIA_TYPE => {
            let why = format!("this is no {} in protobuf that is read here", kind.kind);
            protobuf::decode(kind, body).ok_or_else(|| ApiError::bad_request(why))
        }
        _ => Err(ApiError::media_type(
            "application/json, application/yaml, application/vnd.kubernetes.protobuf",
        )),
    }
}

fn json_response(code: u16, value: &Value) -> Response {
    let code = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (code, [(CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}
