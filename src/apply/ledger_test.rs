//! The ledger against a tree of znodes: named cases, and whatever order a random scheduler finds.

use proptest::prelude::*;
use zk_wire::ids::Zxid;

use super::*;
use crate::model::{Fingerprint, Host};
use crate::plan::Kept;

const A: SessionId = SessionId(1);
const B: SessionId = SessionId(2);

fn roots() -> Roots {
    Roots(Format::ALL.map(|format| (format, ZnodePath::new(format.default_root()).unwrap())).into())
}

fn leaf(last: u8) -> ZnodePath {
    ZnodePath::new(&format!("/services/orders/10.0.0.{last}:80")).unwrap()
}

fn key(name: &str) -> ServiceKey {
    ServiceKey::new("shop", name)
}

fn desired(leaves: &[u8]) -> Desired {
    let leaves = leaves.iter().map(|&last| (leaf(last), bytes::Bytes::from("x")));
    Desired {
        leaves: leaves.collect(),
        companions: [Companion::directory(ZnodePath::new("/services/orders").unwrap())].into(),
        ..Desired::default()
    }
}

fn owned(session: SessionId, czxid: i64) -> Owned {
    Owned { session, czxid: Zxid(czxid), version: 0, fingerprint: Some(Fingerprint::of(b"x")) }
}

fn synced(inherited: &[u8], services: &[&str]) -> Ledger {
    let inherited = inherited.iter().map(|&last| (leaf(last), owned(A, 1))).collect();
    let mut ledger = Ledger::new(roots(), inherited);
    ledger.synced(&services.iter().map(|name| key(name)).collect());
    ledger
}

fn lasts(paths: impl IntoIterator<Item = ZnodePath>) -> Vec<String> {
    paths.into_iter().map(|path| path.name().trim_start_matches("10.0.0.").to_owned()).collect()
}

/// Plans, and carries everything out.
fn publish(ledger: &mut Ledger, name: &str, leaves: &[u8]) -> Option<Change> {
    carry_out(ledger, name, desired(leaves))
}

fn carry_out(ledger: &mut Ledger, name: &str, desired: Desired) -> Option<Change> {
    let change = ledger.plan(&key(name), desired)?;
    let created = change.changes.creates.keys().map(|path| (path.clone(), Settled::Ours(owned(A, 1))));
    let gone = change.changes.gone.iter().map(|path| (path.clone(), Settled::Gone));
    let settled = created.chain(gone).collect();
    let companions = change.changes.companions.clone();
    ledger.written(&key(name), companions, &settled, BTreeSet::new(), false, |_| true);
    Some(change)
}

fn due(ledger: &mut Ledger) -> Vec<String> {
    std::iter::from_fn(|| ledger.pop_due()).map(|key| key.name.to_string()).collect()
}

fn look(ledger: &mut Ledger, answer: &Look) -> Vec<ZnodePath> {
    let doubts = ledger.take_doubts(100);
    doubts.iter().for_each(|doubt| {
        ledger.looked(doubt, answer.clone());
    });
    doubts.into_iter().map(|doubt| doubt.suspect.path).collect()
}

#[test]
fn what_is_published_is_not_written_again() {
    let mut ledger = synced(&[], &["a"]);
    let change = publish(&mut ledger, "a", &[1, 2]).unwrap();
    assert_eq!((change.changes.creates.len(), change.changes.companions.len()), (2, 1));
    assert_eq!(ledger.plan(&key("a"), desired(&[1, 2])), None);
    let change = publish(&mut ledger, "a", &[2, 3]).unwrap();
    assert_eq!(lasts(change.changes.creates.into_keys()), ["3:80"]);
    assert_eq!(lasts(change.changes.gone), ["1:80"]);
    assert_eq!(ledger.counts(), Counts { services: 1, znodes: 2, refused: 0, pending: 0 });
}

#[test]
fn the_echo_of_our_own_writes_is_not_worth_a_look() {
    let mut ledger = synced(&[], &["a"]);
    publish(&mut ledger, "a", &[1, 2]);
    let change = ledger.plan(&key("a"), desired(&[2])).unwrap();
    ledger.deleted(leaf(1).as_str());
    let settled = change.changes.gone.iter().map(|path| (path.clone(), Settled::Gone)).collect();
    ledger.written(&key("a"), BTreeSet::new(), &settled, BTreeSet::new(), false, |_| true);
    ledger.deleted(leaf(1).as_str());
    assert_eq!(ledger.take_doubts(100), []);
}

