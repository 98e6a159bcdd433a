//! The commands (`org.apache.zookeeper.server.admin.Commands`): their names, and what each answers on one node.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use zab::Reporter;
use zab::net::process;
use zab::net::report::{Setting, directory_bytes, last_snapshot};
use zab::server::inspect::{ConnectionView, View};
use zab::server::metrics::Number;
use zab::server::stats::millis;
use zab::server::{version, words};
use zk_wire::ids::SessionId;

use super::json::{Member, Object};

/// A command, by the names it has. The first is the one that it answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    ConnectionStatReset,
    Configuration,
    Connections,
    Dirs,
    Dump,
    Environment,
    GetTraceMask,
    Hash,
    InitialConfiguration,
    IsReadOnly,
    LastSnapshot,
    Leader,
    Monitor,
    ObserverConnectionStatReset,
    Observers,
    Restore,
    Ruok,
    ServerStats,
    SetTraceMask,
    Snapshot,
    StatReset,
    Stats,
    SystemProperties,
    VotingView,
    WatchSummary,
    Watches,
    WatchesByPath,
    Zabstate,
}

/// All names.
const NAMES: [(Command, &[&str]); 28] = [
    (Command::Configuration, &["configuration", "conf", "config"]),
    (Command::ConnectionStatReset, &["connection_stat_reset", "crst"]),
    (Command::Connections, &["connections", "cons"]),
    (Command::Dirs, &["dirs"]),
    (Command::Dump, &["dump"]),
    (Command::Environment, &["environment", "env", "envi"]),
    (Command::GetTraceMask, &["get_trace_mask", "gtmk"]),
    (Command::Hash, &["hash"]),
    (Command::InitialConfiguration, &["initial_configuration", "icfg"]),
    (Command::IsReadOnly, &["is_read_only", "isro"]),
    (Command::LastSnapshot, &["last_snapshot", "lsnp"]),
    (Command::Leader, &["leader", "lead"]),
    (Command::Monitor, &["monitor", "mntr"]),
    (Command::ObserverConnectionStatReset, &["observer_connection_stat_reset", "orst"]),
    (Command::Observers, &["observers", "obsr"]),
    (Command::Restore, &["restore", "rest"]),
    (Command::Ruok, &["ruok"]),
    (Command::ServerStats, &["server_stats", "srvr"]),
    (Command::SetTraceMask, &["set_trace_mask", "stmk"]),
    (Command::Snapshot, &["snapshot", "snap"]),
    (Command::StatReset, &["stat_reset", "srst"]),
    (Command::Stats, &["stats", "stat"]),
    (Command::SystemProperties, &["system_properties", "sysp"]),
    (Command::VotingView, &["voting_view"]),
    (Command::WatchSummary, &["watch_summary", "wchs"]),
    (Command::Watches, &["watches", "wchc"]),
    (Command::WatchesByPath, &["watches_by_path", "wchp"]),
    (Command::Zabstate, &["zabstate"]),
];

/// The names that commands answer with, in their order.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    NAMES.iter().map(|(_, names)| names[0])
}

impl Command {
    /// By any of its names.
    pub(super) fn named(name: &str) -> Option<Command> {
        NAMES.iter().find(|(_, names)| names.contains(&name)).map(|(command, _)| *command)
    }

