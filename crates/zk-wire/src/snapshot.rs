//! The snapshot's file format (`FileSnap`, `SerializeUtils`, `DataTree.serialize`).
//!
//! ```text
//!   ZKSN 2 -1 │ sessions │ ACLs │ nodes, parents first │ "/" │ seal │ digest │ seal │ last zxid │ seal
//!                                                             3.4 ──┘   3.6 ──────┘   3.9 ─────────┘
//! ```
//!
//! A seal is the Adler32 of all bytes in front of it, earlier seals included, and the string "/". A reader
//! may find the file's end behind any seal. The root's path is the empty string; children come in any order.

use std::io::{self, Read, Write};

use adler2::Adler32;
use bytes::Bytes;

use crate::acl::{Acl, Id};
use crate::digest::{DIGEST_VERSION, Digest, TxnDigest};
use crate::ids::{SessionId, Zxid};
use crate::jute::{DecodeError, DecodeErrorKind, Jute, Reader, write_sized};
use crate::log_record::{FileHeader, fill};
use crate::stat::StatPersisted;

/// The id of the ACL that lets anyone do everything; it is not in the file's map of ACLs
/// (`ReferenceCountedACLCache.OPEN_UNSAFE_ACL_ID`).
pub const OPEN_ACL_ID: i64 = -1;

/// What follows the nodes. Which parts are there depends on the writer's version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SnapshotTail {
    /// Since 3.6: a transaction and the tree's digest behind it. A zxid of zero is an empty digest.
    pub digest: Option<(Zxid, TxnDigest)>,
    /// Since 3.9: the last transaction whose effects are in the file.
    pub last_zxid: Option<Zxid>,
}

impl SnapshotTail {
    /// The tail of a server that knows no digest (`DataTree.serializeZxidDigest`).
    pub const EMPTY_DIGEST: (Zxid, TxnDigest) =
        (Zxid::ZERO, TxnDigest { version: DIGEST_VERSION, tree_digest: Digest::ZERO });
}

/// Writes a snapshot: [`begin`](Self::begin) once, [`node`](Self::node) for each znode, parents first and
/// the root as "", then [`finish`](Self::finish). Each field costs a write, so give it a buffered `W`.
#[derive(Debug)]
pub struct SnapshotWriter<W> {
    out: W,
    adler: Adler32,
    scratch: Vec<u8>,
}

impl<W: Write> SnapshotWriter<W> {
    /// A writer that has written nothing yet.
    pub fn new(out: W) -> Self {
        SnapshotWriter { out, adler: Adler32::new(), scratch: Vec::new() }
    }

    /// Writes the header, the sessions with their timeouts in milliseconds, and the ACLs by id.
    ///
    /// # Errors
    /// `W` failed.
    pub fn begin(&mut self, sessions: &[(SessionId, i32)], acls: &[(i64, Vec<Acl>)]) -> io::Result<()> {
        FileHeader::SNAPSHOT.write(&mut self.scratch);
        self.count(sessions.len())?;
        for (id, timeout_ms) in sessions {
            id.write(&mut self.scratch);
            timeout_ms.write(&mut self.scratch);
        }
        self.count(acls.len())?;
        for (id, acl) in acls {
            id.write(&mut self.scratch);
            acl.write(&mut self.scratch);
        }
        self.flush_scratch()
    }

    /// Writes one znode. `acl` is an id of [`begin`](Self::begin), or [`OPEN_ACL_ID`].
    ///
    /// # Errors
    /// `W` failed.
    pub fn node(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        acl: i64,
        stat: &StatPersisted,
    ) -> io::Result<()> {
        write_node(path, data, acl, stat, &mut self.scratch);
        self.flush_scratch()
    }

    /// Writes znodes that [`write_node`] encoded.
    ///
    /// # Errors
    /// `W` failed.
    pub fn encoded(&mut self, nodes: &[u8]) -> io::Result<()> {
        self.adler.write_slice(nodes);
        self.out.write_all(nodes)
    }

    /// Writes the end of the nodes, the tail and the seals; flushes nothing.
    ///
    /// # Errors
    /// `W` failed.
    pub fn finish(mut self, tail: &SnapshotTail) -> io::Result<W> {
        write_sized(Some(END.as_bytes()), &mut self.scratch);
        self.seal()?;
        if let Some((zxid, digest)) = &tail.digest {
            zxid.write(&mut self.scratch);
            digest.write(&mut self.scratch);
            self.seal()?;
        }
        if let Some(zxid) = &tail.last_zxid {
            zxid.write(&mut self.scratch);
            self.seal()?;
        }
        Ok(self.out)
    }

