//! Turns requests into transactions (`PrepRequestProcessor`): validates each write against the tree as it
//! will be when everything proposed before it has been applied. Pure.
//!
//! Every write consumes one zxid, also one that fails: it becomes an `error` transaction. The order of the
//! checks is Apache's, because it decides which error a client sees.

pub mod changes;

use std::collections::BTreeSet;

use bytes::Bytes;
use zk_wire::acl::{Acl, perms};
use zk_wire::codes::{CreateMode, ErrorCode};
use zk_wire::digest::TxnDigest;
use zk_wire::ids::{SessionId, Zxid};
use zk_wire::jute::Jute;
use zk_wire::multi::WriteOp;
use zk_wire::path;
use zk_wire::request::{
    CheckVersionRequest, CreateRequest, CreateTtlRequest, DeleteRequest, PathRequest, Request, SetAclRequest,
    SetDataRequest,
};
use zk_wire::stat::StatPersisted;
use zk_wire::txn::{
    CheckVersionTxn, CreateContainerTxn, CreateSessionTxn, CreateTtlTxn, CreateTxn, DeleteTxn, LoggedTxn,
    SetAclTxn, SetDataTxn, Txn, TxnHeader,
};

use crate::access::{self, Identities};
use crate::tree::node::{MAX_TTL_MS, Owner};
use crate::tree::quota::Excess;
use crate::tree::{Tree, length};
use changes::{Changes, FutureNode, Undo};

/// Who asks, and when.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The session.
    pub session: SessionId,
    /// The request's xid.
    pub cxid: i32,
    /// The zxid that it will have.
    pub zxid: Zxid,
    /// The wall clock in milliseconds since 1970.
    pub time_ms: i64,
    /// The connection's identities.
    pub who: &'a Identities,
    /// May the session own ephemerals? A local one may not.
    pub may_own: bool,
}

/// Validates writes over a tree and the proposals not yet applied to it.
#[derive(Debug)]
pub struct Prep {
    changes: Changes,
    rules: Rules,
    /// A transaction as it is logged, to see how long it is.
    scratch: Vec<u8>,
    excesses: Vec<(String, Excess)>,
}

/// What the configuration allows.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Are TTL znodes on (`zookeeper.extendedTypesEnabled`)?
    pub extended_types: bool,
    /// Are hard quotas enforced, and soft ones told of (`enforceQuota`)? What is used is counted as transactions are applied, so what
    /// is under way may exceed them, as on Apache.
    pub enforce_quota: bool,
    /// May the ensemble be reconfigured (`reconfigEnabled`)?
    pub reconfig_enabled: bool,
    /// The longest transaction, in bytes. A longer one is refused, since no log takes it (ZOOKEEPER-3496).
    pub max_txn: usize,
}

/// A create of any kind, before it has its final path.
struct Create<'a> {
    path: &'a str,
    data: &'a Option<Bytes>,
    acl: &'a [Acl],
    mode: CreateMode,
    ttl_ms: Option<i64>,
    kind: CreateKind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum CreateKind {
    Create,
    Create2,
    Container,
    Ttl,
}

/// Paths that may not be deleted.
const PERMANENT: [&str; 4] = ["/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"];

impl Prep {
    /// Nothing proposed yet.
    #[must_use]
    pub fn new(tree: &Tree, rules: Rules) -> Self {
        Prep { changes: Changes::new(tree), rules, scratch: Vec::new(), excesses: Vec::new() }
    }

    /// A proposal has been applied to the tree.
    pub fn applied(&mut self, zxid: Zxid) {
        self.changes.applied(zxid);
    }

    /// The transaction of a write request; an error transaction if it cannot be carried out.
    pub fn write(&mut self, tree: &Tree, asked: Asked<'_>, request: &Request) -> LoggedTxn {
        let mut undo = Undo::default();
        let txn = match request {
            Request::CloseSession => return self.close_session(tree, asked),
            Request::Multi(ops) => self.multi(tree, asked, ops, &mut undo),
            _ => self.single(tree, asked, request, &mut undo),
        };
        let logged = txn.map(|txn| self.logged(asked, txn)).and_then(|logged| self.that_fits(logged));
        logged.unwrap_or_else(|code| {
            self.changes.roll_back(asked.zxid, undo);
            failed(asked, code)
        })
    }

    /// The limits that writes went beyond since this was last asked, soft ones too, and whose quota they are of.
    pub fn take_excesses(&mut self) -> impl Iterator<Item = (String, Excess)> {
        self.excesses.drain(..)
    }

