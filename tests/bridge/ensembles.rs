//! Two ensembles: what goes where, and that what happens to one does not touch the other.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Event, Secret, Service};
use kube::Api;
use kube::api::{DeleteParams, ListParams, PostParams};
use serde_json::{Value, json};
use tokio::sync::watch;
use zab::access::secret::Secret as Hidden;
use zab::{Server, ServerConfig};
use zk_client::Session;
use zk_wire::acl::Acl;
use zk_wire::codes::CreateMode;
use zk_wire::stat::Stat;
use zoobridge::apply::Status;
use zoobridge::config::Config;
use zoobridge::local::RunningBridge;
use zoobridge::session::{CredentialStore, Leadership};

use crate::operators::Files;
use crate::scrape::Scraper;
use crate::sides::{Sides, server_at};
use crate::world::{DIRECTORY, leaves, service, session, slice, until, within};

/// `orders` are published in both, by another format in each; `first` and `carts` in one.
const RULES: &str = "rules:
  - {services: [orders, first], formats: [curator], names: ['*'], addresses: [pod, custom]}
  - {services: [orders], formats: [hostport], names: ['*'], addresses: [pod, custom], ensembles: [legacy]}
  - {services: [carts], formats: [curator], names: ['*'], addresses: [pod, custom], ensembles: [legacy]}
imports:
  - {name: here, format: curator, root: /registry, namespace: default, addresses: [10.0.0.0/8]}
  - {name: there, format: curator, root: /registry, namespace: default, addresses: [10.0.0.0/8], ensemble: legacy}
";
/// Where `orders` is in the other ensemble.
const HOSTS: &str = "/hosts/orders";

/// The first ensemble with a cluster, and where the other one is, or will be.
struct Two {
    sides: Sides,
    eye: Session,
    legacy: SocketAddr,
    legacy_dir: PathBuf,
    /// What `zookeeper` of the other one says besides.
    more: String,
    dir: tempfile::TempDir,
}

/// A bridge that leads until it is told otherwise.
struct Leader {
    bridge: RunningBridge,
    scraper: Scraper,
    lease: watch::Sender<Option<tokio::time::Instant>>,
}

impl Two {
    /// The other one is not there yet.
    async fn new() -> Two {
        let sides = Sides::new().await;
        let eye = session(sides.zookeeper()).await;
        let legacy = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let dir = tempfile::tempdir().unwrap();
        for name in ["orders", "first", "carts"] {
            service(&sides.client, name, &[("curator", "")]).await;
            slice(&sides.client, name, &[1]).await;
        }
        crate::world::annotate(&sides.client, "orders", "hostport", Some("")).await;
        let (legacy_dir, more) = (dir.path().join("legacy"), String::new());
        Two { sides, eye, legacy, legacy_dir, more, dir }
    }

    /// Both are there, with an eye on the other one too, and a leader has published in both.
    async fn published() -> (Two, Server, Session, Leader) {
        let two = Two::new().await;
        let legacy = two.legacy().await;
        let there = session(two.legacy).await;
        let leader = two.bridge(true).await;
        until(&two.eye, DIRECTORY, &["10.0.0.1:8080"]).await;
        until(&there, HOSTS, &["10.0.0.1:8080"]).await;
        (two, legacy, there, leader)
    }

    async fn legacy(&self) -> Server {
        server_at(self.legacy, &self.legacy_dir).await
    }

    fn yaml(&self) -> String {
        let Two { legacy, more, .. } = self;
        format!(
            "ensembles: [{{name: legacy, zookeeper: {{connect: '{legacy}', sessionTimeout: 4s{more}}}}}]\n{RULES}"
        )
    }

    fn config(&self) -> Config {
        let zookeeper = format!("{{connect: '{}', sessionTimeout: 4s}}", self.sides.zookeeper());
        Config::parse(&format!("cluster: test\nzookeeper: {zookeeper}\n{}", self.yaml())).unwrap()
    }

    /// A bridge that leads, or stands by.
    async fn bridge(&self, leads: bool) -> Leader {
        let until = leads.then(|| tokio::time::Instant::now() + Duration::from_secs(3_600));
        let (lease, leads) = watch::channel(until);
        let store = CredentialStore::secret(self.sides.client.clone(), "default", "zoobridge-sessions");
        let client = self.sides.client.clone();
        let bridge =
            RunningBridge::stand_by(&self.config(), client, store, Leadership::Lease(leads)).unwrap();
        let scraper = Scraper::new(bridge.subject()).await;
        Leader { bridge, scraper, lease }
    }

