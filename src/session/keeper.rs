//! Keeps each session attached, and replaces one that has expired.
//!
//! A keeper ends only when the pool does. What it cannot mend ends the pool, and with it the process: a slot
//! without a keeper would take writes for ever and carry none out.

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::time::Instant;
use tracing::Instrument;
use zk_client::{
    AttachError, Connector, Credentials, Event, Events, Lost, Opening, Options, RequestError, Session,
    WatchSet,
};
use zk_wire::ids::Zxid;

use super::budget::Budget;
use super::credentials::CredentialError;
use super::ensemble::AttemptError;
use super::leadership::Leadership;
use super::pool::{PoolEnd, PoolError, PoolEvent};
use super::slots::{Shared, Slot, lock};
use crate::model::ZnodePath;

const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MOST: Duration = Duration::from_secs(5);
/// A connection that lasts so long is worth another at once.
const LASTING: Duration = Duration::from_secs(1);
/// The longest pause after one that did not last.
const PAUSE: Duration = Duration::from_millis(500);
/// The longest pause after one whose session somebody else has taken. He is not to be driven away: either he
/// leads, or he stops when he finds our fence.
const PAUSE_IF_TAKEN: Duration = Duration::from_millis(2_500);
/// One read or write of the credentials.
const STORE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a session that replaces an expired one waits for its credentials to be kept. Its predecessor's
/// znodes are gone already; beyond this the consumers' view counts for more than the next restart's.
const SAVE_BEFORE_USE: Duration = Duration::from_secs(2);

/// So many attempts without an answer may be servers that are a little behind.
const UNANSWERED: u32 = 5;

fn delays() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(RETRY_FIRST)
        .with_max_delay(RETRY_MOST)
        .without_max_times()
        .with_jitter()
        .build()
}

impl Shared {
    /// Attaches, for as long as it takes; `None` if the session has expired. Who is not believed tries again, too:
    /// the files with our passwords and keys may be late, and what cannot be had here is no reason to end.
    pub(super) async fn attach(
        &self,
        connector: &mut Connector,
        opening: &Opening,
    ) -> Result<Option<(Session, Events)>, PoolError> {
        let mut opening = opening.clone();
        let mut delays = delays();
        let mut unanswered = 0;
        let began = Instant::now();
        loop {
            let error = tokio::select! {
                attempt = self.try_attach(connector, &opening) => match attempt {
                    Ok(attached) => return Ok(Some(attached)),
                    Err(AttemptError::Attach(AttachError::Expired(_))) => return Ok(None),
                    Err(error) => error,
                },
                () = self.stop.cancelled() => return Err(self.stopped()),
            };
            let is_unanswered =
                matches!(error, AttemptError::Attach(AttachError::Lost(Lost::Unanswered { .. })));
            unanswered += u32::from(is_unanswered);
            if let (Opening::Resume(credentials, _), UNANSWERED) = (&mut opening, unanswered) {
                // A server that is behind what the session has seen does not answer, but the ensemble's data
                // may have been replaced too. Whatever is read after an attach is read behind a `sync`.
                credentials.last_zxid = Zxid::ZERO;
            }
            self.metrics.attach_failures.inc();
            if self.is_useless_since(began) {
                return Err(PoolError::Unreachable(began.elapsed()));
            }
            let delay = delays.next().unwrap_or(RETRY_MOST);
            tracing::warn!(?delay, "cannot attach to ZooKeeper, trying again: {error}");
            self.sleep(delay).await?;
        }
    }

    /// A leader that has lost all its sessions for half the session timeout is in the way of one that could
    /// resume them. One that begins waits for as long as it takes: were ZooKeeper away, all replicas would end
    /// again and again.
    fn is_useless_since(&self, began: Instant) -> bool {
        let is_replica = matches!(self.leadership, Leadership::Lease(_));
        let slots = self.slots();
        is_replica
            && began.elapsed() > self.config.ensemble.session_timeout / 2
            && !slots.is_empty()
            && !slots.iter().any(|slot| slot.session.borrow().is_some())
    }

    async fn try_attach(
        &self,
        connector: &mut Connector,
        opening: &Opening,
    ) -> Result<(Session, Events), AttemptError> {
        let permit = self.leadership.permit();
        self.config.ensemble.attach(connector, permit, opening.clone(), Options::default()).await
    }

    pub(super) async fn sleep(&self, delay: Duration) -> Result<(), PoolError> {
        tokio::select! {
            () = tokio::time::sleep(delay) => Ok(()),
            () = self.stop.cancelled() => Err(self.stopped()),
        }
    }

