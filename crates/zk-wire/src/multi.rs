//! Several operations in one request (`MultiOperationRecord`, `MultiResponse`).

use bytes::Bytes;

use crate::codes::{CreateMode, ErrorCode, OpCode};
use crate::jute::{DecodeError, DecodeErrorKind, Jute, Reader, record};
use crate::request::{
    CheckVersionRequest, CreateRequest, CreateTtlRequest, DeleteRequest, SetDataRequest, WatchedRead,
};
use crate::stat::Stat;

record! {
    /// Precedes every element, and ends the list with `done`.
    #[derive(Copy)]
    MultiHeader {
        /// The element's operation; -1 at the end and for errors.
        op: OpCode,
        /// Is this the end?
        done: bool,
        /// -1 in requests; the element's error in responses.
        err: i32,
    }
}

const END: MultiHeader = MultiHeader { op: OpCode::Error, done: true, err: -1 };

/// One write of a multi.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // The variants are the operations of `OpCode`, documented there.
pub enum WriteOp {
    Create(CreateRequest),
    Create2(CreateRequest),
    CreateContainer(CreateRequest),
    CreateTtl(CreateTtlRequest),
    Delete(DeleteRequest),
    SetData(SetDataRequest),
    Check(CheckVersionRequest),
}

/// One read of a multiRead. The watch flag is ignored by servers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // The variants are the operations of `OpCode`, documented there.
pub enum ReadOp {
    GetData(WatchedRead),
    GetChildren(WatchedRead),
}

/// An element of a multi request.
pub(crate) trait MultiOp: Sized {
    fn read_op(op: OpCode, reader: &mut Reader<'_>) -> Result<Self, DecodeError>;
    fn op(&self) -> OpCode;
    fn write_op(&self, out: &mut Vec<u8>);
}

impl WriteOp {
    /// The operation's number.
    #[must_use]
    pub fn op(&self) -> OpCode {
        MultiOp::op(self)
    }

    /// The znode it is about.
    #[must_use]
    pub fn path(&self) -> &str {
        match self {
            WriteOp::Create(r) | WriteOp::Create2(r) | WriteOp::CreateContainer(r) => &r.path,
            WriteOp::CreateTtl(r) => &r.path,
            WriteOp::Delete(r) => &r.path,
            WriteOp::SetData(r) => &r.path,
            WriteOp::Check(r) => &r.path,
        }
    }
}

impl MultiOp for WriteOp {
    fn read_op(op: OpCode, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match op {
            OpCode::Create => WriteOp::Create(read_create(reader)?),
            OpCode::Create2 => WriteOp::Create2(read_create(reader)?),
            OpCode::CreateContainer => WriteOp::CreateContainer(read_create(reader)?),
            OpCode::CreateTtl => WriteOp::CreateTtl(reader.read()?),
            OpCode::Delete => WriteOp::Delete(reader.read()?),
            OpCode::SetData => WriteOp::SetData(reader.read()?),
            OpCode::Check => WriteOp::Check(reader.read()?),
            OpCode(number) => return Err(unknown_op(number, reader)),
        })
    }

    fn op(&self) -> OpCode {
        match self {
            WriteOp::Create(_) => OpCode::Create,
            WriteOp::Create2(_) => OpCode::Create2,
            WriteOp::CreateContainer(_) => OpCode::CreateContainer,
            WriteOp::CreateTtl(_) => OpCode::CreateTtl,
            WriteOp::Delete(_) => OpCode::Delete,
            WriteOp::SetData(_) => OpCode::SetData,
            WriteOp::Check(_) => OpCode::Check,
        }
    }

    fn write_op(&self, out: &mut Vec<u8>) {
        match self {
            WriteOp::Create(r) | WriteOp::Create2(r) | WriteOp::CreateContainer(r) => r.write(out),
            WriteOp::CreateTtl(r) => r.write(out),
            WriteOp::Delete(r) => r.write(out),
            WriteOp::SetData(r) => r.write(out),
            WriteOp::Check(r) => r.write(out),
        }
    }
}

impl MultiOp for ReadOp {
    fn read_op(op: OpCode, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match op {
            OpCode::GetData => ReadOp::GetData(reader.read()?),
            OpCode::GetChildren => ReadOp::GetChildren(reader.read()?),
            OpCode(number) => return Err(unknown_op(number, reader)),
        })
    }

    fn op(&self) -> OpCode {
        match self {
            ReadOp::GetData(_) => OpCode::GetData,
            ReadOp::GetChildren(_) => OpCode::GetChildren,
        }
    }

    fn write_op(&self, out: &mut Vec<u8>) {
        match self {
            ReadOp::GetData(r) | ReadOp::GetChildren(r) => r.write(out),
        }
    }
}

