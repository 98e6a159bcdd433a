//! Which endpoint goes into which slice.
//!
//! An endpoint stays in the slice that has it, so that whoever follows the slices one by one never misses it
//! (`reconcileByPortMapping` in `k8s.io/endpointslice/reconciler.go`).

use std::collections::BTreeMap;

use serde_json::Value;

/// Endpoints of one slice, as the real controller has it.
const SLICE_SIZE: usize = 100;

/// Ports of a slice, as (name, number, protocol).
pub(super) type Ports = Vec<(String, u64, String)>;

/// A slice, as far as the controller decides on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slice {
    pub(super) name: String,
    pub(super) ports: Ports,
    pub(super) endpoints: Vec<Value>,
}

impl Slice {
    /// Has it an endpoint that it did not have before?
    pub(super) fn gains_from(&self, before: &Slice) -> bool {
        self.endpoints.iter().any(|new| before.endpoints.iter().all(|old| pod(old) != pod(new)))
    }
}

/// Places all endpoints, which come by the ports that they have: first where they are, then in the first
/// slice with room, then in new ones. Slices that end up empty are left out, but one stays.
pub(super) fn place(
    existing: &[Slice],
    endpoints: BTreeMap<Ports, Vec<Value>>,
    mut free_name: impl FnMut() -> String,
) -> Vec<Slice> {
    let mut placed = Vec::new();
    for (ports, mut endpoints) in endpoints {
        let mut slices: Vec<_> = existing.iter().filter(|slice| slice.ports == ports).cloned().collect();
        for slice in &mut slices {
            let stay = |old: &Value| {
                let position = endpoints.iter().position(|new| pod(new) == pod(old))?;
                Some(endpoints.remove(position))
            };
            slice.endpoints = slice.endpoints.iter().filter_map(stay).take(SLICE_SIZE).collect();
        }
        slices.retain(|slice| !slice.endpoints.is_empty());
        let mut endpoints = endpoints.into_iter().peekable();
        for slice in &mut slices {
            slice.endpoints.extend(endpoints.by_ref().take(SLICE_SIZE - slice.endpoints.len()));
        }
        while endpoints.peek().is_some() {
            let endpoints = endpoints.by_ref().take(SLICE_SIZE).collect();
            slices.push(Slice { name: free_name(), ports: ports.clone(), endpoints });
        }
        placed.append(&mut slices);
    }
    if placed.is_empty() {
        let name = existing.first().map_or_else(free_name, |slice| slice.name.clone());
        placed.push(Slice { name, ports: Vec::new(), endpoints: Vec::new() });
    }
    placed
}

/// What an endpoint is told apart by.
fn pod(endpoint: &Value) -> &Value {
    &endpoint["targetRef"]["uid"]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn endpoint(pod: u32, state: &str) -> Value {
        json!({"targetRef": {"uid": pod.to_string()}, "state": state})
    }

    fn ports(number: u64) -> Ports {
        vec![("http".to_owned(), number, "TCP".to_owned())]
    }

    fn slice(name: &str, port: u64, pods: impl IntoIterator<Item = u32>) -> Slice {
        let endpoints = pods.into_iter().map(|pod| endpoint(pod, "old")).collect();
        Slice { name: name.to_owned(), ports: ports(port), endpoints }
    }

    fn by_ports(endpoints: Vec<Value>) -> BTreeMap<Ports, Vec<Value>> {
        if endpoints.is_empty() { BTreeMap::new() } else { [(ports(80), endpoints)].into() }
    }

    /// Names and pods of slices that are wanted at one port.
    fn placed(existing: &[Slice], pods: impl IntoIterator<Item = u32>) -> Vec<(String, Vec<String>)> {
        let endpoints: Vec<_> = pods.into_iter().map(|pod| endpoint(pod, "new")).collect();
        let mut names = (0..).map(|n| format!("new-{n}"));
        let slices = place(existing, by_ports(endpoints), || names.next().unwrap());
        assert!(slices.iter().flat_map(|slice| &slice.endpoints).all(|endpoint| endpoint["state"] == "new"));
        let pods =
            |slice: &Slice| slice.endpoints.iter().map(|e| pod(e).as_str().unwrap().to_owned()).collect();
        slices.iter().map(|slice| (slice.name.clone(), pods(slice))).collect()
    }

    fn named(name: &str, pods: impl IntoIterator<Item = u32>) -> (String, Vec<String>) {
        (name.to_owned(), pods.into_iter().map(|pod| pod.to_string()).collect())
    }

    #[test]
    fn endpoints_stay_and_new_ones_fill_the_first_room() {
        let existing = [slice("a", 80, 100..200), slice("b", 80, 200..250)];
        assert_eq!(placed(&existing, 100..250), [named("a", 100..200), named("b", 200..250)]);
        assert_eq!(
            placed(&existing, (1..2).chain(100..250)),
            [named("a", 100..200), named("b", (200..250).chain(1..2))]
        );
        assert_eq!(
            placed(&existing, (1..3).chain(101..250)),
            [named("a", (101..200).chain(1..2)), named("b", (200..250).chain(2..3))]
        );
        assert_eq!(
            placed(&existing, 100..310),
            [named("a", 100..200), named("b", 200..300), named("new-0", 300..310)]
        );
    }

    #[test]
    fn empty_slices_go_but_for_one() {
        let existing = [slice("a", 80, 0..100), slice("b", 80, 100..101)];
        assert_eq!(placed(&existing, 100..101), [named("b", 100..101)]);
        assert_eq!(placed(&existing, []), [named("a", [])]);
        assert_eq!(placed(&[], []), [named("new-0", [])]);
    }

    #[test]
    fn a_slice_of_other_ports_is_replaced() {
        let existing = [slice("a", 81, 0..3)];
        assert_eq!(placed(&existing, 0..3), [named("new-0", 0..3)]);
    }

    /// The slice that has each pod.
    fn homes(slices: &[Slice]) -> BTreeMap<String, &str> {
        let mut homes = BTreeMap::new();
        for slice in slices {
            for endpoint in &slice.endpoints {
                let other = homes.insert(pod(endpoint).as_str().unwrap().to_owned(), &*slice.name);
                assert_eq!(other, None, "{endpoint} is in two slices");
            }
        }
        homes
    }

    proptest! {
        #[test]
        fn whatever_comes_and_goes_nobody_who_stays_moves(
            rounds in prop::collection::vec(prop::collection::btree_set(0_u32..300, 0..300), 1..5)
        ) {
            let mut slices: Vec<Slice> = Vec::new();
            let mut count = 0;
            for pods in rounds {
                let endpoints: Vec<_> = pods.iter().map(|&pod| endpoint(pod, "")).collect();
                let after = place(&slices, by_ports(endpoints), || {
                    count += 1;
                    format!("s-{count}")
                });
                let (was, is) = (homes(&slices), homes(&after));
                let expected: std::collections::BTreeSet<_> = pods.iter().map(u32::to_string).collect();
                prop_assert!(is.keys().eq(&expected));
                for (pod, home) in &is {
                    prop_assert!(was.get(pod).is_none_or(|was| was == home), "{} moved", pod);
                }
                prop_assert!(after.iter().all(|slice| slice.endpoints.len() <= SLICE_SIZE));
                slices = after;
            }
        }
    }
}
