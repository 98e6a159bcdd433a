//! TLS of the client ports: handshakes, identities of certificates, and files that change while running.

pub mod der;
pub mod ec_key;
pub mod jks;
pub mod pem;
pub mod store;
pub mod subject;

mod verifier;

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::crypto::{CryptoProvider, ring};
use rustls::server::{NoClientAuth, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion, version};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use self::store::{Store, StoreError};
use self::verifier::Directly;
use crate::config::{ClientAuth, TlsSettings};

/// The current keys and rules of TLS.
#[derive(Debug)]
pub struct Tls {
    settings: TlsSettings,
    current: RwLock<Arc<ServerConfig>>,
}

/// Why TLS cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A store cannot be used.
    #[error("{key} cannot be used")]
    Store {
        /// The setting that names it.
        key: &'static str,
        /// Why not.
        #[source]
        source: StoreError,
    },
    /// A store has not what it is for.
    #[error("{key}: {path} holds no {wanted}")]
    Empty {
        /// The setting that names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What it should hold.
        wanted: &'static str,
    },
    /// Key, certificates, ciphers or protocols do not go together.
    #[error("TLS cannot be offered with these keys, ciphers and protocols")]
    Rules(#[source] rustls::Error),
    /// Nobody can be trusted with these certificates.
    #[error("ssl.trustStore.location: no client can be trusted with it: {0}")]
    Trust(String),
    /// None of the ciphers asked for is there.
    #[error("ssl.ciphersuites: none of these is offered; there are {0}")]
    Ciphers(String),
}

/// Why a connection did not come to speak TLS.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// Took too long.
    #[error("no handshake within {0:?}")]
    Slow(Duration),
    /// The peer or its certificate is refused, or gone.
    #[error("the handshake failed: {0}")]
    Failed(std::io::Error),
    /// The certificate is trusted and has no subject that can be read.
    #[error("the subject of the certificate makes no sense")]
    Subject,
}

/// How often files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

impl Tls {
    /// Reads keys and certificates.
    ///
    /// # Errors
    /// They cannot be used.
    pub fn new(settings: TlsSettings) -> Result<Self, TlsError> {
        let current = RwLock::new(Arc::new(rules(&settings)?));
        Ok(Tls { settings, current })
    }

    /// How many handshakes may be under way at once; zero is no limit.
    #[must_use]
    pub fn handshake_limit(&self) -> usize {
        self.settings.handshake_limit
    }

    /// How long the first bytes may take, and how long the handshake.
    #[must_use]
    pub fn handshake_timeout(&self) -> Duration {
        self.settings.handshake_timeout
    }

    /// The stream behind a handshake, and the subject of the client's certificate if it has one.
    ///
    /// # Errors
    /// The handshake fails or takes too long.
    pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        socket: S,
    ) -> Result<(TlsStream<S>, Option<String>), HandshakeError> {
        let current = Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner));
        let limit = self.settings.handshake_timeout;
        let handshake = TlsAcceptor::from(current).accept(socket);
        let stream = tokio::time::timeout(limit, handshake)
            .await
            .map_err(|_| HandshakeError::Slow(limit))?
            .map_err(HandshakeError::Failed)?;
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let name = match certificate {
            Some(certificate) => Some(subject::subject(certificate).ok_or(HandshakeError::Subject)?),
            None => None,
        };
        Ok((stream, name))
    }

    /// Reads the files again whenever they change, for as long as it runs. What cannot be used changes nothing.
    pub async fn keep_fresh(self: Arc<Self>) {
        if !self.settings.reload {
            return;
        }
        let mut seen = self.state_of_files();
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            let now = self.state_of_files();
            if now == seen {
                continue;
            }
            let tls = Arc::clone(&self);
            match tokio::task::spawn_blocking(move || rules(&tls.settings)).await {
                Ok(Ok(fresh)) => {
                    *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(fresh);
                    tracing::info!("new connections use the keys and certificates that have changed");
                }
                Ok(Err(error)) => tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "keys or certificates have changed and cannot be used; the old ones stay"
                ),
                Err(error) => tracing::error!(%error, "reading keys and certificates failed"),
            }
            seen = now;
        }
    }

    fn state_of_files(&self) -> Vec<Option<(SystemTime, u64)>> {
        let stores = std::iter::once(&self.settings.key_store).chain(&self.settings.trust_store);
        let state = |path| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        };
        stores.flat_map(store::files).map(state).collect()
    }
}

fn rules(settings: &TlsSettings) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(provider(settings.cipher_suites.as_deref())?);
    let location = "ssl.keyStore.location";
    let store =
        Store::read(&settings.key_store).map_err(|source| TlsError::Store { key: location, source })?;
    let path = settings.key_store.location.clone();
    if store.keys.len() > 1 {
        tracing::warn!(?path, keys = store.keys.len(), "a key store holds several keys; the first is used");
    }
    let key = store.keys.into_iter().find(|(_, chain)| !chain.is_empty());
    let empty = TlsError::Empty { key: location, path, wanted: "private key with a certificate" };
    let (key, chain) = key.ok_or(empty)?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions(settings))
        .map_err(TlsError::Rules)?
        .with_client_cert_verifier(verifier(settings, &provider)?);
    builder.with_single_cert(chain, key).map_err(TlsError::Rules)
}

fn versions(settings: &TlsSettings) -> Vec<&'static SupportedProtocolVersion> {
    let all = [(settings.tls13, &version::TLS13), (settings.tls12, &version::TLS12)];
    all.into_iter().filter_map(|(is_on, version)| is_on.then_some(version)).collect()
}

/// The ciphers that are offered and asked for, named as in Java.
fn provider(wanted: Option<&[String]>) -> Result<CryptoProvider, TlsError> {
    let mut provider = ring::default_provider();
    let name =
        |suite: &rustls::SupportedCipherSuite| format!("{:?}", suite.suite()).replacen("TLS13_", "TLS_", 1);
    if let Some(wanted) = wanted {
        let all: Vec<String> = provider.cipher_suites.iter().map(name).collect();
        for missing in wanted.iter().filter(|wanted| !all.contains(wanted)) {
            tracing::warn!(cipher = missing, "this cipher is not offered (ssl.ciphersuites)");
        }
        provider.cipher_suites.retain(|suite| wanted.contains(&name(suite)));
        if provider.cipher_suites.is_empty() {
            return Err(TlsError::Ciphers(all.join(",")));
        }
    }
    Ok(provider)
}

fn verifier(
    settings: &TlsSettings,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, TlsError> {
    let (ClientAuth::Want | ClientAuth::Need, Some(trust)) = (settings.client_auth, &settings.trust_store)
    else {
        return Ok(Arc::new(NoClientAuth));
    };
    let key = "ssl.trustStore.location";
    let store = Store::read(trust).map_err(|source| TlsError::Store { key, source })?;
    let mut roots = RootCertStore::empty();
    let (added, ignored) = roots.add_parsable_certificates(store.trusted.iter().cloned());
    if added == 0 {
        return Err(TlsError::Empty { key, path: trust.location.clone(), wanted: "certificate" });
    }
    if ignored > 0 {
        tracing::warn!(ignored, path = ?trust.location, "certificates in a trust store make no sense");
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let builder = match settings.client_auth {
        ClientAuth::Want => builder.allow_unauthenticated(),
        ClientAuth::Need | ClientAuth::None => builder,
    };
    let inner = builder.build().map_err(|error| TlsError::Trust(error.to_string()))?;
    Ok(Arc::new(Directly::new(inner, store.trusted)))
}
