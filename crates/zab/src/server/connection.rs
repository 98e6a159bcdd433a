//! What the server knows of one client connection.

use std::collections::VecDeque;

use zk_wire::codes::OpCode;
use zk_wire::ids::{SessionId, Zxid};
use zk_wire::request::Request;

use crate::access::Identities;
use crate::access::digest_md5::Exchange;

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
    /// Requests in the order of their arrival, from the first that cannot be answered yet.
    pub waiting: VecDeque<Waiting>,
}

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The first message has not come.
    New,
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
    /// A connection that has said nothing.
    #[must_use]
    pub fn new(who: Identities) -> Self {
        Connection { who, sasl: Exchange::New, session: None, stage: Stage::New, waiting: VecDeque::new() }
    }
}
