//! `zoobridge bench`: figures of the bridge on the machine at hand.

mod latency;
mod visibility;

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
}

/// Measures, and prints.
pub(super) async fn run(Args { what }: Args) -> anyhow::Result<()> {
    match what {
        What::Visibility(args) => visibility::run(args).await,
    }
}
