//! Who we are to an ensemble, from files. They are read at each attach, so that a file that has changed counts from the
//! next connection on and no session is lost for it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde::Deserialize;
use zk_client::{Auth, Certificate, SaslUser, Tls, TlsError};

use super::slots::lock;

/// The files that say who we are. None of what is in them becomes part of a log or an error.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdentityFiles {
    /// `user:password` for `addauth digest`, one a line.
    pub digest_file: Option<PathBuf>,
    /// `user:password` for SASL DIGEST-MD5.
    pub sasl_file: Option<PathBuf>,
    /// TLS instead of plain TCP.
    pub tls: Option<TlsFiles>,
}

/// What TLS needs, each as PEM.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct TlsFiles {
    /// The authorities whose servers are trusted.
    pub ca_file: PathBuf,
    /// Our certificate, with those between it and the authority.
    #[serde(default)]
    pub cert_file: Option<PathBuf>,
    /// Its private key, not encrypted.
    #[serde(default)]
    pub key_file: Option<PathBuf>,
    /// The name that servers' certificates are for, instead of the host in the connect string.
    #[serde(default)]
    pub server_name: Option<String>,
}

/// What is shown to a server.
#[derive(Debug, Clone, Default)]
pub(crate) struct Proofs {
    pub(crate) auth: Vec<Auth>,
    pub(crate) sasl: Option<SaslUser>,
    pub(crate) tls: Option<Tls>,
}

/// Who we are, now. Cheap to clone; all clones remember the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Identity {
    files: IdentityFiles,
    /// What could be used last.
    last: Arc<Mutex<Option<Proofs>>>,
}

/// Why it is not known who we are. Nothing that is in a file is repeated.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be read.
    #[error("cannot read {key} {}: {source}", .path.display())]
    Read {
        /// The key of the configuration that names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A file does not hold what it should.
    #[error("{key} {} {reason}", .path.display())]
    Contents {
        /// The key of the configuration that names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What it should hold.
        reason: &'static str,
    },
    /// Certificates or keys cannot be used.
    #[error("tls with the files of {} cannot be used: {source}", .path.display())]
    Tls {
        /// The authorities' file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: TlsError,
    },
}

/// All public authorities are of a quarter of this.
const MAX_BYTES: u64 = 1 << 20;

impl IdentityFiles {
    /// Is there anything that a server would know us by?
    #[must_use]
    pub fn is_somebody(&self) -> bool {
        self.digest_file.is_some()
            || self.sasl_file.is_some()
            || self.tls.as_ref().is_some_and(|tls| tls.cert_file.is_some())
    }

    fn read(&self) -> Result<Proofs, IdentityError> {
        let auth = match &self.digest_file {
            Some(path) => digests(path)?,
            None => Vec::new(),
        };
        let sasl = self.sasl_file.as_deref().map(sasl).transpose()?;
        let tls = self.tls.as_ref().map(TlsFiles::read).transpose()?;
        Ok(Proofs { auth, sasl, tls })
    }
}

impl TlsFiles {
    fn read(&self) -> Result<Tls, IdentityError> {
        let authorities = read("tls.caFile", &self.ca_file)?;
        let chain = self.cert_file.as_deref().map(|path| read("tls.certFile", path)).transpose()?;
        let key = self.key_file.as_deref().map(|path| read("tls.keyFile", path)).transpose()?;
        let certificate = match (&chain, &key) {
            (Some(chain), Some(key)) => Some(Certificate { chain, key }),
            // The configuration has either both or none.
            _ => None,
        };
        Tls::from_pem(&authorities, certificate, self.server_name.as_deref())
            .map_err(|source| IdentityError::Tls { path: self.ca_file.clone(), source })
    }
}

impl Identity {
    pub(crate) fn new(files: IdentityFiles) -> Self {
        Identity { files, last: Arc::default() }
    }

