//! `zoobridge diff`: what the bridge would write, in its order.

use std::io::Write as _;
use std::process::ExitCode;

use serde::Serialize;

use super::plan::Refused;
use super::sight::Sight;
use super::table::table;
use super::{SomeArgs, Told};
use crate::apply::{Rehearsed, Verb, Write};
use crate::cli::kubernetes;
use crate::config::Config;

#[derive(Serialize)]
struct Diff {
    writes: Vec<Line>,
    refusals: Vec<Of>,
}

#[derive(Serialize)]
struct Line {
    /// `null` for what no Service wants any more.
    service: Option<String>,
    op: &'static str,
    path: String,
}

#[derive(Serialize)]
struct Of {
    service: String,
    #[serde(flatten)]
    refused: Refused,
}

/// Exit code 3 if there is something to write.
pub(in crate::cli) async fn run(args: SomeArgs) -> anyhow::Result<ExitCode> {
    let meant = args.common.load()?;
    let (client, namespace) = kubernetes().await?;
    let of = async |config: &Config| diff(&args, &Sight::read(config, &client, &namespace).await?.rehearsed);
    args.common.each(&meant, of, human).await
}

fn diff(args: &SomeArgs, rehearsed: &Rehearsed) -> anyhow::Result<Told<Diff>> {
    let is_wanted = |key: &Option<_>| key.as_ref().map_or(args.services.is_empty(), |key| args.is_about(key));
    let writes = rehearsed.writes.iter().filter(|(key, _)| is_wanted(key));
    let writes: Vec<_> = writes
        .map(|(key, write)| {
            let (op, path) = said(write);
            Line { service: key.as_ref().map(ToString::to_string), op, path }
        })
        .collect();
    let refusals = rehearsed.refusals.iter().filter(|(key, _)| args.is_about(key));
    let refusals = refusals.flat_map(|(key, refusals)| {
        refusals.iter().map(|refusal| Of { service: key.to_string(), refused: refusal.into() })
    });
    let diff = Diff { writes, refusals: refusals.collect() };
    Ok(Told { differs: !diff.writes.is_empty(), what: diff })
}

/// Which kind of write, and where.
pub(in crate::cli) fn said(write: &Write) -> (&'static str, String) {
    match write {
        Write::Directory(path) => ("directory", path.to_string()),
        Write::Companion(path) => ("companion", path.to_string()),
        Write::Leaf(Verb::Create, path) => ("create", path.to_string()),
        Write::Leaf(Verb::Set, path) => ("set", path.to_string()),
        Write::Leaf(Verb::Delete, path) => ("delete", path.to_string()),
    }
}

fn human(Diff { writes, refusals }: &Diff) -> std::io::Result<()> {
    let nobody = || "(nobody's)".to_owned();
    let rows: Vec<_> = writes
        .iter()
        .map(|Line { service, op, path }| {
            [service.clone().unwrap_or_else(nobody), (*op).to_owned(), path.clone()]
        })
        .collect();
    table(["SERVICE", "WRITE", "PATH"], &rows)?;
    let mut out = std::io::stdout();
    if rows.is_empty() {
        writeln!(out, "nothing to write")?;
    }
    for Of { service, refused } in refusals {
        writeln!(out, "refused {service}: {}", refused.message)?;
    }
    Ok(())
}
