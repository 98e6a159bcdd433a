//! What clients ask for: one record per operation, and [`Request`] as the closed list of them.

use bytes::Bytes;

use crate::acl::Acl;
use crate::codes::{AddWatchMode, CreateMode, OpCode, WatcherType};
use crate::ids::Zxid;
use crate::jute::{DecodeError, Jute, Reader, record};
use crate::multi::{ReadOp, WriteOp, read_ops, write_ops};

/// The xid of watch events.
pub const NOTIFICATION_XID: i32 = -1;
/// The xid of pings.
pub const PING_XID: i32 = -2;
/// The xid of auth packets.
pub const AUTH_XID: i32 = -4;
/// The xid of setWatches and setWatches2.
pub const SET_WATCHES_XID: i32 = -8;

record! {
    /// Precedes every request but the first (`org.apache.zookeeper.proto.RequestHeader`).
    #[derive(Copy)]
    RequestHeader {
        /// Echoed in the reply.
        xid: i32,
        /// The operation.
        op: OpCode,
    }
}

record! {
    /// `CreateRequest`: create, create2, createContainer.
    CreateRequest {
        /// Where; the parent must exist.
        path: String,
        /// The data; null and empty are distinct.
        data: Option<Bytes>,
        /// Who may do what; not empty.
        acl: Vec<Acl>,
        /// The mode.
        mode: CreateMode,
    }
}

record! {
    /// `CreateTTLRequest`.
    CreateTtlRequest {
        /// Where; the parent must exist.
        path: String,
        /// The data.
        data: Option<Bytes>,
        /// Who may do what; not empty.
        acl: Vec<Acl>,
        /// The mode.
        mode: CreateMode,
        /// Milliseconds, 1 to 2^40 - 1.
        ttl_ms: i64,
    }
}

record! {
    /// `DeleteRequest`.
    DeleteRequest {
        /// The znode.
        path: String,
        /// The version it must have; -1 for any.
        version: i32,
    }
}

record! {
    /// A read that may leave a one-shot watch: exists, getData, getChildren, getChildren2.
    WatchedRead {
        /// The znode.
        path: String,
        /// Leave a watch?
        watch: bool,
    }
}

record! {
    /// `SetDataRequest`.
    SetDataRequest {
        /// The znode.
        path: String,
        /// The new data.
        data: Option<Bytes>,
        /// The version it must have; -1 for any.
        version: i32,
    }
}

record! {
    /// `SetACLRequest`.
    SetAclRequest {
        /// The znode.
        path: String,
        /// The new ACL.
        acl: Vec<Acl>,
        /// The aversion it must have; -1 for any.
        version: i32,
    }
}

record! {
    /// `CheckVersionRequest`.
    CheckVersionRequest {
        /// The znode.
        path: String,
        /// The version it must have; -1 for any.
        version: i32,
    }
}

record! {
    /// A request that is one path: getACL, sync, deleteContainer, getEphemerals, getAllChildrenNumber.
    PathRequest {
        /// The znode, or the prefix.
        path: String,
    }
}

record! {
    /// `ReconfigRequest`.
    ReconfigRequest {
        /// Servers to add.
        joining: Option<String>,
        /// Servers to remove.
        leaving: Option<String>,
        /// The whole new membership instead.
        new_members: Option<String>,
        /// The configuration version this builds on; -1 for any.
        current_config_id: i64,
    }
}

record! {
    /// `CheckWatchesRequest` and `RemoveWatchesRequest`.
    WatchesRequest {
        /// The watched path.
        path: String,
        /// Which watches on it.
        kind: WatcherType,
    }
}

record! {
    /// `AddWatchRequest`.
    AddWatchRequest {
        /// The path; it need not exist.
        path: String,
        /// How the watch behaves.
        mode: AddWatchMode,
    }
}

record! {
    /// `AuthPacket`.
    AuthPacket {
        /// Always zero.
        kind: i32,
        /// `digest`, …
        scheme: String,
        /// The credentials in that scheme's form.
        auth: Option<Bytes>,
    }
}

record! {
    /// `GetSASLRequest`, and `SetSASLResponse` in the other direction.
    SaslToken {
        /// One token of the exchange.
        token: Option<Bytes>,
    }
}

