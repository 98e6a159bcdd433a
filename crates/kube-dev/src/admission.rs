//! What every object must be before it is stored, whatever its kind.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use crate::error::{ApiError, FieldError};
use crate::kinds::Kind;
use crate::names::{is_label, is_label_value, is_qualified, is_subdomain};
use crate::{service, types};

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
    let mut errors = Vec::new();
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    check_name(kind, name, &mut errors);
    check_metadata(&object["metadata"], &mut errors);
    let replicas = &object["spec"]["replicas"];
    if kind.has_scale && replicas.as_i64().is_some_and(|replicas| replicas < 0) {
        errors.push(FieldError::invalid("spec.replicas", replicas, "must be greater than or equal to 0"));
    }
    match kind.plural {
        "services" => service::check(object, &mut errors),
        "endpointslices" => check_slice(object, &mut errors),
        _ => {}
    }
    if errors.is_empty() { Ok(()) } else { Err(ApiError::invalid(kind, name, &errors)) }
}

fn check_name(kind: &Kind, name: &str, errors: &mut Vec<FieldError>) {
    let field = "metadata.name";
    // Names of Services and namespaces become labels in DNS.
    let (good, rule) = match kind.plural {
        "services" | "namespaces" => (is_label(name), LABEL),
        _ => (is_subdomain(name), SUBDOMAIN),
    };
    if name.is_empty() {
        errors.push(FieldError::required(field, "name or generateName is required"));
    } else if rule == LABEL && is_subdomain(name) && name.contains('.') {
        errors.push(FieldError::invalid(field, &name.into(), "must not contain dots"));
    } else if !good {
        errors.push(FieldError::invalid(field, &name.into(), rule));
    }
}

fn check_metadata(metadata: &Value, errors: &mut Vec<FieldError>) {
    for (key, value) in entries(&metadata["labels"]) {
        if !is_qualified(key) {
            errors.push(FieldError::invalid("metadata.labels", &json!(key), KEY));
        }
        if !value.as_str().is_some_and(is_label_value) {
            errors.push(FieldError::invalid("metadata.labels", value, LABEL_VALUE));
        }
    }
    for (key, _) in entries(&metadata["annotations"]) {
        if !is_qualified(&key.to_ascii_lowercase()) {
            errors.push(FieldError::invalid("metadata.annotations", &json!(key), KEY));
        }
    }
    for (n, finalizer) in elements(&metadata["finalizers"]) {
        let text = finalizer.as_str().unwrap_or_default();
        let why = "name is neither a standard finalizer name nor is it fully qualified";
        if !is_qualified(text) || !(text.contains('/') || STANDARD_FINALIZERS.contains(&text)) {
            errors.push(FieldError::invalid(format!("metadata.finalizers[{n}]"), finalizer, why));
        }
    }
    for (n, owner) in elements(&metadata["ownerReferences"]) {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if owner[field].as_str().unwrap_or_default().is_empty() {
                let field = format!("metadata.ownerReferences[{n}].{field}");
                errors.push(FieldError::required(field, "must not be empty"));
            }
        }
    }
}

fn check_slice(slice: &Value, errors: &mut Vec<FieldError>) {
    let is_ip = |address: &Value| match slice["addressType"].as_str() {
        Some("IPv4" | "IPv6") => address.as_str().is_some_and(|text| text.parse::<IpAddr>().is_ok()),
        _ => true,
    };
    if slice["addressType"] == "" {
        errors.push(FieldError::required("addressType", ""));
    }
    for (n, endpoint) in elements(&slice["endpoints"]) {
        let field = format!("endpoints[{n}].addresses");
        if elements(&endpoint["addresses"]).next().is_none() {
            errors.push(FieldError::required(&*field, ""));
        }
        for (m, address) in elements(&endpoint["addresses"]).filter(|(_, address)| !is_ip(address)) {
            errors.push(FieldError::invalid(format!("{field}[{m}]"), address, IP));
        }
    }
}

fn elements(list: &Value) -> impl Iterator<Item = (usize, &Value)> {
    list.as_array().into_iter().flatten().enumerate()
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

// Upstream's words (`k8s.io/apimachinery/pkg/util/validation`).
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or \
    '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must \
    start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const KEY: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
    alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
    '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or \
    '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex \
    used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const IP: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
