//! Why a configuration is none.

use std::path::PathBuf;

use super::mistake::{Mistake, lines};
use crate::model::EnsembleName;

/// Why a configuration is none.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// No such file, or not readable.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// It makes no sense, for all these reasons.
    #[error("{}", lines(.file.as_deref(), .mistakes))]
    Mistakes {
        /// The file, if it is one.
        file: Option<PathBuf>,
        /// At least one, in the order of their places.
        mistakes: Vec<Mistake>,
    },
    /// Two paths of which one would hold what belongs to the other.
    #[error("{key}: {value:?} and {other_key}: {other:?} overlap; neither may be the other or be below it")]
    Overlap {
        /// The one key.
        key: String,
        /// As it was written.
        value: String,
        /// The other key.
        other_key: String,
        /// As it was written.
        other: String,
    },
    /// An ensemble that nothing describes.
    #[error("{key}: there is no ensemble {name}; there are: {names}")]
    NoEnsemble {
        /// The key.
        key: String,
        /// As it was written.
        name: EnsembleName,
        /// Those that there are.
        names: String,
    },
    /// A value that cannot be.
    #[error("{key}: {value:?} {reason}")]
    Value {
        /// The key.
        key: String,
        /// As it was written.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl ConfigError {
    /// The keys that it is about, the first one first.
    pub(super) fn keys(&self) -> Vec<&str> {
        match self {
            ConfigError::Overlap { key, other_key, .. } => vec![key, other_key],
            ConfigError::NoEnsemble { key, .. } => vec![key, "ensembles"],
            ConfigError::Value { key, .. } => vec![key],
            ConfigError::Read { .. } | ConfigError::Mistakes { .. } => Vec::new(),
        }
    }

    /// The same, about other keys.
    pub(super) fn with_keys(mut self, change: impl Fn(&str) -> String) -> Self {
        match &mut self {
            ConfigError::Overlap { key, other_key, .. } => {
                *key = change(key);
                *other_key = change(other_key);
            }
            ConfigError::NoEnsemble { key, .. } | ConfigError::Value { key, .. } => *key = change(key),
            ConfigError::Read { .. } | ConfigError::Mistakes { .. } => {}
        }
        self
    }
}
