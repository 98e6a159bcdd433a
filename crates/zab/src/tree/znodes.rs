//! All znodes, by path and by number. Their bytes lie in a slab, and what points to them in large chunks; a list
//! of children is a list of numbers.

use std::collections::HashMap;
use std::hash::BuildHasher;

use hashbrown::HashTable;
use zk_wire::stat::StatPersisted;

use super::children::Children;
use super::node::Node;
use super::numbered::Numbered;
use super::packed::{self, Numbers, Packed};
use super::slab::Slab;

/// A znode's number. The numbers of deleted znodes are used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeId(pub(super) u32);

/// The znodes of a tree. Nothing in it takes long to grow.
#[derive(Debug, Clone)]
pub struct Znodes {
    /// By their numbers.
    slab: Slab,
    /// The children of those that have any, which know the number of theirs.
    children: Numbered<Children>,
    /// By the hash of the path. Many small tables, so that no growth of one takes long.
    by_path: Vec<HashTable<NodeId>>,
    /// Lends its hash function, which nobody outside can predict. No order ever follows from it.
    hashing: HashMap<(), ()>,
    len: usize,
}

const TABLES: usize = 1 << 8;

/// Those of a leaf.
static NO_CHILDREN: Children = Children::new();

impl Default for Znodes {
    fn default() -> Self {
        Znodes {
            slab: Slab::default(),
            children: Numbered::default(),
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
        let is_it = |id: &NodeId| is_at(&self.slab, *id, path);
        self.by_path[table(hash)].find(hash, is_it).copied()
    }

    /// The znode at a path.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<Node<'_>> {
        self.find(path).and_then(|id| self.node(id))
    }

    /// The znode of a number.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<Node<'_>> {
        let packed = Packed::of(&self.slab, id.0)?;
        let children = packed.children().map_or(&NO_CHILDREN, |number| &self.children[number]);
        Some(Node { packed, children })
    }

    /// Adds a znode without children, at whose path there is none.
    ///
    /// # Panics
    /// There are 2^32 znodes already, which no memory holds.
    pub fn insert(&mut self, path: &str, data: Option<&[u8]>, acl: i64, stat: &StatPersisted) -> NodeId {
        let numbers = Numbers { acl, stat: *stat, children: None };
        let id = NodeId(packed::insert(&mut self.slab, path.as_bytes(), data, &numbers));
        let (slab, hasher) = (&self.slab, self.hashing.hasher());
        let hash_of = |id: &NodeId| hasher.hash_one(Packed::of(slab, id.0).map_or(&[][..], Packed::path));
        let hash = hasher.hash_one(path.as_bytes());
        self.by_path[table(hash)].insert_unique(hash, id, hash_of);
        self.len += 1;
        id
    }

    /// Removes the znode at a path, and tells what was there to be seen in it.
    pub fn remove<T>(&mut self, path: &str, see: impl FnOnce(Node<'_>) -> T) -> Option<(NodeId, T)> {
        let hash = self.hashing.hasher().hash_one(path.as_bytes());
        let is_it = |id: &NodeId| is_at(&self.slab, *id, path);
        let (id, _) = self.by_path[table(hash)].find_entry(hash, is_it).ok()?.remove();
        let node = self.node(id)?;
        let (seen, children) = (see(node), node.packed.children());
        if let Some(children) = children {
            self.children.take(children);
        }
        self.slab.remove(id.0);
        self.tidy();
        self.len -= 1;
        Some((id, seen))
    }

    /// Another ACL, and a change of the stat.
    pub fn set_acl(&mut self, id: NodeId, acl: i64, change: impl FnOnce(&mut StatPersisted)) {
        self.update(id, None, |numbers| {
            numbers.acl = acl;
            change(&mut numbers.stat);
        });
    }

    /// A change of the stat alone.
    pub fn set_stat(&mut self, id: NodeId, change: impl FnOnce(&mut StatPersisted)) {
        self.update(id, None, |numbers| change(&mut numbers.stat));
    }

    /// Other data, and a change of the stat.
    pub fn set_data(&mut self, id: NodeId, data: Option<&[u8]>, change: impl FnOnce(&mut StatPersisted)) {
        self.update(id, Some(data), |numbers| change(&mut numbers.stat));
    }

    /// A znode has one more child.
    pub fn add_child(&mut self, parent: NodeId, child: NodeId) {
        let Some(packed) = Packed::of(&self.slab, parent.0) else {
            return;
        };
        let number = packed.children().unwrap_or_else(|| {
            let number = self.children.add(Children::new());
            self.update(parent, None, |numbers| numbers.children = Some(number));
            number
        });
        self.children[number].insert(child);
    }

    /// It has one less.
    pub fn remove_child(&mut self, parent: NodeId, child: NodeId) {
        let Some(number) = Packed::of(&self.slab, parent.0).and_then(Packed::children) else {
            return;
        };
        let children = &mut self.children[number];
        children.remove(child);
        if children.is_empty() {
            self.children.take(number);
            self.update(parent, None, |numbers| numbers.children = None);
        }
    }

    fn update(&mut self, id: NodeId, data: Option<Option<&[u8]>>, change: impl FnOnce(&mut Numbers)) {
        packed::update(&mut self.slab, id.0, data, change);
        self.tidy();
    }

    fn tidy(&mut self) {
        let (by_path, hasher) = (&self.by_path, self.hashing.hasher());
        let hash = |bytes: &[u8]| hasher.hash_one(Packed::path_in(bytes));
        self.slab.tidy(hash, |hash, is_it| {
            by_path[table(hash)].find(hash, |id| is_it(id.0)).map(|NodeId(id)| *id)
        });
    }
}

