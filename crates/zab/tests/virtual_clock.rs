//! A server without sockets, disk or clock: the test is all three.
#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use zab::ServerConfig;
use zab::server::connection::Peer;
use zab::server::core::{Core, Input, Now, Output};
use zab::tree::Tree;
use zab::tree::watches::ConnectionId;
use zk_wire::acl::Acl;
use zk_wire::codes::{CreateMode, ErrorCode, OpCode};
use zk_wire::connect::{ConnectRequest, ConnectRequestBody, ConnectResponse};
use zk_wire::ids::{SessionId, Zxid};
use zk_wire::jute::{Jute, Reader};
use zk_wire::password::derived_password;
use zk_wire::reply::ReplyHeader;
use zk_wire::request::{
    CreateRequest, CreateTtlRequest, DeleteRequest, PING_XID, PathRequest, Request, SetDataRequest,
    WatchedRead,
};
use zk_wire::txn::{LoggedTxn, Txn};

/// A core with everything that is around it.
struct World {
    core: Core,
    now: Now,
    /// Persisted by the core, not yet reported as durable.
    in_log: Vec<LoggedTxn>,
    /// All transactions so far.
    history: Vec<LoggedTxn>,
    /// What was sent, in order; `None` closes.
    sent: Vec<(ConnectionId, Option<Bytes>)>,
    snapshots: Vec<Zxid>,
    xid: i32,
}

const A: ConnectionId = ConnectionId(1);
const B: ConnectionId = ConnectionId(2);

/// A timeout of ten seconds falls on a bucket's end.
const TICK: Duration = Duration::from_secs(2);

impl World {
    fn new() -> World {
        World::on(Tree::new(), |_| {})
    }

    fn on(tree: Tree, configure: impl FnOnce(&mut ServerConfig)) -> World {
        let mut config = ServerConfig::local("/nowhere".into());
        (config.tick_time, config.min_session_timeout_ms, config.max_session_timeout_ms) =
            (TICK, 4_000, 600_000);
        configure(&mut config);
        let now = Now { uptime: Duration::ZERO, wall_ms: 1_700_000_000_000 };
        let core = Core::new(config, tree, now);
        let (in_log, history, sent, snapshots) = (vec![], vec![], vec![], vec![]);
        let mut world = World { core, now, in_log, history, sent, snapshots, xid: 0 };
        world.take_outputs();
        world
    }

    fn input(&mut self, input: Input) {
        self.core.handle(self.now, input);
        self.take_outputs();
    }

    fn take_outputs(&mut self) {
        let before = self.snapshots.len();
        for output in self.core.outputs() {
            match output {
                Output::Persist(txn) => {
                    self.history.push(LoggedTxn::clone(&txn));
                    self.in_log.push(LoggedTxn::clone(&txn));
                }
                Output::Reply(id, frame) | Output::Notify(id, frame) => {
                    self.sent.push((id, Some(frame.slice(4..))))
                }
                Output::Close(id) => self.sent.push((id, None)),
                Output::Snapshot(head) => self.snapshots.push(head.zxid),
            }
        }
        if self.snapshots.len() > before {
            while self.core.snapshot_part(1 << 10).is_some() {}
        }
    }

    /// The disk has all of it.
    fn log(&mut self) {
        while let Some(last) = self.in_log.last().map(|txn| txn.header.zxid) {
            self.in_log.clear();
            self.input(Input::Logged(last));
        }
    }

    /// Time passes, tick by tick as the core asks for it, and the disk keeps up.
    fn pass(&mut self, time: Duration) {
        let until = self.now.uptime + time;
        loop {
            let step = self.core.next_tick().max(self.now.uptime).min(until) - self.now.uptime;
            self.now.uptime += step;
            self.now.wall_ms += i64::try_from(step.as_millis()).unwrap();
            self.input(Input::Tick);
            self.log();
            if self.now.uptime == until && self.core.next_tick() > until {
                return;
            }
        }
    }

