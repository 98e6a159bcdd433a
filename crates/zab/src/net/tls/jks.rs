//! Java's own key stores (`sun.security.provider.JavaKeyStore`), read only.
//!
//! ```text
//!   magic, version, count, then per entry:
//!     1, alias, date, protected key, chain        a private key
//!     2, alias, date, certificate                 a trusted certificate
//!   SHA-1 of the password, a phrase and all of the above
//! ```
//!
//! A key is protected by a stream of SHA-1 over its salt and the password, and by a SHA-1 of itself.

use sha1::{Digest, Sha1};

use super::der;

/// What a store holds, in its order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct JavaKeyStore {
    /// Private keys in PKCS8, each with its chain of certificates.
    pub keys: Vec<(Vec<u8>, Vec<Vec<u8>>)>,
    /// Trusted certificates.
    pub trusted: Vec<Vec<u8>>,
}

/// Why bytes are no store that can be opened.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum JksError {
    /// It ends too early or has something else in it.
    #[error("it is not a JKS key store, or damaged: {0}")]
    Damaged(&'static str),
    /// The digest at its end is not that of the password.
    #[error("the password is wrong, or the file was tampered with")]
    Password,
    /// The store is open, and one of its keys is not.
    #[error("the password does not open the private key in it")]
    KeyPassword,
}

const MAGIC: u32 = 0xfeed_feed;
const PHRASE: &[u8] = b"Mighty Aphrodite";
const DIGEST_BYTES: usize = 20;
/// 1.3.6.1.4.1.42.2.17.1.1 in DER.
const PROTECTOR: [u8; 12] = [0x06, 0x0a, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x2a, 0x02, 0x11, 0x01, 0x01];

/// Is this one, rather than PKCS12?
#[must_use]
pub fn is_jks(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC.to_be_bytes())
}

/// Reads a store. Memory is that of the bytes.
///
/// # Errors
/// It is none, or the password is not its.
pub fn read(bytes: &[u8], password: &str) -> Result<JavaKeyStore, JksError> {
    let password: Vec<u8> = password.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let body_length = bytes.len().checked_sub(DIGEST_BYTES).ok_or(JksError::Damaged("it is too short"))?;
    let (body, digest) = bytes.split_at(body_length);
    let mut reader = Reader(body);
    if reader.u32()? != MAGIC {
        return Err(JksError::Damaged("it does not begin like one"));
    }
    if Sha1::new().chain_update(&password).chain_update(PHRASE).chain_update(body).finalize()[..] != *digest {
        return Err(JksError::Password);
    }
    let has_types = match reader.u32()? {
        1 => false,
        2 => true,
        _ => return Err(JksError::Damaged("its version is unknown")),
    };
    let mut store = JavaKeyStore::default();
    for _ in 0..reader.u32()? {
        let kind = reader.u32()?;
        reader.text()?;
        reader.take(8)?;
        match kind {
            1 => {
                let key = unprotect(reader.bytes()?, &password)?;
                let certificates = reader.u32()?;
                let chain =
                    (0..certificates).map(|_| reader.certificate(has_types)).collect::<Result<_, _>>()?;
                store.keys.push((key, chain));
            }
            2 => store.trusted.push(reader.certificate(has_types)?),
            _ => return Err(JksError::Damaged("an entry is neither a key nor a certificate")),
        }
    }
    if reader.0.is_empty() { Ok(store) } else { Err(JksError::Damaged("there is more behind its entries")) }
}

/// `KeyProtector.recover`.
fn unprotect(wrapped: &[u8], password: &[u8]) -> Result<Vec<u8>, JksError> {
    let protected =
        protected_part(wrapped).ok_or(JksError::Damaged("a key is protected in an unknown way"))?;
    let length =
        protected.len().checked_sub(2 * DIGEST_BYTES).ok_or(JksError::Damaged("a key is too short"))?;
    let (salt, rest) = protected.split_at(DIGEST_BYTES);
    let (encrypted, check) = rest.split_at(length);
    let mut key = Vec::with_capacity(length);
    let mut stream = salt.to_vec();
    for block in encrypted.chunks(DIGEST_BYTES) {
        stream = Sha1::new().chain_update(password).chain_update(&stream).finalize().to_vec();
        key.extend(block.iter().zip(&stream).map(|(byte, mask)| byte ^ mask));
    }
    if Sha1::new().chain_update(password).chain_update(&key).finalize()[..] == *check {
        Ok(key)
    } else {
        Err(JksError::KeyPassword)
    }
}