record! {
    /// `SetWatches`.
    SetWatches {
        /// The newest zxid the client has seen; what changed since then is reported at once.
        relative_zxid: Zxid,
        /// Paths with a data watch.
        data: Vec<String>,
        /// Paths watched for their creation.
        exist: Vec<String>,
        /// Paths with a child watch.
        child: Vec<String>,
    }
}

record! {
    /// `SetWatches2`.
    SetWatches2 {
        /// The newest zxid the client has seen; what changed since then is reported at once.
        relative_zxid: Zxid,
        /// Paths with a data watch.
        data: Vec<String>,
        /// Paths watched for their creation.
        exist: Vec<String>,
        /// Paths with a child watch.
        child: Vec<String>,
        /// Paths with a persistent watch.
        persistent: Vec<String>,
        /// Paths with a persistent recursive watch.
        persistent_recursive: Vec<String>,
    }
}

/// Every request a client can send after its first message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // The variants are the operations of `OpCode`, documented there.
pub enum Request {
    Create(CreateRequest),
    Create2(CreateRequest),
    CreateContainer(CreateRequest),
    CreateTtl(CreateTtlRequest),
    Delete(DeleteRequest),
    DeleteContainer(PathRequest),
    Exists(WatchedRead),
    GetData(WatchedRead),
    SetData(SetDataRequest),
    GetAcl(PathRequest),
    SetAcl(SetAclRequest),
    GetChildren(WatchedRead),
    GetChildren2(WatchedRead),
    Sync(PathRequest),
    Ping,
    Check(CheckVersionRequest),
    Multi(Vec<WriteOp>),
    MultiRead(Vec<ReadOp>),
    Reconfig(ReconfigRequest),
    CheckWatches(WatchesRequest),
    RemoveWatches(WatchesRequest),
    AddWatch(AddWatchRequest),
    Auth(AuthPacket),
    Sasl(SaslToken),
    SetWatches(SetWatches),
    SetWatches2(SetWatches2),
    GetEphemerals(PathRequest),
    GetAllChildrenNumber(PathRequest),
    WhoAmI,
    CloseSession,
}

/// Why a request cannot be carried out as it stands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The server answers UNIMPLEMENTED and closes.
    #[error("no operation has the number {0}")]
    UnknownOp(i32),
    /// The server answers MARSHALLINGERROR.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

impl Request {
    /// Decodes the body of a request of operation `op`. Bytes behind the record are ignored, as Apache does.
    ///
    /// # Errors
    /// The operation is unknown, or the bytes are not its record.
    pub fn decode(op: OpCode, reader: &mut Reader<'_>) -> Result<Request, RequestError> {
        Ok(match op {
            OpCode::Create => Request::Create(reader.read()?),
            OpCode::Create2 => Request::Create2(reader.read()?),
            OpCode::CreateContainer => Request::CreateContainer(reader.read()?),
            OpCode::CreateTtl => Request::CreateTtl(reader.read()?),
            OpCode::Delete => Request::Delete(reader.read()?),
            OpCode::DeleteContainer => Request::DeleteContainer(reader.read()?),
            OpCode::Exists => Request::Exists(reader.read()?),
            OpCode::GetData => Request::GetData(reader.read()?),
            OpCode::SetData => Request::SetData(reader.read()?),
            OpCode::GetAcl => Request::GetAcl(reader.read()?),
            OpCode::SetAcl => Request::SetAcl(reader.read()?),
            OpCode::GetChildren => Request::GetChildren(reader.read()?),
            OpCode::GetChildren2 => Request::GetChildren2(reader.read()?),
            OpCode::Sync => Request::Sync(reader.read()?),
            OpCode::Ping => Request::Ping,
            OpCode::Check => Request::Check(reader.read()?),
            OpCode::Multi => Request::Multi(read_ops(reader)?),
            OpCode::MultiRead => Request::MultiRead(read_ops(reader)?),
            OpCode::Reconfig => Request::Reconfig(reader.read()?),
            OpCode::CheckWatches => Request::CheckWatches(reader.read()?),
            OpCode::RemoveWatches => Request::RemoveWatches(reader.read()?),
            OpCode::AddWatch => Request::AddWatch(reader.read()?),
            OpCode::Auth => Request::Auth(reader.read()?),
            OpCode::Sasl => Request::Sasl(reader.read()?),
            OpCode::SetWatches => Request::SetWatches(reader.read()?),
            OpCode::SetWatches2 => Request::SetWatches2(reader.read()?),
            OpCode::GetEphemerals => Request::GetEphemerals(reader.read()?),
            OpCode::GetAllChildrenNumber => Request::GetAllChildrenNumber(reader.read()?),
            OpCode::WhoAmI => Request::WhoAmI,
            OpCode::CloseSession => Request::CloseSession,
            OpCode(number) => return Err(RequestError::UnknownOp(number)),
        })
    }