    fn greet(&mut self, id: ConnectionId, session_id: SessionId, timeout_ms: i32) {
        self.input(Input::Opened(
            id,
            Peer { address: std::net::SocketAddr::from(([127, 0, 0, 1], 1)), is_secure: false },
        ));
        let password = Some(Bytes::copy_from_slice(&derived_password(session_id)));
        let body = ConnectRequestBody {
            protocol_version: 0,
            last_zxid_seen: Zxid::ZERO,
            timeout_ms,
            session_id,
            password,
        };
        let request = ConnectRequest { body, read_only: None };
        self.input(Input::Frame(id, request.to_bytes().into()));
    }

    /// A connection with a session.
    fn connect(&mut self, id: ConnectionId, timeout_ms: i32) -> SessionId {
        self.greet(id, SessionId::NONE, timeout_ms);
        self.log();
        self.attached(id)
    }

    /// The session in the connect response that was sent last.
    fn attached(&mut self, id: ConnectionId) -> SessionId {
        let frame = self.frames(id).pop().expect("a connect response");
        let response: ConnectResponse = Reader::new(&frame).read().unwrap();
        response.body.session_id
    }

    fn ask(&mut self, id: ConnectionId, request: &Request) -> i32 {
        self.xid += 1;
        let xid = if matches!(request, Request::Ping) { PING_XID } else { self.xid };
        let mut frame = Vec::new();
        request.encode(xid, &mut frame);
        self.input(Input::Frame(id, frame.into()));
        xid
    }

    /// A request, its way to the disk, and its outcome.
    fn call(&mut self, id: ConnectionId, request: &Request) -> ErrorCode {
        self.sent.clear();
        let xid = self.ask(id, request);
        self.log();
        let outcomes = self.outcomes(id);
        assert_eq!(outcomes.iter().map(|(xid, _)| *xid).collect::<Vec<_>>(), [xid]);
        outcomes[0].1
    }

    /// What was sent to a connection since the last look.
    fn frames(&mut self, id: ConnectionId) -> Vec<Bytes> {
        let sent = std::mem::take(&mut self.sent);
        sent.into_iter().filter(|(to, _)| *to == id).filter_map(|(_, frame)| frame).collect()
    }

    fn outcomes(&mut self, id: ConnectionId) -> Vec<(i32, ErrorCode)> {
        let headers = self.frames(id);
        let headers = headers.iter().map(|frame| Reader::new(frame).read::<ReplyHeader>().unwrap());
        headers.map(|header| (header.xid, header.err)).collect()
    }

    fn is_closed(&self, id: ConnectionId) -> bool {
        self.sent.iter().any(|(to, frame)| *to == id && frame.is_none())
    }

    fn there(&self, path: &str) -> bool {
        self.core.tree().get(path).is_some()
    }
}

fn create(path: &str, mode: CreateMode) -> Request {
    Request::Create(CreateRequest { path: path.to_owned(), data: None, acl: Acl::open(), mode })
}

fn set(path: &str) -> Request {
    Request::SetData(SetDataRequest { path: path.to_owned(), data: None, version: -1 })
}

