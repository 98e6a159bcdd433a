//! Interned ACLs: most znodes share a few (`ReferenceCountedACLCache`).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use zk_wire::acl::Acl;

/// The key of `world:anyone` with all permissions, which is in no table.
pub const OPEN_ACL: i64 = -1;

/// ACLs by key and keys by ACL, with the number of znodes that use each.
#[derive(Debug, Clone)]
pub struct AclTable {
    /// The ACL of [`OPEN_ACL`].
    open: Arc<[Acl]>,
    by_key: BTreeMap<i64, Entry>,
    by_acl: HashMap<Arc<[AclKey]>, i64>,
    last_key: i64,
}

#[derive(Debug, Clone)]
struct Entry {
    acl: Arc<[Acl]>,
    uses: u64,
}

/// An ACL entry as something that hashes.
type AclKey = (i32, String, String);

impl Default for AclTable {
    fn default() -> Self {
        AclTable { open: Acl::open().into(), by_key: BTreeMap::new(), by_acl: HashMap::new(), last_key: 0 }
    }
}

impl AclTable {
    /// The key of `acl`, which counts as used once more.
    pub fn intern(&mut self, acl: &[Acl]) -> i64 {
        if *acl == *self.open {
            return OPEN_ACL;
        }
        let names = names(acl);
        let key = match self.by_acl.get(&names) {
            Some(&key) => key,
            None => {
                self.last_key += 1;
                self.insert(self.last_key, acl.into());
                self.last_key
            }
        };
        self.add_use(key);
        key
    }

    /// Puts an ACL of a snapshot under its key, not yet used.
    pub fn insert(&mut self, key: i64, acl: Arc<[Acl]>) {
        self.last_key = self.last_key.max(key);
        self.by_acl.insert(names(&acl), key);
        self.by_key.insert(key, Entry { acl, uses: 0 });
    }

    /// Counts one more znode.
    ///
    /// A fuzzy snapshot has its ACLs in front of its znodes, so these may refer to keys that came later. Such a
    /// key grants nothing until the replay gives the znode its ACL, and no other ACL gets it meanwhile.
    pub fn add_use(&mut self, key: i64) {
        if key == OPEN_ACL {
            return;
        }
        if !self.by_key.contains_key(&key) {
            self.insert(key, Arc::new([Acl::world(0)]));
        }
        if let Some(entry) = self.by_key.get_mut(&key) {
            entry.uses += 1;
        }
    }

    /// Counts one znode less; an ACL that nobody uses is forgotten.
    pub fn release(&mut self, key: i64) {
        let Some(entry) = self.by_key.get_mut(&key) else {
            return;
        };
        entry.uses = entry.uses.saturating_sub(1);
        if entry.uses == 0 {
            self.by_acl.remove(&names(&entry.acl));
            self.by_key.remove(&key);
        }
    }

    /// Forgets what no znode uses, after a snapshot is read.
    pub fn purge_unused(&mut self) {
        let unused: Vec<i64> = self.by_key.iter().filter(|(_, e)| e.uses == 0).map(|(&key, _)| key).collect();
        for key in unused {
            self.add_use(key);
            self.release(key);
        }
    }

    /// The ACL of a key. An unknown key grants nothing.
    #[must_use]
    pub fn get(&self, key: i64) -> Arc<[Acl]> {
        if key == OPEN_ACL {
            return Arc::clone(&self.open);
        }
        match self.by_key.get(&key) {
            Some(entry) => Arc::clone(&entry.acl),
            None => Arc::new([Acl::world(0)]),
        }
    }

    /// All entries by ascending key, for a snapshot.
    #[must_use]
    pub fn entries(&self) -> Vec<(i64, Vec<Acl>)> {
        self.by_key.iter().map(|(&key, entry)| (key, entry.acl.to_vec())).collect()
    }
}

fn names(acl: &[Acl]) -> Arc<[AclKey]> {
    acl.iter().map(|a| (a.perms, a.id.scheme.clone(), a.id.id.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_acls_share_a_key_until_the_last_use_ends() {
        let mut table = AclTable::default();
        let read = [Acl::world(1)];
        assert_eq!(table.intern(&Acl::open()), OPEN_ACL);
        assert_eq!((table.intern(&read), table.intern(&read), table.intern(&[Acl::world(2)])), (1, 1, 2));
        table.release(1);
        assert_eq!(*table.get(1), read);
        table.release(1);
        assert_eq!(table.entries().len(), 1);
        assert_eq!(*table.get(1), [Acl::world(0)]);
    }
}
