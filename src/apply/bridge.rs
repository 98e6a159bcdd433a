//! The one task that knows everything: what is observed, what is held, what is under way.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::time::Duration;

use futures::{Stream, StreamExt};
use kube::Client;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use zk_wire::codes::EventType;
use zk_wire::ids::SessionId;
use zk_wire::reply::WatcherEvent;

use super::events::Events;
use super::write::{End, Outcome, write};
use crate::model::{Fingerprint, Known, ServiceKey, ZnodePath};
use crate::observe::{Observation, Store};
use crate::plan::{Desired, Refusal, Roots, Rules, desired, diff};
use crate::session::{Inherited, Owned, Pool, PoolEvent};

/// The forward direction: Kubernetes' Services into ZooKeeper's znodes.
pub struct Bridge {
    rules: Rules,
    roots: Roots,
    pool: Pool,
    pool_events: mpsc::UnboundedReceiver<PoolEvent>,
    events: Events,
    store: Store,
    services: HashMap<ServiceKey, Published>,
    /// Which Service has a leaf, or is about to.
    holders: HashMap<ZnodePath, ServiceKey>,
    /// Who waits for a leaf that somebody else has.
    waiting: HashMap<ZnodePath, BTreeSet<ServiceKey>>,
    /// Directories that exist, with the Services that want them.
    directories: HashMap<ZnodePath, BTreeSet<ServiceKey>>,
    /// What an earlier leader left and no Service has claimed yet.
    inherited: Inherited,
    queue: Queue,
    under_way: HashMap<ServiceKey, UnderWay>,
    /// Services of the first list that have not been planned yet.
    unplanned: Option<HashSet<ServiceKey>>,
    writes: JoinSet<Finished>,
    status: watch::Sender<Status>,
}

/// A change that is over: a Service's, or the wish to plan one again.
enum Finished {
    Written(ServiceKey, Outcome),
    Again(ServiceKey),
    Listed(Option<HashMap<SessionId, BTreeSet<String>>>),
    Looked(ZnodePath, Option<Fingerprint>),
}

/// A Service as ZooKeeper has it.
#[derive(Debug, Default)]
struct Published {
    held: BTreeMap<ZnodePath, Owned>,
    /// As of the last plan, and of the last write.
    planned_refusals: BTreeSet<Refusal>,
    written_refusals: BTreeSet<Refusal>,
    reported: BTreeSet<Refusal>,
    /// Writes in a row that have to be tried again.
    failures: u32,
}

/// A change that is being written.
#[derive(Debug, Default)]
struct UnderWay {
    /// The leaves that it creates, sets or deletes.
    touched: BTreeSet<ZnodePath>,
    /// Those of which a delete was seen meanwhile: ours or somebody else's.
    deleted: BTreeSet<ZnodePath>,
}

/// Services to be planned; those without a live instance go first.
#[derive(Debug, Default)]
struct Queue {
    urgent: VecDeque<ServiceKey>,
    normal: VecDeque<ServiceKey>,
    queued: HashSet<ServiceKey>,
}

/// What the bridge is doing, for people.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Status {
    /// Have both watches completed a list?
    pub synced: bool,
    /// Services with at least one znode.
    pub services: usize,
    /// Znodes held.
    pub znodes: usize,
    /// Services of which something is refused.
    pub refused: usize,
    /// Services that are to be planned or written.
    pub pending: usize,
}

/// Why the bridge ended.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// Another process leads now.
    #[error("another process has taken over; start again to stand by")]
    Fenced,
    /// The watches ended, which they never do.
    #[error("the watches of the API server ended")]
    WatchesEnded,
    /// A write did not come back: a bug.
    #[error("a write panicked")]
    WritePanicked,
}

/// Services that may be written at the same time.
const UNDER_WAY: usize = 64;
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MOST: Duration = Duration::from_secs(30);
/// How often people are told.
const STATUS_INTERVAL: Duration = Duration::from_millis(200);
/// How long a graceful stop waits for what is under way.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

