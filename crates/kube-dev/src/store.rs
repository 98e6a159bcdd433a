//! All objects, and what happened to them lately. Pure: names, uids and times come from outside.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::error::ApiError;
use crate::kinds::Kind;
use crate::selector::Selector;

/// Where an object is: by kind, namespace (empty for cluster-wide kinds), name.
type Key = (&'static Kind, String, String);

/// All objects.
#[derive(Debug, Default)]
pub(crate) struct Store {
    objects: BTreeMap<Key, Arc<Value>>,
    history: VecDeque<Change>,
    revision: u64,
    /// Changes up to here are forgotten.
    compacted: u64,
    next_cluster_ip: u16,
    history_limit: usize,
}

/// One write.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) revision: u64,
    pub(crate) kind: &'static Kind,
    /// The object before; none if it was created.
    pub(crate) before: Option<Arc<Value>>,
    /// The object after; none if it was deleted.
    pub(crate) after: Option<Arc<Value>>,
}

/// What only the outside world knows: what time it is, and something unique.
#[derive(Debug, Clone)]
pub(crate) struct Stamp {
    /// RFC 3339, in seconds.
    pub(crate) time: String,
    /// A UUID.
    pub(crate) uid: String,
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
    pub(crate) fn new(history_limit: usize) -> Self {
        Store { history_limit, ..Store::default() }
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
        self.objects
            .range(key(kind, namespace, "")..)
            .take_while(move |((of, in_namespace, _), _)| {
                *of == kind && (namespace.is_empty() || in_namespace == namespace)
            })
            .map(|(_, object)| object)
            .filter(move |object| selector.matches(object))
    }

    /// Changes of a kind after `revision`, oldest first.
    pub(crate) fn changes_after(&self, revision: u64) -> Result<impl Iterator<Item = &Change>, ApiError> {
        if revision < self.compacted {
            let message = format!("too old resource version: {revision} ({})", self.compacted);
            return Err(ApiError::gone(message));
        }
        Ok(self.history.iter().filter(move |change| change.revision > revision))
    }

    pub(crate) fn create(
        &mut self,
        kind: &'static Kind,
        namespace: &str,
        mut object: Value,
        stamp: &Stamp,
    ) -> Result<Arc<Value>, ApiError> {
        check_type(kind, &object)?;
        let metadata = metadata(&mut object)?;
        if let (None, Some(prefix)) = (text(metadata, "name"), text(metadata, "generateName")) {
            let suffix: String = stamp.uid.chars().filter(char::is_ascii_alphanumeric).take(5).collect();
            let name = format!("{prefix}{suffix}");
            metadata.insert("name".to_owned(), name.into());
        }
        let Some(name) = text(metadata, "name").filter(|name| is_name(name)) else {
            let given = text(metadata, "name").unwrap_or_default();
            return Err(ApiError::invalid(
                kind,
                &given,
                "metadata.name: a lowercase RFC 1123 name is needed",
            ));
        };
        if kind.namespaced {
            let given = text(metadata, "namespace");
            if given.as_deref().is_some_and(|given| given != namespace) {
                return Err(ApiError::bad_request(
                    "the namespace of the provided object does not match the namespace sent on the request",
                ));
            }
            self.get(Kind::named("namespaces"), "", namespace)?;
            metadata.insert("namespace".to_owned(), namespace.into());
        }
        if metadata.contains_key("resourceVersion") && metadata["resourceVersion"] != json!("") {
            return Err(ApiError::bad_request("resourceVersion should not be set on objects to be created"));
        }
        metadata.insert("uid".to_owned(), stamp.uid.clone().into());
        metadata.insert("creationTimestamp".to_owned(), stamp.time.clone().into());
        if object.get("spec").is_some() {
            object["metadata"]["generation"] = json!(1);
        }
        if self.objects.contains_key(&key(kind, namespace, &name)) {
            return Err(ApiError::exists(kind, &name));
        }
        self.default_fields(kind, &mut object, &name)?;
        Ok(self.put(kind, object))
    }

