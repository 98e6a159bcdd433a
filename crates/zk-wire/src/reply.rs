//! What servers answer.

use bytes::Bytes;

use crate::acl::Acl;
use crate::codes::{ErrorCode, EventType, KeeperState, OpCode};
use crate::ids::Zxid;
use crate::jute::{DecodeError, DecodeErrorKind, Jute, Reader, record};
use crate::multi::MultiResults;
use crate::request::NOTIFICATION_XID;
use crate::stat::Stat;

record! {
    /// Precedes every answer but the first (`org.apache.zookeeper.proto.ReplyHeader`). A body follows only
    /// when `err` is zero, except for multi and SASL.
    #[derive(Copy)]
    ReplyHeader {
        /// The request's xid.
        xid: i32,
        /// The last transaction that this server has applied.
        zxid: Zxid,
        /// The outcome.
        err: ErrorCode,
    }
}

record! {
    /// `CreateResponse`, `SyncResponse`: one path.
    PathResponse {
        /// The path, with its sequence number.
        path: String,
    }
}

record! {
    /// `Create2Response`.
    Create2Response {
        /// The path, with its sequence number.
        path: String,
        /// The new znode's stat.
        stat: Stat,
    }
}

record! {
    /// `ExistsResponse`, `SetDataResponse`, `SetACLResponse`: one stat.
    StatResponse {
        /// The znode's stat.
        stat: Stat,
    }
}

record! {
    /// `GetDataResponse`.
    GetDataResponse {
        /// The data; null and empty are distinct.
        data: Option<Bytes>,
        /// The znode's stat.
        stat: Stat,
    }
}

record! {
    /// `GetACLResponse`.
    GetAclResponse {
        /// Who may do what.
        acl: Vec<Acl>,
        /// The znode's stat.
        stat: Stat,
    }
}

record! {
    /// `GetChildrenResponse`, `GetEphemeralsResponse`: names or paths, in no order.
    StringsResponse {
        /// The names or paths.
        strings: Vec<String>,
    }
}

record! {
    /// `GetChildren2Response`.
    GetChildren2Response {
        /// Names of the children, in no order.
        children: Vec<String>,
        /// The parent's stat.
        stat: Stat,
    }
}

record! {
    /// `ClientInfo`: one identity of a connection.
    ClientInfo {
        /// The scheme.
        auth_scheme: String,
        /// The user, without any credential.
        user: String,
    }
}

record! {
    /// A watch event (`WatcherEvent`).
    WatcherEvent {
        /// What happened.
        kind: EventType,
        /// The session's state; servers only ever send `SyncConnected`.
        state: KeeperState,
        /// To which znode.
        path: String,
    }
}

/// The body of an answer; which one follows from the request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // The variants are the records of this module.
pub enum Response {
    /// A header alone.
    Empty,
    Path(PathResponse),
    Create2(Create2Response),
    Stat(StatResponse),
    Data(GetDataResponse),
    Acl(GetAclResponse),
    Strings(StringsResponse),
    Children2(GetChildren2Response),
    Multi(MultiResults),
    /// `addWatch` answers an `ErrorResponse`; `getAllChildrenNumber` a count.
    Number(i32),
    WhoAmI(Vec<ClientInfo>),
    Token(crate::request::SaslToken),
}

impl Response {
    /// Reads the body of a successful answer to a request of operation `op`.
    ///
    /// # Errors
    /// The bytes are not that body, or `op` is not in the list of requests.
    pub fn read(op: OpCode, reader: &mut Reader<'_>) -> Result<Response, DecodeError> {
        Ok(match op {
            OpCode::Create | OpCode::Sync => Response::Path(reader.read()?),
            OpCode::Create2 | OpCode::CreateContainer | OpCode::CreateTtl => {
                Response::Create2(reader.read()?)
            }
            OpCode::Exists | OpCode::SetData | OpCode::SetAcl => Response::Stat(reader.read()?),
            OpCode::GetData | OpCode::Reconfig => Response::Data(reader.read()?),
            OpCode::GetAcl => Response::Acl(reader.read()?),
            OpCode::GetChildren | OpCode::GetEphemerals => Response::Strings(reader.read()?),
            OpCode::GetChildren2 => Response::Children2(reader.read()?),
            OpCode::Multi | OpCode::MultiRead => Response::Multi(reader.read()?),
            OpCode::AddWatch | OpCode::GetAllChildrenNumber => Response::Number(reader.read()?),
            OpCode::WhoAmI => Response::WhoAmI(reader.read()?),
            OpCode::Sasl => Response::Token(reader.read()?),
            OpCode::Delete
            | OpCode::DeleteContainer
            | OpCode::Check
            | OpCode::CheckWatches
            | OpCode::RemoveWatches
            | OpCode::SetWatches
            | OpCode::SetWatches2
            | OpCode::Auth
            | OpCode::Ping
            | OpCode::CloseSession => Response::Empty,
            OpCode(number) => {
                let kind = DecodeErrorKind::UnknownValue(number.into());
                return Err(reader.error(kind).within("RequestHeader", "type"));
            }
        })
    }

    /// Appends the body.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Response::Empty => {}
            Response::Path(r) => r.write(out),
            Response::Create2(r) => r.write(out),
            Response::Stat(r) => r.write(out),
            Response::Data(r) => r.write(out),
            Response::Acl(r) => r.write(out),
            Response::Strings(r) => r.write(out),
            Response::Children2(r) => r.write(out),
            Response::Multi(r) => r.write(out),
            Response::Number(r) => r.write(out),
            Response::WhoAmI(r) => r.write(out),
            Response::Token(r) => r.write(out),
        }
    }
}

impl WatcherEvent {
    /// Appends header and event, without the frame's length. `zxid` is the transaction that caused it, or
    /// -1 when it was synthesised by setWatches.
    pub fn encode(&self, zxid: Zxid, out: &mut Vec<u8>) {
        ReplyHeader { xid: NOTIFICATION_XID, zxid, err: ErrorCode::Ok }.write(out);
        self.write(out);
    }
}
