//! The one task that owns the memory: takes in what is observed and heard, plans, and starts writes and looks.

use std::collections::{BTreeSet, HashMap};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{FutureExt, Stream, StreamExt};
use kube::Client;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use zk_wire::codes::EventType;
use zk_wire::ids::SessionId;
use zk_wire::reply::WatcherEvent;

use super::audit::Audit;
use super::events::Events;
use super::filled::Filled;
use super::ledger::{Counts, Doubt, Drift, Ledger};
use super::metrics::{Direction, Instruments};
use super::neighbours::Neighbours;
use super::record::Notes;
use super::write::{End, Outcome, write};
use crate::model::{AddressKind, Known, Origin, ServiceKey, ZnodePath};
use crate::observe::{Observation, Store};
use crate::plan::{Desired, Drains, Evidence, Given, Policy, Roots, Rules, causes, desired};
use crate::session::{Look, Pool, PoolEnd, PoolError, PoolEvent, PoolStart, Sighting, Started, Suspect};

/// The forward direction: Kubernetes' Services into ZooKeeper's znodes.
///
/// Until this process leads it stands by: it watches, and knows everything but what to do.
pub struct Bridge {
    rules: watch::Receiver<Rules>,
    roots: Roots,
    policy: Policy,
    audit: Audit,
    pool: PoolStart,
    events: Events,
    instruments: Instruments,
    started: watch::Sender<Option<Pool>>,
}

/// A bridge that leads.
struct Leader {
    rules: Rules,
    new_rules: watch::Receiver<Rules>,
    roots: Roots,
    pool: Pool,
    pool_events: mpsc::Receiver<PoolEvent>,
    events: Events,
    store: Store,
    ledger: Ledger,
    neighbours: Neighbours,
    filled: Filled,
    audit: Audit,
    counts: Counts,
    /// May something have changed since they were counted? To count takes a while.
    has_news: bool,
    is_synced: bool,
    /// Has everything that was there at first been written, as far as it could be?
    is_settled: bool,
    /// When the slices' event was heard that a Service's next change is about.
    heard: HashMap<ServiceKey, Instant>,
    /// What drains, of the Services of which something does.
    draining: HashMap<ServiceKey, Drains>,
    /// The timers that are set for that.
    armed: HashMap<ServiceKey, Duration>,
    /// When their times count from.
    started: Instant,
    /// The object that a Service's next change is about, if a watch told of one.
    news: HashMap<ServiceKey, Origin>,
    /// This process, in records.
    me: Arc<str>,
    /// Changes that are being written.
    writes: JoinSet<Written>,
    /// Looks that are under way.
    looks: JoinSet<Seen>,
    /// What is to be done a little later.
    timers: JoinSet<Timer>,
    instruments: Instruments,
}

/// A change that was written.
struct Written {
    key: ServiceKey,
    heard: Option<Instant>,
    outcome: Outcome,
}

/// What was seen in ZooKeeper.
enum Seen {
    Leaves(Vec<(Doubt, Look)>),
    /// What may be somebody else's.
    Strange(Vec<(ZnodePath, Sighting)>),
    /// All ephemerals of each session; `None` if they could not be had.
    Lists(Option<Vec<(SessionId, Vec<ZnodePath>)>>),
}

enum Timer {
    Plan(ServiceKey),
    /// Something of this Service has drained long enough.
    Drained(ServiceKey),
    Look(Vec<(Doubt, Look)>),
    See(Vec<(ZnodePath, Sighting)>),
    List,
}

/// What the bridge is doing, for people.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Status {
    /// Does this process lead, and has it taken over the sessions?
    pub leading: bool,
    /// Does it wait for another one to stop leading? Until the first answer about the Lease it seems so.
    pub standing_by: bool,
    /// Have both watches completed a list?
    pub synced: bool,
    /// Services with at least one znode.
    pub services: usize,
    /// Znodes held.
    pub znodes: usize,
    /// Services of which something is refused.
    pub refused: usize,
    /// Services that are to be planned or written, and znodes to be looked at.
    pub pending: usize,
    /// Has every Service of the first list been planned, and its change written, as far as it could be?
    pub settled: bool,
    /// Sessions of the pool.
    pub sessions: usize,
    /// Those that are attached.
    pub attached: usize,
    /// Objects that made no sense and were skipped.
    pub skipped: u64,
    /// Has it ended by itself, and is to be started again?
    pub failed: bool,
}

