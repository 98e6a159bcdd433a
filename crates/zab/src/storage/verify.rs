//! Checking every byte of a directory, without changing any.

use bytes::Bytes;
use zk_wire::acl::Acl;
use zk_wire::digest::TxnDigest;
use zk_wire::ids::{SessionId, Zxid};
use zk_wire::stat::StatPersisted;
use zk_wire::txn::LoggedTxn;

use super::Restore;
use super::archive::{Archive, ArchiveError, ArchiveFile, Moment, last_effect};
use super::error::{RestoreError, StorageError};
use crate::tree::Tree;
use crate::tree::restore::Restoring;

/// What was found in one file.
#[derive(Debug)]
pub struct Checked {
    /// The file.
    pub file: ArchiveFile,
    /// How it is.
    pub verdict: Verdict,
}

/// How a file is.
#[derive(Debug)]
pub enum Verdict {
    /// A snapshot with so many znodes, holding effects up to a transaction if it says so.
    Snapshot {
        /// Znodes, the root included.
        znodes: u64,
        /// The last transaction whose effects it may hold.
        holds: Option<Zxid>,
    },
    /// A log with so many transactions.
    Log {
        /// Transactions.
        txns: u64,
        /// The first and the last.
        range: Option<(Zxid, Zxid)>,
        /// What is behind the last one, in words, if there is anything but zeros.
        torn: Option<String>,
    },
    /// It is not what was written.
    Bad(StorageError),
}

/// What a whole directory is worth.
#[derive(Debug)]
pub struct Verified {
    /// Each snapshot and each log.
    pub files: Vec<Checked>,
    /// The state that a server would start with: its last transaction, and its tree; or why there is none.
    pub state: Result<(Zxid, Tree), ArchiveError>,
    /// Digests that were compared with the tree's.
    pub digests: u64,
    /// Those among them that differ.
    pub mismatches: u64,
}

impl Verified {
    /// Is everything as it was written? A torn tail of the newest log is.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let bad = |checked: &Checked| matches!(checked.verdict, Verdict::Bad(_));
        self.state.is_ok() && self.mismatches == 0 && !self.files.iter().any(bad)
    }
}

impl Archive {
    /// Checks all checksums of all files, then replays as a server does at its start and compares every digest.
    ///
    /// # Errors
    /// The directories cannot be listed.
    pub fn verify(&self) -> Result<Verified, StorageError> {
        let mut files = Vec::new();
        for file in self.snapshots()?.into_iter().rev() {
            let verdict = self.verify_snapshot(&file).unwrap_or_else(Verdict::Bad);
            files.push(Checked { file, verdict });
        }
        for file in self.logs()? {
            let verdict = self.verify_log(&file).unwrap_or_else(Verdict::Bad);
            files.push(Checked { file, verdict });
        }
        let mut counting = Counting::default();
        let last = self.restore(Moment::Now, &mut counting);
        let (tree, mismatches) = counting.restoring.finish();
        Ok(Verified { files, state: last.map(|last| (last, tree)), digests: counting.digests, mismatches })
    }

    fn verify_snapshot(&self, file: &ArchiveFile) -> Result<Verdict, StorageError> {
        let mut znodes = 0;
        let tail = self.read_snapshot(&file.path, &mut |item| {
            znodes += u64::from(matches!(item, zk_wire::snapshot::SnapshotItem::Node { .. }));
        })?;
        Ok(Verdict::Snapshot { znodes, holds: last_effect(&tail).filter(|zxid| *zxid != Zxid::ZERO) })
    }

    fn verify_log(&self, file: &ArchiveFile) -> Result<Verdict, StorageError> {
        let (mut txns, mut range) = (0, None);
        let end = self.read_log(&file.path, &mut |record| {
            let zxid = record.txn.header.zxid;
            txns += 1;
            range = Some((range.map_or(zxid, |(first, _)| first), zxid));
        })?;
        Ok(Verdict::Log { txns, range, torn: end.torn })
    }
}

/// A tree that is recovered, and how many digests there were to compare it with.
#[derive(Debug, Default)]
pub(super) struct Counting {
    pub(super) restoring: Restoring,
    pub(super) digests: u64,
}

impl Restore for Counting {
    fn session(&mut self, id: SessionId, timeout_ms: i32) {
        self.restoring.session(id, timeout_ms);
    }

    fn acl(&mut self, id: i64, acl: Vec<Acl>) {
        self.restoring.acl(id, acl);
    }

    fn node(
        &mut self,
        path: &str,
        data: Option<Bytes>,
        acl: i64,
        stat: StatPersisted,
    ) -> Result<(), RestoreError> {
        self.restoring.node(path, data, acl, stat)
    }

    fn snapshot_end(&mut self, zxid: Zxid, digest: Option<(Zxid, TxnDigest)>) -> Result<(), RestoreError> {
        self.digests += u64::from(digest.is_some());
        self.restoring.snapshot_end(zxid, digest)
    }

    fn txn(&mut self, txn: LoggedTxn) -> Result<(), RestoreError> {
        self.digests += u64::from(txn.digest.is_some());
        self.restoring.txn(txn)
    }
}