#[test]
fn what_a_stranger_deletes_is_looked_at_and_published_again() {
    let mut ledger = synced(&[], &["a"]);
    publish(&mut ledger, "a", &[1]);
    ledger.deleted(leaf(1).as_str());
    let doubts = ledger.take_doubts(100);
    assert_eq!(doubts[0].suspect, Suspect { path: leaf(1), believed: Some(owned(A, 1)), via: None });
    assert_eq!(ledger.looked(&doubts[0], Look::Absent), Some(Drift::Heard));
    assert_eq!(due(&mut ledger), ["a"]);
    assert_eq!(lasts(publish(&mut ledger, "a", &[1]).unwrap().changes.creates.into_keys()), ["1:80"]);
}

#[test]
fn an_audit_comes_to_every_path_in_turn_and_tells_what_no_watch_told() {
    let mut ledger = synced(&[], &["a"]);
    publish(&mut ledger, "a", &[1, 2, 3]);
    assert_eq!(ledger.audited(), 4);
    assert!(!ledger.take_wants_lists() || ledger.all_planned());
    // The directory first: it is made sure of, and watched, by whoever wants it.
    let mut at = ledger.audit(None, 2);
    assert_eq!(at, Some(leaf(1)));
    assert_eq!(due(&mut ledger), ["a"]);
    assert_eq!(ledger.plan(&key("a"), desired(&[1, 2, 3])).unwrap().changes.companions.len(), 1);
    let companions = desired(&[]).companions;
    ledger.written(&key("a"), companions, &BTreeMap::new(), BTreeSet::new(), false, |_| true);
    let doubts = ledger.take_doubts(100);
    assert_eq!(ledger.looked(&doubts[0], Look::Absent), Some(Drift::Unheard));
    assert_eq!(due(&mut ledger), ["a"]);
    publish(&mut ledger, "a", &[1, 2, 3]);
    let mut seen = Vec::new();
    while let Some(path) = ledger.audit(at.as_ref(), 1) {
        seen.push(path.clone());
        at = Some(path);
    }
    assert_eq!(lasts(seen), ["2:80", "3:80"]);
    assert!(ledger.take_wants_lists());
    // What is heard while somebody looks counts as heard.
    ledger.deleted(leaf(2).as_str());
    let doubts = ledger.take_doubts(100);
    assert_eq!(lasts(doubts.iter().map(|doubt| doubt.suspect.path.clone())), ["2:80", "3:80"]);
    assert_eq!(ledger.looked(&doubts[0], Look::Absent), Some(Drift::Heard));
    assert_eq!(ledger.looked(&doubts[1], Look::Ours(owned(A, 1))), None);
}

#[test]
fn what_a_stranger_overwrites_is_set_back() {
    let mut ledger = synced(&[], &["a"]);
    publish(&mut ledger, "a", &[1]);
    ledger.changed(leaf(1).as_str());
    let other = Owned { version: 1, fingerprint: Some(Fingerprint::of(b"y")), ..owned(A, 1) };
    assert_eq!(look(&mut ledger, &Look::Ours(other)), [leaf(1)]);
    assert_eq!(due(&mut ledger), ["a"]);
    let change = ledger.plan(&key("a"), desired(&[1])).unwrap();
    assert_eq!(lasts(change.changes.sets.into_keys()), ["1:80"]);
}

#[test]
fn a_strangers_leaf_is_waited_for_without_trying_again_and_again() {
    let mut ledger = synced(&[], &["a", "b"]);
    let change = ledger.plan(&key("a"), desired(&[1, 2])).unwrap();
    let settled = change.changes.creates.keys().map(|path| (path.clone(), Settled::Moved)).collect();
    ledger.written(&key("a"), change.changes.companions, &settled, BTreeSet::new(), false, |_| true);
    look(&mut ledger, &Look::Theirs("session 7".to_owned()));
    ledger.push(key("b"));
    while let Some(key) = ledger.pop_due() {
        assert_eq!(ledger.plan(&key, desired(&[1, 2])), None, "a plan that cannot succeed");
    }
    let (_, now) = ledger.report(&key("a")).unwrap();
    assert_eq!(now.len(), 2);
    ledger.deleted(leaf(1).as_str());
    assert_eq!(look(&mut ledger, &Look::Absent), [leaf(1)]);
    assert_eq!(due(&mut ledger), ["a", "b"]);
    assert_eq!(
        lasts(ledger.plan(&key("b"), desired(&[1, 2])).unwrap().changes.creates.into_keys()),
        ["1:80"]
    );
}

#[test]
fn a_create_whose_answer_was_lost_is_deleted_if_nobody_wants_it_any_more() {
    let mut ledger = synced(&[], &["a"]);
    ledger.plan(&key("a"), desired(&[1])).unwrap();
    let settled = BTreeMap::from([(leaf(1), Settled::Unknown(B))]);
    let delay = ledger.written(&key("a"), BTreeSet::new(), &settled, BTreeSet::new(), true, |_| true);
    assert!(delay.is_some());
    // The pod dies before the look.
    assert_eq!(ledger.plan(&key("a"), desired(&[])).map(|change| change.changes.creates.len()), Some(0));
    ledger.written(&key("a"), desired(&[]).companions, &BTreeMap::new(), BTreeSet::new(), false, |_| true);
    let doubts = ledger.take_doubts(100);
    assert_eq!(doubts[0].suspect.via, Some(B));
    ledger.looked(&doubts[0], Look::Ours(owned(B, 5)));
    assert_eq!(due(&mut ledger), ["a"]);
    assert_eq!(lasts(ledger.plan(&key("a"), desired(&[])).unwrap().changes.gone), ["1:80"]);
}

