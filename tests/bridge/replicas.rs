//! Two replicas and one Lease.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use zk_client::Session;
use zoobridge::apply::{Bridge, Instruments};
use zoobridge::config::Config;
use zoobridge::lease::{Election, Elector, LeaseError, Timing};
use zoobridge::local::RunningBridge;
use zoobridge::observe::watch::observations;
use zoobridge::session::{CredentialStore, Leadership, PoolConfig, PoolStart};

use crate::sides::{Sides, kubernetes};
use crate::world::{DIRECTORY, config, leaves, service, session, slice, until, within};

struct Cluster {
    sides: Sides,
    config: Config,
    eye: Session,
}

/// A bridge with its candidate, as `zoobridge run` has them.
struct Replica {
    bridge: RunningBridge,
    electing: tokio::task::JoinHandle<(Elector, Result<(), LeaseError>)>,
    stop: CancellationToken,
}

impl Cluster {
    async fn start() -> Cluster {
        let sides = Sides::new().await;
        let mut config = config();
        config.zookeeper.connect = sides.zookeeper().to_string().parse().unwrap();
        let eye = session(sides.zookeeper()).await;
        service(&sides.client, "orders", &[("curator", "")]).await;
        slice(&sides.client, "orders", &[1, 2]).await;
        Cluster { sides, config, eye }
    }

    fn replica(&self, name: &str, duration: Duration) -> Replica {
        let election = Election::new(name.to_owned(), Timing { duration });
        let (mut elector, until) = Elector::new(self.sides.client.clone(), "default", "zoobridge", election);
        let stop = CancellationToken::new();
        let electing = tokio::spawn({
            let stop = stop.clone();
            async move {
                let ended = elector.run(&stop).await;
                (elector, ended)
            }
        });
        let store = CredentialStore::secret(self.sides.client.clone(), "default", "zoobridge-sessions");
        let leadership = Leadership::Lease(until);
        let bridge =
            RunningBridge::stand_by(&self.config, self.sides.client.clone(), store, leadership).unwrap();
        Replica { bridge, electing, stop }
    }
}

