//! Both sides as they are now.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use futures::StreamExt;
use kube::Client;
use zk_client::{AttachError, Opening, Options, Permit, Session};
use zk_wire::ids::SessionId;

use crate::apply::{Rehearsal, Rehearsed};
use crate::cli::run::credentials;
use crate::config::Config;
use crate::model::AddressKind;
use crate::observe::watch::observations;
use crate::observe::{Store, WatchMetrics};
use crate::session::{AttemptError, Tree};

/// What is in Kubernetes and in ZooKeeper, and what the bridge would do about it.
pub(super) struct Sight {
    pub(super) store: Store,
    pub(super) tree: Tree,
    /// The sessions of the bridge's Secret.
    pub(super) ours: BTreeSet<SessionId>,
    pub(super) rehearsal: Rehearsal,
    pub(super) rehearsed: Rehearsed,
}

const LIST_TIMEOUT: Duration = Duration::from_secs(60);
/// Servers that are tried.
const ATTEMPTS: usize = 5;

impl Sight {
    /// Reads both sides and rehearses.
    pub(super) async fn read(config: &Config, client: &Client, namespace: &str) -> anyhow::Result<Sight> {
        let (store, there) = tokio::try_join!(services(config, client), there(config, client, namespace))?;
        let (tree, ours) = there;
        let (rules, roots) = (config.rules.clone(), config.roots()?);
        let mut rehearsal = Rehearsal::new(rules, roots, tree.clone(), ours.clone()).under(config.policy);
        let rehearsed = rehearsal.settle(&store).await;
        Ok(Sight { store, tree, ours, rehearsal, rehearsed })
    }
}

/// Services and slices as of one list of each.
pub(super) async fn services(config: &Config, client: &Client) -> anyhow::Result<Store> {
    let nodes = config.rules.grant_any(AddressKind::Node);
    let mut store = if nodes { Store::with_nodes() } else { Store::default() };
    let metrics = WatchMetrics::default();
    let mut observations = std::pin::pin!(observations(client, &metrics, nodes));
    let listing = async {
        while !store.is_synced() {
            let Some(observation) = observations.next().await else {
                bail!("the watches of the API server ended")
            };
            store.observe(observation);
        }
        Ok(())
    };
    tokio::time::timeout(LIST_TIMEOUT, listing).await.map_err(|_| {
        anyhow!("Services and EndpointSlices cannot be listed; it was tried for {LIST_TIMEOUT:?}")
    })??;
    Ok(store)
}

/// What is below the roots, and which sessions are the bridge's.
pub(super) async fn there(
    config: &Config,
    client: &Client,
    namespace: &str,
) -> anyhow::Result<(Tree, BTreeSet<SessionId>)> {
    let kept = credentials(config, client.clone(), namespace).load().await?;
    let ours = kept.into_iter().map(|credentials| credentials.id).collect();
    let session = session(config).await?;
    let tree =
        Tree::read(&session, config.roots()?.0.into_values()).await.context("cannot read ZooKeeper")?;
    // It holds nothing. If this is lost, it expires.
    let _ = session.close().await;
    for path in &tree.unreadable {
        tracing::warn!(%path, "its children may not be listed with this identity; they are taken to be absent");
    }
    Ok((tree, ours))
}

/// A session of its own, with the bridge's identities.
pub(super) async fn session(config: &Config) -> anyhow::Result<Session> {
    let opening = config.zookeeper.ensemble()?.new_session();
    attached(config, opening).await?.context("a new session has expired before it was there")
}

/// A session with the bridge's identities; `None` if it has expired.
pub(super) async fn attached(config: &Config, opening: Opening) -> anyhow::Result<Option<Session>> {
    let ensemble = config.zookeeper.ensemble()?;
    let mut connector = ensemble.connector(0);
    let mut last = None;
    for _ in 0..ATTEMPTS {
        let permit = std::future::ready(Permit::grant());
        let attached = ensemble.attach(&mut connector, permit, opening.clone(), Options::default());
        match attached.await {
            Ok((session, mut events)) => {
                // Nothing is watched; what comes is let through.
                tokio::spawn(async move { while events.recv().await.is_some() {} });
                return Ok(Some(session));
            }
            Err(AttemptError::Attach(AttachError::Expired(_))) => return Ok(None),
            Err(error) => last = Some(error),
        }
    }
    let connect = &config.zookeeper.connect;
    Err(last.map_or_else(|| anyhow!("no attempt was made"), anyhow::Error::from))
        .context(format!("cannot reach ZooKeeper at {connect}"))
}