#[test]
fn a_look_that_began_before_a_write_is_void() {
    let mut ledger = synced(&[], &["a"]);
    publish(&mut ledger, "a", &[1, 2]);
    ledger.deleted(leaf(1).as_str());
    let before = ledger.take_doubts(100);
    publish(&mut ledger, "a", &[2]);
    publish(&mut ledger, "a", &[1, 2]);
    assert_eq!(ledger.looked(&before[0], Look::Absent), None);
    assert_eq!(ledger.take_doubts(100), []);
    assert_eq!(ledger.plan(&key("a"), desired(&[1, 2])), None);
    // And one that began before a write that is under way.
    ledger.deleted(leaf(1).as_str());
    let before = ledger.take_doubts(100);
    ledger.plan(&key("a"), desired(&[2])).unwrap();
    assert_eq!(ledger.looked(&before[0], Look::Absent), None);
    ledger.written(&key("a"), BTreeSet::new(), &BTreeMap::new(), BTreeSet::new(), true, |_| true);
    assert_eq!(look(&mut ledger, &Look::Ours(owned(A, 1))), [leaf(1)]);
}

#[test]
fn an_expired_session_takes_its_leaves_and_only_those() {
    let mut ledger = synced(&[], &["a", "b"]);
    publish(&mut ledger, "a", &[1]);
    let change = ledger.plan(&key("b"), desired(&[2])).unwrap();
    assert_eq!(change.changes.creates.len(), 1);
    due(&mut ledger);
    ledger.expired(A);
    assert_eq!(due(&mut ledger), ["a"]);
    // The answer comes behind the expiry.
    let settled = BTreeMap::from([(leaf(2), Settled::Ours(owned(A, 3)))]);
    ledger.written(&key("b"), BTreeSet::new(), &settled, BTreeSet::new(), false, |session| session != A);
    assert_eq!(due(&mut ledger), ["b"]);
    assert_eq!(ledger.plan(&key("b"), desired(&[2])).unwrap().changes.creates.len(), 1);
}

#[test]
fn an_inheritance_is_claimed_and_the_rest_goes_once_all_have_been_asked() {
    let mut ledger = synced(&[1, 2, 3], &["a", "b"]);
    assert_eq!(ledger.plan(&key("a"), desired(&[1])).map(|c| c.changes.creates.len()), Some(0));
    assert_eq!(due(&mut ledger), [""; 0]);
    ledger.plan(&key("b"), desired(&[2]));
    assert_eq!(due(&mut ledger), [""]);
    let orphans = ledger.plan(&nobody(), Desired::default()).unwrap();
    assert_eq!(lasts(orphans.changes.gone), ["3:80"]);
    assert!(ledger.take_wants_lists());
}

#[test]
fn an_inheritance_that_a_mistake_may_still_want_stays() {
    let mut ledger = synced(&[1, 2], &["a"]);
    let mut unclear = Desired::default();
    let kept = Kept { hosts: [Host::Ip([10, 0, 0, 1].into())].into(), names: false };
    unclear.undetermined.insert(Format::Curator, kept);
    assert_eq!(ledger.plan(&key("a"), unclear.clone()), None);
    assert_eq!(due(&mut ledger), ["a", ""]);
    assert_eq!(ledger.plan(&key("a"), unclear), None);
    assert_eq!(lasts(ledger.plan(&nobody(), Desired::default()).unwrap().changes.gone), ["2:80"]);
}

#[test]
fn a_leaf_changes_hands_without_going_away() {
    let mut ledger = synced(&[], &["a", "b"]);
    publish(&mut ledger, "a", &[1]);
    assert_eq!(ledger.plan(&key("b"), desired(&[1])), None);
    assert!(matches!(ledger.report(&key("b")).unwrap().1.first(), Some(Refusal::Conflict { .. })));
    due(&mut ledger);
    assert_eq!(publish(&mut ledger, "a", &[]), None);
    assert_eq!(due(&mut ledger), ["b"]);
    assert_eq!(ledger.plan(&key("b"), desired(&[1])), None);
    assert_eq!(ledger.report(&key("b")).unwrap().1.len(), 0);
    assert_eq!(ledger.counts().znodes, 1);
}

