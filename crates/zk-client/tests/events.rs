//! Which events an owner gets, and what he learns of those that he does not get.
#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

mod fake;

use fake::{Fake, NEW, event};
use zk_client::{Event, Options, RequestError, WatchSet};
use zk_wire::codes::{ErrorCode, OpCode};
use zk_wire::ids::Zxid;
use zk_wire::reply::{Response, StringsResponse};
use zk_wire::request::{Request, SET_WATCHES_XID, SetWatches2};

#[tokio::test]
async fn an_owner_learns_that_events_are_missing_even_if_no_other_follows() {
    let options = Options { events: 2, ..Options::default() };
    let (mut server, session, mut events) = Fake::attached(NEW, options).await;
    for path in ["/a", "/b", "/c", "/d"] {
        server.event(path).await;
    }
    server.settle(&session).await;
    assert_eq!(events.recv().await, Some(Event::Watch(event("/a"))));
    assert_eq!(events.recv().await, Some(Event::Watch(event("/b"))));
    assert_eq!(events.recv().await, Some(Event::Overflow));
    server.event("/e").await;
    assert_eq!(events.recv().await, Some(Event::Watch(event("/e"))));
}

#[tokio::test]
async fn an_owner_who_does_not_listen_costs_nothing() {
    let options = Options { events: 1, ..Options::default() };
    let (mut server, session, events) = Fake::attached(NEW, options).await;
    server.event("/a").await;
    server.event("/b").await;
    server.settle(&session).await;
    drop(events);
    server.event("/c").await;
    server.settle(&session).await;
}

#[tokio::test]
async fn events_outside_the_chroot_are_not_the_owners() {
    let options = Options { chroot: "/a/b".to_owned(), ..Options::default() };
    let (mut server, _session, mut events) = Fake::attached(NEW, options).await;
    for path in ["/a/bc", "/a", "/a/b", "/a/bc/d", "/a/b/c"] {
        server.event(path).await;
    }
    assert_eq!(events.recv().await, Some(Event::Watch(event("/"))));
    assert_eq!(events.recv().await, Some(Event::Watch(event("/c"))));
}

#[tokio::test]
async fn ephemerals_beside_the_prefix_are_not_below_it() {
    let options = Options { chroot: "/a".to_owned(), ..Options::default() };
    let (mut server, session, _events) = Fake::attached(NEW, options).await;
    let paths = ["/a/b", "/ab/c", "/a/b/c", "/a/bc", "/a"].map(str::to_owned).to_vec();
    for (prefix, expected) in [("/", &["/b", "/b/c", "/bc", "/"][..]), ("/b", &["/b", "/b/c"])] {
        let answer = Response::Strings(StringsResponse { strings: paths.clone() });
        let (asked, _) = tokio::join!(
            session.ephemerals(prefix),
            server.answer(OpCode::GetEphemerals, ErrorCode::Ok, &answer)
        );
        assert_eq!(asked.unwrap(), expected);
    }
}

#[tokio::test]
async fn watches_are_restored_in_chunks_with_the_servers_paths_and_from_now_on() {
    let options = Options { chroot: "/a".to_owned(), max_frame: 1_000, ..Options::default() };
    let (mut server, session, _events) = Fake::attached(NEW, options).await;
    let paths = |prefix: &str| (0..20).map(|n| format!("{prefix}/{n:0100}")).collect::<Vec<_>>();
    let watches = WatchSet { persistent_recursive: paths(""), ..WatchSet::default() };
    let answering = async {
        // A new session knows no zxid, and asks for it.
        let (xid, asked) = server.asked().await;
        assert_eq!(asked.op(), OpCode::Exists);
        server.reply(xid, 0x2a, ErrorCode::NoNode, &[]).await;
        let mut restored = Vec::new();
        while restored.len() < 20 {
            let (xid, request) = server.asked().await;
            let Request::SetWatches2(SetWatches2 { relative_zxid, persistent_recursive, .. }) = request
            else {
                panic!("{request:?}")
            };
            assert_eq!((xid, relative_zxid), (SET_WATCHES_XID, Zxid(0x2a)));
            assert!(persistent_recursive.len() < 10, "a chunk fits into a frame");
            restored.extend(persistent_recursive);
            server.reply(xid, 0x2a, ErrorCode::Ok, &[]).await;
        }
        restored
    };
    let (restored, sent) = tokio::join!(session.restore_watches(&watches), answering);
    restored.unwrap();
    assert_eq!(sent, paths("/a"));
}

#[tokio::test]
async fn watches_that_are_not_restored_are_told() {
    let (mut server, session, _events) = Fake::attached(NEW, Options::default()).await;
    server.settle(&session).await;
    let watches = WatchSet { persistent: vec!["/a".to_owned()], ..WatchSet::default() };
    let (restored, _) = tokio::join!(
        session.restore_watches(&watches),
        server.answer(OpCode::SetWatches2, ErrorCode::MarshallingError, &Response::Empty)
    );
    assert_eq!(restored, Err(RequestError::Refused(ErrorCode::MarshallingError)));
    server.settle(&session).await;
    let watches = WatchSet { persistent: vec!["a".to_owned()], ..WatchSet::default() };
    assert!(matches!(session.restore_watches(&watches).await, Err(RequestError::Path { .. })));
}
