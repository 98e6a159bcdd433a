//! The parts of Kubernetes' objects that the bridge looks at. Everything else is skipped while decoding.

use std::borrow::Cow;

use k8s_openapi::api::{core, discovery};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::NamespaceResourceScope;
use serde::Deserialize;

/// A Service.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ServiceObject {
    /// Its metadata.
    pub metadata: ObjectMeta,
    /// Its spec.
    pub spec: ServiceSpec,
}

/// `spec` of a Service.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ServiceSpec {
    /// ClusterIP, NodePort, LoadBalancer or ExternalName.
    pub r#type: Option<String>,
    /// Address families, the preferred one first.
    pub ip_families: Vec<String>,
    /// Its ports.
    pub ports: Vec<ServicePort>,
}

/// A port of a Service.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ServicePort {
    /// Its name.
    pub name: Option<String>,
    /// Its number at the Service.
    pub port: i32,
}

/// An EndpointSlice.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SliceObject {
    /// Its metadata.
    pub metadata: ObjectMeta,
    /// IPv4, IPv6 or FQDN.
    pub address_type: String,
    /// Its endpoints; null while there are none.
    pub endpoints: Option<Vec<EndpointObject>>,
    /// Its ports; null while there are none.
    pub ports: Option<Vec<PortObject>>,
}

/// An endpoint of a slice.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct EndpointObject {
    /// Its addresses; only the first has a meaning.
    pub addresses: Vec<String>,
    /// Its conditions.
    pub conditions: ConditionsObject,
}

/// Conditions of an endpoint; each may be absent.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub struct ConditionsObject {
    /// May traffic be sent to it?
    pub ready: Option<bool>,
    /// Is its probe content?
    pub serving: Option<bool>,
    /// Is its pod going away?
    pub terminating: Option<bool>,
}

/// A port of a slice.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct PortObject {
    /// The Service port's name.
    pub name: Option<String>,
    /// Its number at the pods; absent means all.
    pub port: Option<i32>,
    /// TCP, UDP or SCTP.
    pub protocol: Option<String>,
}

/// Names a partial object's kind by the full type that it is a part of.
macro_rules! part_of {
    ($part:ty, $whole:ty) => {
        impl Resource for $part {
            type DynamicType = ();
            type Scope = NamespaceResourceScope;

            fn kind((): &()) -> Cow<'_, str> {
                <$whole as Resource>::kind(&())
            }

            fn group((): &()) -> Cow<'_, str> {
                <$whole as Resource>::group(&())
            }

            fn version((): &()) -> Cow<'_, str> {
                <$whole as Resource>::version(&())
            }

            fn plural((): &()) -> Cow<'_, str> {
                <$whole as Resource>::plural(&())
            }

            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }

            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }
    };
}

part_of!(ServiceObject, core::v1::Service);
part_of!(SliceObject, discovery::v1::EndpointSlice);
