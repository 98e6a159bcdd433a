//! What is believed of others, whatever order a random scheduler finds for what is heard and seen.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use crate::format::Format;
use crate::model::Companion;

fn path(text: &str) -> ZnodePath {
    ZnodePath::new(text).unwrap()
}

fn directory() -> ZnodePath {
    path("/services/orders")
}

fn child(last: u8) -> ZnodePath {
    directory().child(&format!("n{last}")).unwrap()
}

fn roots() -> Roots {
    Roots(Format::ALL.map(|format| (format, path(format.default_root()))).into())
}

fn key() -> ServiceKey {
    ServiceKey::new("shop", "orders")
}

fn wanted() -> Desired {
    Desired { companions: [Companion::directory(directory())].into(), ..Desired::default() }
}

fn neighbours() -> Neighbours {
    let mut neighbours = Neighbours::new(roots());
    neighbours.planned(&key(), &wanted());
    neighbours
}

fn instance(port: u16) -> Sighting {
    let data = format!("{{\"name\":\"orders\",\"address\":\"10.0.0.1\",\"port\":{port}}}");
    Sighting::Theirs { is_ephemeral: true, data: data.into() }
}

fn names(lasts: &[u8]) -> Vec<String> {
    lasts.iter().map(|&last| child(last).name().to_owned()).collect()
}

fn look(neighbours: &mut Neighbours, answer: &Sighting) -> Vec<ZnodePath> {
    let doubts = neighbours.take_doubts(100);
    doubts.iter().for_each(|path| neighbours.seen(path.clone(), answer));
    doubts
}

fn others(neighbours: &Neighbours) -> Option<Vec<ZnodePath>> {
    neighbours
        .beside(&directory(), false, FilledAs::Any)
        .others
        .map(|others| others.instances.keys().cloned().collect())
}

#[test]
fn a_directory_is_known_when_everything_in_it_has_been_seen() {
    let mut neighbours = neighbours();
    assert_eq!(others(&neighbours), None);
    neighbours.listed(&directory(), &names(&[1, 2, 3]), |path| *path == child(1));
    assert_eq!((others(&neighbours), neighbours.take_due().len()), (None, 0));
    assert_eq!(neighbours.take_doubts(1), [child(2)]);
    neighbours.seen(child(2), &instance(80));
    assert_eq!(others(&neighbours), None);
    assert_eq!(look(&mut neighbours, &Sighting::Ours), [child(3)]);
    assert_eq!(others(&neighbours), Some(vec![child(2)]));
    assert_eq!(neighbours.take_due(), [key()].into());
}

#[test]
fn an_empty_directory_is_known_at_once() {
    let mut neighbours = neighbours();
    neighbours.listed(&directory(), &[], |_| false);
    assert_eq!(others(&neighbours), Some(vec![]));
    assert_eq!((neighbours.take_due(), neighbours.pending()), ([key()].into(), 0));
}

#[test]
fn what_is_no_instance_does_not_count_and_what_cannot_be_read_does() {
    let theirs = |is_ephemeral, data: &'static str| Sighting::Theirs { is_ephemeral, data: data.into() };
    for (sighting, counts) in [
        (theirs(false, ""), false),
        (theirs(false, "{\"address\":\"10.0.0.1\",\"port\":1}"), true),
        (theirs(true, "by name"), true),
        (Sighting::Ours, false),
        (Sighting::Absent, false),
    ] {
        let mut neighbours = neighbours();
        neighbours.listed(&directory(), &names(&[1]), |_| false);
        look(&mut neighbours, &sighting);
        assert_eq!(others(&neighbours).unwrap().len(), usize::from(counts), "{sighting:?}");
    }
}

#[test]
fn only_what_is_news_makes_a_plan() {
    let mut neighbours = neighbours();
    neighbours.listed(&directory(), &[], |_| false);
    neighbours.take_due();
    for (port, is_news) in [(80, true), (80, false), (81, true)] {
        neighbours.noticed(child(1).as_str());
        look(&mut neighbours, &instance(port));
        assert_eq!(!neighbours.take_due().is_empty(), is_news);
    }
    neighbours.noticed("/services/others/x");
    assert_eq!(neighbours.pending(), 0, "not in a directory of ours");
    neighbours.deleted(child(1).as_str());
    assert_eq!((neighbours.take_due().len(), others(&neighbours)), (1, Some(vec![])));
}

#[test]
fn a_directory_is_held_from_the_first_leaf_on_and_as_long_as_somebody_wants_it() {
    let mut neighbours = neighbours();
    let is_held = |neighbours: &Neighbours| neighbours.beside(&directory(), false, FilledAs::Any).is_held;
    assert!(!is_held(&neighbours) && neighbours.beside(&directory(), true, FilledAs::Any).is_held);
    let full = Desired { leaves: [(child(1), "x".into())].into(), ..wanted() };
    neighbours.planned(&key(), &full);
    // It has no endpoint for a while, and another Service joins.
    neighbours.planned(&key(), &wanted());
    let other = ServiceKey::new("shop", "other");
    neighbours.planned(&other, &wanted());
    neighbours.planned(&key(), &Desired::default());
    assert!(is_held(&neighbours));
    neighbours.planned(&other, &Desired::default());
    assert!(!is_held(&neighbours));
}

