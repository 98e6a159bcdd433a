//! Values in DER: type, length, contents. As much of it as the forms of private keys need.

/// An integer.
pub const INTEGER: u8 = 0x02;
/// Bits, behind a count of unused ones.
pub const BIT_STRING: u8 = 0x03;
/// Bytes.
pub const OCTET_STRING: u8 = 0x04;
/// Values.
pub const SEQUENCE: u8 = 0x30;

/// The contents of a value of this type at the beginning, and what is behind it.
#[must_use]
pub fn read(tag: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&[found, first], rest) = bytes.split_first_chunk()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x83 => {
            let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (length.iter().fold(0, |length, &byte| length << 8 | usize::from(byte)), rest)
        }
        _ => return None,
    };
    if found == tag { rest.split_at_checked(length) } else { None }
}

/// A value of this type. Its contents are below 16 MiB.
#[must_use]
pub fn write(tag: u8, contents: &[&[u8]]) -> Vec<u8> {
    let contents = contents.concat();
    let length = contents.len().to_be_bytes();
    let significant = &length[contents.len().leading_zeros() as usize / 8..];
    let mut out = vec![tag];
    match contents.len() {
        short @ 0..=0x7f => out.push(short as u8),
        _ => {
            out.push(0x80 | significant.len() as u8);
            out.extend_from_slice(significant);
        }
    }
    out.extend(contents);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for length in [0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x1_0000] {
            let contents = vec![7; length];
            let mut value = write(OCTET_STRING, &[&contents]);
            value.push(9);
            assert_eq!(read(OCTET_STRING, &value), Some((&contents[..], &[9][..])), "{length}");
            assert_eq!(read(SEQUENCE, &value), None);
            assert_eq!(read(OCTET_STRING, &value[..length.min(value.len() - 3)]), None, "{length}");
        }
        for bytes in [&[][..], &[4], &[4, 0x80], &[4, 0x84, 0, 0, 0, 1, 7], &[4, 0x82, 1]] {
            assert_eq!(read(OCTET_STRING, bytes), None, "{bytes:?}");
        }
    }
}
