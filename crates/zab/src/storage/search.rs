//! Looking for valid records behind something that is none.
//!
//! A crash leaves any part of what was not synced. Whatever has a valid record behind it was durable once, unless
//! that record says that both were to share a sync; so it must not be dropped in silence.

use zk_wire::ids::Zxid;
use zk_wire::log_record::{
    Adler32, END_OF_RECORD, FileHeader, MIN_ENTRY, RECORD_OVERHEAD, RECORD_PREFIX, split_prefix,
};

use super::disk::NamedFile;
use super::error::StorageError;
use super::recovery::decode_with_span;

/// What is in a part of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing but zeros, or nothing at all.
    Zeros,
    /// Bytes, but no record.
    Remains,
    /// What is, or might be, a record.
    Record {
        /// Where it starts, in bytes.
        offset: u64,
        /// The length of its entry in bytes.
        length: u64,
    },
}

/// Searches a file from `from` on for a record of a transaction not below `at_least`.
///
/// Memory is a few chunks. Work is bounded too: bytes that somebody arranged to look like very many records
/// end the search with the one at hand as found, which errs on the side of refusing.
pub(super) fn search(file: &NamedFile, from: u64, at_least: Zxid) -> Result<Found, StorageError> {
    let len = file.len()?;
    let mut search = Search {
        file,
        len,
        at_least,
        from,
        passed: from,
        budget: (len.saturating_sub(from)).saturating_mul(4).max(MIN_BUDGET),
        buffer: vec![0; CHUNK],
    };
    let mut window = vec![0; CHUNK + LOOKAHEAD];
    let mut found = Found::Zeros;
    let mut start = from;
    while start < len {
        let filled = file.read_at(&mut window, start)?;
        let bytes = &window[..filled];
        if bytes.iter().any(|byte| *byte != 0) {
            found = Found::Remains;
            if let Some(record) = search.window(bytes, start)? {
                return Ok(record);
            }
        }
        start += CHUNK as u64;
    }
    Ok(found)
}

struct Search<'a> {
    file: &'a NamedFile,
    len: u64,
    at_least: Zxid,
    /// Where the damage is.
    from: u64,
    /// In front of this there are records that were to share a sync with what is damaged.
    passed: u64,
    /// Bytes that may still be read to check candidates.
    budget: u64,
    buffer: Vec<u8>,
}

/// What looks like the start of a record.
struct Candidate {
    offset: u64,
    checksum: u32,
    length: u64,
}

impl Search<'_> {
    fn window(&mut self, bytes: &[u8], start: u64) -> Result<Option<Found>, StorageError> {
        for at in 0..bytes.len().min(CHUNK) {
            if start + (at as u64) < self.passed {
                continue;
            }
            let Some(candidate) = self.candidate(&bytes[at..], start + at as u64) else {
                continue;
            };
            if !self.is_record(&candidate)? {
                continue;
            }
            let Candidate { offset, length, .. } = candidate;
            if !self.shares_sync(&candidate)? {
                return Ok(Some(Found::Record { offset, length }));
            }
            self.passed = offset + RECORD_OVERHEAD as u64 + length;
        }
        Ok(None)
    }

    fn candidate(&self, bytes: &[u8], offset: u64) -> Option<Candidate> {
        let prefix = bytes.first_chunk::<RECORD_PREFIX>()?;
        let (stored, length) = split_prefix(*prefix);
        let checksum = u32::try_from(stored).ok()?;
        let length = u64::try_from(length).ok().filter(|length| *length >= MIN_ENTRY as u64)?;
        let zxid = bytes.get(RECORD_PREFIX + ZXID_IN_ENTRY..)?.first_chunk::<8>()?;
        let fits = offset + RECORD_OVERHEAD as u64 + length <= self.len;
        (fits && i64::from_be_bytes(*zxid) >= self.at_least.0).then_some(Candidate {
            offset,
            checksum,
            length,
        })
    }

    fn is_record(&mut self, candidate: &Candidate) -> Result<bool, StorageError> {
        let start = candidate.offset + RECORD_PREFIX as u64;
        let end = start + candidate.length;
        let mut terminator = [0];
        self.file.read_at(&mut terminator, end)?;
        if !self.spend(CANDIDATE_COST) {
            return Ok(true);
        }
        if terminator[0] != END_OF_RECORD {
            return Ok(false);
        }
        if !self.spend(candidate.length) {
            return Ok(true);
        }
        Ok(self.checksum(start, end)? == candidate.checksum)
    }

    /// Does a record say that what is damaged was not synced before it was written?
    fn shares_sync(&mut self, candidate: &Candidate) -> Result<bool, StorageError> {
        let Ok(length) = usize::try_from(candidate.length) else { return Ok(false) };
        if length > MAX_MARKED || !self.spend(candidate.length) {
            return Ok(false);
        }
        let mut entry = vec![0; length];
        self.file.read_at(&mut entry, candidate.offset + RECORD_PREFIX as u64)?;
        let Ok((_, span)) = decode_with_span(&entry, length) else { return Ok(false) };
        // The header is synced with the first records.
        let span = match span.unwrap_or(candidate.offset) {
            first if first <= FileHeader::LENGTH as u64 => 0,
            span => span,
        };
        Ok(span <= self.from)
    }

    /// Is there budget left for so many bytes?
    fn spend(&mut self, bytes: u64) -> bool {
        let left = self.budget.checked_sub(bytes);
        self.budget = left.unwrap_or(0);
        left.is_some()
    }

    fn checksum(&mut self, mut start: u64, end: u64) -> Result<u32, StorageError> {
        let mut adler = Adler32::new();
        while start < end {
            let wanted = usize::try_from(end - start).unwrap_or(CHUNK).min(CHUNK);
            let read = self.file.read_at(&mut self.buffer[..wanted], start)?;
            if read == 0 {
                break;
            }
            adler.write_slice(&self.buffer[..read]);
            start += read as u64;
        }
        Ok(adler.checksum())
    }
}

const CHUNK: usize = 64 << 10;

/// Longer entries are refused everywhere.
const MAX_MARKED: usize = i32::MAX as usize;

/// A candidate can be told by its prefix and its zxid.
const LOOKAHEAD: usize = RECORD_PREFIX + MIN_ENTRY;

/// `TxnHeader.zxid` follows clientId and cxid.
const ZXID_IN_ENTRY: usize = 8 + 4;

/// Checking a candidate costs a system call, about as much as reading so many bytes.
const CANDIDATE_COST: u64 = 4096;

/// Enough for any honest log: its records are checked once, and chance makes few candidates.
const MIN_BUDGET: u64 = 256 << 20;
