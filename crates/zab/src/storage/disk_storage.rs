//! [`Storage`] in files.

use std::path::Path;
use std::sync::Arc;

use zk_wire::ids::Zxid;

use super::directory::Directories;
use super::disk::{Disk, Files};
use super::error::StorageError;
use super::log_writer::LogWriter;
use super::os_disk::OsDisk;
use super::purge::Purger;
use super::recovery::recover;
use super::snapshot::FileSnapshotSink;
use super::truncate::truncate;
use super::{Restore, SnapshotSink, Storage, StorageOptions};

/// Storage in Apache's files, below `version-2` of a data and a log directory.
///
/// It holds a lock in both until it is dropped. Dropping it writes nothing: what was not synced is lost.
pub struct DiskStorage {
    files: Files,
    directories: Directories,
    options: StorageOptions,
    log: LogWriter,
    _locks: Vec<Box<dyn Send>>,
}

impl DiskStorage {
    /// Recovers what the directories hold into `restore` and goes on behind it, in a new log. The zxid is that
    /// of the last transaction; zero and no call of `restore` mean that there is nothing at all.
    ///
    /// In order: the directories are created, locked and checked; the newest valid snapshot is read; the logs
    /// are replayed; then a torn tail is cut.
    ///
    /// # Errors
    /// Whatever keeps the files from being what was once durable; each says where and what to do.
    pub fn open(
        data_dir: &Path,
        log_dir: &Path,
        options: StorageOptions,
        restore: &mut dyn Restore,
    ) -> Result<(DiskStorage, Zxid), StorageError> {
        Self::open_on(Arc::new(OsDisk), data_dir, log_dir, options, restore)
    }

    /// As [`open`](Self::open), on a file system of the caller's.
    ///
    /// # Errors
    /// As there.
    pub fn open_on(
        disk: Arc<dyn Disk>,
        data_dir: &Path,
        log_dir: &Path,
        options: StorageOptions,
        restore: &mut dyn Restore,
    ) -> Result<(DiskStorage, Zxid), StorageError> {
        let files = Files::new(disk);
        let directories = Directories::new(data_dir, log_dir);
        directories.prepare(&files)?;
        let locks = directories.locks().iter().map(|path| files.lock(path)).collect::<Result<_, _>>()?;
        directories.remove_unfinished(&files)?;
        let last = recover(&files, &directories, &options, restore)?;
        let storage = DiskStorage {
            log: LogWriter::new(files.clone(), directories.clone(), options),
            files,
            directories,
            options,
            _locks: locks,
        };
        Ok((storage, last))
    }
}

impl Storage for DiskStorage {
    fn append(&mut self, zxid: Zxid, entry: &[u8]) -> Result<(), StorageError> {
        self.log.append(zxid, entry)
    }

    fn sync(&mut self) -> Result<(), StorageError> {
        self.log.sync()
    }

    fn roll(&mut self) -> Result<(), StorageError> {
        self.log.roll()
    }

    fn snapshot_writer(&self, zxid: Zxid) -> Result<Box<dyn SnapshotSink>, StorageError> {
        let sink = FileSnapshotSink::new(
            self.files.clone(),
            self.directories.clone(),
            zxid,
            self.options.snapshot_compression,
        )?;
        Ok(Box::new(sink))
    }

    fn purger(&self) -> Purger {
        Purger {
            files: self.files.clone(),
            directories: self.directories.clone(),
            limit: self.options.entry_limit(),
        }
    }

    fn truncate(&mut self, zxid: Zxid, restore: &mut dyn Restore) -> Result<(), StorageError> {
        self.log.roll()?;
        truncate(&self.files, &self.directories, &self.options, zxid)?;
        recover(&self.files, &self.directories, &self.options, restore)?;
        Ok(())
    }
}
