//! One client's socket: frames in, frames out, and how much of either may pile up.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use crate::server::core::Input;
use crate::server::words;
use crate::tree::watches::ConnectionId;

/// Requests of one connection that may be under way; beyond that its socket is not read.
const MAX_OUTSTANDING: usize = 1000;
/// Bytes that may wait for a slow reader before its socket is not read any more.
const PAUSE_READING_BYTES: usize = 4 << 20;
/// Bytes of events that may wait for a reader that does not read; then it is cut off.
const CUT_OFF_BYTES: usize = 64 << 20;
/// A connection must say who it is within this time (`ConnectionExpiryQueue`).
const FIRST_MESSAGE_TIMEOUT: Duration = Duration::from_secs(10);

/// What the driver sends to a connection.
#[derive(Debug)]
pub enum Outgoing {
    /// An answer: it frees a place among the outstanding requests.
    Reply(Bytes),
    /// Something not asked for.
    Notify(Bytes),
    /// Nothing more comes; close behind what is queued.
    Close,
}

/// The driver's end of a connection.
#[derive(Debug)]
pub struct Handle {
    outgoing: mpsc::UnboundedSender<Outgoing>,
    queued: Arc<Queued>,
    stop: CancellationToken,
}

/// How much waits to be written.
#[derive(Debug, Default)]
struct Queued {
    bytes: AtomicUsize,
    drained: Notify,
}

impl Handle {
    /// Queues something to be sent. A connection that lets too much pile up is cut off.
    pub fn send(&self, outgoing: Outgoing) {
        let bytes = match &outgoing {
            Outgoing::Reply(frame) | Outgoing::Notify(frame) => frame.len(),
            Outgoing::Close => 0,
        };
        let queued = self.queued.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if queued > CUT_OFF_BYTES {
            tracing::warn!(queued, limit = CUT_OFF_BYTES, "cutting off a client that does not read");
            self.stop.cancel();
        }
        // A connection that is gone needs nothing.
        let _ = self.outgoing.send(outgoing);
    }
}

/// Serves a socket. The returned handle is the driver's; the tasks end when the socket does, when the driver
/// says so, or when `stop` is cancelled; they then drop `place` and report [`Input::Closed`] once.
pub fn serve(
    socket: TcpStream,
    id: ConnectionId,
    max_frame: usize,
    inputs: mpsc::Sender<Input>,
    place: impl Send + 'static,
    stop: &CancellationToken,
) -> Handle {
    let stop = stop.child_token();
    let queued = Arc::new(Queued::default());
    let (outgoing, outgoing_rx) = mpsc::unbounded_channel();
    let places = Arc::new(Semaphore::new(MAX_OUTSTANDING));
    let (read_half, write_half) = socket.into_split();
    let reader = FrameReader { id, max_frame, socket: read_half, buffer: BytesMut::with_capacity(4096) };
    let running = run(reader, write_half, inputs, outgoing_rx, places, Arc::clone(&queued), stop.clone());
    tokio::spawn(async move {
        running.await;
        drop(place);
    });
    Handle { outgoing, queued, stop }
}

async fn run(
    mut reader: FrameReader<impl AsyncRead + Unpin>,
    socket: impl AsyncWrite + Unpin + Send + 'static,
    inputs: mpsc::Sender<Input>,
    outgoing: mpsc::UnboundedReceiver<Outgoing>,
    places: Arc<Semaphore>,
    queued: Arc<Queued>,
    stop: CancellationToken,
) {
    let id = reader.id;
    let writing = write(socket, outgoing, Arc::clone(&places), Arc::clone(&queued));
    tokio::select! {
        () = stop.cancelled() => {}
        () = writing => {}
        ended = read(&mut reader, &inputs, &places, &queued) => {
            if let Err(error) = ended {
                tracing::debug!(connection = id.0, %error, "a connection ended");
            }
        }
    }
    // The driver is gone only when the server stops.
    let _ = inputs.send(Input::Closed(id)).await;
}

