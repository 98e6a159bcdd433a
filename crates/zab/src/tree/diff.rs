//! What is different between two trees.

use super::node::Node;
use super::{ROOT, Tree};

/// A znode that is not the same in both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Its path.
    pub path: String,
    /// In what it differs.
    pub kind: DifferenceKind,
}

/// In what a znode differs. That others came or went below it is no difference of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DifferenceKind {
    /// Only the later tree has it.
    Created,
    /// Only the earlier tree has it.
    Deleted,
    /// Both have it, but it was deleted and created again in between.
    Recreated,
    /// It was set.
    Changed {
        /// Its data, also if to the same value.
        data: bool,
        /// Its ACL.
        acl: bool,
    },
}

/// What happened to the znodes between two trees of one history, by path.
#[must_use]
pub fn diff(earlier: &Tree, later: &Tree) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut note = |path: &str, kind| {
        let path = if path.is_empty() { ROOT } else { path }.to_owned();
        found.push(Difference { path, kind });
    };
    let Ok::<(), std::convert::Infallible>(()) = later.walk(|path, now| {
        let now = now.persisted();
        let kind = match earlier.get(path).map(Node::persisted) {
            None => Some(DifferenceKind::Created),
            Some(before) if before.czxid != now.czxid => Some(DifferenceKind::Recreated),
            Some(before) => {
                let data = before.mzxid != now.mzxid;
                let acl = before.aversion != now.aversion;
                (data || acl).then_some(DifferenceKind::Changed { data, acl })
            }
        };
        kind.into_iter().for_each(|kind| note(path, kind));
        Ok(())
    });
    let Ok::<(), std::convert::Infallible>(()) = earlier.walk(|path, _| {
        if later.get(path).is_none() {
            note(path, DifferenceKind::Deleted);
        }
        Ok(())
    });
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}
