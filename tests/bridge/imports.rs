//! The reverse direction, and both together.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Endpoints, Service, ServicePort};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::json;
use tempfile::TempDir;
use zk_client::Session;
use zk_wire::acl::{Acl, perms};
use zk_wire::codes::CreateMode;
use zoobridge::config::Config;
use zoobridge::local::{Local, RunningBridge};
use zoobridge::session::CredentialStore;

use crate::sides::server_at;
use crate::world::{session, until, within};

const ROOT: &str = "/registry";

/// What an import reads is not where the bridge writes, unless `root` says so.
fn config(root: &str, more: &str) -> Config {
    Config::parse(&format!(
        "{{cluster: test, zookeeper: {{connect: replaced, sessionTimeout: 4s}}, \
         rules: [{{formats: [curator, dubbo], names: ['*'], addresses: [pod, custom]}}], imports: [\
         {{name: legacy, format: curator, root: {root}, namespace: default, addresses: [10.0.0.0/8], {more}}}, \
         {{name: dubbo, format: dubbo, root: /legacy-dubbo, namespace: default, addresses: [10.0.0.0/8]}}]}}"
    ))
    .unwrap()
}

struct Imports {
    local: Local,
    eye: Session,
    config: Config,
    dir: TempDir,
}

impl Imports {
    async fn new(config: Config) -> Imports {
        let dir = tempfile::tempdir().unwrap();
        let options = kube_dev::Options { workloads: false, ..kube_dev::Options::default() };
        let local = Local::start(dir.path(), options, config.clone()).await.unwrap();
        let eye = session(local.zookeeper()).await;
        // A registry whose root is not there is not known.
        directories(&eye, "/legacy-dubbo").await;
        Imports { local, eye, config, dir }
    }

    /// The bridge is killed, and one with another configuration leads next.
    async fn succeeded_with(self, change: impl FnOnce(&mut Config)) -> Imports {
        let Imports { local, eye, mut config, dir } = self;
        local.bridge.kill().await;
        change(&mut config);
        config.zookeeper.connect = local.server.client_address().to_string().parse().unwrap();
        let store = CredentialStore::secret(local.client.clone(), "default", "zoobridge-sessions");
        let bridge = RunningBridge::start(&config, local.client.clone(), store).await.unwrap();
        Imports { local: Local { bridge, ..local }, eye, config, dir }
    }

    fn services(&self) -> Api<Service> {
        Api::default_namespaced(self.local.client.clone())
    }

    fn slices(&self) -> Api<EndpointSlice> {
        Api::default_namespaced(self.local.client.clone())
    }

    async fn register(&self, name: &str, address: &str) {
        register(&self.eye, &format!("{ROOT}/{name}"), address).await;
    }

    /// The endpoints of a Service by its slices; `None` without a Service.
    async fn endpoints(&self, name: &str) -> Option<Vec<String>> {
        self.services().get_opt(name).await.unwrap()?;
        let selected = ListParams::default().labels(&format!("kubernetes.io/service-name={name}"));
        let mut all = Vec::new();
        for slice in self.slices().list(&selected).await.unwrap() {
            let port = slice.ports.unwrap()[0].port.unwrap();
            for endpoint in slice.endpoints {
                let ready = endpoint.conditions.unwrap().ready.unwrap();
                let mark = if ready { "" } else { " unready" };
                all.push(format!("{}:{port}{mark}", endpoint.addresses[0]));
            }
        }
        all.sort();
        Some(all)
    }

