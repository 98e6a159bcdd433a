//! The keys on which somebody's security depends. One that is not implemented stops the start.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::ConfigError;
use super::registry::Group;
use super::registry::Treatment::{Honoured, Refused};
use super::server::places;
use super::settings::Setting;
use super::tls::{ClientAuth, Password, StoreKind, StoreSettings, TlsSettings};
use crate::access::rules::DigestAlgorithm;
use crate::access::secret::{Key, Secret};
use crate::access::{Rules, jaas};

const RELIED_ON: &str = "whoever set it relies on it";
const KERBEROS: &str = "there is no Kerberos, and whoever set it relies on it";
const MEMBERS: &str = "this release serves one node, not an ensemble";
const JVM: &str = "it configures Java's TLS, and whoever set it relies on it";

pub(super) const KEYS: &[Group] = &[
    Group {
        treatment: Honoured,
        keys: &[
            "secureClientPort",
            "secureClientPortAddress",
            "client.portUnification",
            "client.certReload",
            "netty.server.outstandingHandshake.limit",
            "netty.server.earlyDropSecureConnectionHandshakes",
            "ssl.authProvider",
            "ssl.ciphersuites",
            "ssl.clientAuth",
            "ssl.enabledProtocols",
            "ssl.handshakeDetectionTimeoutMillis",
            "ssl.hostnameVerification",
            "ssl.keyStore.location",
            "ssl.keyStore.password",
            "ssl.keyStore.passwordPath",
            "ssl.keyStore.type",
            "ssl.protocol",
            "ssl.trustStore.location",
            "ssl.trustStore.password",
            "ssl.trustStore.passwordPath",
            "ssl.trustStore.type",
            "authProvider.*",
            "DigestAuthenticationProvider.enabled",
            "DigestAuthenticationProvider.superDigest",
            "DigestAuthenticationProvider.digestAlg",
            "X509AuthenticationProvider.superUser",
            "SASLAuthenticationProvider.superPassword",
            "superUser",
            "superUser.*",
            "ensembleAuthName",
            "enforce.auth.enabled",
            "enforce.auth.schemes",
            "sessionRequireClientSASLAuth",
            "allowSaslFailedClients",
            "letAnySaslUserDoX",
            "sasl.serverconfig",
            "java.security.auth.login.config",
            "skipACL",
            "enableEagerACLCheck",
            "audit.enable",
        ],
    },
    Group {
        treatment: Refused { harmless: &[], why: RELIED_ON },
        keys: &["ssl.context.supplier.class", "ssl.tcnative.ocsp.stapling"],
    },
    Group {
        treatment: Refused {
            harmless: &[],
            why: "Apache 3.9 does nothing about it, too; sessionRequireClientSASLAuth=true is what demands SASL",
        },
        keys: &["requireClientAuthScheme"],
    },
    Group {
        treatment: Refused { harmless: &["jdk"], why: "TLS is that of rustls, whatever is asked for" },
        keys: &["ssl.sslProvider"],
    },
    Group {
        treatment: Refused {
            harmless: &["org.apache.zookeeper.audit.slf4jauditlogger"],
            why: "there are no Java classes, and whoever set it relies on it",
        },
        keys: &["audit.impl.class"],
    },
    Group {
        treatment: Refused { harmless: &["false", "no"], why: "no certificate is checked for being revoked" },
        keys: &["ssl.crl", "ssl.ocsp"],
    },
    Group {
        treatment: Refused { harmless: &["false", "no"], why: "names of clients' hosts are not checked" },
        keys: &["ssl.clientHostnameVerification", "ssl.allowReverseDnsLookup"],
    },
    Group {
        treatment: Refused {
            harmless: &["false", "no"],
            why: "the cryptography here is not validated for FIPS",
        },
        keys: &["fips-mode"],
    },
    Group {
        treatment: Refused { harmless: &["false", "no"], why: RELIED_ON },
        keys: &[
            "admin.forceHttps",
            "admin.needClientAuth",
            "admin.portUnification",
            "IPAuthenticationProvider.usexforwardedfor",
        ],
    },
    Group {
        treatment: Refused { harmless: &["false", "no"], why: MEMBERS },
        keys: &[
            "portUnification",
            "quorum.auth.enableSasl",
            "quorum.auth.learnerRequireSasl",
            "quorum.auth.serverRequireSasl",
            "sslQuorum",
            "sslQuorumReloadCertFiles",
        ],
    },
    Group {
        treatment: Refused { harmless: &[], why: MEMBERS },
        keys: &[
            "ssl.quorum.*",
            "quorum.auth.kerberos.servicePrincipal",
            "quorum.auth.learner.saslLoginContext",
            "quorum.auth.server.saslLoginContext",
        ],
    },
    Group {
        treatment: Refused { harmless: &[], why: KERBEROS },
        keys: &["security.auth_to_local", "kerberos.*", "java.security.krb5.*", "sun.security.krb5.*"],
    },
    Group {
        treatment: Refused { harmless: &["false", "no"], why: KERBEROS },
        keys: &["requireKerberosConfig", "sun.security.jgss.native"],
    },
    Group {
        treatment: Refused { harmless: &["true"], why: JVM },
        keys: &["jdk.tls.rejectClientInitiatedRenegotiation"],
    },
    Group {
        treatment: Refused { harmless: &[], why: JVM },
        keys: &[
            "javax.net.ssl.*",
            "jdk.tls.server.*",
            "jdk.tls.disabledAlgorithms",
            "jdk.certpath.disabledAlgorithms",
            "com.sun.net.ssl.*",
            "com.sun.security.*",
        ],
    },
];

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
mod tests {
    use super::*;
    use crate::config::registry::{Treatment, known};
    use crate::config::{ServerConfig, settings};

