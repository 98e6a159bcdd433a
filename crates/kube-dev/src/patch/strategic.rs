//! Strategic merge: like a merge patch, but lists whose elements have an identity are merged.
//!
//! Directives: `$patch` (`replace`, `delete`, `merge`), `$retainKeys`, `$setElementOrder/<list>`,
//! `$deleteFromPrimitiveList/<list>`.

use serde_json::{Map, Value};

use super::order;

/// What an element of a list is told apart by (`patchMergeKey` in the API's types).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Identity {
    Field(&'static str),
    /// The elements are plain values.
    Itself,
}

/// How lists of a name are merged; any other list is replaced. Names stand for types here: the kinds of this
/// API use none of them in two ways, but for `ports`.
fn identity(list: &str, elements: &[Value]) -> Option<Identity> {
    let field = match list {
        "containers"
        | "initContainers"
        | "ephemeralContainers"
        | "volumes"
        | "env"
        | "imagePullSecrets"
        | "secrets"
        | "resourceClaims"
        | "schedulingGates" => "name",
        "ports" if elements.iter().any(|port| port.get("containerPort").is_some()) => "containerPort",
        "ports" if elements.iter().any(|port| port.get("port").is_some()) => "port",
        "conditions" => "type",
        "addresses" if elements.iter().any(|address| address.get("type").is_some()) => "type",
        "volumeMounts" => "mountPath",
        "volumeDevices" => "devicePath",
        "hostAliases" | "podIPs" | "hostIPs" => "ip",
        "topologySpreadConstraints" => "topologyKey",
        "ownerReferences" => "uid",
        "finalizers" | "podCIDRs" => return Some(Identity::Itself),
        _ => return None,
    };
    Some(Identity::Field(field))
}

impl Identity {
    fn of(self, element: &Value) -> Value {
        match self {
            Identity::Field(field) => element[field].clone(),
            Identity::Itself => element.clone(),
        }
    }
}

/// Merges a patch, which is an object, into a target.
///
/// # Errors
/// A directive that does not exist, or is no list where it has to be one.
pub(super) fn merge(target: &mut Value, patch: &Value) -> Result<(), String> {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return Ok(());
    };
    match changes.get("$patch").map(|how| how.as_str().unwrap_or_default()) {
        None | Some("merge") => {}
        Some("replace") => *target = Value::Null,
        Some("delete") => {
            *target = Value::Object(Map::new());
            return Ok(());
        }
        Some(other) => return Err(format!("unknown patch type: {other}")),
    }
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(fields) = target.as_object_mut() else { return Ok(()) };
    let names = |directive: &str| {
        changes
            .keys()
            .filter_map(move |key| key.strip_prefix(directive))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    for list in names("$deleteFromPrimitiveList/") {
        let gone = directive(changes, "$deleteFromPrimitiveList/", &list)?.unwrap_or_default();
        if let Some(Value::Array(list)) = fields.get_mut(&list) {
            list.retain(|element| !gone.contains(element));
        }
    }
    for (name, change) in changes.iter().filter(|(name, _)| !name.starts_with('$')) {
        match change {
            Value::Null => {
                fields.remove(name);
            }
            Value::Object(_) => merge(fields.entry(name).or_insert(Value::Null), change)?,
            Value::Array(elements) => {
                let order = directive(changes, "$setElementOrder/", name)?;
                let list = fields.entry(name).or_insert_with(|| Value::Array(Vec::new()));
                merge_list(name, list, elements, order)?;
            }
            _ => {
                fields.insert(name.clone(), change.clone());
            }
        }
    }
    for list in names("$setElementOrder/").into_iter().filter(|list| !changes.contains_key(list)) {
        let order = directive(changes, "$setElementOrder/", &list)?;
        if let Some(target) = fields.get_mut(&list) {
            merge_list(&list, target, &[], order)?;
        }
    }
    if let Some(keep) = directive(changes, "$retainKeys", "")? {
        fields.retain(|name, _| keep.iter().any(|keep| keep == name));
    }
    Ok(())
}

fn directive<'p>(
    changes: &'p Map<String, Value>,
    prefix: &str,
    of: &str,
) -> Result<Option<&'p [Value]>, String> {
    match changes.get(&format!("{prefix}{of}")) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Array(list)) => Ok(Some(list)),
        Some(_) => Err(format!("{prefix}{of} is no list")),
    }
}

