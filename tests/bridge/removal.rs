//! What is left when a bridge is gone, and how it goes.

use std::collections::BTreeSet;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Secret, Service};
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use zk_client::Session;
use zk_wire::acl::Acl;
use zk_wire::codes::CreateMode;
use zoobridge::local::RunningBridge;
use zoobridge::session::{Acls, Leftovers, RemovalError, Remover};

use crate::operators::{Files, Process};
use crate::sides::Sides;
use crate::world::{DIRECTORY, World, leaves, service, session, slice, until, within};

const CONFIG: &str = "rules: [{formats: [curator, dubbo, dubbo3], names: ['*'], addresses: [pod, custom]}]\n\
    imports: [{name: legacy, format: curator, root: /legacy, namespace: default, addresses: [10.0.0.0/8]}]\n";
const MAPPING: &str = "/dubbo/mapping/com.acme.A";

/// A bridge between both sides.
struct Installed {
    sides: Sides,
    files: Files,
    eye: Session,
    bridge: Option<Process>,
}

impl Installed {
    /// Publishes in three formats, and imports one Service.
    async fn new() -> Installed {
        let sides = Sides::new().await;
        let files = Files::with(&sides.kube, sides.zookeeper(), CONFIG);
        let eye = session(sides.zookeeper()).await;
        for name in ["/legacy", "/legacy/prices"] {
            eye.create(name, "", Acl::open(), CreateMode::Persistent).await.unwrap();
        }
        let instance = r#"{"name":"prices","id":"1","address":"10.0.0.50","port":8080}"#;
        eye.create("/legacy/prices/1", instance, Acl::open(), CreateMode::Ephemeral).await.unwrap();
        let client = &sides.client;
        service(client, "orders", &[("curator", ""), ("dubbo", "com.acme.A")]).await;
        service(client, "carts", &[("dubbo3", "com.acme.A")]).await;
        slice(client, "orders", &[1, 2]).await;
        slice(client, "carts", &[3]).await;
        let mut installed = Installed { sides, files, eye, bridge: None };
        installed.start().await;
        installed
    }

