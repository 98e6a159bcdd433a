//! A client that says exactly what it is told, frame by frame.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use zk_wire::acl::Acl;
use zk_wire::codes::{CreateMode, ErrorCode, EventType, OpCode};
use zk_wire::connect::{ConnectRequest, ConnectRequestBody, ConnectResponse};
use zk_wire::ids::{SessionId, Zxid};
use zk_wire::jute::{Jute, Reader};
use zk_wire::reply::{ReplyHeader, Response, WatcherEvent};
use zk_wire::request::{
    AUTH_XID, CreateRequest, DeleteRequest, NOTIFICATION_XID, PING_XID, Request, SET_WATCHES_XID,
    SetDataRequest, WatchedRead,
};
use zk_wire::stat::Stat;

/// How long a server may take to say anything before a test gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// A socket, or what TLS makes of one.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// One connection.
pub(crate) struct Client {
    stream: Box<dyn Stream>,
    xid: i32,
    pub(crate) session: SessionId,
    pub(crate) password: Bytes,
    pub(crate) timeout_ms: i32,
}

/// What a server says after the first message.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Message {
    Event { zxid: Zxid, kind: EventType, path: String },
    Reply { xid: i32, zxid: Zxid, result: Result<Response, ErrorCode> },
}

impl Client {
    /// A connection that has said nothing.
    pub(crate) async fn dial(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Client::over(stream)
    }

    /// Likewise, over a stream of the test's own.
    pub(crate) fn over(stream: impl Stream + 'static) -> Client {
        let stream = Box::new(stream);
        Client { stream, xid: 0, session: SessionId::NONE, password: Bytes::new(), timeout_ms: 0 }
    }

    /// A connection with a new session.
    pub(crate) async fn with_session(address: SocketAddr, timeout_ms: i32) -> Client {
        let mut client = Client::dial(address).await;
        client.begin_session(timeout_ms).await;
        client
    }

    /// Gets a new session.
    pub(crate) async fn begin_session(&mut self, timeout_ms: i32) {
        let request = connect_request(timeout_ms, SessionId::NONE, Bytes::from_static(&[0; 16]));
        let response = self.connect(&request).await.expect("a session");
        self.adopt(response);
    }

    /// Attaches another connection to this one's session, as far as the server lets it.
    pub(crate) async fn resume(&self, address: SocketAddr) -> (Client, ConnectResponse) {
        let mut client = Client::dial(address).await;
        let request = connect_request(self.timeout_ms, self.session, self.password.clone());
        let response = client.connect(&request).await.expect("an answer");
        client.adopt(response.clone());
        (client, response)
    }

    fn adopt(&mut self, response: ConnectResponse) {
        self.session = response.body.session_id;
        self.password = response.body.password.unwrap();
        self.timeout_ms = response.body.timeout_ms;
    }

    /// Sends the first message; `None` if the server closes instead of answering.
    pub(crate) async fn connect(&mut self, request: &ConnectRequest) -> Option<ConnectResponse> {
        self.send_frame(&request.to_bytes()).await;
        let frame = self.frame().await?;
        let mut reader = Reader::new(&frame);
        let response = reader.read().unwrap();
        reader.finish().unwrap();
        Some(response)
    }

    /// Sends bytes as they are. That the server has closed already is for the reader to find out.
    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    /// Sends a payload behind its length.
    pub(crate) async fn send_frame(&mut self, payload: &[u8]) {
        let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes().to_vec();
        frame.extend_from_slice(payload);
        self.send_bytes(&frame).await;
    }

    /// Sends a request without waiting for anything; returns its xid.
    pub(crate) async fn send(&mut self, request: &Request) -> i32 {
        let xid = match request {
            Request::Ping => PING_XID,
            Request::Auth(_) => AUTH_XID,
            Request::SetWatches(_) | Request::SetWatches2(_) => SET_WATCHES_XID,
            _ => {
                self.xid += 1;
                self.xid
            }
        };
        let mut payload = Vec::new();
        request.encode(xid, &mut payload);
        self.send_frame(&payload).await;
        xid
    }

    /// The next payload; `None` when the server has closed.
    pub(crate) async fn frame(&mut self) -> Option<Bytes> {
        let reading = async {
            let length = self.stream.read_i32().await.ok()?;
            let mut payload = vec![0; usize::try_from(length).unwrap()];
            self.stream.read_exact(&mut payload).await.ok()?;
            Some(payload.into())
        };
        tokio::time::timeout(PATIENCE, reading).await.expect("the server says something or closes")
    }

