//! What a consumer may never see, as a rule over two streams of facts: which endpoints were ready when, and
//! what each read returned when. Pure: instants come in as durations since a common start.
//!
//! Two rules:
//! - **no miss**: a read contains every endpoint that was ready from before it began until after it ended,
//!   once the endpoint has been seen or has been ready for [`Bounds::appear`];
//! - **convergence**: [`Bounds::converge`] after the last change, reads equal the ready set.

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
    /// The read still differs although nothing changed for [`Bounds::converge`].
    NotConverged {
        /// Ready, and not read.
        missing: BTreeSet<String>,
        /// Read, and not ready.
        extra: BTreeSet<String>,
    },
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FaultKind::Missing(endpoint) => write!(f, "{endpoint} was ready and not there"),
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
    /// Ready endpoints, each with the instant from which it is ready.
    ready: BTreeMap<String, Readiness>,
    last_change: Duration,
    reads: u64,
    changes: u64,
    faults: Vec<Fault>,
    faults_dropped: u64,
}

#[derive(Debug, Clone, Copy)]
struct Readiness {
    since: Duration,
    seen: bool,
}

/// Faults kept for the report; the rest are only counted.
const MAX_FAULTS: usize = 100;

impl Judge {
    /// A judge of a directory with no ready endpoint.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Judge {
            bounds,
            ready: BTreeMap::new(),
            last_change: Duration::ZERO,
            reads: 0,
            changes: 0,
            faults: Vec::new(),
            faults_dropped: 0,
        }
    }

    /// From `at` on exactly `now_ready` are ready. Facts come in the order of their instants; a read that
    /// overlaps a change must be reported behind it.
    pub fn ready(&mut self, at: Duration, now_ready: &BTreeSet<String>) {
        if self.ready.keys().eq(now_ready.iter()) {
            return;
        }
        self.ready.retain(|endpoint, _| now_ready.contains(endpoint));
        for endpoint in now_ready {
            self.ready.entry(endpoint.clone()).or_insert(Readiness { since: at, seen: false });
        }
        self.last_change = at;
        self.changes += 1;
    }

    /// A read that began at `began` and ended before this call returned `seen`.
    pub fn read(&mut self, began: Duration, seen: &BTreeSet<String>) {
        self.reads += 1;
        let bounds = self.bounds;
        let mut missing = Vec::new();
        for (endpoint, readiness) in &mut self.ready {
            if seen.contains(endpoint) {
                readiness.seen = true;
            } else if readiness.since <= began && (readiness.seen || began - readiness.since > bounds.appear)
            {
                missing.push(endpoint.clone());
            }
        }
        for endpoint in missing {
            self.fault(began, FaultKind::Missing(endpoint));
        }
        if began > self.last_change + bounds.converge && !self.ready.keys().eq(seen.iter()) {
            let missing = self.ready.keys().filter(|e| !seen.contains(*e)).cloned().collect();
            let extra = seen.iter().filter(|e| !self.ready.contains_key(*e)).cloned().collect();
            self.fault(began, FaultKind::NotConverged { missing, extra });
        }
    }

    /// Reads judged so far.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.reads
    }

    /// Changes of the ready set so far.
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

    #[test]
    fn an_endpoint_may_appear_late_but_never_vanish() {
        let mut judge = Judge::new(BOUNDS);
        judge.ready(ms(0), &set("a"));
        judge.read(ms(1_000), &set(""));
        judge.read(ms(1_001), &set("a"));
        judge.read(ms(1_002), &set(""));
        judge.read(ms(1_003), &set("a"));
        assert_eq!(judge.faults(), [missing(1_002, "a")]);
    }

    #[test]
    fn an_endpoint_that_never_appears_is_missed_after_the_bound() {
        let mut judge = Judge::new(BOUNDS);
        judge.ready(ms(0), &set("a b"));
        judge.read(ms(2_000), &set("a"));
        assert_eq!(judge.fault_count(), 0);
        judge.read(ms(2_001), &set("a"));
        assert_eq!(judge.faults()[0], missing(2_001, "b"));
    }

    #[test]
    fn a_read_that_began_before_an_endpoint_was_ready_need_not_have_it() {
        let mut judge = Judge::new(BOUNDS);
        judge.ready(ms(0), &set("a"));
        judge.read(ms(1), &set("a"));
        judge.ready(ms(10), &set(""));
        judge.ready(ms(20), &set("a"));
        judge.read(ms(15), &set(""));
        assert_eq!(judge.fault_count(), 0);
    }

    #[test]
    fn an_endpoint_that_is_gone_must_go_within_the_bound() {
        let mut judge = Judge::new(BOUNDS);
        judge.ready(ms(0), &set("a b"));
        judge.read(ms(1), &set("a b"));
        judge.ready(ms(1_000), &set("a"));
        judge.read(ms(3_000), &set("a b"));
        assert_eq!(judge.fault_count(), 0);
        judge.read(ms(3_001), &set("a b"));
        let kind = FaultKind::NotConverged { missing: set(""), extra: set("b") };
        assert_eq!(judge.faults(), [Fault { at: ms(3_001), kind }]);
    }

    #[test]
    fn faults_beyond_the_limit_are_counted() {
        let mut judge = Judge::new(BOUNDS);
        judge.ready(ms(0), &set("a"));
        judge.read(ms(1), &set("a"));
        for at in 2..204 {
            judge.read(ms(at), &set(""));
        }
        assert_eq!((judge.faults().len(), judge.fault_count(), judge.reads()), (100, 202, 203));
    }
}
