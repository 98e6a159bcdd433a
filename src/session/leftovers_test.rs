//! What may go, judged on trees that are written down.

use zk_wire::stat::Stat;

use super::*;

const OURS: SessionId = SessionId(0x11);
const OTHERS: SessionId = SessionId(0x22);

fn path(path: &str) -> ZnodePath {
    ZnodePath::new(path).unwrap()
}

fn own() -> Own {
    Own::new(&path("/zoobridge"), "test").unwrap()
}

/// A tree that a bridge might have left, with transactions of its own.
struct Left {
    tree: Tree,
    zxid: i64,
}

impl Left {
    /// The own znodes of a bridge that made even the path of all own znodes.
    fn new() -> Left {
        let mut left = Left { tree: Tree::default(), zxid: 1 };
        for directory in ["/zoobridge", "/zoobridge/test", "/zoobridge/test/fence"] {
            left.put(directory, "");
        }
        left.by_others("/zoobridge/test/fence/5e2", "").by_others("/zoobridge/test/created", "");
        left
    }

    /// Creates a znode in the transaction of the one before.
    fn put(&mut self, at: &str, data: &str) -> &mut Stat {
        let stat = Stat { czxid: Zxid(self.zxid), ..Stat::default() };
        let znode = Znode { stat, data: Some(Bytes::copy_from_slice(data.as_bytes())) };
        self.tree.znodes.insert(path(at), znode);
        self.stat(at)
    }

    fn stat(&mut self, at: &str) -> &mut Stat {
        &mut self.tree.znodes.get_mut(&path(at)).unwrap().stat
    }

    /// Creates a znode in a transaction of its own.
    fn by_others(&mut self, at: &str, data: &str) -> &mut Self {
        self.zxid += 1;
        self.put(at, data);
        self
    }

    fn ephemeral(&mut self, at: &str, session: SessionId) -> &mut Self {
        self.zxid += 1;
        self.put(at, "").ephemeral_owner = session;
        self
    }

    fn record(&mut self, record: &Record) -> &mut Self {
        let place = record.place(&own().created).unwrap();
        let shard = place.parent().unwrap();
        if !self.tree.znodes.contains_key(&shard) {
            self.put(shard.as_str(), "");
        }
        let data = record.leaves.as_ref().map_or("", |leaves| leaves.as_str()).to_owned();
        self.put(place.as_str(), &data);
        self
    }

    /// As the bridge makes a directory.
    fn directory(&mut self, at: &str) -> &mut Self {
        self.by_others(at, "").record(&Record::directory(path(at)))
    }

    fn content(&mut self, at: &str, leaves: &str) -> &mut Self {
        let record = Record { leaves: Some(path(leaves)), ..Record::directory(path(at)) };
        self.by_others(at, "{}").record(&record)
    }

    fn item(&mut self, at: &str, item: &str, leaves: &str) -> &mut Self {
        self.zxid += 1;
        self.record(&Record { path: path(at), item: Some(item.to_owned()), leaves: Some(path(leaves)) })
    }

    fn judge(&self) -> Leftovers {
        Leftovers::judge(&own(), &self.tree, &BTreeSet::from([OURS]))
    }

    /// What goes beside our own znodes.
    fn goes(&self) -> Vec<String> {
        let of = |what: What| match what.items {
            Some((names, rest)) => {
                let names: Vec<_> = names.into_iter().collect();
                format!("{} -{} ={}", what.path, names.join("-"), String::from_utf8_lossy(&rest))
            }
            None => format!("{} v{}", what.path, what.version),
        };
        self.judge().made.into_iter().map(of).collect()
    }

    fn kept(&self) -> Vec<String> {
        self.judge().kept.iter().map(|(path, why)| format!("{path}: {why}")).collect()
    }
}

#[test]
fn directories_go_that_hold_nothing_but_what_goes() {
    let mut left = Left::new();
    left.directory("/services").directory("/services/carts").directory("/services/orders");
    left.ephemeral("/services/orders/10.0.0.1:8080", OURS);
    assert_eq!(left.goes(), ["/services/orders v0", "/services/carts v0", "/services v0"]);
    left.ephemeral("/services/orders/10.0.0.9:8080", OTHERS);
    assert_eq!(left.goes(), ["/services/carts v0"]);
    assert_eq!(
        left.kept(),
        ["/services: /services/orders is there", "/services/orders: /services/orders/10.0.0.9:8080 is there"]
    );
}

#[test]
fn what_the_bridge_did_not_make_or_others_wrote_in_stays() {
    let mut left = Left::new();
    left.by_others("/services", "")
        .directory("/services/a")
        .directory("/services/b")
        .directory("/services/c");
    // Of these, one was deleted and made anew, and one has data now.
    left.by_others("/services/a", "").stat("/services/b").version = 1;
    assert_eq!(left.goes(), ["/services/c v0"]);
    assert_eq!(
        left.kept(),
        ["/services/a: the bridge did not create it", "/services/b: somebody has written in it"]
    );
    // What may not be listed is taken to be used; what is gone is not told.
    left.tree.unreadable.insert(path("/services/c"));
    left.tree.znodes.remove(&path("/services/b"));
    assert_eq!(left.goes(), [""; 0]);
    assert_eq!(left.kept()[1], "/services/c: it may not be read with this identity");
}

