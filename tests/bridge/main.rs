//! The bridge end to end, in this process.
#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

mod audit;
mod ensembles;
mod faults;
mod foreign;
mod identity;
mod imports;
mod layout;
mod many;
mod metrics;
mod operators;
mod policies;
#[path = "../planner/population.rs"]
mod population;
mod removal;
mod replicas;
mod scrape;
mod sides;
mod tenants;
mod views;
mod wire;
mod world;

use std::time::Duration;

use k8s_openapi::api::core::v1::{Secret, Service};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;
use zk_wire::acl::Acl;
use zk_wire::codes::CreateMode;
use zoobridge::local::{Local, RunningBridge};
use zoobridge::session::CredentialStore;

use sides::{kubernetes, server_at};
use world::{DIRECTORY, World, config, end_session, service, session, slice, until, within};

#[tokio::test]
async fn ready_endpoints_appear_and_go() {
    let world = World::new().await;
    world.service("orders", &[("curator", "")]).await;
    world.until("/services", &["orders"]).await;
    world.slice("orders", &[1, 2, 3]).await;
    world.until(DIRECTORY, &["10.0.0.1:8080", "10.0.0.2:8080", "10.0.0.3:8080"]).await;
    let stats = world.stats(DIRECTORY).await;
    world.slice("orders", &[2, 4]).await;
    world.until(DIRECTORY, &["10.0.0.2:8080", "10.0.0.4:8080"]).await;
    assert_eq!(world.stats(DIRECTORY).await["10.0.0.2:8080"], stats["10.0.0.2:8080"]);
    let services: Api<Service> = Api::default_namespaced(world.local.client.clone());
    services.delete("orders", &DeleteParams::default()).await.unwrap();
    world.until(DIRECTORY, &[]).await;
    world.local.stop().await.unwrap();
}

#[tokio::test]
async fn a_restart_resumes_the_session_and_changes_nothing() {
    let world = World::new().await;
    world.service("orders", &[("curator", "")]).await;
    world.service("carts", &[("curator", "")]).await;
    world.slice("orders", &[1, 2]).await;
    world.slice("carts", &[7]).await;
    world.until(DIRECTORY, &["10.0.0.1:8080", "10.0.0.2:8080"]).await;
    world.until("/services/carts", &["10.0.0.7:8080"]).await;
    let before = world.stats(DIRECTORY).await;

    let (config, credentials) = (world.config(), world.credentials());
    let World { local, eye, dir } = world;
    local.bridge.kill().await;
    // While nobody bridges: one endpoint goes, and one Service.
    slice(&local.client, "orders", &[2, 3]).await;
    let services: Api<Service> = Api::default_namespaced(local.client.clone());
    services.delete("carts", &DeleteParams::default()).await.unwrap();
    let bridge = RunningBridge::start(&config, local.client.clone(), credentials).await.unwrap();
    let world = World { local: Local { bridge, ..local }, eye, dir };

    world.until(DIRECTORY, &["10.0.0.2:8080", "10.0.0.3:8080"]).await;
    world.until("/services/carts", &[]).await;
    assert_eq!(world.stats(DIRECTORY).await["10.0.0.2:8080"], before["10.0.0.2:8080"]);
    assert_eq!(
        world.stats(DIRECTORY).await["10.0.0.3:8080"].ephemeral_owner,
        before["10.0.0.2:8080"].ephemeral_owner
    );
}

#[tokio::test]
async fn a_second_bridge_takes_over_and_the_first_one_ends() {
    let world = World::new().await;
    world.service("orders", &[("curator", "")]).await;
    world.slice("orders", &[1]).await;
    world.until(DIRECTORY, &["10.0.0.1:8080"]).await;
    let second =
        RunningBridge::start(&world.config(), world.local.client.clone(), world.credentials()).await.unwrap();
    // Both attach to the one session again and again; only the second may write.
    world.slice("orders", &[1, 2]).await;
    world.until(DIRECTORY, &["10.0.0.1:8080", "10.0.0.2:8080"]).await;
    let first = within(world.local.bridge.ended()).await;
    assert!(first.unwrap_err().to_string().contains("taken over"));
    drop(second);
}

