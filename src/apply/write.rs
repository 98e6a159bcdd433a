//! Carries out the changes of one Service.
//!
//! A step is over when each of its ops is settled: done, refused, or found to be done already. Only then
//! does the next begin, so that deletes wait for all creates. A lost connection is waited for; an answer
//! that was lost with it is found out by reading.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use zk_wire::acl::Acl;
use zk_wire::codes::{CreateMode, ErrorCode};
use zk_wire::ids::SessionId;
use zk_wire::multi::{MultiResult, WriteOp};
use zk_wire::request::{CreateRequest, DeleteRequest, SetDataRequest};

use crate::model::{Fingerprint, ZnodePath};
use crate::plan::{Changes, Op, Refusal, Steps, steps};
use crate::session::{Owned, Pool, WriteError};

/// What became of a change.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Directories that exist now.
    pub(super) directories: BTreeSet<ZnodePath>,
    /// Leaves that we hold now, or do not hold any more.
    pub(super) settled: BTreeMap<ZnodePath, Option<Owned>>,
    /// Leaves that could not be written, and why.
    pub(super) refusals: BTreeSet<Refusal>,
    /// How it ended.
    pub(super) end: End,
}

/// How a change ended.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum End {
    /// Every op is settled.
    #[default]
    Done,
    /// Something went wrong that may pass; plan again, a little later.
    Again,
    /// Another process leads.
    Fenced,
}

/// The longest multi, in bytes: a quarter of what servers accept.
const MULTI_BYTES: usize = 256 * 1024;
/// The most ops of a multi: a failure names one culprit, and the rest is sent again.
const MULTI_OPS: usize = 500;
/// Attempts at one multi before its Service is planned anew.
const ATTEMPTS: usize = 64;

/// Carries out `changes`; `held` is what we hold of this Service.
pub(super) async fn write(pool: Pool, changes: Changes, held: BTreeMap<ZnodePath, Owned>) -> Outcome {
    let Steps { directories, steps } = steps(changes);
    let mut writer = Writer { pool, held, outcome: Outcome::default() };
    writer.outcome.end = match writer.run(directories, steps).await {
        Ok(()) => End::Done,
        Err(end) => end,
    };
    writer.outcome
}

struct Writer {
    pool: Pool,
    held: BTreeMap<ZnodePath, Owned>,
    outcome: Outcome,
}

/// An op with the session that carries it out, and the version that it expects.
#[derive(Debug, Clone)]
struct Placed {
    op: Op,
    version: i32,
}

impl Writer {
    async fn run(&mut self, directories: BTreeSet<ZnodePath>, steps: Vec<Vec<Op>>) -> Result<(), End> {
        for directory in directories {
            self.ensure(directory).await?;
        }
        for step in steps {
            for (session, ops) in self.place(step).await? {
                for batch in batches(ops) {
                    self.batch(session, batch).await?;
                }
            }
        }
        Ok(())
    }

    async fn ensure(&mut self, directory: ZnodePath) -> Result<(), End> {
        match self.pool.ensure_directory(&directory).await {
            Ok(()) => {
                self.outcome.directories.insert(directory);
                Ok(())
            }
            Err(WriteError::Refused(error)) => {
                let refusal = Refusal::Rejected { path: directory, reason: error.to_string() };
                self.outcome.refusals.insert(refusal);
                Err(End::Again)
            }
            Err(error) => Err(end_of(&error)),
        }
    }

    /// Finds each op its session. Leaves that are not ours any more are dropped from the plan: somebody
    /// replaced them, and they are his.
    async fn place(&mut self, step: Vec<Op>) -> Result<BTreeMap<SessionId, Vec<Placed>>, End> {
        let mut placed: BTreeMap<SessionId, Vec<Placed>> = BTreeMap::new();
        let (creates, others): (Vec<_>, Vec<_>) =
            step.into_iter().partition(|op| matches!(op, Op::Create(..)));
        for op in creates {
            match self.pool.place(op.path()).await {
                Ok(session) => placed.entry(session).or_default().push(Placed { op, version: -1 }),
                Err(error) => {
                    let reason = error.to_string();
                    self.outcome.refusals.insert(Refusal::OverBudget { path: op.path().clone(), reason });
                }
            }
        }
        let paths: Vec<_> = others.iter().map(|op| op.path().clone()).collect();
        let stats = if paths.is_empty() {
            Vec::new()
        } else {
            self.pool.stats(&paths).await.map_err(|e| end_of(&e))?
        };
        for (op, stat) in others.into_iter().zip(stats) {
            let Some(owned) = self.held.get(op.path()).copied() else { continue };
            match stat {
                Some(stat) if stat.czxid == owned.czxid && stat.ephemeral_owner == owned.session => {
                    placed.entry(owned.session).or_default().push(Placed { op, version: stat.version });
                }
                _ => self.lost(op.path().clone(), owned.session),
            }
        }
        Ok(placed)
    }

    /// Sends one multi until each of its ops is settled.
    async fn batch(&mut self, session: SessionId, ops: Vec<Placed>) -> Result<(), End> {
        let mut ops: VecDeque<Placed> = ops.into();
        for _ in 0..ATTEMPTS {
            if ops.is_empty() {
                return Ok(());
            }
            match self.pool.write(session, ops.iter().map(Placed::request).collect()).await {
                Ok(results) => {
                    for (placed, result) in ops.drain(..).zip(results) {
                        self.done(session, placed, &result);
                    }
                }
                Err(WriteError::Culprit { index, code }) => {
                    if let Some(culprit) = ops.remove(index) {
                        ops.extend(self.culprit(session, culprit, code).await?);
                    }
                }
                Err(WriteError::Unknown(lost)) => {
                    tracing::debug!(%lost, "finding out what was written");
                    let mut rest = VecDeque::new();
                    for placed in ops.drain(..) {
                        rest.extend(self.find_out(session, placed).await?);
                    }
                    ops = rest;
                }
                Err(WriteError::Refused(error)) => {
                    for Placed { op, .. } in ops.drain(..) {
                        self.reject(session, &op, error.to_string());
                    }
                }
                Err(error @ (WriteError::Expired(_) | WriteError::Fenced)) => return Err(end_of(&error)),
            }
        }
        Err(End::Again)
    }

