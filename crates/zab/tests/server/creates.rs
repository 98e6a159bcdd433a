//! Creating znodes in every mode.

use zk_wire::acl::Acl;
use zk_wire::codes::{CreateMode, ErrorCode};
use zk_wire::ids::SessionId;
use zk_wire::reply::Response;
use zk_wire::request::{CreateRequest, CreateTtlRequest, Request};
use zk_wire::stat::Stat;

use crate::place::Place;
use crate::wire::{Client, create, create_request, delete};

async fn create2(client: &mut Client, path: &str, mode: CreateMode) -> (String, Stat) {
    match client.call(Request::Create2(create_request(path, b"x", mode))).await {
        Ok(Response::Create2(created)) => (created.path, created.stat),
        other => panic!("{path}: {other:?}"),
    }
}

fn create_ttl(path: &str, mode: CreateMode, ttl_ms: i64) -> Request {
    let CreateRequest { path, data, acl, mode } = create_request(path, b"x", mode);
    Request::CreateTtl(CreateTtlRequest { path, data, acl, mode, ttl_ms })
}

#[tokio::test]
async fn a_created_znode_has_the_stat_of_its_transaction() {
    let place = Place::new("stat").await;
    let mut client = place.client().await;
    let (path, stat) = create2(&mut client, &place.path("a"), CreateMode::Persistent).await;
    assert_eq!(path, place.path("a"));
    let expected = Stat {
        czxid: stat.czxid,
        mzxid: stat.czxid,
        pzxid: stat.czxid,
        ctime: stat.ctime,
        mtime: stat.ctime,
        data_length: 1,
        ..Stat::default()
    };
    assert_eq!(stat, expected);
    assert_eq!(client.stat(&path).await, stat);
    let parent = client.stat(&place.root).await;
    assert_eq!((parent.pzxid, parent.cversion, parent.num_children), (stat.czxid, 1, 1));
}

#[tokio::test]
async fn only_the_owner_of_ephemerals_shows_in_a_stat() {
    let place = Place::ours("owners", |_| {}).await;
    let mut client = place.client().await;
    let mine = client.session;
    for (mode, owner) in [
        (CreateMode::Persistent, SessionId::NONE),
        (CreateMode::Ephemeral, mine),
        (CreateMode::PersistentSequential, SessionId::NONE),
        (CreateMode::EphemeralSequential, mine),
    ] {
        let (path, stat) = create2(&mut client, &place.path(&format!("m{}", mode.0)), mode).await;
        assert_eq!(stat.ephemeral_owner, owner, "{mode}");
        assert_eq!(client.stat(&path).await.ephemeral_owner, owner, "{mode}");
    }
    let container = Request::CreateContainer(create_request(&place.path("c"), b"", CreateMode::Container));
    for request in [container, create_ttl(&place.path("ttl"), CreateMode::PersistentWithTtl, 1 << 30)] {
        let Ok(Response::Create2(created)) = client.call(request.clone()).await else {
            panic!("{request:?}")
        };
        assert_eq!(created.stat.ephemeral_owner, SessionId::NONE);
        // Unlike ephemerals, they have children.
        client.create(&format!("{}/child", created.path), CreateMode::Persistent).await;
    }
}

#[tokio::test]
async fn sequence_numbers_count_the_creates_below_the_parent() {
    let place = Place::new("sequence").await;
    let mut client = place.client().await;
    let sequential = CreateMode::PersistentSequential;
    assert_eq!(client.create(&place.path("a-"), sequential).await, place.path("a-0000000000"));
    assert_eq!(
        client.create(&place.path("b-"), CreateMode::EphemeralSequential).await,
        place.path("b-0000000001")
    );
    client.create(&place.path("plain"), CreateMode::Persistent).await;
    client.call(delete(&place.path("plain"), -1)).await.unwrap();
    client.call(delete(&place.path("a-0000000000"), -1)).await.unwrap();
    assert_eq!(
        client.call(create(&place.path("b-0000000001"), b"", CreateMode::Persistent)).await,
        Err(ErrorCode::NodeExists)
    );
    assert_eq!(client.create(&place.path("a-"), sequential).await, place.path("a-0000000003"));
    assert_eq!(client.create(&place.path(""), sequential).await, place.path("0000000004"));
}

