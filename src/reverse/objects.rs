//! Our objects as the API server has them: what is written, and how it is read back.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Endpoints, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

use super::plan::{
    Backends, Change, EndpointsThere, Members, OurService, ServiceThere, SliceThere, Source, Version,
};
use crate::config::Config;
use crate::model::{Family, ServiceKey, ZnodePath};
use crate::observe::decode::{MANAGED_BY, MANAGER, OUR_SLICES, OURSELVES, SERVICE_NAME};

/// Which bridge this is. Two bridges of one cluster differ in their Lease, two clusters in their name, and two ensembles
/// of one bridge in the imports that they have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    /// The configuration's `cluster`.
    pub(super) cluster: String,
    /// Namespace and name of the Lease.
    pub(super) lease: String,
    /// Imports of the bridge's other ensembles: what comes of them is theirs.
    pub(super) elsewhere: Arc<BTreeSet<String>>,
}

const IMPORT: &str = "zoobridge.io/import";
const CLUSTER: &str = "zoobridge.io/cluster";
const LEASE: &str = "zoobridge.io/lease";
const DIRECTORY: &str = "zoobridge.io/source";
const SERVICE: &str = "zoobridge.io/source-service";
/// Kubernetes' mirroring controller leaves such `Endpoints` alone.
const SKIP_MIRROR: &str = "endpointslice.kubernetes.io/skip-mirror";

impl Identity {
    /// Of the bridge of this ensemble's configuration, in this namespace.
    pub(super) fn of(config: &Config, namespace: &str) -> Self {
        let election = &config.leader_election;
        let namespace = election.namespace.as_deref().unwrap_or(namespace);
        let elsewhere = config.imports.iter().filter(|import| import.ensemble != config.ensemble);
        Identity {
            cluster: config.cluster.clone(),
            lease: format!("{namespace}/{}", election.lease),
            elsewhere: Arc::new(elsewhere.map(|import| import.name.clone()).collect()),
        }
    }

    /// Selects the Services of the bridges of this cluster, whichever Lease they have.
    pub(super) fn selector(&self) -> String {
        format!("{MANAGER}={OURSELVES},{CLUSTER}={}", self.cluster)
    }

    /// The name and the whole of an object, without the precondition; `None` for what is deleted.
    pub(super) fn body(&self, key: &ServiceKey, change: &Change) -> Option<Value> {
        match change {
            Change::Service { import, source, port, .. } => Some(json!({
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {
                    "name": &*key.name,
                    "labels": {MANAGER: "zoobridge", IMPORT: import, CLUSTER: self.cluster},
                    "annotations": {
                        LEASE: self.lease, DIRECTORY: source.directory.as_str(), SERVICE: source.service,
                    },
                },
                "spec": {"ports": [{"port": port, "targetPort": port, "protocol": "TCP"}]},
            })),
            Change::Slice { name, family, port, members, service_uid, .. } => {
                let endpoints: Vec<_> = members
                    .iter()
                    .map(|(ip, ready)| json!({"addresses": [ip], "conditions": {"ready": ready}}))
                    .collect();
                Some(json!({
                    "apiVersion": "discovery.k8s.io/v1",
                    "kind": "EndpointSlice",
                    "metadata": {
                        "name": name,
                        "labels": {SERVICE_NAME: &*key.name, MANAGED_BY: OUR_SLICES, CLUSTER: self.cluster},
                        "annotations": {LEASE: self.lease},
                        "ownerReferences": [owner(key, service_uid)],
                    },
                    "addressType": if *family == Family::Ipv4 { "IPv4" } else { "IPv6" },
                    "ports": [{"name": "", "port": port, "protocol": "TCP"}],
                    "endpoints": endpoints,
                }))
            }
            Change::Endpoints { backends, service_uid, .. } => Some(json!({
                "apiVersion": "v1",
                "kind": "Endpoints",
                "metadata": {
                    "name": &*key.name,
                    "labels": {MANAGER: "zoobridge", SKIP_MIRROR: "true", CLUSTER: self.cluster},
                    "annotations": {LEASE: self.lease},
                    "ownerReferences": [owner(key, service_uid)],
                },
                "subsets": subsets(backends),
            })),
            Change::DeleteSlice { .. } | Change::DeleteEndpoints { .. } | Change::DeleteService { .. } => {
                None
            }
        }
    }

