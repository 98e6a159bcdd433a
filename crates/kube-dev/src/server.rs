//! From options to an API that answers, and back.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use jiff::Timestamp;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::apply_set::{ManifestError, apply};
use crate::error::ApiError;
use crate::http;
use crate::kinds::Kind;
use crate::store::{Stamp, Store};
use crate::workloads;

/// How the API behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where it listens; port 0 takes a free one.
    pub address: SocketAddr,
    /// Run Deployments and fill EndpointSlices?
    pub workloads: bool,
    /// From a pod's creation to its readiness.
    pub pod_start: Duration,
    /// From a pod's deletion to its end.
    pub pod_stop: Duration,
    /// Pods that one Deployment gets at most, however many it asks for.
    pub pod_limit: usize,
    /// Changes that watches can still resume from; older ones are 410 Gone.
    pub history: usize,
    /// How often a watch that wants bookmarks gets one.
    pub bookmark_interval: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            workloads: true,
            pod_start: Duration::from_millis(200),
            pod_stop: Duration::from_millis(200),
            pod_limit: 5_000,
            history: 10_000,
            bookmark_interval: Duration::from_secs(10),
        }
    }
}

/// Why the API did not start.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct StartError {
    /// The address wanted.
    pub address: SocketAddr,
    /// Why not.
    #[source]
    pub source: std::io::Error,
}

/// A running API. Dropping it stops it without waiting.
#[derive(Debug)]
pub struct KubeDev {
    api: Arc<Api>,
    address: SocketAddr,
    tasks: TaskTracker,
}

/// The store as requests and controllers share it.
#[derive(Debug)]
pub(crate) struct Api {
    store: Mutex<Store>,
    revision: watch::Sender<u64>,
    stop: CancellationToken,
    bookmark_interval: Duration,
}

/// Namespaces that every cluster has.
const NAMESPACES: [&str; 3] = ["default", "kube-public", "kube-system"];

impl KubeDev {
    /// Starts serving.
    ///
    /// # Errors
    /// The address cannot be had.
    pub async fn start(options: Options) -> Result<KubeDev, StartError> {
        let failed = |source| StartError { address: options.address, source };
        let listener = TcpListener::bind(options.address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let api = Arc::new(Api {
            store: Mutex::new(Store::new(options.history, options.workloads)),
            revision: watch::Sender::new(0),
            stop: CancellationToken::new(),
            bookmark_interval: options.bookmark_interval,
        });
        for name in NAMESPACES {
            let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
            // An empty store accepts them.
            let _ = api.write(|store, stamp| store.create(Kind::named("namespaces"), "", namespace, stamp));
        }
        let tasks = TaskTracker::new();
        let router = Router::new().fallback(http::handle).with_state(Arc::clone(&api));
        let stop = api.stop.clone();
        tasks.spawn(async move {
            let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await;
            if let Err(error) = served {
                tracing::error!("the API ended: {error}");
            }
        });
        if options.workloads {
            tasks.spawn(workloads::run(Arc::clone(&api), options));
        }
        tasks.close();
        Ok(KubeDev { api, address, tasks })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A kubeconfig, as YAML, that leads here. No credentials are needed.
    #[must_use]
    pub fn kubeconfig(&self) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: kube-dev\n\
             clusters: [{{name: kube-dev, cluster: {{server: \"http://{}\"}}}}]\n\
             contexts: [{{name: kube-dev, context: {{cluster: kube-dev, user: kube-dev, namespace: default}}}}]\n\
             users: [{{name: kube-dev, user: {{}}}}]\n",
            self.address
        )
    }

    /// Creates or replaces the objects of a YAML text with any number of documents. Returns what became of
    /// each, as `service/orders created`.
    ///
    /// # Errors
    /// A document is no object of a kind that exists here. The documents before it are applied.
    pub fn apply_manifests(&self, yaml: &str) -> Result<Vec<String>, ManifestError> {
        apply(&self.api, yaml)
    }

    /// Stops serving; open watches end.
    pub async fn stop(self) {
        self.api.stop.cancel();
        self.tasks.wait().await;
    }
}

impl Drop for KubeDev {
    fn drop(&mut self) {
        self.api.stop.cancel();
    }
}

impl Api {
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Store) -> T) -> T {
        read(&self.store.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Writes, and wakes watches.
    pub(crate) fn write<T>(
        &self,
        write: impl FnOnce(&mut Store, &Stamp) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        self.change(write)
    }

    /// Answers as a write would, and writes nothing.
    pub(crate) fn rehearse<T>(
        &self,
        write: impl FnOnce(&mut Store, &Stamp) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        write(&mut self.read(Clone::clone), &stamp())
    }

    /// The same for what cannot fail as a whole.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Store, &Stamp) -> T) -> T {
        let stamp = stamp();
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = change(&mut store, &stamp);
        let revision = store.revision();
        drop(store);
        self.revision.send_if_modified(|before| std::mem::replace(before, revision) != revision);
        changed
    }

    /// Never zero: a watch does not consist of bookmarks only.
    pub(crate) fn bookmark_interval(&self) -> Duration {
        self.bookmark_interval.max(Duration::from_millis(1))
    }

    pub(crate) fn revisions(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    pub(crate) fn stopped(&self) -> CancellationToken {
        self.stop.clone()
    }
}

/// What a write of our own carries.
fn stamp() -> Stamp {
    let seconds = Timestamp::now().as_second();
    let time = Timestamp::from_second(seconds).unwrap_or_default().to_string();
    let uid = uuid::Uuid::new_v4().to_string();
    Stamp { time, uid, manager: Some("kube-dev".to_owned()), subresource: None }
}
