//! All objects, and what happened to them lately. Pure: names, uids and times come from outside.

mod history;
mod removal;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::addresses::Addresses;
use crate::admission::{normalize, validate};
use crate::error::{ApiError, FieldError};
use crate::fields::{self, Writer};
use crate::kinds::Kind;
use crate::selector::Selector;
use crate::{defaults, events, service};
pub(crate) use history::Change;
use history::History;

/// Where an object is: by kind, namespace (empty for cluster-wide kinds), name.
type Key = (&'static Kind, String, String);

/// All objects.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    objects: BTreeMap<Key, Arc<Value>>,
    history: History,
    revision: u64,
    cluster_ips: Addresses,
    /// Does a kubelet run pods, and end them in its time?
    runs_pods: bool,
}

/// What only the outside world knows: what time it is, and something unique.
#[derive(Debug, Clone)]
pub(crate) struct Stamp {
    /// RFC 3339, in seconds.
    pub(crate) time: String,
    /// A UUID.
    pub(crate) uid: String,
    /// Who owns what is written; none if the object itself says it.
    pub(crate) manager: Option<String>,
    /// Through which subresource it is written.
    pub(crate) subresource: Option<String>,
}

impl Stamp {
    /// The same write in another's name.
    pub(crate) fn by(&self, manager: &str, subresource: &Option<String>) -> Stamp {
        Stamp { manager: Some(manager.to_owned()), subresource: subresource.clone(), ..self.clone() }
    }

    fn writer(&self) -> Option<Writer<'_>> {
        let (time, subresource) = (&*self.time, self.subresource.as_deref());
        self.manager.as_deref().map(|manager| Writer { manager, subresource, time })
    }
}

/// Which part of an object a write replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Everything but the status, for kinds that have a status subresource.
    Main,
    /// The status only.
    Status,
}

impl Store {
    pub(crate) fn new(history_limit: usize, runs_pods: bool) -> Self {
        Store {
            objects: BTreeMap::new(),
            history: History::new(history_limit),
            revision: 0,
            cluster_ips: Addresses::new([10, 96]),
            runs_pods,
        }
    }

    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    pub(crate) fn get(
        &self,
        kind: &'static Kind,
        namespace: &str,
        name: &str,
    ) -> Result<Arc<Value>, ApiError> {
        self.objects.get(&key(kind, namespace, name)).cloned().ok_or_else(|| ApiError::not_found(kind, name))
    }

