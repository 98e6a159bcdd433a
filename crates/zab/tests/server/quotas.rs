//! Quotas: what is counted, and what is refused.

use zk_wire::codes::{CreateMode, ErrorCode};
use zk_wire::multi::{MultiResult, WriteOp};
use zk_wire::reply::Response;
use zk_wire::request::Request;

use crate::place::Place;
use crate::wire::{Client, create, create_request, delete, set};

/// As `setquota` of `zkCli`: limits, then usage, which the server counts.
async fn set_quota(client: &mut Client, about: &str, limits: &str) {
    let quota = format!("/zookeeper/quota{about}");
    client.call(create(&quota, b"", CreateMode::Persistent)).await.unwrap();
    let (limits_path, stats) = (format!("{quota}/zookeeper_limits"), format!("{quota}/zookeeper_stats"));
    client.call(create(&limits_path, limits.as_bytes(), CreateMode::Persistent)).await.unwrap();
    client.call(create(&stats, b"count=0,bytes=0", CreateMode::Persistent)).await.unwrap();
}

async fn used(client: &mut Client, about: &str) -> String {
    let data = client.data(&format!("/zookeeper/quota{about}/zookeeper_stats")).await.unwrap();
    String::from_utf8(data.to_vec()).unwrap()
}

fn enforced(config: &mut zab::ServerConfig) {
    config.enforce_quota = true;
}

#[tokio::test]
async fn what_a_subtree_uses_is_counted_with_its_root() {
    let place = Place::with("counted", enforced).await;
    let mut client = place.client().await;
    client.call(create(&place.path("before"), b"12345", CreateMode::Persistent)).await.unwrap();
    set_quota(&mut client, &place.root, "count=2,bytes=2").await;
    assert_eq!(used(&mut client, &place.root).await, "count=2,bytes=5");
    // Soft limits only count.
    client.call(create(&place.path("a"), b"123", CreateMode::Persistent)).await.unwrap();
    client.call(create(&place.path("a/b"), b"", CreateMode::Ephemeral)).await.unwrap();
    client.call(set(&place.path("before"), b"1", -1)).await.unwrap();
    assert_eq!(used(&mut client, &place.root).await, "count=4,bytes=4");
    client.call(delete(&place.path("before"), -1)).await.unwrap();
    assert_eq!(used(&mut client, &place.root).await, "count=3,bytes=3");
    let stats = format!("/zookeeper/quota{}/zookeeper_stats", place.root);
    let stat = client.stat(&stats).await;
    assert_eq!(
        (stat.version, stat.mzxid, stat.data_length),
        (0, stat.czxid, 15),
        "no transaction changed it"
    );
    let root = place.root.clone();
    client.close().await;
    let mut client = place.client().await;
    assert_eq!(used(&mut client, &root).await, "count=2,bytes=3", "the session took its ephemeral along");
}

#[tokio::test]
async fn a_hard_limit_refuses_what_would_exceed_it() {
    let place = Place::with("hard", enforced).await;
    let mut client = place.client().await;
    set_quota(&mut client, &place.root, "count=1,bytes=1=;byteHardLimit=10;countHardLimit=3").await;
    let (a, b, c) = (place.path("a"), place.path("b"), place.path("c"));
    client.call(create(&a, b"12345", CreateMode::Persistent)).await.unwrap();
    for (request, expected) in [
        (create(&b, b"123456", CreateMode::Persistent), Err(ErrorCode::QuotaExceeded)),
        (create(&b, b"", CreateMode::Persistent), Ok(())),
        (create(&c, b"", CreateMode::Persistent), Err(ErrorCode::QuotaExceeded)),
        (set(&a, b"12345678901", -1), Err(ErrorCode::QuotaExceeded)),
        // The quota is asked before the version.
        (set(&a, b"12345678901", 7), Err(ErrorCode::QuotaExceeded)),
        (set(&a, b"1234567890", -1), Ok(())),
        (delete(&b, -1), Ok(())),
        (create(&c, b"", CreateMode::Persistent), Ok(())),
    ] {
        assert_eq!(client.call(request.clone()).await.map(|_| ()), expected, "{request:?}");
    }
    client.call(delete(&c, -1)).await.unwrap();
    let element = |path: &str| WriteOp::Create(create_request(path, b"1", CreateMode::Persistent));
    let multi = Request::Multi(vec![element(&c)]);
    let refused = vec![MultiResult::Error(ErrorCode::QuotaExceeded)];
    assert_eq!(client.call(multi).await, Ok(Response::Multi(zk_wire::multi::MultiResults(refused))));
    assert_eq!(used(&mut client, &place.root).await, "count=2,bytes=10");
}

#[tokio::test]
async fn without_enforcement_hard_limits_only_count() {
    let place = Place::ours("lenient", |_| {}).await;
    let mut client = place.client().await;
    set_quota(&mut client, &place.root, "count=-1,bytes=-1=;countHardLimit=1").await;
    client.call(create(&place.path("a"), b"", CreateMode::Persistent)).await.unwrap();
    assert_eq!(used(&mut client, &place.root).await, "count=2,bytes=0");
}

#[tokio::test]
async fn a_quota_ends_with_its_limits() {
    let place = Place::with("ends", enforced).await;
    let mut client = place.client().await;
    set_quota(&mut client, &place.root, "count=-1,bytes=-1=;countHardLimit=1").await;
    let refused = client.call(create(&place.path("a"), b"", CreateMode::Persistent)).await;
    assert_eq!(refused, Err(ErrorCode::QuotaExceeded));
    let limits = format!("/zookeeper/quota{}/zookeeper_limits", place.root);
    client.call(delete(&limits, -1)).await.unwrap();
    client.call(create(&place.path("a"), b"", CreateMode::Persistent)).await.unwrap();
    assert_eq!(used(&mut client, &place.root).await, "count=1,bytes=0", "nobody counts any more");
}

#[tokio::test]
async fn quotas_outlive_a_restart_and_usage_is_counted_anew() {
    let mut place = Place::ours("kept", enforced).await;
    let mut client = place.client().await;
    set_quota(&mut client, &place.root, "count=-1,bytes=-1=;countHardLimit=3").await;
    client.call(create(&place.path("a"), b"12", CreateMode::Persistent)).await.unwrap();
    let before = used(&mut client, &place.root).await;
    for round in 0..2 {
        place.restart().await;
        let mut client = place.client().await;
        assert_eq!(used(&mut client, &place.root).await, before, "restart {round}");
    }
    let mut client = place.client().await;
    client.call(create(&place.path("b"), b"", CreateMode::Persistent)).await.unwrap();
    let refused = client.call(create(&place.path("c"), b"", CreateMode::Persistent)).await;
    assert_eq!(refused, Err(ErrorCode::QuotaExceeded));
}
