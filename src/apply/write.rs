//! Carries out the changes of one Service, once. What could not be carried out, or whose answer was lost, is
//! said, not tried again: whoever planned it looks, and plans anew.
//!
//! A step begins when each op of the one before is settled, so that deletes wait for all creates.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use zk_wire::acl::Acl;
use zk_wire::codes::{CreateMode, ErrorCode};
use zk_wire::ids::SessionId;
use zk_wire::multi::{MultiResult, WriteOp};
use zk_wire::request::{CreateRequest, DeleteRequest, SetDataRequest};
use zk_wire::stat::Stat;

use super::ledger::{Change, Settled};
use super::record::Notes;
use crate::model::{Companion, Holds, ZnodePath};
use crate::plan::{Op, Refusal, Step, Steps, steps};
use crate::session::{Ensured, Owned, PlaceError, Sessions, WriteError};

/// What became of a change.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Companions that are as they must be now.
    pub(super) companions: BTreeSet<Companion>,
    /// Of those that are directories, what is in them.
    pub(super) listed: BTreeMap<ZnodePath, Vec<String>>,
    /// Leaves that were carried out, or must be looked at. What is not in here is as it was.
    pub(super) settled: BTreeMap<ZnodePath, Settled>,
    /// Leaves that could not be written, and why.
    pub(super) refusals: BTreeSet<Refusal>,
    /// How it ended.
    pub(super) end: End,
    /// Was anything written? Not if all companions were as they must be, and there was nothing else to do.
    pub(super) wrote: bool,
}

/// How a change ended.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Every op was carried out, or waits for a look.
    #[default]
    Done,
    /// Something was not, and may be later.
    Again,
    /// Another process leads.
    Fenced,
}

/// The longest multi, in bytes: a quarter of what servers accept.
const MULTI_BYTES: usize = 256 * 1024;
/// The most ops of a multi: a failure names one culprit, and the rest is sent again.
const MULTI_OPS: usize = 500;

/// Carries out a change. With `notes`, each transaction leaves a record.
pub(super) async fn write(sessions: impl Sessions, change: Change, notes: Option<Notes>) -> Outcome {
    let Change { changes, held, lost: _ } = change;
    let mut writer = Writer {
        sessions,
        held,
        notes,
        reserved: BTreeMap::new(),
        blocked: BTreeSet::new(),
        is_complete: true,
        outcome: Outcome::default(),
    };
    if let Err(stop) = writer.run(steps(changes)).await {
        writer.outcome.end = stop.0;
    }
    writer.give_back();
    writer.outcome
}

struct Writer<S> {
    sessions: S,
    held: BTreeMap<ZnodePath, Owned>,
    notes: Option<Notes>,
    /// Creates that have a place.
    reserved: BTreeMap<ZnodePath, SessionId>,
    /// Below these no leaf may be written: a companion cannot be had.
    blocked: BTreeSet<ZnodePath>,
    /// Were all ops so far carried out?
    is_complete: bool,
    outcome: Outcome,
}

/// Nothing more is tried now.
struct Stop(End);

/// An op with the version that the leaf it needs has.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Placed {
    op: Op,
    version: i32,
}

impl<S: Sessions> Writer<S> {
    async fn run(&mut self, Steps { companions, steps }: Steps) -> Result<(), Stop> {
        for companion in companions {
            self.ensure(companion).await?;
        }
        for Step { ops, needs_all } in steps {
            if needs_all && !self.is_complete {
                self.outcome.end = End::Again;
                continue;
            }
            for (session, ops) in self.place(ops).await? {
                for batch in batches(ops) {
                    self.batch(session, batch).await?;
                }
            }
        }
        Ok(())
    }

    /// A companion that the server refuses blocks what needs it, and nothing else.
    async fn ensure(&mut self, companion: Companion) -> Result<(), Stop> {
        match self.sessions.ensure(&companion).await {
            Ok(Ensured { wrote, names }) => {
                self.outcome.wrote |= wrote;
                if companion.holds == Holds::Anything {
                    self.outcome.listed.insert(companion.path.clone(), names);
                }
                self.outcome.companions.insert(companion);
            }
            Err(WriteError::Refused(error)) => {
                self.refuse(companion.path.clone(), error.to_string());
                self.blocked.extend(companion.needed_below().cloned());
            }
            Err(error) => return Err(stop(&error)),
        }
        Ok(())
    }

