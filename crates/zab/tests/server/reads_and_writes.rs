//! delete, exists, getData, setData, getChildren, ACLs.

use bytes::Bytes;
use zk_wire::acl::{Acl, Id, perms};
use zk_wire::codes::{CreateMode, ErrorCode};
use zk_wire::reply::Response;
use zk_wire::request::{AuthPacket, CreateRequest, PathRequest, Request, SetAclRequest, SetDataRequest};
use zk_wire::stat::Stat;

use crate::place::Place;
use crate::wire::{Client, children, create, create_request, delete, exists, get, set};

#[tokio::test]
async fn a_delete_is_of_a_version_and_of_a_znode_without_children() {
    let place = Place::new("delete").await;
    let mut client = place.client().await;
    let path = client.create(&place.path("a"), CreateMode::Persistent).await;
    client.call(set(&path, b"y", -1)).await.unwrap();
    let child = client.create(&place.path("a/b"), CreateMode::Persistent).await;
    for (request, code) in [
        (delete(&path, 0), ErrorCode::BadVersion),
        (delete(&path, 2), ErrorCode::BadVersion),
        (delete(&path, 1), ErrorCode::NotEmpty),
        (delete(&path, -1), ErrorCode::NotEmpty),
        (delete(&place.path("none"), -1), ErrorCode::NoNode),
        (delete(&place.path("none/below"), -1), ErrorCode::NoNode),
        (delete(&place.path("a//b"), -1), ErrorCode::NoNode),
        (delete(&place.path("a/"), -1), ErrorCode::NoNode),
        (delete(&place.path("a\0"), -1), ErrorCode::BadArguments),
        (delete("relative", -1), ErrorCode::BadArguments),
        (delete("", -1), ErrorCode::BadArguments),
        (delete("/", -1), ErrorCode::BadArguments),
        (delete("/zookeeper", -1), ErrorCode::BadArguments),
        (delete("/zookeeper/quota", -1), ErrorCode::BadArguments),
        (delete("/zookeeper/config", -1), ErrorCode::BadArguments),
    ] {
        assert_eq!(client.call(request.clone()).await, Err(code), "{request:?}");
    }
    assert_eq!(client.call(delete(&child, 0)).await, Ok(Response::Empty));
    assert_eq!(client.call(delete(&path, 1)).await, Ok(Response::Empty));
    assert_eq!(client.call(exists(&path, false)).await, Err(ErrorCode::NoNode));
    let parent = client.stat(&place.root).await;
    assert_eq!((parent.num_children, parent.cversion), (0, 2), "one create and one delete");
}

#[tokio::test]
async fn a_set_raises_the_version_and_leaves_the_rest_of_the_stat() {
    let place = Place::new("set").await;
    let mut client = place.client().await;
    let path = client.create(&place.path("a"), CreateMode::Persistent).await;
    let before = client.stat(&path).await;
    let Ok(Response::Stat(after)) = client.call(set(&path, b"hello", 0)).await else { panic!() };
    let after = after.stat;
    assert!(after.mzxid > before.mzxid && after.mtime >= before.mtime);
    let expected = Stat { version: 1, mzxid: after.mzxid, mtime: after.mtime, data_length: 5, ..before };
    assert_eq!(after, expected);
    let Ok(Response::Data(read)) = client.call(get(&path, false)).await else { panic!() };
    assert_eq!((read.data.as_deref(), read.stat), (Some(&b"hello"[..]), after));
    for (request, code) in [
        (set(&path, b"", 0), ErrorCode::BadVersion),
        (set(&path, b"", 2), ErrorCode::BadVersion),
        (set(&place.path("none"), b"", -1), ErrorCode::NoNode),
        (set(&place.path("a/"), b"", -1), ErrorCode::BadArguments),
        (set("", b"", -1), ErrorCode::BadArguments),
    ] {
        assert_eq!(client.call(request.clone()).await, Err(code), "{request:?}");
    }
}

