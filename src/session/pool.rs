//! The pool: sessions that are kept attached, and the one way to write through them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use zk_client::{
    AttachError, Auth, ConnectString, Connector, Credentials, Event, Events, Lost, MultiFailure, Opening,
    Options, RequestError, Session, WatchSet, attach,
};
use zk_wire::codes::{AddWatchMode, ErrorCode};
use zk_wire::ids::{SessionId, Zxid};
use zk_wire::multi::{MultiResult, WriteOp};
use zk_wire::reply::WatcherEvent;
use zk_wire::stat::Stat;

use super::budget::{Budget, OverBudget, Placement, place};
use super::credentials::{CredentialError, CredentialStore};
use super::directories;
use super::fence::Fence;
use super::leadership::Leadership;
use crate::model::{Fingerprint, ZnodePath};
use crate::plan::Held;

/// What a pool needs to know.
#[derive(Debug, Clone)]
pub struct PoolConfig {
    /// The ensemble.
    pub connect: ConnectString,
    /// How long ephemerals outlive us.
    pub session_timeout: Duration,
    /// Our identities.
    pub auth: Vec<Auth>,
    /// The directory of the fence.
    pub fence: ZnodePath,
    /// At most so many sessions.
    pub limit: usize,
}

/// An ephemeral of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owned {
    /// The session that holds it.
    pub session: SessionId,
    /// The transaction that created it: tells it from one that somebody else put in its place.
    pub czxid: Zxid,
    /// The version of its data.
    pub version: i32,
    /// Stands for its data.
    pub fingerprint: Fingerprint,
}

impl Held for Owned {
    fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }
}

/// What an earlier leader left in the sessions that could be resumed.
pub type Inherited = BTreeMap<ZnodePath, Owned>;

/// What happens to a pool without being asked for.
#[derive(Debug)]
pub enum PoolEvent {
    /// A connection was lost and is back; these are all the ephemerals that the session has now.
    Resumed(SessionId, BTreeSet<String>),
    /// A session ended, and its ephemerals with it. A new one has taken its place.
    Expired(SessionId),
    /// Something changed in a watched directory.
    Watch(WatcherEvent),
    /// Some changes in watched directories were not reported.
    Overflow,
    /// Another process has taken over; the sessions are let go of.
    Fenced,
}

/// Why a pool did not start.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// The credentials could not be read or kept.
    #[error("cannot keep the sessions' credentials")]
    Credentials(#[from] CredentialError),
    /// The server refused what every pool needs.
    #[error("ZooKeeper refused to {what}")]
    Refused {
        /// What was asked for.
        what: &'static str,
        /// Its answer.
        #[source]
        source: RequestError,
    },
    /// The server does not accept our identity.
    #[error("ZooKeeper does not accept the identity in zookeeper.digestFile")]
    Identity(#[source] AttachError),
    /// The pool was stopped before it had started.
    #[error("stopped")]
    Stopped,
}

/// Why a write did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Another process leads. Nothing was written, and nothing will be.
    #[error("another process has taken over")]
    Fenced,
    /// The session is gone, with all that it held.
    #[error("session {0} has expired")]
    Expired(SessionId),
    /// The connection was lost; what was written is unknown.
    #[error("the outcome is unknown: {0}")]
    Unknown(Lost),
    /// One op failed, so none was carried out. Positions count from the first op given.
    #[error("op {index} failed with {code}")]
    Culprit {
        /// Which.
        index: usize,
        /// Why.
        code: ErrorCode,
    },
    /// The request as a whole was refused.
    #[error("{0}")]
    Refused(RequestError),
}

/// Sessions that are kept attached. Cheap to clone. [`Pool::detach`] lets go of them.
#[derive(Debug, Clone)]
pub struct Pool(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    config: PoolConfig,
    store: CredentialStore,
    leadership: Leadership,
    fence: Mutex<Option<Fence>>,
    slots: Mutex<Vec<Arc<Slot>>>,
    /// Held while a session is opened, so that two placements open one.
    opening: tokio::sync::Mutex<()>,
    watched: Mutex<BTreeSet<ZnodePath>>,
    events: mpsc::UnboundedSender<PoolEvent>,
    stop: CancellationToken,
    keepers: TaskTracker,
}

