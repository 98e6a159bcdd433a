//! What the pool counts.

use prometheus::{IntCounter, Registry};
use zk_wire::multi::{MultiResult, WriteOp};

use super::exposure::{Exposure, OpenTo};
use super::pool::WriteError;
use crate::metrics::{CounterBy, GaugeBy, Label, counter, register};

/// Counters of the sessions and of what is written through them.
#[derive(Debug, Clone)]
pub struct SessionMetrics {
    multis: CounterBy<Answer>,
    ops: CounterBy<OpKind>,
    /// Connections lost, for whatever reason.
    pub(super) losses: IntCounter,
    /// Connections lost because somebody else has attached to the session.
    pub(super) moves: IntCounter,
    /// Sessions attached again.
    pub(super) resumes: IntCounter,
    /// Sessions that have expired.
    pub(super) expiries: IntCounter,
    /// Attempts to attach that came to nothing.
    pub(super) attach_failures: IntCounter,
    directories_open: GaugeBy<OpenTo>,
    leaves_open: GaugeBy<OpenTo>,
}

/// What became of a multi.
#[derive(Debug, Clone, Copy)]
enum Answer {
    Done,
    Culprit,
    Refused,
    NotSent,
    Unknown,
    Expired,
    Fenced,
}

/// What an op does.
#[derive(Debug, Clone, Copy)]
enum OpKind {
    Create,
    Set,
    Delete,
    Other,
}

impl Label for Answer {
    const NAME: &'static str = "result";
    const ALL: &'static [Self] = &[
        Answer::Done,
        Answer::Culprit,
        Answer::Refused,
        Answer::NotSent,
        Answer::Unknown,
        Answer::Expired,
        Answer::Fenced,
    ];

    fn value(self) -> &'static str {
        match self {
            Answer::Done => "done",
            Answer::Culprit => "culprit",
            Answer::Refused => "refused",
            Answer::NotSent => "not_sent",
            Answer::Unknown => "unknown",
            Answer::Expired => "expired",
            Answer::Fenced => "fenced",
        }
    }
}

impl Label for OpKind {
    const NAME: &'static str = "kind";
    const ALL: &'static [Self] = &[OpKind::Create, OpKind::Set, OpKind::Delete, OpKind::Other];

    fn value(self) -> &'static str {
        match self {
            OpKind::Create => "create",
            OpKind::Set => "set",
            OpKind::Delete => "delete",
            OpKind::Other => "other",
        }
    }
}

impl OpKind {
    fn of(op: &WriteOp) -> Self {
        match op {
            WriteOp::Create(_) | WriteOp::Create2(_) => OpKind::Create,
            WriteOp::SetData(_) => OpKind::Set,
            WriteOp::Delete(_) => OpKind::Delete,
            _ => OpKind::Other,
        }
    }
}

impl Answer {
    fn of(answer: &Result<Vec<MultiResult>, WriteError>) -> Self {
        match answer {
            Ok(_) => Answer::Done,
            Err(WriteError::Culprit { .. }) => Answer::Culprit,
            Err(WriteError::Refused(_)) => Answer::Refused,
            Err(WriteError::NotSent(_)) => Answer::NotSent,
            Err(WriteError::Unknown(_)) => Answer::Unknown,
            Err(WriteError::Expired(_)) => Answer::Expired,
            Err(WriteError::Fenced) => Answer::Fenced,
        }
    }
}

impl Default for SessionMetrics {
    fn default() -> Self {
        SessionMetrics {
            multis: CounterBy::new("zoobridge_multis_total", "Transactions sent, by what became of them."),
            ops: CounterBy::new("zoobridge_ops_total", "Ops of znodes that were carried out."),
            losses: counter("zoobridge_session_losses_total", "Connections lost."),
            moves: counter(
                "zoobridge_session_moves_total",
                "Connections lost because the session has moved to another one, where a server tells.",
            ),
            resumes: counter("zoobridge_session_resumes_total", "Sessions attached again after a loss."),
            expiries: counter(
                "zoobridge_session_expiries_total",
                "Sessions that expired, with their znodes.",
            ),
            attach_failures: counter(
                "zoobridge_session_attach_failures_total",
                "Attempts to attach that failed; each is made again.",
            ),
            directories_open: GaugeBy::new(
                "zoobridge_open_directories",
                "Directories of ours when this process began to lead, by who else may delete in them.",
            ),
            leaves_open: GaugeBy::new(
                "zoobridge_open_znodes",
                "Znodes held when this process began to lead, by who else may change them.",
            ),
        }
    }
}

impl SessionMetrics {
    /// Registers all families.
    pub fn register(&self, registry: &Registry) {
        self.multis.register(registry);
        self.ops.register(registry);
        let counters = [&self.losses, &self.moves, &self.resumes, &self.expiries, &self.attach_failures];
        counters.into_iter().for_each(|counter| register(registry, counter.clone()));
        self.directories_open.register(registry);
        self.leaves_open.register(registry);
    }

    /// This was found at start-up.
    pub(super) fn exposed(&self, exposure: &Exposure) {
        for (index, &open_to) in OpenTo::ALL.iter().enumerate() {
            self.directories_open.set(open_to, exposure.directories.counts[index]);
            self.leaves_open.set(open_to, exposure.leaves.counts[index]);
        }
    }

    /// These ops were sent as one.
    pub(super) fn written(&self, kinds: &Kinds, answer: &Result<Vec<MultiResult>, WriteError>) {
        self.multis.inc(Answer::of(answer));
        if answer.is_ok() {
            for (&kind, count) in OpKind::ALL.iter().zip(kinds.0) {
                self.ops.add(kind, count);
            }
        }
    }
}

/// How many ops there are of each kind, in the order of the label's members.
pub(super) struct Kinds([usize; 4]);

impl Kinds {
    pub(super) fn of(ops: &[WriteOp]) -> Self {
        let mut counts = [0; 4];
        for op in ops {
            counts[OpKind::of(op) as usize] += 1;
        }
        Kinds(counts)
    }
}
