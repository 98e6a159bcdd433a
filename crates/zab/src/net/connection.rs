//! One client's socket: frames in, frames out, and how much of either may pile up.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::outstanding::Share;
use super::words::Words;
use crate::server::core::Input;
use crate::server::words::is_word;
use crate::tree::watches::ConnectionId;

/// Requests of one connection that may be under way; beyond that its socket is not read.
const MAX_OUTSTANDING: usize = 1000;
/// Bytes that may wait for a slow reader before its socket is not read any more.
const PAUSE_READING_BYTES: usize = 4 << 20;
/// Batches are joined until they have so many bytes.
const MAX_WRITE_BYTES: usize = 64 << 10;
/// Bytes of events that may wait for a reader that does not read; then it is cut off.
const CUT_OFF_BYTES: usize = 64 << 20;
/// How long a connection that is to be closed may take to read what was sent before. Without a limit a client
/// that has stopped reading would keep its place for as long as its kernel answers.
const LINGER: Duration = Duration::from_secs(10);

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

/// On what terms a connection is served.
pub struct Terms {
    /// Its name.
    pub id: ConnectionId,
    /// The longest message, in bytes.
    pub max_frame: usize,
    /// It must say who it is within this time (`ConnectionExpiryQueue`).
    pub first_message: Duration,
    /// What it has of the room for requests under way.
    pub share: Arc<Share>,
}

/// The driver's end of a connection.
#[derive(Debug)]
pub struct Handle {
    outgoing: mpsc::UnboundedSender<Batch>,
    /// What goes with the next [`flush`](Handle::flush).
    gathered: Batch,
    share: Arc<Share>,
    queued: Arc<Queued>,
    stop: CancellationToken,
}

/// Messages that go to the writer together.
#[derive(Debug, Default)]
struct Batch {
    frames: BytesMut,
    /// How many of them are answers.
    replies: usize,
    /// Nothing more comes.
    close: bool,
}

/// How much waits to be written.
#[derive(Debug, Default)]
struct Queued {
    bytes: AtomicUsize,
    drained: Notify,
    /// Told when [`Outgoing::Close`] is queued.
    closing: Notify,
}

impl Handle {
    /// Gathers something to be sent. True for the first since the last [`flush`](Self::flush).
    pub fn send(&mut self, outgoing: Outgoing) -> bool {
        let is_first = self.gathered.frames.is_empty() && !self.gathered.close;
        match outgoing {
            Outgoing::Reply(frame) => {
                // Not only when it is written: a reader that is slow must hold up nobody else.
                self.share.leave();
                self.gathered.replies += 1;
                self.gathered.frames.extend_from_slice(&frame);
            }
            Outgoing::Notify(frame) => self.gathered.frames.extend_from_slice(&frame),
            Outgoing::Close => self.gathered.close = true,
        }
        is_first
    }

    /// Hands what was gathered to the writer. A connection that lets too much pile up is cut off.
    pub fn flush(&mut self) {
        let batch = std::mem::take(&mut self.gathered);
        if batch.close {
            self.queued.closing.notify_one();
        }
        let bytes = batch.frames.len();
        let queued = self.queued.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if queued > CUT_OFF_BYTES {
            tracing::warn!(queued, limit = CUT_OFF_BYTES, "cutting off a client that does not read");
            self.stop.cancel();
        }
        // A connection that is gone needs nothing.
        let _ = self.outgoing.send(batch);
    }
}

/// Prepares to serve a socket: the driver's handle, and the task that must run. It ends when the socket does,
/// when the driver says so, or when `stop` is cancelled; it then reports [`Input::Closed`] once and drops
/// `place`.
pub fn serve(
    reader: impl AsyncRead + Unpin + Send + 'static,
    writer: impl AsyncWrite + Unpin + Send + 'static,
    terms: Terms,
    words: Words,
    inputs: mpsc::Sender<Input>,
    place: impl Send + 'static,
    stop: &CancellationToken,
) -> (Handle, impl Future<Output = ()> + Send + 'static) {
    let stop = stop.child_token();
    let queued = Arc::new(Queued::default());
    let (outgoing, outgoing_rx) = mpsc::unbounded_channel();
    let places = Arc::new(Semaphore::new(MAX_OUTSTANDING));
    let share = Arc::clone(&terms.share);
    let reader = FrameReader::new(terms, reader);
    let words = Answers { words, outgoing: outgoing.downgrade(), queued: Arc::clone(&queued) };
    let running = run(reader, writer, inputs, outgoing_rx, places, words, stop.clone());
    let task = async move {
        running.await;
        drop(place);
    };
    (Handle { outgoing, gathered: Batch::default(), share, queued, stop }, task)
}

