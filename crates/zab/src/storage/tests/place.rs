//! Where a test keeps its files, and what it finds there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use zk_wire::acl::Acl;
use zk_wire::codes::OpCode;
use zk_wire::digest::{Digest, TxnDigest};
use zk_wire::ids::{SessionId, Zxid};
use zk_wire::jute::Jute;
use zk_wire::stat::StatPersisted;
use zk_wire::txn::{LoggedTxn, SetDataTxn, Txn, TxnHeader};

use crate::storage::{
    DiskStorage, MemoryDisk, MemoryStorage, Restore, RestoreError, Retention, SnapshotCompression, Storage,
    StorageError, StorageOptions,
};

/// Files that outlive the storage which writes them.
pub(super) enum Place {
    Directory(tempfile::TempDir),
    Memory(MemoryDisk),
}

/// What a recovery has found, in its order.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) sessions: Vec<(SessionId, i32)>,
    pub(super) acls: Vec<(i64, Vec<Acl>)>,
    pub(super) nodes: Vec<(String, Option<Bytes>)>,
    pub(super) snapshot: Option<(Zxid, Option<(Zxid, TxnDigest)>)>,
    pub(super) txns: Vec<i64>,
}

pub(super) type Opened = (Box<dyn Storage>, Found);

/// Small files, so that a test may look at each byte.
pub(super) const SMALL: StorageOptions = StorageOptions {
    pre_alloc_bytes: 0,
    force_sync: true,
    txn_log_size_limit: None,
    jute_max_buffer: 4096,
    snapshot_compression: SnapshotCompression::Plain,
    trust_empty: false,
};

impl Place {
    pub(super) fn directory() -> Place {
        Place::Directory(tempfile::tempdir().unwrap())
    }

    /// One of each kind.
    pub(super) fn each() -> [Place; 2] {
        [Place::directory(), Place::Memory(MemoryDisk::new())]
    }

    /// Recovers. A storage that was opened before must have been dropped.
    pub(super) fn try_open(&self, options: StorageOptions) -> Result<Opened, StorageError> {
        let mut found = Found::default();
        let (storage, last): (Box<dyn Storage>, Zxid) = match self {
            Place::Directory(dir) => {
                let (storage, last) = DiskStorage::open(dir.path(), dir.path(), options, &mut found)?;
                (Box::new(storage), last)
            }
            Place::Memory(disk) => {
                let (storage, last) = MemoryStorage::open(disk, options, &mut found)?;
                (Box::new(storage), last)
            }
        };
        assert_eq!(last, found.last(), "the zxid is that of the last transaction");
        Ok((storage, found))
    }

    pub(super) fn open(&self) -> Opened {
        self.try_open(SMALL).unwrap()
    }

    /// What keeps the files from being recovered.
    pub(super) fn refusal(&self) -> StorageError {
        match self.try_open(SMALL) {
            Ok((_, found)) => panic!("recovered {found:?}"),
            Err(error) => error,
        }
    }

    /// The directory of all files.
    pub(super) fn version_2(&self) -> PathBuf {
        match self {
            Place::Directory(dir) => dir.path().join("version-2"),
            Place::Memory(_) => Path::new(MemoryDisk::DIRECTORY).join("version-2"),
        }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.version_2().join(name)
    }

    /// Names and contents, without the lock.
    pub(super) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        let mut files: BTreeMap<String, Vec<u8>> = match self {
            Place::Directory(_) => std::fs::read_dir(self.version_2())
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .map(|path| (name(&path), std::fs::read(&path).unwrap()))
                .collect(),
            Place::Memory(disk) => {
                disk.files().into_iter().map(|(path, bytes)| (name(&path), bytes)).collect()
            }
        };
        files.remove("zab.lock");
        files
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.files().into_keys().collect()
    }

    /// Puts a file in place of one that may be there.
    pub(super) fn put(&self, name: &str, content: &[u8]) {
        match self {
            Place::Directory(_) => {
                std::fs::create_dir_all(self.version_2()).unwrap();
                std::fs::write(self.path(name), content).unwrap();
            }
            Place::Memory(disk) => disk.put(&self.path(name), content),
        }
    }

    /// An empty place of the same kind.
    pub(super) fn another(&self) -> Place {
        match self {
            Place::Directory(_) => Place::directory(),
            Place::Memory(_) => Place::Memory(MemoryDisk::new()),
        }
    }

    /// The same files without one of them, in a place of the same kind.
    pub(super) fn without(&self, name: &str) -> Place {
        let copy = self.another();
        for (other, content) in self.files().iter().filter(|(other, _)| *other != name) {
            copy.put(other, content);
        }
        copy
    }
}

