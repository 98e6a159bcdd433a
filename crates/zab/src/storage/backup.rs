//! Backups: a snapshot and the logs behind it, with a list that says what belongs to them.
//!
//! ```text
//!   DEST/version-2/snapshot.<zxid>   the newest valid one
//!   DEST/version-2/log.<zxid> …      as far as they have valid records
//!   DEST/zoobridge-backup            one line per file: CRC-32, bytes, name; written last
//! ```
//!
//! A backup is a data directory too: a server starts on it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use zk_wire::ids::Zxid;

use super::archive::{Archive, ArchiveError, Moment, last_effect};
use super::directory::{Directories, ZxidFile};
use super::disk::{Files, NamedFile};
use super::error::StorageError;
use super::log_file::read_log;
use super::recovery::from_base;
use super::snapshot::check_snapshot;
use crate::tree::restore::Restoring;

/// What a backup or a restore has made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// Its files.
    pub files: Vec<BackupFile>,
    /// The last transaction in it.
    pub last: Zxid,
    /// Znodes behind that.
    pub znodes: usize,
}

/// A file of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupFile {
    /// Its name within `version-2`.
    pub name: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// The CRC-32 of its bytes.
    pub crc: u32,
}

/// Why there is no backup, or why one is not restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Files cannot be read or written, or are damaged.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// What was copied does not make a state.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// There is something already.
    #[error("{} is not empty: choose another directory, or move away what is there", .0.display())]
    NotEmpty(PathBuf),
    /// No list of files.
    #[error("{} is no complete backup: it has no readable list of files", .0.display())]
    NotABackup(PathBuf),
    /// A file is not the one that was written.
    #[error("{} is not as it was written: restore another backup", .0.display())]
    Altered(PathBuf),
    /// The digests in the backup are not those of its tree.
    #[error("{0} digests do not agree with the tree: restore another backup")]
    Mismatches(u64),
    /// A fuzzy snapshot without all of the transactions whose effects it holds.
    #[error(
        "the logs end with {last}, but the snapshot is complete only with {needed}: restore another backup"
    )]
    Incomplete {
        /// The last transaction there is.
        last: Zxid,
        /// The last one that is needed.
        needed: Zxid,
    },
    /// A server deleted files faster than they were copied.
    #[error("a server purged files while they were copied, {0} times in a row; try again")]
    Purged(usize),
}

impl Archive {
    /// Copies the newest valid snapshot and the logs behind it to `dest`, which must be empty or not there, and
    /// checks the copy as a server would read it. A server may run meanwhile.
    ///
    /// # Errors
    /// As [`BackupError`] lists them. What is then in `dest` has no list, so nobody takes it for a backup.
    pub fn back_up(&self, dest: &Path) -> Result<Backup, BackupError> {
        let copy = Directories::new(dest, dest);
        self.refuse_unless_empty(dest)?;
        self.files.create_dirs(&copy.snapshots)?;
        for _ in 0..ATTEMPTS {
            match self.copy_to(&copy) {
                Err(StorageError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                    for name in self.files.list(&copy.snapshots)? {
                        self.files.remove(&copy.snapshots.join(name))?;
                    }
                }
                Err(error) => return Err(error.into()),
                Ok(files) => return self.seal(dest, &copy, files),
            }
        }
        Err(BackupError::Purged(ATTEMPTS))
    }

