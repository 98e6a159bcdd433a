//! From partial objects to the model. What makes no sense in one endpoint costs that endpoint only.

use std::net::IpAddr;

use super::objects::{EndpointObject, PortObject, ServiceObject, SliceObject};
use crate::model::service::ANNOTATION_PREFIX;
use crate::model::{
    Conditions, Family, Protocol, Service, ServiceKey, ServicePort, Slice, SliceEndpoint, SlicePort,
};

/// The label that says which Service a slice belongs to.
const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// The label that says who writes a slice; our own are not read back.
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const OURSELVES: &str = "zoobridge.io";

/// The key of an object that has a namespace and a name, as all do.
#[must_use]
pub fn key(namespace: Option<&str>, name: Option<&str>) -> ServiceKey {
    ServiceKey::new(namespace.unwrap_or_default(), name.unwrap_or_default())
}

/// A Service.
#[must_use]
pub fn service(object: &ServiceObject) -> Service {
    let ServiceObject { metadata, spec } = object;
    let annotations = metadata.annotations.iter().flatten();
    Service {
        key: key(metadata.namespace.as_deref(), metadata.name.as_deref()),
        uid: metadata.uid.as_deref().unwrap_or_default().into(),
        resource_version: metadata.resource_version.as_deref().unwrap_or_default().into(),
        created_ms: metadata.creation_timestamp.as_ref().map_or(0, |time| time.0.as_millisecond()),
        annotations: annotations
            .filter_map(|(name, value)| {
                Some((name.strip_prefix(ANNOTATION_PREFIX)?.to_owned(), value.clone()))
            })
            .collect(),
        ports: spec
            .ports
            .iter()
            .map(|port| ServicePort {
                name: port.name.clone().unwrap_or_default(),
                port: u16::try_from(port.port).unwrap_or(0),
            })
            .collect(),
        is_external_name: spec.r#type.as_deref() == Some("ExternalName"),
        prefers_ipv4: spec.ip_families.is_empty() || spec.ip_families.iter().any(|family| family == "IPv4"),
    }
}

/// A slice and its Service's name; `None` if it belongs to no Service, or is one that we wrote.
#[must_use]
pub fn slice(object: &SliceObject) -> Option<(ServiceKey, Slice)> {
    let labels = object.metadata.labels.as_ref()?;
    if labels.get(MANAGED_BY).is_some_and(|manager| manager == OURSELVES) {
        return None;
    }
    let service = labels.get(SERVICE_NAME)?;
    let family = match object.address_type.as_str() {
        "IPv4" => Family::Ipv4,
        "IPv6" => Family::Ipv6,
        _ => Family::Fqdn,
    };
    let slice = Slice {
        family,
        ports: object.ports.iter().flatten().filter_map(port).collect(),
        endpoints: object.endpoints.iter().flatten().filter_map(endpoint).collect(),
    };
    Some((key(object.metadata.namespace.as_deref(), Some(service)), slice))
}

fn port(port: &PortObject) -> Option<SlicePort> {
    Some(SlicePort {
        name: port.name.as_deref().unwrap_or_default().into(),
        port: port.port.and_then(|number| u16::try_from(number).ok()),
        protocol: Protocol::from_name(port.protocol.as_deref())?,
    })
}

fn endpoint(endpoint: &EndpointObject) -> Option<SliceEndpoint> {
    let ip: IpAddr = endpoint.addresses.first()?.parse().ok()?;
    let conditions = endpoint.conditions;
    let conditions = Conditions::new(conditions.ready, conditions.serving, conditions.terminating);
    Some(SliceEndpoint { ip, conditions })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_is_decoded_with_kubernetes_defaults() {
        let object: SliceObject = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "orders-x", "namespace": "shop", "labels": {SERVICE_NAME: "orders"}},
            "addressType": "IPv4",
            "endpoints": [
                {"addresses": ["10.0.0.1"], "targetRef": {"kind": "Pod"}},
                {"addresses": ["10.0.0.2"], "conditions": {"ready": false, "serving": null}},
                {"addresses": ["not-an-address"]},
                {"addresses": []},
            ],
            "ports": [{"name": "http", "port": 8080}, {"port": 70000}, {"port": 1, "protocol": "QUIC"}],
        }))
        .unwrap();
        let (key, slice) = slice(&object).unwrap();
        assert_eq!(key.to_string(), "shop/orders");
        let ready: Vec<_> = slice.endpoints.iter().map(|e| (e.ip.to_string(), e.conditions.ready)).collect();
        assert_eq!(ready, [("10.0.0.1".to_owned(), true), ("10.0.0.2".to_owned(), false)]);
        let ports: Vec<_> = slice.ports.iter().map(|port| (&*port.name, port.port)).collect();
        assert_eq!(ports, [("http", Some(8080)), ("", None)]);
    }

    #[test]
    fn slices_of_nobody_and_our_own_are_left_out() {
        let object = |labels: serde_json::Value| -> SliceObject {
            serde_json::from_value(serde_json::json!({
                "metadata": {"namespace": "shop", "labels": labels}, "addressType": "IPv4",
                "endpoints": null, "ports": null,
            }))
            .unwrap()
        };
        assert!(slice(&object(serde_json::json!(null))).is_none());
        assert!(slice(&object(serde_json::json!({"a": "b"}))).is_none());
        assert!(slice(&object(serde_json::json!({SERVICE_NAME: "x", MANAGED_BY: OURSELVES}))).is_none());
        assert!(slice(&object(serde_json::json!({SERVICE_NAME: "x"}))).is_some());
    }

    #[test]
    fn a_service_keeps_only_our_annotations() {
        let object: ServiceObject = serde_json::from_value(serde_json::json!({
            "metadata": {
                "name": "orders", "namespace": "shop", "uid": "u", "resourceVersion": "7",
                "creationTimestamp": "2023-11-14T22:13:20Z",
                "annotations": {"zoobridge.io/curator": "orders", "other/x": "y"},
            },
            "spec": {"ports": [{"name": "http", "port": 80, "targetPort": "http"}], "ipFamilies": ["IPv4"]},
        }))
        .unwrap();
        let service = service(&object);
        assert_eq!(service.annotations, [("curator".to_owned(), "orders".to_owned())].into());
        assert_eq!((service.created_ms, service.prefers_ipv4), (1_700_000_000_000, true));
    }
}
