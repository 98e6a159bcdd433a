//! ZooKeeper's integrity value: the sum over all znodes of a CRC32 of path, data and stat
//! (`DigestCalculator`, `AdHash`), digest version 2.

use std::fmt;

use crate::jute::number;
use crate::jute::record;
use crate::stat::StatPersisted;

number! {
    /// A digest of a tree or of one znode. Digests of disjoint sets of znodes add up.
    Digest(i64)
}

/// The version of the calculation that this module implements.
pub const DIGEST_VERSION: i32 = 2;

record! {
    /// The digest of the whole tree behind a transaction (`org.apache.zookeeper.txn.TxnDigest`).
    #[derive(Copy)]
    TxnDigest {
        /// [`DIGEST_VERSION`].
        version: i32,
        /// The tree's digest after the transaction.
        tree_digest: Digest,
    }
}

impl TxnDigest {
    /// The digest of a tree in this version.
    #[must_use]
    pub fn new(tree_digest: Digest) -> Self {
        TxnDigest { version: DIGEST_VERSION, tree_digest }
    }
}

impl Digest {
    /// The digest of nothing.
    pub const ZERO: Digest = Digest(0);

    /// The digest of one znode. Znodes below `/zookeeper` count as zero; the root's path is empty.
    #[must_use]
    pub fn of_node(path: &str, data: Option<&[u8]>, stat: &StatPersisted) -> Digest {
        let path = if path == "/" { "" } else { path };
        if path.starts_with("/zookeeper/") {
            return Digest::ZERO;
        }
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(path.as_bytes());
        hasher.update(data.unwrap_or_default());
        hasher.update(&stat_bytes(stat));
        Digest(i64::from(hasher.finalize()))
    }

    /// The digest with another set of znodes added.
    #[must_use]
    pub fn plus(self, other: Digest) -> Digest {
        Digest(self.0.wrapping_add(other.0))
    }

    /// The digest with another set of znodes removed.
    #[must_use]
    pub fn minus(self, other: Digest) -> Digest {
        Digest(self.0.wrapping_sub(other.0))
    }
}

/// The stat in the order of the calculation, which is not that of [`StatPersisted`]: pzxid comes third.
fn stat_bytes(stat: &StatPersisted) -> [u8; 60] {
    let StatPersisted { czxid, mzxid, ctime, mtime, version, cversion, aversion, ephemeral_owner, pzxid } =
        stat;
    let mut bytes = [0; 60];
    for (slot, value) in bytes[..40].chunks_exact_mut(8).zip([czxid.0, mzxid.0, pzxid.0, *ctime, *mtime]) {
        slot.copy_from_slice(&value.to_be_bytes());
    }
    for (slot, value) in bytes[40..52].chunks_exact_mut(4).zip([version, cversion, aversion]) {
        slot.copy_from_slice(&value.to_be_bytes());
    }
    bytes[52..].copy_from_slice(&ephemeral_owner.to_be_bytes());
    bytes
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Zxid;

    /// A 3.9.3 server's tree after `create /a "hello"` as its third transaction.
    #[test]
    fn the_digest_of_a_recorded_tree() {
        let root = StatPersisted { pzxid: Zxid(3), cversion: 1, ..StatPersisted::default() };
        let a = StatPersisted {
            czxid: Zxid(3),
            mzxid: Zxid(3),
            pzxid: Zxid(3),
            ctime: 0x1a2_074a_7ee2,
            mtime: 0x1a2_074a_7ee2,
            ..StatPersisted::default()
        };
        let nodes = [
            (Digest::of_node("/", None, &root), 0x83e5_6fed),
            (Digest::of_node("/a", Some(b"hello"), &a), 0x13ac_afbe),
            (Digest::of_node("/zookeeper", None, &StatPersisted::default()), 0x4db4_4d58),
            (Digest::of_node("/zookeeper/quota", Some(b"x"), &StatPersisted::default()), 0),
        ];
        for (digest, expected) in nodes {
            assert_eq!(digest, Digest(expected));
        }
        let tree = nodes.iter().fold(Digest::ZERO, |sum, (digest, _)| sum.plus(*digest));
        assert_eq!(tree, Digest(0xe546_6d03));
        assert_eq!(tree.minus(nodes[0].0).plus(nodes[0].0), tree);
    }
}
