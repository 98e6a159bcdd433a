//! What TLS needs to know.

use std::path::PathBuf;
use std::time::Duration;

use crate::access::secret::Secret;

/// The settings of the secure port, `ssl.…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// `ssl.keyStore.…`: the server's key and its certificates.
    pub key_store: StoreSettings,
    /// `ssl.trustStore.…`: who may sign clients' certificates.
    pub trust_store: Option<StoreSettings>,
    /// `ssl.clientAuth`.
    pub client_auth: ClientAuth,
    /// `ssl.enabledProtocols` or `ssl.protocol`: TLS 1.2 allowed?
    pub tls12: bool,
    /// Likewise TLS 1.3.
    pub tls13: bool,
    /// `ssl.ciphersuites` by their names in Java; `None` is all that rustls has.
    pub cipher_suites: Option<Vec<String>>,
    /// How long a handshake may take. `ssl.handshakeDetectionTimeoutMillis` in Apache bounds its first bytes.
    pub handshake_timeout: Duration,
    /// `netty.server.outstandingHandshake.limit`: handshakes under way at once; 0 is no limit.
    pub handshake_limit: usize,
    /// `client.certReload`: files that change are read again.
    pub reload: bool,
}

impl TlsSettings {
    /// PEM files that no password protects; the rest is what counts where `zoo.cfg` says nothing.
    #[must_use]
    pub fn pem(key_store: PathBuf, trust_store: PathBuf, client_auth: ClientAuth) -> Self {
        let store = |location| StoreSettings { location, password: Password::None, kind: StoreKind::Pem };
        TlsSettings {
            key_store: store(key_store),
            trust_store: Some(store(trust_store)),
            client_auth,
            tls12: true,
            tls13: true,
            cipher_suites: None,
            handshake_timeout: Duration::from_secs(5),
            handshake_limit: 250,
            reload: true,
        }
    }
}

/// One key store or trust store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreSettings {
    /// The file.
    pub location: PathBuf,
    /// What opens it.
    pub password: Password,
    /// Its form.
    pub kind: StoreKind,
}

/// Where a password is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Password {
    /// There is none.
    None,
    /// In the configuration.
    Inline(Secret),
    /// In a file, read anew with the store.
    File(PathBuf),
}

/// The form of a store (`KeyStoreFileType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreKind {
    /// Java's own, or PKCS12, whichever it is: Java takes one for the other, too.
    Java,
    /// PEM.
    Pem,
}

/// Is a client asked for a certificate?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// No.
    None,
    /// Yes, but it may have none.
    Want,
    /// Yes, and without one it is not served.
    Need,
}