/// One session's place in the pool. When the session expires, a new one takes the place.
#[derive(Debug)]
struct Slot {
    budget: Mutex<Budget>,
    /// The session while it is attached.
    session: watch::Sender<Option<Arc<Session>>>,
    credentials: Mutex<Credentials>,
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MOST: Duration = Duration::from_secs(5);
/// A connection that lasts so long was not taken by somebody else.
const LASTING: Duration = Duration::from_secs(5);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    /// Resumes the sessions of the last leader, or opens a first one, and takes the fence over. Tries for
    /// as long as no server can be reached.
    ///
    /// # Errors
    /// See [`PoolError`].
    pub async fn start(
        config: PoolConfig,
        store: CredentialStore,
        leadership: Leadership,
        stop: CancellationToken,
    ) -> Result<(Pool, Inherited, mpsc::UnboundedReceiver<PoolEvent>), PoolError> {
        let (events, events_rx) = mpsc::unbounded_channel();
        let pool = Pool(Arc::new(Shared {
            config,
            store,
            leadership,
            fence: Mutex::new(None),
            slots: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
            watched: Mutex::default(),
            events,
            stop: stop.child_token(),
            keepers: TaskTracker::new(),
        }));
        let mut resumed = Vec::new();
        for credentials in pool.0.store.load().await? {
            let id = credentials.id;
            match pool.0.attach(Opening::Resume(credentials, WatchSet::default())).await? {
                Some(attached) => resumed.push(attached),
                None => tracing::info!(session = %id, "the session of the last leader has expired"),
            }
        }
        let inherited_sessions = resumed.len();
        if resumed.is_empty() {
            resumed.extend(pool.0.attach(pool.0.new_session()).await?);
        }
        let credentials: Vec<_> = resumed.iter().map(|(session, _)| session.credentials()).collect();
        pool.0.store.save(&credentials).await?;
        for (session, events) in resumed {
            pool.0.keep(session, events);
        }
        let inherited = pool.0.take_over().await?;
        let sessions = lock(&pool.0.slots).len();
        tracing::info!(sessions, resumed = inherited_sessions, znodes = inherited.len(), "sessions attached");
        Ok((pool, inherited, events_rx))
    }

    /// Is this session one of ours?
    #[must_use]
    pub fn owns(&self, session: SessionId) -> bool {
        self.0.slot(session).is_some()
    }

    /// Reserves room for a new ephemeral and says in which session it goes. Opens one if need be.
    ///
    /// # Errors
    /// All sessions are full, or a new one cannot be kept.
    pub async fn place(&self, path: &ZnodePath) -> Result<SessionId, PlaceError> {
        let _one_at_a_time = self.0.opening.lock().await;
        loop {
            let slots = lock(&self.0.slots).clone();
            let budgets: Vec<_> = slots.iter().map(|slot| *lock(&slot.budget)).collect();
            match place(path, &budgets, self.0.config.limit) {
                Placement::Into(index) => {
                    lock(&slots[index].budget).reserve(path);
                    return Ok(lock(&slots[index].credentials).id);
                }
                Placement::Open => self.0.open_another().await?,
                Placement::Nowhere => return Err(OverBudget { sessions: slots.len() }.into()),
            }
        }
    }

    /// Gives back the room of an ephemeral that is gone or never came.
    pub fn release(&self, session: SessionId, path: &ZnodePath) {
        if let Some(slot) = self.0.slot(session) {
            lock(&slot.budget).release(path);
        }
    }

