//! `sessions:` and `leaderElection:`, what several replicas share.

use std::time::Duration;

use serde::Deserialize;

use super::value::some_duration;

/// The Secret that keeps ids and passwords of sessions.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Sessions {
    /// Its name.
    pub secret: String,
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
    /// Others take over when the leader has not renewed it for so long; a third of the session timeout by
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
        Sessions { secret: "zoobridge-sessions".to_owned(), namespace: None, limit: 50 }
    }
}
