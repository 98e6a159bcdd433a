//! The pool: sessions that are kept attached, and the one way to write through them.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tracing::Instrument;
use zk_client::{Lost, MultiFailure, RequestError};
use zk_wire::acl::Acl;
use zk_wire::codes::{AddWatchMode, ErrorCode};
use zk_wire::ids::SessionId;
use zk_wire::multi::{MultiResult, WriteOp};
use zk_wire::reply::WatcherEvent;
use zk_wire::stat::Stat;

use super::budget::{OverBudget, Placement, cost, place};
use super::companions::Found;
use super::credentials::{CredentialError, CredentialStore};
use super::ensemble::Ensemble;
use super::fence::Fence;
use super::history::Note;
use super::leadership::Leadership;
use super::lister::Lister;
use super::metrics::{Kinds, SessionMetrics};
use super::own::Own;
use super::owned::{Inherited, Look, Sighting, Suspect};
use super::slots::{Shared, lock};
use crate::model::{Companion, ZnodePath};

/// What a pool needs to know.
#[derive(Debug, Clone)]
pub struct PoolConfig {
    /// Where, as whom, and open to whom.
    pub ensemble: Ensemble,
    /// Where we have our own znodes.
    pub own: Own,
    /// At most about so many records of what was written are kept; with 0 none is written.
    pub records: usize,
    /// At most so many sessions.
    pub limit: usize,
}

/// What it takes to start a pool.
#[derive(Debug, Clone)]
pub struct PoolStart {
    /// Where, and how much.
    pub config: PoolConfig,
    /// Where credentials are kept.
    pub store: CredentialStore,
    /// Who may attach.
    pub leadership: Leadership,
}

/// A pool that has just been started.
#[derive(Debug)]
pub struct Started {
    /// The pool.
    pub pool: Pool,
    /// What an earlier leader left.
    pub inherited: Inherited,
    /// What happens to it.
    pub events: mpsc::Receiver<PoolEvent>,
}

/// What happens to a pool without being asked for.
#[derive(Debug)]
pub enum PoolEvent {
    /// A session's connection was lost and is back.
    Resumed(SessionId),
    /// A session ended, and its ephemerals with it. A new one has taken its place.
    Expired(SessionId),
    /// Something changed at a companion, or below it.
    Watch(WatcherEvent),
    /// Changes that are watched for may not have been reported.
    Gap,
}

/// Why a pool ended by itself.
#[derive(Debug, Clone)]
pub enum PoolEnd {
    /// Another process has taken over; the sessions are let go of.
    Fenced,
    /// Something that trying again does not mend.
    Failed(Arc<PoolError>),
}

/// Why there is no pool.
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
    /// No server could be reached, and another replica may reach one.
    #[error("no session could be attached for {0:?}; another replica may have more luck")]
    Unreachable(Duration),
    /// Another process has taken over.
    #[error("another process has taken over")]
    Fenced,
    /// The pool was stopped.
    #[error("stopped")]
    Stopped,
}

/// Why a request did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Another process leads. Nothing was written, and nothing will be.
    #[error("another process has taken over")]
    Fenced,
    /// The session is gone, with all that it held.
    #[error("session {0} has expired")]
    Expired(SessionId),
    /// The session is not attached; nothing was written.
    #[error("not sent: {0}")]
    NotSent(Lost),
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

/// Why an ephemeral has no place.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// All sessions are full.
    #[error(transparent)]
    Full(#[from] OverBudget),
    /// All are full, and another one could not be opened now.
    #[error("all sessions are full, and no other can be opened now: {0}")]
    NotOpened(String),
}

/// A companion that is as it must be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ensured {
    /// Was it not before?
    pub wrote: bool,
    /// The names of what is in it, if it is a directory.
    pub names: Vec<String>,
}

