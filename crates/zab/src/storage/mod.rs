//! Snapshots and transaction logs: Apache's files, byte for byte.
//!
//! ```text
//!   core ──append, sync, roll, purge──▶ Storage ──▶ log.<first zxid>      Adler32 per record, pre-allocated
//!   snapshot thread ──node, finish────▶ SnapshotSink ──▶ snapshot.<zxid>  tmp., fsync, rename, fsync
//!   start: Restore ◀── newest valid snapshot, then each transaction behind it ◀── recovery
//! ```
//!
//! [`DiskStorage`] keeps its files through a [`Disk`]; [`MemoryStorage`] is the same code on a
//! [`MemoryDisk`], which forgets in a crash whatever was not synced. So what the simulator learns of one
//! holds for the other.
//!
//! Relations, always: cut ≤ durable ≤ appended, and snapshot ≤ last transaction. Not always: snapshot ≤
//! durable, since a member may commit what its own disk does not have yet; recovery then ends at the snapshot.
//!
//! What recovery promises: it loses only a tail that no [`Storage::sync`] covered, it says in the log what it
//! cut, and it refuses to start on anything that looks like a loss. Upstream: `FileTxnSnapLog`.

mod archive;
mod backup;
mod continuity;
mod directory;
mod disk;
mod disk_storage;
mod error;
mod log_file;
mod log_writer;
mod memory;
mod os_disk;
mod purge;
mod recovery;
mod search;
mod snapshot;
mod truncate;
mod verify;

#[cfg(test)]
mod tests;

use bytes::Bytes;
use zk_wire::acl::Acl;
use zk_wire::digest::TxnDigest;
use zk_wire::ids::{SessionId, Zxid};
use zk_wire::jute::{DEFAULT_MAX_BUFFER, extended_limit};
use zk_wire::stat::StatPersisted;
use zk_wire::txn::LoggedTxn;

pub use archive::{Archive, ArchiveError, ArchiveFile, ArchiveLogEnd, ArchiveRecord, Moment};
pub use backup::{Backup, BackupError, BackupFile};
pub use disk::{Disk, DiskFile};
pub use disk_storage::DiskStorage;
pub use error::{Operation, RestoreError, StorageError};
pub use memory::{MemoryDisk, MemoryStorage, Strike};
pub use os_disk::OsDisk;
pub use purge::{Purger, Retention};
pub use verify::{Checked, Verdict, Verified};
pub use zk_wire::snap_stream::SnapshotCompression;

/// Where transactions and snapshots are kept. All methods block; one thread owns it.
///
/// After an error of [`append`](Self::append), [`sync`](Self::sync) or [`roll`](Self::roll) nothing is known
/// about what the disk holds (a failed fsync must not be repeated), so these then fail for ever with
/// [`StorageError::Failed`].
pub trait Storage: Send {
    /// Appends one encoded [`LoggedTxn`]; durable only after [`sync`](Self::sync).
    ///
    /// # Errors
    /// [`StorageError::EntryTooLong`] leaves the log as it was; any other error is final.
    fn append(&mut self, zxid: Zxid, entry: &[u8]) -> Result<(), StorageError>;

    /// Makes everything appended durable: one fdatasync, and for a new file one fsync of the directory.
    /// Costs nothing if nothing was appended.
    ///
    /// # Errors
    /// Final.
    fn sync(&mut self) -> Result<(), StorageError>;

    /// Starts a new log file at the next append, called when a snapshot starts. What was appended before is
    /// made durable first, so only the last log can ever be torn.
    ///
    /// # Errors
    /// Final.
    fn roll(&mut self) -> Result<(), StorageError>;

    /// A writer of `snapshot.<zxid>`, which another thread may use while this one appends.
    ///
    /// # Errors
    /// The file cannot be created.
    fn snapshot_writer(&self, zxid: Zxid) -> Result<Box<dyn SnapshotSink>, StorageError>;

    /// What deletes old files, which another thread may use while this one appends: removing a long file takes
    /// its time.
    fn purger(&self) -> Purger;

    /// Drops every transaction behind `zxid`, then recovers into `restore`, which must be empty. This is what
    /// a learner does on TRUNC (`FileTxnLog.truncate`).
    ///
    /// # Errors
    /// [`StorageError::NoSuchTxn`] changes nothing. After any other error the server must end; the next start
    /// recovers with or without the dropped transactions.
    fn truncate(&mut self, zxid: Zxid, restore: &mut dyn Restore) -> Result<(), StorageError>;
}

