//! From partial objects to the model. What makes no sense in one endpoint costs that endpoint only.

use std::net::IpAddr;

use super::field::Field;
use super::objects::{
    EndpointObject, Metadata, PortObject, ServiceObject, ServicePortObject, ServiceSpec, SliceObject,
};
use crate::model::ANNOTATION_PREFIX;
use crate::model::{
    Conditions, Family, Protocol, Service, ServiceKey, ServicePort, Slice, SliceEndpoint, SlicePort,
};

/// An object that is not what Kubernetes says. What was known of it before stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {name:?} makes no sense: its {field} is missing, or is not what Kubernetes writes there")]
pub struct Malformed {
    /// Its kind.
    pub kind: &'static str,
    /// Namespace and name, as far as it has them.
    pub name: String,
    /// The first field that is malformed.
    pub field: &'static str,
}

/// A value, or the name of the field that is malformed.
type Read<T> = Result<T, &'static str>;

/// The label that says which Service a slice belongs to.
pub(crate) const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// The label that says who writes a slice; our own are not read back.
pub(crate) const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
pub(crate) const OUR_SLICES: &str = "zoobridge.io";
/// The label that says who writes a Service; what we imported is not published.
pub(crate) const MANAGER: &str = "app.kubernetes.io/managed-by";
pub(crate) const OURSELVES: &str = "zoobridge";

/// A Service.
///
/// # Errors
/// A field that it needs is malformed.
pub fn service(object: &ServiceObject) -> Result<Service, Malformed> {
    let ServiceObject { metadata, spec } = object;
    read_service(metadata, spec).map_err(|field| malformed("Service", metadata, field))
}

/// The key of a Service.
///
/// # Errors
/// It has no readable name.
pub fn service_key(object: &ServiceObject) -> Result<ServiceKey, Malformed> {
    key(&object.metadata).map_err(|field| malformed("Service", &object.metadata, field))
}

/// A slice with its Service's key; `None` if it belongs to no Service, or is one that we wrote.
///
/// # Errors
/// A field that it needs is malformed.
pub fn slice(object: &SliceObject) -> Result<Option<(ServiceKey, Slice)>, Malformed> {
    read_slice(object).map_err(|field| malformed("EndpointSlice", &object.metadata, field))
}

/// Namespace and name of a slice.
///
/// # Errors
/// It has no readable name.
pub fn slice_name(object: &SliceObject) -> Result<ServiceKey, Malformed> {
    key(&object.metadata).map_err(|field| malformed("EndpointSlice", &object.metadata, field))
}

fn malformed(kind: &'static str, metadata: &Metadata, field: &'static str) -> Malformed {
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    let name = format!("{}/{}", part(&metadata.known.namespace), part(&metadata.known.name));
    Malformed { kind, name, field }
}

/// Only these two: what else is malformed must not keep a deletion from being understood.
fn key(metadata: &Metadata) -> Read<ServiceKey> {
    let Metadata { known, malformed } = metadata;
    let namespace = known.namespace.as_deref().ok_or(malformed.unwrap_or("metadata.namespace"))?;
    let name = known.name.as_deref().ok_or(malformed.unwrap_or("metadata.name"))?;
    Ok(ServiceKey::new(namespace, name))
}

fn read_service(metadata: &Metadata, spec: &Field<ServiceSpec>) -> Read<Service> {
    metadata.malformed.map_or(Ok(()), Err)?;
    let key = key(metadata)?;
    let known = &metadata.known;
    let annotations = known.annotations.iter().flatten();
    let empty = ServiceSpec::default();
    let spec = spec.get("spec")?.unwrap_or(&empty);
    let ip_families = spec.ip_families.items("spec.ipFamilies")?;
    let ports = spec.ports.items("spec.ports")?.into_iter();
    Ok(Service {
        key,
        uid: known.uid.as_deref().unwrap_or_default().into(),
        resource_version: known.resource_version.as_deref().unwrap_or_default().into(),
        created_ms: known.creation_timestamp.as_ref().map_or(0, |time| time.0.as_millisecond()),
        annotations: annotations
            .filter_map(|(name, value)| {
                Some((name.strip_prefix(ANNOTATION_PREFIX)?.to_owned(), value.clone()))
            })
            .collect(),
        ports: ports.filter_map(|port| service_port(port).transpose()).collect::<Read<_>>()?,
        is_imported: known
            .labels
            .as_ref()
            .and_then(|labels| labels.get(MANAGER))
            .is_some_and(|it| it == OURSELVES),
        is_external_name: spec.r#type.get("spec.type")?.is_some_and(|kind| kind == "ExternalName"),
        prefers_ipv4: ip_families.is_empty() || ip_families.into_iter().any(|family| family == "IPv4"),
    })
}

