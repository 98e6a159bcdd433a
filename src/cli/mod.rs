//! The command line: what was typed, and which command that is. Each command has its file.

mod bench;
mod config;
mod demo;
mod run;
mod server;

use std::process::ExitCode;

pub(crate) use run::{both, bridge, importer};

use clap::{Parser, Subcommand};

use crate::telemetry::{self, LogFormat};

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
    /// Bridges Kubernetes and ZooKeeper.
    Run(run::Args),
    /// Serves ZooKeeper clients.
    Server(server::Args),
}

impl Cli {
    /// Runs the command to its end. Exit codes: 0 success, 1 failure, 2 a command line that makes no sense, or a
    /// configuration to check that cannot be read.
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
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("zoobridge: {error:#}");
                ExitCode::FAILURE
            }
        }
    }

    fn try_run(self) -> anyhow::Result<()> {
        // What their clients tell is told again by whoever asked them.
        let default = match self.command {
            Command::Bench(_) | Command::Demo(_) => "warn,tokio_zookeeper=off,kube_runtime::watcher=off",
            Command::Config(_) | Command::Run(_) | Command::Server(_) => {
                "info,tokio_zookeeper=off,kube_runtime::watcher=off"
            }
        };
        telemetry::start(self.log.as_deref().unwrap_or(default), self.log_format)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(async {
            match self.command {
                Command::Bench(args) => bench::run(args).await,
                Command::Demo(args) => demo::run(args).await,
                // Answered already.
                Command::Config(_) => Ok(()),
                Command::Run(args) => run::run(args).await,
                Command::Server(args) => server::run(args).await,
            }
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