    async fn start(&mut self) {
        self.bridge = Some(self.files.bridge());
        until(&self.eye, DIRECTORY, &["10.0.0.1:8080", "10.0.0.2:8080"]).await;
        until(&self.eye, "/services/carts", &["10.0.0.3:8080"]).await;
        within(async {
            let services = self.services();
            while services.get_opt("prices").await.unwrap().is_none() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    async fn stop(&mut self) {
        self.bridge.take().unwrap().stop().await;
    }

    fn services(&self) -> Api<Service> {
        Api::default_namespaced(self.sides.client.clone())
    }

    /// How many Secrets and Leases there are.
    async fn objects(&self) -> (usize, usize) {
        let client = &self.sides.client;
        let (secrets, leases) = (Api::<Secret>::all(client.clone()), Api::<Lease>::all(client.clone()));
        let every = ListParams::default();
        (secrets.list(&every).await.unwrap().items.len(), leases.list(&every).await.unwrap().items.len())
    }

    async fn exists(&self, path: &str) -> bool {
        self.eye.exists(path).await.unwrap().is_some()
    }
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

fn kept(removed: &Value) -> Vec<(&str, &str)> {
    let kept = removed["kept"].as_array().unwrap().iter();
    kept.map(|it| (it["what"].as_str().unwrap(), it["because"].as_str().unwrap())).collect()
}

#[tokio::test]
async fn uninstall_leaves_nothing_behind() {
    let mut world = Installed::new().await;
    let (code, text) = world.files.run(&["uninstall", "--yes"]).await;
    assert!(code == 1 && text.contains("leads: scale the bridge to 0"), "{code} {text}");
    world.stop().await;

    let before = world.eye.create("/before", "", Acl::open(), CreateMode::Persistent).await.unwrap().1.czxid;
    let (code, told) = world.files.json(&["uninstall"]).await;
    assert_eq!((code, &told["done"]), (0, &false.into()));
    assert_eq!((told["sessions"].as_array().unwrap().len(), kept(&told)), (1, vec![]));
    let after = world.eye.create("/after", "", Acl::open(), CreateMode::Persistent).await.unwrap().1.czxid;
    // But for this there was the beginning and the end of one session; the bridge's may have expired.
    assert!((3..=4).contains(&(after.counter() - before.counter())));
    assert_eq!(world.objects().await, (1, 1));

    let (code, done) = world.files.json(&["uninstall", "--yes"]).await;
    assert_eq!((code, &done["done"], kept(&done)), (0, &true.into(), vec![]));
    for key in ["sessions", "znodes", "items", "objects"] {
        assert_eq!(done[key], told[key], "what was told is what was done");
    }
    assert_eq!(
        texts(&done["objects"]),
        ["Service default/prices", "Secret default/zoobridge-sessions", "Lease default/zoobridge"]
    );
    assert_eq!(leaves(&world.eye, "/").await, ["after", "before", "legacy", "zookeeper"]);
    assert_eq!(leaves(&world.eye, "/legacy/prices").await, ["1"]);
    assert_eq!(world.objects().await, (0, 0));
    assert!(world.services().get_opt("prices").await.unwrap().is_none());
    assert!(world.services().get_opt("orders").await.unwrap().is_some());
    let (code, text) = world.files.run(&["uninstall", "--yes"]).await;
    assert_eq!((code, text.as_str()), (0, "there is nothing to remove\n"));
    // And it can be installed again.
    world.start().await;
    world.stop().await;
}

#[tokio::test]
async fn what_others_use_stays() {
    let mut world = Installed::new().await;
    world.stop().await;
    let eye = &world.eye;
    // A provider that registers itself, one that registers by application, and somebody with notes.
    let instance = format!("{DIRECTORY}/by-itself");
    eye.create(&instance, "", Acl::open(), CreateMode::Ephemeral).await.unwrap();
    eye.set(MAPPING, "carts,theirs", -1).await.unwrap();
    eye.set("/dubbo/com.acme.A/providers", "notes", -1).await.unwrap();
    let notes = "/zoobridge/test/notes";
    eye.create(notes, "", Acl::open(), CreateMode::Persistent).await.unwrap();
    let labels = json!({"metadata": {"labels": {"app": "zoobridge"}}});
    let (params, patch) = (PatchParams::default(), Patch::Merge(&labels));
    let secrets = Api::<Secret>::default_namespaced(world.sides.client.clone());
    secrets.patch("zoobridge-sessions", &params, &patch).await.unwrap();
    let leases = Api::<Lease>::default_namespaced(world.sides.client.clone());
    leases.patch("zoobridge", &params, &patch).await.unwrap();

    let (code, done) = world.files.json(&["uninstall", "--yes"]).await;
    assert_eq!(code, 0);
    assert_eq!(done["items"], json!([{"item": "carts", "of": MAPPING}]));
    assert_eq!(
        kept(&done),
        [
            ("/dubbo", "/dubbo/com.acme.A is there"),
            ("/dubbo/com.acme.A", "/dubbo/com.acme.A/providers is there"),
            ("/dubbo/com.acme.A/providers", "somebody has written in it"),
            ("/dubbo/mapping", "/dubbo/mapping/com.acme.A is there"),
            ("/services", "/services/orders is there"),
            ("/services/orders", "/services/orders/by-itself is there"),
            (notes, "the bridge did not create it"),
            (
                "Lease default/zoobridge",
                "it has labels, annotations or owners, which the bridge does not write"
            ),
        ]
    );
    assert_eq!(leaves(eye, DIRECTORY).await, ["by-itself"]);
    assert_eq!(leaves(eye, "/services").await, ["orders"]);
    assert_eq!(eye.get(MAPPING).await.unwrap().unwrap().0, "theirs");
    assert_eq!(leaves(eye, "/dubbo").await, ["com.acme.A", "mapping"]);
    assert_eq!(leaves(eye, "/zoobridge/test").await, ["notes"]);
    assert_eq!(world.objects().await, (1, 1));
    let secret = secrets.get("zoobridge-sessions").await.unwrap();
    assert!(secret.data.unwrap_or_default().is_empty());
}

/// Its cluster is gone, and with it its Secret.
#[tokio::test]
async fn gc_removes_what_an_owner_that_is_gone_has_left() {
    let mut world = Installed::new().await;
    let (code, text) = world.files.run(&["gc", "--yes"]).await;
    assert!(code == 1 && text.contains("the bridge of test has session 0x"), "{code} {text}");
    let owner =
        world.eye.exists(&format!("{DIRECTORY}/10.0.0.1:8080")).await.unwrap().unwrap().ephemeral_owner;
    drop(world.bridge.take());
    let (code, text) = world.files.run(&["gc", "--owner", "test", "--yes"]).await;
    assert!(code == 1 && text.contains(&owner.to_string()), "its session lives on: {text}");
    until(&world.eye, "/zoobridge/test/sessions", &[]).await;

    let (code, told) = world.files.json(&["gc", "--owner", "test"]).await;
    assert_eq!((code, &told["done"], kept(&told)), (0, &false.into(), vec![]));
    assert!(texts(&told["znodes"]).contains(&DIRECTORY), "{told}");
    assert!(world.exists(DIRECTORY).await);
    let (code, nothing) = world.files.run(&["gc", "--owner", "nobody", "--yes"]).await;
    assert_eq!((code, nothing.as_str()), (0, "there is nothing to remove\n"));
    let (code, done) = world.files.json(&["gc", "--owner", "test", "--yes"]).await;
    assert_eq!((code, &done["znodes"], kept(&done)), (0, &told["znodes"], vec![]));
    assert_eq!(leaves(&world.eye, "/").await, ["legacy", "zookeeper"]);
    // The other side is nothing that it looks at.
    assert_eq!(world.objects().await, (1, 1));
}

#[tokio::test]
async fn a_bridge_that_begins_meanwhile_stops_the_removal() {
    let world = World::new().await;
    world.service("orders", &[("curator", "")]).await;
    world.slice("orders", &[1]).await;
    world.until(DIRECTORY, &["10.0.0.1:8080"]).await;
    let (config, credentials) = (world.config(), world.credentials());
    let own = config.own().unwrap();
    let World { local, eye, dir: _dir } = world;
    local.bridge.kill().await;
    let remover = Remover::begin(&eye, &own, &Acls::defaults(false)).await.unwrap();
    let none = BTreeSet::new();
    let bridge = RunningBridge::start(&config, local.client.clone(), credentials).await.unwrap();
    let left = Leftovers::read(&eye, &own, &none).await.unwrap();
    let error = remover.remove(&left).await.unwrap_err();
    assert!(matches!(error, RemovalError::Fenced), "{error}");
    until(&eye, DIRECTORY, &["10.0.0.1:8080"]).await;
    slice(&local.client, "orders", &[2]).await;
    until(&eye, DIRECTORY, &["10.0.0.2:8080"]).await;
    bridge.stop().await.unwrap();
}

/// A directory that somebody deleted and the bridge made anew is its own again.
#[tokio::test]
async fn what_is_made_again_is_recorded_again() {
    let world = World::new().await;
    world.service("orders", &[("curator", "")]).await;
    world.until("/services", &["orders"]).await;
    world.eye.delete(DIRECTORY, -1).await.unwrap();
    world.until("/services", &["orders"]).await;
    let own = world.config().own().unwrap();
    let left = within(async {
        loop {
            let left = Leftovers::read(&world.eye, &own, &BTreeSet::new()).await.unwrap();
            if left.made.len() == 2 {
                break left;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    let made: Vec<_> = left.made.iter().map(|what| what.path.as_str()).collect();
    assert_eq!(made, [DIRECTORY, "/services"]);
    assert_eq!(left.sessions.len(), 1);
    world.local.stop().await.unwrap();
}
