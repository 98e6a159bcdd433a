//! What a consumer may never see, as a rule over two streams of facts: which endpoints were ready when, and
//! what each read returned when. Pure: instants come in as durations since a common start.
//!
//! News of a change comes late, so a change is two facts: from when on it may have happened, and from when on
//! it certainly has.
//!
//! ```text
//!   MayAppear ──▶ Ready ─────────────────▶ MayVanish ──▶ Gone
//!       may be read │ must be read, if seen before │ may be read │ may be read for Bounds::converge
//! ```
//!
//! Three rules:
//! - **no miss**: a read contains every endpoint that was certainly ready from before it began until after it
//!   ended, once the endpoint has been seen or has been ready for [`Bounds::appear`];
//! - **no ghost**: a read that began [`Bounds::converge`] after an endpoint was gone does not contain it, nor
//!   one that was never ready at all, however much else changes;
//! - **convergence**: [`Bounds::converge`] after the last change, reads contain the whole ready set.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

/// How late a consumer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// From ready to first seen.
    pub appear: Duration,
    /// From the last change to equality.
    pub converge: Duration,
}

/// What became of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It may be ready from now on.
    MayAppear,
    /// It is ready.
    Ready,
    /// It may have ceased to be ready.
    MayVanish,
    /// It is not ready.
    Gone,
}

/// A read that broke a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// When the read began.
    pub at: Duration,
    /// Which rule.
    pub kind: FaultKind,
}

/// The closed list of rules that a read can break.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FaultKind {
    /// An endpoint was ready all the time and not in the read.
    Missing(String),
    /// An endpoint has been gone for longer than [`Bounds::converge`] and was in the read.
    Stale(String),
    /// The read differs from what is ready although there was time enough.
    NotConverged {
        /// Ready, and not read.
        missing: BTreeSet<String>,
        /// Read, and never known to be ready.
        extra: BTreeSet<String>,
    },
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FaultKind::Missing(endpoint) => write!(f, "{endpoint} was ready and not there"),
            FaultKind::Stale(endpoint) => write!(f, "{endpoint} was long gone and still there"),
            FaultKind::NotConverged { missing, extra } => {
                write!(f, "not equal in time; missing {missing:?}, extra {extra:?}")
            }
        }
    }
}