async fn run(
    mut reader: FrameReader<impl AsyncRead + Unpin>,
    socket: impl AsyncWrite + Unpin + Send + 'static,
    inputs: mpsc::Sender<Input>,
    outgoing: mpsc::UnboundedReceiver<Batch>,
    places: Arc<Semaphore>,
    words: Answers,
    stop: CancellationToken,
) {
    let (id, queued) = (reader.terms.id, Arc::clone(&words.queued));
    let writing = write(socket, outgoing, Arc::clone(&places), Arc::clone(&queued));
    tokio::select! {
        () = stop.cancelled() => {}
        () = writing => {}
        () = lingered(&queued) => {
            tracing::debug!(connection = id.0, "a client has not read what was sent before the end");
        }
        ended = read(&mut reader, &inputs, &places, &words) => {
            match ended {
                Err(error @ ReadError::Length { .. }) => {
                    tracing::warn!(connection = id.0, %error, "closing a connection that makes no sense");
                }
                Err(error) => tracing::debug!(connection = id.0, %error, "a connection ended"),
                Ok(()) => {}
            }
        }
    }
    // The driver is gone only when the server stops.
    let _ = inputs.send(Input::Closed(id)).await;
}

/// Ends when a connection should have been closed long ago.
async fn lingered(queued: &Queued) {
    queued.closing.notified().await;
    tokio::time::sleep(LINGER).await;
}

/// Why a client's bytes are not read any further.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("the client has closed the connection")]
    Closed,
    #[error("reading failed: {0}")]
    Io(#[from] std::io::Error),
    #[error("no first message within {0:?}")]
    Silent(Duration),
    #[error("it announced a message of {length} bytes; at most {limit} are accepted (jute.maxbuffer)")]
    Length { length: i32, limit: usize },
    #[error("the server stops")]
    Stopping,
}

struct FrameReader<R> {
    terms: Terms,
    socket: R,
    buffer: BytesMut,
    /// Room for the next read.
    read_bytes: usize,
}

/// An idle connection keeps no more than the least of these.
const MIN_READ_BYTES: usize = 1 << 10;
const MAX_READ_BYTES: usize = 64 << 10;
/// Messages of one connection that go to the driver together.
const MAX_BATCH: usize = 256;

/// A first message, or a word in its place, with the mask that follows `stmk`.
enum First {
    Frame(Bytes),
    Word([u8; 4], i64),
}

/// Where answers to words come from, and where they go. Without a driver the connection ends, so it does not
/// keep the queue open.
struct Answers {
    words: Words,
    outgoing: mpsc::WeakUnboundedSender<Batch>,
    queued: Arc<Queued>,
}

impl Answers {
    async fn send(&self, word: [u8; 4], mask: i64) {
        let text = self.words.answer(word, mask).await;
        let Some(outgoing) = self.outgoing.upgrade() else { return };
        self.queued.bytes.fetch_add(text.len(), Ordering::Relaxed);
        self.queued.closing.notify_one();
        let _ = outgoing.send(Batch { frames: text.as_bytes().into(), replies: 0, close: true });
    }
}

