//! `zookeeper:`, the ensemble.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use zk_client::ConnectString;

use super::ConfigError;
use super::value::{duration, from_text};

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
    /// A file with `user:password` for the digest scheme.
    #[serde(default)]
    pub digest_file: Option<PathBuf>,
}

fn default_session_timeout() -> Duration {
    Duration::from_secs(30)
}

impl ZooKeeper {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if (Duration::from_secs(2)..=Duration::from_secs(3600)).contains(&self.session_timeout) {
            return Ok(());
        }
        Err(ConfigError::Value {
            key: "zookeeper.sessionTimeout".to_owned(),
            value: format!("{:?}", self.session_timeout),
            reason: "is not between 2s and 1h".to_owned(),
        })
    }
}
