//! Accepts clients on one port, as many as are allowed, and speaks TLS with those who do.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::connection::{self, Handle};
use super::outstanding::Outstanding;
use super::tls::Tls;
use super::words::Words;
use crate::config::Limits;
use crate::server::connection::Peer;
use crate::server::core::Input;
use crate::tree::watches::ConnectionId;

/// One port.
pub struct Listener {
    /// The socket.
    pub socket: TcpListener,
    /// Connections per address; 0 is no limit.
    pub max_per_address: usize,
    /// Who speaks TLS here.
    pub encryption: Encryption,
    /// What all ports share.
    pub shared: Arc<Shared>,
}

/// Who speaks TLS on a port.
#[derive(Clone)]
pub enum Encryption {
    /// Nobody.
    Off,
    /// Everybody.
    On(Arc<Tls>),
    /// Whoever begins with a handshake (`client.portUnification`).
    Either(Arc<Tls>),
}

/// What the ports of a server share.
pub struct Shared {
    /// Connections in all; 0 is no limit.
    pub max_connections: usize,
    /// The longest message, in bytes.
    pub max_frame: usize,
    /// How long a connection may take to say who it is.
    pub first_message: Duration,
    /// Requests under way.
    pub outstanding: Arc<Outstanding>,
    /// Answers four-letter words.
    pub words: Words,
    /// To the driver.
    pub inputs: mpsc::Sender<Input>,
    /// To the driver, ahead of the connection's inputs.
    pub handles: mpsc::UnboundedSender<(ConnectionId, Handle)>,
    /// Ends the ports and all connections.
    pub stop: CancellationToken,
    /// Connections so far.
    last_id: AtomicU64,
    connections: Arc<AtomicUsize>,
    handshakes: Arc<AtomicUsize>,
}