/// `None` for a protocol that nobody knows.
fn service_port(port: &ServicePortObject) -> Read<Option<ServicePort>> {
    let protocol = port.protocol.get("spec.ports.protocol")?;
    let name = port.name.get("spec.ports.name")?.cloned().unwrap_or_default();
    let number = port.port.get("spec.ports.port")?.copied().unwrap_or_default();
    let port = number_of_port(number).ok_or("spec.ports.port")?;
    Ok(Protocol::from_name(protocol.map(String::as_str)).map(|protocol| ServicePort { name, port, protocol }))
}

fn read_slice(object: &SliceObject) -> Read<Option<(ServiceKey, Slice)>> {
    let SliceObject { metadata, address_type, endpoints, ports } = object;
    metadata.malformed.map_or(Ok(()), Err)?;
    let name = key(metadata)?;
    let label = |label| metadata.known.labels.as_ref().and_then(|labels| labels.get(label));
    let service = label(SERVICE_NAME).filter(|service| !service.is_empty());
    let Some(service) = service.filter(|_| label(MANAGED_BY).is_none_or(|manager| manager != OUR_SLICES))
    else {
        return Ok(None);
    };
    let family = match address_type.get("addressType")?.map(String::as_str) {
        Some("IPv4") => Family::Ipv4,
        Some("IPv6") => Family::Ipv6,
        _ => Family::Fqdn,
    };
    let ports = ports.items("ports")?.into_iter();
    let endpoints = endpoints.items("endpoints")?.into_iter();
    let slice = Slice {
        family,
        ports: ports.filter_map(|port| slice_port(port).transpose()).collect::<Read<_>>()?,
        endpoints: endpoints.filter_map(|one| endpoint(one, family).transpose()).collect::<Read<_>>()?,
    };
    Ok(Some((ServiceKey::new(&name.namespace, service), slice)))
}

/// `None` for a protocol that nobody knows.
fn slice_port(port: &PortObject) -> Read<Option<SlicePort>> {
    let name = port.name.get("ports.name")?.map(String::as_str).unwrap_or_default();
    let number = port.port.get("ports.port")?.copied().and_then(number_of_port);
    let protocol = Protocol::from_name(port.protocol.get("ports.protocol")?.map(String::as_str));
    Ok(protocol.map(|protocol| SlicePort { name: name.into(), port: number, protocol }))
}

/// `None` for one without an address of the slice's family.
fn endpoint(endpoint: &EndpointObject, family: Family) -> Read<Option<SliceEndpoint>> {
    let addresses = endpoint.addresses.items("endpoints.addresses")?;
    let conditions = endpoint.conditions.get("endpoints.conditions")?.copied().unwrap_or_default();
    let ready = conditions.ready.get("endpoints.conditions.ready")?.copied();
    let serving = conditions.serving.get("endpoints.conditions.serving")?.copied();
    let terminating = conditions.terminating.get("endpoints.conditions.terminating")?.copied();
    let ip = addresses.first().and_then(|text| text.parse().ok()).filter(|ip| match family {
        Family::Ipv4 => IpAddr::is_ipv4(ip),
        Family::Ipv6 => IpAddr::is_ipv6(ip),
        Family::Fqdn => false,
    });
    Ok(ip.map(|ip| SliceEndpoint { ip, conditions: Conditions::new(ready, serving, terminating) }))
}