impl Bridge {
    /// A bridge that has not looked at anything yet.
    #[must_use]
    pub fn new(
        rules: Rules,
        roots: Roots,
        client: Client,
        (pool, inherited, pool_events): (Pool, Inherited, mpsc::UnboundedReceiver<PoolEvent>),
    ) -> Self {
        Bridge {
            rules,
            roots,
            pool,
            pool_events,
            events: Events::new(client),
            store: Store::default(),
            services: HashMap::new(),
            holders: HashMap::new(),
            waiting: HashMap::new(),
            directories: HashMap::new(),
            inherited,
            queue: Queue::default(),
            under_way: HashMap::new(),
            unplanned: None,
            writes: JoinSet::new(),
            status: watch::Sender::default(),
        }
    }

    /// What it is doing, now and later.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// Runs until stopped, then lets go of the sessions without closing them.
    ///
    /// # Errors
    /// See [`BridgeError`].
    pub async fn run(
        mut self,
        observations: impl Stream<Item = Observation> + Send,
        stop: CancellationToken,
    ) -> Result<(), BridgeError> {
        let mut observations = std::pin::pin!(observations);
        // However this ends, the sessions are let go of.
        let _let_go = self.pool.drop_guard();
        let mut tell = tokio::time::interval(STATUS_INTERVAL);
        let ended = loop {
            self.work();
            tokio::select! {
                observation = observations.next() => match observation {
                    Some(observation) => self.observed(observation),
                    None => break Err(BridgeError::WatchesEnded),
                },
                Some(event) = self.pool_events.recv() => {
                    if let Err(fenced) = self.pool_event(event) {
                        break Err(fenced);
                    }
                }
                Some(finished) = self.writes.join_next() => {
                    let finished = finished.map_err(|_| BridgeError::WritePanicked);
                    if let Err(error) = finished.and_then(|finished| self.finished(finished)) {
                        break Err(error);
                    }
                }
                _ = tell.tick() => self.tell(),
                () = stop.cancelled() => break Ok(()),
            }
        };
        if ended.is_ok() {
            let rest = async { while self.writes.join_next().await.is_some() {} };
            // What is not written by then is found out by whoever comes next.
            let _ = tokio::time::timeout(STOP_TIMEOUT, rest).await;
        }
        self.writes.shutdown().await;
        self.pool.detach().await;
        ended
    }

    fn observed(&mut self, observation: Observation) {
        let changed = self.store.observe(observation);
        if self.unplanned.is_none() && self.store.is_synced() {
            tracing::info!(services = self.store.services().count(), "Services and EndpointSlices are known");
            self.unplanned = Some(changed.iter().cloned().collect());
            self.push(nobody());
        }
        for key in changed {
            self.push(key);
        }
    }

    fn push(&mut self, key: ServiceKey) {
        let has_instances = self.services.get(&key).is_some_and(|published| !published.held.is_empty());
        self.queue.push(key, !has_instances);
    }

    /// Plans and starts writes, as many as may be under way.
    fn work(&mut self) {
        if !self.store.is_synced() {
            return;
        }
        while self.under_way.len() < UNDER_WAY {
            let under_way = &self.under_way;
            let Some(key) = self.queue.pop(|key| !under_way.contains_key(key)) else { break };
            self.plan(key);
        }
    }