    /// What the files hold now; what they held before if that cannot be used.
    ///
    /// # Errors
    /// They cannot be used and never could.
    pub(crate) async fn proofs(&self) -> Result<Proofs, IdentityError> {
        if self.files == IdentityFiles::default() {
            return Ok(Proofs::default());
        }
        let files = self.files.clone();
        // A volume may be slow; whoever shares this thread is not held up.
        let read = tokio::task::spawn_blocking(move || files.read());
        let Ok(read) = read.await else { return Ok(lock(&self.last).clone().unwrap_or_default()) };
        match (read, &mut *lock(&self.last)) {
            (Ok(proofs), last) => {
                *last = Some(proofs.clone());
                Ok(proofs)
            }
            (Err(error), Some(last)) => {
                tracing::error!("what we had before still counts, since a file cannot be used: {error}");
                Ok(last.clone())
            }
            (Err(error), None) => Err(error),
        }
    }
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, IdentityError> {
    let failed = |source| IdentityError::Read { key, path: path.to_owned(), source };
    if std::fs::metadata(path).map_err(failed)?.len() > MAX_BYTES {
        return Err(IdentityError::Contents { key, path: path.to_owned(), reason: "is longer than 1 MiB" });
    }
    std::fs::read(path).map_err(failed)
}

/// The users of a file, each with a password that is not empty.
fn users(key: &'static str, path: &Path) -> Result<Vec<(String, String)>, IdentityError> {
    let wrong = |reason| IdentityError::Contents { key, path: path.to_owned(), reason };
    let text = String::from_utf8(read(key, path)?).map_err(|_| wrong("is not UTF-8"))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let users: Vec<_> = lines
        .map(|line| line.split_once(':').filter(|(user, password)| !user.is_empty() && !password.is_empty()))
        .map(|user| user.map(|(user, password)| (user.to_owned(), password.to_owned())))
        .collect::<Option<_>>()
        .ok_or(wrong("has a line that is not user:password"))?;
    if users.is_empty() { Err(wrong("does not hold user:password")) } else { Ok(users) }
}

fn digests(path: &Path) -> Result<Vec<Auth>, IdentityError> {
    let auth =
        |(user, password)| Auth { scheme: "digest".to_owned(), secret: format!("{user}:{password}").into() };
    Ok(users("digestFile", path)?.into_iter().map(auth).collect())
}

fn sasl(path: &Path) -> Result<SaslUser, IdentityError> {
    let key = "saslFile";
    let mut users = users(key, path)?;
    match (users.pop(), users.is_empty()) {
        (Some((name, password)), true) => Ok(SaslUser { name, password }),
        _ => {
            let reason = "holds several users, and a connection can be only one";
            Err(IdentityError::Contents { key, path: path.to_owned(), reason })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(files: IdentityFiles) -> Identity {
        Identity::new(files)
    }

    #[tokio::test]
    async fn a_file_counts_as_it_is_now_and_as_it_was_when_it_cannot_be_used() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("digest");
        let identity =
            identity(IdentityFiles { digest_file: Some(path.clone()), ..IdentityFiles::default() });
        let secrets = |proofs: Proofs| {
            proofs
                .auth
                .iter()
                .map(|auth| String::from_utf8_lossy(&auth.secret).into_owned())
                .collect::<Vec<_>>()
        };
        assert!(identity.proofs().await.unwrap_err().to_string().contains("digestFile"));
        for (text, expected) in [
            ("bob:one\n", vec!["bob:one"]),
            ("bob:one\n\nbob:two:three\n", vec!["bob:one", "bob:two:three"]),
            ("bob", vec!["bob:one", "bob:two:three"]),
            (" bob:four \n", vec!["bob:four"]),
        ] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(secrets(identity.proofs().await.unwrap()), expected, "{text:?}");
        }
        std::fs::remove_file(&path).unwrap();
        assert_eq!(secrets(identity.proofs().await.unwrap()), ["bob:four"]);
    }

    #[tokio::test]
    async fn what_cannot_be_used_is_named_and_not_repeated() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hush-file");
        let digest = IdentityFiles { digest_file: Some(path.clone()), ..IdentityFiles::default() };
        let sasl = IdentityFiles { sasl_file: Some(path.clone()), ..IdentityFiles::default() };
        let tls = TlsFiles { ca_file: path.clone(), cert_file: None, key_file: None, server_name: None };
        let tls = IdentityFiles { tls: Some(tls), ..IdentityFiles::default() };
        for (files, text, part) in [
            (&digest, "secret", "not user:password"),
            (&digest, "\n", "does not hold user:password"),
            (&digest, ":secret", "not user:password"),
            (&sasl, "bob:secret\neve:secret", "several users"),
            (&tls, "secret", "no certificate of an authority"),
            (&tls, "-----BEGIN CERTIFICATE-----\nsecret\n-----END CERTIFICATE-----", "makes no sense"),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = identity(files.clone()).proofs().await.unwrap_err();
            let (shown, debugged) = (error.to_string(), format!("{error:?}"));
            assert!(shown.contains(part) && shown.contains("hush-file"), "{shown}");
            assert!(!shown.contains("secret") && !debugged.contains("secret"), "{shown} {debugged}");
        }
        std::fs::write(&path, "bob:secret").unwrap();
        assert!(!format!("{:?}", identity(digest).proofs().await.unwrap()).contains("secret"));
        assert!(!format!("{:?}", identity(sasl).proofs().await.unwrap()).contains("secret"));
    }
}