fn is_at(slab: &Slab, id: NodeId, path: &str) -> bool {
    Packed::of(slab, id.0).is_some_and(|packed| packed.path() == path.as_bytes())
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
    use std::collections::{BTreeMap, BTreeSet};
    use zk_wire::ids::Zxid;

    /// What a znode has, by the books.
    #[derive(Debug, Clone, PartialEq, Eq)]
    struct Entry {
        id: NodeId,
        data: Option<Vec<u8>>,
        acl: i64,
        stat: StatPersisted,
        children: BTreeSet<NodeId>,
    }

    impl Entry {
        fn of(id: NodeId, node: Node<'_>) -> Entry {
            let (acl, stat) = node.acl_and_stat();
            let data = node.data().map(<[u8]>::to_vec);
            Entry { id, data, acl, stat, children: node.children.iter().collect() }
        }
    }

    #[derive(Debug, Clone)]
    enum Change {
        Remove,
        Data(Option<Vec<u8>>, i64),
        Acl(i64),
        Stat(i64),
        AddChild(u32),
        RemoveChild(u32),
    }

    fn changes() -> impl Strategy<Value = Change> {
        let data = || prop::option::of(prop::collection::vec(any::<u8>(), 0..1_500));
        prop_oneof![
            2 => Just(Change::Remove),
            3 => (data(), any::<i64>()).prop_map(|(data, zxid)| Change::Data(data, zxid)),
            1 => any::<i64>().prop_map(Change::Acl),
            1 => any::<i64>().prop_map(Change::Stat),
            3 => (0..5u32).prop_map(Change::AddChild),
            2 => (0..5u32).prop_map(Change::RemoveChild),
        ]
    }

    proptest! {
        /// Beside a map that is surely right, over few paths, so that they come and go.
        #[test]
        fn znodes_are_a_map(steps in prop::collection::vec((0..40u32, changes()), 0..300)) {
            let (mut znodes, mut expected) = (Znodes::default(), BTreeMap::<String, Entry>::new());
            for (path, change) in steps {
                let path = format!("/{path}");
                let Some(entry) = expected.get_mut(&path) else {
                    let id = znodes.insert(&path, None, 0, &StatPersisted::default());
                    prop_assert_eq!(znodes.find(&path), Some(id));
                    expected.insert(path, Entry::of(id, znodes.node(id).unwrap()));
                    continue;
                };
                match change {
                    Change::Remove => {
                        let (id, is_it) = znodes.remove(&path, |node| node.path() == path).unwrap();
                        prop_assert_eq!((id, is_it), (entry.id, true));
                        expected.remove(&path);
                        prop_assert!(znodes.node(id).is_none());
                    }
                    Change::Data(data, mzxid) => {
                        znodes.set_data(entry.id, data.as_deref(), |stat| stat.mzxid = Zxid(mzxid));
                        (entry.data, entry.stat.mzxid) = (data, Zxid(mzxid));
                    }
                    Change::Acl(acl) => {
                        znodes.set_acl(entry.id, acl, |stat| stat.aversion += 1);
                        entry.acl = acl;
                        entry.stat.aversion += 1;
                    }
                    Change::Stat(pzxid) => {
                        znodes.set_stat(entry.id, |stat| stat.pzxid = Zxid(pzxid));
                        entry.stat.pzxid = Zxid(pzxid);
                    }
                    Change::AddChild(child) => {
                        znodes.add_child(entry.id, NodeId(child));
                        entry.children.insert(NodeId(child));
                    }
                    Change::RemoveChild(child) => {
                        znodes.remove_child(entry.id, NodeId(child));
                        entry.children.remove(&NodeId(child));
                    }
                }
            }
            prop_assert_eq!(znodes.len(), expected.len());
            for path in (0..40).map(|path| format!("/{path}")) {
                let found = znodes.find(&path).map(|id| Entry::of(id, znodes.node(id).unwrap()));
                prop_assert_eq!(found.as_ref(), expected.get(&path));
            }
        }
    }

    #[test]
    fn growth_keeps_everything_and_numbers_are_used_again() {
        let mut znodes = Znodes::default();
        let mut add = |path: String| znodes.insert(&path, Some(b"x"), 0, &StatPersisted::default());
        let many = 3_000;
        let ids: Vec<NodeId> = (0..many).map(|n| add(format!("/{n}"))).collect();
        for (n, id) in ids.iter().enumerate() {
            assert_eq!(znodes.find(&format!("/{n}")), Some(*id));
        }
        for n in (0..many).step_by(2) {
            assert_eq!(znodes.remove(&format!("/{n}"), |_| ()), Some((ids[n], ())));
        }
        let mut add = |path: String| znodes.insert(&path, Some(b"y"), 0, &StatPersisted::default());
        let again: Vec<NodeId> = (0..many / 2).map(|n| add(format!("/again/{n}"))).collect();
        assert!(again.iter().all(|id| ids.contains(id)));
        assert_eq!(znodes.len(), many);
    }

    /// Their bytes move when others go.
    #[test]
    fn znodes_are_found_wherever_their_bytes_come_to() {
        const MANY: usize = 3_000;
        let path = |n: usize| format!("/{:06}", n * 7 % MANY);
        let data = |n: usize, bytes| vec![n as u8; bytes];
        let mut znodes = Znodes::default();
        let mut expected = BTreeMap::new();
        for n in 0..MANY {
            znodes.insert(&path(n), Some(&data(n, 100)), 0, &StatPersisted::default());
            expected.insert(path(n), data(n, 100));
        }
        let check = |znodes: &Znodes, expected: &BTreeMap<String, Vec<u8>>| {
            for path in (0..MANY).map(path) {
                assert_eq!(znodes.get(&path).and_then(Node::data), expected.get(&path).map(|data| &data[..]));
            }
        };
        for n in (0..MANY).map(|n| n * 11 % MANY) {
            let id = znodes.find(&path(n)).unwrap();
            znodes.set_data(id, Some(&data(n, 130)), |_| {});
            expected.insert(path(n), data(n, 130));
            if n % 500 == 0 {
                check(&znodes, &expected);
            }
        }
        for n in (0..MANY).map(|n| n * 13 % MANY) {
            znodes.remove(&path(n), |_| ()).unwrap();
            expected.remove(&path(n));
            if n % 500 == 0 {
                check(&znodes, &expected);
            }
        }
        assert!(znodes.is_empty() && expected.is_empty());
    }
}
