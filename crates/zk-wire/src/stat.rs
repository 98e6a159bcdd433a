//! What is known of a znode besides its data.

use crate::ids::{SessionId, Zxid};
use crate::jute::record;

record! {
    /// A znode's stat as clients see it (`org.apache.zookeeper.data.Stat`), 68 bytes.
    ///
    /// `cversion` counts creates and deletes of children; `ephemeral_owner` is zero for containers and
    /// TTL nodes.
    #[derive(Copy, Default)]
    Stat {
        /// The transaction that created the znode.
        czxid: Zxid,
        /// The transaction that last set its data.
        mzxid: Zxid,
        /// Creation, in milliseconds since 1970 by the leader's clock.
        ctime: i64,
        /// Last set of the data, likewise.
        mtime: i64,
        /// Sets of the data.
        version: i32,
        /// Creates and deletes of children.
        cversion: i32,
        /// Sets of the ACL.
        aversion: i32,
        /// The session whose end deletes the znode; zero if none.
        ephemeral_owner: SessionId,
        /// Bytes of data.
        data_length: i32,
        /// Children.
        num_children: i32,
        /// The transaction that last changed the list of children.
        pzxid: Zxid,
    }
}

record! {
    /// A znode's stat as logs and snapshots keep it (`org.apache.zookeeper.data.StatPersisted`), 60 bytes.
    ///
    /// `cversion` counts creates only; `ephemeral_owner` also encodes containers and TTLs
    /// (`EphemeralType`).
    #[derive(Copy, Default)]
    StatPersisted {
        /// The transaction that created the znode.
        czxid: Zxid,
        /// The transaction that last set its data.
        mzxid: Zxid,
        /// Creation, in milliseconds since 1970 by the leader's clock.
        ctime: i64,
        /// Last set of the data, likewise.
        mtime: i64,
        /// Sets of the data.
        version: i32,
        /// Creates of children.
        cversion: i32,
        /// Sets of the ACL.
        aversion: i32,
        /// Session, container mark or TTL, as in `EphemeralType`.
        ephemeral_owner: i64,
        /// The transaction that last changed the list of children.
        pzxid: Zxid,
    }
}
