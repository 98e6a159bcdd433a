//! The server between its sockets and its disk, as a pure state machine: messages of clients and completions
//! of the log in, messages to clients and entries for the log out. Time comes in with each input.
//!
//! ```text
//!   frame ─▶ prep ─▶ engine ─Persist▶ (log) ─logged▶ engine ─Deliver▶ tree ─▶ events, then replies
//!   read  ──────────────────────────────────────────────────────────▶ tree
//! ```
//!
//! Guarantees: replies of a connection come in the order of its requests; a reply to a write comes behind
//! the log's completion; the events of a transaction are sent before any reply that shows its effect.

mod authentication;
pub(in crate::server) mod sessions;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use zk_wire::codes::{ErrorCode, KeeperState, OpCode};
use zk_wire::connect::ConnectRequest;
use zk_wire::ids::{SessionId, Zxid};
use zk_wire::jute::{Jute, Reader, extended_limit};
use zk_wire::multi::{MultiResult, MultiResults, WriteOp};
use zk_wire::reply::{Create2Response, PathResponse, ReplyHeader, Response, StatResponse, WatcherEvent};
use zk_wire::request::{DeleteRequest, PING_XID, PathRequest, Request, RequestError, RequestHeader};
use zk_wire::txn::{LoggedTxn, Txn};

use super::audit::{self, Audit};
use super::connection::{Connection, Peer, Stage, Waiting};
use super::digests::DigestLog;
use super::namespaces::Namespaces;
use super::reads::{Read, SYNTHESISED};
use super::reaper::Reaper;
use super::snapshot::{SnapshotHead, SnapshotPart};
use super::stats::{Distribution, LastAnswer, Stats, millis as millis_of};
use super::throttle::{ConnectionThrottle, Wanted};
use crate::access::Identities;
use crate::config::ServerConfig;
use crate::prep::{Asked, Prep, Rules};
use crate::quorum::{Command, Engine, Sid};
use crate::session::Sessions;
use crate::session_password::Passwords;
use crate::tree::walk::Walk;
use crate::tree::watches::{ConnectionId, Watches};
use crate::tree::{Event, Tree};

/// The two clocks of a server at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Since the server started; never goes back.
    pub uptime: Duration,
    /// Milliseconds since 1970; stamped on transactions.
    pub wall_ms: i64,
}

/// What happens to a server.
#[derive(Debug)]
pub enum Input {
    /// A client has connected.
    Opened(ConnectionId, Peer),
    /// Its peer has proven to hold the key of a trusted certificate with this subject (RFC 2253).
    Certified(ConnectionId, String),
    /// A whole message of a client, without its length.
    Frame(ConnectionId, Bytes),
    /// A connection is gone.
    Closed(ConnectionId),
    /// A four-letter word instead of a first message; whoever read it answers it.
    Word(ConnectionId),
    /// The log is durable up to this transaction.
    Logged(Zxid),
    /// Time has passed.
    Tick,
}

/// What the shell must do, in this order.
#[derive(Debug)]
pub enum Output {
    /// Send an answer, with its length.
    Reply(ConnectionId, Bytes),
    /// Send something that the client has not asked for, with its length.
    Notify(ConnectionId, Bytes),
    /// Close a connection when everything sent so far is out.
    Close(ConnectionId),
    /// Append to the log, and report [`Input::Logged`].
    Persist(Arc<LoggedTxn>),
    /// Begin a snapshot; its znodes are had from [`Core::snapshot_part`].
    Snapshot(SnapshotHead),
}

/// The state of a server.
#[derive(Debug)]
pub struct Core {
    pub(super) config: ServerConfig,
    pub(super) tree: Tree,
    prep: Prep,
    pub(super) engine: Engine,
    pub(super) sessions: Sessions,
    passwords: Passwords,
    pub(super) watches: Watches,
    pub(super) connections: HashMap<ConnectionId, Connection>,
    /// Which connection waits for which transaction, in their order.
    origins: VecDeque<(Zxid, ConnectionId)>,
    /// Connections whose next answer is a sync.
    syncing: VecDeque<ConnectionId>,
    /// Messages that came before their session was committed.
    early: HashMap<ConnectionId, VecDeque<Bytes>>,
    pub(super) stats: Stats,
    pub(super) digests: DigestLog,
    pub(super) read_latency: Distribution,
    pub(super) update_latency: Distribution,
    pub(super) namespaces: Namespaces,
    /// When the input at hand came.
    pub(super) now: Now,
    outputs: Vec<Output>,
    commands: Vec<Command>,
    snapshot_at: Zxid,
    /// Present while a snapshot is under way.
    snapshot: Option<Walk>,
    reaper: Reaper,
    /// SASL challenges so far.
    nonces: u64,
    throttle: ConnectionThrottle,
    /// Writes to be audited when they have been applied.
    audits: BTreeMap<Zxid, Audit>,
}

