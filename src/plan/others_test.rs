//! Services that are published where others are too, and endpoints that register themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::model::{Fingerprint, Known, Service, ServicePort};
use crate::plan::tests::{roots, slice};
use crate::plan::{Changes, Desired, Drains, Given, Op, Refusal, Rules, desired, diff, steps};

const CURATOR: &str = "/services/orders";
const DUBBO: &str = "/dubbo/com.acme.A/providers";

/// Two directories with what is in them: ours, and theirs.
#[derive(Debug, Clone, Default)]
struct World {
    ours: BTreeMap<ZnodePath, Bytes>,
    theirs: BTreeMap<ZnodePath, Bytes>,
    is_shared: bool,
    is_known: bool,
    /// Has something of ours been there since the Service wanted it?
    held: BTreeSet<ZnodePath>,
    ready: BTreeSet<u8>,
}

fn path(text: &str) -> ZnodePath {
    ZnodePath::new(text).unwrap()
}

fn directories() -> [ZnodePath; 2] {
    [path(CURATOR), path(DUBBO)]
}

fn rules(is_shared: bool) -> Rules {
    serde_saphyr::from_str(&format!("[{{formats: [curator, dubbo], names: ['*'], shared: {is_shared}}}]"))
        .unwrap()
}

fn service() -> Service {
    let annotations =
        [("curator", ""), ("curator-port", "http"), ("dubbo", "com.acme.A:1.0"), ("dubbo-port", "dubbo")];
    Service::sample(&annotations, vec![ServicePort::tcp("http", 80), ServicePort::tcp("dubbo", 20880)])
}

/// What the pod at 10.0.0.`last` registers of itself in each directory.
fn by_itself(last: u8) -> [(ZnodePath, Bytes); 2] {
    let curator = format!("{CURATOR}/00000000-0000-0000-0000-0000000000{last:02}");
    let record = format!("{{\"name\":\"orders\",\"address\":\"10.0.0.{last}\",\"port\":8080}}");
    let dubbo = format!(
        "{DUBBO}/dubbo%3A%2F%2F10.0.0.{last}%3A20880%2Fcom.acme.A%3Finterface%3Dcom.acme.A%26pid%3D{last}%26version%3D1.0"
    );
    [(path(&curator), record.into()), (path(&dubbo), "10.0.0.9".into())]
}

impl World {
    fn others(&self, directory: &ZnodePath) -> Others {
        let roots = roots();
        let here = self.theirs.iter().filter(|(path, _)| path.parent().as_ref() == Some(directory));
        let instances = here.map(|(path, data)| (path.clone(), roots.registered(path, data))).collect();
        Others { instances, and_more: false }
    }

    fn plan(&self) -> (Desired, Changes) {
        let ready: Vec<_> = self.ready.iter().map(|&last| (last, true)).collect();
        let (service, slice, rules, roots) = (service(), slice(&ready), rules(self.is_shared), roots());
        let others = directories().map(|directory| (directory.clone(), self.others(&directory)));
        let others = BTreeMap::from(others);
        let none = Drains::new();
        let has_ours = |directory: &ZnodePath| self.ours.keys().any(|path| path.is_below(directory));
        let given = Given {
            rules: &rules,
            roots: &roots,
            nodes: None,
            draining: &none,
            now: Duration::ZERO,
            is_there: &|path| self.ours.contains_key(path),
            beside: &|directory| Beside {
                is_held: self.held.contains(directory) || has_ours(directory),
                others: others.get(directory).filter(|_| self.is_known),
                filled: FilledAs::Any,
            },
        };
        let desired = desired(Some(&service), [slice].iter(), &given);
        let ours = self.ours.iter().map(|(path, data)| (path.clone(), Fingerprint::of(data))).collect();
        let changes = diff(&Known::Known(desired.clone()), &ours, &roots, |_| true);
        (desired, changes)
    }

    fn carry_out(&mut self, op: &Op) {
        let mut create = |path: &ZnodePath, data: &Bytes| {
            assert!(!self.theirs.contains_key(path), "{path}");
            assert_eq!(self.ours.insert(path.clone(), data.clone()), None, "{path}");
        };
        match op {
            Op::Create(path, data) => create(path, data),
            Op::Set(path, data) => assert!(self.ours.insert(path.clone(), data.clone()).is_some()),
            Op::Delete(path) => assert!(self.ours.remove(path).is_some()),
            Op::Swap { create: path, data, delete } => {
                create(path, data);
                assert!(self.ours.remove(delete).is_some());
            }
        }
    }

