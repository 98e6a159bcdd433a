//! `sessions:` and `leaderElection:`, what several replicas share.

use std::time::Duration;

use serde::Deserialize;

use super::ConfigError;
use super::value::some_duration;

/// The Secret that keeps ids and passwords of sessions.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Sessions {
    /// Its name; `zoobridge-sessions` by default.
    #[schemars(with = "String")]
    pub secret: Option<String>,
    /// Its namespace; the one that the bridge runs in by default.
    pub namespace: Option<String>,
    /// At most so many sessions. Apache allows 60 connections per address (`maxClientCnxns`).
    pub limit: usize,
}

/// The Lease that the leading replica holds.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct LeaderElection {
    /// Without it there may be one replica only.
    pub enabled: bool,
    /// Its name.
    pub lease: String,
    /// Its namespace; the one that the bridge runs in by default.
    pub namespace: Option<String>,
    /// Others take over when the leader has not renewed it for so long; a third of the shortest session timeout by
    /// default, so that they find its sessions alive.
    #[serde(deserialize_with = "some_duration")]
    #[schemars(with = "String")]
    pub lease_duration: Option<Duration>,
}

impl Default for LeaderElection {
    fn default() -> Self {
        LeaderElection { enabled: true, lease: "zoobridge".to_owned(), namespace: None, lease_duration: None }
    }
}

impl Default for Sessions {
    fn default() -> Self {
        Sessions { secret: None, namespace: None, limit: 50 }
    }
}

impl Sessions {
    /// The Secret's name.
    #[must_use]
    pub fn secret(&self) -> &str {
        self.secret.as_deref().unwrap_or("zoobridge-sessions")
    }

    /// # Errors
    /// There could be none.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.limit > 0 {
            return Ok(());
        }
        Err(ConfigError::Value {
            key: "sessions.limit".to_owned(),
            value: "0".to_owned(),
            reason: "leaves no session to publish with".to_owned(),
        })
    }
}
