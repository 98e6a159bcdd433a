//! Persistent znodes beside the leaves: made when they are needed, with what they must hold, and never deleted.

use zk_client::{RequestError, Session};
use zk_wire::acl::Acl;
use zk_wire::codes::{CreateMode, ErrorCode};

use super::directories;
use crate::model::{Companion, Holds};

/// Makes sure of one, and tells whether there may be something in it, if it is a directory. Where it is as it must be,
/// nothing is written. It gets the ACL of directories, as those who register themselves must be able to write it too.
///
/// # Errors
/// The server refused, or the connection was lost.
pub(super) async fn ensure(
    session: &Session,
    companion: &Companion,
    acl: &[Acl],
) -> Result<bool, RequestError> {
    let Companion { path, holds } = companion;
    if *holds == Holds::Anything {
        return directories::ensure(session, path, acl, acl).await;
    }
    // Each further turn is somebody else's write.
    loop {
        let written = match session.get(path.as_str()).await? {
            Some((found, stat)) => {
                let Some(data) = holds.instead_of(&found) else { return Ok(false) };
                session.set(path.as_str(), data, stat.version).await.map(drop)
            }
            None => {
                if let Some(parent) = path.parent() {
                    directories::ensure(session, &parent, acl, acl).await?;
                }
                let data = holds.initial();
                session.create(path.as_str(), data, acl.to_vec(), CreateMode::Persistent).await.map(drop)
            }
        };
        match written {
            Ok(()) => return Ok(false),
            Err(RequestError::Refused(ErrorCode::BadVersion | ErrorCode::NodeExists | ErrorCode::NoNode)) => {
                session.sync(path.as_str()).await?
            }
            Err(error) => return Err(error),
        }
    }
}
