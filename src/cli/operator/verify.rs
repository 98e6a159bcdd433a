//! `zoobridge verify`: does a consumer see what it should? It is asked with another client than the bridge's, which
//! shares no code with it but for how it connects, and reads leaves as that format's consumers do.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use kube::Client;
use serde::Serialize;

use super::sight::Sight;
use super::table::table;
use super::way::Way;
use super::{SomeArgs, Told};
use crate::cli::kubernetes;
use crate::config::Config;
use crate::eye::{Directory, Reader};
use crate::format::Format;
use crate::model::{Companion, Holds, ServiceKey, ZnodePath};
use crate::plan::Roots;

/// What was typed.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    some: SomeArgs,
    /// Try again for so long, as `10s`, before something counts as a difference: both sides are read one after
    /// the other, and may change in between.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = crate::cli::time)]
    within: Duration,
    /// Prove nothing to ZooKeeper, but for the certificate of TLS: read what everybody may read.
    #[arg(long)]
    anonymous: bool,
}

/// One directory.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Verified {
    directory: String,
    services: Vec<String>,
    /// Ready, and seen.
    seen: usize,
    /// Ready, and not seen.
    missing: BTreeSet<String>,
    /// Seen, of the bridge, and not ready.
    stale: BTreeSet<String>,
    /// Registered by others. They are no difference.
    foreign: BTreeSet<String>,
    /// What a consumer would fail on.
    unreadable: Option<String>,
}

/// What should be seen in one directory, and who wants that.
#[derive(Default)]
struct Wanted {
    addresses: BTreeSet<String>,
    services: BTreeSet<ServiceKey>,
}

const PAUSE: Duration = Duration::from_millis(500);

impl Verified {
    fn differs(&self) -> bool {
        !self.missing.is_empty() || !self.stale.is_empty() || self.unreadable.is_some()
    }
}

/// Exit code 3 if a consumer sees something else than what is ready.
pub(in crate::cli) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let meant = args.some.common.load()?;
    let (client, namespace) = kubernetes().await?;
    let of = async |config: &Config| verify_within(&args, config, &client, &namespace).await;
    args.some.common.each(&meant, of, |verified| human(verified)).await
}

async fn verify_within(
    args: &Args,
    config: &Config,
    client: &Client,
    namespace: &str,
) -> anyhow::Result<Told<Vec<Verified>>> {
    let way = Way::to(config.zookeeper.ensemble()?, !args.anonymous).await?;
    let mut reader = Reader::new(way.address()).asking_for(way.asked_for());
    let began = Instant::now();
    let verified = loop {
        let sight = Sight::read(config, client, namespace).await?;
        let verified = verify(&args.some, config, &sight, &mut reader).await?;
        if !verified.iter().any(Verified::differs) || began.elapsed() >= args.within {
            break verified;
        }
        tokio::time::sleep(PAUSE).await;
    };
    Ok(Told { differs: verified.iter().any(Verified::differs), what: verified })
}

