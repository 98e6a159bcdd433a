//! Containers and TTL znodes: who goes, who stays, and who may say so.

use std::time::{Duration, Instant};

use zab::ServerConfig;
use zk_wire::acl::{Acl, perms};
use zk_wire::codes::{CreateMode, ErrorCode};
use zk_wire::reply::Response;
use zk_wire::request::{CreateTtlRequest, PathRequest, Request, SetAclRequest};

use crate::place::Place;
use crate::wire::{Client, create, delete, exists, set};

fn often(config: &mut ServerConfig) {
    config.reaper.interval = Duration::from_millis(200);
}

fn container(path: &str) -> Request {
    Request::CreateContainer(crate::wire::create_request(path, b"", CreateMode::Container))
}

fn ttl(path: &str, ttl_ms: i64) -> Request {
    Request::CreateTtl(CreateTtlRequest {
        path: path.to_owned(),
        data: None,
        acl: Acl::open(),
        mode: CreateMode::PersistentWithTtl,
        ttl_ms,
    })
}

fn delete_container(path: &str) -> Request {
    Request::DeleteContainer(PathRequest { path: path.to_owned() })
}

async fn is_there(client: &mut Client, path: &str) -> bool {
    client.call(exists(path, false)).await.is_ok()
}

async fn goes(client: &mut Client, path: &str) {
    let began = Instant::now();
    while is_there(client, path).await {
        assert!(began.elapsed() < Duration::from_secs(30), "{path} stays");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_container_goes_when_its_last_child_has_gone_and_not_before() {
    let place = Place::with("containers", often).await;
    let mut client = place.client().await;
    for name in ["emptied", "full", "new"] {
        client.call(container(&place.path(name))).await.unwrap();
    }
    for name in ["emptied/child", "full/child"] {
        client.create(&place.path(name), CreateMode::Persistent).await;
    }
    client.call(delete(&place.path("emptied/child"), -1)).await.unwrap();
    goes(&mut client, &place.path("emptied")).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(client.names(&place.root).await, ["full", "new"]);
}

#[tokio::test]
async fn a_ttl_znode_goes_when_nobody_has_set_it_for_that_long_and_it_is_empty() {
    let place = Place::with("ttl", often).await;
    let mut client = place.client().await;
    let began = Instant::now();
    for (name, ttl_ms) in [("alone", 1_000), ("set", 4_000), ("parent", 1_000)] {
        client.call(ttl(&place.path(name), ttl_ms)).await.unwrap();
    }
    client.call(ttl(&place.path("long"), 1 << 38)).await.unwrap();
    client.create(&place.path("parent/child"), CreateMode::Persistent).await;
    let mut gone = None;
    // Each set gives it its whole time again.
    while gone.is_none() || began.elapsed() < Duration::from_secs(5) {
        if gone.is_none() && !is_there(&mut client, &place.path("alone")).await {
            gone = Some(began.elapsed());
        }
        client.call(set(&place.path("set"), b"", -1)).await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(30), "it stays");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(gone >= Some(Duration::from_secs(1)), "it went too early: {gone:?}");
    goes(&mut client, &place.path("set")).await;
    assert_eq!(client.names(&place.root).await, ["long", "parent"]);
    client.call(delete(&place.path("parent/child"), -1)).await.unwrap();
    goes(&mut client, &place.path("parent")).await;
}

#[tokio::test]
async fn a_container_that_was_never_used_goes_when_that_is_asked_for() {
    let place = Place::ours("unused", |config| {
        often(config);
        config.reaper.never_used = Some(Duration::from_millis(300));
    })
    .await;
    let mut client = place.client().await;
    client.call(container(&place.path("new"))).await.unwrap();
    goes(&mut client, &place.path("new")).await;
}

#[tokio::test]
async fn what_was_to_age_does_so_behind_a_restart() {
    let mut place =
        Place::ours("restarted", |config| config.reaper.interval = Duration::from_millis(500)).await;
    let mut client = place.client().await;
    client.call(ttl(&place.path("ttl"), 1_000)).await.unwrap();
    client.call(container(&place.path("c"))).await.unwrap();
    let child = client.create(&place.path("c/child"), CreateMode::Ephemeral).await;
    place.restart().await;
    let mut client = place.client().await;
    for name in ["ttl", "c"] {
        assert_eq!(client.stat(&place.path(name)).await.ephemeral_owner.0, 0, "{name}");
    }
    client.call(delete(&child, -1)).await.unwrap();
    goes(&mut client, &place.path("ttl")).await;
    goes(&mut client, &place.path("c")).await;
}

/// The reaper's own request, which clients may send too.
#[tokio::test]
async fn a_delete_of_a_container_deletes_what_is_empty_and_belongs_to_no_session() {
    let place = Place::new("request").await;
    let mut client = place.client().await;
    client.call(container(&place.path("c"))).await.unwrap();
    client.create(&place.path("p"), CreateMode::Persistent).await;
    client.create(&place.path("p/child"), CreateMode::Persistent).await;
    client.create(&place.path("e"), CreateMode::Ephemeral).await;
    for (name, expected) in [
        ("c", Ok(Response::Empty)),
        ("p", Err(ErrorCode::NotEmpty)),
        ("p/child", Ok(Response::Empty)),
        ("p", Ok(Response::Empty)),
        ("e", Err(ErrorCode::BadVersion)),
        ("none", Err(ErrorCode::NoNode)),
    ] {
        assert_eq!(client.call(delete_container(&place.path(name))).await, expected, "{name}");
    }
    assert_eq!(client.call(delete_container("/zookeeper")).await, Err(ErrorCode::BadArguments));
}

/// On Apache's server whoever can connect deletes with it what no ACL lets him delete.
#[tokio::test]
async fn a_delete_of_a_container_needs_the_permission_of_a_delete() {
    let place = Place::ours("permission", |_| {}).await;
    let mut client = place.client().await;
    client.call(container(&place.path("c"))).await.unwrap();
    let acl = vec![Acl::world(perms::ALL & !perms::DELETE)];
    client.call(Request::SetAcl(SetAclRequest { path: place.root.clone(), acl, version: -1 })).await.unwrap();
    assert_eq!(client.call(delete_container(&place.path("c"))).await, Err(ErrorCode::NoAuth));
    assert_eq!(client.names(&place.root).await, ["c"]);
}

/// Its tree says that the znode stays, though the request says that it is a container.
#[tokio::test]
async fn a_plain_create_of_a_container_makes_none() {
    let place = Place::with("plain", often).await;
    let mut client = place.client().await;
    for (path, request) in [("a", true), ("b", false)] {
        let path = place.path(path);
        match request {
            true => client.call(create(&path, b"", CreateMode::Container)).await.unwrap(),
            false => client.call(container(&path)).await.unwrap(),
        };
        let child = client.create(&format!("{path}/child"), CreateMode::Persistent).await;
        client.call(delete(&child, -1)).await.unwrap();
    }
    goes(&mut client, &place.path("b")).await;
    assert_eq!(client.names(&place.root).await, ["a"]);
}
