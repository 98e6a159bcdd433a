//! What is told is what would be written, and nothing is left to tell once it was.

use kube::runtime::watcher::Event;
use serde_json::json;
use zk_wire::ids::Zxid;
use zk_wire::stat::Stat;

use super::*;
use crate::apply::Verb;
use crate::format::Format;
use crate::observe::Observation;
use crate::session::Znode;

const OURS: SessionId = SessionId(7);
const THEIRS: SessionId = SessionId(8);

fn roots() -> Roots {
    Roots(Format::ALL.map(|format| (format, ZnodePath::new(format.default_root()).unwrap())).into())
}

fn store(services: &[(&str, &[u8])]) -> Store {
    let mut store = Store::default();
    store.observe(Observation::Service(Event::Init));
    store.observe(Observation::Slice(Event::Init));
    for (name, ready) in services {
        let service = json!({
            "metadata": {
                "namespace": "shop", "name": name, "uid": "u", "annotations": {"zoobridge.io/curator": "orders"},
            },
            "spec": {"ports": [{"port": 80}]},
        });
        let endpoints: Vec<_> =
            ready.iter().map(|last| json!({"addresses": [format!("10.0.0.{last}")]})).collect();
        let slice = json!({
            "metadata": {
                "namespace": "shop", "name": format!("{name}-1"), "labels": {"kubernetes.io/service-name": name},
            },
            "addressType": "IPv4", "endpoints": endpoints, "ports": [{"port": 80}],
        });
        store.observe(Observation::Service(Event::InitApply(serde_json::from_value(service).unwrap())));
        store.observe(Observation::Slice(Event::InitApply(serde_json::from_value(slice).unwrap())));
    }
    store.observe(Observation::Service(Event::InitDone));
    store.observe(Observation::Slice(Event::InitDone));
    store
}

/// `/services/orders/10.0.0.<last>:80` of a session.
fn tree(leaves: &[(u8, SessionId)]) -> Tree {
    let znode = |owner: SessionId, czxid: i64| Znode {
        stat: Stat { ephemeral_owner: owner, czxid: Zxid(czxid), ..Stat::default() },
        data: Some("old".into()),
    };
    let mut tree = Tree::default();
    for (index, path) in ["/services", "/services/orders"].iter().enumerate() {
        tree.znodes.insert(ZnodePath::new(path).unwrap(), znode(SessionId::NONE, index as i64));
    }
    for &(last, owner) in leaves {
        let path = ZnodePath::new(&format!("/services/orders/10.0.0.{last}:80")).unwrap();
        tree.znodes.insert(path, znode(owner, 10 + i64::from(last)));
    }
    tree
}

fn rehearsal(tree: Tree) -> Rehearsal {
    let rules =
        serde_saphyr::from_str("[{formats: [curator, dubbo3], names: ['*'], addresses: [pod, custom]}]")
            .unwrap();
    Rehearsal::new(rules, roots(), tree, BTreeSet::from([OURS]))
}

fn shown(rehearsed: &Rehearsed) -> Vec<String> {
    let last =
        |path: &ZnodePath| path.name().trim_start_matches("10.0.0.").trim_end_matches(":80").to_owned();
    let one = |(key, write): &(Option<ServiceKey>, Write)| {
        let key = key.as_ref().map_or_else(|| "nobody".to_owned(), |key| key.name.to_string());
        match write {
            Write::Directory(path) => format!("{key} mkdir {path}"),
            Write::Companion(path) => format!("{key} companion {path}"),
            Write::Leaf(Verb::Create, path) => format!("{key} +{}", last(path)),
            Write::Leaf(Verb::Set, path) => format!("{key} ={}", last(path)),
            Write::Leaf(Verb::Delete, path) => format!("{key} -{}", last(path)),
        }
    };
    rehearsed.writes.iter().map(one).collect()
}

#[tokio::test]
async fn creates_are_told_before_deletes_and_strangers_are_left_alone() {
    let store = store(&[("a", &[1, 2, 3])]);
    let mut rehearsal = rehearsal(tree(&[(2, THEIRS), (3, OURS), (4, OURS), (5, THEIRS)]));
    let rehearsed = rehearsal.settle(&store).await;
    assert_eq!(shown(&rehearsed), ["a +1", "a =3", "nobody -4"]);
    let refusals: Vec<_> = rehearsed.refusals[&ServiceKey::new("shop", "a")].iter().collect();
    let [Refusal::Joined { .. }, Refusal::Conflict { holder, .. }] = &*refusals else {
        panic!("{refusals:?}")
    };
    assert!(holder.contains("not ours"));
}

#[tokio::test]
async fn where_there_are_only_strangers_nothing_is_told_but_that() {
    let mut rehearsal = rehearsal(tree(&[(5, THEIRS)]));
    let store = store(&[("a", &[1])]);
    let rehearsed = rehearsal.settle(&store).await;
    assert_eq!(shown(&rehearsed), Vec::<String>::new());
    let refusals: Vec<_> = rehearsed.refusals[&ServiceKey::new("shop", "a")].iter().collect();
    assert!(matches!(&*refusals, [Refusal::Taken { .. }]), "{refusals:?}");
    let rules = "[{formats: [curator], names: ['*'], addresses: [pod, custom], shared: true}]";
    rehearsal.rule(serde_saphyr::from_str(rules).unwrap(), &store);
    assert_eq!(shown(&rehearsal.settle(&store).await), ["a +1"]);
}

#[tokio::test]
async fn what_was_told_once_is_not_told_again() {
    let mut rehearsal = rehearsal(Tree::default());
    let rehearsed = rehearsal.settle(&store(&[("a", &[1])])).await;
    assert_eq!(shown(&rehearsed), ["a mkdir /services", "a mkdir /services/orders", "a +1"]);
    let both = store(&[("a", &[1]), ("b", &[1, 2])]);
    rehearsal.observed(both.keys().collect::<BTreeSet<_>>());
    assert_eq!(shown(&rehearsal.settle(&both).await), ["b +2"]);
    assert_eq!(rehearsal.settle(&both).await, Rehearsed::default());
    // What one lets go of goes to who waits for it, and is not written.
    let now = store(&[("a", &[]), ("b", &[1, 2, 3])]);
    rehearsal.observed(now.keys().collect::<BTreeSet<_>>());
    assert_eq!(shown(&rehearsal.settle(&now).await), ["b +3"]);
}

#[tokio::test]
async fn before_everything_is_known_nothing_is_told() {
    let mut rehearsal = rehearsal(tree(&[(4, OURS)]));
    assert_eq!(rehearsal.settle(&Store::default()).await, Rehearsed::default());
}
