//! A tiny controller manager and kubelet in one: Deployments become pods, pods become endpoints.
//!
//! Level-driven: whenever something changed, the whole state is looked at. Rolling updates surge by one and
//! are never short of one, so the ready set never falls below the replicas wanted.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::error::ApiError;
use crate::kinds::Kind;
use crate::selector::Selector;
use crate::server::Api;
use crate::store::{Part, Stamp, Store, name_of, namespace_of};
use crate::table::is_ready;

/// A pod with this annotation at "false" fails its readiness probe.
const READY: &str = "kube-dev/ready";
/// Endpoints of one slice, as the real controller has it.
const SLICE_SIZE: usize = 100;
const NODES: [&str; 2] = ["node-a", "node-b"];

/// Runs until the API stops.
pub(crate) async fn run(api: Arc<Api>, pod_start: Duration, pod_stop: Duration) {
    let mut revisions = api.revisions();
    let stop = api.stopped();
    let mut kubelet =
        Kubelet { pod_start, pod_stop, started: HashMap::new(), stopping: HashMap::new(), next_ip: 0 };
    loop {
        revisions.borrow_and_update();
        let wake = match api.write(|store, stamp| reconcile(store, &mut kubelet, stamp, Instant::now())) {
            Ok(wake) => wake,
            Err(error) => {
                tracing::error!("workloads: {}", error.message);
                None
            }
        };
        let later = wake.unwrap_or_else(|| Instant::now() + Duration::from_secs(60));
        tokio::select! {
            changed = revisions.changed() => if changed.is_err() { return },
            () = tokio::time::sleep_until(later) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// What only a kubelet knows.
struct Kubelet {
    pod_start: Duration,
    pod_stop: Duration,
    started: HashMap<String, Instant>,
    stopping: HashMap<String, Instant>,
    next_ip: u16,
}

/// One look at everything. Returns when to look again although nothing changed.
fn reconcile(
    store: &mut Store,
    kubelet: &mut Kubelet,
    stamp: &Stamp,
    now: Instant,
) -> Result<Option<Instant>, ApiError> {
    let all = Selector::default();
    for deployment in store.list(Kind::named("deployments"), "", &all).cloned().collect::<Vec<_>>() {
        deploy(store, &deployment, stamp)?;
    }
    let wake = kubelet.run_pods(store, stamp, now)?;
    for deployment in store.list(Kind::named("deployments"), "", &all).cloned().collect::<Vec<_>>() {
        report(store, &deployment)?;
    }
    for service in store.list(Kind::named("services"), "", &all).cloned().collect::<Vec<_>>() {
        slices(store, &service, stamp)?;
    }
    Ok(wake)
}

fn is_terminating(pod: &Value) -> bool {
    pod["metadata"]["deletionTimestamp"].is_string()
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
fn deploy(store: &mut Store, deployment: &Value, stamp: &Stamp) -> Result<(), ApiError> {
    let wanted = usize::try_from(deployment["spec"]["replicas"].as_i64().unwrap_or(1)).unwrap_or(0);
    let (mut new, mut old) = pods_of(store, deployment);
    let surge = usize::from(!old.is_empty());
    while new.len() < wanted && new.len() + old.len() < wanted + surge {
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
    if metadata["annotations"].is_null() {
        metadata["annotations"] = json!({});
    }
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]});
    let stamp = Stamp { uid: format!("{}-{number}", stamp.uid), ..stamp.clone() };
    store.create(Kind::named("pods"), namespace_of(deployment), pod, &stamp)
}

fn report(store: &mut Store, deployment: &Value) -> Result<(), ApiError> {
    let (new, old) = pods_of(store, deployment);
    let ready = new.iter().chain(&old).filter(|pod| is_ready(pod)).count();
    let wanted = deployment["spec"]["replicas"].as_u64().unwrap_or(1) as usize;
    let condition = |kind: &str, is: bool| json!({"type": kind, "status": if is { "True" } else { "False" }});
    let status = json!({
        "observedGeneration": deployment["metadata"]["generation"], "replicas": new.len() + old.len(),
        "updatedReplicas": new.len(), "readyReplicas": ready, "availableReplicas": ready,
        "unavailableReplicas": wanted.saturating_sub(ready),
        "conditions": [condition("Available", ready >= wanted), condition("Progressing", true)],
    });
    set_status(store, Kind::named("deployments"), deployment, status)
}

fn set_status(store: &mut Store, kind: &'static Kind, object: &Value, status: Value) -> Result<(), ApiError> {
    store.update(kind, namespace_of(object), name_of(object), Part::Status, |before| {
        let mut after = before.clone();
        after["status"] = status;
        Ok(after)
    })?;
    Ok(())
}

impl Kubelet {
    /// Gives pods addresses, makes them ready in time, and ends those that are going away.
    fn run_pods(
        &mut self,
        store: &mut Store,
        stamp: &Stamp,
        now: Instant,
    ) -> Result<Option<Instant>, ApiError> {
        let kind = Kind::named("pods");
        let mut wake: Option<Instant> = None;
        let mut later = |at: Instant| wake = Some(wake.map_or(at, |wake| wake.min(at)));
        let pods: Vec<_> = store.list(kind, "", &Selector::default()).cloned().collect();
        let uid_of = |pod: &Value| pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        for pod in &pods {
            let uid = uid_of(pod);
            if is_terminating(pod) {
                let over = *self.stopping.entry(uid).or_insert(now) + self.pod_stop;
                if over <= now {
                    store.delete(kind, namespace_of(pod), name_of(pod), false, stamp)?;
                } else {
                    later(over);
                }
                continue;
            }
            let ready_at = *self.started.entry(uid).or_insert(now) + self.pod_start;
            let passes = pod["metadata"]["annotations"][READY] != "false";
            if ready_at > now {
                later(ready_at);
            }
            let status = self.status(pod, ready_at <= now && passes, stamp);
            set_status(store, kind, pod, status)?;
        }
        let live: std::collections::HashSet<_> = pods.iter().map(|pod| uid_of(pod)).collect();
        self.started.retain(|uid, _| live.contains(uid));
        self.stopping.retain(|uid, _| live.contains(uid));
        Ok(wake)
    }

    fn status(&mut self, pod: &Value, ready: bool, stamp: &Stamp) -> Value {
        let before = &pod["status"];
        let ip = before["podIP"].as_str().map(str::to_owned).unwrap_or_else(|| {
            self.next_ip += 1;
            let [high, low] = self.next_ip.to_be_bytes();
            format!("10.244.{high}.{low}")
        });
        let start = if before["startTime"].is_string() {
            before["startTime"].clone()
        } else {
            stamp.time.clone().into()
        };
        let condition =
            |kind: &str, is: bool| json!({"type": kind, "status": if is { "True" } else { "False" }});
        json!({
            "phase": if ready || before["phase"] == "Running" { "Running" } else { "Pending" },
            "podIP": ip, "podIPs": [{"ip": ip}], "hostIP": "10.0.0.1", "startTime": start,
            "conditions": [condition("PodScheduled", true), condition("ContainersReady", ready), condition("Ready", ready)],
        })
    }
}

/// Ports of a slice, as (name, number, protocol).
type Ports = Vec<(String, u64, String)>;

/// Writes the slices of a Service with a selector, as many as its pods' ports and number need.
fn slices(store: &mut Store, service: &Value, stamp: &Stamp) -> Result<(), ApiError> {
    let Some(labels) = service["spec"]["selector"].as_object() else { return Ok(()) };
    let matches = |pod: &&Arc<Value>| {
        labels.iter().all(|(name, value)| pod["metadata"]["labels"][name] == *value)
            && pod["status"]["podIP"].is_string()
    };
    let mut groups: BTreeMap<Ports, Vec<Value>> = BTreeMap::new();
    let all = Selector::default();
    let pods = store.list(Kind::named("pods"), namespace_of(service), &all);
    for pod in pods.filter(matches) {
        groups.entry(ports(service, pod)).or_default().push(endpoint(service, pod));
    }
    let mut wanted: Vec<(Ports, Vec<Value>)> = Vec::new();
    for (ports, endpoints) in groups {
        wanted.extend(endpoints.chunks(SLICE_SIZE).map(|chunk| (ports.clone(), chunk.to_vec())));
    }
    if wanted.is_empty() {
        wanted.push((Vec::new(), Vec::new()));
    }
    let kind = Kind::named("endpointslices");
    let ours =
        |object: &&Arc<Value>| object["metadata"]["ownerReferences"][0]["uid"] == service["metadata"]["uid"];
    let existing: Vec<_> = store
        .list(kind, namespace_of(service), &Selector::default())
        .filter(ours)
        .map(|o| name_of(o).to_owned())
        .collect();
    for (index, (ports, endpoints)) in wanted.iter().enumerate() {
        let name = format!("{}-{index}", name_of(service));
        let slice = slice(service, &name, ports, endpoints);
        if existing.contains(&name) {
            store.update(kind, namespace_of(service), &name, Part::Main, |_| Ok(slice))?;
        } else {
            let stamp = Stamp { uid: format!("{}-{name}", stamp.uid), ..stamp.clone() };
            store.create(kind, namespace_of(service), slice, &stamp)?;
        }
    }
    for name in existing {
        if !(0..wanted.len()).any(|index| name == format!("{}-{index}", name_of(service))) {
            store.delete(kind, namespace_of(service), &name, false, stamp)?;
        }
    }
    Ok(())
}

fn slice(service: &Value, name: &str, ports: &Ports, endpoints: &[Value]) -> Value {
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
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
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
            "kind": "Pod", "namespace": namespace_of(pod), "name": name_of(pod), "uid": pod["metadata"]["uid"],
        },
    })
}
