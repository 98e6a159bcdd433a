//! Who watches what (`WatchManager`). Watches belong to connections and die with them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use zk_wire::codes::{EventType, WatcherType};
use zk_wire::path;

use super::Event;

/// A connection, unique for the life of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// The kinds of watch that one connection has on one path: a union of the constants below.
type Kinds = u8;
const DATA: Kinds = 1;
const CHILD: Kinds = 2;
const PERSISTENT: Kinds = 4;
const RECURSIVE: Kinds = 8;
/// What Apache keeps among the watches of data (`DataTree.dataWatches`).
const OF_DATA: Kinds = DATA | PERSISTENT | RECURSIVE;
/// What Apache keeps among the watches of children (`DataTree.childWatches`).
const OF_CHILDREN: Kinds = CHILD | PERSISTENT;

/// What a watch waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// One-shot: data set, created, deleted.
    Data,
    /// One-shot: list of children, deleted.
    Child,
    /// Both, until removed.
    Persistent,
    /// The znode and all below it, until removed; never a list of children.
    Recursive,
}

/// One notification to one connection; several of them share the event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// What happened, as the watcher learns it.
    pub kind: EventType,
    /// To which znode.
    pub path: Arc<str>,
    /// Who learns it, in the order of the connections.
    pub to: Vec<ConnectionId>,
}

/// All watches of a server.
#[derive(Debug, Default)]
pub struct Watches {
    by_path: HashMap<Arc<str>, BTreeMap<ConnectionId, Kinds>>,
    by_connection: HashMap<ConnectionId, BTreeSet<Arc<str>>>,
    recursive: usize,
    count: usize,
    /// Watches in all and of one connection at most; zero is no limit.
    limits: (usize, usize),
}

impl Watch {
    fn bit(self) -> Kinds {
        match self {
            Watch::Data => DATA,
            Watch::Child => CHILD,
            Watch::Persistent => PERSISTENT,
            Watch::Recursive => RECURSIVE,
        }
    }
}

impl Watches {
    /// None, and at most so many in all and on so many paths of one connection; zero is no limit.
    #[must_use]
    pub fn limited(all: usize, per_connection: usize) -> Self {
        Watches { limits: (all, per_connection), ..Watches::default() }
    }

    /// Is there room for so many more of a connection?
    #[must_use]
    pub fn has_room(&self, connection: ConnectionId, more: usize) -> bool {
        let fits = |limit: usize, count: usize| limit == 0 || count.saturating_add(more) <= limit;
        let of_connection = self.by_connection.get(&connection).map_or(0, BTreeSet::len);
        fits(self.limits.0, self.count) && fits(self.limits.1, of_connection)
    }

    /// Registers a watch; one that is there already stays.
    pub fn add(&mut self, connection: ConnectionId, path: &str, watch: Watch) {
        let key = match self.by_path.get_key_value(path) {
            Some((key, _)) => Arc::clone(key),
            None => Arc::from(path),
        };
        let kinds = self.by_path.entry(Arc::clone(&key)).or_default().entry(connection).or_default();
        if watch == Watch::Recursive && *kinds & RECURSIVE == 0 {
            self.recursive += 1;
        }
        let before = weight(*kinds);
        *kinds |= watch.bit();
        self.count += weight(*kinds) - before;
        self.by_connection.entry(connection).or_default().insert(key);
    }

    /// Removes the watches of a kind from a path. Returns whether there were any.
    pub fn remove(&mut self, connection: ConnectionId, path: &str, kind: WatcherType) -> bool {
        let found = self.kinds(connection, path) & mask(kind);
        self.clear(connection, path, found);
        found != 0
    }

    /// Is there a watch of that kind on the path?
    #[must_use]
    pub fn contains(&self, connection: ConnectionId, path: &str, kind: WatcherType) -> bool {
        self.kinds(connection, path) & mask(kind) != 0
    }

    /// Forgets a connection.
    pub fn disconnect(&mut self, connection: ConnectionId) {
        for path in self.by_connection.get(&connection).cloned().unwrap_or_default() {
            self.clear(connection, &path, Kinds::MAX);
        }
    }

    /// Watches in all (`zk_watch_count`): pairs of a path and a connection among those of data, and among those
    /// of children. A persistent watch is in both, a recursive one among the former.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Paths with watches of data, of existence or persistent ones, and whose they are.
    pub fn of_data(&self) -> impl Iterator<Item = (&Arc<str>, Vec<ConnectionId>)> {
        let of_data = |watchers: &BTreeMap<ConnectionId, Kinds>| -> Vec<ConnectionId> {
            watchers.iter().filter(|(_, kinds)| *kinds & OF_DATA != 0).map(|(&id, _)| id).collect()
        };
        let paths = self.by_path.iter().map(move |(path, watchers)| (path, of_data(watchers)));
        paths.filter(|(_, watchers)| !watchers.is_empty())
    }

