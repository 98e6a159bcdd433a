//! The promise behind every reply: what was acknowledged outlives the next power cut.
//!
//! A whole server runs on a disk in memory. At the moment of a reply that chance has chosen, before anything
//! else can happen, everything that was not synced is lost; or a random part of it is there.
#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use zab::storage::{
    MemoryDisk, MemoryStorage, Operation, Purger, Restore, SnapshotSink, Storage, StorageError,
    StorageOptions,
};
use zab::tree::Tree;
use zab::tree::restore::Restoring;
use zab::{Server, ServerConfig};
use zk_client::{Connector, Opening, Options, Permit, Session, attach};
use zk_wire::acl::Acl;
use zk_wire::codes::CreateMode;
use zk_wire::ids::Zxid;
use zk_wire::multi::WriteOp;
use zk_wire::request::{CreateRequest, SetDataRequest};

/// A disk that takes its time for a sync, so that a reply that does not wait for it arrives before it.
struct SlowSync(MemoryStorage);

impl Storage for SlowSync {
    fn append(&mut self, zxid: Zxid, entry: &[u8]) -> Result<(), StorageError> {
        self.0.append(zxid, entry)
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        std::thread::sleep(Duration::from_millis(2));
        self.0.sync()
    }

    fn roll(&mut self) -> Result<(), StorageError> {
        self.0.roll()
    }

    fn snapshot_writer(&self, zxid: Zxid) -> Result<Box<dyn SnapshotSink>, StorageError> {
        self.0.snapshot_writer(zxid)
    }

    fn purger(&self) -> Purger {
        self.0.purger()
    }

    fn truncate(&mut self, zxid: Zxid, restore: &mut dyn Restore) -> Result<(), StorageError> {
        self.0.truncate(zxid, restore)
    }
}

/// One run of the server, up to the power cut.
#[derive(Debug, Clone)]
struct Run {
    /// The power fails at this reply to a write.
    replies: usize,
    /// So many unsynced bytes of each file are there all the same.
    kept_bytes: usize,
    /// What each client asks for, over and over.
    wishes: Vec<Vec<Wish>>,
}

/// A write of one of a client's own few znodes.
#[derive(Debug, Clone, Copy)]
enum Wish {
    Create(usize),
    Set(usize),
    Delete(usize),
    /// Creates or sets two of them, together.
    Both(usize, usize),
}

const ZNODES: usize = 4;

fn wish() -> impl Strategy<Value = Wish> {
    let znode = 0..ZNODES;
    prop_oneof![
        3 => znode.clone().prop_map(Wish::Create),
        3 => znode.clone().prop_map(Wish::Set),
        1 => znode.clone().prop_map(Wish::Delete),
        1 => (znode.clone(), 1..ZNODES).prop_map(|(a, step)| Wish::Both(a, (a + step) % ZNODES)),
    ]
}

fn run() -> impl Strategy<Value = Run> {
    let wishes = proptest::collection::vec(proptest::collection::vec(wish(), 1..30), 1..5);
    let kept_bytes = prop_oneof![2 => Just(0), 2 => 0..500usize, 1 => Just(usize::MAX)];
    (1..60usize, kept_bytes, wishes).prop_map(|(replies, kept_bytes, wishes)| Run {
        replies,
        kept_bytes,
        wishes,
    })
}

/// The znodes of one client with what they hold.
type Znodes = BTreeMap<String, String>;

/// What a client knows of its znodes.
#[derive(Debug, Clone, Default)]
struct Known {
    /// As of the last reply.
    acknowledged: Znodes,
    /// As of the request under way, if there is one.
    asked: Znodes,
}

/// The disk, and the moment at which its power fails.
#[derive(Clone)]
struct Power(Arc<Mutex<Supply>>);

struct Supply {
    disk: MemoryDisk,
    replies_left: usize,
    kept_bytes: usize,
}

impl Power {
    /// A reply has arrived; cuts the power if it was the one. False once the power is off.
    fn reply(&self) -> bool {
        let mut supply = self.0.lock().unwrap();
        if supply.replies_left == 0 {
            return false;
        }
        supply.replies_left -= 1;
        if supply.replies_left == 0 {
            supply.disk.crash_keeping(supply.kept_bytes);
        }
        supply.replies_left > 0
    }
}

