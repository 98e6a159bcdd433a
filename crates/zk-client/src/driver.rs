//! The connection's task: one loop that reads, writes, pings, and matches answers to requests.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use zk_wire::codes::{ErrorCode, OpCode};
use zk_wire::connect::{ConnectRequest, ConnectRequestBody, ConnectResponse};
use zk_wire::ids::{SessionId, Zxid};
use zk_wire::jute::{DecodeError, Jute, Reader};
use zk_wire::multi::{MultiResult, ReadOp, WriteOp};
use zk_wire::reply::{ReplyHeader, Response, WatcherEvent};
use zk_wire::request::{AUTH_XID, AuthPacket, NOTIFICATION_XID, PING_XID, Request, SET_WATCHES_XID};

use crate::chroot::Chroot;
use crate::credentials::{Credentials, Password};
use crate::error::{AttachError, Lost, RequestError};
use crate::session::{Auth, Event, Opening, Options};

type Answer = oneshot::Sender<Result<Response, RequestError>>;

/// A request on its way to the driver, already encoded but for its xid.
#[derive(Debug)]
pub(crate) struct Ask {
    op: OpCode,
    /// The ops of a multi or multiRead.
    elements: Vec<OpCode>,
    /// Length, xid, op, body.
    frame: Vec<u8>,
    answer: Answer,
}

/// Bytes that may wait for the socket before further requests are held back.
const OUTPUT_HIGH_WATER: usize = 1 << 20;

/// How long a server that seems silent is listened to once more. If this process was stopped for a while, its
/// timers may fire before the runtime has looked at the socket; one turn of the runtime is enough.
const LAST_LOOK: Duration = Duration::from_millis(100);

/// Where a frame keeps its xid.
const XID: std::ops::Range<usize> = 4..8;

impl Ask {
    /// Encodes a request.
    ///
    /// # Errors
    /// It is longer than `limit`.
    pub(crate) fn encode(request: &Request, limit: usize, answer: Answer) -> Result<Self, RequestError> {
        let frame = framed(|out| request.encode(0, out));
        match frame.len() - 4 {
            length if length > limit => Err(RequestError::TooLong { length, limit }),
            _ => Ok(Ask { op: request.op(), elements: elements(request), frame, answer }),
        }
    }
}

fn elements(request: &Request) -> Vec<OpCode> {
    match request {
        Request::Multi(ops) => ops.iter().map(WriteOp::op).collect(),
        Request::MultiRead(ops) => ops
            .iter()
            .map(|op| match op {
                ReadOp::GetData(_) => OpCode::GetData,
                ReadOp::GetChildren(_) => OpCode::GetChildren,
            })
            .collect(),
        _ => Vec::new(),
    }
}

pub(crate) fn framed(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut frame = vec![0; 4];
    write(&mut frame);
    let length = u32::try_from(frame.len() - 4).unwrap_or(u32::MAX);
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame
}

/// Exchanges the first messages. Returns the session, and bytes that came behind the answer.
pub(crate) async fn handshake<S: AsyncRead + AsyncWrite>(
    reader: &mut ReadHalf<S>,
    writer: &mut WriteHalf<S>,
    opening: Opening,
    max_frame: usize,
) -> Result<(Credentials, BytesMut), AttachError> {
    let (timeout, id, password, last_zxid) = match opening {
        Opening::New { timeout } => {
            (timeout, SessionId::NONE, Password::new(Bytes::from_static(&[0; 16])), Zxid::ZERO)
        }
        // To a server this would be a new session.
        Opening::Resume(c, _) if c.id == SessionId::NONE => return Err(AttachError::Expired(c.id)),
        Opening::Resume(c, _) => (c.timeout, c.id, c.password, c.last_zxid),
    };
    let body = ConnectRequestBody {
        protocol_version: 0,
        last_zxid_seen: last_zxid,
        timeout_ms: i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX),
        session_id: id,
        password: Some(password.expose().clone()),
    };
    let request = ConnectRequest { body, read_only: Some(false) };
    let mut input = BytesMut::with_capacity(1024);
    let frame = exchange(reader, writer, &mut input, |out| request.write(out), max_frame)
        .await
        .map_err(|lost| if lost == Lost::Closed { Lost::Unanswered { last_zxid } } else { lost })?;
    let response: ConnectResponse = Reader::new(&frame).read().map_err(|error| broken(&error))?;
    let granted = u64::try_from(response.body.timeout_ms).unwrap_or(0);
    let is_new = id == SessionId::NONE;
    match response.body.session_id {
        _ if granted == 0 && is_new => return Err(Lost::EndedBy(ErrorCode::SessionExpired).into()),
        _ if granted == 0 => return Err(AttachError::Expired(id)),
        got if got == SessionId::NONE || !(is_new || got == id) => {
            return Err(Lost::Protocol(format!("session {got} instead of {id}")).into());
        }
        _ => {}
    }
    let credentials = Credentials {
        id: response.body.session_id,
        password: Password::new(response.body.password.unwrap_or_default()),
        timeout: Duration::from_millis(granted),
        last_zxid,
    };
    Ok((credentials, input))
}

