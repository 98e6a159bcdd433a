//! When containers that have become empty and TTL znodes whose time is up are deleted (`ContainerManager`).
//! Pure: time comes in, paths to try come out.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::config::ReaperConfig;
use crate::server::core::Now;
use crate::tree::Tree;
use crate::tree::node::{Node, Owner};

/// Looks through the tree now and then, a part at a time, and gives away what it finds at an even pace.
#[derive(Debug)]
pub struct Reaper {
    config: ReaperConfig,
    /// When the search under way began, or the last one.
    began: Duration,
    /// When there is something to do.
    next: Duration,
    found: VecDeque<Arc<str>>,
    /// The last path looked at, while a search is under way.
    place: Option<Arc<str>>,
}

/// Znodes looked at in one go: with a million of them nobody waits long.
const PART: usize = 2_000;

impl Reaper {
    /// The first search is an interval away.
    #[must_use]
    pub fn new(config: ReaperConfig, now: Duration) -> Self {
        Reaper { config, began: now, next: now + config.interval, found: VecDeque::new(), place: None }
    }

    /// When it wants to be called next.
    #[must_use]
    pub fn next(&self) -> Duration {
        self.next
    }

    /// What to delete now, if it is still empty then.
    pub fn due(&mut self, now: Now, tree: &Tree) -> Vec<Arc<str>> {
        let mut due = Vec::new();
        let pace = Duration::from_secs(60) / self.config.max_per_minute.max(1);
        while self.next <= now.uptime {
            if let Some(path) = self.found.pop_front() {
                due.push(path);
                self.next += pace;
                continue;
            }
            if self.place.is_none() {
                let next = self.began + self.config.interval;
                if next > now.uptime {
                    self.next = next;
                    break;
                }
                (self.began, self.next) = (now.uptime, now.uptime);
            }
            self.search(now, tree);
            if self.found.is_empty() {
                self.next = now.uptime + PAUSE;
            }
        }
        due
    }

    /// Looks at the next part.
    fn search(&mut self, now: Now, tree: &Tree) {
        let (mut seen, mut last) = (0, None);
        for (path, node) in tree.reapable(self.place.as_deref()).take(PART) {
            (seen, last) = (seen + 1, Some(path));
            if self.is_due(now, node) {
                self.found.push_back(Arc::clone(path));
            }
        }
        self.place = last.filter(|_| seen == PART).cloned();
    }

    fn is_due(&self, now: Now, node: Node<'_>) -> bool {
        let stat = node.persisted();
        let age_ms = now.wall_ms.saturating_sub(stat.mtime);
        let older_than = |limit: Duration| i128::from(age_ms) > limit.as_millis() as i128;
        node.children.is_empty()
            && match Owner::of(stat.ephemeral_owner) {
                Owner::Container => stat.cversion > 0 || self.config.never_used.is_some_and(older_than),
                Owner::Ttl(ttl_ms) => ttl_ms != 0 && age_ms > ttl_ms,
                Owner::None | Owner::Session(_) => false,
            }
    }
}

/// Requests come in between two parts, and between two searches, however short the interval is.
const PAUSE: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;
    use zk_wire::acl::Acl;
    use zk_wire::codes::OpCode;
    use zk_wire::ids::{SessionId, Zxid};
    use zk_wire::txn::{CreateContainerTxn, CreateTtlTxn, DeleteTxn, LoggedTxn, Txn, TxnHeader};

    struct World {
        tree: Tree,
        zxid: i64,
    }

    impl World {
        fn apply(&mut self, op: OpCode, txn: Txn) {
            self.zxid += 1;
            let header = TxnHeader { session: SessionId(1), cxid: 0, zxid: Zxid(self.zxid), time_ms: 0, op };
            self.tree.apply(&LoggedTxn { header, txn, digest: None });
        }

        fn container(&mut self, path: &str) {
            let (path, acl) = (path.to_owned(), Acl::open());
            let txn = CreateContainerTxn { path, data: None, acl, parent_cversion: 1 };
            self.apply(OpCode::CreateContainer, Txn::CreateContainer(txn));
        }

        fn ttl(&mut self, path: &str, ttl_ms: i64) {
            let (path, acl) = (path.to_owned(), Acl::open());
            let txn = CreateTtlTxn { path, data: None, acl, parent_cversion: 1, ttl_ms };
            self.apply(OpCode::CreateTtl, Txn::CreateTtl(txn));
        }
    }

    fn at(ms: u64) -> Now {
        Now { uptime: Duration::from_millis(ms), wall_ms: i64::try_from(ms).unwrap() }
    }

    fn reaper(max_per_minute: u32, never_used_ms: Option<u64>) -> Reaper {
        let interval = Duration::from_secs(60);
        let never_used = never_used_ms.map(Duration::from_millis);
        Reaper::new(ReaperConfig { interval, max_per_minute, never_used }, Duration::ZERO)
    }

    fn names(due: &[Arc<str>]) -> Vec<&str> {
        due.iter().map(|path| &**path).collect()
    }

    #[test]
    fn what_was_used_and_is_empty_goes_and_what_has_aged() {
        let mut world = World { tree: Tree::new(), zxid: 0 };
        for path in ["/used", "/used/child", "/full", "/full/child", "/new"] {
            world.container(path);
        }
        world.apply(OpCode::Delete, Txn::Delete(DeleteTxn { path: "/used/child".to_owned() }));
        world.ttl("/old", 59_000);
        world.ttl("/young", 60_000);
        let mut never = reaper(60_000, None);
        assert_eq!(never.due(at(59_999), &world.tree), []);
        let found = |mut reaper: Reaper| {
            let mut all = reaper.due(at(60_000), &world.tree);
            all.extend(reaper.due(at(60_100), &world.tree));
            all
        };
        assert_eq!(names(&found(never)), ["/old", "/used"]);
        assert_eq!(names(&found(reaper(60_000, Some(59_999)))), ["/full/child", "/new", "/old", "/used"]);
        assert_eq!(names(&found(reaper(60_000, Some(60_000)))), ["/old", "/used"]);
    }

    #[test]
    fn they_go_at_an_even_pace_and_the_search_is_made_once_an_interval() {
        let mut world = World { tree: Tree::new(), zxid: 0 };
        for n in 0..PART + 3 {
            world.ttl(&format!("/n{n:06}"), 1);
        }
        let mut reaper = reaper(600, None);
        assert_eq!(reaper.due(at(60_000), &world.tree).len(), 1);
        assert_eq!(reaper.next(), Duration::from_millis(60_100));
        assert_eq!(reaper.due(at(60_099), &world.tree).len(), 0);
        assert_eq!(reaper.due(at(61_000), &world.tree).len(), 10);
        let rest = PART as u64 + 3 - 11;
        assert_eq!(reaper.due(at(61_000 + 100 * rest), &world.tree).len() as u64, rest);
        // That took more than an interval: the next search begins at once.
        assert!(reaper.due(at(61_000 + 100 * (rest + 2)), &world.tree).len() <= 2);
    }
}
