//! Persistent directories, created when they are needed and never deleted: consumers watch them.

use zk_client::{RequestError, Session};
use zk_wire::acl::Acl;
use zk_wire::codes::{CreateMode, ErrorCode};

use crate::model::ZnodePath;

/// Creates a directory and those above it, with no data. It may exist already; then nothing is written. Tells whether
/// there may be something in it.
///
/// # Errors
/// The server refused, or the connection was lost.
pub(super) async fn ensure(
    session: &Session,
    directory: &ZnodePath,
    acl: &[Acl],
    above: &[Acl],
) -> Result<bool, RequestError> {
    if let Some(stat) = session.exists(directory.as_str()).await? {
        return Ok(stat.num_children > 0);
    }
    let mut may_hold = false;
    let mut missing = vec![(directory.clone(), acl)];
    while let Some((path, acl)) = missing.last().cloned() {
        let created = session.create(path.as_str(), "", acl.to_vec(), CreateMode::Persistent).await;
        match (created, path.parent()) {
            (Err(RequestError::Refused(ErrorCode::NoNode)), Some(parent)) => {
                missing.push((parent, above));
            }
            (created @ (Ok(_) | Err(RequestError::Refused(ErrorCode::NodeExists))), _) => {
                // Of the last one that is the answer: somebody else may have been faster.
                may_hold = created.is_err();
                missing.pop();
            }
            (Err(error), _) => return Err(error),
        }
    }
    Ok(may_hold)
}
