//! Reads what a bridge or a server tells over HTTP, as Prometheus and a kubelet do.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use zoobridge::http::{HttpServer, Subject};

/// Where to ask.
pub(crate) struct Scraper(HttpServer);

/// One scrape.
#[derive(Debug, Default)]
pub(crate) struct Scrape {
    /// Families with their types.
    pub(crate) types: BTreeMap<String, String>,
    /// Samples, with their labels as they were written, but for that of the first ensemble.
    samples: BTreeMap<String, f64>,
}

impl Scraper {
    pub(crate) async fn new(subject: impl Subject) -> Scraper {
        Scraper(HttpServer::start("127.0.0.1:0".parse().unwrap(), subject).await.unwrap())
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        get(self.0.address(), path).await
    }

    pub(crate) async fn scrape(&self) -> Scrape {
        let (status, text) = self.get("/metrics").await;
        assert_eq!(status, 200, "{text}");
        Scrape::parse(&text)
    }
}

/// The status and everything behind it.
pub(crate) async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    if path == "/metrics" && status == 200 {
        assert!(head.contains("content-type: text/plain; version=0.0.4"), "{head}");
    }
    (status, body.to_owned())
}

impl Scrape {
    fn parse(text: &str) -> Scrape {
        let mut scrape = Scrape::default();
        for line in text.lines() {
            if let Some(line) = line.strip_prefix("# TYPE ") {
                let (name, kind) = line.split_once(' ').unwrap();
                assert_eq!(scrape.types.insert(name.to_owned(), kind.to_owned()), None, "{name} twice");
            } else if !line.starts_with('#') {
                let (name, value) = line.rsplit_once(' ').unwrap();
                let is_of_a_bridge = name.starts_with("zoobridge_") && !name.starts_with("zoobridge_config");
                assert_eq!(name.contains("ensemble=\""), is_of_a_bridge, "{name}");
                let mut name = name.to_owned();
                for label in ["{ensemble=\"default\"}", ",ensemble=\"default\"", "ensemble=\"default\","] {
                    name = name.replacen(label, "", 1);
                }
                let before = scrape.samples.insert(name.clone(), value.parse().unwrap());
                assert_eq!(before, None, "{name} twice");
            }
        }
        scrape
    }

    /// The value of a sample, with its labels.
    pub(crate) fn value(&self, sample: &str) -> f64 {
        *self.samples.get(sample).unwrap_or_else(|| panic!("there is no {sample}"))
    }

    /// All labels with all their values, but for the buckets of histograms.
    pub(crate) fn labels(&self) -> BTreeMap<String, Vec<String>> {
        let mut labels: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for sample in self.samples.keys() {
            let Some((family, list)) = sample.split_once('{') else { continue };
            let (label, value) = list.trim_end_matches('}').split_once('=').unwrap();
            if label != "le" {
                labels
                    .entry(format!("{family} {label}"))
                    .or_default()
                    .push(value.trim_matches('"').to_owned());
            }
        }
        labels
    }

    /// Values of samples that must never fall.
    pub(crate) fn counters(&self) -> impl Iterator<Item = (&String, f64)> {
        let is_counter = |sample: &str| {
            let name = sample.split('{').next().unwrap_or_default();
            self.types.get(name).is_some_and(|kind| kind == "counter")
        };
        self.samples.iter().filter(move |(sample, _)| is_counter(sample)).map(|(name, value)| (name, *value))
    }
}