    fn count(&mut self, count: usize) -> io::Result<()> {
        i32::try_from(count)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "more than 2^31 sessions or ACLs"))?
            .write(&mut self.scratch);
        Ok(())
    }

    fn seal(&mut self) -> io::Result<()> {
        self.flush_scratch()?;
        i64::from(self.adler.checksum()).write(&mut self.scratch);
        write_sized(Some(END.as_bytes()), &mut self.scratch);
        self.flush_scratch()
    }

    fn flush_scratch(&mut self) -> io::Result<()> {
        self.adler.write_slice(&self.scratch);
        self.out.write_all(&self.scratch)?;
        self.scratch.clear();
        Ok(())
    }
}

/// Appends a znode as it is in a snapshot.
pub fn write_node(path: &str, data: Option<&[u8]>, acl: i64, stat: &StatPersisted, out: &mut Vec<u8>) {
    write_sized(Some(path.as_bytes()), out);
    write_sized(data, out);
    acl.write(out);
    stat.write(out);
}

/// Why bytes are not a snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The input failed.
    #[error("reading failed at byte {offset}: {source}")]
    Io {
        /// How far it got, in bytes.
        offset: u64,
        /// Why.
        source: io::Error,
    },
    /// Another kind of file, or a version not known here.
    #[error("not a snapshot of version 2: the header is {0:?}")]
    Header(FileHeader),
    /// A field is not what it should be.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The bytes are not those that were written.
    #[error("the seal at byte {offset} says {stored:#x} but the bytes in front of it say {computed:#x}")]
    Seal {
        /// Where the seal starts, in bytes.
        offset: u64,
        /// The checksum it holds.
        stored: i64,
        /// The checksum of the bytes.
        computed: u32,
    },
    /// Something follows the last seal, or a part of the tail has no length that any version writes.
    #[error("{0} bytes behind the nodes are no tail")]
    Tail(usize),
}

/// One step through a snapshot, in the file's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SnapshotItem {
    /// A session.
    Session {
        /// Its id.
        id: SessionId,
        /// Its timeout in milliseconds.
        timeout_ms: i32,
    },
    /// An ACL that znodes refer to.
    Acl {
        /// Its id in this file.
        id: i64,
        /// The list.
        acl: Vec<Acl>,
    },
    /// A znode.
    Node {
        /// Its path; the root's is empty.
        path: String,
        /// Its data.
        data: Option<Bytes>,
        /// The id of its ACL, or [`OPEN_ACL_ID`]. A fuzzy snapshot may name an ACL that is not in it.
        acl: i64,
        /// Its stat.
        stat: StatPersisted,
    },
    /// The end; all seals were right.
    End(SnapshotTail),
}

/// Reads a snapshot item by item. Give it a buffered `R`.
///
/// Memory: one item. Strings and buffers above `limit` bytes are refused, and what is allocated grows with
/// the bytes really there. Nothing may be trusted before [`SnapshotItem::End`], since the first seal is
/// behind the nodes.
#[derive(Debug)]
pub struct SnapshotReader<R> {
    input: Sealed<R>,
    part: Part,
}

/// Where the reader is; numbers are items left.
#[derive(Debug)]
enum Part {
    Header,
    Sessions(i32),
    Acls(i32),
    Nodes,
    Done,
}

impl<R: Read> SnapshotReader<R> {
    /// A reader at the start of a file. `limit` bounds each string and buffer, in bytes.
    pub fn new(input: R, limit: usize) -> Self {
        SnapshotReader {
            input: Sealed { input, adler: Adler32::new(), offset: 0, limit },
            part: Part::Header,
        }
    }

    /// The next item; `None` behind [`SnapshotItem::End`].
    ///
    /// # Errors
    /// The bytes are no snapshot; the reader must not be used further.
    pub fn next_item(&mut self) -> Result<Option<SnapshotItem>, SnapshotError> {
        loop {
            match self.part {
                Part::Header => self.header()?,
                Part::Sessions(0) => self.part = Part::Acls(self.input.count("aclCount")?),
                Part::Sessions(left) => {
                    self.part = Part::Sessions(left - 1);
                    return self.session().map(Some);
                }
                Part::Acls(0) => self.part = Part::Nodes,
                Part::Acls(left) => {
                    self.part = Part::Acls(left - 1);
                    return self.acl().map(Some);
                }
                Part::Nodes => return self.node_or_end().map(Some),
                Part::Done => return Ok(None),
            }
        }
    }

