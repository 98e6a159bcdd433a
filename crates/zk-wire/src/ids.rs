//! Numbers with a meaning of their own.

use std::fmt;

use crate::jute::number;

number! {
    /// A ZooKeeper transaction id: epoch in the high 32 bits, counter in the low 32.
    Zxid(i64)
}

number! {
    /// A session id. Its high byte is the server that created it (`SessionTrackerImpl.initializeNextSessionId`).
    SessionId(i64)
}

impl Zxid {
    /// The zxid before any transaction.
    pub const ZERO: Zxid = Zxid(0);

    /// Behind every transaction.
    pub const MAX: Zxid = Zxid(i64::MAX);

    /// The zxid of the `counter`-th proposal of `epoch`.
    #[must_use]
    pub fn new(epoch: u32, counter: u32) -> Self {
        Zxid((i64::from(epoch) << 32) | i64::from(counter))
    }

    /// The leader's epoch.
    #[must_use]
    pub fn epoch(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// The proposal's number within its epoch.
    #[must_use]
    pub fn counter(self) -> u32 {
        self.0 as u32
    }

    /// The zxid of the next proposal of the same epoch; `None` when the counter is exhausted and a new
    /// epoch is needed (ZOOKEEPER-1277).
    #[must_use]
    pub fn next(self) -> Option<Self> {
        (self.counter() != u32::MAX).then(|| Zxid(self.0 + 1))
    }
}

impl fmt::Display for Zxid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:x}", self.0)
    }
}

impl fmt::Debug for Zxid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl SessionId {
    /// In requests: no session yet. In responses: the session is gone.
    pub const NONE: SessionId = SessionId(0);
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:x}", self.0)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zxid_is_its_epoch_and_its_counter() {
        let zxid = Zxid::new(2, 7);
        assert_eq!((zxid.epoch(), zxid.counter(), zxid.to_string()), (2, 7, "0x200000007".to_owned()));
        assert_eq!(zxid.next(), Some(Zxid::new(2, 8)));
        assert_eq!(Zxid::new(2, u32::MAX).next(), None);
    }
}