#[test]
fn lists_are_compared_and_only_differences_are_looked_at() {
    let mut ledger = synced(&[], &["a"]);
    publish(&mut ledger, "a", &[1, 2]);
    ledger.listed(A, vec![leaf(2), leaf(3), ZnodePath::new("/elsewhere").unwrap()]);
    let doubts = ledger.take_doubts(100);
    assert_eq!(lasts(doubts.iter().map(|doubt| doubt.suspect.path.clone())), ["1:80", "3:80"]);
    ledger.looked(&doubts[0], Look::Ours(owned(A, 1)));
    ledger.looked(&doubts[1], Look::Ours(owned(A, 9)));
    assert_eq!(due(&mut ledger), ["a", ""]);
    assert_eq!(ledger.plan(&key("a"), desired(&[1, 2])), None);
    assert_eq!(lasts(ledger.plan(&nobody(), Desired::default()).unwrap().changes.gone), ["3:80"]);
}

/// Under a policy what is not wanted any more stays, may change hands, and goes as soon as it may.
#[test]
fn what_may_not_be_deleted_stays_with_its_service() {
    let mut ledger = synced(&[7], &["a"]).under(Policy::UpsertOnly);
    let change = publish(&mut ledger, "a", &[1, 2]).unwrap();
    assert_eq!(lasts(change.changes.creates.into_keys()), ["1:80", "2:80"]);
    due(&mut ledger);
    assert_eq!(ledger.plan(&nobody(), Desired::default()), None);
    let change = publish(&mut ledger, "a", &[2, 3]).unwrap();
    assert_eq!(lasts(change.changes.creates.into_keys()), ["3:80"]);
    assert_eq!(change.changes.gone, BTreeSet::new());
    assert_eq!(publish(&mut ledger, "a", &[2, 3]), None);
    // Another Service wants what is left.
    assert_eq!(publish(&mut ledger, "b", &[1]), None);
    assert_eq!(publish(&mut ledger, "a", &[2, 3]), None);
    assert!(due(&mut ledger).contains(&"b".to_owned()));
    assert_eq!(publish(&mut ledger, "b", &[1]), None);
    ledger = ledger.under(Policy::Sync);
    assert_eq!(lasts(publish(&mut ledger, "b", &[]).unwrap().changes.gone), ["1:80"]);
    assert_eq!(lasts(ledger.plan(&nobody(), Desired::default()).unwrap().changes.gone), ["7:80"]);
}

/// What a companion holds may be taken away by a stranger; what a directory holds is nobody's business.
#[test]
fn a_companion_that_others_changed_is_made_sure_of_again() {
    let (list, directory) = (ZnodePath::new("/list").unwrap(), ZnodePath::new("/services/orders").unwrap());
    let holds = Holds::Item { item: "orders".to_owned(), leaves: directory.clone() };
    let item = Companion { path: list.clone(), holds };
    let mut wanted = desired(&[1]);
    wanted.companions.insert(item.clone());
    let mut ledger = synced(&[], &["a"]);
    assert_eq!(carry_out(&mut ledger, "a", wanted.clone()).unwrap().changes.companions.len(), 2);
    due(&mut ledger);
    for (path, expected) in [(&list, Some(&item)), (&directory, None)] {
        ledger.changed(path.as_str());
        assert_eq!(due(&mut ledger).is_empty(), expected.is_none(), "{path}");
        let change = carry_out(&mut ledger, "a", wanted.clone());
        let companions = change.map(|change| change.changes.companions);
        assert_eq!(companions, expected.map(|item| [item.clone()].into()), "{path}");
    }
    ledger.deleted(list.as_str());
    assert_eq!(ledger.plan(&key("a"), wanted).unwrap().changes.companions, [item].into());
}

#[test]
fn after_a_gap_everything_is_looked_at_and_directories_are_made_sure_of() {
    let mut ledger = synced(&[], &["a"]);
    publish(&mut ledger, "a", &[1, 2]);
    due(&mut ledger);
    ledger.gap();
    assert_eq!(look(&mut ledger, &Look::Ours(owned(A, 1))), [leaf(1), leaf(2)]);
    assert!(ledger.take_wants_lists());
    assert_eq!(due(&mut ledger), ["a"]);
    let change = ledger.plan(&key("a"), desired(&[1, 2])).unwrap();
    assert_eq!((change.changes.companions.len(), change.changes.creates.len()), (1, 0));
}

/// The leaf of an endpoint in Dubbo's format: its name changes with `weight`.
fn provider(last: u8, weight: u8) -> ZnodePath {
    let url = format!("dubbo%3A%2F%2F10.0.0.{last}%3A80%2Fcom.acme.A%3Fweight%3D{weight}");
    ZnodePath::new(&format!("/dubbo/com.acme.A/providers/{url}")).unwrap()
}

