//! A way through all znodes that may pause while the tree changes.

use super::node::Node;
use super::znodes::NodeId;
use super::{ROOT, Tree};

/// Where a walk through a tree has come to. Parents come before their children.
///
/// Between two steps transactions may be applied. What is visited is then no state that the tree ever had, but
/// that of the first step once the transactions since are applied to it again: a znode that is there from the
/// first step to the last is visited once, one that comes or goes meanwhile once or not at all. Upstream:
/// `DataTree.serializeNode`, the reason for fuzzy snapshots.
///
/// Memory grows with the tree's depth. A step costs a look into the parent's children, however many they are.
#[derive(Debug, Default)]
pub struct Walk {
    path: String,
    levels: Vec<Level>,
    begun: bool,
}

/// A znode whose children are being visited.
#[derive(Debug)]
struct Level {
    /// Bytes of `path` that are this znode's.
    length: usize,
    /// The last child visited.
    after: Option<NodeId>,
}

impl Walk {
    /// The next znode with its path; the root's is empty, as in snapshots. `None` at the end.
    pub fn step<'a>(&'a mut self, tree: &'a Tree) -> Option<(&'a str, Node<'a>)> {
        if !std::mem::replace(&mut self.begun, true) {
            self.levels.push(Level { length: 0, after: None });
            return Some(("", tree.get(ROOT)?));
        }
        loop {
            let level = self.levels.last_mut()?;
            self.path.truncate(level.length);
            let parent = tree.get(&self.path);
            let Some(child) = parent.and_then(|parent| parent.children.behind(level.after)) else {
                self.levels.pop();
                continue;
            };
            level.after = Some(child);
            if let Some(node) = tree.nodes.node(child) {
                self.path.clear();
                self.path.push_str(node.path());
                if !node.children.is_empty() {
                    self.levels.push(Level { length: self.path.len(), after: None });
                }
                return Some((&self.path, node));
            }
        }
    }
}
