//! Our own directories, created when they are needed.

use zk_client::{MultiFailure, RequestError, Session};
use zk_wire::acl::Acl;
use zk_wire::codes::{CreateMode, ErrorCode};
use zk_wire::multi::WriteOp;
use zk_wire::request::CreateRequest;

use crate::model::ZnodePath;

/// Creates a directory and those above it, with no data. It may exist already; then nothing is written. What is
/// missing is created in one transaction: whoever reads it later sees by the czxid that it came together.
///
/// # Errors
/// The server refused, or the connection was lost.
pub(super) async fn ensure(
    session: &Session,
    directory: &ZnodePath,
    acl: &[Acl],
    above: &[Acl],
) -> Result<(), RequestError> {
    if session.exists(directory.as_str()).await?.is_some() {
        return Ok(());
    }
    let mut missing = vec![directory.clone()];
    while let Some(top) = missing.last() {
        let creates = missing.iter().rev().map(|path| {
            let acl = if path == directory { acl } else { above };
            create(path, bytes::Bytes::new(), acl)
        });
        match session.multi(creates.collect()).await {
            Ok(_) => return Ok(()),
            Err(RequestError::Multi(MultiFailure { code: ErrorCode::NoNode, .. })) => match top.parent() {
                Some(parent) => missing.push(parent),
                None => return Err(RequestError::Refused(ErrorCode::NoNode)),
            },
            // Somebody else has made the uppermost meanwhile.
            Err(RequestError::Multi(MultiFailure { code: ErrorCode::NodeExists, .. })) => {
                missing.pop();
            }
            Err(RequestError::Multi(MultiFailure { code, .. })) => return Err(RequestError::Refused(code)),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The op that creates a persistent znode.
pub(super) fn create(path: &ZnodePath, data: bytes::Bytes, acl: &[Acl]) -> WriteOp {
    WriteOp::Create2(CreateRequest {
        path: path.to_string(),
        data: Some(data),
        acl: acl.to_vec(),
        mode: CreateMode::Persistent,
    })
}