fn providers(leaves: &[(u8, u8)]) -> Desired {
    let leaves = leaves.iter().map(|&(last, weight)| (provider(last, weight), bytes::Bytes::from("x")));
    Desired { leaves: leaves.collect(), ..Desired::default() }
}

fn carried_out(ledger: &mut Ledger, change: &Change) {
    let Changes { creates, gone, replaced, .. } = &change.changes;
    let created = creates.keys().map(|path| (path.clone(), Settled::Ours(owned(A, 1))));
    let gone = gone.iter().chain(replaced).map(|path| (path.clone(), Settled::Gone));
    let settled = created.chain(gone).collect();
    ledger.written(&key("a"), BTreeSet::new(), &settled, BTreeSet::new(), false, |_| true);
}

#[cfg(not(feature = "delete-first"))]
#[test]
fn an_endpoint_keeps_its_old_leaf_while_nobody_knows_whether_the_new_one_is_there() {
    let mut ledger = synced(&[], &["a"]);
    let change = ledger.plan(&key("a"), providers(&[(1, 1)])).unwrap();
    carried_out(&mut ledger, &change);
    let change = ledger.plan(&key("a"), providers(&[(1, 2)])).unwrap();
    assert_eq!(change.changes.replaced, [provider(1, 1)].into());
    // The answer to the create is lost, and the Service is planned again before the look.
    let settled = BTreeMap::from([(provider(1, 2), Settled::Unknown(A))]);
    ledger.written(&key("a"), BTreeSet::new(), &settled, BTreeSet::new(), true, |_| true);
    assert_eq!(ledger.plan(&key("a"), providers(&[(1, 2)])), None);
    // The look finds nothing: the new one is created, and only then the old one goes.
    assert_eq!(look(&mut ledger, &Look::Absent), [provider(1, 2)]);
    let change = ledger.plan(&key("a"), providers(&[(1, 2)])).unwrap();
    assert_eq!(change.changes.creates.keys().collect::<Vec<_>>(), [&provider(1, 2)]);
    assert_eq!((change.changes.gone.len(), &change.changes.replaced), (0, &[provider(1, 1)].into()));
}

#[cfg(not(feature = "delete-first"))]
#[test]
fn an_inherited_leaf_of_a_ready_endpoint_goes_only_when_its_replacement_is_there() {
    let inherited = [(provider(1, 1), owned(A, 1)), (provider(2, 1), owned(A, 1))].into();
    let mut ledger = Ledger::new(roots(), inherited);
    ledger.synced(&[key("a")].into());
    let change = ledger.plan(&key("a"), providers(&[(1, 2)])).unwrap();
    assert_eq!(change.changes.creates.len(), 1);
    // Endpoint 2 is nobody's; endpoint 1 is not.
    while let Some(key) = ledger.pop_due() {
        let orphans = ledger.plan(&key, Desired::default()).unwrap();
        assert_eq!((key, orphans.changes.gone), (nobody(), [provider(2, 1)].into()));
    }
    carried_out(&mut ledger, &change);
    assert_eq!(due(&mut ledger), ["a"]);
    let change = ledger.plan(&key("a"), providers(&[(1, 2)])).unwrap();
    assert_eq!((change.changes.gone.len(), change.changes.replaced), (0, [provider(1, 1)].into()));
}

#[test]
fn a_service_that_is_refused_again_and_again_waits_once() {
    let mut ledger = synced(&[], &["a"]);
    let mut armed = 0;
    for round in 0..10 {
        ledger.plan(&key("a"), desired(&[round])).unwrap();
        let nothing = BTreeMap::new();
        let delay = ledger.written(&key("a"), BTreeSet::new(), &nothing, BTreeSet::new(), true, |_| true);
        armed += usize::from(delay.is_some());
    }
    assert_eq!(armed, 1);
    ledger.retry(key("a"));
    ledger.plan(&key("a"), desired(&[1])).unwrap();
    let delay = ledger.written(&key("a"), BTreeSet::new(), &BTreeMap::new(), BTreeSet::new(), true, |_| true);
    assert!(delay.is_some());
}

#[test]
fn a_leaf_is_looked_at_once_at_a_time_and_again_if_something_happened_meanwhile() {
    let mut ledger = synced(&[], &["a"]);
    publish(&mut ledger, "a", &[1]);
    ledger.changed(leaf(1).as_str());
    let first = ledger.take_doubts(100);
    ledger.deleted(leaf(1).as_str());
    ledger.gap();
    assert_eq!(ledger.take_doubts(100), []);
    assert_eq!(ledger.counts().pending, 2);
    assert_eq!(ledger.looked(&first[0], Look::Ours(owned(A, 1))), None);
    let second = ledger.take_doubts(100);
    assert_eq!(ledger.looked(&second[0], Look::Absent), Some(Drift::Heard));
    assert_eq!(ledger.counts().znodes, 0);
    assert_eq!(due(&mut ledger), ["a"]);
}

