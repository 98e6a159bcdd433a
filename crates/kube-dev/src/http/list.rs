//! Lists and their pages.

use std::sync::Arc;

use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::json_response;
use super::query::Query;
use super::target::Target;
use crate::error::ApiError;
use crate::kinds::Kind;
use crate::server::Api;
use crate::store::{name_of, namespace_of};
use crate::table::table;

/// Where a page ends: the next one begins after this namespace and name.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Token {
    /// Of the first page; all pages carry it, so that a watch from there misses nothing.
    revision: u64,
    namespace: String,
    name: String,
}

pub(super) fn list(api: &Api, target: &Target, query: &Query, as_table: bool) -> Result<Response, ApiError> {
    let selector = query.selector(target.kind)?;
    let given = query.r#continue.as_deref().filter(|token| !token.is_empty());
    let after = given.map(Token::decode).transpose()?;
    let limit = query.limit.and_then(|limit| usize::try_from(limit).ok()).filter(|&limit| limit > 0);
    let (revision, page, token) = api.read(|store| {
        let revision = after.as_ref().map_or(store.revision(), |after| after.revision);
        store.changes_after(revision).map(|_| ())?;
        let place = after.as_ref().map(|after| (&*after.namespace, &*after.name));
        let mut rest = store.list_after(target.kind, &target.namespace, &selector, place);
        let page: Vec<_> = rest.by_ref().take(limit.unwrap_or(usize::MAX)).cloned().collect();
        let remaining = rest.count();
        let token = page.last().filter(|_| remaining > 0).map(|last| (Token::at(revision, last), remaining));
        Ok((revision, page, token))
    })?;
    if as_table {
        return Ok(json_response(200, &table(target.kind, &page, revision, Timestamp::now())));
    }
    let mut metadata = json!({"resourceVersion": revision.to_string()});
    if let Some((token, remaining)) = token {
        metadata["continue"] = token.encode().into();
        // What a selector leaves is not counted upstream either.
        if !query.selects() {
            metadata["remainingItemCount"] = remaining.into();
        }
    }
    Ok(json_response(200, &list_of(target.kind, &page, metadata)))
}

/// Objects as a list of their kind.
pub(super) fn list_of(kind: &Kind, objects: &[Arc<Value>], metadata: Value) -> Value {
    let items: Vec<Value> = objects.iter().map(|object| item(object)).collect();
    json!({
        "kind": format!("{}List", kind.kind), "apiVersion": kind.api_version(),
        "metadata": metadata, "items": items,
    })
}

/// An element of a list does not say its type: the list does.
fn item(object: &Value) -> Value {
    let mut item = object.clone();
    if let Some(map) = item.as_object_mut() {
        map.retain(|name, _| !matches!(&**name, "kind" | "apiVersion"));
    }
    item
}

impl Token {
    fn at(revision: u64, last: &Value) -> Self {
        Token { revision, namespace: namespace_of(last).to_owned(), name: name_of(last).to_owned() }
    }

    /// Opaque to clients.
    fn encode(&self) -> String {
        let Token { revision, namespace, name } = self;
        URL_SAFE_NO_PAD.encode(format!("{revision} {namespace} {name}"))
    }

    fn decode(token: &str) -> Result<Self, ApiError> {
        let invalid = || ApiError::bad_request("invalid continue token: continue key is not valid");
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| invalid())?;
        let text = String::from_utf8(bytes).map_err(|_| invalid())?;
        // Neither names nor namespaces have blanks.
        let parts: Vec<_> = text.split(' ').collect();
        let [revision, namespace, name] = parts[..] else { return Err(invalid()) };
        let revision = revision.parse().map_err(|_| invalid())?;
        Ok(Token { revision, namespace: namespace.to_owned(), name: name.to_owned() })
    }
}
