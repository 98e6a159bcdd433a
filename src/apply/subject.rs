//! The bridges of a process, as whoever watches over it sees them.

use std::collections::{BTreeMap, HashMap};

use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntGauge, Registry};

use super::bridge::Status;
use super::metrics::Instruments;
use crate::config::ReloadMetrics;
use crate::http::{Reason, Subject};
use crate::metrics::{counter, gauge, process, register};

/// The bridges of a process: one for each ensemble.
#[derive(Debug)]
pub struct BridgeSubject {
    bridges: Vec<Watched>,
    /// What is no ensemble's.
    process: Registry,
}

/// One of them.
#[derive(Debug)]
struct Watched {
    instruments: Instruments,
    sizes: Sizes,
    registry: Registry,
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

impl BridgeSubject {
    /// Bridges of different ensembles. All that is counted has the label `ensemble`, but for what the process counts.
    #[must_use]
    pub fn new(config: &ReloadMetrics, bridges: impl IntoIterator<Item = Instruments>) -> Self {
        let own = Registry::new();
        config.register(&own);
        process(&own);
        BridgeSubject { bridges: bridges.into_iter().map(Watched::new).collect(), process: own }
    }

    /// What is wrong with each, with its name if there are several.
    fn all(&self, ask: impl Fn(&Watched) -> Result<(), &'static str>) -> Result<(), Reason> {
        let wrong = self.bridges.iter().filter_map(|bridge| {
            let reason = ask(bridge).err()?;
            Some(match self.bridges.len() {
                1 => Reason::Borrowed(reason),
                _ => format!("ensemble {}: {reason}", bridge.instruments.ensemble).into(),
            })
        });
        match wrong.reduce(|all, one| format!("{all}\n{one}").into()) {
            None => Ok(()),
            Some(wrong) => Err(wrong),
        }
    }
}

impl Subject for BridgeSubject {
    async fn live(&self) -> Result<(), Reason> {
        self.all(|bridge| match bridge.instruments.goes_on() {
            true => Ok(()),
            false => Err("the bridge's task does not come round"),
        })
    }

    async fn ready(&self) -> Result<(), Reason> {
        self.all(|bridge| bridge.instruments.status().borrow().ready())
    }

    async fn families(&self) -> Result<Vec<MetricFamily>, &'static str> {
        let mut families: BTreeMap<String, MetricFamily> = BTreeMap::new();
        let of_bridges = self.bridges.iter().flat_map(Watched::gather);
        for mut family in self.process.gather().into_iter().chain(of_bridges) {
            match families.get_mut(family.name()) {
                Some(whole) => whole.mut_metric().extend(family.take_metric()),
                None => drop(families.insert(family.name().to_owned(), family)),
            }
        }
        Ok(families.into_values().collect())
    }
}

impl Watched {
    fn new(instruments: Instruments) -> Self {
        let label = HashMap::from([("ensemble".to_owned(), instruments.ensemble.to_string())]);
        let registry =
            Registry::new_custom(None, Some(label)).expect("without a prefix there is nothing to refuse");
        let sizes = Sizes::default();
        instruments.register(&registry);
        sizes.register(&registry);
        Watched { instruments, sizes, registry }
    }

    fn gather(&self) -> Vec<MetricFamily> {
        self.sizes.set(&self.instruments.status().borrow());
        self.registry.gather()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_is_not_ready_is_named_if_there_are_several() {
        let (first, legacy) = (Instruments::default(), Instruments::of("legacy".parse().unwrap()));
        let alone = BridgeSubject::new(&ReloadMetrics::default(), [first.clone()]);
        let both = BridgeSubject::new(&ReloadMetrics::default(), [first.clone(), legacy.clone()]);
        assert_eq!(alone.ready().await.unwrap_err(), "Services and EndpointSlices are not listed yet");
        let settled = Status { synced: true, leading: true, settled: true, ..Status::default() };
        first.tell(settled);
        assert_eq!(alone.ready().await, Ok(()));
        legacy.failed();
        assert_eq!(
            both.ready().await.unwrap_err(),
            "ensemble legacy: the bridge has failed and is to be started again; the log says why"
        );
        legacy.tell(settled);
        assert_eq!(both.ready().await, Ok(()));
    }

    #[tokio::test]
    async fn each_family_is_told_once_with_a_sample_of_each_ensemble() {
        let bridges = ["default", "legacy"].map(|name| Instruments::of(name.parse().unwrap()));
        bridges[1].failed();
        bridges[1].restarted();
        let families = BridgeSubject::new(&ReloadMetrics::default(), bridges).families().await.unwrap();
        let text = prometheus::TextEncoder::new().encode_to_string(&families).unwrap();
        assert_eq!(text.matches("# TYPE zoobridge_restarts_total counter").count(), 1);
        for (ensemble, restarts) in [("default", 0), ("legacy", 1)] {
            let line = format!("zoobridge_restarts_total{{ensemble=\"{ensemble}\"}} {restarts}\n");
            assert!(text.contains(&line), "there is no {line}");
        }
        assert!(text.contains("zoobridge_config_refused 0\n"));
    }
}
