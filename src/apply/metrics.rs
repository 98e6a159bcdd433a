//! What the bridge counts.

use std::sync::Arc;
use std::time::Duration;

use prometheus::{Histogram, IntCounter, Registry};
use tokio::sync::watch;

use super::bridge::Status;
use super::subject::BridgeSubject;
use super::write::End;
use crate::config::ReloadMetrics;
use crate::http::Pulse;
use crate::metrics::{CounterBy, Label, counter, histogram, register};
use crate::model::EnsembleName;
use crate::observe::WatchMetrics;
use crate::plan::Reason;
use crate::session::{Look, SessionMetrics, Sighting};

/// The instruments of one ensemble's bridge, and of those that are started in its place. Cheap to clone; all clones
/// show the same.
#[derive(Debug, Clone)]
pub struct Instruments {
    /// Whose they are.
    pub ensemble: EnsembleName,
    /// What the watches count.
    pub watches: WatchMetrics,
    pub(super) sessions: SessionMetrics,
    pub(super) apply: ApplyMetrics,
    restarts: IntCounter,
    status: Arc<watch::Sender<Status>>,
    pulse: Arc<Pulse>,
}

/// Counters of plans, writes and looks.
#[derive(Debug, Clone)]
pub(super) struct ApplyMetrics {
    /// Services planned.
    pub(super) plans: IntCounter,
    writes: CounterBy<End>,
    /// One change, from its plan to its last acknowledgement.
    pub(super) write_seconds: Histogram,
    visible_seconds: Histogram,
    looks: CounterBy<Found>,
    /// Znodes of ours that somebody else changed.
    pub(super) repairs: IntCounter,
    /// What was refused, once for each time that it came up.
    pub(super) refusals: CounterBy<Reason>,
    /// Events about Services.
    pub(super) events: CounterBy<Told>,
    /// What an audit saw before a watch told of it.
    unheard: CounterBy<Direction>,
}

/// What a look found.
#[derive(Debug, Clone, Copy)]
enum Found {
    Absent,
    Ours,
    Theirs,
    Failed,
}

/// What became of an Event.
#[derive(Debug, Clone, Copy)]
pub(super) enum Told {
    Written,
    Failed,
    /// Too many are under way; the log has it.
    Dropped,
}

/// Which side was read again.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Direction {
    /// What we have written.
    Forward,
    /// What we import.
    Reverse,
}

impl Label for Direction {
    const NAME: &'static str = "direction";
    const ALL: &'static [Self] = &[Direction::Forward, Direction::Reverse];

    fn value(self) -> &'static str {
        match self {
            Direction::Forward => "forward",
            Direction::Reverse => "reverse",
        }
    }
}

impl Label for End {
    const NAME: &'static str = "outcome";
    const ALL: &'static [Self] = &[End::Done, End::Again, End::Fenced];

    fn value(self) -> &'static str {
        match self {
            End::Done => "done",
            End::Again => "again",
            End::Fenced => "fenced",
        }
    }
}

impl Label for Found {
    const NAME: &'static str = "result";
    const ALL: &'static [Self] = &[Found::Absent, Found::Ours, Found::Theirs, Found::Failed];

    fn value(self) -> &'static str {
        match self {
            Found::Absent => "absent",
            Found::Ours => "ours",
            Found::Theirs => "theirs",
            Found::Failed => "failed",
        }
    }
}

impl Label for Reason {
    const NAME: &'static str = "reason";
    const ALL: &'static [Self] = Reason::ALL;

    fn value(self) -> &'static str {
        self.name()
    }
}

impl Label for Told {
    const NAME: &'static str = "result";
    const ALL: &'static [Self] = &[Told::Written, Told::Failed, Told::Dropped];

    fn value(self) -> &'static str {
        match self {
            Told::Written => "written",
            Told::Failed => "failed",
            Told::Dropped => "dropped",
        }
    }
}

