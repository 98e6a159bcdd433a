//! The tree of znodes as a pure state machine: transactions in, results and events out.
//!
//! Guarantees: [`Tree::apply`] is idempotent for the transactions that a fuzzy snapshot may already
//! contain; the digest is that of `DigestCalculator` after each transaction; the same transactions give the
//! same tree on every member.
//!
//! The tree checks nothing that [`prep`](crate::prep) has checked: a transaction is a fact.

pub mod acl_table;
pub mod children;
pub mod diff;
pub mod history;
pub mod node;
mod numbered;
mod packed;
pub mod quota;
pub mod restore;
mod slab;
pub mod walk;
pub mod watches;
pub mod znodes;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use zk_wire::acl::{Acl, perms};
use zk_wire::codes::{ErrorCode, EventType};
use zk_wire::digest::Digest;
use zk_wire::ids::{SessionId, Zxid};
use zk_wire::multi::MultiResult;
use zk_wire::path;
use zk_wire::stat::{Stat, StatPersisted};
use zk_wire::txn::{LoggedTxn, Txn, TxnHeader};

use acl_table::{AclTable, OPEN_ACL};
use node::{Node, Owner, client_stat};
use quota::{Excess, Limited, QuotaNode, Quotas, StatsTrack};
use znodes::{NodeId, Znodes};

/// The tree, the sessions and the ACLs: everything that a snapshot holds.
#[derive(Debug, Clone)]
pub struct Tree {
    nodes: Znodes,
    acls: AclTable,
    sessions: BTreeMap<SessionId, i32>,
    ephemerals: HashMap<SessionId, BTreeSet<Arc<str>>>,
    /// Containers and TTL znodes, for the reaper.
    reapable: BTreeSet<Arc<str>>,
    quotas: Quotas,
    digest: Digest,
    last_zxid: Zxid,
    data_bytes: u64,
}

/// What a transaction did, for replies and watches.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Applied {
    /// One result for a single operation, one per element for a multi.
    pub results: Vec<MultiResult>,
    /// What watchers learn, in order.
    pub events: Vec<Event>,
}

/// A change that watchers may learn of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What happened: created, deleted, data set.
    pub kind: EventType,
    /// To which znode. Creation and deletion change its parent's list of children too.
    pub path: Arc<str>,
    /// The key of the znode's ACL at that moment.
    pub acl: Arc<[Acl]>,
    /// Its parent's ACL, where the list of children changed.
    pub parent_acl: Option<Arc<[Acl]>>,
}

/// The root's path in the map; on the wire and in snapshots it is also written as empty.
const ROOT: &str = "/";

impl Default for Tree {
    fn default() -> Self {
        Tree::new()
    }
}

impl Tree {
    /// The tree of a server that has never run: the root and `/zookeeper` with `config` and `quota`.
    #[must_use]
    pub fn new() -> Self {
        let mut tree = Tree::empty();
        let config_acl = tree.acls.intern(&[Acl::world(perms::READ)]);
        let config_stat = StatPersisted { aversion: -1, ..StatPersisted::default() };
        for (path, acl, stat) in [
            (ROOT, OPEN_ACL, StatPersisted::default()),
            ("/zookeeper", OPEN_ACL, StatPersisted::default()),
            ("/zookeeper/config", config_acl, config_stat),
            ("/zookeeper/quota", OPEN_ACL, StatPersisted::default()),
        ] {
            tree.put(path, Some(&[]), acl, &stat, tree.parent(path));
        }
        tree
    }

    fn empty() -> Self {
        Tree {
            nodes: Znodes::default(),
            acls: AclTable::default(),
            sessions: BTreeMap::new(),
            ephemerals: HashMap::new(),
            reapable: BTreeSet::new(),
            quotas: Quotas::default(),
            digest: Digest::ZERO,
            last_zxid: Zxid::ZERO,
            data_bytes: 0,
        }
    }

