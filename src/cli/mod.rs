//! The command line: what was typed, and which command that is. Each command has its file.

mod bench;
mod config;
mod demo;
mod operator;
mod run;
mod server;

use std::path::PathBuf;
use std::process::ExitCode;

use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};
use kube::Client;

use crate::observe::watch::WATCH_SECONDS;
use crate::telemetry::{self, LogFormat};

/// Where the bridge's configuration is.
#[derive(Debug, clap::Args)]
struct ConfigFile {
    /// The configuration.
    #[arg(
        long,
        value_name = "FILE",
        env = "ZOOBRIDGE_CONFIG",
        default_value = "/etc/zoobridge/zoobridge.yaml"
    )]
    config: PathBuf,
}

/// A two-way service-discovery bridge between Kubernetes and ZooKeeper.
#[derive(Debug, Parser)]
#[command(name = "zoobridge", version, about)]
pub struct Cli {
    /// Which log lines to show, as `level` or `target=level,…`.
    /// Default: `info`, and `warn` for the demo and benchmarks.
    #[arg(long, env = "ZOOBRIDGE_LOG", global = true)]
    log: Option<String>,
    /// How log lines look.
    #[arg(long, env = "ZOOBRIDGE_LOG_FORMAT", value_enum, default_value = "human", global = true)]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measures.
    Bench(bench::Args),
    /// Checks a configuration.
    Config(config::Args),
    /// Shows everything in one process, with neither cluster nor ZooKeeper.
    Demo(demo::Args),
    /// Tells what the bridge would write now. Exit code 3 if there is something.
    Diff(operator::SomeArgs),
    /// Tells why each endpoint of a Service is published, or is not, and which rule grants it.
    Explain(operator::OneArgs),
    /// Removes what a bridge that is gone has left in ZooKeeper. Without --yes it tells what that is.
    Gc(operator::GcArgs),
    /// Tells which znodes of a Service were written when, by whom and why.
    History(operator::OneArgs),
    /// Tells what should be in ZooKeeper.
    Plan(operator::SomeArgs),
    /// Bridges Kubernetes and ZooKeeper.
    Run(run::Args),
    /// Serves ZooKeeper clients.
    Server(server::Args),
    /// Tells who leads, with which sessions, and how far it is.
    Status(operator::Common),
    /// Removes all that a stopped bridge has on both sides, its sessions first. Without --yes it tells what that is.
    Uninstall(operator::UninstallArgs),
    /// Compares what a consumer sees with what is ready. Exit code 3 if that differs.
    Verify(operator::VerifyArgs),
}

impl Cli {
    /// Runs the command to its end. Exit codes: 0 success, 1 failure, 2 a command line that makes no sense, or a
    /// configuration to check that cannot be read, 3 the difference that was asked for.
    #[must_use]
    pub fn run(self) -> ExitCode {
        if let Command::Config(args) = &self.command {
            return match config::run(args) {
                Ok(config::Verdict::Good) => ExitCode::SUCCESS,
                Ok(config::Verdict::Unreadable) => ExitCode::from(2),
                Ok(config::Verdict::Bad) | Err(_) => ExitCode::FAILURE,
            };
        }
        match self.try_run() {
            Ok(code) => code,
            Err(error) => {
                eprintln!("zoobridge: {error:#}");
                ExitCode::FAILURE
            }
        }
    }

    fn try_run(self) -> anyhow::Result<ExitCode> {
        // What their clients tell is told again by whoever asked them.
        let default = match self.command {
            Command::Run(_) | Command::Server(_) => "info,tokio_zookeeper=off,kube_runtime::watcher=off",
            _ => "warn,tokio_zookeeper=off,kube_runtime::watcher=off",
        };
        telemetry::start(self.log.as_deref().unwrap_or(default), self.log_format)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(async {
            match self.command {
                Command::Bench(args) => bench::run(args).await?,
                // Answered already.
                Command::Config(_) => {}
                Command::Demo(args) => demo::run(args).await?,
                Command::Diff(args) => return operator::diff(args).await,
                Command::Explain(args) => return operator::explain(args).await,
                Command::Gc(args) => return operator::gc(args).await,
                Command::History(args) => return operator::history(args).await,
                Command::Plan(args) => return operator::plan(args).await,
                Command::Run(args) => run::run(args).await?,
                Command::Server(args) => server::run(args).await?,
                Command::Status(args) => return operator::status(args).await,
                Command::Uninstall(args) => return operator::uninstall(args).await,
                Command::Verify(args) => return operator::verify(args).await,
            }
            Ok(ExitCode::SUCCESS)
        })
    }
}

/// Completes when the process is asked to end: SIGTERM or Ctrl-C.
///
/// # Errors
/// Signals cannot be listened to.
pub async fn asked_to_stop() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// A client of the cluster that this process is in or has a kubeconfig of, and the namespace that it is in.
async fn kubernetes() -> anyhow::Result<(Client, String)> {
    let mut kube = kube::Config::infer().await.context(
        "no way to reach a Kubernetes API: neither in a cluster, nor is there a kubeconfig (KUBECONFIG)",
    )?;
    // A watch is silent for long; a connection that is silent for longer is broken.
    kube.read_timeout = Some(Duration::from_secs(u64::from(WATCH_SECONDS) + 10));
    tracing::info!(api = %kube.cluster_url, "the Kubernetes API");
    let namespace = kube.default_namespace.clone();
    let client = Client::try_from(kube).context("the Kubernetes configuration makes no sense")?;
    Ok((client, namespace))
}

/// A time as it is typed: `20s`.
fn time(text: &str) -> Result<Duration, String> {
    let duration: jiff::SignedDuration = text.parse().map_err(|error: jiff::Error| error.to_string())?;
    Duration::try_from(duration).map_err(|error| error.to_string())
}