#[tokio::test]
async fn what_somebody_else_deletes_or_overwrites_is_repaired() {
    let world = World::new().await;
    world.service("orders", &[("curator", "")]).await;
    world.slice("orders", &[1, 2]).await;
    world.until(DIRECTORY, &["10.0.0.1:8080", "10.0.0.2:8080"]).await;
    let path = format!("{DIRECTORY}/10.0.0.1:8080");
    let (good, _) = world.eye.get(&path).await.unwrap().unwrap();
    world.eye.delete(&path, -1).await.unwrap();
    world.until(DIRECTORY, &["10.0.0.1:8080", "10.0.0.2:8080"]).await;
    world.eye.set(&path, "nonsense", -1).await.unwrap();
    within(async {
        while world.eye.get(&path).await.unwrap().unwrap().0 != good {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_expired_session_is_replaced_and_everything_published_again() {
    let world = World::new().await;
    world.service("orders", &[("curator", "")]).await;
    world.slice("orders", &[1, 2]).await;
    world.until(DIRECTORY, &["10.0.0.1:8080", "10.0.0.2:8080"]).await;
    let before = world.stats(DIRECTORY).await["10.0.0.1:8080"].ephemeral_owner;
    end_session(&world.config(), world.credentials().load().await.unwrap().remove(0)).await;
    within(async {
        loop {
            let now = world.stats(DIRECTORY).await;
            if now.len() == 2 && now.values().all(|stat| stat.ephemeral_owner != before) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let kept = world.credentials().load().await.unwrap();
    assert_eq!((kept.len(), kept[0].id == before), (1, false));
}

#[tokio::test]
async fn bad_input_gets_an_event_and_holds_nobody_up() {
    let world = World::new().await;
    world.service("orders", &[("curator", ""), ("nonsense", "1"), ("rubbish", "1")]).await;
    world.service("orders-port", &[("curator", ""), ("port", "grpc")]).await;
    world.service("orders-name", &[("curator", "a/b")]).await;
    world.service("orders-dubbo", &[("dubbo", "com.acme.A"), ("dubbo-parameters", "weight")]).await;
    world.service("stranger", &[("curator", "")]).await;
    for name in ["orders", "orders-port", "orders-name", "orders-dubbo", "stranger"] {
        world.slice(name, &[1]).await;
    }
    world.until(DIRECTORY, &["10.0.0.1:8080"]).await;
    world.event_about("orders", "UnknownAnnotation", "zoobridge.io/nonsense").await;
    world.event_about("orders", "UnknownAnnotation", "zoobridge.io/rubbish").await;
    assert!(world.event("orders-port", "PortNotFound").await.contains("grpc"));
    assert!(world.event("orders-name", "BadAnnotation").await.contains("a/b"));
    assert!(world.event("orders-dubbo", "BadAnnotation").await.contains("weight"));
    assert!(world.event("stranger", "NotGranted").await.contains("default/stranger"));
    world.until("/services", &["orders", "orders-port"]).await;
    world.annotate("orders-port", "port", Some("http")).await;
    world.until("/services/orders-port", &["10.0.0.1:8080"]).await;
    world.event("orders-port", "Published").await;
}

#[tokio::test]
async fn a_mistake_in_an_annotation_takes_nothing_away() {
    let world = World::new().await;
    world.service("orders", &[("curator", ""), ("port", "http")]).await;
    world.slice("orders", &[1, 2]).await;
    world.until(DIRECTORY, &["10.0.0.1:8080", "10.0.0.2:8080"]).await;
    world.annotate("orders", "port", Some("htpp")).await;
    world.event("orders", "PortNotFound").await;
    world.slice("orders", &[2, 3]).await;
    world.until(DIRECTORY, &["10.0.0.2:8080"]).await;
    world.annotate("orders", "port", None).await;
    world.until(DIRECTORY, &["10.0.0.2:8080", "10.0.0.3:8080"]).await;
}

#[tokio::test]
async fn two_services_share_a_directory_and_the_first_keeps_what_both_want() {
    let world = World::new().await;
    world.service("orders", &[("curator", "orders")]).await;
    world.slice("orders", &[1, 2]).await;
    world.until(DIRECTORY, &["10.0.0.1:8080", "10.0.0.2:8080"]).await;
    world.service("carts", &[("curator", "orders")]).await;
    world.slice("carts", &[2, 3]).await;
    world.until(DIRECTORY, &["10.0.0.1:8080", "10.0.0.2:8080", "10.0.0.3:8080"]).await;
    assert!(world.event("carts", "Conflict").await.contains("default/orders"));
    let services: Api<Service> = Api::default_namespaced(world.local.client.clone());
    services.delete("orders", &DeleteParams::default()).await.unwrap();
    world.until(DIRECTORY, &["10.0.0.2:8080", "10.0.0.3:8080"]).await;
    world.event("carts", "Published").await;
}

#[tokio::test]
async fn what_a_stranger_registered_is_left_alone_until_it_is_gone() {
    let world = World::new().await;
    let path = format!("{DIRECTORY}/10.0.0.1:8080");
    for directory in ["/services", DIRECTORY] {
        world.eye.create(directory, "", Acl::open(), CreateMode::Persistent).await.unwrap();
    }
    world.eye.create(&path, "a real provider", Acl::open(), CreateMode::Ephemeral).await.unwrap();
    let rules =
        json!([{"formats": ["curator"], "names": ["*"], "addresses": ["pod", "custom"], "shared": true}]);
    world.local.bridge.rule(serde_json::from_value(rules).unwrap());
    world.service("orders", &[("curator", "")]).await;
    world.slice("orders", &[1, 2]).await;
    world.until(DIRECTORY, &["10.0.0.1:8080", "10.0.0.2:8080"]).await;
    assert!(world.event("orders", "Conflict").await.contains("not ours"));
    assert_eq!(world.eye.get(&path).await.unwrap().unwrap().0, "a real provider");
    // And another one, while the Service stays as it is: an Event of its own.
    let other = format!("{DIRECTORY}/10.0.0.4:8080");
    world.eye.create(&other, "a real provider", Acl::open(), CreateMode::Ephemeral).await.unwrap();
    world.slice("orders", &[1, 2, 4]).await;
    world.event_about("orders", "Conflict", &other).await;
    world.eye.delete(&other, -1).await.unwrap();
    // Another change does not make it try again: that would write, in vain, for ever.
    world.slice("orders", &[1, 2, 3]).await;
    world.until(DIRECTORY, &["10.0.0.1:8080", "10.0.0.2:8080", "10.0.0.3:8080"]).await;
    let before = world.marker("/before").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(world.marker("/after").await.0, before.0 + 1);
    world.eye.delete(&path, -1).await.unwrap();
    within(async {
        while world.eye.get(&path).await.unwrap().is_none_or(|(data, _)| data == "a real provider") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_bridge_waits_for_a_zookeeper_that_is_not_there_yet() {
    let dir = tempfile::tempdir().unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (_kube, client) = kubernetes().await;
    service(&client, "orders", &[("curator", "")]).await;
    slice(&client, "orders", &[1]).await;
    let mut config = config();
    config.zookeeper.connect = free.to_string().parse().unwrap();
    let store = CredentialStore::secret(client.clone(), "default", "zoobridge-sessions");
    let bridge = tokio::spawn(async move { RunningBridge::start(&config, client, store).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!bridge.is_finished(), "it waits");

    let server = server_at(free, dir.path()).await;
    let bridge = within(bridge).await.unwrap().unwrap();
    let eye = session(free).await;
    until(&eye, DIRECTORY, &["10.0.0.1:8080"]).await;

    // And again when it goes away and comes back with its data.
    let before = eye.exists(&format!("{DIRECTORY}/10.0.0.1:8080")).await.unwrap();
    server.stop().await.unwrap();
    let server = server_at(free, dir.path()).await;
    let eye = session(free).await;
    until(&eye, DIRECTORY, &["10.0.0.1:8080"]).await;
    assert_eq!(eye.exists(&format!("{DIRECTORY}/10.0.0.1:8080")).await.unwrap(), before);
    bridge.stop().await.unwrap();
    server.stop().await.unwrap();
}

#[tokio::test]
async fn the_steady_state_writes_nothing() {
    let world = World::new().await;
    world.service("orders", &[("curator", ""), ("dubbo", "com.acme.A")]).await;
    world.slice("orders", &[1, 2]).await;
    world.until(DIRECTORY, &["10.0.0.1:8080", "10.0.0.2:8080"]).await;
    world.until("/dubbo/com.acme.A", &["providers"]).await;
    within(async {
        while world.local.bridge.status().pending > 0 || world.local.bridge.status().znodes < 4 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let secrets: Api<Secret> = Api::default_namespaced(world.local.client.clone());
    let secret = secrets.get("zoobridge-sessions").await.unwrap().metadata.resource_version;
    let before = world.marker("/before").await;
    // Nothing that matters changes: a label, and the same slice again.
    let patch = Patch::Merge(json!({"metadata": {"labels": {"a": "b"}}}));
    let services: Api<Service> = Api::default_namespaced(world.local.client.clone());
    services.patch("orders", &PatchParams::default(), &patch).await.unwrap();
    world.slice("orders", &[2, 1]).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(world.marker("/after").await.0, before.0 + 1);
    assert_eq!(secrets.get("zoobridge-sessions").await.unwrap().metadata.resource_version, secret);
}