    fn header(&mut self) -> Result<(), SnapshotError> {
        let bytes: [u8; FileHeader::LENGTH] = self.input.array("header")?;
        let header: FileHeader = Reader::new(&bytes).read()?;
        if !header.same_format(&FileHeader::SNAPSHOT) {
            return Err(SnapshotError::Header(header));
        }
        self.part = Part::Sessions(self.input.count("sessionCount")?);
        Ok(())
    }

    fn session(&mut self) -> Result<SnapshotItem, SnapshotError> {
        Ok(SnapshotItem::Session {
            id: SessionId(self.input.long("id")?),
            timeout_ms: self.input.int("timeout")?,
        })
    }

    fn acl(&mut self) -> Result<SnapshotItem, SnapshotError> {
        let id = self.input.long("aclId")?;
        let mut acl = Vec::new();
        for _ in 0..self.input.count("acls")? {
            let perms = self.input.int("perms")?;
            let scheme = self.input.string("scheme")?;
            let id = self.input.string("id")?;
            acl.push(Acl { perms, id: Id { scheme, id } });
        }
        Ok(SnapshotItem::Acl { id, acl })
    }

    fn node_or_end(&mut self) -> Result<SnapshotItem, SnapshotError> {
        let path = self.input.string("path")?;
        if path == END {
            self.part = Part::Done;
            return Ok(SnapshotItem::End(self.tail()?));
        }
        let data = self.input.sized("data")?.map(Bytes::from);
        let fixed: [u8; 68] = self.input.array("acl")?;
        let mut fixed = Reader::new(&fixed);
        Ok(SnapshotItem::Node { path, data, acl: fixed.read()?, stat: fixed.read()? })
    }

    fn tail(&mut self) -> Result<SnapshotTail, SnapshotError> {
        self.input.seal()?;
        let rest = self.input.rest()?;
        let mut tail = Tail { bytes: &rest, read: 0, adler: self.input.adler, start: self.input.offset };
        let digest = match rest.len() {
            // A 3.9 server with digests switched off.
            0 | LAST_ZXID_PART => None,
            _ => Some(tail.digest()?),
        };
        let last_zxid = match tail.left() {
            0 => None,
            LAST_ZXID_PART => Some(tail.last_zxid()?),
            left => return Err(SnapshotError::Tail(left)),
        };
        Ok(SnapshotTail { digest, last_zxid })
    }
}

/// Fields from an input, with the checksum and the number of all bytes so far.
#[derive(Debug)]
struct Sealed<R> {
    input: R,
    adler: Adler32,
    offset: u64,
    limit: usize,
}

