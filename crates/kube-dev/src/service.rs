//! What the API server fills in and checks for Services.

use serde_json::{Value, json};

use crate::defaults::default;
use crate::error::ApiError;
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

/// Gives a Service an address and checks its `spec`; `before` is the Service that it replaces.
///
/// # Errors
/// 422: no ports, a port out of range, another address than before. 500: no address is left.
pub(crate) fn complete(
    kind: &Kind,
    service: &mut Value,
    before: Option<&Value>,
    next_ip: impl FnOnce() -> Option<String>,
) -> Result<(), ApiError> {
    let name = service["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let invalid = |what: &str| ApiError::invalid(kind, &name, what);
    let spec = &mut service["spec"];
    check_ports(spec).map_err(invalid)?;
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
            return Err(invalid("spec.clusterIP: may not change once set"));
        }
        (Some(ip), _) | (None, Some(ip)) => ip,
        (None, None) => next_ip().ok_or_else(ApiError::no_address)?,
    };
    if ip != "None" && spec["ports"].as_array().is_none_or(Vec::is_empty) {
        return Err(invalid("spec.ports: Required value"));
    }
    spec["clusterIPs"] = json!([ip]);
    spec["clusterIP"] = json!(ip);
    Ok(())
}

fn check_ports(spec: &Value) -> Result<(), &'static str> {
    let ports = spec["ports"].as_array();
    let is_port = |port: &Value| port["port"].as_i64().is_some_and(|number| (1..=65_535).contains(&number));
    match ports.into_iter().flatten().all(is_port) {
        true => Ok(()),
        false => Err("spec.ports.port: must be between 1 and 65535"),
    }
}
