//! The first message in each direction.

use bytes::Bytes;

use crate::ids::{SessionId, Zxid};
use crate::jute::{DecodeError, Jute, Reader, record};

record! {
    /// `org.apache.zookeeper.proto.ConnectRequest` without its optional last field.
    ConnectRequestBody {
        /// Always zero.
        protocol_version: i32,
        /// The newest zxid the client has seen; a server that is behind refuses.
        last_zxid_seen: Zxid,
        /// The session timeout asked for, in milliseconds.
        timeout_ms: i32,
        /// The session to resume; zero for a new one.
        session_id: SessionId,
        /// Its password; 16 zero bytes for a new one.
        password: Option<Bytes>,
    }
}

record! {
    /// `org.apache.zookeeper.proto.ConnectResponse` without its optional last field.
    ConnectResponseBody {
        /// Always zero.
        protocol_version: i32,
        /// The session timeout in force, in milliseconds; zero: the session is gone.
        timeout_ms: i32,
        /// The session.
        session_id: SessionId,
        /// Its password.
        password: Option<Bytes>,
    }
}

/// A client's first message. `read_only` is absent from clients older than 3.4, and must then be absent
/// from the response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectRequest {
    /// The mandatory fields.
    pub body: ConnectRequestBody,
    /// Would a read-only server do?
    pub read_only: Option<bool>,
}

/// A server's first message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectResponse {
    /// The mandatory fields.
    pub body: ConnectResponseBody,
    /// Is this server read-only now?
    pub read_only: Option<bool>,
}

impl Jute for ConnectRequest {
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(ConnectRequest { body: reader.read()?, read_only: read_optional_bool(reader)? })
    }

    fn write(&self, out: &mut Vec<u8>) {
        self.body.write(out);
        write_optional_bool(self.read_only, out);
    }
}

impl Jute for ConnectResponse {
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(ConnectResponse { body: reader.read()?, read_only: read_optional_bool(reader)? })
    }

    fn write(&self, out: &mut Vec<u8>) {
        self.body.write(out);
        write_optional_bool(self.read_only, out);
    }
}

impl ConnectResponse {
    /// The answer to a session that cannot be resumed.
    #[must_use]
    pub fn expired(read_only: Option<bool>) -> Self {
        let body = ConnectResponseBody {
            protocol_version: 0,
            timeout_ms: 0,
            session_id: SessionId::NONE,
            password: Some(Bytes::from_static(&[0; 16])),
        };
        ConnectResponse { body, read_only }
    }
}

fn read_optional_bool(reader: &mut Reader<'_>) -> Result<Option<bool>, DecodeError> {
    match reader.remaining() {
        0 => Ok(None),
        _ => bool::read(reader).map(Some),
    }
}

fn write_optional_bool(value: Option<bool>, out: &mut Vec<u8>) {
    if let Some(value) = value {
        value.write(out);
    }
}
