//! What it takes to hold a session.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use zk_wire::ids::{SessionId, Zxid};

/// Whoever has these can resume the session, and close it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The session.
    pub id: SessionId,
    /// Its password.
    pub password: Password,
    /// The timeout that the server granted.
    pub timeout: Duration,
    /// The newest transaction that this session has seen. A server that is behind it refuses a resume, so a
    /// session never goes back in time.
    pub last_zxid: Zxid,
}

/// A session's password. Its `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Bytes);

impl Password {
    /// The password in these bytes; servers use 16.
    #[must_use]
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Password(bytes.into())
    }

    /// The secret itself.
    #[must_use]
    pub fn expose(&self) -> &Bytes {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(hidden)")
    }
}

/// The right to attach once. It cannot be copied; whoever decides who leads makes one for each attempt.
#[derive(Debug)]
#[must_use]
pub struct Permit(());

impl Permit {
    /// A permit for one [`attach`](crate::attach). Call this only where leadership has just been checked.
    pub fn grant() -> Self {
        Permit(())
    }
}