impl Found {
    fn last(&self) -> Zxid {
        let snapshot = self.snapshot.map_or(Zxid::ZERO, |(zxid, _)| zxid);
        self.txns.last().map_or(snapshot, |&zxid| snapshot.max(Zxid(zxid)))
    }
}

impl Restore for Found {
    fn session(&mut self, id: SessionId, timeout_ms: i32) {
        self.sessions.push((id, timeout_ms));
    }

    fn acl(&mut self, id: i64, acl: Vec<Acl>) {
        self.acls.push((id, acl));
    }

    fn node(
        &mut self,
        path: &str,
        data: Option<Bytes>,
        _: i64,
        _: StatPersisted,
    ) -> Result<(), RestoreError> {
        self.nodes.push((path.to_owned(), data));
        Ok(())
    }

    fn snapshot_end(&mut self, zxid: Zxid, digest: Option<(Zxid, TxnDigest)>) -> Result<(), RestoreError> {
        self.snapshot = Some((zxid, digest));
        Ok(())
    }

    fn txn(&mut self, txn: LoggedTxn) -> Result<(), RestoreError> {
        assert_eq!(txn, logged(txn.header.zxid.0), "the transaction is the one that was appended");
        self.txns.push(txn.header.zxid.0);
        Ok(())
    }
}

/// A transaction whose content follows from its zxid.
pub(super) fn logged(zxid: i64) -> LoggedTxn {
    let header = TxnHeader {
        session: SessionId(7),
        cxid: 1,
        zxid: Zxid(zxid),
        time_ms: 1_000 + zxid,
        op: OpCode::SetData,
    };
    let data = vec![b'x'; usize::try_from(zxid % 50).unwrap()];
    let txn = Txn::SetData(SetDataTxn { path: "/a".to_owned(), data: Some(data.into()), version: 1 });
    LoggedTxn { header, txn, digest: Some(TxnDigest::new(Digest(zxid))) }
}

/// Appends transactions without a sync.
pub(super) fn append(storage: &mut dyn Storage, zxids: impl IntoIterator<Item = i64>) {
    for zxid in zxids {
        storage.append(Zxid(zxid), &logged(zxid).to_bytes()).unwrap();
    }
}

/// Appends transactions and syncs.
pub(super) fn log(storage: &mut dyn Storage, zxids: impl IntoIterator<Item = i64>) {
    append(storage, zxids);
    storage.sync().unwrap();
}

/// Writes a snapshot of a small tree, as the server does: the log rolls first.
pub(super) fn snapshot(storage: &mut dyn Storage, zxid: i64) -> Result<(), StorageError> {
    storage.roll()?;
    let mut sink = storage.snapshot_writer(Zxid(zxid))?;
    sink.begin(&[(SessionId(7), 5_000)], &[(1, vec![Acl::world(1)])])?;
    sink.node("", None, -1, &StatPersisted::default())?;
    sink.node("/a", Some(zxid.to_string().as_bytes()), 1, &StatPersisted::default())?;
    sink.finish(Some((Zxid(zxid), TxnDigest::new(Digest(zxid)))), Zxid(zxid))
}

/// The disk is never too full.
pub(super) fn keep(snapshots: usize) -> Retention {
    Retention { snapshots, min_free_bytes: 0 }
}

/// Where the records of a log start, and where the last one ends, in bytes.
pub(super) fn bounds(log: &[u8]) -> Vec<usize> {
    let mut bounds = vec![16];
    let mut at = 16;
    while let Some(length) = log.get(at + 8..at + 12) {
        let length = i32::from_be_bytes(length.try_into().unwrap());
        if length == 0 {
            break;
        }
        at += 8 + 4 + usize::try_from(length).unwrap() + 1;
        bounds.push(at);
    }
    bounds
}
