//! Requests that change nothing in the tree (`FinalRequestProcessor`).

use zk_wire::acl::perms;
use zk_wire::codes::{AddWatchMode, ErrorCode, EventType, KeeperState};
use zk_wire::ids::Zxid;
use zk_wire::multi::{MultiResult, MultiResults, ReadOp};
use zk_wire::reply::{
    GetAclResponse, GetChildren2Response, GetDataResponse, Response, StatResponse, StringsResponse,
    WatcherEvent,
};
use zk_wire::request::{Request, SetWatches2, WatchedRead};

use super::core::sessions::OWNERS;
use crate::access::{self, Identities};
use crate::tree::Tree;
use crate::tree::node::Node;
use crate::tree::watches::{ConnectionId, Watch, Watches};

/// Who reads, and where watches go.
pub struct Read<'a> {
    /// The tree.
    pub tree: &'a Tree,
    /// The watches.
    pub watches: &'a mut Watches,
    /// The connection.
    pub connection: ConnectionId,
    /// Its identities.
    pub who: &'a Identities,
    /// Its session.
    pub session: zk_wire::ids::SessionId,
}

impl<'a> Read<'a> {
    /// Answers a read. Events that precede the answer (setWatches only) are appended to `events`.
    ///
    /// # Errors
    /// The code for the reply's header.
    pub fn answer(
        &mut self,
        request: &Request,
        events: &mut Vec<WatcherEvent>,
    ) -> Result<Response, ErrorCode> {
        match request {
            Request::Ping => Ok(Response::Empty),
            Request::Exists(r) => self.exists(r),
            Request::GetData(r) => self.get_data(r),
            Request::GetChildren(r) => {
                let tree = self.tree;
                let children = names(tree, self.watched(r, Watch::Child)?);
                Ok(Response::Strings(StringsResponse { strings: children }))
            }
            Request::GetChildren2(r) => {
                let tree = self.tree;
                let node = self.watched(r, Watch::Child)?;
                let children = names(tree, node);
                Ok(Response::Children2(GetChildren2Response { children, stat: node.stat() }))
            }
            Request::GetAcl(r) => self.get_acl(&r.path),
            Request::MultiRead(ops) => {
                Ok(Response::Multi(MultiResults(ops.iter().map(|op| self.element(op)).collect())))
            }
            Request::GetEphemerals(r) => Ok(self.get_ephemerals(&r.path)),
            Request::GetAllChildrenNumber(r) => {
                self.readable(&r.path)?;
                let count = self.tree.descendants(&r.path);
                Ok(Response::Number(i32::try_from(count).unwrap_or(i32::MAX)))
            }
            Request::WhoAmI => Ok(self.who_am_i()),
            // `WatcherType.fromInt` fails as decoding does.
            Request::CheckWatches(r) | Request::RemoveWatches(r) if r.kind.name().is_none() => {
                Err(ErrorCode::MarshallingError)
            }
            Request::CheckWatches(r) => found(self.watches.contains(self.connection, &r.path, r.kind)),
            Request::RemoveWatches(r) => found(self.watches.remove(self.connection, &r.path, r.kind)),
            Request::AddWatch(r) => self.add_watch(&r.path, r.mode),
            Request::SetWatches(r) => {
                let full = SetWatches2 {
                    relative_zxid: r.relative_zxid,
                    data: r.data.clone(),
                    exist: r.exist.clone(),
                    child: r.child.clone(),
                    persistent: Vec::new(),
                    persistent_recursive: Vec::new(),
                };
                self.room_for(count(&full))?;
                self.set_watches(&full, events);
                Ok(Response::Empty)
            }
            Request::SetWatches2(r) => {
                self.room_for(count(r))?;
                self.set_watches(r, events);
                Ok(Response::Empty)
            }
            _ => Err(ErrorCode::Unimplemented),
        }
    }

    /// A missing znode leaves the watch too: it fires at the creation.
    fn exists(&mut self, r: &WatchedRead) -> Result<Response, ErrorCode> {
        if r.path.contains('\0') {
            return Err(ErrorCode::BadArguments);
        }
        self.room_for(usize::from(r.watch))?;
        let found = match self.tree.get(&r.path) {
            Some(node) => {
                self.may_read(node)?;
                Ok(Response::Stat(StatResponse { stat: node.stat() }))
            }
            None => Err(ErrorCode::NoNode),
        };
        if r.watch {
            self.watches.add(self.connection, &r.path, Watch::Data);
        }
        found
    }

    fn get_data(&mut self, r: &WatchedRead) -> Result<Response, ErrorCode> {
        let node = self.watched(r, Watch::Data)?;
        Ok(Response::Data(GetDataResponse { data: node.copied_data(), stat: node.stat() }))
    }

    fn get_acl(&self, path: &str) -> Result<Response, ErrorCode> {
        let node = self.tree.get(path).ok_or(ErrorCode::NoNode)?;
        let acl = self.tree.acl(node.acl());
        if !access::may_read_acl(self.who, &acl) {
            return Err(ErrorCode::NoAuth);
        }
        let acl = if self.who.may(perms::ADMIN, &acl) { acl.to_vec() } else { access::masked(&acl) };
        Ok(Response::Acl(GetAclResponse { acl, stat: node.stat() }))
    }