/// Sends one message and waits for the next one, where nothing else is under way.
///
/// # Errors
/// [`Lost::Closed`] says that the server closed the connection instead of answering.
pub(crate) async fn exchange<S: AsyncRead + AsyncWrite>(
    reader: &mut ReadHalf<S>,
    writer: &mut WriteHalf<S>,
    input: &mut BytesMut,
    message: impl FnOnce(&mut Vec<u8>),
    max_frame: usize,
) -> Result<Bytes, Lost> {
    writer.write_all(&framed(message)).await.map_err(|error| closed(&error))?;
    writer.flush().await.map_err(|error| closed(&error))?;
    loop {
        if let Some(frame) = next_frame(input, max_frame)? {
            return Ok(frame);
        }
        match reader.read_buf(input).await {
            Ok(0) => return Err(Lost::Closed),
            Ok(_) => {}
            Err(error) => return Err(closed(&error)),
        }
    }
}

/// Takes one whole frame off the input, without its length.
pub(crate) fn next_frame(input: &mut BytesMut, max_frame: usize) -> Result<Option<Bytes>, Lost> {
    let Some(prefix) = input.first_chunk::<4>() else {
        return Ok(None);
    };
    let length = i32::from_be_bytes(*prefix);
    let length = match usize::try_from(length) {
        Ok(length) if length <= max_frame => length,
        _ => return Err(Lost::Protocol(format!("a frame of {length} bytes; the limit is {max_frame}"))),
    };
    if input.len() < 4 + length {
        input.reserve(4 + length - input.len());
        return Ok(None);
    }
    input.advance(4);
    Ok(Some(input.split_to(length).freeze()))
}

fn io_lost(error: &io::Error) -> Lost {
    Lost::Io(error.to_string())
}

/// A server that closes before it has read everything resets the connection; one that speaks TLS may not say goodbye.
fn closed(error: &io::Error) -> Lost {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    match error.kind() {
        BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof => Lost::Closed,
        _ => io_lost(error),
    }
}

pub(crate) fn broken(error: &DecodeError) -> Lost {
    Lost::Protocol(error.to_string())
}

struct InFlight {
    xid: i32,
    op: OpCode,
    elements: Vec<OpCode>,
    /// `None` for what the connection itself has asked.
    answer: Option<Answer>,
}

impl InFlight {
    /// Tells whoever asked. Nobody may wait any more: that is the asker's choice.
    fn tell(self, outcome: Result<Response, RequestError>) {
        if let Some(answer) = self.answer {
            let _ = answer.send(outcome);
        }
    }
}

/// The state of a connection.
pub(crate) struct Driver<S> {
    reader: ReadHalf<S>,
    writer: WriteHalf<S>,
    input: BytesMut,
    output: BytesMut,
    /// Has the writer taken something that it may not have passed on? What TLS has taken and the socket has not goes
    /// out with the next write, or with a flush.
    unflushed: bool,
    max_frame: usize,
    max_in_flight: usize,
    chroot: Chroot,
    ping_after: Duration,
    silent_after: Duration,
    last_zxid: Arc<AtomicI64>,
    asks: mpsc::Receiver<Ask>,
    detached: CancellationToken,
    events: mpsc::Sender<Event>,
    overflowed: bool,
    in_flight: VecDeque<InFlight>,
    next_xid: i32,
    closing: bool,
    last_sent: Instant,
    last_heard: Instant,
    /// Since when the server owes us at least one byte.
    asked_at: Option<Instant>,
}