    /// The name that it answers with.
    pub(super) fn name(self) -> &'static str {
        NAMES.iter().find(|(command, _)| *command == self).map_or("", |(_, names)| names[0])
    }

    /// What it answers, without its name and error. `None` if the server does not answer.
    pub(super) async fn run(
        self,
        reporter: &Reporter,
        arguments: &HashMap<String, String>,
    ) -> Option<Object> {
        let object = Object::default();
        let facts = &reporter.facts;
        Some(match self {
            Command::ConnectionStatReset => {
                reporter.ask(|core| core.reset_connection_stats()).await?;
                object
            }
            Command::StatReset => {
                reporter.ask(|core| core.reset_stats()).await?;
                object
            }
            Command::Ruok => {
                reporter.ask(|_| ()).await?;
                object
            }
            // There are no observers, nor what else members of an ensemble have.
            Command::ObserverConnectionStatReset => object,
            Command::Observers => object.with("synced_observers", 0).with("observers", json!([])),
            Command::Leader => object.with("error", "server is not initialized"),
            Command::VotingView => object.with("current_config", Object::default()),
            Command::Zabstate => object.with("voting", false).with("zabstate", ""),
            Command::IsReadOnly => object.with("read_only", false),
            Command::Configuration => {
                let of_disk = reporter.clone();
                let settings =
                    tokio::task::spawn_blocking(move || of_disk.facts.configuration()).await.ok()?;
                configuration(settings)
            }
            Command::InitialConfiguration => {
                let lines = facts.config.initial.iter().map(|(key, value)| format!("{key}={value}\n"));
                object.with("initial_configuration", lines.collect::<String>())
            }
            Command::Connections => connections(&reporter.ask(|core| core.connection_views()).await?, false),
            Command::Dirs => {
                let (data, log) = (facts.data_dir(), facts.log_dir());
                let bytes = move || (directory_bytes(&data), directory_bytes(&log));
                let (data, log) = tokio::task::spawn_blocking(bytes).await.ok()?;
                object.with("datadir_size", data).with("logdir_size", log)
            }
            Command::Dump => dump(reporter).await?,
            Command::Environment => {
                let entries = tokio::task::spawn_blocking(process::environment).await.ok()?;
                entries.into_iter().fold(object, |object, (key, value)| object.with(key, value))
            }
            Command::SystemProperties => system_properties(reporter).await?,
            Command::GetTraceMask => object.with("tracemask", facts.trace_mask.load(Ordering::Relaxed)),
            Command::SetTraceMask => match trace_mask(arguments) {
                Ok(mask) => {
                    facts.trace_mask.store(mask, Ordering::Relaxed);
                    object.with("tracemask", mask)
                }
                Err(error) => object.with("error", error),
            },
            Command::Hash => {
                let digests = reporter.ask(|core| core.digests()).await?;
                let one = |(zxid, digest): &(zk_wire::ids::Zxid, zk_wire::digest::Digest)| {
                    Object::default().with("zxid", zxid.0).with("digest_version", 2).with("digest", digest.0)
                };
                object.with("digests", Member::Objects(digests.iter().map(one).collect()))
            }
            Command::LastSnapshot => {
                let dir = facts.data_dir();
                let last = tokio::task::spawn_blocking(move || last_snapshot(&dir)).await.ok()?;
                let (zxid, seconds) = last.unwrap_or((-1, -1));
                object.with("zxid", format!("{zxid:x}")).with("timestamp", seconds)
            }
            Command::Monitor => monitor(reporter).await?,
            Command::ServerStats => server_stats(reporter).await?,
            Command::Stats => {
                let mut stats = server_stats(reporter).await?;
                let views = reporter.ask(|core| core.connection_views()).await?;
                stats.append(connections(&views, true));
                stats
            }
            Command::WatchSummary => {
                let watches = reporter.ask(|core| core.watches_view()).await?;
                object
                    .with("num_connections", watches.by_session.len())
                    .with("num_paths", watches.by_path.len())
                    .with("num_total_watches", watches.total())
            }
            Command::Watches => {
                let watches = reporter.ask(|core| core.watches_view()).await?;
                let mut sessions = Object::default();
                for (id, paths) in watches.by_session {
                    sessions.put(id.0.to_string(), texts(paths.iter().map(AsRef::as_ref)));
                }
                object.with("session_id_to_watched_paths", sessions)
            }
            Command::WatchesByPath => {
                let watches = reporter.ask(|core| core.watches_view()).await?;
                let mut paths = Object::default();
                for (path, sessions) in watches.by_path {
                    paths.put(path.as_ref(), ids(&sessions));
                }
                object.with("path_to_session_ids", paths)
            }
            // Both answer elsewhere: they are asked for with credentials.
            Command::Snapshot | Command::Restore => object,
        })
    }
}

/// `conf` has sizes of directories and a port that `configuration` has not, and these two the other way round.
fn configuration(mut settings: Vec<(&'static str, &'static str, Setting)>) -> Object {
    settings.sort_by_key(|(key, ..)| match *key {
        "serverId" => 1,
        "clientPortListenBacklog" => 2,
        _ => 0,
    });
    let mut object = Object::default();
    for (_, name, value) in settings.into_iter().filter(|(_, name, _)| !name.is_empty()) {
        match value {
            Setting::Number(number) => object.put(name, number),
            Setting::Text(text) => object.put(name, text),
        }
    }
    object
}

fn connections(views: &[ConnectionView], brief: bool) -> Object {
    let of = |is_secure: bool| {
        let views: Vec<_> = views.iter().filter(|view| view.peer.is_secure == is_secure).copied().collect();
        listed(&views, brief)
    };
    Object::default().with("connections", of(false)).with("secure_connections", of(true))
}

/// `ServerCnxn.getConnectionInfo`.
fn listed(views: &[ConnectionView], brief: bool) -> Member {
    let one = |view: &ConnectionView| {
        let stats = &view.stats;
        let object = Object::default()
            .with("remote_socket_address", words::java_address(view.peer.address))
            .with("interest_ops", words::interest_ops(view.is_read))
            .with("outstanding_requests", view.outstanding)
            .with("packets_received", stats.received)
            .with("packets_sent", stats.sent);
        if brief {
            return object;
        }
        let (op, zxid, at, took) = words::last_answer(view);
        object
            .with("session_id", view.session.unwrap_or(SessionId::NONE).0)
            .with("last_operation", op)
            .with("established", stats.established_ms)
            .with("session_timeout", view.timeout_ms)
            .with("last_cxid", stats.last_xid.unwrap_or(-1))
            .with("last_zxid", zxid)
            .with("last_response_time", at)
            .with("last_latency", took)
            .with("min_latency", stats.latency.min())
            .with("avg_latency", words::mean_latency(view))
            .with("max_latency", stats.latency.max())
    };
    Member::Objects(views.iter().map(one).collect())
}

