//! Appending to the newest log (`FileTxnLog.append`, `commit`, `rollLog`).

use std::io;

use tracing::warn;
use zk_wire::ids::Zxid;
use zk_wire::jute::Jute;
use zk_wire::log_record::{FileHeader, RECORD_OVERHEAD, write_record, write_record_and};
use zk_wire::txn::SPAN_MARK;

use super::StorageOptions;
use super::directory::Directories;
use super::disk::{Files, NamedFile};
use super::error::StorageError;

/// The log that grows. A crash may leave any part of what was not synced, also a later record without an earlier
/// one; so that recovery can tell this from damage to what was synced, each record that shares its sync with
/// earlier ones says where these start.
/// Records gather in memory until [`sync`](Self::sync) or until there is a large batch.
pub(super) struct LogWriter {
    files: Files,
    directories: Directories,
    options: StorageOptions,
    current: Option<Current>,
    /// Behind `current.written`, not written yet.
    buffer: Vec<u8>,
    /// Where the records start that the next sync covers, in bytes; `None` if there are none.
    span: Option<u64>,
    failed: bool,
}

/// The newest log: written ≤ zeroed ≤ size.
struct Current {
    file: NamedFile,
    /// Bytes of header and records in the file.
    written: u64,
    /// Up to here there are blocks on the disk that hold something, if only zeros.
    zeroed: u64,
    /// Bytes of the file, zeros included.
    size: u64,
    /// Is the file's name durable?
    named: bool,
    /// Has the file bytes that are not durable?
    dirty: bool,
}

impl LogWriter {
    pub(super) fn new(files: Files, directories: Directories, options: StorageOptions) -> Self {
        LogWriter {
            files,
            directories,
            options,
            current: None,
            buffer: Vec::new(),
            span: None,
            failed: false,
        }
    }

    pub(super) fn append(&mut self, zxid: Zxid, entry: &[u8]) -> Result<(), StorageError> {
        let (length, limit) = (entry.len(), self.options.entry_limit());
        if length > limit {
            return Err(StorageError::EntryTooLong { zxid, length, limit });
        }
        self.finally(|log| log.try_append(zxid, entry))
    }

    pub(super) fn sync(&mut self) -> Result<(), StorageError> {
        self.finally(Self::try_sync)
    }

    pub(super) fn roll(&mut self) -> Result<(), StorageError> {
        self.finally(Self::try_roll)
    }

    /// Runs a step whose failure is final: after a failed write or fsync the kernel may have dropped what it
    /// could not write, and a second fsync would report success.
    fn finally(
        &mut self,
        step: impl FnOnce(&mut Self) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        if self.failed {
            return Err(StorageError::Failed);
        }
        let result = step(self);
        self.failed = result.is_err();
        result
    }

    fn try_append(&mut self, zxid: Zxid, entry: &[u8]) -> Result<(), StorageError> {
        let limit = self.options.txn_log_size_limit;
        if limit.is_some_and(|limit| self.length() > limit) {
            self.try_roll()?;
        }
        if self.current.is_none() {
            self.start(zxid)?;
        }
        if entry.len() + SPAN_MARK > self.options.entry_limit() {
            // There is no room for a mark, so it begins a span.
            self.try_sync()?;
        }
        self.buffer.reserve(entry.len() + RECORD_OVERHEAD + SPAN_MARK);
        match self.span {
            None => {
                self.span = Some(self.length());
                write_record(entry, &mut self.buffer);
            }
            Some(span) => write_record_and(entry, &span.to_be_bytes(), &mut self.buffer),
        }
        match self.buffer.len() {
            MAX_BUFFERED.. => self.write_out(),
            _ => Ok(()),
        }
    }

    fn try_sync(&mut self) -> Result<(), StorageError> {
        self.write_out()?;
        let Some(current) = self.current.as_mut().filter(|_| self.options.force_sync) else {
            return Ok(());
        };
        if current.dirty {
            current.file.sync()?;
            current.dirty = false;
            self.span = None;
        }
        if !current.named {
            self.files.sync_dir(&self.directories.logs)?;
            current.named = true;
        }
        Ok(())
    }

    fn try_roll(&mut self) -> Result<(), StorageError> {
        self.try_sync()?;
        (self.current, self.span) = (None, None);
        Ok(())
    }

