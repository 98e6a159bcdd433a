//! Dropping transactions that the ensemble never committed (`FileTxnLog.truncate`).

use tracing::info;
use zk_wire::ids::Zxid;

use super::StorageOptions;
use super::directory::{Directories, ZxidFile};
use super::disk::Files;
use super::error::StorageError;
use super::log_file::read_log;
use super::snapshot::check_snapshot;

/// Cuts the logs behind `zxid`, and removes snapshots that hold more.
///
/// Order: snapshots go first, then logs, newest first, then the rest of the log that holds `zxid`; each step
/// is durable before the next. So a crash in between leaves an older state that is complete in itself.
pub(super) fn truncate(
    files: &Files,
    directories: &Directories,
    options: &StorageOptions,
    zxid: Zxid,
) -> Result<(), StorageError> {
    let limit = options.entry_limit();
    let logs = directories.logs(files)?;
    let (kept, dropped) = logs.split_at(logs.partition_point(|log| log.zxid <= zxid));
    let cut = find_cut(files, kept.last(), zxid, limit)?;
    let found = cut.as_ref().is_some_and(|cut| cut.found);
    if !found && !has_snapshot(files, directories, zxid, limit)? {
        return Err(StorageError::NoSuchTxn { zxid });
    }
    for snapshot in directories.snapshots(files)? {
        if snapshot.zxid > zxid {
            files.remove(&snapshot.path)?;
        }
    }
    files.sync_dir(&directories.snapshots)?;
    for log in dropped.iter().rev() {
        files.remove(&log.path)?;
        files.sync_dir(&directories.logs)?;
    }
    if let Some(cut) = cut {
        let mut file = files.open(&cut.log.path)?;
        file.truncate(cut.offset)?;
        file.sync()?;
    }
    info!(%zxid, "dropped all transactions behind this one");
    Ok(())
}

/// Where to cut the log that holds the transaction.
struct Cut<'a> {
    log: &'a ZxidFile,
    /// Behind the last record that stays, in bytes.
    offset: u64,
    /// Is the transaction itself there?
    found: bool,
}

fn find_cut<'a>(
    files: &Files,
    log: Option<&'a ZxidFile>,
    zxid: Zxid,
    limit: usize,
) -> Result<Option<Cut<'a>>, StorageError> {
    let Some(log) = log else {
        return Ok(None);
    };
    let mut cut = None;
    read_log(files, &log.path, limit, &mut |record| {
        if record.zxid <= zxid {
            cut = Some(Cut { log, offset: record.end, found: record.zxid == zxid });
        }
        Ok(())
    })?;
    Ok(cut)
}

fn has_snapshot(
    files: &Files,
    directories: &Directories,
    zxid: Zxid,
    limit: usize,
) -> Result<bool, StorageError> {
    let snapshots = directories.snapshots(files)?;
    for file in snapshots.iter().filter(|file| file.zxid == zxid) {
        if check_snapshot(files, file, limit)?.is_ok() {
            return Ok(true);
        }
    }
    Ok(false)
}
