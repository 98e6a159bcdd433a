//! Transactions: what the log holds and what members of an ensemble send each other
//! (`org.apache.zookeeper.txn`).

use bytes::Bytes;

use crate::acl::Acl;
use crate::codes::{ErrorCode, OpCode};
use crate::digest::TxnDigest;
use crate::ids::{SessionId, Zxid};
use crate::jute::{DecodeError, DecodeErrorKind, Jute, Reader, record};

record! {
    /// `TxnHeader`, 32 bytes.
    #[derive(Copy)]
    TxnHeader {
        /// The session that asked for it.
        session: SessionId,
        /// The xid it asked with.
        cxid: i32,
        /// The transaction's id.
        zxid: Zxid,
        /// Milliseconds since 1970 by the leader's clock.
        time_ms: i64,
        /// Which transaction it is.
        op: OpCode,
    }
}

record! {
    /// `CreateTxn`, types create and create2.
    CreateTxn {
        /// The path with its sequence number.
        path: String,
        /// The data.
        data: Option<Bytes>,
        /// The ACL after fix-up.
        acl: Vec<Acl>,
        /// Does it go with the header's session?
        ephemeral: bool,
        /// The parent's cversion afterwards (creates only).
        parent_cversion: i32,
    }
}

record! {
    /// `CreateContainerTxn`.
    CreateContainerTxn {
        /// The path.
        path: String,
        /// The data.
        data: Option<Bytes>,
        /// The ACL after fix-up.
        acl: Vec<Acl>,
        /// The parent's cversion afterwards (creates only).
        parent_cversion: i32,
    }
}

record! {
    /// `CreateTTLTxn`.
    CreateTtlTxn {
        /// The path with its sequence number.
        path: String,
        /// The data.
        data: Option<Bytes>,
        /// The ACL after fix-up.
        acl: Vec<Acl>,
        /// The parent's cversion afterwards (creates only).
        parent_cversion: i32,
        /// Milliseconds.
        ttl_ms: i64,
    }
}

record! {
    /// `DeleteTxn`, types delete and deleteContainer.
    DeleteTxn {
        /// The znode.
        path: String,
    }
}

record! {
    /// `SetDataTxn`, types setData and reconfig.
    SetDataTxn {
        /// The znode.
        path: String,
        /// The new data.
        data: Option<Bytes>,
        /// The version afterwards.
        version: i32,
    }
}

record! {
    /// `SetACLTxn`.
    SetAclTxn {
        /// The znode.
        path: String,
        /// The new ACL after fix-up.
        acl: Vec<Acl>,
        /// The aversion afterwards.
        version: i32,
    }
}

record! {
    /// `CheckVersionTxn`; nothing to apply.
    CheckVersionTxn {
        /// The znode.
        path: String,
        /// The version found, plus one.
        version: i32,
    }
}

record! {
    /// `CreateSessionTxn`.
    CreateSessionTxn {
        /// The session's timeout in milliseconds.
        timeout_ms: i32,
    }
}

/// What a transaction did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // The variants are the operations of `OpCode`, documented there.
pub enum Txn {
    Create(CreateTxn),
    Create2(CreateTxn),
    CreateContainer(CreateContainerTxn),
    CreateTtl(CreateTtlTxn),
    Delete(DeleteTxn),
    DeleteContainer(DeleteTxn),
    SetData(SetDataTxn),
    Reconfig(SetDataTxn),
    SetAcl(SetAclTxn),
    Check(CheckVersionTxn),
    CreateSession(CreateSessionTxn),
    /// The session's ephemerals; `None` from servers before 3.6, where each member deletes its own list.
    CloseSession(Option<Vec<String>>),
    /// A write that failed: it consumed a zxid and changed nothing.
    Error(ErrorCode),
    /// All of it, or nothing if any element is [`Txn::Error`].
    Multi(Vec<Txn>),
}

impl Txn {
    /// The type in a header.
    #[must_use]
    pub fn op(&self) -> OpCode {
        match self {
            Txn::Create(_) => OpCode::Create,
            Txn::Create2(_) => OpCode::Create2,
            Txn::CreateContainer(_) => OpCode::CreateContainer,
            Txn::CreateTtl(_) => OpCode::CreateTtl,
            Txn::Delete(_) => OpCode::Delete,
            Txn::DeleteContainer(_) => OpCode::DeleteContainer,
            Txn::SetData(_) => OpCode::SetData,
            Txn::Reconfig(_) => OpCode::Reconfig,
            Txn::SetAcl(_) => OpCode::SetAcl,
            Txn::Check(_) => OpCode::Check,
            Txn::CreateSession(_) => OpCode::CreateSession,
            Txn::CloseSession(_) => OpCode::CloseSession,
            Txn::Error(_) => OpCode::Error,
            Txn::Multi(_) => OpCode::Multi,
        }
    }

