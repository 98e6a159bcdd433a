//! The connection's task: one loop that reads, writes, pings, and matches answers to requests.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use zk_wire::codes::{ErrorCode, OpCode};
use zk_wire::connect::{ConnectRequest, ConnectRequestBody, ConnectResponse};
use zk_wire::ids::{SessionId, Zxid};
use zk_wire::jute::{DecodeError, Jute, Reader};
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
    /// Length, xid, op, body.
    frame: Vec<u8>,
    answer: Answer,
}

/// Bytes that may wait for the socket before further requests are held back.
const OUTPUT_HIGH_WATER: usize = 1 << 20;

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
            _ => Ok(Ask { op: request.op(), frame, answer }),
        }
    }
}

fn framed(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
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
    let (timeout, id, password, last_zxid_seen) = match opening {
        Opening::New { timeout } => {
            (timeout, SessionId::NONE, Password::new(Bytes::from_static(&[0; 16])), Zxid::ZERO)
        }
        Opening::Resume(c, _) => (c.timeout, c.id, c.password, c.last_zxid),
    };
    let body = ConnectRequestBody {
        protocol_version: 0,
        last_zxid_seen,
        timeout_ms: i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX),
        session_id: id,
        password: Some(password.expose().clone()),
    };
    let request = ConnectRequest { body, read_only: Some(false) };
    writer.write_all(&framed(|out| request.write(out))).await.map_err(|error| io_lost(&error))?;
    let mut input = BytesMut::with_capacity(1024);
    let frame = loop {
        if let Some(frame) = next_frame(&mut input, max_frame)? {
            break frame;
        }
        match reader.read_buf(&mut input).await {
            Ok(0) => return Err(Lost::Closed.into()),
            Ok(_) => {}
            Err(error) => return Err(io_lost(&error).into()),
        }
    };
    let response: ConnectResponse = Reader::new(&frame).read().map_err(|error| broken(&error))?;
    let granted = u64::try_from(response.body.timeout_ms).unwrap_or(0);
    if granted == 0 || response.body.session_id == SessionId::NONE {
        return Err(AttachError::Expired(id));
    }
    let credentials = Credentials {
        id: response.body.session_id,
        password: Password::new(response.body.password.unwrap_or_default()),
        timeout: Duration::from_millis(granted),
        last_zxid: last_zxid_seen,
    };
    Ok((credentials, input))
}

