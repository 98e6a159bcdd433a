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
    /// It says how, but nothing says what.
    #[error("it has no effect without zoobridge.io/{0}")]
    Alone(&'static str),
}