pub(crate) fn read_ops<T: MultiOp>(reader: &mut Reader<'_>) -> Result<Vec<T>, DecodeError> {
    let mut ops = Vec::new();
    loop {
        let header: MultiHeader = reader.read()?;
        if header.done {
            return Ok(ops);
        }
        ops.push(T::read_op(header.op, reader)?);
    }
}

pub(crate) fn write_ops<T: MultiOp>(ops: &[T], out: &mut Vec<u8>) {
    for op in ops {
        MultiHeader { op: op.op(), done: false, err: -1 }.write(out);
        op.write_op(out);
    }
    END.write(out);
}

/// The outcome of one element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MultiResult {
    /// A create: the path with its sequence number.
    Create(String),
    /// A create2, createContainer or createTTL.
    Create2(String, Stat),
    /// A delete.
    Delete,
    /// A setData.
    SetData(Stat),
    /// A check.
    Check,
    /// A getData.
    GetData(Option<Bytes>, Stat),
    /// A getChildren.
    GetChildren(Vec<String>),
    /// The element failed, or was not tried because another one failed.
    Error(ErrorCode),
}

impl MultiResult {
    fn op(&self) -> OpCode {
        match self {
            MultiResult::Create(_) => OpCode::Create,
            MultiResult::Create2(..) => OpCode::Create2,
            MultiResult::Delete => OpCode::Delete,
            MultiResult::SetData(_) => OpCode::SetData,
            MultiResult::Check => OpCode::Check,
            MultiResult::GetData(..) => OpCode::GetData,
            MultiResult::GetChildren(_) => OpCode::GetChildren,
            MultiResult::Error(_) => OpCode::Error,
        }
    }

    fn write_body(&self, out: &mut Vec<u8>) {
        match self {
            MultiResult::Create(path) => path.write(out),
            MultiResult::Create2(path, stat) => {
                path.write(out);
                stat.write(out);
            }
            MultiResult::Delete | MultiResult::Check => {}
            MultiResult::SetData(stat) => stat.write(out),
            MultiResult::GetData(data, stat) => {
                data.write(out);
                stat.write(out);
            }
            MultiResult::GetChildren(children) => children.write(out),
            MultiResult::Error(code) => code.write(out),
        }
    }

    fn read_body(op: OpCode, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match op {
            OpCode::Create => MultiResult::Create(reader.read()?),
            OpCode::Create2 | OpCode::CreateContainer | OpCode::CreateTtl => {
                MultiResult::Create2(reader.read()?, reader.read()?)
            }
            OpCode::Delete => MultiResult::Delete,
            OpCode::SetData => MultiResult::SetData(reader.read()?),
            OpCode::Check => MultiResult::Check,
            OpCode::GetData => MultiResult::GetData(reader.read()?, reader.read()?),
            OpCode::GetChildren => MultiResult::GetChildren(reader.read()?),
            OpCode::Error => MultiResult::Error(reader.read()?),
            OpCode(number) => return Err(unknown_op(number, reader)),
        })
    }
}

/// The outcomes of a multi, in the order of its elements (`MultiResponse`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MultiResults(pub Vec<MultiResult>);

impl Jute for MultiResults {
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut results = Vec::new();
        loop {
            let header: MultiHeader = reader.read()?;
            if header.done {
                return Ok(MultiResults(results));
            }
            results.push(MultiResult::read_body(header.op, reader)?);
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        for result in &self.0 {
            let err = match result {
                MultiResult::Error(code) => code.0,
                _ => 0,
            };
            MultiHeader { op: result.op(), done: false, err }.write(out);
            result.write_body(out);
        }
        END.write(out);
    }
}

fn read_create(reader: &mut Reader<'_>) -> Result<CreateRequest, DecodeError> {
    let create: CreateRequest = reader.read()?;
    known_mode(create.mode, reader)?;
    Ok(create)
}

/// Unlike a create of its own, one in a multi cannot even be decoded with flags that do not exist, or that
/// need the TTL which it has not (`MultiOperationRecord`, `CreateOptions`).
fn known_mode(mode: CreateMode, reader: &Reader<'_>) -> Result<(), DecodeError> {
    match mode.name() {
        Some(_) if !mode.has_ttl() => Ok(()),
        _ => {
            let kind = DecodeErrorKind::UnknownValue(mode.0.into());
            Err(reader.error(kind).within("CreateRequest", "flags"))
        }
    }
}

fn unknown_op(number: i32, reader: &Reader<'_>) -> DecodeError {
    reader.error(DecodeErrorKind::UnknownValue(number.into())).within("MultiHeader", "type")
}
