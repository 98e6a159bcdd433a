//! What is in Kubernetes: Services, whosever they are, and our slices and `Endpoints`.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Debug;
use std::net::IpAddr;
use std::sync::Arc;

use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::{Endpoints, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt};

use super::objects::Identity;
use super::plan::{EndpointsThere, Import, ServiceThere, SliceThere, State, Version};
use crate::model::{ServiceKey, ZnodePath};
use crate::observe::decode::{MANAGED_BY, OUR_SLICES};
use crate::observe::watch::watch;

/// Something that a watch saw. The last one is of `Endpoints` of one namespace.
#[allow(clippy::large_enum_variant)] // As in kube's own events; it is moved, and not kept.
pub(super) enum Observation {
    Service(watcher::Event<Service>),
    Slice(watcher::Event<EndpointSlice>),
    Endpoints(String, watcher::Event<Endpoints>),
}

/// What is known of it.
pub(super) struct Cluster {
    identity: Identity,
    services: Cache<ServiceThere>,
    virtual_ips: VirtualIps,
    slices: Cache<(ServiceKey, SliceThere)>,
    by_service: BTreeMap<ServiceKey, BTreeSet<ServiceKey>>,
    endpoints: BTreeMap<String, Cache<EndpointsThere>>,
}

/// The addresses of Services, at which nothing but a proxy listens.
#[derive(Default)]
struct VirtualIps {
    by_service: HashMap<ServiceKey, Vec<IpAddr>>,
    addresses: HashSet<IpAddr>,
}

/// Objects of one kind, by their own names.
struct Cache<T> {
    objects: HashMap<ServiceKey, (Version, T)>,
    /// What a list under way has mentioned.
    staged: Option<HashMap<ServiceKey, (Version, T)>>,
    /// The uids of what is gone: an answer to a write may come behind that.
    deleted: HashSet<Arc<str>>,
    is_complete: bool,
}

impl<T> Default for Cache<T> {
    fn default() -> Self {
        Cache { objects: HashMap::new(), staged: None, deleted: HashSet::new(), is_complete: false }
    }
}

/// Watches all of it. `Endpoints` are watched only where they are wanted. Never ends.
pub(super) fn observations(
    client: &Client,
    imports: &[Import],
) -> impl Stream<Item = Observation> + Send + use<> {
    let config = watcher::Config::default();
    let services = watch(Api::<Service>::all(client.clone()), config.clone(), None).map(Observation::Service);
    let ours = config.clone().labels(&format!("{MANAGED_BY}={OUR_SLICES}"));
    let slices = watch(Api::<EndpointSlice>::all(client.clone()), ours, None).map(Observation::Slice);
    let mut streams: Vec<BoxStream<'static, Observation>> = vec![services.boxed(), slices.boxed()];
    for namespace in namespaces(imports) {
        let watched = watch(Api::<Endpoints>::namespaced(client.clone(), &namespace), config.clone(), None);
        streams.push(watched.map(move |event| Observation::Endpoints(namespace.clone(), event)).boxed());
    }
    futures::stream::select_all(streams)
}

fn namespaces(imports: &[Import]) -> BTreeSet<String> {
    imports.iter().filter(|import| import.endpoints).map(|import| import.namespace.clone()).collect()
}

impl Cluster {
    pub(super) fn new(identity: Identity, imports: &[Import]) -> Self {
        Cluster {
            identity,
            services: Cache::default(),
            virtual_ips: VirtualIps::default(),
            slices: Cache::default(),
            by_service: BTreeMap::new(),
            endpoints: namespaces(imports).into_iter().map(|name| (name, Cache::default())).collect(),
        }
    }

    /// Has every watch completed a list? Before that nothing is known to be absent.
    pub(super) fn is_synced(&self) -> bool {
        self.services.is_complete
            && self.slices.is_complete
            && self.endpoints.values().all(|cache| cache.is_complete)
    }

    /// Takes an observation in; returns the Services that may look different now.
    pub(super) fn observe(&mut self, observation: Observation) -> BTreeSet<ServiceKey> {
        let identity = self.identity.clone();
        match observation {
            Observation::Service(event) => {
                self.virtual_ips.observe(&event);
                self.services.observe(event, |object| Some(identity.service(object)))
            }
            Observation::Slice(event) => {
                let before = self.slices.observe(event, |object| identity.slice(object));
                self.index(before)
            }
            Observation::Endpoints(namespace, event) => match self.endpoints.get_mut(&namespace) {
                Some(cache) => cache.observe(event, |object| Some(identity.endpoints(object))),
                None => BTreeSet::new(),
            },
        }
    }

