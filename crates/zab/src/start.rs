//! From a configuration to a server that serves, and back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{PasswordKind, ServerConfig};
use crate::net::driver::Driver;
use crate::net::listener::Shared;
use crate::net::log_thread;
use crate::net::ports::Ports;
use crate::net::report::{Facts, Reporter, TRACE_MASK, Tally};
use crate::net::snapshot_thread::{SnapshotOptions, write_snapshot};
use crate::net::tls::TlsError;
use crate::net::words::Words;
use crate::server::audit;
use crate::server::core::{Core, Now};
use crate::session_key::{SessionKeyError, load_or_create};
use crate::session_password::Passwords;
use crate::storage::{DiskStorage, Retention, Storage, StorageError, StorageOptions};
use crate::tree::Tree;
use crate::tree::restore::Restoring;

/// A running server. Dropping it stops it without waiting.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    secure_address: Option<SocketAddr>,
    reporter: Reporter,
    audit: bool,
    stop: CancellationToken,
    tasks: TaskTracker,
    log_ended: Option<std::thread::JoinHandle<Result<(), StorageError>>>,
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory cannot be used.
    #[error("cannot start on the data in {dir}")]
    Storage {
        /// The data directory.
        dir: std::path::PathBuf,
        /// Why not.
        #[source]
        source: Box<StorageError>,
    },
    /// The client port cannot be had.
    #[error("cannot listen on {address}: is another server running there? ({keys})")]
    Listen {
        /// The settings that name it.
        keys: &'static str,
        /// The address wanted.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The key of session passwords cannot be had (`session.passwords=keyed`).
    #[error("cannot have the key of session passwords (session.passwords)")]
    SessionKey(#[from] SessionKeyError),
    /// TLS cannot be offered.
    #[error("cannot offer TLS")]
    Tls(#[from] TlsError),
    /// A thread cannot be started.
    #[error("cannot start the log thread")]
    Thread(#[source] std::io::Error),
    /// Recovery did not end properly.
    #[error("recovery was interrupted")]
    Interrupted,
}

/// Inputs that may wait for the driver.
const INPUT_QUEUE: usize = 4096;
/// Questions that may wait for it; whoever asks further ones waits.
const QUESTIONS: usize = 16;

impl Server {
    /// Recovers the data directory and serves.
    ///
    /// # Errors
    /// The data cannot be used or the port cannot be had.
    pub async fn start(config: ServerConfig) -> Result<Server, StartError> {
        let (opening, tally) = (config.clone(), Arc::new(Tally::default()));
        let opening_tally = Arc::clone(&tally);
        let opened = tokio::task::spawn_blocking(move || open(&opening, &opening_tally));
        let opened = opened.await.map_err(|_| StartError::Interrupted)??;
        Self::serve(config, Box::new(opened.storage), opened.tree, opened.is_snapshot_due, tally).await
    }

    /// Serves a recovered tree over any storage.
    ///
    /// # Errors
    /// The port cannot be had.
    pub async fn start_on(
        config: ServerConfig,
        storage: Box<dyn Storage>,
        tree: Tree,
    ) -> Result<Server, StartError> {
        Self::serve(config, storage, tree, false, Arc::default()).await
    }

    async fn serve(
        config: ServerConfig,
        storage: Box<dyn Storage>,
        tree: Tree,
        is_snapshot_due: bool,
        tally: Arc<Tally>,
    ) -> Result<Server, StartError> {
        let passwords = match config.sessions.passwords {
            PasswordKind::Derived => Passwords::Derived,
            PasswordKind::Keyed => {
                Passwords::Keyed(load_or_create(&config.data_dir, tree.sessions().keys().copied())?)
            }
        };
        let ports = Ports::bind(&config).await?;
        let (address, secure_address) = (ports.address, ports.secure_address);
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let (inputs, inputs_rx) = mpsc::channel(INPUT_QUEUE);
        let (handles, handles_rx) = mpsc::unbounded_channel();
        let (log, mut log_rx) = mpsc::unbounded_channel();
        let (logged, logged_rx) = mpsc::unbounded_channel();
        let (questions, questions_rx) = mpsc::channel(QUESTIONS);
        let log_tally = Arc::clone(&tally);
        let log_stop = stop.clone();
        let slow_sync = config.slow_sync;
        let log_ended = std::thread::Builder::new()
            .name("zab-log".to_owned())
            .spawn(move || {
                let ended = log_thread::run(storage, &mut log_rx, &logged, &log_tally, slow_sync);
                log_stop.cancel();
                ended
            })
            .map_err(StartError::Thread)?;
        tracing::info!(%address, ?secure_address, zxid = %tree.last_zxid(), znodes = tree.len(), "serving clients");
        let is_audited = config.security.audit;
        let snapshots = SnapshotOptions {
            retention: retention(&config),
            bytes_per_second: config.storage.snapshot_bytes_per_second,
            logged_bytes: config.storage.snap_size_limit,
        };
        let started = Instant::now();
        let facts = Facts {
            config: config.clone(),
            address,
            secure_address,
            started,
            tally: Arc::clone(&tally),
            trace_mask: TRACE_MASK.into(),
        };
        let reporter = Reporter { questions, facts: Arc::new(facts) };
        let (limits, words) = (&config.limits, Words::new(reporter.clone()));
        let shared = Shared::new(limits, config.max_buffer, words, inputs, handles, stop.clone());
        let now = Now { uptime: Duration::ZERO, wall_ms: wall_ms() };
        let mut core = Core::new(config, tree, now).with_passwords(passwords);
        if is_snapshot_due {
            core.begin_snapshot();
        }
        let driver = Driver {
            core,
            started,
            inputs: inputs_rx,
            handles: handles_rx,
            logged: logged_rx,
            log,
            questions: questions_rx,
            tally,
            snapshots,
            snapshot_at: 0,
            stop: stop.clone(),
        };
        tasks.spawn(driver.run());
        ports.serve(&tasks, &shared);
        tasks.close();
        if is_audited {
            audit::server("serverStart", "success");
        }
        Ok(Server {
            address,
            secure_address,
            audit: is_audited,
            reporter,
            stop,
            tasks,
            log_ended: Some(log_ended),
        })
    }

    /// Where clients connect: the secure port, if it is the only one.
    #[must_use]
    pub fn client_address(&self) -> SocketAddr {
        self.address
    }

    /// Where clients connect with TLS.
    #[must_use]
    pub fn secure_client_address(&self) -> Option<SocketAddr> {
        self.secure_address
    }

    /// Asks the server how it is, for as long as it runs.
    #[must_use]
    pub fn reporter(&self) -> Reporter {
        self.reporter.clone()
    }

    /// Waits until the server has ended by itself, which it does only when the log cannot be written.
    pub async fn ended(&self) {
        self.stop.cancelled().await;
    }

    /// Stops: closes connections, gives up a snapshot under way, and syncs the log. Sessions live on until
    /// they expire on the next start.
    ///
    /// # Errors
    /// The log could not be written, now or earlier; acknowledged writes are not affected.
    pub async fn stop(mut self) -> Result<(), StorageError> {
        self.stop.cancel();
        if self.audit {
            audit::server("serverStop", "invoked");
        }
        self.tasks.wait().await;
        let Some(log_ended) = self.log_ended.take() else {
            return Ok(());
        };
        let joined = tokio::task::spawn_blocking(move || log_ended.join()).await;
        match joined {
            Ok(Ok(ended)) => ended,
            _ => Ok(()),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// What was on the disk.
struct Opened {
    storage: DiskStorage,
    tree: Tree,
    /// Is there so much behind the last snapshot that the next one must not wait?
    is_snapshot_due: bool,
}

/// Recovers what is on the disk. Without a snapshot the first thing written is one, since no ZooKeeper starts on
/// logs alone. Otherwise, unlike Apache's (`ZooKeeperServer.loadData`), the server does not wait for one.
fn open(config: &ServerConfig, tally: &Tally) -> Result<Opened, StartError> {
    let options = StorageOptions {
        pre_alloc_bytes: config.pre_alloc_bytes,
        force_sync: config.force_sync,
        txn_log_size_limit: config.storage.txn_log_size_limit,
        snapshot_compression: config.storage.snapshot_compression,
        trust_empty: config.storage.trust_empty,
        jute_max_buffer: config.max_buffer,
    };
    let failed = |source| StartError::Storage { dir: config.data_dir.clone(), source: Box::new(source) };
    let log_dir = config.log_dir.as_ref().unwrap_or(&config.data_dir);
    let began = Instant::now();
    let mut restoring = Restoring::default();
    let (storage, last) =
        DiskStorage::open(&config.data_dir, log_dir, options, &mut restoring).map_err(failed)?;
    let (had_snapshot, replayed) = (restoring.had_snapshot(), restoring.replayed());
    let (tree, mismatches) = restoring.finish();
    tally.recovery.add(began.elapsed());
    tally.digest_mismatches.fetch_add(mismatches, std::sync::atomic::Ordering::Relaxed);
    tracing::info!(%last, replayed, mismatches, "recovered");
    if !had_snapshot {
        let sink = storage.snapshot_writer(tree.last_zxid()).map_err(failed)?;
        write_snapshot(sink, &tree).map_err(failed)?;
    }
    let is_snapshot_due = had_snapshot && replayed >= u64::from(config.snap_count / 2).max(1);
    Ok(Opened { storage, tree, is_snapshot_due })
}

fn retention(config: &ServerConfig) -> Retention {
    config.storage.retention(config.snapshots_retained)
}

fn wall_ms() -> i64 {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(wall.as_millis()).unwrap_or(i64::MAX)
}
