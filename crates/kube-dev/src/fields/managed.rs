//! `metadata.managedFields`: the owners of an object's fields.

use std::fmt;

use serde_json::{Value, json};

use super::set::FieldSet;
use super::shape::Place;
use super::walk::{Comparison, compare};
use crate::kinds::Kind;

/// In whose name a request writes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Writer<'a> {
    pub(crate) manager: &'a str,
    pub(crate) subresource: Option<&'a str>,
    /// RFC 3339, in seconds.
    pub(crate) time: &'a str,
}

/// An owner. Who applies is the same owner in all versions of a kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Owner {
    pub(super) manager: String,
    pub(super) applies: bool,
    pub(super) api_version: String,
    pub(super) subresource: Option<String>,
}

/// What an owner has, and since when.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) owner: Owner,
    pub(super) time: Option<String>,
    pub(super) set: FieldSet,
}

/// All owners of an object.
#[derive(Debug, Clone, Default)]
pub(super) struct Managed(pub(super) Vec<Entry>);

/// Gives what a create, update or patch changed to its writer, and takes it from all others.
/// Whoever sends other `managedFields` changes them, and a list of nothing removes them.
pub(crate) fn claim(kind: &'static Kind, before: &Value, after: &mut Value, writer: &Writer<'_>) {
    let (mut managed, is_tracked) = managed_before(before, after, writer);
    take(after);
    if !is_tracked {
        return;
    }
    let changes = compare(&Place::root(kind), &without_managed(before), after);
    managed.lose(&changes, None);
    let owner = Owner::of(kind, writer, false);
    let set = owned(kind, writer, &changes.set);
    if !set.is_empty() {
        managed.give(owner, set, writer.time);
    }
    managed.store(after);
}

/// Are two objects the same but for the times in `managedFields`? Times alone are no reason to write.
pub(crate) fn same_but_for_times(one: &Value, other: &Value) -> bool {
    let untimed = |object: &Value| {
        let mut entries = object["metadata"]["managedFields"].clone();
        let maps = entries.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut);
        maps.for_each(|entry| _ = entry.remove("time"));
        entries
    };
    one == other || (untimed(one) == untimed(other) && without_managed(one) == without_managed(other))
}

/// The owners that count for a write (`decodeLiveOrNew`), and whether owners are kept for this object at all.
fn managed_before(before: &Value, after: &Value, writer: &Writer<'_>) -> (Managed, bool) {
    let is_new = before["metadata"]["uid"].is_null();
    let live = Managed::of(before).unwrap_or_default();
    let given = &after["metadata"]["managedFields"];
    let reset = given.as_array().is_some_and(|given| given.is_empty() || *given == [json!({})]);
    let managed = match Managed::of(after) {
        _ if writer.subresource.is_some() => live,
        _ if reset => Managed::default(),
        Some(given) if !given.0.is_empty() => given,
        _ => live,
    };
    let is_tracked = is_new || !managed.0.is_empty();
    (managed, is_tracked)
}

/// What of a set can be owned: not what the server sets, nor what this path does not write.
pub(super) fn owned(kind: &Kind, writer: &Writer<'_>, set: &FieldSet) -> FieldSet {
    const SERVERS: [&str; 8] = [
        "name",
        "namespace",
        "creationTimestamp",
        "selfLink",
        "uid",
        "generation",
        "managedFields",
        "resourceVersion",
    ];
    let unowned = json!({
        "f:apiVersion": {}, "f:kind": {},
        "f:metadata": SERVERS.iter().fold(json!({".": {}}), |mut names, name| {
            names[format!("f:{name}")] = json!({});
            names
        }),
    });
    let set = set.difference(&FieldSet::decode(&unowned).unwrap_or_default());
    match writer.subresource {
        Some("status") => set.without("spec").without("metadata"),
        None if kind.has_status => set.without("status"),
        _ => set,
    }
}

