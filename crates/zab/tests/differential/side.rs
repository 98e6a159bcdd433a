//! One of the two servers, with the clients of a round.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use zk_wire::codes::{ErrorCode, OpCode};
use zk_wire::connect::{ConnectRequest, ConnectRequestBody, ConnectResponse};
use zk_wire::ids::{SessionId, Zxid};
use zk_wire::jute::{Jute, Reader};
use zk_wire::reply::{ReplyHeader, WatcherEvent};
use zk_wire::request::{AUTH_XID, NOTIFICATION_XID, PING_XID, Request, RequestHeader, SET_WATCHES_XID};

use crate::shape::{Shape, ShapeOf};
use crate::steps::{Action, Ask, CLIENTS, Greeting, Step};

/// How long a server may take before it counts as silent.
const PATIENCE: Duration = Duration::from_secs(20);
const TIMEOUT_MS: i32 = 60_000;

/// A server and its clients.
pub(crate) struct Side {
    address: SocketAddr,
    clients: Vec<Client>,
    step: usize,
}

#[derive(Default)]
struct Client {
    session: SessionId,
    password: Bytes,
    connection: Option<Connection>,
    /// The newest zxid that it has seen, at each step that it took.
    seen: Vec<(usize, Zxid)>,
}

struct Connection {
    stream: TcpStream,
    xid: i32,
}

/// What one client saw in a step, in order.
pub(crate) type Seen = Vec<(String, Vec<Shape>)>;