impl<S: AsyncRead + AsyncWrite> Driver<S> {
    #[allow(clippy::too_many_arguments)] // The parts of one connection, each used once.
    pub(crate) fn new(
        reader: ReadHalf<S>,
        writer: WriteHalf<S>,
        input: BytesMut,
        credentials: &Credentials,
        options: &Options,
        chroot: Chroot,
        last_zxid: Arc<AtomicI64>,
        asks: mpsc::Receiver<Ask>,
        detached: CancellationToken,
        events: mpsc::Sender<Event>,
    ) -> Self {
        let now = Instant::now();
        Driver {
            reader,
            writer,
            input,
            output: BytesMut::new(),
            unflushed: false,
            max_frame: options.max_frame,
            max_in_flight: options.in_flight.max(1),
            chroot,
            ping_after: credentials.timeout / 3,
            silent_after: credentials.timeout * 2 / 3,
            last_zxid,
            asks,
            detached,
            events,
            overflowed: false,
            in_flight: VecDeque::new(),
            next_xid: 1,
            closing: false,
            last_sent: now,
            last_heard: now,
            asked_at: None,
        }
    }

    /// Queues what must precede every request: identities, then watches, whose paths are the server's.
    pub(crate) fn greet(&mut self, auth: &[Auth], watches: Vec<Request>) {
        for Auth { scheme, secret } in auth {
            let packet = AuthPacket { kind: 0, scheme: scheme.clone(), auth: Some(secret.clone()) };
            self.output.extend_from_slice(&framed(|out| Request::Auth(packet).encode(AUTH_XID, out)));
        }
        for request in watches {
            self.output.extend_from_slice(&framed(|out| request.encode(SET_WATCHES_XID, out)));
            self.in_flight.push_back(InFlight {
                xid: SET_WATCHES_XID,
                op: request.op(),
                elements: Vec::new(),
                answer: None,
            });
        }
    }

    /// Runs until the connection is lost; then every request under way learns what became of it.
    pub(crate) async fn run(mut self) -> Lost {
        let lost = match self.serve().await {
            Ok(never) => match never {},
            Err(lost) => lost,
        };
        for asked in self.in_flight.drain(..) {
            asked.tell(Err(RequestError::Unknown(lost.clone())));
        }
        self.asks.close();
        while let Ok(Ask { answer, .. }) = self.asks.try_recv() {
            let _ = answer.send(Err(RequestError::NotSent(lost.clone())));
        }
        lost
    }

    async fn serve(&mut self) -> Result<std::convert::Infallible, Lost> {
        loop {
            while let Some(frame) = next_frame(&mut self.input, self.max_frame)? {
                self.frame(&frame)?;
            }
            let accepts = self.output.len() < OUTPUT_HIGH_WATER && self.in_flight.len() < self.max_in_flight;
            let ping_at = self.last_sent + self.ping_after;
            let silent_at = self.silent_at();
            tokio::select! {
                read = self.reader.read_buf(&mut self.input) => self.heard(read)?,
                sent = send(&mut self.writer, &mut self.output), if self.unflushed || !self.output.is_empty() => {
                    match sent {
                        Ok(Sent::Some) => {
                            self.last_sent = Instant::now();
                            self.unflushed = true;
                        }
                        Ok(Sent::All) => self.unflushed = false,
                        Err(error) => return Err(io_lost(&error)),
                    }
                }
                ask = self.asks.recv(), if accepts && !self.closing => match ask {
                    Some(ask) => self.take(ask, accepts),
                    None => return Err(Lost::Detached),
                },
                () = overflow(&self.events), if self.overflowed => self.overflowed = false,
                () = sleep_until(ping_at) => self.ping(),
                () = sleep_until(silent_at.unwrap_or(ping_at)), if silent_at.is_some() => {
                    self.last_look().await?;
                }
                () = self.detached.cancelled() => return Err(Lost::Detached),
            }
        }
    }

    /// When the server has been silent for too long. A server that was asked for nothing owes nothing: after
    /// a pause of this process it is asked first.
    fn silent_at(&self) -> Option<Instant> {
        self.asked_at.map(|asked_at| (self.last_heard + self.silent_after).max(asked_at + self.ping_after))
    }

    fn heard(&mut self, read: io::Result<usize>) -> Result<(), Lost> {
        match read {
            Ok(0) => Err(Lost::Closed),
            Ok(_) => {
                self.last_heard = Instant::now();
                self.asked_at = None;
                Ok(())
            }
            Err(error) => Err(io_lost(&error)),
        }
    }

