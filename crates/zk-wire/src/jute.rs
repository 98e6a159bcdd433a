//! Jute, ZooKeeper's serialization: big-endian integers, length-prefixed strings and buffers, counted
//! vectors, records as plain concatenation (`org.apache.jute.BinaryInputArchive`).
//!
//! Guarantees: decoding never panics, and never allocates more than a small multiple of the bytes that
//! are really there, whatever lengths and counts they claim.

use bytes::Bytes;

/// ZooKeeper's default `jute.maxbuffer`: the longest frame, string or buffer, in bytes.
pub const DEFAULT_MAX_BUFFER: usize = 0xfffff;

/// The longest string, buffer or log entry under a `jute.maxbuffer`, in bytes: twice as much, but at least
/// 1024 more (`zookeeper.jute.maxbuffer.extrasize`, `BinaryInputArchive.checkLength`).
#[must_use]
pub fn extended_limit(max_buffer: usize) -> usize {
    max_buffer.saturating_add(max_buffer.max(1024)).min(i32::MAX as usize)
}

/// Why bytes are not the record they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot decode {record}.{field} at byte {offset}: {kind}")]
pub struct DecodeError {
    /// The innermost record by its jute name.
    pub record: &'static str,
    /// The field of that record.
    pub field: &'static str,
    /// Where in the input the field starts, in bytes.
    pub offset: usize,
    /// What was wrong there.
    pub kind: DecodeErrorKind,
}

/// The closed list of what can be wrong with a field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeErrorKind {
    /// The input ends before the field does.
    #[error("needs {needed} bytes, {left} are left")]
    Truncated {
        /// Bytes that the field asks for.
        needed: usize,
        /// Bytes that are there.
        left: usize,
    },
    /// A negative length other than -1 (null).
    #[error("negative length {0}")]
    NegativeLength(i32),
    /// A length above the reader's limit.
    #[error("length {length} is above the limit of {limit} bytes")]
    TooLong {
        /// The claimed length.
        length: usize,
        /// The limit in force.
        limit: usize,
    },
    /// A null where the protocol has none.
    #[error("null is not allowed here")]
    Null,
    /// A number outside the closed list of its type.
    #[error("unknown value {0}")]
    UnknownValue(i64),
    /// Bytes remain behind the record.
    #[error("{0} bytes too many")]
    TrailingBytes(usize),
}

impl DecodeError {
    pub(crate) fn new(offset: usize, kind: DecodeErrorKind) -> Self {
        DecodeError { record: "", field: "", offset, kind }
    }

    /// Names the field that failed, unless a record further in has done so.
    #[must_use]
    pub fn within(mut self, record: &'static str, field: &'static str) -> Self {
        if self.record.is_empty() {
            self.record = record;
            self.field = field;
        }
        self
    }
}

/// Reads jute values from a slice. The limit bounds each string and buffer.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    input: &'a [u8],
    offset: usize,
    limit: usize,
}

impl<'a> Reader<'a> {
    /// A reader with the server's default limit: `jute.maxbuffer` plus as much again
    /// (`zookeeper.jute.maxbuffer.extrasize`).
    #[must_use]
    pub fn new(input: &'a [u8]) -> Self {
        Self::with_limit(input, extended_limit(DEFAULT_MAX_BUFFER))
    }

    /// A reader that rejects strings and buffers above `limit` bytes.
    #[must_use]
    pub fn with_limit(input: &'a [u8], limit: usize) -> Self {
        Reader { input, offset: 0, limit }
    }

