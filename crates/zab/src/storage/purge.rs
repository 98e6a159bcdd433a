//! Deleting what is no longer needed (`PurgeTxnLog`, `DatadirCleanupManager`).

use tracing::{info, warn};
use zk_wire::snap_stream::SnapshotCompression;

use super::directory::{Directories, ZxidFile};
use super::disk::Files;
use super::error::StorageError;
use super::recovery::from_base;
use super::snapshot::{check_snapshot, looks_complete};

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// `autopurge.snapRetainCount`: the newest snapshots that are kept; fewer than three are never asked for.
    pub snapshots: usize,
    /// `autopurge.minFreeSpaceInMb`, in bytes: with less than this free, one snapshot is kept, the newest that
    /// is valid from its first byte to its last. 0 switches that off.
    pub min_free_bytes: u64,
}

/// Deletes files that nothing needs; another thread may use it while the storage appends.
#[derive(Debug, Clone)]
pub struct Purger {
    pub(super) files: Files,
    pub(super) directories: Directories,
    /// Of an item of a snapshot, in bytes.
    pub(super) limit: usize,
}

impl Purger {
    /// Keeps the newest valid snapshots, all invalid ones among them, and every log that the oldest of them
    /// needs. With fewer valid snapshots than are to be kept, nothing is deleted; if then the disk is still too
    /// full, all but the newest valid snapshot goes.
    ///
    /// # Errors
    /// A file cannot be looked at or removed; what is left is consistent.
    pub fn purge(&self, retention: Retention) -> Result<(), StorageError> {
        self.keep(retention.snapshots.max(MIN_RETAIN), &|file| self.looks_valid(file))?;
        if !self.is_full(retention.min_free_bytes)? {
            return Ok(());
        }
        warn!(
            below_bytes = retention.min_free_bytes,
            "the disk is almost full: only the newest snapshot stays, with the logs that it needs"
        );
        self.keep(1, &|file| Ok(check_snapshot(&self.files, file, self.limit)?.is_ok()))
    }

    fn is_full(&self, min_free_bytes: u64) -> Result<bool, StorageError> {
        let Directories { snapshots, logs } = &self.directories;
        Ok(min_free_bytes > 0
            && (self.files.free_bytes(snapshots)? < min_free_bytes
                || self.files.free_bytes(logs)? < min_free_bytes))
    }

    /// Snapshots go first: logs without a snapshot that needs them do no harm.
    fn keep(
        &self,
        retain: usize,
        is_valid: &dyn Fn(&ZxidFile) -> Result<bool, StorageError>,
    ) -> Result<(), StorageError> {
        let snapshots = self.directories.snapshots(&self.files)?;
        let Some(oldest) = oldest_kept(&snapshots, retain, is_valid)? else {
            return Ok(());
        };
        // What stays must be durable before anything goes.
        self.files.sync_dir(&self.directories.snapshots)?;
        let superfluous = snapshots.iter().filter(|file| file.zxid < oldest.zxid);
        self.remove(superfluous)?;
        self.files.sync_dir(&self.directories.snapshots)?;
        let logs = self.directories.logs(&self.files)?;
        let needed = from_base(&logs, Some(oldest.zxid)).len();
        self.remove(logs[..logs.len() - needed].iter())?;
        self.files.sync_dir(&self.directories.logs)
    }

    fn remove<'a>(&self, superfluous: impl Iterator<Item = &'a ZxidFile>) -> Result<(), StorageError> {
        for file in superfluous {
            info!(path = %file.path.display(), "purging");
            self.files.remove(&file.path)?;
        }
        Ok(())
    }

    /// The end of a plain file tells cheaply; that of a compressed one does not.
    fn looks_valid(&self, file: &ZxidFile) -> Result<bool, StorageError> {
        match file.compression {
            SnapshotCompression::Plain => looks_complete(&self.files, &file.path),
            _ => Ok(check_snapshot(&self.files, file, self.limit)?.is_ok()),
        }
    }
}

/// The oldest snapshot to keep; `None` if there are not even as many.
fn oldest_kept<'a>(
    newest_first: &'a [ZxidFile],
    retain: usize,
    is_valid: &dyn Fn(&ZxidFile) -> Result<bool, StorageError>,
) -> Result<Option<&'a ZxidFile>, StorageError> {
    let mut valid = 0;
    for file in newest_first {
        if is_valid(file)? {
            valid += 1;
        }
        if valid == retain {
            return Ok(Some(file));
        }
    }
    Ok(None)
}

/// `DatadirCleanupManager` and `PurgeTxnLog` refuse less.
const MIN_RETAIN: usize = 3;
