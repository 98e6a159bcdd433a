//! Which JSON is an object of a kind: the API's own types decide.

use k8s_openapi::api::{apps::v1 as apps, autoscaling::v1 as autoscaling, coordination::v1 as coordination};
use k8s_openapi::api::{core::v1 as core, discovery::v1 as discovery, events::v1 as events};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::kinds::Kind;

/// Has every known field the type that the API gives it?
///
/// # Errors
/// Which field does not, and why: `spec.replicas: invalid type: string "x", expected i32`.
pub(crate) fn check(kind: &Kind, object: &Value) -> Result<(), String> {
    match (kind.group, kind.plural) {
        ("", "namespaces") => decode::<core::Namespace>(object).map(drop),
        ("", "nodes") => decode::<core::Node>(object).map(drop),
        ("", "services") => decode::<core::Service>(object).map(drop),
        ("", "endpoints") => decode::<core::Endpoints>(object).map(drop),
        ("", "pods") => decode::<core::Pod>(object).map(drop),
        ("", "configmaps") => decode::<core::ConfigMap>(object).map(drop),
        ("", "secrets") => decode::<core::Secret>(object).map(drop),
        ("", "serviceaccounts") => decode::<core::ServiceAccount>(object).map(drop),
        ("", "events") => decode::<core::Event>(object).map(drop),
        ("events.k8s.io", "events") => decode::<events::Event>(object).map(drop),
        ("apps", "deployments") => decode::<apps::Deployment>(object).map(drop),
        ("apps", "replicasets") => decode::<apps::ReplicaSet>(object).map(drop),
        ("apps", "statefulsets") => decode::<apps::StatefulSet>(object).map(drop),
        ("discovery.k8s.io", "endpointslices") => decode::<discovery::EndpointSlice>(object).map(drop),
        ("coordination.k8s.io", "leases") => decode::<coordination::Lease>(object).map(drop),
        _ => Err(format!("{} has no type here", kind.kind)),
    }
}

/// The body of a write to the scale subresource.
pub(crate) fn scale(body: &Value) -> Result<autoscaling::Scale, String> {
    decode(body)
}

/// The body of a DELETE.
pub(crate) fn delete_options(body: &Value) -> Result<DeleteOptions, String> {
    decode(body)
}

fn decode<T: DeserializeOwned>(object: &Value) -> Result<T, String> {
    serde_path_to_error::deserialize(object).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::KINDS;
    use serde_json::json;

    #[test]
    fn every_kind_has_a_type() {
        for kind in &KINDS {
            let object =
                |metadata| json!({"apiVersion": kind.api_version(), "kind": kind.kind, "metadata": metadata});
            assert_eq!(check(kind, &object(json!({"name": "a"}))), Ok(()), "{}", kind.kind);
            let error = check(kind, &object(json!({"name": 5}))).unwrap_err();
            assert!(error.starts_with("metadata.name: "), "{}: {error}", kind.kind);
        }
    }
}
