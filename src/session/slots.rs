//! What the pool's tasks share: the sessions, each in its place.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use zk_client::{Credentials, Lost, Session};
use zk_wire::ids::SessionId;

use super::budget::{Budget, Room};
use super::credentials::CredentialStore;
use super::fence::Fence;
use super::history::Index;
use super::leadership::Leadership;
use super::lister::Lister;
use super::metrics::SessionMetrics;
use super::pool::{PoolConfig, PoolEnd, PoolError, PoolEvent, WriteError};
use crate::model::ZnodePath;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: PoolConfig,
    pub(super) store: CredentialStore,
    pub(super) leadership: Leadership,
    pub(super) metrics: SessionMetrics,
    pub(super) fence: Mutex<Option<Fence>>,
    /// Records of what was written; `None` if none are kept.
    pub(super) history: Mutex<Option<Index>>,
    pub(super) slots: Mutex<Vec<Arc<Slot>>>,
    /// Held while a session is opened, so that two placements open one.
    pub(super) opening: tokio::sync::Mutex<()>,
    /// When a session could not be opened last.
    pub(super) not_opened: Mutex<Option<Instant>>,
    /// Held while credentials are saved, so that none are overwritten with older ones.
    pub(super) saving: tokio::sync::Mutex<()>,
    pub(super) watched: Mutex<BTreeSet<ZnodePath>>,
    pub(super) lister: Lister,
    /// Every session that the pool has or had.
    pub(super) ever: Mutex<BTreeSet<SessionId>>,
    pub(super) events: mpsc::Sender<PoolEvent>,
    /// Why the pool ended by itself.
    pub(super) ended: watch::Sender<Option<PoolEnd>>,
    pub(super) stop: CancellationToken,
    pub(super) keepers: TaskTracker,
}

/// One session's place in the pool. When the session expires, a new one takes the place.
#[derive(Debug)]
pub(super) struct Slot {
    /// The session that has the place, and what it holds; changed together.
    pub(super) tenant: Mutex<Tenant>,
    /// The session while it is attached.
    pub(super) session: watch::Sender<Option<Arc<Session>>>,
}

#[derive(Debug)]
pub(super) struct Tenant {
    pub(super) credentials: Credentials,
    pub(super) budget: Budget,
}

/// How long a request waits for its session to be attached. Longer, and one session that is away would hold
/// up the changes of others.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Slot {
    pub(super) fn new(session: Session) -> Self {
        let tenant = Tenant { credentials: session.credentials(), budget: Budget::default() };
        let (session, _) = watch::channel(Some(Arc::new(session)));
        Slot { tenant: Mutex::new(tenant), session }
    }

    pub(super) fn id(&self) -> SessionId {
        lock(&self.tenant).credentials.id
    }

    pub(super) fn room(&self) -> Room {
        Room { used: lock(&self.tenant).budget.used(), attached: self.session.borrow().is_some() }
    }
}

impl Shared {
    /// Ends the pool by itself. The first reason counts.
    pub(super) fn end(&self, reason: PoolEnd) {
        self.ended.send_if_modified(|ended| {
            let is_first = ended.is_none();
            ended.get_or_insert(reason);
            is_first
        });
        self.stop.cancel();
    }

    /// Why there will be no session any more.
    pub(super) fn stopped(&self) -> PoolError {
        match &*self.ended.borrow() {
            Some(PoolEnd::Fenced) => PoolError::Fenced,
            _ => PoolError::Stopped,
        }
    }

    pub(super) fn slots(&self) -> Vec<Arc<Slot>> {
        lock(&self.slots).clone()
    }

    pub(super) fn slot(&self, session: SessionId) -> Option<Arc<Slot>> {
        lock(&self.slots).iter().find(|slot| slot.id() == session).cloned()
    }

    pub(super) fn is_attached(&self, session: SessionId) -> bool {
        self.slot(session).is_some_and(|slot| slot.session.borrow().is_some())
    }

    /// Bytes that the server has in front of each path.
    pub(super) fn chroot(&self) -> usize {
        self.config.ensemble.connect.chroot().len()
    }

    pub(super) fn reserve(&self, session: SessionId, path: &ZnodePath) {
        if let Some(slot) = self.slot(session) {
            lock(&slot.tenant).budget.reserve(path, self.chroot());
        }
    }

    pub(super) fn release(&self, session: SessionId, path: &ZnodePath) {
        if let Some(slot) = self.slot(session) {
            lock(&slot.tenant).budget.release(path, self.chroot());
        }
    }

    /// The session, if it is attached or will be soon.
    pub(super) async fn attached(&self, id: SessionId) -> Result<Arc<Session>, WriteError> {
        let slot = self.slot(id).ok_or(WriteError::Expired(id))?;
        let session = self.wait(&slot).await?;
        if session.credentials().id == id { Ok(session) } else { Err(WriteError::Expired(id)) }
    }

    /// The session that has the watches. Directories are made and unspecific reads are done through it.
    pub(super) async fn first(&self) -> Result<Arc<Session>, WriteError> {
        let first = lock(&self.slots).first().cloned().ok_or(WriteError::NotSent(Lost::Detached))?;
        self.wait(&first).await
    }

    pub(super) async fn wait(&self, slot: &Slot) -> Result<Arc<Session>, WriteError> {
        let mut session = slot.session.subscribe();
        let attached = tokio::select! {
            attached = session.wait_for(Option::is_some) => attached.ok().and_then(|session| session.clone()),
            () = tokio::time::sleep(PATIENCE) => None,
            () = self.stop.cancelled() => None,
        };
        attached.ok_or(WriteError::NotSent(Lost::Detached))
    }

    /// The first session has all watches.
    pub(super) fn is_first(&self, slot: &Arc<Slot>) -> bool {
        lock(&self.slots).first().is_some_and(|first| Arc::ptr_eq(first, slot))
    }
}