    async fn slice(&self, service: &str, ready: &[u8]) {
        slice(&self.sides.client, service, ready).await;
    }

    /// How long changes take until they are seen in the first ensemble: the median, and the longest.
    async fn latencies(&self) -> (Duration, Duration) {
        let mut all = Vec::new();
        for round in 0..40u8 {
            let ready = 10 + round % 2;
            let began = Instant::now();
            self.slice("first", &[ready]).await;
            let expected = [format!("10.0.0.{ready}:8080")];
            within(async { while leaves(&self.eye, "/services/first").await != expected {} }).await;
            all.push(began.elapsed());
        }
        all.sort();
        (all[20], all[39])
    }

    async fn stop(self) {
        self.sides.stop().await;
    }
}

impl Leader {
    async fn until(&self, ensemble: usize, is: impl Fn(Status) -> bool) {
        eventually(async || is(self.bridge.status_of(ensemble))).await;
    }

    /// A sample of an ensemble's. Those of the first one are told without its name.
    async fn value(&self, family: &str, ensemble: &str) -> f64 {
        let scrape = self.scraper.scrape().await;
        match ensemble {
            "default" => scrape.value(family),
            name => scrape.value(&format!("{family}{{ensemble=\"{name}\"}}")),
        }
    }

    async fn until_value(&self, family: &str, ensemble: &str, least: f64) {
        eventually(async || self.value(family, ensemble).await >= least).await;
    }

    /// Nothing has happened to the first ensemble.
    async fn first_was_left_alone(&self) {
        for family in ["zoobridge_restarts_total", "zoobridge_session_losses_total"] {
            assert_eq!(self.value(family, "default").await, 0.0, "{family}");
        }
        assert!(self.bridge.status().leading);
    }
}