    fn plan(&mut self, key: ServiceKey) {
        let Known::Known((service, slices)) = self.store.get(&key) else { return };
        let mut desired = desired(service, slices.iter().copied(), &self.rules, &self.roots);
        let published = self.services.entry(key.clone()).or_default();
        adopt(&mut self.inherited, &desired, &self.roots, published, &mut self.holders, &key);
        if let Some(unplanned) = &mut self.unplanned {
            if unplanned.remove(&key) && unplanned.is_empty() {
                self.queue.push(nobody(), false);
            }
            if key == nobody() && unplanned.is_empty() {
                adopt_orphans(&mut self.inherited, published);
            }
        }
        for refusal in exclude_conflicts(&mut desired, &key, &self.holders, &mut self.waiting) {
            desired.refusals.insert(refusal);
        }
        published.planned_refusals = std::mem::take(&mut desired.refusals);
        for directory in &desired.directories {
            if let Some(users) = self.directories.get_mut(directory) {
                users.insert(key.clone());
            }
        }
        let directories = &self.directories;
        let desired = Known::Known(desired);
        let changes = diff(&desired, &published.held, &self.roots, |path| directories.contains_key(path));
        if changes.is_empty() {
            published.written_refusals.clear();
            published.failures = 0;
            self.report(&key);
            return;
        }
        for path in changes.creates.keys() {
            self.holders.insert(path.clone(), key.clone());
        }
        let touched = changes.sets.keys().chain(&changes.deletes);
        let held = touched.filter_map(|path| Some((path.clone(), *published.held.get(path)?))).collect();
        tracing::debug!(
            service = %key, creates = changes.creates.len(), sets = changes.sets.len(),
            deletes = changes.deletes.len(), "writing"
        );
        let touched = changes.creates.keys().chain(changes.sets.keys()).chain(&changes.deletes).cloned();
        let under_way = UnderWay { touched: touched.collect(), deleted: BTreeSet::new() };
        self.under_way.insert(key.clone(), under_way);
        let pool = self.pool.clone();
        self.writes.spawn(async move { Finished::Written(key, write(pool, changes, held).await) });
    }

    fn finished(&mut self, finished: Finished) -> Result<(), BridgeError> {
        let (key, outcome) = match finished {
            Finished::Written(key, outcome) => (key, outcome),
            Finished::Again(key) => {
                self.push(key);
                return Ok(());
            }
            Finished::Looked(path, found) => {
                self.looked(&path, found);
                return Ok(());
            }
            Finished::Listed(listed) => {
                for (session, paths) in listed.into_iter().flatten() {
                    self.verify(session, &paths);
                }
                return Ok(());
            }
        };
        let UnderWay { touched, deleted } = self.under_way.remove(&key).unwrap_or_default();
        let Outcome { directories, settled, refusals, end } = outcome;
        if end == End::Fenced {
            return Err(BridgeError::Fenced);
        }
        for directory in directories {
            self.directories.entry(directory).or_default().insert(key.clone());
        }
        let published = self.services.entry(key.clone()).or_default();
        for (path, owned) in settled {
            match owned {
                // It may have expired while the answer was under way.
                Some(owned) if self.pool.owns(owned.session) => {
                    self.holders.insert(path.clone(), key.clone());
                    published.held.insert(path, owned);
                }
                _ => {
                    published.held.remove(&path);
                }
            }
        }
        for path in touched.iter().filter(|path| !published.held.contains_key(*path)) {
            release(path, &key, &mut self.holders, &mut self.waiting, &mut self.queue);
        }
        for refusal in &refusals {
            if let Refusal::Conflict { path, .. } = refusal {
                self.waiting.entry(path.clone()).or_default().insert(key.clone());
            }
        }
        published.written_refusals = refusals;
        let drifted: Vec<_> = deleted.into_iter().filter(|path| published.held.contains_key(path)).collect();
        match end {
            End::Again => {
                published.failures += 1;
                let delay = (RETRY_FIRST * 2u32.saturating_pow(published.failures.min(16))).min(RETRY_MOST);
                let key = key.clone();
                self.writes.spawn(async move {
                    tokio::time::sleep(delay).await;
                    Finished::Again(key)
                });
            }
            End::Done | End::Fenced => {
                published.failures = 0;
                // What changed meanwhile is in the queue already.
            }
        }
        for path in drifted {
            self.lost(&key, &path);
        }
        self.report(&key);
        Ok(())
    }

