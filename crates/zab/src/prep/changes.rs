//! The tree as it will be when everything proposed has been applied (`ChangeRecord`).

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use zk_wire::acl::Acl;
use zk_wire::digest::Digest;
use zk_wire::ids::{SessionId, Zxid};
use zk_wire::stat::StatPersisted;

use crate::tree::Tree;
use crate::tree::node::{Node, Owner};

/// A znode as it will be.
#[derive(Debug, Clone)]
pub struct FutureNode {
    /// Its data.
    pub data: Option<Bytes>,
    /// Its ACL.
    pub acl: Arc<[Acl]>,
    /// Its stat.
    pub stat: StatPersisted,
    /// How many children it will have.
    pub children: usize,
}

/// Proposed and not yet applied changes over a tree.
#[derive(Debug)]
pub struct Changes {
    nodes: HashMap<Arc<str>, Record>,
    /// What each proposal has touched, in their order, to drop it when the proposal is applied.
    touched: VecDeque<(Zxid, Arc<str>)>,
    digest: Digest,
}

/// What the last proposal that touched a znode makes of it.
#[derive(Debug, Clone)]
struct Record {
    zxid: Zxid,
    /// `None`: will be deleted.
    node: Option<FutureNode>,
    digest: Digest,
}

/// What a change overwrote, to take it back.
#[derive(Debug, Default)]
pub struct Undo {
    records: Vec<(Arc<str>, Option<Record>)>,
    digest: Option<Digest>,
}

impl FutureNode {
    fn digest(&self, path: &str) -> Digest {
        Digest::of_node(path, self.data.as_deref(), &self.stat)
    }
}

impl Changes {
    /// Nothing proposed over `tree`.
    #[must_use]
    pub fn new(tree: &Tree) -> Self {
        Changes { nodes: HashMap::new(), touched: VecDeque::new(), digest: tree.digest() }
    }

    /// The digest of the tree as it will be.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The znode as it will be.
    #[must_use]
    pub fn get(&self, tree: &Tree, path: &str) -> Option<FutureNode> {
        if let Some(record) = self.nodes.get(path) {
            return record.node.clone();
        }
        tree.get(path).map(|node| {
            let (acl, stat) = node.acl_and_stat();
            FutureNode { data: node.copied_data(), acl: tree.acl(acl), stat, children: node.children.len() }
        })
    }

    /// Proposal `zxid` makes `path` what `node` says; `None` deletes it.
    pub fn put(&mut self, tree: &Tree, zxid: Zxid, path: &str, node: Option<FutureNode>, undo: &mut Undo) {
        let (path, before) = match self.nodes.get_key_value(path) {
            Some((path, record)) => (Arc::clone(path), record.digest),
            None => (path.into(), tree.get(path).map_or(Digest::ZERO, Node::digest)),
        };
        let digest = node.as_ref().map_or(Digest::ZERO, |node| node.digest(&path));
        undo.digest.get_or_insert(self.digest);
        self.digest = self.digest.minus(before).plus(digest);
        let overwritten = self.nodes.insert(Arc::clone(&path), Record { zxid, node, digest });
        self.touched.push_back((zxid, Arc::clone(&path)));
        undo.records.push((path, overwritten));
    }

    /// Takes back what proposal `zxid`, the last one, has changed so far.
    pub fn roll_back(&mut self, zxid: Zxid, undo: Undo) {
        if let Some(digest) = undo.digest {
            self.digest = digest;
        }
        for (path, record) in undo.records.into_iter().rev() {
            match record {
                Some(record) => self.nodes.insert(path, record),
                None => self.nodes.remove(&path),
            };
        }
        while self.touched.pop_back_if(|(by, _)| *by == zxid).is_some() {}
    }

    /// Proposal `zxid` has been applied to the tree; what only it had changed is in the tree now.
    pub fn applied(&mut self, zxid: Zxid) {
        while let Some((_, path)) = self.touched.pop_front_if(|(by, _)| *by <= zxid) {
            if self.nodes.get(&path).is_some_and(|record| record.zxid <= zxid) {
                self.nodes.remove(&path);
            }
        }
    }

    /// The ephemerals that a session will own, in order.
    #[must_use]
    pub fn ephemerals(&self, tree: &Tree, session: SessionId) -> BTreeSet<String> {
        let mut paths: BTreeSet<String> = tree.ephemerals(session).map(|path| path.to_string()).collect();
        for (path, Record { node, .. }) in &self.nodes {
            let owned = node.as_ref().and_then(|node| Owner::of(node.stat.ephemeral_owner).session());
            if owned == Some(session) {
                paths.insert(path.to_string());
            } else {
                paths.remove(&**path);
            }
        }
        paths
    }
}