fn exists(path: &str) -> Request {
    Request::Exists(WatchedRead { path: path.to_owned(), watch: false })
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn nothing_is_answered_before_the_disk_has_it() {
    let mut world = World::new();
    world.greet(A, SessionId::NONE, 10_000);
    assert_eq!(world.frames(A), [] as [Bytes; 0], "not even the session");
    world.log();
    world.attached(A);
    world.connect(B, 10_000);
    let written = world.ask(A, &create("/a", CreateMode::Persistent));
    let read = world.ask(A, &exists("/a"));
    let synced = world.ask(A, &Request::Sync(PathRequest { path: "/".to_owned() }));
    let others = world.ask(B, &exists("/a"));
    assert!(!world.there("/a"));
    assert_eq!(world.outcomes(B), [(others, ErrorCode::NoNode)], "other sessions do not wait");
    assert_eq!(world.outcomes(A), []);
    world.log();
    let expected = [written, read, synced].map(|xid| (xid, ErrorCode::Ok));
    assert_eq!(world.outcomes(A), expected);
}

#[test]
fn a_sync_waits_for_what_others_have_proposed_before_it() {
    let mut world = World::new();
    world.connect(A, 10_000);
    world.connect(B, 10_000);
    world.ask(A, &create("/a", CreateMode::Persistent));
    let synced = world.ask(B, &Request::Sync(PathRequest { path: "/a".to_owned() }));
    let read = world.ask(B, &exists("/a"));
    world.ask(A, &create("/b", CreateMode::Persistent));
    assert_eq!(world.outcomes(B), []);
    let first = world.in_log[0].header.zxid;
    world.input(Input::Logged(first));
    assert_eq!(world.outcomes(B), [(synced, ErrorCode::Ok), (read, ErrorCode::Ok)], "and for no more");
}

#[test]
fn a_part_of_a_batch_that_is_durable_is_answered() {
    let mut world = World::new();
    world.connect(A, 10_000);
    let xids = [1, 2, 3].map(|n| world.ask(A, &create(&format!("/{n}"), CreateMode::Persistent)));
    let second = world.in_log[1].header.zxid;
    world.input(Input::Logged(second));
    assert_eq!(world.outcomes(A), [(xids[0], ErrorCode::Ok), (xids[1], ErrorCode::Ok)]);
    world.log();
    assert_eq!(world.outcomes(A), [(xids[2], ErrorCode::Ok)]);
}

#[test]
fn a_session_expires_at_the_end_of_the_tick_behind_its_timeout() {
    let mut world = World::new();
    world.connect(A, 10_000);
    world.call(A, &create("/e", CreateMode::Ephemeral));
    world.pass(secs(9));
    world.call(A, &Request::Ping);
    world.pass(secs(10));
    assert!(world.there("/e") && !world.is_closed(A), "19 s: ten behind the ping");
    world.pass(secs(1));
    assert!(!world.there("/e") && world.is_closed(A), "20 s");
    assert_eq!(world.core.tree().sessions().len(), 0);
}

#[test]
fn an_expired_session_takes_no_more_requests() {
    let mut world = World::new();
    let session = world.connect(A, 10_000);
    world.call(A, &create("/e", CreateMode::Ephemeral));
    world.now.uptime = secs(12);
    world.input(Input::Tick);
    world.ask(A, &create("/late", CreateMode::Ephemeral));
    assert!(world.is_closed(A));
    world.greet(B, session, 10_000);
    assert_eq!(world.attached(B), SessionId::NONE, "nor can it be resumed");
    world.log();
    assert!(!world.there("/e") && !world.there("/late"));
}

#[test]
fn a_session_that_moves_leaves_its_writes_under_way_done_and_unanswered() {
    let mut world = World::new();
    let session = world.connect(A, 10_000);
    world.ask(A, &create("/a", CreateMode::Persistent));
    world.greet(B, session, 10_000);
    assert!(world.is_closed(A));
    assert_eq!(world.attached(B), session);
    world.ask(A, &create("/b", CreateMode::Persistent));
    world.log();
    assert_eq!(world.frames(A), [] as [Bytes; 0]);
    assert!(world.there("/a") && !world.there("/b"));
    // The end of the old connection does not detach the session from the new one.
    world.input(Input::Closed(A));
    assert_eq!(world.call(B, &exists("/a")), ErrorCode::Ok);
}

#[test]
fn a_resumed_session_has_the_timeout_of_its_new_connection() {
    let mut world = World::new();
    let session = world.connect(A, 10_000);
    world.input(Input::Closed(A));
    world.greet(B, session, 100_000);
    world.pass(secs(90));
    assert!(!world.is_closed(B));
    world.pass(secs(12));
    assert!(world.is_closed(B));
}

#[test]
fn recovered_sessions_get_their_full_timeout_and_orphans_go_at_once() {
    let mut world = World::new();
    world.connect(A, 10_000);
    world.call(A, &create("/e", CreateMode::Ephemeral));
    let mut tree = world.core.tree().clone();
    let orphan = LoggedTxn {
        header: zk_wire::txn::TxnHeader {
            session: SessionId(99),
            zxid: Zxid(tree.last_zxid().0 + 1),
            ..world.history.last().unwrap().header
        },
        txn: match &world.history.last().unwrap().txn {
            Txn::Create(t) => {
                Txn::Create(zk_wire::txn::CreateTxn { path: "/orphan".to_owned(), ..t.clone() })
            }
            other => panic!("{other:?}"),
        },
        digest: None,
    };
    tree.apply(&orphan);
    let mut world = World::on(tree, |_| {});
    world.log();
    assert!(world.there("/e") && !world.there("/orphan"));
    world.pass(secs(9));
    assert!(world.there("/e"));
    world.pass(secs(3));
    assert!(!world.there("/e"));
}

#[test]
fn an_empty_container_goes_once_it_was_used() {
    let mut world = World::new();
    world.connect(A, 600_000);
    for path in ["/used", "/unused", "/full"] {
        let Request::Create(request) = create(path, CreateMode::Container) else { unreachable!("it is one") };
        world.call(A, &Request::CreateContainer(request));
    }
    for path in ["/used/child", "/full/child", "/persistent"] {
        world.call(A, &create(path, CreateMode::Persistent));
    }
    world.pass(secs(59));
    world.call(A, &Request::Delete(DeleteRequest { path: "/used/child".to_owned(), version: -1 }));
    assert!(world.there("/used"));
    world.pass(secs(2));
    let left = ["/used", "/unused", "/full", "/persistent"].map(|path| world.there(path));
    assert_eq!(left, [false, true, true, true]);
}

#[test]
fn a_ttl_znode_goes_when_it_is_empty_and_was_not_set_for_that_long() {
    let mut world = World::new();
    world.connect(A, 600_000);
    for path in ["/old", "/set", "/full"] {
        let request = CreateTtlRequest {
            path: path.to_owned(),
            data: None,
            acl: Acl::open(),
            mode: CreateMode::PersistentWithTtl,
            ttl_ms: 50_000,
        };
        world.call(A, &Request::CreateTtl(request));
    }
    world.call(A, &create("/full/child", CreateMode::Persistent));
    world.pass(secs(30));
    world.call(A, &set("/set"));
    world.pass(secs(31));
    assert_eq!(["/old", "/set", "/full"].map(|path| world.there(path)), [false, true, true]);
    world.pass(secs(60));
    assert_eq!(["/set", "/full"].map(|path| world.there(path)), [false, true]);
}

/// ZOOKEEPER-4306.
#[test]
fn a_session_with_very_many_ephemerals_ends_in_transactions_that_every_log_takes() {
    let mut world = World::new();
    world.connect(A, 600_000);
    let parent = format!("/{}", "p".repeat(2_000));
    world.call(A, &create(&parent, CreateMode::Persistent));
    for n in 0..1_000 {
        world.ask(A, &create(&format!("{parent}/{n}"), CreateMode::Ephemeral));
    }
    world.log();
    let before = world.history.len();
    assert_eq!(world.call(A, &Request::CloseSession), ErrorCode::Ok);
    let closing = &world.history[before..];
    assert!(closing.len() > 3, "{} transactions", closing.len());
    assert!(closing.iter().all(|txn| txn.to_bytes().len() < zk_wire::jute::DEFAULT_MAX_BUFFER));
    assert_eq!(closing.last().unwrap().header.op, OpCode::CloseSession);
    assert_eq!((world.core.tree().ephemeral_count(), world.core.tree().sessions().len()), (0, 0));
    assert!(world.core.tree().get(&parent).unwrap().children.is_empty());
}

#[test]
fn a_snapshot_is_due_between_half_of_snap_count_and_all_of_it() {
    let mut world = World::on(Tree::new(), |config| config.snap_count = 100);
    world.connect(A, 600_000);
    for n in 0..1_000 {
        world.ask(A, &create(&format!("/{n}"), CreateMode::Persistent));
        world.log();
    }
    let mut last = 0;
    for zxid in &world.snapshots {
        assert!((50..=100).contains(&(zxid.0 - last)), "{:?}", world.snapshots);
        last = zxid.0;
    }
    assert!((10..=20).contains(&world.snapshots.len()), "{:?}", world.snapshots);
}

/// Every transaction carries the digest of the tree behind it; the tree must come to the same, also where
/// many are under way and some fail.
#[test]
fn promised_digests_are_those_of_the_tree() {
    let mut world = World::new();
    world.connect(A, 600_000);
    let requests = [
        create("/a", CreateMode::Persistent),
        create("/a/e", CreateMode::Ephemeral),
        create("/a/s-", CreateMode::PersistentSequential),
        create("/a", CreateMode::Persistent),
        set("/a"),
        create("/c", CreateMode::Container),
        Request::Delete(DeleteRequest { path: "/a/s-0000000001".to_owned(), version: 0 }),
        Request::Delete(DeleteRequest { path: "/a".to_owned(), version: -1 }),
    ];
    for request in &requests {
        world.ask(A, request);
    }
    world.ask(A, &Request::CloseSession);
    world.log();
    let mut tree = Tree::new();
    let mut compared = 0;
    for txn in &world.history {
        tree.apply(txn);
        if let Some(digest) = txn.digest {
            assert_eq!(digest.tree_digest, tree.digest(), "{txn:?}");
            compared += 1;
        }
    }
    assert_eq!(compared, 8, "all but the two that fail, and the session's own two");
}

/// A request that may be broken: an operation, a body of another one, and bytes that are turned.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let watched = |path: &str| WatchedRead { path: path.to_owned(), watch: true };
    let multi = |path: &str| {
        let delete = DeleteRequest { path: path.to_owned(), version: -1 };
        Request::Multi(vec![zk_wire::multi::WriteOp::Delete(delete)])
    };
    let valid = vec![
        create("/a", CreateMode::Persistent),
        create("/a/s-", CreateMode::EphemeralSequential),
        set("/a"),
        Request::Delete(DeleteRequest { path: "/a".to_owned(), version: -1 }),
        Request::GetData(watched("/a")),
        Request::GetChildren2(watched("/")),
        multi("/a"),
        Request::SetWatches(zk_wire::request::SetWatches {
            relative_zxid: Zxid(1),
            data: vec!["/a".to_owned()],
            exist: vec!["/b".to_owned()],
            child: vec!["/".to_owned()],
        }),
    ];
    let op = prop_oneof![3 => Just(None), 1 => (-12..110).prop_map(Some)];
    let turned = proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..3);
    let cut = prop_oneof![3 => Just(None), 1 => any::<proptest::sample::Index>().prop_map(Some)];
    (proptest::sample::select(valid), op, turned, cut).prop_map(|(request, op, turned, cut)| {
        let mut frame = Vec::new();
        request.encode(1, &mut frame);
        if let Some(op) = op {
            frame[4..8].copy_from_slice(&i32::to_be_bytes(op));
        }
        for (at, byte) in turned {
            let at = at.index(frame.len());
            frame[at] ^= byte;
        }
        if let Some(cut) = cut {
            frame.truncate(cut.index(frame.len()));
        }
        frame
    })
}

proptest! {
    #[test]
    fn whatever_a_client_sends_the_server_goes_on_for_others(
        frames in proptest::collection::vec(frame(), 1..40)
    ) {
        let mut world = World::new();
        world.connect(B, 600_000);
        world.connect(A, 600_000);
        let mut sent = 0;
        for frame in frames {
            world.input(Input::Frame(A, frame.into()));
            sent += 1;
            if world.is_closed(A) {
                break;
            }
        }
        world.log();
        let closed = world.is_closed(A);
        let answered = world.sent.iter().filter(|(to, frame)| {
            // Events come with xid -1.
            *to == A && frame.as_ref().is_some_and(|frame| frame[..4] != [0xff; 4])
        });
        let answered = answered.count();
        prop_assert!(closed || answered == sent, "{answered} of {sent} were answered");
        prop_assert_eq!(world.call(B, &create("/other", CreateMode::PersistentSequential)), ErrorCode::Ok);
    }
}
