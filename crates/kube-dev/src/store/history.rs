//! What happened lately, for watches that resume.

use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::Value;

use crate::error::ApiError;
use crate::kinds::Kind;

/// The last writes, oldest first, and how far back they reach.
#[derive(Debug, Clone)]
pub(super) struct History {
    changes: VecDeque<Change>,
    /// Changes up to this revision are forgotten.
    compacted: u64,
    limit: usize,
}

/// One write.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) revision: u64,
    pub(crate) kind: &'static Kind,
    /// The object before; none if it was created. If it was deleted, its last state under the revision of
    /// the delete.
    pub(crate) before: Option<Arc<Value>>,
    /// The object after; none if it was deleted.
    pub(crate) after: Option<Arc<Value>>,
}

impl History {
    pub(super) fn new(limit: usize) -> Self {
        History { changes: VecDeque::new(), compacted: 0, limit }
    }

    pub(super) fn push(&mut self, change: Change) {
        self.changes.push_back(change);
        while self.changes.len() > self.limit {
            if let Some(forgotten) = self.changes.pop_front() {
                self.compacted = forgotten.revision;
            }
        }
    }

    /// Changes after a revision, oldest first.
    ///
    /// # Errors
    /// 410: some of them are forgotten.
    pub(super) fn after(&self, revision: u64) -> Result<impl Iterator<Item = &Change>, ApiError> {
        if revision < self.compacted {
            let message = format!("too old resource version: {revision} ({})", self.compacted);
            return Err(ApiError::gone(message));
        }
        Ok(self.changes.iter().filter(move |change| change.revision > revision))
    }
}