    /// Objects of a kind, in the order of namespace and name; an empty namespace means all.
    pub(crate) fn list<'s>(
        &'s self,
        kind: &'static Kind,
        namespace: &'s str,
        selector: &'s Selector,
    ) -> impl Iterator<Item = &'s Arc<Value>> {
        self.list_after(kind, namespace, selector, None)
    }

    /// The same, beginning after a place, which is a namespace and a name.
    pub(crate) fn list_after<'s>(
        &'s self,
        kind: &'static Kind,
        namespace: &'s str,
        selector: &'s Selector,
        place: Option<(&str, &str)>,
    ) -> impl Iterator<Item = &'s Arc<Value>> {
        let start = match place {
            None => Bound::Included(key(kind, namespace, "")),
            Some((namespace, name)) => Bound::Excluded(key(kind, namespace, name)),
        };
        self.objects
            .range((start, Bound::Unbounded))
            .take_while(move |((of, in_namespace, _), _)| {
                *of == kind && (namespace.is_empty() || in_namespace == namespace)
            })
            .map(|(_, object)| object)
            .filter(move |object| selector.matches(object))
    }

    /// Changes of all kinds after `revision`, oldest first.
    pub(crate) fn changes_after(&self, revision: u64) -> Result<impl Iterator<Item = &Change>, ApiError> {
        self.history.after(revision)
    }

    /// Stores a new object under a name that nobody has.
    pub(crate) fn create(
        &mut self,
        kind: &'static Kind,
        namespace: &str,
        mut object: Value,
        stamp: &Stamp,
    ) -> Result<Arc<Value>, ApiError> {
        normalize(kind, &mut object)?;
        let metadata = metadata(&mut object)?;
        let given =
            |metadata: &Map<String, Value>, field: &str| text(metadata, field).filter(|t| !t.is_empty());
        if let (None, Some(prefix)) = (given(metadata, "name"), given(metadata, "generateName")) {
            let suffix: String = stamp.uid.chars().filter(char::is_ascii_alphanumeric).take(5).collect();
            // 63 letters with the suffix, as upstream (`maxNameLength` in `names/generate.go`).
            let prefix: String = prefix.chars().take(58).collect();
            metadata.insert("name".to_owned(), format!("{prefix}{suffix}").into());
        }
        if kind.namespaced {
            if given(metadata, "namespace").is_some_and(|given| given != namespace) {
                return Err(ApiError::other_namespace());
            }
            self.get(Kind::named("namespaces"), "", namespace)?;
            metadata.insert("namespace".to_owned(), namespace.into());
        } else {
            metadata.remove("namespace");
        }
        if given(metadata, "resourceVersion").is_some() {
            return Err(ApiError::internal("resourceVersion should not be set on objects to be created"));
        }
        for not_given in ["deletionTimestamp", "deletionGracePeriodSeconds", "generation"] {
            metadata.remove(not_given);
        }
        metadata.insert("uid".to_owned(), stamp.uid.clone().into());
        metadata.insert("creationTimestamp".to_owned(), stamp.time.clone().into());
        let name = text(metadata, "name").unwrap_or_default();
        if self.objects.contains_key(&key(kind, namespace, &name)) {
            return Err(ApiError::exists(kind, &name));
        }
        self.complete(kind, &mut object, None, stamp)?;
        if kind.counted(&object).is_some() {
            object["metadata"]["generation"] = json!(1);
        }
        Ok(self.put(kind, object))
    }

    /// Replaces an object by what `change` makes of it. What did not change is not written.
    pub(crate) fn update(
        &mut self,
        kind: &'static Kind,
        namespace: &str,
        name: &str,
        part: Part,
        stamp: &Stamp,
        change: impl FnOnce(&Value) -> Result<Value, ApiError>,
    ) -> Result<Arc<Value>, ApiError> {
        let before = self.get(kind, namespace, name)?;
        let mut after = change(&before)?;
        normalize(kind, &mut after)?;
        check_identity(kind, namespace, name, metadata(&mut after)?, &before)?;
        if part == Part::Status {
            let mut status = (*before).clone();
            replace(&mut status, "status", after.get("status"));
            replace(&mut status["metadata"], "managedFields", after["metadata"].get("managedFields"));
            after = status;
        } else if kind.has_status {
            replace(&mut after, "status", before.get("status"));
        }
        for fixed in [
            "name",
            "namespace",
            "uid",
            "creationTimestamp",
            "generation",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "resourceVersion",
        ] {
            replace(&mut after["metadata"], fixed, before["metadata"].get(fixed));
        }
        self.complete(kind, &mut after, Some(&before), stamp)?;
        if fields::same_but_for_times(&after, &before) {
            return Ok(before);
        }
        if kind.counted(&after) != kind.counted(&before) {
            let generation = before["metadata"]["generation"].as_i64().unwrap_or(0);
            after["metadata"]["generation"] = json!(generation.saturating_add(1));
        }
        let is_over = is_marked(&after) && finalizers(&after) == 0 && !self.is_graceful(kind);
        if is_over {
            self.remove(kind, namespace, name, stamp);
            return Ok(Arc::new(after));
        }
        Ok(self.put(kind, after))
    }

    /// Applies a configuration to an object, or makes one of it. Says whether it is new.
    #[allow(clippy::too_many_arguments)] // One place, one configuration, and how it is meant.
    pub(crate) fn apply(
        &mut self,
        kind: &'static Kind,
        namespace: &str,
        name: &str,
        part: Part,
        config: &Value,
        force: bool,
        stamp: &Stamp,
    ) -> Result<(Arc<Value>, bool), ApiError> {
        let nobody = Writer { manager: "unknown", subresource: None, time: &stamp.time };
        let writer = stamp.writer().unwrap_or(nobody);
        // The owners are found before anything is filled in: what nobody asked for is nobody's.
        let owned = Stamp { manager: None, ..stamp.clone() };
        if self.get(kind, namespace, name).is_ok() {
            let change = |before: &Value| fields::apply(kind, before, config, &writer, force);
            return Ok((self.update(kind, namespace, name, part, &owned, change)?, false));
        }
        if stamp.subresource.is_some() {
            return Err(ApiError::not_found(kind, name));
        }
        if let Some(uid) = config["metadata"]["uid"].as_str().filter(|uid| !uid.is_empty()) {
            let why = format!(
                "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
            );
            return Err(ApiError::precondition(kind, name, &why));
        }
        let mut object = fields::apply(kind, &defaults::blank(kind), config, &writer, force)?;
        metadata(&mut object)?.remove("resourceVersion");
        Ok((self.create(kind, namespace, object, &owned)?, true))
    }

    /// Deletes an object, or marks it while it has finalizers or `gracefully`. What it owns goes with it.
    pub(crate) fn delete(
        &mut self,
        kind: &'static Kind,
        namespace: &str,
        name: &str,
        gracefully: bool,
        stamp: &Stamp,
    ) -> Result<Arc<Value>, ApiError> {
        let before = self.get(kind, namespace, name)?;
        if finalizers(&before) > 0 || gracefully {
            if is_marked(&before) {
                return Ok(before);
            }
            let mut marked = (*before).clone();
            marked["metadata"]["deletionTimestamp"] = stamp.time.clone().into();
            if !gracefully {
                marked["metadata"]["deletionGracePeriodSeconds"] = json!(0);
            }
            return Ok(self.put(kind, marked));
        }
        self.remove(kind, namespace, name, stamp).ok_or_else(|| ApiError::not_found(kind, name))
    }

    /// Does a delete of this kind take its time?
    pub(crate) fn is_graceful(&self, kind: &Kind) -> bool {
        self.runs_pods && kind.plural == "pods"
    }

    /// Fills in what the client may leave out, then checks the whole.
    fn complete(
        &mut self,
        kind: &'static Kind,
        object: &mut Value,
        before: Option<&Value>,
        stamp: &Stamp,
    ) -> Result<(), ApiError> {
        defaults::fill(kind, object);
        if let Some(writer) = stamp.writer() {
            fields::claim(kind, before.unwrap_or(&defaults::blank(kind)), object, &writer);
        }
        defaults::prepare(kind, object);
        if kind.plural == "services" {
            let objects = &self.objects;
            let is_used = |ip: &str| {
                let services = objects.range(key(kind, "", "")..).take_while(|((of, ..), _)| *of == kind);
                services.into_iter().any(|(_, service)| service["spec"]["clusterIP"] == ip)
            };
            service::complete(kind, object, before, || self.cluster_ips.take(is_used))?;
        }
        validate(kind, object)
    }

    fn put(&mut self, kind: &'static Kind, mut object: Value) -> Arc<Value> {
        self.revision += 1;
        object["metadata"]["resourceVersion"] = self.revision.to_string().into();
        if let Some((other, twin)) = events::twin(kind, &object) {
            self.insert(other, twin);
        }
        self.insert(kind, object)
    }

    /// The part of a write that may happen twice under one revision: for an Event, in both groups.
    fn insert(&mut self, kind: &'static Kind, object: Value) -> Arc<Value> {
        let key = key(kind, namespace_of(&object), name_of(&object));
        let after = Arc::new(object);
        let before = self.objects.insert(key, Arc::clone(&after));
        self.remember(kind, before, Some(Arc::clone(&after)));
        after
    }

    fn remember(&mut self, kind: &'static Kind, before: Option<Arc<Value>>, after: Option<Arc<Value>>) {
        self.history.push(Change { revision: self.revision, kind, before, after });
    }
}

