//! Pods become endpoints of the Services that select them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::is_terminating;
use super::placement::{Ports, Slice, place};
use crate::error::ApiError;
use crate::kinds::Kind;
use crate::selector::Selector;
use crate::store::{Part, Stamp, Store, name_of, namespace_of};
use crate::table::is_ready;

/// The value of the label `endpointslice.kubernetes.io/managed-by` by which we know our slices.
const MANAGER: &str = "endpointslice-controller.k8s.io";
const NODES: [&str; 2] = ["node-a", "node-b"];

/// Writes the slices of a Service with a selector, as many as its pods' ports and number need.
///
/// An endpoint that moves from one slice to another is in both for a moment, and never in none: slices that
/// gain are written before slices that only lose.
pub(super) fn write(store: &mut Store, service: &Value, stamp: &Stamp) -> Result<(), ApiError> {
    let spec = &service["spec"];
    let Some(labels) = spec["selector"].as_object().filter(|labels| !labels.is_empty()) else {
        return Ok(());
    };
    if spec["type"] == "ExternalName" {
        return Ok(());
    }
    let matches = |pod: &Value| {
        labels.iter().all(|(name, value)| pod["metadata"]["labels"][name] == *value)
            && pod["status"]["podIP"].is_string()
    };
    let mut endpoints: BTreeMap<Ports, Vec<Value>> = BTreeMap::new();
    let all = Selector::default();
    for pod in store.list(Kind::named("pods"), namespace_of(service), &all).filter(|pod| matches(pod)) {
        endpoints.entry(ports(service, pod)).or_default().push(endpoint(service, pod));
    }
    let kind = Kind::named("endpointslices");
    let existing: Vec<_> = store
        .list(kind, namespace_of(service), &all)
        .filter(|slice| is_ours(service, slice))
        .map(|slice| read(slice))
        .collect();
    // Somebody else may have taken a name that looks like ours.
    let is_free = |name: &str| store.get(kind, namespace_of(service), name).is_err();
    let mut names = (0_u64..).map(|n| format!("{}-{n}", name_of(service))).filter(|name| is_free(name));
    let mut wanted = place(&existing, endpoints, || names.next().unwrap_or_default());
    drop(names);
    let before = |name: &str| existing.iter().find(|slice| slice.name == name);
    wanted.sort_by_key(|slice| !before(&slice.name).is_none_or(|before| slice.gains_from(before)));
    for slice in &wanted {
        let object = object(service, slice);
        if before(&slice.name).is_some() {
            store.update(kind, namespace_of(service), &slice.name, Part::Main, stamp, |_| Ok(object))?;
        } else {
            let stamp = Stamp { uid: format!("{}-{}", stamp.uid, slice.name), ..stamp.clone() };
            store.create(kind, namespace_of(service), object, &stamp)?;
        }
    }
    for slice in existing.iter().filter(|slice| wanted.iter().all(|wanted| wanted.name != slice.name)) {
        store.delete(kind, namespace_of(service), &slice.name, false, stamp)?;
    }
    Ok(())
}

fn is_ours(service: &Value, slice: &Value) -> bool {
    let metadata = &slice["metadata"];
    metadata["ownerReferences"][0]["uid"] == service["metadata"]["uid"]
        && metadata["labels"]["endpointslice.kubernetes.io/managed-by"] == MANAGER
}

fn read(slice: &Value) -> Slice {
    let list = |field: &str| slice[field].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let ports = list("ports")
        .iter()
        .map(|port| (text(&port["name"]), port["port"].as_u64().unwrap_or(0), text(&port["protocol"])))
        .collect();
    Slice { name: name_of(slice).to_owned(), ports, endpoints: list("endpoints") }
}

fn object(service: &Value, Slice { name, ports, endpoints }: &Slice) -> Value {
    let ports: Vec<_> = ports
        .iter()
        .map(|(name, port, protocol)| json!({"name": name, "port": port, "protocol": protocol}))
        .collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "name": name,
            "labels": {
                "kubernetes.io/service-name": name_of(service),
                "endpointslice.kubernetes.io/managed-by": MANAGER,
            },
            "ownerReferences": [{
                "apiVersion": "v1", "kind": "Service", "name": name_of(service),
                "uid": service["metadata"]["uid"], "controller": true,
            }],
        },
        "endpoints": endpoints, "ports": ports,
    })
}

/// A Service's ports at one pod; a named target that the pod does not have is left out.
fn ports(service: &Value, pod: &Value) -> Ports {
    let containers = pod["spec"]["containers"].as_array();
    let named = |name: &str| {
        let ports = containers.into_iter().flatten().flat_map(|c| c["ports"].as_array()).flatten();
        ports.filter(|port| port["name"] == name).find_map(|port| port["containerPort"].as_u64())
    };
    let of_service = service["spec"]["ports"].as_array();
    of_service
        .into_iter()
        .flatten()
        .filter_map(|port| {
            let target = &port["targetPort"];
            let number = target.as_u64().or_else(|| named(target.as_str()?))?;
            let text = |name: &str| port[name].as_str().unwrap_or_default().to_owned();
            Some((text("name"), number, text("protocol")))
        })
        .collect()
}

fn endpoint(service: &Value, pod: &Value) -> Value {
    let (ready, terminating) = (is_ready(pod), is_terminating(pod));
    let not_ready_too = service["spec"]["publishNotReadyAddresses"] == true;
    let index = pod["status"]["podIP"].as_str().and_then(|ip| ip.bytes().last()).unwrap_or(0);
    json!({
        "addresses": [pod["status"]["podIP"]],
        "conditions": {
            "ready": (ready && !terminating) || not_ready_too, "serving": ready, "terminating": terminating,
        },
        "nodeName": NODES[usize::from(index) % NODES.len()],
        "targetRef": {
            "kind": "Pod", "namespace": namespace_of(pod), "name": name_of(pod),
            "uid": pod["metadata"]["uid"],
        },
    })
}