impl Replica {
    async fn until(&self, is: impl Fn(zoobridge::apply::Status) -> bool) {
        within(async {
            while !is(self.bridge.status()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    /// Ends it as SIGKILL does.
    async fn kill(self) {
        self.electing.abort();
        self.bridge.kill().await;
    }

    /// Ends it as SIGTERM does.
    async fn stop(self) {
        self.bridge.stop().await.unwrap();
        self.stop.cancel();
        let (mut elector, ended) = self.electing.await.unwrap();
        ended.unwrap();
        elector.release().await;
    }
}

#[tokio::test]
async fn a_killed_leader_is_followed_and_nothing_changes_in_the_tree() {
    let cluster = Cluster::start().await;
    let first = cluster.replica("first", Duration::from_secs(1));
    first.until(|status| status.leading).await;
    until(&cluster.eye, DIRECTORY, &["10.0.0.1:8080", "10.0.0.2:8080"]).await;
    let second = cluster.replica("second", Duration::from_secs(1));
    // Warm: it knows everything, and does nothing.
    second.until(|status| status.synced).await;
    assert!(!second.bridge.status().leading);
    let before = cluster.eye.exists(&format!("{DIRECTORY}/10.0.0.1:8080")).await.unwrap();
    first.kill().await;
    slice(&cluster.sides.client, "orders", &[1, 3]).await;
    until(&cluster.eye, DIRECTORY, &["10.0.0.1:8080", "10.0.0.3:8080"]).await;
    assert!(second.bridge.status().leading);
    assert_eq!(cluster.eye.exists(&format!("{DIRECTORY}/10.0.0.1:8080")).await.unwrap(), before);
    second.stop().await;
    cluster.sides.stop().await;
}

#[tokio::test]
async fn a_stopped_leader_lets_go_of_the_lease_and_nobody_waits_for_its_end() {
    let cluster = Cluster::start().await;
    // Longer than this test may take.
    let long = Duration::from_secs(3_600);
    let first = cluster.replica("first", long);
    first.until(|status| status.leading).await;
    let second = cluster.replica("second", Duration::from_secs(5));
    second.until(|status| status.synced).await;
    first.stop().await;
    second.until(|status| status.leading).await;
    until(&cluster.eye, DIRECTORY, &["10.0.0.1:8080", "10.0.0.2:8080"]).await;
    second.stop().await;
    // The sessions live on, and with them the znodes.
    assert_eq!(leaves(&cluster.eye, DIRECTORY).await.len(), 2);
    cluster.sides.stop().await;
}

#[tokio::test]
async fn a_leader_whose_lease_is_taken_says_so_and_ends() {
    let cluster = Cluster::start().await;
    let Replica { bridge, electing, stop: _stop } = cluster.replica("first", Duration::from_secs(1));
    until(&cluster.eye, DIRECTORY, &["10.0.0.1:8080", "10.0.0.2:8080"]).await;
    let leases: Api<Lease> = Api::default_namespaced(cluster.sides.client.clone());
    let taken = json!({"spec": {"holderIdentity": "somebody else", "leaseDurationSeconds": 60}});
    leases.patch("zoobridge", &PatchParams::default(), &Patch::Merge(taken)).await.unwrap();
    let (_elector, ended) = within(electing).await.unwrap();
    let error = ended.unwrap_err();
    assert!(matches!(&error, LeaseError::Taken { holder, .. } if holder == "somebody else"), "{error}");
    bridge.kill().await;
    cluster.sides.stop().await;
}

#[tokio::test]
async fn who_begins_to_lead_does_not_believe_the_watches_of_before() {
    let cluster = Cluster::start().await;
    let store = CredentialStore::memory();
    let first =
        RunningBridge::start(&cluster.config, cluster.sides.client.clone(), store.clone()).await.unwrap();
    until(&cluster.eye, DIRECTORY, &["10.0.0.1:8080", "10.0.0.2:8080"]).await;
    let before = cluster.eye.exists(&format!("{DIRECTORY}/10.0.0.1:8080")).await.unwrap();
    first.kill().await;
    // Its watches are of a cluster that has nothing; so far behind are they.
    let (nothing, behind) = kubernetes().await;
    let (lease, leads) = watch::channel(None);
    let Config { zookeeper, .. } = &cluster.config;
    let pool = PoolStart {
        config: PoolConfig {
            ensemble: zookeeper.ensemble().unwrap(),
            own: cluster.config.own().unwrap(),
            records: 0,
            limit: 1,
        },
        store,
        leadership: Leadership::Lease(leads),
    };
    let instruments = Instruments::default();
    let mut status = instruments.status();
    let (_rules, rules) = watch::channel(cluster.config.rules.clone());
    let roots = cluster.config.roots().unwrap();
    let audit = cluster.config.zookeeper.audit_interval;
    let second = Bridge::new(rules, roots, cluster.sides.client.clone(), pool, audit, instruments.clone());
    let stop = CancellationToken::new();
    let running = tokio::spawn({
        let (stop, client) = (stop.clone(), cluster.sides.client.clone());
        let begun = AtomicBool::new(false);
        async move {
            let observe = || {
                let is_first = !begun.swap(true, Ordering::Relaxed);
                observations(if is_first { &behind } else { &client }, &instruments.watches, false)
            };
            second.run(observe, stop).await
        }
    });
    within(status.wait_for(|status| status.standing_by && status.synced)).await.unwrap();
    lease.send_replace(Some(Instant::now() + Duration::from_secs(3_600)));
    within(status.wait_for(|status| status.settled && status.pending == 0)).await.unwrap();
    assert_eq!(leaves(&cluster.eye, DIRECTORY).await.len(), 2);
    assert_eq!(cluster.eye.exists(&format!("{DIRECTORY}/10.0.0.1:8080")).await.unwrap(), before);
    stop.cancel();
    running.await.unwrap().unwrap();
    nothing.stop().await;
    cluster.sides.stop().await;
}
