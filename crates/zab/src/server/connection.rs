//! What the server knows of one client connection.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use zk_wire::codes::OpCode;
use zk_wire::ids::{SessionId, Zxid};
use zk_wire::request::Request;

use super::stats::ConnectionStats;
use crate::access::Identities;
use crate::access::digest_md5::Exchange;

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// From where.
    pub address: SocketAddr,
    /// With TLS?
    pub is_secure: bool,
}

/// The server's side of one connection.
#[derive(Debug)]
pub struct Connection {
    /// Address, and what it has proven since.
    pub who: Identities,
    /// How far proving an identity through SASL has come.
    pub sasl: Exchange,
    /// The session, once established.
    pub session: Option<SessionId>,
    /// Waiting for its session to be committed; nothing is read from the client before that.
    pub stage: Stage,
    /// The client's end.
    pub peer: Peer,
    /// The negotiated timeout of its session in milliseconds; 0 before.
    pub timeout_ms: i32,
    /// What it has sent and been sent.
    pub stats: ConnectionStats,
    /// Requests in the order of their arrival, from the first that cannot be answered yet; and when each came.
    waiting: VecDeque<(Waiting, Duration)>,
}

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The first message has not come.
    New,
    /// A four-letter word has come; nothing else does.
    Word,
    /// Its session is being created; the flag is `readOnly` as the client sent it.
    Connecting {
        /// Was the optional field there, and what did it say?
        read_only: Option<bool>,
        /// The negotiated timeout in milliseconds.
        timeout_ms: i32,
    },
    /// It has resumed a session and has not proven yet that it may (`session.reattach`).
    Unproven {
        /// The session, which is still where it was.
        session: SessionId,
        /// The negotiated timeout in milliseconds.
        timeout_ms: i32,
    },
    /// It has a session.
    Established,
}

/// A request that waits for its turn.
#[derive(Debug)]
pub enum Waiting {
    /// A write: answered when its transaction is applied.
    Write {
        /// The client's xid.
        xid: i32,
        /// What it asked for, which decides about the form of the answer.
        op: OpCode,
        /// The transaction.
        zxid: Zxid,
    },
    /// Something that makes no sense, behind a write of the same session.
    Senseless {
        /// The client's xid.
        xid: i32,
    },
    /// The end of a session that no transaction tells of.
    EndLocal {
        /// The client's xid.
        xid: i32,
    },
    /// A read behind a write of the same session.
    Read {
        /// The client's xid.
        xid: i32,
        /// What it asks for.
        request: Request,
    },
    /// A sync: answered when everything proposed before it has been applied.
    Sync {
        /// The client's xid.
        xid: i32,
        /// The last proposal at its arrival.
        zxid: Zxid,
        /// Echoed.
        path: String,
    },
}

impl Connection {
    /// A connection that has said nothing, accepted at this time in milliseconds since 1970.
    #[must_use]
    pub fn new(who: Identities, peer: Peer, established_ms: i64) -> Self {
        Connection {
            who,
            sasl: Exchange::New,
            session: None,
            stage: Stage::New,
            peer,
            timeout_ms: 0,
            stats: ConnectionStats { established_ms, ..ConnectionStats::default() },
            waiting: VecDeque::new(),
        }
    }

    /// A request that came at this time must wait for its turn.
    pub fn wait(&mut self, waiting: Waiting, since: Duration) {
        self.waiting.push_back((waiting, since));
    }

    /// The request whose turn is next.
    #[must_use]
    pub fn next(&self) -> Option<&Waiting> {
        self.waiting.front().map(|(waiting, _)| waiting)
    }

    /// Takes the request whose turn it is, with when it came.
    pub fn take_next(&mut self) -> Option<(Waiting, Duration)> {
        self.waiting.pop_front()
    }

    /// Does such a request wait?
    #[must_use]
    pub fn waits_for(&self, is_such: impl Fn(&Waiting) -> bool) -> bool {
        self.waiting.iter().any(|(waiting, _)| is_such(waiting))
    }

    /// Requests that are not answered yet.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.waiting.len()
    }
}