async fn eventually(is: impl AsyncFn() -> bool) {
    within(async {
        while !is().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

async fn stat(eye: &Session, path: &str) -> Option<Stat> {
    eye.exists(path).await.unwrap()
}

/// Changes go on: in a bridge that waited for another one's time-outs most would be seconds late. How fast they are is
/// this machine's affair.
fn as_fast_as(before: (Duration, Duration), now: (Duration, Duration)) {
    assert!(now.0 < Duration::from_secs(1), "median and longest {now:?}, before {before:?}");
}

#[tokio::test]
async fn a_service_goes_where_a_rule_says_and_nowhere_else() {
    let two = Two::new().await;
    let legacy = two.legacy().await;
    let there = session(two.legacy).await;
    service(&two.sides.client, "stranger", &[("curator", "")]).await;
    // A mistake that is none of one ensemble alone.
    crate::world::annotate(&two.sides.client, "orders", "nosuch", Some("")).await;
    let leader = two.bridge(true).await;
    until(&two.eye, DIRECTORY, &["10.0.0.1:8080"]).await;
    until(&two.eye, "/services/first", &["10.0.0.1:8080"]).await;
    until(&there, HOSTS, &["10.0.0.1:8080"]).await;
    until(&there, "/services/carts", &["10.0.0.1:8080"]).await;
    for ensemble in [0, 1] {
        leader.until(ensemble, |status| status.settled && status.pending == 0).await;
    }
    assert_eq!(leaves(&two.eye, "/services").await, ["first", "orders"]);
    assert_eq!(leaves(&there, "/services").await, ["carts"]);
    assert_eq!(leaves(&there, "/hosts").await, ["orders"]);
    assert_eq!(stat(&two.eye, "/hosts").await, None);
    // What is granted in one is refused in none; what is granted nowhere is refused once.
    assert_eq!([0, 1].map(|ensemble| leader.bridge.status_of(ensemble).refused), [2, 0]);
    let events: Api<Event> = Api::default_namespaced(two.sides.client.clone());
    let events = within(async {
        loop {
            let events = events.list(&ListParams::default()).await.unwrap().items;
            if events.len() > 1 {
                break events;
            }
        }
    })
    .await;
    let mut told: Vec<_> =
        events.iter().map(|event| event.involved_object.name.as_deref().unwrap()).collect();
    told.sort_unstable();
    assert_eq!(told, ["orders", "stranger"]);
    let secrets: Api<Secret> = Api::default_namespaced(two.sides.client.clone());
    let secrets = secrets.list(&ListParams::default()).await.unwrap();
    let names: Vec<_> = secrets.iter().map(|secret| secret.metadata.name.as_deref().unwrap()).collect();
    assert_eq!(names, ["zoobridge-sessions", "zoobridge-sessions-legacy"]);

    // Rules may move it. What makes no sense is told by the ensemble where it counts.
    let moved = two.config().rules.list.into_iter().map(|mut rule| {
        rule.ensembles = rule
            .ensembles
            .iter()
            .map(|name| match name.is_default() {
                true => "legacy".parse().unwrap(),
                false => zoobridge::model::EnsembleName::default(),
            })
            .collect();
        rule
    });
    leader.bridge.rule(moved.collect::<Vec<_>>().into());
    until(&there, DIRECTORY, &["10.0.0.1:8080"]).await;
    until(&two.eye, DIRECTORY, &[]).await;
    until(&two.eye, "/services/carts", &["10.0.0.1:8080"]).await;
    until(&there, "/services/carts", &[]).await;
    crate::world::annotate(&two.sides.client, "first", "port", Some("nosuch")).await;
    let events: Api<Event> = Api::default_namespaced(two.sides.client.clone());
    let note = within(async {
        loop {
            let events = events.list(&ListParams::default()).await.unwrap().items;
            let event = events.into_iter().find(|event| event.reason.as_deref() == Some("PortNotFound"));
            if let Some(event) = event {
                break event.message.unwrap();
            }
        }
    })
    .await;
    assert!(note.starts_with("ensemble legacy: curator: ") && note.contains("nosuch"), "{note}");
    leader.bridge.stop().await.unwrap();
    legacy.stop().await.unwrap();
    two.stop().await;
}

#[tokio::test]
async fn an_ensemble_that_is_not_there_holds_up_nobody() {
    let two = Two::new().await;
    let leader = two.bridge(true).await;
    until(&two.eye, DIRECTORY, &["10.0.0.1:8080"]).await;
    leader.until(0, |status| status.settled).await;
    leader.until_value("zoobridge_session_attach_failures_total", "legacy", 2.0).await;
    let (code, text) = leader.scraper.get("/ready").await;
    assert_eq!((code, text.as_str()), (503, "ensemble legacy: the sessions are not taken over yet\n"));
    assert_eq!(leader.scraper.get("/live").await.0, 200);
    let (before, alone) =
        (stat(&two.eye, &format!("{DIRECTORY}/10.0.0.1:8080")).await, two.latencies().await);
    assert_eq!(leader.value("zoobridge_leading", "legacy").await, 0.0);
    leader.first_was_left_alone().await;

    let legacy = two.legacy().await;
    let there = session(two.legacy).await;
    until(&there, HOSTS, &["10.0.0.1:8080"]).await;
    eventually(async || leader.scraper.get("/ready").await.0 == 200).await;
    as_fast_as(two.latencies().await, alone);
    assert_eq!(stat(&two.eye, &format!("{DIRECTORY}/10.0.0.1:8080")).await, before);
    leader.bridge.stop().await.unwrap();
    legacy.stop().await.unwrap();
    two.stop().await;
}

#[tokio::test]
async fn an_ensemble_that_goes_away_is_waited_for_alone_and_finds_its_znodes() {
    let (two, legacy, there, leader) = Two::published().await;
    until(&two.eye, "/services/first", &["10.0.0.1:8080"]).await;
    let (here, hosts) = (format!("{DIRECTORY}/10.0.0.1:8080"), format!("{HOSTS}/10.0.0.1:8080"));
    let before = (stat(&two.eye, &here).await, stat(&there, &hosts).await);
    let both = two.latencies().await;
    drop(there);
    legacy.stop().await.unwrap();
    // Longer than a leader of one ensemble would stay in another replica's way.
    leader.until_value("zoobridge_restarts_total", "legacy", 1.0).await;
    assert!(leader.value("zoobridge_session_losses_total", "legacy").await >= 1.0);
    assert_eq!(leader.scraper.get("/ready").await.0, 503);
    as_fast_as(both, two.latencies().await);
    two.slice("orders", &[1, 2]).await;
    until(&two.eye, DIRECTORY, &["10.0.0.1:8080", "10.0.0.2:8080"]).await;
    leader.first_was_left_alone().await;

    let legacy = two.legacy().await;
    let there = session(two.legacy).await;
    until(&there, HOSTS, &["10.0.0.1:8080", "10.0.0.2:8080"]).await;
    assert_eq!((stat(&two.eye, &here).await, stat(&there, &hosts).await), before);
    eventually(async || leader.scraper.get("/ready").await.0 == 200).await;
    leader.first_was_left_alone().await;
    leader.bridge.stop().await.unwrap();
    legacy.stop().await.unwrap();
    two.stop().await;
}

#[tokio::test]
async fn a_leader_that_has_lost_all_ensembles_ends_and_one_is_not_all() {
    let (two, legacy, there, leader) = Two::published().await;
    drop(there);
    legacy.stop().await.unwrap();
    leader.until_value("zoobridge_restarts_total", "legacy", 1.0).await;
    assert!(leader.bridge.status().leading);
    let Two { sides: Sides { server, kube, .. }, eye, .. } = two;
    drop(eye);
    server.stop().await.unwrap();
    let ended = within(leader.bridge.ended()).await.unwrap_err();
    assert!(format!("{ended:#}").contains("no session could be attached"), "{ended:#}");
    kube.stop().await;
}

#[tokio::test]
async fn where_we_are_nobody_or_may_not_start_the_other_one_goes_on() {
    let mut two = Two::new().await;
    let password = two.dir.path().join("sasl");
    std::fs::write(&password, "bridge:wrong").unwrap();
    two.more = format!(", saslFile: {}", password.display());
    // Its Secret holds nothing that we have written.
    let secrets: Api<Secret> = Api::default_namespaced(two.sides.client.clone());
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "zoobridge-sessions-legacy"},
        "data": {"sessions.json": "bm9uc2Vuc2U="},
    });
    secrets.create(&PostParams::default(), &serde_json::from_value(secret).unwrap()).await.unwrap();
    let mut config =
        ServerConfig { client_address: two.legacy, ..ServerConfig::local(two.legacy_dir.clone()) };
    config.security.rules = Arc::new(zab::access::Rules {
        sasl: true,
        sasl_users: Some([("bridge".to_owned(), Hidden::new("right"))].into()),
        ..zab::access::Rules::default()
    });
    let legacy = Server::start(config).await.unwrap();
    let leader = two.bridge(true).await;
    until(&two.eye, DIRECTORY, &["10.0.0.1:8080"]).await;
    leader.until_value("zoobridge_restarts_total", "legacy", 1.0).await;
    let failing = two.latencies().await;

    // Now it could start, if it were believed.
    secrets.delete("zoobridge-sessions-legacy", &DeleteParams::default()).await.unwrap();
    leader.until_value("zoobridge_session_attach_failures_total", "legacy", 2.0).await;
    let unbelieved = two.latencies().await;
    assert!(!leader.bridge.status_of(1).leading);
    std::fs::write(&password, "bridge:right").unwrap();
    let there = session(two.legacy).await;
    until(&there, HOSTS, &["10.0.0.1:8080"]).await;
    let well = two.latencies().await;
    as_fast_as(well, failing);
    as_fast_as(well, unbelieved);
    leader.first_was_left_alone().await;
    leader.bridge.stop().await.unwrap();
    legacy.stop().await.unwrap();
    two.stop().await;
}

