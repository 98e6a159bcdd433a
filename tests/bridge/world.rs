//! Our server, kube-dev and a bridge in this process, and an eye on them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Event, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use zk_client::{Connector, Credentials, Opening, Options, Permit, Session, attach};
use zk_wire::acl::Acl;
use zk_wire::codes::CreateMode;
use zk_wire::ids::Zxid;
use zk_wire::stat::Stat;
use zoobridge::config::Config;
use zoobridge::local::Local;
use zoobridge::session::CredentialStore;

pub(crate) const DIRECTORY: &str = "/services/orders";

/// Everything, and an eye on it. Slices are written by hand, so that tests decide what is ready.
pub(crate) struct World {
    pub(crate) local: Local,
    pub(crate) eye: Session,
    pub(crate) dir: tempfile::TempDir,
}

pub(crate) fn config() -> Config {
    Config::parse(
        "{cluster: test, zookeeper: {connect: replaced, sessionTimeout: 4s}, \
         rules: [{services: ['orders*', 'carts'], formats: [curator, dubbo], names: ['*'], addresses: [pod, custom]}]}",
    )
    .unwrap()
}

pub(crate) async fn session(address: SocketAddr) -> Session {
    let to = address.to_string().parse().unwrap();
    let stream = Connector::new(to, Duration::from_secs(5)).connect().await.unwrap();
    let opening = Opening::New { timeout: Duration::from_secs(30) };
    attach(stream, Permit::grant(), opening, Options::default()).await.unwrap().0
}

impl World {
    pub(crate) async fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let options = kube_dev::Options { workloads: false, ..kube_dev::Options::default() };
        let local = Local::start(dir.path(), options, config()).await.unwrap();
        let eye = session(local.zookeeper()).await;
        World { local, eye, dir }
    }

    pub(crate) fn config(&self) -> Config {
        let mut config = config();
        config.zookeeper.connect = self.local.zookeeper().to_string().parse().unwrap();
        config
    }

    pub(crate) fn credentials(&self) -> CredentialStore {
        CredentialStore::secret(self.local.client.clone(), "default", "zoobridge-sessions")
    }

    pub(crate) async fn service(&self, name: &str, annotations: &[(&str, &str)]) {
        service(&self.local.client, name, annotations).await;
    }

    pub(crate) async fn annotate(&self, name: &str, annotation: &str, value: Option<&str>) {
        annotate(&self.local.client, name, annotation, value).await;
    }

    pub(crate) async fn slice(&self, service: &str, ready: &[u8]) {
        slice(&self.local.client, service, ready).await;
    }

    pub(crate) async fn leaves(&self, directory: &str) -> Vec<String> {
        leaves(&self.eye, directory).await
    }

    pub(crate) async fn until(&self, directory: &str, expected: &[&str]) {
        until(&self.eye, directory, expected).await;
    }

    pub(crate) async fn stats(&self, directory: &str) -> BTreeMap<String, Stat> {
        let mut stats = BTreeMap::new();
        for leaf in self.leaves(directory).await {
            let stat = self.eye.exists(&format!("{directory}/{leaf}")).await.unwrap().unwrap();
            stats.insert(leaf, stat);
        }
        stats
    }

    /// The zxid of a new znode: how many transactions there have been.
    pub(crate) async fn marker(&self, path: &str) -> Zxid {
        self.eye.create(path, "", Acl::open(), CreateMode::Persistent).await.unwrap().1.czxid
    }

    /// The reasons of the Events about a Service, once this one is among them.
    pub(crate) async fn event(&self, service: &str, reason: &str) -> String {
        self.event_about(service, reason, "").await
    }

    /// Waits for an Event of this reason with `part` in its message, and returns the message.
    pub(crate) async fn event_about(&self, service: &str, reason: &str, part: &str) -> String {
        let api: Api<Event> = Api::default_namespaced(self.local.client.clone());
        within(async {
            loop {
                let events = api.list(&ListParams::default()).await.unwrap().items;
                let about = events.into_iter().filter(|event| {
                    event.involved_object.name.as_deref() == Some(service)
                        && event.reason.as_deref() == Some(reason)
                });
                let mut messages = about.filter_map(|event| event.message);
                if let Some(message) = messages.find(|message| message.contains(part)) {
                    return message;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await
    }
}

pub(crate) async fn annotate(client: &Client, name: &str, annotation: &str, value: Option<&str>) {
    let annotations = json!({format!("zoobridge.io/{annotation}"): value});
    let patch = Patch::Merge(json!({"metadata": {"annotations": annotations}}));
    let api: Api<Service> = Api::default_namespaced(client.clone());
    api.patch(name, &PatchParams::default(), &patch).await.unwrap();
}

pub(crate) async fn service(client: &Client, name: &str, annotations: &[(&str, &str)]) {
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
pub(crate) async fn slice(client: &Client, service: &str, ready: &[u8]) {
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

pub(crate) async fn leaves(eye: &Session, directory: &str) -> Vec<String> {
    let mut leaves = eye.children(directory).await.unwrap().unwrap_or_default().0;
    leaves.sort();
    leaves
}

pub(crate) async fn until(eye: &Session, directory: &str, expected: &[&str]) {
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

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("it takes less than 20 s")
}

/// Ends a session at the server: that is what an expiry looks like. Whoever has the credentials can.
pub(crate) async fn end_session(config: &Config, credentials: Credentials) {
    let connector = Connector::new(config.zookeeper.connect.clone(), Duration::from_secs(5));
    let stream = { connector }.connect().await.unwrap();
    let opening = Opening::Resume(credentials, zk_client::WatchSet::default());
    let (thief, _events) = attach(stream, Permit::grant(), opening, Options::default()).await.unwrap();
    thief.close().await.unwrap();
}