impl Side {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Side { address, clients: (0..CLIENTS).map(|_| Client::default()).collect(), step: 0 }
    }

    /// Takes a step, and waits until every client has seen what it does.
    pub(crate) async fn take(&mut self, step: &Step) -> Seen {
        self.step += 1;
        let mut seen = Seen::new();
        let mut mine = Vec::new();
        match &step.action {
            Action::Ask(asks) => {
                self.connected(step.client, &mut mine).await;
                self.ask(step.client, asks, &mut mine).await;
            }
            Action::Drop => self.clients[step.client].connection = None,
            Action::Resume => {
                let old = self.clients[step.client].connection.take();
                self.connected(step.client, &mut mine).await;
                if let Some(mut old) = old {
                    seen.push(("the old connection".to_owned(), rest(&mut old).await));
                }
            }
            Action::ResumeWrongly => self.resume_wrongly(step.client, &mut mine).await,
            Action::Close { before, behind } => {
                self.connected(step.client, &mut mine).await;
                let end = [Ask::Request(Request::CloseSession)];
                let asks: Vec<Ask> = before.iter().chain(&end).chain(behind).cloned().collect();
                self.ask(step.client, &asks, &mut mine).await;
                self.clients[step.client] = Client::default();
            }
            Action::Greet(greeting) => self.greet(greeting, &mut mine).await,
        }
        seen.push((format!("client {}", step.client), mine));
        self.barrier(&mut seen).await;
        seen
    }

    /// Ends all sessions.
    pub(crate) async fn end(&mut self) {
        for client in 0..CLIENTS {
            if self.clients[client].session != SessionId::NONE {
                let action = Action::Close { before: Vec::new(), behind: Vec::new() };
                self.take(&Step { client, action }).await;
            }
        }
    }

    /// A connection for the client: with the session that it has, or with a new one.
    async fn connected(&mut self, index: usize, mine: &mut Vec<Shape>) {
        if self.clients[index].connection.is_some() {
            return;
        }
        let last_zxid_seen = self.clients[index].last_zxid();
        let client = &self.clients[index];
        let (session, password) = match client.session {
            SessionId::NONE => (SessionId::NONE, Bytes::from_static(&[0; 16])),
            session => (session, client.password.clone()),
        };
        let answer = self.dial(session, password, last_zxid_seen, mine).await;
        let client = &mut self.clients[index];
        match answer {
            Some((stream, response)) if response.body.timeout_ms > 0 => {
                client.session = response.body.session_id;
                client.password = response.body.password.unwrap_or_default();
                client.connection = Some(Connection { stream, xid: 0 });
            }
            _ => *client = Client::default(),
        }
    }

    async fn resume_wrongly(&mut self, index: usize, mine: &mut Vec<Shape>) {
        let client = &self.clients[index];
        // Apache cuts the holder off whoever asks; ours asks for the password first.
        if client.connection.is_some() || client.session == SessionId::NONE {
            return;
        }
        let session = client.session;
        if let Some((stream, _)) = self.dial(session, vec![7; 16].into(), Zxid::ZERO, mine).await {
            mine.extend(rest(&mut Connection { stream, xid: 0 }).await);
        }
    }

    async fn greet(&self, greeting: &Greeting, mine: &mut Vec<Shape>) {
        let request = ConnectRequest { body: greeting.body.clone(), read_only: greeting.read_only };
        let mut payload = request.to_bytes();
        payload.truncate(greeting.bytes.unwrap_or(usize::MAX));
        let length = greeting.length.unwrap_or_else(|| i32::try_from(payload.len()).unwrap());
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let _ = stream.write_all(&[&length.to_be_bytes(), payload.as_slice()].concat()).await;
        let Some(frame) = receive(&mut stream).await else {
            return mine.push(Shape::text("closed"));
        };
        let mut reader = Reader::new(&frame);
        let response: ConnectResponse = reader.read().unwrap();
        reader.finish().unwrap();
        mine.push(Shape::connected(&response));
        let end = RequestHeader { xid: 1, op: OpCode::CloseSession }.to_bytes();
        send(&mut stream, &end).await;
        while let Some(frame) = receive(&mut stream).await {
            mine.push(shape_of(&frame, OpCode::CloseSession).1);
        }
        mine.push(Shape::text("closed"));
    }

    async fn dial(
        &self,
        session_id: SessionId,
        password: Bytes,
        last_zxid_seen: Zxid,
        mine: &mut Vec<Shape>,
    ) -> Option<(TcpStream, ConnectResponse)> {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let body = ConnectRequestBody {
            protocol_version: 0,
            last_zxid_seen,
            timeout_ms: TIMEOUT_MS,
            session_id,
            password: Some(password),
        };
        let request = ConnectRequest { body, read_only: Some(false) };
        send(&mut stream, &request.to_bytes()).await;
        let Some(frame) = receive(&mut stream).await else {
            mine.push(Shape::text("closed instead of an answer to the first message"));
            return None;
        };
        let mut reader = Reader::new(&frame);
        let response: ConnectResponse = reader.read().unwrap();
        reader.finish().unwrap();
        mine.push(Shape::connected(&response));
        Some((stream, response))
    }

    async fn ask(&mut self, index: usize, asks: &[Ask], mine: &mut Vec<Shape>) {
        let (now, client) = (self.step, &mut self.clients[index]);
        let Some(mut connection) = client.connection.take() else {
            return;
        };
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        for ask in asks {
            let (op, xid, payload) = connection.payload(ask, |steps_ago| client.zxid_at(now, steps_ago));
            bytes.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes());
            bytes.extend(payload);
            expected.push((op, xid));
        }
        // That the server has closed already is for the reader to find out.
        let _ = connection.stream.write_all(&bytes).await;
        let ended = connection.read_until(&expected, mine, client).await;
        client.seen.push((now, client.last_zxid()));
        if !ended {
            client.connection = Some(connection);
        }
    }

    /// Every event of this step is in front of the answer to a ping that is sent behind it.
    async fn barrier(&mut self, seen: &mut Seen) {
        for (index, client) in self.clients.iter_mut().enumerate() {
            let Some(mut connection) = client.connection.take() else { continue };
            let mut theirs = Vec::new();
            let ping = RequestHeader { xid: PING_XID, op: OpCode::Ping }.to_bytes();
            send(&mut connection.stream, &ping).await;
            if !connection.read_until(&[(OpCode::Ping, PING_XID)], &mut theirs, client).await {
                client.connection = Some(connection);
            }
            seen.push((format!("client {index}, behind it"), theirs));
        }
    }
}

impl Client {
    fn last_zxid(&self) -> Zxid {
        self.seen.last().map_or(Zxid::ZERO, |&(_, zxid)| zxid)
    }

    fn zxid_at(&self, now: usize, steps_ago: usize) -> Zxid {
        let at = now.saturating_sub(steps_ago);
        self.seen.iter().rev().find(|&&(step, _)| step <= at).map_or(Zxid::ZERO, |&(_, zxid)| zxid)
    }

