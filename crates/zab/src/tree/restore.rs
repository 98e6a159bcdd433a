//! A tree from a snapshot and the transactions behind it (`ZKDatabase.loadDataBase`).

use bytes::Bytes;
use zk_wire::acl::Acl;
use zk_wire::digest::{Digest, TxnDigest};
use zk_wire::ids::{SessionId, Zxid};
use zk_wire::stat::StatPersisted;
use zk_wire::txn::LoggedTxn;

use super::{Applied, ROOT, Tree};
use crate::storage::{Restore, RestoreError};

/// Collects what storage reads.
///
/// A fuzzy snapshot holds effects of transactions behind its zxid. Its own digest is that of the tree at a
/// later zxid; until the replay has passed that, digests of transactions cannot agree and are not compared.
/// Apache changes the tree before it notes the digest, so a snapshot may also hold part of the one transaction
/// behind its digest: a snapshot that differs is only wrong if the next transaction's digest differs too.
#[derive(Debug)]
pub struct Restoring {
    tree: Tree,
    from_snapshot: bool,
    fuzzy_until: Option<(Zxid, TxnDigest)>,
    /// The snapshot's digest was not its tree's, and no transaction has shown yet whether its tree is right.
    unsettled: Option<(TxnDigest, Digest)>,
    mismatches: u64,
    replayed: u64,
}

impl Default for Restoring {
    fn default() -> Self {
        Restoring {
            tree: Tree::empty(),
            from_snapshot: false,
            fuzzy_until: None,
            unsettled: None,
            mismatches: 0,
            replayed: 0,
        }
    }
}

impl Restoring {
    /// The tree, and how many transactions ended with another digest than they should.
    #[must_use]
    pub fn finish(mut self) -> (Tree, u64) {
        self.begin_without_snapshot();
        self.settle(false);
        (self.tree, self.mismatches)
    }

    /// Applies a transaction, and compares the tree's digest with that of the log.
    pub fn apply(&mut self, txn: &LoggedTxn) -> Applied {
        self.begin_without_snapshot();
        let applied = self.tree.apply(txn);
        self.replayed += 1;
        self.compare(txn);
        applied
    }

    /// Has there been a snapshot?
    #[must_use]
    pub fn had_snapshot(&self) -> bool {
        self.from_snapshot
    }

    /// Transactions applied so far.
    #[must_use]
    pub fn replayed(&self) -> u64 {
        self.replayed
    }

    /// Without any snapshot the replay starts from the tree of a new server.
    fn begin_without_snapshot(&mut self) {
        if !self.from_snapshot && self.tree.is_empty() {
            self.tree = Tree::new();
        }
    }

    fn compare(&mut self, txn: &LoggedTxn) {
        let zxid = txn.header.zxid;
        let expected = match self.fuzzy_until {
            Some((until, _)) if zxid < until => return,
            Some((until, digest)) => {
                self.fuzzy_until = None;
                if zxid == until { Some(digest) } else { txn.digest }
            }
            None => txn.digest,
        };
        let Some(expected) = expected else {
            return;
        };
        let agrees = expected.tree_digest == self.tree.digest();
        self.settle(agrees);
        if !agrees {
            self.mismatches += 1;
            tracing::error!(%zxid, ?expected, found = ?self.tree.digest(), "the tree's digest differs from the log's");
        }
    }

    /// It has turned out whether the snapshot's tree was right.
    fn settle(&mut self, was_right: bool) {
        if let Some((expected, found)) = self.unsettled.take()
            && !was_right
        {
            self.mismatches += 1;
            tracing::error!(?expected, ?found, "the snapshot's digest differs from its tree's");
        }
    }
}

impl Restore for Restoring {
    fn session(&mut self, id: SessionId, timeout_ms: i32) {
        self.from_snapshot = true;
        self.tree.sessions.insert(id, timeout_ms);
    }

    fn acl(&mut self, id: i64, acl: Vec<Acl>) {
        self.from_snapshot = true;
        self.tree.acls.insert(id, acl.into());
    }

    fn node(
        &mut self,
        path: &str,
        data: Option<Bytes>,
        acl: i64,
        stat: StatPersisted,
    ) -> Result<(), RestoreError> {
        self.from_snapshot = true;
        let path = if path.is_empty() { ROOT } else { path };
        let parent = self.tree.parent(path);
        if parent.is_none() && path != ROOT {
            return Err(RestoreError(format!("znode {path} comes before its parent")));
        }
        // One that was created again meanwhile is in a fuzzy snapshot twice; what was below it before is gone.
        if self.tree.nodes.find(path).is_some() {
            self.tree.take_descendants(path);
            self.tree.take(path, parent);
        }
        self.tree.acls.add_use(acl);
        self.tree.put(path, data.as_deref(), acl, &stat, parent);
        Ok(())
    }