    /// The znode at `path`; the empty path is the root's too.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<Node<'_>> {
        self.nodes.get(if path.is_empty() { ROOT } else { path })
    }

    /// The children of a znode, in no order that means anything.
    pub fn children<'a>(&'a self, node: Node<'a>) -> impl Iterator<Item = Node<'a>> {
        node.children.iter().filter_map(|id| self.nodes.node(id))
    }

    /// The names of the children of a znode, likewise.
    pub fn names<'a>(&'a self, node: Node<'a>) -> impl Iterator<Item = &'a str> {
        self.children(node).map(|child| path::name(child.path()))
    }

    /// The ACL of a key.
    #[must_use]
    pub fn acl(&self, key: i64) -> Arc<[Acl]> {
        self.acls.get(key)
    }

    /// The digest of all znodes.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The last transaction applied.
    #[must_use]
    pub fn last_zxid(&self) -> Zxid {
        self.last_zxid
    }

    /// Replicated sessions with their timeouts in milliseconds.
    #[must_use]
    pub fn sessions(&self) -> &BTreeMap<SessionId, i32> {
        &self.sessions
    }

    /// Paths of a session's ephemerals, in order.
    pub fn ephemerals(&self, session: SessionId) -> impl Iterator<Item = &Arc<str>> {
        self.ephemerals.get(&session).into_iter().flatten()
    }

    /// Sessions that own ephemerals, in order.
    #[must_use]
    pub fn owners(&self) -> BTreeSet<SessionId> {
        self.ephemerals.keys().copied().collect()
    }

    /// Containers and TTL znodes behind a path, in the order of their paths.
    pub fn reapable(&self, behind: Option<&str>) -> impl Iterator<Item = (&Arc<str>, Node<'_>)> {
        let from = behind.map_or(Bound::Unbounded, Bound::Excluded);
        let paths = self.reapable.range::<str, _>((from, Bound::Unbounded));
        paths.filter_map(|path| Some((path, self.get(path)?)))
    }

    /// The path whose quota counts for `path`, and the limits that so many more znodes and bytes would exceed.
    #[must_use]
    pub fn exceeded<'a>(&self, path: &'a str, znodes: i64, bytes: i64) -> Option<(&'a str, Vec<Excess>)> {
        let about = self.quotas.of(path)?;
        let (limits, used) = self.quota(about)?;
        let exceeded = [(Limited::Znodes, znodes), (Limited::Bytes, bytes)]
            .into_iter()
            .filter_map(|(of, more)| limits.exceeded(of, &used, more));
        Some((about, exceeded.collect()))
    }

    /// Each path that has a quota, with its limits and what it uses.
    pub fn quotas(&self) -> impl Iterator<Item = (&str, StatsTrack, StatsTrack)> {
        self.quotas.iter().filter_map(|about| {
            let (limits, used) = self.quota(about)?;
            Some((about, limits, used))
        })
    }

    fn quota(&self, about: &str) -> Option<(StatsTrack, StatsTrack)> {
        let text =
            |path: String| self.get(&path).map(|node| StatsTrack::parse(node.data().unwrap_or_default()));
        Some((text(quota::limits_path(about))?, text(quota::stats_path(about))?))
    }

    /// Znodes, the root included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Never: a tree has a root.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Ephemeral znodes.
    #[must_use]
    pub fn ephemeral_count(&self) -> usize {
        self.ephemerals.values().map(BTreeSet::len).sum()
    }

    /// Bytes of paths and data (`zk_approximate_data_size`).
    #[must_use]
    pub fn data_bytes(&self) -> u64 {
        self.data_bytes
    }

    /// Znodes below `path`.
    #[must_use]
    pub fn descendants(&self, path: &str) -> usize {
        // A stack of its own, since clients decide how deep a tree is.
        let mut stack: Vec<Node<'_>> = self.get(path).into_iter().collect();
        let mut found = 0;
        while let Some(node) = stack.pop() {
            found += node.children.len();
            stack.extend(self.children(node));
        }
        found
    }

    /// ACLs by key, for a snapshot.
    #[must_use]
    pub fn acl_entries(&self) -> Vec<(i64, Vec<Acl>)> {
        self.acls.entries()
    }

    /// Visits every znode, parents first. The root's path is empty, as in snapshots.
    ///
    /// # Errors
    /// Whatever `visit` fails with, at once.
    pub fn walk<E>(&self, mut visit: impl FnMut(&str, Node<'_>) -> Result<(), E>) -> Result<(), E> {
        let mut walk = walk::Walk::default();
        while let Some((path, node)) = walk.step(self) {
            visit(path, node)?;
        }
        Ok(())
    }

    /// Applies a committed transaction.
    pub fn apply(&mut self, logged: &LoggedTxn) -> Applied {
        let mut applied = Applied::default();
        match &logged.txn {
            Txn::Multi(txns) => self.apply_multi(&logged.header, txns, &mut applied),
            txn => {
                let result = self.apply_one(&logged.header, txn, &mut applied.events);
                applied.results.push(result);
            }
        }
        self.last_zxid = self.last_zxid.max(logged.header.zxid);
        applied
    }

    /// All elements, or only their error codes if one of them is an error.
    fn apply_multi(&mut self, header: &TxnHeader, txns: &[Txn], applied: &mut Applied) {
        let failed = txns.iter().any(|txn| matches!(txn, Txn::Error(_)));
        for txn in txns {
            let result = match txn {
                Txn::Error(code) => MultiResult::Error(*code),
                _ if failed => MultiResult::Error(ErrorCode::Ok),
                txn => self.apply_one(header, txn, &mut applied.events),
            };
            applied.results.push(result);
        }
    }

    fn apply_one(&mut self, header: &TxnHeader, txn: &Txn, events: &mut Vec<Event>) -> MultiResult {
        match txn {
            Txn::Create(t) | Txn::Create2(t) => {
                let owner = if t.ephemeral { header.session.0 } else { 0 };
                let created =
                    self.create(header, &t.path, t.data.clone(), &t.acl, owner, t.parent_cversion, events);
                match txn {
                    Txn::Create(_) => MultiResult::Create(t.path.clone()),
                    _ => MultiResult::Create2(t.path.clone(), created),
                }
            }
            Txn::CreateContainer(t) => {
                let owner = Owner::Container.persisted();
                let stat =
                    self.create(header, &t.path, t.data.clone(), &t.acl, owner, t.parent_cversion, events);
                MultiResult::Create2(t.path.clone(), stat)
            }
            Txn::CreateTtl(t) => {
                let owner = Owner::Ttl(t.ttl_ms).persisted();
                let stat =
                    self.create(header, &t.path, t.data.clone(), &t.acl, owner, t.parent_cversion, events);
                MultiResult::Create2(t.path.clone(), stat)
            }
            Txn::Delete(t) | Txn::DeleteContainer(t) => {
                self.delete(header.zxid, &t.path, events);
                MultiResult::Delete
            }
            Txn::SetData(t) | Txn::Reconfig(t) => {
                MultiResult::SetData(self.set_data(header, &t.path, t.data.clone(), t.version, events))
            }
            Txn::SetAcl(t) => MultiResult::SetData(self.set_acl(&t.path, &t.acl, t.version)),
            Txn::Check(_) => MultiResult::Check,
            Txn::CreateSession(t) => {
                self.sessions.insert(header.session, t.timeout_ms);
                MultiResult::Check
            }
            Txn::CloseSession(paths) => {
                self.close_session(header, paths.as_deref().unwrap_or_default(), events);
                MultiResult::Check
            }
            Txn::Error(code) => MultiResult::Error(*code),
            Txn::Multi(_) => MultiResult::Error(ErrorCode::SystemError),
        }
    }

    /// Creates a znode. One that exists already, because a fuzzy snapshot was taken after it, gets the ACL
    /// (ZOOKEEPER-3306) and nothing else.
    #[allow(clippy::too_many_arguments)]
    fn create(
        &mut self,
        header: &TxnHeader,
        path: &str,
        data: Option<Bytes>,
        acl: &[Acl],
        owner: i64,
        parent_cversion: i32,
        events: &mut Vec<Event>,
    ) -> Stat {
        let Some(parent) = self.parent(path) else {
            return Stat::default();
        };
        self.raise_parent(parent, parent_cversion, header.zxid);
        let acl_key = self.acls.intern(acl);
        if let Some(existing) = self.nodes.find(path) {
            let replaced = self.nodes.node(existing).map(Node::acl);
            self.nodes.set_acl(existing, acl_key, |_| {});
            replaced.into_iter().for_each(|key| self.acls.release(key));
            return self.nodes.node(existing).map(Node::stat).unwrap_or_default();
        }
        let stat = StatPersisted {
            czxid: header.zxid,
            mzxid: header.zxid,
            pzxid: header.zxid,
            ctime: header.time_ms,
            mtime: header.time_ms,
            ephemeral_owner: owner,
            ..StatPersisted::default()
        };
        let bytes = length(data.as_deref());
        self.put(path, data.as_deref(), acl_key, &stat, Some(parent));
        match QuotaNode::of(path) {
            Some(QuotaNode::Limits(about)) => self.quotas.add(about),
            Some(QuotaNode::Stats(about)) => self.count_usage(about),
            None => {}
        }
        self.use_quota(path, 1, bytes);
        events.push(self.event(EventType::NodeCreated, path, acl_key, Some(parent)));
        client_stat(&stat, data.as_deref(), 0)
    }

    /// The parent's counters only ever rise, so that a replay cannot lower them (ZOOKEEPER-1269).
    fn raise_parent(&mut self, parent: NodeId, cversion: i32, zxid: Zxid) {
        self.update(parent, |nodes| {
            nodes.set_stat(parent, |stat| {
                if cversion > stat.cversion {
                    stat.cversion = cversion;
                    stat.pzxid = zxid;
                }
            });
        });
    }

    fn delete(&mut self, zxid: Zxid, path: &str, events: &mut Vec<Event>) {
        let parent = self.parent(path);
        if let Some(parent) = parent {
            self.update(parent, |nodes| nodes.set_stat(parent, |stat| stat.pzxid = stat.pzxid.max(zxid)));
        }
        let Some(node) = self.get(path) else {
            return;
        };
        let (acl, has_children) = (node.acl(), !node.children.is_empty());
        let event = self.event(EventType::NodeDeleted, path, acl, parent);
        if has_children {
            self.take_descendants(path);
        }
        self.take_from_quota(path, parent);
        events.push(event);
    }

    fn take_from_quota(&mut self, path: &str, parent: Option<NodeId>) {
        let bytes = self.take(path, parent);
        if let Some(QuotaNode::Limits(about)) = QuotaNode::of(path) {
            self.quotas.remove(about);
        }
        self.use_quota(path, -1, -bytes);
    }

    /// Nobody deletes a znode that has children. Where one has, a fuzzy snapshot was taken when it had been
    /// created again: its children come later in the log, and must not be taken for present then.
    fn take_descendants(&mut self, path: &str) {
        let mut left = vec![path.to_owned()];
        while let Some(parent) = left.last() {
            let first = self.get(parent).and_then(|node| self.children(node).next());
            match first.map(|child| child.path().to_owned()) {
                Some(child) => left.push(child),
                None => {
                    if left.len() > 1 {
                        let last = &left[left.len() - 1];
                        self.take_from_quota(last, self.parent(last));
                    }
                    left.pop();
                }
            }
        }
    }

    fn set_data(
        &mut self,
        header: &TxnHeader,
        path: &str,
        data: Option<Bytes>,
        version: i32,
        events: &mut Vec<Event>,
    ) -> Stat {
        let Some(id) = self.nodes.find(path) else {
            return Stat::default();
        };
        let node = self.nodes.node(id);
        let acl = node.map(Node::acl).unwrap_or_default();
        let more = length(data.as_deref()) - node.map_or(0, |node| length(node.data()));
        self.data_bytes = self.data_bytes.saturating_add_signed(more);
        self.update(id, |nodes| {
            nodes.set_data(id, data.as_deref(), |stat| {
                stat.version = version;
                stat.mzxid = header.zxid;
                stat.mtime = header.time_ms;
            });
        });
        // What the client learns is its own data, also where the usage that it sets is counted at once.
        let stat = self.nodes.node(id).map(Node::stat).unwrap_or_default();
        self.use_quota(path, 0, more);
        events.push(self.event(EventType::NodeDataChanged, path, acl, None));
        stat
    }

    /// The subtree of `path`, if it has a quota, has so many more znodes and bytes (`updateQuotaStat`).
    fn use_quota(&mut self, path: &str, count: i64, bytes: i64) {
        let Some(prefix) = self.quotas.of(path) else {
            return;
        };
        let stats = quota::stats_path(prefix);
        let Some(node) = self.get(&stats) else {
            return;
        };
        let mut used = StatsTrack::parse(node.data().unwrap_or_default());
        used.add(count, bytes);
        self.set_usage(&stats, &used);
    }

    /// Counts what `path` uses, from the beginning (`updateQuotaForPath`).
    fn count_usage(&mut self, path: &str) {
        let (mut count, mut bytes) = (0, 0);
        let mut stack: Vec<Node<'_>> = self.get(path).into_iter().collect();
        while let Some(node) = stack.pop() {
            count += 1;
            bytes += length(node.data());
            stack.extend(self.children(node));
        }
        self.set_usage(&quota::stats_path(path), &StatsTrack::used(count, bytes));
    }

    fn set_usage(&mut self, stats: &str, used: &StatsTrack) {
        let data = used.to_string();
        let Some((id, node)) = self.nodes.find(stats).and_then(|id| Some((id, self.nodes.node(id)?))) else {
            return;
        };
        let more = length(Some(data.as_bytes())) - length(node.data());
        self.data_bytes = self.data_bytes.saturating_add_signed(more);
        self.update(id, |nodes| nodes.set_data(id, Some(data.as_bytes()), |_| {}));
    }

    /// Finds the quotas of a snapshot, and counts what is used (`setupQuota`).
    fn find_quotas(&mut self) {
        let mut found = Vec::new();
        let mut stack: Vec<Node<'_>> = self.get(quota::QUOTA).into_iter().collect();
        while let Some(node) = stack.pop() {
            if let Some(QuotaNode::Limits(about)) = QuotaNode::of(node.path()) {
                found.push(about.to_owned());
            }
            stack.extend(self.children(node));
        }
        for about in found {
            self.count_usage(&about);
            self.quotas.add(&about);
        }
    }

    fn set_acl(&mut self, path: &str, acl: &[Acl], version: i32) -> Stat {
        let Some(id) = self.nodes.find(path) else {
            return Stat::default();
        };
        let key = self.acls.intern(acl);
        if let Some(replaced) = self.nodes.node(id).map(Node::acl) {
            self.acls.release(replaced);
        }
        self.update(id, |nodes| nodes.set_acl(id, key, |stat| stat.aversion = version));
        self.nodes.node(id).map(Node::stat).unwrap_or_default()
    }

    /// Deletes the listed ephemerals and whatever the session still owns.
    fn close_session(&mut self, header: &TxnHeader, listed: &[String], events: &mut Vec<Event>) {
        self.sessions.remove(&header.session);
        for path in listed {
            self.delete(header.zxid, path, events);
        }
        let left: Vec<Arc<str>> = self.ephemerals(header.session).cloned().collect();
        for path in left {
            self.delete(header.zxid, &path, events);
        }
    }

    fn parent(&self, path: &str) -> Option<NodeId> {
        path::parent(path).and_then(|parent| self.nodes.find(parent))
    }

    /// With the parent if its list of children changes.
    fn event(&self, kind: EventType, path: &str, acl: i64, parent: Option<NodeId>) -> Event {
        let parent = parent.and_then(|parent| self.nodes.node(parent));
        let parent_acl = parent.map(|node| self.acl(node.acl()));
        Event { kind, path: path.into(), acl: self.acl(acl), parent_acl }
    }

    /// Changes a znode and keeps the digest.
    fn update(&mut self, id: NodeId, change: impl FnOnce(&mut Znodes)) {
        let Some(before) = self.nodes.node(id).map(Node::digest) else {
            return;
        };
        change(&mut self.nodes);
        let after = self.nodes.node(id).map_or(Digest::ZERO, Node::digest);
        self.digest = self.digest.minus(before).plus(after);
    }

    /// Adds a znode below its parent, to the indices and to the digest.
    fn put(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        acl: i64,
        stat: &StatPersisted,
        parent: Option<NodeId>,
    ) {
        self.digest = self.digest.plus(Digest::of_node(path, data, stat));
        self.data_bytes += (path.len() + data.map_or(0, <[u8]>::len)) as u64;
        match Owner::of(stat.ephemeral_owner) {
            Owner::None => {}
            Owner::Session(session) => {
                self.ephemerals.entry(session).or_default().insert(path.into());
            }
            Owner::Container | Owner::Ttl(_) => {
                self.reapable.insert(path.into());
            }
        }
        let id = self.nodes.insert(path, data, acl, stat);
        if let Some(parent) = parent {
            self.nodes.add_child(parent, id);
        }
    }

    /// Removes a znode from its parent, the indices and the digest, and says how many bytes of data it had.
    fn take(&mut self, path: &str, parent: Option<NodeId>) -> i64 {
        let seen = |node: Node<'_>| (node.digest(), node.data().map_or(0, <[u8]>::len), node.acl_and_stat());
        let Some((id, (digest, bytes, (acl, stat)))) = self.nodes.remove(path, seen) else {
            return 0;
        };
        self.digest = self.digest.minus(digest);
        self.data_bytes -= (path.len() + bytes) as u64;
        self.acls.release(acl);
        match Owner::of(stat.ephemeral_owner) {
            Owner::None => {}
            Owner::Session(session) => self.forget_ephemeral(session, path),
            Owner::Container | Owner::Ttl(_) => {
                self.reapable.remove(path);
            }
        }
        if let Some(parent) = parent {
            self.nodes.remove_child(parent, id);
        }
        bytes as i64
    }

    fn forget_ephemeral(&mut self, session: SessionId, path: &str) {
        if let Some(paths) = self.ephemerals.get_mut(&session) {
            paths.remove(path);
            if paths.is_empty() {
                self.ephemerals.remove(&session);
            }
        }
    }
}

