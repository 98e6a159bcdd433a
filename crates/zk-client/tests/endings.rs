//! How a connection ends, and what its requests are told.
#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

mod fake;

use std::time::Duration;

use fake::{Fake, ID, NEW, TIMEOUT, attach_to, read_frame, welcome};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use zk_client::{
    AttachError, Auth, Credentials, Lost, Opening, Options, Password, Permit, RequestError, WatchSet, attach,
};
use zk_wire::acl::Acl;
use zk_wire::codes::{CreateMode, ErrorCode, OpCode};
use zk_wire::ids::{SessionId, Zxid};
use zk_wire::multi::{MultiResult, MultiResults, WriteOp};
use zk_wire::reply::Response;
use zk_wire::request::{CheckVersionRequest, PING_XID, Request};

fn credentials() -> Credentials {
    Credentials { id: ID, password: Password::new(vec![1; 16]), timeout: TIMEOUT, last_zxid: Zxid(0x2a) }
}

fn resume() -> Opening {
    Opening::Resume(credentials(), WatchSet::default())
}

/// Codes with which a server says that a connection is over, and what that means for the request.
fn endings() -> [(ErrorCode, RequestError, Lost); 4] {
    let told = Lost::EndedBy;
    [
        (ErrorCode::SessionMoved, RequestError::NotSent(Lost::Moved), Lost::Moved),
        (
            ErrorCode::SessionExpired,
            RequestError::NotSent(told(ErrorCode::SessionExpired)),
            told(ErrorCode::SessionExpired),
        ),
        (
            ErrorCode::ConnectionLoss,
            RequestError::Unknown(told(ErrorCode::ConnectionLoss)),
            told(ErrorCode::ConnectionLoss),
        ),
        (
            ErrorCode::OperationTimeout,
            RequestError::Unknown(told(ErrorCode::OperationTimeout)),
            told(ErrorCode::OperationTimeout),
        ),
    ]
}

#[tokio::test]
async fn codes_about_the_session_end_the_connection_and_not_only_the_request() {
    for (code, outcome, lost) in endings() {
        let (mut server, session, _events) = Fake::attached(NEW, Options::default()).await;
        let asking = session.create("/a", "", Acl::open(), CreateMode::Ephemeral);
        let (asked, _) = tokio::join!(asking, server.answer(OpCode::Create2, code, &Response::Empty));
        assert_eq!(asked.unwrap_err(), outcome);
        assert_eq!(session.lost().await, lost);
        assert_eq!(session.exists("/a").await, Err(RequestError::NotSent(lost)));
    }
}

#[tokio::test]
async fn codes_about_the_session_end_the_connection_inside_a_multi_too() {
    for (code, outcome, lost) in endings() {
        let (mut server, session, _events) = Fake::attached(NEW, Options::default()).await;
        let op = WriteOp::Check(CheckVersionRequest { path: "/a".to_owned(), version: -1 });
        let results = [code, ErrorCode::RuntimeInconsistency].map(MultiResult::Error).to_vec();
        let answer = Response::Multi(MultiResults(results));
        let asking = session.multi(vec![op.clone(), op]);
        let (asked, _) = tokio::join!(asking, server.answer(OpCode::Multi, ErrorCode::Ok, &answer));
        assert_eq!(asked.unwrap_err(), outcome);
        assert_eq!(session.lost().await, lost);
    }
}

#[tokio::test]
async fn codes_about_the_session_end_the_connection_in_answer_to_a_ping_too() {
    for (code, _, lost) in endings() {
        let (mut server, session, _events) = Fake::attached(NEW, Options::default()).await;
        server.reply(PING_XID, 1, code, &[]).await;
        assert_eq!(session.lost().await, lost);
    }
}

#[tokio::test]
async fn a_connection_that_closes_without_an_answer_is_told_apart_and_names_what_the_session_has_seen() {
    for (opening, seen) in [(NEW, 0), (resume(), 0x2a)] {
        let (client, server) = tokio::io::duplex(1 << 16);
        drop(server);
        let error = attach(client, Permit::grant(), opening.clone(), Options::default()).await.unwrap_err();
        let expected = Lost::Unanswered { last_zxid: Zxid(seen) };
        assert!(matches!(&error, AttachError::Lost(lost) if *lost == expected), "{error:?}");

        let (client, mut server) = tokio::io::duplex(1 << 16);
        let attaching = attach(client, Permit::grant(), opening, Options::default());
        let closing = async move {
            read_frame(&mut server).await;
        };
        let (attached, ()) = tokio::join!(attaching, closing);
        assert!(matches!(attached.unwrap_err(), AttachError::Lost(lost) if lost == expected));
    }
}

#[tokio::test]
async fn a_socket_that_is_reset_before_the_answer_is_unanswered_too() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    let attaching = tokio::spawn(attach(client, Permit::grant(), resume(), Options::default()));
    // Apache closes like this when there are too many connections from an address.
    server.readable().await.unwrap();
    server.set_zero_linger().unwrap();
    drop(server);
    let error = attaching.await.unwrap().unwrap_err();
    let expected = Lost::Unanswered { last_zxid: Zxid(0x2a) };
    assert!(matches!(&error, AttachError::Lost(lost) if *lost == expected), "{error:?}");
}

