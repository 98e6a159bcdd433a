//! Reading one log (`FileTxnLog.FileTxnIterator`), and telling a torn tail from damage.

use std::io::BufReader;
use std::path::Path;

use zk_wire::ids::Zxid;
use zk_wire::jute::{DecodeError, Jute, Reader};
use zk_wire::log_record::{FileHeader, RecordError, RecordErrorKind, RecordReader};
use zk_wire::txn::TxnHeader;

use super::disk::{Files, NamedFile, named};
use super::error::{Operation, StorageError};
use super::search::{Found, search};

/// A record as it is in a log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record<'a> {
    /// Where it starts, in bytes.
    pub(super) offset: u64,
    /// Where the next one starts, in bytes.
    pub(super) end: u64,
    pub(super) zxid: Zxid,
    pub(super) entry: &'a [u8],
}

/// How a log ends.
#[derive(Debug)]
pub(super) struct LogEnd {
    /// Where the last valid record ends, in bytes; 0 if even the header is missing.
    pub(super) end: u64,
    /// Was there any record?
    pub(super) empty: bool,
    /// What follows the last record, unless that is nothing or zeros.
    pub(super) torn: Option<Torn>,
}

/// An incomplete write behind the last valid record.
#[derive(Debug)]
pub(super) struct Torn {
    /// Bytes up to the end of the file, zeros included.
    pub(super) bytes: u64,
    /// What is wrong with it; absent if it starts with zeros.
    pub(super) reason: Option<RecordError>,
}

/// Gives each record of a log to `visit`, in order, and finds out how the log ends. `limit` bounds an entry,
/// in bytes.
///
/// Memory: one entry and a few chunks.
pub(super) fn read_log(
    files: &Files,
    path: &Path,
    limit: usize,
    visit: &mut dyn FnMut(Record<'_>) -> Result<(), StorageError>,
) -> Result<LogEnd, StorageError> {
    let file = files.open_to_read(path)?;
    if !has_header(&file)? {
        return log_end(&file, 0, true, Zxid::ZERO, None);
    }
    let input = BufReader::with_capacity(READ_AHEAD, file.stream(FileHeader::LENGTH as u64));
    let mut reader = RecordReader::new(input, limit);
    let (mut empty, mut last) = (true, Zxid::ZERO);
    let reason = loop {
        let offset = reader.offset();
        match reader.next_entry() {
            Ok(Some(entry)) => {
                let zxid = zxid_of(entry).map_err(|source| unknown_txn(path, offset, source))?;
                visit(Record { offset, end: offset + record_length(entry), zxid, entry })?;
                (empty, last) = (false, zxid);
            }
            Ok(None) => break None,
            Err(error) => break Some(not_io(path, error)?),
        }
    };
    log_end(&file, reader.offset(), empty, last, reason)
}

/// An error about the bytes of a record that has the right checksum.
pub(super) fn unknown_txn(path: &Path, offset: u64, source: DecodeError) -> StorageError {
    StorageError::UnknownTxn { path: path.to_owned(), offset, source }
}

/// Is there a header? A file that a crash left may end within it, or have zeros instead.
fn has_header(file: &NamedFile) -> Result<bool, StorageError> {
    let mut bytes = [0; FileHeader::LENGTH];
    let filled = file.read_at(&mut bytes, 0)?;
    let expected = FileHeader::LOG.to_bytes();
    let good = filled == bytes.len()
        && Reader::new(&bytes).read().is_ok_and(|header: FileHeader| header.same_format(&FileHeader::LOG));
    let begun = expected.starts_with(&bytes[..filled]);
    let zeros = bytes.iter().all(|byte| *byte == 0);
    if good || begun || zeros {
        return Ok(good);
    }
    Err(StorageError::NotALog { path: file.path().to_owned() })
}

/// What is behind the last valid record, at `end`. `reason` says why there is no further one.
fn log_end(
    file: &NamedFile,
    end: u64,
    empty: bool,
    last: Zxid,
    reason: Option<RecordError>,
) -> Result<LogEnd, StorageError> {
    let torn = match search(file, end, last)? {
        Found::Zeros => None,
        Found::Remains => Some(Torn { bytes: file.len()?.saturating_sub(end), reason }),
        Found::Record { offset, length } => return Err(damaged(file, end, offset, length, reason)),
    };
    Ok(LogEnd { end, empty, torn })
}

fn damaged(file: &NamedFile, end: u64, next: u64, length: u64, reason: Option<RecordError>) -> StorageError {
    let path = file.path().to_owned();
    match reason {
        Some(RecordError { kind: RecordErrorKind::TooLong { limit, .. }, offset }) if offset == next => {
            StorageError::LoggedEntryTooLong { path, offset, length, limit }
        }
        source => StorageError::Damaged { path, offset: end, next, source },
    }
}

fn not_io(path: &Path, error: RecordError) -> Result<RecordError, StorageError> {
    match error.kind {
        RecordErrorKind::Io(source) => named(Operation::Read, path, Err(source)),
        _ => Ok(error),
    }
}

fn zxid_of(entry: &[u8]) -> Result<Zxid, DecodeError> {
    Ok(Reader::new(entry).read::<TxnHeader>()?.zxid)
}

fn record_length(entry: &[u8]) -> u64 {
    (entry.len() + zk_wire::log_record::RECORD_OVERHEAD) as u64
}

/// Few system calls for a long log, little memory for a short one.
const READ_AHEAD: usize = 256 << 10;
