//! A running API, and ways to talk to it.

use std::future::Future;
use std::time::Duration;

use axum::http::{Method, Request};
use futures::{AsyncBufReadExt, TryStreamExt};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::PostParams;
use kube::client::Body;
use kube::{Api, Client, Config, Resource};
use kube_dev::{KubeDev, Options};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// A running API and its client.
pub(crate) struct Cluster {
    pub(crate) dev: KubeDev,
    pub(crate) client: Client,
}

/// Nothing but what the test itself writes.
pub(crate) fn quiet() -> Options {
    Options { workloads: false, ..Options::default() }
}

/// Pods that start and stop at once.
pub(crate) fn prompt() -> Options {
    Options { pod_start: Duration::ZERO, pod_stop: Duration::ZERO, ..Options::default() }
}

impl Cluster {
    pub(crate) async fn start(options: Options) -> Cluster {
        let dev = KubeDev::start(options).await.unwrap();
        let config = Config::new(format!("http://{}", dev.address()).parse().unwrap());
        Cluster { client: Client::try_from(config).unwrap(), dev }
    }

    /// The objects of a type in the namespace `default`.
    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::default_namespaced(self.client.clone())
    }

    /// Sends a request and returns the answer's code and JSON.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        media_type: &str,
        body: impl Into<Vec<u8>>,
    ) -> (u16, Value) {
        let request = Request::builder().method(method).uri(path).header("content-type", media_type);
        let request = request.body(Body::from(body.into())).unwrap();
        let response = self.client.send(request).await.unwrap();
        let code = response.status().as_u16();
        let bytes = response.into_body().collect_bytes().await.unwrap();
        (code, serde_json::from_slice(&bytes).unwrap())
    }

    /// Sends JSON.
    pub(crate) async fn json(&self, method: Method, path: &str, body: &Value) -> (u16, Value) {
        self.send(method, path, "application/json", body.to_string()).await
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        self.send(Method::GET, path, "application/json", "").await
    }

    /// The events of a watch, as they come.
    pub(crate) async fn watch(&self, path: &str) -> Watch {
        let request = Request::get(path).body(Vec::new()).unwrap();
        let lines = self.client.request_stream(request).await.unwrap().lines();
        Watch { lines: Box::pin(lines) }
    }

    /// Creates a ConfigMap and returns its resourceVersion.
    pub(crate) async fn config(&self, name: &str, labels: &Value) -> String {
        let api: Api<ConfigMap> = self.api();
        let object = object(json!({"metadata": {"name": name, "labels": labels}, "data": {"a": "1"}}));
        api.create(&PostParams::default(), &object).await.unwrap().metadata.resource_version.unwrap()
    }
}

/// A watch on the wire.
pub(crate) struct Watch {
    lines: std::pin::Pin<Box<dyn futures::Stream<Item = std::io::Result<String>> + Send>>,
}

impl Watch {
    /// The next event's type and object.
    pub(crate) async fn next(&mut self) -> (String, Value) {
        let line = within(self.lines.try_next()).await.unwrap().expect("the watch goes on");
        let mut event: Value = serde_json::from_str(&line).unwrap();
        (event["type"].as_str().unwrap().to_owned(), event["object"].take())
    }

    /// The next event as `TYPE name`.
    pub(crate) async fn next_name(&mut self) -> String {
        let (what, object) = self.next().await;
        format!("{what} {}", object["metadata"]["name"].as_str().unwrap_or_default())
    }

    /// All events up to the end, as `TYPE name`.
    pub(crate) async fn rest(mut self) -> Vec<String> {
        let mut events = Vec::new();
        while let Some(line) = within(self.lines.try_next()).await.unwrap() {
            let event: Value = serde_json::from_str(&line).unwrap();
            let name = event["object"]["metadata"]["name"].as_str().unwrap_or_default();
            events.push(format!("{} {name}", event["type"].as_str().unwrap()));
        }
        events
    }
}

/// An object from JSON.
pub(crate) fn object<K: DeserializeOwned>(json: Value) -> K {
    serde_json::from_value(json).unwrap()
}

/// What comes, or a failure instead of a test that hangs.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("this comes within a minute")
}

/// The code and reason of a refusal.
pub(crate) fn refusal<T: std::fmt::Debug>(result: kube::Result<T>) -> (u16, String) {
    match result {
        Err(kube::Error::Api(status)) => (status.code, status.reason),
        other => panic!("not refused: {other:?}"),
    }
}