impl<R: Read> Sealed<R> {
    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], SnapshotError> {
        let mut bytes = [0; N];
        let read = fill(&mut self.input, &mut bytes).map_err(|source| self.io(source))?;
        if read < N {
            return Err(self.bad(field, DecodeErrorKind::Truncated { needed: N, left: read }));
        }
        self.consumed(&bytes);
        Ok(bytes)
    }

    fn int(&mut self, field: &'static str) -> Result<i32, SnapshotError> {
        self.array(field).map(i32::from_be_bytes)
    }

    fn long(&mut self, field: &'static str) -> Result<i64, SnapshotError> {
        self.array(field).map(i64::from_be_bytes)
    }

    /// How many items follow; a null vector has none.
    fn count(&mut self, field: &'static str) -> Result<i32, SnapshotError> {
        match self.int(field)? {
            -1 => Ok(0),
            count if count < 0 => Err(self.bad(field, DecodeErrorKind::NegativeLength(count))),
            count => Ok(count),
        }
    }

    fn sized(&mut self, field: &'static str) -> Result<Option<Vec<u8>>, SnapshotError> {
        let claimed = self.int(field)?;
        if claimed == -1 {
            return Ok(None);
        }
        let Ok(length) = usize::try_from(claimed) else {
            return Err(self.bad(field, DecodeErrorKind::NegativeLength(claimed)));
        };
        if length > self.limit {
            let limit = self.limit;
            return Err(self.bad(field, DecodeErrorKind::TooLong { length, limit }));
        }
        self.take(length, field).map(Some)
    }

    /// Bytes whose number was claimed by the input, so nothing is allocated on its word above one page.
    fn take(&mut self, length: usize, field: &'static str) -> Result<Vec<u8>, SnapshotError> {
        let mut bytes = Vec::with_capacity(length.min(4096));
        let mut input = (&mut self.input).take(length as u64);
        let read = match input.read_to_end(&mut bytes) {
            Ok(read) => read,
            Err(source) => return Err(self.io(source)),
        };
        if read < length {
            let kind = DecodeErrorKind::Truncated { needed: length, left: read };
            return Err(self.bad(field, kind));
        }
        self.consumed(&bytes);
        Ok(bytes)
    }

    fn string(&mut self, field: &'static str) -> Result<String, SnapshotError> {
        let bytes = self.sized(field)?.ok_or_else(|| self.bad(field, DecodeErrorKind::Null))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn seal(&mut self) -> Result<(), SnapshotError> {
        let (computed, offset) = (self.adler.checksum(), self.offset);
        let bytes: [u8; SEAL] = self.array("seal")?;
        check_seal(bytes, computed, offset)
    }

    /// All that follows, which is short in every version.
    fn rest(&mut self) -> Result<Vec<u8>, SnapshotError> {
        let mut bytes = Vec::new();
        let mut input = (&mut self.input).take(LONGEST_TAIL as u64 + 1);
        if let Err(source) = input.read_to_end(&mut bytes) {
            return Err(self.io(source));
        }
        match bytes.len() {
            length if length > LONGEST_TAIL => Err(SnapshotError::Tail(length)),
            _ => Ok(bytes),
        }
    }

    fn consumed(&mut self, bytes: &[u8]) {
        self.adler.write_slice(bytes);
        self.offset += bytes.len() as u64;
    }

    fn bad(&self, field: &'static str, kind: DecodeErrorKind) -> SnapshotError {
        let offset = usize::try_from(self.offset).unwrap_or(usize::MAX);
        DecodeError::new(offset, kind).within("Snapshot", field).into()
    }

    fn io(&self, source: io::Error) -> SnapshotError {
        SnapshotError::Io { offset: self.offset, source }
    }
}

/// What is behind the first seal.
struct Tail<'a> {
    bytes: &'a [u8],
    read: usize,
    adler: Adler32,
    start: u64,
}

impl Tail<'_> {
    fn left(&self) -> usize {
        self.bytes.len() - self.read
    }

    fn digest(&mut self) -> Result<(Zxid, TxnDigest), SnapshotError> {
        let mut reader = Reader::new(&self.bytes[self.read..]);
        let zxid = reader.read()?;
        let version = reader.read()?;
        let tree_digest = match version {
            // Version 1 kept hexadecimal text (`DataTree.ZxidDigest.deserialize`).
            i32::MIN..DIGEST_VERSION => hex_digest(&reader.read::<Option<String>>()?.unwrap_or_default()),
            _ => reader.read()?,
        };
        self.part(reader.offset())?;
        Ok((zxid, TxnDigest { version, tree_digest }))
    }

    fn last_zxid(&mut self) -> Result<Zxid, SnapshotError> {
        let mut reader = Reader::new(&self.bytes[self.read..]);
        let zxid = reader.read()?;
        self.part(reader.offset())?;
        Ok(zxid)
    }

    /// Steps over a part of `length` bytes and the seal behind it.
    fn part(&mut self, length: usize) -> Result<(), SnapshotError> {
        let left = self.left();
        let Some((part, rest)) = self.bytes[self.read..].split_at_checked(length) else {
            return Err(SnapshotError::Tail(left));
        };
        let Some(seal) = rest.first_chunk::<SEAL>() else {
            return Err(SnapshotError::Tail(left));
        };
        self.adler.write_slice(part);
        let offset = self.start + (self.read + length) as u64;
        check_seal(*seal, self.adler.checksum(), offset)?;
        self.adler.write_slice(seal);
        self.read += length + SEAL;
        Ok(())
    }
}

fn check_seal(seal: [u8; SEAL], computed: u32, offset: u64) -> Result<(), SnapshotError> {
    let mut expected = i64::from(computed).to_bytes();
    write_sized(Some(END.as_bytes()), &mut expected);
    if expected == seal {
        return Ok(());
    }
    Err(SnapshotError::Seal { offset, stored: Reader::new(&seal).read()?, computed })
}

fn hex_digest(text: &str) -> Digest {
    Digest(i64::from_str_radix(text, 16).unwrap_or_default())
}

/// The path behind the last znode, and the end of each seal.
const END: &str = "/";

/// Bytes of a seal: checksum, length of the string, string.
const SEAL: usize = 8 + 4 + 1;

/// Bytes of the last zxid and its seal.
const LAST_ZXID_PART: usize = 8 + SEAL;

