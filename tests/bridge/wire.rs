//! A way to a server that can be cut, and can keep back what watches tell.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// A way to a server.
pub(crate) struct Wire {
    pub(crate) address: SocketAddr,
    connections: Arc<Mutex<CancellationToken>>,
    open: Arc<AtomicUsize>,
    pub(crate) cut: Arc<AtomicUsize>,
    watches: Option<Arc<Watches>>,
}

/// What becomes of what watches tell.
#[derive(Default)]
struct Watches {
    are_lost: AtomicBool,
    lost: AtomicUsize,
}

/// The xid of what a watch tells.
const NOTIFICATION: i32 = -1;

impl Wire {
    pub(crate) async fn to(server: SocketAddr) -> Wire {
        Wire::with(server, None).await
    }

    /// It can lose what watches tell. Only without TLS.
    pub(crate) async fn that_can_lose_watches(server: SocketAddr) -> Wire {
        Wire::with(server, Some(Arc::default())).await
    }

    async fn with(server: SocketAddr, watches: Option<Arc<Watches>>) -> Wire {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let wire = Wire {
            address,
            connections: Arc::default(),
            open: Arc::default(),
            cut: Arc::default(),
            watches: watches.clone(),
        };
        let (connections, open, cut) =
            (Arc::clone(&wire.connections), Arc::clone(&wire.open), Arc::clone(&wire.cut));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let lives = connections.lock().unwrap().clone();
                let (open, cut, watches) = (Arc::clone(&open), Arc::clone(&cut), watches.clone());
                tokio::spawn(async move {
                    let (mut from_server, mut to_server) =
                        TcpStream::connect(server).await.unwrap().into_split();
                    let (mut from_client, mut to_client) = client.into_split();
                    let answers = async {
                        match watches {
                            Some(watches) => watches.pass_on(from_server, to_client).await,
                            None => tokio::io::copy(&mut from_server, &mut to_client).await.map(drop),
                        }
                    };
                    open.fetch_add(1, Ordering::Relaxed);
                    tokio::select! {
                        () = lives.cancelled() => { cut.fetch_add(1, Ordering::Relaxed); }
                        _ = tokio::io::copy(&mut from_client, &mut to_server) => {}
                        _ = answers => {}
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

    /// From now on nobody hears what watches tell.
    pub(crate) fn lose_watches(&self) {
        self.watches().are_lost.store(true, Ordering::Relaxed);
    }

    /// Until so much of it was lost.
    pub(crate) async fn has_lost(&self, count: usize) {
        while self.watches().lost.load(Ordering::Relaxed) < count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn watches(&self) -> &Watches {
        self.watches.as_ref().unwrap()
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

impl Watches {
    /// One frame after the other: its length, and its xid in front.
    async fn pass_on(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> std::io::Result<()> {
        loop {
            let length = from.read_u32().await?;
            let mut frame = vec![0; usize::try_from(length).unwrap()];
            from.read_exact(&mut frame).await?;
            let told = frame.first_chunk().map(|xid| i32::from_be_bytes(*xid)) == Some(NOTIFICATION);
            if told && self.are_lost.load(Ordering::Relaxed) {
                self.lost.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            to.write_all(&[&length.to_be_bytes(), frame.as_slice()].concat()).await?;
        }
    }
}
