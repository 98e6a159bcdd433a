//! `zoobridge run`: the bridge.

use anyhow::{Context, bail};
use kube::Client;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::ConfigFile;
use crate::apply::{Bridge, Instruments};
use crate::config::{Config, Reload};
use crate::http::HttpServer;
use crate::lease::{Election, Elector, Timing};
use crate::observe::watch::observations;
use crate::plan::Rules;
use crate::reverse::Importer;
use crate::session::{CredentialStore, Leadership, PoolConfig, PoolStart};

/// What was typed.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    file: ConfigFile,
    /// Say what would be written, now and when something changes, and write nothing on either side. Imports are
    /// left alone.
    #[arg(long)]
    dry_run: bool,
}

/// Bridges until asked to stop, or until another process has taken over.
pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let instruments = Instruments::default();
    let (config, reload) = Reload::start(&args.file.config, instruments.config.clone())?;
    let rules = reload.rules();
    let (client, namespace) = super::kubernetes(&config).await?;
    let _reload = AbortOnDropHandle::new(tokio::spawn(reload.run()));
    if args.dry_run {
        return super::operator::dry_run(&config, rules, &client, &namespace).await;
    }
    let store = credentials(&config, client.clone(), &namespace);
    let _http =
        HttpServer::start(config.http.address, instruments.subject()).await.context("http.address")?;
    let stop = CancellationToken::new();
    let asked = {
        let stop = stop.clone();
        tokio::spawn(async move {
            let asked = super::asked_to_stop().await;
            stop.cancel();
            asked
        })
    };
    if config.leader_election.enabled {
        let (mut elector, until) = elector(&config, client.clone(), &namespace);
        let leadership = Leadership::Lease(until);
        let importer = importer(&config, client.clone(), leadership.clone(), &namespace, &instruments)?;
        let bridge = bridge(&config, rules, client.clone(), store, leadership, &instruments)?;
        let renewing = CancellationToken::new();
        // In a task of its own: a busy bridge must not make it late.
        let mut electing = tokio::spawn({
            let renewing = renewing.clone();
            async move {
                let ended = elector.run(&renewing).await;
                (elector, ended)
            }
        });
        let (mut elector, ended) = tokio::select! {
            // The bridge lets go of its sessions while the Lease is still renewed.
            ended = both(bridge, importer, &client, &instruments, stop.clone()) => {
                renewing.cancel();
                ((&mut electing).await?.0, ended)
            }
            elected = &mut electing => {
                let (elector, lost) = elected?;
                (elector, lost.map_err(anyhow::Error::from))
            }
        };
        elector.release().await;
        ended?;
    } else {
        let importer = importer(&config, client.clone(), Leadership::Sole, &namespace, &instruments)?;
        let bridge = bridge(&config, rules, client.clone(), store, Leadership::Sole, &instruments)?;
        both(bridge, importer, &client, &instruments, stop.clone()).await?;
    }
    if !stop.is_cancelled() {
        bail!("the bridge ended by itself");
    }
    asked.await??;
    Ok(())
}

/// Both directions. When one ends, the other does: what one of them cannot mend a new process may.
pub(crate) async fn both(
    bridge: Bridge,
    importer: Importer,
    client: &Client,
    instruments: &Instruments,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let ending = stop.child_token();
    let pool = bridge.pool();
    let nodes = bridge.needs_nodes();
    let forward = async {
        let observe = || observations(client, &instruments.watches, nodes);
        let ended = bridge.run(observe, ending.clone()).await;
        ending.cancel();
        ended
    };
    let reverse = async {
        let ended = importer.run(pool, ending.clone()).await;
        ending.cancel();
        ended
    };
    let (forward, reverse) = tokio::join!(forward, reverse);
    forward?;
    Ok(reverse?)
}

/// A candidate for the Lease, under a name that no other process has.
fn elector(
    config: &Config,
    client: Client,
    namespace: &str,
) -> (Elector, watch::Receiver<Option<tokio::time::Instant>>) {
    let pod = std::env::var("POD_NAME").unwrap_or_else(|_| "zoobridge".to_owned());
    let timing = Timing { duration: config.lease_duration() };
    let election = Election::new(format!("{pod}_{}", Uuid::new_v4()), timing);
    let namespace = config.leader_election.namespace.as_deref().unwrap_or(namespace);
    Elector::new(client, namespace, &config.leader_election.lease, election)
}

/// A bridge as the configuration wants it, with rules that may change.
///
/// # Errors
/// The configuration makes no sense.
pub(crate) fn bridge(
    config: &Config,
    rules: watch::Receiver<Rules>,
    client: Client,
    store: CredentialStore,
    leadership: Leadership,
    instruments: &Instruments,
) -> anyhow::Result<Bridge> {
    let pool = PoolConfig {
        ensemble: config.zookeeper.ensemble()?,
        own: config.own()?,
        records: config.history.records,
        limit: config.sessions.limit,
    };
    let pool = PoolStart { config: pool, store, leadership };
    Ok(Bridge::new(rules, config.roots()?, client, pool, instruments.clone()).under(config.policy))
}

/// An importer as the configuration wants it; it may have nothing to do. `namespace` is the one that the bridge
/// runs in.
///
/// # Errors
/// The configuration makes no sense.
pub(crate) fn importer(
    config: &Config,
    client: Client,
    leadership: Leadership,
    namespace: &str,
    instruments: &Instruments,
) -> anyhow::Result<Importer> {
    let events = instruments.events(client.clone());
    let ensemble = config.zookeeper.ensemble()?;
    Ok(Importer::new(config, ensemble, client, leadership, namespace, events))
}

/// Where the sessions' credentials are kept by a bridge in this namespace.
pub(super) fn credentials(config: &Config, client: Client, namespace: &str) -> CredentialStore {
    let namespace = config.sessions.namespace.as_deref().unwrap_or(namespace);
    CredentialStore::secret(client, namespace, &config.sessions.secret)
}