    /// Copies this directory, which must be a complete backup, to the directories of a server that have neither
    /// snapshots nor logs, and checks the copy.
    ///
    /// # Errors
    /// As [`BackupError`] lists them.
    pub fn restore_backup(&self, data_dir: &Path, log_dir: &Path) -> Result<Backup, BackupError> {
        let root = self.directories.snapshots.parent().unwrap_or(&self.directories.snapshots);
        let listed = self.listed(root)?;
        for file in &listed {
            let path = self.directories.snapshots.join(&file.name);
            let found = self.files.open_to_read(&path).and_then(|open| sum(&open))?;
            if found != (file.bytes, file.crc) {
                return Err(BackupError::Altered(path));
            }
        }
        self.check(Archive { directories: self.directories.clone(), ..self.clone() })?;
        let target = Directories::new(data_dir, log_dir);
        for dir in [&target.snapshots, &target.logs] {
            self.refuse_unless_empty(dir)?;
        }
        target.prepare(&self.files)?;
        let _locks =
            target.locks().iter().map(|path| self.files.lock(path)).collect::<Result<Vec<_>, _>>()?;
        // Logs last: a snapshot without its logs is refused by nobody, but it is not all.
        for file in listed.iter().rev() {
            let dir = if file.name.starts_with("log.") { &target.logs } else { &target.snapshots };
            let from = self.files.open_to_read(&self.directories.snapshots.join(&file.name))?;
            copy(&self.files, &from, file.bytes, &dir.join(&file.name))?;
        }
        self.files.sync_dir(&target.snapshots)?;
        self.files.sync_dir(&target.logs)?;
        let (last, znodes) = self.check(Archive { directories: target, ..self.clone() })?;
        Ok(Backup { files: listed, last, znodes })
    }

    /// Snapshots, logs and lists make a directory one that must not be written to.
    fn refuse_unless_empty(&self, dir: &Path) -> Result<(), BackupError> {
        let is_empty = !self.files.exists(dir)
            || self.files.list(dir)?.iter().all(|name| name == "zab.lock" || name == "version-2");
        let below = dir.join("version-2");
        let nothing_below = !self.files.exists(&below) || self.files.list(&below)?.is_empty();
        match is_empty && nothing_below {
            true => Ok(()),
            false => Err(BackupError::NotEmpty(dir.to_owned())),
        }
    }

    fn copy_to(&self, copy_dirs: &Directories) -> Result<Vec<BackupFile>, StorageError> {
        let limit = self.options.entry_limit();
        let mut base = None;
        for snapshot in self.directories.snapshots(&self.files)? {
            if check_snapshot(&self.files, &snapshot, limit)?.is_ok() {
                base = Some(snapshot);
                break;
            }
        }
        let mut copied = Vec::new();
        // Logs are listed behind the snapshot's check, so that they reach as far as it does.
        let logs = self.directories.logs(&self.files)?;
        for log in from_base(&logs, base.as_ref().map(|snapshot| snapshot.zxid)) {
            let end = read_log(&self.files, &log.path, limit, &mut |_| Ok(()))?;
            if !end.empty {
                copied.push(self.copy_one(log, Some(end.end), &copy_dirs.logs)?);
            }
        }
        if let Some(snapshot) = &base {
            copied.push(self.copy_one(snapshot, None, &copy_dirs.snapshots)?);
        }
        self.files.sync_dir(&copy_dirs.snapshots)?;
        Ok(copied)
    }

    fn copy_one(&self, file: &ZxidFile, bytes: Option<u64>, dir: &Path) -> Result<BackupFile, StorageError> {
        let from = self.files.open_to_read(&file.path)?;
        let bytes = bytes.map_or_else(|| from.len(), Ok)?;
        let name = file.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let crc = copy(&self.files, &from, bytes, &dir.join(&name))?;
        Ok(BackupFile { name, bytes, crc })
    }

    /// Writes the list, once the copy is known to be good.
    fn seal(
        &self,
        dest: &Path,
        copy_dirs: &Directories,
        files: Vec<BackupFile>,
    ) -> Result<Backup, BackupError> {
        let (last, znodes) = self.check(Archive { directories: copy_dirs.clone(), ..self.clone() })?;
        let mut list = format!("{HEADER}\n");
        for BackupFile { name, bytes, crc } in &files {
            let _ = writeln!(list, "{crc:08x} {bytes} {name}");
        }
        let _ = writeln!(list, "end {:x}", last.0);
        let unfinished = dest.join(format!("{LIST}.tmp"));
        let mut out = self.files.create(&unfinished)?;
        out.write_at(list.as_bytes(), 0)?;
        out.sync()?;
        self.files.rename(&unfinished, &dest.join(LIST))?;
        self.files.sync_dir(dest)?;
        Ok(Backup { files, last, znodes })
    }