/// A session with more bytes of ephemeral paths than this is closed in steps: one transaction that lists them
/// all could exceed `jute.maxbuffer` and take an ensemble down (ZOOKEEPER-4306).
const CLOSE_AT_ONCE_BYTES: usize = 512 * 1024;
/// 2^64 by the golden ratio: neighbours are far apart.
const SPREAD: i64 = 0x9e37_79b9_7f4a_7c15_u64 as i64;
const CLOSE_STEP_BYTES: usize = 256 * 1024;

impl Core {
    /// A server on a recovered tree. Sessions get their full timeout; ephemerals of unknown sessions go.
    #[must_use]
    pub fn new(config: ServerConfig, tree: Tree, now: Now) -> Self {
        let me = Sid(config.server_id);
        let engine = Engine::new(me, BTreeSet::from([me]), tree.last_zxid());
        let mut sessions = Sessions::new(config.tick_time, config.server_id, now.wall_ms);
        for (&id, &timeout_ms) in tree.sessions() {
            sessions.track(now.uptime, id, millis(timeout_ms), None);
        }
        sessions::remember_identities(&tree, &mut sessions);
        let limits = &config.limits;
        let seed = config
            .security
            .nonce_key
            .0
            .iter()
            .fold(0, |seed: u64, &byte| seed.rotate_left(8) ^ u64::from(byte));
        let throttle = ConnectionThrottle::new(limits.throttle.clone(), now.uptime, seed);
        let watches = Watches::limited(limits.watches, limits.watches_per_connection);
        let reaper = Reaper::new(config.reaper, now.uptime);
        let mut core = Core {
            prep: Prep::new(&tree, rules(&config)),
            snapshot_at: Zxid::ZERO,
            snapshot: None,
            config,
            tree,
            engine,
            sessions,
            passwords: Passwords::default(),
            watches,
            connections: HashMap::new(),
            origins: VecDeque::new(),
            syncing: VecDeque::new(),
            early: HashMap::new(),
            stats: Stats::default(),
            digests: DigestLog::default(),
            read_latency: Distribution::default(),
            update_latency: Distribution::default(),
            namespaces: Namespaces::default(),
            now,
            outputs: Vec::new(),
            commands: Vec::new(),
            reaper,
            nonces: 0,
            throttle,
            audits: BTreeMap::new(),
        };
        core.schedule_snapshot();
        for owner in core.tree.owners() {
            if !core.tree.sessions().contains_key(&owner) {
                core.close_session(now, owner, 0, None);
            }
        }
        core
    }