    /// Every key of Apache 3.9.5 on which security depends, as its server reads them: `zookeeper.…` properties,
    /// `X509Util` with both its prefixes, `QuorumAuth`, `QuorumPeerConfig`, and those of the JVM that concern TLS
    /// and logins.
    const OF_APACHE: &[&str] = &[
        "DigestAuthenticationProvider.digestAlg",
        "DigestAuthenticationProvider.enabled",
        "DigestAuthenticationProvider.superDigest",
        "IPAuthenticationProvider.usexforwardedfor",
        "SASLAuthenticationProvider.superPassword",
        "X509AuthenticationProvider.superUser",
        "admin.forceHttps",
        "admin.needClientAuth",
        "admin.portUnification",
        "allowSaslFailedClients",
        "audit.enable",
        "audit.impl.class",
        "authProvider.1",
        "authProvider.sasl",
        "authProvider.x509",
        "client.certReload",
        "client.portUnification",
        "enableEagerACLCheck",
        "enforce.auth.enabled",
        "enforce.auth.schemes",
        "ensembleAuthName",
        "fips-mode",
        "kerberos.canonicalizeHostNames",
        "kerberos.minReLoginTimeMs",
        "kerberos.removeHostFromPrincipal",
        "kerberos.removeRealmFromPrincipal",
        "letAnySaslUserDoX",
        "netty.server.earlyDropSecureConnectionHandshakes",
        "netty.server.outstandingHandshake.limit",
        "portUnification",
        "quorum.auth.enableSasl",
        "quorum.auth.kerberos.servicePrincipal",
        "quorum.auth.learner.saslLoginContext",
        "quorum.auth.learnerRequireSasl",
        "quorum.auth.server.saslLoginContext",
        "quorum.auth.serverRequireSasl",
        "requireKerberosConfig",
        "sasl.serverconfig",
        "secureClientPort",
        "secureClientPortAddress",
        "security.auth_to_local",
        "sessionRequireClientSASLAuth",
        "skipACL",
        "ssl.allowReverseDnsLookup",
        "ssl.authProvider",
        "ssl.ciphersuites",
        "ssl.clientAuth",
        "ssl.clientHostnameVerification",
        "ssl.context.supplier.class",
        "ssl.crl",
        "ssl.enabledProtocols",
        "ssl.handshakeDetectionTimeoutMillis",
        "ssl.hostnameVerification",
        "ssl.keyStore.location",
        "ssl.keyStore.password",
        "ssl.keyStore.passwordPath",
        "ssl.keyStore.type",
        "ssl.ocsp",
        "ssl.protocol",
        "ssl.quorum.allowReverseDnsLookup",
        "ssl.quorum.ciphersuites",
        "ssl.quorum.clientAuth",
        "ssl.quorum.clientHostnameVerification",
        "ssl.quorum.context.supplier.class",
        "ssl.quorum.crl",
        "ssl.quorum.enabledProtocols",
        "ssl.quorum.handshakeDetectionTimeoutMillis",
        "ssl.quorum.hostnameVerification",
        "ssl.quorum.keyStore.location",
        "ssl.quorum.keyStore.password",
        "ssl.quorum.keyStore.passwordPath",
        "ssl.quorum.keyStore.type",
        "ssl.quorum.ocsp",
        "ssl.quorum.protocol",
        "ssl.quorum.trustStore.location",
        "ssl.quorum.trustStore.password",
        "ssl.quorum.trustStore.passwordPath",
        "ssl.quorum.trustStore.type",
        "ssl.sslProvider",
        "ssl.trustStore.location",
        "ssl.trustStore.password",
        "ssl.trustStore.passwordPath",
        "ssl.trustStore.type",
        "sslQuorum",
        "sslQuorumReloadCertFiles",
        "superUser",
        "superUser.2",
        "java.security.auth.login.config",
        "java.security.krb5.conf",
        "java.security.krb5.realm",
        "java.security.krb5.kdc",
        "javax.net.ssl.keyStore",
        "javax.net.ssl.trustStore",
        "jdk.tls.rejectClientInitiatedRenegotiation",
        "com.sun.net.ssl.checkRevocation",
        "com.sun.security.enableCRLDP",
        "sun.security.jgss.native",
    ];

