//! From files to a tree (`FileTxnSnapLog.restore`, `fastForwardFromEdits`).
//!
//! ```text
//!   newest valid snapshot ──▶ newest log that starts at or below it ──▶ every log behind that ──▶ mend
//! ```
//!
//! Files are changed last, when everything else is known to be good: a torn tail is cut, and logs without
//! records at the end are removed, so that the next append may take their names.

use std::path::{Path, PathBuf};

use tracing::{info, warn};
use zk_wire::ids::Zxid;
use zk_wire::jute::Reader;
use zk_wire::snapshot::SnapshotError;
use zk_wire::txn::LoggedTxn;

use super::continuity::{Continuity, Step};
use super::directory::{Directories, ZxidFile};
use super::disk::Files;
use super::error::StorageError;
use super::log_file::{LogEnd, Record, Torn, read_log, unknown_txn};
use super::snapshot::{check_snapshot, restore_snapshot};
use super::{Restore, StorageOptions};

/// Streams what the directories hold into `restore`; the zxid of the last transaction, zero if none.
pub(super) fn recover(
    files: &Files,
    directories: &Directories,
    options: &StorageOptions,
    restore: &mut dyn Restore,
) -> Result<Zxid, StorageError> {
    let limit = options.entry_limit();
    let chosen = choose_snapshot(files, directories, limit)?;
    let logs = directories.logs(files)?;
    if let (None, Some(unusable), true) = (&chosen.snapshot, &chosen.unusable, logs.is_empty()) {
        return Err(unusable.refuse());
    }
    if let Some(snapshot) = &chosen.snapshot {
        restore_snapshot(files, snapshot, limit, restore)?;
    }
    let base = chosen.snapshot.as_ref().map(|snapshot| snapshot.zxid);
    let mut replay =
        Replay { order: Continuity::new(base, options.trust_empty), limit, mend: Mend::default(), restore };
    for log in from_base(&logs, base) {
        replay.log(files, &log.path)?;
    }
    let last = replay.order.last();
    let mend = replay.mend;
    if let Some(unusable) = &chosen.unusable {
        unusable.must_be_covered(last)?;
    }
    mend.apply(files, directories)?;
    info!(snapshot = ?base, %last, "recovered");
    Ok(last)
}

/// The logs that may hold transactions behind the snapshot: the newest that starts at or below it, and all
/// that start above (`FileTxnLog.getLogFiles`).
pub(super) fn from_base(logs: &[ZxidFile], base: Option<Zxid>) -> &[ZxidFile] {
    let base = base.unwrap_or(Zxid::ZERO);
    let above = logs.partition_point(|log| log.zxid <= base);
    &logs[above.saturating_sub(1)..]
}

/// The snapshot to start from.
struct Chosen {
    snapshot: Option<ZxidFile>,
    /// The newest snapshot, if it is not the chosen one.
    unusable: Option<Unusable>,
}

/// A snapshot that cannot be used.
struct Unusable {
    file: ZxidFile,
    reason: SnapshotError,
}

impl Unusable {
    /// There is nothing else to start from.
    fn refuse(&self) -> StorageError {
        StorageError::NoValidSnapshot { path: self.file.path.clone(), reason: self.reason.to_string() }
    }

    /// What it held must have come from elsewhere.
    fn must_be_covered(&self, reached: Zxid) -> Result<(), StorageError> {
        if reached >= self.file.zxid {
            return Ok(());
        }
        Err(StorageError::NotCovered { path: self.file.path.clone(), reached })
    }
}

/// The newest valid snapshot among the newest hundred (`FileSnap.findNValidSnapshots`).
fn choose_snapshot(files: &Files, directories: &Directories, limit: usize) -> Result<Chosen, StorageError> {
    let mut unusable = None;
    for file in directories.snapshots(files)?.into_iter().take(MAX_TRIED) {
        let reason = match check_snapshot(files, &file, limit)? {
            Ok(()) => return Ok(Chosen { snapshot: Some(file), unusable }),
            Err(reason) => reason,
        };
        warn!(path = %file.path.display(), %reason, "this snapshot cannot be used, trying an older one");
        unusable.get_or_insert(Unusable { file, reason });
    }
    Ok(Chosen { snapshot: None, unusable })
}

struct Replay<'a> {
    order: Continuity,
    limit: usize,
    mend: Mend,
    restore: &'a mut dyn Restore,
}

impl Replay<'_> {
    fn log(&mut self, files: &Files, path: &Path) -> Result<(), StorageError> {
        let (order, restore, mend, limit) = (&mut self.order, &mut *self.restore, &mut self.mend, self.limit);
        let mut first = true;
        let end = read_log(files, path, limit, &mut |record| {
            if std::mem::take(&mut first) {
                mend.superseded();
            }
            replay_record(path, &record, limit, order, restore)
        })?;
        if end.torn.is_some() {
            self.order.interrupted();
        }
        self.mend.note(path, end);
        Ok(())
    }
}

fn replay_record(
    path: &Path,
    record: &Record<'_>,
    limit: usize,
    order: &mut Continuity,
    restore: &mut dyn Restore,
) -> Result<(), StorageError> {
    let last = order.last();
    match order.step(record.zxid) {
        Step::Skip => Ok(()),
        Step::Apply => {
            let txn =
                decode(record.entry, limit).map_err(|source| unknown_txn(path, record.offset, source))?;
            restore.txn(txn).map_err(|source| StorageError::Restore { path: path.to_owned(), source })
        }
        Step::Gap => {
            Err(StorageError::Gap { path: path.to_owned(), offset: record.offset, last, found: record.zxid })
        }
        Step::NotTheBeginning => Err(StorageError::NoSnapshot { path: path.to_owned(), first: record.zxid }),
    }
}

fn decode(entry: &[u8], limit: usize) -> Result<LoggedTxn, zk_wire::jute::DecodeError> {
    let mut reader = Reader::with_limit(entry, limit);
    let txn = reader.read()?;
    reader.finish()?;
    Ok(txn)
}

/// What to change at the end of the logs.
#[derive(Debug, Default)]
struct Mend {
    /// The last log with records, if its tail is torn.
    cut: Option<(PathBuf, u64, Torn)>,
    /// Logs without records behind it.
    empty: Vec<(PathBuf, Option<Torn>)>,
}

impl Mend {
    /// A record follows, so what was noted is not the end.
    fn superseded(&mut self) {
        *self = Mend::default();
    }

    fn note(&mut self, path: &Path, log: LogEnd) {
        match log {
            LogEnd { empty: true, torn, .. } => self.empty.push((path.to_owned(), torn)),
            LogEnd { end, torn: Some(torn), .. } => self.cut = Some((path.to_owned(), end, torn)),
            LogEnd { .. } => {}
        }
    }

    /// Newest first, so that a crash in between leaves a directory that recovers to the same.
    fn apply(self, files: &Files, directories: &Directories) -> Result<(), StorageError> {
        let removed = !self.empty.is_empty();
        for (path, torn) in self.empty.into_iter().rev() {
            warn!(path = %path.display(), ?torn, "removing a transaction log without any transaction");
            files.remove(&path)?;
        }
        if removed {
            files.sync_dir(&directories.logs)?;
        }
        let Some((path, end, torn)) = self.cut else {
            return Ok(());
        };
        warn!(
            path = %path.display(), offset = end, bytes = torn.bytes, reason = ?torn.reason,
            "cutting an incomplete write off the end of the transaction log"
        );
        let mut file = files.open(&path)?;
        file.truncate(end)?;
        file.sync()
    }
}

/// `FileSnap.deserialize` tries as many.
const MAX_TRIED: usize = 100;
