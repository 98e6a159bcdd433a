//! A server to talk to, and a znode of the test's own in it.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use zab::{Server, ServerConfig};
use zk_wire::codes::CreateMode;

use crate::wire::{Client, create};

/// Ours in a temporary directory, or the one that the environment names.
pub(crate) struct Place {
    pub(crate) address: SocketAddr,
    pub(crate) root: String,
    server: Option<Server>,
    dir: tempfile::TempDir,
    config: ServerConfig,
}

impl Place {
    /// Whichever server the tests run against.
    pub(crate) async fn new(test: &str) -> Place {
        Place::with(test, |_| {}).await
    }

    /// Likewise; another than ours has been given what `configure` gives ours (`tests/interop/differential`).
    pub(crate) async fn with(test: &str, configure: impl FnOnce(&mut ServerConfig)) -> Place {
        match std::env::var("ZOOBRIDGE_TEST_ZOOKEEPER") {
            Ok(other) => {
                let dir = tempfile::tempdir().unwrap();
                let config = ServerConfig::local(dir.path().to_owned());
                let place = Place {
                    address: other.parse().unwrap(),
                    root: format!("/{test}-{}", std::process::id()),
                    server: None,
                    dir,
                    config,
                };
                place.with_root().await
            }
            Err(_) => Place::ours(test, configure).await,
        }
    }

    /// Our server with settings of the test's own.
    pub(crate) async fn ours(test: &str, configure: impl FnOnce(&mut ServerConfig)) -> Place {
        let dir = tempfile::tempdir().unwrap();
        let mut config = ServerConfig::local(dir.path().to_owned());
        config.pre_alloc_bytes = 64 << 10;
        configure(&mut config);
        let server = Server::start(config.clone()).await.unwrap();
        let place = Place {
            address: server.client_address(),
            root: format!("/{test}"),
            server: Some(server),
            dir,
            config,
        };
        place.with_root().await
    }

    async fn with_root(self) -> Place {
        let mut client = self.client().await;
        client.call(create(&self.root, b"", CreateMode::Persistent)).await.unwrap();
        client.close().await;
        self
    }

    /// Is it ours, and not the one that the environment names?
    pub(crate) fn is_ours(&self) -> bool {
        self.server.is_some()
    }

    /// The path of a znode below the test's own.
    pub(crate) fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.root)
    }

    /// A connection with a new session.
    pub(crate) async fn client(&self) -> Client {
        Client::with_session(self.address, 10_000).await
    }

    /// Stops the server in order.
    pub(crate) async fn stop(&mut self) {
        self.server.take().unwrap().stop().await.unwrap();
    }

    /// Stops the server in order, and starts it again on the same directory.
    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        self.start().await;
    }

    /// Lets go of the server as the end of its process would, and starts another one on the same directory.
    pub(crate) async fn drop_and_start(&mut self) {
        drop(self.server.take());
        self.start().await;
    }

    /// Changes settings; they count from the next start on.
    pub(crate) fn configure(&mut self, configure: impl FnOnce(&mut ServerConfig)) {
        configure(&mut self.config);
    }

    /// The directory of the server.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Starts the server on its directory. One that was dropped lets go of the lock when its log thread ends,
    /// so this may take several attempts.
    pub(crate) async fn start(&mut self) {
        for _ in 0..500 {
            match Server::start(self.config.clone()).await {
                Ok(server) => {
                    self.address = server.client_address();
                    self.server = Some(server);
                    return;
                }
                Err(zab::StartError::Storage { source, .. })
                    if matches!(*source, zab::storage::StorageError::Locked { .. }) =>
                {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                Err(error) => panic!("{error:?}"),
            }
        }
        panic!("the directory {} stays locked", self.dir.path().display());
    }
}

/// Sessions of this test may be as short as a tick of 20 ms allows.
pub(crate) fn short_ticks(config: &mut ServerConfig) {
    config.tick_time = Duration::from_millis(20);
    config.min_session_timeout_ms = 40;
    config.max_session_timeout_ms = 60_000;
}
