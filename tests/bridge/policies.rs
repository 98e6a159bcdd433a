//! What a bridge may do to what is there.

use std::time::Duration;

use zoobridge::local::{Local, RunningBridge};
use zoobridge::plan::Policy;

use crate::operators::Files;
use crate::world::{DIRECTORY, World, within};

const RULES: &str =
    "rules: [{services: ['orders*'], formats: [curator], names: ['*'], addresses: [pod, custom]}]";

/// A bridge under another policy leads next.
async fn succeeded_under(world: World, policy: Policy) -> World {
    let (mut config, credentials) = (world.config(), world.credentials());
    let World { local, eye, dir } = world;
    local.bridge.kill().await;
    config.policy = policy;
    let bridge = RunningBridge::start(&config, local.client.clone(), credentials).await.unwrap();
    World { local: Local { bridge, ..local }, eye, dir }
}

async fn spoil(world: &World, leaf: &str) {
    world.eye.set(&format!("{DIRECTORY}/{leaf}"), "spoiled", -1).await.unwrap();
}

async fn until_version(world: &World, leaf: &str, version: i32) {
    within(async {
        while world.stats(DIRECTORY).await[leaf].version < version {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(world.stats(DIRECTORY).await[leaf].version, version);
}

#[tokio::test]
async fn what_may_not_be_done_is_not_done_until_it_may() {
    let world = World::new().await;
    let files =
        Files::with(&world.local.kube, world.local.zookeeper(), &format!("policy: upsert-only\n{RULES}"));
    let world = succeeded_under(world, Policy::UpsertOnly).await;
    world.service("orders", &[("curator", "")]).await;
    world.slice("orders", &[1, 2]).await;
    world.until(DIRECTORY, &["10.0.0.1:8080", "10.0.0.2:8080"]).await;
    world.slice("orders", &[2, 3]).await;
    let all = ["10.0.0.1:8080", "10.0.0.2:8080", "10.0.0.3:8080"];
    world.until(DIRECTORY, &all).await;
    assert_eq!(files.run(&["diff"]).await, (0, "nothing to write\n".to_owned()));
    let (code, text) = files.run(&["verify", "--within", "1s"]).await;
    assert!(code == 3 && text.contains("stale: 10.0.0.1:8080"), "{code} {text}");
    // It repairs what should be there, and nothing else.
    let [one, two] = ["10.0.0.1:8080", "10.0.0.2:8080"];
    spoil(&world, one).await;
    spoil(&world, two).await;
    until_version(&world, two, 2).await;
    assert_eq!(world.stats(DIRECTORY).await[one].version, 1);

    let world = succeeded_under(world, Policy::CreateOnly).await;
    spoil(&world, two).await;
    world.slice("orders", &[2, 3, 4]).await;
    let all = [&all[..], &["10.0.0.4:8080"]].concat();
    world.until(DIRECTORY, &all).await;
    assert_eq!(world.stats(DIRECTORY).await[two].version, 3);
    let files =
        Files::with(&world.local.kube, world.local.zookeeper(), &format!("policy: create-only\n{RULES}"));
    assert_eq!(files.run(&["diff"]).await, (0, "nothing to write\n".to_owned()));

    let world = succeeded_under(world, Policy::Sync).await;
    world.until(DIRECTORY, &all[1..]).await;
    until_version(&world, two, 4).await;
    world.local.stop().await.unwrap();
}