    /// A transaction may be much longer than its request, since ACLs of `auth` grow.
    fn that_fits(&mut self, logged: LoggedTxn) -> Result<LoggedTxn, ErrorCode> {
        self.scratch.clear();
        logged.write(&mut self.scratch);
        if self.scratch.len() <= self.rules.max_txn { Ok(logged) } else { Err(ErrorCode::BadArguments) }
    }

    /// The transaction of a request that could not even be decoded.
    #[must_use]
    pub fn refuse(&self, asked: Asked<'_>, code: ErrorCode) -> LoggedTxn {
        failed(asked, code)
    }

    /// The transaction that begins a session.
    pub fn create_session(&mut self, asked: Asked<'_>, timeout_ms: i32) -> LoggedTxn {
        self.logged(asked, Txn::CreateSession(CreateSessionTxn { timeout_ms }))
    }

    /// Will there be such a znode when everything proposed has been applied?
    #[must_use]
    pub fn has(&self, tree: &Tree, path: &str) -> bool {
        self.changes.get(tree, path).is_some()
    }

    /// The ephemerals that a session will own when everything proposed has been applied.
    #[must_use]
    pub fn ephemerals(&self, tree: &Tree, session: SessionId) -> BTreeSet<String> {
        self.changes.ephemerals(tree, session)
    }

    fn logged(&self, asked: Asked<'_>, txn: Txn) -> LoggedTxn {
        let digest = Some(TxnDigest::new(self.changes.digest()));
        LoggedTxn { header: header(asked, &txn), txn, digest }
    }

    fn single(
        &mut self,
        tree: &Tree,
        asked: Asked<'_>,
        request: &Request,
        undo: &mut Undo,
    ) -> Result<Txn, ErrorCode> {
        match request {
            Request::Create(r) => self.create(tree, asked, &Create::plain(r, CreateKind::Create), undo),
            Request::Create2(r) => self.create(tree, asked, &Create::plain(r, CreateKind::Create2), undo),
            Request::CreateContainer(r) => {
                self.create(tree, asked, &Create::plain(r, CreateKind::Container), undo)
            }
            Request::CreateTtl(r) => self.create(tree, asked, &Create::ttl(r), undo),
            Request::Delete(r) => self.delete(tree, asked, r, undo),
            Request::DeleteContainer(r) => self.delete_container(tree, asked, r, undo),
            Request::SetData(r) => self.set_data(tree, asked, r, undo),
            Request::SetAcl(r) => self.set_acl(tree, asked, r, undo),
            Request::Reconfig(_) if !self.rules.reconfig_enabled => Err(ErrorCode::ReconfigDisabled),
            // A standalone server has no ensemble to reconfigure.
            _ => Err(ErrorCode::Unimplemented),
        }
    }

    /// All or nothing; on failure every element says how far it came.
    ///
    /// # Errors
    /// The elements together are longer than any transaction may be. That is found before all of them are
    /// there.
    fn multi(
        &mut self,
        tree: &Tree,
        asked: Asked<'_>,
        ops: &[WriteOp],
        undo: &mut Undo,
    ) -> Result<Txn, ErrorCode> {
        let mut txns = Vec::with_capacity(ops.len());
        let (mut failed, mut acl_bytes) = (false, 0);
        for op in ops {
            let txn = match failed {
                true => Txn::Error(ErrorCode::RuntimeInconsistency),
                false => self.element(tree, asked, op, undo).unwrap_or_else(Txn::Error),
            };
            failed |= matches!(txn, Txn::Error(_));
            acl_bytes += access::encoded_length(acl_of(&txn));
            if acl_bytes > self.rules.max_txn {
                return Err(ErrorCode::BadArguments);
            }
            txns.push(txn);
        }
        if failed {
            self.changes.roll_back(asked.zxid, std::mem::take(undo));
        }
        Ok(Txn::Multi(txns))
    }

    fn element(
        &mut self,
        tree: &Tree,
        asked: Asked<'_>,
        op: &WriteOp,
        undo: &mut Undo,
    ) -> Result<Txn, ErrorCode> {
        // In a multi the mode says more than the operation does (`Op.Create`).
        match op {
            WriteOp::Create(r) | WriteOp::Create2(r) if r.mode == CreateMode::Container => {
                self.create(tree, asked, &Create::plain(r, CreateKind::Container), undo)
            }
            WriteOp::Create(r) => self.create(tree, asked, &Create::plain(r, CreateKind::Create), undo),
            WriteOp::Create2(r) => self.create(tree, asked, &Create::plain(r, CreateKind::Create2), undo),
            WriteOp::CreateContainer(r) => {
                self.create(tree, asked, &Create::plain(r, CreateKind::Container), undo)
            }
            WriteOp::CreateTtl(r) => self.create(tree, asked, &Create::ttl_in_multi(r), undo),
            WriteOp::Delete(r) => self.delete(tree, asked, r, undo),
            WriteOp::SetData(r) => self.set_data(tree, asked, r, undo),
            WriteOp::Check(r) => self.check(tree, asked, r),
        }
    }