    /// Takes one input. What must be done about it is collected until [`Core::outputs`].
    pub fn handle(&mut self, now: Now, input: Input) {
        self.now = now;
        match input {
            Input::Opened(id, peer) => {
                let ip = peer.address.ip().to_canonical();
                let who = Identities::of_address(ip, Arc::clone(&self.config.security.rules));
                self.connections.insert(id, Connection::new(who, peer, now.wall_ms));
            }
            Input::Certified(id, subject) => self.certified(id, &subject),
            Input::Frame(id, frame) => self.frame(now, id, frame),
            Input::Closed(id) => self.closed(id),
            Input::Word(id) => {
                self.count_received(id, 4);
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.stage = Stage::Word;
                }
            }
            Input::Logged(zxid) => {
                self.engine.logged(zxid, &mut self.commands);
                self.carry_out(now);
            }
            Input::Tick => self.tick(now),
        }
    }

    /// What must be done, in order; empty afterwards.
    pub fn outputs(&mut self) -> std::vec::Drain<'_, Output> {
        self.outputs.drain(..)
    }

    /// When [`Input::Tick`] is needed next.
    #[must_use]
    pub fn next_tick(&self) -> Duration {
        self.sessions.next_expiry().unwrap_or(self.reaper.next()).min(self.reaper.next())
    }

    /// The tree, for a snapshot at start and for tests.
    #[must_use]
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    fn frame(&mut self, now: Now, id: ConnectionId, frame: Bytes) {
        self.count_received(id, 4 + frame.len());
        let Some(connection) = self.connections.get(&id) else {
            return;
        };
        match connection.stage {
            Stage::New => self.connect(now, id, &frame),
            Stage::Word => {}
            Stage::Connecting { .. } => self.early.entry(id).or_default().push_back(frame),
            Stage::Unproven { .. } => self.prove(now, id, &frame),
            Stage::Established => self.request(now, id, &frame),
        }
    }

    /// The first message (`ZooKeeperServer.processConnectRequest`).
    fn connect(&mut self, now: Now, id: ConnectionId, frame: &[u8]) {
        self.stats.connect_requests += 1;
        let request: ConnectRequest = match Reader::new(frame).read() {
            Ok(request) => request,
            Err(error) => {
                tracing::warn!(connection = id.0, %error, "closing a connection whose first message makes no sense");
                return self.close(id);
            }
        };
        let wanted = match request.body.session_id {
            SessionId::NONE => Wanted::New,
            _ => Wanted::Resumed,
        };
        if !self.throttle.admit(now.uptime, wanted) {
            tracing::info!(
                connection = id.0,
                "closing a connection, since too many begin (connection_throttle_tokens)"
            );
            return self.close(id);
        }
        if request.body.last_zxid_seen > self.tree.last_zxid() {
            tracing::info!(connection = id.0, seen = %request.body.last_zxid_seen, here = %self.tree.last_zxid(),
                "closing a connection whose client has seen a newer state");
            return self.close(id);
        }
        let timeout_ms = self.config.negotiate(request.body.timeout_ms);
        if request.body.session_id == SessionId::NONE {
            self.begin_session(now, id, request.read_only, timeout_ms);
        } else {
            self.resume(now, id, &request, timeout_ms);
        }
    }

    fn request(&mut self, now: Now, id: ConnectionId, frame: &[u8]) {
        let mut reader = Reader::with_limit(frame, self.config.max_buffer);
        let Ok(header) = reader.read::<RequestHeader>() else {
            tracing::warn!(
                connection = id.0,
                "closing a connection that sent a request without a whole header"
            );
            return self.close(id);
        };
        let Some(session) = self.connections.get(&id).and_then(|c| c.session) else {
            return;
        };
        if !self.sessions.touch(now.uptime, session) {
            return self.too_late(id);
        }
        if !self.admit(id, header.op, header.xid) {
            return;
        }
        match Request::decode(header.op, &mut reader) {
            Ok(Request::Auth(packet)) => {
                self.authenticate(id, header.xid, &packet);
                self.identified(now, id);
            }
            Ok(Request::Sasl(token)) => {
                self.sasl(id, header.xid, &token);
                self.identified(now, id);
            }
            Ok(request) => self.dispatch(now, id, session, header.xid, request),
            Err(RequestError::UnknownOp(_)) => self.refuse_and_close(id, header.xid),
            Err(RequestError::Decode(error)) if header.op == OpCode::Auth => {
                tracing::warn!(connection = id.0, %error, "closing a connection whose credentials make no sense");
                self.close(id);
            }
            Err(RequestError::Decode(error)) => {
                tracing::debug!(connection = id.0, op = %header.op, %error, "a request makes no sense");
                self.refuse(now, id, session, header);
            }
        }
    }

    fn dispatch(&mut self, now: Now, id: ConnectionId, session: SessionId, xid: i32, request: Request) {
        match request {
            Request::CloseSession if self.sessions.is_local(session) => {
                self.wait(id, Waiting::EndLocal { xid });
                self.answer_waiting(id);
            }
            Request::CloseSession => self.close_session(now, session, xid, Some(id)),
            // A check outside a multi (ZOOKEEPER-2623) is not served.
            Request::Check(_) => self.refuse_and_close(id, xid),
            Request::Sync(PathRequest { path }) => {
                self.wait(id, Waiting::Sync { xid, zxid: self.engine.proposed(), path });
                self.syncing.push_back(id);
                self.answer_waiting(id);
            }
            request if is_write(&request) => {
                let may_own = !self.config.sessions.local || self.may_own(now, session, &request);
                let Some(connection) = self.connections.get(&id) else {
                    return;
                };
                let who = connection.who.clone();
                let asked = Asked { may_own, ..asked(now, &self.engine, session, xid, &who) };
                let txn = self.prep.write(&self.tree, asked, &request);
                for (about, excess) in self.prep.take_excesses() {
                    self.namespaces.exceeded(&about, excess, now.uptime);
                }
                if self.config.security.audit
                    && let Some(audit) = Audit::of(&request, session, &who)
                {
                    self.audits.insert(txn.header.zxid, audit);
                }
                self.propose_write(now, id, xid, request.op(), txn);
            }
            request => {
                // Whatever xid a ping came with (`FinalRequestProcessor`).
                let xid = if matches!(request, Request::Ping) { PING_XID } else { xid };
                self.wait(id, Waiting::Read { xid, request });
                self.answer_waiting(id);
            }
        }
    }

    /// A body that cannot be decoded. A multi consumes a zxid all the same, as on Apache.
    fn refuse(&mut self, now: Now, id: ConnectionId, session: SessionId, header: RequestHeader) {
        if header.op == OpCode::Multi {
            let who = Identities::internal();
            let asked = asked(now, &self.engine, session, header.xid, &who);
            let txn = self.prep.refuse(asked, ErrorCode::MarshallingError);
            self.propose_write(now, id, header.xid, header.op, txn);
        } else {
            self.wait(id, Waiting::Senseless { xid: header.xid });
            self.answer_waiting(id);
        }
    }

    /// At once and ahead of whatever waits (`UnimplementedRequestProcessor`).
    fn refuse_and_close(&mut self, id: ConnectionId, xid: i32) {
        let header = ReplyHeader { xid, zxid: Zxid(-1), err: ErrorCode::Unimplemented };
        self.reply(id, header, &Response::Empty);
        self.close(id);
    }

    fn propose_write(&mut self, now: Now, id: ConnectionId, xid: i32, op: OpCode, txn: LoggedTxn) {
        self.wait(id, Waiting::Write { xid, op, zxid: txn.header.zxid });
        self.propose(now, txn, Some(id));
    }

    fn propose(&mut self, now: Now, txn: LoggedTxn, origin: Option<ConnectionId>) {
        if let Some(id) = origin {
            self.origins.push_back((txn.header.zxid, id));
        }
        self.engine.propose(txn, &mut self.commands);
        self.carry_out(now);
    }

    fn carry_out(&mut self, now: Now) {
        let mut commands = std::mem::take(&mut self.commands);
        for command in commands.drain(..) {
            match command {
                Command::Persist(txn) => {
                    self.stats.proposed += 1;
                    self.outputs.push(Output::Persist(txn));
                }
                Command::Deliver(txn) => self.deliver(now, &txn),
            }
        }
        // Only for its room: whatever delivering proposed has been carried out already.
        if self.commands.is_empty() {
            self.commands = commands;
        }
    }

    /// A committed transaction: tree, then events, then replies.
    fn deliver(&mut self, now: Now, txn: &LoggedTxn) {
        let zxid = txn.header.zxid;
        let applied = self.tree.apply(txn);
        self.prep.applied(zxid);
        self.digests.push(zxid, self.tree.digest());
        debug_assert!(
            txn.digest.is_none_or(|promised| promised.tree_digest == self.tree.digest()),
            "prep and tree agree on {txn:?}"
        );
        for event in &applied.events {
            self.notify(zxid, event);
        }
        self.audit(txn, &applied.results);
        self.namespaces.written(&txn.txn);
        let origin = self.origins.pop_front_if(|(waits_for, _)| *waits_for == zxid).map(|(_, id)| id);
        let origin = origin.filter(|id| self.connections.contains_key(id));
        match &txn.txn {
            Txn::CreateSession(t) => self.session_begun(now, txn.header.session, t.timeout_ms, origin),
            Txn::CloseSession(_) => self.session_ended(txn.header.session, origin, applied.results),
            _ => {
                if let Some(id) = origin {
                    self.answer_write(id, zxid, applied.results, &txn.txn);
                }
            }
        }
        self.answer_syncs();
        self.snapshot_if_due(zxid);
    }

    fn audit(&mut self, txn: &LoggedTxn, results: &[MultiResult]) {
        if let Some(audit) = self.audits.remove(&txn.header.zxid) {
            audit.record(results);
        }
        if let (true, Txn::CloseSession(Some(paths))) = (self.config.security.audit, &txn.txn) {
            for path in paths {
                audit::ephemeral_deleted(txn.header.session, path);
            }
        }
    }

    fn notify(&mut self, zxid: Zxid, event: &Event) {
        let connections = &self.connections;
        let may_read = |id: ConnectionId, acl: &[zk_wire::acl::Acl]| {
            connections.get(&id).is_some_and(|c| c.who.may(zk_wire::acl::perms::READ, acl))
        };
        for notification in self.watches.trigger(event, may_read) {
            let state = KeeperState::SyncConnected;
            let event = WatcherEvent { kind: notification.kind, state, path: notification.path.to_string() };
            let frame = framed(|out| event.encode(zxid, out));
            let (count, bytes) = (notification.to.len() as u64, frame.len() as u64);
            self.stats.fired.by(notification.kind).add(count);
            self.stats.watch_bytes += count * bytes;
            for id in notification.to {
                self.count_sent(id);
                self.outputs.push(Output::Notify(id, frame.clone()));
            }
        }
    }

    fn answer_write(&mut self, id: ConnectionId, zxid: Zxid, results: Vec<MultiResult>, txn: &Txn) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let Some((Waiting::Write { xid, op, zxid: expected }, since)) = connection.take_next() else {
            return;
        };
        debug_assert_eq!(zxid, expected, "writes of a connection commit in their order");
        self.count_answered(id, Some(op), Some(xid), true, since);
        match write_response(op, results, txn) {
            Ok(response) => {
                let header = self.header(xid, ErrorCode::Ok);
                self.reply(id, header, &response);
            }
            Err(code) => {
                let header = self.header(xid, code);
                self.reply(id, header, &Response::Empty);
            }
        }
        self.answer_waiting(id);
    }

    /// Answers everything up to the next request that must wait.
    fn answer_waiting(&mut self, id: ConnectionId) {
        while let Some(connection) = self.connections.get_mut(&id) {
            match connection.next() {
                Some(Waiting::Read { .. } | Waiting::Senseless { .. } | Waiting::EndLocal { .. }) => {}
                Some(Waiting::Sync { zxid, .. }) if *zxid <= self.tree.last_zxid() => {}
                _ => return,
            }
            let Some((waiting, since)) = connection.take_next() else { return };
            match waiting {
                Waiting::Read { xid, request } => {
                    self.count_answered(id, Some(request.op()), Some(xid), false, since);
                    self.answer_read(id, xid, &request);
                }
                Waiting::Senseless { xid } => {
                    self.count_answered(id, None, Some(xid), false, since);
                    let header = self.header(xid, ErrorCode::MarshallingError);
                    self.reply(id, header, &Response::Empty);
                }
                Waiting::EndLocal { xid } => {
                    self.count_answered(id, Some(OpCode::CloseSession), Some(xid), false, since);
                    self.end_local_session(id, xid);
                }
                Waiting::Sync { xid, path, .. } => {
                    self.count_answered(id, Some(OpCode::Sync), Some(xid), false, since);
                    let header = self.header(xid, ErrorCode::Ok);
                    self.reply(id, header, &Response::Path(PathResponse { path }));
                }
                Waiting::Write { .. } => return,
            }
        }
    }

    fn answer_syncs(&mut self) {
        let is_sync = |waiting: &Waiting| matches!(waiting, Waiting::Sync { .. });
        for id in std::mem::take(&mut self.syncing) {
            self.answer_waiting(id);
            if self.connections.get(&id).is_some_and(|c| c.waits_for(is_sync)) {
                self.syncing.push_back(id);
            }
        }
    }

    fn answer_read(&mut self, id: ConnectionId, xid: i32, request: &Request) {
        let Some(connection) = self.connections.get(&id) else {
            return;
        };
        let Some(session) = connection.session else { return };
        let mut events = Vec::new();
        let mut read = Read {
            tree: &self.tree,
            watches: &mut self.watches,
            connection: id,
            who: &connection.who,
            session,
        };
        let answer = read.answer(request, &mut events);
        for event in events {
            self.outputs.push(Output::Notify(id, framed(|out| event.encode(SYNTHESISED, out))));
        }
        let (err, response) = match answer {
            Ok(response) => (ErrorCode::Ok, response),
            Err(code) => (code, Response::Empty),
        };
        self.namespaces.read(request, &response);
        let header = self.header(xid, err);
        self.reply(id, header, &response);
        if err == ErrorCode::Throttled && matches!(request, Request::SetWatches(_) | Request::SetWatches2(_))
        {
            // A client that has come back counts on them.
            self.close(id);
        }
    }

    fn wait(&mut self, id: ConnectionId, waiting: Waiting) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.wait(waiting, self.now.uptime);
        }
    }

    fn header(&self, xid: i32, err: ErrorCode) -> ReplyHeader {
        ReplyHeader { xid, zxid: self.tree.last_zxid(), err }
    }

    fn reply(&mut self, id: ConnectionId, header: ReplyHeader, response: &Response) {
        self.count_sent(id);
        let frame = framed(|out| {
            header.write(out);
            response.write(out);
        });
        self.stats.responded(frame.len() as u64 - 4);
        self.outputs.push(Output::Reply(id, frame));
    }

    /// Ends a session: in one transaction, or in steps where that would be too long.
    fn close_session(&mut self, now: Now, session: SessionId, cxid: i32, origin: Option<ConnectionId>) {
        self.sessions.begin_close(session);
        let who = Identities::internal();
        for step in self.close_steps(session) {
            let asked = asked(now, &self.engine, session, 0, &who);
            let txn = self.prep.write(&self.tree, asked, &Request::Multi(step));
            self.propose(now, txn, None);
        }
        let asked = asked(now, &self.engine, session, cxid, &who);
        let txn = self.prep.close_session(&self.tree, asked);
        match origin {
            Some(id) => self.propose_write(now, id, cxid, OpCode::CloseSession, txn),
            None => self.propose(now, txn, None),
        }
    }

    fn close_steps(&self, session: SessionId) -> Vec<Vec<WriteOp>> {
        let paths = self.prep.ephemerals(&self.tree, session);
        let mut left: usize = paths.iter().map(|path| path.len() + 4).sum();
        let mut steps: Vec<Vec<WriteOp>> = Vec::new();
        let mut step_bytes = CLOSE_STEP_BYTES;
        for path in paths {
            if left <= CLOSE_AT_ONCE_BYTES {
                break;
            }
            let bytes = path.len() + 4;
            if step_bytes + bytes > CLOSE_STEP_BYTES {
                steps.push(Vec::new());
                step_bytes = 0;
            }
            step_bytes += bytes;
            left -= bytes;
            if let Some(step) = steps.last_mut() {
                step.push(WriteOp::Delete(DeleteRequest { path, version: -1 }));
            }
        }
        steps
    }

    fn tick(&mut self, now: Now) {
        for session in self.sessions.expired(now.uptime) {
            self.expire(now, session);
        }
        self.reap(now);
    }

    /// Deletes containers that have become empty and TTL znodes whose time is up (`ContainerManager`).
    fn reap(&mut self, now: Now) {
        let due = self.reaper.due(now, &self.tree);
        let who = Identities::internal();
        for path in due {
            let asked = asked(now, &self.engine, SessionId::NONE, 0, &who);
            let path = path.to_string();
            let txn = self.prep.write(&self.tree, asked, &Request::DeleteContainer(PathRequest { path }));
            self.propose(now, txn, None);
        }
    }

    fn snapshot_if_due(&mut self, zxid: Zxid) {
        if zxid >= self.snapshot_at {
            self.begin_snapshot();
        }
    }

    /// Begins a snapshot, unless one is under way.
    pub fn begin_snapshot(&mut self) {
        if self.snapshot.is_none() {
            self.schedule_snapshot();
            self.snapshot = Some(Walk::default());
            self.outputs.push(Output::Snapshot(SnapshotHead::of(&self.tree)));
        }
    }

    /// The next part of the snapshot under way, of about so many bytes; `None` if there is none, or no further
    /// part.
    pub fn snapshot_part(&mut self, bytes: usize) -> Option<SnapshotPart> {
        let part = SnapshotPart::next(self.snapshot.as_mut()?, &self.tree, bytes);
        if part.end.is_some() {
            self.snapshot = None;
        }
        Some(part)
    }

    /// The snapshot under way cannot be written; the next one begins when it is due.
    pub fn abandon_snapshot(&mut self) {
        self.snapshot = None;
    }

    /// Between half of `snapCount` and all of it (`SyncRequestProcessor.shouldSnapshot`), spread by zxid and
    /// server so that members do not coincide.
    fn schedule_snapshot(&mut self) {
        let half = i64::from(self.config.snap_count / 2).max(1);
        let last = self.tree.last_zxid().0;
        let seed = last ^ i64::from(self.config.server_id) << 48;
        let spread = (seed.wrapping_mul(SPREAD) >> 32).rem_euclid(half);
        self.snapshot_at = Zxid(last + half + spread);
    }

    fn count_received(&mut self, id: ConnectionId, bytes: usize) {
        self.stats.received += 1;
        self.stats.received_bytes += bytes as u64;
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.stats.received += 1;
        }
    }

    fn count_sent(&mut self, id: ConnectionId) {
        self.stats.sent += 1;
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.stats.sent += 1;
        }
    }

    /// A request that came at `since` is being answered (`FinalRequestProcessor.updateStats`).
    fn count_answered(
        &mut self,
        id: ConnectionId,
        op: Option<OpCode>,
        xid: Option<i32>,
        is_logged: bool,
        since: Duration,
    ) {
        let (at, zxid) = (self.now.uptime, self.tree.last_zxid());
        let latency = at.saturating_sub(since);
        self.stats.answered(is_logged, latency);
        let of_its_kind = if is_logged { &mut self.update_latency } else { &mut self.read_latency };
        of_its_kind.add(millis_of(latency));
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.stats.answered(xid, LastAnswer { op, zxid, at, latency });
        }
    }

    fn close(&mut self, id: ConnectionId) {
        self.outputs.push(Output::Close(id));
        self.drop_connection_state(id);
    }

    /// Closes a connection that has lost its session to another one.
    fn drop_connection(&mut self, id: ConnectionId) {
        if self.connections.contains_key(&id) {
            self.close(id);
        }
    }

    fn closed(&mut self, id: ConnectionId) {
        if let Some(session) = self.connections.get(&id).and_then(|c| c.session) {
            self.sessions.disconnect(session, id);
        }
        self.drop_connection_state(id);
    }

    fn drop_connection_state(&mut self, id: ConnectionId) {
        self.connections.remove(&id);
        self.early.remove(&id);
        self.watches.disconnect(id);
    }
}

