//! From the credentials that the last leader kept to a pool that leads.

use std::sync::Arc;
use std::time::Duration;

use zk_client::{Opening, RequestError, Session, WatchSet};
use zk_wire::codes::ErrorCode;
use zk_wire::ids::SessionId;

use super::fence::Fence;
use super::owned::{Inherited, Owned};
use super::pool::{PoolError, WriteError};
use super::slots::{Shared, lock};
use crate::model::ZnodePath;

const RETRY: Duration = Duration::from_millis(200);

impl Shared {
    /// Resumes what can be resumed, keeps the credentials, and takes the fence over. The credentials are read
    /// when this process leads: before, the leader may still change them.
    pub(super) async fn start(self: &Arc<Self>) -> Result<Inherited, PoolError> {
        self.leadership.acquired().await;
        let kept = self.load().await?;
        lock(&self.ever).extend(kept.iter().map(|credentials| credentials.id));
        let resuming = kept.into_iter().enumerate().map(|(index, credentials)| async move {
            let id = credentials.id;
            let mut connector = self.config.ensemble.connector(index);
            let opening = Opening::Resume(credentials, WatchSet::default());
            let attached = self.attach(&mut connector, &opening).await?;
            if attached.is_none() {
                tracing::info!(session = %id, "the session of the last leader has expired");
            }
            Ok::<_, PoolError>(attached.map(|(session, events)| (session, events, connector)))
        });
        let attached: Vec<_> = futures::future::try_join_all(resuming).await?.into_iter().flatten().collect();
        let resumed = attached.len();
        for (session, events, connector) in attached {
            self.keep(session, events, connector);
        }
        while self.slots().is_empty() {
            let mut connector = self.config.ensemble.connector(0);
            if let Some((session, events)) =
                self.attach(&mut connector, &self.config.ensemble.new_session()).await?
            {
                self.keep(session, events, connector);
            }
        }
        self.save().await?;
        let inherited = self.take_over().await?;
        let sessions = self.slots().len();
        tracing::info!(sessions, resumed, znodes = inherited.len(), "sessions attached");
        Ok(inherited)
    }

    /// Sets the fence up, then reads what the resumed sessions hold; for as long as it takes.
    async fn take_over(&self) -> Result<Inherited, PoolError> {
        loop {
            // Of an attempt that was cut off nobody knows which fence is there.
            *lock(&self.fence) = None;
            match self.try_take_over().await {
                Ok(inherited) => return Ok(inherited),
                Err(TakeOverError::Lost(what)) => {
                    tracing::warn!("the connection was lost, trying again to {what}");
                    self.sleep(RETRY).await?;
                }
                Err(TakeOverError::Refused(error)) => return Err(error),
            }
        }
    }

    async fn try_take_over(&self) -> Result<Inherited, TakeOverError> {
        let what = "set up the fence";
        let first = self.first().await.map_err(|_| TakeOverError::Lost(what))?;
        let acls = &self.config.ensemble.acls;
        let fence = Fence::take_over(&first, &self.config.own.fence, acls).await.map_err(failed(what))?;
        *lock(&self.fence) = Some(fence);
        let what = "list the records of the history";
        self.load_history(&first).await.map_err(failed(what))?;
        let what = "list the sessions' ephemerals (servers before 3.6 cannot)";
        let mut inherited = Inherited::new();
        for (session, paths) in self.ephemerals().await.map_err(|error| TakeOverError::of(error, what))? {
            let attached = self.attached(session).await.map_err(|error| TakeOverError::of(error, what))?;
            self.tell_of(&attached).await;
            let what = "read a session's ephemerals";
            let reads = paths.iter().map(|path| read(&attached, path));
            let found = futures::future::try_join_all(reads).await.map_err(failed(what))?;
            for (path, owned) in paths.into_iter().zip(found) {
                if let Some(owned) = owned {
                    self.reserve(session, &path);
                    inherited.insert(path, owned);
                }
            }
        }
        Ok(inherited)
    }

    /// All leaves of all sessions, behind everything that any server had committed when it was asked.
    pub(super) async fn ephemerals(&self) -> Result<Vec<(SessionId, Vec<ZnodePath>)>, WriteError> {
        let listings = self.slots().into_iter().map(|slot| async move {
            let session = self.wait(&slot).await?;
            session.sync("/").await?;
            let paths = session.ephemerals("/").await?;
            // What is not a path of ours is nothing that we have created; and what tells of the session is no leaf.
            let paths = paths.iter().filter_map(|path| ZnodePath::new(path).ok());
            let leaves = paths.filter(|path| !path.is_below(&self.config.own.root)).collect();
            Ok((session.credentials().id, leaves))
        });
        futures::future::try_join_all(listings).await
    }
}

/// An ephemeral with its data, as far as we may read it; `None` if there is no znode.
pub(super) async fn read(session: &Session, path: &ZnodePath) -> Result<Option<Owned>, RequestError> {
    match session.get(path.as_str()).await {
        Ok(read) => Ok(read.map(|(data, stat)| Owned::new(&stat, Some(&data)))),
        Err(RequestError::Refused(ErrorCode::NoAuth)) => {
            let stat = session.exists(path.as_str()).await?;
            Ok(stat.map(|stat| Owned::new(&stat, None)))
        }
        Err(error) => Err(error),
    }
}

enum TakeOverError {
    Lost(&'static str),
    Refused(PoolError),
}

impl TakeOverError {
    fn of(error: WriteError, what: &'static str) -> Self {
        match error {
            WriteError::Refused(source) => failed(what)(source),
            _ => TakeOverError::Lost(what),
        }
    }
}

fn failed(what: &'static str) -> impl Fn(RequestError) -> TakeOverError {
    move |source| match source {
        RequestError::NotSent(_) | RequestError::Unknown(_) => TakeOverError::Lost(what),
        source => TakeOverError::Refused(PoolError::Refused { what, source }),
    }
}