    fn create(
        &mut self,
        tree: &Tree,
        asked: Asked<'_>,
        create: &Create<'_>,
        undo: &mut Undo,
    ) -> Result<Txn, ErrorCode> {
        self.check_mode(create)?;
        if create.mode.is_ephemeral() && !asked.may_own {
            return Err(ErrorCode::EphemeralOnLocalSession);
        }
        let parent_path = parent_in(create.path)?;
        let acl = asked.who.fix_up(create.acl)?;
        let parent = self.changes.get(tree, parent_path).ok_or(ErrorCode::NoNode)?;
        allow(asked.who, perms::CREATE, &parent.acl)?;
        let path = match create.mode.is_sequential() {
            true => format!("{}{:010}", create.path, parent.stat.cversion),
            false => create.path.to_owned(),
        };
        path::validate(&path).map_err(|_| ErrorCode::BadArguments)?;
        if self.changes.get(tree, &path).is_some() {
            return Err(ErrorCode::NodeExists);
        }
        if Owner::of(parent.stat.ephemeral_owner).session().is_some() {
            return Err(ErrorCode::NoChildrenForEphemerals);
        }
        self.within_quota(tree, &path, 1, length(create.data.as_deref()))?;
        let parent_cversion = self.add_child(tree, asked.zxid, parent_path, parent, undo);
        let node = FutureNode {
            data: create.data.clone(),
            acl: acl.clone().into(),
            stat: new_stat(asked, create.owner(asked.session)),
            children: 0,
        };
        self.changes.put(tree, asked.zxid, &path, Some(node), undo);
        Ok(create.txn(path, acl, parent_cversion))
    }

    fn within_quota(&mut self, tree: &Tree, path: &str, znodes: i64, bytes: i64) -> Result<(), ErrorCode> {
        let exceeded = self.rules.enforce_quota.then(|| tree.exceeded(path, znodes, bytes)).flatten();
        let Some((about, excesses)) = exceeded else {
            return Ok(());
        };
        for excess in excesses {
            self.excesses.push((about.to_owned(), excess));
            if excess.is_hard {
                return Err(ErrorCode::QuotaExceeded);
            }
        }
        Ok(())
    }

    fn check_mode(&self, create: &Create<'_>) -> Result<(), ErrorCode> {
        let is_ttl = create.mode.has_ttl();
        if create.mode.name().is_none() {
            return Err(ErrorCode::BadArguments);
        }
        if is_ttl && !self.rules.extended_types {
            return Err(ErrorCode::Unimplemented);
        }
        let ttl_fits = match create.ttl_ms {
            Some(ttl_ms) => is_ttl && (1..=MAX_TTL_MS).contains(&ttl_ms),
            None => !is_ttl,
        };
        if ttl_fits { Ok(()) } else { Err(ErrorCode::BadArguments) }
    }

    /// The parent gets a child; returns its counter, which the log repeats.
    fn add_child(
        &mut self,
        tree: &Tree,
        zxid: Zxid,
        path: &str,
        mut parent: FutureNode,
        undo: &mut Undo,
    ) -> i32 {
        parent.children += 1;
        parent.stat.cversion = parent.stat.cversion.wrapping_add(1);
        parent.stat.pzxid = zxid;
        let cversion = parent.stat.cversion;
        self.changes.put(tree, zxid, path, Some(parent), undo);
        cversion
    }

    fn delete(
        &mut self,
        tree: &Tree,
        asked: Asked<'_>,
        r: &DeleteRequest,
        undo: &mut Undo,
    ) -> Result<Txn, ErrorCode> {
        let parent_path = deletable_parent(&r.path)?;
        let parent = self.changes.get(tree, parent_path).ok_or(ErrorCode::NoNode)?;
        allow(asked.who, perms::DELETE, &parent.acl)?;
        let node = self.changes.get(tree, &r.path).ok_or(ErrorCode::NoNode)?;
        same_version(r.version, node.stat.version)?;
        if node.children > 0 {
            return Err(ErrorCode::NotEmpty);
        }
        self.remove_child(tree, asked.zxid, &r.path, undo);
        Ok(Txn::Delete(DeleteTxn { path: r.path.clone() }))
    }

