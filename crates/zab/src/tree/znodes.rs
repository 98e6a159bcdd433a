//! All znodes, by path and by number. One small allocation for each holds its bytes; what points to them lies in
//! large chunks, and a list of children is a list of numbers.

use std::collections::HashMap;
use std::hash::BuildHasher;

use hashbrown::HashTable;

use super::node::Node;

/// A znode's number: its place. The numbers of deleted znodes are used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeId(pub(super) u32);

/// The znodes of a tree.
#[derive(Debug, Clone)]
pub struct Znodes {
    /// Full but for the last one. They never move, so that no growth takes long.
    chunks: Vec<Vec<Option<Node>>>,
    free: Vec<NodeId>,
    /// By the hash of the path. Many small tables, so that no growth of one takes long.
    by_path: Vec<HashTable<NodeId>>,
    /// Lends its hash function, which nobody outside can predict. No order ever follows from it.
    hashing: HashMap<(), ()>,
    len: usize,
}

const CHUNK: usize = 1 << 10;
const TABLES: usize = 1 << 8;

impl Default for Znodes {
    fn default() -> Self {
        Znodes {
            chunks: Vec::new(),
            free: Vec::new(),
            by_path: (0..TABLES).map(|_| HashTable::new()).collect(),
            hashing: HashMap::new(),
            len: 0,
        }
    }
}

impl Znodes {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// None?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The number of the znode at a path.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<NodeId> {
        let hash = self.hashing.hasher().hash_one(path.as_bytes());
        let is_it = |id: &NodeId| self.node(*id).is_some_and(|node| node.is_at(path));
        self.by_path[table(hash)].find(hash, is_it).copied()
    }

    /// The znode at a path.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Node> {
        self.find(path).and_then(|id| self.node(id))
    }

    /// The znode at a path, to be changed.
    pub fn get_mut(&mut self, path: &str) -> Option<&mut Node> {
        self.find(path).and_then(|id| self.node_mut(id))
    }

    /// The znode of a number.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        node(&self.chunks, id)
    }

    /// The znode of a number, to be changed.
    pub fn node_mut(&mut self, NodeId(id): NodeId) -> Option<&mut Node> {
        self.chunks.get_mut(id as usize / CHUNK)?.get_mut(id as usize % CHUNK)?.as_mut()
    }

    /// Adds a znode, at whose path there is none.
    ///
    /// # Panics
    /// There are 2^32 znodes already, which no memory holds.
    pub fn insert(&mut self, added: Node) -> NodeId {
        let hash = self.hashing.hasher().hash_one(added.path_bytes());
        let id = self.place(added);
        let (chunks, hasher) = (&self.chunks, self.hashing.hasher());
        let hash_of =
            |id: &NodeId| hasher.hash_one(node(chunks, *id).map(Node::path_bytes).unwrap_or_default());
        self.by_path[table(hash)].insert_unique(hash, id, hash_of);
        self.len += 1;
        id
    }

    fn place(&mut self, node: Node) -> NodeId {
        if let Some(id) = self.free.pop() {
            self.chunks[id.0 as usize / CHUNK][id.0 as usize % CHUNK] = Some(node);
            return id;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let before = (self.chunks.len() - 1) * CHUNK;
        let chunk = self.chunks.last_mut().expect("one was pushed if there was none");
        chunk.push(Some(node));
        NodeId(u32::try_from(before + chunk.len() - 1).expect("fewer than 2^32 znodes"))
    }

    /// Removes the znode at a path.
    pub fn remove(&mut self, path: &str) -> Option<(NodeId, Node)> {
        let hash = self.hashing.hasher().hash_one(path.as_bytes());
        let (chunks, by_path) = (&self.chunks, &mut self.by_path[table(hash)]);
        let entry =
            by_path.find_entry(hash, |id| node(chunks, *id).is_some_and(|node| node.is_at(path))).ok()?;
        let (id, _) = entry.remove();
        let node = self.chunks[id.0 as usize / CHUNK][id.0 as usize % CHUNK].take()?;
        self.free.push(id);
        self.len -= 1;
        Some((id, node))
    }
}

fn node(chunks: &[Vec<Option<Node>>], NodeId(id): NodeId) -> Option<&Node> {
    chunks.get(id as usize / CHUNK)?.get(id as usize % CHUNK)?.as_ref()
}

/// The tables share the hash's low bits with nobody: within a table its other bits decide.
fn table(hash: u64) -> usize {
    // The seven highest bits and the low ones are hashbrown's.
    (hash >> 40) as usize % TABLES
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn with(path: &str, data: &[u8]) -> Node {
        Node::new(path, Some(data), 0, &Default::default())
    }

    proptest! {
        /// Beside a map that is surely right, over few paths, so that they come and go.
        #[test]
        fn znodes_are_a_map(steps in prop::collection::vec((0..40u32, any::<Option<u8>>()), 0..300)) {
            let (mut znodes, mut expected) = (Znodes::default(), BTreeMap::new());
            for (path, step) in steps {
                let path = format!("/{path}");
                match step {
                    Some(data) if !expected.contains_key(&path) => {
                        let id = znodes.insert(with(&path, &[data]));
                        prop_assert_eq!(znodes.find(&path), Some(id));
                        expected.insert(path, data);
                    }
                    _ => {
                        let removed = znodes.remove(&path).map(|(_, node)| node.data().unwrap()[0]);
                        prop_assert_eq!(removed, expected.remove(&path));
                    }
                }
            }
            prop_assert_eq!(znodes.len(), expected.len());
            for path in (0..40).map(|path| format!("/{path}")) {
                let found = znodes.get(&path).map(|node| node.data().unwrap()[0]);
                prop_assert_eq!(found, expected.get(&path).copied());
            }
        }
    }

    #[test]
    fn growth_keeps_everything_and_places_are_used_again() {
        let mut znodes = Znodes::default();
        let many = 3 * CHUNK;
        let ids: Vec<NodeId> = (0..many).map(|n| znodes.insert(with(&format!("/{n}"), b"x"))).collect();
        for (n, id) in ids.iter().enumerate() {
            assert_eq!(znodes.find(&format!("/{n}")), Some(*id));
        }
        for n in (0..many).step_by(2) {
            assert_eq!(znodes.remove(&format!("/{n}")).map(|(id, _)| id), Some(ids[n]));
        }
        for n in 0..many / 2 {
            znodes.insert(with(&format!("/again/{n}"), b"y"));
        }
        assert_eq!((znodes.len(), znodes.chunks.len()), (many, 3));
    }
}