    /// Slices of these names have changed: which Services they belonged and belong to.
    fn index(&mut self, names: BTreeSet<ServiceKey>) -> BTreeSet<ServiceKey> {
        let mut changed = BTreeSet::new();
        for name in names {
            let now = self.slices.objects.get(&name).map(|(_, (service, _))| service.clone());
            // A slice is named after its Service, so few have to be looked at.
            let begins: Vec<_> = self
                .by_service
                .iter()
                .filter(|(service, slices)| service.namespace == name.namespace && slices.contains(&name))
                .map(|(service, _)| service.clone())
                .collect();
            for before in begins {
                if let Some(slices) = self.by_service.get_mut(&before) {
                    slices.remove(&name);
                }
                changed.insert(before);
            }
            if let Some(service) = now {
                self.by_service.entry(service.clone()).or_default().insert(name);
                changed.insert(service);
            }
        }
        self.by_service.retain(|_, slices| !slices.is_empty());
        changed
    }

    /// What a write of ours left: the watch will say the same, later.
    pub(super) fn service_is(&mut self, object: Service) -> BTreeSet<ServiceKey> {
        self.observe(Observation::Service(watcher::Event::Apply(object)))
    }

    /// As [`Cluster::service_is`].
    pub(super) fn slice_is(&mut self, object: EndpointSlice) -> BTreeSet<ServiceKey> {
        self.observe(Observation::Slice(watcher::Event::Apply(object)))
    }

    /// As [`Cluster::service_is`].
    pub(super) fn endpoints_are(&mut self, object: Endpoints) -> BTreeSet<ServiceKey> {
        let namespace = object.namespace().unwrap_or_default();
        self.observe(Observation::Endpoints(namespace, watcher::Event::Apply(object)))
    }

    /// What is there under a Service's name.
    pub(super) fn state(&self, key: &ServiceKey) -> State {
        let names = self.by_service.get(key).into_iter().flatten();
        let slices = names.filter_map(|name| {
            let (_, (_, slice)) = self.slices.objects.get(name)?;
            Some((name.name.to_string(), slice.clone()))
        });
        let endpoints = self.endpoints.get(&*key.namespace);
        State {
            service: self.services.objects.get(key).map(|(_, service)| service.clone()),
            slices: slices.collect(),
            endpoints: endpoints.and_then(|cache| Some(cache.objects.get(key)?.1.clone())),
        }
    }

    /// All Services that we wrote, and those whose slices we did.
    pub(super) fn ours(&self) -> BTreeSet<ServiceKey> {
        let ours = self.services.objects.iter();
        let ours = ours.filter(|(_, (_, service))| matches!(service, ServiceThere::Ours(_)));
        ours.map(|(key, _)| key.clone()).chain(self.by_service.keys().cloned()).collect()
    }

    /// The Services that stand for something in this directory.
    pub(super) fn of_directory(&self, directory: &ZnodePath) -> BTreeSet<ServiceKey> {
        let is_of = |service: &ServiceThere| match service {
            ServiceThere::Ours(ours) => ours.source.as_ref().is_some_and(|it| it.directory == *directory),
            ServiceThere::Foreign(_) => false,
        };
        let services = self.services.objects.iter().filter(|(_, (_, service))| is_of(service));
        services.map(|(key, _)| key.clone()).collect()
    }

    /// Is there a Service of this name, whosever it is?
    pub(super) fn has_service(&self, key: &ServiceKey) -> bool {
        self.services.objects.contains_key(key)
    }

    /// Is this the address of a Service, whosever it is?
    pub(super) fn is_virtual(&self, ip: IpAddr) -> bool {
        self.virtual_ips.addresses.contains(&ip)
    }

    /// How many Services an import has in its namespace.
    pub(super) fn count(&self, import: &Import) -> usize {
        let services = self.services.objects.iter().filter(|(key, _)| *key.namespace == *import.namespace);
        services
            .filter(
                |(_, (_, service))| matches!(service, ServiceThere::Ours(ours) if ours.import == import.name),
            )
            .count()
    }

    /// No write is under way, so no answer can come late.
    pub(super) fn forget_deleted(&mut self) {
        self.services.deleted.clear();
        self.slices.deleted.clear();
        self.endpoints.values_mut().for_each(|cache| cache.deleted.clear());
    }
}