    /// The last transaction and the znodes of a copy, read as a server would, with all digests right.
    fn check(&self, copy: Archive) -> Result<(Zxid, usize), BackupError> {
        let mut restoring = Restoring::default();
        let last = copy.restore(Moment::Now, &mut restoring)?;
        let (tree, mismatches) = restoring.finish();
        if mismatches > 0 {
            return Err(BackupError::Mismatches(mismatches));
        }
        for snapshot in copy.directories.snapshots(&copy.files)? {
            let tail = copy.read_snapshot(&snapshot.path, &mut |_| {})?;
            // A fuzzy snapshot is nothing without the transactions whose effects it holds.
            if let Some(needed) = last_effect(&tail).filter(|needed| *needed > last) {
                return Err(BackupError::Incomplete { last, needed });
            }
        }
        Ok((last, tree.len()))
    }

    fn listed(&self, root: &Path) -> Result<Vec<BackupFile>, BackupError> {
        let no_backup = || BackupError::NotABackup(root.to_owned());
        let path = root.join(LIST);
        if !self.files.exists(&path) {
            return Err(no_backup());
        }
        let file = self.files.open_to_read(&path)?;
        let mut text = vec![0; usize::try_from(file.len()?.min(MAX_LIST)).unwrap_or_default()];
        file.read_at(&mut text, 0)?;
        let text = String::from_utf8(text).map_err(|_| no_backup())?;
        let mut lines = text.lines();
        if lines.next() != Some(HEADER) || !text.lines().last().is_some_and(|last| last.starts_with("end ")) {
            return Err(no_backup());
        }
        let files =
            lines.take_while(|line| !line.starts_with("end ")).map(|line| parse(line).ok_or_else(no_backup));
        files.collect()
    }
}

/// A line of the list. Names with a path would lead elsewhere.
fn parse(line: &str) -> Option<BackupFile> {
    let mut words = line.splitn(3, ' ');
    let (crc, bytes, name) = (words.next()?, words.next()?, words.next()?);
    let is_plain = !name.contains('/') && (name.starts_with("log.") || name.starts_with("snapshot."));
    is_plain.then_some(BackupFile {
        name: name.to_owned(),
        bytes: bytes.parse().ok()?,
        crc: u32::from_str_radix(crc, 16).ok()?,
    })
}

/// Copies the first bytes of a file into a new one, and makes that durable; their CRC-32.
fn copy(files: &Files, from: &NamedFile, bytes: u64, to: &Path) -> Result<u32, StorageError> {
    let mut out = files.create(to)?;
    let (mut hasher, mut buffer, mut at) = (crc32fast::Hasher::new(), vec![0; CHUNK], 0);
    while at < bytes {
        let wanted = usize::try_from(bytes - at).unwrap_or(CHUNK).min(CHUNK);
        let read = from.read_at(&mut buffer[..wanted], at)?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
        out.write_at(&buffer[..read], at)?;
        at += read as u64;
    }
    out.sync()?;
    Ok(hasher.finalize())
}

/// The length and the CRC-32 of a file.
fn sum(file: &NamedFile) -> Result<(u64, u32), StorageError> {
    let (mut hasher, mut buffer, mut at) = (crc32fast::Hasher::new(), vec![0; CHUNK], 0);
    loop {
        let read = file.read_at(&mut buffer, at)?;
        if read == 0 {
            return Ok((at, hasher.finalize()));
        }
        hasher.update(&buffer[..read]);
        at += read as u64;
    }
}

const LIST: &str = "zoobridge-backup";
const HEADER: &str = "zoobridge backup 1";
const MAX_LIST: u64 = 1 << 20;
const CHUNK: usize = 256 << 10;
/// A purge happens behind a snapshot, which takes longer than copying a log does.
const ATTEMPTS: usize = 3;
