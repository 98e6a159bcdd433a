//! Patches: JSON (RFC 6902), merge (RFC 7386), and Kubernetes' strategic merge.

use serde_json::Value;

use crate::error::ApiError;

/// Applies a patch of a media type.
pub(crate) fn apply(media_type: &str, before: &Value, patch: &Value) -> Result<Value, ApiError> {
    let mut after = before.clone();
    match media_type {
        "application/merge-patch+json" => json_patch::merge(&mut after, patch),
        "application/strategic-merge-patch+json" => strategic(&mut after, patch),
        "application/json-patch+json" => {
            let patch: json_patch::Patch = serde_json::from_value(patch.clone())
                .map_err(|error| ApiError::bad_request(format!("this is no JSON patch: {error}")))?;
            json_patch::patch(&mut after, &patch)
                .map_err(|error| ApiError::bad_request(error.to_string()))?;
        }
        other => return Err(ApiError::media_type(other)),
    }
    Ok(after)
}

/// Lists whose elements are merged, by the field that identifies them (`patchMergeKey` in the API's types).
/// Any other list is replaced.
fn merge_key(list: &str, element: &Value) -> Option<&'static str> {
    match list {
        "containers" | "initContainers" | "volumes" | "env" | "imagePullSecrets" => Some("name"),
        "ports" if element.get("containerPort").is_some() => Some("containerPort"),
        "ports" if element.get("port").is_some() => Some("port"),
        "conditions" => Some("type"),
        "volumeMounts" => Some("mountPath"),
        "ownerReferences" => Some("uid"),
        _ => None,
    }
}

fn strategic(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() || changes.get("$patch").is_some_and(|how| how == "replace") {
        *target = Value::Object(serde_json::Map::new());
    }
    let Some(fields) = target.as_object_mut() else { return };
    for (name, change) in changes.iter().filter(|(name, _)| !name.starts_with('$')) {
        match change {
            Value::Null => {
                fields.remove(name);
            }
            Value::Object(_) => strategic(fields.entry(name).or_insert(Value::Null), change),
            Value::Array(elements) => {
                let list = fields.entry(name).or_insert_with(|| Value::Array(Vec::new()));
                merge_list(name, list, elements);
            }
            _ => {
                fields.insert(name.clone(), change.clone());
            }
        }
    }
}

fn merge_list(name: &str, list: &mut Value, elements: &[Value]) {
    let replaces = |element: &Value| element.get("$patch").is_some_and(|how| how == "replace");
    let key = elements.iter().find_map(|element| merge_key(name, element));
    let (Some(key), Value::Array(list)) = (key.filter(|_| !elements.iter().any(replaces)), &mut *list) else {
        *list = elements.iter().filter(|element| !replaces(element)).cloned().collect();
        return;
    };
    for element in elements {
        let position = list.iter().position(|is| is[key] == element[key]);
        match (position, element["$patch"].as_str()) {
            (Some(position), Some("delete")) => {
                list.remove(position);
            }
            (None, Some("delete")) => {}
            (Some(position), _) => strategic(&mut list[position], element),
            (None, _) => {
                let mut new = Value::Null;
                strategic(&mut new, element);
                list.push(new);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn strategic_merge_merges_lists_by_key() {
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
        let after = apply("application/strategic-merge-patch+json", &before, &patch).unwrap();
        let expected = json!({
            "spec": {"containers": [{"name": "a", "image": "2", "env": [{"name": "X", "value": "1"}]}, {"name": "c"}], "args": [3]},
            "metadata": {"labels": {"y": "2"}},
        });
        assert_eq!(after, expected);
    }

    #[test]
    fn what_is_no_patch_is_refused() {
        let before = json!({"a": 1});
        assert_eq!(apply("application/json-patch+json", &before, &json!({"op": 1})).unwrap_err().code, 400);
        let failing = json!([{"op": "test", "path": "/a", "value": 2}]);
        assert_eq!(apply("application/json-patch+json", &before, &failing).unwrap_err().code, 400);
        assert_eq!(apply("application/apply-patch+yaml", &before, &json!({})).unwrap_err().code, 415);
        assert_eq!(apply("application/merge-patch+json", &before, &json!({"a": null})).unwrap(), json!({}));
    }
}
