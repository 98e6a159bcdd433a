//! `zoobridge server`: a ZooKeeper server, and what looks at its files.

mod tool;

use std::path::PathBuf;

use anyhow::{Context, bail};
use zab::{AdminConfig, Server, ServerConfig};

use crate::admin::AdminServer;
use crate::http::HttpServer;
use crate::metrics::ServerSubject;

/// What was typed.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Apache's zoo.cfg.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A key of zoo.cfg, over what the file says. May be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Looks at data directories: dumps, verifies, backs up, restores, and answers for the past.
    Tool(tool::Args),
}

/// Serves until asked to stop, or until the log cannot be written.
pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    if let Some(Command::Tool(args)) = args.command {
        return tokio::task::spawn_blocking(move || tool::run(args)).await?;
    }
    let config = ServerConfig::load(args.config.as_deref(), &args.overrides)?;
    let (metrics, admin) = (config.metrics_address, config.admin.clone());
    let server = Server::start(config).await?;
    let _http = match metrics {
        Some(address) => {
            let subject = ServerSubject::new(server.reporter());
            Some(HttpServer::start(address, subject).await.context("metricsProvider.httpPort")?)
        }
        None => None,
    };
    let _admin = match admin {
        Some(admin) => start_admin(admin, &server).await?,
        None => None,
    };
    let asked = tokio::select! {
        asked = super::asked_to_stop() => { asked?; true }
        () = server.ended() => false,
    };
    server.stop().await?;
    if !asked {
        bail!("the server ended by itself");
    }
    Ok(())
}

/// An AdminServer that nobody asked for is one that a server can do without: several on one machine would want
/// the same port.
async fn start_admin(config: AdminConfig, server: &Server) -> anyhow::Result<Option<AdminServer>> {
    let is_asked_for = config.is_asked_for;
    match AdminServer::start(config, server.reporter()).await {
        Ok(admin) => Ok(Some(admin)),
        Err(error) if is_asked_for => Err(error.into()),
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "there is no AdminServer");
            Ok(None)
        }
    }
}