    /// A Service, whosever it is.
    pub(super) fn service(&self, object: &Service) -> ServiceThere {
        let metadata = &object.metadata;
        let version = version(metadata);
        let import = label(metadata, IMPORT);
        let is_here = |import: &&str| !self.elsewhere.contains(*import);
        let Some(import) = import.filter(|_| self.is_ours(metadata, MANAGER, OURSELVES)).filter(is_here)
        else {
            return ServiceThere::Foreign(version);
        };
        let spec = object.spec.clone().unwrap_or_default();
        let annotation = |name| metadata.annotations.as_ref()?.get(name).map(String::as_str);
        let source = || {
            let directory = ZnodePath::new(annotation(DIRECTORY)?).ok()?;
            Some(Source { directory, service: annotation(SERVICE)?.to_owned() })
        };
        let port = match spec.ports.as_deref() {
            Some([port]) if port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP") => {
                u16::try_from(port.port).ok()
            }
            _ => None,
        };
        ServiceThere::Ours(OurService {
            version,
            import: import.to_owned(),
            source: source(),
            port,
            has_selector: spec.selector.is_some_and(|selector| !selector.is_empty()),
            is_terminating: metadata.deletion_timestamp.is_some(),
        })
    }

    /// A slice with its Service, if it is ours.
    pub(super) fn slice(&self, object: &EndpointSlice) -> Option<(ServiceKey, SliceThere)> {
        let metadata = &object.metadata;
        if !self.is_ours(metadata, MANAGED_BY, OUR_SLICES) || metadata.deletion_timestamp.is_some() {
            return None;
        }
        let service = ServiceKey::new(metadata.namespace.as_deref()?, label(metadata, SERVICE_NAME)?);
        let family = match object.address_type.as_str() {
            "IPv4" => Family::Ipv4,
            "IPv6" => Family::Ipv6,
            _ => Family::Fqdn,
        };
        let port = match object.ports.as_deref() {
            Some([port]) if port.protocol.as_deref().is_none_or(|protocol| protocol == "TCP") => {
                port.port.and_then(|port| u16::try_from(port).ok())
            }
            _ => None,
        };
        let mut members = Some(Members::new());
        for endpoint in &object.endpoints {
            let ip: Option<IpAddr> = endpoint.addresses.first().and_then(|ip| ip.parse().ok());
            let ready = endpoint.conditions.as_ref().and_then(|conditions| conditions.ready);
            let one = ip.zip(ready).filter(|_| endpoint.addresses.len() == 1);
            members = members.zip(one).and_then(|(mut members, (ip, ready))| {
                members.insert(ip, ready).is_none().then_some(members)
            });
        }
        let owners = metadata.owner_references.iter().flatten();
        let mut service_uid =
            owners.filter(|owner| owner.kind == "Service").map(|owner| owner.uid.as_str().into());
        let service_uid = service_uid.next_back();
        Some((service, SliceThere { version: version(metadata), family, port, members, service_uid }))
    }

    /// An `Endpoints` object, whosever it is.
    pub(super) fn endpoints(&self, object: &Endpoints) -> EndpointsThere {
        let metadata = &object.metadata;
        if !self.is_ours(metadata, MANAGER, OURSELVES) {
            return EndpointsThere::Foreign;
        }
        let mut backends = Some(Backends::new());
        for subset in object.subsets.iter().flatten() {
            let ports = subset.ports.iter().flatten();
            for port in ports.filter_map(|port| u16::try_from(port.port).ok()) {
                let addresses = subset.addresses.iter().flatten().map(|address| (&address.ip, true));
                let unready = subset.not_ready_addresses.iter().flatten().map(|address| (&address.ip, false));
                for (ip, ready) in addresses.chain(unready) {
                    backends = backends.zip(ip.parse().ok()).map(|(mut backends, ip)| {
                        backends.insert(SocketAddr::new(ip, port), ready);
                        backends
                    });
                }
            }
        }
        let is_marked = label(metadata, SKIP_MIRROR) == Some("true");
        EndpointsThere::Ours(version(metadata), backends.filter(|_| is_marked))
    }

    fn is_ours(&self, metadata: &ObjectMeta, manager: &str, ourselves: &str) -> bool {
        let lease = metadata.annotations.as_ref().and_then(|annotations| annotations.get(LEASE));
        label(metadata, manager) == Some(ourselves)
            && label(metadata, CLUSTER) == Some(&self.cluster)
            && lease == Some(&self.lease)
    }
}

