//! `zookeeper:`, the ensemble.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use zk_client::ConnectString;

use super::ConfigError;
use super::value::{duration, from_text};
use crate::session::{AclTemplates, Acls, Ensemble, IdentityFiles, TlsFiles};

/// The ensemble and how to talk to it.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ZooKeeper {
    /// `host:port,…/chroot`.
    #[serde(deserialize_with = "from_text")]
    #[schemars(with = "String")]
    pub connect: ConnectString,
    /// How long znodes outlive the bridge.
    #[serde(default = "default_session_timeout", deserialize_with = "duration")]
    #[schemars(with = "String")]
    pub session_timeout: Duration,
    /// How long it takes to read everything once more that watches should have told of.
    #[serde(default = "default_audit_interval", deserialize_with = "duration")]
    #[schemars(with = "String")]
    pub audit_interval: Duration,
    /// A file with `user:password` for `addauth digest`, one a line.
    #[serde(default)]
    pub digest_file: Option<PathBuf>,
    /// A file with `user:password` for SASL DIGEST-MD5.
    #[serde(default)]
    pub sasl_file: Option<PathBuf>,
    /// TLS instead of plain TCP.
    #[serde(default)]
    pub tls: Option<TlsFiles>,
    /// Who may do what with what we write.
    #[serde(default)]
    pub acls: AclTemplates,
}

fn default_session_timeout() -> Duration {
    Duration::from_secs(30)
}

fn default_audit_interval() -> Duration {
    Duration::from_secs(600)
}

impl ZooKeeper {
    /// The ensemble, as sessions know it.
    ///
    /// # Errors
    /// An ACL template makes no sense.
    pub fn ensemble(&self) -> Result<Ensemble, ConfigError> {
        let files = IdentityFiles {
            digest_file: self.digest_file.clone(),
            sasl_file: self.sasl_file.clone(),
            tls: self.tls.clone(),
        };
        let acls = Acls::new(&self.acls, files.is_somebody()).map_err(|(key, value, reason)| {
            ConfigError::Value { key: format!("zookeeper.acls.{key}"), value, reason }
        })?;
        Ok(Ensemble::new(self.connect.clone(), self.session_timeout, files, acls))
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let wrong = |key: &str, value: String, reason: &str| {
            Err(ConfigError::Value { key: format!("zookeeper.{key}"), value, reason: reason.to_owned() })
        };
        if !(Duration::from_secs(2)..=Duration::from_secs(3600)).contains(&self.session_timeout) {
            return wrong(
                "sessionTimeout",
                format!("{:?}", self.session_timeout),
                "is not between 2s and 1h",
            );
        }
        if !(Duration::from_secs(10)..=Duration::from_secs(24 * 3600)).contains(&self.audit_interval) {
            return wrong(
                "auditInterval",
                format!("{:?}", self.audit_interval),
                "is not between 10s and 24h",
            );
        }
        match &self.tls {
            Some(TlsFiles { cert_file: Some(cert), key_file: None, .. }) => {
                wrong("tls.certFile", cert.display().to_string(), "needs tls.keyFile")
            }
            Some(TlsFiles { cert_file: None, key_file: Some(key), .. }) => {
                wrong("tls.keyFile", key.display().to_string(), "needs tls.certFile")
            }
            _ => self.ensemble().map(drop),
        }
    }
}