    /// Everything up to the end of the connection, as it comes.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let reading = self.stream.read_to_end(&mut bytes);
        let _ = tokio::time::timeout(PATIENCE, reading).await.expect("the server closes");
        bytes
    }

    /// The next message, which must be there. `op` is that of the request whose reply is expected.
    pub(crate) async fn message(&mut self, op: OpCode) -> Message {
        let frame = self.frame().await.expect("a message, not the end");
        let mut reader = Reader::with_limit(&frame, frame.len());
        let header: ReplyHeader = reader.read().unwrap();
        let message = match header {
            ReplyHeader { xid: NOTIFICATION_XID, zxid, .. } => {
                let event: WatcherEvent = reader.read().unwrap();
                Message::Event { zxid, kind: event.kind, path: event.path }
            }
            ReplyHeader { xid, zxid, err: ErrorCode::Ok } => {
                Message::Reply { xid, zxid, result: Ok(Response::read(op, &mut reader).unwrap()) }
            }
            ReplyHeader { xid, zxid, err } => Message::Reply { xid, zxid, result: Err(err) },
        };
        reader.finish().expect("nothing behind the message");
        message
    }

    /// A request and its reply, which is the next message.
    pub(crate) async fn call(&mut self, request: Request) -> Result<Response, ErrorCode> {
        let (events, result) = self.call_hearing(request).await;
        assert_eq!(events, [], "events before the reply");
        result
    }

    /// A request, the events that come before its reply, and the reply.
    pub(crate) async fn call_hearing(
        &mut self,
        request: Request,
    ) -> (Vec<(EventType, String)>, Result<Response, ErrorCode>) {
        let sent = self.send(&request).await;
        let mut events = Vec::new();
        loop {
            match self.message(request.op()).await {
                Message::Event { kind, path, .. } => events.push((kind, path)),
                Message::Reply { xid, result, .. } => {
                    assert_eq!(xid, sent, "the reply is this request's");
                    return (events, result);
                }
            }
        }
    }

    /// The next message, which must be an event.
    pub(crate) async fn event(&mut self) -> (EventType, String) {
        match self.message(OpCode::Ping).await {
            Message::Event { kind, path, .. } => (kind, path),
            reply => panic!("not an event: {reply:?}"),
        }
    }

    /// The stat of a znode that must be there.
    pub(crate) async fn stat(&mut self, path: &str) -> Stat {
        match self.call(exists(path, false)).await {
            Ok(Response::Stat(found)) => found.stat,
            other => panic!("{path}: {other:?}"),
        }
    }

    /// Data of a znode that must be there.
    pub(crate) async fn data(&mut self, path: &str) -> Option<Bytes> {
        match self.call(get(path, false)).await {
            Ok(Response::Data(found)) => found.data,
            other => panic!("{path}: {other:?}"),
        }
    }

    /// Names of the children, sorted.
    pub(crate) async fn names(&mut self, path: &str) -> Vec<String> {
        match self.call(Request::GetChildren(watched(path, false))).await {
            Ok(Response::Strings(mut found)) => {
                found.strings.sort();
                found.strings
            }
            other => panic!("{path}: {other:?}"),
        }
    }

    /// Creates a znode that can be created; its path.
    pub(crate) async fn create(&mut self, path: &str, mode: CreateMode) -> String {
        match self.call(create(path, b"x", mode)).await {
            Ok(Response::Path(created)) => created.path,
            other => panic!("{path}: {other:?}"),
        }
    }

    /// The server must still be there for this connection.
    pub(crate) async fn is_served(&mut self) {
        assert_eq!(self.call(Request::Ping).await, Ok(Response::Empty));
    }

    /// The server must have closed without another word.
    pub(crate) async fn is_closed(&mut self) {
        assert_eq!(self.frame().await, None);
    }

    /// Ends the session.
    pub(crate) async fn close(mut self) {
        assert_eq!(self.call(Request::CloseSession).await, Ok(Response::Empty));
        self.is_closed().await;
    }
}

/// A first message of a client that would also take a read-only server's answer as such.
pub(crate) fn connect_request(timeout_ms: i32, session_id: SessionId, password: Bytes) -> ConnectRequest {
    let body = ConnectRequestBody {
        protocol_version: 0,
        last_zxid_seen: Zxid::ZERO,
        timeout_ms,
        session_id,
        password: Some(password),
    };
    ConnectRequest { body, read_only: Some(false) }
}

pub(crate) fn create_request(path: &str, data: &[u8], mode: CreateMode) -> CreateRequest {
    CreateRequest { path: path.to_owned(), data: Some(data.to_vec().into()), acl: Acl::open(), mode }
}

pub(crate) fn create(path: &str, data: &[u8], mode: CreateMode) -> Request {
    Request::Create(create_request(path, data, mode))
}

pub(crate) fn delete(path: &str, version: i32) -> Request {
    Request::Delete(DeleteRequest { path: path.to_owned(), version })
}

pub(crate) fn set(path: &str, data: &[u8], version: i32) -> Request {
    Request::SetData(SetDataRequest { path: path.to_owned(), data: Some(data.to_vec().into()), version })
}

pub(crate) fn watched(path: &str, watch: bool) -> WatchedRead {
    WatchedRead { path: path.to_owned(), watch }
}

pub(crate) fn exists(path: &str, watch: bool) -> Request {
    Request::Exists(watched(path, watch))
}

pub(crate) fn get(path: &str, watch: bool) -> Request {
    Request::GetData(watched(path, watch))
}

pub(crate) fn children(path: &str, watch: bool) -> Request {
    Request::GetChildren2(watched(path, watch))
}
