//! A data directory that is only read: files looked at one by one, and the tree as it was at a past moment.
//!
//! A server may go on writing there. What it is just writing looks like a torn tail and is not an error; files
//! that it purges meanwhile are.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use zk_wire::digest::TxnDigest;
use zk_wire::ids::Zxid;
use zk_wire::jute::{DEFAULT_MAX_BUFFER, Reader};
use zk_wire::snapshot::{SnapshotError, SnapshotItem, SnapshotTail};
use zk_wire::txn::{LoggedTxn, TxnHeader};

use super::directory::{Directories, ZxidFile};
use super::disk::{Disk, Files};
use super::error::StorageError;
use super::log_file::{Torn, read_log, unknown_txn};
use super::os_disk::OsDisk;
use super::recovery::{decode, replay};
use super::snapshot::{check_snapshot, reader};
use super::{Restore, StorageOptions};

/// The snapshots and logs of a directory.
#[derive(Debug, Clone)]
pub struct Archive {
    pub(super) files: Files,
    pub(super) directories: Directories,
    pub(super) options: StorageOptions,
}

/// A moment in a server's history: the state behind the last transaction that is not after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// A transaction.
    At(Zxid),
    /// Milliseconds since 1970, by the clock of whoever led.
    Time(i64),
    /// The end of the logs.
    Now,
}

/// A snapshot or a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveFile {
    /// What its name says: a snapshot's last transaction when it began, a log's first.
    pub zxid: Zxid,
    /// Where it is.
    pub path: PathBuf,
}

/// A record of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveRecord {
    /// Where it starts, in bytes.
    pub offset: u64,
    /// The bytes of its entry.
    pub length: usize,
    /// The transaction.
    pub txn: LoggedTxn,
}

/// How a log ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveLogEnd {
    /// Where the last valid record ends, in bytes.
    pub end: u64,
    /// What is wrong behind it, in words, if there is anything but zeros.
    pub torn: Option<String>,
}

/// Why a past state cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The files are not what they should be.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Everything that reached so far back is purged.
    #[error("nothing reaches back to {wanted}: the oldest state that can be had is that of {oldest}")]
    TooEarly {
        /// The transaction asked for.
        wanted: Zxid,
        /// The first one possible.
        oldest: Zxid,
    },
    /// The directory has no state at all.
    #[error("there is neither a valid snapshot nor a log that starts at the beginning in {}", .0.display())]
    Nothing(PathBuf),
    /// No log is so old.
    #[error("no transaction is as old as that: the logs begin at {0} ms since 1970")]
    BeforeLogs(i64),
}

impl Archive {
    /// The directories of a server as in its configuration; files in `data_dir` itself, without `version-2`, are
    /// found too.
    #[must_use]
    pub fn open(data_dir: &Path, log_dir: &Path) -> Self {
        Self::open_on(Arc::new(OsDisk), data_dir, log_dir)
    }

    /// As [`open`](Self::open), on a file system of the caller's.
    #[must_use]
    pub fn open_on(disk: Arc<dyn Disk>, data_dir: &Path, log_dir: &Path) -> Self {
        let files = Files::new(disk);
        let mut directories = Directories::new(data_dir, log_dir);
        if !files.exists(&directories.snapshots) {
            data_dir.clone_into(&mut directories.snapshots);
        }
        if !files.exists(&directories.logs) {
            log_dir.clone_into(&mut directories.logs);
        }
        let options = StorageOptions { jute_max_buffer: LARGE.max(DEFAULT_MAX_BUFFER), ..Default::default() };
        Archive { files, directories, options }
    }

    /// Snapshots, newest first.
    ///
    /// # Errors
    /// The directory cannot be listed.
    pub fn snapshots(&self) -> Result<Vec<ArchiveFile>, StorageError> {
        Ok(self.directories.snapshots(&self.files)?.into_iter().map(ArchiveFile::from).collect())
    }

    /// Logs, oldest first.
    ///
    /// # Errors
    /// The directory cannot be listed.
    pub fn logs(&self) -> Result<Vec<ArchiveFile>, StorageError> {
        Ok(self.directories.logs(&self.files)?.into_iter().map(ArchiveFile::from).collect())
    }

    /// Gives each record of a log to `visit`.
    ///
    /// # Errors
    /// The file cannot be read, is damaged, or holds what is no transaction.
    pub fn read_log(
        &self,
        path: &Path,
        visit: &mut dyn FnMut(ArchiveRecord),
    ) -> Result<ArchiveLogEnd, StorageError> {
        let limit = self.options.entry_limit();
        let end = read_log(&self.files, path, limit, &mut |record| {
            let txn =
                decode(record.entry, limit).map_err(|source| unknown_txn(path, record.offset, source))?;
            visit(ArchiveRecord { offset: record.offset, length: record.entry.len(), txn });
            Ok(())
        })?;
        Ok(ArchiveLogEnd { end: end.end, torn: end.torn.map(|torn| describe(&torn)) })
    }

    /// Gives each item of a snapshot to `visit`. Nothing may be trusted before the last one, the end.
    ///
    /// # Errors
    /// The file cannot be read or is no valid snapshot.
    pub fn read_snapshot(
        &self,
        path: &Path,
        visit: &mut dyn FnMut(SnapshotItem),
    ) -> Result<SnapshotTail, StorageError> {
        let compression = Directories::compression(path);
        let file = self.files.open_to_read(path)?;
        let mut reader = reader(&file, compression, self.options.entry_limit());
        let failed = |source| StorageError::Snapshot { path: path.to_owned(), source };
        let mut tail = SnapshotTail::default();
        while let Some(item) = reader.next_item().map_err(failed)? {
            if let SnapshotItem::End(end) = &item {
                tail = *end;
            }
            visit(item);
        }
        Ok(tail)
    }

