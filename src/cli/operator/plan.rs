//! `zoobridge plan`: what should be in ZooKeeper.

use std::process::ExitCode;
use std::time::Duration;

use kube::Client;
use serde::Serialize;

use super::sight::services;
use super::table::table;
use super::{SomeArgs, Told};
use crate::cli::kubernetes;
use crate::config::Config;
use crate::model::{Holds, Known, ZnodePath};
use crate::plan::{Beside, Drains, Given, Refusal, desired};

#[derive(Serialize)]
struct Plan {
    services: Vec<Service>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Service {
    service: String,
    directories: Vec<String>,
    /// Other persistent znodes, with what they must say, all or among other things.
    companions: Vec<Znode>,
    znodes: Vec<Znode>,
    /// Formats whose znodes stay as they are where their addresses are ready.
    undetermined: Vec<String>,
    refusals: Vec<Refused>,
}

#[derive(Serialize)]
struct Znode {
    path: String,
    data: String,
}

/// What was asked for and is not published.
#[derive(Serialize)]
pub(super) struct Refused {
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl From<&Refusal> for Refused {
    fn from(refusal: &Refusal) -> Self {
        Refused { reason: refusal.event_reason(), message: refusal.to_string() }
    }
}

/// Only Kubernetes and the configuration are asked: who has a znode or a directory now makes no difference here.
pub(in crate::cli) async fn run(args: SomeArgs) -> anyhow::Result<ExitCode> {
    let meant = args.common.load()?;
    let (client, _) = kubernetes().await?;
    args.common.each(&meant, async |config| plan(&args, config, &client).await, human).await
}

async fn plan(args: &SomeArgs, config: &Config, client: &Client) -> anyhow::Result<Told<Plan>> {
    let store = services(config, client).await?;
    let roots = config.roots()?;
    let mut keys: Vec<_> = store.keys().filter(|key| args.is_about(key)).collect();
    keys.sort();
    let mut plan = Plan { services: Vec::new() };
    for key in keys {
        let Known::Known((service, slices)) = store.get(&key) else { continue };
        let none = Drains::new();
        let given = Given {
            rules: &config.rules,
            roots: &roots,
            nodes: store.nodes(),
            draining: &none,
            now: Duration::ZERO,
            // What drains is told where it is.
            is_there: &|_| false,
            // Nor does it what others have.
            beside: &|_| Beside::nobody(),
        };
        let desired = desired(service, slices.into_iter(), &given);
        if desired.companions.is_empty() && desired.leaves.is_empty() && desired.refusals.is_empty() {
            continue;
        }
        let znode = |path: &ZnodePath, data: &[u8]| Znode {
            path: path.to_string(),
            data: String::from_utf8_lossy(data).into_owned(),
        };
        let (directories, companions): (Vec<_>, Vec<_>) =
            desired.companions.iter().partition(|companion| companion.holds == Holds::Anything);
        plan.services.push(Service {
            service: key.to_string(),
            directories: directories.into_iter().map(|directory| directory.path.to_string()).collect(),
            companions: companions.into_iter().map(|it| znode(&it.path, &it.holds.initial())).collect(),
            znodes: desired.leaves.iter().map(|(path, data)| znode(path, data)).collect(),
            undetermined: desired
                .undetermined
                .iter()
                .filter(|(_, kept)| !kept.hosts.is_empty())
                .map(|(format, _)| format.to_string())
                .collect(),
            refusals: desired.refusals.iter().map(Refused::from).collect(),
        });
    }
    Ok(plan.into())
}

fn human(Plan { services }: &Plan) -> std::io::Result<()> {
    let mut rows = Vec::new();
    for Service { service, directories, companions, znodes, undetermined, refusals } in services {
        let mut row = |what: &str, it: &str| rows.push([service.clone(), what.to_owned(), it.to_owned()]);
        directories.iter().for_each(|path| row("directory", path));
        companions.iter().for_each(|companion| row("companion", &companion.path));
        znodes.iter().for_each(|znode| row("znode", &znode.path));
        undetermined.iter().for_each(|format| row("unclear", &format!("what is there in {format} stays")));
        refusals.iter().for_each(|refused| row("refused", &refused.message));
    }
    table(["SERVICE", "WHAT", ""], &rows)
}
