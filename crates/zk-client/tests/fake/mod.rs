//! A server that does what a test tells it to.
#![allow(dead_code)] // Each test binary uses its part.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use zk_client::{AttachError, Events, Opening, Options, Permit, Session, attach};
use zk_wire::codes::{ErrorCode, EventType, KeeperState, OpCode};
use zk_wire::connect::{ConnectResponse, ConnectResponseBody};
use zk_wire::ids::{SessionId, Zxid};
use zk_wire::jute::{Jute, Reader};
use zk_wire::reply::{ReplyHeader, Response, WatcherEvent};
use zk_wire::request::{PING_XID, Request, RequestHeader};

/// The timeout that a fake server grants.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);
pub(crate) const NEW: Opening = Opening::New { timeout: TIMEOUT };
pub(crate) const ID: SessionId = SessionId(7);

pub(crate) fn framed(body: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
    frame.extend_from_slice(body);
    frame
}

/// The answer to the first message.
pub(crate) fn welcome(timeout_ms: i32, session_id: SessionId) -> Vec<u8> {
    let password = Some(vec![1; 16].into());
    let body = ConnectResponseBody { protocol_version: 0, timeout_ms, session_id, password };
    framed(&ConnectResponse { body, read_only: Some(false) }.to_bytes())
}

pub(crate) async fn read_frame(server: &mut DuplexStream) -> Vec<u8> {
    let length = server.read_u32().await.unwrap();
    let mut frame = vec![0; length as usize];
    server.read_exact(&mut frame).await.unwrap();
    frame
}

/// Attaches to a server whose first answer is this.
pub(crate) async fn attach_to(answer: &[u8], opening: Opening) -> Result<(Session, Events), AttachError> {
    let (client, mut server) = tokio::io::duplex(1 << 16);
    server.write_all(answer).await.unwrap();
    attach(client, Permit::grant(), opening, Options::default()).await
}

/// The server's end of an attached session.
pub(crate) struct Fake(pub(crate) DuplexStream);

impl Fake {
    /// A session that is attached to a fake server.
    pub(crate) async fn attached(opening: Opening, options: Options) -> (Fake, Session, Events) {
        let (client, mut server) = tokio::io::duplex(1 << 20);
        server.write_all(&welcome(30_000, ID)).await.unwrap();
        let (session, events) = attach(client, Permit::grant(), opening, options).await.unwrap();
        read_frame(&mut server).await;
        (Fake(server), session, events)
    }

    /// The next request that is no ping.
    pub(crate) async fn asked(&mut self) -> (i32, Request) {
        loop {
            match self.heard().await {
                (PING_XID, _) => {}
                asked => return asked,
            }
        }
    }

    /// The next request.
    pub(crate) async fn heard(&mut self) -> (i32, Request) {
        let frame = read_frame(&mut self.0).await;
        let mut reader = Reader::new(&frame);
        let header: RequestHeader = reader.read().unwrap();
        (header.xid, Request::decode(header.op, &mut reader).unwrap())
    }

    pub(crate) async fn reply(&mut self, xid: i32, zxid: i64, err: ErrorCode, body: &[u8]) {
        let mut reply = ReplyHeader { xid, zxid: Zxid(zxid), err }.to_bytes();
        reply.extend_from_slice(body);
        self.0.write_all(&framed(&reply)).await.unwrap();
    }

    /// Takes one request of this kind and answers it.
    pub(crate) async fn answer(&mut self, op: OpCode, err: ErrorCode, response: &Response) -> Request {
        let (xid, request) = self.asked().await;
        assert_eq!(request.op(), op);
        let mut body = Vec::new();
        response.write(&mut body);
        self.reply(xid, 1, err, &body).await;
        request
    }

    pub(crate) async fn event(&mut self, path: &str) {
        let event = event(path);
        let mut body = Vec::new();
        event.encode(Zxid(1), &mut body);
        self.0.write_all(&framed(&body)).await.unwrap();
    }

    /// Takes a getEphemerals and answers none: whatever was sent before has then been dealt with.
    pub(crate) async fn settle(&mut self, session: &Session) {
        let none = Response::Strings(zk_wire::reply::StringsResponse { strings: Vec::new() });
        let (asked, _) =
            tokio::join!(session.ephemerals("/"), self.answer(OpCode::GetEphemerals, ErrorCode::Ok, &none));
        assert_eq!(asked, Ok(Vec::new()));
    }
}

pub(crate) fn event(path: &str) -> WatcherEvent {
    let kind = EventType::NodeDataChanged;
    WatcherEvent { kind, state: KeeperState::SyncConnected, path: path.to_owned() }
}