    fn pool_event(&mut self, event: PoolEvent) -> Result<(), BridgeError> {
        match event {
            PoolEvent::Fenced => return Err(BridgeError::Fenced),
            PoolEvent::Watch(event) => self.watch_event(event),
            PoolEvent::Resumed(session, paths) => self.verify(session, &paths),
            PoolEvent::Expired(session) => self.verify(session, &BTreeSet::new()),
            PoolEvent::Overflow => {
                let pool = self.pool.clone();
                self.writes.spawn(async move { Finished::Listed(pool.ephemerals().await.ok()) });
            }
        }
        Ok(())
    }

    /// A session has exactly these ephemerals: whatever else we believed to hold in it is gone.
    fn verify(&mut self, session: SessionId, has: &BTreeSet<String>) {
        let mut gone = Vec::new();
        for (key, published) in &self.services {
            let lost = published.held.iter().filter(|(_, owned)| owned.session == session);
            gone.extend(
                lost.filter(|(path, _)| !has.contains(path.as_str()))
                    .map(|(path, _)| (key.clone(), path.clone())),
            );
        }
        for (key, path) in gone {
            self.lost(&key, &path);
        }
    }

    /// Somebody changed a directory of ours. Most often that was us.
    fn watch_event(&mut self, event: WatcherEvent) {
        let path = event.path.as_str();
        let deleted = event.kind == EventType::NodeDeleted;
        if deleted && let Some(waiting) = self.waiting.remove(path) {
            for key in waiting {
                self.push(key);
            }
        }
        if deleted && let Some(users) = self.directories.remove(path) {
            for key in users {
                self.push(key);
            }
        }
        let Some((path, key)) = self.holders.get_key_value(path) else { return };
        let (path, key) = (path.clone(), key.clone());
        match (event.kind, self.under_way.get_mut(&key)) {
            // Ours or not: that is known when the change is over.
            (EventType::NodeDeleted, Some(under_way)) if under_way.touched.contains(&path) => {
                under_way.deleted.insert(path);
            }
            (EventType::NodeDeleted, _) => self.drifted(&key, &path),
            (EventType::NodeDataChanged, _) => {
                let pool = self.pool.clone();
                self.writes.spawn(async move {
                    let found = pool.read(&path).await.ok().flatten();
                    Finished::Looked(path, found.map(|(data, _)| Fingerprint::of(&data)))
                });
            }
            _ => {}
        }
    }

    /// The data of a leaf after somebody, most often ourselves, set it.
    fn looked(&mut self, path: &ZnodePath, found: Option<Fingerprint>) {
        let Some(key) = self.holders.get(path).cloned() else { return };
        let touched = self.under_way.get(&key).is_some_and(|under_way| under_way.touched.contains(path));
        let held = self.services.get(&key).and_then(|published| published.held.get(path));
        if !touched && held.is_some_and(|owned| found.is_some_and(|found| found != owned.fingerprint)) {
            self.drifted(&key, path);
        }
    }

    fn drifted(&mut self, key: &ServiceKey, path: &ZnodePath) {
        tracing::warn!(service = %key, %path, "a znode of ours was changed by somebody else; repairing");
        self.lost(key, path);
    }

    fn lost(&mut self, key: &ServiceKey, path: &ZnodePath) {
        if let Some(published) = self.services.get_mut(key)
            && let Some(owned) = published.held.remove(path)
        {
            self.pool.release(owned.session, path);
        }
        self.push(key.clone());
    }

    /// Tells the Service's owners what changed.
    fn report(&mut self, key: &ServiceKey) {
        let Some(published) = self.services.get_mut(key) else { return };
        let now: BTreeSet<_> =
            published.planned_refusals.union(&published.written_refusals).cloned().collect();
        let Known::Known((service, _)) = self.store.get(key) else { return };
        if let Some(service) = service {
            if now != published.reported {
                self.events.changed(service, &published.reported, &now);
                published.reported = now;
            }
        } else if published.held.is_empty() && !self.under_way.contains_key(key) {
            self.services.remove(key);
            for users in self.directories.values_mut() {
                users.remove(key);
            }
        }
    }