async fn read(
    reader: &mut FrameReader<impl AsyncRead + Unpin>,
    inputs: &mpsc::Sender<Input>,
    places: &Semaphore,
    words: &Answers,
) -> Result<(), ReadError> {
    let queued = &words.queued;
    let (id, limit) = (reader.terms.id, reader.terms.first_message);
    let first = tokio::time::timeout(limit, reader.first()).await.map_err(|_| {
        words.words.tally().sessionless.fetch_add(1, Ordering::Relaxed);
        ReadError::Silent(limit)
    })??;
    let mut frame = match first {
        First::Frame(frame) => frame,
        First::Word(word, mask) => {
            inputs.send(Input::Word(id)).await.map_err(|_| ReadError::Stopping)?;
            words.send(word, mask).await;
            return std::future::pending().await;
        }
    };
    let mut frames = Vec::new();
    loop {
        // The places are given back when the answers have been written.
        places.acquire().await.map_err(|_| ReadError::Stopping)?.forget();
        while queued.bytes.load(Ordering::Relaxed) > PAUSE_READING_BYTES {
            queued.drained.notified().await;
        }
        reader.terms.share.enter(frame.len()).await;
        frames.push(frame);
        // What would have to wait stays: nothing that is under way may wait for it.
        while frames.len() < MAX_BATCH
            && let Some(length) = reader.complete()
            && let Ok(place) = places.try_acquire()
            && reader.terms.share.try_enter(length)
        {
            place.forget();
            reader.buffer.advance(4);
            frames.push(reader.buffer.split_to(length).freeze());
        }
        let room = inputs.reserve_many(frames.len()).await.map_err(|_| ReadError::Stopping)?;
        room.zip(frames.drain(..)).for_each(|(room, frame)| room.send(Input::Frame(id, frame)));
        frame = reader.frame().await?;
    }
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    fn new(terms: Terms, socket: R) -> Self {
        FrameReader { terms, socket, buffer: BytesMut::new(), read_bytes: MIN_READ_BYTES }
    }

    async fn first(&mut self) -> Result<First, ReadError> {
        self.fill(4).await?;
        let mut length = [0; 4];
        length.copy_from_slice(&self.buffer[..4]);
        if &length == b"stmk" {
            self.fill(12).await?;
            self.buffer.advance(4);
            return Ok(First::Word(length, self.buffer.get_i64()));
        }
        if is_word(length) {
            return Ok(First::Word(length, 0));
        }
        self.frame().await.map(First::Frame)
    }

    async fn frame(&mut self) -> Result<Bytes, ReadError> {
        self.fill(4).await?;
        let wanted = self.announced()?;
        self.buffer.advance(4);
        self.fill(wanted).await?;
        Ok(self.buffer.split_to(wanted).freeze())
    }

    /// The length of the message that begins the buffer, if all of it is there.
    fn complete(&self) -> Option<usize> {
        let length = (self.buffer.len() >= 4).then(|| self.announced().ok()).flatten()?;
        (self.buffer.len() - 4 >= length).then_some(length)
    }

    /// The length in front of the buffer, which must be there.
    fn announced(&self) -> Result<usize, ReadError> {
        let length = (&self.buffer[..4]).get_i32();
        let wanted = usize::try_from(length).ok().filter(|&length| length <= self.terms.max_frame);
        wanted.ok_or(ReadError::Length { length, limit: self.terms.max_frame })
    }

    /// Reads until `wanted` bytes are there. Memory grows with what has arrived, not with what was announced.
    async fn fill(&mut self, wanted: usize) -> Result<(), ReadError> {
        while self.buffer.len() < wanted {
            self.buffer.reserve(self.read_bytes);
            let read = self.socket.read_buf(&mut self.buffer).await?;
            if read == 0 {
                return Err(ReadError::Closed);
            }
            // Whoever sends much at once is read in larger pieces.
            self.read_bytes = match read >= self.read_bytes {
                true => (2 * self.read_bytes).min(MAX_READ_BYTES),
                false => (self.read_bytes / 2).max(read).max(MIN_READ_BYTES),
            };
        }
        Ok(())
    }
}