    async fn last_look(&mut self) -> Result<(), Lost> {
        match timeout(LAST_LOOK, self.reader.read_buf(&mut self.input)).await {
            Ok(read) => self.heard(read),
            Err(_) => Err(Lost::Silent),
        }
    }

    /// Takes one request and whatever else waits, so that they share a write.
    fn take(&mut self, ask: Ask, mut accepts: bool) {
        self.asked_at.get_or_insert_with(Instant::now);
        let mut next = Some(ask);
        while let Some(Ask { op, elements, mut frame, answer }) = next.take() {
            let xid = match op {
                OpCode::SetWatches | OpCode::SetWatches2 => SET_WATCHES_XID,
                _ => self.next_xid,
            };
            self.next_xid = following_xid(self.next_xid);
            frame[XID].copy_from_slice(&xid.to_be_bytes());
            self.output.extend_from_slice(&frame);
            self.in_flight.push_back(InFlight { xid, op, elements, answer: Some(answer) });
            self.closing |= op == OpCode::CloseSession;
            accepts &= self.output.len() < OUTPUT_HIGH_WATER && self.in_flight.len() < self.max_in_flight;
            if accepts && !self.closing {
                next = self.asks.try_recv().ok();
            }
        }
    }

    fn ping(&mut self) {
        self.output.extend_from_slice(&framed(|out| Request::Ping.encode(PING_XID, out)));
        self.last_sent = Instant::now();
        self.asked_at.get_or_insert(self.last_sent);
    }

    fn frame(&mut self, frame: &Bytes) -> Result<(), Lost> {
        let mut reader = Reader::with_limit(frame, self.max_frame);
        let header: ReplyHeader = reader.read().map_err(|error| broken(&error))?;
        if header.zxid.0 > 0 {
            self.last_zxid.fetch_max(header.zxid.0, Ordering::AcqRel);
        }
        match header.xid {
            PING_XID => match ending(header.err) {
                Some((_, lost)) => Err(lost),
                None => Ok(()),
            },
            AUTH_XID if header.err == ErrorCode::Ok => Ok(()),
            AUTH_XID => self.refuse_all(header.err),
            NOTIFICATION_XID => {
                let event = reader.read().map_err(|error| broken(&error))?;
                self.notify(event);
                Ok(())
            }
            xid => self.answer(xid, header.err, reader),
        }
    }

    /// An identity was refused; the server closes the connection, and every request behind it fails.
    fn refuse_all(&mut self, code: ErrorCode) -> Result<(), Lost> {
        for asked in self.in_flight.drain(..) {
            asked.tell(Err(RequestError::Refused(code)));
        }
        self.asks.close();
        while let Ok(Ask { answer, .. }) = self.asks.try_recv() {
            let _ = answer.send(Err(RequestError::Refused(code)));
        }
        Err(Lost::Closed)
    }

    fn answer(&mut self, xid: i32, err: ErrorCode, mut reader: Reader<'_>) -> Result<(), Lost> {
        let expected = self.in_flight.front().map(|first| first.xid);
        let Some(first) = (expected == Some(xid)).then(|| self.in_flight.pop_front()).flatten() else {
            return Err(Lost::Protocol(format!("an answer to {xid} instead of {expected:?}")));
        };
        let outcome = self.outcome(&first, err, &mut reader);
        let goes_on = match &outcome {
            Err(RequestError::NotSent(lost) | RequestError::Unknown(lost)) => Err(lost.clone()),
            // The connection would seem to have watches that it has not.
            Err(RequestError::Refused(code)) if first.answer.is_none() => Err(Lost::EndedBy(*code)),
            _ => Ok(()),
        };
        self.closing &= first.op != OpCode::CloseSession;
        first.tell(outcome);
        goes_on
    }

    /// What became of a request. That it was not sent, or is unknown, ends the connection.
    fn outcome(
        &self,
        asked: &InFlight,
        err: ErrorCode,
        reader: &mut Reader<'_>,
    ) -> Result<Response, RequestError> {
        if let Some((outcome, _)) = ending(err) {
            return Err(outcome);
        }
        if err != ErrorCode::Ok && (asked.op != OpCode::Multi || reader.remaining() == 0) {
            return Err(RequestError::Refused(err));
        }
        let mut response =
            Response::read(asked.op, reader).map_err(|error| RequestError::Unknown(broken(&error)))?;
        if let Response::Multi(results) = &response {
            check_results(&asked.elements, &results.0)?;
            if err != ErrorCode::Ok && results.0.iter().all(|result| error_in(result).is_none()) {
                return Err(RequestError::Refused(err));
            }
        }
        self.chroot.response(&mut response, asked.op == OpCode::GetEphemerals);
        Ok(response)
    }

