//! Deployments become pods.
//!
//! Rolling updates surge by one and are never short of one, so the ready set never falls below the replicas
//! wanted.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use serde_json::{Value, json};

use super::{is_terminating, set_status};
use crate::error::ApiError;
use crate::kinds::Kind;
use crate::selector::Selector;
use crate::store::{Stamp, Store, name_of, namespace_of};
use crate::table::is_ready;

/// Pods created at one look (`BurstReplicas` of the ReplicaSet controller); whoever reads or writes meanwhile
/// gets a turn between.
const BURST: usize = 500;

fn wanted(deployment: &Value) -> usize {
    usize::try_from(deployment["spec"]["replicas"].as_i64().unwrap_or(1)).unwrap_or(0)
}

fn template_hash(deployment: &Value) -> String {
    let mut hasher = DefaultHasher::new();
    deployment["spec"]["template"].to_string().hash(&mut hasher);
    format!("{:08x}", hasher.finish() as u32)
}

/// The pods of a Deployment that are not going away: those of its present template, then the others.
fn pods_of(store: &Store, deployment: &Value) -> (Vec<Arc<Value>>, Vec<Arc<Value>>) {
    let hash = template_hash(deployment);
    let owned = |pod: &&Arc<Value>| {
        pod["metadata"]["ownerReferences"][0]["uid"] == deployment["metadata"]["uid"] && !is_terminating(pod)
    };
    store
        .list(Kind::named("pods"), namespace_of(deployment), &Selector::default())
        .filter(owned)
        .cloned()
        .partition(|pod| pod["metadata"]["labels"]["pod-template-hash"] == hash.as_str())
}

/// Creates and deletes pods: one more than wanted during an update, and never one ready pod too few.
pub(super) fn deploy(
    store: &mut Store,
    deployment: &Value,
    pod_limit: usize,
    stamp: &Stamp,
) -> Result<(), ApiError> {
    let wanted = wanted(deployment).min(pod_limit);
    let (mut new, mut old) = pods_of(store, deployment);
    let surge = usize::from(!old.is_empty());
    for _ in 0..BURST {
        if new.len() >= wanted || new.len() + old.len() >= wanted + surge {
            break;
        }
        let number = store.revision();
        new.push(create_pod(store, deployment, number, stamp)?);
    }
    // Whatever is not ready goes first, then the youngest.
    let by_worth = |pods: &mut Vec<Arc<Value>>| pods.sort_by_key(|pod| !is_ready(pod));
    by_worth(&mut old);
    by_worth(&mut new);
    let ready = |pods: &[Arc<Value>]| pods.iter().filter(|pod| is_ready(pod)).count();
    let mut doomed = Vec::new();
    while let Some(last) = old.last() {
        let is_spare = !is_ready(last) && new.len() + old.len() > wanted;
        if !is_spare && ready(&old) + ready(&new) <= wanted {
            break;
        }
        doomed.extend(old.pop());
    }
    while new.len() > wanted {
        doomed.extend(new.pop());
    }
    for pod in doomed {
        store.delete(Kind::named("pods"), namespace_of(&pod), name_of(&pod), true, stamp)?;
    }
    Ok(())
}

fn create_pod(
    store: &mut Store,
    deployment: &Value,
    number: u64,
    stamp: &Stamp,
) -> Result<Arc<Value>, ApiError> {
    let hash = template_hash(deployment);
    let template = &deployment["spec"]["template"];
    let mut metadata = json!({
        "name": format!("{}-{hash}-{number}", name_of(deployment)),
        "labels": template["metadata"]["labels"],
        "annotations": template["metadata"]["annotations"],
        "ownerReferences": [{
            "apiVersion": "apps/v1", "kind": "Deployment", "name": name_of(deployment),
            "uid": deployment["metadata"]["uid"], "controller": true,
        }],
    });
    metadata["labels"]["pod-template-hash"] = hash.into();
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]});
    let stamp = Stamp { uid: format!("{}-{number}", stamp.uid), ..stamp.clone() };
    store.create(Kind::named("pods"), namespace_of(deployment), pod, &stamp)
}

/// Writes how far a Deployment has got.
pub(super) fn report(store: &mut Store, deployment: &Value, stamp: &Stamp) -> Result<(), ApiError> {
    let (new, old) = pods_of(store, deployment);
    let ready = new.iter().chain(&old).filter(|pod| is_ready(pod)).count();
    let wanted = wanted(deployment);
    let condition = |kind: &str, is: bool| json!({"type": kind, "status": if is { "True" } else { "False" }});
    let status = json!({
        "observedGeneration": deployment["metadata"]["generation"], "replicas": new.len() + old.len(),
        "updatedReplicas": new.len(), "readyReplicas": ready, "availableReplicas": ready,
        "unavailableReplicas": wanted.saturating_sub(ready),
        "conditions": [condition("Available", ready >= wanted), condition("Progressing", true)],
    });
    set_status(store, Kind::named("deployments"), deployment, status, stamp)
}
