//! The HTTP side: which request means which operation on the store.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures::{Stream, stream};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::discovery;
use crate::error::ApiError;
use crate::kinds::Kind;
use crate::patch;
use crate::selector::Selector;
use crate::server::Api;
use crate::store::{Change, Part, name_of, namespace_of};
use crate::table::table;

/// The API server's own limit on a request's body.
const BODY_LIMIT: usize = 3 << 20;
const DEFAULT_WATCH: Duration = Duration::from_secs(300);
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(10);

/// What a path names.
struct Target {
    kind: &'static Kind,
    /// Empty for all namespaces, and for cluster-wide kinds.
    namespace: String,
    name: Option<String>,
    subresource: Option<String>,
}

/// The query parameters of all operations.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Query {
    label_selector: Option<String>,
    field_selector: Option<String>,
    limit: Option<usize>,
    r#continue: Option<String>,
    watch: Option<String>,
    resource_version: Option<String>,
    timeout_seconds: Option<u64>,
    allow_watch_bookmarks: Option<String>,
    send_initial_events: Option<String>,
    grace_period_seconds: Option<i64>,
    dry_run: Option<String>,
}

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

/// `[namespaces/<namespace>/]<plural>[/<name>[/<subresource>]]`.
fn target(group: &str, version: &str, rest: &[&str]) -> Result<Target, ApiError> {
    let (namespace, rest) = match rest {
        ["namespaces", namespace, rest @ ..]
            if !rest.is_empty() && !matches!(rest, ["status" | "finalize"]) =>
        {
            (*namespace, rest)
        }
        rest => ("", rest),
    };
    let (plural, name, subresource) = match rest {
        [plural] => (*plural, None, None),
        [plural, name] => (*plural, Some(*name), None),
        [plural, name, subresource] => (*plural, Some(*name), Some(*subresource)),
        _ => return Err(ApiError::no_such_path()),
    };
    let kind = Kind::find(group, version, plural).ok_or_else(ApiError::no_such_path)?;
    if kind.namespaced && namespace.is_empty() && name.is_some() {
        return Err(ApiError::no_such_path());
    }
    let known = match subresource {
        None => true,
        Some("status") => kind.has_status,
        Some("scale") => kind.has_scale,
        Some(_) => false,
    };
    if !known {
        return Err(ApiError::no_such_path());
    }
    let owned = |text: &str| text.to_owned();
    Ok(Target {
        kind,
        namespace: owned(namespace),
        name: name.map(owned),
        subresource: subresource.map(owned),
    })
}

async fn object(api: Arc<Api>, target: Target, request: Request) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let query = axum::extract::Query::<Query>::try_from_uri(&parts.uri)
        .map_err(|error| ApiError::bad_request(error.to_string()))?
        .0;
    let as_table = wants_table(&parts.headers);
    let body = to_bytes(body, BODY_LIMIT).await.map_err(|_| ApiError::too_large())?;
    if query.dry_run.is_some() {
        return Err(ApiError::bad_request("dryRun is not supported here"));
    }
    let Target { kind, namespace, name, subresource } = &target;
    let is_true = |text: &Option<String>| matches!(text.as_deref(), Some("true" | "1"));
    match (&parts.method, name) {
        (&Method::GET, None) if is_true(&query.watch) => watch(api, &target, &query, as_table),
        (&Method::GET, None) => list(&api, &target, &query, as_table),
        (&Method::GET, Some(name)) => {
            let object = api.read(|store| store.get(kind, namespace, name))?;
            Ok(match subresource.as_deref() {
                Some("scale") => json_response(200, &scale(kind, &object)),
                _ if as_table => {
                    json_response(200, &api.read(|s| table(kind, &[object], s.revision(), Timestamp::now())))
                }
                _ => json_response(200, &object),
            })
        }
        (&Method::POST, None) => {
            let object = decode(&parts.headers, &body)?;
            let namespace =
                if kind.namespaced && namespace.is_empty() { namespace_of(&object) } else { namespace };
            let created = api.write(|store, stamp| store.create(kind, namespace, object.clone(), stamp))?;
            Ok(json_response(201, &created))
        }
        (&Method::PUT, Some(name)) => {
            let object = decode(&parts.headers, &body)?;
            update(&api, &target, name, |_| Ok(object))
        }
        (&Method::PATCH, Some(name)) => {
            let media_type = media_type(&parts.headers);
            let patch: Value = serde_json::from_slice(&body)
                .map_err(|error| ApiError::bad_request(format!("the patch is no JSON: {error}")))?;
            update(&api, &target, name, |before| patch::apply(&media_type, before, &patch))
        }
        (&Method::DELETE, Some(name)) => {
            let gracefully = api.is_graceful(kind) && grace_period(&query, &body) != Some(0);
            let deleted = api.write(|store, stamp| store.delete(kind, namespace, name, gracefully, stamp))?;
            Ok(json_response(200, &deleted))
        }
        (&Method::DELETE, None) => {
            let selector = selector(&query)?;
            let gracefully = api.is_graceful(kind);
            api.write(|store, stamp| {
                let doomed: Vec<_> = store.list(kind, namespace, &selector).cloned().collect();
                for object in doomed {
                    store.delete(kind, namespace_of(&object), name_of(&object), gracefully, stamp)?;
                }
                Ok(())
            })?;
            Ok(json_response(
                200,
                &json!({"kind": "Status", "apiVersion": "v1", "status": "Success", "code": 200}),
            ))
        }
        _ => Err(ApiError::method()),
    }
}

