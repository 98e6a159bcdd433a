//! Watches: one-shot, persistent, recursive; set again after a reconnect; removed.

use zk_wire::acl::{Acl, perms};
use zk_wire::codes::{AddWatchMode, CreateMode, ErrorCode, EventType, OpCode, WatcherType};
use zk_wire::ids::Zxid;
use zk_wire::multi::WriteOp;
use zk_wire::reply::Response;
use zk_wire::request::{
    AddWatchRequest, DeleteRequest, Request, SetAclRequest, SetWatches, SetWatches2, WatchesRequest,
};

use crate::place::Place;
use crate::wire::{Client, Message, children, create, create_request, delete, exists, get, set};

const CREATED: EventType = EventType::NodeCreated;
const DELETED: EventType = EventType::NodeDeleted;
const CHANGED: EventType = EventType::NodeDataChanged;
const CHILDREN: EventType = EventType::NodeChildrenChanged;

fn add_watch(path: &str, mode: AddWatchMode) -> Request {
    Request::AddWatch(AddWatchRequest { path: path.to_owned(), mode })
}

fn remove(path: &str, kind: WatcherType) -> Request {
    Request::RemoveWatches(WatchesRequest { path: path.to_owned(), kind })
}

fn check(path: &str, kind: WatcherType) -> Request {
    Request::CheckWatches(WatchesRequest { path: path.to_owned(), kind })
}

/// What a connection learns of changes that it makes itself: the events in front of each reply.
async fn heard(client: &mut Client, requests: Vec<Request>) -> Vec<Vec<(EventType, String)>> {
    let mut all = Vec::new();
    for request in requests {
        let (events, result) = client.call_hearing(request.clone()).await;
        result.unwrap_or_else(|code| panic!("{request:?}: {code}"));
        all.push(events);
    }
    all
}

#[tokio::test]
async fn a_data_watch_fires_once_for_a_set_or_a_delete() {
    let place = Place::new("data").await;
    let mut client = place.client().await;
    let path = client.create(&place.path("a"), CreateMode::Persistent).await;
    for read in [get, exists] {
        client.call(read(&path, true)).await.unwrap();
        let requests = vec![
            create(&format!("{path}/b"), b"", CreateMode::Persistent),
            set(&path, b"", -1),
            set(&path, b"", -1),
            delete(&format!("{path}/b"), -1),
        ];
        assert_eq!(
            heard(&mut client, requests).await,
            [vec![], vec![(CHANGED, path.clone())], vec![], vec![]]
        );
    }
    client.call(get(&path, true)).await.unwrap();
    client.call(get(&path, true)).await.unwrap();
    let requests = vec![delete(&path, -1), create(&path, b"", CreateMode::Persistent)];
    assert_eq!(heard(&mut client, requests).await, [vec![(DELETED, path)], vec![]]);
}

#[tokio::test]
async fn an_exists_watch_on_nothing_fires_at_the_creation() {
    let place = Place::new("exists").await;
    let mut client = place.client().await;
    let path = place.path("a");
    assert_eq!(client.call(exists(&path, true)).await, Err(ErrorCode::NoNode));
    // A read that fails leaves no watch.
    assert_eq!(client.call(get(&place.path("b"), true)).await, Err(ErrorCode::NoNode));
    assert_eq!(client.call(children(&place.path("b"), true)).await, Err(ErrorCode::NoNode));
    let requests = vec![
        create(&path, b"", CreateMode::Persistent),
        set(&path, b"", -1),
        create(&place.path("b"), b"", CreateMode::Persistent),
    ];
    assert_eq!(heard(&mut client, requests).await, [vec![(CREATED, path)], vec![], vec![]]);
}

#[tokio::test]
async fn a_child_watch_fires_once_for_a_new_or_lost_child_or_for_its_own_delete() {
    let place = Place::new("child").await;
    let mut client = place.client().await;
    let path = client.create(&place.path("a"), CreateMode::Persistent).await;
    let child = format!("{path}/b");
    let watch = || Request::GetChildren(crate::wire::watched(&path, true));
    let requests = vec![
        watch(),
        set(&path, b"", -1),
        create(&child, b"", CreateMode::Persistent),
        create(&format!("{path}/c"), b"", CreateMode::Persistent),
        children(&path, true),
        set(&child, b"", -1),
        delete(&child, -1),
        delete(&format!("{path}/c"), -1),
        watch(),
        delete(&path, -1),
    ];
    let changed = vec![(CHILDREN, path.clone())];
    let none = Vec::new;
    let expected = [
        none(),
        none(),
        changed.clone(),
        none(),
        none(),
        none(),
        changed,
        none(),
        none(),
        vec![(DELETED, path.clone())],
    ];
    assert_eq!(heard(&mut client, requests).await, expected);
}