#[test]
fn nobody_makes_us_remember_without_end() {
    let mut neighbours = neighbours();
    let many: Vec<_> = (0..MOST + 5).map(|number| format!("m{number}")).collect();
    neighbours.listed(&directory(), &many, |_| false);
    while !look(&mut neighbours, &instance(80)).is_empty() {}
    for number in 0..10 {
        neighbours.noticed(&format!("{}/x{number}", directory()));
    }
    assert_eq!((others(&neighbours).unwrap().len(), neighbours.pending()), (MOST, 0));
    // Most of them go: whoever is left is looked for again.
    for name in many.iter().take(MOST) {
        assert!(!neighbours.beside(&directory(), false, FilledAs::Any).others.unwrap().is_empty());
        neighbours.deleted(directory().child(name).unwrap().as_str());
    }
    assert_eq!(neighbours.take_unlisted(), [directory()].into());
    neighbours.listed(&directory(), &[], |_| false);
    assert!(neighbours.beside(&directory(), false, FilledAs::Any).others.unwrap().is_empty());
}

/// What is there, what was heard of it and not taken in, and what was seen and not told.
struct World {
    neighbours: Neighbours,
    tree: BTreeMap<ZnodePath, Sighting>,
    heard: VecDeque<(&'static str, ZnodePath)>,
    seen: Vec<(ZnodePath, Sighting)>,
    lists: VecDeque<Vec<String>>,
    is_blind: bool,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Put(u8, u8),
    Remove(u8),
    Hear,
    List,
    Listed,
    Look,
    Seen(usize),
    /// The connection that looks is lost.
    Fail(usize),
    /// Nothing that happened since is heard.
    Gap,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0u8..4, 0u8..4).prop_map(|(last, what)| Step::Put(last, what)),
        4 => (0u8..4).prop_map(Step::Remove),
        8 => Just(Step::Hear),
        1 => Just(Step::List),
        2 => Just(Step::Listed),
        4 => Just(Step::Look),
        6 => any::<usize>().prop_map(Step::Seen),
        1 => any::<usize>().prop_map(Step::Fail),
        1 => Just(Step::Gap),
    ]
}

impl World {
    fn sighting(&self, path: &ZnodePath) -> Sighting {
        self.tree.get(path).cloned().unwrap_or(Sighting::Absent)
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Put(last, what) => {
                let now = match what {
                    0 => Sighting::Ours,
                    1 => Sighting::Theirs { is_ephemeral: false, data: "".into() },
                    port => instance(port.into()),
                };
                let path = child(last);
                let is_same = |before: &Sighting| (*before == Sighting::Ours) == (now == Sighting::Ours);
                match self.tree.get(&path).cloned() {
                    None => self.heard.push_back(("created", path.clone())),
                    Some(before) if is_same(&before) => self.heard.push_back(("changed", path.clone())),
                    // Another session's: it was deleted in between.
                    Some(_) => self.heard.extend([("deleted", path.clone()), ("created", path.clone())]),
                }
                self.tree.insert(path, now);
            }
            Step::Remove(last) => {
                if self.tree.remove(&child(last)).is_some() {
                    self.heard.push_back(("deleted", child(last)));
                }
            }
            Step::Hear => match self.heard.pop_front() {
                Some(("deleted", path)) => self.neighbours.deleted(path.as_str()),
                // The ledger knows its own.
                Some((_, path)) if self.sighting(&path) == Sighting::Ours => {}
                Some((_, path)) => self.neighbours.noticed(path.as_str()),
                None => {}
            },
            Step::List => {
                let names = self.tree.keys().map(|path| path.name().to_owned()).collect();
                self.lists.push_back(names);
                self.is_blind = false;
            }
            Step::Listed => {
                let Some(names) = self.lists.pop_front() else { return };
                let tree = self.tree.clone();
                self.neighbours.listed(&directory(), &names, |path| tree.get(path) == Some(&Sighting::Ours));
            }
            Step::Look => {
                for path in self.neighbours.take_doubts(2) {
                    let sighting = self.sighting(&path);
                    self.seen.push((path, sighting));
                }
            }
            Step::Seen(which) | Step::Fail(which) if !self.seen.is_empty() => {
                let (path, sighting) = self.seen.remove(which % self.seen.len());
                let is_failed = matches!(step, Step::Fail(_));
                self.neighbours.seen(path, if is_failed { &Sighting::Failed } else { &sighting });
            }
            Step::Seen(_) | Step::Fail(_) => {}
            Step::Gap => {
                self.heard.clear();
                self.is_blind = true;
            }
        }
    }

    fn settle(&mut self) {
        if self.is_blind || self.neighbours.beside(&directory(), false, FilledAs::Any).others.is_none() {
            self.take(Step::List);
        }
        for _ in 0..1_000 {
            for step in [Step::Hear, Step::Listed, Step::Look, Step::Seen(0)] {
                self.take(step);
            }
            let rests = self.neighbours.pending() == 0 && self.seen.is_empty();
            if rests && self.heard.is_empty() && self.lists.is_empty() {
                return;
            }
        }
        panic!("it never comes to rest");
    }
}

proptest! {
    /// However znodes come, change and go, lists and looks are late, and events are lost with a connection: once
    /// nothing more happens, what is believed of others is what is there.
    #[test]
    fn what_is_believed_is_what_is_there(steps in prop::collection::vec(step(), 0..80)) {
        let mut world = World {
            neighbours: neighbours(),
            tree: BTreeMap::new(),
            heard: VecDeque::new(),
            seen: Vec::new(),
            lists: VecDeque::new(),
            is_blind: true,
        };
        for step in steps {
            world.take(step);
        }
        world.settle();
        let roots = roots();
        let instances = world.tree.iter().filter_map(|(path, sighting)| match sighting {
            Sighting::Theirs { is_ephemeral: true, data } => Some((path.clone(), roots.registered(path, data))),
            _ => None,
        });
        let expected: BTreeMap<_, _> = instances.collect();
        let believed = world.neighbours.beside(&directory(), false, FilledAs::Any).others.unwrap();
        prop_assert_eq!(&believed.instances, &expected);
        // And whoever wants it plans with that.
        prop_assert!(!believed.and_more);
    }
}