    /// No watches at all?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_path.is_empty()
    }

    /// Whom a change concerns, in the order in which watchers learn of it (`DataTree`): the znode, then its
    /// parent's list. One-shot watches are used up. `allowed` says whether a connection may read under an ACL;
    /// a one-shot watch is used up also where it may not.
    pub fn trigger(
        &mut self,
        event: &Event,
        mut allowed: impl FnMut(ConnectionId, &[zk_wire::acl::Acl]) -> bool,
    ) -> Vec<Notification> {
        let mut notifications = Vec::new();
        if self.by_path.is_empty() {
            return notifications;
        }
        let mut to = self.fire(&event.path, DATA);
        if event.kind == EventType::NodeDeleted {
            let children_watchers = self.fire(&event.path, CHILD);
            to.extend(children_watchers);
        }
        self.add_ancestors(&event.path, &mut to);
        to.retain(|&connection| allowed(connection, &event.acl));
        push(&mut notifications, event.kind, &event.path, to);
        if event.kind != EventType::NodeDataChanged
            && let Some(parent) = path::parent(&event.path)
        {
            let mut to = self.fire(parent, CHILD);
            if let Some(acl) = &event.parent_acl {
                to.retain(|&connection| allowed(connection, acl));
            }
            push(&mut notifications, EventType::NodeChildrenChanged, parent, to);
        }
        notifications
    }

    /// Connections with a one-shot watch of `kind` or a persistent one on exactly `path`. Recursive watches
    /// count as data watches only.
    fn fire(&mut self, path: &str, kind: Kinds) -> BTreeSet<ConnectionId> {
        let listening = kind | PERSISTENT | if kind == DATA { RECURSIVE } else { 0 };
        let Some(watchers) = self.by_path.get(path) else {
            return BTreeSet::new();
        };
        let fired: Vec<(ConnectionId, Kinds)> =
            watchers.iter().filter(|(_, kinds)| *kinds & listening != 0).map(|(&c, &k)| (c, k)).collect();
        for &(connection, kinds) in &fired {
            if kinds & kind != 0 {
                self.clear(connection, path, kind);
            }
        }
        fired.into_iter().map(|(connection, _)| connection).collect()
    }

    fn add_ancestors(&self, path: &str, to: &mut BTreeSet<ConnectionId>) {
        if self.recursive == 0 {
            return;
        }
        let mut ancestor = path::parent(path);
        while let Some(path) = ancestor {
            let watchers = self.by_path.get(path).into_iter().flatten();
            to.extend(
                watchers.filter(|(_, kinds)| *kinds & RECURSIVE != 0).map(|(&connection, _)| connection),
            );
            ancestor = path::parent(path);
        }
    }

    fn kinds(&self, connection: ConnectionId, path: &str) -> Kinds {
        self.by_path.get(path).and_then(|watchers| watchers.get(&connection)).copied().unwrap_or_default()
    }

    fn clear(&mut self, connection: ConnectionId, path: &str, cleared: Kinds) {
        let Some(watchers) = self.by_path.get_mut(path) else {
            return;
        };
        let Some(kinds) = watchers.get_mut(&connection) else {
            return;
        };
        if *kinds & cleared & RECURSIVE != 0 {
            self.recursive -= 1;
        }
        let before = weight(*kinds);
        *kinds &= !cleared;
        self.count -= before - weight(*kinds);
        if *kinds != 0 {
            return;
        }
        watchers.remove(&connection);
        if watchers.is_empty() {
            self.by_path.remove(path);
        }
        if let Some(paths) = self.by_connection.get_mut(&connection) {
            paths.remove(path);
            if paths.is_empty() {
                self.by_connection.remove(&connection);
            }
        }
    }
}

/// `removeWatches` of children or data touches one-shot watches only.
/// How often one connection's watches of one path count.
fn weight(kinds: Kinds) -> usize {
    usize::from(kinds & OF_DATA != 0) + usize::from(kinds & OF_CHILDREN != 0)
}

fn mask(kind: WatcherType) -> Kinds {
    match kind {
        WatcherType::Children => CHILD,
        WatcherType::Data => DATA,
        WatcherType::Any => Kinds::MAX,
        WatcherType::Persistent => PERSISTENT,
        WatcherType::PersistentRecursive => RECURSIVE,
        _ => 0,
    }
}