    async fn until(&self, name: &str, expected: Option<&[&str]>) {
        let mut last = None;
        let reached = async {
            loop {
                last = self.endpoints(name).await;
                if last.as_ref().map(|all| all.iter().map(String::as_str).collect::<Vec<_>>())
                    == expected.map(<[_]>::to_vec)
                {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let timed_out = tokio::time::timeout(Duration::from_secs(20), reached).await.is_err();
        let status = self.local.bridge.imports();
        assert!(!timed_out, "{name} has {last:?} instead of {expected:?}; {status:?}");
    }

    async fn until_status(&self, is: impl Fn(zoobridge::reverse::ImportStatus) -> bool) {
        within(async {
            while !is(self.local.bridge.imports()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    /// Names and versions of all Services and slices.
    async fn versions(&self) -> BTreeMap<String, Option<String>> {
        let services = self.services().list(&ListParams::default()).await.unwrap().items;
        let slices = self.slices().list(&ListParams::default()).await.unwrap().items;
        let services = services.into_iter().map(|service| service.metadata);
        let metadata = services.chain(slices.into_iter().map(|slice| slice.metadata));
        metadata.map(|metadata| (metadata.name.unwrap(), metadata.resource_version)).collect()
    }
}

async fn directories(eye: &Session, path: &str) {
    let mut at = String::new();
    for part in path.trim_start_matches('/').split('/') {
        at = format!("{at}/{part}");
        let _ = eye.create(&at, "", Acl::open(), CreateMode::Persistent).await;
    }
}

/// Registers as Curator does: an id, and the address in the data.
async fn register(by: &Session, directory: &str, address: &str) {
    directories(by, directory).await;
    let (host, port) = address.rsplit_once(':').unwrap();
    let data = json!({"name": "x", "id": address, "address": host, "port": port.parse::<u16>().unwrap()});
    let path = format!("{directory}/{address}");
    by.create(&path, data.to_string(), Acl::open(), CreateMode::Ephemeral).await.unwrap();
}

#[tokio::test]
async fn what_registers_becomes_a_service_and_goes_with_its_directory() {
    let world = Imports::new(config(ROOT, "endpoints: true, servicePort: 80")).await;
    let provider = session(world.local.zookeeper()).await;
    world.register("carts", "10.1.0.1:8080").await;
    register(&provider, &format!("{ROOT}/carts"), "10.1.0.2:8080").await;
    register(&provider, &format!("{ROOT}/carts"), "10.1.0.3:9090").await;
    world.until("carts", Some(&["10.1.0.1:8080", "10.1.0.2:8080", "10.1.0.3:9090"])).await;
    let service = world.services().get("carts").await.unwrap();
    let spec = service.spec.unwrap();
    assert_eq!((spec.selector, spec.ports.unwrap()[0].port), (None, 80));
    let managers: Vec<_> = service.metadata.managed_fields.unwrap();
    let managers: Vec<_> = managers
        .iter()
        .map(|one| (one.manager.as_deref().unwrap(), one.operation.as_deref().unwrap()))
        .collect();
    assert_eq!(managers, [("zoobridge", "Apply")]);
    let endpoints: Api<Endpoints> = Api::default_namespaced(world.local.client.clone());
    let found = within(async {
        loop {
            match endpoints.get_opt("carts").await.unwrap() {
                Some(found) if found.subsets.as_ref().is_some_and(|subsets| subsets.len() == 2) => {
                    return found;
                }
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    })
    .await;
    assert_eq!(found.metadata.labels.unwrap()["endpointslice.kubernetes.io/skip-mirror"], "true");

    // A deregistration, and an expiry.
    world.eye.delete(&format!("{ROOT}/carts/10.1.0.1:8080"), -1).await.unwrap();
    world.until("carts", Some(&["10.1.0.2:8080", "10.1.0.3:9090"])).await;
    provider.close().await.unwrap();
    world.until("carts", Some(&[])).await;
    world.register("carts", "10.1.0.9:8080").await;
    world.until("carts", Some(&["10.1.0.9:8080"])).await;
    assert_eq!(world.services().get("carts").await.unwrap().metadata.uid, service.metadata.uid);
    world.eye.delete(&format!("{ROOT}/carts/10.1.0.9:8080"), -1).await.unwrap();
    world.eye.delete(&format!("{ROOT}/carts"), -1).await.unwrap();
    world.until("carts", None).await;
    world.local.stop().await.unwrap();
}

#[tokio::test]
async fn a_dubbo_interface_becomes_a_service_for_each_version_and_bad_instances_hold_nobody_up() {
    let world = Imports::new(config(ROOT, "")).await;
    let providers = "/legacy-dubbo/com.acme.A/providers";
    directories(&world.eye, providers).await;
    for url in [
        "dubbo%3A%2F%2F10.1.0.1%3A20880%2Fcom.acme.A%3Fversion%3D1",
        "dubbo%3A%2F%2F10.1.0.2%3A20880%2Fcom.acme.A%3Fversion%3D2",
        "dubbo%3A%2F%2F10.1.0.3%3A20880%2Fcom.acme.A%3Fversion%3D2%26disabled%3Dtrue",
        "dubbo%3A%2F%2F127.0.0.1%3A20880%2Fcom.acme.A%3Fversion%3D2",
        "dubbo%3A%2F%2F11.1.0.1%3A20880%2Fcom.acme.A%3Fversion%3D2",
        "nonsense",
    ] {
        let path = format!("{providers}/{url}");
        world.eye.create(&path, "", Acl::open(), CreateMode::Ephemeral).await.unwrap();
    }
    let name = zoobridge::reverse::plan::service_name;
    world.until(&name("com.acme.A:1"), Some(&["10.1.0.1:20880"])).await;
    world.until(&name("com.acme.A:2"), Some(&["10.1.0.2:20880", "10.1.0.3:20880 unready"])).await;
    world.until_status(|status| status.refused_instances == 3).await;
}

#[tokio::test]
async fn a_service_that_is_not_ours_is_left_alone_until_it_is_gone() {
    let world = Imports::new(config(ROOT, "")).await;
    crate::world::service(&world.local.client, "carts", &[]).await;
    let before = world.services().get("carts").await.unwrap();
    world.register("carts", "10.1.0.1:8080").await;
    world.register("orders", "10.1.0.2:8080").await;
    world.until("orders", Some(&["10.1.0.2:8080"])).await;
    world.until_status(|status| status.refused == 1 && status.pending == 0).await;
    assert_eq!(world.services().get("carts").await.unwrap(), before);
    assert_eq!(world.endpoints("carts").await.unwrap(), [""; 0]);
    world.services().delete("carts", &DeleteParams::default()).await.unwrap();
    world.until("carts", Some(&["10.1.0.1:8080"])).await;
    // What somebody changes of ours is repaired, and what he adds stays.
    let patch = Patch::Merge(json!({
        "metadata": {"labels": {"a": "b"}, "annotations": {"zoobridge.io/source-service": null}},
    }));
    world.services().patch("carts", &PatchParams::default(), &patch).await.unwrap();
    within(async {
        loop {
            let metadata = world.services().get("carts").await.unwrap().metadata;
            if metadata.annotations.unwrap().contains_key("zoobridge.io/source-service") {
                assert_eq!(metadata.labels.unwrap()["a"], "b");
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn while_zookeeper_is_away_everything_stays_and_nothing_is_written() {
    let world = Imports::new(config(ROOT, "")).await;
    let address = world.local.zookeeper();
    world.register("carts", "10.1.0.1:8080").await;
    world.until("carts", Some(&["10.1.0.1:8080"])).await;
    world.until_status(|status| status.known && status.pending == 0).await;
    let before = world.versions().await;
    let Imports { local: Local { server, kube, client, bridge }, eye, config, dir } = world;
    server.stop().await.unwrap();
    within(async {
        while !bridge.imports().stale {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let server = server_at(address, dir.path()).await;
    drop(eye);
    let eye = session(address).await;
    let world = Imports { local: Local { server, kube, client, bridge }, eye, config, dir };
    world.until_status(|status| !status.stale && status.pending == 0).await;
    assert_eq!(world.versions().await, before);
    // The provider's session was let go of when the server came back: it expires.
    world.register("carts", "10.1.0.2:8080").await;
    within(async {
        while !world.endpoints("carts").await.unwrap().contains(&"10.1.0.2:8080".to_owned()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn both_directions_at_one_root_converge_and_then_nothing_is_written() {
    let world = Imports::new(config("/services", "")).await;
    let marker = async |path: &str| {
        world.eye.create(path, "", Acl::open(), CreateMode::Persistent).await.unwrap().1.czxid
    };
    crate::world::service(&world.local.client, "orders", &[("curator", "")]).await;
    crate::world::slice(&world.local.client, "orders", &[1, 2]).await;
    until(&world.eye, "/services/orders", &["10.0.0.1:8080", "10.0.0.2:8080"]).await;
    register(&world.eye, "/services/carts", "10.1.0.1:8080").await;
    // Somebody who asks for what came from there.
    world.until("carts", Some(&["10.1.0.1:8080"])).await;
    let patch = Patch::Merge(json!({"metadata": {"annotations": {"zoobridge.io/curator": "loop"}}}));
    world.services().patch("carts", &PatchParams::default(), &patch).await.unwrap();
    // A stranger beside ours: the Service of that name is not ours.
    register(&world.eye, "/services/orders", "10.1.0.7:8080").await;
    world.until_status(|status| status.known && status.refused == 1 && status.pending == 0).await;
    within(async {
        while world.local.bridge.status().pending > 0 || world.local.bridge.status().refused == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let (versions, before) = (world.versions().await, marker("/before").await);
    assert_eq!(versions.keys().collect::<Vec<_>>().len(), 4, "{versions:?}");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(marker("/after").await.0, before.0 + 1);
    assert_eq!(world.versions().await, versions);
    assert!(world.eye.exists("/services/loop").await.unwrap().is_none());

    // Whoever leads next computes the same.
    let world = world.succeeded_with(|_| {}).await;
    world.until_status(|status| status.known && status.refused == 1 && status.pending == 0).await;
    assert_eq!(world.versions().await, versions);
    // A Service of an import that is no more goes; that of a directory that is still there stays.
    let world = world.succeeded_with(|config| drop(config.imports.remove(0))).await;
    world.until("carts", None).await;
    assert!(world.services().get_opt("orders").await.unwrap().is_some());
}

#[tokio::test]
async fn what_the_last_import_has_left_goes_as_well() {
    let world = Imports::new(config(ROOT, "")).await;
    world.register("carts", "10.1.0.1:8080").await;
    world.until("carts", Some(&["10.1.0.1:8080"])).await;
    crate::world::service(&world.local.client, "orders", &[]).await;
    let world = world.succeeded_with(|config| config.imports.clear()).await;
    world.until("carts", None).await;
    assert!(world.services().get_opt("orders").await.unwrap().is_some());
    // It was the registry's no more, and still is what it was there.
    assert_eq!(crate::world::leaves(&world.eye, &format!("{ROOT}/carts")).await, ["10.1.0.1:8080"]);
}

#[tokio::test]
async fn a_port_that_somebody_adds_stays_and_is_no_reason_to_write_for_ever() {
    let world = Imports::new(config(ROOT, "servicePort: 80")).await;
    world.register("carts", "10.1.0.1:8080").await;
    world.until("carts", Some(&["10.1.0.1:8080"])).await;
    let mut service = world.services().get("carts").await.unwrap();
    let ports = service.spec.as_mut().unwrap().ports.as_mut().unwrap();
    ports[0].name = Some("http".to_owned());
    ports.push(ServicePort { name: Some("metrics".to_owned()), port: 9090, ..ServicePort::default() });
    world.services().replace("carts", &PostParams::default(), &service).await.unwrap();
    world.register("carts", "10.1.0.2:8080").await;
    world.until("carts", Some(&["10.1.0.1:8080", "10.1.0.2:8080"])).await;
    world.until_status(|status| status.known && status.pending == 0).await;
    let ports = world.services().get("carts").await.unwrap().spec.unwrap().ports.unwrap();
    assert_eq!(ports.iter().map(|port| port.port).collect::<Vec<_>>(), [80, 9090]);
}

#[tokio::test]
async fn what_we_may_not_read_or_is_too_long_holds_nobody_up() {
    let world = Imports::new(config(ROOT, "")).await;
    directories(&world.eye, ROOT).await;
    let blind = vec![Acl::world(perms::ALL & !perms::READ)];
    world.eye.create(&format!("{ROOT}/hidden"), "", blind, CreateMode::Persistent).await.unwrap();
    world.register("hidden", "10.1.0.9:8080").await;
    let long = format!("{ROOT}/carts/long");
    directories(&world.eye, &format!("{ROOT}/carts")).await;
    world.eye.create(&long, vec![b'x'; 200_000], Acl::open(), CreateMode::Ephemeral).await.unwrap();
    world.register("carts", "10.1.0.1:8080").await;
    world.until("carts", Some(&["10.1.0.1:8080"])).await;
    // Whoever leads next reads everything at once.
    let world = world.succeeded_with(|_| {}).await;
    world.register("carts", "10.1.0.2:8080").await;
    world.until("carts", Some(&["10.1.0.1:8080", "10.1.0.2:8080"])).await;
    world.until_status(|status| status.known && status.pending == 0 && status.refused_instances == 1).await;
}

#[tokio::test]
async fn services_beyond_the_limit_wait_for_room() {
    let world = Imports::new(config(ROOT, "maxServices: 1, maxEndpoints: 2")).await;
    for address in ["10.1.0.1:1", "10.1.0.2:1"] {
        world.register("a", address).await;
    }
    world.until("a", Some(&["10.1.0.1:1", "10.1.0.2:1"])).await;
    world.register("a", "10.1.0.0:1").await;
    world.register("b", "10.1.0.1:1").await;
    world.until_status(|status| status.refused == 2 && status.pending == 0).await;
    assert_eq!(world.endpoints("a").await.unwrap(), ["10.1.0.1:1", "10.1.0.2:1"]);
    assert_eq!(world.endpoints("b").await, None);
    for address in ["10.1.0.1:1", "10.1.0.2:1", "10.1.0.0:1"] {
        world.eye.delete(&format!("{ROOT}/a/{address}"), -1).await.unwrap();
    }
    world.eye.delete(&format!("{ROOT}/a"), -1).await.unwrap();
    world.until("b", Some(&["10.1.0.1:1"])).await;
}