/// The octets of an `EncryptedPrivateKeyInfo` of Java's protector.
fn protected_part(wrapped: &[u8]) -> Option<&[u8]> {
    let (inner, behind) = der::read(der::SEQUENCE, wrapped)?;
    let (algorithm, rest) = der::read(der::SEQUENCE, inner)?;
    let (octets, end) = der::read(der::OCTET_STRING, rest)?;
    (behind.is_empty() && end.is_empty() && algorithm.starts_with(&PROTECTOR)).then_some(octets)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], JksError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(JksError::Damaged("it ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn u32(&mut self) -> Result<u32, JksError> {
        let bytes = self.take(4)?;
        Ok(bytes.iter().fold(0, |number, &byte| number << 8 | u32::from(byte)))
    }

    fn bytes(&mut self) -> Result<&'a [u8], JksError> {
        let length = self.u32()?;
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }

    /// Java's modified UTF-8, whose length is of two bytes.
    fn text(&mut self) -> Result<&'a [u8], JksError> {
        let length = self.take(2)?;
        self.take(usize::from(length[0]) << 8 | usize::from(length[1]))
    }

    fn certificate(&mut self, has_type: bool) -> Result<Vec<u8>, JksError> {
        if has_type && !matches!(self.text()?, b"X.509" | b"X509") {
            return Err(JksError::Damaged("a certificate is not of the type X.509"));
        }
        Ok(self.bytes()?.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A store as Java writes it.
    fn write(password: &str, key: &[u8], chain: &[&[u8]], trusted: &[&[u8]]) -> Vec<u8> {
        let password: Vec<u8> = password.encode_utf16().flat_map(u16::to_be_bytes).collect();
        let mut out = Vec::new();
        let number = |out: &mut Vec<u8>, n: usize| out.extend(u32::try_from(n).unwrap().to_be_bytes());
        let certificate = |out: &mut Vec<u8>, bytes: &[u8]| {
            out.extend([0, 5]);
            out.extend(b"X.509");
            number(out, bytes.len());
            out.extend(bytes);
        };
        out.extend(MAGIC.to_be_bytes());
        number(&mut out, 2);
        number(&mut out, 1 + trusted.len());
        number(&mut out, 1);
        out.extend([0, 1, b'k', 0, 0, 0, 0, 0, 0, 0, 0]);
        let wrapped = protect(key, &password);
        number(&mut out, wrapped.len());
        out.extend(wrapped);
        number(&mut out, chain.len());
        for bytes in chain {
            certificate(&mut out, bytes);
        }
        for bytes in trusted {
            number(&mut out, 2);
            out.extend([0, 1, b't', 0, 0, 0, 0, 0, 0, 0, 0]);
            certificate(&mut out, bytes);
        }
        let digest = Sha1::new().chain_update(&password).chain_update(PHRASE).chain_update(&out).finalize();
        out.extend(digest);
        out
    }

    fn protect(key: &[u8], password: &[u8]) -> Vec<u8> {
        let salt = [7; DIGEST_BYTES];
        let (mut stream, mut octets) = (salt.to_vec(), salt.to_vec());
        for block in key.chunks(DIGEST_BYTES) {
            stream = Sha1::new().chain_update(password).chain_update(&stream).finalize().to_vec();
            octets.extend(block.iter().zip(&stream).map(|(a, b)| a ^ b));
        }
        octets.extend(Sha1::new().chain_update(password).chain_update(key).finalize());
        let algorithm = der::write(der::SEQUENCE, &[&PROTECTOR, &[5, 0]]);
        der::write(der::SEQUENCE, &[&algorithm, &der::write(der::OCTET_STRING, &[&octets])])
    }

    fn sample() -> Vec<u8> {
        write("changeit", b"the private key of a server", &[b"leaf", b"ca"], &[b"other"])
    }

    #[test]
    fn what_java_wrote_is_read() {
        let store = read(&sample(), "changeit").unwrap();
        assert_eq!(
            store.keys,
            [(b"the private key of a server".to_vec(), vec![b"leaf".to_vec(), b"ca".to_vec()])]
        );
        assert_eq!(store.trusted, [b"other".to_vec()]);
        assert!(is_jks(&sample()));
    }

    #[test]
    fn the_wrong_password_and_a_changed_byte_are_noticed() {
        assert_eq!(read(&sample(), "changed"), Err(JksError::Password));
        assert_eq!(read(&sample(), ""), Err(JksError::Password));
        for index in 4..sample().len() {
            let mut bytes = sample();
            bytes[index] ^= 1;
            assert_eq!(read(&bytes, "changeit"), Err(JksError::Password), "{index}");
        }
    }

    /// With a digest that is right, whatever is in front of it.
    fn sealed(body: &[u8]) -> Vec<u8> {
        let digest = Sha1::new().chain_update(PHRASE).chain_update(body).finalize();
        [body, &digest].concat()
    }

    #[test]
    fn no_bytes_panic_or_are_believed_about_lengths() {
        let body = &sample()[..sample().len() - DIGEST_BYTES];
        for length in 0..body.len() {
            assert!(read(&sealed(&body[..length]), "").is_err(), "{length}");
        }
        for index in 4..body.len() {
            for value in [0, 0x7f, 0xff] {
                let mut body = body.to_vec();
                body[index] = value;
                let _ = read(&sealed(&body), "");
            }
        }
        assert_eq!(read(&[], ""), Err(JksError::Damaged("it is too short")));
    }

    proptest::proptest! {
        #[test]
        fn no_store_panics(bytes in proptest::collection::vec(0_u8.., 0..200)) {
            let body = [&MAGIC.to_be_bytes()[..], &bytes].concat();
            let _ = read(&sealed(&body), "");
        }
    }
}
