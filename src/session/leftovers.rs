//! What a bridge that is gone has left in ZooKeeper, and what of it may go: judged from what is there, without writing.
//!
//! Ours is what is known by its name below our own path, and elsewhere what the transaction created that created its
//! record. It goes if nobody has written in it and nobody uses it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bytes::Bytes;
use zk_client::{RequestError, Session};
use zk_wire::codes::ErrorCode;
use zk_wire::ids::{SessionId, Zxid};

use super::created::Record;
use super::history;
use super::members::member;
use super::own::Own;
use super::tree::{Tree, Znode};
use crate::model::ZnodePath;
use crate::model::companion::without;

/// What is left of one bridge.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// Its sessions that live.
    pub sessions: BTreeSet<SessionId>,
    /// What it made beside its own znodes and may go: children before their parents.
    pub made: Vec<What>,
    /// Its own znodes, children before their parents; but for what [`Leftovers::last`] has.
    pub own: Vec<ZnodePath>,
    /// Its fences, their directory, its own one, and what was created together with that.
    pub last: Vec<ZnodePath>,
    /// What stays, although the bridge made it, or although it is among its own.
    pub kept: BTreeMap<ZnodePath, Kept>,
}

/// Something that may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct What {
    /// The znode.
    pub path: ZnodePath,
    /// The version of its data, which it must still have.
    pub(super) version: i32,
    /// The items of its list that go, and the list without them; `None` if the znode goes.
    pub items: Option<(BTreeSet<String>, Bytes)>,
    /// The records of it, which go with it.
    pub(super) records: BTreeSet<ZnodePath>,
}

/// Why something stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// Somebody needs this znode.
    Used(ZnodePath),
    /// Somebody has written data in it.
    Written,
    /// It is not the znode that the bridge created.
    NotOurs,
    /// It cannot be read with this identity.
    Unreadable,
    /// It was changed, or got children, since it was judged.
    Changed,
    /// ZooKeeper refused to remove it.
    Refused(ErrorCode),
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kept::Used(by) => write!(f, "{by} is there"),
            Kept::Written => f.write_str("somebody has written in it"),
            Kept::NotOurs => f.write_str("the bridge did not create it"),
            Kept::Unreadable => f.write_str("it may not be read with this identity"),
            Kept::Changed => f.write_str("somebody has changed it meanwhile"),
            Kept::Refused(code) => write!(f, "ZooKeeper refuses: {code}"),
        }
    }
}

/// A record and the znode that it is.
struct Recorded {
    record: Record,
    place: ZnodePath,
    czxid: Zxid,
}

impl Leftovers {
    /// Reads what is there of a bridge. Sessions that are `closing` count as closed.
    ///
    /// # Errors
    /// The connection was lost.
    pub async fn read(
        session: &Session,
        own: &Own,
        closing: &BTreeSet<SessionId>,
    ) -> Result<Leftovers, RequestError> {
        let mut tree = Tree::read(session, [own.root.clone()]).await?;
        let recorded = recorded(own, &tree);
        let about = recorded.iter().flat_map(|it| [Some(it.record.path.clone()), it.record.leaves.clone()]);
        let there = Tree::read(session, about.flatten().collect::<BTreeSet<_>>()).await?;
        tree.znodes.extend(there.znodes);
        tree.unreadable.extend(there.unreadable);
        let mut above = own.root.parent();
        while let Some(path) = above.filter(|path| path.as_str() != "/") {
            if let Some(stat) = session.exists(path.as_str()).await? {
                tree.znodes.insert(path.clone(), Znode { stat, data: None });
            }
            above = path.parent();
        }
        Ok(Self::judge(own, &tree, closing))
    }

    /// Judges a tree that has our own path, the znodes above it, and everything that records are about.
    fn judge(own: &Own, tree: &Tree, closing: &BTreeSet<SessionId>) -> Leftovers {
        let mut left = Leftovers::default();
        let members = tree.children(&own.sessions);
        left.sessions = members.filter_map(|(path, znode)| member(path.name(), &znode.stat)).collect();
        let recorded = recorded(own, tree);
        let mut about: BTreeMap<&ZnodePath, Vec<&Recorded>> = BTreeMap::new();
        for it in &recorded {
            about.entry(&it.record.path).or_default().push(it);
        }
        let mut going = BTreeSet::new();
        let tree = View { tree, closing };
        // Children come before their parents.
        for (&path, records) in about.iter().rev() {
            match tree.judge(path, records, &going) {
                Ok(Some(what)) => {
                    if what.items.is_none() {
                        going.insert(path.clone());
                    }
                    left.made.push(what);
                }
                Ok(None) => {}
                Err(why) => drop(left.kept.insert(path.clone(), why)),
            }
        }
        left.judge_own(own, tree.tree, closing);
        left
    }

