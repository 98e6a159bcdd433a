//! What the bridge counts, and how whoever watches over it sees it.

use std::sync::Arc;
use std::time::Duration;

use prometheus::proto::MetricFamily;
use prometheus::{Histogram, IntCounter, IntGauge, Registry};
use tokio::sync::watch;

use super::bridge::Status;
use super::write::End;
use crate::config::ReloadMetrics;
use crate::http::{Pulse, Subject};
use crate::metrics::{CounterBy, Label, counter, gauge, histogram, process, register};
use crate::observe::WatchMetrics;
use crate::plan::Reason;
use crate::session::{Look, SessionMetrics, Sighting};

/// A bridge's instruments. Cheap to clone; all clones show the same.
#[derive(Debug, Clone, Default)]
pub struct Instruments {
    /// What became of changes of the configuration.
    pub config: ReloadMetrics,
    /// What the watches count.
    pub watches: WatchMetrics,
    pub(super) sessions: SessionMetrics,
    pub(super) apply: ApplyMetrics,
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

/// Sizes and states, set at the scrape.
#[derive(Debug)]
struct Sizes {
    leading: IntGauge,
    synced: IntGauge,
    services: IntGauge,
    znodes: IntGauge,
    refused: IntGauge,
    pending: IntGauge,
    sessions: IntGauge,
    attached: IntGauge,
    skipped: IntCounter,
}

/// A bridge, as whoever watches over it sees it.
#[derive(Debug)]
pub struct BridgeSubject {
    instruments: Instruments,
    sizes: Sizes,
    registry: Registry,
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
        }
    }
}

impl ApplyMetrics {
    fn register(&self, registry: &Registry) {
        let ApplyMetrics { plans, writes, write_seconds, visible_seconds, looks, repairs, refusals, events } =
            self;
        register(registry, plans.clone());
        register(registry, repairs.clone());
        register(registry, write_seconds.clone());
        register(registry, visible_seconds.clone());
        writes.register(registry);
        looks.register(registry);
        refusals.register(registry);
        events.register(registry);
    }

    /// A change was written. `since` it was heard of so much time has passed.
    pub(super) fn written(&self, end: End, since: Option<Duration>) {
        self.writes.inc(end);
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

impl Instruments {
    /// What writes Events, and counts them.
    pub(crate) fn events(&self, client: kube::Client) -> super::Events {
        super::Events::new(client, self.apply.events.clone(), self.apply.refusals.clone())
    }

    /// What the bridge is doing, now and later.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// For those who watch over it.
    #[must_use]
    pub fn subject(&self) -> BridgeSubject {
        let (sizes, registry) = (Sizes::default(), Registry::new());
        self.config.register(&registry);
        self.watches.register(&registry);
        self.sessions.register(&registry);
        self.apply.register(&registry);
        sizes.register(&registry);
        process(&registry);
        BridgeSubject { instruments: self.clone(), sizes, registry }
    }

    /// The bridge comes round, and tells.
    pub(super) fn tell(&self, status: Status) {
        self.pulse.beat();
        self.status.send_if_modified(|before| std::mem::replace(before, status) != status);
    }
}

impl Default for Sizes {
    fn default() -> Self {
        Sizes {
            leading: gauge("zoobridge_leading", "1 if this replica publishes."),
            synced: gauge("zoobridge_synced", "1 once both watches have completed a list."),
            services: gauge("zoobridge_services", "Services with at least one znode."),
            znodes: gauge("zoobridge_znodes", "Znodes held."),
            refused: gauge("zoobridge_refused_services", "Services of which something is refused."),
            pending: gauge(
                "zoobridge_pending",
                "Services that are to be planned or written, and znodes to be looked at.",
            ),
            sessions: gauge("zoobridge_sessions", "Sessions of the pool."),
            attached: gauge("zoobridge_sessions_attached", "Sessions of the pool that are attached."),
            skipped: counter(
                "zoobridge_malformed_objects_total",
                "Objects that make no sense and were skipped.",
            ),
        }
    }
}

impl Sizes {
    fn register(&self, registry: &Registry) {
        let Sizes { leading, synced, services, znodes, refused, pending, sessions, attached, skipped } = self;
        let gauges = [leading, synced, services, znodes, refused, pending, sessions, attached];
        gauges.into_iter().for_each(|gauge| register(registry, gauge.clone()));
        register(registry, skipped.clone());
    }

    fn set(&self, status: &Status) {
        let size = |gauge: &IntGauge, size: usize| gauge.set(i64::try_from(size).unwrap_or(i64::MAX));
        self.leading.set(i64::from(status.leading));
        self.synced.set(i64::from(status.synced));
        size(&self.services, status.services);
        size(&self.znodes, status.znodes);
        size(&self.refused, status.refused);
        size(&self.pending, status.pending);
        size(&self.sessions, status.sessions);
        size(&self.attached, status.attached);
        self.skipped.inc_by(status.skipped.saturating_sub(self.skipped.get()));
    }
}

impl Subject for BridgeSubject {
    async fn live(&self) -> Result<(), &'static str> {
        if self.instruments.pulse.goes_on() { Ok(()) } else { Err("the bridge's task does not come round") }
    }

    async fn ready(&self) -> Result<(), &'static str> {
        self.instruments.status.borrow().ready()
    }

    async fn families(&self) -> Result<Vec<MetricFamily>, &'static str> {
        self.sizes.set(&self.instruments.status.borrow());
        Ok(self.registry.gather())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_is_ready_when_all_is_written_and_a_follower_when_all_is_known() {
        let new = Status::default();
        let known = Status { synced: true, ..new };
        let leads = Status { leading: true, sessions: 2, attached: 2, ..known };
        let settled = Status { settled: true, ..leads };
        for (status, missing) in [
            (new, Some("Services and EndpointSlices are not listed yet")),
            (Status { standing_by: true, ..new }, Some("Services and EndpointSlices are not listed yet")),
            (Status { standing_by: true, ..known }, None),
            (known, Some("the sessions are not taken over yet")),
            (leads, Some("not everything that was there at first is written yet")),
            (Status { attached: 1, ..settled }, Some("a session is not attached")),
            (settled, None),
            // One Service that cannot be written makes nobody not ready.
            (Status { pending: 1, refused: 1, ..settled }, None),
        ] {
            assert_eq!(status.ready().err(), missing, "{status:?}");
        }
    }
}