/// How many connections each address has.
#[derive(Debug, Clone, Default)]
struct Addresses(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One connection of an address; given back when dropped.
struct AddressPlace {
    addresses: Addresses,
    address: IpAddr,
}

/// One of a number; given back when dropped.
struct Counted(Arc<AtomicUsize>);

/// The first byte of whoever begins with a handshake.
const TLS_HANDSHAKE: u8 = 22;

impl Shared {
    /// No connections yet.
    #[must_use]
    pub fn new(
        limits: &Limits,
        max_frame: usize,
        words: Words,
        inputs: mpsc::Sender<Input>,
        handles: mpsc::UnboundedSender<(ConnectionId, Handle)>,
        stop: CancellationToken,
    ) -> Arc<Self> {
        let handshakes = Arc::clone(&words.tally().handshakes);
        Arc::new(Shared {
            max_connections: limits.connections,
            max_frame,
            first_message: limits.first_message,
            outstanding: Outstanding::new(limits),
            words,
            inputs,
            handles,
            stop,
            last_id: AtomicU64::new(0),
            connections: Arc::default(),
            handshakes,
        })
    }

    /// Begins to serve a stream. Core and driver learn of the connection before its first message, or the answer
    /// would have nowhere to go.
    async fn begin(
        &self,
        (reader, writer): (impl AsyncRead + Unpin + Send + 'static, impl AsyncWrite + Unpin + Send + 'static),
        peer: Peer,
        subject: Option<String>,
        place: impl Send + 'static,
    ) {
        let id = ConnectionId(self.last_id.fetch_add(1, Ordering::Relaxed) + 1);
        if self.inputs.send(Input::Opened(id, peer)).await.is_err() {
            return;
        }
        if let Some(subject) = subject
            && self.inputs.send(Input::Certified(id, subject)).await.is_err()
        {
            return;
        }
        let terms = connection::Terms {
            id,
            max_frame: self.max_frame,
            first_message: self.first_message,
            share: self.outstanding.share(),
        };
        let (handle, task) = connection::serve(
            reader,
            writer,
            terms,
            self.words.clone(),
            self.inputs.clone(),
            place,
            &self.stop,
        );
        if self.handles.send((id, handle)).is_ok() {
            tokio::spawn(task);
        }
    }
}

impl Listener {
    /// Accepts until stopped.
    pub async fn run(self) {
        let addresses = Addresses::default();
        loop {
            let accepted = tokio::select! {
                () = self.shared.stop.cancelled() => return,
                accepted = self.socket.accept() => accepted,
            };
            match accepted {
                Ok((socket, peer)) => self.admit(socket, peer, &addresses).await,
                Err(error) => {
                    // Out of descriptors, usually: those that close make room.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn admit(&self, socket: TcpStream, peer: SocketAddr, addresses: &Addresses) {
        let (shared, address) = (&self.shared, peer.ip().to_canonical());
        let Some(place) = Counted::enter(&shared.connections, shared.max_connections) else {
            tracing::warn!(%address, limit = shared.max_connections, "too many connections (maxCnxns)");
            shared.words.tally().rejected.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let Some(address_place) = addresses.enter(address, self.max_per_address) else {
            tracing::warn!(%address, limit = self.max_per_address, "too many connections from one address (maxClientCnxns)");
            shared.words.tally().rejected.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let place = (place, address_place);
        let _ = socket.set_nodelay(true);
        match &self.encryption {
            Encryption::Off => {
                let peer = Peer { address: peer, is_secure: false };
                shared.begin(socket.into_split(), peer, None, place).await;
            }
            Encryption::On(tls) => self.shake_hands(socket, peer, place, Arc::clone(tls), true),
            Encryption::Either(tls) => self.shake_hands(socket, peer, place, Arc::clone(tls), false),
        }
    }

    /// In a task of its own, so that nobody waits for somebody else's handshake.
    fn shake_hands(
        &self,
        socket: TcpStream,
        address: SocketAddr,
        place: impl Send + 'static,
        tls: Arc<Tls>,
        must: bool,
    ) {
        let limit = tls.handshake_limit();
        let Some(handshake) = Counted::enter(&self.shared.handshakes, limit) else {
            tracing::warn!(%address, limit, "too many handshakes (netty.server.outstandingHandshake.limit)");
            return;
        };
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            let opening = async {
                if !must && !begins_with_handshake(&socket, tls.handshake_timeout()).await {
                    drop(handshake);
                    let peer = Peer { address, is_secure: false };
                    return shared.begin(socket.into_split(), peer, None, place).await;
                }
                let accepted = tls.accept(socket).await;
                drop(handshake);
                match accepted {
                    Ok((stream, subject)) => {
                        let peer = Peer { address, is_secure: true };
                        shared.begin(tokio::io::split(stream), peer, subject, place).await;
                    }
                    Err(error) => tracing::warn!(%address, %error, "closing a connection without TLS"),
                }
            };
            tokio::select! {
                () = shared.stop.cancelled() => {}
                () = opening => {}
            }
        });
    }
}

/// Whoever says nothing in time is no speaker of TLS; the limit for first messages counts for it.
async fn begins_with_handshake(socket: &TcpStream, limit: Duration) -> bool {
    let mut first = [0];
    let peeked = tokio::time::timeout(limit, socket.peek(&mut first)).await;
    matches!(peeked, Ok(Ok(1))) && first[0] == TLS_HANDSHAKE
}

impl Counted {
    fn enter(count: &Arc<AtomicUsize>, limit: usize) -> Option<Counted> {
        let entered = Counted(Arc::clone(count));
        let before = count.fetch_add(1, Ordering::Relaxed);
        (limit == 0 || before < limit).then_some(entered)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Addresses {
    /// A place for one more connection of an address, if it may have one.
    fn enter(&self, address: IpAddr, limit: usize) -> Option<AddressPlace> {
        let mut counts = self.counts();
        let count = counts.entry(address).or_default();
        if limit != 0 && *count >= limit {
            return None;
        }
        *count += 1;
        Some(AddressPlace { addresses: self.clone(), address })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for AddressPlace {
    fn drop(&mut self) {
        let mut counts = self.addresses.counts();
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}
