//! What is known of Services and slices, joined by the slices' label.
//!
//! The two watches have no common order: a slice may come before its Service and outlive it.
//!
//! A list is taken in as a whole. An endpoint may have moved from one slice to another since the last one;
//! applied slice by slice, it would be absent for a moment of which the API server knows nothing. So what
//! comes between `Init` and `InitDone` is staged, and what the list did not mention goes with it at the end.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use kube::runtime::watcher;

use super::decode::{self, Malformed};
use super::objects::{ServiceObject, SliceObject};
use crate::model::{Known, Service, ServiceKey, Slice};

/// Something that a watch saw.
#[derive(Debug)]
pub enum Observation {
    /// Of a Service.
    Service(watcher::Event<ServiceObject>),
    /// Of an EndpointSlice.
    Slice(watcher::Event<SliceObject>),
}

/// The store.
#[derive(Debug, Default)]
pub struct Store {
    entries: HashMap<ServiceKey, Entry>,
    /// Which Service a slice belongs to, by the slice's namespace and name.
    slices: HashMap<ServiceKey, ServiceKey>,
    services_list: Listing<Service>,
    slices_list: Listing<(ServiceKey, Slice)>,
    skipped: u64,
}

/// A Service with its slices; either may be absent.
#[derive(Debug, Default)]
struct Entry {
    service: Option<Service>,
    slices: BTreeMap<Arc<str>, Slice>,
}

/// How far a watch is with its list.
#[derive(Debug)]
struct Listing<T> {
    /// What the list under way has mentioned: what is new, or `None` for what stays as it is.
    staged: Option<HashMap<ServiceKey, Option<T>>>,
    complete_once: bool,
}

impl<T> Default for Listing<T> {
    fn default() -> Self {
        Listing { staged: None, complete_once: false }
    }
}

impl Store {
    /// Takes an observation in. Returns the Services that may look different now.
    pub fn observe(&mut self, observation: Observation) -> BTreeSet<ServiceKey> {
        let observed = match observation {
            Observation::Service(event) => self.service_event(event),
            Observation::Slice(event) => self.slice_event(event),
        };
        observed.unwrap_or_else(|malformed| {
            self.skipped += 1;
            tracing::warn!("skipping an object: {malformed}");
            BTreeSet::new()
        })
    }