    /// The longest string or buffer that it takes, in bytes.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Bytes consumed so far.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Bytes not yet consumed.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.input.len() - self.offset
    }

    /// Reads one value.
    ///
    /// # Errors
    /// The bytes are not a `T`.
    pub fn read<T: Jute>(&mut self) -> Result<T, DecodeError> {
        T::read(self)
    }

    /// Fails if bytes are left over.
    ///
    /// # Errors
    /// [`DecodeErrorKind::TrailingBytes`].
    pub fn finish(self) -> Result<(), DecodeError> {
        match self.remaining() {
            0 => Ok(()),
            left => Err(self.error(DecodeErrorKind::TrailingBytes(left))),
        }
    }

    pub(crate) fn error(&self, kind: DecodeErrorKind) -> DecodeError {
        DecodeError::new(self.offset, kind)
    }

    fn take(&mut self, needed: usize) -> Result<&'a [u8], DecodeError> {
        let left = self.remaining();
        if needed > left {
            return Err(self.error(DecodeErrorKind::Truncated { needed, left }));
        }
        let taken = &self.input[self.offset..self.offset + needed];
        self.offset += needed;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N)?);
        Ok(bytes)
    }

    /// The length of a string, buffer or vector; `None` is null.
    fn length(&mut self) -> Result<Option<usize>, DecodeError> {
        let length: i32 = self.read()?;
        match length {
            -1 => Ok(None),
            _ => usize::try_from(length)
                .map(Some)
                .map_err(|_| self.error(DecodeErrorKind::NegativeLength(length))),
        }
    }

    fn sized(&mut self) -> Result<Option<&'a [u8]>, DecodeError> {
        let Some(length) = self.length()? else {
            return Ok(None);
        };
        if length > self.limit {
            return Err(self.error(DecodeErrorKind::TooLong { length, limit: self.limit }));
        }
        self.take(length).map(Some)
    }
}

/// A value with a jute encoding.
pub trait Jute: Sized {
    /// Decodes one value and leaves the reader behind it.
    ///
    /// # Errors
    /// The bytes are not a `Self`; the reader's position is then unspecified.
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError>;

    /// Appends the encoding to `out`.
    fn write(&self, out: &mut Vec<u8>);

    /// The encoding as a vector of its own.
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }
}

impl Jute for u8 {
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(reader.array::<1>()?[0])
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.push(*self);
    }
}

impl Jute for bool {
    /// Any byte but zero is true.
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(u8::read(reader)? != 0)
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
}

impl Jute for i32 {
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.array().map(i32::from_be_bytes)
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_be_bytes());
    }
}

impl Jute for i64 {
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.array().map(i64::from_be_bytes)
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_be_bytes());
    }
}

impl Jute for Option<String> {
    /// What is not UTF-8 reads as U+FFFD, as in Java. Java itself writes characters beyond the basic plane so
    /// that they do, for example ids in ACLs; what it wrote must be readable.
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(reader.sized()?.map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
    }

    fn write(&self, out: &mut Vec<u8>) {
        write_sized(self.as_deref().map(str::as_bytes), out);
    }
}

impl Jute for String {
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Option::<String>::read(reader)?.ok_or_else(|| reader.error(DecodeErrorKind::Null))
    }

    fn write(&self, out: &mut Vec<u8>) {
        write_sized(Some(self.as_bytes()), out);
    }
}

impl Jute for Option<Bytes> {
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(reader.sized()?.map(Bytes::copy_from_slice))
    }

    fn write(&self, out: &mut Vec<u8>) {
        write_sized(self.as_deref(), out);
    }
}

impl<T: Jute> Jute for Vec<T> {
    /// A null vector reads as an empty one, and so does any other negative count, as in Java.
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let Ok(count) = usize::try_from(reader.read::<i32>()?) else {
            return Ok(Vec::new());
        };
        // Every element takes at least one byte, so a count above what is left is a lie.
        let left = reader.remaining();
        if count > left {
            return Err(reader.error(DecodeErrorKind::Truncated { needed: count, left }));
        }
        let mut elements = Vec::with_capacity(count.min(left / std::mem::size_of::<T>().max(1) + 1));
        for _ in 0..count {
            elements.push(T::read(reader)?);
        }
        Ok(elements)
    }

    fn write(&self, out: &mut Vec<u8>) {
        write_length(self.len(), out);
        for element in self {
            element.write(out);
        }
    }
}

/// Appends a length or count. Lengths above `i32::MAX` cannot occur: every producer is bounded by
/// `jute.maxbuffer`.
pub(crate) fn write_length(length: usize, out: &mut Vec<u8>) {
    i32::try_from(length).expect("lengths are bounded by jute.maxbuffer").write(out);
}

