//! `clients HOST:PORT RESTART…`: what two ZooKeeper clients in Rust can do with a server, step by step.
//!
//! `RESTART…` ends the server as a crash would and starts it again. Ends with 1 if a step failed.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, ensure};

mod complete;
mod one_shot;

/// How long a step may take before it fails. Nothing is measured by it.
const PATIENCE: Duration = Duration::from_secs(60);

/// The server, and how to restart it.
struct Server {
    address: String,
    restart: Vec<String>,
}

impl Server {
    async fn restart(&self) -> anyhow::Result<()> {
        let (program, arguments) =
            self.restart.split_first().context("a command that restarts the server")?;
        let status = tokio::process::Command::new(program).args(arguments).status().await?;
        ensure!(status.success(), "the server is back");
        Ok(())
    }
}

/// Counts the steps.
#[derive(Default)]
struct Steps {
    passed: usize,
    failed: usize,
}

impl Steps {
    async fn step(&mut self, name: &str, step: impl Future<Output = anyhow::Result<()>>) {
        let result = tokio::time::timeout(PATIENCE, step).await.context("in time").flatten();
        match result {
            Ok(()) => {
                self.passed += 1;
                println!("ok {name}");
            }
            Err(error) => {
                self.failed += 1;
                println!("FAILED {name}: {error:?}");
            }
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().context("usage: clients HOST:PORT RESTART…")?;
    let server = Server { address, restart: arguments.collect() };
    let nonce = std::time::SystemTime::UNIX_EPOCH.elapsed()?.as_nanos();
    let mut steps = Steps::default();
    complete::run(&server, &format!("/rust-{nonce}"), &mut steps).await?;
    one_shot::run(&server, &format!("/rust-tokio-{nonce}"), &mut steps).await?;
    println!("rust: {} steps passed, {} failed", steps.passed, steps.failed);
    Ok(if steps.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
