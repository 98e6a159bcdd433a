//! Sets of paths into an object, and their form in `managedFields` (FieldsV1).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::{Map, Value, json};

/// One step of a path. The order is upstream's (`PathElement.Compare`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Element {
    Field(String),
    /// An element of a list, by the values of its keys.
    Key(Vec<(String, Scalar)>),
    /// An element of a list that is a set.
    Item(Scalar),
}

/// What elements of lists are told apart by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scalar {
    Number(i64),
    Text(String),
}

/// A set of paths: for each first step, whether it is in the set itself, and what is below it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct FieldSet {
    members: BTreeSet<Element>,
    /// None is empty.
    children: BTreeMap<Element, FieldSet>,
}

impl FieldSet {
    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty() && self.children.is_empty()
    }

    pub(super) fn has(&self, element: &Element) -> bool {
        self.members.contains(element)
    }

    /// What is below a step.
    pub(super) fn below(&self, element: &Element) -> Option<&FieldSet> {
        self.children.get(element)
    }

    /// Adds a path; the empty one is nothing.
    pub(super) fn insert(&mut self, path: &[Element]) {
        match path {
            [] => {}
            [last] => _ = self.members.insert(last.clone()),
            [first, rest @ ..] => self.children.entry(first.clone()).or_default().insert(rest),
        }
    }

    /// Adds a step, if it `is_member`, and what is below it.
    pub(super) fn insert_both(&mut self, element: Element, is_member: bool, below: FieldSet) {
        if is_member {
            self.members.insert(element.clone());
        }
        if !below.is_empty() {
            self.children.insert(element, below);
        }
    }

    pub(super) fn union(&self, other: &FieldSet) -> FieldSet {
        let mut union = self.clone();
        union.members.extend(other.members.iter().cloned());
        for (element, theirs) in &other.children {
            let ours = union.children.entry(element.clone()).or_default();
            *ours = ours.union(theirs);
        }
        union
    }

    pub(super) fn difference(&self, other: &FieldSet) -> FieldSet {
        let below = |element: &Element, ours: &FieldSet| match other.children.get(element) {
            Some(theirs) => ours.difference(theirs),
            None => ours.clone(),
        };
        FieldSet { members: &self.members - &other.members, children: self.each_below(below) }
    }

    pub(super) fn intersection(&self, other: &FieldSet) -> FieldSet {
        let below = |element: &Element, ours: &FieldSet| {
            other.children.get(element).map(|theirs| ours.intersection(theirs)).unwrap_or_default()
        };
        FieldSet { members: &self.members & &other.members, children: self.each_below(below) }
    }

    /// Without a field and all that is below it.
    pub(super) fn without(&self, field: &str) -> FieldSet {
        let field = Element::Field(field.to_owned());
        let mut rest = self.clone();
        rest.members.remove(&field);
        rest.children.remove(&field);
        rest
    }

    /// With the fields on the way to each path (`EnsureNamedFieldsAreMembers`).
    pub(super) fn named(&self) -> FieldSet {
        let fields = self.children.keys().filter(|element| matches!(element, Element::Field(_)));
        FieldSet {
            members: self.members.iter().chain(fields).cloned().collect(),
            children: self.each_below(|_, set| set.named()),
        }
    }

    /// All paths as texts: those of a level before those of the levels below.
    pub(super) fn paths(&self) -> Vec<String> {
        let members = self.members.iter().map(ToString::to_string);
        let below = self
            .children
            .iter()
            .flat_map(|(element, set)| set.paths().into_iter().map(move |path| format!("{element}{path}")));
        members.chain(below).collect()
    }

    fn each_below(&self, below: impl Fn(&Element, &FieldSet) -> FieldSet) -> BTreeMap<Element, FieldSet> {
        let sets = self.children.iter().map(|(element, set)| (element.clone(), below(element, set)));
        sets.filter(|(_, set)| !set.is_empty()).collect()
    }

    /// FieldsV1.
    pub(super) fn encode(&self) -> Value {
        let mut fields: Map<_, _> = self.children.iter().map(|(e, set)| (e.encode(), set.encode())).collect();
        for member in &self.members {
            match fields.get_mut(&member.encode()) {
                Some(below) => below["."] = json!({}),
                None => _ = fields.insert(member.encode(), json!({})),
            }
        }
        fields.into()
    }

    /// None if it is not FieldsV1.
    pub(super) fn decode(fields: &Value) -> Option<FieldSet> {
        let mut set = FieldSet::default();
        for (key, below) in fields.as_object()?.iter().filter(|(key, _)| *key != ".") {
            let element = Element::decode(key)?;
            let inner = FieldSet::decode(below)?;
            let is_member = inner.is_empty() || below.get(".").is_some();
            set.insert_both(element, is_member, inner);
        }
        Some(set)
    }
}

