//! What every plan keeps, over arbitrary registries and whatever is there.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use proptest::prelude::*;
use zk_wire::ids::{SessionId, Zxid};

use super::*;
use crate::format::Registered;
use crate::model::{Host, ServiceKey, ZnodePath};

/// The address of some Service.
const VIRTUAL: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 250));

type Instances = BTreeMap<(u8, u16), bool>;

fn registry(instances: Option<&Instances>) -> Registry {
    let import: Import = serde_saphyr::from_str(
        "{name: a, format: curator, root: /r, namespace: n, addresses: [10.0.0.0/8], endpoints: true}",
    )
    .unwrap();
    let mut registry = Registry::new(import);
    let directories = instances
        .map(|instances| {
            let leaves = instances.iter().map(|(&(ip, port), &ready)| {
                let registered = Registered {
                    service: "orders".to_owned(),
                    host: Host::Ip([10, 0, 0, ip].into()),
                    port,
                    ready,
                };
                let instance = Some(Ok(registered));
                (format!("{ip}:{port}"), Leaf { owner: SessionId(1), czxid: Zxid(1), instance })
            });
            let directory = Directory { service: "orders".to_owned(), leaves: leaves.collect() };
            (directory_path(), directory)
        })
        .into_iter()
        .collect();
    registry.found(Finding::Everything { directories, unreadable: BTreeSet::new() });
    registry
}

fn directory_path() -> ZnodePath {
    ZnodePath::new("/r/orders").unwrap()
}

fn key() -> ServiceKey {
    ServiceKey::new("n", "orders")
}

fn planned(registry: &Registry, state: &State) -> Plan {
    let sources = registry.sources(&directory_path(), |_| false).into_iter();
    let claims = sources.map(|(source, backends)| (Claim { import: 0, source }, backends)).collect();
    let is_virtual = |ip| ip == VIRTUAL;
    plan(&key(), &claims, std::slice::from_ref(registry), state, |_| true, is_virtual)
}

fn version(number: u64) -> Version {
    Version { uid: "u".into(), resource_version: number.to_string().into() }
}

/// Carries a change out as the API server does: only if what it replaces is there.
fn carry_out(change: Change, state: &mut State) {
    let there = |service: &Option<ServiceThere>| match service {
        Some(ServiceThere::Ours(ours)) => Some(ours.version.clone()),
        Some(ServiceThere::Foreign(version)) => panic!("{version:?} is not ours"),
        None => None,
    };
    match change {
        Change::Service { was, import, source, port } => {
            assert_eq!(was, there(&state.service));
            state.service = Some(ServiceThere::Ours(OurService {
                version: version(1),
                import,
                source: Some(source),
                port: Some(port),
                has_selector: false,
                is_terminating: false,
            }));
        }
        Change::Slice { was, name, family, port, members, service_uid } => {
            assert_eq!(was, state.slices.get(&name).map(|slice| slice.version.clone()));
            let (port, members, service_uid) = (Some(port), Some(members), Some(service_uid));
            let slice = SliceThere { version: version(1), family, port, members, service_uid };
            state.slices.insert(name, slice);
        }
        Change::Endpoints { backends, .. } => {
            state.endpoints = Some(EndpointsThere::Ours(version(1), Some(backends)));
        }
        Change::DeleteSlice { name, .. } => assert!(state.slices.remove(&name).is_some()),
        Change::DeleteEndpoints { .. } => assert!(state.endpoints.take().is_some()),
        Change::DeleteService { was } => {
            assert_eq!(Some(was), there(&state.service));
            state.service = None;
        }
    }
}

/// Plans and carries out until nothing is left to do; says how often.
fn settle(registry: &Registry, state: &mut State) -> usize {
    (0..9)
        .find(|_| {
            let changes = planned(registry, state).changes;
            let is_done = changes.is_empty();
            changes.into_iter().for_each(|change| carry_out(change, state));
            is_done
        })
        .expect("it comes to rest")
}

fn there(state: &State) -> BTreeMap<SocketAddr, bool> {
    let slices = state.slices.values();
    slices
        .flat_map(|slice| {
            let members = slice.members.as_ref().unwrap().iter();
            members.map(|(ip, ready)| (SocketAddr::new(*ip, slice.port.unwrap()), *ready))
        })
        .collect()
}

