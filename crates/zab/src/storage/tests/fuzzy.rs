//! Snapshots that are written while transactions are applied: with the log behind them they are the tree.

use proptest::prelude::*;
use zk_wire::acl::Acl;
use zk_wire::digest::TxnDigest;
use zk_wire::ids::{SessionId, Zxid};
use zk_wire::jute::Jute;
use zk_wire::txn::{
    CreateContainerTxn, CreateTxn, DeleteTxn, LoggedTxn, SetAclTxn, SetDataTxn, Txn, TxnHeader,
};

use super::place::{Place, SMALL};
use crate::server::snapshot::{SnapshotHead, SnapshotPart};
use crate::storage::{MemoryStorage, SnapshotCompression, Storage, StorageOptions};
use crate::tree::Tree;
use crate::tree::restore::Restoring;
use crate::tree::walk::Walk;

/// What happens between two parts, made to fit the tree as it is then.
#[derive(Debug, Clone)]
enum Wish {
    /// Sets or creates a znode, as a child of another one if `below`.
    Put {
        znode: u8,
        below: Option<u8>,
        perms: i32,
        kind: u8,
    },
    Delete {
        znode: u8,
        below: Option<u8>,
    },
    SetAcl {
        znode: u8,
        perms: i32,
    },
    CloseSession(i64),
    /// Deletes a znode with its children and puts it back, all in one transaction.
    Renew(u8),
    /// The next part of the snapshot.
    Part,
}

fn wishes() -> impl Strategy<Value = Vec<Wish>> {
    let below = || proptest::option::of(0..4u8);
    let wish = prop_oneof![
        6 => (0..4u8, below(), 1..6, 0..4u8)
            .prop_map(|(znode, below, perms, kind)| Wish::Put { znode, below, perms, kind }),
        5 => (0..4u8, below()).prop_map(|(znode, below)| Wish::Delete { znode, below }),
        2 => (0..4u8, 1..6).prop_map(|(znode, perms)| Wish::SetAcl { znode, perms }),
        1 => (1..3i64).prop_map(Wish::CloseSession),
        2 => (0..4u8).prop_map(Wish::Renew),
        4 => Just(Wish::Part),
    ];
    proptest::collection::vec(wish, 0..80)
}

fn path(znode: u8, below: Option<u8>) -> String {
    match below {
        None => format!("/{znode}"),
        Some(parent) => format!("/{parent}/{znode}"),
    }
}

/// A running server, as far as its log and its tree go.
struct Running {
    tree: Tree,
    storage: Box<dyn Storage>,
}

impl Running {
    fn commit(&mut self, session: SessionId, txn: Txn) {
        let zxid = Zxid(self.tree.last_zxid().0 + 1);
        let header = TxnHeader { session, cxid: 0, zxid, time_ms: 1_000 + zxid.0, op: txn.op() };
        let mut logged = LoggedTxn { header, txn, digest: None };
        self.tree.apply(&logged);
        logged.digest = Some(TxnDigest::new(self.tree.digest()));
        self.storage.append(zxid, &logged.to_bytes()).unwrap();
    }

    fn create(&self, path: &str, perms: i32, kind: u8) -> Txn {
        let parent = self.tree.get(zk_wire::path::parent(path).unwrap()).unwrap();
        let (path, data) = (path.to_owned(), Some(vec![b'd'; 30].into()));
        let (acl, parent_cversion) = (vec![Acl::world(perms)], parent.persisted().cversion + 1);
        match kind {
            0 => Txn::CreateContainer(CreateContainerTxn { path, data, acl, parent_cversion }),
            _ => Txn::Create(CreateTxn { path, data, acl, ephemeral: kind == 1, parent_cversion }),
        }
    }