#[test]
fn a_service_that_is_being_written_when_its_session_expires_is_planned_again() {
    let mut ledger = synced(&[], &["a"]);
    publish(&mut ledger, "a", &[1]);
    ledger.plan(&key("a"), desired(&[])).unwrap();
    due(&mut ledger);
    ledger.expired(A);
    let nothing = BTreeMap::new();
    ledger.written(&key("a"), BTreeSet::new(), &nothing, BTreeSet::new(), true, |_| false);
    assert_eq!(due(&mut ledger), ["a"]);
}

#[test]
fn a_service_that_is_gone_is_forgotten() {
    let mut ledger = synced(&[], &["a", "b"]);
    publish(&mut ledger, "a", &[1]);
    ledger.plan(&key("b"), desired(&[1]));
    ledger.plan(&key("b"), Desired::default());
    ledger.forget(&key("b"));
    let change = ledger.plan(&key("a"), Desired::default()).unwrap();
    assert_eq!(lasts(change.changes.gone), ["1:80"]);
    let settled = BTreeMap::from([(leaf(1), Settled::Gone)]);
    ledger.written(&key("a"), BTreeSet::new(), &settled, BTreeSet::new(), false, |_| true);
    ledger.forget(&key("a"));
    assert_eq!((ledger.leaves.len(), ledger.accounts.len()), (0, 0));
}

/// What can happen, in any order.
#[derive(Debug, Clone)]
enum Step {
    Wants(u8, Vec<u8>),
    Plan,
    /// The answer of the first write under way: carried out or not, told or not.
    Answer {
        carried_out: bool,
        told: bool,
    },
    Look,
    /// The answer to the first look under way, as of now or as of when it began.
    Answered {
        fresh: bool,
    },
    /// A stranger.
    Deletes(u8),
    Registers(u8),
    Leaves(u8),
    /// Events that are lost, and the gap that says so.
    Gap,
    List,
    Expire,
    /// The audit goes on by so much.
    Audit(usize),
    /// As above, and no watch tells.
    DeletesUnheard(u8),
    LeavesUnheard(u8),
    /// Another leader begins; what was under way was carried out or not.
    Restart {
        carried_out: bool,
    },
}

/// Endpoint `index % 4` with one of two weights, so that its leaf has one of two names.
fn variant(index: u8) -> ZnodePath {
    provider(index % 4, index / 4)
}

/// What the bridge does by itself, with answers that are lost.
fn calm() -> impl Strategy<Value = Step> {
    let wanted = prop::collection::btree_map(0u8..4, 0u8..2, 0..4);
    let variants = |wanted: BTreeMap<u8, u8>| wanted.iter().map(|(last, weight)| last + 4 * weight).collect();
    prop_oneof![
        4 => (0u8..3, wanted).prop_map(move |(who, wanted)| Step::Wants(who, variants(wanted))),
        6 => Just(Step::Plan),
        6 => (prop::bool::weighted(0.8), prop::bool::weighted(0.8))
            .prop_map(|(carried_out, told)| Step::Answer { carried_out, told }),
        4 => Just(Step::Look),
        4 => prop::bool::ANY.prop_map(|fresh| Step::Answered { fresh }),
        1 => Just(Step::List),
        1 => (1usize..4).prop_map(Step::Audit),
        1 => prop::bool::ANY.prop_map(|carried_out| Step::Restart { carried_out }),
    ]
}

/// And what others do to it.
fn rough() -> impl Strategy<Value = Step> {
    prop_oneof![
        25 => calm(),
        1 => (0u8..8).prop_map(Step::Deletes),
        1 => (0u8..8).prop_map(Step::Registers),
        1 => (0u8..8).prop_map(Step::Leaves),
        1 => (0u8..8).prop_map(Step::DeletesUnheard),
        1 => (0u8..8).prop_map(Step::LeavesUnheard),
        1 => Just(Step::Gap),
        1 => Just(Step::Expire),
    ]
}

/// A ZooKeeper with one session of ours, and three Services that want leaves in one directory.
struct World {
    ledger: Ledger,
    tree: BTreeMap<ZnodePath, Option<Owned>>,
    session: i64,
    zxid: i64,
    audited: Option<ZnodePath>,
    wants: [Vec<u8>; 3],
    writes: Vec<(ServiceKey, Change)>,
    looks: Vec<(Doubt, Look)>,
    /// Services with an endpoint that they have published since they want it, and that no write under way was
    /// to take away then.
    shown: BTreeSet<(u8, u8)>,
}

impl World {
    fn new() -> World {
        let ledger = synced(&[], &["0", "1", "2"]);
        let mut world = World {
            ledger,
            tree: BTreeMap::new(),
            session: 1,
            zxid: 1,
            audited: None,
            wants: Default::default(),
            writes: Vec::new(),
            looks: Vec::new(),
            shown: BTreeSet::new(),
        };
        world.push_all();
        world
    }