/// What carrying out a change needs.
pub trait Sessions {
    /// Reserves room for a new ephemeral and says in which session it goes. Opens one if need be.
    ///
    /// # Errors
    /// See [`PlaceError`].
    fn place(&self, path: &ZnodePath) -> impl Future<Output = Result<SessionId, PlaceError>> + Send;

    /// Gives back the room of an ephemeral that is gone or never came.
    fn release(&self, session: SessionId, path: &ZnodePath);

    /// The ACL of leaves.
    fn leaf_acl(&self) -> &[Acl];

    /// Makes sure of a companion and of the directories above it, and watches what happens to it and below it.
    ///
    /// # Errors
    /// See [`WriteError`].
    fn ensure(&self, companion: &Companion) -> impl Future<Output = Result<Ensured, WriteError>> + Send;

    /// The stat of each path as this session sees it; `None` where there is no znode.
    ///
    /// # Errors
    /// See [`WriteError`].
    fn stats(
        &self,
        session: SessionId,
        paths: &[ZnodePath],
    ) -> impl Future<Output = Result<Vec<Option<Stat>>, WriteError>> + Send;

    /// Carries out all ops or none, in this session, if we still lead, and keeps a record with them if it can.
    ///
    /// # Errors
    /// See [`WriteError`].
    fn write(
        &self,
        session: SessionId,
        ops: Vec<WriteOp>,
        note: Option<Note>,
    ) -> impl Future<Output = Result<Vec<MultiResult>, WriteError>> + Send;
}

/// Sessions that are kept attached. Cheap to clone. [`Pool::detach`] lets go of them.
#[derive(Debug, Clone)]
pub struct Pool(Arc<Shared>);

/// Events that may wait for the bridge; further ones wait in the clients, which count instead of keeping.
const EVENTS: usize = 1024;
/// How long a placement may wait for another session.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it is not tried again after that.
const NOT_AGAIN: Duration = Duration::from_secs(10);

impl Pool {
    /// Waits until this process leads, resumes the sessions of the last leader or opens a first one, and takes
    /// the fence over. Tries for as long as a server or the credentials cannot be reached.
    ///
    /// # Errors
    /// See [`PoolError`].
    pub async fn start(
        PoolStart { config, store, leadership }: PoolStart,
        metrics: SessionMetrics,
        stop: CancellationToken,
    ) -> Result<Started, PoolError> {
        let (events, events_rx) = mpsc::channel(EVENTS);
        let (ended, _) = watch::channel(None);
        let shared = Arc::new(Shared {
            config,
            store,
            leadership,
            metrics,
            fence: Mutex::new(None),
            history: Mutex::new(None),
            slots: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
            not_opened: Mutex::default(),
            saving: tokio::sync::Mutex::default(),
            watched: Mutex::default(),
            lister: Lister::default(),
            ever: Mutex::default(),
            events,
            ended,
            // Not a child of `stop`: a graceful stop finishes its writes before it lets go.
            stop: CancellationToken::new(),
            keepers: TaskTracker::new(),
        });
        let pool = Pool(shared);
        // However this ends, no keeper stays behind.
        let let_go = pool.drop_guard();
        let inherited = tokio::select! {
            started = pool.0.start() => started.map_err(|error| match error {
                PoolError::Stopped => pool.0.stopped(),
                error => error,
            })?,
            () = pool.0.stop.cancelled() => return Err(pool.0.stopped()),
            () = stop.cancelled() => return Err(PoolError::Stopped),
        };
        let_go.disarm();
        Ok(Started { pool, inherited, events: events_rx })
    }

    /// Is this session one of ours?
    #[must_use]
    pub fn owns(&self, session: SessionId) -> bool {
        self.0.slot(session).is_some()
    }

    /// How many of its sessions are attached, and how many there are.
    #[must_use]
    pub fn attached(&self) -> (usize, usize) {
        let slots = self.0.slots();
        (slots.iter().filter(|slot| slot.room().attached).count(), slots.len())
    }

    /// Are records kept of what is written?
    #[must_use]
    pub fn keeps_records(&self) -> bool {
        lock(&self.0.history).is_some()
    }

