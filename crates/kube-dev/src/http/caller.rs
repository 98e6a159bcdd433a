//! Who writes, and whether it counts.

use axum::http::header::USER_AGENT;
use axum::http::{HeaderMap, Method};
use serde_json::Value;

use super::query::Query;
use super::target::Target;
use crate::error::ApiError;
use crate::server::Api;
use crate::store::{Stamp, Store};

/// Whoever sent a request, and to where.
pub(super) struct Caller<'r> {
    pub(super) api: &'r Api,
    pub(super) target: &'r Target,
    manager: String,
    dry_run: bool,
}

impl<'r> Caller<'r> {
    /// Takes the manager's name from the query, or else from the client (`managerOrUserAgent` upstream).
    ///
    /// # Errors
    /// 422: `dryRun` is something else than `All`.
    pub(super) fn of(
        api: &'r Api,
        target: &'r Target,
        method: &Method,
        query: &Query,
        headers: &HeaderMap,
    ) -> Result<Self, ApiError> {
        let agent = headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
        let agent = agent.split('/').next().unwrap_or_default();
        let named = query.field_manager.as_deref().filter(|manager| !manager.is_empty()).unwrap_or(agent);
        let manager = if named.is_empty() { "unknown" } else { named }.chars().take(128).collect();
        let dry_run = match query.dry_run.as_deref() {
            None | Some("") => false,
            Some("All") => true,
            Some(other) => return Err(ApiError::no_dry_run(method, other)),
        };
        Ok(Caller { api, target, manager, dry_run })
    }

    /// The same, but whatever is written is forgotten.
    pub(super) fn rehearsing(self, too: bool) -> Self {
        Caller { dry_run: self.dry_run || too, ..self }
    }

    /// What the caller sees of a written object: one that was not created has no version.
    pub(super) fn seen(&self, object: &Value, is_new: bool) -> Value {
        let mut object = object.clone();
        if let Some(metadata) = object["metadata"].as_object_mut().filter(|_| self.dry_run && is_new) {
            metadata.remove("resourceVersion");
        }
        object
    }

    /// Writes in the caller's name.
    pub(super) fn write<T>(
        &self,
        write: impl FnOnce(&mut Store, &Stamp) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        let write = |store: &mut Store, stamp: &Stamp| {
            write(store, &stamp.by(&self.manager, &self.target.subresource))
        };
        if self.dry_run { self.api.rehearse(write) } else { self.api.write(write) }
    }
}
