//! Watches one directory of one Service from both sides for as long as asked to.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use tokio_util::sync::CancellationToken;

use super::judge::{Bounds, Judge};
use super::reader::{Directory, Reader};
use super::timeline::Timeline;

/// What to look at.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The Service's namespace.
    pub namespace: String,
    /// The Service.
    pub service: String,
    /// The port's name in slices; empty if it has none.
    pub port: String,
    /// Where consumers find it.
    pub directory: Directory,
}

/// A watch and a reader, side by side.
#[derive(Debug)]
pub struct Witness {
    subject: Subject,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    started: Instant,
    timeline: Mutex<Timeline>,
    last_seen: Mutex<BTreeSet<String>>,
    unreadable: Mutex<Option<String>>,
}

/// After a failed read.
const PAUSE: Duration = Duration::from_millis(50);

impl Witness {
    /// Starts watching and reading; both end with `stop`.
    #[must_use]
    pub fn start(
        subject: Subject,
        client: Client,
        zookeeper: SocketAddr,
        bounds: Bounds,
        stop: &CancellationToken,
    ) -> Witness {
        let shared = Arc::new(Shared {
            started: Instant::now(),
            timeline: Mutex::new(Timeline::new(bounds)),
            last_seen: Mutex::default(),
            unreadable: Mutex::default(),
        });
        let watching = watch(client, subject.clone(), Arc::clone(&shared));
        let reading = read(zookeeper, subject.directory.clone(), Arc::clone(&shared));
        tokio::spawn(stop.clone().run_until_cancelled_owned(watching));
        tokio::spawn(stop.clone().run_until_cancelled_owned(reading));
        Witness { subject, shared }
    }

    /// What it looks at.
    #[must_use]
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// What is ready, and what the last read saw.
    #[must_use]
    pub fn now(&self) -> (BTreeSet<String>, BTreeSet<String>) {
        (self.timeline().now_ready().clone(), lock(&self.shared.last_seen).clone())
    }

    /// Reads judged, changes heard of, and faults, so far.
    #[must_use]
    pub fn counts(&self) -> (u64, u64, u64) {
        let timeline = self.timeline();
        let judge = timeline.judge();
        (judge.reads(), judge.changes(), judge.fault_count())
    }

    /// Adds a read that somebody else made.
    pub fn add(&self, began: Instant, seen: BTreeSet<String>) {
        let (began, ended) = (self.shared.at(began), self.shared.at(Instant::now()));
        self.timeline().read(began, ended, seen);
    }

    /// The verdict; call it when the tasks have been stopped. Also the last error of a read, if reads fail
    /// now.
    #[must_use]
    pub fn verdict(self) -> (Judge, Option<String>) {
        let empty = Timeline::new(Bounds { appear: Duration::ZERO, converge: Duration::ZERO });
        let timeline = std::mem::replace(&mut *self.timeline(), empty);
        let unreadable = lock(&self.shared.unreadable).clone();
        (timeline.close(), unreadable)
    }

    fn timeline(&self) -> MutexGuard<'_, Timeline> {
        lock(&self.shared.timeline)
    }
}

impl Shared {
    fn at(&self, instant: Instant) -> Duration {
        instant.saturating_duration_since(self.started)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the slices say, as a reader of Kubernetes' documentation would put it, with none of the bridge's code.
async fn watch(client: Client, subject: Subject, shared: Arc<Shared>) {
    let api: Api<EndpointSlice> = Api::namespaced(client, &subject.namespace);
    let label = format!("kubernetes.io/service-name={}", subject.service);
    let events = watcher(api, watcher::Config::default().labels(&label).timeout(60)).default_backoff();
    let mut events = std::pin::pin!(events);
    let (mut slices, mut listed) = (BTreeMap::new(), BTreeMap::new());
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Init) => {
                listed.clear();
                continue;
            }
            Ok(watcher::Event::InitApply(slice)) => {
                listed.insert(slice.name_any(), ready(&slice, &subject.port));
                continue;
            }
            Ok(watcher::Event::InitDone) => slices = std::mem::take(&mut listed),
            Ok(watcher::Event::Apply(slice)) => {
                slices.insert(slice.name_any(), ready(&slice, &subject.port));
            }
            Ok(watcher::Event::Delete(slice)) => {
                slices.remove(&slice.name_any());
            }
            Err(_) => continue,
        }
        let now_ready = slices.values().flatten().cloned().collect();
        let at = shared.at(Instant::now());
        lock(&shared.timeline).heard(at, now_ready);
    }
}

fn ready(slice: &EndpointSlice, port: &str) -> BTreeSet<String> {
    let ports = slice.ports.iter().flatten();
    let number = ports.filter(|p| p.name.as_deref().unwrap_or_default() == port).find_map(|p| p.port);
    let Some(number) = number else { return BTreeSet::new() };
    let is_ready = |endpoint: &&k8s_openapi::api::discovery::v1::Endpoint| {
        endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
    };
    let endpoints = slice.endpoints.iter().filter(is_ready);
    endpoints.filter_map(|endpoint| Some(format!("{}:{number}", endpoint.addresses.first()?))).collect()
}

/// Reads again and again, without a pause.
async fn read(zookeeper: SocketAddr, directory: Directory, shared: Arc<Shared>) {
    let mut reader = Reader::new(zookeeper);
    loop {
        let began = Instant::now();
        match reader.read(&directory).await {
            Ok(seen) => {
                let (began, ended) = (shared.at(began), shared.at(Instant::now()));
                lock(&shared.last_seen).clone_from(&seen);
                lock(&shared.timeline).read(began, ended, seen);
                *lock(&shared.unreadable) = None;
            }
            Err(error) => {
                *lock(&shared.unreadable) = Some(error.to_string());
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
