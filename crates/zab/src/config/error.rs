//! What is wrong with a configuration.

use std::path::PathBuf;

/// A configuration that cannot be, or one that must not be half honoured.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A line that is neither a comment nor `key=value`.
    #[error("{place}: {text:?} is not key=value")]
    NotAPair {
        /// File and line, or the option.
        place: String,
        /// The line.
        text: String,
    },
    /// A value that its key cannot have.
    #[error("{place}: {key}={value} makes no sense: {reason}")]
    Value {
        /// File and line, or the option.
        place: String,
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// What it should be.
        reason: &'static str,
    },
    /// A key that nobody knows, and that looks like one that somebody meant.
    #[error("{place}: there is no key {key}: is {meant} meant?")]
    Misspelt {
        /// File and line, or the option.
        place: String,
        /// The key.
        key: String,
        /// The known key that is nearest.
        meant: &'static str,
    },
    /// One key with two values.
    #[error("{place}: {key} is set a second time, to something else than in {first}: remove one of them")]
    Twice {
        /// File and line of the second.
        place: String,
        /// File and line of the first.
        first: String,
        /// The key.
        key: String,
    },
    /// A key of Apache's whose silent absence would be dangerous.
    #[error("{place}: {key} is not implemented: {reason}; remove it to start without it")]
    NotImplemented {
        /// File and line, or the option.
        place: String,
        /// The key.
        key: String,
        /// Why it is not only a warning.
        reason: &'static str,
    },
    /// A key that must be there.
    #[error("{0} is missing: set it in zoo.cfg or with --set {0}=…")]
    Missing(&'static str),
    /// The file that names the users of SASL cannot be used.
    #[error("{place}: {path}: {reason}")]
    Login {
        /// Where the file is named.
        place: String,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    NoRandomness,
    /// Keys that cannot all be true.
    #[error("{places}: {why}")]
    Contradiction {
        /// Files and lines, or options, of those that are set.
        places: String,
        /// What cannot be, with the numbers.
        why: String,
    },
}
