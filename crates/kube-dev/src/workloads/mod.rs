//! A tiny controller manager and kubelet in one: Deployments become pods, pods become endpoints.
//!
//! Level-driven: whenever something changed, the whole state is looked at. An object that cannot be run is
//! reported and does not stop the others.

mod complaints;
mod deployments;
mod endpoint_slices;
mod kubelet;
mod placement;

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::error::ApiError;
use crate::kinds::Kind;
use crate::selector::Selector;
use crate::server::{Api, Options};
use crate::store::{Part, Stamp, Store, name_of, namespace_of};
use complaints::Complaints;
use kubelet::Kubelet;

/// Runs until the API stops.
pub(crate) async fn run(api: Arc<Api>, options: Options) {
    let mut revisions = api.revisions();
    let stop = api.stopped();
    let mut workloads = Workloads {
        kubelet: Kubelet::new(options.pod_start, options.pod_stop),
        complaints: Complaints::default(),
        pod_limit: options.pod_limit,
    };
    loop {
        revisions.borrow_and_update();
        let now = Instant::now();
        let wake = api.change(|store, stamp| workloads.reconcile(store, stamp, now));
        let later = wake.unwrap_or_else(|| now + Duration::from_secs(60));
        tokio::select! {
            changed = revisions.changed() => if changed.is_err() { return },
            () = tokio::time::sleep_until(later) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// What is remembered between two looks.
struct Workloads {
    kubelet: Kubelet,
    complaints: Complaints,
    pod_limit: usize,
}

impl Workloads {
    /// One look at everything. Returns when to look again although nothing changed.
    fn reconcile(&mut self, store: &mut Store, stamp: &Stamp, now: Instant) -> Option<Instant> {
        let Workloads { kubelet, complaints, pod_limit } = self;
        for deployment in all(store, "deployments") {
            complaints.hear(&deployment, deployments::deploy(store, &deployment, *pod_limit, stamp));
        }
        let wake = kubelet.run_pods(store, complaints, stamp, now);
        for deployment in all(store, "deployments") {
            complaints.hear(&deployment, deployments::report(store, &deployment, stamp));
        }
        for service in all(store, "services") {
            complaints.hear(&service, endpoint_slices::write(store, &service, stamp));
        }
        complaints.end_of_pass();
        wake
    }
}

fn all(store: &Store, plural: &str) -> Vec<Arc<Value>> {
    store.list(Kind::named(plural), "", &Selector::default()).cloned().collect()
}

fn is_terminating(pod: &Value) -> bool {
    pod["metadata"]["deletionTimestamp"].is_string()
}

fn set_status(
    store: &mut Store,
    kind: &'static Kind,
    object: &Value,
    status: Value,
    stamp: &Stamp,
) -> Result<(), ApiError> {
    store.update(kind, namespace_of(object), name_of(object), Part::Status, stamp, |before| {
        let mut after = before.clone();
        after["status"] = status;
        Ok(after)
    })?;
    Ok(())
}