    fn done(&mut self, session: SessionId, Placed { op, .. }: Placed, result: &MultiResult) {
        let owned = match (&op, result) {
            (Op::Create(_, data), MultiResult::Create2(_, stat)) => Some(owned(session, stat, data)),
            (Op::Set(_, data), MultiResult::SetData(stat)) => Some(owned(session, stat, data)),
            (Op::Delete(path), MultiResult::Delete) => {
                self.pool.release(session, path);
                None
            }
            // A server that answers otherwise is not believed; the next plan reads.
            _ => {
                self.outcome.end = End::Again;
                return;
            }
        };
        self.outcome.settled.insert(op.path().clone(), owned);
    }

    /// Why one op failed, and what to send instead of it.
    async fn culprit(
        &mut self,
        session: SessionId,
        placed: Placed,
        code: ErrorCode,
    ) -> Result<Option<Placed>, End> {
        match (&placed.op, code) {
            (Op::Create(path, _), ErrorCode::NoNode) => {
                if let Some(directory) = path.parent() {
                    self.ensure(directory).await?;
                }
                Ok(Some(placed))
            }
            (_, ErrorCode::NodeExists | ErrorCode::NoNode | ErrorCode::BadVersion) => {
                self.find_out(session, placed).await
            }
            (op, code) => {
                self.reject(session, op, code.to_string());
                Ok(None)
            }
        }
    }

    /// Reads what is there, and says what is still to be done.
    async fn find_out(&mut self, session: SessionId, placed: Placed) -> Result<Option<Placed>, End> {
        let path = placed.op.path().clone();
        let found = self.pool.read(&path).await.map_err(|error| end_of(&error))?;
        match (placed.op, found) {
            (Op::Create(_, data), None) => Ok(Some(Placed { op: Op::Create(path, data), version: -1 })),
            (Op::Create(_, data) | Op::Set(_, data), Some((is, stat)))
                if self.pool.owns(stat.ephemeral_owner) =>
            {
                if stat.ephemeral_owner != session {
                    // It is ours, in another session; what was reserved here is not needed.
                    self.pool.release(session, &path);
                }
                let owned = owned(stat.ephemeral_owner, &stat, &is);
                self.outcome.settled.insert(path.clone(), Some(owned));
                self.held.insert(path.clone(), owned);
                if is == data {
                    return Ok(None);
                }
                if stat.ephemeral_owner != session {
                    return Err(End::Again);
                }
                Ok(Some(Placed { op: Op::Set(path, data), version: stat.version }))
            }
            (Op::Create(..), Some((_, stat))) => {
                self.pool.release(session, &path);
                let holder = match stat.ephemeral_owner {
                    SessionId::NONE => "a persistent znode that is not ours".to_owned(),
                    other => format!("session {other}, which is not ours"),
                };
                self.outcome.refusals.insert(Refusal::Conflict { path, holder });
                Ok(None)
            }
            (Op::Delete(_), Some((_, stat))) if stat.ephemeral_owner == session => {
                Ok(Some(Placed { op: Op::Delete(path), version: stat.version }))
            }
            (Op::Set(..) | Op::Delete(_), _) => {
                self.lost(path, session);
                Ok(None)
            }
        }
    }

    /// We do not hold this leaf any more.
    fn lost(&mut self, path: ZnodePath, session: SessionId) {
        self.pool.release(session, &path);
        self.outcome.settled.insert(path, None);
    }

    fn reject(&mut self, session: SessionId, op: &Op, reason: String) {
        if matches!(op, Op::Create(..)) {
            self.pool.release(session, op.path());
        }
        self.outcome.refusals.insert(Refusal::Rejected { path: op.path().clone(), reason });
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

fn owned(session: SessionId, stat: &zk_wire::stat::Stat, data: &Bytes) -> Owned {
    Owned { session, czxid: stat.czxid, version: stat.version, fingerprint: Fingerprint::of(data) }
}

fn end_of(error: &WriteError) -> End {
    match error {
        WriteError::Fenced => End::Fenced,
        WriteError::Expired(_)
        | WriteError::Unknown(_)
        | WriteError::Culprit { .. }
        | WriteError::Refused(_) => End::Again,
    }
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
mod tests {
    use super::*;

    #[test]
    fn multis_are_bounded_in_bytes_and_ops_and_lose_nothing() {
        let op = |n: usize, size: usize| Placed {
            op: Op::Create(ZnodePath::new(&format!("/n{n}")).unwrap(), vec![0; size].into()),
            version: -1,
        };
        let small: Vec<_> = (0..1_200).map(|n| op(n, 1)).collect();
        let sizes: Vec<_> = batches(small).iter().map(Vec::len).collect();
        assert_eq!(sizes, [500, 500, 200]);
        let large: Vec<_> = (0..9).map(|n| op(n, 100_000)).collect();
        let sizes: Vec<_> = batches(large).iter().map(Vec::len).collect();
        assert_eq!(sizes, [2, 2, 2, 2, 1]);
    }
}