    /// The operation's number.
    #[must_use]
    pub fn op(&self) -> OpCode {
        match self {
            Request::Create(_) => OpCode::Create,
            Request::Create2(_) => OpCode::Create2,
            Request::CreateContainer(_) => OpCode::CreateContainer,
            Request::CreateTtl(_) => OpCode::CreateTtl,
            Request::Delete(_) => OpCode::Delete,
            Request::DeleteContainer(_) => OpCode::DeleteContainer,
            Request::Exists(_) => OpCode::Exists,
            Request::GetData(_) => OpCode::GetData,
            Request::SetData(_) => OpCode::SetData,
            Request::GetAcl(_) => OpCode::GetAcl,
            Request::SetAcl(_) => OpCode::SetAcl,
            Request::GetChildren(_) => OpCode::GetChildren,
            Request::GetChildren2(_) => OpCode::GetChildren2,
            Request::Sync(_) => OpCode::Sync,
            Request::Ping => OpCode::Ping,
            Request::Check(_) => OpCode::Check,
            Request::Multi(_) => OpCode::Multi,
            Request::MultiRead(_) => OpCode::MultiRead,
            Request::Reconfig(_) => OpCode::Reconfig,
            Request::CheckWatches(_) => OpCode::CheckWatches,
            Request::RemoveWatches(_) => OpCode::RemoveWatches,
            Request::AddWatch(_) => OpCode::AddWatch,
            Request::Auth(_) => OpCode::Auth,
            Request::Sasl(_) => OpCode::Sasl,
            Request::SetWatches(_) => OpCode::SetWatches,
            Request::SetWatches2(_) => OpCode::SetWatches2,
            Request::GetEphemerals(_) => OpCode::GetEphemerals,
            Request::GetAllChildrenNumber(_) => OpCode::GetAllChildrenNumber,
            Request::WhoAmI => OpCode::WhoAmI,
            Request::CloseSession => OpCode::CloseSession,
        }
    }

    /// Appends header and body, without the frame's length.
    pub fn encode(&self, xid: i32, out: &mut Vec<u8>) {
        RequestHeader { xid, op: self.op() }.write(out);
        match self {
            Request::Create(r) | Request::Create2(r) | Request::CreateContainer(r) => r.write(out),
            Request::CreateTtl(r) => r.write(out),
            Request::Delete(r) => r.write(out),
            Request::Exists(r) | Request::GetData(r) | Request::GetChildren(r) | Request::GetChildren2(r) => {
                r.write(out);
            }
            Request::SetData(r) => r.write(out),
            Request::SetAcl(r) => r.write(out),
            Request::DeleteContainer(r)
            | Request::GetAcl(r)
            | Request::Sync(r)
            | Request::GetEphemerals(r)
            | Request::GetAllChildrenNumber(r) => r.write(out),
            Request::Check(r) => r.write(out),
            Request::Multi(ops) => write_ops(ops, out),
            Request::MultiRead(ops) => write_ops(ops, out),
            Request::Reconfig(r) => r.write(out),
            Request::CheckWatches(r) | Request::RemoveWatches(r) => r.write(out),
            Request::AddWatch(r) => r.write(out),
            Request::Auth(r) => r.write(out),
            Request::Sasl(r) => r.write(out),
            Request::SetWatches(r) => r.write(out),
            Request::SetWatches2(r) => r.write(out),
            Request::Ping | Request::WhoAmI | Request::CloseSession => {}
        }
    }
}
