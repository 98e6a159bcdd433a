//! Which sessions live, on which connection, and until when (`SessionTrackerImpl`). Pure: time comes in as a
//! duration since the server started.
//!
//! Sessions expire in buckets of one tick, so at most one tick late and never early. A restarted server gives
//! every session its full timeout again.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use zk_wire::acl::Id;
use zk_wire::ids::SessionId;

use crate::tree::watches::ConnectionId;

/// The sessions of a server.
#[derive(Debug)]
pub struct Sessions {
    tick: Duration,
    live: HashMap<SessionId, Session>,
    buckets: BTreeMap<Duration, BTreeSet<SessionId>>,
    next_id: i64,
}

#[derive(Debug)]
struct Session {
    timeout: Duration,
    bucket: Duration,
    connection: Option<ConnectionId>,
    closing: bool,
    /// Known to this server only; no transaction tells of it.
    is_local: bool,
    /// What whoever resumes it must have proven, if that is asked for.
    required: Vec<Id>,
}

/// Room for hundreds of identities of one session, in bytes.
const MAX_REQUIRED_BYTES: usize = 16 << 10;

impl Sessions {
    /// No sessions. Ids begin where `server_id` and the wall clock say (`initializeNextSessionId`): byte 7 is
    /// the server, then 40 bits of milliseconds, then 16 bits to count.
    #[must_use]
    pub fn new(tick: Duration, server_id: u8, wall_ms: i64) -> Self {
        let next_id =
            ((((wall_ms as u64) << 24) >> 8) as i64) & 0x00ff_ffff_ffff_ffff | (i64::from(server_id) << 56);
        Sessions { tick, live: HashMap::new(), buckets: BTreeMap::new(), next_id }
    }

    /// A fresh session id.
    pub fn new_id(&mut self) -> SessionId {
        loop {
            let id = SessionId(self.next_id);
            self.next_id = self.next_id.wrapping_add(1);
            if id.0 != 0 && id.0 != i64::MIN && !self.live.contains_key(&id) {
                return id;
            }
        }
    }

    /// Begins to track a session, new or recovered. One that is tracked already, as a local one was, stays as it
    /// is.
    pub fn track(
        &mut self,
        now: Duration,
        id: SessionId,
        timeout: Duration,
        connection: Option<ConnectionId>,
    ) {
        let bucket = self.bucket(now, timeout);
        if let Entry::Vacant(place) = self.live.entry(id) {
            self.buckets.entry(bucket).or_default().insert(id);
            let (closing, is_local, required) = (false, false, Vec::new());
            place.insert(Session { timeout, bucket, connection, closing, is_local, required });
        }
    }

    /// Begins to track a session that no transaction tells of.
    pub fn track_local(&mut self, now: Duration, id: SessionId, timeout: Duration, connection: ConnectionId) {
        self.track(now, id, timeout, Some(connection));
        if let Some(session) = self.live.get_mut(&id) {
            session.is_local = true;
        }
    }

    /// Is it known to this server only?
    #[must_use]
    pub fn is_local(&self, id: SessionId) -> bool {
        self.live.get(&id).is_some_and(|session| session.is_local)
    }

    /// It is like all others from now on. Returns its timeout if it was local.
    pub fn make_global(&mut self, id: SessionId) -> Option<Duration> {
        let session = self.live.get_mut(&id).filter(|session| session.is_local)?;
        session.is_local = false;
        Some(session.timeout)
    }