    /// Appends the body; the type goes into the header.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Txn::Create(t) | Txn::Create2(t) => t.write(out),
            Txn::CreateContainer(t) => t.write(out),
            Txn::CreateTtl(t) => t.write(out),
            Txn::Delete(t) | Txn::DeleteContainer(t) => t.write(out),
            Txn::SetData(t) | Txn::Reconfig(t) => t.write(out),
            Txn::SetAcl(t) => t.write(out),
            Txn::Check(t) => t.write(out),
            Txn::CreateSession(t) => t.write(out),
            Txn::CloseSession(None) => {}
            Txn::CloseSession(Some(paths)) => paths.write(out),
            Txn::Error(code) => code.write(out),
            Txn::Multi(txns) => write_multi(txns, out),
        }
    }

    /// Decodes the body of a transaction of type `op`.
    ///
    /// # Errors
    /// The type is unknown, or the bytes are not its record.
    pub fn read(op: OpCode, reader: &mut Reader<'_>) -> Result<Txn, DecodeError> {
        match op {
            OpCode::Multi => read_multi(reader),
            _ => Txn::read_single(op, reader),
        }
    }

    fn read_single(op: OpCode, reader: &mut Reader<'_>) -> Result<Txn, DecodeError> {
        Ok(match op {
            OpCode::Create => Txn::Create(reader.read()?),
            OpCode::Create2 => Txn::Create2(reader.read()?),
            OpCode::CreateContainer => Txn::CreateContainer(reader.read()?),
            OpCode::CreateTtl => Txn::CreateTtl(reader.read()?),
            OpCode::Delete => Txn::Delete(reader.read()?),
            OpCode::DeleteContainer => Txn::DeleteContainer(reader.read()?),
            OpCode::SetData => Txn::SetData(reader.read()?),
            OpCode::Reconfig => Txn::Reconfig(reader.read()?),
            OpCode::SetAcl => Txn::SetAcl(reader.read()?),
            OpCode::Check => Txn::Check(reader.read()?),
            OpCode::CreateSession => Txn::CreateSession(reader.read()?),
            OpCode::CloseSession => Txn::CloseSession(read_close_session(reader)),
            OpCode::Error => Txn::Error(reader.read()?),
            OpCode(number) => {
                let kind = DecodeErrorKind::UnknownValue(number.into());
                return Err(reader.error(kind).within("TxnHeader", "type"));
            }
        })
    }
}

/// An empty body and a list of paths are told apart as Apache does it: a list if it decodes as one. Behind
/// either a digest may follow.
fn read_close_session(reader: &mut Reader<'_>) -> Option<Vec<String>> {
    let mut attempt = reader.clone();
    let paths = attempt.read().ok()?;
    *reader = attempt;
    Some(paths)
}

fn write_multi(txns: &[Txn], out: &mut Vec<u8>) {
    crate::jute::write_length(txns.len(), out);
    for txn in txns {
        txn.op().write(out);
        let length_at = out.len();
        0i32.write(out);
        txn.write(out);
        let length = i32::try_from(out.len() - length_at - 4).expect("bounded by jute.maxbuffer");
        out[length_at..length_at + 4].copy_from_slice(&length.to_be_bytes());
    }
}

/// `MultiTxn`: a vector of `Txn{int type; buffer data}`. Multis do not nest.
fn read_multi(reader: &mut Reader<'_>) -> Result<Txn, DecodeError> {
    let limit = reader.limit();
    let elements: Vec<MultiTxnElement> =
        reader.read().map_err(|error: DecodeError| error.within("MultiTxn", "txns"))?;
    let txns = elements.into_iter().map(|element| {
        let data = element.data.unwrap_or_default();
        Txn::read_single(element.op, &mut Reader::with_limit(&data, limit))
    });
    txns.collect::<Result<_, _>>().map(Txn::Multi)
}

record! {
    /// `Txn`: one element of a multi in its wire form.
    MultiTxnElement {
        /// The element's type.
        op: OpCode,
        /// Its body.
        data: Option<Bytes>,
    }
}

/// A transaction with its header and, if the writer computes digests, the digest of the tree behind it.
/// This is the entry of a log and the data of a PROPOSAL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedTxn {
    /// Who, when, and as which zxid.
    pub header: TxnHeader,
    /// What.
    pub txn: Txn,
    /// The tree's digest afterwards; absent behind errors.
    pub digest: Option<TxnDigest>,
}

/// Bytes that may be behind an entry in a log of ours: where the span of records starts that share its sync, as
/// a long. Too few for a digest, so that nobody takes them for one.
pub const SPAN_MARK: usize = 8;

