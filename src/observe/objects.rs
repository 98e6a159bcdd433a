//! The parts of Kubernetes' objects that the bridge looks at. Everything else is skipped while decoding.
//!
//! A list is decoded as a whole, so an object that cannot be read would cost all the others, and for as long
//! as it exists. Reading a [`Field`] therefore never fails: it remembers what was wrong with it, and
//! [`super::decode`] leaves out that object alone.

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::api::{core, discovery};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::Resource;
use kube::core::{ClusterResourceScope, NamespaceResourceScope};
use serde::{Deserialize, Deserializer};

use super::field::Field;

/// A Service.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ServiceObject {
    /// Its metadata.
    pub metadata: Metadata,
    /// Its spec.
    pub spec: Field<ServiceSpec>,
    /// Its status.
    pub status: Field<ServiceStatus>,
}

/// `spec` of a Service.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ServiceSpec {
    /// ClusterIP, NodePort, LoadBalancer or ExternalName.
    pub r#type: Field<String>,
    /// Address families, the preferred one first.
    pub ip_families: Field<Vec<Field<String>>>,
    /// Its ports.
    pub ports: Field<Vec<Field<ServicePortObject>>>,
    /// Labels of its pods.
    pub selector: Field<BTreeMap<String, Field<String>>>,
    /// Its addresses inside the cluster, or `None`.
    #[serde(rename = "clusterIPs")]
    pub cluster_ips: Field<Vec<Field<String>>>,
    /// Addresses that somebody routes to the nodes.
    #[serde(rename = "externalIPs")]
    pub external_ips: Field<Vec<Field<String>>>,
    /// Cluster or Local.
    pub external_traffic_policy: Field<String>,
    /// The name that an ExternalName Service stands for.
    pub external_name: Field<String>,
}

/// `status` of a Service.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ServiceStatus {
    /// What is said of its balancer.
    pub load_balancer: Field<LoadBalancerObject>,
}

/// `status.loadBalancer`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct LoadBalancerObject {
    /// Where it takes traffic.
    pub ingress: Field<Vec<Field<IngressObject>>>,
}

/// One point of a balancer; it has an address or a name. Its `ipMode` is of no interest here: it says how kube-proxy
/// treats calls from inside the cluster, and they reach the Service either way.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct IngressObject {
    /// Its address.
    pub ip: Field<String>,
    /// Its name.
    pub hostname: Field<String>,
    /// What is said of its ports, if anything.
    pub ports: Field<Vec<Field<PortStatusObject>>>,
}

/// What a balancer says of one port.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct PortStatusObject {
    /// Its number at the Service.
    pub port: Field<i32>,
    /// TCP, UDP or SCTP.
    pub protocol: Field<String>,
    /// Why it does not work, in CamelCase; absent if it does.
    pub error: Field<String>,
}

/// A Node.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct NodeObject {
    /// Its metadata.
    pub metadata: Metadata,
    /// Its spec.
    pub spec: Field<NodeSpec>,
    /// Its status.
    pub status: Field<NodeStatus>,
}

/// `spec` of a Node.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct NodeSpec {
    /// What keeps pods away from it.
    pub taints: Field<Vec<Field<TaintObject>>>,
}

/// A taint.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct TaintObject {
    /// Its name.
    pub key: Field<String>,
}

/// `status` of a Node.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct NodeStatus {
    /// Its addresses, each of a type.
    pub addresses: Field<Vec<Field<NodeAddressObject>>>,
    /// Its conditions, each of a type.
    pub conditions: Field<Vec<Field<NodeConditionObject>>>,
}

/// An address of a Node.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct NodeAddressObject {
    /// `InternalIP`, for one.
    pub r#type: Field<String>,
    /// As text.
    pub address: Field<String>,
}

/// A condition of a Node.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct NodeConditionObject {
    /// `Ready`, for one.
    pub r#type: Field<String>,
    /// True, False or Unknown.
    pub status: Field<String>,
}

/// A port of a Service.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ServicePortObject {
    /// Its name.
    pub name: Field<String>,
    /// Its number at the Service.
    pub port: Field<i32>,
    /// Its number at the nodes.
    pub node_port: Field<i32>,
    /// TCP, UDP or SCTP.
    pub protocol: Field<String>,
}

/// An EndpointSlice.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SliceObject {
    /// Its metadata.
    pub metadata: Metadata,
    /// IPv4, IPv6 or FQDN.
    pub address_type: Field<String>,
    /// Its endpoints.
    pub endpoints: Field<Vec<Field<EndpointObject>>>,
    /// Its ports.
    pub ports: Field<Vec<Field<PortObject>>>,
}

