//! `zoobridge gc`: removes what a bridge that is gone has left in ZooKeeper.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use anyhow::bail;

use super::removed::Removed;
use super::sight::session;
use super::{Common, Told};
use crate::config::Config;
use crate::session::{Leftovers, Remover};

/// What was typed.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    common: Common,
    /// Whose: the `cluster` of a configuration; by default that of this one.
    #[arg(long, value_name = "CLUSTER")]
    owner: Option<String>,
    /// Do it.
    #[arg(long)]
    yes: bool,
}

/// Refuses an owner that lives: only `uninstall` can know that it is stopped.
pub(in crate::cli) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let meant = args.common.load()?;
    args.common.each(&meant, async |config| remove(&args, config).await, Removed::human).await
}

async fn remove(args: &Args, config: &Config) -> anyhow::Result<Told<Removed>> {
    let owner = args.owner.as_deref().unwrap_or(&config.cluster);
    let own = config.own_of(owner)?;
    let session = session(config).await?;
    let none = BTreeSet::new();
    let mut left = Leftovers::read(&session, &own, &none).await?;
    let mut changed = BTreeMap::new();
    alive(owner, &left)?;
    let done = args.yes && !left.is_nothing();
    if done {
        let remover = Remover::begin(&session, &own, &config.zookeeper.ensemble()?.acls).await?;
        // A bridge that began before the fence was ours has told of its sessions.
        left = Leftovers::read(&session, &own, &none).await?;
        alive(owner, &left)?;
        changed = remover.remove(&left).await?;
    }
    let _ = session.close().await;
    Ok(Removed::new(&own, &left, &changed, done).into())
}

fn alive(owner: &str, left: &Leftovers) -> anyhow::Result<()> {
    if let Some(session) = left.sessions.first() {
        bail!(
            "the bridge of {owner} has session {session}, which lives: stop it and wait for its \
             zookeeper.sessionTimeout, or `zoobridge uninstall` it where its Secret is"
        );
    }
    Ok(())
}
