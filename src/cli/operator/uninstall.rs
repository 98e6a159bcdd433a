//! `zoobridge uninstall`: removes all that a bridge has, in ZooKeeper and in Kubernetes.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use anyhow::{Context, bail};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use zk_client::{Credentials, Opening, WatchSet};
use zk_wire::ids::SessionId;

use super::Common;
use super::removed::Removed;
use super::sight::{attached, session};
use crate::api_object::{delete_as_read, is_bare};
use crate::cli::kubernetes;
use crate::cli::run::credentials;
use crate::config::Config;
use crate::reverse::Imported;
use crate::session::{Leftovers, Remover};

/// What was typed.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    common: Common,
    /// Do it.
    #[arg(long)]
    yes: bool,
}

/// Refuses while somebody leads. What was removed when it fails is removed; to do it again removes the rest.
pub(in crate::cli) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let config = args.common.load()?;
    let (client, namespace) = kubernetes(&config).await?;
    let election = &config.leader_election;
    let lease_namespace = election.namespace.as_deref().unwrap_or(&namespace);
    let leases = Api::<Lease>::namespaced(client.clone(), lease_namespace);
    let lease = leases.get_opt(&election.lease).await?;
    if let Some(holder) = lease.as_ref().and_then(holder) {
        bail!("{holder} leads: scale the bridge to 0, or wait until its Lease is over");
    }
    let store = credentials(&config, client.clone(), &namespace);
    let kept = store.load().await?;
    let ids: BTreeSet<_> = kept.iter().map(|credentials| credentials.id).collect();
    let imported = Imported::find(&client, &config, &namespace).await?;

    let own = config.own()?;
    let session = session(&config).await?;
    let mut left = Leftovers::read(&session, &own, &ids).await?;
    all_known(&config, &left, &ids)?;
    let mut changed = BTreeMap::new();
    if args.yes {
        let remover = match left.is_nothing() {
            true => None,
            false => Some(Remover::begin(&session, &own, &config.zookeeper.ensemble()?.acls).await?),
        };
        for credentials in kept {
            close(&config, credentials).await?;
        }
        if let Some(remover) = remover {
            left = Leftovers::read(&session, &own, &BTreeSet::new()).await?;
            all_known(&config, &left, &BTreeSet::new())?;
            changed = remover.remove(&left).await?;
        }
        imported.delete(&client).await?;
    }
    let _ = session.close().await;

    let (mut go, mut stay) = (Vec::new(), Vec::new());
    go.extend(imported.services().map(|service| format!("Service {service}")));
    go.extend(store.remains());
    if args.yes {
        store.remove().await?;
    }
    if let Some(lease) = lease {
        let name = format!("Lease {lease_namespace}/{}", election.lease);
        if is_bare(&lease.metadata) {
            if args.yes {
                let deleted = delete_as_read(&leases, &lease.metadata).await;
                deleted.with_context(|| format!("cannot delete {name}"))?;
            }
            go.push(name);
        } else {
            stay.push((
                name,
                "it has labels, annotations or owners, which the bridge does not write".to_owned(),
            ));
        }
    }
    let removed = Removed::new(&own, &left, &changed, args.yes);
    removed.with_sessions(ids.iter().map(ToString::to_string)).with_objects(go, stay).say(&args.common)?;
    Ok(ExitCode::SUCCESS)
}

/// A session that lives and is not in the Secret is somebody's who may go on writing.
fn all_known(config: &Config, left: &Leftovers, known: &BTreeSet<SessionId>) -> anyhow::Result<()> {
    if let Some(other) = left.sessions.difference(known).next() {
        let secret = &config.sessions.secret;
        bail!("session {other} lives and the Secret {secret} does not have it: wait until it has expired");
    }
    Ok(())
}

/// Who leads, by the Lease's own words: this is no election, so the clocks must be about right.
fn holder(lease: &Lease) -> Option<String> {
    let spec = lease.spec.as_ref()?;
    let holder = spec.holder_identity.clone().filter(|holder| !holder.is_empty())?;
    let duration = SignedDuration::from_secs(spec.lease_duration_seconds.unwrap_or_default().into());
    // Others wait a fifth longer than it lasts.
    let over = spec.renew_time.as_ref().map(|renewed| renewed.0 + duration * 2);
    over.is_none_or(|over| Timestamp::now() < over).then_some(holder)
}

/// Resumes a session to close it. One that has expired is closed already.
async fn close(config: &Config, credentials: Credentials) -> anyhow::Result<()> {
    let id = credentials.id;
    match attached(config, Opening::Resume(credentials, WatchSet::default())).await? {
        Some(session) => session.close().await.with_context(|| format!("cannot close session {id}")),
        None => Ok(()),
    }
}
