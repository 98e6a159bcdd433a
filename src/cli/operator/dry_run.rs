//! `zoobridge run --dry-run`: a bridge that goes on planning and only says what it would write.
//!
//! ZooKeeper is read once. From then on it is imagined to be as the bridge would have made it, so each write is told
//! once; what others do there meanwhile is not seen.

use anyhow::{Context, bail};
use futures::{FutureExt, StreamExt};
use kube::Client;
use tokio::sync::watch;
use tracing::{Instrument, Span};

use super::diff::said;
use super::sight::there;
use crate::apply::Rehearsal;
use crate::cli::asked_to_stop;
use crate::config::Config;
use crate::model::AddressKind;
use crate::observe::watch::observations;
use crate::observe::{Store, WatchMetrics};
use crate::plan::Rules;

/// Goes on until asked to stop. It holds no Lease, no session and no Secret; it writes no Event.
pub(in crate::cli) async fn run(
    ensembles: &[Config],
    rules: &watch::Receiver<Rules>,
    client: &Client,
    namespace: &str,
) -> anyhow::Result<()> {
    let rehearsing = ensembles.iter().map(|config| {
        let name = &config.ensemble;
        let is_alone = ensembles.len() == 1;
        let span = if is_alone { Span::none() } else { tracing::info_span!("dry run", ensemble = %name) };
        let rehearsing = rehearse(config, rules.clone(), client, namespace).instrument(span);
        rehearsing.map(move |ended| match is_alone {
            true => ended,
            false => {
                ended.with_context(|| format!("ensemble {name} (--ensemble NAME leaves the others out)"))
            }
        })
    });
    futures::future::try_join_all(rehearsing).await.map(drop)
}

async fn rehearse(
    config: &Config,
    mut rules: watch::Receiver<Rules>,
    client: &Client,
    namespace: &str,
) -> anyhow::Result<()> {
    let (tree, ours) = there(config, client, namespace).await?;
    let now = rules.borrow_and_update().of(&config.ensemble);
    let mut rehearsal = Rehearsal::new(now, config.roots()?, tree, ours).under(config.policy);
    let nodes = config.rules.grant_any(AddressKind::Node);
    let mut store = if nodes { Store::with_nodes() } else { Store::default() };
    let metrics = WatchMetrics::default();
    let mut observations = std::pin::pin!(observations(client, &metrics, nodes));
    let mut asked = std::pin::pin!(asked_to_stop());
    let mut was_synced = false;
    loop {
        tokio::select! {
            stopped = &mut asked => return stopped,
            observation = observations.next() => {
                let Some(observation) = observation else { bail!("the watches of the API server ended") };
                rehearsal.observed(store.observe(observation));
            }
            Ok(()) = rules.changed() => {
                rehearsal.rule(rules.borrow_and_update().of(&config.ensemble), &store);
            }
        }
        let rehearsed = rehearsal.settle(&store).await;
        for (service, write) in &rehearsed.writes {
            let (op, path) = said(write);
            let service = service.as_ref().map(ToString::to_string).unwrap_or_default();
            tracing::info!(service, op, path, "would write");
        }
        for (service, refusals) in &rehearsed.refusals {
            for refusal in refusals {
                tracing::info!(%service, reason = refusal.event_reason(), "would refuse: {refusal}");
            }
        }
        if store.is_synced() && !std::mem::replace(&mut was_synced, true) {
            tracing::info!(writes = rehearsed.writes.len(), "that is all there is to write now");
        }
    }
}