fn recovered(disk: &MemoryDisk) -> (SlowSync, Tree) {
    let mut restoring = Restoring::default();
    let (storage, last) = MemoryStorage::open(disk, StorageOptions::default(), &mut restoring).unwrap();
    let (tree, mismatches) = restoring.finish();
    assert_eq!((mismatches, tree.last_zxid()), (0, last));
    (SlowSync(storage), tree)
}

async fn session(address: SocketAddr) -> Option<Session> {
    let to = address.to_string().parse().unwrap();
    let stream = Connector::new(to, Duration::from_secs(5)).connect().await.ok()?;
    let opening = Opening::New { timeout: Duration::from_secs(30) };
    attach(stream, Permit::grant(), opening, Options::default()).await.ok().map(|(session, _)| session)
}

/// Carries out a wish as far as the znodes allow it: the requests that change them, and what they then are.
async fn carry_out(
    session: &Session,
    wish: Wish,
    path: impl Fn(usize) -> String,
    value: &str,
    known: &mut Known,
) -> bool {
    let there = |known: &Known, n| known.acknowledged.contains_key(&path(n));
    match wish {
        Wish::Create(n) | Wish::Set(n) => {
            known.asked.insert(path(n), value.to_owned());
            let data = value.to_owned();
            if there(known, n) {
                session.set(&path(n), data, -1).await.is_ok()
            } else {
                session.create(&path(n), data, Acl::open(), CreateMode::Persistent).await.is_ok()
            }
        }
        Wish::Delete(n) if there(known, n) => {
            known.asked.remove(&path(n));
            session.delete(&path(n), -1).await.is_ok()
        }
        // What is not there is not deleted; a refusal is a reply too.
        Wish::Delete(n) => {
            matches!(session.delete(&path(n), -1).await, Err(zk_client::RequestError::Refused(_)))
        }
        Wish::Both(a, b) => {
            let op = |n: usize| {
                let (path, data) = (path(n), Some(value.to_owned().into()));
                if there(known, n) {
                    WriteOp::SetData(SetDataRequest { path, data, version: -1 })
                } else {
                    WriteOp::Create(CreateRequest {
                        path,
                        data,
                        acl: Acl::open(),
                        mode: CreateMode::Persistent,
                    })
                }
            };
            let ops = vec![op(a), op(b)];
            known.asked.insert(path(a), value.to_owned());
            known.asked.insert(path(b), value.to_owned());
            session.multi(ops).await.is_ok()
        }
    }
}

/// One client, until the power is off.
async fn client(
    address: SocketAddr,
    name: String,
    wishes: Vec<Wish>,
    mut known: Known,
    power: Power,
) -> Known {
    let Some(session) = session(address).await else {
        return known;
    };
    for (count, wish) in wishes.iter().cycle().enumerate() {
        let path = |n| format!("/{name}-{n}");
        let value = format!("{}-{count}", session.credentials().id);
        known.asked.clone_from(&known.acknowledged);
        if !carry_out(&session, *wish, path, &value, &mut known).await {
            break;
        }
        known.acknowledged.clone_from(&known.asked);
        if !power.reply() {
            break;
        }
    }
    known
}

/// Runs a server until its power fails; the clients' knowledge of each znode.
async fn until_the_power_fails(disk: &MemoryDisk, run: &Run, known: Vec<Known>) -> Vec<Known> {
    let (storage, tree) = recovered(disk);
    let config = ServerConfig { snap_count: 20, ..ServerConfig::local("/nowhere".into()) };
    let server = Server::start_on(config, Box::new(storage), tree).await.unwrap();
    let supply = Supply { disk: disk.clone(), replies_left: run.replies, kept_bytes: run.kept_bytes };
    let power = Power(Arc::new(Mutex::new(supply)));
    let mut tasks = Vec::new();
    for (number, known) in known.into_iter().enumerate() {
        let wishes = run.wishes.get(number).cloned().unwrap_or_default();
        let task = client(server.client_address(), format!("c{number}"), wishes, known, power.clone());
        tasks.push(tokio::spawn(task));
    }
    let mut learned = Vec::new();
    for task in tasks {
        learned.push(task.await.unwrap());
    }
    // Its log is gone, and it says so.
    let _ = server.stop().await;
    learned
}