fn push(notifications: &mut Vec<Notification>, kind: EventType, path: &str, to: BTreeSet<ConnectionId>) {
    if !to.is_empty() {
        notifications.push(Notification { kind, path: path.into(), to: to.into_iter().collect() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zk_wire::acl::Acl;

    const C: [ConnectionId; 4] = [ConnectionId(0), ConnectionId(1), ConnectionId(2), ConnectionId(3)];

    fn event(kind: EventType, path: &str) -> Event {
        Event { kind, path: path.into(), acl: Acl::open().into(), parent_acl: Some(Acl::open().into()) }
    }

    fn trigger(watches: &mut Watches, kind: EventType, path: &str) -> Vec<(EventType, String, Vec<u64>)> {
        let notifications = watches.trigger(&event(kind, path), |_, _| true);
        notifications
            .into_iter()
            .map(|n| (n.kind, n.path.to_string(), n.to.iter().map(|c| c.0).collect()))
            .collect()
    }

    #[test]
    fn one_shot_watches_fire_once_and_persistent_ones_stay() {
        let mut watches = Watches::default();
        watches.add(C[0], "/a", Watch::Data);
        watches.add(C[1], "/a", Watch::Persistent);
        watches.add(C[2], "/", Watch::Recursive);
        watches.add(C[3], "/a", Watch::Child);
        let set = EventType::NodeDataChanged;
        assert_eq!(trigger(&mut watches, set, "/a"), [(set, "/a".to_owned(), vec![0, 1, 2])]);
        assert_eq!(trigger(&mut watches, set, "/a"), [(set, "/a".to_owned(), vec![1, 2])]);
        assert_eq!(watches.len(), 4, "the persistent one is one of data and one of children");
    }

    #[test]
    fn a_list_of_children_is_watched_by_child_and_persistent_watches() {
        let mut watches = Watches::default();
        watches.add(C[0], "/a", Watch::Child);
        watches.add(C[1], "/a", Watch::Persistent);
        watches.add(C[2], "/a", Watch::Recursive);
        watches.add(C[3], "/a", Watch::Data);
        let expected = [
            (EventType::NodeCreated, "/a/b".to_owned(), vec![2]),
            (EventType::NodeChildrenChanged, "/a".to_owned(), vec![0, 1]),
        ];
        assert_eq!(trigger(&mut watches, EventType::NodeCreated, "/a/b"), expected);
    }

    #[test]
    fn a_deletion_is_told_once_to_each_connection() {
        let mut watches = Watches::default();
        for watch in [Watch::Data, Watch::Child] {
            watches.add(C[0], "/a", watch);
        }
        watches.add(C[1], "/a", Watch::Child);
        let expected = [(EventType::NodeDeleted, "/a".to_owned(), vec![0, 1])];
        assert_eq!(trigger(&mut watches, EventType::NodeDeleted, "/a"), expected);
        assert!(watches.is_empty());
    }

    #[test]
    fn a_one_shot_watch_is_used_up_also_where_the_acl_hides_the_event() {
        let mut watches = Watches::default();
        watches.add(C[0], "/a", Watch::Data);
        assert!(watches.trigger(&event(EventType::NodeDataChanged, "/a"), |_, _| false).is_empty());
        assert!(watches.is_empty());
    }

    #[test]
    fn there_is_room_up_to_the_limits() {
        let mut watches = Watches::limited(3, 2);
        watches.add(C[0], "/a", Watch::Data);
        watches.add(C[0], "/a", Watch::Data);
        assert!(watches.has_room(C[0], 1) && !watches.has_room(C[0], 2));
        watches.add(C[0], "/b", Watch::Data);
        assert!(!watches.has_room(C[0], 1) && watches.has_room(C[1], 1) && !watches.has_room(C[1], 2));
        watches.add(C[1], "/a", Watch::Child);
        assert!(!watches.has_room(C[2], 1) && watches.len() == 3);
        watches.disconnect(C[0]);
        assert!(watches.has_room(C[2], 2) && watches.len() == 1);
        assert!(Watches::default().has_room(C[0], usize::MAX));
    }

    #[test]
    fn removal_is_by_kind_and_a_connection_leaves_nothing() {
        let mut watches = Watches::default();
        watches.add(C[0], "/a", Watch::Data);
        watches.add(C[0], "/a", Watch::Recursive);
        watches.add(C[0], "/b", Watch::Child);
        assert!(!watches.remove(C[0], "/a", WatcherType::Children));
        assert!(watches.remove(C[0], "/a", WatcherType::PersistentRecursive));
        assert!(watches.contains(C[0], "/a", WatcherType::Data));
        assert!(watches.remove(C[0], "/a", WatcherType::Any));
        watches.disconnect(C[0]);
        assert!(watches.is_empty() && watches.by_connection.is_empty());
    }
}
