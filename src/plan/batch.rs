//! Changes in the order in which consumers may see them: first what appears, last what goes.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::diff::Changes;
use crate::model::ZnodePath;

/// One write of a leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// It appears.
    Create(ZnodePath, Bytes),
    /// Its data changes.
    Set(ZnodePath, Bytes),
    /// It goes.
    Delete(ZnodePath),
}

/// The writes of one change, in order: all of a step are settled before the next one begins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Steps {
    /// Directories to ensure, parents first.
    pub directories: BTreeSet<ZnodePath>,
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
    /// The leaf.
    #[must_use]
    pub fn path(&self) -> &ZnodePath {
        match self {
            Op::Create(path, _) | Op::Set(path, _) | Op::Delete(path) => path,
        }
    }

    /// About what it takes in a request.
    #[must_use]
    pub fn bytes(&self) -> usize {
        64 + self.path().as_str().len()
            + match self {
                Op::Create(_, data) | Op::Set(_, data) => data.len(),
                Op::Delete(_) => 0,
            }
    }
}

/// Orders changes: creates and sets before deletes, so that no reader sees a list that lacks a ready
/// endpoint.
///
/// The feature `delete-first` turns that around, and starts over with each change. It exists so that a test
/// can show that its recorder sees the difference; nobody else wants it.
#[must_use]
pub fn steps(changes: Changes) -> Steps {
    let Changes { directories, creates, sets, gone, replaced } = changes;
    let creates = creates.into_iter().map(|(path, data)| Op::Create(path, data));
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
    Steps { directories, steps }
}