/// Somebody else's bridge of the same name, at one of our ensembles.
#[tokio::test]
async fn who_takes_one_ensemble_over_does_not_end_the_other_one() {
    let (two, legacy, there, leader) = Two::published().await;
    let before = stat(&two.eye, &format!("{DIRECTORY}/10.0.0.1:8080")).await;
    // It publishes something that is none of ours there.
    let alone = format!(
        "{{cluster: test, zookeeper: {{connect: '{}', sessionTimeout: 4s}}, \
         rules: [{{services: [first], formats: [curator], names: ['*'], addresses: [pod, custom]}}]}}",
        two.legacy
    );
    let (alone, client) = (Config::parse(&alone).unwrap(), two.sides.client.clone());
    let other = RunningBridge::start(&alone, client, CredentialStore::memory()).await.unwrap();
    until(&there, "/services/first", &["10.0.0.1:8080"]).await;
    // A write is what finds out.
    two.slice("orders", &[1, 2]).await;
    until(&there, HOSTS, &["10.0.0.1:8080", "10.0.0.2:8080"]).await;
    assert!(leader.value("zoobridge_restarts_total", "legacy").await >= 1.0);
    two.slice("first", &[1, 2]).await;
    let ended = within(other.ended()).await.unwrap_err();
    assert!(ended.to_string().contains("taken over"), "{ended}");
    until(&two.eye, DIRECTORY, &["10.0.0.1:8080", "10.0.0.2:8080"]).await;
    assert_eq!(stat(&two.eye, &format!("{DIRECTORY}/10.0.0.1:8080")).await, before);
    leader.first_was_left_alone().await;
    leader.bridge.stop().await.unwrap();
    legacy.stop().await.unwrap();
    two.stop().await;
}