    fn treatment(name: &str) -> Option<Treatment> {
        let is = |key: &str| key.strip_suffix('*').map_or(name == key, |prefix| name.starts_with(prefix));
        known().find(|(key, _)| is(key)).map(|(_, treatment)| treatment)
    }

    fn config(text: &str) -> Result<ServerConfig, ConfigError> {
        ServerConfig::from_settings(&settings::parse(&format!("dataDir=/x\n{text}"), "zoo.cfg")?)
    }

    #[test]
    fn every_security_key_of_apache_is_implemented_or_stops_the_start() {
        for key in OF_APACHE {
            match treatment(key) {
                Some(Treatment::Honoured) => {}
                Some(Treatment::Refused { .. }) => {
                    let error = config(&format!("{key}=something")).unwrap_err().to_string();
                    assert!(error.starts_with(&format!("zoo.cfg:2: {key} is not implemented")), "{error}");
                    let option = format!("zookeeper.{key}=something");
                    let error = ServerConfig::load(None, &["dataDir=/x".to_owned(), option]).unwrap_err();
                    assert!(error.to_string().contains("is not implemented"), "{error}");
                }
                other => panic!("{key}: {other:?}"),
            }
        }
        for (key, treatment) in
            KEYS.iter().flat_map(|group| group.keys.iter().map(|key| (key, group.treatment)))
        {
            assert!(!matches!(treatment, Treatment::Warned(_)), "{key} only warns");
        }
    }

    #[test]
    fn a_key_that_only_old_texts_have_is_not_taken_for_protection() {
        let error = config("requireClientAuthScheme=sasl").unwrap_err().to_string();
        assert!(error.contains("sessionRequireClientSASLAuth=true"), "{error}");
    }