    fn notify(&mut self, mut event: WatcherEvent) {
        if !self.chroot.inward(&mut event.path) {
            tracing::debug!(path = event.path, "an event outside the chroot");
            return;
        }
        if self.overflowed {
            match self.events.try_send(Event::Overflow) {
                Ok(()) => self.overflowed = false,
                Err(_) => return,
            }
        }
        if let Err(TrySendError::Full(_)) = self.events.try_send(Event::Watch(event)) {
            self.overflowed = true;
        }
    }
}

/// What became of the output.
enum Sent {
    Some,
    All,
}

/// Writes some of the output; when all is written, flushes. Whenever this is dropped, nothing is lost.
async fn send(writer: &mut (impl AsyncWrite + Unpin), output: &mut BytesMut) -> io::Result<Sent> {
    if output.is_empty() {
        return writer.flush().await.map(|()| Sent::All);
    }
    match writer.write_buf(output).await? {
        0 => Err(io::ErrorKind::WriteZero.into()),
        _ => Ok(Sent::Some),
    }
}

/// Waits for room and says that events are missing. Nobody may listen any more: that is the owner's choice.
async fn overflow(events: &mpsc::Sender<Event>) {
    if let Ok(room) = events.reserve().await {
        room.send(Event::Overflow);
    }
}

/// The xids of requests are positive: the others have a meaning.
fn following_xid(xid: i32) -> i32 {
    xid.checked_add(1).unwrap_or(1)
}

/// What a code says about the request and the connection, if it is about the connection.
fn ending(code: ErrorCode) -> Option<(RequestError, Lost)> {
    match code {
        // The leader checks the session before it does anything (`PrepRequestProcessor`).
        ErrorCode::SessionMoved => Some((RequestError::NotSent(Lost::Moved), Lost::Moved)),
        ErrorCode::SessionExpired => {
            let lost = Lost::EndedBy(code);
            Some((RequestError::NotSent(lost.clone()), lost))
        }
        // Apache's servers send neither; ClickHouse Keeper does when its quorum did not answer.
        ErrorCode::ConnectionLoss | ErrorCode::OperationTimeout => {
            let lost = Lost::EndedBy(code);
            Some((RequestError::Unknown(lost.clone()), lost))
        }
        _ => None,
    }
}

fn error_in(result: &MultiResult) -> Option<ErrorCode> {
    match result {
        MultiResult::Error(code) => Some(*code),
        _ => None,
    }
}

/// A server answers a multi op by op; who counts on that may index by his own ops.
fn check_results(ops: &[OpCode], results: &[MultiResult]) -> Result<(), RequestError> {
    if let Some((outcome, _)) = results.iter().filter_map(error_in).find_map(ending) {
        return Err(outcome);
    }
    let protocol = |what| Err(RequestError::Unknown(Lost::Protocol(what)));
    if results.len() != ops.len() {
        return protocol(format!("{} results of a multi of {} ops", results.len(), ops.len()));
    }
    match ops.iter().zip(results).position(|(op, result)| !is_result_of(*op, result)) {
        Some(index) => protocol(format!("result {index} of a multi is none of {}", ops[index])),
        None => Ok(()),
    }
}

fn is_result_of(op: OpCode, result: &MultiResult) -> bool {
    match result {
        MultiResult::Create(_) => op == OpCode::Create,
        MultiResult::Create2(..) => {
            matches!(op, OpCode::Create2 | OpCode::CreateContainer | OpCode::CreateTtl)
        }
        MultiResult::Delete => op == OpCode::Delete,
        MultiResult::SetData(_) => op == OpCode::SetData,
        MultiResult::Check => op == OpCode::Check,
        MultiResult::GetData(..) => op == OpCode::GetData,
        MultiResult::GetChildren(_) => op == OpCode::GetChildren,
        MultiResult::Error(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xids_start_again_behind_the_last_and_are_never_special() {
        assert_eq!(following_xid(1), 2);
        assert_eq!(following_xid(i32::MAX - 1), i32::MAX);
        assert_eq!(following_xid(i32::MAX), 1);
    }
}