    /// Creates persistent directories with those above them, and watches what happens in them.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn ensure_directory(&self, directory: &ZnodePath) -> Result<(), WriteError> {
        let session = self.0.any_session().await?;
        directories::ensure(&session, directory).await.map_err(read_failed)?;
        session
            .add_watch(directory.as_str(), AddWatchMode::PersistentRecursive)
            .await
            .map_err(read_failed)?;
        lock(&self.0.watched).insert(directory.clone());
        Ok(())
    }

    /// The stat of each path; `None` where there is no znode.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn stats(&self, paths: &[ZnodePath]) -> Result<Vec<Option<Stat>>, WriteError> {
        let session = self.0.any_session().await?;
        let reads = paths.iter().map(|path| session.exists(path.as_str()));
        futures::future::try_join_all(reads).await.map_err(read_failed)
    }

    /// Data and stat of a path; `None` if there is no znode.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn read(&self, path: &ZnodePath) -> Result<Option<(bytes::Bytes, Stat)>, WriteError> {
        self.0.any_session().await?.get(path.as_str()).await.map_err(read_failed)
    }

    /// Carries out all ops or none, in this session, if we still lead. Waits while its connection is away.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn write(&self, session: SessionId, ops: Vec<WriteOp>) -> Result<Vec<MultiResult>, WriteError> {
        let attached = self.0.attached(session).await?;
        let fence = lock(&self.0.fence).as_ref().map(Fence::check);
        let Some(check) = fence else { return Err(WriteError::Fenced) };
        let ops = std::iter::once(check).chain(ops).collect();
        match attached.multi(ops).await {
            Ok(mut results) => {
                results.remove(0);
                Ok(results)
            }
            Err(RequestError::Multi(MultiFailure { index: 0, .. })) => Err(WriteError::Fenced),
            Err(RequestError::Multi(MultiFailure { index, code, .. })) => {
                Err(WriteError::Culprit { index: index - 1, code })
            }
            Err(error) => Err(read_failed(error)),
        }
    }

    /// All ephemerals that the attached sessions have.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn ephemerals(&self) -> Result<HashMap<SessionId, BTreeSet<String>>, WriteError> {
        let mut all = HashMap::new();
        let slots = lock(&self.0.slots).clone();
        for slot in slots {
            let id = lock(&slot.credentials).id;
            let session = self.0.attached(id).await?;
            all.insert(id, session.ephemerals("/").await.map_err(read_failed)?.into_iter().collect());
        }
        Ok(all)
    }

    /// Lets go of all sessions as soon as this guard is dropped, without waiting.
    #[must_use]
    pub fn drop_guard(&self) -> DropGuard {
        self.0.stop.clone().drop_guard()
    }

    /// Lets go of all sessions. They live on at the ensemble for their timeout, and can be resumed.
    pub async fn detach(self) {
        self.0.stop.cancel();
        self.0.keepers.close();
        self.0.keepers.wait().await;
    }
}

