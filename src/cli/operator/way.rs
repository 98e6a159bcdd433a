//! A way to ZooKeeper for a client that speaks no TLS and proves nothing: it connects here, and from here on its
//! connection is one of the bridge's kind. Others of this machine may connect here too, and are not let in: they do not
//! know for which session timeout to ask.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::session::Ensemble;

/// As long as it is there, clients can connect.
pub(super) struct Way {
    address: SocketAddr,
    asked_for: Duration,
    /// Ends with this.
    _connections: JoinSet<()>,
}

/// Connections at the same time.
const MOST: usize = 4;

impl Way {
    /// A way to an ensemble. Without `proofs` no identity is proven but that of the TLS certificate.
    pub(super) async fn to(ensemble: Ensemble, proofs: bool) -> anyhow::Result<Way> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.context("cannot listen on 127.0.0.1")?;
        let address = listener.local_addr().context("cannot listen on 127.0.0.1")?;
        let number = uuid::Uuid::new_v4().as_fields().0 >> 1;
        let asked_for = Duration::from_millis(u64::from(number.max(1)));
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let (mut connections, mut index) = (JoinSet::new(), 0);
            while let Ok((client, _)) = listener.accept().await {
                if connections.len() == MOST {
                    connections.join_next().await;
                }
                // Each begins at the next server: the one before may have failed.
                let (ensemble, mut connector) = (ensemble.clone(), ensemble.connector(index));
                index += 1;
                connections.spawn(async move {
                    let relayed = ensemble.relay(&mut connector, client, asked_for, proofs).await;
                    if let Err(error) = relayed {
                        tracing::warn!("the consumer's client got no session: {error}");
                    }
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Way { address, asked_for, _connections: accepting })
    }

    /// Where to connect to.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The session timeout that a client must ask for. It gets the bridge's.
    pub(super) fn asked_for(&self) -> Duration {
        self.asked_for
    }
}
