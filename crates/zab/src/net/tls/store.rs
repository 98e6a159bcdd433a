//! Key stores and trust stores from files, in any of their forms.

use std::path::{Path, PathBuf};

use p12_keystore::{KeyStore, KeyStoreEntry, Pkcs12ImportPolicy};
use pkcs8::EncryptedPrivateKeyInfoRef;
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
};

use super::{ec_key, jks, pem};
use crate::config::{Password, StoreKind, StoreSettings};

/// What a store holds.
#[derive(Debug, Default)]
pub struct Store {
    /// Private keys, each with its chain of certificates.
    pub keys: Vec<(PrivateKeyDer<'static>, Vec<CertificateDer<'static>>)>,
    /// Certificates without a key, and the last of each chain.
    pub trusted: Vec<CertificateDer<'static>>,
}

/// Why a store cannot be used. No message shows a password or a key.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A file is too long to be one.
    #[error("{path} is of {bytes} bytes; a key store has at most {MAX_BYTES}")]
    Long {
        /// The file.
        path: PathBuf,
        /// Its length.
        bytes: u64,
    },
    /// The contents make no sense, or the password is wrong.
    #[error("{path}: {reason}")]
    Contents {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// The certificates of all public authorities are of a quarter of this.
const MAX_BYTES: u64 = 4 << 20;

impl Store {
    /// Reads a store with its password.
    ///
    /// # Errors
    /// A file cannot be read, is none of its form, or the password is wrong.
    pub fn read(settings: &StoreSettings) -> Result<Store, StoreError> {
        let path = &settings.location;
        let bytes = read_file(path)?;
        let password = password(&settings.password)?;
        let store = match settings.kind {
            StoreKind::Pem => from_pem(&bytes, &password),
            StoreKind::Java if jks::is_jks(&bytes) => from_jks(&bytes, &password),
            StoreKind::Java => from_pkcs12(&bytes, &password),
        };
        store.map_err(|reason| StoreError::Contents { path: path.clone(), reason })
    }
}

/// The files that a store consists of.
pub fn files(settings: &StoreSettings) -> impl Iterator<Item = &Path> {
    let password = match &settings.password {
        Password::File(path) => Some(path.as_path()),
        Password::None | Password::Inline(_) => None,
    };
    std::iter::once(settings.location.as_path()).chain(password)
}

fn read_file(path: &Path) -> Result<Vec<u8>, StoreError> {
    let failed = |source| StoreError::Read { path: path.to_owned(), source };
    let bytes = std::fs::metadata(path).map_err(failed)?.len();
    if bytes > MAX_BYTES {
        return Err(StoreError::Long { path: path.to_owned(), bytes });
    }
    std::fs::read(path).map_err(failed)
}

/// From a file without the line's end (`SecretUtils.readSecret`).
fn password(password: &Password) -> Result<String, StoreError> {
    match password {
        Password::None => Ok(String::new()),
        Password::Inline(secret) => Ok(secret.reveal().to_owned()),
        Password::File(path) => {
            let not_text =
                |_| StoreError::Contents { path: path.clone(), reason: "it is not a text".to_owned() };
            let text = String::from_utf8(read_file(path)?).map_err(not_text)?;
            Ok(text.trim_end_matches(['\r', '\n']).to_owned())
        }
    }
}

fn from_jks(bytes: &[u8], password: &str) -> Result<Store, String> {
    let found = jks::read(bytes, password).map_err(|error| error.to_string())?;
    let mut store = Store::default();
    for (key, chain) in found.keys {
        store.add(key, chain.into_iter().map(CertificateDer::from).collect());
    }
    store.trusted.extend(found.trusted.into_iter().map(CertificateDer::from));
    Ok(store)
}

fn from_pkcs12(bytes: &[u8], password: &str) -> Result<Store, String> {
    let wrong = |error| format!("it is no PKCS12 key store, or the password is wrong: {error}");
    let found = KeyStore::from_pkcs12(bytes, password, Pkcs12ImportPolicy::Strict).map_err(wrong)?;
    let mut store = Store::default();
    let certificate = |found: &p12_keystore::Certificate| CertificateDer::from(found.as_der().to_vec());
    for (_, entry) in found.entries() {
        match entry {
            KeyStoreEntry::PrivateKeyChain(found) => {
                let chain = found.certs().iter().map(certificate).collect();
                store.add(found.key().as_der().to_vec(), chain);
            }
            KeyStoreEntry::Certificate(found) => store.trusted.push(certificate(found)),
            KeyStoreEntry::Secret(_) => {}
        }
    }
    Ok(store)
}

/// A private key, encrypted or not, and certificates.
fn from_pem(bytes: &[u8], password: &str) -> Result<Store, String> {
    let text = String::from_utf8_lossy(bytes);
    let (mut key, mut certificates) = (None, Vec::new());
    for (name, der) in pem::sections(&text)? {
        match name.as_str() {
            "CERTIFICATE" | "X509 CERTIFICATE" => certificates.push(CertificateDer::from(der)),
            "PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY" => key = key.or(Some((name, der))),
            "ENCRYPTED PRIVATE KEY" => {
                key = key.or(Some(("PRIVATE KEY".to_owned(), decrypted(&der, password)?)));
            }
            _ => {}
        }
    }
    let key = key.map(|(name, der)| match name.as_str() {
        "RSA PRIVATE KEY" => PrivatePkcs1KeyDer::from(der).into(),
        "EC PRIVATE KEY" => PrivateSec1KeyDer::from(der).into(),
        _ => pkcs8(ec_key::with_public_key(der, certificates.first())),
    });
    let mut store = Store { trusted: certificates.clone(), ..Store::default() };
    store.keys.extend(key.map(|key| (key, certificates)));
    Ok(store)
}

fn decrypted(der: &[u8], password: &str) -> Result<Vec<u8>, String> {
    let found = EncryptedPrivateKeyInfoRef::try_from(der)
        .map_err(|error| format!("its encrypted private key makes no sense: {error}"))?;
    let opened = found.decrypt(password).map_err(|_| {
        "the password does not open the private key in it, or its cipher is unknown".to_owned()
    })?;
    Ok(opened.as_bytes().to_vec())
}

fn pkcs8(der: Vec<u8>) -> PrivateKeyDer<'static> {
    PrivatePkcs8KeyDer::from(der).into()
}

