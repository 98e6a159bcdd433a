//! `zoobridge run`: the bridge.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use kube::Client;
use tokio_util::sync::CancellationToken;
use zk_client::Auth;

use crate::apply::Bridge;
use crate::config::Config;
use crate::observe::watch::{WATCH_SECONDS, observations};
use crate::session::{CredentialStore, Leadership, Pool, PoolConfig};

/// What was typed.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The configuration.
    #[arg(
        long,
        value_name = "FILE",
        env = "ZOOBRIDGE_CONFIG",
        default_value = "/etc/zoobridge/zoobridge.yaml"
    )]
    config: PathBuf,
}

/// Bridges until asked to stop, or until another process has taken over.
pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let config = Config::load(&args.config)?;
    let mut kube = kube::Config::infer().await.context(
        "no way to reach a Kubernetes API: neither in a cluster, nor is there a kubeconfig (KUBECONFIG)",
    )?;
    // A watch is silent for long; a connection that is silent for longer is broken.
    kube.read_timeout = Some(Duration::from_secs(u64::from(WATCH_SECONDS) + 10));
    tracing::info!(api = %kube.cluster_url, zookeeper = %config.zookeeper.connect, "starting");
    let namespace = config.sessions.namespace.clone().unwrap_or_else(|| kube.default_namespace.clone());
    let client = Client::try_from(kube).context("the Kubernetes configuration makes no sense")?;
    let store = CredentialStore::secret(client.clone(), &namespace, &config.sessions.secret);
    let stop = CancellationToken::new();
    let asked = {
        let stop = stop.clone();
        tokio::spawn(async move {
            let asked = super::asked_to_stop().await;
            stop.cancel();
            asked
        })
    };
    let Some(bridge) = start(&config, client.clone(), store, &stop).await? else { return Ok(()) };
    bridge.run(observations(&client), stop.clone()).await?;
    if !stop.is_cancelled() {
        bail!("the bridge ended by itself");
    }
    asked.await??;
    Ok(())
}

/// Attaches the sessions and makes a bridge; `None` if it was stopped before it could.
pub(crate) async fn start(
    config: &Config,
    client: Client,
    store: CredentialStore,
    stop: &CancellationToken,
) -> anyhow::Result<Option<Bridge>> {
    let auth = match &config.zookeeper.digest_file {
        Some(path) => vec![digest(path)?],
        None => Vec::new(),
    };
    let pool = PoolConfig {
        connect: config.zookeeper.connect.clone(),
        session_timeout: config.zookeeper.session_timeout,
        auth,
        fence: config.fence_directory()?,
        limit: config.sessions.limit,
    };
    match Pool::start(pool, store, Leadership::Sole, stop.clone()).await {
        Ok(started) => Ok(Some(Bridge::new(config.rules.clone(), config.roots()?, client, started))),
        Err(_) if stop.is_cancelled() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The secret never becomes part of an error.
fn digest(path: &Path) -> anyhow::Result<Auth> {
    let secret = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read zookeeper.digestFile {}", path.display()))?;
    let secret = secret.trim();
    if !secret.contains(':') {
        bail!("zookeeper.digestFile {} does not hold user:password", path.display());
    }
    Ok(Auth { scheme: "digest".to_owned(), secret: secret.to_owned().into() })
}
