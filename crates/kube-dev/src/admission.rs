//! What every object must be before it is stored, whatever its kind.

use serde_json::{Map, Value, json};

use crate::error::ApiError;
use crate::kinds::Kind;
use crate::names::{is_label, is_label_value, is_qualified, is_subdomain};
use crate::types;

/// Finalizers that need no domain (`ValidateFinalizerName` upstream).
const STANDARD_FINALIZERS: [&str; 3] = ["orphan", "foregroundDeletion", "kubernetes"];

/// Brings an object into the form in which it is stored: with its type, without nulls, quantities as texts.
/// Afterwards `metadata` is an object, and each field that the API knows has the type that the API gives it.
///
/// # Errors
/// 400: it is no object of this kind.
pub(crate) fn normalize(kind: &Kind, object: &mut Value) -> Result<(), ApiError> {
    let Some(map) = object.as_object_mut() else {
        return Err(ApiError::bad_request(format!(
            "the object provided is unrecognized (must be of type {})",
            kind.kind
        )));
    };
    // Both may be left out: the path says them.
    for (field, value) in [("apiVersion", kind.api_version()), ("kind", kind.kind.to_owned())] {
        let given = map.entry(field).or_insert_with(|| json!(value));
        if given.is_null() || *given == "" {
            *given = json!(value);
        }
        if *given != value {
            let message = format!("{field} {given} cannot be handled as a {}: not {value:?}", kind.kind);
            return Err(ApiError::bad_request(message));
        }
    }
    without_nulls(object);
    for part in ["spec", "status"] {
        if let Some(part) = object.get_mut(part) {
            text_quantities(part);
        }
    }
    types::check(kind, object).map_err(|error| {
        let message = format!("{} in version {:?} cannot be handled: {error}", kind.kind, kind.api_version());
        ApiError::bad_request(message)
    })?;
    without_empty(object);
    if object.get("metadata").is_none() {
        object["metadata"] = json!({});
    }
    Ok(())
}

/// Checks names and references of an object that is in its stored form.
///
/// # Errors
/// 422: which field is out of range.
pub(crate) fn validate(kind: &Kind, object: &Value) -> Result<(), ApiError> {
    let metadata = &object["metadata"];
    let name = metadata["name"].as_str().unwrap_or_default();
    let invalid = |what: String| Err(ApiError::invalid(kind, name, &what));
    // Names of Services and namespaces become labels in DNS.
    let (good, rule) = match kind.plural {
        "services" | "namespaces" => (is_label(name), "a lowercase RFC 1123 label is needed"),
        _ => (is_subdomain(name), "a lowercase RFC 1123 subdomain is needed"),
    };
    if !good {
        return invalid(format!("metadata.name: {name:?}: {rule}"));
    }
    for (key, value) in entries(&metadata["labels"]) {
        if !is_qualified(key) || !value.as_str().is_some_and(is_label_value) {
            return invalid(format!("metadata.labels: {key:?}={value}: no label"));
        }
    }
    for (key, _) in entries(&metadata["annotations"]) {
        if !is_qualified(&key.to_ascii_lowercase()) {
            return invalid(format!("metadata.annotations: {key:?}: no qualified name"));
        }
    }
    for finalizer in metadata["finalizers"].as_array().into_iter().flatten() {
        let text = finalizer.as_str().unwrap_or_default();
        if !is_qualified(text) || !(text.contains('/') || STANDARD_FINALIZERS.contains(&text)) {
            return invalid(format!("metadata.finalizers: {finalizer}: no name with a domain"));
        }
    }
    for owner in metadata["ownerReferences"].as_array().into_iter().flatten() {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if owner[field].as_str().unwrap_or_default().is_empty() {
                return invalid(format!("metadata.ownerReferences.{field}: Required value"));
            }
        }
    }
    if kind.has_scale && object["spec"]["replicas"].as_i64().is_some_and(|replicas| replicas < 0) {
        return invalid("spec.replicas: must be greater than or equal to 0".to_owned());
    }
    Ok(())
}

fn entries(map: &Value) -> impl Iterator<Item = (&String, &Value)> {
    map.as_object().into_iter().flat_map(Map::iter)
}

/// In the API a field that is null is one that is not there.
fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(without_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(without_nulls),
        _ => {}
    }
}

/// Empty maps and lists that Go's types omit.
fn without_empty(object: &mut Value) {
    const MAPS: [(&str, &[&str]); 3] = [
        ("/metadata", &["labels", "annotations", "finalizers", "ownerReferences"]),
        ("/spec", &["selector"]),
        ("", &["data", "binaryData", "stringData", "subsets"]),
    ];
    for (place, fields) in MAPS {
        let Some(map) = object.pointer_mut(place).and_then(Value::as_object_mut) else { continue };
        map.retain(|name, value| {
            let is_empty =
                value.as_object().is_some_and(Map::is_empty) || value.as_array().is_some_and(Vec::is_empty);
            !(is_empty && fields.contains(&&**name))
        });
    }
}

/// YAML has `cpu: 1` as a number; the API takes it and keeps the text "1".
fn text_quantities(value: &mut Value) {
    let to_text = |value: &mut Value| {
        if value.is_number() {
            *value = value.to_string().into();
        }
    };
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                match (name.as_str(), value) {
                    ("limits" | "requests" | "capacity" | "allocatable" | "overhead", Value::Object(map)) => {
                        map.values_mut().for_each(to_text);
                    }
                    ("sizeLimit" | "divisor", value) => to_text(value),
                    (_, value) => text_quantities(value),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(text_quantities),
        _ => {}
    }
}
