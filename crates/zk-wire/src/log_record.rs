//! The transaction log's file format (`FileTxnLog`): a [`FileHeader`], then records, then zeros.
//!
//! ```text
//!   ZKLG 2 0 │ i64 Adler32(entry) │ i32 length │ entry │ 'B' │ … │ 0 0 0 …
//!   16 bytes │ 8                  │ 4          │       │ 1   │   │ pre-allocated
//! ```
//!
//! An entry is a [`LoggedTxn`](crate::txn::LoggedTxn); this module does not look into it.

use std::io::{self, Read};

pub use adler2::Adler32;

use crate::jute::{Jute, record, write_sized};

record! {
    /// `FileHeader`: the first 16 bytes of a log or a snapshot.
    #[derive(Copy)]
    FileHeader {
        /// What kind of file it is.
        magic: i32,
        /// The format's version; 2 since ZooKeeper 3.0.
        version: i32,
        /// Never used: 0 in logs, -1 in snapshots.
        dbid: i64,
    }
}

impl FileHeader {
    /// The header of a log: "ZKLG".
    pub const LOG: FileHeader = FileHeader { magic: 0x5a4b_4c47, version: 2, dbid: 0 };
    /// The header of a snapshot: "ZKSN".
    pub const SNAPSHOT: FileHeader = FileHeader { magic: 0x5a4b_534e, version: 2, dbid: -1 };
    /// Bytes of a header.
    pub const LENGTH: usize = 16;

    /// Do both name the same kind of file in the same version? The dbid does not matter.
    #[must_use]
    pub fn same_format(&self, other: &FileHeader) -> bool {
        (self.magic, self.version) == (other.magic, other.version)
    }
}

/// Bytes that a record takes besides its entry.
pub const RECORD_OVERHEAD: usize = RECORD_PREFIX + 1;

/// Bytes in front of the entry: checksum and length.
pub const RECORD_PREFIX: usize = 12;

/// The shortest entry: a `TxnHeader` alone.
pub const MIN_ENTRY: usize = 32;

/// The last byte of each record (`EOR` in `Util.writeTxnBytes`).
pub const END_OF_RECORD: u8 = b'B';

/// The checksum of an entry.
#[must_use]
pub fn adler32(entry: &[u8]) -> u32 {
    adler2::adler32_slice(entry)
}

/// Appends the record of one entry to `out`.
pub fn write_record(entry: &[u8], out: &mut Vec<u8>) {
    i64::from(adler32(entry)).write(out);
    write_sized(Some(entry), out);
    out.push(END_OF_RECORD);
}

/// As [`write_record`], with a few bytes behind the entry, which ZooKeeper's readers do not look at.
pub fn write_record_and(entry: &[u8], more: &[u8], out: &mut Vec<u8>) {
    let mut adler = Adler32::new();
    adler.write_slice(entry);
    adler.write_slice(more);
    i64::from(adler.checksum()).write(out);
    crate::jute::write_length(entry.len() + more.len(), out);
    out.extend_from_slice(entry);
    out.extend_from_slice(more);
    out.push(END_OF_RECORD);
}

/// Why a record is not one.
#[derive(Debug, thiserror::Error)]
#[error("no valid record at byte {offset}: {kind}")]
pub struct RecordError {
    /// Where the record starts, in bytes from the start of the file.
    pub offset: u64,
    /// What is wrong with it.
    pub kind: RecordErrorKind,
}

/// The closed list of what can be wrong with a record.
#[derive(Debug, thiserror::Error)]
pub enum RecordErrorKind {
    /// The file ends first.
    #[error("the file ends within it")]
    Truncated,
    /// No entry has this length.
    #[error("an entry cannot have {0} bytes")]
    BadLength(i32),
    /// The entry is longer than the reader accepts.
    #[error("its entry of {length} bytes is above the limit of {limit} bytes")]
    TooLong {
        /// The claimed length.
        length: usize,
        /// The limit in force.
        limit: usize,
    },
    /// The entry is not what was written.
    #[error("its checksum is {computed:#x} but {stored:#x} is stored")]
    Checksum {
        /// What the record says.
        stored: i64,
        /// What its bytes say.
        computed: u32,
    },
    /// The last byte is missing.
    #[error("it ends with {0:#04x} instead of 'B'")]
    Terminator(u8),
    /// The file could not be read at all.
    #[error("reading failed: {0}")]
    Io(io::Error),
}

/// Reads the records of a log one after the other.
///
/// Memory: one entry, at most `limit` bytes, and never more than a small multiple of the bytes really there.
#[derive(Debug)]
pub struct RecordReader<R> {
    input: R,
    offset: u64,
    limit: usize,
    entry: Vec<u8>,
}

impl<R: Read> RecordReader<R> {
    /// A reader of what is behind the file header. `limit` bounds an entry, in bytes.
    pub fn new(input: R, limit: usize) -> Self {
        RecordReader { input, offset: FileHeader::LENGTH as u64, limit, entry: Vec::new() }
    }

    /// Where the last valid record ends, in bytes from the start of the file.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next entry; `None` at the end of the file and where the zeros begin.
    ///
    /// # Errors
    /// What is there is not a record. [`RecordReader::offset`] stays in front of it and the reader must not
    /// be used further. Whether that is a torn tail or damage is for the caller to find out.
    pub fn next_entry(&mut self) -> Result<Option<&[u8]>, RecordError> {
        match self.read_record() {
            Ok(false) => Ok(None),
            Ok(true) => {
                self.offset += (self.entry.len() + RECORD_OVERHEAD) as u64;
                Ok(Some(&self.entry))
            }
            Err(kind) => Err(RecordError { offset: self.offset, kind }),
        }
    }

