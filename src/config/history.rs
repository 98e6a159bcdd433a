//! `history:`, records of what was written and why.

use serde::Deserialize;

use super::ConfigError;

/// Records of what was written, and why.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct History {
    /// At most about so many are kept; 0 for none.
    pub records: usize,
}

/// Their names, with 24 bytes each, must fit in one answer of ZooKeeper: half of `jute.maxbuffer`.
const MOST_RECORDS: usize = 20_000;

impl History {
    /// # Errors
    /// Too many.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.records <= MOST_RECORDS {
            return Ok(());
        }
        Err(ConfigError::Value {
            key: "history.records".to_owned(),
            value: self.records.to_string(),
            reason: format!("is more than {MOST_RECORDS}: their names must fit in one answer of ZooKeeper"),
        })
    }
}

impl Default for History {
    fn default() -> Self {
        History { records: 4_096 }
    }
}
