//! What the watches count.

use kube::runtime::watcher::Event;
use prometheus::Registry;

use crate::metrics::{CounterBy, Label};

/// Counters of the watches.
#[derive(Debug, Clone)]
pub struct WatchMetrics {
    events: CounterBy<Watched>,
    lists: CounterBy<Watched>,
    errors: CounterBy<Watched>,
}

/// What is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watched {
    /// Services.
    Service,
    /// EndpointSlices.
    EndpointSlice,
    /// Nodes.
    Node,
}

impl Label for Watched {
    const NAME: &'static str = "kind";
    const ALL: &'static [Self] = &[Watched::Service, Watched::EndpointSlice, Watched::Node];

    fn value(self) -> &'static str {
        match self {
            Watched::Service => "Service",
            Watched::EndpointSlice => "EndpointSlice",
            Watched::Node => "Node",
        }
    }
}

impl Default for WatchMetrics {
    fn default() -> Self {
        let counter = CounterBy::new;
        WatchMetrics {
            events: counter("zoobridge_watch_events_total", "Changes that a watch reported."),
            lists: counter(
                "zoobridge_watch_lists_total",
                "Lists that were begun; the first one, and relists.",
            ),
            errors: counter(
                "zoobridge_watch_errors_total",
                "Lists and watches that failed; each is tried again.",
            ),
        }
    }
}

impl WatchMetrics {
    /// Registers all families.
    pub fn register(&self, registry: &Registry) {
        [&self.events, &self.lists, &self.errors].into_iter().for_each(|family| family.register(registry));
    }

    /// A watch saw something.
    pub(super) fn observed<K>(&self, watched: Watched, event: &Event<K>) {
        match event {
            Event::Apply(_) | Event::Delete(_) => self.events.inc(watched),
            Event::Init => self.lists.inc(watched),
            Event::InitApply(_) | Event::InitDone => {}
        }
    }

    /// A list or a watch failed.
    pub(super) fn failed(&self, watched: Watched) {
        self.errors.inc(watched);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p20_endpoints_are_never_read() {
        let watched: Vec<_> = Watched::ALL.iter().map(|watched| watched.value()).collect();
        assert_eq!(watched, ["Service", "EndpointSlice", "Node"]);
        let rights = include_str!("../../deploy/kustomize/bridge/rbac.yaml");
        assert!(rights.contains("[endpointslices]") && !rights.contains("[endpoints]"));
    }
}
