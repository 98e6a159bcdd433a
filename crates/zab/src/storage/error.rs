//! What can go wrong with files, and what an operator can do about it.

use std::fmt;
use std::io;
use std::path::PathBuf;

use zk_wire::ids::Zxid;
use zk_wire::jute::DecodeError;
use zk_wire::log_record::RecordError;
use zk_wire::snapshot::SnapshotError;

/// What was asked of the file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Create a directory.
    CreateDirectory,
    /// List a directory.
    List,
    /// Take the lock of a directory.
    Lock,
    /// Create a file.
    Create,
    /// Open a file.
    Open,
    /// Read from a file.
    Read,
    /// Write to a file.
    Write,
    /// Reserve space for a file.
    Allocate,
    /// Shorten a file.
    Truncate,
    /// Make a file's content durable.
    Sync,
    /// Make a directory's entries durable.
    SyncDirectory,
    /// Ask how much space is left.
    FreeSpace,
    /// Rename a file.
    Rename,
    /// Remove a file.
    Remove,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Operation::CreateDirectory => "create directory",
            Operation::List => "list",
            Operation::Lock => "lock",
            Operation::Create => "create",
            Operation::Open => "open",
            Operation::Read => "read",
            Operation::Write => "write to",
            Operation::Allocate => "reserve space for",
            Operation::Truncate => "shorten",
            Operation::Sync => "sync",
            Operation::SyncDirectory => "sync directory",
            Operation::FreeSpace => "find the free space of",
            Operation::Rename => "rename",
            Operation::Remove => "remove",
        })
    }
}

/// Why storage could not do what was asked.
///
/// None is worth a retry: an error of [`Storage::append`](super::Storage::append) or
/// [`sync`](super::Storage::sync) ends the server, and one of recovery waits for an operator.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The file system refused.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// What was asked.
        operation: Operation,
        /// Of which file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another server has the directory.
    #[error(
        "another server holds the lock {}: stop it, or give each server a dataDir of its own",
        path.display()
    )]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// Snapshots among logs or logs among snapshots, though the directories are separate.
    #[error(
        "{} does not belong into {kind}: move it, or set dataDir and dataLogDir as they were when it was written",
        path.display()
    )]
    Misplaced {
        /// The file.
        path: PathBuf,
        /// The name of the setting whose directory it is in.
        kind: &'static str,
    },
    /// An earlier append or sync failed, so what is on the disk is unknown until the next start.
    #[error("the transaction log failed before; the server must be started again")]
    Failed,
    /// An entry that no reader would accept.
    #[error(
        "transaction {zxid} has {length} bytes, above the limit of {limit}: raise jute.maxbuffer on every server"
    )]
    EntryTooLong {
        /// The transaction.
        zxid: Zxid,
        /// Its bytes.
        length: usize,
        /// The limit in force.
        limit: usize,
    },
    /// A logged transaction is longer than the settings allow to read.
    #[error(
        "{} holds a transaction of {length} bytes at byte {offset}, above the limit of {limit}: raise jute.maxbuffer",
        path.display()
    )]
    LoggedEntryTooLong {
        /// The log.
        path: PathBuf,
        /// Where the record starts, in bytes.
        offset: u64,
        /// The bytes of the entry.
        length: u64,
        /// The limit in force.
        limit: usize,
    },
    /// Not a log.
    #[error("{} is not a transaction log of version 2: move it out of the directory", path.display())]
    NotALog {
        /// The file.
        path: PathBuf,
    },
    /// A damaged record with valid ones behind it: not a torn tail, so what it held may be lost.
    #[error(
        "{} is damaged at byte {offset}, with what looks like a valid record behind that, at byte {next}: \
         restore the directory from another member or a backup",
        path.display()
    )]
    Damaged {
        /// The log.
        path: PathBuf,
        /// Where the damage starts, in bytes.
        offset: u64,
        /// Where a valid record follows, in bytes.
        next: u64,
        /// What is wrong at `offset`; absent if there are zeros.
        source: Option<RecordError>,
    },
    /// A record with the right checksum whose entry is not a transaction.
    #[error("{} holds an unknown transaction at byte {offset}", path.display())]
    UnknownTxn {
        /// The log.
        path: PathBuf,
        /// Where the record starts, in bytes.
        offset: u64,
        /// Why it is none.
        source: DecodeError,
    },
    /// Transactions are missing between two that are there.
    #[error(
        "{} goes on with {found} at byte {offset}, but the last transaction before it is {last}: \
         transactions between them are missing; restore the directory from another member or a backup",
        path.display()
    )]
    Gap {
        /// The log.
        path: PathBuf,
        /// Where the record starts, in bytes.
        offset: u64,
        /// The transaction before it.
        last: Zxid,
        /// Its transaction.
        found: Zxid,
    },
    /// Logs without a snapshot, and the first is not the beginning.
    #[error(
        "no snapshot was found, and {} starts with {first}, not with the first transaction of all: \
         restore the snapshot, or set snapshot.trust.empty=true if there never was one",
        path.display()
    )]
    NoSnapshot {
        /// The first log.
        path: PathBuf,
        /// Its first transaction.
        first: Zxid,
    },
    /// There are snapshots, and none can be read.
    #[error(
        "no snapshot is valid; the newest is {} ({reason}): restore one from another member or a backup",
        path.display()
    )]
    NoValidSnapshot {
        /// The newest.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The newest snapshot is of no use, and the logs do not reach as far as it did.
    #[error(
        "{} cannot be used, and without it only transactions up to {reached} are left: \
         restore it, or remove it to go on with less",
        path.display()
    )]
    NotCovered {
        /// The newest snapshot.
        path: PathBuf,
        /// Where the logs end.
        reached: Zxid,
    },
    /// A snapshot could not be read.
    #[error("cannot read {}", path.display())]
    Snapshot {
        /// The snapshot.
        path: PathBuf,
        /// What is wrong with it.
        source: SnapshotError,
    },
    /// Whoever is restored refuses what the files hold.
    #[error("{} cannot be applied", path.display())]
    Restore {
        /// The log or snapshot.
        path: PathBuf,
        /// Why.
        source: RestoreError,
    },
    /// The log cannot be cut behind a transaction that it does not hold.
    #[error("transaction {zxid} is in no log, so the log cannot be cut behind it")]
    NoSuchTxn {
        /// The transaction.
        zxid: Zxid,
    },
}

/// Why an implementation of [`Restore`](super::Restore) refuses an item.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RestoreError(pub String);