async fn verify(
    args: &SomeArgs,
    config: &Config,
    sight: &Sight,
    reader: &mut Reader,
) -> anyhow::Result<Vec<Verified>> {
    let roots = config.roots()?;
    let chroot = config.zookeeper.connect.chroot();
    let mut all: BTreeMap<ZnodePath, Wanted> = BTreeMap::new();
    for key in sight.store.keys() {
        let desired = sight.rehearsal.desired(&sight.store, &key);
        let is_directory = |companion: &&Companion| companion.holds == Holds::Anything;
        for Companion { path, .. } in desired.companions.iter().filter(is_directory) {
            all.entry(path.clone()).or_default().services.insert(key.clone());
        }
        for (path, data) in &desired.leaves {
            let Some(directory) = path.parent() else { continue };
            let wanted = all.entry(directory).or_default();
            wanted.services.insert(key.clone());
            wanted.addresses.extend(offered(&roots, path, data));
        }
    }
    let asked = all.into_iter().filter(|(_, wanted)| wanted.services.iter().any(|key| args.is_about(key)));
    let mut verified = Vec::new();
    for (path, Wanted { addresses, services }) in asked {
        let mut of = Verified {
            directory: path.to_string(),
            services: services.iter().map(ToString::to_string).collect(),
            ..Verified::default()
        };
        let Some(directory) =
            roots.format_of(&path).and_then(|format| consumer(format, format!("{chroot}{path}")))
        else {
            of.unreadable = Some("there is no consumer of this format in here".to_owned());
            verified.push(of);
            continue;
        };
        match reader.instances(&directory).await {
            Err(error) => of.unreadable = Some(error.to_string()),
            Ok(instances) => {
                let (ours, theirs): (Vec<_>, Vec<_>) = instances
                    .into_values()
                    .filter(|instance| instance.offered)
                    .partition(|instance| sight.ours.iter().any(|id| id.0 == instance.owner));
                let addresses_of = |instances: Vec<crate::eye::Instance>| -> BTreeSet<String> {
                    instances.into_iter().map(|instance| canonical(&instance.address)).collect()
                };
                let (ours, theirs) = (addresses_of(ours), addresses_of(theirs));
                of.seen = addresses.iter().filter(|it| ours.contains(*it) || theirs.contains(*it)).count();
                of.missing = addresses
                    .iter()
                    .filter(|it| !ours.contains(*it) && !theirs.contains(*it))
                    .cloned()
                    .collect();
                of.stale = ours.difference(&addresses).cloned().collect();
                of.foreign = theirs;
            }
        }
        verified.push(of);
    }
    Ok(verified)
}

/// The address that a leaf stands for, if it wants traffic.
fn offered(roots: &Roots, path: &ZnodePath, data: &[u8]) -> Option<String> {
    let registered = roots.registered(path, data)?;
    registered.ready.then(|| registered.host.with_port(registered.port))
}

/// Addresses have several forms in the formats.
fn canonical(address: &str) -> String {
    let parsed: Option<SocketAddr> = address.parse().ok().or_else(|| {
        let (ip, port) = address.rsplit_once(':')?;
        let ip = ip.trim_start_matches('[').trim_end_matches(']').parse().ok()?;
        Some(SocketAddr::new(ip, port.parse().ok()?))
    });
    parsed.map_or_else(|| address.to_owned(), |address| address.to_string())
}

/// Who reads it.
fn consumer(format: Format, path: String) -> Option<Directory> {
    match format {
        // Dubbo 3 has Curator list instances for it.
        Format::Curator | Format::Spring | Format::Dubbo3 => Some(Directory::Curator(path)),
        Format::Dubbo => Some(Directory::Dubbo(path)),
        Format::Serverset => Some(Directory::Serverset(path)),
        Format::Nerve => Some(Directory::Nerve(path)),
        Format::Hostport => Some(Directory::Hostport(path)),
    }
}

fn human(verified: &[Verified]) -> std::io::Result<()> {
    let list = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(" ");
    let rows: Vec<_> = verified
        .iter()
        .map(|of| {
            let mut said = Vec::new();
            for (what, which) in [("missing", &of.missing), ("stale", &of.stale), ("foreign", &of.foreign)] {
                if !which.is_empty() {
                    said.push(format!("{what}: {}", list(which)));
                }
            }
            said.extend(of.unreadable.clone());
            let verdict = if of.differs() { "DIFFERS" } else { "ok" };
            [of.directory.clone(), of.seen.to_string(), verdict.to_owned(), said.join("; ")]
        })
        .collect();
    table(["DIRECTORY", "SEEN", "", ""], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_one_form() {
        for (written, canon) in [
            ("10.0.0.1:80", "10.0.0.1:80"),
            ("fd00::1:80", "[fd00::1]:80"),
            ("[fd00::1]:80", "[fd00::1]:80"),
            ("[fd00:0::1]:80", "[fd00::1]:80"),
            ("orders.example:80", "orders.example:80"),
        ] {
            assert_eq!(canonical(written), canon);
        }
    }
}
