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

/// The writes of one change, in order: all of a step are acknowledged before the next one begins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Steps {
    /// Directories to ensure, parents first.
    pub directories: BTreeSet<ZnodePath>,
    /// Writes, step by step.
    pub steps: Vec<Vec<Op>>,
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
    let Changes { directories, creates, sets, deletes } = changes;
    let creates = creates.into_iter().map(|(path, data)| Op::Create(path, data));
    let sets = sets.into_iter().map(|(path, data)| Op::Set(path, data));
    let mut steps: Vec<Vec<Op>> =
        vec![creates.chain(sets).collect(), deletes.into_iter().map(Op::Delete).collect()];
    if cfg!(feature = "delete-first") {
        steps.reverse();
    }
    steps.retain(|step| !step.is_empty());
    Steps { directories, steps }
}