fn update(
    api: &Api,
    Target { kind, namespace, subresource, .. }: &Target,
    name: &str,
    change: impl FnOnce(&Value) -> Result<Value, ApiError>,
) -> Result<Response, ApiError> {
    let part = if subresource.as_deref() == Some("status") { Part::Status } else { Part::Main };
    if subresource.as_deref() == Some("scale") {
        let after = api.write(|store, _| {
            store.update(kind, namespace, name, Part::Main, |before| {
                let replicas = change(&scale(kind, before))?["spec"]["replicas"].clone();
                if replicas.as_i64().is_none_or(|replicas| replicas < 0) {
                    return Err(ApiError::invalid(kind, name, "spec.replicas: must not be negative"));
                }
                let mut after = before.clone();
                after["spec"]["replicas"] = replicas;
                Ok(after)
            })
        })?;
        return Ok(json_response(200, &scale(kind, &after)));
    }
    let after = api.write(|store, _| store.update(kind, namespace, name, part, change))?;
    Ok(json_response(200, &after))
}

/// The `autoscaling/v1` Scale of an object.
fn scale(kind: &Kind, object: &Value) -> Value {
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
            "resourceVersion": metadata["resourceVersion"], "creationTimestamp": metadata["creationTimestamp"],
        },
        "spec": {"replicas": object["spec"]["replicas"]},
        "status": {"replicas": object["status"]["replicas"].as_i64().unwrap_or(0), "selector": selector.join(",")},
        // Where it comes from, for whoever reads the JSON.
        "scaled": kind.kind,
    })
}

fn list(api: &Api, target: &Target, query: &Query, as_table: bool) -> Result<Response, ApiError> {
    let selector = selector(query)?;
    let after =
        query.r#continue.as_deref().filter(|token| !token.is_empty()).map(decode_token).transpose()?;
    let limit = query.limit.filter(|&limit| limit > 0).unwrap_or(usize::MAX);
    let (revision, page, token) = api.read(|store| {
        let revision = after.as_ref().map_or(store.revision(), |(revision, _)| *revision);
        store.changes_after(revision).map(|_| ())?;
        let place = |object: &Value| format!("{}/{}", namespace_of(object), name_of(object));
        let mut rest = store
            .list(target.kind, &target.namespace, &selector)
            .skip_while(|object| after.as_ref().is_some_and(|(_, after)| place(object) <= *after));
        let page: Vec<_> = rest.by_ref().take(limit).cloned().collect();
        let token = rest.next().and(page.last()).map(|last| encode_token(revision, &place(last)));
        Ok((revision, page, token))
    })?;
    if as_table {
        return Ok(json_response(200, &table(target.kind, &page, revision, Timestamp::now())));
    }
    let mut metadata = json!({"resourceVersion": revision.to_string()});
    if let Some(token) = token {
        metadata["continue"] = token.into();
    }
    let items: Vec<&Value> = page.iter().map(|object| &**object).collect();
    let list = json!({
        "kind": format!("{}List", target.kind.kind), "apiVersion": target.kind.api_version(),
        "metadata": metadata, "items": items,
    });
    Ok(json_response(200, &list))
}

fn encode_token(revision: u64, place: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{revision} {place}"))
}

fn decode_token(token: &str) -> Result<(u64, String), ApiError> {
    let invalid = || ApiError::bad_request("the continue token is not valid");
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| invalid())?;
    let text = String::from_utf8(bytes).map_err(|_| invalid())?;
    let (revision, place) = text.split_once(' ').ok_or_else(invalid)?;
    Ok((revision.parse().map_err(|_| invalid())?, place.to_owned()))
}

/// A watch's state between two lines.
struct Watching {
    api: Arc<Api>,
    kind: &'static Kind,
    namespace: String,
    selector: Selector,
    as_table: bool,
    bookmarks: bool,
    revision: u64,
    revisions: tokio::sync::watch::Receiver<u64>,
    deadline: Instant,
    next_bookmark: Instant,
    ended: bool,
}