    #[test]
    fn what_belongs_together_must_be_there() {
        let sasl = "authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider";
        for (text, expected) in [
            ("secureClientPortAddress=::1", "secureClientPort is not"),
            ("secureClientPort=1", "ssl.keyStore.location is missing"),
            ("client.portUnification=true", "ssl.keyStore.location is missing"),
            ("secureClientPort=1\nssl.keyStore.location=/k", "ssl.trustStore.location is missing"),
            ("enforce.auth.enabled=true", "enforce.auth.schemes is missing"),
            ("enforce.auth.enabled=true\nenforce.auth.schemes=digest,sasl", "the scheme sasl is enforced"),
            ("sessionRequireClientSASLAuth=true", "the scheme sasl is enforced"),
            ("sasl.serverconfig=Other", "java.security.auth.login.config is missing"),
            ("SASLAuthenticationProvider.superPassword=x", "java.security.auth.login.config is missing"),
            ("authProvider.1=com.acme.Mine", "one of Apache's providers is wanted"),
            ("ssl.enabledProtocols=TLSv1.1", "TLSv1.2 and TLSv1.3 are what there is"),
            ("ssl.keyStore.type=BCFKS", "JKS, PKCS12 or PEM is wanted"),
            ("ssl.clientAuth=maybe", "none, want or need is wanted"),
            ("ssl.authProvider=mine", "no other provider than x509"),
            ("DigestAuthenticationProvider.digestAlg=SHA3-256", "one of MD5"),
            ("skipACL=maybe", "yes or no is wanted"),
        ] {
            let error = config(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        assert!(
            config(&format!("sessionRequireClientSASLAuth=true\n{sasl}"))
                .unwrap()
                .security
                .rules
                .requires_sasl()
        );
    }

    #[test]
    fn tls_is_put_together() {
        let text = "secureClientPort=2281\nsecureClientPortAddress=127.0.0.1\nssl.keyStore.location=/k.pem\n\
                    ssl.keyStore.password=secret\nssl.trustStore.location=/t\nssl.trustStore.passwordPath=/p\n\
                    ssl.protocol=TLSv1.2\nssl.ciphersuites=A, B\nssl.hostnameVerification=true\nclient.certReload=no";
        let security = config(text).unwrap().security;
        assert_eq!(security.secure_address, Some("127.0.0.1:2281".parse().unwrap()));
        assert!(!security.plain_port && security.rules.x509);
        let tls = security.tls.unwrap();
        assert_eq!(
            (tls.client_auth, tls.tls12, tls.tls13, tls.reload),
            (ClientAuth::Need, true, false, false)
        );
        assert_eq!(
            (tls.key_store.kind, tls.key_store.password),
            (StoreKind::Pem, Password::Inline(Secret::new("secret")))
        );
        let trust = tls.trust_store.unwrap();
        assert_eq!((trust.kind, trust.password), (StoreKind::Java, Password::File("/p".into())));
        assert_eq!(tls.cipher_suites, Some(vec!["A".to_owned(), "B".to_owned()]));
        let both = config(&format!("{text}\nclientPort=2181\nssl.enabledProtocols=TLSv1.3,TLSv1.2"))
            .unwrap()
            .security;
        assert!(both.plain_port && both.tls.is_some_and(|tls| tls.tls12 && tls.tls13));
        let by_default = config(&text.replace("ssl.protocol=TLSv1.2", "")).unwrap().security;
        assert!(by_default.tls.is_some_and(|tls| !tls.tls12 && tls.tls13));
        let none = config("ssl.keyStore.location=/k.pem").unwrap().security;
        assert!(none.tls.is_none() && none.plain_port);
    }

    #[test]
    fn users_are_those_of_the_login_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jaas.conf");
        let class = "org.apache.zookeeper.server.auth.DigestLoginModule";
        std::fs::write(&path, format!("Server {{ {class} required user_super=a user_bob=b; }};")).unwrap();
        let login = format!("java.security.auth.login.config={}", path.display());
        let users = |text: &str| {
            let rules = config(&format!("{login}\n{text}")).unwrap().security.rules;
            let users = rules.sasl_users.clone().unwrap();
            users.into_iter().map(|(user, password)| (user, password.reveal().to_owned())).collect::<Vec<_>>()
        };
        let pairs =
            |pairs: [(&str, &str); 2]| pairs.map(|(user, password)| (user.to_owned(), password.to_owned()));
        assert_eq!(users(""), pairs([("bob", "b"), ("super", "a")]));
        assert_eq!(
            users("SASLAuthenticationProvider.superPassword=c"),
            pairs([("bob", "b"), ("super", "c")])
        );
        for (contents, expected) in [
            ("Client { x.Y required; };", "there is no section \"Server\""),
            (
                "Server { com.sun.security.auth.module.Krb5LoginModule required; };",
                "Krb5LoginModule is not implemented",
            ),
            ("Server {", "the file ends"),
        ] {
            std::fs::write(&path, contents).unwrap();
            let error = config(&login).unwrap_err().to_string();
            assert!(error.starts_with("zoo.cfg:2: ") && error.contains(expected), "{error}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(config(&login).is_err());
    }

    #[test]
    fn nothing_that_is_shown_has_a_secret_in_it() {
        let text = "secureClientPort=1\nssl.clientAuth=none\nssl.keyStore.location=/k\nssl.keyStore.password=hush\n\
                    ssl.trustStore.password=hush\nDigestAuthenticationProvider.superDigest=super:hush";
        assert!(!format!("{:?}", config(text).unwrap()).contains("hush"));
        let error = config("DigestAuthenticationProvider.superDigest=hush").unwrap_err();
        assert!(!error.to_string().contains("hush") && !format!("{error:?}").contains("hush"));
    }
}
