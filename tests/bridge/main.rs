//! The bridge end to end, in this process: our server, kube-dev, and a client of its own.
#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Event, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use kube_dev::KubeDev;
use serde_json::json;
use zab::{Server, ServerConfig};
use zk_client::{Connector, Opening, Options, Permit, Session, attach};
use zk_wire::acl::Acl;
use zk_wire::codes::CreateMode;
use zk_wire::stat::Stat;
use zoobridge::config::Config;
use zoobridge::local::{Local, RunningBridge, client_of};
use zoobridge::session::CredentialStore;

const DIRECTORY: &str = "/services/orders";

/// Everything, and an eye on it. Slices are written by hand, so that tests decide what is ready.
struct World {
    local: Local,
    eye: Session,
    _dir: tempfile::TempDir,
}

fn config() -> Config {
    Config::parse(
        "{cluster: test, zookeeper: {connect: replaced, sessionTimeout: 4s}, \
         rules: [{services: ['orders*', 'carts'], formats: [curator, dubbo]}]}",
    )
    .unwrap()
}

async fn session(address: SocketAddr) -> Session {
    let to = address.to_string().parse().unwrap();
    let stream = Connector::new(to, Duration::from_secs(5)).connect().await.unwrap();
    let opening = Opening::New { timeout: Duration::from_secs(30) };
    attach(stream, Permit::grant(), opening, Options::default()).await.unwrap().0
}

impl World {
    async fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let options = kube_dev::Options { workloads: false, ..kube_dev::Options::default() };
        let local = Local::start(dir.path(), options, config()).await.unwrap();
        let eye = session(local.zookeeper()).await;
        World { local, eye, _dir: dir }
    }

    fn config(&self) -> Config {
        let mut config = config();
        config.zookeeper.connect = self.local.zookeeper().to_string().parse().unwrap();
        config
    }

    fn credentials(&self) -> CredentialStore {
        CredentialStore::secret(self.local.client.clone(), "default", "zoobridge-sessions")
    }

    async fn service(&self, name: &str, annotations: &[(&str, &str)]) {
        service(&self.local.client, name, annotations).await;
    }

    async fn annotate(&self, name: &str, annotation: &str, value: Option<&str>) {
        let annotations = json!({format!("zoobridge.io/{annotation}"): value});
        let patch = Patch::Merge(json!({"metadata": {"annotations": annotations}}));
        let api: Api<Service> = Api::default_namespaced(self.local.client.clone());
        api.patch(name, &PatchParams::default(), &patch).await.unwrap();
    }

    async fn slice(&self, service: &str, ready: &[u8]) {
        slice(&self.local.client, service, ready).await;
    }

    async fn leaves(&self, directory: &str) -> Vec<String> {
        leaves(&self.eye, directory).await
    }

    async fn until(&self, directory: &str, expected: &[&str]) {
        until(&self.eye, directory, expected).await;
    }

    async fn stats(&self, directory: &str) -> BTreeMap<String, Stat> {
        let mut stats = BTreeMap::new();
        for leaf in self.leaves(directory).await {
            let stat = self.eye.exists(&format!("{directory}/{leaf}")).await.unwrap().unwrap();
            stats.insert(leaf, stat);
        }
        stats
    }

    /// The reasons of the Events about a Service, once this one is among them.
    async fn event(&self, service: &str, reason: &str) -> String {
        let api: Api<Event> = Api::default_namespaced(self.local.client.clone());
        within(async {
            loop {
                let events = api.list(&ListParams::default()).await.unwrap().items;
                let about = events.into_iter().filter(|e| e.involved_object.name.as_deref() == Some(service));
                for event in about {
                    if event.reason.as_deref() == Some(reason) {
                        return event.message.unwrap_or_default();
                    }
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await
    }
}

async fn service(client: &Client, name: &str, annotations: &[(&str, &str)]) {
    let annotations: BTreeMap<_, _> =
        annotations.iter().map(|(name, value)| (format!("zoobridge.io/{name}"), *value)).collect();
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "annotations": annotations},
        "spec": {"ports": [{"name": "http", "port": 80}]},
    });
    let api: Api<Service> = Api::default_namespaced(client.clone());
    api.create(&PostParams::default(), &serde_json::from_value(service).unwrap()).await.unwrap();
}

