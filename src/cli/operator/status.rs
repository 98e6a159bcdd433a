//! `zoobridge status`: who leads, with which sessions, and how far it is.

use std::process::ExitCode;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client};
use serde::Serialize;
use zk_wire::ids::SessionId;

use super::sight::{Sight, session};
use super::table::table;
use super::{Common, Told};
use crate::cli::kubernetes;
use crate::config::Config;
use crate::plan::{Reason, Refusal};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    cluster: String,
    leader: Leader,
    fence: Option<Fence>,
    sessions: Vec<Session>,
    /// Services with at least one znode that should be there.
    services: usize,
    /// Znodes of the bridge's sessions below the roots.
    znodes: usize,
    /// What `zoobridge diff` would tell.
    to_write: usize,
    refused_services: usize,
    /// Of those, the ones that others keep from being published or have joined.
    foreign_services: usize,
    /// Endpoints, once for each directory, that register themselves.
    self_registered: usize,
    /// Objects of Kubernetes that make no sense.
    skipped: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Leader {
    lease: String,
    /// `null` if nobody has it.
    holder: Option<String>,
    renewed: Option<String>,
    transitions: Option<i32>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Fence {
    path: String,
    zxid: String,
    since: String,
}

#[derive(Serialize)]
struct Session {
    id: String,
    znodes: usize,
}

pub(in crate::cli) async fn run(args: Common) -> anyhow::Result<ExitCode> {
    let meant = args.load()?;
    let (client, namespace) = kubernetes().await?;
    args.each(&meant, async |config| status(config, client.clone(), &namespace).await, human).await
}

async fn status(config: &Config, client: Client, namespace: &str) -> anyhow::Result<Told<Status>> {
    let sight = Sight::read(config, &client, namespace).await?;
    let election = &config.leader_election;
    let of = election.namespace.as_deref().unwrap_or(namespace);
    let lease = Api::<Lease>::namespaced(client, of).get_opt(&election.lease).await?;
    let spec = lease.and_then(|lease| lease.spec).unwrap_or_default();
    let leader = Leader {
        lease: format!("{of}/{}", election.lease),
        holder: spec.holder_identity.filter(|holder| !holder.is_empty()),
        renewed: spec.renew_time.map(|time| time.0.to_string()),
        transitions: spec.lease_transitions,
    };
    let directory = config.own()?.fence;
    let reader = session(config).await?;
    let fences = reader.children(directory.as_str()).await?.unwrap_or_default().0;
    let mut fence = None;
    if let Some(name) = fences.first() {
        let path = format!("{directory}/{name}");
        fence = reader.exists(&path).await?.map(|stat| Fence {
            path,
            zxid: stat.czxid.to_string(),
            since: Timestamp::from_millisecond(stat.ctime).unwrap_or_default().to_string(),
        });
    }
    let _ = reader.close().await;
    let held = sight.tree.ephemerals(&sight.ours);
    let of_session = |id: SessionId| held.values().filter(|owned| owned.session == id).count();
    let (mut services, mut self_registered) = (0, 0);
    for key in sight.store.keys() {
        let desired = sight.rehearsal.desired(&sight.store, &key);
        services += usize::from(!desired.leaves.is_empty());
        self_registered += desired.theirs.len();
    }
    let refused = |is: &dyn Fn(&Refusal) -> bool| {
        sight.rehearsed.refusals.values().filter(|refusals| refusals.iter().any(is)).count()
    };
    let status = Status {
        cluster: config.cluster.clone(),
        leader,
        fence,
        sessions: sight
            .ours
            .iter()
            .map(|&id| Session { id: id.to_string(), znodes: of_session(id) })
            .collect(),
        services,
        znodes: held.len(),
        to_write: sight.rehearsed.writes.len(),
        refused_services: refused(&|_| true),
        foreign_services: refused(&|refusal| {
            matches!(refusal.reason(), Reason::NameTaken | Reason::NameShared)
        }),
        self_registered,
        skipped: sight.store.skipped(),
    };
    Ok(status.into())
}

fn human(status: &Status) -> std::io::Result<()> {
    let Status { cluster, leader, fence, sessions, services, znodes, to_write, .. } = status;
    let Status { refused_services, foreign_services, self_registered, skipped, .. } = status;
    let none = || "none".to_owned();
    let fence = fence.as_ref().map(|it| format!("{}, zxid {}, since {}", it.path, it.zxid, it.since));
    let mut rows: Vec<_> = [
        ("cluster", cluster.clone()),
        ("lease", leader.lease.clone()),
        ("leader", leader.holder.clone().unwrap_or_else(none)),
        ("renewed", leader.renewed.clone().unwrap_or_else(none)),
        ("fence", fence.unwrap_or_else(none)),
        ("services", services.to_string()),
        ("znodes", znodes.to_string()),
        ("to write", to_write.to_string()),
        ("refused", format!("{refused_services} Services, {foreign_services} for instances of others")),
        ("self-registered", format!("{self_registered} endpoints")),
        ("skipped", format!("{skipped} objects")),
    ]
    .into_iter()
    .map(|(what, it)| [what.to_owned(), it])
    .collect();
    rows.extend(sessions.iter().map(|it| ["session".to_owned(), format!("{}, {} znodes", it.id, it.znodes)]));
    table(["", ""], &rows)
}