    /// Is or was this session one of ours, or of the leader before us? Its ephemerals came from Kubernetes.
    #[must_use]
    pub fn ever_owned(&self, session: SessionId) -> bool {
        lock(&self.0.ever).contains(&session)
    }

    /// What is at these paths, one answer each.
    pub async fn look(&self, suspects: &[Suspect]) -> Vec<Look> {
        self.0.look(suspects).await
    }

    /// Who has these znodes, and what they say, one answer each: as the session sees it that has the watches, and so
    /// not older than what those have told.
    pub async fn see(&self, paths: &[ZnodePath]) -> Vec<Sighting> {
        self.0.see(paths).await
    }

    /// All ephemerals of each session.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub async fn ephemerals(&self) -> Result<Vec<(SessionId, Vec<ZnodePath>)>, WriteError> {
        self.0.ephemerals().await
    }

    /// Says in the log and the metrics who else may take away what is here; in the background, and again if the
    /// connection is lost meanwhile.
    pub fn tell_exposure(&self) {
        let shared = Arc::clone(&self.0);
        let tell = async move {
            loop {
                tokio::select! {
                    exposure = shared.exposure() => if let Ok(exposure) = exposure {
                        exposure.tell();
                        return shared.metrics.exposed(&exposure);
                    },
                    () = shared.stop.cancelled() => return,
                }
                if shared.sleep(NOT_AGAIN).await.is_err() {
                    return;
                }
            }
        };
        self.0.keepers.spawn(tell.in_current_span());
    }

    /// Completes when the pool has ended by itself, and says why.
    pub async fn ended(&self) -> PoolEnd {
        let mut ended = self.0.ended.subscribe();
        match ended.wait_for(Option::is_some).await.map(|ended| ended.clone()) {
            Ok(Some(reason)) => reason,
            // The sender lives as long as we do.
            _ => std::future::pending().await,
        }
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

    /// Reserves room without opening a session.
    fn try_place(&self, path: &ZnodePath, limit: usize) -> Result<SessionId, Placement> {
        let slots = self.0.slots();
        let rooms: Vec<_> = slots.iter().map(|slot| slot.room()).collect();
        match place(cost(path, self.0.chroot()), &rooms, limit) {
            Placement::Into(index) => {
                let mut tenant = lock(&slots[index].tenant);
                tenant.budget.reserve(path, self.0.chroot());
                Ok(tenant.credentials.id)
            }
            placement => Err(placement),
        }
    }
}

impl Sessions for Pool {
    async fn place(&self, path: &ZnodePath) -> Result<SessionId, PlaceError> {
        let limit = self.0.config.limit;
        let full = || OverBudget { sessions: lock(&self.0.slots).len() };
        match self.try_place(path, limit) {
            Ok(session) => return Ok(session),
            Err(Placement::Nowhere) => return Err(full().into()),
            Err(_) => {}
        }
        let _one_at_a_time = self.0.opening.lock().await;
        // Somebody else may have opened one meanwhile.
        match self.try_place(path, limit) {
            Ok(session) => return Ok(session),
            Err(Placement::Nowhere) => return Err(full().into()),
            Err(_) => {}
        }
        let failed_lately = lock(&self.0.not_opened).is_some_and(|at| at.elapsed() < NOT_AGAIN);
        let mut reason = "it was tried a moment ago".to_owned();
        if !failed_lately {
            match tokio::time::timeout(OPEN_TIMEOUT, self.0.open_another()).await {
                Ok(Ok(())) => {}
                Ok(Err(error @ PoolError::Credentials(CredentialError::Conflict { .. }))) => {
                    // Somebody else believes that he leads.
                    reason = error.to_string();
                    self.0.end(PoolEnd::Failed(Arc::new(error)));
                }
                Ok(Err(error)) => reason = format!("{:#}", anyhow::Error::from(error)),
                Err(_) => {
                    reason = format!("no server took it within {OPEN_TIMEOUT:?}; is maxClientCnxns reached?");
                }
            }
        }
        // With a new session this finds room; without one, the others are stretched.
        match self.try_place(path, limit) {
            Ok(session) => return Ok(session),
            Err(Placement::Nowhere) => return Err(full().into()),
            Err(_) => {
                if !failed_lately {
                    tracing::warn!("cannot open another session: {reason}");
                    *lock(&self.0.not_opened) = Some(Instant::now());
                }
            }
        }
        let open = lock(&self.0.slots).len();
        self.try_place(path, open).map_err(|_| PlaceError::NotOpened(reason))
    }

