//! Why a configuration is none.

use std::path::PathBuf;

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
    /// Not YAML, or not what is expected there; the text says where.
    #[error("{path} makes no sense:\n{reason}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Line, column and reason.
        reason: String,
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