/// What a watcher of one directory has established so far.
#[derive(Debug)]
pub struct Judge {
    bounds: Bounds,
    /// Endpoints that are or may be ready.
    alive: BTreeMap<String, Alive>,
    /// Those that were, and since when they are not; each until a read shows that it has been understood.
    gone: BTreeMap<String, Duration>,
    /// Before this nothing is known.
    first_fact: Option<Duration>,
    last_change: Duration,
    reads: u64,
    changes: u64,
    faults: Vec<Fault>,
    faults_dropped: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Alive {
    /// Since when it is certainly ready.
    ready_since: Option<Duration>,
    /// Has a read had it since?
    seen: bool,
}

/// Faults kept for the report; the rest are only counted.
const MAX_FAULTS: usize = 100;

impl Judge {
    /// A judge of a directory of which nothing is known.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Judge {
            bounds,
            alive: BTreeMap::new(),
            gone: BTreeMap::new(),
            first_fact: None,
            last_change: Duration::ZERO,
            reads: 0,
            changes: 0,
            faults: Vec::new(),
            faults_dropped: 0,
        }
    }

    /// From `at` on it is known which endpoints are ready: those of which [`Self::change`] says so.
    pub fn knows(&mut self, at: Duration) {
        self.first_fact.get_or_insert(at);
    }

    /// Something became of an endpoint at `at`. Facts come in the order of their instants; a read that
    /// overlaps a change must be reported behind it.
    pub fn change(&mut self, at: Duration, endpoint: &str, change: Change) {
        self.last_change = self.last_change.max(at);
        match change {
            Change::MayAppear => {
                self.gone.remove(endpoint);
                self.alive.entry(endpoint.to_owned()).or_default();
            }
            Change::Ready => {
                self.gone.remove(endpoint);
                self.changes += 1;
                let alive = Alive { ready_since: Some(at), seen: false };
                self.alive.insert(endpoint.to_owned(), alive);
            }
            Change::MayVanish => {
                if let Some(alive) = self.alive.get_mut(endpoint) {
                    alive.ready_since = None;
                }
            }
            Change::Gone => {
                if self.alive.remove(endpoint).is_some() {
                    self.changes += 1;
                    self.gone.insert(endpoint.to_owned(), at);
                }
            }
        }
    }

    /// A read that began at `began` and ended before this call returned `seen`.
    pub fn read(&mut self, began: Duration, seen: &BTreeSet<String>) {
        self.reads += 1;
        let missing = self.missing(began, seen);
        let extra = self.extra(began, seen);
        if !missing.is_empty() || !extra.is_empty() {
            self.fault(began, FaultKind::NotConverged { missing, extra });
        }
        let converge = self.bounds.converge;
        self.gone.retain(|endpoint, since| seen.contains(endpoint) || began <= *since + converge);
    }

    /// Those that the read has not and should have, less those for which it has a fault now.
    fn missing(&mut self, began: Duration, seen: &BTreeSet<String>) -> BTreeSet<String> {
        let (bounds, last_change) = (self.bounds, self.last_change);
        let (mut missed, mut late) = (Vec::new(), BTreeSet::new());
        for (endpoint, alive) in &mut self.alive {
            let Some(since) = alive.ready_since else { continue };
            if seen.contains(endpoint) {
                alive.seen = true;
            } else if since <= began && (alive.seen || began > since + bounds.appear) {
                missed.push(endpoint.clone());
            } else if began > last_change + bounds.converge {
                late.insert(endpoint.clone());
            }
        }
        for endpoint in missed {
            self.fault(began, FaultKind::Missing(endpoint));
        }
        late
    }

    /// Those that the read has and should not, less those for which it has a fault now.
    fn extra(&mut self, began: Duration, seen: &BTreeSet<String>) -> BTreeSet<String> {
        let mut extra = BTreeSet::new();
        let converge = self.bounds.converge;
        let is_late = |since: Duration| began > since + converge;
        let ghosts: Vec<_> = seen.iter().filter(|endpoint| !self.alive.contains_key(*endpoint)).collect();
        for endpoint in ghosts {
            match self.gone.get(endpoint) {
                Some(&since) if is_late(since) => self.fault(began, FaultKind::Stale(endpoint.clone())),
                None if self.first_fact.is_some_and(is_late) => drop(extra.insert(endpoint.clone())),
                Some(_) | None => {}
            }
        }
        extra
    }

    /// Since when it is known which endpoints are ready; `None` if it is not.
    #[must_use]
    pub fn known_since(&self) -> Option<Duration> {
        self.first_fact
    }

    /// Reads judged so far.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.reads
    }

    /// How often an endpoint became ready or ceased to be.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// The first faults, oldest first.
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// All faults, also those not kept.
    #[must_use]
    pub fn fault_count(&self) -> u64 {
        self.faults.len() as u64 + self.faults_dropped
    }

    fn fault(&mut self, at: Duration, kind: FaultKind) {
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(Fault { at, kind });
        } else {
            self.faults_dropped += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { appear: Duration::from_secs(2), converge: Duration::from_secs(2) };

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn set(endpoints: &str) -> BTreeSet<String> {
        endpoints.split_whitespace().map(str::to_owned).collect()
    }

    fn missing(at: u64, endpoint: &str) -> Fault {
        Fault { at: ms(at), kind: FaultKind::Missing(endpoint.to_owned()) }
    }

    fn stale(at: u64, endpoint: &str) -> Fault {
        Fault { at: ms(at), kind: FaultKind::Stale(endpoint.to_owned()) }
    }

    fn extra(at: u64, endpoints: &str) -> Fault {
        let kind = FaultKind::NotConverged { missing: set(""), extra: set(endpoints) };
        Fault { at: ms(at), kind }
    }

    /// A judge, and news that came at once: certain from the beginning.
    struct Court {
        judge: Judge,
        ready: BTreeSet<String>,
    }

    impl Court {
        fn new() -> Court {
            Court { judge: Judge::new(BOUNDS), ready: BTreeSet::new() }
        }

        fn ready(&mut self, at: u64, endpoints: &str) {
            let now = set(endpoints);
            self.judge.knows(ms(at));
            for endpoint in self.ready.difference(&now) {
                self.judge.change(ms(at), endpoint, Change::MayVanish);
                self.judge.change(ms(at), endpoint, Change::Gone);
            }
            for endpoint in now.difference(&self.ready) {
                self.judge.change(ms(at), endpoint, Change::MayAppear);
                self.judge.change(ms(at), endpoint, Change::Ready);
            }
            self.ready = now;
        }

        fn read(&mut self, began: u64, seen: &str) {
            self.judge.read(ms(began), &set(seen));
        }
    }

    #[test]
    fn an_endpoint_may_appear_late_but_never_vanish() {
        let mut court = Court::new();
        court.ready(0, "a");
        court.read(1_000, "");
        court.read(1_001, "a");
        court.read(1_002, "");
        court.read(1_003, "a");
        assert_eq!(court.judge.faults(), [missing(1_002, "a")]);
    }

    #[test]
    fn an_endpoint_that_never_appears_is_missed_after_the_bound() {
        let mut court = Court::new();
        court.ready(0, "a b");
        court.read(2_000, "a");
        assert_eq!(court.judge.fault_count(), 0);
        court.read(2_001, "a");
        assert_eq!(court.judge.faults(), [missing(2_001, "b")]);
    }

    #[test]
    fn a_longer_bound_for_the_first_sight_does_not_keep_a_read_from_converging() {
        let mut court = Court::new();
        court.judge.bounds.appear = ms(60_000);
        court.ready(0, "a b");
        court.read(2_000, "a");
        court.read(2_001, "a");
        let kind = FaultKind::NotConverged { missing: set("b"), extra: set("") };
        assert_eq!(court.judge.faults(), [Fault { at: ms(2_001), kind }]);
    }

    #[test]
    fn a_read_that_began_before_an_endpoint_was_ready_need_not_have_it() {
        let mut court = Court::new();
        court.ready(0, "a");
        court.read(1, "a");
        court.ready(10, "");
        court.ready(20, "a");
        court.read(15, "");
        assert_eq!(court.judge.fault_count(), 0);
    }

    #[test]
    fn an_endpoint_that_is_gone_must_go_within_the_bound() {
        let mut court = Court::new();
        court.ready(0, "a b");
        court.read(1, "a b");
        court.ready(1_000, "a");
        court.read(3_000, "a b");
        assert_eq!(court.judge.fault_count(), 0);
        court.read(3_001, "a b");
        assert_eq!(court.judge.faults(), [stale(3_001, "b")]);
    }

    #[test]
    fn an_endpoint_that_is_gone_must_go_however_much_else_changes() {
        let mut court = Court::new();
        court.ready(0, "a b");
        court.read(1, "a b");
        for round in 1..=4 {
            let at = round * 1_000;
            let (ready, seen) = if round % 2 == 0 { ("a", "a b") } else { ("a c", "a b c") };
            court.ready(at, ready);
            court.read(at + 1, seen);
        }
        assert_eq!(court.judge.faults(), [stale(3_001, "b"), stale(4_001, "b")]);
    }

    #[test]
    fn an_endpoint_that_was_never_ready_is_extra_however_much_else_changes() {
        let mut court = Court::new();
        court.ready(1_000, "a");
        court.read(3_000, "a x");
        assert_eq!(court.judge.fault_count(), 0);
        court.ready(3_000, "a b");
        court.read(3_001, "a b x");
        assert_eq!(court.judge.faults(), [extra(3_001, "x")]);
    }

    #[test]
    fn an_endpoint_that_is_ready_again_is_no_ghost() {
        let mut court = Court::new();
        court.ready(0, "a");
        court.read(1, "a");
        court.ready(1_000, "");
        court.ready(9_000, "a");
        court.read(9_001, "a");
        assert_eq!(court.judge.faults(), []);
    }

    #[test]
    fn an_endpoint_that_comes_back_as_a_ghost_is_a_fault_also_when_it_is_forgotten() {
        let mut court = Court::new();
        court.ready(0, "a b");
        court.read(1, "a b");
        court.ready(1_000, "a");
        court.read(1_001, "a");
        court.read(2_000, "a b");
        assert_eq!(court.judge.gone.len(), 1);
        court.read(3_001, "a");
        assert_eq!(court.judge.gone.len(), 0);
        court.read(3_002, "a b");
        assert_eq!(court.judge.faults(), [extra(3_002, "b")]);
    }

    #[test]
    fn nothing_is_judged_before_anything_is_known() {
        let mut court = Court::new();
        court.read(9_000, "a");
        assert_eq!((court.judge.fault_count(), court.judge.known_since()), (0, None));
        court.ready(9_000, "");
        court.read(11_000, "a");
        assert_eq!((court.judge.fault_count(), court.judge.known_since()), (0, Some(ms(9_000))));
        court.read(11_001, "a");
        assert_eq!(court.judge.faults(), [extra(11_001, "a")]);
    }

    #[test]
    fn while_a_change_is_uncertain_a_read_may_show_either() {
        let mut judge = Judge::new(BOUNDS);
        for (at, change) in [(5_000, Change::MayAppear), (6_000, Change::Ready), (9_000, Change::MayVanish)] {
            judge.change(ms(at), "a", change);
            judge.read(ms(at + 1), &set(""));
            judge.read(ms(at + 2), &set("a"));
            judge.read(ms(at + 3), &set(if at == 6_000 { "a" } else { "" }));
        }
        assert_eq!(judge.faults(), []);
        judge.change(ms(10_000), "a", Change::Gone);
        judge.read(ms(12_000), &set("a"));
        assert_eq!(judge.faults(), []);
        judge.read(ms(12_001), &set("a"));
        assert_eq!(judge.faults(), [stale(12_001, "a")]);
    }

    #[test]
    fn faults_beyond_the_limit_are_counted() {
        let mut court = Court::new();
        court.ready(0, "a");
        court.read(1, "a");
        for at in 2..204 {
            court.read(at, "");
        }
        let judge = &court.judge;
        assert_eq!((judge.faults().len(), judge.fault_count(), judge.reads()), (100, 202, 203));
    }
}
