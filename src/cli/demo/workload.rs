//! What happens in the demo's cluster: Deployments grow, shrink and roll, and a pod fails its probe.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;

/// Changes the workloads, again and again.
pub(super) struct Workload {
    deployments: Api<Deployment>,
    pods: Api<Pod>,
}

/// Time for a change to be seen.
const STEP: Duration = Duration::from_millis(1_500);

impl Workload {
    pub(super) fn new(client: Client) -> Self {
        Workload {
            deployments: Api::default_namespaced(client.clone()),
            pods: Api::default_namespaced(client),
        }
    }

    /// Never ends. What is refused, most often since the user deleted it, is left out.
    pub(super) async fn run(self) {
        for round in 0u32.. {
            tokio::time::sleep(STEP).await;
            self.scale("orders", 8).await;
            tokio::time::sleep(STEP).await;
            self.scale("payments", 5).await;
            self.fail_probe("orders", false).await;
            tokio::time::sleep(STEP).await;
            self.roll("orders", round).await;
            tokio::time::sleep(STEP * 2).await;
            self.scale("orders", 2).await;
            self.kill("payments").await;
            tokio::time::sleep(STEP).await;
            self.scale("payments", 2).await;
            self.fail_probe("orders", true).await;
        }
    }

    async fn scale(&self, name: &str, replicas: u32) {
        self.patch(name, json!({"spec": {"replicas": replicas}})).await;
    }

    async fn roll(&self, name: &str, round: u32) {
        let annotations = json!({"demo/round": round.to_string()});
        self.patch(name, json!({"spec": {"template": {"metadata": {"annotations": annotations}}}})).await;
    }

    async fn patch(&self, name: &str, patch: serde_json::Value) {
        if let Err(error) = self.deployments.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await
        {
            tracing::debug!("the demo's workloads: {error}");
        }
    }

    async fn fail_probe(&self, app: &str, ready: bool) {
        let annotations = json!({"kube-dev/ready": ready.to_string()});
        let patch = Patch::Merge(json!({"metadata": {"annotations": annotations}}));
        if let Some(name) = self.first_pod(app).await {
            let _ = self.pods.patch(&name, &PatchParams::default(), &patch).await;
        }
    }

    async fn kill(&self, app: &str) {
        if let Some(name) = self.first_pod(app).await {
            let _ = self.pods.delete(&name, &DeleteParams::default().grace_period(0)).await;
        }
    }

    async fn first_pod(&self, app: &str) -> Option<String> {
        let pods = self.pods.list(&ListParams::default().labels(&format!("app={app}"))).await.ok()?;
        pods.items.first().map(ResourceExt::name_any)
    }
}