#[tokio::test]
async fn who_leads_next_resumes_both() {
    let (two, legacy, there, first) = Two::published().await;
    let (here, hosts) = (format!("{DIRECTORY}/10.0.0.1:8080"), format!("{HOSTS}/10.0.0.1:8080"));
    let before = (stat(&two.eye, &here).await, stat(&there, &hosts).await);
    let second = two.bridge(false).await;
    for ensemble in [0, 1] {
        second.until(ensemble, |status| status.synced && status.standing_by).await;
    }
    assert_eq!(second.scraper.get("/ready").await.0, 200);
    first.bridge.kill().await;
    two.slice("orders", &[1, 2]).await;
    second.lease.send_replace(Some(tokio::time::Instant::now() + Duration::from_secs(3_600)));
    until(&two.eye, DIRECTORY, &["10.0.0.1:8080", "10.0.0.2:8080"]).await;
    until(&there, HOSTS, &["10.0.0.1:8080", "10.0.0.2:8080"]).await;
    assert_eq!((stat(&two.eye, &here).await, stat(&there, &hosts).await), before);
    second.bridge.stop().await.unwrap();
    legacy.stop().await.unwrap();
    two.stop().await;
}

/// Registers as Curator does.
async fn register(by: &Session, name: &str, address: &str) {
    for directory in ["/registry".to_owned(), format!("/registry/{name}")] {
        let _ = by.create(&directory, "", Acl::open(), CreateMode::Persistent).await;
    }
    let data = json!({"name": name, "id": address, "address": address, "port": 8080});
    let path = format!("/registry/{name}/{address}");
    by.create(&path, data.to_string(), Acl::open(), CreateMode::Ephemeral).await.unwrap();
}

#[tokio::test]
async fn what_is_imported_from_one_is_left_alone_by_the_other() {
    let two = Two::new().await;
    let legacy = two.legacy().await;
    let there = session(two.legacy).await;
    register(&two.eye, "prices", "10.1.0.1").await;
    register(&there, "stocks", "10.1.0.2").await;
    // Both want this one: who comes later is told.
    register(&two.eye, "shared", "10.1.0.3").await;
    let leader = two.bridge(true).await;
    let services: Api<Service> = Api::default_namespaced(two.sides.client.clone());
    let uid = async |name: &str| services.get_opt(name).await.unwrap().map(|service| service.metadata.uid);
    for name in ["prices", "stocks", "shared"] {
        eventually(async || uid(name).await.is_some()).await;
    }
    register(&there, "shared", "10.1.0.4").await;
    eventually(async || leader.bridge.imports_of(1).refused == 1).await;
    for ensemble in [0, 1] {
        eventually(async || leader.bridge.imports_of(ensemble).pending == 0).await;
    }
    let before = (uid("prices").await, uid("stocks").await, uid("shared").await);

    drop(there);
    legacy.stop().await.unwrap();
    eventually(async || leader.bridge.imports_of(1).stale).await;
    leader.until_value("zoobridge_restarts_total", "legacy", 1.0).await;
    register(&two.eye, "more", "10.1.0.5").await;
    eventually(async || uid("more").await.is_some()).await;
    assert_eq!((uid("prices").await, uid("stocks").await, uid("shared").await), before);
    let legacy = two.legacy().await;
    let there = session(two.legacy).await;
    register(&there, "new", "10.1.0.6").await;
    eventually(async || uid("new").await.is_some()).await;
    assert_eq!(uid("stocks").await, before.1);
    leader.bridge.stop().await.unwrap();
    legacy.stop().await.unwrap();
    two.stop().await;
}

