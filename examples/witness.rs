//! Watches one directory for as long as it runs and judges every read; see `zoobridge::eye`.
//!
//! ```text
//! KUBECONFIG=… witness 127.0.0.1:2181 default orders http curator:/services/orders
//! ```
//!
//! Ends with SIGTERM or SIGINT: prints the verdict, and exits 1 if a read missed a ready endpoint.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio_util::sync::CancellationToken;
use zoobridge::eye::{Bounds, Directory, Subject, Witness};

const BOUNDS: Bounds = Bounds { appear: Duration::from_secs(2), converge: Duration::from_secs(2) };

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [zookeeper, namespace, service, port, directory] = arguments.as_slice() else {
        bail!("usage: witness HOST:PORT NAMESPACE SERVICE PORT-NAME curator:PATH|dubbo:PATH");
    };
    let directory = match directory.split_once(':') {
        Some(("curator", path)) => Directory::Curator(path.to_owned()),
        Some(("dubbo", path)) => Directory::Dubbo(path.to_owned()),
        _ => bail!("{directory:?} is neither curator:PATH nor dubbo:PATH"),
    };
    let subject = Subject {
        namespace: namespace.clone(),
        service: service.clone(),
        port: port.clone(),
        directory: directory.clone(),
    };
    let client = kube::Client::try_default().await.context("KUBECONFIG")?;
    let zookeeper = zookeeper.parse().context("HOST:PORT")?;
    let stop = CancellationToken::new();
    let witness = Witness::start(subject, client, zookeeper, BOUNDS, &stop);
    zoobridge::cli::asked_to_stop().await?;
    stop.cancel();
    let (judge, unreadable) = witness.verdict();
    let mut out = std::io::stdout();
    let (path, reads, changes) = (directory.path(), judge.reads(), judge.changes());
    writeln!(out, "{path}: {reads} reads, {changes} changes, {} faults", judge.fault_count())?;
    for fault in judge.faults().iter().take(10) {
        writeln!(out, "  at {:.3} s: {}", fault.at.as_secs_f64(), fault.kind)?;
    }
    if let Some(error) = unreadable {
        bail!("{path} cannot be read: {error}");
    }
    if judge.fault_count() > 0 {
        bail!("{} reads of {path} were wrong", judge.fault_count());
    }
    if judge.known_since().is_none() {
        bail!("nothing was heard of the EndpointSlices of {namespace}/{service}");
    }
    if reads < 1_000 {
        bail!("only {reads} reads of {path}");
    }
    Ok(())
}
