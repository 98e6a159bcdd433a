//! Which endpoint is in which slice. Every node of the cluster reads each slice that changes, so few do.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Addresses of one slice, and whether each is ready.
pub type Members = BTreeMap<IpAddr, bool>;

/// No slice has more. Kubernetes' own controller has the same default (`--max-endpoints-per-slice`).
pub const SLICE_ENDPOINTS: usize = 100;

/// Spreads endpoints over the slices that are there, and over new ones named by `name` and a number.
///
/// - An endpoint stays where it is; one that is in two slices stays in the first.
/// - New ones go first where something changes anyway; the rest, a hundred at a time, into the fullest slice that
///   has room for all of them, or into a new one. So beside those that change anyway as few are touched as can
///   hold the rest.
/// - What is not in the result is to be deleted: a slice is kept without endpoints only if `keep` says so, and
///   then it is the first one.
#[must_use]
pub fn pack(
    slices: &BTreeMap<String, Members>,
    endpoints: &Members,
    keep: bool,
    name: impl Fn(usize) -> String,
) -> BTreeMap<String, Members> {
    let mut placed = BTreeSet::new();
    let mut packed: BTreeMap<String, Members> = BTreeMap::new();
    for (slice, members) in slices {
        let stay = members.keys().filter_map(|ip| Some((*ip, *endpoints.get(ip)?)));
        let stay = stay.filter(|(ip, _)| placed.insert(*ip)).take(SLICE_ENDPOINTS).collect();
        packed.insert(slice.clone(), stay);
    }
    // What `take` left out has no place yet.
    let placed: BTreeSet<_> = packed.values().flat_map(BTreeMap::keys).copied().collect();
    let mut new: Vec<_> = endpoints.iter().filter(|(ip, _)| !placed.contains(*ip)).collect();
    for (_, members) in packed.iter_mut().filter(|(slice, members)| slices.get(*slice) != Some(members)) {
        let room = new.len().min(SLICE_ENDPOINTS - members.len());
        members.extend(new.drain(..room));
    }
    let mut numbers = (0..).map(name).filter(|name| !slices.contains_key(name));
    while !new.is_empty() {
        let count = new.len().min(SLICE_ENDPOINTS);
        let has_room = |members: &Members| members.len() + count <= SLICE_ENDPOINTS;
        let unchanged = packed.iter().filter(|(slice, members)| slices.get(*slice) == Some(members));
        let fullest =
            unchanged.filter(|(_, members)| has_room(members)).max_by_key(|(_, members)| members.len());
        let slice = fullest.map(|(slice, _)| slice.clone()).or_else(|| numbers.next());
        packed.entry(slice.unwrap_or_default()).or_default().extend(new.drain(..count));
    }
    let is_all_empty = packed.values().all(BTreeMap::is_empty);
    let kept = packed.keys().next().filter(|_| keep && is_all_empty).cloned();
    packed.retain(|slice, members| !members.is_empty() || kept.as_ref() == Some(slice));
    packed
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn members(addresses: impl IntoIterator<Item = u16>) -> Members {
        addresses.into_iter().map(|n| ([10, 0, (n >> 8) as u8, n as u8].into(), true)).collect()
    }

    fn name(number: usize) -> String {
        format!("s-{number}")
    }

    fn touched(before: &BTreeMap<String, Members>, after: &BTreeMap<String, Members>) -> usize {
        let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
        names.into_iter().filter(|name| before.get(*name) != after.get(*name)).count()
    }

    #[test]
    fn one_endpoint_more_or_less_touches_one_slice() {
        let slices = pack(&BTreeMap::new(), &members(0..250), false, name);
        assert_eq!(slices.values().map(BTreeMap::len).collect::<Vec<_>>(), [100, 100, 50]);
        assert_eq!(touched(&slices, &pack(&slices, &members(0..251), false, name)), 1);
        assert_eq!(touched(&slices, &pack(&slices, &members(1..250), false, name)), 1);
        // One goes and another comes: into the place that is free.
        assert_eq!(touched(&slices, &pack(&slices, &members(1..251), false, name)), 1);
        let mut unready = members(0..250);
        unready.insert([10, 0, 0, 7].into(), false);
        assert_eq!(touched(&slices, &pack(&slices, &unready, false, name)), 1);
    }

    #[test]
    fn a_slice_without_endpoints_stays_only_if_there_is_no_other() {
        let slices = pack(&BTreeMap::new(), &members(0..150), false, name);
        let one = pack(&slices, &members(100..150), true, name);
        assert_eq!(one.keys().collect::<Vec<_>>(), ["s-1"]);
        let none = pack(&slices, &members([]), true, name);
        assert_eq!(none, BTreeMap::from([("s-0".to_owned(), members([]))]));
        assert!(pack(&slices, &members([]), false, name).is_empty());
        assert!(pack(&BTreeMap::new(), &members([]), true, name).is_empty());
    }

    #[test]
    fn a_name_that_is_taken_is_passed_over() {
        let slices = BTreeMap::from([("s-1".to_owned(), members(0..100))]);
        let packed = pack(&slices, &members(0..250), false, name);
        assert_eq!(packed.keys().collect::<Vec<_>>(), ["s-0", "s-1", "s-2"]);
    }

    proptest! {
        /// Each endpoint is in exactly one slice, none moves, none is too full, and to pack again changes
        /// nothing. Beside the slices that must change, only so many are touched as the rest needs.
        #[test]
        fn endpoints_stay_where_they_are(states in prop::collection::vec(prop::collection::btree_map(0u16..600, any::<bool>(), 0..400), 1..5)) {
            let mut slices = BTreeMap::new();
            for state in states {
                let endpoints: Members = state
                    .into_iter()
                    .map(|(n, ready)| ([10, 0, (n >> 8) as u8, n as u8].into(), ready))
                    .collect();
                let packed = pack(&slices, &endpoints, true, name);
                let all: Vec<_> = packed.values().flatten().map(|(ip, ready)| (*ip, *ready)).collect();
                prop_assert_eq!(all.len(), endpoints.len());
                prop_assert_eq!(&all.into_iter().collect::<Members>(), &endpoints);
                prop_assert!(packed.values().all(|members| members.len() <= SLICE_ENDPOINTS));
                for (slice, members) in &slices {
                    for ip in members.keys().filter(|ip| endpoints.contains_key(*ip)) {
                        prop_assert!(packed[slice].contains_key(ip));
                    }
                }
                let must_change = |members: &Members| members.iter().any(|(ip, ready)| endpoints.get(ip) != Some(ready));
                let stays = |members: &Members| members.keys().filter(|ip| endpoints.contains_key(*ip)).count();
                let must: Vec<_> = slices.values().filter(|members| must_change(members)).collect();
                let room: usize = must.iter().map(|members| SLICE_ENDPOINTS - stays(members)).sum();
                let known: BTreeSet<_> = slices.values().flat_map(Members::keys).copied().collect();
                let new = endpoints.keys().filter(|ip| !known.contains(*ip)).count();
                let rest = new.saturating_sub(room).div_ceil(SLICE_ENDPOINTS);
                // One more when the last endpoint goes: of the slices that are empty only one stays.
                let emptied = slices.values().filter(|members| members.is_empty()).count();
                prop_assert!(touched(&slices, &packed) <= must.len() + rest + emptied);
                prop_assert_eq!(&pack(&packed, &endpoints, true, name), &packed);
                slices = packed;
            }
        }
    }
}