    /// Objects that made no sense and were skipped, each as often as it was seen.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Have both watches completed a list? Before that nothing is known to be absent.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.services_list.complete_once && self.slices_list.complete_once
    }

    /// A Service and its slices; unknown until both watches have completed a list.
    #[must_use]
    pub fn get(&self, key: &ServiceKey) -> Known<(Option<&Service>, Vec<&Slice>)> {
        if !self.is_synced() {
            return Known::Unknown;
        }
        let entry = self.entries.get(key);
        let service = entry.and_then(|entry| entry.service.as_ref());
        Known::Known((service, entry.iter().flat_map(|entry| entry.slices.values()).collect()))
    }

    /// Every Service that exists or has slices.
    pub fn keys(&self) -> impl Iterator<Item = ServiceKey> {
        self.entries.keys().cloned()
    }

    /// All Services, in no order.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.entries.values().filter_map(|entry| entry.service.as_ref())
    }

    fn service_event(
        &mut self,
        event: watcher::Event<ServiceObject>,
    ) -> Result<BTreeSet<ServiceKey>, Malformed> {
        match event {
            watcher::Event::Init => self.services_list.staged = Some(HashMap::new()),
            watcher::Event::InitApply(object) | watcher::Event::Apply(object) => {
                let key = decode::service_key(&object)?;
                match decode::service(&object) {
                    Ok(service) => return Ok(self.service_is(service)),
                    Err(malformed) => {
                        self.services_list.mentioned(key);
                        return Err(malformed);
                    }
                }
            }
            watcher::Event::Delete(object) => return Ok(self.service_is_gone(decode::service_key(&object)?)),
            watcher::Event::InitDone => return Ok(self.services_listed()),
        }
        Ok(BTreeSet::new())
    }

    fn slice_event(&mut self, event: watcher::Event<SliceObject>) -> Result<BTreeSet<ServiceKey>, Malformed> {
        match event {
            watcher::Event::Init => self.slices_list.staged = Some(HashMap::new()),
            watcher::Event::InitApply(object) | watcher::Event::Apply(object) => {
                let name = decode::slice_name(&object)?;
                match decode::slice(&object) {
                    Ok(Some((service, slice))) => return Ok(self.slice_is(name, service, slice)),
                    Ok(None) => return Ok(self.slice_is_gone(&name)),
                    Err(malformed) => {
                        self.slices_list.mentioned(name);
                        return Err(malformed);
                    }
                }
            }
            watcher::Event::Delete(object) => return Ok(self.slice_is_gone(&decode::slice_name(&object)?)),
            watcher::Event::InitDone => return Ok(self.slices_listed()),
        }
        Ok(BTreeSet::new())
    }

    /// During a list this is staged with it, also from a watch: the last word on an object counts.
    fn service_is(&mut self, service: Service) -> BTreeSet<ServiceKey> {
        let before = self.entries.get(&service.key).and_then(|entry| entry.service.as_ref());
        let is_new = before != Some(&service);
        match &mut self.services_list.staged {
            Some(staged) => {
                staged.insert(service.key.clone(), is_new.then_some(service));
                BTreeSet::new()
            }
            None if is_new => BTreeSet::from([self.put_service(service)]),
            None => BTreeSet::new(),
        }
    }

    fn service_is_gone(&mut self, key: ServiceKey) -> BTreeSet<ServiceKey> {
        if let Some(staged) = &mut self.services_list.staged {
            staged.remove(&key);
            return BTreeSet::new();
        }
        self.remove_service(&key);
        BTreeSet::from([key])
    }

    fn services_listed(&mut self) -> BTreeSet<ServiceKey> {
        let mut changed = BTreeSet::new();
        if let Some(staged) = self.services_list.staged.take() {
            let known = self.services().map(|service| &service.key);
            let gone: Vec<_> = known.filter(|key| !staged.contains_key(*key)).cloned().collect();
            gone.iter().for_each(|key| self.remove_service(key));
            changed.extend(gone);
            changed.extend(staged.into_values().flatten().map(|service| self.put_service(service)));
        }
        self.synced(changed, |store| store.services_list.complete_once = true)
    }

    /// As [`Self::service_is`].
    fn slice_is(&mut self, name: ServiceKey, service: ServiceKey, slice: Slice) -> BTreeSet<ServiceKey> {
        let belonged = self.slices.get(&name) == Some(&service);
        let before = self.entries.get(&service).and_then(|entry| entry.slices.get(&name.name));
        let is_new = !belonged || before != Some(&slice);
        match &mut self.slices_list.staged {
            Some(staged) => {
                staged.insert(name, is_new.then_some((service, slice)));
                BTreeSet::new()
            }
            None if is_new => self.put_slice(name, service, slice).collect(),
            None => BTreeSet::new(),
        }
    }

    fn slice_is_gone(&mut self, name: &ServiceKey) -> BTreeSet<ServiceKey> {
        if let Some(staged) = &mut self.slices_list.staged {
            staged.remove(name);
            return BTreeSet::new();
        }
        self.remove_slice(name).into_iter().collect()
    }

    fn slices_listed(&mut self) -> BTreeSet<ServiceKey> {
        let mut changed = BTreeSet::new();
        if let Some(staged) = self.slices_list.staged.take() {
            let known = self.slices.keys();
            let gone: Vec<_> = known.filter(|name| !staged.contains_key(*name)).cloned().collect();
            changed.extend(gone.iter().filter_map(|name| self.remove_slice(name)));
            for (name, new) in staged {
                if let Some((service, slice)) = new {
                    changed.extend(self.put_slice(name, service, slice));
                }
            }
        }
        self.synced(changed, |store| store.slices_list.complete_once = true)
    }

    /// A list is complete. The one that completes the first of both makes every Service worth a look.
    fn synced(
        &mut self,
        changed: BTreeSet<ServiceKey>,
        complete: impl FnOnce(&mut Store),
    ) -> BTreeSet<ServiceKey> {
        let before = self.is_synced();
        complete(self);
        if self.is_synced() && !before { self.entries.keys().cloned().collect() } else { changed }
    }

    fn put_service(&mut self, service: Service) -> ServiceKey {
        let key = service.key.clone();
        self.entries.entry(key.clone()).or_default().service = Some(service);
        key
    }

    fn remove_service(&mut self, key: &ServiceKey) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.service = None;
        }
        self.forget_if_empty(key);
    }

    /// A slice whose label has changed leaves its old Service. Returns the Services that it changes.
    fn put_slice(
        &mut self,
        name: ServiceKey,
        service: ServiceKey,
        slice: Slice,
    ) -> impl Iterator<Item = ServiceKey> + use<> {
        let left = match self.slices.get(&name) {
            Some(before) if *before != service => self.remove_slice(&name),
            _ => None,
        };
        self.entries.entry(service.clone()).or_default().slices.insert(name.name.clone(), slice);
        self.slices.insert(name, service.clone());
        left.into_iter().chain([service])
    }

    fn remove_slice(&mut self, name: &ServiceKey) -> Option<ServiceKey> {
        let service = self.slices.remove(name)?;
        if let Some(entry) = self.entries.get_mut(&service) {
            entry.slices.remove(&name.name);
        }
        self.forget_if_empty(&service);
        Some(service)
    }

    fn forget_if_empty(&mut self, key: &ServiceKey) {
        if self.entries.get(key).is_some_and(|entry| entry.service.is_none() && entry.slices.is_empty()) {
            self.entries.remove(key);
        }
    }
}

