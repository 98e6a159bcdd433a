//! A server that breaks the protocol costs the connection, and nothing else.
#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

mod fake;

use std::time::Duration;

use fake::{Fake, ID, NEW, framed, read_frame, welcome};
use tokio::io::AsyncWriteExt;
use zk_client::{AttachError, Lost, Opening, Options, Permit, RequestError, WatchSet, attach};
use zk_wire::codes::{AddWatchMode, CreateMode, ErrorCode, OpCode};
use zk_wire::jute::Jute;
use zk_wire::multi::{MultiResult, MultiResults, WriteOp};
use zk_wire::reply::{PathResponse, Response, StatResponse};
use zk_wire::request::{
    CheckVersionRequest, CreateRequest, DeleteRequest, PING_XID, Request, SET_WATCHES_XID, SetDataRequest,
};
use zk_wire::stat::Stat;

#[tokio::test]
async fn answers_that_are_none_lose_the_connection_before_the_session_is_there() {
    for bytes in [
        vec![0xff; 4],
        vec![0x7f, 0xff, 0xff, 0xff],
        framed(&[]),
        framed(&[0; 11]),
        b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
    ] {
        let (client, mut server) = tokio::io::duplex(1 << 16);
        server.write_all(&bytes).await.unwrap();
        let error = attach(client, Permit::grant(), NEW, Options::default()).await.unwrap_err();
        assert!(matches!(error, AttachError::Lost(Lost::Protocol(_))), "{bytes:?}: {error:?}");
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_at_first_is_silent() {
    let (client, _server) = tokio::io::duplex(1 << 16);
    let options = Options { handshake: Duration::from_millis(10), ..Options::default() };
    let error = attach(client, Permit::grant(), NEW, options).await.unwrap_err();
    assert!(matches!(error, AttachError::Lost(Lost::Silent)), "{error:?}");
}

#[tokio::test]
async fn a_request_under_way_learns_that_its_outcome_is_unknown() {
    let wrong_xid = [0, 0, 0, 99, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];
    let truncated_body = [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 2];
    for answer in [framed(&wrong_xid), framed(&truncated_body), framed(&[1, 2]), vec![0xff; 4]] {
        let (mut server, session, _events) = Fake::attached(NEW, Options::default()).await;
        let asking = session.exists("/a");
        let answering = async {
            read_frame(&mut server.0).await;
            server.0.write_all(&answer).await.unwrap();
        };
        let (outcome, ()) = tokio::join!(asking, answering);
        assert!(matches!(outcome, Err(RequestError::Unknown(Lost::Protocol(_)))), "{answer:?}: {outcome:?}");
        assert!(matches!(session.exists("/a").await, Err(RequestError::NotSent(Lost::Protocol(_)))));
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_falls_silent_is_given_up_before_the_session_could_expire() {
    let (mut server, session, _events) = Fake::attached(NEW, Options::default()).await;
    let began = tokio::time::Instant::now();
    assert_eq!(session.lost().await, Lost::Silent);
    assert_eq!(began.elapsed().as_secs(), 20);
    // It was asked before it was given up.
    assert_eq!(server.heard().await.1.op(), OpCode::Ping);
}

#[tokio::test]
async fn answers_in_another_order_are_no_answers() {
    let (mut server, session, _events) = Fake::attached(NEW, Options::default()).await;
    let answering = async {
        server.asked().await;
        let (second, _) = server.asked().await;
        server.reply(second, 1, ErrorCode::NoNode, &[]).await;
    };
    let (first, second, ()) = tokio::join!(session.exists("/a"), session.exists("/b"), answering);
    for asked in [first, second] {
        assert!(matches!(asked, Err(RequestError::Unknown(Lost::Protocol(_)))), "{asked:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_ping_waits_until_a_long_request_is_sent() {
    let (client, stream) = tokio::io::duplex(1 << 10);
    let mut server = Fake(stream);
    server.0.write_all(&welcome(30_000, ID)).await.unwrap();
    let (session, _events) = attach(client, Permit::grant(), NEW, Options::default()).await.unwrap();
    read_frame(&mut server.0).await;
    let data = vec![7; 500_000];
    let answering = async {
        // Long enough for a ping to be due, with part of the request under way.
        tokio::time::sleep(Duration::from_secs(12)).await;
        let (xid, request) = server.heard().await;
        let Request::SetData(set) = request else { panic!("{request:?}") };
        assert_eq!(set.data.as_deref(), Some(&data[..]));
        assert_eq!(server.heard().await, (PING_XID, Request::Ping));
        server.reply(xid, 1, ErrorCode::NoNode, &[]).await;
    };
    let (asked, ()) = tokio::join!(session.set("/a", data.clone(), -1), answering);
    assert_eq!(asked, Err(RequestError::Refused(ErrorCode::NoNode)));
}

#[tokio::test]
async fn frames_may_come_byte_by_byte() {
    let (mut server, session, mut events) = Fake::attached(NEW, Options::default()).await;
    let answering = async {
        let (xid, _) = server.asked().await;
        let mut body = Vec::new();
        fake::event("/a").encode(zk_wire::ids::Zxid(1), &mut body);
        let mut bytes = framed(&body);
        let mut reply = Vec::new();
        zk_wire::reply::ReplyHeader { xid, zxid: zk_wire::ids::Zxid(1), err: ErrorCode::NoNode }
            .write(&mut reply);
        bytes.extend(framed(&reply));
        for byte in bytes {
            server.0.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let (asked, ()) = tokio::join!(session.exists("/a"), answering);
    assert_eq!(asked, Ok(None));
    assert_eq!(events.recv().await, Some(zk_client::Event::Watch(fake::event("/a"))));
}

fn every_kind_of_op() -> Vec<WriteOp> {
    let path = "/a".to_owned();
    let create =
        CreateRequest { path: path.clone(), data: None, acl: Vec::new(), mode: CreateMode::Persistent };
    vec![
        WriteOp::Create(create.clone()),
        WriteOp::Create2(create),
        WriteOp::SetData(SetDataRequest { path: path.clone(), data: None, version: -1 }),
        WriteOp::Check(CheckVersionRequest { path: path.clone(), version: -1 }),
        WriteOp::Delete(DeleteRequest { path, version: -1 }),
    ]
}

fn every_kind_of_result() -> Vec<MultiResult> {
    vec![
        MultiResult::Create("/a".to_owned()),
        MultiResult::Create2("/a".to_owned(), Stat::default()),
        MultiResult::SetData(Stat::default()),
        MultiResult::Check,
        MultiResult::Delete,
    ]
}

/// What a multi of every kind of op makes of an answer.
async fn multi(err: ErrorCode, results: Vec<MultiResult>) -> (Result<Vec<MultiResult>, RequestError>, bool) {
    let (mut server, session, _events) = Fake::attached(NEW, Options::default()).await;
    let answer = Response::Multi(MultiResults(results));
    let (asked, _) =
        tokio::join!(session.multi(every_kind_of_op()), server.answer(OpCode::Multi, err, &answer));
    let is_over = matches!(tokio::time::timeout(Duration::ZERO, session.lost()).await, Ok(Lost::Protocol(_)));
    (asked, is_over)
}

#[tokio::test(start_paused = true)]
async fn a_multi_is_answered_op_by_op_or_not_at_all() {
    assert_eq!(multi(ErrorCode::Ok, every_kind_of_result()).await, (Ok(every_kind_of_result()), false));

    let failed = |code| MultiResult::Error(code);
    let refused = |count: usize| {
        let mut results = vec![failed(ErrorCode::RuntimeInconsistency); count];
        results[0] = failed(ErrorCode::NodeExists);
        results
    };
    let (asked, is_over) = multi(ErrorCode::Ok, refused(5)).await;
    assert!(matches!(&asked, Err(RequestError::Multi(failure)) if failure.index == 0), "{asked:?}");
    assert!(!is_over);

    let kinds = every_kind_of_result();
    let mut swapped = kinds.clone();
    swapped.swap(3, 4);
    for results in [
        Vec::new(),
        kinds[..4].to_vec(),
        [kinds.clone(), vec![MultiResult::Delete]].concat(),
        refused(1),
        refused(6),
        swapped,
    ] {
        let (asked, is_over) = multi(ErrorCode::Ok, results.clone()).await;
        assert!(matches!(asked, Err(RequestError::Unknown(Lost::Protocol(_)))), "{results:?}: {asked:?}");
        assert!(is_over, "{results:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_multi_that_the_header_refuses_has_not_succeeded() {
    let (asked, is_over) = multi(ErrorCode::NoAuth, every_kind_of_result()).await;
    assert_eq!((asked, is_over), (Err(RequestError::Refused(ErrorCode::NoAuth)), false));
}

#[tokio::test]
async fn an_answer_of_another_kind_is_no_answer() {
    for (op, response) in [
        (OpCode::Create2, Response::Path(PathResponse { path: "/a".to_owned() })),
        (OpCode::Create2, Response::Stat(StatResponse { stat: Stat::default() })),
        (OpCode::Create2, Response::Empty),
        (OpCode::Create2, Response::Number(i32::MAX)),
    ] {
        let (mut server, session, _events) = Fake::attached(NEW, Options::default()).await;
        let asking = session.create("/a", "", Vec::new(), CreateMode::Persistent);
        let (asked, _) = tokio::join!(asking, server.answer(op, ErrorCode::Ok, &response));
        assert!(matches!(asked, Err(RequestError::Unknown(Lost::Protocol(_)))), "{response:?}: {asked:?}");
    }
}

#[tokio::test]
async fn watches_that_a_resume_could_not_register_cost_the_connection() {
    let (_, first, _) = Fake::attached(NEW, Options::default()).await;
    let watches = WatchSet { persistent: vec!["/a".to_owned()], ..WatchSet::default() };
    let resume = Opening::Resume(first.credentials(), watches);
    for (code, lost) in [
        (ErrorCode::MarshallingError, Lost::EndedBy(ErrorCode::MarshallingError)),
        (ErrorCode::SessionMoved, Lost::Moved),
    ] {
        let (mut server, session, _events) = Fake::attached(resume.clone(), Options::default()).await;
        let (xid, request) = server.asked().await;
        assert_eq!((xid, request.op()), (SET_WATCHES_XID, OpCode::SetWatches2));
        server.reply(xid, 1, code, &[]).await;
        assert_eq!(session.lost().await, lost);
    }
}

#[tokio::test]
async fn a_kind_of_watch_that_the_server_does_not_know_is_removed_with_all_others() {
    let (mut server, session, _events) = Fake::attached(NEW, Options::default()).await;
    let answering = async {
        let none = Response::Empty;
        let first = server.answer(OpCode::RemoveWatches, ErrorCode::MarshallingError, &none).await;
        (first, server.answer(OpCode::RemoveWatches, ErrorCode::Ok, &none).await)
    };
    let (removed, asked) =
        tokio::join!(session.remove_watch("/a", AddWatchMode::PersistentRecursive), answering);
    assert_eq!(removed, Ok(()));
    let remove = |kind| {
        let request = zk_wire::request::WatchesRequest { path: "/a".to_owned(), kind };
        Request::RemoveWatches(request)
    };
    use zk_wire::codes::WatcherType;
    assert_eq!(asked, (remove(WatcherType::PersistentRecursive), remove(WatcherType::Any)));
}

#[tokio::test]
async fn no_debug_shows_a_secret() {
    let secret = "ss-bridge-ss";
    let (_server, session, _events) = Fake::attached(NEW, Options::default()).await;
    let auth = zk_client::Auth { scheme: "digest".to_owned(), secret: secret.into() };
    let password = zk_client::Password::new(secret.as_bytes().to_vec());
    let credentials = zk_client::Credentials { password, ..session.credentials() };
    let options = Options { auth: vec![auth.clone()], ..Options::default() };
    let opening = Opening::Resume(credentials.clone(), WatchSet::default());
    let shown = format!("{session:?} {auth:?} {credentials:?} {options:?} {opening:?}");
    let bytes = |bytes: &[u8]| format!("{bytes:?}").trim_matches(['[', ']']).to_owned();
    for hidden in [secret.to_owned(), bytes(secret.as_bytes()), bytes(&[1; 16])] {
        assert!(!shown.contains(&hidden), "{hidden} in {shown}");
    }
}
