//! What is known of Services and slices, joined by the slices' label.
//!
//! The two watches have no common order: a slice may come before its Service and outlive it. A relist does
//! not empty the store: what it did not mention goes when it is complete.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use kube::runtime::watcher;

use super::decode;
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
    slices: HashMap<ServiceKey, Listed>,
    services_list: Listing,
    slices_list: Listing,
}

/// A Service with its slices; either may be absent.
#[derive(Debug, Default)]
struct Entry {
    service: Option<Service>,
    service_generation: u32,
    slices: BTreeMap<Arc<str>, Slice>,
}

#[derive(Debug)]
struct Listed {
    service: ServiceKey,
    generation: u32,
}

/// How far a watch is with its list.
#[derive(Debug, Default)]
struct Listing {
    generation: u32,
    complete_once: bool,
}

impl Store {
    /// Takes an observation in. Returns the Services that may look different now.
    pub fn observe(&mut self, observation: Observation) -> BTreeSet<ServiceKey> {
        match observation {
            Observation::Service(event) => self.service_event(event),
            Observation::Slice(event) => self.slice_event(event),
        }
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

    /// All Services, in no order.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.entries.values().filter_map(|entry| entry.service.as_ref())
    }

    fn service_event(&mut self, event: watcher::Event<ServiceObject>) -> BTreeSet<ServiceKey> {
        match event {
            watcher::Event::Init => {
                self.services_list.generation += 1;
                BTreeSet::new()
            }
            watcher::Event::InitApply(object) | watcher::Event::Apply(object) => {
                let service = decode::service(&object);
                let entry = self.entries.entry(service.key.clone()).or_default();
                entry.service_generation = self.services_list.generation;
                let changed = entry.service.as_ref() != Some(&service);
                let key = service.key.clone();
                entry.service = Some(service);
                changed.then_some(key).into_iter().collect()
            }
            watcher::Event::Delete(object) => {
                let key = decode::key(object.metadata.namespace.as_deref(), object.metadata.name.as_deref());
                self.remove_service(&key);
                BTreeSet::from([key])
            }
            watcher::Event::InitDone => {
                let generation = self.services_list.generation;
                let is_gone =
                    |entry: &Entry| entry.service.is_some() && entry.service_generation != generation;
                let gone: BTreeSet<_> = self
                    .entries
                    .iter()
                    .filter(|(_, entry)| is_gone(entry))
                    .map(|(key, _)| key.clone())
                    .collect();
                gone.iter().for_each(|key| self.remove_service(key));
                self.synced(gone, |store| &mut store.services_list)
            }
        }
    }

    fn slice_event(&mut self, event: watcher::Event<SliceObject>) -> BTreeSet<ServiceKey> {
        match event {
            watcher::Event::Init => {
                self.slices_list.generation += 1;
                BTreeSet::new()
            }
            watcher::Event::InitApply(object) | watcher::Event::Apply(object) => self.put_slice(&object),
            watcher::Event::Delete(object) => {
                let name = decode::key(object.metadata.namespace.as_deref(), object.metadata.name.as_deref());
                self.remove_slice(&name).into_iter().collect()
            }
            watcher::Event::InitDone => {
                let generation = self.slices_list.generation;
                let listed = self.slices.iter();
                let gone: Vec<_> = listed
                    .filter(|(_, listed)| listed.generation != generation)
                    .map(|(name, _)| name.clone())
                    .collect();
                let changed = gone.iter().filter_map(|name| self.remove_slice(name)).collect();
                self.synced(changed, |store| &mut store.slices_list)
            }
        }
    }

    /// A list is complete. The one that completes the first of both makes every Service worth a look.
    fn synced(
        &mut self,
        changed: BTreeSet<ServiceKey>,
        listing: impl Fn(&mut Store) -> &mut Listing,
    ) -> BTreeSet<ServiceKey> {
        let before = self.is_synced();
        listing(self).complete_once = true;
        if self.is_synced() && !before { self.entries.keys().cloned().collect() } else { changed }
    }

    fn put_slice(&mut self, object: &SliceObject) -> BTreeSet<ServiceKey> {
        let name = decode::key(object.metadata.namespace.as_deref(), object.metadata.name.as_deref());
        let generation = self.slices_list.generation;
        let Some((service, slice)) = decode::slice(object) else {
            return self.remove_slice(&name).into_iter().collect();
        };
        let mut changed = BTreeSet::new();
        // A slice whose label has changed leaves its old Service.
        if self.slices.get(&name).is_some_and(|listed| listed.service != service) {
            changed.extend(self.remove_slice(&name));
        }
        let slices = &mut self.entries.entry(service.clone()).or_default().slices;
        let before = slices.insert(name.name.clone(), slice);
        if before.as_ref() != slices.get(&name.name) {
            changed.insert(service.clone());
        }
        self.slices.insert(name, Listed { service, generation });
        changed
    }

    fn remove_slice(&mut self, name: &ServiceKey) -> Option<ServiceKey> {
        let Listed { service, .. } = self.slices.remove(name)?;
        if let Some(entry) = self.entries.get_mut(&service) {
            entry.slices.remove(&name.name);
        }
        self.forget_if_empty(&service);
        Some(service)
    }

    fn remove_service(&mut self, key: &ServiceKey) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.service = None;
        }
        self.forget_if_empty(key);
    }

    fn forget_if_empty(&mut self, key: &ServiceKey) {
        if self.entries.get(key).is_some_and(|entry| entry.service.is_none() && entry.slices.is_empty()) {
            self.entries.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
}
