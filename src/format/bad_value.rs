//! What is wrong with an annotation's value.

use super::dubbo::DubboError;

/// What is wrong with an annotation's value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum BadValue {
    /// Not the name of a znode.
    #[error("{name:?} cannot be the name of a znode: {reason}")]
    Name {
        /// As it was written.
        name: String,
        /// The rule it breaks.
        reason: String,
    },
    /// Not something Dubbo can carry.
    #[error("{0}")]
    Dubbo(#[from] DubboError),
    /// Neither true nor false.
    #[error("{0:?} is neither \"true\" nor \"false\"")]
    Bool(String),
    /// Not one of the words that there are.
    #[error("{value:?} is none of: {allowed}")]
    NoneOf {
        /// As it was written.
        value: String,
        /// What it may be.
        allowed: String,
    },
    /// Not a time, or too long a one.
    #[error("{0:?} is no time like 30s or 2m, of 1h at most")]
    Grace(String),
    /// Leaves of this format tell nothing but the address.
    #[error("{0} has no place for it")]
    NoPlace(&'static str),
    /// It says how, but nothing says what.
    #[error("it has no effect without zoobridge.io/{0}")]
    Alone(String),
    /// It is about a view in which nothing is published.
    #[error("it has no effect, since its view has no format, like zoobridge.io/{0}")]
    EmptyView(String),
}
