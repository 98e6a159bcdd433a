//! The keys on which somebody's security depends. One that is not implemented stops the start.

mod keys;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::ConfigError;
use super::server::places;
use super::settings::Setting;
use super::tls::{ClientAuth, Password, StoreKind, StoreSettings, TlsSettings};
use crate::access::rules::DigestAlgorithm;
use crate::access::secret::{Key, Secret};
use crate::access::{Rules, jaas};

pub(super) use keys::KEYS;

/// What the operator has said about who may connect and what they may do.
#[derive(Debug, Clone)]
pub struct SecurityConfig {
    /// Schemes and super users.
    pub rules: Arc<Rules>,
    /// `clientPort` is served. Apache has it only if it is set.
    pub plain_port: bool,
    /// `secureClientPortAddress` and `secureClientPort`.
    pub secure_address: Option<SocketAddr>,
    /// `client.portUnification`: TLS is understood on `clientPort`, too.
    pub port_unification: bool,
    /// Needed by the two above.
    pub tls: Option<TlsSettings>,
    /// `audit.enable`.
    pub audit: bool,
    /// For challenges that nobody can foresee.
    pub nonce_key: Key,
}

impl Default for SecurityConfig {
    fn default() -> Self {
        SecurityConfig {
            rules: Arc::default(),
            plain_port: true,
            secure_address: None,
            port_unification: false,
            tls: None,
            audit: false,
            nonce_key: Key([0; 32]),
        }
    }
}

/// What has been written, before it is put together.
#[derive(Debug)]
pub(super) struct Security {
    rules: Rules,
    port: Option<u16>,
    address: Option<std::net::IpAddr>,
    port_unification: bool,
    reload: bool,
    client_auth: ClientAuth,
    protocols: Option<(bool, bool)>,
    protocol: (bool, bool),
    cipher_suites: Option<Vec<String>>,
    handshake_timeout: Duration,
    handshake_limit: usize,
    key_store: Store,
    trust_store: Store,
    enforced: bool,
    schemes: Vec<String>,
    requires_sasl: bool,
    super_password: Option<Secret>,
    login_file: Option<PathBuf>,
    login_section: Option<String>,
    ensemble: bool,
    ensemble_names: Vec<String>,
    audit: bool,
}

#[derive(Debug, Default)]
struct Store {
    location: Option<PathBuf>,
    password: Option<Secret>,
    password_path: Option<PathBuf>,
    kind: Option<StoreKind>,
}

impl Default for Security {
    fn default() -> Self {
        Security {
            rules: Rules::default(),
            port: None,
            address: None,
            port_unification: false,
            reload: true,
            client_auth: ClientAuth::Need,
            protocols: None,
            protocol: (false, true),
            cipher_suites: None,
            handshake_timeout: Duration::from_secs(5),
            handshake_limit: 250,
            key_store: Store::default(),
            trust_store: Store::default(),
            enforced: false,
            schemes: Vec::new(),
            requires_sasl: false,
            super_password: None,
            login_file: None,
            login_section: None,
            ensemble: false,
            ensemble_names: Vec::new(),
            audit: false,
        }
    }
}