    fn snapshot_end(&mut self, zxid: Zxid, digest: Option<(Zxid, TxnDigest)>) -> Result<(), RestoreError> {
        self.tree.acls.purge_unused();
        self.tree.find_quotas();
        self.tree.last_zxid = zxid;
        match digest {
            Some((at, digest))
                if at == zxid && at != Zxid::ZERO && digest.tree_digest != self.tree.digest() =>
            {
                self.unsettled = Some((digest, self.tree.digest()));
            }
            Some((at, digest)) if at > zxid => self.fuzzy_until = Some((at, digest)),
            _ => {}
        }
        Ok(())
    }

    fn txn(&mut self, txn: LoggedTxn) -> Result<(), RestoreError> {
        self.apply(&txn);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zk_wire::codes::OpCode;
    use zk_wire::txn::{CreateTxn, Txn, TxnHeader};

    fn create(zxid: i64, path: &str, acl: Acl) -> LoggedTxn {
        let header =
            TxnHeader { session: SessionId(7), cxid: 0, zxid: Zxid(zxid), time_ms: zxid, op: OpCode::Create };
        let path = path.to_owned();
        let txn = CreateTxn { path, data: None, acl: vec![acl], ephemeral: false, parent_cversion: 1 };
        LoggedTxn { header, txn: Txn::Create(txn), digest: None }
    }

    /// Seen on 3.8.4: the tree of `snapshot.64` held what 0x65 had done to it, beside the digest of 0x64.
    #[test]
    fn a_snapshot_may_hold_part_of_the_transaction_behind_its_digest() {
        let restored = |early: bool, next: Option<bool>| {
            let txn = create(0x65, "/b", Acl::world(31));
            let mut right = Restoring::default();
            let mut restoring = Restoring::default();
            for restoring in [&mut right, &mut restoring] {
                for path in ["", "/a"] {
                    restoring.node(path, None, -1, StatPersisted::default()).unwrap();
                }
            }
            let at = (Zxid(0x64), TxnDigest::new(right.tree.digest()));
            right.txn(txn.clone()).unwrap();
            if early {
                let node = right.tree.get("/b").unwrap();
                restoring.node("/b", None, node.acl(), node.persisted()).unwrap();
            }
            restoring.snapshot_end(Zxid(0x64), Some(at)).unwrap();
            if let Some(is_right) = next {
                let digest = if is_right { right.tree.digest() } else { Digest(1) };
                restoring.txn(LoggedTxn { digest: Some(TxnDigest::new(digest)), ..txn }).unwrap();
            }
            restoring.finish().1
        };
        assert_eq!(restored(false, None), 0);
        assert_eq!(restored(true, Some(true)), 0, "the next transaction shows that nothing is wrong");
        assert_eq!(restored(true, Some(false)), 2, "it shows that something is");
        assert_eq!(restored(true, None), 1, "nothing shows that it is right");
    }

    /// ZOOKEEPER-3306: Apache writes the ACLs in front of the znodes, and clients go on creating meanwhile.
    #[test]
    fn a_fuzzy_snapshots_znodes_get_the_acls_that_came_too_late_for_it() {
        let mut restoring = Restoring::default();
        restoring.acl(4, vec![Acl::world(1)]);
        // Keys 5 and 6 were given away when the list of ACLs was out already.
        for (path, acl) in [("", -1), ("/old", 4), ("/a", 5), ("/b", 6), ("/c", 6)] {
            restoring.node(path, None, acl, StatPersisted::default()).unwrap();
        }
        restoring.snapshot_end(Zxid(10), None).unwrap();
        assert_eq!(*restoring.tree.acl(5), [Acl::world(0)], "nobody may do anything before the replay");
        let replayed = [("/a", 2), ("/b", 3), ("/c", 3), ("/d", 2)];
        for (zxid, (path, perms)) in (11..).zip(replayed) {
            restoring.txn(create(zxid, path, Acl::world(perms))).unwrap();
        }
        let (tree, _) = restoring.finish();
        for (path, perms) in replayed.into_iter().chain([("/old", 1)]) {
            let node = tree.get(path).unwrap();
            assert_eq!(*tree.acl(node.acl()), [Acl::world(perms)], "{path}");
        }
        let mut kept: Vec<i32> = tree.acl_entries().iter().map(|(_, acl)| acl[0].perms).collect();
        kept.sort_unstable();
        assert_eq!(kept, [1, 2, 3], "what no znode has is forgotten");
    }
}
