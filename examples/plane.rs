//! kube-dev alone, for a bridge in a process of its own.
//!
//! ```text
//! plane DIR
//! ```
//!
//! Writes DIR/kubeconfig, prints its address, and serves until SIGTERM or SIGINT. Nothing runs on it: whoever uses it
//! writes the EndpointSlices.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, bail};
use kube_dev::{KubeDev, Options};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [directory] = arguments.as_slice() else { bail!("usage: plane DIR") };
    let plane = KubeDev::start(Options { workloads: false, ..Options::default() }).await?;
    let kubeconfig = PathBuf::from(directory).join("kubeconfig");
    std::fs::write(&kubeconfig, plane.kubeconfig()).with_context(|| kubeconfig.display().to_string())?;
    writeln!(std::io::stdout(), "http://{}", plane.address())?;
    zoobridge::cli::asked_to_stop().await?;
    plane.stop().await;
    Ok(())
}