/// Bytes of data, as something to count with.
pub(crate) fn length(data: Option<&[u8]>) -> i64 {
    data.map_or(0, |data| i64::try_from(data.len()).unwrap_or(i64::MAX))
}

/// The path of a child.
#[must_use]
pub fn child_path(parent: &str, name: &str) -> String {
    if parent == ROOT { format!("/{name}") } else { format!("{parent}/{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clients decide how deep a tree is; the stack of a thread is not theirs to exhaust.
    #[test]
    fn a_deep_tree_is_counted_and_walked_without_a_deep_stack() {
        const DEPTH: usize = 3_000;
        let mut tree = Tree::new();
        let mut path = String::new();
        for _ in 0..DEPTH {
            path.push_str("/a");
            tree.put(&path, None, OPEN_ACL, &StatPersisted::default(), tree.parent(&path));
        }
        let counting = std::thread::Builder::new().stack_size(64 << 10).spawn(move || {
            let mut walked = 0;
            let Ok::<(), std::convert::Infallible>(()) = tree.walk(|_, _| {
                walked += 1;
                Ok(())
            });
            (tree.descendants("/a"), tree.descendants("/none"), walked)
        });
        // Root, /zookeeper and the two below that are walked too.
        assert_eq!(counting.unwrap().join().unwrap(), (DEPTH - 1, 0, DEPTH + 4));
    }
}
