//! Carries out the changes of one Service, once. What could not be carried out, or whose answer was lost, is
//! said, not tried again: whoever planned it looks, and plans anew.
//!
//! A step begins when each op of the one before is settled, so that deletes wait for all creates.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use zk_wire::acl::Acl;
use zk_wire::codes::{CreateMode, ErrorCode};
use zk_wire::ids::SessionId;
use zk_wire::multi::{MultiResult, WriteOp};
use zk_wire::request::{CreateRequest, DeleteRequest, SetDataRequest};

use super::ledger::{Change, Settled};
use crate::model::ZnodePath;
use crate::plan::{Op, Refusal, Step, Steps, steps};
use crate::session::{Owned, PlaceError, Sessions, WriteError};

/// What became of a change.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Directories that exist now.
    pub(super) directories: BTreeSet<ZnodePath>,
    /// Leaves that were carried out, or must be looked at. What is not in here is as it was.
    pub(super) settled: BTreeMap<ZnodePath, Settled>,
    /// Leaves that could not be written, and why.
    pub(super) refusals: BTreeSet<Refusal>,
    /// How it ended.
    pub(super) end: End,
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

/// Carries out a change.
pub(super) async fn write(sessions: impl Sessions, change: Change) -> Outcome {
    let Change { changes, held } = change;
    let mut writer = Writer {
        sessions,
        held,
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
    /// Creates that have a place.
    reserved: BTreeMap<ZnodePath, SessionId>,
    /// Directories that cannot be had.
    blocked: BTreeSet<ZnodePath>,
    /// Were all ops so far carried out?
    is_complete: bool,
    outcome: Outcome,
}

/// Nothing more is tried now.
struct Stop(End);

/// An op with the version that it expects.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Placed {
    op: Op,
    version: i32,
}