#[tokio::test]
async fn only_a_session_that_was_asked_for_expires() {
    let expired = attach_to(&welcome(0, SessionId::NONE), resume()).await.unwrap_err();
    assert!(matches!(expired, AttachError::Expired(ID)), "{expired:?}");

    let none = Credentials { id: SessionId::NONE, ..credentials() };
    let resume_none = Opening::Resume(none, WatchSet::default());
    let never = attach_to(&welcome(30_000, SessionId(8)), resume_none).await.unwrap_err();
    assert!(matches!(never, AttachError::Expired(SessionId::NONE)), "{never:?}");

    let refused = attach_to(&welcome(0, SessionId::NONE), NEW).await.unwrap_err();
    let expected = Lost::EndedBy(ErrorCode::SessionExpired);
    assert!(matches!(&refused, AttachError::Lost(lost) if *lost == expected), "{refused:?}");

    for (opening, session) in [(resume(), SessionId(8)), (resume(), SessionId::NONE), (NEW, SessionId::NONE)]
    {
        let other = attach_to(&welcome(30_000, session), opening).await.unwrap_err();
        assert!(matches!(other, AttachError::Lost(Lost::Protocol(_))), "{session}: {other:?}");
    }
}

#[tokio::test]
async fn a_session_that_is_dropped_while_a_request_holds_up_the_others_is_let_go_of_and_not_closed() {
    let options = Options { in_flight: 1, ..Options::default() };
    let (mut server, session, mut events) = Fake::attached(NEW, options).await;
    tokio::select! {
        asked = session.exists("/a") => panic!("{asked:?}"),
        (_, request) = server.asked() => assert_eq!(request.op(), OpCode::Exists),
    }
    drop(session);
    assert_eq!(events.recv().await, None);
    let mut rest = Vec::new();
    server.0.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, []);
}

#[tokio::test(start_paused = true)]
async fn a_closed_session_ends_its_connection_even_if_the_server_goes_on() {
    let (mut server, session, mut events) = Fake::attached(NEW, Options::default()).await;
    let serving = tokio::spawn(async move {
        loop {
            let (xid, _) = server.heard().await;
            server.reply(xid, 1, ErrorCode::Ok, &[]).await;
        }
    });
    session.close().await.unwrap();
    assert_eq!(tokio::time::timeout(TIMEOUT * 10, events.recv()).await, Ok(None));
    // It ends as soon as it finds the client gone.
    serving.await.unwrap_err();
}

#[tokio::test]
async fn what_belongs_to_the_connection_cannot_be_asked_for() {
    let (mut server, session, _events) = Fake::attached(NEW, Options::default()).await;
    for request in [Request::Ping, Request::CloseSession] {
        let op = request.op();
        assert_eq!(session.request(request).await, Err(RequestError::Reserved(op)));
    }
    server.settle(&session).await;
}

#[tokio::test]
async fn an_identity_that_does_not_suffice_is_refused_as_such() {
    let (client, stream) = tokio::io::duplex(1 << 16);
    let mut server = Fake(stream);
    server.0.write_all(&welcome(30_000, ID)).await.unwrap();
    let auth = vec![Auth { scheme: "digest".to_owned(), secret: "bridge:secret".into() }];
    let options = Options { auth, ..Options::default() };
    let answering = async {
        read_frame(&mut server.0).await;
        let (xid, auth) = server.asked().await;
        assert_eq!(auth.op(), OpCode::Auth);
        server.reply(xid, 0, ErrorCode::Ok, &[]).await;
        server.answer(OpCode::Exists, ErrorCode::SessionClosedRequireSaslAuth, &Response::Empty).await
    };
    let (attached, _) = tokio::join!(attach(client, Permit::grant(), NEW, options), answering);
    let error = attached.unwrap_err();
    assert!(matches!(&error, AttachError::AuthFailed { scheme } if scheme == "digest"), "{error:?}");
}

/// What the driver finds after a pause depends on which of the things that are ready it looks at first,
/// and that is random: so many sessions at once.
const PAUSED: usize = 64;

#[tokio::test(start_paused = true)]
async fn an_answer_that_came_during_a_pause_of_this_process_counts() {
    let mut paused = Vec::new();
    for _ in 0..PAUSED {
        paused.push(Fake::attached(NEW, Options::default()).await);
    }
    tokio::time::sleep(TIMEOUT / 3).await;
    for (server, ..) in &mut paused {
        assert_eq!(server.heard().await.1, Request::Ping);
    }
    // Now all deadlines are over; the answers are there before a driver runs.
    tokio::time::advance(TIMEOUT).await;
    for (server, ..) in &mut paused {
        server.reply(PING_XID, 1, ErrorCode::Ok, &[]).await;
    }
    for (mut server, session, _events) in paused {
        server.settle(&session).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_nobody_asked_during_a_pause_of_this_process_is_not_silent() {
    let mut paused = Vec::new();
    for _ in 0..PAUSED {
        paused.push(Fake::attached(NEW, Options::default()).await);
    }
    tokio::time::advance(TIMEOUT).await;
    for (mut server, session, _events) in paused {
        assert_eq!(server.heard().await.1, Request::Ping);
        server.reply(PING_XID, 1, ErrorCode::Ok, &[]).await;
        server.settle(&session).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stops_answering_is_silent_even_if_others_keep_asking() {
    let (_server, session, _events) = Fake::attached(NEW, Options::default()).await;
    let began = tokio::time::Instant::now();
    let asking = async {
        loop {
            let _ = tokio::time::timeout(Duration::from_secs(1), session.exists("/a")).await;
        }
    };
    tokio::select! {
        () = asking => {}
        lost = session.lost() => assert_eq!(lost, Lost::Silent),
    }
    assert_eq!(began.elapsed().as_secs(), 20);
}