impl VirtualIps {
    /// A Service keeps its addresses for as long as it lives. One that went while nobody watched is forgotten with
    /// the next list, when all that are left are told of.
    fn observe(&mut self, event: &watcher::Event<Service>) {
        match event {
            watcher::Event::Init => self.by_service.clear(),
            watcher::Event::InitApply(service) | watcher::Event::Apply(service) => {
                let spec = service.spec.as_ref();
                let ips = spec.and_then(|spec| spec.cluster_ips.as_ref()).into_iter().flatten();
                // `None` is no address.
                let ips: Vec<_> = ips.filter_map(|ip| ip.parse().ok()).collect();
                self.addresses.extend(&ips);
                let (name, _) = named(&service.metadata);
                let before = self.by_service.insert(name, ips.clone()).unwrap_or_default();
                for ip in before.iter().filter(|ip| !ips.contains(ip)) {
                    self.addresses.remove(ip);
                }
            }
            watcher::Event::Delete(service) => {
                let (name, _) = named(&service.metadata);
                for ip in self.by_service.remove(&name).unwrap_or_default() {
                    self.addresses.remove(&ip);
                }
            }
            watcher::Event::InitDone => {
                self.addresses = self.by_service.values().flatten().copied().collect();
            }
        }
    }
}

impl<T: PartialEq + Clone> Cache<T> {
    /// Returns the names of what may look different now. `None` of `read` is an object that does not count.
    fn observe<K>(&mut self, event: watcher::Event<K>, read: impl Fn(&K) -> Option<T>) -> BTreeSet<ServiceKey>
    where
        K: kube::Resource<DynamicType = ()> + Debug,
    {
        match event {
            watcher::Event::Init => {
                self.staged = Some(HashMap::new());
                BTreeSet::new()
            }
            watcher::Event::InitApply(object) | watcher::Event::Apply(object) => {
                let (name, version) = named(object.meta());
                if self.deleted.contains(&version.uid) {
                    return BTreeSet::new();
                }
                let before = self.objects.get(&name);
                // A watch tells of a write of ours after its answer did.
                if let Some(known) = before.filter(|(known, _)| is_older(&version, known)) {
                    if let Some(staged) = &mut self.staged {
                        staged.insert(name, known.clone());
                    }
                    return BTreeSet::new();
                }
                match (&mut self.staged, read(&object)) {
                    (Some(staged), Some(object)) => drop(staged.insert(name, (version, object))),
                    (Some(staged), None) => drop(staged.remove(&name)),
                    (None, Some(object)) => {
                        let now = (version, object);
                        // A write that changed nothing is no reason for another one.
                        if before == Some(&now) {
                            return BTreeSet::new();
                        }
                        self.objects.insert(name.clone(), now);
                        return BTreeSet::from([name]);
                    }
                    (None, None) => {
                        self.objects.remove(&name);
                        return BTreeSet::from([name]);
                    }
                }
                BTreeSet::new()
            }
            watcher::Event::Delete(object) => {
                let (name, version) = named(object.meta());
                self.deleted.insert(version.uid.clone());
                if let Some(staged) = &mut self.staged {
                    staged.remove(&name);
                    return BTreeSet::new();
                }
                // Another object may have the name already.
                if self.objects.get(&name).is_some_and(|(known, _)| known.uid == version.uid) {
                    self.objects.remove(&name);
                }
                BTreeSet::from([name])
            }
            watcher::Event::InitDone => {
                let now = self.staged.take().unwrap_or_default();
                let names: BTreeSet<_> = now.keys().chain(self.objects.keys()).cloned().collect();
                let changed = names.into_iter().filter(|name| self.objects.get(name) != now.get(name));
                let changed = changed.collect();
                let lives: HashSet<_> = now.values().map(|(version, _)| &version.uid).collect();
                let uids = self.objects.values().map(|(version, _)| version.uid.clone());
                self.deleted.extend(uids.filter(|uid| !lives.contains(uid)).collect::<Vec<_>>());
                self.objects = now;
                self.is_complete = true;
                changed
            }
        }
    }
}

fn named(metadata: &ObjectMeta) -> (ServiceKey, Version) {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let name = ServiceKey::new(&text(&metadata.namespace), &text(&metadata.name));
    let version = Version {
        uid: text(&metadata.uid).into(),
        resource_version: text(&metadata.resource_version).into(),
    };
    (name, version)
}

