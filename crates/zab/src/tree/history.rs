//! Who did what to which znode, read from the log.

use bytes::Bytes;
use zk_wire::acl::Acl;
use zk_wire::codes::OpCode;
use zk_wire::digest::TxnDigest;
use zk_wire::ids::{SessionId, Zxid};
use zk_wire::stat::StatPersisted;
use zk_wire::txn::{LoggedTxn, Txn};

use super::restore::Restoring;
use crate::storage::{Restore, RestoreError};

/// Something that happened to a znode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deed {
    /// The transaction.
    pub zxid: Zxid,
    /// Milliseconds since 1970, by the clock of whoever led.
    pub time_ms: i64,
    /// Whose session; zero is the server itself.
    pub session: SessionId,
    /// The request's number within its connection.
    pub cxid: i32,
    /// With which request: a closed session deletes its ephemerals.
    pub op: OpCode,
    /// The znode.
    pub path: String,
    /// What.
    pub kind: DeedKind,
}

/// What happened to a znode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeedKind {
    /// It was created.
    Created,
    /// Its data was set.
    DataSet,
    /// Its ACL was set.
    AclSet,
    /// It was deleted.
    Deleted,
}

/// Rebuilds a tree and tells of each deed on the way.
pub struct Historian<'a> {
    restoring: Restoring,
    tell: &'a mut dyn FnMut(Deed),
}

impl<'a> Historian<'a> {
    /// One that tells `tell`.
    pub fn new(tell: &'a mut dyn FnMut(Deed)) -> Self {
        Historian { restoring: Restoring::default(), tell }
    }
}

impl Restore for Historian<'_> {
    fn session(&mut self, id: SessionId, timeout_ms: i32) {
        self.restoring.session(id, timeout_ms);
    }

    fn acl(&mut self, id: i64, acl: Vec<Acl>) {
        self.restoring.acl(id, acl);
    }

    fn node(
        &mut self,
        path: &str,
        data: Option<Bytes>,
        acl: i64,
        stat: StatPersisted,
    ) -> Result<(), RestoreError> {
        self.restoring.node(path, data, acl, stat)
    }

    fn snapshot_end(&mut self, zxid: Zxid, digest: Option<(Zxid, TxnDigest)>) -> Result<(), RestoreError> {
        self.restoring.snapshot_end(zxid, digest)
    }

    fn txn(&mut self, txn: LoggedTxn) -> Result<(), RestoreError> {
        let applied = self.restoring.apply(&txn);
        let header = txn.header;
        let mut tell = |path: &str, kind| {
            (self.tell)(Deed {
                zxid: header.zxid,
                time_ms: header.time_ms,
                session: header.session,
                cxid: header.cxid,
                op: header.op,
                path: path.to_owned(),
                kind,
            });
        };
        match &txn.txn {
            // What the list lacks, as before 3.6 it does, is known from the tree.
            Txn::CloseSession(listed) => {
                let listed = listed.as_deref().unwrap_or_default();
                listed.iter().for_each(|path| tell(path, DeedKind::Deleted));
                for event in &applied.events {
                    if !listed.iter().any(|path| **path == *event.path) {
                        tell(&event.path, DeedKind::Deleted);
                    }
                }
            }
            Txn::Multi(txns) if txns.iter().any(|txn| matches!(txn, Txn::Error(_))) => {}
            Txn::Multi(txns) => txns.iter().filter_map(deed).for_each(|(path, kind)| tell(path, kind)),
            txn => deed(txn).into_iter().for_each(|(path, kind)| tell(path, kind)),
        }
        Ok(())
    }
}

/// What a transaction does to one znode. It is told by the log and not by the tree, since a fuzzy snapshot may
/// hold its effects already.
fn deed(txn: &Txn) -> Option<(&str, DeedKind)> {
    match txn {
        Txn::Create(t) | Txn::Create2(t) => Some((&t.path, DeedKind::Created)),
        Txn::CreateContainer(t) => Some((&t.path, DeedKind::Created)),
        Txn::CreateTtl(t) => Some((&t.path, DeedKind::Created)),
        Txn::Delete(t) | Txn::DeleteContainer(t) => Some((&t.path, DeedKind::Deleted)),
        Txn::SetData(t) | Txn::Reconfig(t) => Some((&t.path, DeedKind::DataSet)),
        Txn::SetAcl(t) => Some((&t.path, DeedKind::AclSet)),
        Txn::Check(_) | Txn::CreateSession(_) | Txn::CloseSession(_) | Txn::Error(_) | Txn::Multi(_) => None,
    }
}
