//! What a running server tells of itself, to whoever asks.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::process;
use crate::config::ServerConfig;
use crate::server::core::Core;
use crate::server::inspect::View;
use crate::server::metrics::{Metric, Number, of_absent_parts, of_core};
use crate::server::stats::Spread;

/// What the driver does with its core for somebody, and then tells it.
pub type Question = Box<dyn FnOnce(&mut Core) + Send>;

/// A server at one moment.
#[derive(Debug, Clone)]
pub struct Report {
    /// Sizes and counters.
    pub view: View,
    /// Since the server started.
    pub uptime: Duration,
    /// All of it under Apache's names, the process and the disk included.
    pub metrics: Vec<Metric>,
}

/// Asks a server. Cheap to clone; does not keep the server running.
#[derive(Debug, Clone)]
pub struct Reporter {
    /// To the driver.
    pub questions: mpsc::Sender<Question>,
    /// What is known without asking.
    pub facts: Arc<Facts>,
}

/// What is known of a server without asking the task that owns it.
#[derive(Debug)]
pub struct Facts {
    /// How it was configured.
    pub config: ServerConfig,
    /// Where clients connect.
    pub address: SocketAddr,
    /// Where clients connect with TLS.
    pub secure_address: Option<SocketAddr>,
    /// When it started.
    pub started: Instant,
    /// What is counted outside of the core.
    pub tally: Arc<Tally>,
    /// `stmk`: kept and shown, and nothing else; what is logged is for the log's own filter to say.
    pub trace_mask: AtomicI64,
}

/// `ZooTrace`'s mask at the start: requests of clients, packets of servers, sessions, warnings.
pub const TRACE_MASK: i64 = 0b1_0011_0010;

/// Counters that several threads share without a lock.
#[derive(Debug, Default)]
pub struct Tally {
    /// Writes of the log with their syncs.
    pub syncs: Taken,
    /// Syncs that took longer than `fsync.warningthresholdms`.
    pub slow_syncs: AtomicU64,
    /// TLS handshakes under way.
    pub handshakes: Arc<AtomicUsize>,
    /// Transactions that shared a sync.
    pub sync_batches: Taken,
    /// Snapshots while serving.
    pub snapshots: Taken,
    /// Snapshots that could not be written.
    pub snapshot_errors: AtomicU64,
    /// Snapshots that were asked for too soon.
    pub snapshots_limited: AtomicU64,
    /// Recovery at the start.
    pub recovery: Taken,
    /// Transactions of the log whose digest did not fit when it was replayed.
    pub digest_mismatches: AtomicU64,
    /// Connections that were turned away (`maxClientCnxns`).
    pub rejected: AtomicU64,
    /// Connections that did not say in time who they are.
    pub sessionless: AtomicU64,
    /// Bytes of transactions appended to the log.
    logged_bytes: AtomicU64,
}

impl Tally {
    /// A transaction of so many bytes was appended to the log.
    pub fn logged(&self, bytes: usize) {
        self.logged_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Bytes of transactions appended to the log so far.
    #[must_use]
    pub fn logged_bytes(&self) -> u64 {
        self.logged_bytes.load(Ordering::Relaxed)
    }
}

/// How often something happened, and how long it took or how much it was, in thousandths.
#[derive(Debug)]
pub struct Taken {
    count: AtomicU64,
    sum: AtomicU64,
    min: AtomicU64,
    max: AtomicU64,
}

/// The driver waits for nothing; one that is silent for so long hangs.
const PATIENCE: Duration = Duration::from_secs(10);

impl Reporter {
    /// Asks the task that owns the server. `None` if it is gone or hangs.
    pub async fn report(&self) -> Option<Report> {
        let (view, of_namespaces) = self.ask(|core| (core.view(), core.namespace_metrics())).await?;
        let uptime = self.facts.started.elapsed();
        let mut metrics = self.facts.metrics(&view, uptime);
        metrics.extend(of_namespaces);
        Some(Report { view, uptime, metrics })
    }

    /// Has the task that owns the core look at it. `None` if it is gone or hangs.
    pub async fn ask<T: Send + 'static>(
        &self,
        look: impl FnOnce(&mut Core) -> T + Send + 'static,
    ) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        let question = Box::new(move |core: &mut Core| {
            // Whoever asked may have lost patience.
            let _ = answer.send(look(core));
        });
        let asking = async {
            self.questions.send(question).await.ok()?;
            answered.await.ok()
        };
        tokio::time::timeout(PATIENCE, asking).await.ok().flatten()
    }
}

