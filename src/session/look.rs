//! Finds out what is there. Where the truth matters it is asked through the session that acted, behind a
//! `sync`: another server may be behind, and a request of a lost connection may still be under way.

use std::collections::BTreeMap;

use bytes::Bytes;
use zk_client::{RequestError, Session};
use zk_wire::codes::ErrorCode;
use zk_wire::ids::SessionId;

use super::owned::{Look, Sighting, Suspect, stranger};
use super::pool::WriteError;
use super::slots::{Shared, lock};
use super::take_over::read;
use crate::format::MAX_RECORD_BYTES;
use crate::model::ZnodePath;

impl Shared {
    pub(super) async fn look(&self, suspects: &[Suspect]) -> Vec<Look> {
        let mut by_session: BTreeMap<Option<SessionId>, Vec<usize>> = BTreeMap::new();
        for (index, suspect) in suspects.iter().enumerate() {
            // A lost answer is only known to its own session. Else the owner is asked if that is attached: one
            // that is away may have expired without our knowing.
            let owner = suspect.believed.map(|owned| owned.session).filter(|&owner| self.is_attached(owner));
            let via = suspect.via.or(owner).filter(|&session| self.slot(session).is_some());
            by_session.entry(via).or_default().push(index);
        }
        let looks = by_session.into_iter().map(|(via, indexes)| async move {
            let found = self.look_through(via, &indexes, suspects).await;
            (indexes, found)
        });
        let mut all = vec![Look::Failed; suspects.len()];
        for (indexes, found) in futures::future::join_all(looks).await {
            // Without a session all of them stay as they are.
            for (index, look) in indexes.into_iter().zip(found.into_iter().flatten()) {
                all[index] = look;
            }
        }
        all
    }

    async fn look_through(
        &self,
        via: Option<SessionId>,
        indexes: &[usize],
        suspects: &[Suspect],
    ) -> Result<Vec<Look>, WriteError> {
        let session = match via {
            Some(session) => self.attached(session).await?,
            None => self.first().await?,
        };
        session.sync("/").await?;
        let looks = indexes.iter().map(|&index| self.look_at(&session, via, &suspects[index]));
        Ok(futures::future::join_all(looks).await)
    }

    pub(super) async fn see(&self, paths: &[ZnodePath]) -> Vec<Sighting> {
        let Ok(session) = self.first().await else { return vec![Sighting::Failed; paths.len()] };
        let sightings = paths.iter().map(|path| self.see_one(&session, path));
        let sightings = futures::future::join_all(sightings).await;
        sightings.into_iter().map(|it| it.unwrap_or(Sighting::Failed)).collect()
    }

    async fn see_one(&self, session: &Session, path: &ZnodePath) -> Result<Sighting, RequestError> {
        // Asked first: what is too long to be an instance is not fetched.
        let Some(stat) = session.exists(path.as_str()).await? else { return Ok(Sighting::Absent) };
        if lock(&self.ever).contains(&stat.ephemeral_owner) {
            return Ok(Sighting::Ours);
        }
        let is_long = usize::try_from(stat.data_length).is_ok_and(|length| length > MAX_RECORD_BYTES);
        let data = match is_long {
            true => Bytes::new(),
            false => match session.get(path.as_str()).await {
                Ok(Some((data, _))) => data,
                Ok(None) => return Ok(Sighting::Absent),
                Err(RequestError::Refused(ErrorCode::NoAuth)) => Bytes::new(),
                Err(error) => return Err(error),
            },
        };
        Ok(Sighting::Theirs { is_ephemeral: stat.ephemeral_owner != SessionId::NONE, data })
    }

    async fn look_at(&self, session: &Session, via: Option<SessionId>, suspect: &Suspect) -> Look {
        let look = match session.exists(suspect.path.as_str()).await {
            Ok(None) => Look::Absent,
            Ok(Some(stat)) if self.slot(stat.ephemeral_owner).is_some() => match suspect.believed {
                Some(believed) if believed.is_as(&stat) => Look::Ours(believed),
                _ => match read(session, &suspect.path).await {
                    Ok(Some(owned)) if self.slot(owned.session).is_some() => Look::Ours(owned),
                    // It changes under our eyes.
                    _ => Look::Failed,
                },
            },
            Ok(Some(stat)) => Look::Theirs(stranger(&stat)),
            Err(_) => Look::Failed,
        };
        // What was reserved for it is settled too, with whoever acted and with whoever had it.
        let holder = match &look {
            Look::Failed => return look,
            Look::Ours(owned) => Some(owned.session),
            Look::Absent | Look::Theirs(_) => None,
        };
        let others = [via, suspect.believed.map(|owned| owned.session)].into_iter().flatten();
        others.filter(|&other| Some(other) != holder).for_each(|other| self.release(other, &suspect.path));
        holder.into_iter().for_each(|holder| self.reserve(holder, &suspect.path));
        look
    }
}
