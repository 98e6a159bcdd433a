//! A server that breaks the protocol costs the connection, and nothing else.
#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use zk_client::{AttachError, Lost, Opening, Options, Permit, RequestError, attach};
use zk_wire::connect::{ConnectResponse, ConnectResponseBody};
use zk_wire::ids::SessionId;
use zk_wire::jute::Jute;

const NEW: Opening = Opening::New { timeout: Duration::from_secs(30) };

fn framed(body: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
    frame.extend_from_slice(body);
    frame
}

fn welcome() -> Vec<u8> {
    let body = ConnectResponseBody {
        protocol_version: 0,
        timeout_ms: 30_000,
        session_id: SessionId(7),
        password: Some(vec![1; 16].into()),
    };
    framed(&ConnectResponse { body, read_only: Some(false) }.to_bytes())
}

async fn read_frame(server: &mut DuplexStream) -> Vec<u8> {
    let length = server.read_u32().await.unwrap();
    let mut frame = vec![0; length as usize];
    server.read_exact(&mut frame).await.unwrap();
    frame
}

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
async fn a_server_that_closes_or_says_nothing_is_told_apart() {
    let (client, server) = tokio::io::duplex(1 << 16);
    drop(server);
    let error = attach(client, Permit::grant(), NEW, Options::default()).await.unwrap_err();
    assert!(matches!(error, AttachError::Lost(Lost::Closed | Lost::Io(_))), "{error:?}");

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
        let (client, mut server) = tokio::io::duplex(1 << 16);
        server.write_all(&welcome()).await.unwrap();
        let (session, _events) = attach(client, Permit::grant(), NEW, Options::default()).await.unwrap();
        read_frame(&mut server).await;
        let asking = session.exists("/a");
        let answering = async {
            read_frame(&mut server).await;
            server.write_all(&answer).await.unwrap();
        };
        let (outcome, ()) = tokio::join!(asking, answering);
        assert!(matches!(outcome, Err(RequestError::Unknown(Lost::Protocol(_)))), "{answer:?}: {outcome:?}");
        assert!(matches!(session.exists("/a").await, Err(RequestError::NotSent(Lost::Protocol(_)))));
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_falls_silent_is_given_up_before_the_session_could_expire() {
    let (client, mut server) = tokio::io::duplex(1 << 16);
    server.write_all(&welcome()).await.unwrap();
    let (session, _events) = attach(client, Permit::grant(), NEW, Options::default()).await.unwrap();
    let began = tokio::time::Instant::now();
    assert_eq!(session.lost().await, Lost::Silent);
    assert_eq!(began.elapsed().as_secs(), 20);
    // A new session says hello, and pings before it gives up.
    for expected in [29, 8] {
        assert!(read_frame(&mut server).await.len() >= expected);
    }
}
