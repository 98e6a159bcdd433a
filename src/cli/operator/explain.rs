//! `zoobridge explain`: why each endpoint of a Service is published, or is not.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::bail;
use jiff::Timestamp;
use serde::Serialize;

use super::plan::Refused;
use super::sight::Sight;
use super::table::table;
use super::{OneArgs, Told};
use crate::cli::kubernetes;
use crate::config::Config;
use crate::model::{ServiceKey, ZnodePath};
use crate::plan::Fate;
use crate::session::stranger;

#[derive(Serialize)]
struct Explanation {
    service: String,
    publications: Vec<Publication>,
    refusals: Vec<Refused>,
}

#[derive(Serialize)]
struct Publication {
    format: String,
    /// `null` if it has no name.
    view: Option<String>,
    name: String,
    directory: Option<String>,
    /// Where the rule is in the configuration.
    rule: Option<String>,
    endpoints: Vec<Endpoint>,
}

#[derive(Serialize)]
struct Endpoint {
    address: String,
    published: bool,
    because: String,
    znode: Option<String>,
}

pub(in crate::cli) async fn run(args: OneArgs) -> anyhow::Result<ExitCode> {
    let meant = args.common.load()?;
    let (client, namespace) = kubernetes().await?;
    let of = async |config: &Config| {
        let sight = Sight::read(config, &client, &namespace).await?;
        explain(&args.service, &sight)
    };
    args.common.each(&meant, of, human).await
}

fn explain(key: &ServiceKey, sight: &Sight) -> anyhow::Result<Told<Explanation>> {
    let Some(explained) = sight.rehearsal.explain(&sight.store, key) else {
        bail!("there is no Service {key}");
    };
    let publications = explained.into_iter().map(|explained| Publication {
        format: explained.viewed.format.to_string(),
        view: explained.viewed.view.name().map(str::to_owned),
        name: explained.name,
        directory: explained.directory.map(|directory| directory.to_string()),
        rule: explained.rule.map(|index| format!("rules[{index}]")),
        endpoints: explained
            .endpoints
            .into_iter()
            .flat_map(|(ip, fate)| {
                let ip = ip.to_string();
                let said = match fate {
                    Fate::Not(reason) => vec![(false, reason.to_string(), None)],
                    Fate::Theirs(paths) => paths.into_iter().map(itself).collect(),
                    Fate::Published(paths) => paths.into_iter().map(|path| there(sight, path)).collect(),
                };
                said.into_iter().map(move |(published, because, znode)| Endpoint {
                    address: ip.clone(),
                    published,
                    because,
                    znode,
                })
            })
            .collect(),
    });
    let refusals = sight.rehearsed.refusals.get(key);
    let refusals = refusals.into_iter().flatten().map(Refused::from).collect();
    let explanation =
        Explanation { service: key.to_string(), publications: publications.collect(), refusals };
    Ok(explanation.into())
}

/// What is at the path where a ready endpoint should be.
fn there(sight: &Sight, path: ZnodePath) -> (bool, String, Option<String>) {
    let said = match sight.tree.znodes.get(&path) {
        None => (false, "it is ready, and not written yet".to_owned()),
        Some(znode) if sight.ours.contains(&znode.stat.ephemeral_owner) => {
            let since = Timestamp::from_millisecond(znode.stat.ctime).unwrap_or_default();
            (true, format!("it is ready; written {since}, zxid {}", znode.stat.czxid))
        }
        Some(znode) => (false, format!("it is ready, but the znode is {}", stranger(&znode.stat))),
    };
    (said.0, said.1, Some(path.to_string()))
}

/// An endpoint for which others stand at this path.
fn itself(path: ZnodePath) -> (bool, String, Option<String>) {
    (
        false,
        format!("it registers itself, as {}", crate::format::shortened(path.name())),
        Some(path.to_string()),
    )
}

fn human(Explanation { service, publications, refusals }: &Explanation) -> std::io::Result<()> {
    let mut out = std::io::stdout();
    if publications.is_empty() && refusals.is_empty() {
        writeln!(out, "{service} asks for nothing, and no rule publishes it unasked")?;
    }
    for Publication { format, view, name, directory, rule, endpoints } in publications {
        let directory = directory.as_deref().unwrap_or("no directory: the format has no root");
        let rule = rule.as_deref().unwrap_or("no rule");
        let view = view.as_ref().map(|view| format!(" in view {view:?}")).unwrap_or_default();
        writeln!(out, "{format} {name:?}{view}: granted by {rule}, in {directory}")?;
        let yes = |published| if published { "yes" } else { "no" }.to_owned();
        let rows: Vec<_> = endpoints
            .iter()
            .map(|e| [format!("  {}", e.address), yes(e.published), e.because.clone()])
            .collect();
        table(["  ADDRESS", "PUBLISHED", "BECAUSE"], &rows)?;
    }
    for Refused { reason, message } in refusals {
        writeln!(out, "refused ({reason}): {message}")?;
    }
    Ok(())
}
