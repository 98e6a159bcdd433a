//! `zoobridge server`: a ZooKeeper server.

use std::path::PathBuf;

use anyhow::{Context, bail};
use zab::{Server, ServerConfig};

use crate::http::HttpServer;
use crate::metrics::ServerSubject;

/// What was typed.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Apache's zoo.cfg.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A key of zoo.cfg, over what the file says. May be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
}

/// Serves until asked to stop, or until the log cannot be written.
pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let config = ServerConfig::load(args.config.as_deref(), &args.overrides)?;
    let metrics = config.metrics_address;
    let server = Server::start(config).await?;
    let _http = match metrics {
        Some(address) => {
            let subject = ServerSubject::new(server.reporter());
            Some(HttpServer::start(address, subject).await.context("metricsProvider.httpPort")?)
        }
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
