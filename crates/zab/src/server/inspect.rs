//! What the core tells of itself to those who watch over it: copies, so that they can be written out elsewhere.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use zk_wire::acl::Acl;
use zk_wire::digest::Digest;
use zk_wire::ids::{SessionId, Zxid};

use super::connection::{Connection, Peer, Stage};
use super::core::Core;
use super::metrics::Metric;
use super::stats::{ConnectionStats, Quantiles, Stats};
use crate::tree::watches::ConnectionId;

/// Sizes and counters.
#[derive(Debug, Clone, Copy)]
pub struct View {
    /// Counters.
    pub stats: Stats,
    /// Quantiles of `stats.read_latency`.
    pub read_quantiles: Quantiles,
    /// Quantiles of `stats.update_latency`.
    pub update_quantiles: Quantiles,
    /// Connections, that of whoever asks included.
    pub connections: usize,
    /// Proposals not yet committed.
    pub outstanding: usize,
    /// Sessions that transactions tell of.
    pub sessions: usize,
    /// Sessions that none tells of.
    pub local_sessions: usize,
    /// The last transaction applied.
    pub zxid: Zxid,
    /// Znodes, as Apache counts them: the root is two.
    pub znodes: usize,
    /// Ephemeral znodes.
    pub ephemerals: usize,
    /// Watches, as Apache counts them: a persistent one twice, since it is one of data and one of children.
    pub watches: usize,
    /// Bytes of paths and data.
    pub data_bytes: u64,
}

/// A connection.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionView {
    /// The client's end.
    pub peer: Peer,
    /// Is it being read from? A four-letter word ends that.
    pub is_read: bool,
    /// Requests not yet answered.
    pub outstanding: usize,
    /// Counters.
    pub stats: ConnectionStats,
    /// Its session, if it has one.
    pub session: Option<SessionId>,
    /// The session's timeout in milliseconds; 0 without one.
    pub timeout_ms: i32,
}

/// Sessions, with what they hold and when they end.
#[derive(Debug, Clone)]
pub struct SessionsView {
    /// When sessions expire unless they are heard of, since the server started.
    pub expiry: Vec<(Duration, Vec<SessionId>)>,
    /// Who has ephemeral znodes, and which.
    pub ephemerals: Vec<(SessionId, Vec<Arc<str>>)>,
    /// Now, since the server started.
    pub uptime: Duration,
    /// Now, in milliseconds since 1970.
    pub wall_ms: i64,
}

/// Watches of data, of existence and persistent ones; those of children alone are not among them, as in
/// Apache's answers (`DataTree.dumpWatches`).
#[derive(Debug, Clone, Default)]
pub struct WatchesView {
    /// What is watched, by each connection's session.
    pub by_session: Vec<(SessionId, Vec<Arc<str>>)>,
    /// Who watches, by path.
    pub by_path: Vec<(Arc<str>, Vec<SessionId>)>,
}

impl WatchesView {
    /// Pairs of a connection and a path.
    #[must_use]
    pub fn total(&self) -> usize {
        self.by_path.iter().map(|(_, sessions)| sessions.len()).sum()
    }
}

impl Core {
    /// Sizes and counters.
    #[must_use]
    pub fn view(&self) -> View {
        View {
            stats: self.stats,
            read_quantiles: self.read_latency.quantiles(),
            update_quantiles: self.update_latency.quantiles(),
            connections: self.connections.len(),
            outstanding: self.engine.outstanding(),
            sessions: self.tree.sessions().len(),
            local_sessions: self.sessions.len().saturating_sub(self.tree.sessions().len()),
            zxid: self.tree.last_zxid(),
            // `DataTree` has the root under two names.
            znodes: self.tree.len() + 1,
            ephemerals: self.tree.ephemeral_count(),
            watches: self.watches.len(),
            data_bytes: self.tree.data_bytes(),
        }
    }

    /// What is counted by child of the root.
    #[must_use]
    pub fn namespace_metrics(&self) -> Vec<Metric> {
        self.namespaces.metrics(&self.tree)
    }

    /// All connections, the oldest first.
    #[must_use]
    pub fn connection_views(&self) -> Vec<ConnectionView> {
        let mut connections: Vec<(&ConnectionId, &Connection)> = self.connections.iter().collect();
        connections.sort_unstable_by_key(|(id, _)| **id);
        let view = |connection: &Connection| ConnectionView {
            peer: connection.peer,
            is_read: connection.stage != Stage::Word,
            outstanding: connection.outstanding(),
            stats: connection.stats,
            session: connection.session,
            timeout_ms: connection.timeout_ms,
        };
        connections.into_iter().map(|(_, connection)| view(connection)).collect()
    }

    /// All sessions.
    #[must_use]
    pub fn sessions_view(&self) -> SessionsView {
        let ephemerals =
            self.tree.owners().into_iter().map(|id| (id, self.tree.ephemerals(id).cloned().collect()));
        SessionsView {
            expiry: self.sessions.expiry().collect(),
            ephemerals: ephemerals.collect(),
            uptime: self.now.uptime,
            wall_ms: self.now.wall_ms,
        }
    }

    /// All watches of data.
    #[must_use]
    pub fn watches_view(&self) -> WatchesView {
        let session = |id: ConnectionId| {
            self.connections.get(&id).and_then(|connection| connection.session).unwrap_or(SessionId::NONE)
        };
        let mut by_path = Vec::new();
        let mut by_connection: BTreeMap<ConnectionId, Vec<Arc<str>>> = BTreeMap::new();
        let mut of_data: Vec<_> = self.watches.of_data().collect();
        of_data.sort_unstable();
        for (path, watchers) in of_data {
            for &id in &watchers {
                by_connection.entry(id).or_default().push(Arc::clone(path));
            }
            by_path.push((Arc::clone(path), watchers.into_iter().map(session).collect()));
        }
        let by_session = by_connection.into_iter().map(|(id, paths)| (session(id), paths)).collect();
        WatchesView { by_session, by_path }
    }

    /// Digests of the tree at past transactions.
    #[must_use]
    pub fn digests(&self) -> Vec<(Zxid, Digest)> {
        self.digests.iter().collect()
    }

    /// Who may do what with the root.
    #[must_use]
    pub fn root_acl(&self) -> Arc<[Acl]> {
        self.tree.get("").map_or_else(|| Arc::from([]), |root| self.tree.acl(root.acl()))
    }

    /// `srst`.
    pub fn reset_stats(&mut self) {
        self.stats.reset();
        self.read_latency.reset();
        self.update_latency.reset();
    }

    /// `crst`.
    pub fn reset_connection_stats(&mut self) {
        self.connections.values_mut().for_each(|connection| connection.stats.reset());
    }
}
