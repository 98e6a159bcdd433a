//! Snapshots as they are on the disk: plain, or compressed as Apache does it (`SnapStream`).
//!
//! The seals of a snapshot cover its plain bytes, so they are looked at behind the decompression. Snappy is not
//! in the framing format of its own, but in that of `SnappyOutputStream`:
//!
//! ```text
//!   82 "SNAPPY" 00 │ i32 version 1 │ i32 compatible with 1 │ i32 length │ block │ i32 length │ block …
//! ```

use std::fmt;
use std::io::{self, BufReader, Read, Write};
use std::str::FromStr;

use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;
use snap::raw::{Decoder, Encoder, decompress_len};

/// `snapshot.compression.method`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SnapshotCompression {
    /// As it is.
    #[default]
    Plain,
    /// `gz`.
    Gzip,
    /// `snappy`.
    Snappy,
}

impl SnapshotCompression {
    /// All there are.
    pub const ALL: [SnapshotCompression; 3] = [Self::Plain, Self::Gzip, Self::Snappy];

    /// What a file's name has behind its zxid.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Gzip => ".gz",
            Self::Snappy => ".snappy",
        }
    }

    /// The plain bytes of a file that is compressed so.
    pub fn reader<'a>(self, file: impl Read + 'a) -> Box<dyn Read + 'a> {
        match self {
            Self::Plain => Box::new(file),
            Self::Gzip => Box::new(MultiGzDecoder::new(BufReader::with_capacity(READ_AHEAD, file))),
            Self::Snappy => Box::new(SnappyReader::new(BufReader::with_capacity(READ_AHEAD, file))),
        }
    }

    /// Compresses what is written to it.
    pub fn writer<W: Write>(self, file: W) -> SnapWriter<W> {
        match self {
            Self::Plain => SnapWriter::Plain(file),
            // As fast as it gets: a snapshot must not take the CPU from those who are served.
            Self::Gzip => SnapWriter::Gzip(GzEncoder::new(file, Compression::fast())),
            Self::Snappy => SnapWriter::Snappy(SnappyWriter { out: file, block: Vec::new(), begun: false }),
        }
    }
}

impl FromStr for SnapshotCompression {
    type Err = &'static str;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "" => Ok(Self::Plain),
            "gz" => Ok(Self::Gzip),
            "snappy" => Ok(Self::Snappy),
            _ => Err("gz, snappy or nothing is wanted"),
        }
    }
}

/// A writer that compresses. [`finish`](Self::finish) gives back what is below it.
pub enum SnapWriter<W: Write> {
    /// As it is.
    Plain(W),
    /// `gz`.
    Gzip(GzEncoder<W>),
    /// `snappy`.
    Snappy(SnappyWriter<W>),
}

impl<W: Write> SnapWriter<W> {
    /// Writes what is left.
    ///
    /// # Errors
    /// `W` failed.
    pub fn finish(self) -> io::Result<W> {
        match self {
            Self::Plain(out) => Ok(out),
            Self::Gzip(out) => out.finish(),
            Self::Snappy(mut out) => {
                out.flush_block()?;
                Ok(out.out)
            }
        }
    }
}

impl<W: Write> Write for SnapWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(out) => out.write(bytes),
            Self::Gzip(out) => out.write(bytes),
            Self::Snappy(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W: Write> fmt::Debug for SnapWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SnapWriter")
    }
}

/// Writes the format of `SnappyOutputStream`.
pub struct SnappyWriter<W> {
    out: W,
    block: Vec<u8>,
    begun: bool,
}

impl<W: Write> SnappyWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(SNAPPY_BLOCK - self.block.len());
        self.block.extend_from_slice(&bytes[..taken]);
        if self.block.len() == SNAPPY_BLOCK {
            self.flush_block()?;
        }
        Ok(taken)
    }

    fn flush_block(&mut self) -> io::Result<()> {
        if !std::mem::replace(&mut self.begun, true) {
            self.out.write_all(&SNAPPY_HEADER)?;
        }
        if self.block.is_empty() {
            return Ok(());
        }
        let compressed = Encoder::new().compress_vec(&self.block).map_err(io::Error::other)?;
        let length = u32::try_from(compressed.len()).map_err(io::Error::other)?;
        self.out.write_all(&length.to_be_bytes())?;
        self.out.write_all(&compressed)?;
        self.block.clear();
        Ok(())
    }
}

/// Reads the format of `SnappyOutputStream`. Memory: one block, at most [`MAX_SNAPPY_BLOCK`] bytes of each kind.
struct SnappyReader<R> {
    input: R,
    begun: bool,
    compressed: Vec<u8>,
    plain: Vec<u8>,
    read: usize,
}

impl<R: Read> SnappyReader<R> {
    fn new(input: R) -> Self {
        SnappyReader { input, begun: false, compressed: Vec::new(), plain: Vec::new(), read: 0 }
    }

