//! What an administrator writes, in `zoobridge.yaml`. `config/zoobridge.yaml` is the annotated sample.

mod error;
mod http;
mod paths;
mod replicas;
#[cfg(test)]
mod tests;
mod value;
mod zookeeper;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::model::ZnodePath;
use crate::plan::{Roots, Rules};
use crate::reverse::plan::{Import, is_label};

pub use error::ConfigError;
pub use http::Http;
pub use paths::Paths;
pub use replicas::{LeaderElection, Sessions};
pub use zookeeper::ZooKeeper;

/// The whole configuration, with defaults for whatever was not written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Config {
    /// Names this cluster in ZooKeeper: part of our own paths.
    #[serde(default = "default_cluster")]
    pub cluster: String,
    /// The ensemble.
    pub zookeeper: ZooKeeper,
    /// Where the formats and our own znodes live.
    #[serde(default)]
    pub paths: Paths,
    /// Where sessions are kept so that a restart resumes them.
    #[serde(default)]
    pub sessions: Sessions,
    /// Which of several replicas leads.
    #[serde(default)]
    pub leader_election: LeaderElection,
    /// Where metrics and health are served.
    #[serde(default)]
    pub http: Http,
    /// Who may publish what.
    pub rules: Rules,
    /// What is registered and becomes Services.
    #[serde(default)]
    pub imports: Vec<Import>,
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read or makes no sense.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(&text).map_err(|error| match error {
            ConfigError::Parse { reason, .. } => ConfigError::Parse { path: path.to_owned(), reason },
            other => other,
        })
    }

    /// Reads text.
    ///
    /// # Errors
    /// It makes no sense.
    pub fn parse(yaml: &str) -> Result<Config, ConfigError> {
        let config: Config = serde_saphyr::from_str(yaml).map_err(|error| ConfigError::Parse {
            path: PathBuf::from("the configuration"),
            reason: error.to_string(),
        })?;
        config.paths.check()?;
        config.fence_directory()?;
        config.check_imports()?;
        config.zookeeper.check()?;
        if config.sessions.limit == 0 {
            return Err(ConfigError::Value {
                key: "sessions.limit".to_owned(),
                value: "0".to_owned(),
                reason: "leaves no session to publish with".to_owned(),
            });
        }
        let session_timeout = config.zookeeper.session_timeout;
        // A fifth more passes before the others look, and they need time to attach.
        if config.lease_duration() * 12 / 5 > session_timeout {
            return Err(ConfigError::Value {
                key: "leaderElection.leaseDuration".to_owned(),
                value: format!("{:?}", config.lease_duration()),
                reason: format!(
                    "is too long for zookeeper.sessionTimeout {session_timeout:?}: sessions would expire before \
                     another replica takes over; at most 5/12 of it"
                ),
            });
        }
        Ok(config)
    }

    /// Each Service says by its labels which import of which cluster it is of.
    fn check_imports(&self) -> Result<(), ConfigError> {
        let own = self.paths.own()?;
        let value = |key: &str, value: &str, reason: &str| ConfigError::Value {
            key: key.to_owned(),
            value: value.to_owned(),
            reason: reason.to_owned(),
        };
        if !self.imports.is_empty() && !is_label(&self.cluster) {
            let reason = "is no DNS label, and with imports it becomes a label of Services";
            return Err(value("cluster", &self.cluster, reason));
        }
        for (index, import) in self.imports.iter().enumerate() {
            import.check().map_err(|(key, reason)| {
                value("imports", &import.name, &format!("makes no sense: its {key} {reason}"))
            })?;
            if self.imports[..index].iter().any(|other| other.name == import.name) {
                return Err(value("imports", &import.name, "is the name of two of them"));
            }
            if import.root == own || import.root.is_below(&own) || own.is_below(&import.root) {
                return Err(value("imports", &import.name, "has a root that overlaps paths.own"));
            }
        }
        Ok(())
    }

    /// How long the Lease lasts without renewal.
    #[must_use]
    pub fn lease_duration(&self) -> Duration {
        self.leader_election.lease_duration.unwrap_or(self.zookeeper.session_timeout / 3)
    }

    /// Where the formats live.
    ///
    /// # Errors
    /// A path is none.
    pub fn roots(&self) -> Result<Roots, ConfigError> {
        self.paths.roots()
    }

    /// The directory of the fence.
    ///
    /// # Errors
    /// The path or the cluster's name is none.
    pub fn fence_directory(&self) -> Result<ZnodePath, ConfigError> {
        let own = self.paths.own()?;
        let bad = |reason: zk_wire::path::PathError| ConfigError::Value {
            key: "cluster".to_owned(),
            value: self.cluster.clone(),
            reason: format!("cannot be part of a path: {reason}"),
        };
        own.child(&self.cluster).and_then(|cluster| cluster.child("fence")).map_err(bad)
    }
}

fn default_cluster() -> String {
    "kubernetes".to_owned()
}