    /// Takes a session into the pool, and keeps it attached from now on.
    pub(super) fn keep(self: &Arc<Self>, session: Session, events: Events, connector: Connector) {
        lock(&self.ever).insert(session.credentials().id);
        let slot = Arc::new(Slot::new(session));
        lock(&self.slots).push(Arc::clone(&slot));
        let shared = Arc::clone(self);
        let keeping = async move {
            shared.keeper(&slot, events, connector).await;
            slot.session.send_replace(None);
        };
        self.keepers.spawn(keeping.in_current_span());
    }

    /// Forwards events until the connection is lost, then attaches again; for ever.
    async fn keeper(self: &Arc<Self>, slot: &Arc<Slot>, mut events: Events, mut connector: Connector) {
        let mut delay = RETRY_FIRST;
        loop {
            let attached_at = Instant::now();
            let again = async {
                self.forward(&mut events).await?;
                let Some(session) = slot.session.send_replace(None) else { return Err(self.stopped()) };
                let (credentials, lost) = (session.credentials(), session.lost().await);
                drop(session);
                self.metrics.losses.inc();
                self.metrics.moves.inc_by(u64::from(lost == Lost::Moved));
                tracing::warn!(session = %credentials.id, "connection lost: {lost}");
                let longest = if lost == Lost::Moved { PAUSE_IF_TAKEN } else { PAUSE };
                let lasted = lost != Lost::Moved && attached_at.elapsed() > LASTING;
                delay = if lasted { RETRY_FIRST } else { (delay * 2).min(longest) };
                self.sleep(delay).await?;
                self.attach_again(slot, credentials, &mut connector).await
            };
            match again.await {
                Ok(attached) => events = attached,
                Err(PoolError::Stopped | PoolError::Fenced) => return,
                Err(error) => return self.end(PoolEnd::Failed(Arc::new(error))),
            }
        }
    }

    /// Events wait in the client when the bridge is slow, and there become one that says so.
    async fn forward(&self, events: &mut Events) -> Result<(), PoolError> {
        loop {
            let event = tokio::select! {
                event = events.recv() => event,
                () = self.stop.cancelled() => return Err(self.stopped()),
            };
            match event {
                Some(Event::Watch(event)) => self.tell(PoolEvent::Watch(event)).await?,
                Some(Event::Overflow) => self.tell(PoolEvent::Gap).await?,
                None => return Ok(()),
            }
        }
    }

    async fn tell(&self, event: PoolEvent) -> Result<(), PoolError> {
        tokio::select! {
            sent = self.events.send(event) => sent.map_err(|_| self.stopped()),
            () = self.stop.cancelled() => Err(self.stopped()),
        }
    }

    async fn attach_again(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        credentials: Credentials,
        connector: &mut Connector,
    ) -> Result<Events, PoolError> {
        let id = credentials.id;
        let opening = Opening::Resume(credentials, self.watches(slot));
        let Some((session, events)) = self.attach(connector, &opening).await? else {
            self.metrics.expiries.inc();
            tracing::error!(session = %id, "session expired; its znodes are gone and are published again");
            return self.replace(slot, connector).await;
        };
        self.stand_back_if_fenced(&session).await?;
        let session = Arc::new(session);
        slot.session.send_replace(Some(Arc::clone(&session)));
        self.metrics.resumes.inc();
        tracing::info!(session = %id, "session resumed");
        self.tell(PoolEvent::Resumed(id)).await?;
        if self.is_first(slot) {
            // Persistent watches do not report what happened while they were away.
            self.tell(PoolEvent::Gap).await?;
        }
        Ok(events)
    }

    /// A new session in the place of one that has expired.
    async fn replace(
        self: &Arc<Self>,
        slot: &Arc<Slot>,
        connector: &mut Connector,
    ) -> Result<Events, PoolError> {
        let expired = slot.id();
        let (session, events) = loop {
            // A new session that expires before it was there is no session; the next one may be.
            if let Some(attached) = self.attach(connector, &self.config.ensemble.new_session()).await? {
                break attached;
            }
            self.sleep(RETRY_FIRST).await?;
        };
        self.stand_back_if_fenced(&session).await?;
        lock(&self.ever).insert(session.credentials().id);
        {
            let mut tenant = lock(&slot.tenant);
            tenant.credentials = session.credentials();
            tenant.budget = Budget::default();
        }
        let saving = {
            let shared = Arc::clone(self);
            async move {
                match shared.save().await {
                    Ok(()) | Err(PoolError::Stopped | PoolError::Fenced) => {}
                    Err(error) => shared.end(PoolEnd::Failed(Arc::new(error))),
                }
            }
        };
        let saving = tokio::spawn(saving.in_current_span());
        if tokio::time::timeout(SAVE_BEFORE_USE, saving).await.is_err() {
            tracing::warn!(session = %session.credentials().id, "using a session whose credentials are not kept yet");
        }
        self.tell_of(&session).await;
        let session = Arc::new(session);
        slot.session.send_replace(Some(Arc::clone(&session)));
        self.tell(PoolEvent::Expired(expired)).await?;
        self.watch_again(&session, slot).await;
        if self.is_first(slot) {
            self.tell(PoolEvent::Gap).await?;
        }
        Ok(events)
    }

