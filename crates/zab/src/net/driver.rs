//! The task that owns the core: inputs in, outputs out, until it is stopped. No protocol knowledge.

use std::collections::HashMap;
use std::sync::mpsc as blocking;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use zk_wire::ids::Zxid;

use super::connection::{Handle, Outgoing};
use super::log_thread::{LogRequest, write_snapshot};
use crate::server::core::{Core, Input, Now, Output};
use crate::tree::Tree;
use crate::tree::watches::ConnectionId;

/// What connects the core to everything else.
pub struct Driver {
    /// The core.
    pub core: Core,
    /// When the server started.
    pub started: Instant,
    /// From connections.
    pub inputs: mpsc::Receiver<Input>,
    /// New connections, ahead of their first input.
    pub handles: mpsc::UnboundedReceiver<(ConnectionId, Handle)>,
    /// From the log thread.
    pub logged: mpsc::UnboundedReceiver<Zxid>,
    /// To the log thread.
    pub log: blocking::Sender<LogRequest>,
    /// Snapshots to keep.
    pub retain: usize,
    /// Ends the task.
    pub stop: CancellationToken,
}

/// Inputs taken together before their outputs are sent.
const MAX_BATCH: usize = 256;

impl Driver {
    /// Runs until stopped, or until the log is gone.
    pub async fn run(mut self) {
        let mut connections = HashMap::new();
        let mut batch = Vec::with_capacity(MAX_BATCH);
        let mut snapshot: Option<tokio::task::JoinHandle<()>> = None;
        loop {
            let tick = self.core.next_tick().saturating_sub(self.started.elapsed());
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                Some((id, handle)) = self.handles.recv() => {
                    connections.insert(id, handle);
                    continue;
                }
                logged = self.logged.recv() => match logged {
                    Some(zxid) => self.core.handle(self.now(), Input::Logged(zxid)),
                    None => break,
                },
                count = self.inputs.recv_many(&mut batch, MAX_BATCH) => {
                    if count == 0 {
                        break;
                    }
                }
                () = tokio::time::sleep(tick.max(Duration::from_millis(1))) => {
                    self.core.handle(self.now(), Input::Tick);
                }
            }
            let now = self.now();
            for input in batch.drain(..) {
                if let Input::Closed(id) = input {
                    connections.remove(&id);
                }
                while let Ok((id, handle)) = self.handles.try_recv() {
                    connections.insert(id, handle);
                }
                self.core.handle(now, input);
            }
            if !self.send_outputs(&mut connections, &mut snapshot) {
                break;
            }
        }
        if let Some(writing) = snapshot {
            let _ = writing.await;
        }
    }

    fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { uptime: self.started.elapsed(), wall_ms: i64::try_from(wall.as_millis()).unwrap_or(i64::MAX) }
    }

    /// False when the log thread is gone.
    fn send_outputs(
        &mut self,
        connections: &mut HashMap<ConnectionId, Handle>,
        snapshot: &mut Option<tokio::task::JoinHandle<()>>,
    ) -> bool {
        for output in self.core.outputs() {
            let (id, outgoing) = match output {
                Output::Persist(txn) => {
                    if self.log.send(LogRequest::Append(txn)).is_err() {
                        return false;
                    }
                    continue;
                }
                Output::Snapshot(image) => {
                    if snapshot.as_ref().is_none_or(tokio::task::JoinHandle::is_finished) {
                        *snapshot = Some(tokio::spawn(take_snapshot(image, self.log.clone(), self.retain)));
                    }
                    continue;
                }
                Output::Reply(id, frame) => (id, Outgoing::Reply(frame)),
                Output::Notify(id, frame) => (id, Outgoing::Notify(frame)),
                Output::Close(id) => (id, Outgoing::Close),
            };
            if let Some(connection) = connections.get(&id) {
                connection.send(outgoing);
            }
        }
        true
    }
}

/// Begins a new log, writes the image on a thread of its own, and purges what it makes superfluous.
async fn take_snapshot(image: Box<Tree>, log: blocking::Sender<LogRequest>, retain: usize) {
    let zxid = image.last_zxid();
    let (reply, sink) = tokio::sync::oneshot::channel();
    if log.send(LogRequest::BeginSnapshot(zxid, reply)).is_err() {
        return;
    }
    let Ok(sink) = sink.await else { return };
    let writing = tokio::task::spawn_blocking(move || write_snapshot(sink, &image));
    match writing.await {
        Ok(Ok(())) => {
            tracing::info!(%zxid, "a snapshot is written");
            let _ = log.send(LogRequest::Purge(retain));
        }
        Ok(Err(error)) => {
            tracing::error!(%zxid, error = &error as &dyn std::error::Error, "a snapshot was not written");
        }
        Err(error) => tracing::error!(%zxid, %error, "the snapshot thread failed"),
    }
}
