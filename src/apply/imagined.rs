//! Sessions on a tree in memory, which takes writes as ZooKeeper does: what the bridge would do is seen without
//! its being done. Byte budgets are not imagined: every ephemeral has a place.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use zk_wire::acl::Acl;
use zk_wire::codes::ErrorCode;
use zk_wire::ids::{SessionId, Zxid};
use zk_wire::multi::{MultiResult, WriteOp};
use zk_wire::stat::Stat;

use super::record::Verb;
use crate::model::{Companion, Holds, ZnodePath};
use crate::session::{
    Ensured, Look, Note, PlaceError, Sessions, Sighting, Tree, WriteError, Znode, stranger,
};

/// Something that would be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// A persistent directory.
    Directory(ZnodePath),
    /// Another persistent znode, created or set.
    Companion(ZnodePath),
    /// A leaf.
    Leaf(Verb, ZnodePath),
}

/// The tree, and who we are in it.
#[derive(Debug)]
pub(super) struct Imagined {
    /// Sessions whose ephemerals are ours.
    ours: BTreeSet<SessionId>,
    /// The one that new ones go in.
    session: SessionId,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    tree: Tree,
    zxid: Zxid,
    writes: Vec<Write>,
}

/// Zxids that are imagined are above all that are not.
const FIRST_ZXID: Zxid = Zxid(1 << 62);
/// A session that no server has opened, if we have none.
const NO_SESSION: SessionId = SessionId(-1);

impl Imagined {
    pub(super) fn new(tree: Tree, mut ours: BTreeSet<SessionId>) -> Self {
        let session = ours.first().copied().unwrap_or(NO_SESSION);
        ours.insert(session);
        let state = State { tree, zxid: FIRST_ZXID, writes: Vec::new() };
        Imagined { ours, session, state: Mutex::new(state) }
    }

    /// What was written since this was asked last.
    pub(super) fn take_writes(&self) -> Vec<Write> {
        std::mem::take(&mut self.lock().writes)
    }

    pub(super) fn look(&self, path: &ZnodePath) -> Look {
        match self.lock().tree.znodes.get(path) {
            None => Look::Absent,
            Some(znode) if self.ours.contains(&znode.stat.ephemeral_owner) => Look::Ours(znode.owned()),
            Some(znode) => Look::Theirs(stranger(&znode.stat)),
        }
    }

    pub(super) fn see(&self, path: &ZnodePath) -> Sighting {
        match self.lock().tree.znodes.get(path) {
            None => Sighting::Absent,
            Some(znode) if self.ours.contains(&znode.stat.ephemeral_owner) => Sighting::Ours,
            Some(znode) => Sighting::Theirs {
                is_ephemeral: znode.stat.ephemeral_owner != SessionId::NONE,
                data: znode.data.clone().unwrap_or_default(),
            },
        }
    }