fn rules(config: &ServerConfig) -> Rules {
    Rules {
        extended_types: config.extended_types,
        enforce_quota: config.enforce_quota,
        reconfig_enabled: config.reconfig_enabled,
        max_txn: extended_limit(config.max_buffer),
    }
}

fn asked<'a>(now: Now, engine: &Engine, session: SessionId, cxid: i32, who: &'a Identities) -> Asked<'a> {
    Asked { session, cxid, zxid: engine.next_zxid(), time_ms: now.wall_ms, who, may_own: true }
}

/// The reply to a write, from what applying it gave. The operation decides about its form: a plain create of
/// a container is answered as a create, though the transaction is a container's.
fn write_response(op: OpCode, mut results: Vec<MultiResult>, txn: &Txn) -> Result<Response, ErrorCode> {
    if matches!(txn, Txn::Multi(_)) {
        return Ok(Response::Multi(MultiResults(results)));
    }
    match results.pop() {
        Some(MultiResult::Create(path)) => Ok(Response::Path(PathResponse { path })),
        Some(MultiResult::Create2(path, _)) if op == OpCode::Create => {
            Ok(Response::Path(PathResponse { path }))
        }
        Some(MultiResult::Create2(path, stat)) => Ok(Response::Create2(Create2Response { path, stat })),
        Some(MultiResult::SetData(stat)) => Ok(Response::Stat(StatResponse { stat })),
        Some(MultiResult::Error(code)) => Err(code),
        _ => Ok(Response::Empty),
    }
}

fn is_write(request: &Request) -> bool {
    is_write_op(request.op())
}

fn is_write_op(op: OpCode) -> bool {
    matches!(
        op,
        OpCode::Create
            | OpCode::Create2
            | OpCode::CreateContainer
            | OpCode::CreateTtl
            | OpCode::Delete
            | OpCode::DeleteContainer
            | OpCode::SetData
            | OpCode::SetAcl
            | OpCode::Multi
            | OpCode::Reconfig
    )
}

/// Room for an answer that is no longer than most.
const FRAME_BYTES: usize = 128;

/// A message with its length in front.
fn framed(write: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let mut out = Vec::with_capacity(FRAME_BYTES);
    out.extend_from_slice(&[0; 4]);
    write(&mut out);
    let length = u32::try_from(out.len() - 4).unwrap_or(u32::MAX);
    out[..4].copy_from_slice(&length.to_be_bytes());
    out.into()
}

fn millis(ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}