    fn tell(&self) {
        let published = self.services.values();
        let status = Status {
            synced: self.store.is_synced(),
            services: published.clone().filter(|published| !published.held.is_empty()).count(),
            znodes: published.clone().map(|published| published.held.len()).sum(),
            refused: published.filter(|published| !published.reported.is_empty()).count(),
            pending: self.queue.len() + self.under_way.len(),
        };
        self.status.send_if_modified(|before| std::mem::replace(before, status) != status);
    }
}

impl Queue {
    fn push(&mut self, key: ServiceKey, urgent: bool) {
        if self.queued.insert(key.clone()) {
            if urgent { &mut self.urgent } else { &mut self.normal }.push_back(key);
        }
    }

    /// The first that `may` be taken.
    fn pop(&mut self, may: impl Fn(&ServiceKey) -> bool) -> Option<ServiceKey> {
        for queue in [&mut self.urgent, &mut self.normal] {
            if let Some(index) = queue.iter().position(&may) {
                let key = queue.remove(index)?;
                self.queued.remove(&key);
                return Some(key);
            }
        }
        None
    }

    fn len(&self) -> usize {
        self.queued.len()
    }
}

/// A Service that does not exist: it desires nothing, so what it holds is deleted.
fn nobody() -> ServiceKey {
    ServiceKey::new("", "")
}

/// Gives a Service those leaves of an earlier leader that it wants, or may still want.
fn adopt(
    inherited: &mut Inherited,
    desired: &Desired,
    roots: &Roots,
    published: &mut Published,
    holders: &mut HashMap<ZnodePath, ServiceKey>,
    key: &ServiceKey,
) {
    if inherited.is_empty() {
        return;
    }
    let exact = desired.leaves.keys().cloned();
    let undetermined = inherited.keys().filter(|path| {
        let is_of = |directory: &ZnodePath| path.is_below(directory);
        let format = roots.format_of(path);
        format.is_some_and(|format| desired.undetermined.contains_key(&format))
            && desired.directories.iter().any(is_of)
    });
    for path in exact.chain(undetermined.cloned().collect::<Vec<_>>()) {
        if let Some(owned) = inherited.remove(&path) {
            holders.insert(path.clone(), key.clone());
            published.held.insert(path, owned);
        }
    }
}

/// What no Service has claimed once all of them have been planned belongs to nobody, and goes.
fn adopt_orphans(inherited: &mut Inherited, published: &mut Published) {
    if !inherited.is_empty() {
        tracing::info!(znodes = inherited.len(), "removing what an earlier leader left and no Service wants");
        published.held.append(inherited);
    }
}

/// Takes leaves that another Service has out of the plan, and remembers who waits for them.
fn exclude_conflicts(
    desired: &mut Desired,
    key: &ServiceKey,
    holders: &HashMap<ZnodePath, ServiceKey>,
    waiting: &mut HashMap<ZnodePath, BTreeSet<ServiceKey>>,
) -> Vec<Refusal> {
    let taken: Vec<_> = desired
        .leaves
        .keys()
        .filter_map(|path| Some((path.clone(), holders.get(path)?)))
        .filter(|(_, holder)| *holder != key)
        .collect();
    taken
        .into_iter()
        .map(|(path, holder)| {
            desired.leaves.remove(&path);
            waiting.entry(path.clone()).or_default().insert(key.clone());
            Refusal::Conflict { path, holder: format!("Service {holder}") }
        })
        .collect()
}

/// A leaf is free: whoever waits for it may have it.
fn release(
    path: &ZnodePath,
    key: &ServiceKey,
    holders: &mut HashMap<ZnodePath, ServiceKey>,
    waiting: &mut HashMap<ZnodePath, BTreeSet<ServiceKey>>,
    queue: &mut Queue,
) {
    if holders.get(path) == Some(key) {
        holders.remove(path);
    }
    for waiter in waiting.remove(path).into_iter().flatten() {
        queue.push(waiter, true);
    }
}
