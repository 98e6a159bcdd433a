//! Removes what a bridge has left, behind a fence of our own: a bridge that begins meanwhile takes it over, and then
//! nothing more is removed.

use std::collections::BTreeMap;

use zk_client::{MultiFailure, RequestError, Session};
use zk_wire::codes::ErrorCode;
use zk_wire::multi::WriteOp;
use zk_wire::request::{DeleteRequest, SetDataRequest};

use super::acls::Acls;
use super::fence::Fence;
use super::leftovers::{Kept, Leftovers, What};
use super::own::Own;
use crate::model::ZnodePath;

/// Whoever may remove.
#[derive(Debug)]
pub struct Remover<'s> {
    session: &'s Session,
    fence: Fence,
}

/// Why not everything was removed that may go.
#[derive(Debug, thiserror::Error)]
pub enum RemovalError {
    /// A bridge has begun to lead.
    #[error("a bridge of this name has begun to lead; what it needs it will make again")]
    Fenced,
    /// The server refused, or the connection was lost.
    #[error("cannot {what}")]
    Refused {
        /// What was asked for.
        what: &'static str,
        /// Its answer.
        #[source]
        source: RequestError,
    },
}

/// Ops that are carried out together, and what they are about.
type Group = (ZnodePath, Vec<WriteOp>);

/// Groups in one transaction.
const GROUPS: usize = 200;

impl<'s> Remover<'s> {
    /// Takes the fence over: no bridge of this name writes from now on, unless it begins anew.
    ///
    /// # Errors
    /// See [`RemovalError`].
    pub async fn begin(session: &'s Session, own: &Own, acls: &Acls) -> Result<Remover<'s>, RemovalError> {
        let fence = Fence::take_over(session, &own.fence, acls).await;
        let fence = fence.map_err(|source| RemovalError::Refused { what: "take the fence over", source })?;
        Ok(Remover { session, fence })
    }

    /// Removes what may go, and the fence at the end. Returns what stayed, because somebody has changed it since it was
    /// judged.
    ///
    /// # Errors
    /// See [`RemovalError`]. What was removed until then is removed; to do it again removes the rest.
    pub async fn remove(self, left: &Leftovers) -> Result<BTreeMap<ZnodePath, Kept>, RemovalError> {
        let own = |path: &ZnodePath| (path.clone(), vec![delete(path, -1)]);
        let mut groups: Vec<Group> = left.made.iter().map(|what| (what.path.clone(), ops(what))).collect();
        groups.extend(left.own.iter().map(own));
        let mut kept = BTreeMap::new();
        while !groups.is_empty() {
            let rest = groups.split_off(groups.len().min(GROUPS));
            self.carry_out(std::mem::replace(&mut groups, rest), &mut kept).await?;
        }
        let mut last = BTreeMap::new();
        self.carry_out(left.last.iter().map(own).collect(), &mut last).await?;
        // What is above others' znodes stays with them.
        kept.extend(last.into_iter().filter(|(_, why)| *why != Kept::Changed));
        Ok(kept)
    }

    /// One transaction. What cannot be carried out is taken out, and the rest is sent again, so this ends.
    async fn carry_out(
        &self,
        mut groups: Vec<Group>,
        kept: &mut BTreeMap<ZnodePath, Kept>,
    ) -> Result<(), RemovalError> {
        while !groups.is_empty() {
            let ops = std::iter::once(self.fence.check());
            let ops = ops.chain(groups.iter().flat_map(|(_, ops)| ops.iter().cloned())).collect();
            let (index, code) = match self.session.multi(ops).await {
                Ok(_) => return Ok(()),
                Err(RequestError::Multi(MultiFailure { index: 0, .. })) => return Err(RemovalError::Fenced),
                Err(RequestError::Multi(MultiFailure { index, code, .. })) => (index, code),
                Err(source) => return Err(RemovalError::Refused { what: "remove", source }),
            };
            let positions = groups.iter().enumerate();
            let mut positions =
                positions.flat_map(|(group, (_, ops))| (0..ops.len()).map(move |op| (group, op)));
            let Some((group, op)) = positions.nth(index - 1) else { return Ok(()) };
            let why = match code {
                // Somebody else was faster.
                ErrorCode::NoNode if groups[group].1.len() > 1 => {
                    groups[group].1.remove(op);
                    continue;
                }
                ErrorCode::NoNode => None,
                ErrorCode::NotEmpty | ErrorCode::BadVersion => Some(Kept::Changed),
                code => Some(Kept::Refused(code)),
            };
            let (path, _) = groups.remove(group);
            kept.extend(why.map(|why| (path, why)));
        }
        Ok(())
    }
}

fn ops(What { path, version, items, records }: &What) -> Vec<WriteOp> {
    let about = match items {
        None => delete(path, *version),
        Some((_, rest)) => WriteOp::SetData(SetDataRequest {
            path: path.to_string(),
            data: Some(rest.clone()),
            version: *version,
        }),
    };
    std::iter::once(about).chain(records.iter().map(|record| delete(record, -1))).collect()
}

fn delete(path: &ZnodePath, version: i32) -> WriteOp {
    WriteOp::Delete(DeleteRequest { path: path.to_string(), version })
}
