//! Lists directories, through a connection that does nothing else.
//!
//! Others fill directories as they like, and an answer that is longer than a connection takes ends it. Here that is
//! nobody's connection but the lister's, so it holds up no write, no watch and no other list.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, RwLock};
use zk_client::{Lost, Options, RequestError, Session};

use super::pool::WriteError;
use super::slots::Shared;
use crate::model::ZnodePath;

/// The lister's connection.
#[derive(Debug, Default)]
pub(super) struct Lister {
    /// Its session holds nothing.
    session: Mutex<Option<Arc<Session>>>,
    /// Taken by whoever must know that no list but his own can have ended the connection.
    alone: RwLock<()>,
}

/// No longer list is read. Java's clients take 1 MiB unless told otherwise.
const MOST_BYTES: usize = 16 << 20;
const ATTACH_TIMEOUT: Duration = Duration::from_secs(5);

impl Shared {
    /// The names of what is in a directory, behind everything that was committed when it was asked for.
    ///
    /// # Errors
    /// See [`WriteError`]. A list that is too long is refused.
    pub(super) async fn list(self: &Arc<Self>, directory: &ZnodePath) -> Result<Vec<String>, WriteError> {
        {
            let _with_others = self.lister.alone.read().await;
            match self.try_list(directory).await {
                Err(WriteError::NotSent(_) | WriteError::Unknown(_)) => {}
                answer => return answer,
            }
        }
        // The connection had been lost before, or was for this list or another one.
        let _alone = self.lister.alone.write().await;
        match self.try_list(directory).await {
            Err(WriteError::Unknown(lost @ Lost::Protocol(_))) => {
                Err(WriteError::Refused(RequestError::Unknown(lost)))
            }
            answer => answer,
        }
    }

    async fn try_list(self: &Arc<Self>, directory: &ZnodePath) -> Result<Vec<String>, WriteError> {
        let session = self.lister_session().await?;
        let listing = async {
            session.sync(directory.as_str()).await?;
            session.children(directory.as_str()).await
        };
        match listing.await {
            Ok(found) => Ok(found.map(|(names, _)| names).unwrap_or_default()),
            Err(error) => {
                if error.code().is_none() {
                    self.forget_lister(&session).await;
                }
                Err(error.into())
            }
        }
    }

    async fn lister_session(self: &Arc<Self>) -> Result<Arc<Session>, WriteError> {
        let mut place = self.lister.session.lock().await;
        if let Some(session) = &*place {
            return Ok(Arc::clone(session));
        }
        let ensemble = &self.config.ensemble;
        let mut connector = ensemble.connector(0);
        let options = Options { max_frame: MOST_BYTES, ..Options::default() };
        let attaching =
            ensemble.attach(&mut connector, self.leadership.permit(), ensemble.new_session(), options);
        let attached = tokio::select! {
            attached = tokio::time::timeout(ATTACH_TIMEOUT, attaching) => attached,
            () = self.stop.cancelled() => return Err(WriteError::NotSent(Lost::Detached)),
        };
        let (session, mut events) = match attached {
            Ok(Ok(attached)) => attached,
            Ok(Err(error)) => {
                tracing::warn!("cannot attach to list directories: {error}");
                return Err(WriteError::NotSent(Lost::Detached));
            }
            Err(_) => return Err(WriteError::NotSent(Lost::Silent)),
        };
        let session = Arc::new(session);
        *place = Some(Arc::clone(&session));
        let (shared, attached) = (Arc::clone(self), Arc::clone(&session));
        self.keepers.spawn(async move {
            let ended = async { while events.recv().await.is_some() {} };
            tokio::select! {
                () = ended => {}
                () = shared.stop.cancelled() => {}
            }
            shared.forget_lister(&attached).await;
        });
        Ok(session)
    }

    async fn forget_lister(&self, session: &Arc<Session>) {
        let mut place = self.lister.session.lock().await;
        if place.as_ref().is_some_and(|it| Arc::ptr_eq(it, session)) {
            *place = None;
        }
    }
}