/// Writes one snapshot: [`begin`](Self::begin) once, [`node`](Self::node) for each znode, parents first, then
/// [`finish`](Self::finish). Dropped without `finish` it leaves nothing.
pub trait SnapshotSink: Send {
    /// Writes the sessions with their timeouts in milliseconds, and the ACLs by id.
    ///
    /// # Errors
    /// Writing failed.
    fn begin(&mut self, sessions: &[(SessionId, i32)], acls: &[(i64, Vec<Acl>)]) -> Result<(), StorageError>;

    /// Writes one znode; the root's path is "".
    ///
    /// # Errors
    /// Writing failed.
    fn node(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        acl: i64,
        stat: &StatPersisted,
    ) -> Result<(), StorageError>;

    /// Writes znodes as [`zk_wire::snapshot::write_node`] encodes them.
    ///
    /// # Errors
    /// Writing failed.
    fn encoded(&mut self, nodes: &[u8]) -> Result<(), StorageError>;

    /// Writes the tail, makes the file durable and gives it its name: fsync, rename, fsync of the directory.
    /// `last_zxid` is the last transaction whose effects the file may hold.
    ///
    /// # Errors
    /// The snapshot is not there, and whatever was there before still is.
    fn finish(
        self: Box<Self>,
        digest: Option<(Zxid, TxnDigest)>,
        last_zxid: Zxid,
    ) -> Result<(), StorageError>;
}

/// Who is rebuilt at start: the newest valid snapshot is streamed into it, then every transaction with a zxid
/// above the snapshot's, in order.
///
/// Without a snapshot only [`txn`](Self::txn) is called, so an empty tree is what it must start as.
pub trait Restore {
    /// A session of the snapshot.
    fn session(&mut self, id: SessionId, timeout_ms: i32);

    /// An ACL of the snapshot. Fuzzy snapshots may refer to ids that are not in it.
    fn acl(&mut self, id: i64, acl: Vec<Acl>);

    /// A znode of the snapshot, behind its parent; the root's path is "".
    ///
    /// # Errors
    /// The znode cannot be; recovery ends.
    fn node(
        &mut self,
        path: &str,
        data: Option<Bytes>,
        acl: i64,
        stat: StatPersisted,
    ) -> Result<(), RestoreError>;

    /// The end of the snapshot named `zxid`. A digest, if it has one that can be compared, is that of the tree
    /// behind the transaction given with it, which is not below `zxid` and may be yet to come.
    ///
    /// # Errors
    /// The whole cannot be; recovery ends.
    fn snapshot_end(&mut self, zxid: Zxid, digest: Option<(Zxid, TxnDigest)>) -> Result<(), RestoreError>;

    /// A logged transaction. Its effects may be in a fuzzy snapshot already, and a zxid may come twice
    /// (an undecodable request reuses the last one).
    ///
    /// # Errors
    /// It cannot be applied; recovery ends.
    fn txn(&mut self, txn: LoggedTxn) -> Result<(), RestoreError>;
}

/// What an operator may choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StorageOptions {
    /// `preAllocSize`: logs grow by this many bytes of zeros; 0 switches it off.
    pub pre_alloc_bytes: u64,
    /// `forceSync`: does [`Storage::sync`] wait for the disk? Snapshots always do.
    pub force_sync: bool,
    /// `txnLogSizeLimitInKb`, in bytes: a longer log is followed by a new one.
    pub txn_log_size_limit: Option<u64>,
    /// `jute.maxbuffer`. Entries and fields of up to twice as many bytes are accepted, as Apache does
    /// (`jute.maxbuffer.extrasize`).
    pub jute_max_buffer: usize,
    /// `snapshot.compression.method`: how snapshots are written; each kind is read.
    pub snapshot_compression: SnapshotCompression,
    /// `snapshot.trust.empty`: may logs be replayed without any snapshot, wherever they start?
    pub trust_empty: bool,
}

impl Default for StorageOptions {
    fn default() -> Self {
        StorageOptions {
            pre_alloc_bytes: 64 << 20,
            force_sync: true,
            txn_log_size_limit: None,
            jute_max_buffer: DEFAULT_MAX_BUFFER,
            snapshot_compression: SnapshotCompression::Plain,
            trust_empty: false,
        }
    }
}

impl StorageOptions {
    /// The longest entry, string or buffer, in bytes.
    fn entry_limit(&self) -> usize {
        extended_limit(self.jute_max_buffer)
    }
}
