//! What a bridge is between: our server and kube-dev, with nothing in them.

use std::net::SocketAddr;
use std::path::Path;

use kube::Client;
use kube_dev::KubeDev;
use tempfile::TempDir;
use zab::{Server, ServerConfig};
use zoobridge::local::client_of;

/// Both.
pub(crate) struct Sides {
    pub(crate) server: Server,
    pub(crate) kube: KubeDev,
    pub(crate) client: Client,
    pub(crate) dir: TempDir,
}

impl Sides {
    pub(crate) async fn new() -> Sides {
        let dir = tempfile::tempdir().unwrap();
        let config = ServerConfig::local(dir.path().to_owned());
        Sides::with(config, dir).await
    }

    /// With a server that is told more, and may find that in this directory.
    pub(crate) async fn with(config: ServerConfig, dir: TempDir) -> Sides {
        let server = Server::start(config).await.unwrap();
        let (kube, client) = kubernetes().await;
        Sides { server, kube, client, dir }
    }

    pub(crate) fn zookeeper(&self) -> SocketAddr {
        self.server.client_address()
    }

    pub(crate) async fn stop(self) {
        self.kube.stop().await;
        self.server.stop().await.unwrap();
    }
}

/// An API without workloads: slices are written by hand, so that tests decide what is ready.
pub(crate) async fn kubernetes() -> (KubeDev, Client) {
    let options = kube_dev::Options { workloads: false, ..kube_dev::Options::default() };
    let kube = KubeDev::start(options).await.unwrap();
    let client = client_of(&kube).unwrap();
    (kube, client)
}

/// A server at an address that is known before: of one that comes later, or comes back.
pub(crate) async fn server_at(client_address: SocketAddr, dir: &Path) -> Server {
    let config = ServerConfig { client_address, ..ServerConfig::local(dir.to_owned()) };
    Server::start(config).await.unwrap()
}
