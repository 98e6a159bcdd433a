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
use super::nodes::NodeStore;
use super::objects::{Metadata, NodeObject, ServiceObject, SliceObject};
use crate::model::{Kind, Known, Nodes, Origin, Service, ServiceKey, Slice};

/// Something that a watch saw.
#[derive(Debug)]
pub enum Observation {
    /// Of a Service.
    Service(watcher::Event<ServiceObject>),
    /// Of an EndpointSlice.
    Slice(watcher::Event<SliceObject>),
    /// Of a Node.
    Node(watcher::Event<NodeObject>),
}

/// The store.
#[derive(Debug, Default)]
pub struct Store {
    entries: HashMap<ServiceKey, Entry>,
    /// Which Service a slice belongs to, by the slice's namespace and name.
    slices: HashMap<ServiceKey, ServiceKey>,
    services_list: Listing<Service>,
    slices_list: Listing<(ServiceKey, Held)>,
    /// `None` if nobody watches them.
    nodes: Option<NodeStore>,
    skipped: u64,
}

/// A Service with its slices; either may be absent.
#[derive(Debug, Default)]
struct Entry {
    service: Option<Service>,
    slices: BTreeMap<Arc<str>, Held>,
}

/// A slice, and which state of it that is. States that do not differ in what a plan looks at are one.
#[derive(Debug)]
struct Held {
    slice: Slice,
    origin: Origin,
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
    /// A store that is only synced once Nodes are listed too.
    #[must_use]
    pub fn with_nodes() -> Self {
        Store { nodes: Some(NodeStore::default()), ..Store::default() }
    }

    /// Takes an observation in. Returns the Services that may look different now.
    pub fn observe(&mut self, observation: Observation) -> BTreeSet<ServiceKey> {
        let observed = match observation {
            Observation::Service(event) => self.service_event(event),
            Observation::Slice(event) => self.slice_event(event),
            Observation::Node(event) => self.node_event(event),
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

    /// Have all watches completed a list? Before that nothing is known to be absent.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        let nodes = self.nodes.as_ref().is_none_or(|nodes| nodes.get().is_some());
        self.services_list.complete_once && self.slices_list.complete_once && nodes
    }

    /// All nodes; `None` if nobody watches them, or before they are known.
    #[must_use]
    pub fn nodes(&self) -> Option<&Nodes> {
        self.nodes.as_ref()?.get()
    }

    /// A Service and its slices; unknown until all watches have completed a list.
    #[must_use]
    pub fn get(&self, key: &ServiceKey) -> Known<(Option<&Service>, Vec<&Slice>)> {
        if !self.is_synced() {
            return Known::Unknown;
        }
        let entry = self.entries.get(key);
        let service = entry.and_then(|entry| entry.service.as_ref());
        Known::Known((service, self.slices_of(key).map(|(slice, _)| slice).collect()))
    }

    /// What is known of a Service so far.
    #[must_use]
    pub fn service(&self, key: &ServiceKey) -> Option<&Service> {
        self.entries.get(key)?.service.as_ref()
    }

    /// What is known of a Service's slices so far, and which states of them that is.
    pub fn slices_of(&self, key: &ServiceKey) -> impl Iterator<Item = (&Slice, &Origin)> + use<'_> {
        let slices = self.entries.get(key).into_iter().flat_map(|entry| entry.slices.values());
        slices.map(|Held { slice, origin }| (slice, origin))
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
                    Ok(Some((service, slice))) => {
                        let origin = origin(Kind::EndpointSlice, &object.metadata);
                        return Ok(self.slice_is(name, service, Held { slice, origin }));
                    }
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

    /// Only Services with node ports can be reached at nodes.
    fn node_event(&mut self, event: watcher::Event<NodeObject>) -> Result<BTreeSet<ServiceKey>, Malformed> {
        let was_synced = self.is_synced();
        let Some(nodes) = &mut self.nodes else { return Ok(BTreeSet::new()) };
        if !nodes.observe(event)? || !self.is_synced() {
            return Ok(BTreeSet::new());
        }
        if !was_synced {
            return Ok(self.entries.keys().cloned().collect());
        }
        let has_node_ports = |service: &&Service| service.ports.iter().any(|port| port.node_port.is_some());
        Ok(self.services().filter(has_node_ports).map(|service| service.key.clone()).collect())
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
    fn slice_is(&mut self, name: ServiceKey, service: ServiceKey, held: Held) -> BTreeSet<ServiceKey> {
        let belonged = self.slices.get(&name) == Some(&service);
        let before = self.entries.get_mut(&service).and_then(|entry| entry.slices.get_mut(&name.name));
        let is_new = match before {
            Some(before) if belonged && before.slice == held.slice => {
                before.origin = held.origin.clone();
                false
            }
            _ => true,
        };
        match &mut self.slices_list.staged {
            Some(staged) => {
                staged.insert(name, is_new.then_some((service, held)));
                BTreeSet::new()
            }
            None if is_new => self.put_slice(name, service, held).collect(),
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
                if let Some((service, held)) = new {
                    changed.extend(self.put_slice(name, service, held));
                }
            }
        }
        self.synced(changed, |store| store.slices_list.complete_once = true)
    }

    /// A list is complete. The one that completes the first of all makes every Service worth a look.
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
        held: Held,
    ) -> impl Iterator<Item = ServiceKey> + use<> {
        let left = match self.slices.get(&name) {
            Some(before) if *before != service => self.remove_slice(&name),
            _ => None,
        };
        self.entries.entry(service.clone()).or_default().slices.insert(name.name.clone(), held);
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

impl Observation {
    /// Which state of which object was seen, if it is one and not part of a list.
    #[must_use]
    pub fn origin(&self) -> Option<Origin> {
        use watcher::Event::{Apply, Delete};
        match self {
            Observation::Service(Apply(object) | Delete(object)) => {
                Some(origin(Kind::Service, &object.metadata))
            }
            Observation::Slice(Apply(object) | Delete(object)) => {
                Some(origin(Kind::EndpointSlice, &object.metadata))
            }
            _ => None,
        }
    }
}

fn origin(kind: Kind, Metadata { known, .. }: &Metadata) -> Origin {
    let text = |text: &Option<String>| text.as_deref().unwrap_or_default().into();
    Origin {
        kind,
        name: text(&known.name),
        uid: text(&known.uid),
        resource_version: text(&known.resource_version),
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
#[path = "store_test.rs"]
mod tests;
