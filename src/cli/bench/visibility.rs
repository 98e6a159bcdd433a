//! How long consumers wait for a change: from an EndpointSlice's event to the list of a client that watches.
//!
//! Our own server and the bridge run in this process; the API server is kube-dev, or any cluster. One slice
//! is changed again and again, as a rolling update does: one endpoint goes and another comes. Each change
//! waits until the last one is visible, so the figures are latencies without queueing.
//!
//! Two clocks start: when the change is sent to the API server, and when an independent watch of the slice
//! hears of it. The bridge hears of it at the same time, so the second is the bridge's own part.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures::StreamExt;
use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use kube_dev::KubeDev;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_zookeeper::ZooKeeper;
use uuid::Uuid;
use zab::{Server, ServerConfig};

use super::latency::Latencies;
use crate::config::Config;
use crate::local::{RunningBridge, client_of};
use crate::session::CredentialStore;

/// What was typed.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Use the cluster that the kubeconfig names, in a namespace of our own, instead of kube-dev.
    #[arg(long)]
    cluster: bool,
    /// How many changes to measure.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    changes: u32,
    /// How many endpoints the slice has all the time.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=99))]
    endpoints: u16,
    /// `history.records` of the bridge: how many records of what it wrote it keeps.
    #[arg(long, default_value_t = 4_096, value_parser = clap::value_parser!(u32).range(0..=20_000))]
    records: u32,
}

/// Changes before the first that is measured.
const WARM_UP: u32 = 20;
/// A change that takes longer is lost.
const LOST: Duration = Duration::from_secs(30);
const SERVICE: &str = "visibility";
const PORT: u16 = 8080;

/// Measures, prints the quantiles, and removes what it made.
pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let dir = tempfile::tempdir().context("a temporary directory for the server")?;
    let server = Server::start(ServerConfig::local(dir.path().to_owned())).await?;
    let (kube, client) = match args.cluster {
        true => (None, cluster().await?),
        false => {
            let options = kube_dev::Options { workloads: false, ..kube_dev::Options::default() };
            let kube = KubeDev::start(options).await?;
            let client = client_of(&kube)?;
            (Some(kube), client)
        }
    };
    let namespace = format!("zoobridge-bench-{}", Uuid::new_v4());
    let measured = measure(&args, &server, &client, &namespace).await;
    let namespaces: Api<Namespace> = Api::all(client);
    namespaces.delete(&namespace, &DeleteParams::default()).await.context("the benchmark's namespace")?;
    if let Some(kube) = kube {
        kube.stop().await;
    }
    server.stop().await?;
    measured?.print(&args)
}

async fn cluster() -> anyhow::Result<Client> {
    let mut config = kube::Config::infer().await.context("no cluster to measure (KUBECONFIG)")?;
    config.read_timeout = None;
    Ok(Client::try_from(config)?)
}

/// The four rows of the table.
#[derive(Debug, Default)]
struct Measured {
    ready_since_event: Latencies,
    gone_since_event: Latencies,
    ready_since_sent: Latencies,
    gone_since_sent: Latencies,
}

/// What somebody saw, and when.
#[derive(Debug)]
struct Sight {
    at: Instant,
    addresses: BTreeSet<String>,
}

/// One change: this address comes and that one goes.
struct Change {
    comes: String,
    goes: String,
}

impl Change {
    /// Is the change in there, as a whole or only the half that comes first?
    fn has_come(&self, addresses: &BTreeSet<String>) -> bool {
        addresses.contains(&self.comes)
    }

    fn is_over(&self, addresses: &BTreeSet<String>) -> bool {
        self.has_come(addresses) && !addresses.contains(&self.goes)
    }
}

async fn measure(args: &Args, server: &Server, client: &Client, namespace: &str) -> anyhow::Result<Measured> {
    let config = Config::parse(&format!(
        "{{cluster: bench, zookeeper: {{connect: '{}'}}, \
         rules: [{{namespaces: ['{namespace}'], formats: [curator], names: ['*'], addresses: [custom]}}], \
         history: {{records: {}}}}}",
        server.client_address(),
        args.records
    ))?;
    let subject = Subject { client: client.clone(), namespace: namespace.to_owned() };
    subject.create().await?;
    let steady: BTreeSet<String> = (0..args.endpoints).map(|n| format!("10.1.0.{n}")).collect();
    let mut turning = turning_address(0);
    subject.publish(steady.iter().chain([&turning])).await?;
    let bridge = RunningBridge::start(&config, client.clone(), CredentialStore::memory()).await?;
    let (mut heard, mut listed, _watching) = watch(&subject, server.client_address());
    let mut measured = Measured::default();
    let total = WARM_UP + args.changes;
    for number in 0..=total {
        let change = Change { comes: turning_address(number), goes: turning };
        turning = change.comes.clone();
        let sent = Instant::now();
        subject.publish(steady.iter().chain([&turning])).await?;
        if number == 0 {
            // Nothing changes: it only waits for everybody to be there.
            until(&mut listed, |addresses| change.has_come(addresses)).await?;
            until(&mut heard, |addresses| change.has_come(addresses)).await?;
            continue;
        }
        let came = until(&mut listed, |addresses| change.has_come(addresses)).await?;
        let went = if change.is_over(&came.addresses) {
            came.at
        } else {
            until(&mut listed, |addresses| change.is_over(addresses)).await?.at
        };
        let event = until(&mut heard, |addresses| change.is_over(addresses)).await?.at;
        if number > WARM_UP {
            measured.ready_since_sent.add(came.at - sent);
            measured.gone_since_sent.add(went - sent);
            // The consumer may be told before our watch is.
            measured.ready_since_event.add(came.at.saturating_duration_since(event));
            measured.gone_since_event.add(went.saturating_duration_since(event));
        }
    }
    bridge.stop().await?;
    Ok(measured)
}

