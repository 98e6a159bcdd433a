//! What the API server fills in and checks for Services.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::defaults::default;
use crate::error::{ApiError, FieldError};
use crate::kinds::Kind;

/// Fields that an ExternalName does not have (`dropTypeDependentFields` upstream).
const ADDRESSED: [&str; 5] =
    ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"];

/// Fills in what is the same for all Services.
pub(crate) fn fill(service: &mut Value) {
    let spec = &mut service["spec"];
    default(spec, "type", json!("ClusterIP"));
    default(spec, "sessionAffinity", json!("None"));
    if spec["type"] != "ExternalName" {
        default(spec, "internalTrafficPolicy", json!("Cluster"));
    }
    for port in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
        default(port, "protocol", json!("TCP"));
        let number = port["port"].clone();
        default(port, "targetPort", number);
    }
}

/// Gives a Service an address; `before` is the Service that it replaces.
///
/// # Errors
/// 422: another address than before. 500: no address is left.
pub(crate) fn complete(
    kind: &Kind,
    service: &mut Value,
    before: Option<&Value>,
    next_ip: impl FnOnce() -> Option<String>,
) -> Result<(), ApiError> {
    let name = service["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let spec = &mut service["spec"];
    let before = before.map_or(&Value::Null, |before| &before["spec"]);
    if spec["type"] == "ExternalName" {
        if let Some(spec) = spec.as_object_mut().filter(|_| before["type"] != "ExternalName") {
            spec.retain(|name, _| !ADDRESSED.contains(&&**name));
        }
        return Ok(());
    }
    default(spec, "ipFamilyPolicy", json!("SingleStack"));
    default(spec, "ipFamilies", json!(["IPv4"]));
    let ip = |spec: &Value| spec["clusterIP"].as_str().filter(|ip| !ip.is_empty()).map(str::to_owned);
    let ip = match (ip(spec), ip(before)) {
        (Some(given), Some(before)) if given != before => {
            let error = FieldError::invalid("spec.clusterIPs[0]", &json!([given]), "may not change once set");
            return Err(ApiError::invalid(kind, &name, &[error]));
        }
        (Some(ip), _) | (None, Some(ip)) => ip,
        (None, None) => next_ip().ok_or_else(ApiError::no_address)?,
    };
    spec["clusterIPs"] = json!([ip]);
    spec["clusterIP"] = json!(ip);
    Ok(())
}

/// Are its ports there, in range, and told apart by name?
pub(crate) fn check(service: &Value, errors: &mut Vec<FieldError>) {
    let spec = &service["spec"];
    let ports = spec["ports"].as_array().map_or(&[][..], Vec::as_slice);
    if ports.is_empty() && spec["type"] != "ExternalName" && spec["clusterIP"] != "None" {
        errors.push(FieldError::required("spec.ports", ""));
    }
    let in_range = |port: &Value| port.as_i64().is_some_and(|number| (1..=65_535).contains(&number));
    let mut names = BTreeSet::new();
    for (n, port) in ports.iter().enumerate() {
        let name = port["name"].as_str().unwrap_or_default();
        if name.is_empty() && ports.len() > 1 {
            errors.push(FieldError::required(format!("spec.ports[{n}].name"), ""));
        } else if !name.is_empty() && !names.insert(name) {
            errors.push(FieldError::duplicate(format!("spec.ports[{n}].name"), &port["name"]));
        }
        for field in ["port", "targetPort"] {
            let number = &port[field];
            if !in_range(number) && !number.is_string() {
                let field = format!("spec.ports[{n}].{field}");
                errors.push(FieldError::invalid(field, number, "must be between 1 and 65535, inclusive"));
            }
        }
    }
}
