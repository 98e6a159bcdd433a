//! Watches: what there is, what changes, and where it has got to.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures::{Stream, stream};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::query::Query;
use super::target::Target;
use crate::error::ApiError;
use crate::kinds::Kind;
use crate::selector::Selector;
use crate::server::Api;
use crate::store::{Change, at_revision, namespace_of};
use crate::table::table;

const DEFAULT_WATCH: Duration = Duration::from_secs(300);
/// A deadline needs an end, and clients that come back once a day cost nothing.
const LONGEST_WATCH: Duration = Duration::from_secs(86_400);

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

pub(super) fn watch(
    api: Arc<Api>,
    target: &Target,
    query: &Query,
    as_table: bool,
) -> Result<Response, ApiError> {
    let selector = query.selector(target.kind)?;
    let from = query.resource_version.as_deref().unwrap_or_default();
    let initial = query.wants_initial_events() || matches!(from, "" | "0");
    let timeout = query.timeout_seconds.map_or(DEFAULT_WATCH, Duration::from_secs).min(LONGEST_WATCH);
    let mut first = Vec::new();
    let revision = if initial {
        let (revision, objects) = api.read(|store| {
            let objects: Vec<_> = store.list(target.kind, &target.namespace, &selector).cloned().collect();
            (store.revision(), objects)
        });
        first.extend(objects.iter().map(|object| event("ADDED", &shown(target.kind, object, as_table))));
        if query.wants_initial_events() {
            first.push(bookmark(target.kind, revision, true));
        }
        revision
    } else {
        let why = "strconv.ParseUint: parsing";
        from.parse().map_err(|_| {
            ApiError::internal(format!(
                "resourceVersion: Invalid value: {from:?}: {why} {from:?}: invalid syntax"
            ))
        })?
    };
    let now = Instant::now();
    let watching = Watching {
        revisions: api.revisions(),
        kind: target.kind,
        namespace: target.namespace.clone(),
        selector,
        as_table,
        bookmarks: query.wants_bookmarks(),
        revision,
        deadline: now + timeout,
        next_bookmark: now + api.bookmark_interval(),
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
                    watching.next_bookmark = Instant::now() + watching.api.bookmark_interval();
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
            (None, Some(after)) => ("ADDED", Arc::clone(after)),
            (Some(_), Some(after)) => ("MODIFIED", Arc::clone(after)),
            // The last state that matched, under the revision that ended it (`convertToWatchEvent` upstream).
            (Some(before), None) => ("DELETED", Arc::new(at_revision(before, change.revision))),
            (None, None) => return None,
        };
        Some(event(what, &shown(self.kind, &object, self.as_table)))
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
    let mut metadata = json!({"resourceVersion": revision.to_string()});
    if ends_initial_events {
        metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
    }
    event("BOOKMARK", &json!({"kind": kind.kind, "apiVersion": kind.api_version(), "metadata": metadata}))
}
