//! What one look at the Lease leads to. Pure: both clocks come in.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

/// How long a claim lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Others take the Lease when it has not changed for so long.
    pub duration: Duration,
}

/// One candidate's view.
#[derive(Debug)]
pub struct Election {
    me: String,
    timing: Timing,
    seen: Option<Seen>,
}

/// A state of the Lease, and since when we know it.
#[derive(Debug)]
struct Seen {
    resource_version: Option<String>,
    since: Duration,
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Move {
    /// There is no Lease: create it.
    Create(LeaseSpec),
    /// It is ours, or free: replace it, if it is still as it was read.
    Replace(LeaseSpec),
    /// This one leads.
    Wait(String),
}

impl Timing {
    /// A leader that could not renew for so long does not lead any more. Shorter than `duration`, since others
    /// count from when they saw the last renewal, and its request began before that.
    #[must_use]
    pub fn deadline(self) -> Duration {
        self.duration * 2 / 3
    }

    /// Between two attempts.
    #[must_use]
    pub fn retry(self) -> Duration {
        self.duration / 5
    }

    /// How long one attempt may take: two that are not answered lose the Lease.
    #[must_use]
    pub fn patience(self) -> Duration {
        self.deadline() / 2
    }
}

impl Election {
    /// A candidate that has seen nothing.
    #[must_use]
    pub fn new(me: String, timing: Timing) -> Self {
        Election { me, timing, seen: None }
    }

    /// The candidate.
    #[must_use]
    pub fn me(&self) -> &str {
        &self.me
    }

    /// Its timing.
    #[must_use]
    pub fn timing(&self) -> Timing {
        self.timing
    }

    /// What to do about the Lease as it was just read; `now` is a clock that never goes back. Another holder's
    /// own times are never compared with ours: his time is over when we have seen no change for his duration.
    pub fn decide(&mut self, lease: Option<&Lease>, now: Duration, wall: Timestamp) -> Move {
        let Some(lease) = lease else {
            self.seen = None;
            return Move::Create(self.claim(None, wall));
        };
        let resource_version = lease.metadata.resource_version.clone();
        if self.seen.as_ref().is_none_or(|seen| seen.resource_version != resource_version) {
            self.seen = Some(Seen { resource_version, since: now });
        }
        let since = self.seen.as_ref().map_or(now, |seen| seen.since);
        let spec = lease.spec.as_ref();
        let holder = spec.and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default();
        let seconds = spec.and_then(|spec| spec.lease_duration_seconds).unwrap_or_default();
        let his = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
        let is_over = now.saturating_sub(since) >= his.max(self.timing.duration);
        if holder.is_empty() || holder == self.me || is_over {
            return Move::Replace(self.claim(spec, wall));
        }
        Move::Wait(holder.to_owned())
    }

    /// The Lease as it is when its holder lets go of it: others need not wait.
    #[must_use]
    pub fn released(&self, spec: &LeaseSpec) -> Option<LeaseSpec> {
        let is_ours = spec.holder_identity.as_deref() == Some(&self.me);
        is_ours.then(|| LeaseSpec {
            holder_identity: Some(String::new()),
            lease_duration_seconds: Some(1),
            ..spec.clone()
        })
    }

    fn claim(&self, before: Option<&LeaseSpec>, wall: Timestamp) -> LeaseSpec {
        let is_ours = before.is_some_and(|spec| spec.holder_identity.as_deref() == Some(&self.me));
        let acquired = before.filter(|_| is_ours).and_then(|spec| spec.acquire_time.clone());
        let transitions = before.and_then(|spec| spec.lease_transitions).unwrap_or_default();
        LeaseSpec {
            holder_identity: Some(self.me.clone()),
            lease_duration_seconds: Some(
                i32::try_from(self.timing.duration.as_secs().max(1)).unwrap_or(i32::MAX),
            ),
            acquire_time: acquired.or(Some(MicroTime(wall))),
            renew_time: Some(MicroTime(wall)),
            lease_transitions: Some(if is_ours || before.is_none() { transitions } else { transitions + 1 }),
            ..before.cloned().unwrap_or_default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn wall(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn candidate(me: &str) -> Election {
        Election::new(me.to_owned(), Timing { duration: secs(10) })
    }

    fn lease(version: &str, spec: LeaseSpec) -> Lease {
        let mut lease = Lease { spec: Some(spec), ..Lease::default() };
        lease.metadata.resource_version = Some(version.to_owned());
        lease
    }

    fn first(me: &str) -> LeaseSpec {
        match candidate(me).decide(None, secs(0), wall(0)) {
            Move::Create(spec) => spec,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_first_creates_and_renews_without_a_transition() {
        let spec = first("a");
        assert_eq!((spec.holder_identity.as_deref(), spec.lease_transitions), (Some("a"), Some(0)));
        let renewed = candidate("a").decide(Some(&lease("1", spec.clone())), secs(2), wall(2));
        let expected = LeaseSpec { renew_time: Some(MicroTime(wall(2))), ..spec };
        assert_eq!(renewed, Move::Replace(expected));
    }

    #[test]
    fn another_waits_until_the_lease_stands_still_whatever_its_times_say() {
        let mut b = candidate("b");
        let mut held = lease("1", first("a"));
        assert_eq!(b.decide(Some(&held), secs(100), wall(9_999_999)), Move::Wait("a".to_owned()));
        assert_eq!(b.decide(Some(&held), secs(109), wall(9_999_999)), Move::Wait("a".to_owned()));
        held.metadata.resource_version = Some("2".to_owned());
        assert_eq!(b.decide(Some(&held), secs(110), wall(0)), Move::Wait("a".to_owned()));
        assert_eq!(b.decide(Some(&held), secs(119), wall(0)), Move::Wait("a".to_owned()));
        let Move::Replace(taken) = b.decide(Some(&held), secs(120), wall(7)) else { panic!("it waits") };
        assert_eq!((taken.holder_identity.as_deref(), taken.lease_transitions), (Some("b"), Some(1)));
        assert_eq!(taken.acquire_time, Some(MicroTime(wall(7))));
    }

    #[test]
    fn a_longer_claim_is_respected() {
        let mut b = candidate("b");
        let held = lease("1", LeaseSpec { lease_duration_seconds: Some(60), ..first("a") });
        assert_eq!(b.decide(Some(&held), secs(0), wall(0)), Move::Wait("a".to_owned()));
        assert_eq!(b.decide(Some(&held), secs(59), wall(0)), Move::Wait("a".to_owned()));
        assert!(matches!(b.decide(Some(&held), secs(60), wall(0)), Move::Replace(_)));
    }

    #[test]
    fn what_is_released_is_free_at_once_and_only_its_holder_releases() {
        let spec = first("a");
        assert_eq!(candidate("b").released(&spec), None);
        let released = candidate("a").released(&spec).unwrap();
        let held = lease("2", released);
        assert!(matches!(candidate("b").decide(Some(&held), secs(0), wall(0)), Move::Replace(_)));
    }

    #[test]
    fn a_lease_with_nothing_in_it_is_free() {
        let empty = Lease::default();
        assert!(matches!(candidate("b").decide(Some(&empty), secs(0), wall(0)), Move::Replace(_)));
    }
}