/// Takes one whole frame off the input, without its length.
fn next_frame(input: &mut BytesMut, max_frame: usize) -> Result<Option<Bytes>, Lost> {
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

fn io_lost(error: &std::io::Error) -> Lost {
    Lost::Io(error.to_string())
}

fn broken(error: &DecodeError) -> Lost {
    Lost::Protocol(error.to_string())
}

struct InFlight {
    xid: i32,
    op: OpCode,
    answer: Answer,
}

/// The state of a connection.
pub(crate) struct Driver<S> {
    reader: ReadHalf<S>,
    writer: WriteHalf<S>,
    input: BytesMut,
    output: BytesMut,
    max_frame: usize,
    max_in_flight: usize,
    chroot: Chroot,
    ping_after: Duration,
    silent_after: Duration,
    last_zxid: Arc<AtomicI64>,
    asks: mpsc::Receiver<Ask>,
    events: mpsc::Sender<Event>,
    overflowed: bool,
    in_flight: VecDeque<InFlight>,
    next_xid: i32,
    closing: bool,
    last_sent: Instant,
    last_heard: Instant,
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
        events: mpsc::Sender<Event>,
    ) -> Self {
        let now = Instant::now();
        Driver {
            reader,
            writer,
            input,
            output: BytesMut::new(),
            max_frame: options.max_frame,
            max_in_flight: options.in_flight.max(1),
            chroot,
            ping_after: credentials.timeout / 3,
            silent_after: credentials.timeout * 2 / 3,
            last_zxid,
            asks,
            events,
            overflowed: false,
            in_flight: VecDeque::new(),
            next_xid: 1,
            closing: false,
            last_sent: now,
            last_heard: now,
        }
    }

    /// Queues what must precede every request: identities, then watches.
    pub(crate) fn greet(&mut self, auth: &[Auth], watches: Vec<Request>) {
        for Auth { scheme, secret } in auth {
            let packet = AuthPacket { kind: 0, scheme: scheme.clone(), auth: Some(secret.clone()) };
            self.output.extend_from_slice(&framed(|out| Request::Auth(packet).encode(AUTH_XID, out)));
        }
        for mut request in watches {
            self.chroot.request(&mut request);
            self.output.extend_from_slice(&framed(|out| request.encode(SET_WATCHES_XID, out)));
        }
    }

    /// Runs until the connection is lost; then every request under way learns what became of it.
    pub(crate) async fn run(mut self) -> Lost {
        let lost = match self.serve().await {
            Ok(never) => match never {},
            Err(lost) => lost,
        };
        for InFlight { answer, .. } in self.in_flight.drain(..) {
            let _ = answer.send(Err(RequestError::Unknown(lost.clone())));
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
            let (ping_at, silent_at) =
                (self.last_sent + self.ping_after, self.last_heard + self.silent_after);
            tokio::select! {
                read = self.reader.read_buf(&mut self.input) => match read {
                    Ok(0) => return Err(Lost::Closed),
                    Ok(_) => self.last_heard = Instant::now(),
                    Err(error) => return Err(io_lost(&error)),
                },
                written = self.writer.write_buf(&mut self.output), if !self.output.is_empty() => match written {
                    Ok(0) => return Err(Lost::Closed),
                    Ok(_) => self.last_sent = Instant::now(),
                    Err(error) => return Err(io_lost(&error)),
                },
                ask = self.asks.recv(), if accepts && !self.closing => match ask {
                    Some(ask) => self.take(ask, accepts),
                    None => return Err(Lost::Detached),
                },
                () = sleep_until(ping_at) => self.ping(),
                () = sleep_until(silent_at) => return Err(Lost::Silent),
            }
        }
    }

    /// Takes one request and whatever else waits, so that they share a write.
    fn take(&mut self, ask: Ask, mut accepts: bool) {
        let mut next = Some(ask);
        while let Some(Ask { op, mut frame, answer }) = next.take() {
            let xid = self.next_xid;
            self.next_xid = if xid == i32::MAX { 1 } else { xid + 1 };
            frame[XID].copy_from_slice(&xid.to_be_bytes());
            self.output.extend_from_slice(&frame);
            self.in_flight.push_back(InFlight { xid, op, answer });
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
    }

    fn frame(&mut self, frame: &Bytes) -> Result<(), Lost> {
        let mut reader = Reader::with_limit(frame, self.max_frame);
        let header: ReplyHeader = reader.read().map_err(|error| broken(&error))?;
        if header.zxid.0 > 0 {
            self.last_zxid.fetch_max(header.zxid.0, Ordering::AcqRel);
        }
        match header.xid {
            PING_XID | SET_WATCHES_XID => Ok(()),
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
        for InFlight { answer, .. } in self.in_flight.drain(..) {
            let _ = answer.send(Err(RequestError::Refused(code)));
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
        if err == ErrorCode::SessionMoved {
            // Moved is a lost connection, except that this request was not carried out.
            let _ = first.answer.send(Err(RequestError::NotSent(Lost::Moved)));
            return Err(Lost::Moved);
        }
        let has_body = err == ErrorCode::Ok || (first.op == OpCode::Multi && reader.remaining() > 0);
        let result = if has_body {
            match Response::read(first.op, &mut reader) {
                Ok(mut response) => {
                    self.chroot.response(&mut response, first.op == OpCode::GetEphemerals);
                    Ok(response)
                }
                Err(error) => {
                    let lost = broken(&error);
                    let _ = first.answer.send(Err(RequestError::Unknown(lost.clone())));
                    return Err(lost);
                }
            }
        } else {
            Err(RequestError::Refused(err))
        };
        // Nobody waits any more: that is the asker's choice.
        let _ = first.answer.send(result);
        Ok(())
    }

    fn notify(&mut self, mut event: WatcherEvent) {
        self.chroot.inward(&mut event.path);
        if self.overflowed {
            match self.events.try_send(Event::Overflow) {
                Ok(()) => self.overflowed = false,
                Err(_) => return,
            }
        }
        if self.events.try_send(Event::Watch(event)).is_err() {
            self.overflowed = true;
        }
    }
}