    /// False at the end of the file.
    fn next_block(&mut self) -> io::Result<bool> {
        if !std::mem::replace(&mut self.begun, true) {
            let mut header = [0; SNAPPY_HEADER.len()];
            self.input.read_exact(&mut header)?;
            // The version may be another, as long as that says it is compatible.
            if header[..8] != SNAPPY_HEADER[..8] || header[12..] != SNAPPY_HEADER[12..] {
                return Err(invalid("this is not the header of a snappy stream of version 1"));
            }
        }
        let mut length = [0; 4];
        match self.input.read(&mut length)? {
            0 => return Ok(false),
            read => self.input.read_exact(&mut length[read..])?,
        }
        let length = u64::from(u32::from_be_bytes(length));
        if length > MAX_SNAPPY_BLOCK {
            return Err(invalid("a snappy block is longer than any that ZooKeeper writes"));
        }
        self.compressed.clear();
        // Grows with what arrives, not with what was claimed.
        if (&mut self.input).take(length).read_to_end(&mut self.compressed)? as u64 != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if decompress_len(&self.compressed).map_err(invalid)? as u64 > MAX_SNAPPY_BLOCK {
            return Err(invalid("a snappy block claims to be longer than any that ZooKeeper writes"));
        }
        self.plain = Decoder::new().decompress_vec(&self.compressed).map_err(invalid)?;
        self.read = 0;
        Ok(true)
    }
}

impl<R: Read> Read for SnappyReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.read == self.plain.len() {
            if buffer.is_empty() || !self.next_block()? {
                return Ok(0);
            }
        }
        let rest = &self.plain[self.read..];
        let taken = rest.len().min(buffer.len());
        buffer[..taken].copy_from_slice(&rest[..taken]);
        self.read += taken;
        Ok(taken)
    }
}

fn invalid(reason: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

const SNAPPY_HEADER: [u8; 16] = *b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";

/// `SnappyOutputStream`'s.
const SNAPPY_BLOCK: usize = 32 << 10;

/// Far above what ZooKeeper writes, which is [`SNAPPY_BLOCK`].
const MAX_SNAPPY_BLOCK: u64 = 4 << 20;

const READ_AHEAD: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn unpacked(compression: SnapshotCompression, packed: &[u8]) -> io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        compression.reader(packed).read_to_end(&mut plain)?;
        Ok(plain)
    }

    fn packed(compression: SnapshotCompression, plain: &[u8]) -> Vec<u8> {
        let mut writer = compression.writer(Vec::new());
        writer.write_all(plain).unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn recorded_files_are_the_same_snapshot() {
        let recorded = |name: &str| {
            let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/compressed-3.9.3");
            std::fs::read(format!("{dir}/{name}")).unwrap()
        };
        let gzip = unpacked(SnapshotCompression::Gzip, &recorded("snapshot.32.gz")).unwrap();
        let snappy = unpacked(SnapshotCompression::Snappy, &recorded("snapshot.32.snappy")).unwrap();
        assert_eq!(gzip, snappy);
        assert!(gzip.starts_with(b"ZKSN") && gzip.ends_with(b"\0\0\0\x01/"));
        let ours = packed(SnapshotCompression::Snappy, &snappy);
        assert_eq!(ours[..16], recorded("snapshot.32.snappy")[..16]);
    }

    #[test]
    fn a_block_that_claims_too_much_is_refused_before_anything_is_allocated() {
        let block = |claimed: u32, content: &[u8]| {
            [SNAPPY_HEADER.as_slice(), &claimed.to_be_bytes(), content].concat()
        };
        // A snappy block starts with its plain length as a varint.
        for bad in [block(u32::MAX, &[]), block(5, &[0xff, 0xff, 0xff, 0xff, 0x0f]), block(9, &[1, 2])] {
            assert!(unpacked(SnapshotCompression::Snappy, &bad).is_err(), "{bad:?}");
        }
        assert_eq!(unpacked(SnapshotCompression::Snappy, &block(0, &[])[..16]).unwrap(), b"");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn what_is_packed_is_unpacked(parts in proptest::collection::vec((any::<u8>(), 0..50_000usize), 0..6)) {
            let plain: Vec<u8> = parts.iter().flat_map(|(byte, times)| vec![*byte; *times]).collect();
            for compression in SnapshotCompression::ALL {
                let packed = packed(compression, &plain);
                prop_assert_eq!(&unpacked(compression, &packed).unwrap(), &plain);
                // A part is never taken for the whole, but at a block's end, where the seals tell.
                if compression == SnapshotCompression::Gzip {
                    prop_assert!(unpacked(compression, &packed[..packed.len() - 1]).is_err());
                }
            }
        }
    }
}
