//! Snapshots as files (`FileSnap`).

use std::io::{self, BufReader, BufWriter, IntoInnerError, Read, Write};
use std::path::Path;

use zk_wire::acl::Acl;
use zk_wire::digest::{DIGEST_VERSION, TxnDigest};
use zk_wire::ids::{SessionId, Zxid};
use zk_wire::snap_stream::{SnapWriter, SnapshotCompression};
use zk_wire::snapshot::{SnapshotError, SnapshotItem, SnapshotReader, SnapshotTail, SnapshotWriter};
use zk_wire::stat::StatPersisted;

use super::directory::{Directories, ZxidFile};
use super::disk::{Files, NamedFile, named};
use super::error::{Operation, RestoreError, StorageError};
use super::{Restore, SnapshotSink};

/// A snapshot being written under a temporary name, which goes when this is dropped.
pub(super) struct FileSnapshotSink {
    files: Files,
    directories: Directories,
    zxid: Zxid,
    compression: SnapshotCompression,
    /// Present until the file is complete.
    writer: Option<SnapshotWriter<Out>>,
    renamed: bool,
}

/// Fields gather, are compressed, gather again, and are written.
type Out = BufWriter<SnapWriter<BufWriter<Append>>>;

impl FileSnapshotSink {
    pub(super) fn new(
        files: Files,
        directories: Directories,
        zxid: Zxid,
        compression: SnapshotCompression,
    ) -> Result<Self, StorageError> {
        let file = files.create(&directories.unfinished_snapshot(zxid))?;
        let file = BufWriter::with_capacity(WRITE_BEHIND, Append { file, offset: 0, synced: 0 });
        let out = BufWriter::with_capacity(FIELDS, compression.writer(file));
        Ok(FileSnapshotSink {
            files,
            directories,
            zxid,
            compression,
            writer: Some(SnapshotWriter::new(out)),
            renamed: false,
        })
    }

    fn write(
        &mut self,
        step: impl FnOnce(&mut SnapshotWriter<Out>) -> io::Result<()>,
    ) -> Result<(), StorageError> {
        let result = self.writer.as_mut().map_or(Ok(()), step);
        self.named(result)
    }

    fn named<T>(&self, result: io::Result<T>) -> Result<T, StorageError> {
        let path = self.directories.unfinished_snapshot(self.zxid);
        named(Operation::Write, &path, result)
    }

    /// The complete file, with everything written.
    fn complete(&mut self, tail: &SnapshotTail) -> Result<Option<NamedFile>, StorageError> {
        let Some(writer) = self.writer.take() else {
            return Ok(None);
        };
        let out = self.named(writer.finish(tail))?;
        let out = self.named(out.into_inner().map_err(IntoInnerError::into_error))?;
        let out = self.named(out.finish())?;
        let out = self.named(out.into_inner().map_err(IntoInnerError::into_error))?;
        Ok(Some(out.file))
    }
}

impl SnapshotSink for FileSnapshotSink {
    fn begin(&mut self, sessions: &[(SessionId, i32)], acls: &[(i64, Vec<Acl>)]) -> Result<(), StorageError> {
        self.write(|writer| writer.begin(sessions, acls))
    }

    fn node(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        acl: i64,
        stat: &StatPersisted,
    ) -> Result<(), StorageError> {
        self.write(|writer| writer.node(path, data, acl, stat))
    }

    fn encoded(&mut self, nodes: &[u8]) -> Result<(), StorageError> {
        self.write(|writer| writer.encoded(nodes))
    }

    fn finish(
        mut self: Box<Self>,
        digest: Option<(Zxid, TxnDigest)>,
        last_zxid: Zxid,
    ) -> Result<(), StorageError> {
        let tail = SnapshotTail {
            digest: Some(digest.unwrap_or(SnapshotTail::EMPTY_DIGEST)),
            last_zxid: Some(last_zxid),
        };
        if let Some(mut file) = self.complete(&tail)? {
            file.sync()?;
        }
        let unfinished = self.directories.unfinished_snapshot(self.zxid);
        self.files.rename(&unfinished, &self.directories.snapshot(self.zxid, self.compression))?;
        self.renamed = true;
        self.files.sync_dir(&self.directories.snapshots)
    }
}