/// Why an ephemeral has no place.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// All sessions are full.
    #[error(transparent)]
    Full(#[from] OverBudget),
    /// A new session could not be opened or kept.
    #[error(transparent)]
    Open(#[from] PoolError),
}

fn read_failed(error: RequestError) -> WriteError {
    match error {
        RequestError::NotSent(lost) | RequestError::Unknown(lost) => WriteError::Unknown(lost),
        error => WriteError::Refused(error),
    }
}

impl Shared {
    fn options(&self) -> Options {
        Options {
            auth: self.config.auth.clone(),
            chroot: self.config.connect.chroot().to_owned(),
            ..Options::default()
        }
    }

    fn new_session(&self) -> Opening {
        Opening::New { timeout: self.config.session_timeout }
    }

    fn slot(&self, session: SessionId) -> Option<Arc<Slot>> {
        lock(&self.slots).iter().find(|slot| lock(&slot.credentials).id == session).cloned()
    }

    /// The session once it is attached.
    async fn attached(&self, id: SessionId) -> Result<Arc<Session>, WriteError> {
        let slot = self.slot(id).ok_or(WriteError::Expired(id))?;
        let session = Self::wait(&slot, &self.stop).await?;
        if session.credentials().id == id { Ok(session) } else { Err(WriteError::Expired(id)) }
    }

    /// The first session, which also carries reads, directories and watches.
    async fn any_session(&self) -> Result<Arc<Session>, WriteError> {
        let first = lock(&self.slots).first().cloned();
        let slot = first.ok_or(WriteError::Unknown(Lost::Detached))?;
        Self::wait(&slot, &self.stop).await
    }

    async fn wait(slot: &Slot, stop: &CancellationToken) -> Result<Arc<Session>, WriteError> {
        let mut session = slot.session.subscribe();
        let attached = tokio::select! {
            attached = session.wait_for(Option::is_some) => attached.ok().and_then(|session| session.clone()),
            () = stop.cancelled() => None,
        };
        attached.ok_or(WriteError::Unknown(Lost::Detached))
    }

    /// Attaches, for as long as it takes; `None` if the session has expired.
    async fn attach(&self, opening: Opening) -> Result<Option<(Session, Events)>, PoolError> {
        let mut connector = Connector::new(self.config.connect.clone(), CONNECT_TIMEOUT);
        let mut delays = ExponentialBuilder::default()
            .with_min_delay(RETRY_FIRST)
            .with_max_delay(RETRY_MOST)
            .without_max_times()
            .with_jitter()
            .build();
        loop {
            let attempt = async {
                let stream = connector.connect().await.map_err(|error| error.to_string())?;
                let permit = self.leadership.permit().await;
                match attach(stream, permit, opening.clone(), self.options()).await {
                    Ok(attached) => Ok(Ok(Some(attached))),
                    Err(AttachError::Expired(_)) => Ok(Ok(None)),
                    Err(error @ AttachError::AuthFailed { .. }) => Ok(Err(PoolError::Identity(error))),
                    Err(AttachError::Lost(lost)) => Err(format!("{}: {lost}", self.config.connect)),
                }
            };
            let error: String = tokio::select! {
                attempt = attempt => match attempt {
                    Ok(attached) => return attached,
                    Err(error) => error,
                },
                () = self.stop.cancelled() => return Err(PoolError::Stopped),
            };
            let delay = delays.next().unwrap_or(RETRY_MOST);
            tracing::warn!(?delay, "cannot attach to ZooKeeper, trying again: {error}");
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = self.stop.cancelled() => return Err(PoolError::Stopped),
            }
        }
    }

    /// Takes a session into the pool, and keeps it attached from now on.
    fn keep(self: &Arc<Self>, session: Session, events: Events) {
        let credentials = Mutex::new(session.credentials());
        let (sender, _) = watch::channel(Some(Arc::new(session)));
        let slot = Arc::new(Slot { budget: Mutex::default(), session: sender, credentials });
        lock(&self.slots).push(Arc::clone(&slot));
        let shared = Arc::clone(self);
        self.keepers.spawn(async move {
            match shared.keeper(&slot, events).await {
                Ok(()) | Err(PoolError::Stopped) => {}
                Err(error) => tracing::error!("a session is given up: {:#}", anyhow::Error::from(error)),
            }
            slot.session.send_replace(None);
        });
    }

    /// Credentials are kept before the session holds its first ephemeral.
    async fn open_another(self: &Arc<Self>) -> Result<(), PoolError> {
        let Some((session, events)) = self.attach(self.new_session()).await? else { return Ok(()) };
        let mut credentials = self.credentials();
        credentials.push(session.credentials());
        self.store.save(&credentials).await?;
        tracing::info!(session = %session.credentials().id, sessions = credentials.len(), "session opened");
        self.keep(session, events);
        Ok(())
    }

    fn credentials(&self) -> Vec<Credentials> {
        lock(&self.slots).iter().map(|slot| lock(&slot.credentials).clone()).collect()
    }

    /// Forwards events until the connection is lost, then attaches again; for ever. Connections that do not
    /// last are a sign that somebody else holds the session too: then each attempt waits longer.
    async fn keeper(self: &Arc<Self>, slot: &Arc<Slot>, mut events: Events) -> Result<(), PoolError> {
        let mut delay = RETRY_FIRST;
        loop {
            let attached_at = tokio::time::Instant::now();
            self.forward(&mut events).await?;
            delay =
                if attached_at.elapsed() > LASTING { RETRY_FIRST } else { (delay * 2).min(RETRY_MOST / 2) };
            let Some(lost) = slot.session.send_replace(None) else { return Err(PoolError::Stopped) };
            let credentials = lost.credentials();
            tracing::warn!(session = %credentials.id, "connection lost: {}", lost.lost().await);
            drop(lost);
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = self.stop.cancelled() => return Err(PoolError::Stopped),
            }
            events = self.attach_again(slot, credentials).await?;
        }
    }

    async fn forward(&self, events: &mut Events) -> Result<(), PoolError> {
        loop {
            let event = tokio::select! {
                event = events.recv() => event,
                () = self.stop.cancelled() => return Err(PoolError::Stopped),
            };
            match event {
                Some(Event::Watch(event)) => {
                    // Nobody listens: the bridge is stopping.
                    let _ = self.events.send(PoolEvent::Watch(event));
                }
                Some(Event::Overflow) => {
                    let _ = self.events.send(PoolEvent::Overflow);
                }
                None => return Ok(()),
            }
        }
    }

    async fn attach_again(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        credentials: Credentials,
    ) -> Result<Events, PoolError> {
        let id = credentials.id;
        if let Some((session, events)) = self.attach(Opening::Resume(credentials, self.watches(slot))).await?
        {
            if self.is_fenced(&session).await {
                tracing::error!(session = %id, "another process has taken over; letting go");
                let _ = self.events.send(PoolEvent::Fenced);
                return Err(PoolError::Stopped);
            }
            let listed = session.ephemerals("/").await;
            slot.session.send_replace(Some(Arc::new(session)));
            match listed {
                Ok(paths) => {
                    tracing::info!(session = %id, znodes = paths.len(), "session resumed");
                    let _ = self.events.send(PoolEvent::Resumed(id, paths.into_iter().collect()));
                }
                // Lost again at once; the next attach lists.
                Err(error) => tracing::debug!("cannot list ephemerals: {error}"),
            }
            return Ok(events);
        }
        tracing::error!(session = %id, "session expired; its znodes are gone and are published again");
        let Some((session, events)) = self.attach(self.new_session()).await? else {
            return Err(PoolError::Stopped);
        };
        *lock(&slot.credentials) = session.credentials();
        *lock(&slot.budget) = Budget::default();
        self.store.save(&self.credentials()).await?;
        let watches = self.watches(slot);
        for directory in &watches.persistent_recursive {
            // A watch that cannot be set costs drift repair there until the next attach.
            if session.add_watch(directory, AddWatchMode::PersistentRecursive).await.is_err() {
                break;
            }
        }
        slot.session.send_replace(Some(Arc::new(session)));
        let _ = self.events.send(PoolEvent::Expired(id));
        Ok(events)
    }

    /// Is our fence gone? Before it is set up, and while nobody can tell, it is not.
    async fn is_fenced(&self, session: &Session) -> bool {
        let fence = lock(&self.fence).clone();
        let Some(fence) = fence else { return false };
        matches!(session.exists(fence.path()).await, Ok(None))
    }

    /// The first session has all watches.
    fn watches(&self, slot: &Arc<Slot>) -> WatchSet {
        let is_first = lock(&self.slots).first().is_some_and(|first| Arc::ptr_eq(first, slot));
        let watched = lock(&self.watched);
        let paths = watched.iter().filter(|_| is_first).map(|path| path.as_str().to_owned());
        WatchSet { persistent_recursive: paths.collect(), ..WatchSet::default() }
    }

    /// Sets the fence up, then reads what the resumed sessions hold.
    async fn take_over(&self) -> Result<Inherited, PoolError> {
        loop {
            match self.try_take_over().await {
                Ok(inherited) => return Ok(inherited),
                Err(PoolError::Refused {
                    source: RequestError::NotSent(_) | RequestError::Unknown(_),
                    what,
                }) => {
                    tracing::warn!("the connection was lost, trying again to {what}");
                    tokio::time::sleep(RETRY_FIRST).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn try_take_over(&self) -> Result<Inherited, PoolError> {
        let failed = |what| move |source| PoolError::Refused { what, source };
        let first = self.any_session().await.map_err(|_| PoolError::Stopped)?;
        let has_identity = !self.config.auth.is_empty();
        let fence = Fence::take_over(&first, &self.config.fence, has_identity)
            .await
            .map_err(failed("set up the fence"))?;
        *lock(&self.fence) = Some(fence);
        let mut inherited = Inherited::new();
        let slots = lock(&self.slots).clone();
        for slot in slots {
            let id = lock(&slot.credentials).id;
            let session = Self::wait(&slot, &self.stop).await.map_err(|_| PoolError::Stopped)?;
            let what = "list the session's ephemerals (servers before 3.6 cannot)";
            let paths = session.ephemerals("/").await.map_err(failed(what))?;
            let reads = paths.iter().map(|path| session.get(path));
            let reads = futures::future::try_join_all(reads)
                .await
                .map_err(failed("read the session's ephemerals"))?;
            *lock(&slot.budget) = Budget::default();
            for (path, read) in paths.iter().zip(reads) {
                let (Some((data, stat)), Ok(path)) = (read, ZnodePath::new(path)) else { continue };
                lock(&slot.budget).reserve(&path);
                let owned = Owned {
                    session: id,
                    czxid: stat.czxid,
                    version: stat.version,
                    fingerprint: Fingerprint::of(&data),
                };
                inherited.insert(path, owned);
            }
        }
        Ok(inherited)
    }
}
