//! What happens when watches tell nothing: the audit reads again.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::ListParams;
use serde_json::json;
use zk_client::Session;
use zk_wire::acl::Acl;
use zk_wire::codes::CreateMode;
use zoobridge::config::Config;
use zoobridge::local::RunningBridge;
use zoobridge::session::CredentialStore;

use crate::scrape::Scraper;
use crate::sides::Sides;
use crate::wire::Wire;
use crate::world::{DIRECTORY, leaves, service, session, slice, until, within};

const LEAF: &str = "/services/orders/10.0.0.1:8080";
const FORWARD: &str = "zoobridge_audit_finds_total{direction=\"forward\"}";
const REVERSE: &str = "zoobridge_audit_finds_total{direction=\"reverse\"}";

/// A bridge behind a wire, in both directions.
struct Audited {
    sides: Sides,
    wire: Wire,
    bridge: RunningBridge,
    scraper: Scraper,
    eye: Session,
}

impl Audited {
    async fn new(every: Duration) -> Audited {
        let sides = Sides::new().await;
        let eye = session(sides.zookeeper()).await;
        for path in ["/registry", "/registry/stock"] {
            eye.create(path, "", Acl::open(), CreateMode::Persistent).await.unwrap();
        }
        let wire = Wire::that_can_lose_watches(sides.zookeeper()).await;
        let mut config = Config::parse(&format!(
            "{{cluster: test, zookeeper: {{connect: '{}', sessionTimeout: 4s}}, \
             rules: [{{formats: [curator], names: ['*'], addresses: [pod, custom]}}], imports: [\
             {{name: legacy, format: curator, root: /registry, namespace: default, addresses: [10.0.0.0/8]}}]}}",
            wire.address
        ))
        .unwrap();
        config.zookeeper.audit_interval = every;
        service(&sides.client, "orders", &[("curator", "")]).await;
        slice(&sides.client, "orders", &[1, 2]).await;
        let store = CredentialStore::memory();
        let bridge = RunningBridge::start(&config, sides.client.clone(), store).await.unwrap();
        let scraper = Scraper::new(bridge.subject()).await;
        until(&eye, DIRECTORY, &["10.0.0.1:8080", "10.0.0.2:8080"]).await;
        within(async {
            while !bridge.status().settled || bridge.status().pending > 0 || !bridge.imports().known {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        Audited { sides, wire, bridge, scraper, eye }
    }

    async fn register(&self, last: u8) {
        let instance = json!({
            "name": "stock", "id": "x", "address": format!("10.0.0.{last}"), "port": 80, "payload": null,
            "registrationTimeUTC": 1, "serviceType": "DYNAMIC", "uriSpec": null,
        });
        let path = format!("/registry/stock/{last}");
        self.eye.create(&path, instance.to_string(), Acl::open(), CreateMode::Ephemeral).await.unwrap();
    }

    /// What is imported, once it is so much.
    async fn imported(&self, count: usize) {
        let api: Api<EndpointSlice> = Api::default_namespaced(self.sides.client.clone());
        let of_stock = ListParams::default().labels("kubernetes.io/service-name=stock");
        within(async {
            while api.list(&of_stock).await.unwrap().iter().map(|it| it.endpoints.len()).sum::<usize>()
                != count
            {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    async fn found(&self) -> BTreeMap<&'static str, f64> {
        let scrape = self.scraper.scrape().await;
        [FORWARD, REVERSE].map(|name| (name, scrape.value(name))).into()
    }

    async fn stop(self) {
        self.bridge.stop().await.unwrap();
        self.sides.stop().await;
    }
}

#[tokio::test]
async fn what_no_watch_tells_is_found_and_counted() {
    let world = Audited::new(Duration::from_millis(500)).await;
    world.register(7).await;
    world.imported(1).await;
    assert_eq!(world.found().await, BTreeMap::from([(FORWARD, 0.0), (REVERSE, 0.0)]));
    world.wire.lose_watches();
    // Deleted, overwritten, and registered: what is lost tells of one each.
    let second = format!("{DIRECTORY}/10.0.0.2:8080");
    let (good, _) = world.eye.get(&second).await.unwrap().unwrap();
    world.eye.delete(LEAF, -1).await.unwrap();
    world.eye.set(&second, "nonsense", -1).await.unwrap();
    world.register(8).await;
    within(world.wire.has_lost(3)).await;
    until(&world.eye, DIRECTORY, &["10.0.0.1:8080", "10.0.0.2:8080"]).await;
    within(async {
        while world.eye.get(&second).await.unwrap().unwrap().0 != good {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    world.imported(2).await;
    assert_eq!(world.found().await, BTreeMap::from([(FORWARD, 2.0), (REVERSE, 1.0)]));
    // Strangers in our directories are come to know as well.
    let stranger = format!("{DIRECTORY}/10.0.0.3:8080");
    world.eye.create(&stranger, "a real provider", Acl::open(), CreateMode::Ephemeral).await.unwrap();
    let looks = "zoobridge_looks_total{result=\"theirs\"}";
    within(async {
        while world.scraper.scrape().await.value(looks) == 0.0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    world.stop().await;
}

#[tokio::test]
async fn without_an_audit_it_would_stay() {
    let world = Audited::new(Duration::from_secs(3_600)).await;
    world.wire.lose_watches();
    world.eye.delete(LEAF, -1).await.unwrap();
    within(world.wire.has_lost(1)).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(leaves(&world.eye, DIRECTORY).await, ["10.0.0.2:8080"]);
    world.stop().await;
}

#[tokio::test]
async fn an_audit_that_finds_nothing_writes_nothing() {
    let world = Audited::new(Duration::from_millis(200)).await;
    world.register(7).await;
    world.imported(1).await;
    let writes = "zoobridge_writes_total{outcome=\"done\"}";
    let looks = "zoobridge_looks_total{result=\"ours\"}";
    let before = world.scraper.scrape().await;
    let marker =
        async |path| world.eye.create(path, "", Acl::open(), CreateMode::Persistent).await.unwrap().1.czxid.0;
    let first = marker("/before").await;
    within(async {
        // Several turns.
        while world.scraper.scrape().await.value(looks) < before.value(looks) + 10.0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(marker("/after").await, first + 1);
    let after = world.scraper.scrape().await;
    assert_eq!(after.value(writes), before.value(writes));
    assert_eq!(world.found().await, BTreeMap::from([(FORWARD, 0.0), (REVERSE, 0.0)]));
    world.stop().await;
}
