//! A consumer that follows a Curator directory, on either of two ZooKeeper clients in Rust.
//!
//! ```text
//! consumers zookeeper-client|tokio-zookeeper HOST:PORT /services/orders
//! ```
//!
//! Prints what the Curator consumer in Java prints of its cache: `cache A B…` whenever the set differs, `left MS A` for
//! each address that is gone from it, and `miss cache A` when one comes back after it had been away, which never
//! happens to a pod that is ready once.

use std::collections::BTreeSet;
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};

mod one_shot;
mod persistent;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [library, server, directory] = arguments.as_slice() else {
        bail!("usage: consumers zookeeper-client|tokio-zookeeper HOST:PORT DIRECTORY");
    };
    match library.as_str() {
        "zookeeper-client" => persistent::follow(server, directory, Seen::default()).await,
        "tokio-zookeeper" => one_shot::follow(server, directory, Seen::default()).await,
        other => bail!("{other:?} is neither zookeeper-client nor tokio-zookeeper"),
    }
}

/// What the consumer knows of the directory.
#[derive(Default)]
struct Seen {
    known: BTreeSet<String>,
    last: Option<BTreeSet<String>>,
}

impl Seen {
    /// Takes one read of the whole directory: the address of each of its leaves.
    fn read(&mut self, now: BTreeSet<String>) -> anyhow::Result<()> {
        if self.last.as_ref() == Some(&now) {
            return Ok(());
        }
        let mut out = std::io::stdout().lock();
        let last = self.last.take().unwrap_or_default();
        for back in now.difference(&last).filter(|address| self.known.contains(*address)) {
            writeln!(out, "miss cache {back}")?;
        }
        let at = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        for gone in last.difference(&now) {
            writeln!(out, "left {at} {gone}")?;
        }
        self.known.extend(now.iter().cloned());
        writeln!(out, "cache {}", now.iter().map(String::as_str).collect::<Vec<_>>().join(" "))?;
        self.last = Some(now);
        Ok(())
    }
}

#[derive(serde::Deserialize)]
struct Instance {
    address: String,
    port: u16,
}

/// What a leaf's data says.
fn address(data: &[u8]) -> anyhow::Result<String> {
    let Instance { address, port } =
        serde_json::from_slice(data).context("a leaf that Curator could not read")?;
    Ok(format!("{address}:{port}"))
}