/// Writes whatever is queued. Ends behind [`Outgoing::Close`] or on a broken socket.
async fn write(
    mut socket: impl AsyncWrite + Unpin,
    mut outgoing: mpsc::UnboundedReceiver<Batch>,
    places: Arc<Semaphore>,
    queued: Arc<Queued>,
) {
    while let Some(mut batch) = outgoing.recv().await {
        // What has piled up meanwhile goes in the same call.
        while !batch.close
            && batch.frames.len() < MAX_WRITE_BYTES
            && let Ok(further) = outgoing.try_recv()
        {
            batch.frames.extend_from_slice(&further.frames);
            batch.replies += further.replies;
            batch.close = further.close;
        }
        let bytes = batch.frames.len();
        // What TLS has taken and the socket has not goes out only with a flush.
        if socket.write_all_buf(&mut batch.frames).await.is_err() || socket.flush().await.is_err() {
            return;
        }
        queued.bytes.fetch_sub(bytes, Ordering::Relaxed);
        queued.drained.notify_one();
        places.add_permits(batch.replies);
        if batch.close {
            let _ = socket.shutdown().await;
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::report::{Facts, Reporter, TRACE_MASK};
    use tokio::io::DuplexStream;

    const ID: ConnectionId = ConnectionId(7);
    const FIRST_MESSAGE_TIMEOUT: Duration = Duration::from_secs(10);

    /// A connection whose client, driver and core are the test.
    struct Served {
        client: DuplexStream,
        inputs: mpsc::Receiver<Input>,
        handle: Handle,
    }

    /// Answers of a server whose core is gone.
    fn words() -> Words {
        let mut config = crate::ServerConfig::local("/nowhere".into());
        config.words = vec!["*".to_owned()];
        let facts = Facts {
            config,
            address: std::net::SocketAddr::from(([127, 0, 0, 1], 1)),
            secure_address: None,
            started: std::time::Instant::now(),
            tally: Arc::default(),
            trace_mask: TRACE_MASK.into(),
        };
        Words::new(Reporter { questions: mpsc::channel(1).0, facts: Arc::new(facts) })
    }

    /// Serves a socket that holds so many bytes in each direction.
    fn served(socket_bytes: usize) -> Served {
        let (client, server) = tokio::io::duplex(socket_bytes);
        let (read_half, write_half) = tokio::io::split(server);
        let (inputs_tx, inputs) = mpsc::channel(64 * 1024);
        let (outgoing, outgoing_rx) = mpsc::unbounded_channel();
        let (queued, stop) = (Arc::new(Queued::default()), CancellationToken::new());
        let limits = crate::config::Limits { outstanding: 2 * MAX_OUTSTANDING, ..Default::default() };
        let share = crate::net::outstanding::Outstanding::new(&limits).share();
        let first_message = FIRST_MESSAGE_TIMEOUT;
        let terms = Terms { id: ID, max_frame: 1 << 20, first_message, share: Arc::clone(&share) };
        let reader = FrameReader::new(terms, read_half);
        let places = Arc::new(Semaphore::new(MAX_OUTSTANDING));
        let words = Answers { words: words(), outgoing: outgoing.downgrade(), queued: Arc::clone(&queued) };
        let handle = Handle { outgoing, gathered: Batch::default(), share, queued, stop: stop.clone() };
        tokio::spawn(run(reader, write_half, inputs_tx, outgoing_rx, places, words, stop));
        Served { client, inputs, handle }
    }

    impl Served {
        async fn send(&mut self, frame: &[u8]) {
            self.client.write_u32(u32::try_from(frame.len()).unwrap()).await.unwrap();
            self.client.write_all(frame).await.unwrap();
        }

        /// Frames that have arrived once nothing moves any more: time only passes then.
        async fn arrived(&mut self) -> usize {
            tokio::time::sleep(Duration::from_millis(1)).await;
            let mut frames = 0;
            while let Ok(input) = self.inputs.try_recv() {
                assert!(matches!(input, Input::Frame(ID, _)), "{input:?}");
                frames += 1;
            }
            frames
        }

        fn answer(&mut self, outgoing: Outgoing) {
            self.handle.send(outgoing);
            self.handle.flush();
        }

        async fn is_closed(&mut self) {
            let input = self.inputs.recv().await;
            assert!(matches!(input, Some(Input::Closed(ID))), "{input:?}");
            assert!(self.inputs.recv().await.is_none(), "once");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_says_nothing_is_closed() {
        let mut silent = served(64);
        silent.is_closed().await;
        let mut hesitant = served(64);
        hesitant.client.write_all(&[0, 0, 0, 9, 1]).await.unwrap();
        hesitant.is_closed().await;
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_has_said_who_he_is_may_be_silent() {
        let mut connection = served(64);
        connection.send(b"hello").await;
        tokio::time::sleep(100 * FIRST_MESSAGE_TIMEOUT).await;
        connection.send(b"again").await;
        assert_eq!(connection.arrived().await, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn frames_arrive_whole_however_they_were_cut() {
        let mut connection = served(1 << 20);
        let frames: [&[u8]; 4] = [b"first", b"", &[7; 10_000], b"ruok"];
        let mut bytes = Vec::new();
        for frame in frames {
            bytes.extend_from_slice(&u32::try_from(frame.len()).unwrap().to_be_bytes());
            bytes.extend_from_slice(frame);
        }
        for piece in bytes.chunks(3) {
            connection.client.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        for frame in frames {
            let Some(Input::Frame(ID, found)) = connection.inputs.recv().await else { panic!() };
            assert_eq!(found, frame);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_word_is_one_only_in_front() {
        let mut connection = served(64);
        connection.client.write_all(b"ruok").await.unwrap();
        assert!(matches!(connection.inputs.recv().await, Some(Input::Word(ID))));
        let mut answer = Vec::new();
        connection.client.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"imok");
        let mut connection = served(64);
        connection.send(b"hello").await;
        // As a length it is far above the limit.
        connection.client.write_all(b"ruok").await.unwrap();
        assert!(matches!(connection.inputs.recv().await, Some(Input::Frame(ID, _))));
        connection.is_closed().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_has_no_more_requests_under_way_than_it_may() {
        let mut connection = served(1 << 20);
        for _ in 0..MAX_OUTSTANDING + 300 {
            connection.send(b"x").await;
        }
        assert_eq!(connection.arrived().await, MAX_OUTSTANDING);
        // Events free no place, answers do.
        for _ in 0..50 {
            connection.answer(Outgoing::Notify(Bytes::from_static(b"event")));
            connection.answer(Outgoing::Reply(Bytes::from_static(b"reply")));
        }
        assert_eq!(connection.arrived().await, 50);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_is_not_read_either() {
        let mut connection = served(1024);
        connection.send(b"first").await;
        assert_eq!(connection.arrived().await, 1);
        connection.answer(Outgoing::Reply(vec![7; PAUSE_READING_BYTES + 1].into()));
        tokio::task::yield_now().await;
        for _ in 0..3 {
            connection.send(b"more").await;
        }
        assert_eq!(connection.arrived().await, 0);
        let mut answer = vec![0; PAUSE_READING_BYTES + 1];
        connection.client.read_exact(&mut answer).await.unwrap();
        assert_eq!(connection.arrived().await, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_lets_too_much_pile_up_is_cut_off() {
        let mut connection = served(1024);
        connection.send(b"first").await;
        assert_eq!(connection.arrived().await, 1);
        let megabyte = Bytes::from(vec![7; 1 << 20]);
        for _ in 0..CUT_OFF_BYTES >> 20 {
            connection.answer(Outgoing::Notify(megabyte.clone()));
        }
        assert_eq!(connection.arrived().await, 0, "as much as it may");
        connection.answer(Outgoing::Notify(megabyte));
        connection.is_closed().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_cannot_keep_its_place_beyond_the_end() {
        let mut connection = served(16);
        connection.send(b"first").await;
        assert_eq!(connection.arrived().await, 1);
        connection.answer(Outgoing::Reply(Bytes::from_static(&[7; 1024])));
        tokio::time::sleep(10 * LINGER).await;
        assert_eq!(connection.arrived().await, 0, "it is only slow");
        connection.answer(Outgoing::Close);
        connection.is_closed().await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_sent_before_the_end_is_read_to_its_end() {
        let mut connection = served(16);
        for frame in [&b"one"[..], b"two"] {
            connection.answer(Outgoing::Reply(Bytes::from_static(frame)));
        }
        connection.answer(Outgoing::Close);
        let mut received = Vec::new();
        connection.client.read_to_end(&mut received).await.unwrap();
        assert_eq!(received, b"onetwo");
        connection.is_closed().await;
    }
}