    fn saw(&mut self, zxid: Zxid) {
        let newest = self.last_zxid().max(zxid);
        match self.seen.last_mut() {
            Some(last) => last.1 = newest,
            None => self.seen.push((0, newest)),
        }
    }
}

impl Connection {
    fn payload(&mut self, ask: &Ask, zxid_at: impl Fn(usize) -> Zxid) -> (OpCode, i32, Vec<u8>) {
        let mut payload = Vec::new();
        let (op, xid) = match ask {
            Ask::Request(request) => {
                let xid = if matches!(request, Request::Auth(_)) { AUTH_XID } else { self.next_xid() };
                request.encode(xid, &mut payload);
                (request.op(), xid)
            }
            Ask::SetWatches { steps_ago, request } => {
                let mut request = request.clone();
                match &mut request {
                    Request::SetWatches(r) => r.relative_zxid = zxid_at(*steps_ago),
                    Request::SetWatches2(r) => r.relative_zxid = zxid_at(*steps_ago),
                    other => panic!("{other:?}"),
                }
                request.encode(SET_WATCHES_XID, &mut payload);
                (request.op(), SET_WATCHES_XID)
            }
            Ask::Raw { op, body } => {
                let xid = self.next_xid();
                RequestHeader { xid, op: *op }.write(&mut payload);
                payload.extend(body);
                (*op, xid)
            }
        };
        (op, xid, payload)
    }

    fn next_xid(&mut self) -> i32 {
        self.xid += 1;
        self.xid
    }

    /// Reads until all `expected` replies are there, or the connection is not any more. True: it has ended.
    async fn read_until(
        &mut self,
        expected: &[(OpCode, i32)],
        mine: &mut Vec<Shape>,
        client: &mut Client,
    ) -> bool {
        let mut expected = expected.iter();
        while let Some(&(op, xid)) = expected.as_slice().first() {
            let Some(frame) = receive(&mut self.stream).await else {
                mine.push(Shape::text("closed"));
                return true;
            };
            let (header, shape) = shape_of(&frame, op);
            if header.zxid > Zxid::ZERO {
                client.saw(header.zxid);
            }
            mine.push(shape);
            if header.xid != NOTIFICATION_XID {
                expected.next();
            }
            // These end a connection, at once or behind the reply.
            let ends = op == OpCode::CloseSession || op == OpCode::Auth || header.zxid == Zxid(-1);
            if header.xid == xid && ends && (op == OpCode::CloseSession || header.err != ErrorCode::Ok) {
                if op == OpCode::CloseSession {
                    // Whether Apache still answers what came behind it depends on timing.
                    while receive(&mut self.stream).await.is_some() {}
                    mine.push(Shape::text("closed"));
                } else {
                    mine.extend(rest(self).await);
                }
                return true;
            }
        }
        false
    }
}

fn shape_of(frame: &[u8], op: OpCode) -> (ReplyHeader, Shape) {
    let mut reader = Reader::with_limit(frame, frame.len());
    let header: ReplyHeader = reader.read().unwrap();
    if header.xid == NOTIFICATION_XID {
        let event: WatcherEvent = reader.read().unwrap();
        reader.finish().expect("nothing behind an event");
        return (header, Shape::event(&header, &event));
    }
    let shape = Shape::reply(&header, op, &mut reader);
    // A multiRead that Apache gives up takes along what it had so far, which no client looks at.
    let excused = op == OpCode::MultiRead && header.err != ErrorCode::Ok;
    assert!(excused || reader.remaining() == 0, "bytes behind the reply {shape:?}");
    (header, shape)
}

async fn send(stream: &mut TcpStream, payload: &[u8]) {
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes().to_vec();
    frame.extend_from_slice(payload);
    let _ = stream.write_all(&frame).await;
}

async fn receive(stream: &mut TcpStream) -> Option<Bytes> {
    let reading = async {
        let length = stream.read_i32().await.ok()?;
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        stream.read_exact(&mut payload).await.ok()?;
        Some(payload.into())
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("a server says something or closes within 20 s")
}

/// What comes before the end of a connection that must end.
async fn rest(connection: &mut Connection) -> Vec<Shape> {
    let mut shapes = Vec::new();
    while let Some(frame) = receive(&mut connection.stream).await {
        shapes.push(shape_of(&frame, OpCode::Ping).1);
    }
    shapes.push(Shape::text("closed"));
    shapes
}
