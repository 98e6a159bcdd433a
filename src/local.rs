//! Everything in one process: our server, kube-dev, the bridge. For the demo, the benchmark and tests.

use std::net::SocketAddr;
use std::path::Path;

use kube::Client;
use kube_dev::KubeDev;
use prometheus::proto::MetricFamily;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use zab::{Server, ServerConfig};

use crate::apply::{BridgeSubject, Instruments, Status};
use crate::config::{Config, ReloadMetrics};
use crate::ensembles::Ensembles;
use crate::http::{Reason, Subject};
use crate::metrics::ServerSubject;
use crate::plan::Rules;
use crate::reverse::ImportStatus;
use crate::session::{CredentialStore, Leadership};

/// A server and a bridge, as whoever watches over both of them sees them.
#[derive(Debug)]
pub struct LocalSubject {
    bridge: BridgeSubject,
    server: ServerSubject,
}

/// A bridge that runs in this process.
#[derive(Debug)]
pub struct RunningBridge {
    /// Of each ensemble, the first one first.
    instruments: Vec<Instruments>,
    imports: Vec<watch::Receiver<ImportStatus>>,
    rules: watch::Sender<Rules>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<anyhow::Result<()>>,
}

/// A server, an API and a bridge.
pub struct Local {
    /// The server.
    pub server: Server,
    /// The API.
    pub kube: KubeDev,
    /// A client of the API.
    pub client: Client,
    /// The bridge.
    pub bridge: RunningBridge,
}

/// The one that these bridges say that they run in.
const NAMESPACE: &str = "default";

impl RunningBridge {
    /// Starts a bridge, and waits until its sessions at the first ensemble are attached or it has ended.
    ///
    /// # Errors
    /// The configuration makes no sense, or ZooKeeper refuses.
    pub async fn start(config: &Config, client: Client, store: CredentialStore) -> anyhow::Result<Self> {
        let mut running = Self::stand_by(config, client, store, Leadership::Sole)?;
        let mut status = running.instruments[0].status();
        tokio::select! {
            _ = status.wait_for(|status| status.leading) => Ok(running),
            ended = &mut running.task => {
                ended??;
                anyhow::bail!("stopped")
            }
        }
    }

    /// Starts a bridge that publishes when `leadership` says so. `store` is that of the first ensemble; others have their
    /// Secrets.
    ///
    /// # Errors
    /// The configuration makes no sense.
    pub fn stand_by(
        config: &Config,
        client: Client,
        store: CredentialStore,
        leadership: Leadership,
    ) -> anyhow::Result<Self> {
        let stop = CancellationToken::new();
        let rules = watch::Sender::new(config.rules.clone());
        let store_of = |one: &Config| match one.ensemble == config.ensemble {
            true => store.clone(),
            false => CredentialStore::secret(client.clone(), NAMESPACE, one.sessions.secret()),
        };
        let ensembles = Ensembles::new(config, &rules.subscribe(), &client, NAMESPACE, store_of)?;
        let (instruments, imports) =
            (ensembles.instruments().cloned().collect(), ensembles.imports().collect());
        let task = tokio::spawn(ensembles.run(leadership, stop.clone()));
        Ok(RunningBridge { instruments, imports, rules, stop, task })
    }

    /// What it is doing at its first ensemble.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status_of(0)
    }

    /// What it is doing at an ensemble, by its place in the configuration.
    #[must_use]
    pub fn status_of(&self, ensemble: usize) -> Status {
        *self.instruments[ensemble].status().borrow()
    }

    /// Gives it other rules.
    pub fn rule(&self, rules: Rules) {
        self.rules.send_replace(rules);
    }

    /// For those who watch over it.
    #[must_use]
    pub fn subject(&self) -> BridgeSubject {
        BridgeSubject::new(&ReloadMetrics::default(), self.instruments.iter().cloned())
    }

    /// What its reverse direction is doing at its first ensemble.
    #[must_use]
    pub fn imports(&self) -> ImportStatus {
        self.imports_of(0)
    }

    /// What its reverse direction is doing at an ensemble, by its place in the configuration.
    #[must_use]
    pub fn imports_of(&self, ensemble: usize) -> ImportStatus {
        *self.imports[ensemble].borrow()
    }

    /// Stops it as a SIGTERM does.
    ///
    /// # Errors
    /// It had ended by itself.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.stop.cancel();
        self.task.await?
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// Why it ended.
    pub async fn ended(self) -> anyhow::Result<()> {
        self.task.await?
    }

    /// Ends it as a SIGKILL does.
    pub async fn kill(self) {
        self.task.abort();
        // Aborted, as asked for.
        let _ = self.task.await;
    }
}

impl Local {
    /// Starts a server on `dir`, an API, and a bridge between them. Of `config` everything counts but the
    /// server's address.
    ///
    /// # Errors
    /// One of them does not start.
    pub async fn start(dir: &Path, options: kube_dev::Options, mut config: Config) -> anyhow::Result<Local> {
        let server = Server::start(ServerConfig::local(dir.to_owned())).await?;
        let kube = KubeDev::start(options).await?;
        let client = client_of(&kube)?;
        config.zookeeper.connect = server.client_address().to_string().parse()?;
        let store = CredentialStore::secret(client.clone(), NAMESPACE, config.sessions.secret());
        let bridge = RunningBridge::start(&config, client.clone(), store).await?;
        Ok(Local { server, kube, client, bridge })
    }

    /// For those who watch over server and bridge.
    #[must_use]
    pub fn subject(&self) -> LocalSubject {
        LocalSubject { bridge: self.bridge.subject(), server: ServerSubject::new(self.server.reporter()) }
    }

    /// Where the server listens.
    #[must_use]
    pub fn zookeeper(&self) -> SocketAddr {
        self.server.client_address()
    }

    /// Stops everything, the bridge first.
    ///
    /// # Errors
    /// One of them had ended by itself.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.bridge.stop().await?;
        self.kube.stop().await;
        Ok(self.server.stop().await?)
    }
}

impl Subject for LocalSubject {
    async fn live(&self) -> Result<(), Reason> {
        self.server.live().await?;
        self.bridge.live().await
    }

    async fn ready(&self) -> Result<(), Reason> {
        self.server.ready().await?;
        self.bridge.ready().await
    }

    /// Both know the process, which is told once.
    async fn families(&self) -> Result<Vec<MetricFamily>, &'static str> {
        let mut families = self.bridge.families().await?;
        families.extend(self.server.families().await?);
        families.sort_by(|one, other| one.name().cmp(other.name()));
        families.dedup_by(|one, other| one.name() == other.name());
        Ok(families)
    }
}

/// A client of a kube-dev.
///
/// # Errors
/// Never in practice: the address is a valid URL.
pub fn client_of(kube: &KubeDev) -> anyhow::Result<Client> {
    let mut config = kube::Config::new(format!("http://{}", kube.address()).parse()?);
    config.default_namespace = "default".to_owned();
    config.read_timeout = None;
    Ok(Client::try_from(config)?)
}
