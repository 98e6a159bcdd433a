//! What a running server tells of itself, to whoever asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use crate::server::words::View;

/// Where an answer goes.
pub type Question = oneshot::Sender<View>;

/// A server at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Report {
    /// Sizes and counters.
    pub view: View,
    /// Since the server started.
    pub uptime: Duration,
    /// Writes of the log with their syncs: how many, and how long they took altogether.
    pub syncs: (u64, Duration),
    /// Snapshots written while serving, likewise.
    pub snapshots: (u64, Duration),
}

/// Asks a server. Cheap to clone; does not keep the server running.
#[derive(Debug, Clone)]
pub struct Reporter {
    /// To the driver.
    pub questions: mpsc::Sender<Question>,
    /// When the server started.
    pub started: Instant,
    /// What the disk took.
    pub disk: Arc<DiskTimes>,
}

/// How often the disk was asked for something, and how long it took.
#[derive(Debug, Default)]
pub struct DiskTimes {
    /// Writes of the log with their syncs.
    pub syncs: Taken,
    /// Snapshots.
    pub snapshots: Taken,
    logged_bytes: AtomicU64,
}

impl DiskTimes {
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

/// How often something happened, and how long it took altogether.
#[derive(Debug, Default)]
pub struct Taken {
    count: AtomicU64,
    micros: AtomicU64,
}

/// The driver waits for nothing; one that is silent for so long hangs.
const PATIENCE: Duration = Duration::from_secs(10);

impl Reporter {
    /// Asks the task that owns the server. `None` if it is gone or hangs.
    pub async fn report(&self) -> Option<Report> {
        let view = tokio::time::timeout(PATIENCE, self.view()).await.ok().flatten()?;
        let (uptime, disk) = (self.started.elapsed(), &self.disk);
        Some(Report { view, uptime, syncs: disk.syncs.total(), snapshots: disk.snapshots.total() })
    }

    async fn view(&self) -> Option<View> {
        let (question, answer) = oneshot::channel();
        self.questions.send(question).await.ok()?;
        answer.await.ok()
    }
}

impl Taken {
    /// Once more.
    pub fn add(&self, took: Duration) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// How often, and how long altogether.
    #[must_use]
    pub fn total(&self) -> (u64, Duration) {
        let micros = self.micros.load(Ordering::Relaxed);
        (self.count.load(Ordering::Relaxed), Duration::from_micros(micros))
    }
}