/// The slice of a Service has exactly these endpoints ready, at 10.0.0.x:8080.
async fn slice(client: &Client, service: &str, ready: &[u8]) {
    let api: Api<EndpointSlice> = Api::default_namespaced(client.clone());
    let endpoints: Vec<_> =
        ready.iter().map(|last| json!({"addresses": [format!("10.0.0.{last}")]})).collect();
    let object = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": format!("{service}-1"), "labels": {"kubernetes.io/service-name": service}},
        "endpoints": endpoints, "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    });
    let object: EndpointSlice = serde_json::from_value(object).unwrap();
    if api.get_opt(&format!("{service}-1")).await.unwrap().is_some() {
        api.replace(&format!("{service}-1"), &PostParams::default(), &object).await.unwrap();
    } else {
        api.create(&PostParams::default(), &object).await.unwrap();
    }
}

async fn leaves(eye: &Session, directory: &str) -> Vec<String> {
    let mut leaves = eye.children(directory).await.unwrap().unwrap_or_default().0;
    leaves.sort();
    leaves
}

async fn until(eye: &Session, directory: &str, expected: &[&str]) {
    let mut last = Vec::new();
    let reached = async {
        loop {
            last = leaves(eye, directory).await;
            if last == expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let timed_out = tokio::time::timeout(Duration::from_secs(20), reached).await.is_err();
    assert!(!timed_out, "{directory} has {last:?} instead of {expected:?}");
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("it takes less than 20 s")
}

#[tokio::test]
async fn ready_endpoints_appear_and_go() {
    let world = World::new().await;
    world.service("orders", &[("curator", "")]).await;
    world.until("/services", &["orders"]).await;
    world.slice("orders", &[1, 2, 3]).await;
    world.until(DIRECTORY, &["10.0.0.1:8080", "10.0.0.2:8080", "10.0.0.3:8080"]).await;
    let stats = world.stats(DIRECTORY).await;
    world.slice("orders", &[2, 4]).await;
    world.until(DIRECTORY, &["10.0.0.2:8080", "10.0.0.4:8080"]).await;
    assert_eq!(world.stats(DIRECTORY).await["10.0.0.2:8080"], stats["10.0.0.2:8080"]);
    let services: Api<Service> = Api::default_namespaced(world.local.client.clone());
    services.delete("orders", &DeleteParams::default()).await.unwrap();
    world.until(DIRECTORY, &[]).await;
    world.local.stop().await.unwrap();
}

#[tokio::test]
async fn a_restart_resumes_the_session_and_changes_nothing() {
    let world = World::new().await;
    world.service("orders", &[("curator", "")]).await;
    world.service("carts", &[("curator", "")]).await;
    world.slice("orders", &[1, 2]).await;
    world.slice("carts", &[7]).await;
    world.until(DIRECTORY, &["10.0.0.1:8080", "10.0.0.2:8080"]).await;
    world.until("/services/carts", &["10.0.0.7:8080"]).await;
    let before = world.stats(DIRECTORY).await;

    let (config, credentials) = (world.config(), world.credentials());
    let World { local, eye, _dir } = world;
    local.bridge.kill().await;
    // While nobody bridges: one endpoint goes, and one Service.
    slice(&local.client, "orders", &[2, 3]).await;
    let services: Api<Service> = Api::default_namespaced(local.client.clone());
    services.delete("carts", &DeleteParams::default()).await.unwrap();
    let bridge = RunningBridge::start(&config, local.client.clone(), credentials).await.unwrap();
    let world = World { local: Local { bridge, ..local }, eye, _dir };

    world.until(DIRECTORY, &["10.0.0.2:8080", "10.0.0.3:8080"]).await;
    world.until("/services/carts", &[]).await;
    assert_eq!(world.stats(DIRECTORY).await["10.0.0.2:8080"], before["10.0.0.2:8080"]);
    assert_eq!(
        world.stats(DIRECTORY).await["10.0.0.3:8080"].ephemeral_owner,
        before["10.0.0.2:8080"].ephemeral_owner
    );
}

#[tokio::test]
async fn a_second_bridge_takes_over_and_the_first_one_ends() {
    let world = World::new().await;
    world.service("orders", &[("curator", "")]).await;
    world.slice("orders", &[1]).await;
    world.until(DIRECTORY, &["10.0.0.1:8080"]).await;
    let second =
        RunningBridge::start(&world.config(), world.local.client.clone(), world.credentials()).await.unwrap();
    // Both attach to the one session again and again; only the second may write.
    world.slice("orders", &[1, 2]).await;
    world.until(DIRECTORY, &["10.0.0.1:8080", "10.0.0.2:8080"]).await;
    let first = within(world.local.bridge.ended()).await;
    assert!(first.unwrap_err().to_string().contains("taken over"));
    drop(second);
}

#[tokio::test]
async fn what_somebody_else_deletes_or_overwrites_is_repaired() {
    let world = World::new().await;
    world.service("orders", &[("curator", "")]).await;
    world.slice("orders", &[1, 2]).await;
    world.until(DIRECTORY, &["10.0.0.1:8080", "10.0.0.2:8080"]).await;
    let path = format!("{DIRECTORY}/10.0.0.1:8080");
    let (good, _) = world.eye.get(&path).await.unwrap().unwrap();
    world.eye.delete(&path, -1).await.unwrap();
    world.until(DIRECTORY, &["10.0.0.1:8080", "10.0.0.2:8080"]).await;
    world.eye.set(&path, "nonsense", -1).await.unwrap();
    within(async {
        while world.eye.get(&path).await.unwrap().unwrap().0 != good {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_expired_session_is_replaced_and_everything_published_again() {
    let world = World::new().await;
    world.service("orders", &[("curator", "")]).await;
    world.slice("orders", &[1, 2]).await;
    world.until(DIRECTORY, &["10.0.0.1:8080", "10.0.0.2:8080"]).await;
    let before = world.stats(DIRECTORY).await["10.0.0.1:8080"].ephemeral_owner;
    // Whoever has the credentials can end the session: that is what an expiry looks like.
    let kept = world.credentials().load().await.unwrap().remove(0);
    let stream =
        Connector::new(world.config().zookeeper.connect, Duration::from_secs(5)).connect().await.unwrap();
    let opening = Opening::Resume(kept, zk_client::WatchSet::default());
    let (thief, _events) = attach(stream, Permit::grant(), opening, Options::default()).await.unwrap();
    thief.close().await.unwrap();
    within(async {
        loop {
            let now = world.stats(DIRECTORY).await;
            if now.len() == 2 && now.values().all(|stat| stat.ephemeral_owner != before) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let kept = world.credentials().load().await.unwrap();
    assert_eq!((kept.len(), kept[0].id == before), (1, false));
}

#[tokio::test]
async fn bad_input_gets_an_event_and_holds_nobody_up() {
    let world = World::new().await;
    world.service("orders", &[("curator", ""), ("nonsense", "1")]).await;
    world.service("orders-port", &[("curator", ""), ("port", "grpc")]).await;
    world.service("orders-name", &[("curator", "a/b")]).await;
    world.service("orders-dubbo", &[("dubbo", "com.acme.A"), ("dubbo-parameters", "weight")]).await;
    world.service("stranger", &[("curator", "")]).await;
    for name in ["orders", "orders-port", "orders-name", "orders-dubbo", "stranger"] {
        world.slice(name, &[1]).await;
    }
    world.until(DIRECTORY, &["10.0.0.1:8080"]).await;
    assert!(world.event("orders", "UnknownAnnotation").await.contains("zoobridge.io/nonsense"));
    assert!(world.event("orders-port", "PortNotFound").await.contains("grpc"));
    assert!(world.event("orders-name", "BadAnnotation").await.contains("a/b"));
    assert!(world.event("orders-dubbo", "BadAnnotation").await.contains("weight"));
    assert!(world.event("stranger", "NotGranted").await.contains("default/stranger"));
    world.until("/services", &["orders", "orders-port"]).await;
    world.annotate("orders-port", "port", Some("http")).await;
    world.until("/services/orders-port", &["10.0.0.1:8080"]).await;
    world.event("orders-port", "Published").await;
}

#[tokio::test]
async fn a_mistake_in_an_annotation_takes_nothing_away() {
    let world = World::new().await;
    world.service("orders", &[("curator", ""), ("port", "http")]).await;
    world.slice("orders", &[1, 2]).await;
    world.until(DIRECTORY, &["10.0.0.1:8080", "10.0.0.2:8080"]).await;
    world.annotate("orders", "port", Some("htpp")).await;
    world.event("orders", "PortNotFound").await;
    world.slice("orders", &[2, 3]).await;
    world.until(DIRECTORY, &["10.0.0.2:8080"]).await;
    world.annotate("orders", "port", None).await;
    world.until(DIRECTORY, &["10.0.0.2:8080", "10.0.0.3:8080"]).await;
}

#[tokio::test]
async fn two_services_share_a_directory_and_the_first_keeps_what_both_want() {
    let world = World::new().await;
    world.service("orders", &[("curator", "orders")]).await;
    world.slice("orders", &[1, 2]).await;
    world.until(DIRECTORY, &["10.0.0.1:8080", "10.0.0.2:8080"]).await;
    world.service("carts", &[("curator", "orders")]).await;
    world.slice("carts", &[2, 3]).await;
    world.until(DIRECTORY, &["10.0.0.1:8080", "10.0.0.2:8080", "10.0.0.3:8080"]).await;
    assert!(world.event("carts", "Conflict").await.contains("default/orders"));
    let services: Api<Service> = Api::default_namespaced(world.local.client.clone());
    services.delete("orders", &DeleteParams::default()).await.unwrap();
    world.until(DIRECTORY, &["10.0.0.2:8080", "10.0.0.3:8080"]).await;
    world.event("carts", "Published").await;
}

#[tokio::test]
async fn what_a_stranger_registered_is_left_alone_until_it_is_gone() {
    let world = World::new().await;
    let path = format!("{DIRECTORY}/10.0.0.1:8080");
    for directory in ["/services", DIRECTORY] {
        world.eye.create(directory, "", Acl::open(), CreateMode::Persistent).await.unwrap();
    }
    world.eye.create(&path, "a real provider", Acl::open(), CreateMode::Ephemeral).await.unwrap();
    world.service("orders", &[("curator", "")]).await;
    world.slice("orders", &[1, 2]).await;
    world.until(DIRECTORY, &["10.0.0.1:8080", "10.0.0.2:8080"]).await;
    assert!(world.event("orders", "Conflict").await.contains("not ours"));
    assert_eq!(world.eye.get(&path).await.unwrap().unwrap().0, "a real provider");
    world.eye.delete(&path, -1).await.unwrap();
    within(async {
        while world.eye.get(&path).await.unwrap().is_none_or(|(data, _)| data == "a real provider") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_bridge_waits_for_a_zookeeper_that_is_not_there_yet() {
    let dir = tempfile::tempdir().unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let kube =
        KubeDev::start(kube_dev::Options { workloads: false, ..kube_dev::Options::default() }).await.unwrap();
    let client = client_of(&kube).unwrap();
    service(&client, "orders", &[("curator", "")]).await;
    slice(&client, "orders", &[1]).await;
    let mut config = config();
    config.zookeeper.connect = free.to_string().parse().unwrap();
    let store = CredentialStore::secret(client.clone(), "default", "zoobridge-sessions");
    let bridge = tokio::spawn(async move { RunningBridge::start(&config, client, store).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!bridge.is_finished());

    let server = ServerConfig { client_address: free, ..ServerConfig::local(dir.path().to_owned()) };
    let server = Server::start(server).await.unwrap();
    let bridge = within(bridge).await.unwrap().unwrap();
    let eye = session(free).await;
    until(&eye, DIRECTORY, &["10.0.0.1:8080"]).await;

    // And again when it goes away and comes back with its data.
    let before = eye.exists(&format!("{DIRECTORY}/10.0.0.1:8080")).await.unwrap();
    server.stop().await.unwrap();
    let server = ServerConfig { client_address: free, ..ServerConfig::local(dir.path().to_owned()) };
    let server = Server::start(server).await.unwrap();
    let eye = session(free).await;
    until(&eye, DIRECTORY, &["10.0.0.1:8080"]).await;
    assert_eq!(eye.exists(&format!("{DIRECTORY}/10.0.0.1:8080")).await.unwrap(), before);
    bridge.stop().await.unwrap();
    server.stop().await.unwrap();
}

#[tokio::test]
async fn the_steady_state_writes_nothing() {
    let world = World::new().await;
    world.service("orders", &[("curator", ""), ("dubbo", "com.acme.A")]).await;
    world.slice("orders", &[1, 2]).await;
    world.until(DIRECTORY, &["10.0.0.1:8080", "10.0.0.2:8080"]).await;
    world.until("/dubbo/com.acme.A", &["providers"]).await;
    within(async {
        while world.local.bridge.status().pending > 0 || world.local.bridge.status().znodes < 4 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let secrets: Api<Secret> = Api::default_namespaced(world.local.client.clone());
    let secret = secrets.get("zoobridge-sessions").await.unwrap().metadata.resource_version;
    let before = world.eye.create("/before", "", Acl::open(), CreateMode::Persistent).await.unwrap().1.czxid;
    // Nothing that matters changes: a label, and the same slice again.
    let patch = Patch::Merge(json!({"metadata": {"labels": {"a": "b"}}}));
    let services: Api<Service> = Api::default_namespaced(world.local.client.clone());
    services.patch("orders", &PatchParams::default(), &patch).await.unwrap();
    world.slice("orders", &[2, 1]).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let after = world.eye.create("/after", "", Acl::open(), CreateMode::Persistent).await.unwrap().1.czxid;
    assert_eq!(after.0, before.0 + 1);
    assert_eq!(secrets.get("zoobridge-sessions").await.unwrap().metadata.resource_version, secret);
}