fn instances() -> impl Strategy<Value = Option<Instances>> {
    prop::option::weighted(0.9, prop::collection::btree_map((0u8..200, 8080u16..8083), any::<bool>(), 0..250))
}

proptest! {
    /// What is registered is there, exactly; the port stays what it was; and then nothing is left to do.
    #[test]
    fn applying_the_plan_reaches_what_is_registered(states in prop::collection::vec(instances(), 1..6)) {
        let mut state = State::default();
        for instances in &states {
            let registry = registry(instances.as_ref());
            let before = match &state.service {
                Some(ServiceThere::Ours(ours)) => ours.port,
                _ => None,
            };
            prop_assert!(settle(&registry, &mut state) <= 2);
            let expected: BTreeMap<SocketAddr, bool> = instances
                .iter()
                .flatten()
                .map(|(&(ip, port), &ready)| (SocketAddr::from(([10, 0, 0, ip], port)), ready))
                .collect();
            prop_assert_eq!(&there(&state), &expected);
            match &state.service {
                Some(ServiceThere::Ours(ours)) => {
                    prop_assert!(instances.is_some());
                    prop_assert!(before.is_none() || ours.port == before);
                    let is_written =
                        matches!(&state.endpoints, Some(EndpointsThere::Ours(_, Some(all))) if *all == expected);
                    prop_assert!(is_written);
                }
                _ => prop_assert!(expected.is_empty() && state.slices.is_empty()),
            }
        }
    }

    /// Whatever is registered: a Service that is not ours is not touched, one that has a selector is not either,
    /// and of what is unknown nothing is changed.
    #[test]
    fn what_is_not_ours_or_not_known_is_not_touched(before in instances(), now in instances()) {
        let mut state = State::default();
        settle(&registry(before.as_ref()), &mut state);
        let unknown = Registry::new(registry(None).import().clone());
        prop_assert_eq!(planned(&unknown, &state), Plan::default());
        let foreign = State { service: Some(ServiceThere::Foreign(version(7))), ..state.clone() };
        let plan = planned(&registry(now.as_ref()), &foreign);
        prop_assert!(plan.changes.is_empty());
        let is_claimed = now.as_ref().is_some_and(|instances| !instances.is_empty());
        prop_assert_eq!(plan.refused.len(), usize::from(is_claimed));
        if let (Some(ServiceThere::Ours(ours)), true) = (&mut state.service, now.is_some()) {
            ours.has_selector = true;
            let plan = planned(&registry(now.as_ref()), &state);
            prop_assert!(plan.changes.is_empty());
            prop_assert_eq!(plan.refused, BTreeSet::from([Refused::Selector(Source {
                directory: directory_path(),
                service: "orders".to_owned(),
            })]));
        }
    }
}

#[test]
fn a_service_of_an_import_that_is_no_more_goes() {
    let mut state = State::default();
    let registry = registry(Some(&Instances::from([((1, 80), true)])));
    settle(&registry, &mut state);
    let changes = plan(&key(), &BTreeMap::new(), &[], &state, |_| true, |_| false).changes;
    assert!(matches!(changes[0], Change::DeleteService { .. }), "{changes:?}");
    changes.into_iter().for_each(|change| carry_out(change, &mut state));
    assert_eq!(state, State::default());
}

fn source() -> Source {
    Source { directory: directory_path(), service: "orders".to_owned() }
}

#[test]
fn p32b_the_address_of_a_service_is_no_endpoint() {
    let registry = registry(Some(&Instances::from([((1, 80), true), ((250, 80), true), ((250, 81), true)])));
    let mut state = State::default();
    settle(&registry, &mut state);
    assert_eq!(there(&state), [(SocketAddr::from(([10, 0, 0, 1], 80)), true)].into());
    let refused = planned(&registry, &state).refused;
    assert_eq!(refused, [Refused::Virtual { what: source(), ip: VIRTUAL }].into());
}

#[test]
fn p34_a_service_that_somebody_gave_a_selector_is_not_ours_alone_and_nothing_is_written() {
    let mut state = State::default();
    settle(&registry(Some(&Instances::from([((1, 80), true)]))), &mut state);
    let Some(ServiceThere::Ours(ours)) = &mut state.service else { panic!("{:?}", state.service) };
    ours.has_selector = true;
    let planned = planned(&registry(Some(&Instances::from([((2, 80), true)]))), &state);
    assert_eq!((planned.changes, planned.refused), (vec![], [Refused::Selector(source())].into()));
}