impl Default for ApplyMetrics {
    fn default() -> Self {
        ApplyMetrics {
            plans: counter("zoobridge_plans_total", "Services planned."),
            writes: CounterBy::new(
                "zoobridge_writes_total",
                "Changes of one Service written, by how they ended.",
            ),
            write_seconds: histogram(
                "zoobridge_write_duration_seconds",
                "From the plan of one Service's change to its last answer.",
            ),
            visible_seconds: histogram(
                "zoobridge_slice_to_znode_seconds",
                "From an EndpointSlice's event to the acknowledgement of all znodes that it changes.",
            ),
            looks: CounterBy::new("zoobridge_looks_total", "Znodes in doubt that were looked at."),
            repairs: counter(
                "zoobridge_repairs_total",
                "Znodes of ours that somebody else changed or deleted.",
            ),
            refusals: CounterBy::new(
                "zoobridge_refusals_total",
                "What was asked for and is not published, counted when it comes up.",
            ),
            events: CounterBy::new("zoobridge_events_total", "Events about Services."),
            unheard: CounterBy::new(
                "zoobridge_audit_finds_total",
                "Znodes of ours, and imported directories, that had changed without a watch having told of it.",
            ),
        }
    }
}

impl ApplyMetrics {
    fn register(&self, registry: &Registry) {
        let ApplyMetrics {
            plans,
            writes,
            write_seconds,
            visible_seconds,
            looks,
            repairs,
            refusals,
            events,
            unheard,
        } = self;
        register(registry, plans.clone());
        register(registry, repairs.clone());
        register(registry, write_seconds.clone());
        register(registry, visible_seconds.clone());
        writes.register(registry);
        looks.register(registry);
        refusals.register(registry);
        events.register(registry);
        unheard.register(registry);
    }

    /// A change was written, or was to be. `since` it was heard of so much time has passed.
    pub(super) fn written(&self, wrote: bool, end: End, since: Option<Duration>) {
        if wrote || end != End::Done {
            self.writes.inc(end);
        }
        if let (End::Done, Some(since)) = (end, since) {
            self.visible_seconds.observe(since.as_secs_f64());
        }
    }

    pub(super) fn looked(&self, look: &Look) {
        self.looks.inc(match look {
            Look::Absent => Found::Absent,
            Look::Ours(_) => Found::Ours,
            Look::Theirs(_) => Found::Theirs,
            Look::Failed => Found::Failed,
        });
    }

    pub(super) fn sighted(&self, sighting: &Sighting) {
        self.looks.inc(match sighting {
            Sighting::Absent => Found::Absent,
            Sighting::Ours => Found::Ours,
            Sighting::Theirs { .. } => Found::Theirs,
            Sighting::Failed => Found::Failed,
        });
    }
}

impl Default for Instruments {
    fn default() -> Self {
        Instruments::of(EnsembleName::default())
    }
}

impl Instruments {
    /// Those of this ensemble's bridge.
    #[must_use]
    pub fn of(ensemble: EnsembleName) -> Self {
        Instruments {
            ensemble,
            watches: WatchMetrics::default(),
            sessions: SessionMetrics::default(),
            apply: ApplyMetrics::default(),
            restarts: counter(
                "zoobridge_restarts_total",
                "Times that an ensemble's bridge was started again because it had failed.",
            ),
            status: Arc::default(),
            pulse: Arc::default(),
        }
    }

    /// What writes Events, and counts them.
    pub(crate) fn events(&self, client: kube::Client) -> super::Events {
        let (told, refusals) = (self.apply.events.clone(), self.apply.refusals.clone());
        super::Events::new(client, &self.ensemble, told, refusals)
    }

    /// An audit saw what no watch had told of.
    pub(crate) fn unheard(&self, direction: Direction) {
        self.apply.unheard.inc(direction);
    }

    /// What the bridge is doing, now and later.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// For those who watch over this bridge alone.
    #[must_use]
    pub fn subject(&self) -> BridgeSubject {
        BridgeSubject::new(&ReloadMetrics::default(), [self.clone()])
    }

    /// All families, with a label for the ensemble.
    pub(super) fn register(&self, registry: &Registry) {
        self.watches.register(registry);
        self.sessions.register(registry);
        self.apply.register(registry);
        register(registry, self.restarts.clone());
    }

    /// Does its main loop go on?
    pub(super) fn goes_on(&self) -> bool {
        self.pulse.goes_on()
    }

    /// The bridge has ended by itself, and is to be started again. To be told again and again until it is.
    pub(crate) fn failed(&self) {
        self.tell(Status { failed: true, ..Status::default() });
    }

    /// It is started again.
    pub(crate) fn restarted(&self) {
        self.restarts.inc();
        self.tell(Status::default());
    }

    /// The bridge comes round, and tells.
    pub(super) fn tell(&self, status: Status) {
        self.pulse.beat();
        self.status.send_if_modified(|before| std::mem::replace(before, status) != status);
    }
}
