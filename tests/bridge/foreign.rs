//! Others in the directories where Services are published: who was first stays, and who registers itself is not
//! registered a second time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use zk_client::Session;
use zk_wire::acl::{Acl, perms};
use zk_wire::codes::CreateMode;
use zoobridge::http::Subject;
use zoobridge::local::{Local, RunningBridge};

use crate::operators::Files;
use crate::world::{DIRECTORY, World, end_session, leaves, session, within};

const PROVIDERS: &str = "/dubbo/com.acme.A/providers";

/// The rules of [`crate::world::config`], with the grant or without it.
fn rules(shared: bool) -> zoobridge::plan::Rules {
    let rules = json!([{
        "services": ["orders*", "carts"], "formats": ["curator", "dubbo", "dubbo3"], "names": ["*"],
        "addresses": ["pod", "custom"], "shared": shared,
    }]);
    serde_json::from_value(rules).unwrap()
}

/// What Curator registers at 10.0.0.`last`: its znode has a name of its own.
async fn register(eye: &Session, last: u8) -> String {
    directory(eye, DIRECTORY).await;
    let name = format!("00000000-0000-4000-8000-0000000000{last:02}");
    let record = format!(r#"{{"name":"orders","id":"{name}","address":"10.0.0.{last}","port":8080}}"#);
    eye.create(&format!("{DIRECTORY}/{name}"), record, Acl::open(), CreateMode::Ephemeral).await.unwrap();
    name
}

async fn directory(eye: &Session, path: &str) {
    for (index, _) in path.match_indices('/').skip(1).chain([(path.len(), "")]) {
        eye.create(&path[..index], "", Acl::open(), CreateMode::Persistent).await.ok();
    }
}

async fn refused(local: &Local) -> f64 {
    let families = local.bridge.subject().families().await.unwrap();
    let refusals = families.iter().find(|family| family.name() == "zoobridge_refusals_total").unwrap();
    let is_it = |metric: &&prometheus::proto::Metric| metric.get_label()[0].value() == "NameTaken";
    refusals.get_metric().iter().find(is_it).unwrap().get_counter().get_value()
}

async fn rests(local: &Local) {
    within(async {
        while local.bridge.status().pending > 0 || !local.bridge.status().settled {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

impl World {
    async fn restart(self, shared: bool) -> World {
        let (mut config, credentials) = (self.config(), self.credentials());
        config.rules = rules(shared);
        let World { local, eye, dir } = self;
        local.bridge.kill().await;
        let bridge = RunningBridge::start(&config, local.client.clone(), credentials).await.unwrap();
        World { local: Local { bridge, ..local }, eye, dir }
    }
}

#[tokio::test]
async fn where_others_were_first_nothing_is_published_without_a_grant() {
    let world = World::new().await;
    let files = Files::new(&world.local.kube, world.local.zookeeper());
    let stranger = register(&world.eye, 77).await;
    world.service("orders", &[("curator", ""), ("dubbo", "com.acme.A")]).await;
    world.slice("orders", &[1, 2]).await;
    let told = world.event_about("orders", "NameTaken", DIRECTORY).await;
    assert!(told.contains("shared: true"), "{told}");
    within(async { while leaves(&world.eye, PROVIDERS).await.len() < 2 {} }).await;
    rests(&world.local).await;
    assert_eq!(world.leaves(DIRECTORY).await, [&*stranger], "and the other directory is free");
    assert_eq!((world.local.bridge.status().refused, refused(&world.local).await), (1, 1.0));
    let (code, text) = files.run(&["explain", "default/orders"]).await;
    assert!(code == 0 && text.contains("NameTaken") && text.contains("others have registered"), "{text}");
    let (_, status) = files.json(&["status"]).await;
    assert_eq!((&status["foreignServices"], &status["toWrite"]), (&1.into(), &0.into()), "{status}");

    // With a grant it is, and that is said; and without it again, what is there stays.
    world.local.bridge.rule(rules(true));
    world.until(DIRECTORY, &[&stranger, "10.0.0.1:8080", "10.0.0.2:8080"]).await;
    world.event("orders", "Published").await;
    world.local.bridge.rule(rules(false));
    world.event_about("orders", "NameShared", "which stay").await;
    assert_eq!(world.leaves(DIRECTORY).await.len(), 3);
    world.local.stop().await.unwrap();
}

#[tokio::test]
async fn when_the_others_are_gone_it_is_published() {
    let world = World::new().await;
    let providers = session(world.local.zookeeper()).await;
    register(&providers, 77).await;
    // Somebody keeps a lock in there, which is no instance, and its data change.
    let lock = format!("{DIRECTORY}/lock");
    world.eye.create(&lock, "", Acl::open(), CreateMode::Persistent).await.unwrap();
    world.service("orders", &[("curator", "")]).await;
    world.slice("orders", &[1]).await;
    world.event("orders", "NameTaken").await;
    providers.close().await.unwrap();
    world.until(DIRECTORY, &["10.0.0.1:8080", "lock"]).await;
    world.event("orders", "Published").await;
    world.eye.set(&lock, r#"{"name":"orders","address":"10.9.9.9","port":1}"#, -1).await.unwrap();
    world.event_about("orders", "NameShared", "which stay").await;
    world.local.stop().await.unwrap();
}

#[tokio::test]
async fn who_comes_later_takes_nothing_away() {
    let world = World::new().await;
    world.service("orders", &[("curator", "")]).await;
    world.slice("orders", &[1, 2]).await;
    world.until(DIRECTORY, &["10.0.0.1:8080", "10.0.0.2:8080"]).await;
    let stranger = register(&world.eye, 77).await;
    world.event_about("orders", "NameShared", "which stay").await;
    // Without a grant nobody stands for our endpoints, whatever he says.
    let liar = register(&world.eye, 2).await;
    // Its pods are replaced, one by one.
    for ready in [&[2, 3][..], &[3], &[3, 4]] {
        world.slice("orders", ready).await;
    }
    world.until(DIRECTORY, &[&liar, &stranger, "10.0.0.3:8080", "10.0.0.4:8080"]).await;
    rests(&world.local).await;
    let before = world.stats(DIRECTORY).await;
    let world = world.restart(false).await;
    rests(&world.local).await;
    assert_eq!(world.stats(DIRECTORY).await, before, "what is there says who was first");
    // ZooKeeper removes all of ours: they come back.
    end_session(&world.config(), world.credentials().load().await.unwrap().remove(0)).await;
    within(async {
        while world
            .stats(DIRECTORY)
            .await
            .get("10.0.0.4:8080")
            .is_none_or(|it| *it == before["10.0.0.4:8080"])
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    world.until(DIRECTORY, &[&liar, &stranger, "10.0.0.3:8080", "10.0.0.4:8080"]).await;
    world.local.stop().await.unwrap();
}

#[tokio::test]
async fn an_endpoint_that_registers_itself_is_registered_once_and_back() {
    let world = World::new().await;
    let files = Files::with(
        &world.local.kube,
        world.local.zookeeper(),
        &format!(
            "rules: {}",
            serde_json::to_string(&json!([{
                "services": ["orders*"], "formats": ["curator", "dubbo"], "names": ["*"],
                "addresses": ["pod", "custom"], "shared": true,
            }]))
            .unwrap()
        ),
    );
    world.local.bridge.rule(rules(true));
    let pod = session(world.local.zookeeper()).await;
    let itself = register(&pod, 1).await;
    let provider =
        format!("{PROVIDERS}/dubbo%3A%2F%2F10.0.0.1%3A8080%2Fcom.acme.A%3Finterface%3Dcom.acme.A%26pid%3D7");
    directory(&pod, PROVIDERS).await;
    pod.create(&provider, "10.0.0.1", Acl::open(), CreateMode::Ephemeral).await.unwrap();
    world.service("orders", &[("curator", ""), ("dubbo", "com.acme.A")]).await;
    world.slice("orders", &[1, 2]).await;
    world.until(DIRECTORY, &[&itself, "10.0.0.2:8080"]).await;
    rests(&world.local).await;
    assert_eq!(leaves(&world.eye, PROVIDERS).await.len(), 2);
    let (_, explained) = files.json(&["explain", "default/orders"]).await;
    let first = &explained["publications"][0]["endpoints"][0];
    assert_eq!(
        (&first["published"], &first["znode"]),
        (&false.into(), &format!("{DIRECTORY}/{itself}").into())
    );
    let (_, status) = files.json(&["status"]).await;
    assert_eq!((&status["selfRegistered"], &status["refusedServices"]), (&2.into(), &0.into()), "{status}");
    assert_eq!(files.json(&["diff"]).await.0, 0);
    assert_eq!(files.json(&["verify"]).await.0, 0);

    // Whoever leads next does not register it either.
    let before = leaves(&pod, PROVIDERS).await;
    let world = world.restart(true).await;
    rests(&world.local).await;
    assert_eq!((world.leaves(DIRECTORY).await.len(), leaves(&pod, PROVIDERS).await), (2, before));

    // The next release of the pod does not register itself: then we do, though the slice stays as it is.
    pod.close().await.unwrap();
    world.until(DIRECTORY, &["10.0.0.1:8080", "10.0.0.2:8080"]).await;
    within(async { while leaves(&world.eye, PROVIDERS).await.len() < 2 {} }).await;

    // And back: it is there all the time, by whoever.
    let (reader, missed) = (session(world.local.zookeeper()).await, Arc::new(AtomicUsize::new(0)));
    let reading = tokio::spawn({
        let missed = Arc::clone(&missed);
        let name = itself.clone();
        async move {
            loop {
                let seen = leaves(&reader, DIRECTORY).await;
                let is_there = seen.iter().any(|it| *it == name || it == "10.0.0.1:8080");
                missed.fetch_add(usize::from(!is_there), Ordering::Relaxed);
            }
        }
    });
    assert_eq!(register(&world.eye, 1).await, itself);
    world.until(DIRECTORY, &[&itself, "10.0.0.2:8080"]).await;
    let (_, history) = files.json(&["history", "default/orders"]).await;
    let is_it = |entry: &serde_json::Value| {
        let entry = entry.to_string();
        entry.contains("registers-itself") && entry.contains("10.0.0.1:8080")
    };
    assert!(history.as_array().unwrap().iter().any(is_it), "{history}");
    reading.abort();
    assert_eq!(missed.load(Ordering::Relaxed), 0);
    // A pod that is not ready any more is not ours to remove.
    world.slice("orders", &[2]).await;
    // And then nothing is written, as soon as the last leader's other sessions have ended.
    let markers = async |number: usize| {
        let before = world.marker(&format!("/before-{number}")).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        world.marker(&format!("/after-{number}")).await.0 == before.0 + 1
    };
    let mut number = 0;
    within(async {
        while !markers(number).await {
            number += 1;
        }
    })
    .await;
    assert_eq!(world.leaves(DIRECTORY).await, [&*itself, "10.0.0.2:8080"]);
    world.local.stop().await.unwrap();
}

#[tokio::test]
async fn a_directory_that_we_may_not_list_holds_nobody_else_up() {
    let world = World::new().await;
    directory(&world.eye, "/services").await;
    let blind = vec![Acl::world(perms::ALL & !perms::READ)];
    world.eye.create(DIRECTORY, "", blind, CreateMode::Persistent).await.unwrap();
    let leaf = format!("{DIRECTORY}/x");
    world.eye.create(&leaf, "", Acl::open(), CreateMode::Ephemeral).await.unwrap();
    world.service("orders", &[("curator", "")]).await;
    world.service("carts", &[("curator", "")]).await;
    world.slice("orders", &[1]).await;
    world.slice("carts", &[1]).await;
    world.until("/services/carts", &["10.0.0.1:8080"]).await;
    let told = world.event("orders", "Rejected").await;
    assert!(told.contains(DIRECTORY), "{told}");
    assert!(world.eye.exists(&format!("{DIRECTORY}/10.0.0.1:8080")).await.unwrap().is_none());
    world.local.stop().await.unwrap();
}

/// Dubbo's mapping says which application provides an interface: whoever is not published must not be in it.
#[tokio::test]
async fn what_is_not_published_says_nothing_beside_its_directory() {
    let world = World::new().await;
    world.local.bridge.rule(rules(false));
    register(&world.eye, 77).await;
    world.service("orders", &[("dubbo3", "com.acme.A")]).await;
    world.slice("orders", &[1]).await;
    world.event_about("orders", "NameTaken", "dubbo3").await;
    rests(&world.local).await;
    assert_eq!(world.eye.exists("/dubbo/mapping/com.acme.A").await.unwrap(), None);
    world.local.bridge.rule(rules(true));
    within(async {
        while world
            .eye
            .get("/dubbo/mapping/com.acme.A")
            .await
            .unwrap()
            .is_none_or(|(data, _)| data != "orders")
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    world.local.stop().await.unwrap();
}

/// An answer that is longer than a connection takes ends it: that must be nobody's connection but the lister's.
#[tokio::test]
async fn a_list_that_is_too_long_holds_nobody_else_up() {
    let world = World::new().await;
    world.service("orders", &[("curator", "orders")]).await;
    world.service("carts", &[("curator", "carts")]).await;
    world.slice("carts", &[1]).await;
    world.until("/services/carts", &["10.0.0.1:8080"]).await;
    directory(&world.eye, "/services/long").await;
    for number in 0..18 {
        let path = format!("/services/long/{number:02}{}", "x".repeat(1_000_000));
        world.eye.create(&path, "", Acl::open(), CreateMode::Persistent).await.unwrap();
    }
    world.service("orders-long", &[("curator", "long")]).await;
    world.slice("orders-long", &[1]).await;
    let told = world.event("orders-long", "Rejected").await;
    assert!(told.contains("/services/long"), "{told}");
    // Others are listed meanwhile, and nothing was lost.
    world.slice("orders", &[1]).await;
    world.until(DIRECTORY, &["10.0.0.1:8080"]).await;
    let path = format!("{DIRECTORY}-2/10.0.0.7:8080");
    directory(&world.eye, &format!("{DIRECTORY}-2")).await;
    world.eye.create(&path, "", Acl::open(), CreateMode::Persistent).await.unwrap();
    world.service("orders-2", &[("curator", "")]).await;
    world.slice("orders-2", &[1]).await;
    world.until(&format!("{DIRECTORY}-2"), &["10.0.0.1:8080", "10.0.0.7:8080"]).await;
    let families = world.local.bridge.subject().families().await.unwrap();
    let losses = families.iter().find(|family| family.name() == "zoobridge_session_losses_total").unwrap();
    assert_eq!(losses.get_metric()[0].get_counter().get_value(), 0.0);
    assert!(world.eye.exists("/services/long/10.0.0.1:8080").await.unwrap().is_none());
    world.local.stop().await.unwrap();
}
