//! A way to a server that can be cut.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// A way to the server that can be cut.
pub(crate) struct Wire {
    pub(crate) address: SocketAddr,
    connections: Arc<Mutex<CancellationToken>>,
    open: Arc<AtomicUsize>,
    pub(crate) cut: Arc<AtomicUsize>,
}

impl Wire {
    pub(crate) async fn to(server: SocketAddr) -> Wire {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let wire = Wire { address, connections: Arc::default(), open: Arc::default(), cut: Arc::default() };
        let (connections, open, cut) =
            (Arc::clone(&wire.connections), Arc::clone(&wire.open), Arc::clone(&wire.cut));
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let lives = connections.lock().unwrap().clone();
                let (open, cut) = (Arc::clone(&open), Arc::clone(&cut));
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(server).await.unwrap();
                    open.fetch_add(1, Ordering::Relaxed);
                    tokio::select! {
                        () = lives.cancelled() => { cut.fetch_add(1, Ordering::Relaxed); }
                        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                    }
                    open.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
        wire
    }

    pub(crate) async fn is_open(&self) {
        while self.open.load(Ordering::Relaxed) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Cuts every connection there is.
    pub(crate) async fn cut(&self) {
        {
            let mut connections = self.connections.lock().unwrap();
            connections.cancel();
            *connections = CancellationToken::new();
        }
        while self.open.load(Ordering::Relaxed) > 0 {
            tokio::task::yield_now().await;
        }
    }
}