    /// Creates `log.<zxid>`. Fails if it is there, so that nothing is ever overwritten.
    fn start(&mut self, zxid: Zxid) -> Result<(), StorageError> {
        let file = self.files.create(&self.directories.log(zxid))?;
        FileHeader::LOG.write(&mut self.buffer);
        self.current = Some(Current { file, written: 0, zeroed: 0, size: 0, named: false, dirty: false });
        Ok(())
    }

    /// Bytes of the current log, without zeros.
    fn length(&self) -> u64 {
        let written = self.current.as_ref().map_or(0, |current| current.written);
        written + self.buffer.len() as u64
    }

    fn write_out(&mut self) -> Result<(), StorageError> {
        let Some(current) = self.current.as_mut().filter(|_| !self.buffer.is_empty()) else {
            return Ok(());
        };
        let end = current.written + self.buffer.len() as u64;
        current.dirty = true;
        current.reserve(end, self.options.pre_alloc_bytes)?;
        current.file.write_at(&self.buffer, current.written)?;
        current.write_zeros(end, self.options.pre_alloc_bytes / ZEROED_PARTS)?;
        current.written = end;
        current.size = current.size.max(end);
        self.buffer.clear();
        self.buffer.shrink_to(2 * MAX_BUFFERED);
        Ok(())
    }
}

impl Current {
    /// When the records have come to the end of the zeros, writes more of them. A full disk is no error here either.
    fn write_zeros(&mut self, end: u64, step: u64) -> Result<(), StorageError> {
        if end <= self.zeroed {
            return Ok(());
        }
        let until = self.size.min(end + step.min(MAX_ZEROED));
        self.zeroed = end;
        while self.zeroed < until {
            let zeros = &ZEROS[..ZEROS.len().min((until - self.zeroed) as usize)];
            match self.file.write_at(zeros, self.zeroed) {
                Ok(()) => self.zeroed += zeros.len() as u64,
                Err(StorageError::Io { source, .. }) if source.kind() == io::ErrorKind::StorageFull => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Makes the file longer if the batch ends close to its end. A full disk is no error here: the batch may
    /// still fit.
    fn reserve(&mut self, end: u64, step: u64) -> Result<(), StorageError> {
        let size = padded_size(end, self.size, step);
        if size == self.size {
            return Ok(());
        }
        match self.file.allocate(size) {
            Ok(()) => self.size = size,
            Err(StorageError::Io { source, .. }) if source.kind() == io::ErrorKind::StorageFull => {
                warn!(path = %self.file.path().display(), bytes = size - self.size, "no space to pre-allocate the log");
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// The length of a file that is written up to `end`: longer by `step` when less than 4 KiB are left, and then
/// a header more than a multiple of `step`, as Apache makes it (`FilePadding.calculateFileSizeWithPadding`).
fn padded_size(end: u64, size: u64, step: u64) -> u64 {
    if step == 0 || end + PADDING_MARGIN < size {
        return size;
    }
    let header = FileHeader::LENGTH as u64;
    let missing = (end + PADDING_MARGIN + 1).saturating_sub(size.max(header));
    size.max(header) + missing.div_ceil(step).max(1) * step
}

/// A batch is written at the latest when it has so many bytes: large enough for few system calls, small
/// enough to keep the page cache busy before the sync.
const MAX_BUFFERED: usize = 1 << 20;

/// At a time, so small a part of the pre-allocated bytes is written with zeros. A record that overwrites zeros
/// costs one write to the disk; one in blocks that were only reserved makes the file system commit that they are
/// in use now, and its sync waits for the journal (PostgreSQL: `wal_init_zero`).
const ZEROED_PARTS: u64 = 256;

/// As many at most, however much is pre-allocated: a sync waits for them.
const MAX_ZEROED: u64 = 256 << 10;

static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// `FilePadding.calculateFileSizeWithPadding`.
const PADDING_MARGIN: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_that_of_recorded_logs() {
        let step = 64 << 10;
        let cases = [
            (100, 0, 65_552),
            (61_455, 65_552, 65_552),
            (61_456, 65_552, 131_088),
            (65_552, 65_552, 131_088),
            (1 << 20, 65_552, 16 + 17 * step),
        ];
        for (end, size, expected) in cases {
            assert_eq!(padded_size(end, size, step), expected, "{end} in {size}");
        }
        assert_eq!(padded_size(100, 0, 0), 0);
    }
}