fn keys(told: &Value) -> Vec<&str> {
    told.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn the_tools_tell_of_both_or_of_one() {
    let two = Two::new().await;
    let legacy = two.legacy().await;
    let there = session(two.legacy).await;
    let files = Files::with(&two.sides.kube, two.sides.zookeeper(), &two.yaml());
    register(&there, "stocks", "10.1.0.2").await;
    let (code, plan) = files.json(&["plan", "default/orders"]).await;
    assert_eq!((code, keys(&plan)), (0, vec!["default", "legacy"]));
    let path = |plan: &Value| plan["services"][0]["znodes"][0]["path"].as_str().map(str::to_owned);
    assert_eq!(path(&plan["default"]).as_deref(), Some("/services/orders/10.0.0.1:8080"));
    assert_eq!(path(&plan["legacy"]).as_deref(), Some("/hosts/orders/10.0.0.1:8080"));
    let (code, one) = files.json(&["diff", "--ensemble", "legacy", "default/orders"]).await;
    assert_eq!((code, &one["writes"].as_array().unwrap().last().unwrap()["op"]), (3, &"create".into()));
    let (code, text) = files.run(&["diff", "--ensemble", "nosuch"]).await;
    assert!(code == 1 && text.contains("there is no ensemble nosuch; there are: default, legacy"), "{text}");

    let leader = two.bridge(true).await;
    until(&two.eye, "/services/first", &["10.0.0.1:8080"]).await;
    until(&two.eye, DIRECTORY, &["10.0.0.1:8080"]).await;
    until(&there, HOSTS, &["10.0.0.1:8080"]).await;
    until(&there, "/services/carts", &["10.0.0.1:8080"]).await;
    let services: Api<Service> = Api::default_namespaced(two.sides.client.clone());
    eventually(async || services.get_opt("stocks").await.unwrap().is_some()).await;
    for tool in [
        &["diff"][..],
        &["verify"],
        &["status"],
        &["history", "default/orders"],
        &["explain", "default/orders"],
    ] {
        let (code, told) = files.json(tool).await;
        assert_eq!((code, keys(&told)), (0, vec!["default", "legacy"]), "{tool:?}: {told}");
        let (code, text) = files.run(tool).await;
        assert!(
            code == 0 && text.contains("ensemble default\n") && text.contains("ensemble legacy\n"),
            "{text}"
        );
    }
    let (_, explained) = files.json(&["explain", "default/orders", "--ensemble", "legacy"]).await;
    assert_eq!(explained["publications"][0]["rule"], "rules[1]");
    leader.bridge.kill().await;

    // What cannot be told of one is told, and does not hide the other.
    legacy.stop().await.unwrap();
    let (code, text) = files.run(&["status"]).await;
    assert!(
        code == 1 && text.contains("ensemble legacy: cannot reach ZooKeeper") && text.contains("znodes"),
        "{text}"
    );
    let (code, text) = files.run(&["uninstall"]).await;
    assert!(code == 1 && text.contains("Secret default/zoobridge-sessions\n"), "{text}");
    let legacy = two.legacy().await;
    let there = session(two.legacy).await;
    until(&there, "/zoobridge/test/sessions", &[]).await;
    let (code, gone) = files.json(&["gc", "--ensemble", "legacy", "--yes"]).await;
    assert_eq!((code, &gone["done"]), (0, &true.into()));
    assert_eq!(leaves(&there, "/").await, ["registry", "zookeeper"]);
    assert!(stat(&two.eye, DIRECTORY).await.is_some());
    let (code, gone) = files.json(&["uninstall", "--yes"]).await;
    assert_eq!((code, keys(&gone)), (0, vec!["default", "legacy"]), "{gone}");
    assert_eq!(leaves(&two.eye, "/").await, ["zookeeper"]);
    let objects = |name: &str| gone[name]["objects"].clone();
    assert_eq!(objects("default"), json!(["Secret default/zoobridge-sessions"]));
    assert_eq!(
        objects("legacy"),
        json!(["Service default/stocks", "Secret default/zoobridge-sessions-legacy"])
    );
    legacy.stop().await.unwrap();
    two.stop().await;
}
