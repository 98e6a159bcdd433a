//! The one task of the reverse direction: takes in what both sides say, plans, and starts writes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::EventType;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use zk_wire::ids::SessionId;

use super::cluster::{Cluster, Observation, observations};
use super::imported::Imported;
use super::objects::Identity;
use super::plan::{Claims, Finding, Import, Refused, Registry, ServiceThere, Version, plan};
use super::watcher::{self, Seen};
use super::writer::{WriteError, Written, write};
use crate::apply::{Direction, Events, Instruments, Queue, reference};
use crate::config::Config;
use crate::model::{ServiceKey, ZnodePath};
use crate::session::{Ensemble, Leadership, Pool};

/// The reverse direction: what is registered in ZooKeeper into Kubernetes' Services.
///
/// Until this process leads it stands by and watches Kubernetes. The registry is read once it leads: what was
/// read before may be older than what the last leader did, and nothing is deleted for it.
pub struct Importer {
    ensemble: Ensemble,
    imports: Vec<Import>,
    /// Is there no import in any ensemble, and is this the one that sees to what earlier ones have left?
    sees_to_what_is_left: bool,
    audit: Duration,
    identity: Identity,
    client: Client,
    leadership: Leadership,
    instruments: Instruments,
    status: watch::Sender<ImportStatus>,
}

/// What the reverse direction is doing, for people.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ImportStatus {
    /// Does this process lead?
    pub leading: bool,
    /// Is everything known, on both sides?
    pub known: bool,
    /// Is ZooKeeper away? Then what is imported stays as it was.
    pub stale: bool,
    /// Services that are wanted.
    pub services: usize,
    /// Services of which something is refused.
    pub refused: usize,
    /// Znodes that are no instance, or none that is let in.
    pub refused_instances: usize,
    /// Services that are to be planned or written.
    pub pending: usize,
}

/// Why the importer ended.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The watches ended, which they never do.
    #[error("the watches of the imports ended")]
    WatchesEnded,
    /// A write did not come back: a bug.
    #[error("a task of the imports panicked")]
    TaskPanicked,
}

/// An importer with all that it knows.
struct Running {
    identity: Identity,
    client: Client,
    leadership: Leadership,
    instruments: Instruments,
    events: Events,
    pool: Option<Pool>,
    registries: Vec<Registry>,
    claims: Claims,
    cluster: Cluster,
    due: Queue,
    /// Services that wait after a failure, with the failures so far.
    failures: BTreeMap<ServiceKey, u32>,
    waiting: BTreeSet<ServiceKey>,
    under_way: BTreeSet<ServiceKey>,
    /// Services that are being created, by import.
    creating: BTreeMap<ServiceKey, usize>,
    refused: BTreeMap<ServiceKey, BTreeSet<Refused>>,
    writes: JoinSet<(ServiceKey, Vec<Written>, Option<WriteError>)>,
    timers: JoinSet<ServiceKey>,
    is_stale: bool,
    status: watch::Sender<ImportStatus>,
}

/// Services that may be written at the same time.
const WRITES: usize = 16;
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_MOST: Duration = Duration::from_secs(60);
/// Instances that are named in the log when one read refuses them.
const NAMED: usize = 10;
/// Findings that may wait.
const FINDINGS: usize = 64;

impl Importer {
    /// An importer of one ensemble as its configuration ([`Config::each`]) wants it. `namespace` is the one that the
    /// bridge runs in, and `status` is told what it does.
    #[must_use]
    pub(crate) fn new(
        config: &Config,
        ensemble: Ensemble,
        client: Client,
        leadership: Leadership,
        namespace: &str,
        instruments: Instruments,
        status: watch::Sender<ImportStatus>,
    ) -> Self {
        let imports = config.imports.iter().filter(|import| import.ensemble == config.ensemble);
        Importer {
            ensemble,
            imports: imports.cloned().collect(),
            sees_to_what_is_left: config.imports.is_empty() && config.ensemble.is_default(),
            audit: config.zookeeper.audit_interval,
            identity: Identity::of(config, namespace),
            client,
            leadership,
            instruments,
            status,
        }
    }

