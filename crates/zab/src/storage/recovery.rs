//! From files to a tree (`FileTxnSnapLog.restore`, `fastForwardFromEdits`).
//!
//! ```text
//!   newest valid snapshot ──▶ newest log that starts at or below it ──▶ every log behind that ──▶ mend
//! ```
//!
//! Files are changed last, when everything else is known to be good: a torn tail is cut, and logs without
//! records at the end are removed, so that the next append may take their names. What is left is synced: a killed
//! process may not have done so, and the next one builds on it.

use std::path::{Path, PathBuf};

use tracing::{info, warn};
use zk_wire::ids::Zxid;
use zk_wire::jute::Reader;
use zk_wire::snapshot::SnapshotError;
use zk_wire::txn::{LoggedTxn, SPAN_MARK};

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
    let chosen = choose_snapshot(files, directories, options.entry_limit())?;
    let logs = directories.logs(files)?;
    if let (None, Some(unusable), true) = (&chosen.snapshot, &chosen.unusable, logs.is_empty()) {
        return Err(unusable.refuse());
    }
    let snapshot = chosen.snapshot.as_ref();
    let Replayed { last, mend } = replay(files, &logs, snapshot, Zxid::MAX, options, restore)?;
    if let Some(unusable) = &chosen.unusable {
        unusable.must_be_covered(last)?;
    }
    mend.apply(files, directories)?;
    info!(snapshot = ?snapshot.map(|snapshot| snapshot.zxid), %last, "recovered");
    Ok(last)
}

/// How a replay ended.
pub(super) struct Replayed {
    /// The last transaction, of the snapshot if there was none behind it.
    pub(super) last: Zxid,
    /// What to change before the next append.
    pub(super) mend: Mend,
}

/// Streams a snapshot, checked before, and the transactions behind it up to `until`, and changes nothing.
pub(super) fn replay(
    files: &Files,
    logs: &[ZxidFile],
    snapshot: Option<&ZxidFile>,
    until: Zxid,
    options: &StorageOptions,
    restore: &mut dyn Restore,
) -> Result<Replayed, StorageError> {
    let limit = options.entry_limit();
    if let Some(snapshot) = snapshot {
        restore_snapshot(files, snapshot, limit, restore)?;
    }
    let base = snapshot.map(|snapshot| snapshot.zxid);
    let order = Continuity::new(base, options.trust_empty);
    let mut replay = Replay { order, limit, until, mend: Mend::default(), restore };
    for log in from_base(logs, base).iter().filter(|log| log.zxid <= until) {
        replay.log(files, &log.path)?;
    }
    Ok(Replayed { last: replay.order.last(), mend: replay.mend })
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
    /// The last transaction that is wanted.
    until: Zxid,
    mend: Mend,
    restore: &'a mut dyn Restore,
}

impl Replay<'_> {
    fn log(&mut self, files: &Files, path: &Path) -> Result<(), StorageError> {
        let (order, restore, mend) = (&mut self.order, &mut *self.restore, &mut self.mend);
        let (limit, until) = (self.limit, self.until);
        let mut first = true;
        let end = read_log(files, path, limit, &mut |record| {
            if std::mem::take(&mut first) {
                mend.superseded();
            }
            match record.zxid {
                zxid if zxid > until => Ok(()),
                _ => replay_record(path, &record, limit, order, restore),
            }
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

pub(super) fn decode(entry: &[u8], limit: usize) -> Result<LoggedTxn, zk_wire::jute::DecodeError> {
    Ok(decode_with_span(entry, limit)?.0)
}

/// A transaction, and where the span of records starts that share its sync; `None` if that is the record itself,
/// or if the log is not ours.
pub(super) fn decode_with_span(
    entry: &[u8],
    limit: usize,
) -> Result<(LoggedTxn, Option<u64>), zk_wire::jute::DecodeError> {
    let mut reader = Reader::with_limit(entry, limit);
    let txn = reader.read()?;
    let span = match reader.remaining() {
        SPAN_MARK => u64::try_from(reader.read::<i64>()?).ok(),
        _ => None,
    };
    reader.finish()?;
    Ok((txn, span))
}

/// What to change at the end of the logs.
#[derive(Debug, Default)]
pub(super) struct Mend {
    /// The last log with records, if its tail is torn.
    cut: Option<(PathBuf, u64, Torn)>,
    /// Logs without records behind it.
    empty: Vec<(PathBuf, Option<Torn>)>,
    /// The last log with records.
    newest: Option<PathBuf>,
}

impl Mend {
    /// A record follows, so what was noted is not the end.
    fn superseded(&mut self) {
        *self = Mend::default();
    }

    fn note(&mut self, path: &Path, log: LogEnd) {
        if !log.empty {
            self.newest = Some(path.to_owned());
        }
        match log {
            LogEnd { empty: true, torn, .. } => self.empty.push((path.to_owned(), torn)),
            LogEnd { end, torn: Some(torn), .. } => self.cut = Some((path.to_owned(), end, torn)),
            LogEnd { .. } => {}
        }
    }

    /// Newest first, so that a crash in between leaves a directory that recovers to the same.
    fn apply(self, files: &Files, directories: &Directories) -> Result<(), StorageError> {
        for (path, torn) in self.empty.into_iter().rev() {
            warn!(path = %path.display(), ?torn, "removing a transaction log without any transaction");
            files.remove(&path)?;
        }
        files.sync_dir(&directories.logs)?;
        let Some(newest) = self.newest else {
            return Ok(());
        };
        // What a process wrote and did not sync before it was killed is read, but may not be durable yet.
        let mut file = files.open(&newest)?;
        let Some((path, end, torn)) = self.cut else {
            return file.sync();
        };
        warn!(
            path = %path.display(), offset = end, bytes = torn.bytes, reason = ?torn.reason,
            "cutting an incomplete write off the end of the transaction log"
        );
        file.truncate(end)?;
        file.sync()
    }
}

/// `FileSnap.deserialize` tries as many.
const MAX_TRIED: usize = 100;