    /// Plans, carries it out, and tells what could be seen of ready endpoints before, after, and all the time.
    fn work(&mut self) -> (Seen, Seen, Seen) {
        let before = self.seen();
        let mut always = before.clone();
        let (desired, changes) = self.plan();
        for directory in directories() {
            if desired.leaves.keys().any(|path| path.is_below(&directory)) {
                self.held.insert(directory);
            }
        }
        for op in steps(changes).steps.iter().flat_map(|step| &step.ops) {
            self.carry_out(op);
            let now = self.seen();
            always.retain(|seen| now.contains(seen));
        }
        (before, self.seen(), always)
    }

    /// Which ready endpoint is in which directory.
    fn seen(&self) -> Seen {
        let endpoints =
            self.ours.iter().chain(&self.theirs).filter_map(|(path, data)| self.endpoint(path, data));
        endpoints.collect()
    }

    fn endpoint(&self, path: &ZnodePath, data: &Bytes) -> Option<(ZnodePath, u8)> {
        let registered = roots().registered(path, data)?;
        let Some(IpAddr::V4(ip)) = registered.host.ip() else { return None };
        let last = ip.octets()[3];
        self.ready.contains(&last).then(|| (path.parent().unwrap(), last))
    }

    /// How often each ready endpoint is in each directory.
    fn counts(&self) -> BTreeMap<(ZnodePath, u8), (usize, usize)> {
        let mut counts = BTreeMap::new();
        for (which, leaves) in [&self.ours, &self.theirs].into_iter().enumerate() {
            for (path, data) in leaves {
                let Some(it) = self.endpoint(path, data) else { continue };
                let count: &mut (usize, usize) = counts.entry(it).or_default();
                *if which == 0 { &mut count.0 } else { &mut count.1 } += 1;
            }
        }
        counts
    }
}

type Seen = BTreeSet<(ZnodePath, u8)>;

#[derive(Debug, Clone, Copy)]
enum Step {
    /// A pod becomes ready, or is not any more.
    Ready(u8, bool),
    /// A pod registers itself in one directory, or goes from it.
    Itself(u8, usize, bool),
    /// Somebody who is no pod of this Service does.
    Stranger(usize, bool),
    Granted(bool),
    /// Whoever leads begins anew: what was held is not known, but by what is there.
    Restart,
    Listed,
    /// ZooKeeper removes all of ours with their session.
    Expire,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1u8..5, any::<bool>()).prop_map(|(last, is)| Step::Ready(last, is)),
        4 => (1u8..5, 0usize..2, any::<bool>()).prop_map(|(last, which, is)| Step::Itself(last, which, is)),
        1 => (0usize..2, any::<bool>()).prop_map(|(which, is)| Step::Stranger(which, is)),
        1 => any::<bool>().prop_map(Step::Granted),
        1 => Just(Step::Restart),
        2 => Just(Step::Listed),
        1 => Just(Step::Expire),
    ]
}

impl World {
    fn take(&mut self, step: Step) {
        let mut register = |(path, data): (ZnodePath, Bytes), is: bool| {
            if is { drop(self.theirs.insert(path, data)) } else { drop(self.theirs.remove(&path)) }
        };
        match step {
            Step::Ready(last, true) => drop(self.ready.insert(last)),
            Step::Ready(last, false) => drop(self.ready.remove(&last)),
            Step::Itself(last, which, is) => register(by_itself(last)[which].clone(), is),
            Step::Stranger(which, is) => register(by_itself(99)[which].clone(), is),
            Step::Granted(is) => self.is_shared = is,
            Step::Restart => {
                self.held.clear();
                self.is_known = false;
            }
            Step::Listed => self.is_known = true,
            Step::Expire => self.ours.clear(),
        }
    }
}

