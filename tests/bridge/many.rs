//! More znodes than one session may hold.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;
use zk_wire::ids::SessionId;
use zoobridge::local::{Local, RunningBridge};

use crate::world::{World, end_session, within};

const PROVIDERS: &str = "/dubbo/com.acme.OrderService/providers";
const SLICES: u8 = 20;

impl World {
    /// Twenty slices of a hundred endpoints.
    async fn slices(&self) {
        let api: Api<EndpointSlice> = Api::default_namespaced(self.local.client.clone());
        for slice in 0..SLICES {
            let endpoints: Vec<_> =
                (0..100).map(|last| json!({"addresses": [format!("10.1.{slice}.{last}")]})).collect();
            let object = json!({
                "metadata": {"name": format!("orders-{slice}"), "labels": {"kubernetes.io/service-name": "orders"}},
                "addressType": "IPv4", "endpoints": endpoints, "ports": [{"name": "http", "port": 20880}],
            });
            api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
        }
    }

    /// The sessions that hold the providers, once there are so many of them.
    async fn owners(&self, count: usize) -> BTreeSet<SessionId> {
        within(async {
            loop {
                let stats = self.stats(PROVIDERS).await;
                if stats.len() == count && self.local.bridge.status().pending == 0 {
                    return stats.values().map(|stat| stat.ephemeral_owner).collect();
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await
    }
}

#[tokio::test]
async fn a_service_spans_sessions_and_each_can_be_lost_and_resumed() {
    let world = World::new().await;
    world.service("orders", &[("dubbo", "com.acme.OrderService")]).await;
    world.slices().await;
    let count = usize::from(SLICES) * 100;
    let owners = world.owners(count).await;
    assert_eq!(owners.len(), 2, "{owners:?}");
    let kept: Vec<_> = world.credentials().load().await.unwrap();
    assert_eq!(kept.iter().map(|session| session.id).collect::<BTreeSet<_>>(), owners);

    // The second expires; the first keeps what it has.
    end_session(&world.config(), kept[1].clone()).await;
    let after = within(async {
        loop {
            let owners = world.owners(count).await;
            if !owners.contains(&kept[1].id) {
                return owners;
            }
        }
    })
    .await;
    assert!(after.contains(&kept[0].id) && after.len() == 2, "{after:?}");

    // A restart resumes both and writes nothing.
    let before = world.stats(PROVIDERS).await;
    let (config, credentials) = (world.config(), world.credentials());
    let World { local, eye, dir } = world;
    local.bridge.kill().await;
    let bridge = RunningBridge::start(&config, local.client.clone(), credentials).await.unwrap();
    let world = World { local: Local { bridge, ..local }, eye, dir };
    within(async {
        while world.local.bridge.status().znodes < count || world.local.bridge.status().pending > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(world.stats(PROVIDERS).await, before);
}
