//! What can go wrong with a session, told apart by what its owner must do.

use zk_wire::codes::{ErrorCode, OpCode};
use zk_wire::ids::{SessionId, Zxid};
use zk_wire::multi::MultiResult;
use zk_wire::path::PathError;

/// Why an attach gave no session.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The session is gone, and its ephemerals with it. Start a new one.
    #[error("session {0} has expired")]
    Expired(SessionId),
    /// The server does not accept these credentials. Trying again will not help.
    #[error("the server refused the {scheme} credentials")]
    AuthFailed {
        /// The scheme that was refused.
        scheme: String,
    },
    /// SASL did not prove who we are, or who the server is. Trying again will not help.
    #[error("SASL DIGEST-MD5 came to nothing: {0}")]
    Sasl(&'static str),
    /// The connection broke before the session was there. Whether a new session was made is unknown; it has
    /// no ephemerals and ends by itself.
    #[error("the connection was lost before the session was attached")]
    Lost(#[from] Lost),
}

/// Why a connection is lost.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// The server closed it: it is stopping, or it expired the session.
    #[error("the server closed the connection")]
    Closed,
    /// The server closed it instead of answering the first message: it does not serve now, or takes no more
    /// connections from this address, or its data is older than what the session has seen.
    ///
    /// If every server does this for long, the ensemble may have lost its data. An owner who knows that it
    /// has sets [`Credentials::last_zxid`](crate::Credentials::last_zxid) to zero and attaches once more:
    /// the server then says whether the session exists.
    #[error(
        "the server closed the connection without an answer: it does not serve, or takes no more \
         connections from here, or is behind {last_zxid}, the newest transaction that the session has seen"
    )]
    Unanswered {
        /// The newest transaction that the session has seen; zero for a new session.
        last_zxid: Zxid,
    },
    /// The server answered with a code that is about the session or the connection, so nothing more is to be
    /// expected of it. Whether the session lives is for the next [`attach`](crate::attach) to say.
    #[error("the server ended the connection with {0}")]
    EndedBy(ErrorCode),
    /// The socket failed.
    #[error("{0}")]
    Io(String),
    /// The server was silent for two thirds of the session timeout.
    #[error("the server has been silent for too long")]
    Silent,
    /// The session now belongs to another connection.
    #[error("the session has moved to another connection")]
    Moved,
    /// The server sent something that is not the protocol.
    #[error("the server broke the protocol: {0}")]
    Protocol(String),
    /// The owner let go of the session.
    #[error("the session was detached")]
    Detached,
}

/// Why a request did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The server answered with an error; nothing was changed.
    #[error("{0}")]
    Refused(ErrorCode),
    /// An op of a multi failed; nothing was changed.
    #[error("{0}")]
    Multi(MultiFailure),
    /// The connection was lost before the request was sent, or the server said that it did not carry it out;
    /// nothing was changed.
    #[error("not sent: {0}")]
    NotSent(Lost),
    /// The connection was lost after the request was sent; it may have been carried out.
    #[error("the outcome is unknown: {0}")]
    Unknown(Lost),
    /// The request is longer than servers accept; it was not sent.
    #[error("the request has {length} bytes; a server accepts {limit} (jute.maxbuffer)")]
    TooLong {
        /// Its length in bytes.
        length: usize,
        /// The limit in force.
        limit: usize,
    },
    /// The operation belongs to the connection itself; it was not sent.
    #[error("{0} is for the connection itself to ask")]
    Reserved(OpCode),
    /// A path that no server accepts; the request was not sent.
    #[error("{path:?} is no path: {reason}")]
    Path {
        /// What was asked for.
        path: String,
        /// The rule it breaks.
        reason: PathError,
    },
}

/// Which op of a multi failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("op {index} of {} failed with {code}", .results.len())]
pub struct MultiFailure {
    /// The culprit's position.
    pub index: usize,
    /// Why it failed.
    pub code: ErrorCode,
    /// The outcome of each op; all are errors.
    pub results: Vec<MultiResult>,
}

impl RequestError {
    /// The server's error code, if the server answered with one.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            RequestError::Refused(code) => Some(*code),
            RequestError::Multi(failure) => Some(failure.code),
            _ => None,
        }
    }
}