    /// The reaper's delete: what has become useful again in the meantime stays. Clients may send it too, for
    /// any znode but an ephemeral; unlike Apache's server, which lets everybody delete anything with it, ours
    /// asks for the permission of a delete.
    fn delete_container(
        &mut self,
        tree: &Tree,
        asked: Asked<'_>,
        r: &PathRequest,
        undo: &mut Undo,
    ) -> Result<Txn, ErrorCode> {
        let parent_path = deletable_parent(&r.path)?;
        let node = self.changes.get(tree, &r.path).ok_or(ErrorCode::NoNode)?;
        if node.children > 0 {
            return Err(ErrorCode::NotEmpty);
        }
        if Owner::of(node.stat.ephemeral_owner).session().is_some() {
            return Err(ErrorCode::BadVersion);
        }
        let parent = self.changes.get(tree, parent_path).ok_or(ErrorCode::NoNode)?;
        allow(asked.who, perms::DELETE, &parent.acl)?;
        self.remove_child(tree, asked.zxid, &r.path, undo);
        Ok(Txn::DeleteContainer(DeleteTxn { path: r.path.clone() }))
    }

    fn remove_child(&mut self, tree: &Tree, zxid: Zxid, path: &str, undo: &mut Undo) {
        if let Some(parent_path) = path::parent(path)
            && let Some(mut parent) = self.changes.get(tree, parent_path)
        {
            parent.children = parent.children.saturating_sub(1);
            parent.stat.pzxid = zxid;
            self.changes.put(tree, zxid, parent_path, Some(parent), undo);
        }
        self.changes.put(tree, zxid, path, None, undo);
    }

    fn set_data(
        &mut self,
        tree: &Tree,
        asked: Asked<'_>,
        r: &SetDataRequest,
        undo: &mut Undo,
    ) -> Result<Txn, ErrorCode> {
        path::validate(&r.path).map_err(|_| ErrorCode::BadArguments)?;
        let mut node = self.changes.get(tree, &r.path).ok_or(ErrorCode::NoNode)?;
        allow(asked.who, perms::WRITE, &node.acl)?;
        self.within_quota(tree, &r.path, 0, length(r.data.as_deref()) - length(node.data.as_deref()))?;
        same_version(r.version, node.stat.version)?;
        node.data = r.data.clone();
        node.stat.version = node.stat.version.wrapping_add(1);
        node.stat.mzxid = asked.zxid;
        node.stat.mtime = asked.time_ms;
        let version = node.stat.version;
        self.changes.put(tree, asked.zxid, &r.path, Some(node), undo);
        Ok(Txn::SetData(SetDataTxn { path: r.path.clone(), data: r.data.clone(), version }))
    }

    fn set_acl(
        &mut self,
        tree: &Tree,
        asked: Asked<'_>,
        r: &SetAclRequest,
        undo: &mut Undo,
    ) -> Result<Txn, ErrorCode> {
        path::validate(&r.path).map_err(|_| ErrorCode::BadArguments)?;
        let acl = asked.who.fix_up(&r.acl)?;
        let mut node = self.changes.get(tree, &r.path).ok_or(ErrorCode::NoNode)?;
        allow(asked.who, perms::ADMIN, &node.acl)?;
        same_version(r.version, node.stat.aversion)?;
        node.acl = acl.clone().into();
        node.stat.aversion = node.stat.aversion.wrapping_add(1);
        let version = node.stat.aversion;
        self.changes.put(tree, asked.zxid, &r.path, Some(node), undo);
        Ok(Txn::SetAcl(SetAclTxn { path: r.path.clone(), acl, version }))
    }

    fn check(&self, tree: &Tree, asked: Asked<'_>, r: &CheckVersionRequest) -> Result<Txn, ErrorCode> {
        path::validate(&r.path).map_err(|_| ErrorCode::BadArguments)?;
        let node = self.changes.get(tree, &r.path).ok_or(ErrorCode::NoNode)?;
        allow(asked.who, perms::READ, &node.acl)?;
        same_version(r.version, node.stat.version)?;
        Ok(Txn::Check(CheckVersionTxn { path: r.path.clone(), version: node.stat.version.wrapping_add(1) }))
    }

    /// Ends a session with every ephemeral that it will own by then.
    pub fn close_session(&mut self, tree: &Tree, asked: Asked<'_>) -> LoggedTxn {
        let paths: BTreeSet<String> = self.changes.ephemerals(tree, asked.session);
        let mut undo = Undo::default();
        for path in &paths {
            self.remove_child(tree, asked.zxid, path, &mut undo);
        }
        self.logged(asked, Txn::CloseSession(Some(paths.into_iter().collect())))
    }
}