    fn push_all(&mut self) {
        (0..3).for_each(|who: u8| self.ledger.push(key(&who.to_string())));
    }

    fn next(&mut self) -> i64 {
        self.zxid += 1;
        self.zxid
    }

    fn see(&self, path: &ZnodePath) -> Look {
        match self.tree.get(path) {
            None => Look::Absent,
            Some(Some(owned)) if owned.session.0 == self.session => Look::Ours(*owned),
            Some(_) => Look::Theirs("a stranger".to_owned()),
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Wants(who, leaves) => {
                self.wants[usize::from(who)] = leaves;
                self.ledger.push(key(&who.to_string()));
            }
            Step::Plan => {
                let Some(key) = self.ledger.pop_due() else { return };
                let wanted = self.wants.iter().enumerate().find(|(who, _)| who.to_string() == *key.name);
                let desired = wanted.map_or_else(Desired::default, |(_, leaves)| desired_variants(leaves));
                if let Some(change) = self.ledger.plan(&key, desired) {
                    self.writes.push((key, change));
                }
            }
            Step::Answer { carried_out, told } => self.answer(carried_out, told),
            Step::Look => {
                for doubt in self.ledger.take_doubts(2) {
                    let look = self.see(&doubt.suspect.path);
                    self.looks.push((doubt, look));
                }
            }
            Step::Answered { fresh } => {
                if self.looks.is_empty() {
                    return;
                }
                let (doubt, mut look) = self.looks.remove(0);
                if fresh {
                    look = self.see(&doubt.suspect.path);
                } else if matches!(look, Look::Ours(owned) if owned.session.0 != self.session) {
                    look = Look::Failed;
                }
                self.ledger.looked(&doubt, look);
            }
            Step::Deletes(last) => {
                if self.tree.remove(&variant(last)).is_some() {
                    self.ledger.deleted(variant(last).as_str());
                }
            }
            Step::Registers(last) => {
                self.tree.entry(variant(last)).or_insert(None);
            }
            Step::Leaves(last) => {
                if self.tree.get(&variant(last)) == Some(&None) {
                    self.tree.remove(&variant(last));
                    self.ledger.deleted(variant(last).as_str());
                }
            }
            Step::DeletesUnheard(last) => drop(self.tree.remove(&variant(last))),
            Step::LeavesUnheard(last) => {
                if self.tree.get(&variant(last)) == Some(&None) {
                    self.tree.remove(&variant(last));
                }
            }
            Step::Audit(most) => self.audited = self.ledger.audit(self.audited.as_ref(), most),
            Step::Gap => {
                self.tree.clear();
                self.ledger.gap();
            }
            Step::List => {
                self.ledger.take_wants_lists();
                let ours = self.tree.iter().filter(|(_, owned)| owned.is_some());
                let paths = ours.map(|(path, _)| path.clone()).collect();
                self.ledger.listed(SessionId(self.session), paths);
            }
            Step::Expire => {
                self.tree.retain(|_, owned| owned.is_none());
                self.ledger.expired(SessionId(self.session));
                self.session += 1;
            }
            Step::Restart { carried_out } => {
                while !self.writes.is_empty() {
                    self.answer(carried_out, true);
                }
                self.looks.clear();
                let ours = self.tree.iter().filter_map(|(path, owned)| Some((path.clone(), (*owned)?)));
                let inherited = ours.filter(|(_, owned)| owned.session.0 == self.session).collect();
                self.ledger = Ledger::new(roots(), inherited);
                self.ledger.synced(&(0..3).map(|who: u8| key(&who.to_string())).collect());
                self.push_all();
            }
        }
    }

    /// The first write under way is over. Where an answer is lost, the steps behind it are not tried.
    fn answer(&mut self, carried_out: bool, told: bool) {
        if self.writes.is_empty() {
            return;
        }
        let (key, Change { changes, held, lost: _ }) = self.writes.remove(0);
        let mut settled = BTreeMap::new();
        let mut is_lost = false;
        let session = SessionId(self.session);
        for path in changes.creates.keys() {
            let created = owned(session, self.next());
            let result = if self.tree.contains_key(path) { Settled::Moved } else { Settled::Ours(created) };
            if carried_out && result != Settled::Moved {
                self.tree.insert(path.clone(), Some(created));
            }
            is_lost |= !told;
            note(path, result, carried_out, told, &mut settled);
        }
        let is_complete = carried_out && !settled.values().any(|it| *it == Settled::Moved);
        let gone = changes.gone.iter().chain(changes.replaced.iter().filter(|_| is_complete));
        let mut events = Vec::new();
        for path in gone.filter(|_| !is_lost) {
            let is_ours = self.tree.get(path).copied().flatten() == held.get(path).copied();
            let result = if is_ours && held.contains_key(path) { Settled::Gone } else { Settled::Moved };
            if carried_out && result == Settled::Gone {
                self.tree.remove(path);
                events.push(path.clone());
            }
            note(path, result, carried_out, told, &mut settled);
        }
        let again = !carried_out || !told || !is_complete;
        let live = self.session;
        let companions = changes.companions;
        self.ledger.written(&key, companions, &settled, BTreeSet::new(), again, |session| session.0 == live);
        if again {
            self.ledger.retry(key);
        }
        // The echo may come as late as it likes.
        events.iter().for_each(|path| self.ledger.deleted(path.as_str()));
    }