/// An endpoint of a slice.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct EndpointObject {
    /// Its addresses; only the first has a meaning.
    pub addresses: Field<Vec<Field<String>>>,
    /// Its conditions.
    pub conditions: Field<ConditionsObject>,
    /// Its node.
    pub node_name: Field<String>,
    /// Its zone.
    pub zone: Field<String>,
    /// Who should call it.
    pub hints: Field<HintsObject>,
}

/// Hints of an endpoint.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct HintsObject {
    /// Zones.
    pub for_zones: Field<Vec<Field<NamedObject>>>,
    /// Nodes.
    pub for_nodes: Field<Vec<Field<NamedObject>>>,
}

/// Something with a name.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct NamedObject {
    /// Its name.
    pub name: Field<String>,
}

/// Conditions of an endpoint; each may be absent.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub struct ConditionsObject {
    /// May traffic be sent to it?
    pub ready: Field<bool>,
    /// Is its probe content?
    pub serving: Field<bool>,
    /// Is its pod going away?
    pub terminating: Field<bool>,
}

/// A port of a slice.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct PortObject {
    /// The Service port's name.
    pub name: Field<String>,
    /// Its number at the pods; absent means all.
    pub port: Field<i32>,
    /// TCP, UDP or SCTP.
    pub protocol: Field<String>,
}

/// The metadata that the bridge and kube's watcher look at.
#[derive(Debug, Clone, Default)]
pub struct Metadata {
    /// What could be read.
    pub known: ObjectMeta,
    /// The first field that could not.
    pub malformed: Option<&'static str>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct MetadataFields {
    name: Field<String>,
    namespace: Field<String>,
    uid: Field<String>,
    resource_version: Field<String>,
    creation_timestamp: Field<String>,
    labels: Field<BTreeMap<String, Field<String>>>,
    annotations: Field<BTreeMap<String, Field<String>>>,
}

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut malformed = None;
        let fields = known(Field::<MetadataFields>::deserialize(deserializer)?, "metadata", &mut malformed);
        let MetadataFields {
            name,
            namespace,
            uid,
            resource_version,
            creation_timestamp,
            labels,
            annotations,
        } = fields.unwrap_or_default();
        let created = match known(creation_timestamp, "metadata.creationTimestamp", &mut malformed) {
            None => Field::Absent,
            Some(text) => text.parse().map_or(Field::Malformed, |time| Field::Present(Time(time))),
        };
        let created = known(created, "metadata.creationTimestamp", &mut malformed);
        let known = ObjectMeta {
            name: known(name, "metadata.name", &mut malformed),
            namespace: known(namespace, "metadata.namespace", &mut malformed),
            uid: known(uid, "metadata.uid", &mut malformed),
            resource_version: known(resource_version, "metadata.resourceVersion", &mut malformed),
            creation_timestamp: created,
            labels: texts(labels, "metadata.labels", &mut malformed),
            annotations: texts(annotations, "metadata.annotations", &mut malformed),
            ..ObjectMeta::default()
        };
        Ok(Metadata { known, malformed })
    }
}

fn known<T>(field: Field<T>, name: &'static str, malformed: &mut Option<&'static str>) -> Option<T> {
    match field {
        Field::Absent => None,
        Field::Present(value) => Some(value),
        Field::Malformed => {
            malformed.get_or_insert(name);
            None
        }
    }
}

fn texts(
    field: Field<BTreeMap<String, Field<String>>>,
    name: &'static str,
    malformed: &mut Option<&'static str>,
) -> Option<BTreeMap<String, String>> {
    let texts = known(field, name, malformed)?.into_iter();
    Some(texts.filter_map(|(key, value)| Some((key, known(value, name, malformed)?))).collect())
}

/// Names a partial object's kind by the full type that it is a part of.
macro_rules! part_of {
    ($part:ty, $whole:ty, $scope:ty) => {
        impl Resource for $part {
            type DynamicType = ();
            type Scope = $scope;

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
                &self.metadata.known
            }

            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata.known
            }
        }
    };
}

part_of!(ServiceObject, core::v1::Service, NamespaceResourceScope);
part_of!(SliceObject, discovery::v1::EndpointSlice, NamespaceResourceScope);
part_of!(NodeObject, core::v1::Node, ClusterResourceScope);