    fn read_record(&mut self) -> Result<bool, RecordErrorKind> {
        let mut prefix = [0; RECORD_PREFIX];
        let filled = self.fill(&mut prefix)?;
        if prefix.iter().all(|byte| *byte == 0) {
            return Ok(false);
        }
        if filled < RECORD_PREFIX {
            return Err(RecordErrorKind::Truncated);
        }
        let (stored, length) = split_prefix(prefix);
        self.read_entry(length)?;
        self.check(stored)?;
        Ok(true)
    }

    fn read_entry(&mut self, claimed: i32) -> Result<(), RecordErrorKind> {
        let length = usize::try_from(claimed)
            .ok()
            .filter(|length| *length >= MIN_ENTRY)
            .ok_or(RecordErrorKind::BadLength(claimed))?;
        if length > self.limit {
            return Err(RecordErrorKind::TooLong { length, limit: self.limit });
        }
        self.entry.clear();
        // Grows with what arrives, not with what was claimed.
        let mut input = (&mut self.input).take(length as u64);
        match input.read_to_end(&mut self.entry).map_err(RecordErrorKind::Io)? {
            read if read == length => Ok(()),
            _ => Err(RecordErrorKind::Truncated),
        }
    }

    fn check(&mut self, stored: i64) -> Result<(), RecordErrorKind> {
        let mut end = [0];
        if self.fill(&mut end)? == 0 {
            return Err(RecordErrorKind::Truncated);
        }
        if end[0] != END_OF_RECORD {
            return Err(RecordErrorKind::Terminator(end[0]));
        }
        let computed = adler32(&self.entry);
        if stored != i64::from(computed) {
            return Err(RecordErrorKind::Checksum { stored, computed });
        }
        Ok(())
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, RecordErrorKind> {
        fill(&mut self.input, buffer).map_err(RecordErrorKind::Io)
    }
}

/// The stored checksum and the length of the entry.
#[must_use]
pub fn split_prefix(prefix: [u8; RECORD_PREFIX]) -> (i64, i32) {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = prefix;
    (i64::from_be_bytes([a, b, c, d, e, f, g, h]), i32::from_be_bytes([i, j, k, l]))
}

/// Reads until `buffer` is full or the input ends; the number of bytes read.
pub(crate) fn fill(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jute::Reader;
    use crate::txn::LoggedTxn;
    use proptest::prelude::*;

    const LIMIT: usize = 1 << 21;

    fn vector(path: &str) -> Vec<u8> {
        std::fs::read(format!("{}/tests/vectors/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    }

    /// Logs of real servers: what is decoded and encoded again is the same file, up to the zeros behind it.
    #[test]
    fn recorded_logs_round_trip() {
        let cases = [
            ("standalone-3.8.0/log.1", 46),
            ("standalone-3.8.0/log.2f", 4),
            ("standalone-3.9.3/log.1", 47),
            ("standalone-3.9.3/log.2f", 4),
            ("trunc-3.9.3/old-leader-before/log.100000001", 3),
            ("trunc-3.9.3/old-leader-after/log.100000001", 2),
            ("trunc-3.9.3/new-leader/log.100000001", 2),
        ];
        for (path, expected) in cases {
            let file = vector(path);
            let header: FileHeader = Reader::new(&file).read().unwrap();
            assert_eq!(header, FileHeader::LOG, "{path}");
            let mut written = header.to_bytes();
            let mut reader = RecordReader::new(&file[FileHeader::LENGTH..], LIMIT);
            let mut count = 0;
            while let Some(entry) = reader.next_entry().unwrap() {
                let mut input = Reader::new(entry);
                let txn: LoggedTxn = input.read().unwrap();
                input.finish().unwrap();
                write_record(&txn.to_bytes(), &mut written);
                count += 1;
            }
            assert_eq!((count, reader.offset()), (expected, written.len() as u64), "{path}");
            assert!(file[written.len()..].iter().all(|byte| *byte == 0), "{path}");
            assert_eq!(written, file[..written.len()], "{path}");
        }
    }

    #[test]
    fn each_kind_of_damage_has_its_name() {
        let mut good = Vec::new();
        write_record(&[7; 40], &mut good);
        let with = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            bytes
        };
        let cases = [
            (good[..good.len() - 1].to_vec(), "the file ends within it"),
            (good[..5].to_vec(), "the file ends within it"),
            (with(11, 31), "an entry cannot have 31 bytes"),
            (with(8, 0x80), "an entry cannot have -2147483608 bytes"),
            (with(8, 1), "above the limit"),
            (with(20, 8), "its checksum is"),
            (with(0, 1), "its checksum is"),
            (with(52, 0), "it ends with 0x00 instead of 'B'"),
        ];
        for (bytes, expected) in cases {
            let mut reader = RecordReader::new(&bytes[..], LIMIT);
            let message = reader.next_entry().unwrap_err().to_string();
            assert!(message.contains(expected), "{message} should say {expected}");
            assert_eq!(reader.offset(), 16);
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut reader = RecordReader::new(&bytes[..], 300);
            while let Ok(Some(entry)) = reader.next_entry() {
                let _ = Reader::new(entry).read::<LoggedTxn>();
            }
        }

        #[test]
        fn entries_come_back(entries in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 32..80), 0..5), zeros in 0usize..40) {
            let mut bytes = Vec::new();
            for entry in &entries {
                write_record(entry, &mut bytes);
            }
            bytes.resize(bytes.len() + zeros, 0);
            let mut reader = RecordReader::new(&bytes[..], LIMIT);
            for entry in &entries {
                prop_assert_eq!(reader.next_entry().unwrap(), Some(&entry[..]));
            }
            prop_assert!(reader.next_entry().unwrap().is_none());
        }
    }
}
