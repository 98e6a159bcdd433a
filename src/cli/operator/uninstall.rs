//! `zoobridge uninstall`: removes all that a bridge has, in ZooKeeper and in Kubernetes.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use anyhow::{Context, bail};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client};
use zk_client::{Credentials, Opening, WatchSet};
use zk_wire::ids::SessionId;

use super::removed::Removed;
use super::sight::{attached, session};
use super::{Common, Told};
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
    let meant = args.common.load()?;
    let (client, namespace) = kubernetes().await?;
    let lease = LeaseThere::read(&meant[0], &client, &namespace).await?;
    let removed = Cell::new(0);
    let of = async |config: &Config| -> anyhow::Result<Told<Removed>> {
        let told = remove(&args, config, &client, &namespace).await?;
        removed.set(removed.get() + 1);
        // It is of all ensembles, and goes with the last one.
        match &lease {
            Some(lease) if args.common.ensemble.is_none() && removed.get() == meant.len() => {
                let (go, stay) = lease.remove(args.yes).await?;
                Ok(told.with_objects(go, stay).into())
            }
            _ => Ok(told.into()),
        }
    };
    args.common.each(&meant, of, Removed::human).await
}

/// What the bridge has of one ensemble.
async fn remove(args: &Args, config: &Config, client: &Client, namespace: &str) -> anyhow::Result<Removed> {
    let store = credentials(config, client.clone(), namespace);
    let kept = store.load().await?;
    let ids: BTreeSet<_> = kept.iter().map(|credentials| credentials.id).collect();
    let imported = Imported::find(client, config, namespace).await?;

    let own = config.own()?;
    let session = session(config).await?;
    let mut left = Leftovers::read(&session, &own, &ids).await?;
    all_known(config, &left, &ids)?;
    let mut changed = BTreeMap::new();
    if args.yes {
        let remover = match left.is_nothing() {
            true => None,
            false => Some(Remover::begin(&session, &own, &config.zookeeper.ensemble()?.acls).await?),
        };
        for credentials in kept {
            close(config, credentials).await?;
        }
        if let Some(remover) = remover {
            left = Leftovers::read(&session, &own, &BTreeSet::new()).await?;
            all_known(config, &left, &BTreeSet::new())?;
            changed = remover.remove(&left).await?;
        }
        imported.delete(client).await?;
    }
    let _ = session.close().await;

    let mut go: Vec<_> = imported.services().map(|service| format!("Service {service}")).collect();
    go.extend(store.remains());
    if args.yes {
        store.remove().await?;
    }
    let removed = Removed::new(&own, &left, &changed, args.yes);
    Ok(removed.with_sessions(ids.iter().map(ToString::to_string)).with_objects(go, Vec::new()))
}

/// The bridge's Lease, which nobody holds.
struct LeaseThere {
    api: Api<Lease>,
    name: String,
    lease: Lease,
}

impl LeaseThere {
    async fn read(config: &Config, client: &Client, namespace: &str) -> anyhow::Result<Option<LeaseThere>> {
        let election = &config.leader_election;
        let namespace = election.namespace.as_deref().unwrap_or(namespace);
        let api = Api::<Lease>::namespaced(client.clone(), namespace);
        let lease = api.get_opt(&election.lease).await?;
        if let Some(holder) = lease.as_ref().and_then(holder) {
            bail!("{holder} leads: scale the bridge to 0, or wait until its Lease is over");
        }
        let name = format!("Lease {namespace}/{}", election.lease);
        Ok(lease.map(|lease| LeaseThere { api, name, lease }))
    }

    /// What goes, and what stays with the reason.
    async fn remove(&self, yes: bool) -> anyhow::Result<(Vec<String>, Vec<(String, String)>)> {
        let LeaseThere { api, name, lease } = self;
        if !is_bare(&lease.metadata) {
            let why = "it has labels, annotations or owners, which the bridge does not write".to_owned();
            return Ok((Vec::new(), vec![(name.clone(), why)]));
        }
        if yes {
            let deleted = delete_as_read(api, &lease.metadata).await;
            deleted.with_context(|| format!("cannot delete {name}"))?;
        }
        Ok((vec![name.clone()], Vec::new()))
    }
}

/// A session that lives and is not in the Secret is somebody's who may go on writing.
fn all_known(config: &Config, left: &Leftovers, known: &BTreeSet<SessionId>) -> anyhow::Result<()> {
    if let Some(other) = left.sessions.difference(known).next() {
        let secret = config.sessions.secret();
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