/// Is this what the writer means by that name?
fn check_identity(
    kind: &Kind,
    namespace: &str,
    name: &str,
    metadata: &Map<String, Value>,
    before: &Value,
) -> Result<(), ApiError> {
    let before = &before["metadata"];
    let given = |field: &str| text(metadata, field).filter(|text| !text.is_empty());
    match given("name") {
        None => {
            let why = "was undeterminable: name must be provided";
            return Err(ApiError::bad_request(format!("the name of the object ({name} based on URL) {why}")));
        }
        Some(given) if given != name => {
            let message =
                format!("the name of the object ({given}) does not match the name on the URL ({name})");
            return Err(ApiError::bad_request(message));
        }
        Some(_) => {}
    }
    if kind.namespaced && given("namespace").is_some_and(|given| given != namespace) {
        return Err(ApiError::other_namespace());
    }
    if let Some(uid) = given("uid").filter(|uid| before["uid"] != uid.as_str()) {
        let error = FieldError::invalid("metadata.uid", &uid.into(), "field is immutable");
        return Err(ApiError::invalid(kind, name, &[error]));
    }
    if given("resourceVersion").is_some_and(|version| before["resourceVersion"] != version) {
        return Err(ApiError::conflict(kind, name));
    }
    Ok(())
}

fn key(kind: &'static Kind, namespace: &str, name: &str) -> Key {
    (kind, namespace.to_owned(), name.to_owned())
}

/// The namespace of an object; empty for cluster-wide kinds.
pub(crate) fn namespace_of(object: &Value) -> &str {
    object["metadata"]["namespace"].as_str().unwrap_or_default()
}

/// The name of an object.
pub(crate) fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