/// Above any tail: 54 bytes in version 2 of the digest, some more with a digest of version 1.
const LONGEST_TAIL: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMIT: usize = 1 << 21;

    const RECORDED: [&str; 9] = [
        "standalone-3.8.0/snapshot.0",
        "standalone-3.8.0/snapshot.2e",
        "standalone-3.9.3/snapshot.0",
        "standalone-3.9.3/snapshot.2e",
        "trunc-3.9.3/old-leader-before/snapshot.0",
        "trunc-3.9.3/old-leader-after/snapshot.0",
        "trunc-3.9.3/old-leader-after/snapshot.100000002",
        "trunc-3.9.3/new-leader/snapshot.0",
        "trunc-3.9.3/new-leader/snapshot.100000002",
    ];

    fn vector(path: &str) -> Vec<u8> {
        std::fs::read(format!("{}/tests/vectors/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    }

    fn read(bytes: &[u8]) -> Result<Vec<SnapshotItem>, SnapshotError> {
        let mut reader = SnapshotReader::new(bytes, LIMIT);
        let mut items = Vec::new();
        while let Some(item) = reader.next_item()? {
            items.push(item);
        }
        Ok(items)
    }

    fn write(items: Vec<SnapshotItem>) -> Vec<u8> {
        let (mut sessions, mut acls, mut nodes, mut end) = (vec![], vec![], vec![], SnapshotTail::default());
        for item in items {
            match item {
                SnapshotItem::Session { id, timeout_ms } => sessions.push((id, timeout_ms)),
                SnapshotItem::Acl { id, acl } => acls.push((id, acl)),
                SnapshotItem::Node { path, data, acl, stat } => nodes.push((path, data, acl, stat)),
                SnapshotItem::End(tail) => end = tail,
            }
        }
        let mut writer = SnapshotWriter::new(Vec::new());
        writer.begin(&sessions, &acls).unwrap();
        for (path, data, acl, stat) in nodes {
            writer.node(&path, data.as_deref(), acl, &stat).unwrap();
        }
        writer.finish(&end).unwrap()
    }

    #[test]
    fn recorded_snapshots_round_trip() {
        for path in RECORDED {
            let file = vector(path);
            assert_eq!(write(read(&file).unwrap()), file, "{path}");
        }
    }

    /// A snapshot that is not fuzzy: its digest is the sum over its nodes.
    #[test]
    fn the_recorded_digest_is_that_of_the_nodes() {
        for path in ["standalone-3.8.0/snapshot.2e", "standalone-3.9.3/snapshot.2e"] {
            let items = read(&vector(path)).unwrap();
            let sum = items.iter().fold(Digest::ZERO, |sum, item| match item {
                SnapshotItem::Node { path, data, stat, .. } => {
                    sum.plus(Digest::of_node(path, data.as_deref(), stat))
                }
                _ => sum,
            });
            let Some(SnapshotItem::End(tail)) = items.last() else {
                panic!("{path} has no end");
            };
            assert_eq!(tail.digest, Some((Zxid(0x2e), TxnDigest::new(sum))), "{path}");
        }
    }

    #[test]
    fn a_file_may_end_behind_any_seal_and_nowhere_else() {
        let file = vector("standalone-3.9.3/snapshot.2e");
        let ends = [file.len() - 54, file.len() - 21, file.len()];
        for end in 0..=file.len() {
            assert_eq!(read(&file[..end]).is_ok(), ends.contains(&end), "{end} bytes");
        }
    }

    #[test]
    fn every_flipped_byte_is_found() {
        let file = vector("standalone-3.9.3/snapshot.2e");
        // The dbid, bytes 8 to 15, is covered by the seals like everything else.
        for at in 0..file.len() {
            let mut damaged = file.clone();
            damaged[at] ^= 0x40;
            assert!(read(&damaged).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_last_zxid_without_a_digest_is_read() {
        let mut writer = SnapshotWriter::new(Vec::new());
        writer.begin(&[], &[]).unwrap();
        let tail = SnapshotTail { digest: None, last_zxid: Some(Zxid(9)) };
        let file = writer.finish(&tail).unwrap();
        assert_eq!(read(&file).unwrap(), [SnapshotItem::End(tail)]);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), at in 16usize..2000) {
            let _ = read(&bytes);
            let mut file = vector("standalone-3.9.3/snapshot.2e");
            file.truncate(at);
            file.extend_from_slice(&bytes);
            let _ = read(&file);
        }
    }
}