    /// Stands by until the pool has started, then imports until stopped. Without imports it only deletes the Services
    /// of those that are no more.
    ///
    /// # Errors
    /// See [`ImportError`].
    pub async fn run(
        self,
        mut pool: watch::Receiver<Option<Pool>>,
        stop: CancellationToken,
    ) -> Result<(), ImportError> {
        if self.imports.is_empty() && !self.has_left(pool.clone(), &stop).await {
            stop.cancelled().await;
            return Ok(());
        }
        let Importer { ensemble, imports, audit, identity, client, leadership, instruments, status, .. } =
            self;
        let (seen_tx, mut seen) = mpsc::channel(FINDINGS);
        let mut watching = JoinSet::new();
        let mut watch = Some((ensemble, imports.clone(), seen_tx));
        let mut observations = std::pin::pin!(observations(&client, &imports));
        let mut running = Running {
            events: instruments.events(client.clone()),
            instruments,
            cluster: Cluster::new(identity.clone(), &imports),
            registries: imports.into_iter().map(Registry::new).collect(),
            identity,
            client,
            leadership,
            pool: None,
            claims: Claims::default(),
            due: Queue::default(),
            failures: BTreeMap::new(),
            waiting: BTreeSet::new(),
            under_way: BTreeSet::new(),
            creating: BTreeMap::new(),
            refused: BTreeMap::new(),
            writes: JoinSet::new(),
            timers: JoinSet::new(),
            is_stale: false,
            status,
        };
        loop {
            running.work();
            running.tell();
            tokio::select! {
                () = stop.cancelled() => break,
                started = pool.changed(), if running.pool.is_none() => match started {
                    Ok(()) => {
                        let started = pool.borrow_and_update().clone();
                        if let Some((ensemble, imports, seen)) = watch.take_if(|_| started.is_some()) {
                            watching.spawn(watcher::watch(ensemble, imports, audit, seen).in_current_span());
                        }
                        running.start(started);
                    }
                    // The bridge has ended, and says why.
                    Err(_) => break,
                },
                seen = seen.recv() => running.seen(seen.ok_or(ImportError::WatchesEnded)?),
                observation = observations.next() => {
                    running.observed(observation.ok_or(ImportError::WatchesEnded)?);
                    while let Some(Some(observation)) = observations.next().now_or_never() {
                        running.observed(observation);
                    }
                }
                Some(written) = running.writes.join_next() => match written {
                    Ok((key, written, error)) => running.written(key, written, error),
                    Err(_) => return Err(ImportError::TaskPanicked),
                },
                Some(key) = running.timers.join_next() => {
                    let key = key.map_err(|_| ImportError::TaskPanicked)?;
                    running.waiting.remove(&key);
                    running.due.push(key, false);
                }
            }
        }
        // Whatever is under way names what it replaces, so whoever leads next may do the same again.
        running.writes.shutdown().await;
        Ok(())
    }
}

impl Importer {
    /// Are there Services of imports that are no more? Asked once this process leads.
    async fn has_left(&self, mut pool: watch::Receiver<Option<Pool>>, stop: &CancellationToken) -> bool {
        if !self.sees_to_what_is_left {
            return false;
        }
        let asking = async {
            if pool.wait_for(Option::is_some).await.is_err() {
                return false;
            }
            loop {
                match Imported::of(&self.client, &self.identity).await {
                    Ok(left) => {
                        let services = left.services().count();
                        if services > 0 {
                            tracing::info!(
                                services,
                                "deleting what was imported: there are no imports any more"
                            );
                        }
                        return services > 0;
                    }
                    Err(error) => tracing::warn!("cannot tell what earlier imports have left: {error}"),
                }
                tokio::time::sleep(RETRY_MOST).await;
            }
        };
        stop.run_until_cancelled(asking).await.unwrap_or(false)
    }
}

impl Running {
    /// The pool knows which sessions are ours; everything is worth a plan.
    fn start(&mut self, pool: Option<Pool>) {
        self.pool = pool;
        self.push_all(self.cluster.ours());
    }

    fn push_all(&mut self, keys: impl IntoIterator<Item = ServiceKey>) {
        keys.into_iter().for_each(|key| self.due.push(key, false));
    }

    fn claim(&mut self, index: usize, directories: &BTreeSet<ZnodePath>) {
        let Some(pool) = &self.pool else { return };
        let ours = |session: SessionId| pool.ever_owned(session);
        for directory in directories {
            let claimed = self.claims.update(index, &self.registries[index], directory, ours);
            // A Service whose directory is gone, or has come, may have no claim.
            let others = self.cluster.of_directory(directory);
            claimed.into_iter().chain(others).for_each(|key| self.due.push(key, false));
        }
    }

