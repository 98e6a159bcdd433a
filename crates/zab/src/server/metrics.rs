//! Numbers under Apache's names, as `mntr`, `/commands/monitor` and Prometheus show them.

use super::inspect::View;
use super::stats::{Quantiles, Spread};
use super::words::java_double;

/// A family of numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// Apache's name.
    pub name: &'static str,
    /// For people.
    pub help: &'static str,
    /// Its value.
    pub value: Value,
}

/// The kinds of Apache's `MetricsContext`.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// May rise and fall.
    Gauge(Number),
    /// Only rises.
    Counter(u64),
    /// Of many values (`DetailLevel.BASIC`).
    Summary(Spread),
    /// With how they are distributed (`DetailLevel.ADVANCED`).
    Distribution(Spread, Quantiles),
    /// A gauge for each member of a set.
    Gauges(Vec<(String, i64)>),
    /// A counter for each.
    Counters(Vec<(String, u64)>),
    /// A summary for each.
    Summaries(Vec<(String, Spread)>),
}

/// A number that Java prints as a whole one, or as a fraction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// `long`.
    Whole(i64),
    /// `double`.
    Fraction(f64),
}

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Number::Whole(number) => number.fmt(f),
            Number::Fraction(number) => f.write_str(&java_double(*number)),
        }
    }
}

