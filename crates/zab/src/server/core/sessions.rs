//! Sessions: how they begin, who may have them, where they move, and how they end
//! (`ZooKeeperServer.createSession`, `reopenSession`, `UpgradeableSessionTracker`).
//!
//! With `session.reattach=identity` a connection that resumes a session gets it only when it has proven every
//! identity that the session's connections had proven before; until then it may only prove identities, and the
//! session stays where it is. The identities are data of an ephemeral of the session, `/zookeeper/session-owners/ID`,
//! which nobody may read: so they are on every member, outlive a restart, and go with the session.

use zk_wire::acl::{Acl, Id};
use zk_wire::codes::{CreateMode, ErrorCode, OpCode};
use zk_wire::connect::{ConnectRequest, ConnectResponse, ConnectResponseBody};
use zk_wire::ids::{SessionId, Zxid};
use zk_wire::jute::{Jute, Reader};
use zk_wire::multi::{MultiResult, WriteOp};
use zk_wire::reply::{ReplyHeader, Response};
use zk_wire::request::{CreateRequest, Request, RequestHeader, SetDataRequest};

use super::{Core, Now, Output, asked, framed, millis};
use crate::access::Identities;
use crate::config::Reattach;
use crate::server::connection::{Connection, Stage, Waiting};
use crate::session::Sessions;
use crate::session_password::Passwords;
use crate::tree::watches::ConnectionId;
use crate::tree::{Tree, child_path};

/// Where the identities of sessions are.
pub(in crate::server) const OWNERS: &str = "/zookeeper/session-owners";

impl Core {
    /// Sessions have these passwords instead of those that follow from their ids.
    #[must_use]
    pub fn with_passwords(mut self, passwords: Passwords) -> Self {
        self.passwords = passwords;
        self
    }

    pub(super) fn begin_session(
        &mut self,
        now: Now,
        id: ConnectionId,
        read_only: Option<bool>,
        timeout_ms: i32,
    ) {
        let session = self.sessions.new_id();
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        connection.session = Some(session);
        connection.timeout_ms = timeout_ms;
        if self.config.sessions.local {
            connection.stage = Stage::Established;
            self.sessions.track_local(now.uptime, session, millis(timeout_ms), id);
            self.send_session(id, session, timeout_ms, read_only);
            return self.identified(now, id);
        }
        connection.stage = Stage::Connecting { read_only, timeout_ms };
        self.propose_session(now, session, timeout_ms, Some(id));
    }

    fn propose_session(
        &mut self,
        now: Now,
        session: SessionId,
        timeout_ms: i32,
        origin: Option<ConnectionId>,
    ) {
        let who = Identities::internal();
        let asked = asked(now, &self.engine, session, 0, &who);
        let txn = self.prep.create_session(asked, timeout_ms);
        self.propose(now, txn, origin);
    }

    pub(super) fn resume(&mut self, now: Now, id: ConnectionId, request: &ConnectRequest, timeout_ms: i32) {
        let session = request.body.session_id;
        let is_right = self.passwords.is_right(session, request.body.password.as_deref());
        if !is_right || !self.sessions.is_live(session) {
            let expired = ConnectResponse::expired(request.read_only.map(|_| false));
            self.send_connect_response(id, &expired);
            return self.close(id);
        }
        self.stats.revalidated += 1;
        if self.has_proven(id, session) {
            self.attach(now, id, session, timeout_ms);
        } else if let Some(connection) = self.connections.get_mut(&id) {
            connection.stage = Stage::Unproven { session, timeout_ms };
        }
        self.send_session(id, session, timeout_ms, request.read_only);
    }