impl Managed {
    /// None if an entry makes no sense.
    pub(super) fn of(object: &Value) -> Option<Managed> {
        let entries = object["metadata"]["managedFields"].as_array().map_or(&[][..], Vec::as_slice);
        entries.iter().map(Entry::decode).collect::<Option<_>>().map(Managed)
    }

    pub(super) fn get(&self, owner: &Owner) -> Option<&Entry> {
        self.0.iter().find(|entry| entry.owner.is(owner))
    }

    /// Takes what was changed from all owners but one.
    pub(super) fn lose(&mut self, changes: &Comparison, but: Option<&Owner>) {
        for entry in self.0.iter_mut().filter(|entry| but.is_none_or(|but| !entry.owner.is(but))) {
            entry.set = entry.set.difference(&changes.set).difference(&changes.removed);
        }
        self.0.retain(|entry| !entry.set.is_empty());
    }

    fn give(&mut self, owner: Owner, set: FieldSet, time: &str) {
        let before = self.get(&owner).map(|entry| entry.set.clone()).unwrap_or_default();
        self.0.retain(|entry| !entry.owner.is(&owner));
        self.0.push(Entry { owner, time: Some(time.to_owned()), set: before.union(&set) });
    }

    /// Writes the owners into an object: who applies first, then by time and name.
    pub(super) fn store(mut self, object: &mut Value) {
        if self.0.is_empty() {
            return;
        }
        self.0.sort_by(|a, b| {
            let order = |entry: &Entry| (!entry.owner.applies, entry.time.clone(), entry.owner.clone());
            order(a).cmp(&order(b))
        });
        object["metadata"]["managedFields"] = self.0.iter().map(Entry::encode).collect();
    }
}

impl Entry {
    fn decode(entry: &Value) -> Option<Entry> {
        let text = |field: &str| entry[field].as_str().map(str::to_owned);
        let applies = match entry["operation"].as_str()? {
            "Apply" => true,
            "Update" => false,
            _ => return None,
        };
        let owner = Owner {
            manager: text("manager").unwrap_or_default(),
            applies,
            api_version: text("apiVersion").filter(|version| !version.is_empty())?,
            subresource: text("subresource"),
        };
        let set = FieldSet::decode(entry.get("fieldsV1").unwrap_or(&json!({})))?;
        (entry["fieldsType"] == "FieldsV1").then(|| Entry { owner, time: text("time"), set })
    }

    fn encode(&self) -> Value {
        let Entry { owner: Owner { manager, applies, api_version, subresource }, time, set } = self;
        let mut entry = json!({
            "manager": manager, "operation": if *applies { "Apply" } else { "Update" },
            "apiVersion": api_version, "fieldsType": "FieldsV1", "fieldsV1": set.encode(),
        });
        for (field, value) in [("time", time), ("subresource", subresource)] {
            if let Some(value) = value {
                entry[field] = value.as_str().into();
            }
        }
        entry
    }
}

impl Owner {
    pub(super) fn of(kind: &Kind, writer: &Writer<'_>, applies: bool) -> Owner {
        Owner {
            manager: writer.manager.to_owned(),
            applies,
            api_version: kind.api_version(),
            subresource: writer.subresource.map(str::to_owned),
        }
    }

    pub(super) fn is(&self, other: &Owner) -> bool {
        let same_version = self.applies || self.api_version == other.api_version;
        self.manager == other.manager
            && self.applies == other.applies
            && self.subresource == other.subresource
            && same_version
    }
}

/// As conflicts name it.
impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.manager)?;
        if let Some(subresource) = &self.subresource {
            write!(f, " with subresource {subresource:?}")?;
        }
        if self.applies { Ok(()) } else { write!(f, " using {}", self.api_version) }
    }
}

pub(super) fn without_managed(object: &Value) -> Value {
    let mut object = object.clone();
    take(&mut object);
    object
}

fn take(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
}
