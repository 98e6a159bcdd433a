//! Which sessions live: each has an ephemeral of its own name below our own path. Nothing depends on it but whoever
//! cleans up behind a bridge, and may not have its Secret.

use zk_client::{RequestError, Session};
use zk_wire::codes::{CreateMode, ErrorCode};
use zk_wire::ids::SessionId;
use zk_wire::multi::WriteOp;
use zk_wire::request::CreateRequest;
use zk_wire::stat::Stat;

use super::directories;
use super::fence::Fence;
use super::slots::{Shared, lock};

impl Shared {
    /// Tells that this session is ours.
    pub(super) async fn tell_of(&self, session: &Session) {
        if let Err(error) = self.try_tell_of(session).await {
            let id = session.credentials().id;
            tracing::warn!(session = %id, "whoever cleans up cannot see that a session lives: {error}");
        }
    }

    async fn try_tell_of(&self, session: &Session) -> Result<(), RequestError> {
        let directory = &self.config.own.sessions;
        let path = format!("{directory}/{}", session.credentials().id);
        // Before there is a fence, whoever sets it up will.
        let Some(check) = lock(&self.fence).as_ref().map(Fence::check) else { return Ok(()) };
        if session.exists(&path).await?.is_some() {
            return Ok(());
        }
        let acls = &self.config.ensemble.acls;
        directories::ensure(session, directory, &acls.own, &acls.parents).await?;
        let create = WriteOp::Create2(CreateRequest {
            path,
            data: Some(bytes::Bytes::new()),
            acl: acls.own.clone(),
            mode: CreateMode::Ephemeral,
        });
        match session.multi(vec![check, create]).await {
            Err(error @ RequestError::Multi(_)) if error.code() != Some(ErrorCode::NodeExists) => Err(error),
            Ok(_) | Err(RequestError::Multi(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// The session that a znode of the directory tells of: nobody but the session itself can have made it.
pub(super) fn member(name: &str, stat: &Stat) -> Option<SessionId> {
    let id = stat.ephemeral_owner;
    (id != SessionId::NONE && id.to_string() == name).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_session_itself_tells_that_it_lives() {
        let id = SessionId(0x1_0000_0000_0001);
        let stat = Stat { ephemeral_owner: id, ..Stat::default() };
        assert_eq!(member(&id.to_string(), &stat), Some(id));
        assert_eq!(member(&SessionId(7).to_string(), &stat), None);
        assert_eq!(member(&SessionId::NONE.to_string(), &Stat::default()), None);
    }
}