impl Element {
    fn encode(&self) -> String {
        match self {
            Element::Field(name) => format!("f:{name}"),
            Element::Key(keys) => {
                let keys: Map<_, _> =
                    keys.iter().map(|(name, value)| (name.clone(), value.to_json())).collect();
                format!("k:{}", Value::from(keys))
            }
            Element::Item(value) => format!("v:{}", value.to_json()),
        }
    }

    fn decode(text: &str) -> Option<Element> {
        let (tag, rest) = text.split_once(':')?;
        let json = || serde_json::from_str::<Value>(rest).ok();
        match tag {
            "f" => Some(Element::Field(rest.to_owned())),
            "v" => Some(Element::Item(Scalar::of(&json()?)?)),
            "k" => {
                let keys = json()?;
                let keys = keys.as_object()?.iter().map(|(name, v)| Some((name.clone(), Scalar::of(v)?)));
                Some(Element::Key(keys.collect::<Option<_>>()?))
            }
            _ => None,
        }
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Element::Field(name) => write!(f, ".{name}"),
            Element::Item(value) => write!(f, "[={}]", value.to_json()),
            Element::Key(keys) => {
                let keys: Vec<_> = keys.iter().map(|(n, value)| format!("{n}={}", value.to_json())).collect();
                write!(f, "[{}]", keys.join(","))
            }
        }
    }
}

impl Scalar {
    /// None for what no list of the API has as a key.
    pub(super) fn of(value: &Value) -> Option<Scalar> {
        let number = value.as_i64().map(Scalar::Number);
        number.or_else(|| value.as_str().map(|text| Scalar::Text(text.to_owned())))
    }

    fn to_json(&self) -> Value {
        match self {
            Scalar::Number(number) => json!(number),
            Scalar::Text(text) => json!(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_what_managed_fields_say() {
        let encoded = json!({
            "f:metadata": {"f:labels": {".": {}, "f:a": {}}, "f:finalizers": {"v:\"x/y\"": {}}},
            "f:spec": {"f:ports": {"k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:name": {}}}, "f:type": {}},
        });
        let set = FieldSet::decode(&encoded).unwrap();
        assert_eq!(set.encode(), encoded);
        assert_eq!(
            set.paths(),
            [
                ".metadata.labels",
                ".metadata.finalizers[=\"x/y\"]",
                ".metadata.labels.a",
                ".spec.type",
                ".spec.ports[port=80,protocol=\"TCP\"]",
                ".spec.ports[port=80,protocol=\"TCP\"].name",
            ]
        );
        assert!(set.difference(&set).is_empty());
        assert_eq!(set.intersection(&set), set);
        assert_eq!(set.union(&FieldSet::default()), set);
        assert_eq!(set.without("metadata").paths().len(), 3);
        for broken in [json!(5), json!({"x:y": {}}), json!({"k:[]": {}}), json!({"f:a": 5})] {
            assert_eq!(FieldSet::decode(&broken), None, "{broken}");
        }
    }
}
