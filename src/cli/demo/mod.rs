//! `zoobridge demo`: everything in one process, with a witness.

mod table;
mod workload;

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio_util::sync::CancellationToken;

use self::table::Table;
use self::workload::Workload;
use crate::config::Config;
use crate::eye::{Bounds, Directory, Reader, Subject, Witness};
use crate::http::HttpServer;
use crate::local::Local;

/// What was typed.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// End by itself after this time, as `20s`, and say whether every read was right.
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    duration: Option<Duration>,
    /// At the end delete one znode behind the bridge's back, to show that the check fails then.
    #[arg(long)]
    self_test: bool,
}

/// What the witness must see.
const BOUNDS: Bounds = Bounds { appear: Duration::from_secs(2), converge: Duration::from_secs(2) };
const MIN_READS: u64 = 1_000;
/// Before the end the workloads are left alone, so that equality can be judged.
const QUIET: Duration = Duration::from_secs(5);
const SHORTEST: Duration = Duration::from_secs(10);
const REFRESH: Duration = Duration::from_secs(1);

const CONFIG: &str = include_str!("../../../config/demo/zoobridge.yaml");
const MANIFESTS: [&str; 2] =
    [include_str!("../../../config/demo/orders.yaml"), include_str!("../../../config/demo/payments.yaml")];

fn time(text: &str) -> Result<Duration, String> {
    let duration = super::time(text)?;
    if duration < SHORTEST {
        return Err(format!("the workloads need at least {SHORTEST:?}"));
    }
    Ok(duration)
}

/// Runs the demo until it is asked to stop, or its time is over.
pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let dir = tempfile::tempdir().context("a temporary directory for the server")?;
    let options = kube_dev::Options { pod_start: Duration::from_millis(500), ..kube_dev::Options::default() };
    let local = Local::start(dir.path(), options, Config::parse(CONFIG)?).await?;
    let kubeconfig = dir.path().join("kubeconfig");
    std::fs::write(&kubeconfig, local.kube.kubeconfig())?;
    for manifest in MANIFESTS {
        local.kube.apply_manifests(manifest).context("config/demo")?;
    }
    let http = HttpServer::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), local.subject()).await?;
    let mut out = std::io::stdout();
    writeln!(out, "ZooKeeper    {}", local.zookeeper())?;
    writeln!(out, "Kubernetes   export KUBECONFIG={}", kubeconfig.display())?;
    writeln!(out, "Metrics      http://{}/metrics", http.address())?;
    writeln!(out)?;

    let eye = CancellationToken::new();
    let witnesses: Vec<_> = subjects()
        .into_iter()
        .map(|subject| Witness::start(subject, local.client.clone(), local.zookeeper(), BOUNDS, &eye))
        .collect();
    let workload = CancellationToken::new();
    let working =
        tokio::spawn(workload.clone().run_until_cancelled_owned(Workload::new(local.client.clone()).run()));
    let started = Instant::now();
    let mut table = Table::new(out.is_terminal());
    let mut asked = std::pin::pin!(super::asked_to_stop());
    let mut quiet_since = Instant::now();
    let mut before = ready_sets(&witnesses);
    let asked = loop {
        tokio::select! {
            stopped = &mut asked => { stopped?; break true }
            () = tokio::time::sleep(REFRESH) => {}
        }
        let elapsed = started.elapsed();
        table.show(elapsed, &witnesses, local.bridge.status())?;
        let now = ready_sets(&witnesses);
        if now != before || !workload.is_cancelled() {
            (before, quiet_since) = (now, Instant::now());
        }
        let Some(duration) = args.duration else { continue };
        if elapsed + QUIET >= duration {
            workload.cancel();
        }
        if elapsed >= duration && quiet_since.elapsed() > BOUNDS.converge {
            break false;
        }
    };
    workload.cancel();
    working.await?;
    if args.self_test && !asked {
        delete_one(&local, &witnesses).await?;
    }
    eye.cancel();
    let verdict = verdict(witnesses, started.elapsed());
    local.stop().await?;
    match verdict {
        Err(error) if !asked => Err(error),
        Err(error) => {
            writeln!(std::io::stdout(), "{error:#}")?;
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

fn subjects() -> Vec<Subject> {
    let subject = |service: &str, port: &str, directory| Subject {
        namespace: "default".to_owned(),
        service: service.to_owned(),
        port: port.to_owned(),
        directory,
    };
    vec![
        subject("orders", "http", Directory::Curator("/services/orders".to_owned())),
        subject("orders", "dubbo", Directory::Dubbo("/dubbo/com.acme.OrderService/providers".to_owned())),
        subject("payments", "", Directory::Curator("/services/payments".to_owned())),
    ]
}

fn ready_sets(witnesses: &[Witness]) -> Vec<BTreeSet<String>> {
    witnesses.iter().map(|witness| witness.now().0).collect()
}

/// Deletes a Dubbo provider and reads in the same breath. The bridge repairs it within milliseconds; the
/// read is queued right behind the delete, so it cannot miss the gap.
async fn delete_one(local: &Local, witnesses: &[Witness]) -> anyhow::Result<()> {
    let witness = witnesses.iter().find(|witness| matches!(witness.subject().directory, Directory::Dubbo(_)));
    let witness = witness.context("no Dubbo directory is watched")?;
    let began = Instant::now();
    let mut reader = Reader::new(local.zookeeper());
    let (deleted, seen) = reader.delete_one_and_read(&witness.subject().directory).await?;
    writeln!(std::io::stdout(), "self-test: deleted {deleted} behind the bridge's back")?;
    witness.add(began, seen);
    Ok(())
}

/// Were all reads right, and were there enough?
fn verdict(witnesses: Vec<Witness>, elapsed: Duration) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    let (mut reads, mut faults) = (0, 0);
    for witness in witnesses {
        let path = witness.subject().directory.path().to_owned();
        let (judge, unreadable) = witness.verdict();
        writeln!(
            out,
            "{path}: {} reads, {} changes, {} faults",
            judge.reads(),
            judge.changes(),
            judge.fault_count()
        )?;
        for fault in judge.faults().iter().take(5) {
            writeln!(out, "  at {:.3} s: {}", fault.at.as_secs_f64(), fault.kind)?;
        }
        if let Some(error) = unreadable {
            bail!("{path} cannot be read: {error}");
        }
        reads += judge.reads();
        faults += judge.fault_count();
    }
    writeln!(out, "{reads} reads in {:.0} s", elapsed.as_secs_f64())?;
    if faults > 0 {
        bail!(
            "{faults} reads were wrong: a consumer would have missed a ready endpoint, or seen one that is gone"
        );
    }
    if reads < MIN_READS {
        bail!("only {reads} reads; {MIN_READS} are needed for a verdict");
    }
    writeln!(out, "every read had every endpoint that was ready, and equality within 2 s of each change")?;
    Ok(())
}