#[tokio::test]
async fn a_create_that_cannot_be_says_why() {
    let place = Place::new("refusals").await;
    let mut client = place.client().await;
    let ephemeral = client.create(&place.path("e"), CreateMode::Ephemeral).await;
    let path = |name: &str| place.path(name);
    let persistent = CreateMode::Persistent;
    for (request, code) in [
        (create(&ephemeral, b"", persistent), ErrorCode::NodeExists),
        (create(&path("no/parent"), b"", persistent), ErrorCode::NoNode),
        (create(&path("e/child"), b"", persistent), ErrorCode::NoChildrenForEphemerals),
        (create(&path("e/child-"), b"", CreateMode::EphemeralSequential), ErrorCode::NoChildrenForEphemerals),
        (create("relative", b"", persistent), ErrorCode::BadArguments),
        (create("", b"", persistent), ErrorCode::BadArguments),
        (create("/", b"", persistent), ErrorCode::NodeExists),
        (create(&path("a/"), b"", persistent), ErrorCode::NoNode),
        (create(&path("e/"), b"", persistent), ErrorCode::BadArguments),
        (create(&path("nul\0"), b"", persistent), ErrorCode::BadArguments),
        (create(&path("control\u{1}"), b"", persistent), ErrorCode::BadArguments),
        (create(&path("."), b"", persistent), ErrorCode::BadArguments),
        (create(&path(".."), b"", persistent), ErrorCode::BadArguments),
        (create(&path("mode"), b"", CreateMode(7)), ErrorCode::BadArguments),
        (create(&path("mode"), b"", CreateMode(-1)), ErrorCode::BadArguments),
        (create(&path("ttl"), b"", CreateMode::PersistentWithTtl), ErrorCode::BadArguments),
        (without_acl(&path("acl")), ErrorCode::InvalidAcl),
        (without_acl("relative"), ErrorCode::BadArguments),
        (without_acl(&path("no/parent")), ErrorCode::InvalidAcl),
    ] {
        // Apache's TTL znodes are off unless switched on.
        if request == create(&path("ttl"), b"", CreateMode::PersistentWithTtl) && !place.is_ours() {
            continue;
        }
        assert_eq!(client.call(request.clone()).await, Err(code), "{request:?}");
    }
    assert_eq!(client.names(&place.root).await, ["e"]);
}

fn without_acl(path: &str) -> Request {
    Request::Create(CreateRequest {
        acl: Vec::<Acl>::new(),
        ..create_request(path, b"", CreateMode::Persistent)
    })
}

#[tokio::test]
async fn a_create_that_fails_consumes_a_zxid_all_the_same() {
    let place = Place::ours("zxids", |_| {}).await;
    let mut client = place.client().await;
    let before = create2(&mut client, &place.path("a"), CreateMode::Persistent).await.1;
    client.call(create(&place.path("a"), b"", CreateMode::Persistent)).await.unwrap_err();
    client.call(create(&place.path("no/parent"), b"", CreateMode::Persistent)).await.unwrap_err();
    let after = create2(&mut client, &place.path("b"), CreateMode::Persistent).await.1;
    assert_eq!(after.czxid.0, before.czxid.0 + 3);
}

#[tokio::test]
async fn ttls_are_milliseconds_from_one_to_forty_bits() {
    let place = Place::ours("ttls", |_| {}).await;
    let mut client = place.client().await;
    let with_ttl = CreateMode::PersistentWithTtl;
    for ttl_ms in [0, -1, 1 << 40, i64::MAX, i64::MIN] {
        let request = create_ttl(&place.path("bad"), with_ttl, ttl_ms);
        assert_eq!(client.call(request).await, Err(ErrorCode::BadArguments), "{ttl_ms}");
    }
    let request = create_ttl(&place.path("bad"), CreateMode::Persistent, 5);
    assert_eq!(client.call(request).await, Err(ErrorCode::BadArguments));
    client.call(create_ttl(&place.path("a"), with_ttl, 1)).await.unwrap();
    client.call(create_ttl(&place.path("b"), with_ttl, (1 << 40) - 1)).await.unwrap();
    let sequential = create_ttl(&place.path("s-"), CreateMode::PersistentSequentialWithTtl, 1_000);
    let Ok(Response::Create2(created)) = client.call(sequential).await else { panic!() };
    assert_eq!(created.path, place.path("s-0000000002"));
}

#[tokio::test]
async fn without_extended_types_there_are_no_ttls() {
    let place = Place::ours("notypes", |config| config.extended_types = false).await;
    let mut client = place.client().await;
    for mode in [CreateMode::PersistentWithTtl, CreateMode::PersistentSequentialWithTtl] {
        let request = create_ttl(&place.path("a"), mode, 1_000);
        assert_eq!(client.call(request).await, Err(ErrorCode::Unimplemented));
        let request = create_ttl(&place.path("a"), mode, -5);
        assert_eq!(client.call(request).await, Err(ErrorCode::Unimplemented));
    }
    assert_eq!(client.names(&place.root).await, Vec::<String>::new());
}