impl Jute for LoggedTxn {
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let header: TxnHeader = reader.read()?;
        let txn = Txn::read(header.op, reader)?;
        let digest = match reader.remaining() {
            0 | SPAN_MARK => None,
            _ => Some(reader.read()?),
        };
        Ok(LoggedTxn { header, txn, digest })
    }

    fn write(&self, out: &mut Vec<u8>) {
        self.header.write(out);
        self.txn.write(out);
        if let Some(digest) = &self.digest {
            digest.write(out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let pair = |p: &[u8]| u8::from_str_radix(std::str::from_utf8(p).unwrap(), 16).unwrap();
        digits.chunks(2).map(pair).collect()
    }

    /// Entries that a 3.9.3 server logged.
    #[test]
    fn recorded_entries_round_trip() {
        let header = |session, cxid, zxid, time_ms, op| TxnHeader {
            session: SessionId(session),
            cxid,
            zxid: Zxid(zxid),
            time_ms,
            op,
        };
        let digest = |sum| Some(TxnDigest::new(Digest(sum)));
        let create = CreateTxn {
            path: "/a".to_owned(),
            data: Some(Bytes::from_static(b"hello")),
            acl: Acl::open(),
            ephemeral: false,
            parent_cversion: 1,
        };
        let close = vec!["/e2".to_owned(), "/e3-0000000012".to_owned()];
        let cases = [
            (
                "0100001766140000 00000000 0000000000000001 000001a2074a7ed3 fffffff6 00002710 00000002 0000000051c6d660",
                LoggedTxn {
                    header: header(0x0100_0017_6614_0000, 0, 1, 0x1a2_074a_7ed3, OpCode::CreateSession),
                    txn: Txn::CreateSession(CreateSessionTxn { timeout_ms: 10_000 }),
                    digest: digest(0x51c6_d660),
                },
            ),
            (
                "0100001766140000 00000001 0000000000000003 000001a2074a7ee2 00000001 00000002 2f61 00000005 68656c6c6f
                 00000001 0000001f 00000005 776f726c64 00000006 616e796f6e65 00 00000001 00000002 00000000e5466d03",
                LoggedTxn {
                    header: header(0x0100_0017_6614_0000, 1, 3, 0x1a2_074a_7ee2, OpCode::Create),
                    txn: Txn::Create(create),
                    digest: digest(0xe546_6d03),
                },
            ),
            (
                "0100001766140001 00000002 000000000000000d 000001a2074a7f03 ffffffff ffffff9a",
                LoggedTxn {
                    header: header(0x0100_0017_6614_0001, 2, 13, 0x1a2_074a_7f03, OpCode::Error),
                    txn: Txn::Error(ErrorCode::NoAuth),
                    digest: None,
                },
            ),
            (
                "0100001766140002 00000003 0000000000000029 000001a2074a8be5 fffffff5 00000002 00000003 2f6532
                 0000000e 2f65332d30303030303030303132 00000002 00000007912a7518",
                LoggedTxn {
                    header: header(0x0100_0017_6614_0002, 3, 0x29, 0x1a2_074a_8be5, OpCode::CloseSession),
                    txn: Txn::CloseSession(Some(close)),
                    digest: digest(0x7_912a_7518),
                },
            ),
        ];
        for (recorded, expected) in cases {
            let bytes = hex(recorded);
            assert_eq!(Reader::new(&bytes).read::<LoggedTxn>().unwrap(), expected);
            assert_eq!(expected.to_bytes(), bytes);
        }
    }

    #[test]
    fn a_multi_round_trips_and_does_not_nest() {
        let txn = Txn::Multi(vec![
            Txn::Delete(DeleteTxn { path: "/a".to_owned() }),
            Txn::Error(ErrorCode::RuntimeInconsistency),
        ]);
        let mut bytes = Vec::new();
        txn.write(&mut bytes);
        assert_eq!(Txn::read(OpCode::Multi, &mut Reader::new(&bytes)).unwrap(), txn);
        let mut nested = Vec::new();
        Txn::Multi(vec![txn]).write(&mut nested);
        assert!(Txn::read(OpCode::Multi, &mut Reader::new(&nested)).is_err());
    }

    /// A closeSession of a server before 3.6 with a digest behind it, which reads as two truncated strings.
    #[test]
    fn an_empty_close_session_is_told_from_its_digest() {
        let mut bytes = Vec::new();
        TxnDigest::new(Digest(7)).write(&mut bytes);
        let mut reader = Reader::new(&bytes);
        assert_eq!(Txn::read(OpCode::CloseSession, &mut reader).unwrap(), Txn::CloseSession(None));
        assert_eq!(reader.read::<TxnDigest>().unwrap(), TxnDigest::new(Digest(7)));
    }

    /// What a raised `jute.maxbuffer` let in must come back from the log.
    #[test]
    fn an_element_of_a_multi_may_be_as_long_as_the_readers_limit() {
        let length = 3 * crate::jute::DEFAULT_MAX_BUFFER;
        let set = SetDataTxn { path: "/a".to_owned(), data: Some(vec![7; length].into()), version: 1 };
        let multi = Txn::Multi(vec![Txn::SetData(set)]);
        let mut bytes = Vec::new();
        multi.write(&mut bytes);
        let read = |limit| Txn::read(OpCode::Multi, &mut Reader::with_limit(&bytes, limit));
        assert!(read(length + 100) == Ok(multi), "it comes back as it was");
        assert!(matches!(read(length).unwrap_err().kind, DecodeErrorKind::TooLong { .. }));
    }
}
