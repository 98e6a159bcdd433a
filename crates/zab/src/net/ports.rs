//! The ports of a server: bound before anything is served, then listened on.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use super::listener::{Encryption, Listener, Shared};
use super::tls::Tls;
use crate::config::ServerConfig;
use crate::start::StartError;

/// Ports that are bound.
pub struct Ports {
    sockets: Vec<(TcpListener, Encryption)>,
    tls: Option<Arc<Tls>>,
    max_per_address: usize,
    /// Where clients connect: the secure port, if it is the only one.
    pub address: SocketAddr,
    /// Where clients connect with TLS.
    pub secure_address: Option<SocketAddr>,
}

impl Ports {
    /// Binds what is configured.
    ///
    /// # Errors
    /// A port cannot be had, or keys and certificates cannot be used.
    pub async fn bind(config: &ServerConfig) -> Result<Ports, StartError> {
        let security = &config.security;
        let tls = security.tls.clone().map(Tls::new).transpose()?.map(Arc::new);
        let mut ports = Ports {
            sockets: Vec::new(),
            tls: tls.clone(),
            max_per_address: config.max_client_connections,
            address: config.client_address,
            secure_address: None,
        };
        if let Some((address, tls)) = security.secure_address.zip(tls.clone()) {
            let keys = "secureClientPort, secureClientPortAddress";
            ports.address = ports.add(address, Encryption::On(tls), keys).await?;
            ports.secure_address = Some(ports.address);
        }
        if security.plain_port {
            let encryption = match tls {
                Some(tls) if security.port_unification => Encryption::Either(tls),
                _ => Encryption::Off,
            };
            let keys = "clientPort, clientPortAddress";
            ports.address = ports.add(config.client_address, encryption, keys).await?;
        }
        Ok(ports)
    }

    async fn add(
        &mut self,
        address: SocketAddr,
        encryption: Encryption,
        keys: &'static str,
    ) -> Result<SocketAddr, StartError> {
        let failed = |source| StartError::Listen { keys, address, source };
        let socket = TcpListener::bind(address).await.map_err(failed)?;
        let bound = socket.local_addr().map_err(failed)?;
        self.sockets.push((socket, encryption));
        Ok(bound)
    }

    /// Listens, and watches the files of keys and certificates, until all stops.
    pub fn serve(self, tasks: &TaskTracker, shared: &Arc<Shared>) {
        let max_per_address = self.max_per_address;
        for (socket, encryption) in self.sockets {
            let listener = Listener { socket, max_per_address, encryption, shared: Arc::clone(shared) };
            tasks.spawn(listener.run());
        }
        if let Some(tls) = self.tls {
            let stop = shared.stop.clone();
            tasks.spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = tls.keep_fresh() => {}
                }
            });
        }
    }
}