    /// Finds each op its session. What was refused, or is not as we believe, is left out.
    async fn place(&mut self, ops: Vec<Op>) -> Result<BTreeMap<SessionId, Vec<Placed>>, Stop> {
        let mut placed: BTreeMap<SessionId, Vec<Placed>> = BTreeMap::new();
        // By the session that has what they need: the session that they go in, and that leaf.
        let mut needing: BTreeMap<SessionId, Vec<(SessionId, Op, ZnodePath)>> = BTreeMap::new();
        for op in ops {
            if let Op::Set(path, _) = &op
                && self.is_blocked(path)
            {
                // Its new data may need what cannot be had.
                self.is_complete = false;
                continue;
            }
            let created_in = match op.creates() {
                Some(path) => match self.place_create(path).await {
                    Some(session) => Some(session),
                    None => continue,
                },
                None => None,
            };
            let owner = op.needs().map(|path| (path.clone(), self.held.get(path).map(|owned| owned.session)));
            match (created_in, owner) {
                (_, Some((path, Some(owner)))) => {
                    needing.entry(owner).or_default().push((created_in.unwrap_or(owner), op, path));
                }
                (Some(session), None) => {
                    placed.entry(session).or_default().push(Placed { op, version: -1 });
                }
                // Not ours: a plan never asks for that.
                (_, Some((path, None))) => self.settle(path, Settled::Moved),
                (None, None) => {}
            }
        }
        for (owner, ops) in needing {
            let paths: Vec<_> = ops.iter().map(|(.., path)| path.clone()).collect();
            // Between this look and the write somebody may still replace the znode, but nobody has time to.
            let stats = self.sessions.stats(owner, &paths).await.map_err(|error| stop(&error))?;
            for ((session, op, path), stat) in ops.into_iter().zip(stats) {
                let owned = self.held.get(&path).copied();
                let is_as_believed = |stat: &Stat| owned.is_some_and(|owned| owned.czxid == stat.czxid);
                let op = match stat.filter(is_as_believed) {
                    Some(stat) => Some(Placed { op, version: stat.version }),
                    None => {
                        self.settle(path, Settled::Moved);
                        op.without_needs().map(|op| Placed { op, version: -1 })
                    }
                };
                placed.entry(session).or_default().extend(op);
            }
        }
        Ok(placed)
    }

    fn is_blocked(&self, path: &ZnodePath) -> bool {
        self.blocked.iter().any(|blocked| path.is_below(blocked))
    }

    async fn place_create(&mut self, path: &ZnodePath) -> Option<SessionId> {
        if self.is_blocked(path) {
            self.is_complete = false;
            return None;
        }
        match self.sessions.place(path).await {
            Ok(session) => {
                self.reserved.insert(path.clone(), session);
                Some(session)
            }
            Err(error) => {
                let (path, reason) = (path.clone(), error.to_string());
                if let PlaceError::Full(_) = error {
                    self.outcome.refusals.insert(Refusal::OverBudget { path, reason });
                } else {
                    tracing::warn!(%path, "not published yet: {reason}");
                }
                self.is_complete = false;
                self.outcome.end = End::Again;
                None
            }
        }
    }

    /// Sends one multi. A culprit is taken out and the rest is sent again, so this ends.
    async fn batch(&mut self, session: SessionId, ops: Vec<Placed>) -> Result<(), Stop> {
        let mut ops: VecDeque<Placed> = ops.into();
        while !ops.is_empty() {
            let note = self.notes.as_ref().map(|notes| notes.of(ops.iter().map(|placed| &placed.op)));
            let acl = self.sessions.leaf_acl();
            let requests = ops.iter().flat_map(|placed| placed.requests(acl)).collect();
            match self.sessions.write(session, requests, note).await {
                Ok(results) => {
                    self.outcome.wrote = true;
                    let mut results = results.as_slice();
                    for placed in ops.drain(..) {
                        let (of_this, rest) = results.split_at(placed.op.paths().count().min(results.len()));
                        self.done(placed.op, of_this);
                        results = rest;
                    }
                }
                Err(WriteError::Culprit { index, code }) => {
                    let paths =
                        ops.iter().enumerate().flat_map(|(op, it)| it.op.paths().map(move |path| (op, path)));
                    let Some((index, path)) = paths.map(|(op, path)| (op, path.clone())).nth(index) else {
                        return Err(Stop(End::Again));
                    };
                    let Some(culprit) = ops.remove(index) else { return Err(Stop(End::Again)) };
                    if code == ErrorCode::NodeExists {
                        self.set_aside_existing(session, &mut ops).await?;
                    }
                    ops.extend(self.culprit(culprit, path, code).await?);
                }
                Err(error @ WriteError::Unknown(_)) => {
                    for path in ops.iter().flat_map(|placed| placed.op.paths()) {
                        self.settle(path.clone(), Settled::Unknown(session));
                    }
                    return Err(stop(&error));
                }
                Err(WriteError::Refused(error)) => {
                    for path in ops.iter().flat_map(|placed| placed.op.paths()) {
                        self.refuse(path.clone(), error.to_string());
                    }
                    return Ok(());
                }
                Err(error) => return Err(stop(&error)),
            }
        }
        Ok(())
    }

    fn done(&mut self, op: Op, results: &[MultiResult]) {
        match (op, results) {
            (Op::Create(path, data), [MultiResult::Create2(_, stat)])
            | (Op::Set(path, data), [MultiResult::SetData(stat)]) => {
                self.settle(path, Settled::Ours(Owned::new(stat, Some(&data))));
            }
            (Op::Delete(path), [MultiResult::Delete]) => self.deleted(path),
            (Op::Swap { create, data, delete }, [MultiResult::Create2(_, stat), MultiResult::Delete]) => {
                self.settle(create, Settled::Ours(Owned::new(stat, Some(&data))));
                self.deleted(delete);
            }
            // A server that answers otherwise is not believed.
            (op, _) => op.paths().for_each(|path| self.settle(path.clone(), Settled::Moved)),
        }
    }