    fn release(&self, session: SessionId, path: &ZnodePath) {
        self.0.release(session, path);
    }

    fn leaf_acl(&self) -> &[Acl] {
        &self.0.config.ensemble.acls.leaves
    }

    async fn ensure(&self, companion: &Companion) -> Result<Ensured, WriteError> {
        let session = self.0.first().await?;
        // First remembered: a connection that is lost meanwhile must bring it back.
        lock(&self.0.watched).insert(companion.path.clone());
        // Watched before it is read: no change goes unseen.
        session.add_watch(companion.path.as_str(), AddWatchMode::PersistentRecursive).await?;
        Ok(match self.0.ensure(&session, companion).await? {
            Found::Made => Ensured { wrote: true, names: Vec::new() },
            Found::Childless => Ensured::default(),
            Found::Filled => Ensured { wrote: false, names: self.0.list(&companion.path).await? },
        })
    }

    async fn stats(&self, session: SessionId, paths: &[ZnodePath]) -> Result<Vec<Option<Stat>>, WriteError> {
        let session = self.0.attached(session).await?;
        let reads = paths.iter().map(|path| session.exists(path.as_str()));
        Ok(futures::future::try_join_all(reads).await?)
    }

    async fn write(
        &self,
        session: SessionId,
        ops: Vec<WriteOp>,
        note: Option<Note>,
    ) -> Result<Vec<MultiResult>, WriteError> {
        let kinds = Kinds::of(&ops);
        let answer = self.multi(session, ops, note).await;
        self.0.metrics.written(&kinds, &answer);
        answer
    }
}

impl Pool {
    /// Sends ops behind a check of the fence and in front of their record.
    async fn multi(
        &self,
        session: SessionId,
        ops: Vec<WriteOp>,
        note: Option<Note>,
    ) -> Result<Vec<MultiResult>, WriteError> {
        let attached = self.0.attached(session).await?;
        let fence = lock(&self.0.fence).as_ref().map(Fence::check);
        let Some(check) = fence else { return Err(WriteError::Fenced) };
        let count = ops.len();
        let mut record = note.and_then(|note| self.0.record(note));
        loop {
            let kept = record.as_ref().map(|record| self.0.create(record));
            let all = std::iter::once(check.clone()).chain(ops.iter().cloned()).chain(kept).collect();
            match attached.multi(all).await {
                // The client has checked that each op has its result.
                Ok(results) => {
                    if let Some(record) = record {
                        self.0.recorded(&record, &attached);
                    }
                    return Ok(results.into_iter().skip(1).take(count).collect());
                }
                Err(RequestError::Multi(MultiFailure { index: 0, .. })) => return Err(WriteError::Fenced),
                Err(RequestError::Multi(MultiFailure { index, code, .. })) if index == count + 1 => {
                    // Nothing was carried out, for the record's sake only.
                    if let Some(refused) = record {
                        record = self.0.another(refused, code, &attached).await;
                    }
                }
                Err(RequestError::Multi(MultiFailure { index, code, .. })) => {
                    return Err(WriteError::Culprit { index: index - 1, code });
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl From<RequestError> for WriteError {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::NotSent(lost) => WriteError::NotSent(lost),
            RequestError::Unknown(lost) => WriteError::Unknown(lost),
            error => WriteError::Refused(error),
        }
    }
}
