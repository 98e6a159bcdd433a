//! One connection as bytes: frames out, frames in, never waiting.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use zk_wire::connect::{ConnectRequest, ConnectRequestBody, ConnectResponse};
use zk_wire::ids::{SessionId, Zxid};
use zk_wire::jute::{Jute, Reader};
use zk_wire::reply::ReplyHeader;
use zk_wire::request::{NOTIFICATION_XID, PING_XID, Request};

/// A client's end of a connection.
pub(super) struct Wire {
    socket: TcpStream,
    out: Vec<u8>,
    written: usize,
    input: Vec<u8>,
    established: bool,
    next_xid: i32,
}

/// What a server has sent.
#[derive(Debug)]
pub(super) enum Arrived<'a> {
    /// The session is there.
    Session,
    /// The answer to a request: its header and its body.
    Reply(ReplyHeader, &'a [u8]),
    /// A watch event.
    Event,
    /// The answer to a ping.
    Pong,
}

/// Bytes asked of a socket at once.
const READ_BYTES: usize = 64 << 10;
/// An answer's header.
const HEADER_BYTES: usize = 16;
/// The longest session timeout that a server with a tick of two seconds grants.
const SESSION_TIMEOUT_MS: i32 = 40_000;

impl Wire {
    /// Begins to connect, and asks for a session.
    pub(super) fn open(server: SocketAddr, registry: &Registry, token: usize) -> anyhow::Result<Wire> {
        let mut socket = TcpStream::connect(server).with_context(|| format!("cannot connect to {server}"))?;
        // Or a request waits for the answer to the one before it, or 40 ms.
        socket.set_nodelay(true)?;
        registry.register(&mut socket, Token(token), Interest::READABLE | Interest::WRITABLE)?;
        let mut wire =
            Wire { socket, out: Vec::new(), written: 0, input: Vec::new(), established: false, next_xid: 1 };
        let body = ConnectRequestBody {
            protocol_version: 0,
            last_zxid_seen: Zxid::ZERO,
            timeout_ms: SESSION_TIMEOUT_MS,
            session_id: SessionId::NONE,
            password: Some(Bytes::from_static(&[0; 16])),
        };
        wire.frame(|out| ConnectRequest { body, read_only: Some(false) }.write(out));
        Ok(wire)
    }

    /// Queues a request; the xid that its answer will have.
    pub(super) fn request(&mut self, request: &Request) -> i32 {
        let xid = self.next_xid;
        // Positive for ever: the negative ones have meanings of their own.
        self.next_xid = self.next_xid.checked_add(1).unwrap_or(1);
        self.frame(|out| request.encode(xid, out));
        xid
    }

    /// Queues a ping, which keeps the session alive.
    pub(super) fn ping(&mut self) {
        self.frame(|out| Request::Ping.encode(PING_XID, out));
    }

    fn frame(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.out.len();
        self.out.extend_from_slice(&[0; 4]);
        write(&mut self.out);
        let length = u32::try_from(self.out.len() - start - 4).unwrap_or(u32::MAX);
        self.out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    }

    /// Sends what the socket takes. The rest goes when it is writable again.
    pub(super) fn flush(&mut self) -> anyhow::Result<()> {
        while self.written < self.out.len() {
            match self.socket.write(&self.out[self.written..]) {
                Ok(0) => bail!("the server takes no more bytes"),
                Ok(written) => self.written += written,
                // Not connected yet counts as not writable.
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("sending failed"),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(())
    }

    /// Reads all that is there, and says for each message when it was read. False when the server has closed.
    pub(super) fn receive(
        &mut self,
        mut arrived: impl FnMut(Instant, Arrived<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<bool> {
        loop {
            let filled = self.input.len();
            self.input.resize(filled + READ_BYTES, 0);
            let read = self.socket.read(&mut self.input[filled..]);
            self.input.truncate(filled + *read.as_ref().unwrap_or(&0));
            match read {
                Ok(0) => return Ok(false),
                Ok(_) => self.take_frames(&mut arrived)?,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {
                    return Ok(true);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("the connection failed"),
            }
        }
    }

    fn take_frames(
        &mut self,
        arrived: &mut impl FnMut(Instant, Arrived<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let now = Instant::now();
        let mut rest = self.input.as_slice();
        while let Some((length, behind)) = rest.split_first_chunk::<4>() {
            let length = usize::try_from(i32::from_be_bytes(*length)).context("a frame's length")?;
            let Some((frame, behind)) = behind.split_at_checked(length) else { break };
            rest = behind;
            if self.established {
                arrived(now, decode(frame)?)?;
            } else {
                let response: ConnectResponse = Reader::new(frame).read()?;
                ensure!(response.body.timeout_ms > 0, "the server refuses a session");
                self.established = true;
                arrived(now, Arrived::Session)?;
            }
        }
        let left = rest.len();
        self.input.drain(..self.input.len() - left);
        Ok(())
    }
}

fn decode(frame: &[u8]) -> anyhow::Result<Arrived<'_>> {
    let header: ReplyHeader = Reader::new(frame).read()?;
    match header.xid {
        NOTIFICATION_XID => Ok(Arrived::Event),
        PING_XID => Ok(Arrived::Pong),
        _ => Ok(Arrived::Reply(header, &frame[HEADER_BYTES..])),
    }
}