/// Of the same object. Versions are numbers that grow.
fn is_older(version: &Version, than: &Version) -> bool {
    let number = |version: &Version| version.resource_version.parse::<u64>().ok();
    version.uid == than.uid && number(version) < number(than)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn cluster() -> Cluster {
        let identity =
            Identity { cluster: "c".to_owned(), lease: "n/zoobridge".to_owned(), elsewhere: Arc::default() };
        let mut cluster = Cluster::new(identity, &[]);
        for event in [watcher::Event::Init, watcher::Event::InitDone] {
            cluster.observe(Observation::Service(event));
        }
        for event in [watcher::Event::Init, watcher::Event::InitDone] {
            cluster.observe(Observation::Slice(event));
        }
        cluster
    }

    fn slice(version: u32, ip: &str) -> EndpointSlice {
        let metadata = json!({
            "name": "orders-0", "namespace": "n", "uid": "u", "resourceVersion": version.to_string(),
            "labels": {"kubernetes.io/service-name": "orders", MANAGED_BY: OUR_SLICES, "zoobridge.io/cluster": "c"},
            "annotations": {"zoobridge.io/lease": "n/zoobridge"},
        });
        let endpoints = json!([{"addresses": [ip], "conditions": {"ready": true}}]);
        read(
            json!({"metadata": metadata, "addressType": "IPv4", "ports": [{"port": 80}], "endpoints": endpoints}),
        )
    }

    fn read<T: serde::de::DeserializeOwned>(object: Value) -> T {
        serde_json::from_value(object).unwrap()
    }

    fn ips(cluster: &Cluster) -> Vec<String> {
        let slices = cluster.state(&ServiceKey::new("n", "orders")).slices;
        let members = slices.values().flat_map(|slice| slice.members.iter().flatten());
        members.map(|(ip, _)| ip.to_string()).collect()
    }

    #[test]
    fn p24_what_a_watch_says_late_does_not_hide_what_was_written() {
        let mut cluster = cluster();
        let apply = |slice| Observation::Slice(watcher::Event::Apply(slice));
        cluster.observe(apply(slice(1, "10.0.0.1")));
        // The answer to our write comes before the watch tells of what was there before it.
        cluster.slice_is(slice(3, "10.0.0.3"));
        assert!(cluster.observe(apply(slice(2, "10.0.0.2"))).is_empty());
        assert_eq!(ips(&cluster), ["10.0.0.3"]);
        // A list that was made before it is no better.
        cluster.observe(Observation::Slice(watcher::Event::Init));
        cluster.observe(Observation::Slice(watcher::Event::InitApply(slice(2, "10.0.0.2"))));
        assert_eq!(ips(&cluster), ["10.0.0.3"]);
        assert!(cluster.observe(Observation::Slice(watcher::Event::InitDone)).is_empty());
        assert_eq!(ips(&cluster), ["10.0.0.3"]);
        assert!(cluster.observe(apply(slice(3, "10.0.0.3"))).is_empty(), "our own write is no news");
        // Nor does an answer bring back what is gone.
        cluster.observe(Observation::Slice(watcher::Event::Delete(slice(4, "10.0.0.3"))));
        cluster.slice_is(slice(3, "10.0.0.3"));
        assert_eq!(ips(&cluster), [""; 0]);
    }

    #[test]
    fn the_addresses_of_all_services_are_known() {
        let mut cluster = cluster();
        let service = |name: &str, ips: Value| -> Service {
            read(json!({"metadata": {"name": name, "namespace": "n"}, "spec": {"clusterIPs": ips}}))
        };
        let mut observe = |event| {
            cluster.observe(Observation::Service(event));
            ["10.96.0.1", "10.96.0.2", "fd00::1"].map(|ip| cluster.is_virtual(ip.parse().unwrap()))
        };
        let (a, b) = (service("a", json!(["10.96.0.1", "fd00::1"])), service("b", json!(["10.96.0.2"])));
        assert_eq!(observe(watcher::Event::Apply(a.clone())), [true, false, true]);
        assert_eq!(observe(watcher::Event::Apply(service("headless", json!(["None"])))), [true, false, true]);
        assert_eq!(observe(watcher::Event::Apply(b.clone())), [true, true, true]);
        assert_eq!(observe(watcher::Event::Apply(service("a", json!(["10.96.0.1"])))), [true, true, false]);
        assert_eq!(observe(watcher::Event::Delete(b)), [true, false, false]);
        assert_eq!(observe(watcher::Event::Init), [true, false, false]);
        assert_eq!(observe(watcher::Event::InitDone), [false, false, false]);
    }
}
