//! The thread that owns the log: whatever has gathered while the disk was syncing shares the next sync.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;
use zk_wire::ids::Zxid;
use zk_wire::jute::Jute;
use zk_wire::txn::LoggedTxn;

use super::report::Tally;
use crate::storage::{Purger, SnapshotSink, Storage, StorageError};

/// What the thread is asked to do, in order.
pub enum LogRequest {
    /// Append, sync, report.
    Append(Arc<LoggedTxn>),
    /// Begin a new log, then hand out a writer for the snapshot at this transaction.
    BeginSnapshot(Zxid, oneshot::Sender<(Box<dyn SnapshotSink>, Purger)>),
}

/// At most so many transactions share a sync (`SyncRequestProcessor`).
const MAX_BATCH: usize = 1000;

/// Serves requests until the sender is gone. An error of the log is final: the caller must end the process,
/// since nothing may be acknowledged any more.
///
/// # Errors
/// The log cannot be written.
pub fn run(
    mut storage: Box<dyn Storage>,
    requests: &mut UnboundedReceiver<LogRequest>,
    logged: &UnboundedSender<Zxid>,
    tally: &Tally,
    slow: Duration,
) -> Result<(), StorageError> {
    let mut entry = Vec::new();
    // A receiver of the standard library sleeps under a mutex that each sender takes: on one CPU the woken thread
    // displaces the sender that holds it, and both wait for each other for a while.
    while let Some(first) = requests.blocking_recv() {
        let (mut last, mut appended) = (None, 0);
        let more = std::iter::from_fn(|| requests.try_recv().ok());
        let batch = std::iter::once(first).chain(more).take(MAX_BATCH);
        for request in batch {
            match request {
                LogRequest::Append(txn) => {
                    entry.clear();
                    txn.write(&mut entry);
                    storage.append(txn.header.zxid, &entry)?;
                    tally.logged(entry.len());
                    last = Some(txn.header.zxid);
                    appended += 1;
                }
                LogRequest::BeginSnapshot(zxid, reply) => begin_snapshot(storage.as_mut(), zxid, reply)?,
            }
        }
        if let Some(zxid) = last {
            let began = Instant::now();
            storage.sync()?;
            let took = began.elapsed();
            if took > slow {
                tally.slow_syncs.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(
                    took_ms = took.as_millis(),
                    transactions = appended,
                    "a sync of the log took long, and all writes waited for it (fsync.warningthresholdms)"
                );
            }
            tally.syncs.add(took);
            tally.sync_batches.add_amount(appended);
            // The driver is gone only when the server stops; what was logged stays logged.
            let _ = logged.send(zxid);
        }
    }
    storage.sync()
}

fn begin_snapshot(
    storage: &mut dyn Storage,
    zxid: Zxid,
    reply: oneshot::Sender<(Box<dyn SnapshotSink>, Purger)>,
) -> Result<(), StorageError> {
    storage.roll()?;
    match storage.snapshot_writer(zxid) {
        Ok(sink) => drop(reply.send((sink, storage.purger()))),
        Err(error) => {
            tracing::error!(%zxid, error = &error as &dyn std::error::Error, "no snapshot can be written")
        }
    }
    Ok(())
}
