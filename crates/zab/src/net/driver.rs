//! The task that owns the core: inputs in, outputs out, until it is stopped. No protocol knowledge.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use zk_wire::ids::Zxid;

use super::connection::{Handle, Outgoing};
use super::log_thread::LogRequest;
use super::report::{Question, Tally};
use super::snapshot_thread::{SnapshotOptions, SnapshotThread};
use crate::server::core::{Core, Input, Now, Output};
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
    pub log: mpsc::UnboundedSender<LogRequest>,
    /// From those who want to know how it is.
    pub questions: mpsc::Receiver<Question>,
    /// What is counted outside of the core.
    pub tally: Arc<Tally>,
    /// How snapshots are written and kept.
    pub snapshots: SnapshotOptions,
    /// When so many bytes have been logged, a snapshot is due.
    pub snapshot_at: u64,
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
        let mut snapshot: Option<SnapshotThread> = None;
        self.snapshot_at = self.snapshots.due_after(self.core.tree().last_zxid());
        loop {
            let mut tick = self.core.next_tick().saturating_sub(self.started.elapsed());
            if let Some(due) = snapshot.as_ref().and_then(SnapshotThread::due) {
                tick = tick.min(due.saturating_duration_since(Instant::now()));
            }
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                Some((id, handle)) = self.handles.recv() => {
                    connections.insert(id, handle);
                    continue;
                }
                logged = self.logged.recv() => match logged {
                    Some(zxid) => {
                        self.core.handle(self.now(), Input::Logged(zxid));
                        if self.tally.logged_bytes() >= self.snapshot_at {
                            self.core.begin_snapshot();
                        }
                    }
                    None => break,
                },
                count = self.inputs.recv_many(&mut batch, MAX_BATCH) => {
                    if count == 0 {
                        break;
                    }
                }
                // Behind the clients: whoever asks all the time must not keep them from being served.
                Some(question) = self.questions.recv() => question(&mut self.core),
                () = tokio::time::sleep(tick.max(Duration::from_millis(1))) => {}
            }
            let now = self.now();
            // Not only behind the sleep, which is never reached while inputs keep coming.
            if now.uptime >= self.core.next_tick() {
                self.core.handle(now, Input::Tick);
            }
            for input in batch.drain(..) {
                if let Input::Closed(id) = input {
                    connections.remove(&id);
                }
                while let Ok((id, handle)) = self.handles.try_recv() {
                    connections.insert(id, handle);
                }
                self.core.handle(now, input);
            }
            // Nor must clients that send all the time keep it from being answered.
            if let Ok(question) = self.questions.try_recv() {
                question(&mut self.core);
            }
            if !self.send_outputs(&mut connections, &mut snapshot) {
                break;
            }
            match &mut snapshot {
                Some(snapshot) => snapshot.feed(&mut self.core),
                None => self.core.abandon_snapshot(),
            }
        }
        if let Some(snapshot) = snapshot {
            let _ = tokio::task::spawn_blocking(|| snapshot.end()).await;
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
        snapshot: &mut Option<SnapshotThread>,
    ) -> bool {
        let mut gathering = Vec::new();
        for output in self.core.outputs() {
            let (id, outgoing) = match output {
                Output::Persist(txn) => {
                    if self.log.send(LogRequest::Append(txn)).is_err() {
                        return false;
                    }
                    continue;
                }
                Output::Snapshot(head) => {
                    let (before, tally) = (snapshot.take(), Arc::clone(&self.tally));
                    self.snapshot_at =
                        tally.logged_bytes().saturating_add(self.snapshots.due_after(head.zxid));
                    match SnapshotThread::begin(head, &self.log, self.snapshots, tally, before) {
                        Ok(begun) => *snapshot = Some(begun),
                        Err(error) => tracing::error!(%error, "no thread for a snapshot can be had"),
                    }
                    continue;
                }
                Output::Reply(id, frame) => (id, Outgoing::Reply(frame)),
                Output::Notify(id, frame) => (id, Outgoing::Notify(frame)),
                Output::Close(id) => (id, Outgoing::Close),
            };
            if let Some(connection) = connections.get_mut(&id)
                && connection.send(outgoing)
            {
                gathering.push(id);
            }
        }
        for id in gathering {
            if let Some(connection) = connections.get_mut(&id) {
                connection.flush();
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ServerConfig;
    use crate::server::connection::Peer;
    use crate::storage::{Restore, Retention};
    use crate::tree::Tree;
    use crate::tree::restore::Restoring;
    use zk_wire::codes::OpCode;
    use zk_wire::connect::{ConnectRequest, ConnectRequestBody};
    use zk_wire::ids::SessionId;
    use zk_wire::jute::Jute;

    /// A tree of a server that had one session.
    fn tree_with_a_session() -> Tree {
        let mut restoring = Restoring::default();
        restoring.session(SessionId(7), 10);
        restoring.node("", None, -1, Default::default()).unwrap();
        restoring.snapshot_end(Zxid(1), None).unwrap();
        restoring.finish().0
    }

    fn connect_request() -> bytes::Bytes {
        let body = ConnectRequestBody {
            protocol_version: 0,
            last_zxid_seen: Zxid::ZERO,
            timeout_ms: 10_000,
            session_id: SessionId::NONE,
            password: None,
        };
        ConnectRequest { body, read_only: None }.to_bytes().into()
    }

    #[tokio::test]
    async fn time_passes_also_while_inputs_never_cease() {
        let mut config = ServerConfig::local("/nowhere".into());
        config.tick_time = Duration::from_millis(1);
        let core = Core::new(config, tree_with_a_session(), Now { uptime: Duration::ZERO, wall_ms: 0 });
        let (inputs_tx, inputs) = mpsc::channel(8 * MAX_BATCH);
        let (_handles, handles) = mpsc::unbounded_channel();
        let (_logged, logged) = mpsc::unbounded_channel();
        let (questions_tx, questions) = mpsc::channel(1);
        let (told, answer) = std::sync::mpsc::channel();
        let question: Question = Box::new(move |core: &mut Core| told.send(core.view()).unwrap());
        assert!(questions_tx.try_send(question).is_ok());
        let (log, mut requests) = mpsc::unbounded_channel();
        for n in 0..4 * MAX_BATCH as u64 {
            let address = std::net::SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, 1));
            inputs_tx.try_send(Input::Opened(ConnectionId(n), Peer { address, is_secure: false })).unwrap();
            inputs_tx.try_send(Input::Frame(ConnectionId(n), connect_request())).unwrap();
        }
        drop(inputs_tx);
        // Long enough ago for the session to be due.
        let started = Instant::now().checked_sub(Duration::from_secs(1)).unwrap();
        let (tally, stop) = (Arc::default(), CancellationToken::new());
        let snapshots = SnapshotOptions {
            retention: Retention { snapshots: 3, min_free_bytes: 0 },
            bytes_per_second: 0,
            logged_bytes: 0,
        };
        Driver {
            core,
            started,
            inputs,
            handles,
            logged,
            log,
            questions,
            tally,
            snapshots,
            snapshot_at: 0,
            stop,
        }
        .run()
        .await;
        let logged = std::iter::from_fn(|| requests.try_recv().ok()).map(|request| match request {
            LogRequest::Append(txn) => txn.header.op,
            _ => panic!("not an append"),
        });
        let ended = logged.into_iter().position(|op| op == OpCode::CloseSession);
        assert!(ended.is_some_and(|before| before <= MAX_BATCH), "{ended:?}");
        let view = answer.try_recv().unwrap();
        assert!(view.connections <= MAX_BATCH, "{view:?}");
    }
}