/// What the tree has of one client's znodes.
fn znodes(tree: &Tree, number: usize) -> Znodes {
    let mut znodes = Znodes::new();
    for n in 0..ZNODES {
        let path = format!("/c{number}-{n}");
        if let Some(node) = tree.get(&path) {
            let data = String::from_utf8(node.data().unwrap_or_default().to_vec()).unwrap();
            znodes.insert(path, data);
        }
    }
    znodes
}

/// More than any run has.
const CLIENTS: usize = 5;

async fn nothing_is_lost(runs: Vec<Run>) {
    let disk = MemoryDisk::new();
    let mut known = vec![Known::default(); CLIENTS];
    for run in &runs {
        known = until_the_power_fails(&disk, run, known).await;
        let (_storage, tree) = recovered(&disk);
        for (number, known) in known.iter_mut().enumerate() {
            let found = znodes(&tree, number);
            assert!(
                found == known.acknowledged || found == known.asked,
                "client {number} was told {:?} and asked for {:?}; found is {found:?}",
                known.acknowledged,
                known.asked
            );
            *known = Known { acknowledged: found.clone(), asked: found };
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 50, ..ProptestConfig::default() })]

    #[test]
    fn what_was_acknowledged_outlives_a_power_cut_at_the_moment_of_any_reply(
        runs in proptest::collection::vec(run(), 1..4)
    ) {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(nothing_is_lost(runs));
    }
}

async fn started(disk: &MemoryDisk, snap_count: u32) -> (Server, Session) {
    let (storage, tree) = recovered(disk);
    let config = ServerConfig { snap_count, ..ServerConfig::local("/nowhere".into()) };
    let server = Server::start_on(config, Box::new(storage), tree).await.unwrap();
    let session = session(server.client_address()).await.unwrap();
    (server, session)
}

async fn create(session: &Session, path: &str) -> Result<(), zk_client::RequestError> {
    session.create(path, "x", Acl::open(), CreateMode::Persistent).await.map(|_| ())
}

/// What such a disk holds is unknown, so the server must not go on.
#[tokio::test]
async fn a_disk_that_fails_ends_the_server_and_nothing_is_acknowledged() {
    for operation in [Operation::Sync, Operation::Write] {
        let disk = MemoryDisk::new();
        let (server, session) = started(&disk, 100_000).await;
        create(&session, "/before").await.unwrap();
        disk.fail(operation, 0, std::io::ErrorKind::Other);
        let unknown = create(&session, "/after").await;
        assert!(matches!(unknown, Err(zk_client::RequestError::Unknown(_))), "{unknown:?}");
        server.ended().await;
        let error = server.stop().await.unwrap_err();
        assert!(
            matches!(&error, StorageError::Io { operation: failed, .. } if *failed == operation),
            "{error}"
        );
        disk.crash();
        let (_storage, tree) = recovered(&disk);
        assert!(tree.get("/before").is_some() && tree.get("/after").is_none());
    }
}

/// The log has everything, so a snapshot may fail.
#[tokio::test]
async fn a_snapshot_that_cannot_be_written_disturbs_nobody() {
    let disk = MemoryDisk::new();
    let (server, session) = started(&disk, 10).await;
    for n in 0..50 {
        disk.fail(Operation::Rename, 0, std::io::ErrorKind::StorageFull);
        create(&session, &format!("/{n}")).await.unwrap();
    }
    drop(session);
    server.stop().await.unwrap();
    let snapshots = |disk: &MemoryDisk| {
        disk.files().into_keys().filter(|path| path.to_string_lossy().contains("snapshot.")).count()
    };
    assert_eq!(snapshots(&disk), 0);
    disk.crash();
    let (server, session) = started(&disk, 10).await;
    for n in 0..50 {
        assert!(session.exists(&format!("/{n}")).await.unwrap().is_some());
        create(&session, &format!("/{n}/more")).await.unwrap();
    }
    drop(session);
    server.stop().await.unwrap();
    assert!(snapshots(&disk) > 0);
}
