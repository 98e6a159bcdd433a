//! PEM: sections of base64 between lines that name them (RFC 7468). `rustls-pki-types` reads PEM, too, but leaves
//! encrypted keys out.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// A name and its bytes.
pub type Section = (String, Vec<u8>);

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The sections of a text, in their order; what is between them is left out.
///
/// # Errors
/// A section does not end or is no base64: this says which line it begins at.
pub fn sections(text: &str) -> Result<Vec<Section>, String> {
    let mut sections = Vec::new();
    let mut open: Option<(usize, &str, String)> = None;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        match (&mut open, marker(line, "BEGIN "), marker(line, "END ")) {
            (None, Some(name), _) => open = Some((number, name, String::new())),
            (Some((from, name, base64)), _, Some(end)) if *name == end => {
                let bytes =
                    BASE64.decode(&*base64).map_err(|_| format!("line {from}: {name} is no base64"))?;
                sections.push(((*name).to_owned(), bytes));
                open = None;
            }
            (Some((from, name, _)), Some(_), _) | (Some((from, name, _)), _, Some(_)) => {
                return Err(format!("line {from}: {name} does not end"));
            }
            // Headers of an encryption of old, which is none of PKCS8's.
            (Some((from, name, _)), None, None) if line.contains(':') => {
                return Err(format!("line {from}: {name} is encrypted in a way that is not PKCS8's"));
            }
            (Some((_, _, base64)), None, None) => base64.push_str(line),
            (None, None, _) => {}
        }
    }
    match open {
        None => Ok(sections),
        Some((from, name, _)) => Err(format!("line {from}: {name} does not end")),
    }
}

fn marker<'a>(line: &'a str, word: &str) -> Option<&'a str> {
    line.strip_prefix("-----")?.strip_suffix("-----")?.strip_prefix(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_found_between_other_text() {
        let text = "Bag Attributes\n-----BEGIN A-----\r\nAQ\r\nID\r\n-----END A-----\nx: y\n-----BEGIN B C-----\nAQ==\n\
                    -----END B C-----\n";
        let expected = [("A".to_owned(), vec![1, 2, 3]), ("B C".to_owned(), vec![1])];
        assert_eq!(sections(text).unwrap(), expected);
        assert_eq!(sections("").unwrap(), []);
    }

    #[test]
    fn what_is_none_is_named_by_its_line() {
        for (text, expected) in [
            ("x\n-----BEGIN A-----\nAQID\n", "line 2: A does not end"),
            ("-----BEGIN A-----\nAQID\n-----END B-----", "line 1: A does not end"),
            ("-----BEGIN A-----\n-----BEGIN A-----", "line 1: A does not end"),
            ("-----BEGIN A-----\n!\n-----END A-----", "line 1: A is no base64"),
            (
                "-----BEGIN A-----\nProc-Type: 4,ENCRYPTED\n",
                "line 1: A is encrypted in a way that is not PKCS8's",
            ),
        ] {
            assert_eq!(sections(text), Err(expected.to_owned()), "{text:?}");
        }
    }
}