#[tokio::test]
async fn null_and_empty_data_are_told_apart() {
    let place = Place::new("null").await;
    let mut client = place.client().await;
    let path = place.path("a");
    let null = CreateRequest { data: None, ..create_request(&path, b"", CreateMode::Persistent) };
    client.call(Request::Create(null)).await.unwrap();
    assert_eq!(client.data(&path).await, None);
    assert_eq!(client.stat(&path).await.data_length, 0);
    client.call(set(&path, b"", -1)).await.unwrap();
    assert_eq!(client.data(&path).await, Some(Bytes::new()));
    client
        .call(Request::SetData(SetDataRequest { path: path.clone(), data: None, version: 1 }))
        .await
        .unwrap();
    assert_eq!(client.data(&path).await, None);
}

#[tokio::test]
async fn children_are_names_with_or_without_the_parents_stat() {
    let place = Place::new("children").await;
    let mut client = place.client().await;
    for name in ["b", "a", "c"] {
        client.create(&place.path(name), CreateMode::Persistent).await;
    }
    client.create(&place.path("a/below"), CreateMode::Persistent).await;
    client.call(delete(&place.path("c"), -1)).await.unwrap();
    assert_eq!(client.names(&place.root).await, ["a", "b"]);
    let Ok(Response::Children2(mut found)) = client.call(children(&place.root, false)).await else {
        panic!()
    };
    found.children.sort();
    assert_eq!(
        (found.children, found.stat.num_children, found.stat.cversion),
        (vec!["a".into(), "b".into()], 2, 4)
    );
    for read in [exists, get, children] {
        assert_eq!(client.call(read(&place.path("none"), false)).await, Err(ErrorCode::NoNode));
    }
    assert_eq!(client.call(exists("/nul\0", false)).await, Err(ErrorCode::BadArguments));
    client.stat("").await; // The root's other name.
}

#[tokio::test]
async fn a_read_behind_writes_of_its_session_sees_them() {
    let place = Place::new("pipeline").await;
    let mut client = place.client().await;
    let path = client.create(&place.path("a"), CreateMode::Persistent).await;
    let mut expected = Vec::new();
    for n in 0..50 {
        expected.push(client.send(&set(&path, n.to_string().as_bytes(), -1)).await);
        expected.push(client.send(&get(&path, false)).await);
    }
    for n in 0..50 {
        let set = client.message(zk_wire::codes::OpCode::SetData).await;
        let get = client.message(zk_wire::codes::OpCode::GetData).await;
        let xids = [&set, &get].map(|message| match message {
            crate::wire::Message::Reply { xid, .. } => *xid,
            event => panic!("{event:?}"),
        });
        assert_eq!(xids, expected[2 * n..2 * n + 2]);
        let crate::wire::Message::Reply { result: Ok(Response::Data(read)), .. } = get else {
            panic!("{get:?}")
        };
        assert_eq!(read.data.as_deref(), Some(n.to_string().as_bytes()));
    }
}

fn digest(perms: i32, id: &str) -> Acl {
    Acl { perms, id: Id { scheme: "digest".to_owned(), id: id.to_owned() } }
}

async fn acl(client: &mut Client, path: &str) -> Result<(Vec<Acl>, Stat), ErrorCode> {
    match client.call(Request::GetAcl(PathRequest { path: path.to_owned() })).await? {
        Response::Acl(found) => Ok((found.acl, found.stat)),
        other => panic!("{path}: {other:?}"),
    }
}

fn set_acl(path: &str, acl: Vec<Acl>, version: i32) -> Request {
    Request::SetAcl(SetAclRequest { path: path.to_owned(), acl, version })
}

/// Recorded: the identity of `user:pw`.
const USER: &str = "user:2Om+GBbT2q/tS6pdvACZbbm7/1A=";

async fn authenticate(client: &mut Client) {
    let packet =
        AuthPacket { kind: 0, scheme: "digest".to_owned(), auth: Some(Bytes::from_static(b"user:pw")) };
    assert_eq!(client.call(Request::Auth(packet)).await, Ok(Response::Empty));
}