    /// The connection has the session from now on; the one that had it is closed.
    fn attach(&mut self, now: Now, id: ConnectionId, session: SessionId, timeout_ms: i32) {
        let Some(previous) = self.sessions.resume(now.uptime, session, millis(timeout_ms), id) else {
            return self.close(id);
        };
        if let Some(previous) = previous.filter(|&previous| previous != id) {
            tracing::info!(%session, "the session moves to another connection");
            self.drop_connection(previous);
        }
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.session = Some(session);
            connection.timeout_ms = timeout_ms;
            connection.stage = Stage::Established;
        }
    }

    /// A message of a connection that has not proven yet that the session which it wants is its own.
    pub(super) fn prove(&mut self, now: Now, id: ConnectionId, frame: &[u8]) {
        let mut reader = Reader::with_limit(frame, self.config.max_buffer);
        let Ok(header) = reader.read::<RequestHeader>() else {
            return self.close(id);
        };
        match Request::decode(header.op, &mut reader) {
            Ok(Request::Auth(packet)) => self.authenticate(id, header.xid, &packet),
            Ok(Request::Sasl(token)) => self.sasl(id, header.xid, &token),
            _ => {
                tracing::warn!(
                    connection = id.0,
                    "closing a connection that resumed a session without the identities of its creator \
                     (session.reattach)"
                );
                self.stats.auth_failed += 1;
                let header = ReplyHeader { xid: header.xid, zxid: Zxid::ZERO, err: ErrorCode::AuthFailed };
                self.reply(id, header, &Response::Empty);
                return self.close(id);
            }
        }
        self.identified(now, id);
    }

    /// The connection may have proven an identity.
    pub(super) fn identified(&mut self, now: Now, id: ConnectionId) {
        if self.config.sessions.reattach != Reattach::Identity {
            return;
        }
        let Some(connection) = self.connections.get(&id) else {
            return;
        };
        match (connection.stage, connection.session) {
            (Stage::Unproven { session, timeout_ms }, _) if self.has_proven(id, session) => {
                self.attach(now, id, session, timeout_ms);
            }
            (Stage::Established, Some(session)) => {
                let proven = connection.who.all().iter().filter(|id| id.scheme != "ip");
                if self.sessions.require(session, proven) && !self.sessions.is_local(session) {
                    self.keep_identities(now, session);
                }
            }
            _ => {}
        }
    }

    fn has_proven(&self, id: ConnectionId, session: SessionId) -> bool {
        if self.config.sessions.reattach != Reattach::Identity {
            return true;
        }
        let proven = self.connections.get(&id).map_or(&[][..], |connection| connection.who.all());
        self.sessions.required(session).iter().all(|id| proven.contains(id))
    }

    /// Writes down who may resume the session.
    fn keep_identities(&mut self, now: Now, session: SessionId) {
        let lines = self.sessions.required(session).iter().map(|id| format!("{}:{}\n", id.scheme, id.id));
        let data = Some(lines.collect::<String>().into());
        let path = child_path(OWNERS, &session.to_string());
        let create = |path: &str, data, mode| {
            let acl = vec![Acl::world(0)];
            Request::Create(CreateRequest { path: path.to_owned(), data, acl, mode })
        };
        let mut requests = Vec::new();
        if !self.prep.has(&self.tree, OWNERS) {
            requests.push(create(OWNERS, None, CreateMode::Persistent));
        }
        requests.push(match self.prep.has(&self.tree, &path) {
            true => Request::SetData(SetDataRequest { path, data, version: -1 }),
            false => create(&path, data, CreateMode::Ephemeral),
        });
        let who = Identities::internal();
        for request in requests {
            let asked = asked(now, &self.engine, session, 0, &who);
            let txn = self.prep.write(&self.tree, asked, &request);
            self.propose(now, txn, None);
        }
    }

    /// May the session own what the request creates? A local one becomes one like all others for it, if it may.
    pub(super) fn may_own(&mut self, now: Now, session: SessionId, request: &Request) -> bool {
        if !self.sessions.is_local(session) || !creates_ephemerals(request) {
            return true;
        }
        if !self.config.sessions.upgrading {
            return false;
        }
        if let Some(timeout) = self.sessions.make_global(session) {
            let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
            self.propose_session(now, session, timeout_ms, None);
        }
        if !self.sessions.required(session).is_empty() {
            self.keep_identities(now, session);
        }
        true
    }

    pub(super) fn session_begun(
        &mut self,
        now: Now,
        session: SessionId,
        timeout_ms: i32,
        origin: Option<ConnectionId>,
    ) {
        self.sessions.track(now.uptime, session, millis(timeout_ms), origin);
        let Some(id) = origin else { return };
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let Stage::Connecting { read_only, timeout_ms } = connection.stage else {
            return;
        };
        connection.stage = Stage::Established;
        self.count_answered(id, None, None, true, now.uptime);
        self.send_session(id, session, timeout_ms, read_only);
        self.identified(now, id);
        for frame in self.early.remove(&id).unwrap_or_default() {
            self.request(now, id, &frame);
        }
    }

    pub(super) fn session_ended(
        &mut self,
        session: SessionId,
        origin: Option<ConnectionId>,
        results: Vec<MultiResult>,
    ) {
        let attached = self.sessions.end(session);
        if let Some(id) = origin
            && let Some((Waiting::Write { xid, op, .. }, since)) =
                self.connections.get_mut(&id).and_then(Connection::take_next)
        {
            drop(results);
            self.count_answered(id, Some(op), Some(xid), true, since);
            let header = self.header(xid, ErrorCode::Ok);
            self.reply(id, header, &Response::Empty);
        }
        for id in attached.into_iter().chain(origin) {
            self.close(id);
        }
    }

    /// A session that no transaction tells of ends without one.
    pub(super) fn end_local_session(&mut self, id: ConnectionId, xid: i32) {
        let header = self.header(xid, ErrorCode::Ok);
        self.reply(id, header, &Response::Empty);
        if let Some(session) = self.connections.get(&id).and_then(|connection| connection.session) {
            self.sessions.end(session);
        }
        self.close(id);
    }

    /// A request behind the end of its session. What came before it is answered, if it was the client that has
    /// ended it.
    pub(super) fn too_late(&mut self, id: ConnectionId) {
        let is_end = |w: &Waiting| matches!(w, Waiting::Write { op: OpCode::CloseSession, .. });
        let is_answered = self.connections.get(&id).is_some_and(|connection| connection.waits_for(is_end));
        if !is_answered {
            self.close(id);
        }
    }

    /// The session's time is up.
    pub(super) fn expire(&mut self, now: Now, session: SessionId) {
        self.stats.expired += 1;
        tracing::info!(%session, "the session has expired");
        if !self.sessions.is_local(session) {
            return self.close_session(now, session, 0, None);
        }
        if let Some(id) = self.sessions.end(session) {
            self.close(id);
        }
    }

    fn send_session(
        &mut self,
        id: ConnectionId,
        session_id: SessionId,
        timeout_ms: i32,
        read_only: Option<bool>,
    ) {
        let password = Some(self.passwords.of(session_id).to_vec().into());
        let body = ConnectResponseBody { protocol_version: 0, timeout_ms, session_id, password };
        self.send_connect_response(id, &ConnectResponse { body, read_only: read_only.map(|_| false) });
    }

    fn send_connect_response(&mut self, id: ConnectionId, response: &ConnectResponse) {
        self.count_sent(id);
        self.outputs.push(Output::Reply(id, framed(|out| response.write(out))));
    }
}

/// What a tree says of who may resume which session.
pub(super) fn remember_identities(tree: &Tree, sessions: &mut Sessions) {
    for owner in tree.get(OWNERS).into_iter().flat_map(|node| tree.children(node)) {
        let name = zk_wire::path::name(owner.path());
        let id = name.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok());
        if let (Some(id), Some(data)) = (id, owner.data()) {
            let text = String::from_utf8_lossy(data);
            let ids: Vec<Id> = text.lines().filter_map(identity).collect();
            sessions.require(SessionId(id.cast_signed()), ids.iter());
        }
    }
}

fn identity(line: &str) -> Option<Id> {
    let (scheme, id) = line.split_once(':')?;
    Some(Id { scheme: scheme.to_owned(), id: id.to_owned() })
}

fn creates_ephemerals(request: &Request) -> bool {
    let is_one = |op: &WriteOp| match op {
        WriteOp::Create(r) | WriteOp::Create2(r) => r.mode.is_ephemeral(),
        _ => false,
    };
    match request {
        Request::Create(r) | Request::Create2(r) => r.mode.is_ephemeral(),
        Request::Multi(ops) => ops.iter().any(is_one),
        _ => false,
    }
}
