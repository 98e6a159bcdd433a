//! What was asked and what was answered, as a text that can be kept.

use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

use axum::http::{Method, Request};
use futures::{AsyncBufReadExt, TryStreamExt};
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use kube_dev::{KubeDev, Options};
use serde_json::{Value, json};

use crate::normal::Names;

pub(crate) const JSON: &str = "application/json";
pub(crate) const MERGE: &str = "application/merge-patch+json";
pub(crate) const APPLY: &str = "application/apply-patch+yaml";

/// A plane, a namespace of its own, and all that was said.
pub(crate) struct Transcript {
    scenario: &'static str,
    client: Client,
    pub(crate) kubeconfig: PathBuf,
    pub(crate) namespace: String,
    names: Names,
    text: String,
    // Both end with the transcript.
    _dev: Option<KubeDev>,
    pub(crate) dir: tempfile::TempDir,
}

impl Transcript {
    pub(crate) async fn begin(scenario: &'static str) -> Transcript {
        Transcript::begin_with(scenario, Options::default()).await
    }

    /// The same with a kube-dev of another kind, but without pods that come and go.
    pub(crate) async fn begin_with(scenario: &'static str, options: Options) -> Transcript {
        let dir = tempfile::tempdir().unwrap();
        let (dev, kubeconfig) = match std::env::var_os("CONFORMANCE_KUBECONFIG") {
            Some(path) => (None, path.into()),
            None => {
                let dev = KubeDev::start(Options { workloads: false, ..options }).await.unwrap();
                let path = dir.path().join("kubeconfig");
                std::fs::write(&path, dev.kubeconfig()).unwrap();
                (Some(dev), path)
            }
        };
        let read = Kubeconfig::read_from(&kubeconfig).unwrap();
        let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await.unwrap();
        let client = Client::try_from(config).unwrap();
        let namespace = format!("{scenario}-{}", uuid::Uuid::new_v4().simple());
        let mut names = Names::default();
        names.call(&namespace, "<ns>");
        let transcript = Transcript {
            scenario,
            client,
            kubeconfig,
            namespace,
            names,
            text: String::new(),
            _dev: dev,
            dir,
        };
        let body = json!({"metadata": {"name": transcript.namespace}});
        let created = transcript.answer(&Method::POST, "/api/v1/namespaces", JSON, &body.to_string()).await;
        assert_eq!(created.0, 201, "{}", created.1);
        transcript
    }

    /// Sends a request and writes it down with its answer. `{ns}` in path and body is the namespace.
    pub(crate) async fn send(&mut self, method: Method, path: &str, media_type: &str, body: &str) -> Value {
        let (path, body) = (path.replace("{ns}", &self.namespace), body.replace("{ns}", &self.namespace));
        let (code, answer) = self.answer(&method, &path, media_type, &body).await;
        let kind = if matches!(method, Method::GET | Method::DELETE) { "" } else { media_type };
        let path = self.names.text(&path);
        let body = match serde_json::from_str(&body) {
            Ok(json) => self.names.json(json).to_string(),
            Err(_) => self.names.text(&body),
        };
        let asked = format!("{method} {path} {kind}");
        writeln!(self.text, "{}", asked.trim_end()).unwrap();
        if !body.is_empty() {
            writeln!(self.text, "{body}").unwrap();
        }
        let shown = self.names.json(answer.clone());
        writeln!(self.text, "{code}\n{shown:#}\n").unwrap();
        answer
    }

    pub(crate) async fn get(&mut self, path: &str) -> Value {
        self.send(Method::GET, path, JSON, "").await
    }

    /// The page after a token.
    pub(crate) async fn page(&mut self, path: &str, token: &str) {
        let answer = self.get(&format!("{path}&continue={token}")).await;
        assert!(answer["metadata"].get("continue").is_none(), "{answer}");
    }

    pub(crate) async fn post(&mut self, path: &str, body: Value) -> Value {
        self.send(Method::POST, path, JSON, &body.to_string()).await
    }

    pub(crate) async fn delete(&mut self, path: &str, options: &str) -> Value {
        self.send(Method::DELETE, path, JSON, options).await
    }

    pub(crate) async fn patch(&mut self, path: &str, media_type: &str, body: Value) -> Value {
        self.send(Method::PATCH, path, media_type, &body.to_string()).await
    }

    /// The first events of a watch.
    pub(crate) async fn watch(&mut self, path: &str, events: usize) {
        let events = self.events(path, events).await;
        self.write_events(path, events);
    }