impl<S: Sessions> Writer<S> {
    async fn run(&mut self, Steps { directories, steps }: Steps) -> Result<(), Stop> {
        for directory in directories {
            self.ensure(directory).await?;
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

    /// A directory that the server refuses blocks what is below it, and nothing else.
    async fn ensure(&mut self, directory: ZnodePath) -> Result<(), Stop> {
        match self.sessions.ensure_directory(&directory).await {
            Ok(()) => {
                self.outcome.directories.insert(directory);
            }
            Err(WriteError::Refused(error)) => {
                self.refuse(directory.clone(), error.to_string());
                self.blocked.insert(directory);
            }
            Err(error) => return Err(stop(&error)),
        }
        Ok(())
    }

    /// Finds each op its session. What was refused, or is not as we believe, is left out.
    async fn place(&mut self, ops: Vec<Op>) -> Result<BTreeMap<SessionId, Vec<Placed>>, Stop> {
        let mut placed: BTreeMap<SessionId, Vec<Placed>> = BTreeMap::new();
        let mut others: BTreeMap<SessionId, Vec<Op>> = BTreeMap::new();
        for op in ops {
            match (&op, self.held.get(op.path())) {
                (Op::Create(path, _), _) => {
                    if let Some(session) = self.place_create(path).await {
                        placed.entry(session).or_default().push(Placed { op, version: -1 });
                    }
                }
                (_, Some(owned)) => others.entry(owned.session).or_default().push(op),
                // Not ours: a plan never asks for that.
                (_, None) => self.settle(op.path().clone(), Settled::Moved),
            }
        }
        for (session, ops) in others {
            let paths: Vec<_> = ops.iter().map(|op| op.path().clone()).collect();
            // Between this look and the write somebody may still replace the znode, but nobody has time to.
            let stats = self.sessions.stats(session, &paths).await.map_err(|error| stop(&error))?;
            for (op, stat) in ops.into_iter().zip(stats) {
                let owned = self.held.get(op.path()).copied();
                match stat.filter(|stat| owned.is_some_and(|owned| owned.czxid == stat.czxid)) {
                    Some(stat) => {
                        placed.entry(session).or_default().push(Placed { op, version: stat.version });
                    }
                    None => self.settle(op.path().clone(), Settled::Moved),
                }
            }
        }
        Ok(placed)
    }

    async fn place_create(&mut self, path: &ZnodePath) -> Option<SessionId> {
        if self.blocked.iter().any(|directory| path.is_below(directory)) {
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
            match self.sessions.write(session, ops.iter().map(Placed::request).collect()).await {
                Ok(results) => {
                    for (placed, result) in ops.drain(..).zip(results) {
                        self.done(placed, &result);
                    }
                }
                Err(WriteError::Culprit { index, code }) => {
                    let Some(culprit) = ops.remove(index) else { return Err(Stop(End::Again)) };
                    if code == ErrorCode::NodeExists {
                        self.set_aside_existing(session, &mut ops).await?;
                    }
                    ops.extend(self.culprit(culprit, code).await?);
                }
                Err(error @ WriteError::Unknown(_)) => {
                    for Placed { op, .. } in ops {
                        self.settle(op.path().clone(), Settled::Unknown(session));
                    }
                    return Err(stop(&error));
                }
                Err(WriteError::Refused(error)) => {
                    for Placed { op, .. } in ops.drain(..) {
                        self.refuse(op.path().clone(), error.to_string());
                    }
                }
                Err(error) => return Err(stop(&error)),
            }
        }
        Ok(())
    }

    fn done(&mut self, Placed { op, .. }: Placed, result: &MultiResult) {
        match (op, result) {
            (Op::Create(path, data), MultiResult::Create2(_, stat))
            | (Op::Set(path, data), MultiResult::SetData(stat)) => {
                self.settle(path, Settled::Ours(Owned::new(stat, Some(&data))));
            }
            (Op::Delete(path), MultiResult::Delete) => {
                if let Some(owned) = self.held.get(&path) {
                    self.sessions.release(owned.session, &path);
                }
                self.settle(path, Settled::Gone);
            }
            // A server that answers otherwise is not believed.
            (op, _) => self.settle(op.path().clone(), Settled::Moved),
        }
    }

    /// Where one create finds its znode there already, others may: all are asked at once, instead of one
    /// multi after the other.
    async fn set_aside_existing(
        &mut self,
        session: SessionId,
        ops: &mut VecDeque<Placed>,
    ) -> Result<(), Stop> {
        let is_create = |placed: &Placed| matches!(placed.op, Op::Create(..));
        let paths: Vec<_> =
            ops.iter().filter(|placed| is_create(placed)).map(|placed| placed.op.path().clone()).collect();
        let stats = self.sessions.stats(session, &paths).await.map_err(|error| stop(&error))?;
        for (path, _) in paths.into_iter().zip(stats).filter(|(_, stat)| stat.is_some()) {
            ops.retain(|placed| !(is_create(placed) && *placed.op.path() == path));
            self.settle(path, Settled::Moved);
        }
        Ok(())
    }

    /// Why one op failed, and what to send instead of it.
    async fn culprit(&mut self, placed: Placed, code: ErrorCode) -> Result<Option<Placed>, Stop> {
        match (&placed.op, code) {
            (Op::Create(path, _), ErrorCode::NoNode) => {
                // Somebody removed the directory. Once is an accident.
                let directory = path.parent().filter(|it| !self.outcome.directories.contains(it));
                if let Some(directory) = directory {
                    self.ensure(directory.clone()).await?;
                    if !self.blocked.contains(&directory) {
                        return Ok(Some(placed));
                    }
                }
                self.refuse(path.clone(), "its directory cannot be had".to_owned());
            }
            (_, ErrorCode::NodeExists | ErrorCode::NoNode | ErrorCode::BadVersion) => {
                self.settle(placed.op.path().clone(), Settled::Moved);
            }
            (op, code) => self.refuse(op.path().clone(), code.to_string()),
        }
        Ok(None)
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
    fn request(&self) -> WriteOp {
        let version = self.version;
        match &self.op {
            Op::Create(path, data) => WriteOp::Create2(CreateRequest {
                path: path.as_str().to_owned(),
                data: Some(data.clone()),
                acl: Acl::open(),
                mode: CreateMode::Ephemeral,
            }),
            Op::Set(path, data) => WriteOp::SetData(SetDataRequest {
                path: path.as_str().to_owned(),
                data: Some(data.clone()),
                version,
            }),
            Op::Delete(path) => WriteOp::Delete(DeleteRequest { path: path.as_str().to_owned(), version }),
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