impl Security {
    /// False if this key is not one of these.
    pub(super) fn set(&mut self, setting: &Setting) -> Result<bool, ConfigError> {
        let value = || setting.value.clone();
        match setting.name() {
            "secureClientPort" => self.port = Some(setting.number(0, 65_535)? as u16),
            "secureClientPortAddress" => self.address = Some(setting.address()?),
            "client.portUnification" => self.port_unification = setting.yes_or_no()?,
            "client.certReload" => self.reload = setting.yes_or_no()?,
            "netty.server.outstandingHandshake.limit" => {
                self.handshake_limit = setting.number(0, 1 << 31)? as usize;
            }
            // A server that does not serve accepts nobody.
            "netty.server.earlyDropSecureConnectionHandshakes" => drop(setting.yes_or_no()?),
            // ACLs are checked before anything is proposed.
            "enableEagerACLCheck" => drop(setting.yes_or_no()?),
            // It concerns servers that the server connects to, and there are none.
            "ssl.hostnameVerification" => drop(setting.yes_or_no()?),
            "ssl.authProvider" if setting.value != "x509" => {
                return Err(setting.invalid("there is no other provider than x509"));
            }
            "ssl.authProvider" => {}
            "ssl.handshakeDetectionTimeoutMillis" => {
                self.handshake_timeout = Duration::from_millis(setting.number(1, 600_000)?);
            }
            "ssl.clientAuth" => self.client_auth = client_auth(setting)?,
            "ssl.protocol" => self.protocol = protocols(setting)?,
            "ssl.enabledProtocols" => self.protocols = Some(protocols(setting)?),
            "ssl.ciphersuites" => self.cipher_suites = Some(setting.list()),
            "skipACL" => self.rules.skip_acl = setting.yes_or_no()?,
            "enforce.auth.enabled" => self.enforced = setting.yes_or_no()?,
            "enforce.auth.schemes" => self.schemes = setting.list(),
            "sessionRequireClientSASLAuth" => self.requires_sasl = setting.yes_or_no()?,
            "allowSaslFailedClients" => self.rules.allow_sasl_failed = setting.yes_or_no()?,
            "letAnySaslUserDoX" => self.rules.any_sasl_user = Some(value()),
            "sasl.serverconfig" => self.login_section = Some(value()),
            "java.security.auth.login.config" => self.login_file = Some(value().into()),
            "DigestAuthenticationProvider.enabled" => self.rules.digest = setting.yes_or_no()?,
            "DigestAuthenticationProvider.superDigest" => {
                if !setting.value.contains(':') {
                    return Err(setting.without_value().invalid("user:hash is wanted"));
                }
                self.rules.super_digest = Some(Secret::new(value()));
            }
            "DigestAuthenticationProvider.digestAlg" => {
                self.rules.digest_algorithm = DigestAlgorithm::named(&setting.value).ok_or_else(|| {
                    setting.invalid("one of MD5, SHA1, SHA-224, SHA-256, SHA-384 and SHA-512 is wanted")
                })?;
            }
            "X509AuthenticationProvider.superUser" => self.rules.x509_super_user = Some(value()),
            "SASLAuthenticationProvider.superPassword" => self.super_password = Some(Secret::new(value())),
            "ensembleAuthName" => self.ensemble_names = setting.list(),
            "audit.enable" => self.audit = setting.yes_or_no()?,
            name if name == "superUser" || name.starts_with("superUser.") => {
                self.rules.sasl_super_users.push(value());
            }
            name if name.starts_with("authProvider.") => self.provider(setting)?,
            name => {
                let (store, key) =
                    match (name.strip_prefix("ssl.keyStore."), name.strip_prefix("ssl.trustStore.")) {
                        (Some(key), _) => (&mut self.key_store, key),
                        (_, Some(key)) => (&mut self.trust_store, key),
                        _ => return Ok(false),
                    };
                return store.set(key, setting);
            }
        }
        Ok(true)
    }

    /// Puts together what belongs together.
    ///
    /// # Errors
    /// Something is missing, or contradicts something else; the login file cannot be used.
    pub(super) fn finish(mut self, settings: &[Setting]) -> Result<SecurityConfig, ConfigError> {
        let is_set = |name: &str| settings.iter().any(|setting| setting.name() == name);
        let contradiction = |names: &[&str], why: &str| {
            Err(ConfigError::Contradiction { places: places(settings, names), why: why.to_owned() })
        };
        if self.port.is_none() && self.address.is_some() {
            return contradiction(
                &["secureClientPortAddress"],
                "secureClientPortAddress is set and secureClientPort is not",
            );
        }
        let wants_tls = self.port.is_some() || self.port_unification;
        if wants_tls && self.key_store.location.is_none() {
            let names = ["secureClientPort", "client.portUnification"];
            return contradiction(&names, "TLS is asked for and ssl.keyStore.location is missing");
        }
        if wants_tls && self.client_auth != ClientAuth::None && self.trust_store.location.is_none() {
            let names = ["secureClientPort", "client.portUnification", "ssl.clientAuth"];
            let why = "clients are asked for certificates and ssl.trustStore.location is missing: \
                       set it, or ssl.clientAuth=none";
            return contradiction(&names, why);
        }
        self.rules.x509 |= wants_tls;
        self.rules.ensemble = self.ensemble.then(|| std::mem::take(&mut self.ensemble_names));
        self.rules.sasl_users = self.users(settings)?;
        self.rules.enforced = match (self.requires_sasl, self.enforced) {
            (true, _) => vec!["sasl".to_owned()],
            (false, true) => std::mem::take(&mut self.schemes),
            (false, false) => Vec::new(),
        };
        let names = ["sessionRequireClientSASLAuth", "enforce.auth.enabled", "enforce.auth.schemes"];
        if self.enforced && !self.requires_sasl && self.rules.enforced.is_empty() {
            return contradiction(&names, "authentication is enforced and enforce.auth.schemes is missing");
        }
        if let Some(scheme) = self.rules.enforced.iter().find(|scheme| !self.rules.has(scheme)) {
            let why =
                format!("the scheme {scheme} is enforced and has no provider: set authProvider.{scheme}");
            return contradiction(&names, &why);
        }
        let mut nonce_key = Key([0; 32]);
        getrandom::fill(&mut nonce_key.0).map_err(|_| ConfigError::NoRandomness)?;
        let address = self.address.unwrap_or(Ipv4Addr::UNSPECIFIED.into());
        let secure_address = self.port.map(|port| SocketAddr::new(address, port));
        Ok(SecurityConfig {
            plain_port: secure_address.is_none() || is_set("clientPort"),
            secure_address,
            port_unification: self.port_unification,
            audit: self.audit,
            nonce_key,
            rules: Arc::new(std::mem::take(&mut self.rules)),
            tls: if wants_tls { self.tls() } else { None },
        })
    }

