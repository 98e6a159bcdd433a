//! The tree as it will be when everything proposed has been applied (`ChangeRecord`).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use zk_wire::acl::Acl;
use zk_wire::digest::Digest;
use zk_wire::ids::{SessionId, Zxid};
use zk_wire::stat::StatPersisted;

use crate::tree::Tree;
use crate::tree::node::Owner;

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
    /// `None`: will be deleted.
    nodes: HashMap<String, (Zxid, Option<FutureNode>)>,
    /// Which records each proposal has touched, to drop them when it is applied.
    by_zxid: BTreeMap<Zxid, Vec<String>>,
    digest: Digest,
}

/// What a change overwrote, to take it back.
#[derive(Debug, Default)]
pub struct Undo {
    records: Vec<(String, Overwritten)>,
    digest: Option<Digest>,
}

/// The change record that was there before, if any.
type Overwritten = Option<(Zxid, Option<FutureNode>)>;

impl FutureNode {
    fn digest(&self, path: &str) -> Digest {
        Digest::of_node(path, self.data.as_deref(), &self.stat)
    }
}

impl Changes {
    /// Nothing proposed over `tree`.
    #[must_use]
    pub fn new(tree: &Tree) -> Self {
        Changes { nodes: HashMap::new(), by_zxid: BTreeMap::new(), digest: tree.digest() }
    }

    /// The digest of the tree as it will be.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The znode as it will be.
    #[must_use]
    pub fn get(&self, tree: &Tree, path: &str) -> Option<FutureNode> {
        if let Some((_, record)) = self.nodes.get(path) {
            return record.clone();
        }
        tree.get(path).map(|node| FutureNode {
            data: node.data.clone(),
            acl: tree.acl(node.acl),
            stat: node.stat,
            children: node.children.len(),
        })
    }

    /// Proposal `zxid` makes `path` what `node` says; `None` deletes it.
    pub fn put(&mut self, tree: &Tree, zxid: Zxid, path: &str, node: Option<FutureNode>, undo: &mut Undo) {
        let before = self.get(tree, path).map_or(Digest::ZERO, |node| node.digest(path));
        let after = node.as_ref().map_or(Digest::ZERO, |node| node.digest(path));
        undo.digest.get_or_insert(self.digest);
        self.digest = self.digest.minus(before).plus(after);
        let overwritten = self.nodes.insert(path.to_owned(), (zxid, node));
        undo.records.push((path.to_owned(), overwritten));
        self.by_zxid.entry(zxid).or_default().push(path.to_owned());
    }

    /// Takes back what proposal `zxid` has changed so far.
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
        self.by_zxid.remove(&zxid);
    }

    /// Proposal `zxid` has been applied to the tree; what only it had changed is in the tree now.
    pub fn applied(&mut self, zxid: Zxid) {
        for path in self.by_zxid.remove(&zxid).unwrap_or_default() {
            if self.nodes.get(&path).is_some_and(|(changed_by, _)| *changed_by <= zxid) {
                self.nodes.remove(&path);
            }
        }
    }

    /// The ephemerals that a session will own, in order.
    #[must_use]
    pub fn ephemerals(&self, tree: &Tree, session: SessionId) -> BTreeSet<String> {
        let mut paths: BTreeSet<String> = tree.ephemerals(session).map(|path| path.to_string()).collect();
        for (path, (_, record)) in &self.nodes {
            let owned = record.as_ref().and_then(|node| Owner::of(node.stat.ephemeral_owner).session());
            if owned == Some(session) {
                paths.insert(path.clone());
            } else {
                paths.remove(path);
            }
        }
        paths
    }
}