/// 1 to 65535; nothing listens at another.
fn number_of_port(number: i32) -> Option<u16> {
    u16::try_from(number).ok().filter(|&number| number > 0)
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
            "ports": [
                {"name": "http", "port": 8080}, {"port": 70000}, {"port": 0}, {"port": 1, "protocol": "QUIC"},
            ],
        }))
        .unwrap();
        let (key, slice) = slice(&object).unwrap().unwrap();
        assert_eq!(key.to_string(), "shop/orders");
        let ready: Vec<_> = slice.endpoints.iter().map(|e| (e.ip.to_string(), e.conditions.ready)).collect();
        assert_eq!(ready, [("10.0.0.1".to_owned(), true), ("10.0.0.2".to_owned(), false)]);
        let ports: Vec<_> = slice.ports.iter().map(|port| (&*port.name, port.port)).collect();
        assert_eq!(ports, [("http", Some(8080)), ("", None), ("", None)]);
    }

    #[test]
    fn slices_of_nobody_and_our_own_are_left_out() {
        let object = |labels: serde_json::Value| -> SliceObject {
            serde_json::from_value(serde_json::json!({
                "metadata": {"namespace": "shop", "name": "x", "labels": labels}, "addressType": "IPv4",
                "endpoints": null, "ports": null,
            }))
            .unwrap()
        };
        for nobody in [
            serde_json::json!(null),
            serde_json::json!({"a": "b"}),
            serde_json::json!({SERVICE_NAME: ""}),
            serde_json::json!({SERVICE_NAME: "x", MANAGED_BY: OUR_SLICES}),
        ] {
            assert_eq!(slice(&object(nobody.clone())), Ok(None), "{nobody}");
        }
        for somebody in [
            serde_json::json!({SERVICE_NAME: "x"}),
            serde_json::json!({SERVICE_NAME: "x", MANAGED_BY: "endpointslicemirroring-controller.k8s.io"}),
        ] {
            assert!(slice(&object(somebody.clone())).unwrap().is_some(), "{somebody}");
        }
    }

    #[test]
    fn a_service_keeps_only_our_annotations() {
        let object: ServiceObject = serde_json::from_value(serde_json::json!({
            "metadata": {
                "name": "orders", "namespace": "shop", "uid": "u", "resourceVersion": "7",
                "creationTimestamp": "2023-11-14T22:13:20Z",
                "annotations": {"zoobridge.io/curator": "orders", "other/x": "y"},
            },
            "spec": {
                "ports": [
                    {"name": "http", "port": 80, "targetPort": "http"},
                    {"name": "dns", "port": 53, "protocol": "UDP"},
                    {"name": "new", "port": 7, "protocol": "QUIC"},
                ],
                "ipFamilies": ["IPv4"],
            },
        }))
        .unwrap();
        let service = service(&object).unwrap();
        assert_eq!(service.annotations, [("curator".to_owned(), "orders".to_owned())].into());
        assert_eq!((service.created_ms, service.prefers_ipv4), (1_700_000_000_000, true));
        let ports: Vec<_> =
            service.ports.iter().map(|port| (&*port.name, port.port, port.protocol)).collect();
        assert_eq!(ports, [("http", 80, Protocol::Tcp), ("dns", 53, Protocol::Udp)]);
    }

    /// Each field of a well-formed object, with the name under which it is reported.
    const FIELDS: [(&str, &str); 15] = [
        ("/metadata", "metadata"),
        ("/metadata/name", "metadata.name"),
        ("/metadata/namespace", "metadata.namespace"),
        ("/metadata/resourceVersion", "metadata.resourceVersion"),
        ("/metadata/labels", "metadata.labels"),
        ("/addressType", "addressType"),
        ("/endpoints", "endpoints"),
        ("/endpoints/0", "endpoints"),
        ("/endpoints/0/addresses", "endpoints.addresses"),
        ("/endpoints/0/addresses/0", "endpoints.addresses"),
        ("/endpoints/0/conditions", "endpoints.conditions"),
        ("/endpoints/0/conditions/ready", "endpoints.conditions.ready"),
        ("/ports", "ports"),
        ("/ports/0/port", "ports.port"),
        ("/ports/0/protocol", "ports.protocol"),
    ];

    fn whole_slice() -> serde_json::Value {
        serde_json::json!({
            "metadata": {
                "namespace": "shop", "name": "orders-x", "resourceVersion": "7",
                "labels": {SERVICE_NAME: "orders"},
            },
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": true}}],
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        })
    }

    fn read_list(objects: &[serde_json::Value]) -> Vec<SliceObject> {
        let text = serde_json::to_string(&serde_json::json!({"metadata": {}, "items": objects})).unwrap();
        serde_json::from_str::<kube::core::ObjectList<SliceObject>>(&text).unwrap().items
    }

    #[test]
    fn an_object_with_a_field_of_a_wrong_type_is_named_and_costs_no_other() {
        for (pointer, field) in FIELDS {
            let mut broken = whole_slice();
            *broken.pointer_mut(pointer).unwrap() = serde_json::json!({"x": [{"y": 1}]});
            if matches!(
                pointer,
                "/metadata" | "/endpoints/0" | "/endpoints/0/conditions" | "/metadata/labels"
            ) {
                *broken.pointer_mut(pointer).unwrap() = serde_json::json!("x");
            }
            let objects = read_list(&[broken, whole_slice()]);
            let error = slice(&objects[0]).unwrap_err();
            assert_eq!((error.kind, error.field), ("EndpointSlice", field), "{pointer}");
            let has_no_name = matches!(pointer, "/metadata" | "/metadata/name" | "/metadata/namespace");
            assert_eq!(slice_name(&objects[0]).err(), has_no_name.then_some(error.clone()), "{pointer}");
            if !pointer.starts_with("/metadata") {
                assert!(error.to_string().contains("shop/orders-x"), "{error}");
            }
            assert!(slice(&objects[1]).unwrap().is_some());
        }
    }

    #[test]
    fn null_in_any_field_is_its_absence() {
        for (pointer, _) in FIELDS {
            let mut with_null = whole_slice();
            *with_null.pointer_mut(pointer).unwrap() = serde_json::json!(null);
            let objects = read_list(&[with_null, whole_slice()]);
            let needs_name = matches!(pointer, "/metadata" | "/metadata/name" | "/metadata/namespace");
            assert_eq!(slice(&objects[0]).is_err(), needs_name, "{pointer}");
            assert!(slice(&objects[1]).unwrap().is_some());
        }
        for null_spec in [
            serde_json::json!({"ports": null, "ipFamilies": null, "type": null}),
            serde_json::json!({"ports": [{"name": null, "port": 80, "protocol": null}]}),
            serde_json::json!(null),
        ] {
            let metadata = serde_json::json!({
                "namespace": "shop", "name": "orders", "annotations": null, "labels": null, "uid": null,
                "creationTimestamp": null, "resourceVersion": null,
            });
            let object = serde_json::json!({"metadata": metadata, "spec": null_spec});
            let object: ServiceObject = serde_json::from_value(object).unwrap();
            assert!(service(&object).is_ok());
        }
    }

    #[test]
    fn a_malformed_service_is_named() {
        for (metadata, spec, field) in [
            (serde_json::json!({"annotations": {"a": 1}}), serde_json::json!({}), "metadata.annotations"),
            (
                serde_json::json!({"creationTimestamp": "soon"}),
                serde_json::json!({}),
                "metadata.creationTimestamp",
            ),
            (serde_json::json!({}), serde_json::json!("x"), "spec"),
            (serde_json::json!({}), serde_json::json!({"ports": {}}), "spec.ports"),
            (serde_json::json!({}), serde_json::json!({"ports": [{"port": "http"}]}), "spec.ports.port"),
            (serde_json::json!({}), serde_json::json!({"ports": [{"port": 0}]}), "spec.ports.port"),
            (serde_json::json!({}), serde_json::json!({"ipFamilies": [4]}), "spec.ipFamilies"),
        ] {
            let mut object = serde_json::json!({"metadata": metadata, "spec": spec});
            object["metadata"]["namespace"] = "shop".into();
            object["metadata"]["name"] = "orders".into();
            let object: ServiceObject = serde_json::from_value(object).unwrap();
            let error = service(&object).unwrap_err();
            assert_eq!((error.kind, &*error.name, error.field), ("Service", "shop/orders", field));
            assert_eq!(service_key(&object).unwrap().to_string(), "shop/orders");
        }
    }

    #[test]
    fn a_watch_event_with_a_malformed_object_is_still_an_event() {
        let mut broken = whole_slice();
        broken["endpoints"] = "x".into();
        for text in [
            format!(r#"{{"type": "MODIFIED", "object": {broken}}}"#),
            format!(r#"{{"object": {broken}, "type": "MODIFIED"}}"#),
        ] {
            let event: kube::core::WatchEvent<SliceObject> = serde_json::from_str(&text).unwrap();
            let kube::core::WatchEvent::Modified(object) = event else { panic!("{event:?}") };
            // The watcher goes on from there.
            assert_eq!(object.metadata.known.resource_version.as_deref(), Some("7"));
            assert_eq!(slice(&object).unwrap_err().field, "endpoints");
        }
    }

    #[test]
    fn an_address_of_another_family_than_the_slice_says_is_left_out() {
        for (family, address, expected) in
            [("IPv4", "fd00::1", 0), ("IPv6", "10.0.0.1", 0), ("IPv6", "fd00::1", 1), ("FQDN", "10.0.0.1", 0)]
        {
            let mut object = whole_slice();
            object["addressType"] = family.into();
            object["endpoints"][0]["addresses"] = serde_json::json!([address, "10.0.0.9"]);
            let (_, slice) = slice(&read_list(&[object])[0]).unwrap().unwrap();
            assert_eq!(slice.endpoints.len(), expected, "{family} {address}");
        }
    }
}