impl Store {
    /// Java's trust managers believe the first certificate of a key's entry, too; so it is in `trusted`.
    fn add(&mut self, key: Vec<u8>, chain: Vec<CertificateDer<'static>>) {
        let key = pkcs8(ec_key::with_public_key(key, chain.first()));
        self.trusted.extend(chain.first().cloned());
        self.keys.push((key, chain));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::secret::Secret;
    use crate::net::tls::subject::subject;

    /// Made by keytool and openssl: see `tests/stores/make`.
    fn settings(name: &str, password: Password) -> StoreSettings {
        let location = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stores").join(name);
        let is_pem = location.extension().is_some_and(|extension| extension == "pem");
        StoreSettings { location, password, kind: if is_pem { StoreKind::Pem } else { StoreKind::Java } }
    }

    fn changeit() -> Password {
        Password::Inline(Secret::new("changeit"))
    }

    #[test]
    fn a_key_is_the_same_in_each_form() {
        let read = |name: &str| {
            let store = Store::read(&settings(name, changeit())).unwrap();
            assert_eq!(store.keys.len(), 1, "{name}");
            let (key, chain) = &store.keys[0];
            assert_eq!(store.trusted, *chain, "{name}");
            // Forms differ in whether they repeat the public key; the private one is in all.
            let key = rustls::crypto::ring::sign::any_supported_type(key).unwrap();
            (key.public_key().unwrap().to_vec(), chain.clone())
        };
        let expected = read("key.jks");
        assert_eq!(subject(&expected.1[0]).unwrap(), "CN=localhost,O=Acme\\, Inc.,C=DE");
        for name in ["key.p12", "key-legacy.p12", "key.pem", "key-aes-256-cbc.pem", "key-des3.pem"] {
            assert_eq!(read(name), expected, "{name}");
        }
        for name in ["trust.jks", "trust.p12", "trust.pem"] {
            let store = Store::read(&settings(name, changeit())).unwrap();
            assert_eq!((store.keys.len(), store.trusted), (0, expected.1.clone()), "{name}");
        }
    }

    #[test]
    fn a_wrong_password_is_told_without_showing_it() {
        let wrong = Password::Inline(Secret::new("sesame"));
        for name in
            ["key.jks", "key.p12", "key-legacy.p12", "key-aes-256-cbc.pem", "key-des3.pem", "trust.jks"]
        {
            let error = Store::read(&settings(name, wrong.clone())).unwrap_err().to_string();
            assert!(
                error.contains("password") && error.contains(name) && !error.contains("sesame"),
                "{error}"
            );
            assert!(Store::read(&settings(name, Password::None)).is_err(), "{name}");
        }
    }

    #[test]
    fn a_password_may_be_in_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        std::fs::write(&path, "changeit\n").unwrap();
        let store = settings("key.p12", Password::File(path.clone()));
        assert!(Store::read(&store).is_ok());
        assert_eq!(files(&store).collect::<Vec<_>>(), [store.location.as_path(), &path]);
        std::fs::remove_file(&path).unwrap();
        assert!(Store::read(&store).unwrap_err().to_string().contains("password"));
    }

    #[test]
    fn what_is_no_store_is_named() {
        let dir = tempfile::tempdir().unwrap();
        for (bytes, kind) in [
            (&b""[..], StoreKind::Java),
            (b"\xfe\xed\xfe\xed", StoreKind::Java),
            (b"nonsense", StoreKind::Java),
            (b"-----BEGIN PRIVATE KEY-----", StoreKind::Pem),
        ] {
            let location = dir.path().join("store");
            std::fs::write(&location, bytes).unwrap();
            let error =
                Store::read(&StoreSettings { location: location.clone(), password: Password::None, kind });
            assert!(error.unwrap_err().to_string().starts_with(location.to_str().unwrap()), "{bytes:?}");
        }
        let long = dir.path().join("long");
        std::fs::File::create(&long).unwrap().set_len(MAX_BYTES + 1).unwrap();
        let error =
            Store::read(&StoreSettings { location: long, password: Password::None, kind: StoreKind::Java });
        assert!(matches!(error, Err(StoreError::Long { .. })));
    }
}