impl Drop for FileSnapshotSink {
    fn drop(&mut self) {
        if !self.renamed {
            // Best effort: the next start removes what is left.
            let _ = self.files.remove(&self.directories.unfinished_snapshot(self.zxid));
        }
    }
}

/// Writes a file from front to back, and makes it durable on the way: all at once at its end would hold up the
/// syncs of the log.
struct Append {
    file: NamedFile,
    offset: u64,
    synced: u64,
}

impl Write for Append {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_unnamed(bytes, self.offset)?;
        self.offset += bytes.len() as u64;
        if self.offset - self.synced >= SYNC_EVERY {
            self.file.sync_unnamed()?;
            self.synced = self.offset;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads a snapshot to its end and checks all its seals.
///
/// The outer error is that of opening the file, the inner one says why it is no valid snapshot.
pub(super) fn check_snapshot(
    files: &Files,
    snapshot: &ZxidFile,
    limit: usize,
) -> Result<Result<(), SnapshotError>, StorageError> {
    let file = files.open_to_read(&snapshot.path)?;
    let mut reader = reader(&file, snapshot.compression, limit);
    loop {
        match reader.next_item() {
            Ok(Some(_)) => {}
            Ok(None) => return Ok(Ok(())),
            Err(error) => return Ok(Err(error)),
        }
    }
}

/// Streams a snapshot, checked before, into `restore`.
pub(super) fn restore_snapshot(
    files: &Files,
    snapshot: &ZxidFile,
    limit: usize,
    restore: &mut dyn Restore,
) -> Result<(), StorageError> {
    let ZxidFile { zxid, path, compression } = snapshot;
    let file = files.open_to_read(path)?;
    let mut reader = reader(&file, *compression, limit);
    loop {
        let item =
            reader.next_item().map_err(|source| StorageError::Snapshot { path: path.to_owned(), source })?;
        let Some(item) = item else {
            return Ok(());
        };
        restore_item(item, *zxid, restore)
            .map_err(|source| StorageError::Restore { path: path.to_owned(), source })?;
    }
}

/// Does a file end as a snapshot does? Cheap, and all that Apache asks for (`SnapStream.isValidSnapshot`).
pub(super) fn looks_complete(files: &Files, path: &Path) -> Result<bool, StorageError> {
    let file = files.open_to_read(path)?;
    let len = file.len()?;
    let mut end = [0; 5];
    if len < 10 || file.read_at(&mut end, len - 5)? < end.len() {
        return Ok(false);
    }
    Ok(end == [0, 0, 0, 1, b'/'])
}

fn restore_item(item: SnapshotItem, name: Zxid, restore: &mut dyn Restore) -> Result<(), RestoreError> {
    match item {
        SnapshotItem::Session { id, timeout_ms } => restore.session(id, timeout_ms),
        SnapshotItem::Acl { id, acl } => restore.acl(id, acl),
        SnapshotItem::Node { path, data, acl, stat } => restore.node(&path, data, acl, stat)?,
        SnapshotItem::End(tail) => restore.snapshot_end(name, comparable(tail.digest, name))?,
    }
    Ok(())
}

/// A digest that is worth comparing: of the version that is implemented, and of a transaction that the tree
/// has not passed (`DataTree.deserializeZxidDigest`).
fn comparable(digest: Option<(Zxid, TxnDigest)>, name: Zxid) -> Option<(Zxid, TxnDigest)> {
    digest.filter(|(zxid, digest)| *zxid != Zxid::ZERO && *zxid >= name && digest.version == DIGEST_VERSION)
}

pub(super) fn reader(
    file: &NamedFile,
    compression: SnapshotCompression,
    limit: usize,
) -> SnapshotReader<BufReader<Box<dyn Read + '_>>> {
    SnapshotReader::new(BufReader::with_capacity(READ_AHEAD, compression.reader(file.stream(0))), limit)
}

const READ_AHEAD: usize = 256 << 10;
const WRITE_BEHIND: usize = 256 << 10;
const FIELDS: usize = 32 << 10;
/// So much takes a slow disk a few milliseconds.
const SYNC_EVERY: u64 = 4 << 20;
