//! Several writes as one.

use zk_wire::codes::{CreateMode, ErrorCode};
use zk_wire::multi::{MultiResult, WriteOp};
use zk_wire::reply::Response;
use zk_wire::request::{CheckVersionRequest, DeleteRequest, Request, SetDataRequest};

use crate::place::Place;
use crate::wire::{Client, create_request};

fn create(path: &str, mode: CreateMode) -> WriteOp {
    WriteOp::Create(create_request(path, b"x", mode))
}

fn check(path: &str, version: i32) -> WriteOp {
    WriteOp::Check(CheckVersionRequest { path: path.to_owned(), version })
}

fn set(path: &str, version: i32) -> WriteOp {
    WriteOp::SetData(SetDataRequest { path: path.to_owned(), data: Some("y".into()), version })
}

fn delete(path: &str, version: i32) -> WriteOp {
    WriteOp::Delete(DeleteRequest { path: path.to_owned(), version })
}

async fn multi(client: &mut Client, ops: Vec<WriteOp>) -> Vec<MultiResult> {
    match client.call(Request::Multi(ops)).await {
        Ok(Response::Multi(results)) => results.0,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn all_ops_share_one_transaction_and_each_has_its_result() {
    let place = Place::new("all").await;
    let mut client = place.client().await;
    let (a, b, c) = (place.path("a"), place.path("b"), place.path("c"));
    let container = create_request(&c, b"", CreateMode::Container);
    let ops = vec![
        create(&a, CreateMode::Persistent),
        WriteOp::Create2(create_request(&b, b"x", CreateMode::Ephemeral)),
        check(&a, 0),
        set(&a, 0),
        check(&a, 1),
        create(&place.path("s-"), CreateMode::PersistentSequential),
        delete(&a, 1),
        WriteOp::CreateContainer(container),
    ];
    let results = multi(&mut client, ops).await;
    let made = client.stat(&b).await;
    assert_eq!(made.ephemeral_owner, client.session);
    let [
        first,
        second,
        MultiResult::Check,
        MultiResult::SetData(set),
        MultiResult::Check,
        sequential,
        MultiResult::Delete,
        MultiResult::Create2(container, _),
    ] = results.as_slice()
    else {
        panic!("{results:?}")
    };
    assert_eq!(*first, MultiResult::Create(a));
    assert_eq!(*second, MultiResult::Create2(b, made));
    assert_eq!((set.version, set.mzxid), (1, made.czxid));
    assert_eq!(*sequential, MultiResult::Create(place.path("s-0000000002")));
    assert_eq!(*container, c);
    assert_eq!(client.names(&place.root).await, ["b", "c", "s-0000000002"]);
    assert_eq!(client.stat(&place.root).await.pzxid, made.czxid);
}

#[tokio::test]
async fn one_failure_fails_all_and_every_op_says_how_far_it_came() {
    let place = Place::new("none").await;
    let mut client = place.client().await;
    let a = place.path("a");
    let before = client.stat(&place.root).await;
    for (culprit, code) in [
        (check(&a, 7), ErrorCode::BadVersion),
        (check(&place.path("none"), 0), ErrorCode::NoNode),
        (check("relative", 0), ErrorCode::BadArguments),
        (delete(&place.root, -1), ErrorCode::NotEmpty),
        (create(&a, CreateMode::Persistent), ErrorCode::NodeExists),
    ] {
        let ops = vec![
            create(&a, CreateMode::Persistent),
            set(&a, 0),
            culprit.clone(),
            set(&a, -1),
            check(&place.path("nowhere"), 0),
        ];
        let expected = [
            ErrorCode::Ok,
            ErrorCode::Ok,
            code,
            ErrorCode::RuntimeInconsistency,
            ErrorCode::RuntimeInconsistency,
        ];
        assert_eq!(multi(&mut client, ops).await, expected.map(MultiResult::Error), "{culprit:?}");
    }
    assert_eq!(client.stat(&place.root).await, before);
}

/// ZOOKEEPER-1624.
#[tokio::test]
async fn a_failed_multi_gives_its_sequence_numbers_back() {
    let place = Place::new("numbers").await;
    let mut client = place.client().await;
    let sequential = || create(&place.path("s-"), CreateMode::PersistentSequential);
    multi(&mut client, vec![sequential(), sequential(), check("/none", 0)]).await;
    let results = multi(&mut client, vec![sequential(), sequential()]).await;
    let expected = ["s-0000000000", "s-0000000001"].map(|name| MultiResult::Create(place.path(name)));
    assert_eq!(results, expected);
}

#[tokio::test]
async fn an_empty_multi_is_legal() {
    let place = Place::new("empty").await;
    let mut client = place.client().await;
    assert_eq!(multi(&mut client, vec![]).await, []);
}

#[tokio::test]
async fn multis_under_way_see_each_other() {
    let place = Place::new("row").await;
    let mut client = place.client().await;
    let path = client.create(&place.path("a"), CreateMode::Persistent).await;
    for version in 0..20 {
        client.send(&Request::Multi(vec![check(&path, version), set(&path, version)])).await;
    }
    client.send(&Request::Multi(vec![set(&path, -1), check(&path, 0)])).await;
    client.send(&Request::Multi(vec![check(&path, 20)])).await;
    let mut results = Vec::new();
    for _ in 0..22 {
        match client.message(zk_wire::codes::OpCode::Multi).await {
            crate::wire::Message::Reply { result: Ok(Response::Multi(multi)), .. } => results.push(multi.0),
            other => panic!("{other:?}"),
        }
    }
    for (version, result) in (1..).zip(&results[..20]) {
        let [MultiResult::Check, MultiResult::SetData(set)] = result.as_slice() else { panic!("{result:?}") };
        assert_eq!(set.version, version);
    }
    assert_eq!(results[20], [ErrorCode::Ok, ErrorCode::BadVersion].map(MultiResult::Error));
    assert_eq!(results[21], [MultiResult::Check]);
}
