//! Pods start, get ready and end.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::complaints::Complaints;
use super::{all, is_terminating, set_status};
use crate::addresses::Addresses;
use crate::error::ApiError;
use crate::kinds::Kind;
use crate::store::{Stamp, Store, name_of, namespace_of};

/// A pod with this annotation at "false" fails its readiness probe.
const READY: &str = "kube-dev/ready";

/// What only a kubelet knows.
pub(super) struct Kubelet {
    pod_start: Duration,
    pod_stop: Duration,
    /// When each pod, by uid, was first seen.
    started: HashMap<String, Instant>,
    /// When each pod, by uid, was first seen going away.
    stopping: HashMap<String, Instant>,
    addresses: Addresses,
}

impl Kubelet {
    pub(super) fn new(pod_start: Duration, pod_stop: Duration) -> Self {
        let addresses = Addresses::new([10, 244]);
        Kubelet { pod_start, pod_stop, started: HashMap::new(), stopping: HashMap::new(), addresses }
    }

    /// Gives pods addresses, makes them ready in time, and ends those that are going away. Returns when the
    /// next pod gets ready or ends.
    pub(super) fn run_pods(
        &mut self,
        store: &mut Store,
        complaints: &mut Complaints,
        stamp: &Stamp,
        now: Instant,
    ) -> Option<Instant> {
        let kind = Kind::named("pods");
        let mut wake: Option<Instant> = None;
        let mut later = |at: Instant| wake = Some(wake.map_or(at, |wake| wake.min(at)));
        let pods = all(store, "pods");
        let mut used: HashSet<_> = pods.iter().filter_map(|pod| ip_of(pod)).collect();
        let uid_of = |pod: &Value| pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        for pod in &pods {
            let uid = uid_of(pod);
            if is_terminating(pod) {
                let over = *self.stopping.entry(uid).or_insert(now) + self.pod_stop;
                if over <= now {
                    let ended = store.delete(kind, namespace_of(pod), name_of(pod), false, stamp);
                    complaints.hear(pod, ended.map(drop));
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
            let ip = ip_of(pod).or_else(|| self.addresses.take(|ip| used.contains(ip)));
            let Some(ip) = ip else {
                complaints.hear(pod, Err(ApiError::no_address()));
                continue;
            };
            used.insert(ip.clone());
            let status = status(pod, &ip, ready_at <= now && passes, stamp);
            complaints.hear(pod, set_status(store, kind, pod, status, stamp));
        }
        let live: HashSet<_> = pods.iter().map(|pod| uid_of(pod)).collect();
        self.started.retain(|uid, _| live.contains(uid));
        self.stopping.retain(|uid, _| live.contains(uid));
        wake
    }
}

fn ip_of(pod: &Value) -> Option<String> {
    pod["status"]["podIP"].as_str().map(str::to_owned)
}

fn status(pod: &Value, ip: &str, ready: bool, stamp: &Stamp) -> Value {
    let before = &pod["status"];
    let start = match &before["startTime"] {
        Value::String(start) => start,
        _ => &stamp.time,
    };
    let condition = |kind: &str, is: bool| json!({"type": kind, "status": if is { "True" } else { "False" }});
    json!({
        "phase": if ready || before["phase"] == "Running" { "Running" } else { "Pending" },
        "podIP": ip, "podIPs": [{"ip": ip}], "hostIP": "10.0.0.1", "startTime": start,
        "conditions": [
            condition("PodScheduled", true), condition("ContainersReady", ready), condition("Ready", ready),
        ],
    })
}