/// Why a client's bytes are not read any further.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("the client has closed the connection")]
    Closed,
    #[error("reading failed: {0}")]
    Io(#[from] std::io::Error),
    #[error("no first message within {FIRST_MESSAGE_TIMEOUT:?}")]
    Silent,
    #[error("a message of {length} bytes; at most {limit} are accepted (jute.maxbuffer)")]
    Length { length: i32, limit: usize },
    #[error("the server stops")]
    Stopping,
}

struct FrameReader<R> {
    id: ConnectionId,
    max_frame: usize,
    socket: R,
    buffer: BytesMut,
}

/// A first message, or a word in its place.
enum First {
    Frame(Bytes),
    Word([u8; 4]),
}

async fn read(
    reader: &mut FrameReader<impl AsyncRead + Unpin>,
    inputs: &mpsc::Sender<Input>,
    places: &Semaphore,
    queued: &Queued,
) -> Result<(), ReadError> {
    let first = tokio::time::timeout(FIRST_MESSAGE_TIMEOUT, reader.first())
        .await
        .map_err(|_| ReadError::Silent)??;
    let mut input = match first {
        First::Frame(frame) => Input::Frame(reader.id, frame),
        First::Word(word) => {
            inputs.send(Input::Word(reader.id, word)).await.map_err(|_| ReadError::Stopping)?;
            return std::future::pending().await;
        }
    };
    loop {
        // The place is given back when the answer has been written.
        places.acquire().await.map_err(|_| ReadError::Stopping)?.forget();
        inputs.send(input).await.map_err(|_| ReadError::Stopping)?;
        while queued.bytes.load(Ordering::Relaxed) > PAUSE_READING_BYTES {
            queued.drained.notified().await;
        }
        input = Input::Frame(reader.id, reader.frame().await?);
    }
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    async fn first(&mut self) -> Result<First, ReadError> {
        self.fill(4).await?;
        let mut length = [0; 4];
        length.copy_from_slice(&self.buffer[..4]);
        if words::is_word(length) {
            return Ok(First::Word(length));
        }
        self.frame().await.map(First::Frame)
    }

    async fn frame(&mut self) -> Result<Bytes, ReadError> {
        self.fill(4).await?;
        let length = self.buffer.get_i32();
        let wanted = usize::try_from(length).ok().filter(|&length| length <= self.max_frame);
        let Some(wanted) = wanted else {
            tracing::warn!(
                connection = self.id.0,
                length,
                limit = self.max_frame,
                "closing a connection that announced a message of an impossible length"
            );
            return Err(ReadError::Length { length, limit: self.max_frame });
        };
        self.fill(wanted).await?;
        Ok(self.buffer.split_to(wanted).freeze())
    }

    /// Reads until `wanted` bytes are there. Memory grows with what has arrived, not with what was announced.
    async fn fill(&mut self, wanted: usize) -> Result<(), ReadError> {
        while self.buffer.len() < wanted {
            self.buffer.reserve(4096.min(wanted - self.buffer.len()).max(1024));
            if self.socket.read_buf(&mut self.buffer).await? == 0 {
                return Err(ReadError::Closed);
            }
        }
        Ok(())
    }
}

/// Writes whatever is queued in as few calls as possible. Ends on [`Outgoing::Close`] or a broken socket.
async fn write(
    mut socket: impl AsyncWrite + Unpin,
    mut outgoing: mpsc::UnboundedReceiver<Outgoing>,
    places: Arc<Semaphore>,
    queued: Arc<Queued>,
) {
    let mut batch = Vec::new();
    let mut buffer = BytesMut::new();
    while outgoing.recv_many(&mut batch, 256).await > 0 {
        let (mut replies, mut close) = (0, false);
        for message in batch.drain(..) {
            match message {
                Outgoing::Reply(frame) => {
                    replies += 1;
                    buffer.extend_from_slice(&frame);
                }
                Outgoing::Notify(frame) => buffer.extend_from_slice(&frame),
                Outgoing::Close => close = true,
            }
        }
        let bytes = buffer.len();
        if socket.write_all_buf(&mut buffer).await.is_err() {
            return;
        }
        queued.bytes.fetch_sub(bytes, Ordering::Relaxed);
        queued.drained.notify_one();
        places.add_permits(replies);
        if close {
            let _ = socket.shutdown().await;
            return;
        }
    }
}