impl Facts {
    fn metrics(&self, view: &View, uptime: Duration) -> Vec<Metric> {
        let tally = &self.tally;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (gauge, counter, summary) = (Metric::gauge, Metric::counter, Metric::summary);
        let (open, limit) = process::descriptors();
        let handshakes = tally.handshakes.load(Ordering::Relaxed) as u64;
        let uptime_ms = u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX);
        let mut metrics = of_core(view);
        metrics.extend([
            gauge("uptime", "Milliseconds since the start.", uptime_ms.into()),
            gauge("open_file_descriptor_count", "Open files and sockets.", open.into()),
            gauge("max_file_descriptor_count", "As many may be open.", limit.into()),
            gauge(
                "connection_drop_probability",
                "Always 0: none is dropped by chance.",
                Number::Fraction(0.0),
            ),
            gauge("outstanding_tls_handshake", "TLS handshakes under way.", handshakes.into()),
            gauge("non_mtls_remote_conn_count", "Members without TLS; there are none.", Number::Whole(0)),
            gauge("non_mtls_local_conn_count", "Clients of members without TLS; none.", Number::Whole(0)),
            counter("connection_rejected", "Connections beyond maxClientCnxns.", count(&tally.rejected)),
            counter(
                "sessionless_connections_expired",
                "Connections that did not say in time who they are.",
                count(&tally.sessionless),
            ),
            counter(
                "digest_mismatches_count",
                "Replayed transactions whose digest did not fit.",
                count(&tally.digest_mismatches),
            ),
            counter("snapshot_error_count", "Snapshots that failed.", count(&tally.snapshot_errors)),
            counter(
                "snapshot_rate_limited_count",
                "Snapshots that were asked for too soon.",
                count(&tally.snapshots_limited),
            ),
            counter("restore_error_count", "Always 0: a running server is not restored.", 0),
            counter("restore_rate_limited_count", "Always 0: a running server is not restored.", 0),
            summary("fsynctime", "Milliseconds of log writes with their fdatasync.", tally.syncs.spread()),
            summary("sync_process_time", "Milliseconds of a batch of the log.", tally.syncs.spread()),
            summary(
                "sync_processor_batch_size",
                "Transactions that shared a sync.",
                tally.sync_batches.spread(),
            ),
            summary("snapshottime", "Milliseconds of snapshots while serving.", tally.snapshots.spread()),
            summary("dbinittime", "Milliseconds of recovery at the start.", tally.recovery.spread()),
        ]);
        metrics.extend(of_absent_parts());
        metrics
    }

    /// Where snapshots are, as Apache names it.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        version_2(&self.config.data_dir)
    }

    /// Where the log is.
    #[must_use]
    pub fn log_dir(&self) -> PathBuf {
        version_2(self.config.log_dir.as_ref().unwrap_or(&self.config.data_dir))
    }

    /// `configuration`, with the name of each value in `conf` and in JSON.
    #[must_use]
    pub fn configuration(&self) -> Vec<(&'static str, &'static str, Setting)> {
        let config = &self.config;
        let path = |path: PathBuf| Setting::Text(path.display().to_string());
        let number = |number: i64| Setting::Number(number);
        let port = |address: SocketAddr| i64::from(address.port());
        let secure_port = self.secure_address.map_or(-1, port);
        vec![
            ("clientPort", "client_port", number(self.address.port().into())),
            ("secureClientPort", "", number(secure_port)),
            ("dataDir", "data_dir", path(self.data_dir())),
            ("dataDirSize", "", number(directory_bytes(&self.data_dir()))),
            ("dataLogDir", "data_log_dir", path(self.log_dir())),
            ("dataLogSize", "", number(directory_bytes(&self.log_dir()))),
            (
                "tickTime",
                "tick_time",
                number(i64::try_from(config.tick_time.as_millis()).unwrap_or(i64::MAX)),
            ),
            ("maxClientCnxns", "max_client_cnxns", number(config.max_client_connections as i64)),
            ("minSessionTimeout", "min_session_timeout", number(config.min_session_timeout_ms.into())),
            ("maxSessionTimeout", "max_session_timeout", number(config.max_session_timeout_ms.into())),
            ("clientPortListenBacklog", "client_port_listen_backlog", number(-1)),
            // `ZooKeeperServer.getServerId`: a standalone server has none.
            ("serverId", "server_id", number(0)),
        ]
    }
}

/// A value of the configuration in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Setting {
    /// A number.
    Number(i64),
    /// Anything else.
    Text(String),
}

impl std::fmt::Display for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Setting::Number(number) => number.fmt(f),
            Setting::Text(text) => text.fmt(f),
        }
    }
}

fn version_2(dir: &Path) -> PathBuf {
    let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    dir.join("version-2")
}

/// Bytes of the files in a directory; 0 if it cannot be read. Blocks.
#[must_use]
pub fn directory_bytes(dir: &Path) -> i64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let bytes: u64 = entries.filter_map(|entry| entry.metadata().ok()).map(|found| found.len()).sum();
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// The newest snapshot in a directory, with the transaction that it shows at least. Blocks.
#[must_use]
pub fn snapshot_file(dir: &Path) -> Option<(i64, PathBuf)> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let zxid = |path: &Path| {
        let name = path.file_name()?.to_str()?.strip_prefix("snapshot.")?;
        i64::from_str_radix(name.split('.').next()?, 16).ok()
    };
    entries.filter_map(|entry| Some((zxid(&entry.path())?, entry.path()))).max()
}

/// The zxid of the newest snapshot, and when it was written, in seconds since 1970. Blocks.
#[must_use]
pub fn last_snapshot(dir: &Path) -> Option<(i64, i64)> {
    let (zxid, path) = snapshot_file(dir)?;
    let written = std::fs::metadata(path).and_then(|found| found.modified()).ok()?;
    let seconds = written.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs();
    Some((zxid, i64::try_from(seconds).unwrap_or(i64::MAX)))
}

impl Default for Taken {
    fn default() -> Self {
        Taken {
            count: AtomicU64::new(0),
            sum: AtomicU64::new(0),
            min: AtomicU64::new(u64::MAX),
            max: AtomicU64::new(0),
        }
    }
}

impl Taken {
    /// Once more, and it took so long.
    pub fn add(&self, took: Duration) {
        self.record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    /// Once more, and it was so much.
    pub fn add_amount(&self, amount: u64) {
        self.record(amount.saturating_mul(1_000));
    }

    fn record(&self, thousandths: u64) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(thousandths, Ordering::Relaxed);
        self.min.fetch_min(thousandths, Ordering::Relaxed);
        self.max.fetch_max(thousandths, Ordering::Relaxed);
    }

    /// In milliseconds, or in what was counted.
    #[must_use]
    pub fn spread(&self) -> Spread {
        let whole = |counter: &AtomicU64| counter.load(Ordering::Relaxed) / 1_000;
        Spread::of(self.count.load(Ordering::Relaxed), whole(&self.sum), whole(&self.min), whole(&self.max))
    }
}