    fn deleted(&mut self, path: ZnodePath) {
        if let Some(owned) = self.held.get(&path) {
            self.sessions.release(owned.session, &path);
        }
        self.settle(path, Settled::Gone);
    }

    /// Where one create finds its znode there already, others may: all are asked at once, instead of one
    /// multi after the other.
    async fn set_aside_existing(
        &mut self,
        session: SessionId,
        ops: &mut VecDeque<Placed>,
    ) -> Result<(), Stop> {
        let paths: Vec<_> = ops.iter().filter_map(|placed| placed.op.creates().cloned()).collect();
        let stats = self.sessions.stats(session, &paths).await.map_err(|error| stop(&error))?;
        for (path, _) in paths.into_iter().zip(stats).filter(|(_, stat)| stat.is_some()) {
            ops.retain(|placed| placed.op.creates() != Some(&path));
            self.settle(path, Settled::Moved);
        }
        Ok(())
    }

    /// Why one op failed at this leaf, and what to send instead of it.
    async fn culprit(
        &mut self,
        Placed { op, version }: Placed,
        path: ZnodePath,
        code: ErrorCode,
    ) -> Result<Option<Placed>, Stop> {
        match code {
            ErrorCode::NoNode if op.creates() == Some(&path) => {
                // Somebody removed the directory. Once is an accident.
                let directory = path.parent().map(Companion::directory);
                if let Some(directory) = directory.filter(|it| !self.outcome.companions.contains(it)) {
                    self.ensure(directory).await?;
                    if !self.is_blocked(&path) {
                        return Ok(Some(Placed { op, version }));
                    }
                }
                self.refuse(path, "its directory cannot be had".to_owned());
                return Ok(None);
            }
            ErrorCode::NodeExists | ErrorCode::NoNode | ErrorCode::BadVersion => {
                self.settle(path.clone(), Settled::Moved);
            }
            code => self.refuse(path.clone(), code.to_string()),
        }
        let left = if op.needs() == Some(&path) { op.without_needs() } else { None };
        Ok(left.map(|op| Placed { op, version: -1 }))
    }

    fn settle(&mut self, path: ZnodePath, settled: Settled) {
        self.is_complete &= matches!(settled, Settled::Ours(_) | Settled::Gone);
        self.outcome.settled.insert(path, settled);
    }

    fn refuse(&mut self, path: ZnodePath, reason: String) {
        self.is_complete = false;
        self.outcome.end = End::Again;
        self.outcome.refusals.insert(Refusal::Rejected { path, reason });
    }

    /// The room of what did not come. What nobody knows keeps it, until it is looked at.
    fn give_back(&mut self) {
        for (path, session) in &self.reserved {
            if !matches!(self.outcome.settled.get(path), Some(Settled::Ours(_) | Settled::Unknown(_))) {
                self.sessions.release(*session, path);
            }
        }
    }
}

impl Placed {
    /// One for each of [`Op::paths`], in that order. What is created gets this ACL.
    fn requests(&self, acl: &[Acl]) -> Vec<WriteOp> {
        let version = self.version;
        let create = |path: &ZnodePath, data: &Bytes| {
            WriteOp::Create2(CreateRequest {
                path: path.as_str().to_owned(),
                data: Some(data.clone()),
                acl: acl.to_vec(),
                mode: CreateMode::Ephemeral,
            })
        };
        let delete =
            |path: &ZnodePath| WriteOp::Delete(DeleteRequest { path: path.as_str().to_owned(), version });
        match &self.op {
            Op::Create(path, data) => vec![create(path, data)],
            Op::Set(path, data) => vec![WriteOp::SetData(SetDataRequest {
                path: path.as_str().to_owned(),
                data: Some(data.clone()),
                version,
            })],
            Op::Delete(path) => vec![delete(path)],
            Op::Swap { create: path, data, delete: old } => vec![create(path, data), delete(old)],
        }
    }
}

fn stop(error: &WriteError) -> Stop {
    tracing::debug!("a change was cut short: {error}");
    Stop(if matches!(error, WriteError::Fenced) { End::Fenced } else { End::Again })
}

/// Cuts ops into multis.
fn batches(ops: Vec<Placed>) -> Vec<Vec<Placed>> {
    let (mut batches, mut bytes) = (vec![Vec::new()], 0);
    for placed in ops {
        let more = placed.op.bytes();
        let last = batches.last().map_or(0, Vec::len);
        if last > 0 && (bytes + more > MULTI_BYTES || last == MULTI_OPS) {
            batches.push(Vec::new());
            bytes = 0;
        }
        bytes += more;
        if let Some(batch) = batches.last_mut() {
            batch.push(placed);
        }
    }
    batches
}

#[cfg(test)]
#[path = "write_test.rs"]
mod tests;