#[tokio::test]
async fn an_acl_is_read_set_and_versioned() {
    let place = Place::new("acl").await;
    let mut client = place.client().await;
    let path = client.create(&place.path("a"), CreateMode::Persistent).await;
    let (open, before) = acl(&mut client, &path).await.unwrap();
    assert_eq!((open, before.aversion), (Acl::open(), 0));
    let read_and_admin = vec![Acl::world(perms::READ | perms::ADMIN)];
    let Ok(Response::Stat(set)) = client.call(set_acl(&path, read_and_admin.clone(), 0)).await else {
        panic!()
    };
    assert_eq!(set.stat, Stat { aversion: 1, ..before });
    assert_eq!(acl(&mut client, &path).await.unwrap(), (read_and_admin.clone(), set.stat));
    for (request, code) in [
        (set_acl(&path, Acl::open(), 0), ErrorCode::BadVersion),
        (set_acl(&path, vec![], -1), ErrorCode::InvalidAcl),
        (set_acl(&path, vec![digest(1, "nocolon")], -1), ErrorCode::InvalidAcl),
        (set_acl(&place.path("none"), Acl::open(), -1), ErrorCode::NoNode),
        (set_acl(&place.path("a/"), Acl::open(), -1), ErrorCode::BadArguments),
        (crate::wire::set(&path, b"", -1), ErrorCode::NoAuth),
        (create(&place.path("a/b"), b"", CreateMode::Persistent), ErrorCode::NoAuth),
    ] {
        assert_eq!(client.call(request.clone()).await, Err(code), "{request:?}");
    }
    assert_eq!(acl(&mut client, &place.path("none")).await, Err(ErrorCode::NoNode));
    // Who may not delete does not learn what is there.
    assert_eq!(client.call(delete(&place.path("a/none"), -1)).await, Err(ErrorCode::NoAuth));
}

#[tokio::test]
async fn an_acl_grants_to_whoever_has_proven_the_identity_and_to_nobody_else() {
    let place = Place::new("grants").await;
    let mut owner = place.client().await;
    let mut other = place.client().await;
    authenticate(&mut owner).await;
    let path = place.path("mine");
    let auth = Acl { perms: perms::ALL, id: Id { scheme: "auth".to_owned(), id: String::new() } };
    let mine = CreateRequest { acl: vec![auth], ..create_request(&path, b"x", CreateMode::Persistent) };
    owner.call(Request::Create(mine.clone())).await.unwrap();
    assert_eq!(acl(&mut owner, &path).await.unwrap().0, [digest(perms::ALL, USER)]);
    for request in [get(&path, false), children(&path, false), exists(&path, false), set(&path, b"", -1)] {
        assert_eq!(other.call(request.clone()).await, Err(ErrorCode::NoAuth), "{request:?}");
        owner.call(request).await.unwrap();
    }
    assert_eq!(acl(&mut other, &path).await, Err(ErrorCode::NoAuth));
    let unproven = CreateRequest { path: place.path("other"), ..mine };
    assert_eq!(other.call(Request::Create(unproven)).await, Err(ErrorCode::InvalidAcl));
    // Deleting asks the parent's ACL.
    assert_eq!(other.call(delete(&path, -1)).await, Ok(Response::Empty));
}

#[tokio::test]
async fn whoever_may_only_read_sees_no_hashes() {
    let place = Place::new("masked").await;
    let mut client = place.client().await;
    let path = place.path("a");
    let acl_of = vec![digest(perms::ALL, USER), Acl::world(perms::READ)];
    let request = CreateRequest { acl: acl_of, ..create_request(&path, b"", CreateMode::Persistent) };
    client.call(Request::Create(request)).await.unwrap();
    let (seen, _) = acl(&mut client, &path).await.unwrap();
    assert_eq!(seen, [digest(perms::ALL, "user:x"), Acl::world(perms::READ)]);
}
