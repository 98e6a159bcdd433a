//! TLS towards servers: whom we trust, and the certificate that says who we are.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Keys and rules of TLS. Cheap to clone; its `Debug` shows nothing.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ClientConfig>,
    server_name: Option<ServerName<'static>>,
}

/// What a client has to show: its certificate with those between it and the authority, and the key, each as PEM.
#[derive(Debug, Clone, Copy)]
pub struct Certificate<'a> {
    /// The certificates, its own first.
    pub chain: &'a [u8],
    /// The private key, not encrypted.
    pub key: &'a [u8],
}

/// Why there is no TLS. No message shows a key.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Nobody could be trusted.
    #[error("there is no certificate of an authority in the PEM")]
    NoAuthority,
    /// A certificate of an authority makes no sense.
    #[error("a certificate of an authority makes no sense: {0}")]
    Authority(String),
    /// The client's own certificate makes no sense.
    #[error("there is no certificate of the client in the PEM: {0}")]
    Chain(String),
    /// The client's own key makes no sense.
    #[error("there is no private key in the PEM that is not encrypted (PKCS8, PKCS1 or SEC1)")]
    Key,
    /// Certificate and key do not go together.
    #[error("the client's certificate and key do not go together: {0}")]
    Identity(String),
    /// A name that no server has.
    #[error("{0:?} is no name of a server")]
    ServerName(String),
}

impl Tls {
    /// Trusts servers whose certificate one of these `authorities` (PEM) has signed, for the host in the connect
    /// string or for `server_name` instead, in its subjectAltName.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn from_pem(
        authorities: &[u8],
        certificate: Option<Certificate<'_>>,
        server_name: Option<&str>,
    ) -> Result<Tls, TlsError> {
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(authorities) {
            let authority = authority.map_err(|error| TlsError::Authority(error.to_string()))?;
            roots.add(authority).map_err(|error| TlsError::Authority(error.to_string()))?;
        }
        if roots.is_empty() {
            return Err(TlsError::NoAuthority);
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::Identity(error.to_string()))?
            .with_root_certificates(roots);
        let config = match certificate {
            None => builder.with_no_client_auth(),
            Some(Certificate { chain, key }) => {
                let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
                    .collect::<Result<_, _>>()
                    .map_err(|error| TlsError::Chain(error.to_string()))?;
                if chain.is_empty() {
                    return Err(TlsError::Chain("it has none".to_owned()));
                }
                let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| TlsError::Key)?;
                builder
                    .with_client_auth_cert(chain, key)
                    .map_err(|error| TlsError::Identity(error.to_string()))?
            }
        };
        let server_name = server_name.map(name).transpose()?;
        Ok(Tls { config: Arc::new(config), server_name })
    }

    /// The stream behind a handshake with the server at `host`.
    pub(crate) async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, String> {
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => name(host).map_err(|error| error.to_string())?,
        };
        let connector = TlsConnector::from(Arc::clone(&self.config));
        connector.connect(name, stream).await.map_err(|error| format!("TLS: {error}"))
    }
}

fn name(text: &str) -> Result<ServerName<'static>, TlsError> {
    ServerName::try_from(text.to_owned()).map_err(|_| TlsError::ServerName(text.to_owned()))
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}