/// Appends a string or buffer; `None` is null.
pub fn write_sized(bytes: Option<&[u8]>, out: &mut Vec<u8>) {
    match bytes {
        None => (-1i32).write(out),
        Some(bytes) => {
            write_length(bytes.len(), out);
            out.extend_from_slice(bytes);
        }
    }
}

/// Declares a record: a struct whose encoding is its fields in order.
macro_rules! record {
    ($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name {
            $($(#[$field_meta])* pub $field: $type,)*
        }

        impl $crate::jute::Jute for $name {
            fn read(reader: &mut $crate::jute::Reader<'_>) -> Result<Self, $crate::jute::DecodeError> {
                $(let $field = <$type as $crate::jute::Jute>::read(reader)
                    .map_err(|error| error.within(stringify!($name), stringify!($field)))?;)*
                Ok($name { $($field,)* })
            }

            fn write(&self, out: &mut Vec<u8>) {
                $($crate::jute::Jute::write(&self.$field, out);)*
            }
        }
    };
}
pub(crate) use record;

/// Declares an integer newtype with a jute encoding.
macro_rules! number {
    ($(#[$meta:meta])* $name:ident($inner:ty)) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $inner);

        impl $crate::jute::Jute for $name {
            fn read(reader: &mut $crate::jute::Reader<'_>) -> Result<Self, $crate::jute::DecodeError> {
                <$inner as $crate::jute::Jute>::read(reader).map($name)
            }

            fn write(&self, out: &mut Vec<u8>) {
                self.0.write(out);
            }
        }
    };
}
pub(crate) use number;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn null_and_empty_are_distinct_and_both_round_trip() {
        for (value, bytes) in [(None, vec![255; 4]), (Some(Bytes::new()), vec![0; 4])] {
            assert_eq!(value.to_bytes(), bytes);
            assert_eq!(Reader::new(&bytes).read::<Option<Bytes>>().unwrap(), value);
        }
    }

    /// As Java writes an astral character, one surrogate after the other.
    #[test]
    fn what_is_not_utf8_is_read_all_the_same() {
        let bytes = [0, 0, 0, 8, b'a', 0xed, 0xa0, 0xbd, 0xed, 0xb8, 0x80, b'b'];
        let text: String = Reader::new(&bytes).read().unwrap();
        assert!(text.starts_with('a') && text.ends_with('b') && text.contains('\u{fffd}'), "{text:?}");
    }

    #[test]
    fn hostile_lengths_are_refused_without_allocation() {
        let cases: [(&[u8], DecodeErrorKind); 3] = [
            (&[0xff, 0xff, 0xff, 0xfe], DecodeErrorKind::NegativeLength(-2)),
            (
                &[0x7f, 0xff, 0xff, 0xff],
                DecodeErrorKind::TooLong { length: 0x7fff_ffff, limit: 2 * DEFAULT_MAX_BUFFER },
            ),
            (&[0, 0, 0, 9, b'a'], DecodeErrorKind::Truncated { needed: 9, left: 1 }),
        ];
        for (bytes, kind) in cases {
            assert_eq!(Reader::new(bytes).read::<String>().unwrap_err().kind, kind);
        }
        let vector = [0x7f, 0xff, 0xff, 0xff, 0, 0];
        let error = Reader::new(&vector).read::<Vec<String>>().unwrap_err();
        assert_eq!(error.kind, DecodeErrorKind::Truncated { needed: 0x7fff_ffff, left: 2 });
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(text in ".*", data in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..64)), list in proptest::collection::vec(".*", 0..5), number: i64) {
            let data = data.map(Bytes::from);
            let mut bytes = Vec::new();
            text.write(&mut bytes);
            data.write(&mut bytes);
            list.write(&mut bytes);
            number.write(&mut bytes);
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(reader.read::<String>().unwrap(), text);
            prop_assert_eq!(reader.read::<Option<Bytes>>().unwrap(), data);
            prop_assert_eq!(reader.read::<Vec<String>>().unwrap(), list);
            prop_assert_eq!(reader.read::<i64>().unwrap(), number);
            prop_assert!(reader.finish().is_ok());
        }
    }
}