fn watch(api: Arc<Api>, target: &Target, query: &Query, as_table: bool) -> Result<Response, ApiError> {
    let selector = match &target.name {
        None => selector(query)?,
        Some(_) => return Err(ApiError::method()),
    };
    let flag = |text: &Option<String>| matches!(text.as_deref(), Some("true" | "1"));
    let from = query.resource_version.as_deref().unwrap_or_default();
    let initial = flag(&query.send_initial_events) || matches!(from, "" | "0");
    let timeout = query.timeout_seconds.map_or(DEFAULT_WATCH, Duration::from_secs);
    let mut first = Vec::new();
    let revision = if initial {
        let (revision, objects) = api.read(|store| {
            let objects: Vec<_> = store.list(target.kind, &target.namespace, &selector).cloned().collect();
            (store.revision(), objects)
        });
        first.extend(objects.iter().map(|object| event("ADDED", &shown(target.kind, object, as_table))));
        if flag(&query.send_initial_events) {
            first.push(bookmark(target.kind, revision, true));
        }
        revision
    } else {
        from.parse().map_err(|_| ApiError::bad_request(format!("invalid resource version {from:?}")))?
    };
    let now = Instant::now();
    let watching = Watching {
        revisions: api.revisions(),
        kind: target.kind,
        namespace: target.namespace.clone(),
        selector,
        as_table,
        bookmarks: flag(&query.allow_watch_bookmarks),
        revision,
        deadline: now + timeout,
        next_bookmark: now + BOOKMARK_INTERVAL,
        ended: false,
        api,
    };
    let first = stream::iter([Ok::<_, std::convert::Infallible>(Bytes::from(first.concat()))]);
    let body = Body::from_stream(stream::StreamExt::chain(first, lines(watching)));
    Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
}

/// The lines of a watch until it ends.
fn lines(watching: Watching) -> impl Stream<Item = Result<Bytes, std::convert::Infallible>> + Send {
    stream::unfold(watching, |mut watching| async move {
        loop {
            if watching.ended {
                return None;
            }
            let lines = watching.take();
            if !lines.is_empty() {
                return Some((Ok(Bytes::from(lines)), watching));
            }
            let stopped = watching.api.stopped();
            tokio::select! {
                changed = watching.revisions.changed() => watching.ended = changed.is_err(),
                () = tokio::time::sleep_until(watching.deadline) => watching.ended = true,
                () = tokio::time::sleep_until(watching.next_bookmark), if watching.bookmarks => {
                    watching.next_bookmark = Instant::now() + BOOKMARK_INTERVAL;
                    let line = bookmark(watching.kind, watching.revision, false);
                    return Some((Ok(Bytes::from(line)), watching));
                }
                () = stopped.cancelled() => watching.ended = true,
            }
        }
    })
}

impl Watching {
    /// What happened since the last line.
    fn take(&mut self) -> String {
        self.revisions.borrow_and_update();
        let (api, since) = (Arc::clone(&self.api), self.revision);
        api.read(|store| match store.changes_after(since) {
            Ok(changes) => {
                let lines = changes.filter_map(|change| self.line(change)).collect();
                self.revision = store.revision();
                lines
            }
            Err(gone) => {
                self.ended = true;
                event("ERROR", &gone.status())
            }
        })
    }

    /// An object that comes to match is added, one that ceases to match is deleted.
    fn line(&self, change: &Change) -> Option<String> {
        if change.kind != self.kind {
            return None;
        }
        let wanted = |object: &&Arc<Value>| {
            (self.namespace.is_empty() || namespace_of(object) == self.namespace)
                && self.selector.matches(object)
        };
        let (before, after) = (change.before.as_ref().filter(wanted), change.after.as_ref().filter(wanted));
        let (what, object) = match (before, after) {
            (None, Some(after)) => ("ADDED", after),
            (Some(_), Some(after)) => ("MODIFIED", after),
            // What ceased to match is shown as it is now.
            (Some(before), None) => ("DELETED", change.after.as_ref().unwrap_or(before)),
            (None, None) => return None,
        };
        Some(event(what, &shown(self.kind, object, self.as_table)))
    }
}

fn shown(kind: &Kind, object: &Arc<Value>, as_table: bool) -> Value {
    if as_table {
        let revision = object["metadata"]["resourceVersion"].as_str().and_then(|text| text.parse().ok());
        table(kind, std::slice::from_ref(object), revision.unwrap_or(0), Timestamp::now())
    } else {
        (**object).clone()
    }
}

fn event(what: &str, object: &Value) -> String {
    format!("{}\n", json!({"type": what, "object": object}))
}

fn bookmark(kind: &Kind, revision: u64, ends_initial_events: bool) -> String {
    let mut metadata = json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
    if ends_initial_events {
        metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
    }
    event("BOOKMARK", &json!({"kind": kind.kind, "apiVersion": kind.api_version(), "metadata": metadata}))
}

fn selector(query: &Query) -> Result<Selector, ApiError> {
    Selector::parse(query.label_selector.as_deref(), query.field_selector.as_deref())
}

fn grace_period(query: &Query, body: &Bytes) -> Option<i64> {
    let options: Value = serde_json::from_slice(body).unwrap_or_default();
    query.grace_period_seconds.or_else(|| options["gracePeriodSeconds"].as_i64())
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

fn decode(headers: &HeaderMap, body: &Bytes) -> Result<Value, ApiError> {
    match media_type(headers).as_str() {
        "application/json" => serde_json::from_slice(body)
            .map_err(|error| ApiError::bad_request(format!("the object provided is no JSON: {error}"))),
        other => Err(ApiError::media_type(other)),
    }
}

fn json_response(code: u16, value: &Value) -> Response {
    let code = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (code, [(CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}
