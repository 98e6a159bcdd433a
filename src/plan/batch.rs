//! Changes in the order in which consumers may see them: first what appears, last what goes.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::diff::Changes;
use crate::model::{Companion, ZnodePath};

/// One write of a leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// It appears.
    Create(ZnodePath, Bytes),
    /// Its data changes.
    Set(ZnodePath, Bytes),
    /// It goes.
    Delete(ZnodePath),
    /// One appears as another one goes, in one transaction: whoever watches is told once, and sees one of them.
    Swap {
        /// What appears.
        create: ZnodePath,
        /// With these data.
        data: Bytes,
        /// What goes.
        delete: ZnodePath,
    },
}

/// The writes of one change, in order: all of a step are settled before the next one begins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Steps {
    /// Companions to make sure of, before the first leaf.
    pub companions: BTreeSet<Companion>,
    /// Writes, step by step.
    pub steps: Vec<Step>,
}

/// Writes that may happen in any order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The writes.
    pub ops: Vec<Op>,
    /// Only if every op of the earlier steps was carried out: these leaves stand for endpoints that are still
    /// ready, under names that the earlier steps replace.
    pub needs_all: bool,
}

impl Op {
    /// The leaf that it creates.
    #[must_use]
    pub fn creates(&self) -> Option<&ZnodePath> {
        match self {
            Op::Create(path, _) | Op::Swap { create: path, .. } => Some(path),
            Op::Set(..) | Op::Delete(_) => None,
        }
    }

    /// The leaf that must be there.
    #[must_use]
    pub fn needs(&self) -> Option<&ZnodePath> {
        match self {
            Op::Set(path, _) | Op::Delete(path) | Op::Swap { delete: path, .. } => Some(path),
            Op::Create(..) => None,
        }
    }

    /// What is left of it if the leaf that must be there is not.
    #[must_use]
    pub fn without_needs(self) -> Option<Op> {
        match self {
            Op::Create(path, data) | Op::Swap { create: path, data, .. } => Some(Op::Create(path, data)),
            Op::Set(..) | Op::Delete(_) => None,
        }
    }

    /// Each leaf that it is about.
    pub fn paths(&self) -> impl Iterator<Item = &ZnodePath> {
        self.creates().into_iter().chain(self.needs())
    }

    /// About what it takes in a request.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let data = match self {
            Op::Create(_, data) | Op::Set(_, data) | Op::Swap { data, .. } => data.len(),
            Op::Delete(_) => 0,
        };
        data + self.paths().map(|path| 64 + path.as_str().len()).sum::<usize>()
    }
}

/// Orders changes: creates and sets before deletes, so that no reader sees a list that lacks a ready
/// endpoint. What gets another name beside its old one is created and deleted at once.
///
/// The feature `delete-first` turns that around, and starts over with each change. It exists so that a test
/// can show that its recorder sees the difference; nobody else wants it.
#[must_use]
pub fn steps(changes: Changes) -> Steps {
    let Changes { companions, creates, sets, gone, mut replaced, swaps } = changes;
    let mut olds: BTreeMap<_, _> =
        swaps.into_iter().filter(|(old, _)| replaced.remove(old)).map(|(old, new)| (new, old)).collect();
    let creates = creates.into_iter().map(|(path, data)| match olds.remove(&path) {
        Some(delete) => Op::Swap { create: path, data, delete },
        None => Op::Create(path, data),
    });
    let sets = sets.into_iter().map(|(path, data)| Op::Set(path, data));
    let deletes = |paths: BTreeSet<ZnodePath>| paths.into_iter().map(Op::Delete).collect();
    let mut steps = vec![
        Step { ops: creates.chain(sets).collect(), needs_all: false },
        Step { ops: deletes(gone), needs_all: false },
        Step { ops: deletes(replaced), needs_all: true },
    ];
    if cfg!(feature = "delete-first") {
        steps.reverse();
    }
    steps.retain(|step| !step.ops.is_empty());
    Steps { companions, steps }
}