async fn dump(reporter: &Reporter) -> Option<Object> {
    let sessions = reporter.ask(|core| core.sessions_view()).await?;
    let (mut expiry, mut ephemerals) = (Object::default(), Object::default());
    for (at, of_bucket) in sessions.expiry {
        expiry.put(millis(at).to_string(), ids(&of_bucket));
    }
    for (id, paths) in sessions.ephemerals {
        ephemerals.put(id.0.to_string(), texts(paths.iter().map(AsRef::as_ref)));
    }
    Some(
        Object::default()
            .with("expiry_time_to_session_ids", expiry)
            .with("session_id_to_ephemeral_paths", ephemerals),
    )
}

async fn monitor(reporter: &Reporter) -> Option<Object> {
    let report = reporter.report().await?;
    let object = Object::default().with("version", version::full()).with("server_state", "standalone");
    let numbers = report.metrics.iter().flat_map(|metric| metric.numbers());
    Some(numbers.fold(object, |object, (name, number)| object.with(name, value(number))))
}

/// `ServerStats`, as Jackson finds its getters.
async fn server_stats(reporter: &Reporter) -> Option<Object> {
    let report = reporter.report().await?;
    let (data, log) = (reporter.facts.data_dir(), reporter.facts.log_dir());
    let bytes = move || (directory_bytes(&data), directory_bytes(&log));
    let (data, log) = tokio::task::spawn_blocking(bytes).await.ok()?;
    let View { stats, connections, outstanding, zxid, znodes, .. } = report.view;
    let slow_syncs = reporter.facts.tally.slow_syncs.load(Ordering::Relaxed);
    let size = stats.response_size;
    let of_size = |bytes: u64| if size.count() == 0 { json!(-1) } else { json!(bytes) };
    let response = Object::default()
        .with("last_buffer_size", of_size(stats.last_response_size.unwrap_or(0)))
        .with("min_buffer_size", of_size(size.min()))
        .with("max_buffer_size", of_size(size.max()));
    let server = Object::default()
        .with("packets_sent", stats.sent)
        .with("packets_received", stats.received)
        .with("fsync_threshold_exceed_count", slow_syncs)
        .with("client_response_stats", response.clone())
        .with("provider_null", false)
        .with("data_dir_size", data)
        .with("log_dir_size", log)
        .with("server_state", "standalone")
        .with("last_processed_zxid", zxid.0)
        .with("outstanding_requests", outstanding)
        .with("avg_latency", stats.latency.mean())
        .with("max_latency", stats.latency.max())
        .with("min_latency", stats.latency.min())
        .with("num_alive_client_connections", connections)
        .with("uptime", millis(report.uptime))
        .with("auth_failed_count", stats.auth_failed)
        .with("non_mtlsremote_conn_count", 0)
        .with("non_mtlslocal_conn_count", 0);
    Some(
        Object::default()
            .with("version", version::full())
            .with("read_only", false)
            .with("server_stats", server)
            .with("client_response", response)
            .with("node_count", znodes),
    )
}

/// What `zoo.cfg` makes of its keys, and what the JVM would say of its machine.
async fn system_properties(reporter: &Reporter) -> Option<Object> {
    let environment = tokio::task::spawn_blocking(process::environment).await.ok()?;
    let is_property = |key: &str| ["java.", "os.", "user."].iter().any(|start| key.starts_with(start));
    let of_machine = environment
        .into_iter()
        .filter(|(key, _)| is_property(key) && !key.starts_with("os.memory"))
        .map(|(key, value)| (key.to_owned(), value));
    let of_keys = reporter.facts.config.initial.iter().map(|(key, value)| {
        (format!("zookeeper.{}", key.strip_prefix("zookeeper.").unwrap_or(key)), value.clone())
    });
    let mut properties: Vec<(String, String)> = of_machine.chain(of_keys).collect();
    properties.sort();
    Some(properties.into_iter().fold(Object::default(), |object, (key, value)| object.with(key, value)))
}

fn trace_mask(arguments: &HashMap<String, String>) -> Result<i64, String> {
    let mask = arguments.get("traceMask").ok_or("setTraceMask requires long traceMask argument")?;
    mask.parse().map_err(|_| format!("setTraceMask requires long traceMask argument, got {mask}"))
}

fn value(number: Number) -> Member {
    match number {
        Number::Whole(number) => number.into(),
        Number::Fraction(number) => number.into(),
    }
}

fn ids(sessions: &[SessionId]) -> Value {
    sessions.iter().map(|id| id.0).collect()
}

fn texts<'a>(texts: impl Iterator<Item = &'a str>) -> Value {
    texts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_one_command_s_and_the_list_is_in_order() {
        let mut all: Vec<&str> = NAMES.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
        assert!(names().is_sorted(), "Apache's list is");
        for (command, names) in NAMES {
            assert!(names.iter().all(|name| Command::named(name) == Some(command)));
            assert_eq!(command.name(), names[0]);
        }
    }
}