    /// The endpoints that some Service wants all the time, has published, and that are not visible any more.
    fn hidden(&mut self) -> Vec<(u8, u8)> {
        let mut hidden = Vec::new();
        let going: BTreeSet<_> = self
            .writes
            .iter()
            .flat_map(|(_, it)| it.changes.gone.iter().chain(&it.changes.replaced))
            .collect();
        let leaves = |last: u8| [variant(last), variant(last + 4)];
        let holds = |who: u8, path: &ZnodePath| {
            let holder = self.ledger.leaves.get(path).and_then(|leaf| leaf.holder.as_ref());
            self.tree.contains_key(path) && holder == Some(&key(&who.to_string()))
        };
        for (who, wants) in (0u8..).zip(&self.wants) {
            for last in 0..4 {
                let is_visible = leaves(last).iter().any(|leaf| self.tree.contains_key(leaf));
                if !wants.iter().any(|index| index % 4 == last) {
                    self.shown.remove(&(who, last));
                } else if !is_visible && self.shown.contains(&(who, last)) {
                    hidden.push((who, last));
                } else if leaves(last).iter().any(|leaf| holds(who, leaf) && !going.contains(leaf)) {
                    self.shown.insert((who, last));
                }
            }
        }
        hidden
    }

    /// Everything that is due is done, until nothing is. Returns how many writes that took.
    fn settle(&mut self) -> usize {
        let mut writes = 0;
        for _ in 0..1_000 {
            if self.ledger.take_wants_lists() {
                self.take(Step::List);
            }
            writes += self.writes.len();
            while !self.writes.is_empty() {
                self.answer(true, true);
            }
            // Several looks are under way while one is answered.
            self.take(Step::Look);
            self.take(Step::Answered { fresh: false });
            self.take(Step::Plan);
            let rests = self.ledger.due.len() == 0 && self.ledger.suspects.is_empty();
            if rests && self.looks.is_empty() && self.writes.is_empty() {
                return writes;
            }
        }
        panic!("it never comes to rest");
    }
}

fn desired_variants(indexes: &[u8]) -> Desired {
    let leaves = indexes.iter().map(|&index| (variant(index), bytes::Bytes::from("x")));
    let companions = variant(0).parent().map(Companion::directory).into_iter().collect();
    Desired { leaves: leaves.collect(), companions, ..Desired::default() }
}

fn note(
    path: &ZnodePath,
    result: Settled,
    carried_out: bool,
    told: bool,
    settled: &mut BTreeMap<ZnodePath, Settled>,
) {
    if !told {
        settled.insert(path.clone(), Settled::Unknown(A));
    } else if carried_out {
        settled.insert(path.clone(), result);
    }
}

proptest! {
    /// However writes, lost answers, looks, strangers, gaps and expiries interleave: once nothing more
    /// happens, and an audit has gone round, exactly what is wanted is there, once, unless a stranger has it; nothing else of ours is;
    /// and then nothing is written any more.
    #[test]
    fn it_comes_to_rest_where_it_should(steps in prop::collection::vec(rough(), 0..60)) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
        }
        world.settle();
        world.audited = None;
        for _ in 0..=world.ledger.audited() {
            world.take(Step::Audit(1));
            world.settle();
        }
        let wanted: BTreeSet<_> = world.wants.iter().flatten().map(|&index| variant(index)).collect();
        for path in &wanted {
            prop_assert!(world.tree.contains_key(path), "{path} is missing");
        }
        for (path, owned) in &world.tree {
            prop_assert!(owned.is_none() || wanted.contains(path), "{path} is left over");
        }
        world.push_all();
        world.ledger.gap();
        // Making sure of the directory is not a write of a leaf.
        let before = world.zxid;
        world.settle();
        prop_assert_eq!(world.zxid, before);
    }

    /// However names change, answers are lost and leaders follow each other: an endpoint that stays wanted
    /// is visible all the time under one name or another.
    #[test]
    #[cfg(not(feature = "delete-first"))]
    fn what_stays_wanted_stays_visible(steps in prop::collection::vec(calm(), 0..60)) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
            prop_assert_eq!(world.hidden(), []);
        }
    }
}
