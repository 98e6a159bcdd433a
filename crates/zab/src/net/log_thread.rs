//! The thread that owns the log: whatever has gathered while the disk was syncing shares the next sync.

use std::sync::mpsc;
use std::time::Instant;

use tokio::sync::mpsc::UnboundedSender;
use zk_wire::ids::Zxid;
use zk_wire::jute::Jute;
use zk_wire::txn::LoggedTxn;

use super::report::Taken;
use crate::storage::{SnapshotSink, Storage, StorageError};

/// What the thread is asked to do, in order.
pub enum LogRequest {
    /// Append, sync, report.
    Append(LoggedTxn),
    /// Begin a new log, then hand out a writer for the snapshot at this transaction.
    BeginSnapshot(Zxid, tokio::sync::oneshot::Sender<Box<dyn SnapshotSink>>),
    /// Delete what is not needed with this many snapshots.
    Purge(usize),
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
    requests: &mpsc::Receiver<LogRequest>,
    logged: &UnboundedSender<Zxid>,
    syncs: &Taken,
) -> Result<(), StorageError> {
    let mut entry = Vec::new();
    while let Ok(first) = requests.recv() {
        let mut last = None;
        let batch = std::iter::once(first).chain(requests.try_iter()).take(MAX_BATCH);
        for request in batch {
            match request {
                LogRequest::Append(txn) => {
                    entry.clear();
                    txn.write(&mut entry);
                    storage.append(txn.header.zxid, &entry)?;
                    last = Some(txn.header.zxid);
                }
                LogRequest::BeginSnapshot(zxid, reply) => begin_snapshot(storage.as_mut(), zxid, reply)?,
                LogRequest::Purge(retain) => {
                    if let Err(error) = storage.purge(retain) {
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "old snapshots and logs stay"
                        );
                    }
                }
            }
        }
        if let Some(zxid) = last {
            let began = Instant::now();
            storage.sync()?;
            syncs.add(began.elapsed());
            // The driver is gone only when the server stops; what was logged stays logged.
            let _ = logged.send(zxid);
        }
    }
    storage.sync()
}

fn begin_snapshot(
    storage: &mut dyn Storage,
    zxid: Zxid,
    reply: tokio::sync::oneshot::Sender<Box<dyn SnapshotSink>>,
) -> Result<(), StorageError> {
    storage.roll()?;
    match storage.snapshot_writer(zxid) {
        Ok(sink) => drop(reply.send(sink)),
        Err(error) => {
            tracing::error!(%zxid, error = &error as &dyn std::error::Error, "no snapshot can be written")
        }
    }
    Ok(())
}

/// Writes a snapshot of a tree that nobody changes any more.
///
/// # Errors
/// The file cannot be written; there is then no such snapshot.
pub fn write_snapshot(
    mut sink: Box<dyn SnapshotSink>,
    image: &crate::tree::Tree,
) -> Result<(), StorageError> {
    let sessions: Vec<_> = image.sessions().iter().map(|(&id, &timeout)| (id, timeout)).collect();
    sink.begin(&sessions, &image.acl_entries())?;
    image.walk(|path, node| sink.node(path, node.data.as_deref(), node.acl, &node.stat))?;
    let digest = zk_wire::digest::TxnDigest::new(image.digest());
    sink.finish(Some((image.last_zxid(), digest)), image.last_zxid())
}
