//! A snapshot in parts, between which the server goes on (`FileSnap.serialize` beside a running server).

use zk_wire::acl::Acl;
use zk_wire::digest::TxnDigest;
use zk_wire::ids::{SessionId, Zxid};
use zk_wire::snapshot::write_node;

use crate::tree::Tree;
use crate::tree::walk::Walk;

/// What is in front of a snapshot's znodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotHead {
    /// The snapshot's name: the last transaction applied when it begins.
    pub zxid: Zxid,
    /// Sessions with their timeouts in milliseconds.
    pub sessions: Vec<(SessionId, i32)>,
    /// ACLs by key. Znodes that come meanwhile may have keys that are not among them (ZOOKEEPER-3306).
    pub acls: Vec<(i64, Vec<Acl>)>,
}

impl SnapshotHead {
    /// That of a tree as it is.
    #[must_use]
    pub fn of(tree: &Tree) -> Self {
        let sessions = tree.sessions().iter().map(|(&id, &timeout)| (id, timeout)).collect();
        SnapshotHead { zxid: tree.last_zxid(), sessions, acls: tree.acl_entries() }
    }
}

/// Some of the znodes, encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotPart {
    /// The znodes, as in the file.
    pub nodes: Vec<u8>,
    /// In the last part: the last transaction applied, and the tree's digest behind it.
    pub end: Option<(Zxid, TxnDigest)>,
}

impl SnapshotPart {
    /// The next part of about so many bytes: the last znode may exceed them.
    #[must_use]
    pub fn next(walk: &mut Walk, tree: &Tree, bytes: usize) -> Self {
        let mut nodes = Vec::with_capacity(bytes + bytes / 4);
        while nodes.len() < bytes {
            let Some((path, node)) = walk.step(tree) else {
                let end = (tree.last_zxid(), TxnDigest::new(tree.digest()));
                return SnapshotPart { nodes, end: Some(end) };
            };
            let (acl, stat) = node.acl_and_stat();
            write_node(path, node.data(), acl, &stat, &mut nodes);
        }
        SnapshotPart { nodes, end: None }
    }
}
