//! `zoobridge history`: which znodes of a Service were written when, by whom and why.

use std::process::ExitCode;

use anyhow::Context;
use jiff::Timestamp;
use serde::Serialize;

use super::sight::session;
use super::table::table;
use super::{OneArgs, Told};
use crate::apply::{Record, Verb};
use crate::config::Config;
use crate::plan::Cause;
use crate::session::Subject;

#[derive(Serialize)]
struct Entry {
    time: String,
    /// Of the transaction that did all this, and created the record.
    zxid: String,
    #[serde(flatten)]
    record: Record,
}

/// Only ZooKeeper is asked: the Service may be gone.
pub(in crate::cli) async fn run(args: OneArgs) -> anyhow::Result<ExitCode> {
    let service = args.service.to_string();
    let meant = args.common.load()?;
    args.common.each(&meant, async |config| history(&service, config).await, |entries| human(entries)).await
}

async fn history(service: &str, config: &Config) -> anyhow::Result<Told<Vec<Entry>>> {
    let directory = config.own()?.history;
    let reader = session(config).await?;
    let kept = Subject::of(service).records(&reader, &directory).await;
    let kept = kept.with_context(|| format!("cannot read the records in {directory}"))?;
    let _ = reader.close().await;
    let mut history = Vec::new();
    for (data, stat) in kept {
        let Ok(record) = serde_json::from_slice::<Record>(&data) else {
            tracing::warn!(zxid = %stat.czxid, "skipping what is no record of this release");
            continue;
        };
        if record.service == service {
            let time = Timestamp::from_millisecond(stat.ctime).unwrap_or_default().to_string();
            history.push(Entry { time, zxid: stat.czxid.to_string(), record });
        }
    }
    Ok(history.into())
}

fn human(history: &[Entry]) -> std::io::Result<()> {
    let mut rows = Vec::new();
    for Entry { time, zxid, record } in history {
        for written in &record.writes {
            let because = match &written.object {
                Some(object) => {
                    let (kind, name, at) = (object.kind, &object.name, &object.resource_version);
                    format!("{} ({kind:?} {name} at {at})", because(written.cause))
                }
                None => because(written.cause).to_owned(),
            };
            let op = match written.op {
                Verb::Create => "create",
                Verb::Set => "set",
                Verb::Delete => "delete",
            };
            let znodes = format!("{}: {}", written.directory, written.znodes.join(" "));
            rows.push([time.clone(), zxid.clone(), op.to_owned(), znodes, because, record.by.clone()]);
        }
    }
    table(["TIME", "ZXID", "", "ZNODES", "BECAUSE", "BY"], &rows)
}

fn because(cause: Cause) -> &'static str {
    match cause {
        Cause::Ready => "ready",
        Cause::Repaired => "somebody else had changed or deleted it",
        Cause::SessionExpired => "the session that held it had expired",
        Cause::Changed => "the Service says it differently",
        Cause::NotReady => "not ready any more",
        Cause::Terminating => "its pod is terminating",
        Cause::NotListed => "in no EndpointSlice any more",
        Cause::NotPublished => "ready, but the Service does not publish it any more",
        Cause::RegistersItself => "it registers itself",
        Cause::Replaced => "it has another name now",
        Cause::ServiceGone => "the Service is gone",
        Cause::Orphaned => "left by an earlier leader, and wanted by no Service",
    }
}
