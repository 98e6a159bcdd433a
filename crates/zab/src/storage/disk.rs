//! The few things that storage asks of a file system.
//!
//! What they make durable is the contract: a file's content by [`DiskFile::sync`], its name by
//! [`Disk::sync_dir`] of its directory, and nothing else.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::{Operation, StorageError};

/// A file system.
pub trait Disk: Send + Sync + fmt::Debug {
    /// Creates a directory whose parent is there; one that is there already is fine.
    ///
    /// # Errors
    /// The system's.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Is there a file or directory?
    fn exists(&self, path: &Path) -> bool;

    /// The names in a directory, in any order, without those that are not UTF-8.
    ///
    /// # Errors
    /// The system's.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Creates a file for reading and writing.
    ///
    /// # Errors
    /// `AlreadyExists`, or the system's.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Opens a file for reading and writing.
    ///
    /// # Errors
    /// The system's.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Opens a file for reading.
    ///
    /// # Errors
    /// The system's.
    fn open_to_read(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Renames a file within its directory; one that has the name already is replaced.
    ///
    /// # Errors
    /// The system's.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// The system's.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the entries of a directory durable.
    ///
    /// # Errors
    /// The system's.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Bytes that may still be written to the file system of a directory.
    ///
    /// # Errors
    /// The system's.
    fn free_bytes(&self, dir: &Path) -> io::Result<u64>;

    /// Creates a file if need be and locks it until the value is dropped or the process ends.
    ///
    /// # Errors
    /// `WouldBlock` if somebody has the lock, or the system's.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send>>;
}

/// An open file. Positions are bytes from its start.
#[allow(clippy::len_without_is_empty)]
pub trait DiskFile: Send {
    /// Reads some bytes; zero is the end.
    ///
    /// # Errors
    /// The system's.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all bytes.
    ///
    /// # Errors
    /// The system's.
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// The file's length in bytes.
    ///
    /// # Errors
    /// The system's.
    fn len(&self) -> io::Result<u64>;

    /// Shortens the file.
    ///
    /// # Errors
    /// The system's.
    fn truncate(&mut self, len: u64) -> io::Result<()>;

    /// Reserves space up to `len` bytes and makes that the file's length, with zeros.
    ///
    /// # Errors
    /// The system's.
    fn allocate(&mut self, len: u64) -> io::Result<()>;

    /// Makes content and length durable (fdatasync).
    ///
    /// # Errors
    /// The system's.
    fn sync(&mut self) -> io::Result<()>;
}

/// A disk whose errors name the operation and the path.
#[derive(Debug, Clone)]
pub(super) struct Files(Arc<dyn Disk>);

impl Files {
    pub(super) fn new(disk: Arc<dyn Disk>) -> Self {
        Files(disk)
    }

    /// Creates a directory and those above it, each durable in its parent.
    pub(super) fn create_dirs(&self, path: &Path) -> Result<(), StorageError> {
        if self.0.exists(path) {
            return Ok(());
        }
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        if let Some(parent) = parent {
            self.create_dirs(parent)?;
        }
        named(Operation::CreateDirectory, path, self.0.create_dir(path))?;
        self.sync_dir(parent.unwrap_or(Path::new(".")))
    }

    pub(super) fn list(&self, dir: &Path) -> Result<Vec<String>, StorageError> {
        named(Operation::List, dir, self.0.list(dir))
    }

    pub(super) fn create(&self, path: &Path) -> Result<NamedFile, StorageError> {
        let file = named(Operation::Create, path, self.0.create(path))?;
        Ok(NamedFile::new(file, path))
    }

    pub(super) fn open(&self, path: &Path) -> Result<NamedFile, StorageError> {
        let file = named(Operation::Open, path, self.0.open(path))?;
        Ok(NamedFile::new(file, path))
    }

    pub(super) fn open_to_read(&self, path: &Path) -> Result<NamedFile, StorageError> {
        let file = named(Operation::Open, path, self.0.open_to_read(path))?;
        Ok(NamedFile::new(file, path))
    }

    pub(super) fn exists(&self, path: &Path) -> bool {
        self.0.exists(path)
    }

    pub(super) fn rename(&self, from: &Path, to: &Path) -> Result<(), StorageError> {
        named(Operation::Rename, from, self.0.rename(from, to))
    }

    pub(super) fn remove(&self, path: &Path) -> Result<(), StorageError> {
        named(Operation::Remove, path, self.0.remove(path))
    }

    pub(super) fn sync_dir(&self, dir: &Path) -> Result<(), StorageError> {
        named(Operation::SyncDirectory, dir, self.0.sync_dir(dir))
    }

    pub(super) fn free_bytes(&self, dir: &Path) -> Result<u64, StorageError> {
        named(Operation::FreeSpace, dir, self.0.free_bytes(dir))
    }

    pub(super) fn lock(&self, path: &Path) -> Result<Box<dyn Send>, StorageError> {
        match self.0.lock(path) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Err(StorageError::Locked { path: path.to_owned() })
            }
            result => named(Operation::Lock, path, result),
        }
    }
}

/// An open file whose errors name the operation and the path.
pub(super) struct NamedFile {
    file: Box<dyn DiskFile>,
    path: PathBuf,
}

impl NamedFile {
    fn new(file: Box<dyn DiskFile>, path: &Path) -> Self {
        NamedFile { file, path: path.to_owned() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads until `buffer` is full or the file ends; the number of bytes read.
    pub(super) fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, StorageError> {
        let mut filled = 0;
        while filled < buffer.len() {
            let read = self.file.read_at(&mut buffer[filled..], offset + filled as u64);
            match named(Operation::Read, &self.path, read)? {
                0 => break,
                read => filled += read,
            }
        }
        Ok(filled)
    }

    /// Writes all bytes, for those who name the error themselves.
    pub(super) fn write_unnamed(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(bytes, offset)
    }

    /// As [`sync`](Self::sync), for those who name the error themselves.
    pub(super) fn sync_unnamed(&mut self) -> io::Result<()> {
        self.file.sync()
    }

    pub(super) fn write_at(&mut self, bytes: &[u8], offset: u64) -> Result<(), StorageError> {
        named(Operation::Write, &self.path, self.file.write_at(bytes, offset))
    }

    pub(super) fn len(&self) -> Result<u64, StorageError> {
        named(Operation::Read, &self.path, self.file.len())
    }

    pub(super) fn truncate(&mut self, len: u64) -> Result<(), StorageError> {
        named(Operation::Truncate, &self.path, self.file.truncate(len))
    }

    pub(super) fn allocate(&mut self, len: u64) -> Result<(), StorageError> {
        named(Operation::Allocate, &self.path, self.file.allocate(len))
    }

    pub(super) fn sync(&mut self) -> Result<(), StorageError> {
        named(Operation::Sync, &self.path, self.file.sync())
    }

    /// The file's bytes from `offset` on, as a stream.
    pub(super) fn stream(&self, offset: u64) -> Stream<'_> {
        Stream { file: self, offset }
    }
}

/// Reads a file from front to back.
pub(super) struct Stream<'a> {
    file: &'a NamedFile,
    offset: u64,
}

impl io::Read for Stream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.file.read_at(buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

/// Names an error's operation and path.
pub(super) fn named<T>(operation: Operation, path: &Path, result: io::Result<T>) -> Result<T, StorageError> {
    result.map_err(|source| StorageError::Io { operation, path: path.to_owned(), source })
}