    fn grant(&mut self, wish: &Wish) {
        match wish {
            Wish::Put { znode, below, perms, kind } => {
                let path = path(*znode, *below);
                let parent = zk_wire::path::parent(&path).and_then(|parent| self.tree.get(parent));
                let txn = match (self.tree.get(&path), parent) {
                    (_, None) => return,
                    // Ephemerals have no children.
                    (None, Some(parent)) if parent.persisted().ephemeral_owner > 0 => return,
                    (None, Some(_)) => self.create(&path, *perms, *kind),
                    (Some(node), _) => {
                        let version = node.persisted().version + 1;
                        Txn::SetData(SetDataTxn { path, data: Some(vec![b's'; 20].into()), version })
                    }
                };
                self.commit(SessionId(1 + i64::from(*znode % 2)), txn);
            }
            Wish::Delete { znode, below } => {
                let path = path(*znode, *below);
                if self.tree.get(&path).is_some_and(|node| node.children.is_empty()) {
                    self.commit(SessionId(1), Txn::Delete(DeleteTxn { path }));
                }
            }
            Wish::SetAcl { znode, perms } => {
                let path = path(*znode, None);
                if let Some(node) = self.tree.get(&path) {
                    let (acl, version) = (vec![Acl::world(*perms)], node.persisted().aversion + 1);
                    self.commit(SessionId(1), Txn::SetAcl(SetAclTxn { path, acl, version }));
                }
            }
            Wish::CloseSession(session) => {
                let session = SessionId(*session);
                let paths = self.tree.ephemerals(session).map(|path| path.to_string()).collect();
                self.commit(session, Txn::CloseSession(Some(paths)));
            }
            Wish::Renew(znode) => {
                let path = path(*znode, None);
                let Some(node) = self.tree.get(&path) else { return };
                let mut paths: Vec<String> =
                    self.tree.children(node).map(|child| child.path().to_owned()).collect();
                paths.push(path.clone());
                let mut txns: Vec<Txn> =
                    paths.into_iter().map(|path| Txn::Delete(DeleteTxn { path })).collect();
                txns.push(self.create(&path, 3, 2));
                self.commit(SessionId(1), Txn::Multi(txns));
            }
            Wish::Part => {}
        }
    }
}

/// Everything that clients can see.
fn visible(tree: &Tree) -> Vec<(String, zk_wire::stat::StatPersisted, Option<bytes::Bytes>, Vec<Acl>)> {
    let mut visible = Vec::new();
    let Ok::<(), std::convert::Infallible>(()) = tree.walk(|path, node| {
        visible.push((path.to_owned(), node.persisted(), node.copied_data(), tree.acl(node.acl()).to_vec()));
        Ok(())
    });
    visible.sort_by(|(a, ..), (b, ..)| a.cmp(b));
    visible
}

fn the_log_makes_it_whole(before: &[Wish], during: &[Wish], compression: SnapshotCompression) {
    let place = Place::Memory(Default::default());
    let Place::Memory(disk) = &place else { unreachable!() };
    let options = StorageOptions { snapshot_compression: compression, ..SMALL };
    let mut restoring = Restoring::default();
    let (storage, _) = MemoryStorage::open(disk, options, &mut restoring).unwrap();
    let mut running = Running { tree: restoring.finish().0, storage: Box::new(storage) };
    before.iter().for_each(|wish| running.grant(wish));
    running.storage.roll().unwrap();
    let head = SnapshotHead::of(&running.tree);
    let mut sink = running.storage.snapshot_writer(head.zxid).unwrap();
    sink.begin(&head.sessions, &head.acls).unwrap();
    let mut walk = Walk::default();
    let mut wishes = during.iter();
    let end = loop {
        // About a znode at a time.
        let part = SnapshotPart::next(&mut walk, &running.tree, 1);
        sink.encoded(&part.nodes).unwrap();
        if let Some(end) = part.end {
            break end;
        }
        for wish in wishes.by_ref().take_while(|wish| !matches!(wish, Wish::Part)) {
            running.grant(wish);
        }
    };
    sink.finish(Some(end), end.0).unwrap();
    wishes.for_each(|wish| running.grant(wish));
    running.storage.sync().unwrap();
    drop(running.storage);
    let mut restoring = Restoring::default();
    let (_storage, last) = MemoryStorage::open(disk, options, &mut restoring).unwrap();
    assert!(restoring.had_snapshot());
    let (tree, mismatches) = restoring.finish();
    assert_eq!(visible(&tree), visible(&running.tree));
    assert_eq!((tree.digest(), tree.len()), (running.tree.digest(), running.tree.len()));
    assert_eq!((mismatches, last), (0, running.tree.last_zxid()));
    assert_eq!(tree.data_bytes(), running.tree.data_bytes());
    for session in [SessionId(1), SessionId(2)] {
        assert!(tree.ephemerals(session).eq(running.tree.ephemerals(session)));
    }
    assert!(tree.reapable(None).map(|(path, _)| path).eq(running.tree.reapable(None).map(|(path, _)| path)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn whatever_happens_while_a_snapshot_is_written_the_log_makes_it_whole(
        before in wishes(),
        during in wishes(),
        compression in proptest::sample::select(&SnapshotCompression::ALL),
    ) {
        the_log_makes_it_whole(&before, &during, compression);
    }
}