    /// Each session with its ephemerals.
    pub(super) fn ephemerals(&self) -> Vec<(SessionId, Vec<ZnodePath>)> {
        let state = self.lock();
        let of = |session| state.tree.ephemerals(&BTreeSet::from([session])).into_keys().collect();
        self.ours.iter().map(|&session| (session, of(session))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sessions for &Imagined {
    async fn place(&self, _: &ZnodePath) -> Result<SessionId, PlaceError> {
        Ok(self.session)
    }

    fn release(&self, _: SessionId, _: &ZnodePath) {}

    async fn ensure(&self, Companion { path, holds }: &Companion) -> Result<Ensured, WriteError> {
        let mut state = self.lock();
        let written = state.writes.len();
        let mut names = Vec::new();
        match state.tree.znodes.get(path).map(|znode| znode.data.clone()) {
            _ if *holds == Holds::Anything => {
                state.ensure_directory(path);
                names = state.tree.children(path).map(|(child, _)| child.name().to_owned()).collect();
            }
            // What may not be read is taken to be as it must be.
            Some(found) => {
                if let Some(data) = found.and_then(|found| holds.instead_of(&found)) {
                    state.set(path, data);
                    state.writes.push(Write::Companion(path.clone()));
                }
            }
            None => {
                if let Some(parent) = path.parent() {
                    state.ensure_directory(&parent);
                }
                state.create(path, SessionId::NONE, holds.initial());
                state.writes.push(Write::Companion(path.clone()));
            }
        }
        Ok(Ensured { wrote: state.writes.len() > written, names })
    }

    fn leaf_acl(&self) -> &[Acl] {
        &[]
    }

    async fn stats(&self, _: SessionId, paths: &[ZnodePath]) -> Result<Vec<Option<Stat>>, WriteError> {
        let state = self.lock();
        Ok(paths.iter().map(|path| state.tree.znodes.get(path).map(|znode| znode.stat)).collect())
    }

    async fn write(
        &self,
        session: SessionId,
        ops: Vec<WriteOp>,
        _: Option<Note>,
    ) -> Result<Vec<MultiResult>, WriteError> {
        let mut state = self.lock();
        for (index, op) in ops.iter().enumerate() {
            if let Err(code) = state.allows(op) {
                return Err(WriteError::Culprit { index, code });
            }
        }
        Ok(ops.into_iter().map(|op| state.carry_out(session, op)).collect())
    }
}

impl State {
    /// The ops of one multi are about different znodes, so each can be judged by what is there before it.
    fn allows(&self, op: &WriteOp) -> Result<(), ErrorCode> {
        let found = |path: &str| self.tree.znodes.get(path);
        let at = |path: &str, version: i32| match found(path) {
            None => Err(ErrorCode::NoNode),
            Some(znode) if version != -1 && version != znode.stat.version => Err(ErrorCode::BadVersion),
            Some(_) => Ok(()),
        };
        match op {
            WriteOp::Create2(create) => match found(&create.path) {
                Some(_) => Err(ErrorCode::NodeExists),
                None => Ok(()),
            },
            WriteOp::SetData(set) => at(&set.path, set.version),
            WriteOp::Delete(delete) => at(&delete.path, delete.version),
            // The writer of leaves sends no others.
            _ => Err(ErrorCode::Unimplemented),
        }
    }

    fn carry_out(&mut self, session: SessionId, op: WriteOp) -> MultiResult {
        // Paths came from paths.
        let path = |path: &str| ZnodePath::new(path).ok();
        match op {
            WriteOp::Create2(create) => {
                let data = create.data.unwrap_or_default();
                let mut stat = Stat::default();
                if let Some(path) = path(&create.path) {
                    stat = self.create(&path, session, data);
                    self.writes.push(Write::Leaf(Verb::Create, path));
                }
                MultiResult::Create2(create.path, stat)
            }
            WriteOp::SetData(set) => {
                let data = set.data.unwrap_or_default();
                let mut stat = Stat::default();
                if let Some(path) = path(&set.path)
                    && let Some(now) = self.set(&path, data)
                {
                    stat = now;
                    self.writes.push(Write::Leaf(Verb::Set, path));
                }
                MultiResult::SetData(stat)
            }
            WriteOp::Delete(delete) => {
                if let Some(path) = path(&delete.path) {
                    self.tree.znodes.remove(&path);
                    self.writes.push(Write::Leaf(Verb::Delete, path));
                }
                MultiResult::Delete
            }
            // `allows` has refused it.
            _ => MultiResult::Check,
        }
    }

    fn create(&mut self, path: &ZnodePath, owner: SessionId, data: Bytes) -> Stat {
        self.zxid.0 += 1;
        let stat = Stat { czxid: self.zxid, mzxid: self.zxid, ephemeral_owner: owner, ..Stat::default() };
        self.tree.znodes.insert(path.clone(), Znode { stat, data: Some(data) });
        stat
    }

    fn set(&mut self, path: &ZnodePath, data: Bytes) -> Option<Stat> {
        self.zxid.0 += 1;
        let znode = self.tree.znodes.get_mut(path)?;
        znode.stat.version += 1;
        znode.stat.mzxid = self.zxid;
        znode.data = Some(data);
        Some(znode.stat)
    }

    fn ensure_directory(&mut self, directory: &ZnodePath) {
        let mut missing = vec![];
        let mut next = Some(directory.clone());
        // The first that is there has all those above it; the one above all is always there.
        while let Some(path) = next.filter(|path| !self.tree.znodes.contains_key(path)) {
            next = path.parent();
            if next.is_some() {
                missing.push(path);
            }
        }
        while let Some(path) = missing.pop() {
            self.create(&path, SessionId::NONE, Bytes::new());
            self.writes.push(Write::Directory(path));
        }
    }
}