    fn element(&self, op: &ReadOp) -> MultiResult {
        let (ReadOp::GetData(r) | ReadOp::GetChildren(r)) = op;
        match (self.readable(&r.path), op) {
            (Err(code), _) => MultiResult::Error(code),
            (Ok(node), ReadOp::GetData(_)) => MultiResult::GetData(node.copied_data(), node.stat()),
            (Ok(node), ReadOp::GetChildren(_)) => MultiResult::GetChildren(names(self.tree, node)),
        }
    }

    fn get_ephemerals(&self, prefix: &str) -> Response {
        // One of them is the server's.
        let below = |path: &&std::sync::Arc<str>| {
            (prefix.trim().is_empty() || path.starts_with(prefix)) && !path.starts_with(OWNERS)
        };
        let strings = self.tree.ephemerals(self.session).filter(below).map(|path| path.to_string()).collect();
        Response::Strings(StringsResponse { strings })
    }

    fn who_am_i(&self) -> Response {
        Response::WhoAmI(self.who.infos())
    }

    fn add_watch(&mut self, path: &str, mode: AddWatchMode) -> Result<Response, ErrorCode> {
        let watch = match mode {
            AddWatchMode::Persistent => Watch::Persistent,
            AddWatchMode::PersistentRecursive => Watch::Recursive,
            _ => return Err(ErrorCode::MarshallingError),
        };
        self.room_for(1)?;
        self.watches.add(self.connection, path, watch);
        Ok(Response::Number(0))
    }

    /// Registers what the client had, and reports at once what it has missed. Persistent watches report nothing.
    fn set_watches(&mut self, r: &SetWatches2, events: &mut Vec<WatcherEvent>) {
        for path in &r.data {
            let missed = match self.tree.get(path) {
                None => Some(EventType::NodeDeleted),
                Some(node) => {
                    (node.persisted().mzxid > r.relative_zxid).then_some(EventType::NodeDataChanged)
                }
            };
            self.register_or_report(path, Watch::Data, missed, events);
        }
        for path in &r.exist {
            let missed = self.tree.get(path).map(|_| EventType::NodeCreated);
            self.register_or_report(path, Watch::Data, missed, events);
        }
        for path in &r.child {
            let missed = match self.tree.get(path) {
                None => Some(EventType::NodeDeleted),
                Some(node) => {
                    (node.persisted().pzxid > r.relative_zxid).then_some(EventType::NodeChildrenChanged)
                }
            };
            self.register_or_report(path, Watch::Child, missed, events);
        }
        for path in &r.persistent {
            self.watches.add(self.connection, path, Watch::Persistent);
        }
        for path in &r.persistent_recursive {
            self.watches.add(self.connection, path, Watch::Recursive);
        }
    }

    fn register_or_report(
        &mut self,
        path: &str,
        watch: Watch,
        missed: Option<EventType>,
        events: &mut Vec<WatcherEvent>,
    ) {
        match missed {
            Some(kind) => {
                events.push(WatcherEvent { kind, state: KeeperState::SyncConnected, path: path.to_owned() })
            }
            None => self.watches.add(self.connection, path, watch),
        }
    }

    /// A readable znode, with a watch if asked for.
    fn watched(&mut self, r: &WatchedRead, watch: Watch) -> Result<Node<'a>, ErrorCode> {
        let node = self.readable(&r.path)?;
        self.room_for(usize::from(r.watch))?;
        if r.watch {
            self.watches.add(self.connection, &r.path, watch);
        }
        Ok(node)
    }

    /// A watch that is there already needs a place all the same: that keeps this cheap.
    fn room_for(&self, watches: usize) -> Result<(), ErrorCode> {
        if watches == 0 || self.watches.has_room(self.connection, watches) {
            return Ok(());
        }
        tracing::debug!(
            connection = self.connection.0,
            watches = self.watches.len(),
            "too many watches (watches.maxTotal, watches.maxPerConnection)"
        );
        Err(ErrorCode::Throttled)
    }

    fn readable(&self, path: &str) -> Result<Node<'a>, ErrorCode> {
        let node = self.tree.get(path).ok_or(ErrorCode::NoNode)?;
        self.may_read(node)?;
        Ok(node)
    }

    fn may_read(&self, node: Node<'_>) -> Result<(), ErrorCode> {
        let granted = node.acl() == crate::tree::acl_table::OPEN_ACL
            || self.who.may(perms::READ, &self.tree.acl(node.acl()));
        if granted { Ok(()) } else { Err(ErrorCode::NoAuth) }
    }
}

/// How many watches are asked for.
fn count(r: &SetWatches2) -> usize {
    [&r.data, &r.exist, &r.child, &r.persistent, &r.persistent_recursive]
        .iter()
        .map(|paths| paths.len())
        .sum()
}

fn names(tree: &Tree, node: Node<'_>) -> Vec<String> {
    tree.names(node).map(str::to_owned).collect()
}

fn found(found: bool) -> Result<Response, ErrorCode> {
    if found { Ok(Response::Empty) } else { Err(ErrorCode::NoWatcher) }
}

/// Events that setWatches synthesises carry no transaction.
pub const SYNTHESISED: Zxid = Zxid(-1);
