//! Persistent znodes beside the leaves: made when they are needed, with what they must hold, and recorded. No bridge
//! deletes them, since consumers watch them; only `gc` and `uninstall` do.

use bytes::Bytes;
use zk_client::{RequestError, Session};
use zk_wire::codes::ErrorCode;
use zk_wire::multi::WriteOp;
use zk_wire::request::SetDataRequest;

use super::created::Record;
use super::directories;
use super::pool::WriteError;
use super::slots::Shared;
use crate::model::{Companion, Holds, ZnodePath};

/// How a companion was found.
pub(super) enum Found {
    /// Not as it must be; it is now, and nothing is in it.
    Made,
    /// As it must be, and no directory with something in it.
    Childless,
    /// A directory with something in it.
    Filled,
}

impl Shared {
    /// Makes sure of one. Where it is as it must be, nothing is written. It gets the ACL of directories, as those who
    /// register themselves must be able to write it too.
    pub(super) async fn ensure(&self, session: &Session, companion: &Companion) -> Result<Found, WriteError> {
        let Companion { path, holds } = companion;
        let acl = &self.config.ensemble.acls.parents;
        // Directories that are missing, the uppermost last.
        let mut missing: Vec<ZnodePath> = Vec::new();
        // Each further turn is somebody else's write, or one directory up.
        loop {
            let there = match holds {
                Holds::Anything => session.exists(path.as_str()).await?.map(|stat| (Bytes::new(), stat)),
                Holds::Content { .. } | Holds::Item { .. } => session.get(path.as_str()).await?,
            };
            let exists = there.is_some();
            let (ops, records) = match there {
                Some((found, stat)) => {
                    let Some(data) = holds.instead_of(&found) else {
                        let is_filled = *holds == Holds::Anything && stat.num_children > 0;
                        return Ok(if is_filled { Found::Filled } else { Found::Childless });
                    };
                    let set =
                        SetDataRequest { path: path.to_string(), data: Some(data), version: stat.version };
                    (vec![WriteOp::SetData(set)], item(companion).into_iter().collect())
                }
                None => {
                    let above = missing.iter().rev();
                    let mut ops: Vec<_> =
                        above.clone().map(|path| directories::create(path, Bytes::new(), acl)).collect();
                    ops.push(directories::create(path, holds.initial(), acl));
                    let records = above.cloned().map(Record::directory).chain([znode(companion)]);
                    (ops, records.chain(item(companion)).collect())
                }
            };
            match self.make(session, ops, records).await {
                Err(WriteError::Refused(RequestError::Refused(ErrorCode::NoNode))) if !exists => {
                    let Some(above) = missing.last().unwrap_or(path).parent() else {
                        return Err(WriteError::Refused(RequestError::Refused(ErrorCode::NoNode)));
                    };
                    missing.push(above);
                }
                Err(WriteError::Refused(RequestError::Refused(
                    ErrorCode::BadVersion | ErrorCode::NodeExists | ErrorCode::NoNode,
                ))) => {
                    missing.clear();
                    session.sync(path.as_str()).await?;
                }
                made => return made.map(|()| Found::Made),
            }
        }
    }
}

/// The record of a znode that we make.
fn znode(Companion { path, holds }: &Companion) -> Record {
    match holds {
        Holds::Content { needed_below, .. } => {
            Record { leaves: Some(needed_below.clone()), ..Record::directory(path.clone()) }
        }
        Holds::Anything | Holds::Item { .. } => Record::directory(path.clone()),
    }
}

/// The record of an item that we add. What we write where others left a znode without data has none.
fn item(Companion { path, holds }: &Companion) -> Option<Record> {
    let Holds::Item { item, leaves } = holds else { return None };
    Some(Record { path: path.clone(), item: Some(item.clone()), leaves: Some(leaves.clone()) })
}
