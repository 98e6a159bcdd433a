//! How values are owned: as a whole, or by parts (the `x-kubernetes-list-type` and `-map-type` of the API).

use serde_json::Value;

use super::set::{Element, Scalar};
use crate::kinds::Kind;

/// How a value is owned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// As a whole. So are plain values, and all lists that the table does not name.
    Whole,
    /// Field by field. So are all objects that the table does not name.
    Fields,
    /// A list, element by element; these fields tell its elements apart.
    Keyed(&'static [&'static str]),
    /// A list, element by element; its elements are plain values.
    Set,
}

/// Which path of a kind (of all, if it is empty) has another shape than its JSON suggests. From the schema of
/// client-go 0.37 (`applyconfigurations/internal`).
const TABLE: [(&str, &str, Shape); 29] = [
    ("", "metadata.finalizers", Shape::Set),
    ("", "metadata.ownerReferences", Shape::Keyed(&["uid"])),
    ("", "metadata.ownerReferences[]", Shape::Whole),
    ("", "status.conditions", Shape::Keyed(&["type"])),
    ("services", "spec.ports", Shape::Keyed(&["port", "protocol"])),
    ("services", "spec.selector", Shape::Whole),
    ("events", "involvedObject", Shape::Whole),
    ("events", "regarding", Shape::Whole),
    ("events", "related", Shape::Whole),
    ("serviceaccounts", "secrets", Shape::Keyed(&["name"])),
    ("serviceaccounts", "secrets[]", Shape::Whole),
    ("nodes", "spec.podCIDRs", Shape::Set),
    ("nodes", "status.addresses", Shape::Keyed(&["type"])),
    ("deployments", "spec.selector", Shape::Whole),
    ("replicasets", "spec.selector", Shape::Whole),
    ("statefulsets", "spec.selector", Shape::Whole),
    ("pods", "status.podIPs", Shape::Keyed(&["ip"])),
    ("pods", "spec.nodeSelector", Shape::Whole),
    ("pods", "spec.imagePullSecrets", Shape::Keyed(&["name"])),
    ("pods", "spec.imagePullSecrets[]", Shape::Whole),
    ("pods", "spec.hostAliases", Shape::Keyed(&["ip"])),
    ("pods", "spec.topologySpreadConstraints", Shape::Keyed(&["topologyKey", "whenUnsatisfiable"])),
    ("pods", "spec.volumes", Shape::Keyed(&["name"])),
    ("pods", "spec.containers", Shape::Keyed(&["name"])),
    ("pods", "spec.initContainers", Shape::Keyed(&["name"])),
    ("pods", "spec.containers[].ports", Shape::Keyed(&["containerPort", "protocol"])),
    ("pods", "spec.containers[].env", Shape::Keyed(&["name"])),
    ("pods", "spec.containers[].volumeMounts", Shape::Keyed(&["mountPath"])),
    ("pods", "spec.containers[].volumeDevices", Shape::Keyed(&["devicePath"])),
];

/// A place in an object of a kind, as the table names it.
#[derive(Debug, Clone)]
pub(super) struct Place {
    kind: &'static Kind,
    path: String,
}

impl Place {
    pub(super) fn root(kind: &'static Kind) -> Place {
        Place { kind, path: String::new() }
    }

    pub(super) fn field(&self, name: &str) -> Place {
        let path = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        Place { path, ..*self }
    }

    /// The elements of the list that is here.
    pub(super) fn items(&self) -> Place {
        Place { path: format!("{}[]", self.path), ..*self }
    }

    /// The shape of a value that is here.
    pub(super) fn shape(&self, value: &Value) -> Shape {
        if !value.is_object() && !value.is_array() && !value.is_null() {
            return Shape::Whole;
        }
        // Templates are pods.
        let (plural, path) = match self.path.strip_prefix("spec.template.") {
            Some(path) => ("pods", path),
            None => (self.kind.plural, &*self.path),
        };
        let path = path.replace("initContainers[", "containers[");
        let known = TABLE.iter().find(|(of, at, _)| (of.is_empty() || *of == plural) && *at == path);
        match (known, value) {
            (Some((_, _, shape)), _) => *shape,
            (None, Value::Object(_)) => Shape::Fields,
            (None, _) => Shape::Whole,
        }
    }
}

impl Shape {
    /// What an element of a list of this shape is told apart by; none if it has nothing of the kind.
    pub(super) fn element(self, item: &Value) -> Option<Element> {
        let Shape::Keyed(keys) = self else { return Scalar::of(item).map(Element::Item) };
        let value = |key: &str| match item.get(key) {
            Some(value) => Scalar::of(value),
            // The only key that the API gives a default.
            None => (key == "protocol").then(|| Scalar::Text("TCP".to_owned())),
        };
        let keys: Vec<_> = keys.iter().filter_map(|key| Some(((*key).to_owned(), value(key)?))).collect();
        (!keys.is_empty()).then_some(Element::Key(keys))
    }
}