impl Measured {
    fn print(self, args: &Args) -> anyhow::Result<()> {
        let mut out = std::io::stdout();
        let place = if args.cluster { "the cluster of the kubeconfig" } else { "kube-dev" };
        writeln!(
            out,
            "{} changes of a slice with {} endpoints on {place}, in ms",
            args.changes,
            args.endpoints + 1
        )?;
        writeln!(out, "{:<42}{:>9}{:>9}{:>9}", "", "p50", "p99", "max")?;
        for (what, latencies) in [
            ("slice event -> new endpoint listed", self.ready_since_event),
            ("slice event -> old endpoint gone", self.gone_since_event),
            ("slice written -> new endpoint listed", self.ready_since_sent),
            ("slice written -> old endpoint gone", self.gone_since_sent),
        ] {
            writeln!(out, "{what:<42}{}", latencies.quantiles())?;
        }
        Ok(())
    }
}

/// The next sight that is like this.
async fn until(
    sights: &mut mpsc::UnboundedReceiver<Sight>,
    is: impl Fn(&BTreeSet<String>) -> bool,
) -> anyhow::Result<Sight> {
    let found = tokio::time::timeout(LOST, async {
        while let Some(sight) = sights.recv().await {
            if is(&sight.addresses) {
                return Some(sight);
            }
        }
        None
    });
    match found.await {
        Ok(Some(sight)) => Ok(sight),
        Ok(None) => bail!("a watch of the benchmark ended"),
        Err(_) => bail!("a change was not visible within {LOST:?}"),
    }
}

fn turning_address(number: u32) -> String {
    format!("10.2.{}.{}", number / 250, number % 250)
}

/// The Service that is watched.
struct Subject {
    client: Client,
    namespace: String,
}

impl Subject {
    fn slices(&self) -> Api<EndpointSlice> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    async fn create(&self) -> anyhow::Result<()> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let namespace = serde_json::from_value(json!({"metadata": {"name": self.namespace}}))?;
        namespaces.create(&PostParams::default(), &namespace).await?;
        // Without a selector: its slices are ours alone.
        let service = serde_json::from_value(json!({
            "metadata": {"name": SERVICE, "annotations": {"zoobridge.io/curator": SERVICE}},
            "spec": {"ports": [{"port": PORT}]},
        }))?;
        let services: Api<Service> = Api::namespaced(self.client.clone(), &self.namespace);
        services.create(&PostParams::default(), &service).await?;
        let slice = serde_json::from_value(json!({
            "metadata": {"name": SERVICE, "labels": {"kubernetes.io/service-name": SERVICE}},
            "addressType": "IPv4",
            "ports": [{"port": PORT}],
            "endpoints": [],
        }))?;
        self.slices().create(&PostParams::default(), &slice).await?;
        Ok(())
    }

    /// Makes exactly these addresses ready.
    async fn publish(&self, addresses: impl Iterator<Item = &String>) -> anyhow::Result<()> {
        let endpoints: Vec<_> = addresses.map(|address| json!({"addresses": [address]})).collect();
        let patch = Patch::Merge(json!({"endpoints": endpoints}));
        self.slices().patch(SERVICE, &PatchParams::default(), &patch).await?;
        Ok(())
    }
}

type Sights = mpsc::UnboundedReceiver<Sight>;

/// A watch of the slice, and a consumer's watch of the directory, until the guard is dropped.
fn watch(subject: &Subject, zookeeper: SocketAddr) -> (Sights, Sights, DropGuard) {
    let stop = CancellationToken::new();
    let (heard, heard_rx) = mpsc::unbounded_channel();
    let (listed, listed_rx) = mpsc::unbounded_channel();
    tokio::spawn(stop.clone().run_until_cancelled_owned(hear(subject.slices(), heard)));
    tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
        if let Err(error) = list(zookeeper, listed).await {
            tracing::error!("the consumer's watch failed: {error:#}");
        }
    }));
    (heard_rx, listed_rx, stop.drop_guard())
}

async fn hear(api: Api<EndpointSlice>, heard: mpsc::UnboundedSender<Sight>) {
    let mut events = std::pin::pin!(watcher(api, watcher::Config::default()).default_backoff());
    while let Some(event) = events.next().await {
        let Ok(watcher::Event::Apply(slice) | watcher::Event::InitApply(slice)) = event else { continue };
        let addresses = slice.endpoints.into_iter().flat_map(|endpoint| endpoint.addresses).collect();
        if heard.send(Sight { at: Instant::now(), addresses }).is_err() {
            return;
        }
    }
}

/// Lists and leaves a one-shot watch, as legacy consumers do.
async fn list(zookeeper: SocketAddr, listed: mpsc::UnboundedSender<Sight>) -> anyhow::Result<()> {
    let (client, _events) = ZooKeeper::connect(&zookeeper).await?;
    let directory = format!("/services/{SERVICE}");
    loop {
        let Some((changed, children)) = client.with_watcher().get_children(&directory).await? else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let at = Instant::now();
        let address = |id: String| Some(id.rsplit_once(':')?.0.to_owned());
        let addresses = children.into_iter().filter_map(address).collect();
        if listed.send(Sight { at, addresses }).is_err() {
            return Ok(());
        }
        changed.await?;
    }
}