    /// Replaces an object by what `change` makes of it. What did not change is not written.
    pub(crate) fn update(
        &mut self,
        kind: &'static Kind,
        namespace: &str,
        name: &str,
        part: Part,
        change: impl FnOnce(&Value) -> Result<Value, ApiError>,
    ) -> Result<Arc<Value>, ApiError> {
        let before = self.get(kind, namespace, name)?;
        let mut after = change(&before)?;
        check_type(kind, &after)?;
        if part == Part::Status {
            let status = after["status"].take();
            let given = after["metadata"]["resourceVersion"].take();
            after = (*before).clone();
            after["status"] = status;
            after["metadata"]["resourceVersion"] = given;
        } else if kind.has_status {
            match before.get("status") {
                Some(status) => after["status"] = status.clone(),
                None => {
                    after.as_object_mut().map(|object| object.remove("status"));
                }
            }
        }
        let metadata = metadata(&mut after)?;
        if text(metadata, "resourceVersion")
            .is_some_and(|given| !given.is_empty() && before["metadata"]["resourceVersion"] != given)
        {
            return Err(ApiError::conflict(kind, name));
        }
        if text(metadata, "name").is_some_and(|given| given != name) {
            return Err(ApiError::bad_request("the name of the object does not match the name on the URL"));
        }
        for fixed in [
            "name",
            "namespace",
            "uid",
            "creationTimestamp",
            "generation",
            "deletionTimestamp",
            "resourceVersion",
        ] {
            match before["metadata"].get(fixed) {
                Some(value) => metadata.insert(fixed.to_owned(), value.clone()),
                None => metadata.remove(fixed),
            };
        }
        self.default_fields(kind, &mut after, name)?;
        if after == *before {
            return Ok(before);
        }
        if after["spec"] != before["spec"] {
            let generation = before["metadata"]["generation"].as_i64().unwrap_or(0);
            after["metadata"]["generation"] = json!(generation + 1);
        }
        let is_over = !after["metadata"]["deletionTimestamp"].is_null()
            && finalizers(&after) == 0
            && kind.plural != "pods";
        if is_over {
            return Ok(self.remove(kind, namespace, name, Arc::new(after)));
        }
        Ok(self.put(kind, after))
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
            if before["metadata"]["deletionTimestamp"].is_string() {
                return Ok(before);
            }
            let mut marked = (*before).clone();
            marked["metadata"]["deletionTimestamp"] = stamp.time.clone().into();
            return Ok(self.put(kind, marked));
        }
        Ok(self.remove(kind, namespace, name, before))
    }

    fn put(&mut self, kind: &'static Kind, mut object: Value) -> Arc<Value> {
        self.revision += 1;
        object["metadata"]["resourceVersion"] = self.revision.to_string().into();
        if kind.group == "events.k8s.io" {
            self.mirror_event(&object);
        }
        let key = key(kind, namespace_of(&object), name_of(&object));
        let after = Arc::new(object);
        let before = self.objects.insert(key, Arc::clone(&after));
        self.remember(kind, before, Some(Arc::clone(&after)));
        after
    }

    /// The real API has one store for Events of both groups; `kubectl get events` reads the core group.
    fn mirror_event(&mut self, event: &Value) {
        let core = json!({
            "apiVersion": "v1", "kind": "Event", "metadata": event["metadata"],
            "involvedObject": event["regarding"], "reason": event["reason"], "message": event["note"],
            "type": event["type"], "action": event["action"], "eventTime": event["eventTime"],
            "reportingComponent": event["reportingController"], "reportingInstance": event["reportingInstance"],
        });
        self.put(Kind::named("events"), core);
    }

    fn remove(&mut self, kind: &'static Kind, namespace: &str, name: &str, last: Arc<Value>) -> Arc<Value> {
        self.objects.remove(&key(kind, namespace, name));
        self.revision += 1;
        let mut last = (*last).clone();
        last["metadata"]["resourceVersion"] = self.revision.to_string().into();
        let last = Arc::new(last);
        self.remember(kind, Some(Arc::clone(&last)), None);
        self.collect_garbage(&last["metadata"]["uid"]);
        if kind.plural == "namespaces" {
            let inside: Vec<_> = self.objects.keys().filter(|(_, of, _)| of == name).cloned().collect();
            for (kind, namespace, name) in inside {
                if let Some(object) = self.objects.get(&key(kind, &namespace, &name)).cloned() {
                    self.remove(kind, &namespace, &name, object);
                }
            }
        }
        last
    }

    /// Removes what only this object owned.
    fn collect_garbage(&mut self, owner: &Value) {
        let owned_by = |object: &Value| {
            let owners = object["metadata"]["ownerReferences"].as_array();
            owners.is_some_and(|owners| owners.iter().any(|reference| reference["uid"] == *owner))
        };
        let orphans: Vec<_> = self
            .objects
            .iter()
            .filter(|(_, object)| owned_by(object))
            .map(|(key, object)| (key.clone(), Arc::clone(object)))
            .collect();
        for ((kind, namespace, name), object) in orphans {
            self.remove(kind, &namespace, &name, object);
        }
    }

    fn remember(&mut self, kind: &'static Kind, before: Option<Arc<Value>>, after: Option<Arc<Value>>) {
        self.history.push_back(Change { revision: self.revision, kind, before, after });
        while self.history.len() > self.history_limit {
            if let Some(forgotten) = self.history.pop_front() {
                self.compacted = forgotten.revision;
            }
        }
    }

    /// What the real API server fills in and the bridge or `kubectl` look at.
    fn default_fields(
        &mut self,
        kind: &'static Kind,
        object: &mut Value,
        name: &str,
    ) -> Result<(), ApiError> {
        match kind.plural {
            "services" => self.default_service(kind, object, name),
            "deployments" | "statefulsets" | "replicasets" => {
                default(&mut object["spec"], "replicas", json!(1));
                Ok(())
            }
            "namespaces" => {
                default(&mut object["status"], "phase", json!("Active"));
                Ok(())
            }
            "pods" => {
                default(&mut object["status"], "phase", json!("Pending"));
                Ok(())
            }
            "secrets" => {
                default(object, "type", json!("Opaque"));
                encode_string_data(object);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn default_service(&mut self, kind: &Kind, object: &mut Value, name: &str) -> Result<(), ApiError> {
        if !object["spec"].is_object() {
            return Err(ApiError::invalid(kind, name, "spec: Required value"));
        }
        let spec = &mut object["spec"];
        default(spec, "type", json!("ClusterIP"));
        if spec["type"] == json!("ExternalName") {
            return Ok(());
        }
        default(spec, "sessionAffinity", json!("None"));
        default(spec, "internalTrafficPolicy", json!("Cluster"));
        default(spec, "ipFamilyPolicy", json!("SingleStack"));
        default(spec, "ipFamilies", json!(["IPv4"]));
        if spec["clusterIP"].as_str().unwrap_or_default().is_empty() {
            self.next_cluster_ip += 1;
            let [high, low] = self.next_cluster_ip.to_be_bytes();
            spec["clusterIP"] = json!(format!("10.96.{high}.{low}"));
        }
        spec["clusterIPs"] = json!([spec["clusterIP"]]);
        for port in spec["ports"].as_array_mut().into_iter().flatten() {
            default(port, "protocol", json!("TCP"));
            let number = port["port"].clone();
            if !number.as_i64().is_some_and(|number| (1..=65_535).contains(&number)) {
                return Err(ApiError::invalid(kind, name, "spec.ports.port: must be between 1 and 65535"));
            }
            default(port, "targetPort", number);
        }
        Ok(())
    }
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

fn finalizers(object: &Value) -> usize {
    object["metadata"]["finalizers"].as_array().map_or(0, Vec::len)
}

fn metadata(object: &mut Value) -> Result<&mut Map<String, Value>, ApiError> {
    object["metadata"]
        .as_object_mut()
        .ok_or_else(|| ApiError::bad_request("metadata is missing or no object"))
}

fn text(map: &Map<String, Value>, name: &str) -> Option<String> {
    map.get(name)?.as_str().map(str::to_owned)
}

fn check_type(kind: &Kind, object: &Value) -> Result<(), ApiError> {
    let Some(map) = object.as_object() else {
        return Err(ApiError::bad_request("the body is not an object"));
    };
    let given = (text(map, "apiVersion").unwrap_or_default(), text(map, "kind").unwrap_or_default());
    if given != (kind.api_version(), kind.kind.to_owned()) {
        return Err(ApiError::bad_request(format!(
            "{}/{} in version {:?} cannot be handled as a {}",
            given.0, given.1, kind.version, kind.kind
        )));
    }
    Ok(())
}

/// RFC 1123: lower-case letters, digits, `-` and `.`; at most 253.
fn is_name(name: &str) -> bool {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let middle = |c: char| good(c) || matches!(c, '-' | '.');
    !name.is_empty()
        && name.len() <= 253
        && name.chars().all(middle)
        && name.starts_with(good)
        && name.ends_with(good)
}

fn default(object: &mut Value, field: &str, value: Value) {
    if object.is_null() {
        *object = json!({});
    }
    if let Some(map) = object.as_object_mut() {
        map.entry(field).or_insert(value);
    }
}

/// `stringData` of a Secret becomes `data`.
fn encode_string_data(object: &mut Value) {
    use base64::Engine;
    let Some(Value::Object(texts)) = object.as_object_mut().and_then(|map| map.remove("stringData")) else {
        return;
    };
    for (name, text) in texts {
        let encoded = base64::engine::general_purpose::STANDARD.encode(text.as_str().unwrap_or_default());
        object["data"][name] = encoded.into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(n: u32) -> Stamp {
        Stamp { time: "2026-01-01T00:00:00Z".to_owned(), uid: format!("uid-{n}") }
    }

    fn store() -> Store {
        let mut store = Store::new(4);
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

        let same = store.update(kind, "default", "c", Part::Main, |before| Ok(before.clone())).unwrap();
        assert_eq!(same, created);
        let set = |value: &str, version: &Value| {
            let mut after = (*created).clone();
            after["data"]["a"] = value.into();
            after["metadata"]["resourceVersion"] = version.clone();
            after
        };
        let version = created["metadata"]["resourceVersion"].clone();
        let after = store.update(kind, "default", "c", Part::Main, |_| Ok(set("x", &version))).unwrap();
        assert_eq!(after["data"]["a"], "x");
        let error = store.update(kind, "default", "c", Part::Main, |_| Ok(set("y", &version))).unwrap_err();
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
        held["metadata"]["finalizers"] = json!(["x"]);
        let owner = store.create(kind, "default", held, &stamp(1)).unwrap();
        let mut owned = config("owned");
        owned["metadata"]["ownerReferences"] = json!([{"uid": owner["metadata"]["uid"]}]);
        store.create(kind, "default", owned, &stamp(2)).unwrap();
        let marked = store.delete(kind, "default", "held", false, &stamp(3)).unwrap();
        assert!(marked["metadata"]["deletionTimestamp"].is_string());
        let mut released = (*marked).clone();
        released["metadata"]["finalizers"] = json!([]);
        store.update(kind, "default", "held", Part::Main, |_| Ok(released)).unwrap();
        assert_eq!(store.list(kind, "", &Selector::default()).count(), 0);
    }
}