#[test]
fn a_companion_goes_with_the_last_instance_that_needs_it() {
    let mut left = Left::new();
    left.directory("/services/orders")
        .directory("/dubbo/metadata")
        .content("/dubbo/metadata/1", "/services/orders");
    left.ephemeral("/services/orders/10.0.0.1:8080", OURS);
    assert_eq!(left.goes(), ["/services/orders v0", "/dubbo/metadata/1 v0", "/dubbo/metadata v0"]);
    left.ephemeral("/services/orders/10.0.0.9:8080", OTHERS);
    assert_eq!(left.goes(), [""; 0]);
    assert_eq!(left.kept()[1], "/dubbo/metadata/1: /services/orders/10.0.0.9:8080 is there");
    // Its directory may be gone altogether.
    left.tree.znodes.retain(|path, _| !path.as_str().starts_with("/services"));
    assert_eq!(left.goes(), ["/dubbo/metadata/1 v0", "/dubbo/metadata v0"]);
}

#[test]
fn of_a_list_the_items_go_that_the_bridge_added_and_nobody_needs() {
    let mut left = Left::new();
    let list = "/dubbo/mapping/a.B";
    left.by_others(list, "orders,theirs,carts").record(&Record::directory(path(list)));
    left.item(list, "orders", "/services/orders").item(list, "carts", "/services/carts");
    left.stat(list).version = 3;
    let data = |left: &mut Left, data: &'static str| {
        left.tree.znodes.get_mut(&path(list)).unwrap().data = Some(Bytes::from(data));
    };
    assert_eq!(left.goes(), [format!("{list} -carts-orders =theirs")]);
    data(&mut left, "orders,carts");
    assert_eq!(left.goes(), [format!("{list} v3")]);
    left.ephemeral("/services/carts/10.0.0.9:8080", OTHERS);
    assert_eq!(left.goes(), [format!("{list} -orders =carts")]);
    data(&mut left, "carts");
    assert_eq!((left.goes(), left.kept().len()), (vec![], 1));
    // Somebody else made the list.
    left.by_others(list, "orders");
    assert_eq!(left.goes(), [format!("{list} -orders =")]);
    data(&mut left, "");
    assert_eq!(left.goes(), [""; 0]);
}

#[test]
fn own_znodes_are_known_by_their_names() {
    let mut left = Left::new();
    left.by_others("/zoobridge/test/history", "")
        .by_others("/zoobridge/test/history/0000000007-00000001", "{}");
    left.by_others("/zoobridge/test/sessions", "")
        .ephemeral(&format!("/zoobridge/test/sessions/{OURS}"), OURS);
    left.directory("/services");
    let judged = left.judge();
    assert_eq!(judged.sessions, BTreeSet::from([OURS]));
    let record = Record::directory(path("/services")).place(&own().created).unwrap();
    let shard = record.parent().unwrap();
    assert_eq!(judged.made[0].records, BTreeSet::from([record]));
    let own_paths: Vec<_> = judged.own.iter().map(ZnodePath::as_str).collect();
    assert_eq!(
        own_paths,
        [
            "/zoobridge/test/sessions",
            "/zoobridge/test/history/0000000007-00000001",
            "/zoobridge/test/history",
            shard.as_str(),
            "/zoobridge/test/created",
        ]
    );
    let last: Vec<_> = judged.last.iter().map(ZnodePath::as_str).collect();
    assert_eq!(last, ["/zoobridge/test/fence/5e2", "/zoobridge/test/fence", "/zoobridge/test", "/zoobridge"]);
    assert_eq!(judged.kept, BTreeMap::new());

    let others = ["/zoobridge/test/notes", "/zoobridge/test/history/notes", "/zoobridge/test/created/00/a"];
    for at in others {
        left.by_others(at, "");
    }
    left.ephemeral("/zoobridge/test/sessions/0x9", OTHERS);
    let judged = left.judge();
    let kept: Vec<_> = judged.kept.keys().map(ZnodePath::as_str).collect();
    assert_eq!(kept, [others[2], others[1], others[0], "/zoobridge/test/sessions/0x9"]);
    assert_eq!(judged.own.len(), 5);
}

#[test]
fn the_path_of_all_own_znodes_goes_with_whom_it_came_with() {
    let mut left = Left::new();
    left.by_others("/zoobridge", "");
    let judged = left.judge();
    assert_eq!(judged.last.last().unwrap().as_str(), "/zoobridge/test");
    assert_eq!(judged.kept, BTreeMap::from([(path("/zoobridge"), Kept::NotOurs)]));
    assert!(Leftovers::judge(&own(), &Tree::default(), &BTreeSet::new()).is_nothing());
}