impl<'a> Create<'a> {
    fn plain(r: &'a CreateRequest, kind: CreateKind) -> Self {
        Create { path: &r.path, data: &r.data, acl: &r.acl, mode: r.mode, ttl_ms: None, kind }
    }

    fn ttl(r: &'a CreateTtlRequest) -> Self {
        Create {
            path: &r.path,
            data: &r.data,
            acl: &r.acl,
            mode: r.mode,
            ttl_ms: Some(r.ttl_ms),
            kind: CreateKind::Ttl,
        }
    }

    /// One whose mode has no TTL is a plain create.
    fn ttl_in_multi(r: &'a CreateTtlRequest) -> Self {
        let kind = match r.mode {
            mode if mode.has_ttl() => return Self::ttl(r),
            CreateMode::Container => CreateKind::Container,
            _ => CreateKind::Create,
        };
        Create { ttl_ms: None, kind, ..Self::ttl(r) }
    }

    /// As Apache's tree has it: the operation says what is a container, whatever the mode says.
    fn owner(&self, session: SessionId) -> Owner {
        match (self.kind, self.ttl_ms) {
            (CreateKind::Container, _) => Owner::Container,
            (_, Some(ttl_ms)) => Owner::Ttl(ttl_ms),
            _ if self.mode.is_ephemeral() => Owner::Session(session),
            _ => Owner::None,
        }
    }

    fn txn(&self, path: String, acl: Vec<Acl>, parent_cversion: i32) -> Txn {
        let data = self.data.clone();
        if let Some(ttl_ms) = self.ttl_ms {
            return Txn::CreateTtl(CreateTtlTxn { path, data, acl, parent_cversion, ttl_ms });
        }
        if self.kind == CreateKind::Container {
            return Txn::CreateContainer(CreateContainerTxn { path, data, acl, parent_cversion });
        }
        let txn = CreateTxn { path, data, acl, ephemeral: self.mode.is_ephemeral(), parent_cversion };
        if self.kind == CreateKind::Create { Txn::Create(txn) } else { Txn::Create2(txn) }
    }
}

fn header(asked: Asked<'_>, txn: &Txn) -> TxnHeader {
    TxnHeader {
        session: asked.session,
        cxid: asked.cxid,
        zxid: asked.zxid,
        time_ms: asked.time_ms,
        op: txn.op(),
    }
}

fn failed(asked: Asked<'_>, code: ErrorCode) -> LoggedTxn {
    let txn = Txn::Error(code);
    LoggedTxn { header: header(asked, &txn), txn, digest: None }
}

fn new_stat(asked: Asked<'_>, owner: Owner) -> StatPersisted {
    StatPersisted {
        czxid: asked.zxid,
        mzxid: asked.zxid,
        pzxid: asked.zxid,
        ctime: asked.time_ms,
        mtime: asked.time_ms,
        ephemeral_owner: owner.persisted(),
        ..StatPersisted::default()
    }
}

fn allow(who: &Identities, perm: i32, acl: &[Acl]) -> Result<(), ErrorCode> {
    if who.may(perm, acl) { Ok(()) } else { Err(ErrorCode::NoAuth) }
}

fn same_version(wanted: i32, found: i32) -> Result<(), ErrorCode> {
    if wanted == -1 || wanted == found { Ok(()) } else { Err(ErrorCode::BadVersion) }
}

fn deletable_parent(path: &str) -> Result<&str, ErrorCode> {
    if PERMANENT.contains(&path) {
        return Err(ErrorCode::BadArguments);
    }
    parent_in(path)
}

/// What is in front of the last slash. Nothing more is checked of the path at that point: most of those that
/// are none name no znode anyway (`PrepRequestProcessor.getParentPathAndValidate`).
fn parent_in(path: &str) -> Result<&str, ErrorCode> {
    match path.rfind('/').filter(|_| !path.contains('\0')) {
        None => Err(ErrorCode::BadArguments),
        Some(0) => Ok("/"),
        Some(slash) => Ok(&path[..slash]),
    }
}

/// The ACL that a transaction carries.
fn acl_of(txn: &Txn) -> &[Acl] {
    match txn {
        Txn::Create(t) | Txn::Create2(t) => &t.acl,
        Txn::CreateContainer(t) => &t.acl,
        Txn::CreateTtl(t) => &t.acl,
        Txn::SetAcl(t) => &t.acl,
        _ => &[],
    }
}