    /// Our own znodes are known by their names.
    fn judge_own(&mut self, own: &Own, tree: &Tree, closing: &BTreeSet<SessionId>) {
        let Some(root) = tree.znodes.get(&own.root) else { return };
        let with_others: BTreeSet<_> = self.made.iter().flat_map(|what| &what.records).cloned().collect();
        let below = tree.znodes.range(own.root.clone()..).filter(|(path, _)| path.is_below(&own.root));
        for (path, znode) in below.rev() {
            let parent = path.parent().unwrap_or_else(|| own.root.clone());
            let is_directory = [&own.fence, &own.history, &own.created, &own.sessions].contains(&path);
            let is_known = is_directory
                || parent == own.fence
                || (parent == own.history && history::parse(path.name()).is_some())
                || (parent == own.created && path.name().len() == 2)
                || (parent.parent().as_ref() == Some(&own.created)
                    && znode.data.as_ref().is_some_and(|data| Record::read(path, data).is_some()));
            let is_member = parent == own.sessions && member(path.name(), &znode.stat).is_some();
            if tree.unreadable.contains(path) {
                self.kept.insert(path.clone(), Kept::Unreadable);
            } else if is_known && (*path == own.fence || parent == own.fence) {
                self.last.push(path.clone());
            } else if is_known {
                if !with_others.contains(path) {
                    self.own.push(path.clone());
                }
            } else if !is_member && !closing.contains(&znode.stat.ephemeral_owner) {
                self.kept.insert(path.clone(), Kept::NotOurs);
            }
        }
        self.last.push(own.root.clone());
        let mut above = own.root.parent();
        while let Some((path, znode)) = above.and_then(|path| Some((path.clone(), tree.znodes.get(&path)?))) {
            if znode.stat.czxid != root.stat.czxid {
                if own.root.parent().as_ref() == Some(&path) {
                    self.kept.insert(path, Kept::NotOurs);
                }
                break;
            }
            above = path.parent();
            self.last.push(path);
        }
    }

    /// Is there nothing of this bridge?
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.last.is_empty()
    }
}

/// The records of what a bridge made.
fn recorded(own: &Own, tree: &Tree) -> Vec<Recorded> {
    let shards = tree.children(&own.created).map(|(shard, _)| shard);
    let places = shards.flat_map(|shard| tree.children(shard));
    let read = places.filter_map(|(place, znode)| {
        let record = Record::read(place, znode.data.as_ref()?)?;
        Some(Recorded { record, place: place.clone(), czxid: znode.stat.czxid })
    });
    read.collect()
}

/// The tree as it will be when some sessions are closed.
struct View<'t> {
    tree: &'t Tree,
    closing: &'t BTreeSet<SessionId>,
}

impl View<'_> {
    /// What of a znode may go; `None` if there is nothing of it.
    fn judge(
        &self,
        path: &ZnodePath,
        records: &[&Recorded],
        going: &BTreeSet<ZnodePath>,
    ) -> Result<Option<What>, Kept> {
        let Some(znode) = self.tree.znodes.get(path) else { return Ok(None) };
        let (items, itself): (Vec<&Recorded>, Vec<&Recorded>) =
            records.iter().copied().partition(|it| it.record.item.is_some());
        let itself = itself.first().filter(|it| it.czxid == znode.stat.czxid);
        let version = znode.stat.version;
        let records = records.iter().map(|it| it.place.clone()).collect();
        let whole = What { path: path.clone(), version, items: None, records };
        if items.is_empty() {
            let made = itself.ok_or(Kept::NotOurs)?;
            if version != 0 {
                return Err(Kept::Written);
            }
            self.unused(made.record.leaves.as_ref(), going)?;
            self.unused(Some(path), going)?;
            return Ok(Some(whole));
        }
        let list = znode.data.as_ref().ok_or(Kept::Unreadable)?;
        let mut used = None;
        let unused = items.into_iter().filter(|it| match self.unused(it.record.leaves.as_ref(), going) {
            Ok(()) => true,
            Err(why) => {
                used = Some(why);
                false
            }
        });
        let unused: Vec<_> = unused.collect();
        let names: BTreeSet<_> = unused.iter().filter_map(|it| it.record.item.as_deref()).collect();
        let rest = Bytes::from(without(list, &names));
        if rest.is_empty() && itself.is_some() && self.unused(Some(path), going).is_ok() {
            return Ok(Some(whole));
        }
        if rest == list {
            return used.map_or(Ok(None), Err);
        }
        let records = unused.iter().map(|it| it.place.clone()).collect();
        let names = names.into_iter().map(str::to_owned).collect();
        Ok(Some(What { items: Some((names, rest)), records, ..whole }))
    }

    /// Has a directory nothing but what goes?
    fn unused(&self, directory: Option<&ZnodePath>, going: &BTreeSet<ZnodePath>) -> Result<(), Kept> {
        let Some(directory) = directory else { return Ok(()) };
        if self.tree.unreadable.contains(directory) {
            return Err(Kept::Unreadable);
        }
        let mut staying = self.tree.children(directory).filter(|(path, znode)| {
            !going.contains(*path) && !self.closing.contains(&znode.stat.ephemeral_owner)
        });
        staying.next().map_or(Ok(()), |(path, _)| Err(Kept::Used(path.clone())))
    }
}

#[cfg(test)]
#[path = "leftovers_test.rs"]
mod tests;
