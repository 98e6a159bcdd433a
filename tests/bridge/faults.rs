//! What happens when something breaks. Each test shows that its fault struck.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use zoobridge::config::Config;
use zoobridge::local::{Local, RunningBridge};
use zoobridge::session::CredentialStore;

use crate::sides::Sides;
use crate::wire::Wire;
use crate::world::{
    DIRECTORY, World, annotate, config, end_session, leaves, service, session, slice, until, within,
};

/// A server behind a wire, and a cluster with one Service.
struct Wired {
    sides: Sides,
    wire: Wire,
    config: Config,
}

impl Wired {
    async fn new(annotation: (&str, &str), endpoints: &[u8]) -> Wired {
        let sides = Sides::new().await;
        let wire = Wire::to(sides.zookeeper()).await;
        let mut config = config();
        config.zookeeper.connect = wire.address.to_string().parse().unwrap();
        service(&sides.client, "orders", &[annotation]).await;
        slice(&sides.client, "orders", endpoints).await;
        Wired { sides, wire, config }
    }
}

#[tokio::test]
async fn a_wire_that_is_cut_again_and_again_hides_no_endpoint_and_leaves_none_behind() {
    let Wired { sides, wire, config } = Wired::new(("curator", ""), &[1, 2]).await;
    let Sides { server, client, kube: _kube, dir: _dir } = sides;
    let bridge = RunningBridge::start(&config, client.clone(), CredentialStore::memory()).await.unwrap();
    let eye = session(server.client_address()).await;
    until(&eye, DIRECTORY, &["10.0.0.1:8080", "10.0.0.2:8080"]).await;

    // Endpoint 1 is ready all the time.
    let reader = session(server.client_address()).await;
    let missed = Arc::new(AtomicUsize::new(0));
    let reading = tokio::spawn({
        let missed = Arc::clone(&missed);
        async move {
            loop {
                let seen: BTreeSet<_> = leaves(&reader, DIRECTORY).await.into_iter().collect();
                missed.fetch_add(usize::from(!seen.contains("10.0.0.1:8080")), Ordering::Relaxed);
            }
        }
    });
    for round in 0..12u8 {
        within(wire.is_open()).await;
        for change in 0..5 {
            slice(&client, "orders", &[1, 2 + round % 7, 10 + change]).await;
        }
        // From before the last write to behind it.
        tokio::time::sleep(Duration::from_micros(u64::from(round) * 200)).await;
        wire.cut().await;
    }
    slice(&client, "orders", &[1, 99]).await;
    until(&eye, DIRECTORY, &["10.0.0.1:8080", "10.0.0.99:8080"]).await;
    reading.abort();
    assert!(wire.cut.load(Ordering::Relaxed) >= 10, "the wire was hardly ever cut");
    assert_eq!(missed.load(Ordering::Relaxed), 0);
    within(async {
        while bridge.status().pending > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(bridge.status().znodes, 2);
    bridge.stop().await.unwrap();
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_wire_that_is_cut_while_names_change_hides_no_address() {
    const PROVIDERS: &str = "/dubbo/com.acme.OrderService/providers";
    let Wired { sides, wire, config } = Wired::new(("dubbo", "com.acme.OrderService"), &[1, 2, 3]).await;
    let Sides { server, client, kube: _kube, dir: _dir } = sides;
    let store = CredentialStore::memory();
    let mut bridge = RunningBridge::start(&config, client.clone(), store.clone()).await.unwrap();
    let eye = session(server.client_address()).await;
    let addresses = |leaves: &[String]| -> BTreeSet<String> {
        let address = |leaf: &String| leaf.split("%2F").nth(2).unwrap_or_default().to_owned();
        leaves.iter().map(address).collect()
    };
    within(async { while addresses(&leaves(&eye, PROVIDERS).await).len() < 3 {} }).await;
    let reader = session(server.client_address()).await;
    let missed = Arc::new(AtomicUsize::new(0));
    let reading = tokio::spawn({
        let missed = Arc::clone(&missed);
        async move {
            loop {
                let seen = addresses(&leaves(&reader, PROVIDERS).await);
                missed.fetch_add(usize::from(seen.len() < 3), Ordering::Relaxed);
            }
        }
    });
    for round in 1..=10u32 {
        within(wire.is_open()).await;
        annotate(&client, "orders", "dubbo-parameters", Some(&format!("weight={round}"))).await;
        tokio::time::sleep(Duration::from_micros(u64::from(round) * 300)).await;
        if round % 4 == 0 {
            // And a restart in the middle of it.
            bridge.kill().await;
            bridge = RunningBridge::start(&config, client.clone(), store.clone()).await.unwrap();
        } else {
            wire.cut().await;
        }
    }
    within(async {
        while !leaves(&eye, PROVIDERS).await.iter().all(|leaf| leaf.contains("weight%3D10"))
            || bridge.status().pending > 0
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    reading.abort();
    assert_eq!(leaves(&eye, PROVIDERS).await.len(), 3);
    assert!(wire.cut.load(Ordering::Relaxed) >= 7, "the wire was hardly ever cut");
    assert_eq!(missed.load(Ordering::Relaxed), 0);
    bridge.stop().await.unwrap();
    server.stop().await.unwrap();
}

#[tokio::test]
async fn znodes_of_an_expired_session_come_back_while_the_api_server_is_away() {
    let world = World::new().await;
    world.service("orders", &[("curator", "")]).await;
    world.slice("orders", &[1, 2]).await;
    world.until(DIRECTORY, &["10.0.0.1:8080", "10.0.0.2:8080"]).await;
    let before = world.stats(DIRECTORY).await["10.0.0.1:8080"].ephemeral_owner;
    let (config, kept) = (world.config(), world.credentials().load().await.unwrap().remove(0));
    let World { local: Local { kube, bridge, server, client: _ }, eye, dir: _dir } = world;
    // Nobody can keep the new session's credentials now.
    kube.stop().await;
    end_session(&config, kept).await;
    until(&eye, DIRECTORY, &["10.0.0.1:8080", "10.0.0.2:8080"]).await;
    let after = eye.exists(&format!("{DIRECTORY}/10.0.0.1:8080")).await.unwrap().unwrap().ephemeral_owner;
    assert_ne!(before, after);
    bridge.stop().await.unwrap();
    server.stop().await.unwrap();
}