impl From<u64> for Number {
    fn from(number: u64) -> Self {
        Number::Whole(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<usize> for Number {
    fn from(number: usize) -> Self {
        Number::from(number as u64)
    }
}

impl Metric {
    /// A gauge.
    #[must_use]
    pub fn gauge(name: &'static str, help: &'static str, number: Number) -> Self {
        Metric { name, help, value: Value::Gauge(number) }
    }

    /// A counter.
    #[must_use]
    pub fn counter(name: &'static str, help: &'static str, count: u64) -> Self {
        Metric { name, help, value: Value::Counter(count) }
    }

    /// A summary.
    #[must_use]
    pub fn summary(name: &'static str, help: &'static str, spread: Spread) -> Self {
        Metric { name, help, value: Value::Summary(spread) }
    }

    /// Its numbers as `mntr` names them.
    #[must_use]
    pub fn numbers(&self) -> Vec<(String, Number)> {
        let name = self.name;
        match &self.value {
            Value::Gauge(number) => vec![(name.to_owned(), *number)],
            Value::Counter(count) => vec![(name.to_owned(), Number::from(*count))],
            Value::Summary(spread) => of_spread(name, spread),
            Value::Distribution(spread, quantiles) => {
                let Quantiles { p50, p95, p99, p999, .. } = *quantiles;
                let of_quantiles = [("p50", p50), ("p95", p95), ("p99", p99), ("p999", p999)];
                let mut numbers = of_spread(name, spread);
                numbers.extend(of_quantiles.map(|(key, at)| (format!("{key}_{name}"), Number::from(at))));
                numbers
            }
            Value::Gauges(members) => members
                .iter()
                .map(|(key, number)| (format!("{key}_{name}"), Number::Whole(*number)))
                .collect(),
            Value::Counters(members) => {
                members.iter().map(|(key, count)| (format!("{key}_{name}"), Number::from(*count))).collect()
            }
            Value::Summaries(members) => {
                members.iter().flat_map(|(key, spread)| of_spread(&format!("{key}_{name}"), spread)).collect()
            }
        }
    }
}

fn of_spread(name: &str, spread: &Spread) -> Vec<(String, Number)> {
    vec![
        (format!("avg_{name}"), Number::Fraction(spread.mean())),
        (format!("min_{name}"), Number::from(spread.min())),
        (format!("max_{name}"), Number::from(spread.max())),
        (format!("cnt_{name}"), Number::from(spread.count())),
        (format!("sum_{name}"), Number::from(spread.sum())),
    ]
}

/// What the core knows.
#[must_use]
pub fn of_core(view: &View) -> Vec<Metric> {
    let stats = &view.stats;
    let size = &stats.response_size;
    // `BufferStats.INIT_VALUE`: -1 before the first.
    let of_size = |bytes: u64| if size.count() == 0 { Number::Whole(-1) } else { Number::from(bytes) };
    let (gauge, counter, summary) = (Metric::gauge, Metric::counter, Metric::summary);
    vec![
        gauge(
            "avg_latency",
            "Milliseconds from request to answer, on average.",
            Number::Fraction(stats.latency.mean()),
        ),
        gauge("min_latency", "Milliseconds from request to answer, at least.", stats.latency.min().into()),
        gauge("max_latency", "Milliseconds from request to answer, at most.", stats.latency.max().into()),
        gauge("packets_received", "Messages received since the start.", stats.received.into()),
        gauge("packets_sent", "Messages sent since the start.", stats.sent.into()),
        gauge("num_alive_connections", "Connections of clients.", view.connections.into()),
        gauge("outstanding_requests", "Proposals that are not committed yet.", view.outstanding.into()),
        gauge("znode_count", "Znodes; the root counts twice.", view.znodes.into()),
        gauge("watch_count", "Watches; a persistent one counts twice.", view.watches.into()),
        gauge("ephemerals_count", "Ephemeral znodes.", view.ephemerals.into()),
        gauge("approximate_data_size", "Bytes of paths and data.", view.data_bytes.into()),
        gauge("local_sessions", "Sessions that are only this server's.", view.local_sessions.into()),
        gauge("global_sessions", "Sessions, attached or not.", view.sessions.into()),
        gauge(
            "last_client_response_size",
            "Bytes of the last answer.",
            of_size(stats.last_response_size.unwrap_or(0)),
        ),
        gauge("max_client_response_size", "Bytes of the longest answer.", of_size(size.max())),
        gauge("min_client_response_size", "Bytes of the shortest answer.", of_size(size.min())),
        gauge(
            "auth_failed_count",
            "Credentials that were refused since the start.",
            stats.auth_failed.into(),
        ),
        counter("bytes_received_count", "Bytes of messages received.", stats.received_bytes),
        counter("response_bytes", "Bytes of answers.", size.sum()),
        counter("watch_bytes", "Bytes of events.", stats.watch_bytes),
        counter(
            "connection_request_count",
            "Requests for a session, new or resumed.",
            stats.connect_requests,
        ),
        counter("connection_revalidate_count", "Sessions that were resumed.", stats.revalidated),
        counter("stale_sessions_expired", "Sessions that have expired.", stats.expired),
        counter("prep_processor_request_queued", "Requests that were prepared.", stats.latency.count()),
        counter("sync_processor_request_queued", "Transactions that were logged.", stats.proposed),
        summary("node_created_watch_count", "Watches that a create fired.", stats.fired.created),
        summary("node_deleted_watch_count", "Watches that a delete fired.", stats.fired.deleted),
        summary("node_changed_watch_count", "Watches that new data fired.", stats.fired.changed),
        summary("node_children_watch_count", "Watches that a list of children fired.", stats.fired.children),
        Metric {
            name: "readlatency",
            help: "Milliseconds from request to answer of what only reads.",
            value: Value::Distribution(stats.read_latency, view.read_quantiles),
        },
        Metric {
            name: "updatelatency",
            help: "Milliseconds from request to answer of what is logged.",
            value: Value::Distribution(stats.update_latency, view.update_quantiles),
        },
    ]
}

/// What is counted in parts of Apache's server that a single node here does not have, and is therefore always
/// zero: members of an ensemble, throttles, caches of answers, Netty. Dashboards ask for them all the same.
#[must_use]
pub fn of_absent_parts() -> Vec<Metric> {
    const HELP: &str = "Always 0: there is no such part here.";
    let counters = ABSENT_COUNTERS.iter().map(|name| Metric::counter(name, HELP, 0));
    let summaries = ABSENT_SUMMARIES.iter().map(|name| Metric::summary(name, HELP, Spread::default()));
    let distributions = ABSENT_DISTRIBUTIONS.iter().map(|name| Metric {
        name,
        help: HELP,
        value: Value::Distribution(Spread::default(), Quantiles::default()),
    });
    counters.chain(summaries).chain(distributions).collect()
}

const ABSENT_COUNTERS: &[&str] = &[
    "add_dead_watcher_stall_time",
    "cnxn_closed_without_zk_server_running",
    "commit_count",
    "connection_drop_count",
    "dead_watchers_cleared",
    "dead_watchers_queued",
    "diff_count",
    "ensemble_auth_fail",
    "ensemble_auth_skip",
    "ensemble_auth_success",
    "large_requests_rejected",
    "learner_commit_received_count",
    "learner_proposal_received_count",
    "looking_count",
    "proposal_count",
    "quit_leading_due_to_disloyal_voter",
    "request_commit_queued",
    "request_throttle_wait_count",
    "requests_not_forwarded_to_commit_processor",
    "response_packet_cache_hits",
    "response_packet_cache_misses",
    "response_packet_get_children_cache_hits",
    "response_packet_get_children_cache_misses",
    "revalidate_count",
    "skip_learner_request_to_next_processor_count",
    "snap_count",
    "stale_replies",
    "stale_requests",
    "stale_requests_dropped",
    "throttled_ops",
    "unrecoverable_error_count",
];

const ABSENT_SUMMARIES: &[&str] = &[
    "commit_commit_proc_req_queued",
    "commit_process_time",
    "concurrent_request_processing_in_commit_processor",
    "connection_token_deficit",
    "election_time",
    "follower_sync_time",
    "inflight_diff_count",
    "inflight_snap_count",
    "leader_unavailable_time",
    "learner_request_processor_queue_size",
    "netty_queued_buffer_capacity",
    "observer_sync_time",
    "pending_session_queue_size",
    "read_commit_proc_issued",
    "read_commit_proc_req_queued",
    "reads_after_write_in_session_queue",
    "reads_issued_from_session_queue",
    "requests_in_session_queue",
    "session_queues_drained",
    "time_waiting_empty_pool_in_commit_processor_read_ms",
    "unavailable_time",
    "write_batch_time_in_commit_processor",
    "write_commit_proc_issued",
    "write_commit_proc_req_queued",
];

const ABSENT_DISTRIBUTIONS: &[&str] = &[
    "commit_propagation_latency",
    "dead_watchers_cleaner_latency",
    "local_write_committed_time_ms",
    "om_commit_process_time_ms",
    "om_proposal_process_time_ms",
    "propagation_latency",
    "proposal_ack_creation_latency",
    "proposal_latency",
    "quorum_ack_latency",
    "read_commitproc_time_ms",
    "request_throttle_queue_time_ms",
    "server_write_committed_time_ms",
    "write_commitproc_time_ms",
];