    /// Sets the watches of a session that is new. One that cannot be set means that the connection is lost,
    /// and then the next attach sets it.
    async fn watch_again(&self, session: &Session, slot: &Arc<Slot>) {
        if let Err(error) = session.restore_watches(&self.watches(slot)).await {
            tracing::warn!("cannot watch: {error}");
        }
    }

    /// The first session has all watches.
    fn watches(&self, slot: &Arc<Slot>) -> WatchSet {
        if !self.is_first(slot) {
            return WatchSet::default();
        }
        let paths = lock(&self.watched).iter().map(|path: &ZnodePath| path.as_str().to_owned()).collect();
        WatchSet { persistent_recursive: paths, ..WatchSet::default() }
    }

    /// Is our fence gone? Then another process leads, and this one must not hold on to the sessions. Before
    /// the fence is set up, and while nobody can tell, it is not.
    async fn stand_back_if_fenced(&self, session: &Session) -> Result<(), PoolError> {
        let fence = lock(&self.fence).clone();
        let Some(fence) = fence else { return Ok(()) };
        if session.sync(fence.path()).await.is_ok() && matches!(session.exists(fence.path()).await, Ok(None))
        {
            tracing::error!("another process has taken over; letting go of the sessions");
            self.end(PoolEnd::Fenced);
            return Err(PoolError::Fenced);
        }
        Ok(())
    }

    /// Credentials are kept before the session holds its first ephemeral.
    pub(super) async fn open_another(self: &Arc<Self>) -> Result<(), PoolError> {
        let mut connector = self.config.ensemble.connector(lock(&self.slots).len());
        let Some((session, events)) =
            self.attach(&mut connector, &self.config.ensemble.new_session()).await?
        else {
            let source = RequestError::NotSent(Lost::Closed);
            return Err(PoolError::Refused { what: "open a session", source });
        };
        let saving = self.saving.lock().await;
        let mut sessions = self.credentials();
        sessions.push(session.credentials());
        tokio::time::timeout(STORE_TIMEOUT, self.store.save(&sessions))
            .await
            .map_err(|_| PoolError::Credentials(CredentialError::Timeout))??;
        tracing::info!(session = %session.credentials().id, sessions = sessions.len(), "session opened");
        self.tell_of(&session).await;
        self.keep(session, events, connector);
        // Whoever saves next must see it.
        drop(saving);
        Ok(())
    }

    /// Keeps the credentials of all sessions as they are now, for as long as it takes.
    ///
    /// # Errors
    /// Somebody else has written them: another process believes that it leads. Or the pool has ended.
    pub(super) async fn save(&self) -> Result<(), PoolError> {
        let _one_at_a_time = self.saving.lock().await;
        self.ask_store(|| async { self.store.save(&self.credentials()).await }).await
    }

    /// Reads the credentials that the last leader has kept, for as long as it takes.
    ///
    /// # Errors
    /// What is kept is not ours, or the pool has ended.
    pub(super) async fn load(&self) -> Result<Vec<Credentials>, PoolError> {
        self.ask_store(|| self.store.load()).await
    }

    /// Asks again as long as the store cannot be reached.
    async fn ask_store<T, F>(&self, ask: impl Fn() -> F) -> Result<T, PoolError>
    where
        F: Future<Output = Result<T, CredentialError>>,
    {
        let mut delays = delays();
        loop {
            let error = tokio::select! {
                answer = tokio::time::timeout(STORE_TIMEOUT, ask()) => {
                    match answer.unwrap_or(Err(CredentialError::Timeout)) {
                        Ok(answer) => return Ok(answer),
                        Err(error @ (CredentialError::Api { .. } | CredentialError::Timeout)) => error,
                        Err(error) => return Err(error.into()),
                    }
                }
                () = self.stop.cancelled() => return Err(self.stopped()),
            };
            let delay = delays.next().unwrap_or(RETRY_MOST);
            tracing::warn!(?delay, "trying again: {error}");
            self.sleep(delay).await?;
        }
    }

    fn credentials(&self) -> Vec<Credentials> {
        lock(&self.slots).iter().map(|slot| lock(&slot.tenant).credentials.clone()).collect()
    }
}
