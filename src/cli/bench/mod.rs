//! `zoobridge bench`: figures of the bridge, and of ZooKeeper servers, on the machine at hand.

mod latency;
mod visibility;
mod zk;

/// What was typed.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// From a slice's change to what a watching consumer sees.
    Visibility(visibility::Args),
    /// Loads a ZooKeeper server.
    Zk(zk::Args),
}

/// Measures, and prints.
pub(super) async fn run(Args { what }: Args) -> anyhow::Result<()> {
    match what {
        What::Visibility(args) => visibility::run(args).await,
        What::Zk(args) => tokio::task::spawn_blocking(move || zk::run(args)).await?,
    }
}
