//! SASL DIGEST-MD5 (RFC 2831) as ZooKeeper speaks it: the directives of its messages, and the digests that both sides
//! compute.
//!
//! ```text
//!   client ── (empty) ──────────────▶ server
//!   client ◀─ challenge ───────────── server   realm, nonce, qop=auth, algorithm
//!   client ── response ─────────────▶ server   username, cnonce, response
//!   client ◀─ rspauth ─────────────── server   the server knows the password too
//! ```
//!
//! Quality of protection is `auth`: the exchange proves an identity and protects nothing that follows.

use std::collections::BTreeMap;

use md5::{Digest, Md5};

/// What the mechanism of ZooKeeper's servers calls itself (`ZooKeeperSaslServer`): realm and host.
pub const REALM: &str = "zk-sasl-md5";
/// The service in a `digest-uri`.
pub const SERVICE: &str = "zookeeper";
/// The only count of a nonce there is: none is used twice.
pub const NONCE_COUNT: &str = "00000001";

/// What a message must have and has not. It never shows a value.
pub type Malformed = &'static str;

/// Everything that goes into the digests of one exchange.
pub struct Proof<'a> {
    /// The user's name.
    pub user: &'a str,
    /// The realm that the response names; empty for none.
    pub realm: &'a str,
    /// The secret.
    pub password: &'a str,
    /// The server's nonce.
    pub nonce: &'a str,
    /// The client's nonce.
    pub client_nonce: &'a str,
    /// The `digest-uri`.
    pub uri: &'a str,
    /// Whom the client wants to be, if it says so.
    pub authorization: Option<&'a str>,
}

impl Proof<'_> {
    /// `response` of a digest-response (2.1.2.1).
    #[must_use]
    pub fn response(&self) -> String {
        self.digest("AUTHENTICATE")
    }

    /// `rspauth` of the server's answer to it (2.1.3).
    #[must_use]
    pub fn rspauth(&self) -> String {
        self.digest("")
    }

    fn digest(&self, method: &str) -> String {
        let mut secret = Md5::new();
        for (index, part) in [self.user, self.realm, self.password].into_iter().enumerate() {
            if index > 0 {
                secret.update(b":");
            }
            secret.update(latin1_if_possible(part));
        }
        let mut a1 = Md5::new();
        a1.update(secret.finalize());
        a1.update(format!(":{}:{}", self.nonce, self.client_nonce));
        if let Some(id) = self.authorization {
            a1.update(format!(":{id}"));
        }
        let a1 = hex(&a1.finalize());
        let a2 = hex(&Md5::digest(format!("{method}:{}", self.uri)));
        let all = format!("{a1}:{}:{NONCE_COUNT}:{}:auth:{a2}", self.nonce, self.client_nonce);
        hex(&Md5::digest(all))
    }
}

/// With `charset=utf-8` names and passwords count in ISO 8859-1 where that has all their characters
/// (RFC 2831, 2.1.2.1, `username-value`).
fn latin1_if_possible(text: &str) -> Vec<u8> {
    let latin1: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
    latin1.unwrap_or_else(|| text.as_bytes().to_vec())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `key=value` and `key="value"`, separated by commas, with keys in lower case.
///
/// # Errors
/// It is not of that form, or a key comes twice.
pub fn directives(text: &str) -> Result<BTreeMap<String, String>, Malformed> {
    let mut found = BTreeMap::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([',', ' ', '\t', '\r', '\n']);
        if rest.is_empty() {
            return Ok(found);
        }
        let (key, behind) = rest.split_once('=').ok_or("a directive has no value")?;
        let (value, behind) = match behind.trim_start().strip_prefix('"') {
            Some(quoted) => unquoted(quoted)?,
            None => {
                let end = behind.find(',').unwrap_or(behind.len());
                (behind[..end].trim().to_owned(), &behind[end..])
            }
        };
        if found.insert(key.trim().to_ascii_lowercase(), value).is_some() {
            return Err("a directive comes twice");
        }
        rest = behind;
    }
}

/// The text up to the closing quote, and what is behind it.
fn unquoted(quoted: &str) -> Result<(String, &str), Malformed> {
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((index, c)) = chars.next() {
        match c {
            '"' => return Ok((value, &quoted[index + 1..])),
            '\\' => value.extend(chars.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    Err("a quoted value does not end")
}

/// A value in quotes, as [`directives`] reads it.
#[must_use]
pub fn quoted(value: &str) -> String {
    let mut quoted = String::with_capacity(value.len() + 2);
    quoted.push('"');
    for c in value.chars() {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}

/// Are two digests the same? Takes as long wherever the first difference is.
#[must_use]
pub fn same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 2831, section 4, which is of an IMAP server.
    #[test]
    fn the_digests_are_those_of_the_standard() {
        let proof = Proof {
            user: "chris",
            realm: "elwood.innosoft.com",
            password: "secret",
            nonce: "OA6MG9tEQGm2hh",
            client_nonce: "OA6MHXh6VqTrRk",
            uri: "imap/elwood.innosoft.com",
            authorization: None,
        };
        assert_eq!(proof.response(), "d388dad90d4bbd760a152321f2143af7");
        assert_eq!(proof.rspauth(), "ea40f60335c427b5527b84dbabcdfffd");
    }

    #[test]
    fn what_is_quoted_is_read() {
        for value in ["", "bob", "a\"b\\c,d=e", "jürgen"] {
            let text = format!("A={},b=c", quoted(value));
            let expected = [("a", value), ("b", "c")].map(|(key, value)| (key.to_owned(), value.to_owned()));
            assert_eq!(directives(&text).unwrap(), expected.into(), "{text}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (text, reason) in [
            ("username", "a directive has no value"),
            ("username=\"bob", "a quoted value does not end"),
            ("username=\"bob\\", "a quoted value does not end"),
            ("a=b,A=c", "a directive comes twice"),
        ] {
            assert_eq!(directives(text), Err(reason), "{text}");
        }
    }
}