    /// Is it a valid snapshot, and up to which transaction may it hold effects? A snapshot of before 3.6 does
    /// not say.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn check_snapshot(&self, file: &ArchiveFile) -> Result<Result<(), SnapshotError>, StorageError> {
        check_snapshot(&self.files, &file.into(), self.options.entry_limit())
    }

    /// Streams the state at a moment into `restore`; the last transaction of it.
    ///
    /// It starts from the newest valid snapshot that holds nothing later, or from nothing if the logs begin at
    /// the beginning.
    ///
    /// # Errors
    /// The state cannot be had, or the files that make it are damaged.
    pub fn restore(&self, moment: Moment, restore: &mut dyn Restore) -> Result<Zxid, ArchiveError> {
        let until = self.resolve(moment)?;
        let (base, oldest) = self.base(until)?;
        let logs = self.directories.logs(&self.files)?;
        if base.is_none() && !begins(&logs) {
            return Err(match oldest {
                Some(oldest) => ArchiveError::TooEarly { wanted: until, oldest },
                None => ArchiveError::Nothing(self.directories.snapshots.clone()),
            });
        }
        Ok(replay(&self.files, &logs, base.as_ref(), until, &self.options, restore)?.last)
    }

    /// Streams a state that is not behind `since` into `restore`, and then each transaction up to a moment; the
    /// last one. Where nothing reaches back so far, it begins with the oldest state that can be had.
    ///
    /// # Errors
    /// There is no state, or the files are damaged.
    pub fn replay(
        &self,
        since: Zxid,
        until: Moment,
        restore: &mut dyn Restore,
    ) -> Result<Zxid, ArchiveError> {
        let until = self.resolve(until)?;
        let logs = self.directories.logs(&self.files)?;
        let mut base = self.base(since)?.0;
        if base.is_none() && !begins(&logs) {
            base = self.oldest()?;
            if base.is_none() {
                return Err(ArchiveError::Nothing(self.directories.snapshots.clone()));
            }
        }
        Ok(replay(&self.files, &logs, base.as_ref(), until, &self.options, restore)?.last)
    }

    fn oldest(&self) -> Result<Option<ZxidFile>, StorageError> {
        for file in self.directories.snapshots(&self.files)?.into_iter().rev() {
            if check_snapshot(&self.files, &file, self.options.entry_limit())?.is_ok() {
                return Ok(Some(file));
            }
        }
        Ok(None)
    }

    /// The transaction that a moment stands for.
    ///
    /// # Errors
    /// No log is so old, or one cannot be read.
    pub fn resolve(&self, moment: Moment) -> Result<Zxid, ArchiveError> {
        match moment {
            Moment::Now => Ok(Zxid::MAX),
            Moment::At(zxid) => Ok(zxid),
            Moment::Time(time_ms) => self.last_before(time_ms),
        }
    }

    fn last_before(&self, time_ms: i64) -> Result<Zxid, ArchiveError> {
        let (mut found, mut first) = (None, None);
        let limit = self.options.entry_limit();
        for log in self.directories.logs(&self.files)? {
            read_log(&self.files, &log.path, limit, &mut |record| {
                let header: TxnHeader = Reader::new(record.entry)
                    .read()
                    .map_err(|source| unknown_txn(&log.path, record.offset, source))?;
                first.get_or_insert(header.time_ms);
                // Clocks may go back; what was first logged after the moment is not before it.
                if header.time_ms <= time_ms {
                    found = Some(record.zxid);
                }
                Ok(())
            })?;
        }
        match (found, first) {
            (Some(zxid), _) => Ok(zxid),
            (None, Some(first)) => Err(ArchiveError::BeforeLogs(first)),
            (None, None) => Err(ArchiveError::Nothing(self.directories.logs.clone())),
        }
    }

    /// The newest valid snapshot that holds nothing behind `until`, and the earliest state that any has.
    fn base(&self, until: Zxid) -> Result<(Option<ZxidFile>, Option<Zxid>), StorageError> {
        let mut oldest = None;
        for file in self.directories.snapshots(&self.files)? {
            let Ok(tail) = self.read_snapshot(&file.path, &mut |_| {}) else { continue };
            let holds = last_effect(&tail).map_or(file.zxid, |last| last.max(file.zxid));
            if holds <= until {
                return Ok((Some(file), oldest));
            }
            oldest = Some(holds);
        }
        Ok((None, oldest))
    }
}

/// Does the first log begin with the first transaction of all?
fn begins(logs: &[ZxidFile]) -> bool {
    logs.first().is_some_and(|log| log.zxid == Zxid(1) || log.zxid == Zxid::new(1, 1))
}

/// The last transaction whose effects a snapshot may hold, if it says so.
pub(super) fn last_effect(tail: &SnapshotTail) -> Option<Zxid> {
    let digest: Option<(Zxid, TxnDigest)> = tail.digest;
    tail.last_zxid.or(digest.map(|(zxid, _)| zxid))
}

fn describe(torn: &Torn) -> String {
    let reason = torn.reason.as_ref().map_or("zeros".to_owned(), ToString::to_string);
    format!("{} bytes of an incomplete write: {reason}", torn.bytes)
}

impl From<ZxidFile> for ArchiveFile {
    fn from(file: ZxidFile) -> Self {
        ArchiveFile { zxid: file.zxid, path: file.path }
    }
}

impl From<&ArchiveFile> for ZxidFile {
    fn from(file: &ArchiveFile) -> Self {
        let compression = Directories::compression(&file.path);
        ZxidFile { zxid: file.zxid, path: file.path.clone(), compression }
    }
}

/// Whoever looks at files need not know the server's `jute.maxbuffer`.
const LARGE: usize = 64 << 20;
