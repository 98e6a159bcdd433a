//! Accepts clients, as many per address as are allowed.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::connection::{self, Handle};
use crate::server::core::Input;
use crate::tree::watches::ConnectionId;

/// What the listener needs for each connection.
pub struct Listener {
    /// The socket.
    pub socket: TcpListener,
    /// Connections per address; 0 is no limit.
    pub max_per_address: usize,
    /// The longest message, in bytes.
    pub max_frame: usize,
    /// To the driver.
    pub inputs: mpsc::Sender<Input>,
    /// To the driver, ahead of the connection's inputs.
    pub handles: mpsc::UnboundedSender<(ConnectionId, Handle)>,
    /// Ends the listener and all connections.
    pub stop: CancellationToken,
}

/// How many connections each address has.
#[derive(Debug, Clone, Default)]
struct Addresses(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One connection of an address; given back when dropped.
struct Place {
    addresses: Addresses,
    address: IpAddr,
}

impl Listener {
    /// Accepts until stopped.
    pub async fn run(self) {
        let addresses = Addresses::default();
        for id in 1.. {
            let accepted = tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = self.socket.accept() => accepted,
            };
            match accepted {
                Ok((socket, peer)) => self.admit(ConnectionId(id), socket, peer.ip(), &addresses).await,
                Err(error) => {
                    // Out of descriptors, usually: those that close make room.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn admit(&self, id: ConnectionId, socket: TcpStream, address: IpAddr, addresses: &Addresses) {
        let Some(place) = addresses.enter(address, self.max_per_address) else {
            tracing::warn!(%address, limit = self.max_per_address, "too many connections from one address (maxClientCnxns)");
            return;
        };
        let _ = socket.set_nodelay(true);
        // The order matters: core and driver learn of the connection before its first message, or the answer
        // would have nowhere to go.
        if self.inputs.send(Input::Opened(id, address)).await.is_err() {
            return;
        }
        let (handle, task) =
            connection::serve(socket, id, self.max_frame, self.inputs.clone(), place, &self.stop);
        if self.handles.send((id, handle)).is_ok() {
            tokio::spawn(task);
        }
    }
}

impl Addresses {
    /// A place for one more connection of an address, if it may have one.
    fn enter(&self, address: IpAddr, limit: usize) -> Option<Place> {
        let mut counts = self.counts();
        let count = counts.entry(address).or_default();
        if limit != 0 && *count >= limit {
            return None;
        }
        *count += 1;
        Some(Place { addresses: self.clone(), address })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
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