fn merge_list(
    name: &str,
    target: &mut Value,
    elements: &[Value],
    order: Option<&[Value]>,
) -> Result<(), String> {
    let how = |element: &Value| element.get("$patch").and_then(Value::as_str).unwrap_or_default().to_owned();
    let is_replaced = elements.iter().any(|element| how(element) == "replace");
    let original = target.as_array().cloned().unwrap_or_default();
    let known = [elements, order.unwrap_or_default(), &original].concat();
    let Some(identity) = identity(name, &known).filter(|_| !is_replaced) else {
        if is_replaced || order.is_none() || !elements.is_empty() {
            *target = elements.iter().filter(|element| how(element) != "replace").cloned().collect();
        }
        return Ok(());
    };
    let mut merged = original.clone();
    for element in elements {
        let position = merged.iter().position(|is| identity.of(is) == identity.of(element));
        match (position, how(element).as_str()) {
            (Some(position), "delete") => drop(merged.remove(position)),
            (None, "delete") => {}
            (Some(position), _) => merge(&mut merged[position], element)?,
            (None, _) => {
                let mut new = Value::Null;
                merge(&mut new, element)?;
                merged.push(new);
            }
        }
    }
    *target =
        order::merge(merged, order.unwrap_or(elements), &original, |element| identity.of(element)).into();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn merged(before: &Value, patch: &Value) -> Result<Value, String> {
        let mut after = before.clone();
        merge(&mut after, patch).map(|()| after)
    }

    #[test]
    fn lists_are_merged_by_key() {
        let before = json!({
            "spec": {"containers": [{"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}]}, {"name": "b"}], "args": [1, 2]},
            "metadata": {"labels": {"x": "1", "y": "2"}},
        });
        let patch = json!({
            "spec": {
                "$setElementOrder/containers": [{"name": "a"}, {"name": "c"}],
                "containers": [{"name": "a", "image": "2"}, {"name": "b", "$patch": "delete"}, {"name": "c"}],
                "args": [3],
            },
            "metadata": {"labels": {"x": null}},
        });
        let expected = json!({
            "spec": {"containers": [{"name": "a", "image": "2", "env": [{"name": "X", "value": "1"}]}, {"name": "c"}], "args": [3]},
            "metadata": {"labels": {"y": "2"}},
        });
        assert_eq!(merged(&before, &patch), Ok(expected));
    }

    #[test]
    fn directives_do_what_they_say() {
        let before =
            json!({"m": {"a": 1, "b": 2}, "env": [{"name": "x"}, {"name": "y"}], "finalizers": ["p", "q"]});
        for (patch, field, expected) in [
            (json!({"m": {"$patch": "replace", "c": 3}}), "m", json!({"c": 3})),
            (json!({"m": {"$patch": "delete"}}), "m", json!({})),
            (json!({"m": {"$patch": "merge", "c": 3}}), "m", json!({"a": 1, "b": 2, "c": 3})),
            (json!({"m": {"$retainKeys": ["b", "c"], "c": 3}}), "m", json!({"b": 2, "c": 3})),
            (json!({"env": [{"$patch": "replace"}, {"name": "z"}]}), "env", json!([{"name": "z"}])),
            (
                json!({"$setElementOrder/env": [{"name": "y"}, {"name": "x"}]}),
                "env",
                json!([{"name": "y"}, {"name": "x"}]),
            ),
            (json!({"$deleteFromPrimitiveList/finalizers": ["p"]}), "finalizers", json!(["q"])),
            (json!({"$deleteFromPrimitiveList/finalizers": ["z"]}), "finalizers", json!(["p", "q"])),
            (json!({"finalizers": ["q", "r"]}), "finalizers", json!(["p", "q", "r"])),
            (json!({"finalizers": null}), "finalizers", Value::Null),
        ] {
            assert_eq!(merged(&before, &patch).unwrap()[field], expected, "{patch}");
        }
        for patch in [
            json!({"m": {"$patch": "bogus"}}),
            json!({"$deleteFromPrimitiveList/finalizers": "p"}),
            json!({"$setElementOrder/env": 5}),
            json!({"m": {"$retainKeys": 5}}),
        ] {
            assert!(merged(&before, &patch).is_err(), "{patch}");
        }
    }
}
