//! What the real API server fills in and the bridge or `kubectl` look at.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::kinds::Kind;

/// Fills in what is the same for all objects of a kind. Services have more of it, see [`crate::service`].
pub(crate) fn fill(kind: &Kind, object: &mut Value) {
    let mut within = |part: &str, field: &str, value: Value| {
        if object.get(part).is_none() {
            object[part] = json!({});
        }
        default(&mut object[part], field, value);
    };
    match kind.plural {
        "deployments" | "statefulsets" | "replicasets" => within("spec", "replicas", json!(1)),
        "namespaces" => within("status", "phase", json!("Active")),
        "pods" => within("status", "phase", json!("Pending")),
        "secrets" => {
            default(object, "type", json!("Opaque"));
            encode_string_data(object);
        }
        _ => {}
    }
}

/// Sets a field that an object does not have.
pub(crate) fn default(object: &mut Value, field: &str, value: Value) {
    if let Some(map) = object.as_object_mut() {
        map.entry(field).or_insert(value);
    }
}

/// `stringData` of a Secret becomes `data`.
fn encode_string_data(secret: &mut Value) {
    let Some(fields) = secret.as_object_mut() else { return };
    let Some(Value::Object(texts)) = fields.remove("stringData") else { return };
    let Value::Object(data) = fields.entry("data").or_insert_with(|| json!({})) else { return };
    for (name, text) in texts {
        data.insert(name, STANDARD.encode(text.as_str().unwrap_or_default()).into());
    }
}