    fn seen(&mut self, seen: Seen) {
        match seen {
            Seen::Away => self.is_stale = true,
            Seen::Found(index, finding) => drop(self.found(index, finding)),
            Seen::Audited(index, finding, heard) => {
                let (was_known, import) =
                    (self.registries[index].is_known(), self.registries[index].import().name.clone());
                for directory in self.found(index, finding) {
                    let is_heard = |path: &String| {
                        ZnodePath::new(path).is_ok_and(|path| path == directory || path.is_below(&directory))
                    };
                    if was_known && !heard.iter().any(is_heard) {
                        self.instruments.unheard(Direction::Reverse);
                        tracing::warn!(import, %directory, "no watch told of what the audit saw here");
                    }
                }
            }
        }
    }

    /// Takes in what was read, and returns the directories that have changed.
    fn found(&mut self, index: usize, finding: Finding) -> BTreeSet<ZnodePath> {
        self.is_stale = false;
        let was_known = self.registries[index].is_known();
        self.complain(index, &finding);
        let changed = self.registries[index].found(finding);
        self.claim(index, &changed);
        if !was_known && self.registries[index].is_known() {
            let import = &self.registries[index].import().name;
            tracing::info!(import, "the registry is known");
            self.push_all(self.cluster.ours());
        }
        changed
    }

    /// Names what is refused and was not before.
    fn complain(&self, index: usize, finding: &Finding) {
        let registry = &self.registries[index];
        let leaves: Vec<_> = match finding {
            Finding::Everything { directories, .. } => directories
                .iter()
                .flat_map(|(path, directory)| {
                    directory.leaves.iter().filter_map(|(name, leaf)| Some((path.child(name).ok()?, leaf)))
                })
                .collect(),
            Finding::Some { leaves, .. } => {
                leaves.iter().filter_map(|(path, leaf)| Some((path.clone(), leaf.as_ref()?))).collect()
            }
        };
        let new = leaves.into_iter().filter(|(path, leaf)| registry.leaf(path) != Some(*leaf));
        let mut new = new.filter_map(|(path, leaf)| Some((path, leaf.refusal()?.to_owned())));
        for (path, reason) in new.by_ref().take(NAMED) {
            let import = &registry.import().name;
            let path = crate::format::shortened(path.as_str());
            tracing::warn!(import, path, "an instance is not imported: {reason}");
        }
        let more = new.count();
        if more > 0 {
            tracing::warn!(import = registry.import().name, more, "further instances are not imported");
        }
    }

    fn observed(&mut self, observation: Observation) {
        let was_synced = self.cluster.is_synced();
        let changed = self.cluster.observe(observation);
        self.changed(changed);
        if !was_synced && self.cluster.is_synced() {
            self.push_all(self.cluster.ours());
            self.push_all(self.claims.keys().cloned().collect::<Vec<_>>());
        }
    }

    /// What is there under these names has changed. That may make room for what was refused.
    fn changed(&mut self, keys: BTreeSet<ServiceKey>) {
        for key in keys {
            let state = self.cluster.state(&key);
            let is_ours = matches!(state.service, Some(ServiceThere::Ours(_)));
            if is_ours || !state.slices.is_empty() || !self.claims.of(&key).is_empty() {
                self.due.push(key, false);
            } else if self.refused.remove(&key).is_some() || state.service.is_none() {
                self.push_those_without_room();
            }
        }
    }

    /// What was refused because its import has its fill may have room now.
    fn push_those_without_room(&mut self) {
        let full = |refused: &BTreeSet<Refused>| {
            refused.iter().any(|one| matches!(one, Refused::TooManyServices { .. }))
        };
        let full = self.refused.iter().filter(|(_, refused)| full(refused));
        self.push_all(full.map(|(key, _)| key.clone()).collect::<Vec<_>>());
    }

    /// Starts plans and writes, as many as may be under way.
    fn work(&mut self) {
        if self.pool.is_none() || !self.cluster.is_synced() {
            return;
        }
        if self.writes.is_empty() {
            self.cluster.forget_deleted();
        }
        while self.writes.len() < WRITES {
            let may_be_planned =
                |key: &ServiceKey| !self.under_way.contains(key) && !self.waiting.contains(key);
            let Some(key) = self.due.pop(may_be_planned) else { return };
            self.plan(key);
        }
    }

