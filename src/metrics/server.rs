//! The server's metrics, under Apache's names where Apache has them (`ZooKeeperServer.registerMetrics`,
//! `ServerMetrics`).

use prometheus::proto::MetricFamily;
use prometheus::{IntCounter, IntGauge, Registry};
use zab::{Report, Reporter};

use super::{Summary, counter, gauge, process, register};
use crate::http::Subject;

/// What a server reports, as families.
#[derive(Debug)]
pub struct ServerMetrics {
    znode_count: IntGauge,
    ephemerals_count: IntGauge,
    watch_count: IntGauge,
    approximate_data_size: IntGauge,
    num_alive_connections: IntGauge,
    global_sessions: IntGauge,
    outstanding_requests: IntGauge,
    packets_received: IntGauge,
    packets_sent: IntGauge,
    uptime: IntGauge,
    auth_failed_count: IntGauge,
    bytes_received_count: IntCounter,
    connection_request_count: IntCounter,
    stale_sessions_expired: IntCounter,
    fsynctime: Summary,
    snapshottime: Summary,
}

/// A server, as whoever watches over it sees it.
#[derive(Debug)]
pub struct ServerSubject {
    reporter: Reporter,
    metrics: ServerMetrics,
    registry: Registry,
}

const SILENT: &str = "the server does not answer";

impl Default for ServerMetrics {
    fn default() -> Self {
        ServerMetrics {
            znode_count: gauge("znode_count", "Znodes."),
            ephemerals_count: gauge("ephemerals_count", "Ephemeral znodes."),
            watch_count: gauge("watch_count", "Watches."),
            approximate_data_size: gauge("approximate_data_size", "Bytes of paths and data."),
            num_alive_connections: gauge("num_alive_connections", "Connections of clients."),
            global_sessions: gauge("global_sessions", "Sessions, attached or not."),
            outstanding_requests: gauge("outstanding_requests", "Proposals that are not committed yet."),
            packets_received: gauge("packets_received", "Messages received since the start."),
            packets_sent: gauge("packets_sent", "Messages sent since the start."),
            uptime: gauge("uptime", "Milliseconds since the start."),
            auth_failed_count: gauge("auth_failed_count", "Credentials that were refused since the start."),
            bytes_received_count: counter("bytes_received_count", "Bytes of messages received."),
            connection_request_count: counter(
                "connection_request_count",
                "Requests for a session, new or resumed.",
            ),
            stale_sessions_expired: counter("stale_sessions_expired", "Sessions that have expired."),
            fsynctime: Summary::of_millis("fsynctime", "Milliseconds of log writes with their fdatasync."),
            snapshottime: Summary::of_millis("snapshottime", "Milliseconds of snapshots while serving."),
        }
    }
}

impl ServerMetrics {
    /// Registers all families.
    pub fn register(&self, registry: &Registry) {
        let gauges = [
            &self.znode_count,
            &self.ephemerals_count,
            &self.watch_count,
            &self.approximate_data_size,
            &self.num_alive_connections,
            &self.global_sessions,
            &self.outstanding_requests,
            &self.packets_received,
            &self.packets_sent,
            &self.uptime,
            &self.auth_failed_count,
        ];
        gauges.into_iter().for_each(|gauge| register(registry, gauge.clone()));
        let counters =
            [&self.bytes_received_count, &self.connection_request_count, &self.stale_sessions_expired];
        counters.into_iter().for_each(|counter| register(registry, counter.clone()));
        register(registry, self.fsynctime.clone());
        register(registry, self.snapshottime.clone());
    }

    /// Takes over what the server reports.
    pub fn set(&self, report: &Report) {
        let Report { view, uptime, syncs, snapshots } = report;
        let size = |gauge: &IntGauge, size: usize| gauge.set(i64::try_from(size).unwrap_or(i64::MAX));
        let count = |gauge: &IntGauge, count: u64| gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        size(&self.znode_count, view.znodes);
        size(&self.ephemerals_count, view.ephemerals);
        size(&self.watch_count, view.watches);
        count(&self.approximate_data_size, view.data_bytes);
        size(&self.num_alive_connections, view.connections);
        size(&self.global_sessions, view.sessions);
        size(&self.outstanding_requests, view.outstanding);
        count(&self.packets_received, view.stats.received);
        count(&self.packets_sent, view.stats.sent);
        count(&self.auth_failed_count, view.stats.auth_failed);
        self.uptime.set(i64::try_from(uptime.as_millis()).unwrap_or(i64::MAX));
        raise(&self.bytes_received_count, view.stats.received_bytes);
        raise(&self.connection_request_count, view.stats.connect_requests);
        raise(&self.stale_sessions_expired, view.stats.expired);
        self.fsynctime.set(*syncs);
        self.snapshottime.set(*snapshots);
    }
}

impl ServerSubject {
    /// Looks at a server.
    #[must_use]
    pub fn new(reporter: Reporter) -> Self {
        let (metrics, registry) = (ServerMetrics::default(), Registry::new());
        metrics.register(&registry);
        process(&registry);
        ServerSubject { reporter, metrics, registry }
    }

    async fn answers(&self) -> Result<Report, &'static str> {
        self.reporter.report().await.ok_or(SILENT)
    }
}

impl Subject for ServerSubject {
    /// Its one task answers.
    async fn live(&self) -> Result<(), &'static str> {
        self.answers().await.map(drop)
    }

    /// A server that runs serves: it listens only when it has recovered.
    async fn ready(&self) -> Result<(), &'static str> {
        self.answers().await.map(drop)
    }

    async fn families(&self) -> Result<Vec<MetricFamily>, &'static str> {
        self.metrics.set(&self.answers().await?);
        Ok(self.registry.gather())
    }
}

/// Two scrapes at the same time may come here in either order.
fn raise(counter: &IntCounter, to: u64) {
    counter.inc_by(to.saturating_sub(counter.get()));
}