/// The same state under another revision.
pub(crate) fn at_revision(object: &Value, revision: u64) -> Value {
    let mut object = object.clone();
    object["metadata"]["resourceVersion"] = revision.to_string().into();
    object
}

fn finalizers(object: &Value) -> usize {
    object["metadata"]["finalizers"].as_array().map_or(0, Vec::len)
}

/// Was it deleted, and waits for its finalizers or its kubelet?
fn is_marked(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

fn metadata(object: &mut Value) -> Result<&mut Map<String, Value>, ApiError> {
    object
        .get_mut("metadata")
        .and_then(Value::as_object_mut)
        .ok_or_else(|| ApiError::bad_request("metadata is missing or no object"))
}

fn text(map: &Map<String, Value>, name: &str) -> Option<String> {
    map.get(name)?.as_str().map(str::to_owned)
}

fn replace(object: &mut Value, field: &str, by: Option<&Value>) {
    let Some(map) = object.as_object_mut() else { return };
    match by {
        Some(value) => map.insert(field.to_owned(), value.clone()),
        None => map.remove(field),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(n: u32) -> Stamp {
        let (time, uid) = ("2026-01-01T00:00:00Z".to_owned(), format!("uid-{n}"));
        Stamp { time, uid, manager: Some("test".to_owned()), subresource: None }
    }

    fn store() -> Store {
        let mut store = Store::new(4, false);
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}});
        store.create(Kind::named("namespaces"), "", namespace, &stamp(0)).unwrap();
        store
    }

    fn config(name: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "b"}})
    }

    #[test]
    fn writes_follow_the_rules_of_optimistic_concurrency() {
        let (mut store, kind) = (store(), Kind::named("configmaps"));
        let created = store.create(kind, "default", config("c"), &stamp(1)).unwrap();
        assert_eq!(store.create(kind, "default", config("c"), &stamp(2)).unwrap_err().code, 409);
        assert_eq!(store.create(kind, "nowhere", config("c"), &stamp(2)).unwrap_err().code, 404);
        assert_eq!(store.create(kind, "default", config("C_"), &stamp(2)).unwrap_err().code, 422);

        let same =
            store.update(kind, "default", "c", Part::Main, &stamp(9), |before| Ok(before.clone())).unwrap();
        assert_eq!(same, created);
        let set = |value: &str, version: &Value| {
            let mut after = (*created).clone();
            after["data"]["a"] = value.into();
            after["metadata"]["resourceVersion"] = version.clone();
            after
        };
        let version = created["metadata"]["resourceVersion"].clone();
        let after =
            store.update(kind, "default", "c", Part::Main, &stamp(9), |_| Ok(set("x", &version))).unwrap();
        assert_eq!(after["data"]["a"], "x");
        let error = store
            .update(kind, "default", "c", Part::Main, &stamp(9), |_| Ok(set("y", &version)))
            .unwrap_err();
        assert_eq!((error.code, error.reason), (409, "Conflict"));
    }

    #[test]
    fn what_is_forgotten_is_gone() {
        let (mut store, kind) = (store(), Kind::named("configmaps"));
        let first = store.revision();
        for n in 0..4 {
            store.create(kind, "default", config(&format!("c{n}")), &stamp(n)).unwrap();
        }
        assert_eq!(store.changes_after(first).unwrap().count(), 4);
        store.delete(kind, "default", "c0", false, &stamp(9)).unwrap();
        assert_eq!(store.changes_after(first).map(|_| ()).unwrap_err().code, 410);
        assert_eq!(store.list(kind, "default", &Selector::default()).count(), 3);
    }

    #[test]
    fn finalizers_hold_and_owners_take_along() {
        let (mut store, kind) = (store(), Kind::named("configmaps"));
        let mut held = config("held");
        held["metadata"]["finalizers"] = json!(["test/x"]);
        let owner = store.create(kind, "default", held, &stamp(1)).unwrap();
        let mut owned = config("owned");
        owned["metadata"]["ownerReferences"] = json!([{
            "apiVersion": "v1", "kind": "ConfigMap", "name": "held", "uid": owner["metadata"]["uid"],
        }]);
        store.create(kind, "default", owned, &stamp(2)).unwrap();
        let marked = store.delete(kind, "default", "held", false, &stamp(3)).unwrap();
        assert!(marked["metadata"]["deletionTimestamp"].is_string());
        let mut released = (*marked).clone();
        released["metadata"]["finalizers"] = json!([]);
        store.update(kind, "default", "held", Part::Main, &stamp(9), |_| Ok(released)).unwrap();
        assert_eq!(store.list(kind, "", &Selector::default()).count(), 0);
    }
}