impl<T> Listing<T> {
    /// A list under way has mentioned something that makes no sense: what was known of it stays.
    fn mentioned(&mut self, name: ServiceKey) {
        if let Some(staged) = &mut self.staged {
            staged.insert(name, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::field::Field;
    use kube::runtime::watcher::Event;
    use serde_json::json;

    fn service(name: &str) -> ServiceObject {
        serde_json::from_value(json!({"metadata": {"namespace": "shop", "name": name}})).unwrap()
    }

    fn slice(name: &str, service: &str, ip: &str) -> SliceObject {
        serde_json::from_value(json!({
            "metadata": {
                "namespace": "shop", "name": name, "labels": {"kubernetes.io/service-name": service},
            },
            "addressType": "IPv4",
            "endpoints": [{"addresses": [ip]}],
        }))
        .unwrap()
    }

    fn keys(names: &[&str]) -> BTreeSet<ServiceKey> {
        names.iter().map(|name| ServiceKey::new("shop", name)).collect()
    }

    fn list(store: &mut Store, services: &[ServiceObject], slices: &[SliceObject]) -> BTreeSet<ServiceKey> {
        let mut changed = store.observe(Observation::Service(Event::Init));
        for service in services {
            changed.extend(store.observe(Observation::Service(Event::InitApply(service.clone()))));
        }
        changed.extend(store.observe(Observation::Service(Event::InitDone)));
        changed.extend(store.observe(Observation::Slice(Event::Init)));
        for slice in slices {
            changed.extend(store.observe(Observation::Slice(Event::InitApply(slice.clone()))));
        }
        changed.extend(store.observe(Observation::Slice(Event::InitDone)));
        changed
    }

    fn slices(store: &Store, name: &str) -> usize {
        match store.get(&ServiceKey::new("shop", name)) {
            Known::Known((_, slices)) => slices.len(),
            Known::Unknown => panic!("not synced"),
        }
    }

    #[test]
    fn nothing_is_known_before_both_lists_are_complete() {
        let mut store = Store::default();
        store.observe(Observation::Service(Event::Init));
        store.observe(Observation::Service(Event::InitDone));
        store.observe(Observation::Slice(Event::Init));
        store.observe(Observation::Slice(Event::InitApply(slice("a-1", "a", "10.0.0.1"))));
        assert!(matches!(store.get(&ServiceKey::new("shop", "a")), Known::Unknown));
        assert_eq!(store.observe(Observation::Slice(Event::InitDone)), keys(&["a"]));
        assert_eq!(slices(&store, "a"), 1);
    }

    #[test]
    fn a_relist_removes_what_it_did_not_mention_and_only_when_it_is_complete() {
        let mut store = Store::default();
        let (a, b) = (slice("a-1", "a", "10.0.0.1"), slice("b-1", "b", "10.0.0.2"));
        list(&mut store, &[service("a"), service("b")], &[a.clone(), b]);
        store.observe(Observation::Slice(Event::Init));
        store.observe(Observation::Slice(Event::InitApply(a.clone())));
        assert_eq!(slices(&store, "b"), 1);
        assert_eq!(store.observe(Observation::Slice(Event::InitDone)), keys(&["b"]));
        assert_eq!(slices(&store, "b"), 0);
        assert_eq!(list(&mut store, &[service("a")], &[a]), keys(&["b"]));
        assert_eq!(store.services().count(), 1);
    }

    #[test]
    fn what_did_not_change_is_not_worth_a_look() {
        let mut store = Store::default();
        list(&mut store, &[service("a")], &[slice("a-1", "a", "10.0.0.1")]);
        let same = Observation::Slice(Event::Apply(slice("a-1", "a", "10.0.0.1")));
        assert_eq!(store.observe(same), keys(&[]));
        let other = Observation::Slice(Event::Apply(slice("a-1", "a", "10.0.0.9")));
        assert_eq!(store.observe(other), keys(&["a"]));
        assert_eq!(store.observe(Observation::Service(Event::Apply(service("a")))), keys(&[]));
    }

    #[test]
    fn a_slice_may_change_its_service_and_outlive_it() {
        let mut store = Store::default();
        list(&mut store, &[service("a")], &[slice("s", "a", "10.0.0.1")]);
        let moved = Observation::Slice(Event::Apply(slice("s", "b", "10.0.0.1")));
        assert_eq!(store.observe(moved), keys(&["a", "b"]));
        assert_eq!(store.observe(Observation::Service(Event::Delete(service("a")))), keys(&["a"]));
        assert_eq!(slices(&store, "b"), 1);
        let gone = Observation::Slice(Event::Delete(slice("s", "b", "10.0.0.1")));
        assert_eq!(store.observe(gone), keys(&["b"]));
        assert!(store.entries.is_empty());
    }

    fn addresses(store: &Store, name: &str) -> Vec<String> {
        let Known::Known((_, slices)) = store.get(&ServiceKey::new("shop", name)) else {
            panic!("not synced")
        };
        let endpoints = slices.iter().flat_map(|slice| &slice.endpoints);
        let found: BTreeSet<_> = endpoints.map(|endpoint| endpoint.ip.to_string()).collect();
        found.into_iter().collect()
    }

    #[test]
    fn a_list_that_moves_an_endpoint_between_slices_never_loses_it() {
        let mut store = Store::default();
        list(&mut store, &[service("a")], &[slice("a-1", "a", "10.0.0.1"), slice("a-2", "a", "10.0.0.2")]);
        for event in [
            Event::Init,
            Event::InitApply(slice("a-1", "a", "10.0.0.9")),
            Event::InitApply(slice("a-2", "a", "10.0.0.1")),
        ] {
            assert_eq!(store.observe(Observation::Slice(event)), keys(&[]));
            assert_eq!(addresses(&store, "a"), ["10.0.0.1", "10.0.0.2"]);
        }
        assert_eq!(store.observe(Observation::Slice(Event::InitDone)), keys(&["a"]));
        assert_eq!(addresses(&store, "a"), ["10.0.0.1", "10.0.0.9"]);
    }

    #[test]
    fn a_list_of_services_is_taken_in_as_a_whole() {
        let mut store = Store::default();
        list(&mut store, &[service("a")], &[]);
        for event in [Event::Init, Event::InitApply(service("b")), Event::InitApply(service("c"))] {
            assert_eq!(store.observe(Observation::Service(event)), keys(&[]));
            assert_eq!(store.services().count(), 1);
        }
        assert_eq!(store.observe(Observation::Service(Event::InitDone)), keys(&["a", "b", "c"]));
        assert_eq!(store.services().count(), 2);
    }

    #[test]
    fn a_list_that_starts_again_forgets_what_it_had() {
        let mut store = Store::default();
        list(&mut store, &[service("a")], &[slice("a-1", "a", "10.0.0.1")]);
        for event in [
            Event::Init,
            Event::InitApply(slice("a-1", "a", "10.0.0.8")),
            Event::InitApply(slice("a-2", "a", "10.0.0.9")),
            Event::Init,
            Event::InitApply(slice("a-1", "a", "10.0.0.1")),
        ] {
            assert_eq!(store.observe(Observation::Slice(event)), keys(&[]));
        }
        assert_eq!(store.observe(Observation::Slice(Event::InitDone)), keys(&[]));
        assert_eq!(addresses(&store, "a"), ["10.0.0.1"]);
    }

    #[test]
    fn what_a_watch_says_during_a_list_is_not_lost() {
        let mut store = Store::default();
        let (a, b) = (slice("a-1", "a", "10.0.0.1"), slice("b-1", "b", "10.0.0.2"));
        list(&mut store, &[service("a"), service("b")], &[a.clone(), b.clone()]);
        for event in [
            Event::Init,
            Event::InitApply(a),
            Event::InitApply(b),
            Event::Apply(slice("a-1", "a", "10.0.0.7")),
            Event::Apply(slice("a-2", "a", "10.0.0.8")),
            Event::Delete(slice("b-1", "b", "10.0.0.2")),
        ] {
            assert_eq!(store.observe(Observation::Slice(event)), keys(&[]));
        }
        for event in [
            Event::Init,
            Event::InitApply(service("a")),
            Event::InitApply(service("b")),
            Event::Apply(service("c")),
            Event::Delete(service("b")),
        ] {
            assert_eq!(store.observe(Observation::Service(event)), keys(&[]));
        }
        assert_eq!(store.observe(Observation::Slice(Event::InitDone)), keys(&["a", "b"]));
        assert_eq!(store.observe(Observation::Service(Event::InitDone)), keys(&["b", "c"]));
        assert_eq!(addresses(&store, "a"), ["10.0.0.7", "10.0.0.8"]);
        assert_eq!(addresses(&store, "b"), [""; 0]);
        assert_eq!(store.services().count(), 2);
    }

    #[test]
    fn a_slice_that_a_list_gives_to_another_service_leaves_the_first() {
        let mut store = Store::default();
        list(&mut store, &[service("a"), service("b")], &[slice("s", "a", "10.0.0.1")]);
        let changed = list(&mut store, &[service("a"), service("b")], &[slice("s", "b", "10.0.0.1")]);
        assert_eq!(changed, keys(&["a", "b"]));
        assert_eq!((slices(&store, "a"), slices(&store, "b")), (0, 1));
    }

    #[test]
    fn an_object_that_makes_no_sense_stays_as_it_was_and_costs_no_other() {
        let mut store = Store::default();
        let (a, b) = (slice("a-1", "a", "10.0.0.1"), slice("b-1", "b", "10.0.0.2"));
        list(&mut store, &[service("a"), service("b")], &[a, b]);
        let mut no_service = service("b");
        no_service.spec = Field::Malformed;
        let mut no_slice = slice("b-1", "b", "10.0.0.8");
        no_slice.endpoints = Field::Malformed;
        assert_eq!(store.observe(Observation::Slice(Event::Apply(no_slice.clone()))), keys(&[]));
        assert_eq!(addresses(&store, "b"), ["10.0.0.2"]);
        let other = slice("a-1", "a", "10.0.0.3");
        let changed = list(&mut store, &[no_service, service("a")], &[no_slice.clone(), other]);
        assert_eq!(changed, keys(&["a"]));
        assert_eq!(addresses(&store, "a"), ["10.0.0.3"]);
        assert_eq!(addresses(&store, "b"), ["10.0.0.2"]);
        assert_eq!(store.services().count(), 2);
        assert_eq!(store.observe(Observation::Slice(Event::Delete(no_slice))), keys(&["b"]));
        assert_eq!(addresses(&store, "b"), [""; 0]);
    }
}