proptest! {
    /// However pods become ready, register themselves and go, strangers come, grants change and leaders begin anew:
    /// nothing that could be seen and stays ready is hidden by what we write; nothing is written without a grant where
    /// others were first, or before that is known; and with one each ready endpoint is registered once, by whoever.
    #[test]
    #[cfg(not(feature = "delete-first"))]
    fn each_ready_endpoint_is_there_once(steps in prop::collection::vec(step(), 0..40)) {
        let mut world = World::default();
        for step in steps {
            world.take(step);
            let (held, ours) = (world.held.clone(), world.ours.clone());
            let (before, after, always) = world.work();
            prop_assert_eq!(&always, &before.intersection(&world.seen()).cloned().collect(), "after {:?}", step);
            let lost: Vec<_> = before.difference(&after).collect();
            prop_assert!(lost.is_empty(), "{lost:?} after {step:?}");
            for directory in directories() {
                let was_first = held.contains(&directory) || ours.keys().any(|path| path.is_below(&directory));
                let others = world.others(&directory);
                let is_new = |path: &&ZnodePath| path.is_below(&directory) && !ours.contains_key(*path);
                let created = world.ours.keys().filter(is_new).count();
                let is_full = |last: &u8| {
                    let count = world.counts().get(&(directory.clone(), *last)).copied().unwrap_or_default();
                    match (world.is_shared, count) {
                        // One that registers itself more than once is not ours to judge.
                        (true, (0, 1..)) | (_, (1, 0)) => true,
                        (false, (1, _)) => true,
                        _ => false,
                    }
                };
                match (world.is_known, world.is_shared, was_first, others.is_empty()) {
                    (true, true, ..) | (true, _, _, true) | (_, false, true, _) => {
                        prop_assert!(world.ready.iter().all(is_full), "{:?} after {step:?}", world.counts());
                    }
                    _ => prop_assert_eq!(created, 0, "after {:?}", step),
                }
            }
            prop_assert!(world.plan().1.is_empty(), "after {step:?}");
        }
    }
}

#[test]
fn whoever_was_first_is_refused_or_stays() {
    let ready = BTreeSet::from([1, 2]);
    let stranger = BTreeMap::from([by_itself(99)[0].clone()]);
    let reasons = |desired: &Desired| desired.refusals.iter().map(Refusal::to_string).collect::<Vec<_>>();
    // They were.
    let mut world =
        World { ready: ready.clone(), theirs: stranger.clone(), is_known: true, ..World::default() };
    let (desired, _) = world.plan();
    assert!(!desired.leaves.keys().any(|path| path.is_below(&directories()[0])));
    assert_eq!(desired.leaves.len(), 2, "the other directory is free");
    let [told] = &*reasons(&desired) else { panic!("{desired:?}") };
    assert!(told.contains("shared: true") && told.contains("is not published"), "{told}");
    world.is_shared = true;
    assert_eq!((world.plan().0.leaves.len(), reasons(&world.plan().0)), (4, vec![]));
    // We were.
    world.is_shared = false;
    world.theirs.clear();
    world.work();
    world.theirs = stranger;
    world.ready = [2, 3].into();
    let (before, after, _) = world.work();
    assert_eq!((before.len(), after.len()), (2, 4));
    let [told] = &*reasons(&world.plan().0) else { panic!("{:?}", world.plan().0) };
    assert!(told.contains("which stay"), "{told}");
    // And it was all lost, while nobody bridged.
    world.take(Step::Expire);
    world.take(Step::Restart);
    world.take(Step::Listed);
    assert!(world.plan().0.leaves.keys().all(|path| path.is_below(&directories()[1])));
}

#[test]
fn before_it_is_known_what_others_have_nothing_comes_and_what_is_ready_stays() {
    let mut world = World { ready: [1, 2].into(), ..World::default() };
    let (desired, changes) = world.plan();
    assert!(desired.leaves.is_empty() && desired.waits && changes.is_empty());
    assert_eq!(desired.companions.len(), 2, "that is how it comes to be known");
    world.is_known = true;
    world.work();
    world.take(Step::Restart);
    world.is_shared = true;
    world.ready = [2, 3].into();
    let (desired, changes) = world.plan();
    assert!(desired.waits && changes.creates.is_empty());
    assert_eq!((changes.gone.len(), desired.leaves.len()), (2, 2));
}

#[test]
fn others_stand_for_the_same_service_only() {
    let mut world = World { ready: [1].into(), is_known: true, is_shared: true, ..World::default() };
    let other_version = |(path, data): &(ZnodePath, Bytes)| {
        (ZnodePath::new(&path.as_str().replace("version%3D1.0", "version%3D2.0")).unwrap(), data.clone())
    };
    let [curator, dubbo] = by_itself(1);
    world.theirs = [other_version(&dubbo)].into();
    assert_eq!((world.plan().0.leaves.len(), world.plan().0.theirs.len()), (2, 0));
    world.theirs = [curator, dubbo].into();
    let (desired, _) = world.plan();
    assert_eq!((desired.leaves.len(), desired.theirs.len()), (0, 2));
    // At another port it is another endpoint.
    let at = SocketAddr::from(([10, 0, 0, 1], 9090));
    let record = format!("{{\"name\":\"orders\",\"address\":\"{}\",\"port\":{}}}", at.ip(), at.port());
    world.theirs = [(by_itself(1)[0].0.clone(), record.into())].into();
    assert_eq!(world.plan().0.theirs.len(), 0);
}
