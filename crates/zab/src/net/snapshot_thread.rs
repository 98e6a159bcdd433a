//! Writing a snapshot while the server serves: the driver hands out parts at a limited rate, a thread of low
//! priority writes them, and then deletes what the new snapshot makes superfluous.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;
use zk_wire::ids::Zxid;

use super::log_thread::LogRequest;
use super::report::Tally;
use crate::server::core::Core;
use crate::server::snapshot::{SnapshotHead, SnapshotPart};
use crate::storage::{Retention, SnapshotSink, StorageError};
use crate::tree::Tree;
use crate::tree::walk::Walk;

/// What the operator may choose about snapshots.
#[derive(Debug, Clone, Copy)]
pub struct SnapshotOptions {
    /// What is kept of them.
    pub retention: Retention,
    /// `snapshot.maxKbPerSecond`, in bytes; 0 is no limit.
    pub bytes_per_second: u64,
    /// `snapSizeLimitInKb`, in bytes: at most so much is logged between snapshots; 0 is no limit.
    pub logged_bytes: u64,
}

impl SnapshotOptions {
    /// After how many bytes of log the snapshot behind `zxid` is due: between half the limit and all of it
    /// (`SyncRequestProcessor.shouldSnapshot`).
    #[must_use]
    pub fn due_after(&self, zxid: Zxid) -> u64 {
        match self.logged_bytes / 2 {
            0 => u64::MAX,
            half => half + zxid.0.unsigned_abs().wrapping_mul(SPREAD) % half,
        }
    }
}

/// A snapshot under way.
#[derive(Debug)]
pub struct SnapshotThread {
    /// Until the last part is handed over.
    parts: Option<mpsc::Sender<SnapshotPart>>,
    /// When the next part is due.
    next: Instant,
    /// Time per part.
    pace: Duration,
    thread: JoinHandle<()>,
}

impl SnapshotThread {
    /// Begins a new log, and a thread that writes. `before` is the last one, which may not have ended yet.
    ///
    /// # Errors
    /// No thread can be had.
    pub fn begin(
        head: SnapshotHead,
        log: &mpsc::UnboundedSender<LogRequest>,
        options: SnapshotOptions,
        tally: Arc<Tally>,
        before: Option<SnapshotThread>,
    ) -> io::Result<Self> {
        let (opened, opening) = oneshot::channel();
        // If the log is gone the thread hears of it.
        let _ = log.send(LogRequest::BeginSnapshot(head.zxid, opened));
        let (parts, written) = mpsc::channel(PARTS_AHEAD);
        let thread = thread::Builder::new().name("zab-snapshot".to_owned()).spawn(move || {
            lower_priority();
            if let Some(before) = before {
                before.end();
            }
            let Ok((sink, purger)) = opening.blocking_recv() else { return };
            run(sink, &head, written, &tally);
            if let Err(error) = purger.purge(options.retention) {
                tracing::warn!(error = &error as &dyn Error, "old snapshots and logs stay");
            }
        })?;
        let per_part = PART_BYTES as f64 / options.bytes_per_second.max(1) as f64;
        let pace = if options.bytes_per_second == 0 { 0.0 } else { per_part };
        Ok(SnapshotThread {
            parts: Some(parts),
            next: Instant::now(),
            pace: Duration::from_secs_f64(pace),
            thread,
        })
    }

    /// When [`feed`](Self::feed) is wanted next; `None` if it is not any more.
    pub fn due(&self) -> Option<Instant> {
        self.parts.as_ref().map(|_| self.next)
    }

    /// Hands out the parts that are due, as far as the thread takes them.
    pub fn feed(&mut self, core: &mut Core) {
        let now = Instant::now();
        // Whoever could not feed for a while does not make up for all of it.
        self.next = self.next.max(now.checked_sub(self.pace * PARTS_AHEAD as u32).unwrap_or(now));
        for _ in 0..PARTS_AHEAD {
            if self.next > now || !self.hand_over(core) {
                return;
            }
            self.next += self.pace;
        }
    }

    /// Hands out one part; false if that is not possible now, or not wanted any more.
    fn hand_over(&mut self, core: &mut Core) -> bool {
        let Some(parts) = self.parts.take() else { return false };
        match parts.try_reserve_owned() {
            Ok(permit) => {
                let Some(part) = core.snapshot_part(PART_BYTES) else { return false };
                let is_last = part.end.is_some();
                let parts = permit.send(part);
                self.parts = (!is_last).then_some(parts);
                !is_last
            }
            Err(TrySendError::Full(parts)) => {
                self.next = Instant::now() + RETRY;
                self.parts = Some(parts);
                false
            }
            Err(TrySendError::Closed(_)) => {
                core.abandon_snapshot();
                false
            }
        }
    }

    /// Gives up what is not handed over yet, and waits for the thread.
    pub fn end(mut self) {
        self.parts = None;
        // It panics only if this is broken, and then there is no snapshot.
        let _ = self.thread.join();
    }
}

fn run(sink: Box<dyn SnapshotSink>, head: &SnapshotHead, parts: mpsc::Receiver<SnapshotPart>, tally: &Tally) {
    let (began, zxid) = (Instant::now(), head.zxid);
    match write_parts(sink, head, parts) {
        Ok(Some(last)) => {
            tally.snapshots.add(began.elapsed());
            tracing::info!(%zxid, %last, "a snapshot is written");
        }
        Ok(None) => tracing::info!(%zxid, "a snapshot was given up"),
        Err(error) => {
            tally.snapshot_errors.fetch_add(1, Ordering::Relaxed);
            tracing::error!(%zxid, error = &error as &dyn Error, "a snapshot was not written");
        }
    }
}

/// The last transaction that is in it; `None` if the parts end too early.
fn write_parts(
    mut sink: Box<dyn SnapshotSink>,
    head: &SnapshotHead,
    mut parts: mpsc::Receiver<SnapshotPart>,
) -> Result<Option<Zxid>, StorageError> {
    sink.begin(&head.sessions, &head.acls)?;
    while let Some(part) = parts.blocking_recv() {
        sink.encoded(&part.nodes)?;
        if let Some(end) = part.end {
            sink.finish(Some(end), end.0)?;
            return Ok(Some(end.0));
        }
    }
    Ok(None)
}

/// Writes a snapshot of a tree that nobody changes meanwhile.
///
/// # Errors
/// The file cannot be written; there is then no such snapshot.
pub fn write_snapshot(mut sink: Box<dyn SnapshotSink>, tree: &Tree) -> Result<(), StorageError> {
    let head = SnapshotHead::of(tree);
    sink.begin(&head.sessions, &head.acls)?;
    let mut walk = Walk::default();
    loop {
        let part = SnapshotPart::next(&mut walk, tree, PART_BYTES);
        sink.encoded(&part.nodes)?;
        if let Some(end) = part.end {
            return sink.finish(Some(end), end.0);
        }
    }
}

/// Those who are served come first. A system that does not allow it is no reason to do without a snapshot.
fn lower_priority() {
    let _ = rustix::process::setpriority_process(None, NICENESS);
}

/// A part takes the driver some 100 µs.
const PART_BYTES: usize = 64 << 10;
/// Parts that may wait for the thread; as much memory, and no more, waits for a slow disk.
const PARTS_AHEAD: usize = 4;
const RETRY: Duration = Duration::from_millis(1);
/// On Linux it is the thread's own.
const NICENESS: i32 = 10;
/// 2^64 by the golden ratio: neighbours are far apart.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
