//! The fence: a persistent znode whose name no other leader can know in advance.
//!
//! Take-over deletes the old name and creates a new one in one transaction; every write begins with a check
//! of the name that its writer knows. An ex-leader's writes then fail as a whole, however late they arrive.

use uuid::Uuid;
use zk_client::{RequestError, Session};
use zk_wire::codes::{CreateMode, ErrorCode};
use zk_wire::multi::WriteOp;
use zk_wire::request::{CheckVersionRequest, CreateRequest, DeleteRequest, Request, SetAclRequest};

use super::acls::Acls;
use super::directories;
use crate::model::ZnodePath;

/// The leader's fence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fence(ZnodePath);

/// Take-overs that may race before this one gives up.
const ATTEMPTS: usize = 10;

impl Fence {
    /// Takes over: removes the fences of earlier leaders, sets up a new one, and waits until this server
    /// has applied everything that came before. Whoever may delete in the directory may remove a fence, so its ACL is
    /// made what the configuration says, as far as we may.
    ///
    /// # Errors
    /// The server refused, the connection was lost, or other leaders kept interfering.
    pub(super) async fn take_over(
        session: &Session,
        directory: &ZnodePath,
        acls: &Acls,
    ) -> Result<Fence, RequestError> {
        directories::ensure(session, directory, &acls.own, &acls.parents).await?;
        let acl = SetAclRequest { path: directory.to_string(), acl: acls.own.clone(), version: -1 };
        match session.request(Request::SetAcl(acl)).await {
            Err(RequestError::Refused(ErrorCode::NoAuth)) => tracing::warn!(
                %directory, "the directory of the fence belongs to somebody else, or to who we were before"
            ),
            set => drop(set?),
        }
        let mut last = RequestError::Refused(ErrorCode::NoNode);
        for _ in 0..ATTEMPTS {
            let (olds, _) = session.children(directory.as_str()).await?.unwrap_or_default();
            let path = format!("{directory}/{}", Uuid::new_v4());
            let mut ops: Vec<_> = olds
                .iter()
                .map(|old| WriteOp::Delete(DeleteRequest { path: format!("{directory}/{old}"), version: -1 }))
                .collect();
            ops.push(WriteOp::Create(CreateRequest {
                path: path.clone(),
                data: Some(bytes::Bytes::new()),
                acl: acls.own.clone(),
                mode: CreateMode::Persistent,
            }));
            match session.multi(ops).await {
                Ok(_) => {
                    session.sync(directory.as_str()).await?;
                    // The directory is valid and so is a UUID.
                    return ZnodePath::new(&path)
                        .map(Fence)
                        .map_err(|reason| RequestError::Path { path, reason });
                }
                // Another leader was faster; the next attempt removes its fence.
                Err(error @ RequestError::Multi(_)) if error.code() == Some(ErrorCode::NoNode) => {
                    last = error
                }
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    /// The znode.
    #[must_use]
    pub(super) fn path(&self) -> &str {
        self.0.as_str()
    }

    /// The op that every write begins with.
    #[must_use]
    pub(super) fn check(&self) -> WriteOp {
        WriteOp::Check(CheckVersionRequest { path: self.0.as_str().to_owned(), version: 0 })
    }
}