/// Why the bridge ended.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// Another process leads now.
    #[error("another process has taken over; start again to stand by")]
    Fenced,
    /// There are no sessions to publish with.
    #[error("the sessions cannot be had; start again")]
    Start(#[source] PoolError),
    /// The sessions cannot go on.
    #[error("the sessions cannot go on; start again")]
    Pool(#[source] std::sync::Arc<PoolError>),
    /// The watches ended, which they never do.
    #[error("the watches of the API server ended")]
    WatchesEnded,
    /// A write or a look did not come back: a bug.
    #[error("a task of the bridge panicked")]
    TaskPanicked,
}

/// Services that may be written at the same time.
const WRITES: usize = 64;
/// Looks that may be under way, and leaves of one.
const LOOKS: usize = 4;
const LOOK_LEAVES: usize = 256;
/// Before what could not be seen is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// Observations that are taken in before the next plan, if they are there already: what belongs together
/// most often comes together.
const OBSERVATIONS: usize = 256;
/// How often people are told.
const STATUS_INTERVAL: Duration = Duration::from_millis(200);
/// How long a graceful stop waits for what is under way.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

impl Bridge {
    /// A bridge that has not looked at anything yet, to the ensemble whose these instruments are. Rules may change at any
    /// time; but nodes are watched only if a rule needs them when it starts. Each `audit` what it has written is read
    /// again.
    #[must_use]
    pub fn new(
        rules: watch::Receiver<Rules>,
        roots: Roots,
        client: Client,
        pool: PoolStart,
        audit: Duration,
        instruments: Instruments,
    ) -> Self {
        let events = instruments.events(client);
        let (policy, audit) = (Policy::default(), Audit::every(audit));
        Bridge { rules, roots, policy, audit, pool, events, instruments, started: watch::Sender::default() }
    }

    /// It may do no more than this allows.
    #[must_use]
    pub fn under(self, policy: Policy) -> Self {
        Bridge { policy, ..self }
    }

    /// The pool, once this process leads and it has been started. It is gone when the bridge ends.
    #[must_use]
    pub fn pool(&self) -> watch::Receiver<Option<Pool>> {
        self.started.subscribe()
    }

    /// Does it need to know the nodes? Then `observe` must watch them.
    #[must_use]
    pub fn needs_nodes(&self) -> bool {
        self.rules.borrow().grant_any(AddressKind::Node)
    }

    /// Stands by until this process leads, then runs until stopped, and lets go of the sessions without
    /// closing them. `observe` begins new watches: when it stands by, and once more when it leads, since a
    /// watch may be far behind without knowing it, and what the last leader published would be deleted for that.
    ///
    /// # Errors
    /// See [`BridgeError`].
    pub async fn run<S: Stream<Item = Observation> + Send>(
        self,
        observe: impl Fn() -> S,
        stop: CancellationToken,
    ) -> Result<(), BridgeError> {
        let Bridge {
            rules: mut new_rules,
            roots,
            policy,
            audit,
            pool,
            events,
            instruments,
            started: pool_started,
        } = self;
        let leadership = pool.leadership.clone();
        let mut observations = std::pin::pin!(observe());
        let mut starting = std::pin::pin!(Pool::start(pool, instruments.sessions.clone(), stop.clone()));
        let has_nodes = new_rules.borrow().grant_any(AddressKind::Node);
        let store = || if has_nodes { Store::with_nodes() } else { Store::default() };
        let mut standing_by = store();
        let mut tell = tokio::time::interval(STATUS_INTERVAL);
        let started = loop {
            tokio::select! {
                started = &mut starting => break started,
                observation = observations.next() => match observation {
                    Some(observation) => drop(standing_by.observe(observation)),
                    None => return Err(BridgeError::WatchesEnded),
                },
                _ = tell.tick() => {}
            }
            instruments.tell(Status {
                standing_by: leadership.stands_by(),
                synced: standing_by.is_synced(),
                skipped: standing_by.skipped(),
                ..Status::default()
            });
        };
        let Started { pool, inherited, events: pool_events } = match started {
            Ok(started) => started,
            Err(_) if stop.is_cancelled() => return Ok(()),
            Err(PoolError::Fenced) => return Err(BridgeError::Fenced),
            Err(error) => return Err(BridgeError::Start(error)),
        };
        pool_started.send_replace(Some(pool.clone()));
        observations.set(observe());
        let rules = new_rules.borrow_and_update().of(&instruments.ensemble);
        let leader = Leader {
            ledger: Ledger::new(roots.clone(), inherited).under(policy),
            neighbours: Neighbours::new(roots.clone()),
            filled: Filled::default(),
            audit,
            counts: Counts::default(),
            has_news: true,
            rules,
            new_rules,
            roots,
            pool,
            pool_events,
            events,
            store: store(),
            is_synced: false,
            is_settled: false,
            heard: HashMap::new(),
            draining: HashMap::new(),
            armed: HashMap::new(),
            started: Instant::now(),
            news: HashMap::new(),
            me: std::env::var("POD_NAME")
                .unwrap_or_else(|_| format!("zoobridge (process {})", std::process::id()))
                .into(),
            writes: JoinSet::new(),
            looks: JoinSet::new(),
            timers: JoinSet::new(),
            instruments,
        };
        leader.run(observations, stop).await
    }
}

impl Leader {
    async fn run(
        mut self,
        mut observations: Pin<&mut (impl Stream<Item = Observation> + Send)>,
        stop: CancellationToken,
    ) -> Result<(), BridgeError> {
        // However this ends, the sessions are let go of.
        let _let_go = self.pool.drop_guard();
        let mut tell = tokio::time::interval(STATUS_INTERVAL);
        let mut audit = tokio::time::interval(self.audit.tick());
        audit.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let pool = self.pool.clone();
        let mut pool_ended = std::pin::pin!(pool.ended());
        let ended = loop {
            self.work();
            let has_news = tokio::select! {
                () = stop.cancelled() => break Ok(()),
                ended = &mut pool_ended => break Err(ended.into()),
                observation = observations.next() => {
                    let Some(observation) = observation else { break Err(BridgeError::WatchesEnded) };
                    self.observed(observation);
                    for _ in 1..OBSERVATIONS {
                        let Some(Some(observation)) = observations.next().now_or_never() else { break };
                        self.observed(observation);
                    }
                    true
                }
                Some(event) = self.pool_events.recv() => {
                    self.pool_event(event);
                    true
                }
                Some(written) = self.writes.join_next() => match written {
                    Ok(written) => match self.written(written) {
                        End::Fenced => break Err(BridgeError::Fenced),
                        End::Done | End::Again => true,
                    },
                    Err(_) => break Err(BridgeError::TaskPanicked),
                },
                Some(seen) = self.looks.join_next() => match seen {
                    Ok(seen) => {
                        self.seen(seen);
                        true
                    }
                    Err(_) => break Err(BridgeError::TaskPanicked),
                },
                Ok(()) = self.new_rules.changed() => {
                    self.rule();
                    true
                }
                Some(timer) = self.timers.join_next() => match timer {
                    Ok(timer) => {
                        self.timed(timer);
                        true
                    }
                    Err(_) => break Err(BridgeError::TaskPanicked),
                },
                _ = tell.tick() => {
                    self.tell();
                    false
                }
                _ = audit.tick() => self.audit(),
            };
            self.has_news |= has_news;
        };
        if ended.is_ok() {
            let rest = async { while self.writes.join_next().await.is_some() {} };
            // What is not written by then is found out by whoever comes next.
            let _ = tokio::time::timeout(STOP_TIMEOUT, rest).await;
        }
        self.writes.shutdown().await;
        self.looks.shutdown().await;
        self.timers.shutdown().await;
        self.pool.detach().await;
        ended
    }

    /// If the store knows everything for the first time, all of it is worth a plan.
    fn sync(&mut self) {
        if self.is_synced || !self.store.is_synced() {
            return;
        }
        tracing::info!(services = self.store.services().count(), "Services and EndpointSlices are known");
        self.is_synced = true;
        let all: BTreeSet<_> = self.store.keys().collect();
        self.ledger.synced(&all);
        all.into_iter().for_each(|key| self.ledger.push(key));
    }

    /// There are other rules: every Service may look different.
    fn rule(&mut self) {
        self.rules = self.new_rules.borrow_and_update().of(&self.instruments.ensemble);
        if self.is_synced {
            let all: Vec<_> = self.store.keys().collect();
            tracing::info!(rules = self.rules.list.len(), services = all.len(), "the rules have changed");
            all.into_iter().for_each(|key| self.ledger.push(key));
        }
    }

    fn observed(&mut self, observation: Observation) {
        let is_news = self.is_synced && matches!(observation, Observation::Slice(_));
        let origin = observation.origin();
        let changed = self.store.observe(observation);
        if let Some(origin) = origin {
            self.news.extend(changed.iter().map(|key| (key.clone(), origin.clone())));
        }
        if is_news {
            let now = Instant::now();
            for key in &changed {
                self.heard.entry(key.clone()).or_insert(now);
            }
        }
        changed.iter().for_each(|key| self.ledger.push(key.clone()));
        self.sync();
    }

    /// Starts plans, writes and looks, as many as may be under way.
    fn work(&mut self) {
        if !self.is_synced {
            return;
        }
        for directory in self.neighbours.take_unlisted() {
            // Whoever wants it makes sure of it again.
            self.ledger.deleted(directory.as_str());
        }
        self.neighbours.take_due().into_iter().for_each(|key| self.ledger.push(key));
        loop {
            while self.writes.len() < WRITES
                && let Some(key) = self.ledger.pop_due()
            {
                self.plan(key);
            }
            if self.ledger.all_planned() {
                self.filled.all_planned();
            }
            let due = self.filled.take_due();
            if due.is_empty() {
                break;
            }
            due.into_iter().for_each(|key| self.ledger.push(key));
        }
        let is_known = self.neighbours.pending() == 0;
        if !self.is_settled && self.ledger.all_planned() && self.writes.is_empty() && is_known {
            self.is_settled = true;
            self.pool.tell_exposure();
        }
        while self.looks.len() < LOOKS {
            let doubts = self.ledger.take_doubts(LOOK_LEAVES);
            if doubts.is_empty() {
                break;
            }
            let pool = self.pool.clone();
            let look = async move {
                let suspects: Vec<Suspect> = doubts.iter().map(|doubt| doubt.suspect.clone()).collect();
                let looks = pool.look(&suspects).await;
                Seen::Leaves(doubts.into_iter().zip(looks).collect())
            };
            self.looks.spawn(look.in_current_span());
        }
        while self.looks.len() < LOOKS {
            let strange = self.neighbours.take_doubts(LOOK_LEAVES);
            if strange.is_empty() {
                break;
            }
            let pool = self.pool.clone();
            self.looks.spawn(async move {
                let sightings = pool.see(&strange).await;
                Seen::Strange(strange.into_iter().zip(sightings).collect())
            });
        }
        if self.ledger.take_wants_lists() {
            let pool = self.pool.clone();
            self.looks.spawn(async move { Seen::Lists(pool.ephemerals().await.ok()) });
        }
    }

    fn plan(&mut self, key: ServiceKey) {
        let heard = self.heard.remove(&key);
        let news = self.news.remove(&key);
        let Known::Known((service, slices)) = self.store.get(&key) else { return };
        self.instruments.apply.plans.inc();
        let before = self.draining.remove(&key).unwrap_or_default();
        let (ledger, neighbours, filled) = (&self.ledger, &self.neighbours, &self.filled);
        let beside = |directory: &ZnodePath| {
            let has_ours = ledger.has_any_in(directory);
            neighbours.beside(directory, has_ours, filled.found_by(&key, directory, has_ours))
        };
        let given = Given {
            rules: &self.rules,
            roots: &self.roots,
            nodes: self.store.nodes(),
            draining: &before,
            now: self.started.elapsed(),
            is_there: &|path| ledger.has(path),
            beside: &beside,
        };
        let mut desired = desired(service, slices.iter().copied(), &given);
        self.neighbours.planned(&key, &desired);
        self.filled.planned(&key, &desired);
        self.drains(&key, &desired);
        let theirs = std::mem::take(&mut desired.theirs);
        let heard = match (desired.waits, heard) {
            // The plan that follows is about this too.
            (true, Some(heard)) => {
                self.heard.insert(key.clone(), heard);
                None
            }
            (_, heard) => heard,
        };
        let Some(mut change) = self.ledger.plan(&key, desired) else {
            self.report(&key);
            return;
        };
        let changes = &change.changes;
        let service = self.store.service(&key);
        let (slices, lost) = (self.store.slices_of(&key).collect(), std::mem::take(&mut change.lost));
        let notes = self.pool.keeps_records().then(|| {
            let causes = causes(changes, &Evidence { service, slices, news, lost, theirs }, &self.roots);
            Notes::new(&key, service, Arc::clone(&self.me), changes, causes, &self.roots)
        });
        tracing::debug!(
            service = %key, creates = changes.creates.len(), sets = changes.sets.len(),
            deletes = changes.gone.len() + changes.replaced.len(), "writing"
        );
        let pool = self.pool.clone();
        let timer = self.instruments.apply.write_seconds.start_timer();
        let write = async move {
            let outcome = write(pool, change, notes).await;
            timer.observe_duration();
            Written { key, heard, outcome }
        };
        self.writes.spawn(write.in_current_span());
    }

    /// Remembers what drains, and when the first of it is to go.
    fn drains(&mut self, key: &ServiceKey, desired: &Desired) {
        if let Some(wake) = desired.wake
            && self.armed.get(key).is_none_or(|armed| *armed > wake)
        {
            self.armed.insert(key.clone(), wake);
            self.timer(wake.saturating_sub(self.started.elapsed()), Timer::Drained(key.clone()));
        }
        if !desired.draining.is_empty() {
            self.draining.insert(key.clone(), desired.draining.clone());
        }
    }

    fn written(&mut self, Written { key, heard, outcome }: Written) -> End {
        let Outcome { companions, listed, settled, refusals, end, wrote } = outcome;
        self.instruments.apply.written(wrote, end, heard.map(|heard| heard.elapsed()));
        if end == End::Fenced {
            return end;
        }
        if let (End::Again, Some(heard)) = (end, heard) {
            // The next plan is about this too.
            self.heard.insert(key.clone(), heard);
        }
        let pool = &self.pool;
        let lives = |session| pool.owns(session);
        let delay = self.ledger.written(&key, companions, &settled, refusals, end == End::Again, lives);
        for (directory, names) in &listed {
            self.neighbours.listed(directory, names, |path| self.ledger.expects(path.as_str()));
        }
        if let Some(delay) = delay {
            self.timer(delay, Timer::Plan(key.clone()));
        }
        self.report(&key);
        end
    }

    fn timer(&mut self, delay: Duration, timer: Timer) {
        self.timers.spawn(async move {
            tokio::time::sleep(delay).await;
            timer
        });
    }

    fn pool_event(&mut self, event: PoolEvent) {
        match event {
            PoolEvent::Watch(WatcherEvent { kind, path, .. }) => match kind {
                EventType::NodeDeleted => {
                    self.ledger.deleted(&path);
                    self.neighbours.deleted(&path);
                }
                EventType::NodeDataChanged => {
                    self.ledger.changed(&path);
                    if !self.ledger.is_ours(&path) {
                        self.neighbours.noticed(&path);
                    }
                }
                EventType::NodeCreated if !self.ledger.expects(&path) => self.neighbours.noticed(&path),
                _ => {}
            },
            PoolEvent::Gap => self.ledger.gap(),
            PoolEvent::Resumed(_) => self.ledger.resumed(),
            PoolEvent::Expired(session) => self.ledger.expired(session),
        }
    }

    /// It is time for this.
    fn timed(&mut self, timer: Timer) {
        match timer {
            Timer::Plan(key) => self.ledger.retry(key),
            Timer::Drained(key) => {
                self.armed.remove(&key);
                self.ledger.push(key);
            }
            Timer::Look(failed) => self.looked(failed),
            Timer::See(failed) => self.sighted(failed),
            Timer::List => self.ledger.want_lists(),
        }
    }

    /// Reads again what should be as it is known, however quiet the watches are. Was there something to read?
    fn audit(&mut self) -> bool {
        let share = self.audit.share(self.ledger.audited(), self.started.elapsed());
        let reads = self.is_settled && share > 0;
        if reads {
            self.audit.after = self.ledger.audit(self.audit.after.as_ref(), share);
        }
        reads
    }

    fn seen(&mut self, seen: Seen) {
        match seen {
            Seen::Leaves(looks) => {
                looks.iter().for_each(|(_, look)| self.instruments.apply.looked(look));
                let (failed, seen): (Vec<_>, Vec<_>) =
                    looks.into_iter().partition(|(_, look)| *look == Look::Failed);
                self.looked(seen);
                if !failed.is_empty() {
                    self.timer(LOOK_AGAIN, Timer::Look(failed));
                }
            }
            Seen::Strange(sightings) => {
                sightings.iter().for_each(|(_, sighting)| self.instruments.apply.sighted(sighting));
                let (failed, seen): (Vec<_>, Vec<_>) =
                    sightings.into_iter().partition(|(_, sighting)| *sighting == Sighting::Failed);
                self.sighted(seen);
                if !failed.is_empty() {
                    self.timer(LOOK_AGAIN, Timer::See(failed));
                }
            }
            Seen::Lists(Some(lists)) => {
                for (session, paths) in lists {
                    self.ledger.listed(session, paths);
                }
            }
            Seen::Lists(None) => self.timer(LOOK_AGAIN, Timer::List),
        }
    }

    fn sighted(&mut self, sightings: Vec<(ZnodePath, Sighting)>) {
        for (path, sighting) in sightings {
            self.neighbours.seen(path, &sighting);
        }
    }

    fn looked(&mut self, looks: Vec<(Doubt, Look)>) {
        for (doubt, mut look) in looks {
            if matches!(look, Look::Theirs(_)) {
                self.neighbours.noticed(doubt.suspect.path.as_str());
            }
            if matches!(look, Look::Ours(owned) if !self.pool.owns(owned.session)) {
                // It expired while the answer was under way.
                look = Look::Failed;
            }
            let Some(drift) = self.ledger.looked(&doubt, look) else { continue };
            self.instruments.apply.repairs.inc();
            let path = &doubt.suspect.path;
            tracing::warn!(%path, "a znode of ours was changed by somebody else; repairing");
            if drift == Drift::Unheard {
                self.instruments.unheard(Direction::Forward);
                tracing::warn!(%path, "no watch told of that before the audit saw it");
            }
        }
    }

    /// Tells the Service's owners what changed.
    fn report(&mut self, key: &ServiceKey) {
        let Known::Known((service, _)) = self.store.get(key) else { return };
        let Some(service) = service else { return self.ledger.forget(key) };
        if let Some((before, now)) = self.ledger.report(key) {
            self.events.changed(service, &before, &now);
        }
    }

    fn tell(&mut self) {
        if std::mem::take(&mut self.has_news) {
            self.counts = self.ledger.counts();
        }
        let Counts { services, znodes, refused, pending } = self.counts;
        let pending = pending + self.neighbours.pending() + self.looks.len();
        let (attached, sessions) = self.pool.attached();
        self.instruments.tell(Status {
            leading: true,
            standing_by: false,
            synced: self.is_synced,
            services,
            znodes,
            refused,
            pending,
            settled: self.is_settled,
            sessions,
            attached,
            skipped: self.store.skipped(),
            failed: false,
        });
    }
}

impl Status {
    /// Does the bridge do what it is there for? A replica that stands by does, as soon as it could take over.
    ///
    /// # Errors
    /// What is missing.
    pub fn ready(&self) -> Result<(), &'static str> {
        match self {
            Status { failed: true, .. } => {
                Err("the bridge has failed and is to be started again; the log says why")
            }
            Status { synced: false, .. } => Err("Services and EndpointSlices are not listed yet"),
            Status { standing_by: true, .. } => Ok(()),
            Status { leading: false, .. } => Err("the sessions are not taken over yet"),
            Status { settled: false, .. } => Err("not everything that was there at first is written yet"),
            Status { attached, sessions, .. } if attached < sessions => Err("a session is not attached"),
            Status { .. } => Ok(()),
        }
    }
}

impl From<PoolEnd> for BridgeError {
    fn from(end: PoolEnd) -> Self {
        match end {
            PoolEnd::Fenced => BridgeError::Fenced,
            PoolEnd::Failed(error) => BridgeError::Pool(error),
        }
    }
}
