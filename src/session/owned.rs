//! Znodes as the sessions have them.

use std::collections::BTreeMap;

use bytes::Bytes;
use zk_wire::ids::{SessionId, Zxid};
use zk_wire::stat::Stat;

use crate::model::{Fingerprint, ZnodePath};
use crate::plan::Held;

/// An ephemeral of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owned {
    /// The session that holds it.
    pub session: SessionId,
    /// The transaction that created it: tells it from one that somebody else put in its place.
    pub czxid: Zxid,
    /// The version of its data.
    pub version: i32,
    /// Stands for its data; `None` if we may not read it.
    pub fingerprint: Option<Fingerprint>,
}

/// What an earlier leader left in the sessions that could be resumed.
pub type Inherited = BTreeMap<ZnodePath, Owned>;

/// A path to look at, and what is believed of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspect {
    /// The path.
    pub path: ZnodePath,
    /// What we believe to own there: if nothing has changed, its data is not read again.
    pub believed: Option<Owned>,
    /// The session to look through, so that what it did itself is seen.
    pub via: Option<SessionId>,
}

/// What a look found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// No znode.
    Absent,
    /// An ephemeral of a session of the pool.
    Ours(Owned),
    /// Somebody else's; the text says whose.
    Theirs(String),
    /// The session or its connection is away.
    Failed,
}

/// A znode in a directory of ours that may be somebody else's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sighting {
    /// It is gone.
    Absent,
    /// It is, or was until its session ended, one of ours or of the leader before us.
    Ours,
    /// Somebody else's.
    Theirs {
        /// Does it go with its session?
        is_ephemeral: bool,
        /// What it says; nothing if we may not read it, or if it is too long to be an instance.
        data: Bytes,
    },
    /// The session or its connection is away.
    Failed,
}

impl Owned {
    /// An ephemeral with this stat and data.
    #[must_use]
    pub fn new(stat: &Stat, data: Option<&[u8]>) -> Self {
        Owned {
            session: stat.ephemeral_owner,
            czxid: stat.czxid,
            version: stat.version,
            fingerprint: data.map(Fingerprint::of),
        }
    }

    /// Is this znode the same one, with the same data?
    #[must_use]
    pub fn is_as(&self, stat: &Stat) -> bool {
        (self.session, self.czxid, self.version) == (stat.ephemeral_owner, stat.czxid, stat.version)
    }
}

impl Held for Owned {
    fn fingerprint(&self) -> Option<Fingerprint> {
        self.fingerprint
    }
}

/// Whose znode is it, in words?
#[must_use]
pub(crate) fn stranger(stat: &Stat) -> String {
    match stat.ephemeral_owner {
        SessionId::NONE => "a persistent znode that is not ours".to_owned(),
        other => format!("session {other}, which is not ours"),
    }
}
