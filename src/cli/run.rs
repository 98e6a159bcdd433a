//! `zoobridge run`: the bridge.

use anyhow::{Context, bail};
use kube::Client;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::ConfigFile;
use crate::apply::BridgeSubject;
use crate::config::{Config, Reload, ReloadMetrics};
use crate::ensembles::Ensembles;
use crate::http::HttpServer;
use crate::lease::{Election, Elector, Timing};
use crate::model::EnsembleName;
use crate::session::{CredentialStore, Leadership};

/// What was typed.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    file: ConfigFile,
    /// Say what would be written, now and when something changes, and write nothing on either side. Imports are
    /// left alone.
    #[arg(long)]
    dry_run: bool,
    /// Only this ensemble, of a dry run.
    #[arg(long, value_name = "NAME", requires = "dry_run")]
    ensemble: Option<EnsembleName>,
}

/// Bridges until asked to stop, or until another process has taken over.
pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let metrics = ReloadMetrics::default();
    let (config, reload) = Reload::start(&args.file.config, metrics.clone())?;
    let rules = reload.rules();
    let (client, namespace) = super::kubernetes().await?;
    let _reload = AbortOnDropHandle::new(tokio::spawn(reload.run()));
    if args.dry_run {
        let meant = super::operator::meant(&config, args.ensemble.as_ref())?;
        return super::operator::dry_run(&meant, &rules, &client, &namespace).await;
    }
    let store = |config: &Config| credentials(config, client.clone(), &namespace);
    let ensembles = Ensembles::new(&config, &rules, &client, &namespace, store)?;
    let subject = BridgeSubject::new(&metrics, ensembles.instruments().cloned());
    let _http = HttpServer::start(config.http.address, subject).await.context("http.address")?;
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
        let renewing = CancellationToken::new();
        // In a task of its own: busy bridges must not make it late.
        let mut electing = tokio::spawn({
            let renewing = renewing.clone();
            async move {
                let ended = elector.run(&renewing).await;
                (elector, ended)
            }
        });
        let (mut elector, ended) = tokio::select! {
            // The bridges let go of their sessions while the Lease is still renewed.
            ended = ensembles.run(Leadership::Lease(until), stop.clone()) => {
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
        ensembles.run(Leadership::Sole, stop.clone()).await?;
    }
    if !stop.is_cancelled() {
        bail!("the bridge ended by itself");
    }
    asked.await??;
    Ok(())
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

/// Where the sessions of an ensemble ([`Config::each`]) are kept by a bridge in this namespace.
pub(super) fn credentials(config: &Config, client: Client, namespace: &str) -> CredentialStore {
    let namespace = config.sessions.namespace.as_deref().unwrap_or(namespace);
    CredentialStore::secret(client, namespace, config.sessions.secret())
}