fn label<'m>(metadata: &'m ObjectMeta, name: &str) -> Option<&'m str> {
    metadata.labels.as_ref()?.get(name).map(String::as_str)
}

fn version(metadata: &ObjectMeta) -> Version {
    let text = |text: &Option<String>| Arc::from(text.as_deref().unwrap_or_default());
    Version { uid: text(&metadata.uid), resource_version: text(&metadata.resource_version) }
}

fn owner(key: &ServiceKey, uid: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "name": &*key.name, "uid": uid})
}

/// One subset a port.
fn subsets(backends: &Backends) -> Vec<Value> {
    let mut by_port: BTreeMap<u16, (Vec<Value>, Vec<Value>)> = BTreeMap::new();
    for (address, ready) in backends {
        let (addresses, unready) = by_port.entry(address.port()).or_default();
        if *ready { addresses } else { unready }.push(json!({"ip": address.ip()}));
    }
    by_port
        .into_iter()
        .map(|(port, (addresses, unready))| {
            let mut subset = json!({"ports": [{"port": port, "protocol": "TCP"}]});
            for (name, list) in [("addresses", addresses), ("notReadyAddresses", unready)] {
                if !list.is_empty() {
                    subset[name] = list.into();
                }
            }
            subset
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity {
            cluster: "c".to_owned(),
            lease: "n/zoobridge".to_owned(),
            elsewhere: Arc::new(["other".to_owned()].into()),
        }
    }

    #[test]
    fn what_another_ensembles_import_wrote_is_not_ours() {
        let source = Source { directory: ZnodePath::new("/a/orders").unwrap(), service: "orders".to_owned() };
        let written = |import: &str| {
            let change =
                Change::Service { was: None, import: import.to_owned(), source: source.clone(), port: 80 };
            let body = identity().body(&ServiceKey::new("n", "orders"), &change).unwrap();
            identity().service(&serde_json::from_value(body).unwrap())
        };
        assert!(matches!(written("this"), ServiceThere::Ours(ours) if ours.import == "this"));
        assert!(matches!(written("left"), ServiceThere::Ours(_)), "of an import that is no more it is");
        assert!(matches!(written("other"), ServiceThere::Foreign(_)));
    }

    #[test]
    fn p21_endpoints_are_marked_so_that_nobody_mirrors_them() {
        let backends = Backends::from([("10.0.0.1:80".parse().unwrap(), true)]);
        let change = Change::Endpoints { was: None, backends: backends.clone(), service_uid: "u".into() };
        let body = identity().body(&ServiceKey::new("n", "orders"), &change).unwrap();
        assert_eq!(body["metadata"]["labels"]["endpointslice.kubernetes.io/skip-mirror"], "true");
        let mut object: Endpoints = serde_json::from_value(body).unwrap();
        let is_written = |object: &Endpoints| matches!(identity().endpoints(object), EndpointsThere::Ours(_, Some(there)) if there == backends);
        assert!(is_written(&object));
        object.metadata.labels.as_mut().unwrap().remove(SKIP_MIRROR);
        assert!(!is_written(&object), "without the mark they are written again");
    }

    #[test]
    fn p33_a_slice_is_owned_by_the_service_of_its_own_namespace() {
        let change = Change::Slice {
            was: None,
            name: "orders-0".to_owned(),
            family: Family::Ipv4,
            port: 80,
            members: Members::from([([10, 0, 0, 1].into(), true)]),
            service_uid: "u".into(),
        };
        let body = identity().body(&ServiceKey::new("n", "orders"), &change).unwrap();
        let owner = json!({"apiVersion": "v1", "kind": "Service", "name": "orders", "uid": "u"});
        assert_eq!(
            body["metadata"]["ownerReferences"],
            json!([owner]),
            "an owner reference knows no namespace"
        );
        // Where it is written is the key's namespace, which is the Service's.
        assert_eq!(body["metadata"].get("namespace"), None);
        assert_eq!(body["metadata"]["labels"][SERVICE_NAME], "orders");
    }
}
