//! What an ensemble is called.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::label::is_label;

/// The name of an ensemble, a DNS label: rules and imports say it, the log and the metrics tell it, and it is part of its
/// Secret's name. The first ensemble of a configuration is called `default`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EnsembleName(String);

/// Why a text names no ensemble.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no DNS label: lower-case letters, digits and '-', 63 at most")]
pub struct EnsembleNameError(String);

impl EnsembleName {
    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Is it the name of the first ensemble?
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == EnsembleName::default()
    }
}

impl Default for EnsembleName {
    fn default() -> Self {
        EnsembleName("default".to_owned())
    }
}

impl TryFrom<String> for EnsembleName {
    type Error = EnsembleNameError;

    fn try_from(text: String) -> Result<Self, EnsembleNameError> {
        if is_label(&text) { Ok(EnsembleName(text)) } else { Err(EnsembleNameError(text)) }
    }
}

impl FromStr for EnsembleName {
    type Err = EnsembleNameError;

    fn from_str(text: &str) -> Result<Self, EnsembleNameError> {
        text.to_owned().try_into()
    }
}

impl From<EnsembleName> for String {
    fn from(EnsembleName(name): EnsembleName) -> Self {
        name
    }
}

impl fmt::Display for EnsembleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl schemars::JsonSchema for EnsembleName {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "EnsembleName".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"})
    }
}