    fn plan(&mut self, key: ServiceKey) {
        let state = self.cluster.state(&key);
        let has_room = |index: usize| {
            let import = self.registries[index].import();
            // The watch may have told of one before its answer came.
            let is_new = |key: &ServiceKey| !self.cluster.has_service(key);
            let creating = self.creating.iter().filter(|&(key, &of)| of == index && is_new(key)).count();
            self.cluster.count(import) + creating < import.max_services
        };
        let is_virtual = |ip| self.cluster.is_virtual(ip);
        let planned = plan(&key, self.claims.of(&key), &self.registries, &state, has_room, is_virtual);
        self.report(&key, state.service.as_ref(), planned.refused);
        if planned.changes.is_empty() {
            self.failures.remove(&key);
            return;
        }
        if state.service.is_none()
            && let Some((claim, _)) = self.claims.of(&key).first_key_value()
        {
            self.creating.insert(key.clone(), claim.import);
        }
        tracing::debug!(service = %key, changes = planned.changes.len(), "writing");
        self.under_way.insert(key.clone());
        let (client, identity, leadership) =
            (self.client.clone(), self.identity.clone(), self.leadership.clone());
        let write = write(client, identity, leadership, key, planned.changes);
        self.writes.spawn(write.in_current_span());
    }

    fn written(&mut self, key: ServiceKey, written: Vec<Written>, error: Option<WriteError>) {
        self.under_way.remove(&key);
        let was_creating = self.creating.remove(&key).is_some();
        for written in written {
            let changed = match written {
                Written::Service(service) => self.cluster.service_is(*service),
                Written::Slice(slice) => self.cluster.slice_is(*slice),
                Written::Endpoints(endpoints) => self.cluster.endpoints_are(*endpoints),
                // The watch says so.
                Written::Gone => BTreeSet::new(),
            };
            self.changed(changed);
        }
        if was_creating && error.is_some() {
            self.push_those_without_room();
        }
        let Some(error) = error else {
            self.failures.remove(&key);
            return;
        };
        let failures = self.failures.entry(key.clone()).or_default();
        *failures = failures.saturating_add(1);
        let delay = RETRY_FIRST.saturating_mul(1 << (*failures - 1).min(16)).min(RETRY_MOST);
        match error {
            // The watch is a little behind; more often than that it is worth a line.
            WriteError::Conflict(_) if *failures < 3 => {
                tracing::debug!(service = %key, ?delay, "planning again: {error}");
            }
            error => tracing::warn!(service = %key, ?delay, "cannot write, trying again: {error}"),
        }
        self.waiting.insert(key.clone());
        self.timers.spawn(async move {
            tokio::time::sleep(delay).await;
            key
        });
    }

    /// Says what is refused and was not before: in the log, and on the Service that is in the way.
    fn report(&mut self, key: &ServiceKey, service: Option<&ServiceThere>, now: BTreeSet<Refused>) {
        let before = self.refused.remove(key).unwrap_or_default();
        for refused in now.difference(&before) {
            tracing::warn!(service = %key, reason = refused.event_reason(), "{refused}");
            let about = match service {
                Some(ServiceThere::Foreign(version)) => version,
                Some(ServiceThere::Ours(ours)) => &ours.version,
                None => continue,
            };
            let Version { uid, resource_version } = about;
            let (reason, note) = (refused.event_reason(), refused.to_string());
            let about = reference(key, uid, resource_version);
            let secondary = ObjectReference {
                kind: Some("Znode".to_owned()),
                name: Some(refused.what().directory.to_string()),
                ..ObjectReference::default()
            };
            self.events.tell(about, Some(secondary), EventType::Warning, reason, note);
        }
        if now.is_empty() && !before.is_empty() {
            tracing::info!(service = %key, "all that was refused is imported");
        }
        if !now.is_empty() {
            self.refused.insert(key.clone(), now);
        }
    }

    fn tell(&self) {
        let status = ImportStatus {
            leading: self.pool.is_some(),
            known: self.cluster.is_synced() && self.registries.iter().all(Registry::is_known),
            stale: self.is_stale,
            services: self.claims.keys().count(),
            refused: self.refused.len(),
            refused_instances: self.registries.iter().map(Registry::refused).sum(),
            pending: self.due.len() + self.under_way.len() + self.waiting.len(),
        };
        self.status.send_if_modified(|before| std::mem::replace(before, status) != status);
    }
}