    fn tls(self) -> Option<TlsSettings> {
        let (tls12, tls13) = self.protocols.unwrap_or(self.protocol);
        Some(TlsSettings {
            key_store: self.key_store.finish()?,
            trust_store: self.trust_store.finish(),
            client_auth: self.client_auth,
            tls12,
            tls13,
            cipher_suites: self.cipher_suites,
            handshake_timeout: self.handshake_timeout,
            handshake_limit: self.handshake_limit,
            reload: self.reload,
        })
    }

    fn provider(&mut self, setting: &Setting) -> Result<(), ConfigError> {
        match setting.value.strip_prefix("org.apache.zookeeper.server.auth.") {
            Some("SASLAuthenticationProvider") => self.rules.sasl = true,
            Some("X509AuthenticationProvider") => self.rules.x509 = true,
            Some("DigestAuthenticationProvider") => self.rules.digest = true,
            Some("IPAuthenticationProvider") => {}
            Some("EnsembleAuthenticationProvider") => self.ensemble = true,
            _ => {
                return Err(setting.invalid(
                    "one of Apache's providers is wanted, with its package: SASL-, X509-, Digest-, IP- or \
                     EnsembleAuthenticationProvider",
                ));
            }
        }
        Ok(())
    }

    /// The users of the login file (`ServerCnxnFactory.configureSaslLogin`).
    fn users(&self, settings: &[Setting]) -> Result<Option<BTreeMap<String, Secret>>, ConfigError> {
        let Some(path) = &self.login_file else {
            let names = ["sasl.serverconfig", "SASLAuthenticationProvider.superPassword"];
            if self.login_section.is_some() || self.super_password.is_some() {
                let places = places(settings, &names);
                let why = "java.security.auth.login.config is missing".to_owned();
                return Err(ConfigError::Contradiction { places, why });
            }
            return Ok(None);
        };
        let place = places(settings, &["java.security.auth.login.config"]);
        let login = |reason: String| ConfigError::Login { place: place.clone(), path: path.clone(), reason };
        let text = std::fs::read_to_string(path).map_err(|error| login(error.to_string()))?;
        let section = self.login_section.as_deref().unwrap_or("Server");
        let modules = jaas::section(&text, section).map_err(|error| login(error.to_string()))?;
        const DIGEST: &str = "org.apache.zookeeper.server.auth.DigestLoginModule";
        if let Some(other) = modules.iter().find(|module| module.class != DIGEST) {
            return Err(login(format!("{} is not implemented; {DIGEST} is", other.class)));
        }
        let mut users = jaas::users(&modules);
        if let (Some(password), true) = (&self.super_password, users.contains_key("super")) {
            users.insert("super".to_owned(), password.clone());
        }
        Ok(Some(users))
    }
}

impl Store {
    fn set(&mut self, key: &str, setting: &Setting) -> Result<bool, ConfigError> {
        let value = || setting.value.clone();
        match key {
            "location" => self.location = Some(value().into()),
            "password" => self.password = Some(Secret::new(value())),
            "passwordPath" => self.password_path = Some(value().into()),
            "type" => {
                self.kind = Some(match setting.value.to_ascii_uppercase().as_str() {
                    "JKS" | "PKCS12" => StoreKind::Java,
                    "PEM" => StoreKind::Pem,
                    _ => return Err(setting.invalid("JKS, PKCS12 or PEM is wanted")),
                });
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn finish(self) -> Option<StoreSettings> {
        let location = self.location?;
        let is_pem = location.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("pem"));
        let password = match (self.password_path, self.password) {
            (Some(path), _) => Password::File(path),
            (None, Some(password)) => Password::Inline(password),
            (None, None) => Password::None,
        };
        let by_name = if is_pem { StoreKind::Pem } else { StoreKind::Java };
        Some(StoreSettings { location, password, kind: self.kind.unwrap_or(by_name) })
    }
}

fn client_auth(setting: &Setting) -> Result<ClientAuth, ConfigError> {
    match setting.value.to_ascii_lowercase().as_str() {
        "none" => Ok(ClientAuth::None),
        "want" => Ok(ClientAuth::Want),
        "need" => Ok(ClientAuth::Need),
        _ => Err(setting.invalid("none, want or need is wanted")),
    }
}

/// Which of TLS 1.2 and 1.3. What is not named is not offered, and by default 1.3 alone is, as with Apache's Netty
/// (`ClientX509Util.getEnabledProtocols`).
fn protocols(setting: &Setting) -> Result<(bool, bool), ConfigError> {
    let (mut tls12, mut tls13) = (false, false);
    for name in setting.list() {
        match name.as_str() {
            "TLSv1.3" => tls13 = true,
            "TLSv1.2" => tls12 = true,
            _ => return Err(setting.invalid("TLSv1.2 and TLSv1.3 are what there is")),
        }
    }
    if tls12 || tls13 { Ok((tls12, tls13)) } else { Err(setting.invalid("TLSv1.2 or TLSv1.3 is wanted")) }
}

#[cfg(test)]
mod tests;