    /// The first event of a watch from a version that the plane forgets sooner or later.
    pub(crate) async fn watch_until_gone(&mut self, path: &str) {
        let forgetting = tokio::time::Instant::now() + Duration::from_secs(660);
        let gone = loop {
            let events = self.events(path, 1).await;
            if events[0]["type"] == "ERROR" {
                break events;
            }
            assert!(tokio::time::Instant::now() < forgetting, "the plane forgets nothing: {}", events[0]);
            tokio::time::sleep(Duration::from_secs(1)).await;
        };
        self.write_events(path, gone);
    }

    async fn events(&self, path: &str, count: usize) -> Vec<Value> {
        let path = path.replace("{ns}", &self.namespace);
        let request = Request::get(path).body(Vec::new()).unwrap();
        let mut lines = Box::pin(self.client.request_stream(request).await.unwrap().lines());
        let mut events = Vec::new();
        while events.len() < count {
            let line = tokio::time::timeout(Duration::from_secs(60), lines.try_next()).await;
            let line = line.expect("an event within a minute").unwrap().expect("the watch goes on");
            events.push(serde_json::from_str(&line).unwrap());
        }
        events
    }

    fn write_events(&mut self, path: &str, events: Vec<Value>) {
        let asked = self.names.text(&path.replace("{ns}", &self.namespace));
        writeln!(self.text, "WATCH {asked}").unwrap();
        for event in events {
            let event = self.names.json(event);
            writeln!(self.text, "{event:#}").unwrap();
        }
        self.text.push('\n');
    }

    /// What a program printed.
    pub(crate) fn note(&mut self, asked: &str, answered: &str) {
        let (asked, answered) = (self.names.text(asked), self.names.text(answered));
        writeln!(self.text, "$ {asked}\n{}\n", answered.trim_end()).unwrap();
    }

    /// Compares with the recorded transcript, or records this one.
    pub(crate) async fn end(self) {
        let path = format!("/api/v1/namespaces/{}", self.namespace);
        self.answer(&Method::DELETE, &path, JSON, "").await;
        let place = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/recorded");
        let file = place.join(format!("{}.txt", self.scenario));
        if std::env::var_os("CONFORMANCE_REFRESH").is_some() {
            assert!(self._dev.is_none(), "only a real plane is recorded");
            std::fs::write(file, self.text).unwrap();
            return;
        }
        let recorded = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(self.text == recorded, "{} differs:\n{}", file.display(), difference(&recorded, &self.text));
    }

    async fn answer(&self, method: &Method, path: &str, media_type: &str, body: &str) -> (u16, Value) {
        let request = Request::builder().method(method).uri(path).header("content-type", media_type);
        let request = request.body(Body::from(body.as_bytes().to_vec())).unwrap();
        let response = self.client.send(request).await.unwrap();
        let code = response.status().as_u16();
        let bytes = response.into_body().collect_bytes().await.unwrap();
        (code, serde_json::from_slice(&bytes).unwrap())
    }
}

/// Each exchange that differs, and the lines that make the difference.
fn difference(recorded: &str, found: &str) -> String {
    let (recorded, found): (Vec<_>, Vec<_>) =
        (recorded.split("\n\n").collect(), found.split("\n\n").collect());
    let mut shown = String::new();
    for n in 0..recorded.len().max(found.len()) {
        let (left, right) = (recorded.get(n).unwrap_or(&""), found.get(n).unwrap_or(&""));
        if left != right {
            let asked: String =
                left.lines().chain(right.lines()).take(2).map(|line| format!("\n  {line}")).collect();
            _ = writeln!(shown, "{asked}");
            lines(&left.lines().collect::<Vec<_>>(), &right.lines().collect::<Vec<_>>(), &mut shown);
        }
    }
    shown
}

/// Lines of which only one side has them, by the longest sequence that both have.
fn lines(left: &[&str], right: &[&str], shown: &mut String) {
    let mut common = vec![vec![0; right.len() + 1]; left.len() + 1];
    for (l, r) in (0..left.len()).rev().flat_map(|l| (0..right.len()).rev().map(move |r| (l, r))) {
        common[l][r] = match left[l] == right[r] {
            true => common[l + 1][r + 1] + 1,
            false => common[l + 1][r].max(common[l][r + 1]),
        };
    }
    let (mut l, mut r) = (0, 0);
    while l < left.len() || r < right.len() {
        if l < left.len() && r < right.len() && left[l] == right[r] {
            (l, r) = (l + 1, r + 1);
        } else if r == right.len() || l < left.len() && common[l + 1][r] >= common[l][r + 1] {
            _ = writeln!(shown, "- {}", left[l]);
            l += 1;
        } else {
            _ = writeln!(shown, "+ {}", right[r]);
            r += 1;
        }
    }
}
