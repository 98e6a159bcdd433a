//! Deleting what is no longer needed (`PurgeTxnLog`).

use tracing::info;

use super::directory::{Directories, ZxidFile};
use super::disk::Files;
use super::error::StorageError;
use super::recovery::from_base;
use super::snapshot::looks_complete;

/// Keeps the `retain` newest valid snapshots, all invalid ones among them, and every log that the oldest of
/// them needs. Snapshots go first: logs without a snapshot that needs them do no harm.
pub(super) fn purge(files: &Files, directories: &Directories, retain: usize) -> Result<(), StorageError> {
    let snapshots = directories.snapshots(files)?;
    let Some(oldest) = oldest_kept(files, &snapshots, retain.max(MIN_RETAIN))? else {
        return Ok(());
    };
    let superfluous = snapshots.iter().filter(|file| file.zxid < oldest.zxid);
    remove(files, superfluous)?;
    files.sync_dir(&directories.snapshots)?;
    let logs = directories.logs(files)?;
    let needed = from_base(&logs, Some(oldest.zxid)).len();
    remove(files, logs[..logs.len() - needed].iter())?;
    files.sync_dir(&directories.logs)
}

/// The oldest snapshot to keep; `None` if there are not even as many.
fn oldest_kept<'a>(
    files: &Files,
    newest_first: &'a [ZxidFile],
    retain: usize,
) -> Result<Option<&'a ZxidFile>, StorageError> {
    let mut valid = 0;
    for file in newest_first {
        if !file.compressed && looks_complete(files, &file.path)? {
            valid += 1;
        }
        if valid == retain {
            return Ok(Some(file));
        }
    }
    Ok(None)
}

fn remove<'a>(files: &Files, superfluous: impl Iterator<Item = &'a ZxidFile>) -> Result<(), StorageError> {
    for file in superfluous {
        info!(path = %file.path.display(), "purging");
        files.remove(&file.path)?;
    }
    Ok(())
}

/// `DatadirCleanupManager` and `PurgeTxnLog` refuse less.
const MIN_RETAIN: usize = 3;
