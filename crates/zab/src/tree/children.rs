//! The children of a znode: a set of numbers.

use roaring::RoaringBitmap;

use super::znodes::NodeId;

/// The numbers of a znode's children, in no order that means anything.
#[derive(Debug, Clone)]
pub struct Children(Set);

/// Few numbers are shorter in a row; of many, a bitmap holds two bytes each or less.
#[derive(Debug, Clone)]
enum Set {
    /// In order.
    Few(Vec<NodeId>),
    Many(RoaringBitmap),
}

/// A row of more than this becomes a bitmap, which becomes a row again at half of it.
const FEW: usize = 64;

impl Default for Children {
    fn default() -> Self {
        Children::new()
    }
}

impl Children {
    /// None. Nothing is allocated for them.
    #[must_use]
    pub const fn new() -> Children {
        Children(Set::Few(Vec::new()))
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.0 {
            Set::Few(ids) => ids.len(),
            // There are fewer than 2^32 znodes.
            Set::Many(ids) => ids.len() as usize,
        }
    }

    /// None?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(&self.0, Set::Few(ids) if ids.is_empty())
    }

    /// One more.
    pub fn insert(&mut self, child: NodeId) {
        match &mut self.0 {
            Set::Few(ids) => {
                if let Err(place) = ids.binary_search(&child) {
                    if ids.is_empty() {
                        ids.reserve_exact(1);
                    }
                    ids.insert(place, child);
                }
                if ids.len() > FEW {
                    self.0 = Set::Many(ids.iter().map(|id| id.0).collect());
                }
            }
            Set::Many(ids) => {
                ids.insert(child.0);
            }
        }
    }

    /// One less.
    pub fn remove(&mut self, child: NodeId) {
        match &mut self.0 {
            Set::Few(ids) => {
                if let Ok(place) = ids.binary_search(&child) {
                    ids.remove(place);
                }
            }
            Set::Many(ids) => {
                ids.remove(child.0);
                if ids.len() <= FEW as u64 / 2 {
                    self.0 = Set::Few(ids.iter().map(NodeId).collect());
                }
            }
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = NodeId> {
        let (few, many) = match &self.0 {
            Set::Few(ids) => (Some(ids), None),
            Set::Many(ids) => (None, Some(ids)),
        };
        few.into_iter().flatten().copied().chain(many.into_iter().flatten().map(NodeId))
    }

    /// The first behind `after`, or the first of all.
    #[must_use]
    pub fn behind(&self, after: Option<NodeId>) -> Option<NodeId> {
        let from = match after {
            None => 0,
            Some(NodeId(id)) => id.checked_add(1)?,
        };
        match &self.0 {
            Set::Few(ids) => ids.get(ids.partition_point(|id| id.0 < from)).copied(),
            Set::Many(ids) => ids.range(from..).next().map(NodeId),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        /// Beside a set that is surely right, over sizes on both sides of the change.
        #[test]
        fn children_are_a_set(steps in prop::collection::vec((0..150u32, prop::bool::weighted(0.6)), 0..600)) {
            let (mut children, mut expected) = (Children::default(), BTreeSet::new());
            for (id, added) in steps {
                if added {
                    children.insert(NodeId(id));
                    expected.insert(NodeId(id));
                } else {
                    children.remove(NodeId(id));
                    expected.remove(&NodeId(id));
                }
                prop_assert_eq!((children.len(), children.is_empty()), (expected.len(), expected.is_empty()));
                prop_assert_eq!(children.behind(None), expected.first().copied());
                let behind = expected.range(NodeId(id + 1)..).next();
                prop_assert_eq!(children.behind(Some(NodeId(id))), behind.copied());
            }
            prop_assert!(children.iter().eq(expected));
        }
    }

    #[test]
    fn children_are_visited_once_each_however_the_visit_pauses() {
        for many in [10, 1_000] {
            let mut children = Children::default();
            assert!(children.is_empty() && children.behind(None).is_none());
            (0..many).for_each(|id| children.insert(NodeId(id)));
            let (mut seen, mut after) = (vec![], None);
            while let Some(id) = children.behind(after) {
                seen.push(id.0);
                after = Some(id);
                children.remove(id);
            }
            assert_eq!(seen, (0..many).collect::<Vec<_>>());
            assert!(children.is_empty());
        }
    }

    #[test]
    fn the_last_number_has_nothing_behind_it() {
        let mut children = Children::default();
        children.insert(NodeId(u32::MAX));
        assert_eq!(children.behind(Some(NodeId(u32::MAX - 1))), Some(NodeId(u32::MAX)));
        assert_eq!(children.behind(Some(NodeId(u32::MAX))), None);
    }
}
