//! 10,000 Services with annotations that make sense and ones that do not.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kube::runtime::watcher::Event;
use zoobridge::format::Format;
use zoobridge::model::{Known, ServiceKey, ZnodePath};
use zoobridge::observe::{Observation, Store};
use zoobridge::plan::{Beside, Desired, Drains, Given, Roots, Rules, desired};

use crate::population::{RULES, Tenant, tenants};

fn store(tenants: &[Tenant]) -> Store {
    let mut store = Store::default();
    store.observe(Observation::Service(Event::Init));
    for tenant in tenants {
        let service = serde_json::from_value(tenant.service()).unwrap();
        store.observe(Observation::Service(Event::InitApply(service)));
    }
    store.observe(Observation::Service(Event::InitDone));
    store.observe(Observation::Slice(Event::Init));
    for tenant in tenants {
        let slice = serde_json::from_value(tenant.slice()).unwrap();
        store.observe(Observation::Slice(Event::InitApply(slice)));
    }
    store.observe(Observation::Slice(Event::InitDone));
    store
}

fn plan(store: &Store, tenant: &Tenant, rules: &Rules, roots: &Roots) -> Desired {
    let Known::Known((service, slices)) = store.get(&ServiceKey::new(&tenant.namespace, &tenant.name)) else {
        panic!("not synced")
    };
    let given = Given {
        rules,
        roots,
        nodes: None,
        draining: &Drains::new(),
        now: Duration::ZERO,
        is_there: &|_| false,
        beside: &|_| Beside::nobody(),
    };
    desired(service, slices.iter().copied(), &given)
}

#[test]
fn of_ten_thousand_services_the_valid_ones_are_right_and_each_other_one_is_told() {
    let tenants = tenants(10_000, 200);
    let store = store(&tenants);
    let rules: Rules = serde_saphyr::from_str(RULES).unwrap();
    let roots =
        Roots(Format::ALL.map(|format| (format, ZnodePath::new(format.default_root()).unwrap())).into());
    let (mut all, mut reasons, mut valid) = (BTreeSet::new(), BTreeMap::<_, usize>::new(), 0);
    for tenant in &tenants {
        let desired = plan(&store, tenant, &rules, &roots);
        let told: Vec<_> = desired.refusals.iter().map(|one| (one.event_reason(), one.to_string())).collect();
        let who = format!("{}/{} {:?}: {told:?}", tenant.namespace, tenant.name, tenant.annotations);
        match &tenant.refusal {
            None => assert!(told.is_empty(), "{who}"),
            Some((reason, part)) => {
                assert!(!told.is_empty(), "{who} lacks {reason}");
                assert!(told.iter().all(|(one, note)| one == reason && note.contains(part)), "{who}: {part}");
                *reasons.entry(*reason).or_default() += 1;
            }
        }
        let leaves: BTreeSet<_> = desired
            .leaves
            .keys()
            .map(|path| match path.as_str().split_once("/providers/") {
                Some((interface, url)) => {
                    assert!(url.contains(&tenant.ip), "{who}: {url}");
                    format!("{interface}/providers")
                }
                None => path.to_string(),
            })
            .collect();
        assert_eq!(leaves, tenant.leaves.iter().cloned().collect(), "{who}");
        valid += leaves.len();
        // Nobody is in anybody's way.
        for path in desired.leaves.into_keys() {
            assert!(all.insert(path.clone()), "{path} twice");
        }
    }
    assert!(valid > 5_000, "{valid}");
    assert!(reasons.len() == 6 && reasons.values().all(|&times| times > 200), "{reasons:?}");
}