    /// Whoever resumes it must have proven these too. True if that is more than before; beyond 16 KiB it is not.
    pub fn require<'a>(&mut self, id: SessionId, ids: impl Iterator<Item = &'a Id>) -> bool {
        let Some(session) = self.live.get_mut(&id) else {
            return false;
        };
        let bytes = |id: &Id| id.scheme.len() + id.id.len() + 2;
        let (before, mut total) = (session.required.len(), session.required.iter().map(bytes).sum::<usize>());
        for id in ids {
            if !session.required.contains(id) && total + bytes(id) <= MAX_REQUIRED_BYTES {
                total += bytes(id);
                session.required.push(id.clone());
            }
        }
        session.required.len() > before
    }

    /// What whoever resumes it must have proven.
    #[must_use]
    pub fn required(&self, id: SessionId) -> &[Id] {
        self.live.get(&id).map_or(&[], |session| &session.required)
    }

    /// The session gets its full timeout again. False if it is gone or going.
    pub fn touch(&mut self, now: Duration, id: SessionId) -> bool {
        let Some(timeout) = self.live.get(&id).filter(|s| !s.closing).map(|s| s.timeout) else {
            return false;
        };
        self.move_to(id, self.bucket(now, timeout));
        true
    }

    /// Attaches a session to a connection under a newly negotiated timeout. Returns the connection that it
    /// had, if any; `None` if the session is gone or going.
    pub fn resume(
        &mut self,
        now: Duration,
        id: SessionId,
        timeout: Duration,
        connection: ConnectionId,
    ) -> Option<Option<ConnectionId>> {
        let session = self.live.get_mut(&id).filter(|s| !s.closing)?;
        session.timeout = timeout;
        let previous = session.connection.replace(connection);
        self.touch(now, id);
        Some(previous)
    }

    /// The connection is gone; its session lives on.
    pub fn disconnect(&mut self, id: SessionId, connection: ConnectionId) {
        if let Some(session) = self.live.get_mut(&id)
            && session.connection == Some(connection)
        {
            session.connection = None;
        }
    }

    /// The session will end: it takes no more requests. False if it was going already.
    pub fn begin_close(&mut self, id: SessionId) -> bool {
        match self.live.get_mut(&id) {
            Some(session) if !session.closing => {
                session.closing = true;
                true
            }
            _ => false,
        }
    }

    /// The session has ended. Returns its connection, if any.
    pub fn end(&mut self, id: SessionId) -> Option<ConnectionId> {
        let session = self.live.remove(&id)?;
        self.leave_bucket(id, session.bucket);
        session.connection
    }

    /// Sessions whose time is up; each is returned once and is closing from then on.
    pub fn expired(&mut self, now: Duration) -> Vec<SessionId> {
        let mut expired = Vec::new();
        while let Some(entry) = self.buckets.first_entry() {
            if *entry.key() > now {
                break;
            }
            expired.extend(entry.remove());
        }
        expired.retain(|&id| self.begin_close(id));
        expired
    }

    /// When the next session may expire.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Duration> {
        self.buckets.keys().next().copied()
    }

    /// Does the session live, and is it not going?
    #[must_use]
    pub fn is_live(&self, id: SessionId) -> bool {
        self.live.get(&id).is_some_and(|session| !session.closing)
    }

    /// Sessions tracked.
    #[must_use]
    pub fn len(&self) -> usize {
        self.live.len()
    }

    /// None?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    /// When sessions expire unless they are heard of, and which; the earliest first.
    pub fn expiry(&self) -> impl Iterator<Item = (Duration, Vec<SessionId>)> + '_ {
        self.buckets.iter().map(|(at, ids)| (*at, ids.iter().copied().collect()))
    }

    /// The end of the tick in which `now + timeout` falls.
    fn bucket(&self, now: Duration, timeout: Duration) -> Duration {
        let tick = self.tick.as_millis().max(1);
        let end = (now + timeout).as_millis() / tick + 1;
        Duration::from_millis(u64::try_from(end * tick).unwrap_or(u64::MAX))
    }

    fn move_to(&mut self, id: SessionId, bucket: Duration) {
        let Some(session) = self.live.get_mut(&id) else {
            return;
        };
        let old = std::mem::replace(&mut session.bucket, bucket);
        if old != bucket {
            self.leave_bucket(id, old);
            self.buckets.entry(bucket).or_default().insert(id);
        }
    }

    fn leave_bucket(&mut self, id: SessionId, bucket: Duration) {
        if let Some(ids) = self.buckets.get_mut(&bucket) {
            ids.remove(&id);
            if ids.is_empty() {
                self.buckets.remove(&bucket);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ConnectionId = ConnectionId(1);
    const B: ConnectionId = ConnectionId(2);

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn sessions() -> Sessions {
        Sessions::new(secs(2), 1, 0x1_7661_4000)
    }

    #[test]
    fn ids_carry_the_server_and_never_repeat() {
        let mut sessions = sessions();
        let (a, b) = (sessions.new_id(), sessions.new_id());
        assert_eq!(a.0 >> 56, 1);
        assert_eq!(b.0, a.0 + 1);
        assert_eq!(a.0 & 0xffff, 0);
    }

    #[test]
    fn a_session_expires_within_a_tick_behind_its_timeout_and_once() {
        let mut sessions = sessions();
        let id = sessions.new_id();
        sessions.track(secs(0), id, secs(10), Some(A));
        assert_eq!(sessions.expired(secs(10)), []);
        assert!(sessions.touch(secs(5), id));
        assert_eq!(sessions.next_expiry(), Some(secs(16)));
        assert_eq!(sessions.expired(secs(15)), []);
        assert_eq!(sessions.expired(secs(16)), [id]);
        assert!(!sessions.is_live(id) && !sessions.touch(secs(16), id));
        assert_eq!(sessions.expired(secs(99)), []);
        assert_eq!(sessions.end(id), Some(A));
        assert!(sessions.is_empty());
    }

    #[test]
    fn the_last_connection_to_resume_has_the_session() {
        let mut sessions = sessions();
        let id = sessions.new_id();
        sessions.track(secs(0), id, secs(10), Some(A));
        assert_eq!(sessions.resume(secs(1), id, secs(20), B), Some(Some(A)));
        sessions.disconnect(id, A);
        assert_eq!(sessions.next_expiry(), Some(secs(22)));
        assert!(sessions.begin_close(id));
        assert_eq!(sessions.resume(secs(1), id, secs(20), A), None);
        assert_eq!(sessions.resume(secs(1), SessionId(7), secs(20), A), None);
        assert_eq!(sessions.end(id), Some(B));
    }
}
