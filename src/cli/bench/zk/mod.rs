//! `zoobridge bench zk`: load for any ZooKeeper server, and what it does to it.
//!
//! One thread drives all connections without waiting for any of them, and speaks bare frames: what is measured
//! is the server.

mod fan_out;
mod figures;
mod load;
mod mix;
mod process;
mod sessions;
mod tenths;
mod wire;

use std::net::{SocketAddr, ToSocketAddrs};

use anyhow::Context;

use process::Used;

/// What was typed.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// A mix of requests over many connections: closed loop, or open loop at a fixed rate.
    Load(load::Args),
    /// One znode watched by many connections: from setData to the last event.
    FanOut(fan_out::Args),
    /// Sessions that come and go, each with ephemerals; or a storm of sessions that stay.
    Sessions(sessions::Args),
}

/// Which server, and how to tell.
#[derive(Debug, clap::Args)]
struct Target {
    /// The server, as host:port.
    #[arg(long, value_name = "HOST:PORT")]
    server: String,
    /// The server's process, if it runs on this machine: its CPU time and memory are printed too.
    #[arg(long)]
    pid: Option<u32>,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

impl Target {
    fn address(&self) -> anyhow::Result<SocketAddr> {
        let mut found =
            self.server.to_socket_addrs().with_context(|| format!("no address {}", self.server))?;
        found.next().with_context(|| format!("no address {}", self.server))
    }

    fn used(&self) -> anyhow::Result<Option<Used>> {
        self.pid.map(Used::by).transpose()
    }
}

/// Measures, and prints. Blocks its thread.
pub(super) fn run(Args { what }: Args) -> anyhow::Result<()> {
    match what {
        What::Load(args) => load::run(&args),
        What::FanOut(args) => fan_out::run(&args),
        What::Sessions(args) => sessions::run(&args),
    }
}