#[tokio::test]
async fn a_deletion_is_told_once_to_who_watches_data_and_children() {
    let place = Place::new("both").await;
    let mut client = place.client().await;
    let path = client.create(&place.path("a"), CreateMode::Persistent).await;
    client.call(get(&path, true)).await.unwrap();
    client.call(children(&path, true)).await.unwrap();
    client.call(children(&place.root, true)).await.unwrap();
    let events = vec![(DELETED, path.clone()), (CHILDREN, place.root.clone())];
    assert_eq!(heard(&mut client, vec![delete(&path, -1)]).await, [events]);
}

#[tokio::test]
async fn an_event_carries_its_transaction_and_comes_before_what_shows_its_effect() {
    let place = Place::new("order").await;
    let (mut writer, mut watcher) = (place.client().await, place.client().await);
    let path = writer.create(&place.path("a"), CreateMode::Persistent).await;
    for n in 0..100 {
        watcher.call(get(&path, true)).await.unwrap();
        let Message::Reply { zxid, .. } = ({
            writer.send(&set(&path, format!("{n}").as_bytes(), -1)).await;
            // Reads race with the write; whatever they see, the event of what they see is in front.
            for _ in 0..3 {
                watcher.send(&get(&path, false)).await;
            }
            writer.message(OpCode::SetData).await
        }) else {
            panic!()
        };
        let (mut seen_event, mut reads) = (false, 0);
        while !seen_event || reads < 3 {
            match watcher.message(OpCode::GetData).await {
                Message::Event { zxid: of, kind, path: changed } => {
                    assert_eq!((of, kind, &changed), (zxid, CHANGED, &path));
                    seen_event = true;
                }
                Message::Reply { result: Ok(Response::Data(read)), .. } => {
                    assert_eq!(read.stat.mzxid == zxid, seen_event, "{read:?}");
                    reads += 1;
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn every_watcher_learns_and_a_connection_that_left_does_not_matter() {
    let place = Place::new("many").await;
    let mut writer = place.client().await;
    let path = writer.create(&place.path("a"), CreateMode::Persistent).await;
    let mut watchers = Vec::new();
    for _ in 0..5 {
        let mut watcher = place.client().await;
        watcher.call(get(&path, true)).await.unwrap();
        watchers.push(watcher);
    }
    drop(watchers.pop());
    writer.call(set(&path, b"", -1)).await.unwrap();
    for watcher in &mut watchers {
        assert_eq!(watcher.event().await, (CHANGED, path.clone()));
    }
}

#[tokio::test]
async fn the_end_of_a_session_fires_for_each_of_its_ephemerals() {
    let place = Place::new("end").await;
    let (mut owner, mut watcher) = (place.client().await, place.client().await);
    let mut expected = Vec::new();
    for name in ["a", "b"] {
        let path = owner.create(&place.path(name), CreateMode::Ephemeral).await;
        watcher.call(exists(&path, true)).await.unwrap();
        expected.push((DELETED, path));
    }
    owner.close().await;
    let mut events = [watcher.event().await, watcher.event().await];
    events.sort();
    assert_eq!(events, expected.as_slice());
}

#[tokio::test]
async fn a_multi_fires_in_the_order_of_its_ops_and_a_failed_one_not_at_all() {
    let place = Place::new("fires").await;
    let mut client = place.client().await;
    let (a, b) = (place.path("a"), place.path("b"));
    client.call(add_watch(&place.root, AddWatchMode::PersistentRecursive)).await.unwrap();
    let op = |path: &str| WriteOp::Create(create_request(path, b"", CreateMode::Persistent));
    let failing = Request::Multi(vec![op(&a), op(&a)]);
    let passing =
        Request::Multi(vec![op(&b), op(&a), WriteOp::Delete(DeleteRequest { path: b.clone(), version: -1 })]);
    let expected = [vec![], vec![(CREATED, b.clone()), (CREATED, a), (DELETED, b)]];
    assert_eq!(heard(&mut client, vec![failing, passing]).await, expected);
}

#[tokio::test]
async fn a_persistent_watch_stays_and_learns_of_data_and_children_of_its_path() {
    let place = Place::new("persistent").await;
    let mut client = place.client().await;
    let path = place.path("a");
    assert_eq!(
        client.call(add_watch(&path, AddWatchMode::Persistent)).await,
        Ok(Response::Number(0)),
        "the path need not exist"
    );
    let child = format!("{path}/b");
    let requests = vec![
        create(&path, b"", CreateMode::Persistent),
        set(&path, b"", -1),
        set(&path, b"", -1),
        create(&child, b"", CreateMode::Persistent),
        set(&child, b"", -1),
        create(&format!("{child}/c"), b"", CreateMode::Persistent),
        delete(&format!("{child}/c"), -1),
        delete(&child, -1),
        delete(&path, -1),
    ];
    let event = |kind| vec![(kind, path.clone())];
    let expected = [
        event(CREATED),
        event(CHANGED),
        event(CHANGED),
        event(CHILDREN),
        vec![],
        vec![],
        vec![],
        event(CHILDREN),
        event(DELETED),
    ];
    assert_eq!(heard(&mut client, requests).await, expected);
}

#[tokio::test]
async fn a_recursive_watch_learns_of_every_znode_below_and_never_of_lists() {
    let place = Place::new("recursive").await;
    let mut client = place.client().await;
    let (a, b, sibling) = (place.path("a"), place.path("a/b"), place.path("ab"));
    client.call(add_watch(&a, AddWatchMode::PersistentRecursive)).await.unwrap();
    let requests = vec![
        create(&a, b"", CreateMode::Persistent),
        create(&b, b"", CreateMode::Persistent),
        set(&b, b"", -1),
        create(&sibling, b"", CreateMode::Persistent),
        set(&a, b"", -1),
        delete(&b, -1),
        delete(&a, -1),
    ];
    let expected = [
        vec![(CREATED, a.clone())],
        vec![(CREATED, b.clone())],
        vec![(CHANGED, b.clone())],
        vec![],
        vec![(CHANGED, a.clone())],
        vec![(DELETED, b)],
        vec![(DELETED, a)],
    ];
    assert_eq!(heard(&mut client, requests).await, expected);
}

#[tokio::test]
async fn kinds_of_watches_on_one_path_fire_together_as_one_event() {
    let place = Place::new("kinds").await;
    let mut client = place.client().await;
    let path = client.create(&place.path("a"), CreateMode::Persistent).await;
    client.call(get(&path, true)).await.unwrap();
    client.call(add_watch(&path, AddWatchMode::Persistent)).await.unwrap();
    client.call(add_watch(&path, AddWatchMode::PersistentRecursive)).await.unwrap();
    let requests = vec![set(&path, b"", -1), set(&path, b"", -1)];
    let event = vec![(CHANGED, path)];
    assert_eq!(heard(&mut client, requests).await, [event.clone(), event]);
}

#[tokio::test]
async fn a_watch_mode_that_does_not_exist_is_refused() {
    let place = Place::new("mode").await;
    let mut client = place.client().await;
    for mode in [2, -1] {
        let result = client.call(add_watch(&place.root, AddWatchMode(mode))).await;
        assert_eq!(result, Err(ErrorCode::MarshallingError), "{mode}");
    }
    let result = client.call(remove(&place.root, WatcherType(6))).await;
    assert_eq!(result, Err(ErrorCode::MarshallingError));
    let result = client.call(check(&place.root, WatcherType(0))).await;
    assert_eq!(result, Err(ErrorCode::MarshallingError));
}

#[tokio::test]
async fn watches_are_checked_and_removed_by_kind() {
    use WatcherType as Kind;
    let place = Place::new("remove").await;
    let mut client = place.client().await;
    let path = client.create(&place.path("a"), CreateMode::Persistent).await;
    let kinds = [Kind::Children, Kind::Data, Kind::Any, Kind::Persistent, Kind::PersistentRecursive];
    for kind in kinds {
        assert_eq!(client.call(check(&path, kind)).await, Err(ErrorCode::NoWatcher), "{kind}");
        assert_eq!(client.call(remove(&path, kind)).await, Err(ErrorCode::NoWatcher), "{kind}");
    }
    let mut others = place.client().await;
    others.call(get(&path, true)).await.unwrap();
    for (watch, own) in [
        (children(&path, true), Kind::Children),
        (get(&path, true), Kind::Data),
        (add_watch(&path, AddWatchMode::Persistent), Kind::Persistent),
        (add_watch(&path, AddWatchMode::PersistentRecursive), Kind::PersistentRecursive),
    ] {
        client.call(watch.clone()).await.unwrap();
        for kind in kinds {
            let there = kind == own || kind == Kind::Any;
            let expected = if there { Ok(Response::Empty) } else { Err(ErrorCode::NoWatcher) };
            assert_eq!(client.call(check(&path, kind)).await, expected, "{own} {kind}");
        }
        assert_eq!(client.call(remove(&path, own)).await, Ok(Response::Empty));
        assert_eq!(client.call(check(&path, Kind::Any)).await, Err(ErrorCode::NoWatcher));
        client.call(watch).await.unwrap();
        assert_eq!(client.call(remove(&path, Kind::Any)).await, Ok(Response::Empty));
        assert_eq!(client.call(check(&path, Kind::Any)).await, Err(ErrorCode::NoWatcher));
    }
    assert_eq!(heard(&mut client, vec![set(&path, b"", -1)]).await, [vec![]]);
    assert_eq!(others.event().await, (CHANGED, path));
}

/// Watches set again after a reconnect: what has changed since is told at once, in front of the reply.
#[tokio::test]
async fn set_watches_reports_what_was_missed_and_registers_the_rest() {
    let place = Place::new("missed").await;
    let mut client = place.client().await;
    let mut paths = Vec::new();
    for name in ["changed", "deleted", "same", "parent", "lonely"] {
        paths.push(client.create(&place.path(name), CreateMode::Persistent).await);
    }
    let [changed, deleted, same, parent, lonely] = paths.as_slice() else { unreachable!() };
    let seen = client.stat(lonely).await.czxid;
    client.call(set(changed, b"", -1)).await.unwrap();
    client.call(delete(deleted, -1)).await.unwrap();
    client.create(&place.path("parent/child"), CreateMode::Persistent).await;
    let (mut again, _) = client.resume(place.address).await;
    let (none, appeared) = (place.path("none"), same);
    let request = Request::SetWatches(SetWatches {
        relative_zxid: seen,
        data: vec![changed.clone(), deleted.clone(), same.clone()],
        exist: vec![none.clone(), appeared.clone()],
        child: vec![parent.clone(), deleted.clone(), lonely.clone()],
    });
    let (events, result) = again.call_hearing(request).await;
    assert_eq!(result, Ok(Response::Empty));
    let expected =
        [(CHANGED, changed), (DELETED, deleted), (CREATED, appeared), (CHILDREN, parent), (DELETED, deleted)];
    assert_eq!(events, expected.map(|(kind, path)| (kind, path.clone())));
    let requests = vec![
        set(changed, b"", -1),
        set(same, b"", -1),
        create(&none, b"", CreateMode::Persistent),
        create(&format!("{lonely}/x"), b"", CreateMode::Persistent),
        create(&format!("{parent}/x"), b"", CreateMode::Persistent),
    ];
    let expected = [
        vec![],
        vec![(CHANGED, same.clone())],
        vec![(CREATED, none)],
        vec![(CHILDREN, lonely.clone())],
        vec![],
    ];
    assert_eq!(heard(&mut again, requests).await, expected);
}

#[tokio::test]
async fn set_watches_2_brings_persistent_watches_back_without_what_they_missed() {
    let place = Place::new("again").await;
    let mut client = place.client().await;
    let (a, b) = (place.path("a"), place.path("b"));
    for path in [&a, &b] {
        client.create(path, CreateMode::Persistent).await;
    }
    let request = Request::SetWatches2(SetWatches2 {
        relative_zxid: Zxid::ZERO,
        data: vec![],
        exist: vec![],
        child: vec![],
        persistent: vec![a.clone()],
        persistent_recursive: vec![b.clone()],
    });
    assert_eq!(client.call(request).await, Ok(Response::Empty));
    let below = format!("{b}/x");
    let requests = vec![set(&a, b"", -1), set(&a, b"", -1), create(&below, b"", CreateMode::Persistent)];
    let expected = [vec![(CHANGED, a.clone())], vec![(CHANGED, a)], vec![(CREATED, below)]];
    assert_eq!(heard(&mut client, requests).await, expected);
}

#[tokio::test]
async fn synthesised_events_carry_no_transaction() {
    let place = Place::new("synthesised").await;
    let mut client = place.client().await;
    let request = Request::SetWatches(SetWatches {
        relative_zxid: Zxid::ZERO,
        data: vec![place.root.clone()],
        exist: vec![],
        child: vec![],
    });
    client.send(&request).await;
    let event = client.message(request.op()).await;
    assert_eq!(event, Message::Event { zxid: Zxid(-1), kind: CHANGED, path: place.root.clone() });
}

/// CVE-2024-23944.
#[tokio::test]
async fn who_may_not_read_learns_nothing() {
    let place = Place::new("hidden").await;
    let (mut writer, mut watcher) = (place.client().await, place.client().await);
    let path = writer.create(&place.path("a"), CreateMode::Persistent).await;
    watcher.call(get(&path, true)).await.unwrap();
    watcher.call(add_watch(&path, AddWatchMode::Persistent)).await.unwrap();
    let hide = |perms| {
        Request::SetAcl(SetAclRequest { path: path.clone(), acl: vec![Acl::world(perms)], version: -1 })
    };
    writer.call(hide(perms::ALL & !perms::READ)).await.unwrap();
    writer.call(set(&path, b"", -1)).await.unwrap();
    writer.call(hide(perms::ALL)).await.unwrap();
    assert_eq!(watcher.call_hearing(exists(&path, false)).await.0, []);
    writer.call(set(&path, b"", -1)).await.unwrap();
    assert_eq!(watcher.event().await, (CHANGED, path.clone()));
    assert_eq!(watcher.call(check(&path, WatcherType::Data)).await, Err(ErrorCode::NoWatcher), "used up");
}
