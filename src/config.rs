//! What an administrator writes, in `zoobridge.yaml`. `config/zoobridge.yaml` is the annotated sample.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use zk_client::ConnectString;

use crate::format::Format;
use crate::model::ZnodePath;
use crate::plan::{Roots, Rules};
use crate::reverse::plan::{Import, is_label};

/// The whole configuration, with defaults for whatever was not written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Config {
    /// Names this cluster in ZooKeeper: part of our own paths.
    #[serde(default = "default_cluster")]
    pub cluster: String,
    /// The ensemble.
    pub zookeeper: ZooKeeper,
    /// Where the formats and our own znodes live.
    #[serde(default)]
    pub paths: Paths,
    /// Where sessions are kept so that a restart resumes them.
    #[serde(default)]
    pub sessions: Sessions,
    /// Which of several replicas leads.
    #[serde(default)]
    pub leader_election: LeaderElection,
    /// Where metrics and health are served.
    #[serde(default)]
    pub http: Http,
    /// Who may publish what.
    pub rules: Rules,
    /// What is registered and becomes Services.
    #[serde(default)]
    pub imports: Vec<Import>,
}

/// The ensemble and how to talk to it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ZooKeeper {
    /// `host:port,…/chroot`.
    #[serde(deserialize_with = "from_text")]
    pub connect: ConnectString,
    /// How long znodes outlive the bridge.
    #[serde(default = "default_session_timeout", deserialize_with = "duration")]
    pub session_timeout: Duration,
    /// A file with `user:password` for the digest scheme.
    #[serde(default)]
    pub digest_file: Option<PathBuf>,
}

/// Paths below the chroot: `own`, and one for each format.
#[derive(Debug, Clone, Deserialize)]
#[serde(from = "BTreeMap<PathKey, String>")]
pub struct Paths {
    /// Our own znodes: the fence.
    own: String,
    /// The roots of formats.
    formats: BTreeMap<Format, String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum PathKey {
    Own,
    Format(Format),
}

impl<'de> Deserialize<'de> for PathKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let of_format = || Format::ALL.into_iter().find(|format| format.name() == name).map(PathKey::Format);
        let key = if name == "own" { Some(PathKey::Own) } else { of_format() };
        key.ok_or_else(|| {
            let formats = Format::ALL.map(Format::name).join(", ");
            serde::de::Error::custom(format!("there is no path {name:?}; there are: own, {formats}"))
        })
    }
}

impl std::fmt::Display for PathKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PathKey::Own => write!(f, "paths.own"),
            PathKey::Format(format) => write!(f, "paths.{format}"),
        }
    }
}

impl From<BTreeMap<PathKey, String>> for Paths {
    fn from(mut written: BTreeMap<PathKey, String>) -> Self {
        let mut path = |key, default: &str| written.remove(&key).unwrap_or_else(|| default.to_owned());
        let own = path(PathKey::Own, "/zoobridge");
        let root = |format: Format| (format, path(PathKey::Format(format), format.default_root()));
        Paths { own, formats: Format::ALL.map(root).into() }
    }
}

/// The Secret that keeps ids and passwords of sessions.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Sessions {
    /// Its name.
    pub secret: String,
    /// Its namespace; the one that the bridge runs in by default.
    pub namespace: Option<String>,
    /// At most so many sessions. Apache allows 60 connections per address (`maxClientCnxns`).
    pub limit: usize,
}

/// The Lease that the leading replica holds.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct LeaderElection {
    /// Without it there may be one replica only.
    pub enabled: bool,
    /// Its name.
    pub lease: String,
    /// Its namespace; the one that the bridge runs in by default.
    pub namespace: Option<String>,
    /// Others take over when the leader has not renewed it for so long; a third of the session timeout by
    /// default, so that they find its sessions alive.
    #[serde(deserialize_with = "some_duration")]
    pub lease_duration: Option<Duration>,
}

/// Metrics and health.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Http {
    /// Where to listen; port 0 takes a free one.
    #[serde(deserialize_with = "from_text")]
    pub address: SocketAddr,
}

impl Default for Http {
    fn default() -> Self {
        // The port that OpenTelemetry's exporters for Prometheus have.
        Http { address: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 9464)) }
    }
}

impl Default for LeaderElection {
    fn default() -> Self {
        LeaderElection { enabled: true, lease: "zoobridge".to_owned(), namespace: None, lease_duration: None }
    }
}

impl Default for Paths {
    fn default() -> Self {
        Paths::from(BTreeMap::new())
    }
}

impl Default for Sessions {
    fn default() -> Self {
        Sessions { secret: "zoobridge-sessions".to_owned(), namespace: None, limit: 50 }
    }
}

/// Why a configuration is none.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// No such file, or not readable.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Not YAML, or not what is expected there; the text says where.
    #[error("{path} makes no sense:\n{reason}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Line, column and reason.
        reason: String,
    },
    /// Two paths of which one would hold what belongs to the other.
    #[error("{key}: {value:?} and {other_key}: {other:?} overlap; neither may be the other or be below it")]
    Overlap {
        /// The one key.
        key: String,
        /// As it was written.
        value: String,
        /// The other key.
        other_key: String,
        /// As it was written.
        other: String,
    },
    /// A value that cannot be.
    #[error("{key}: {value:?} {reason}")]
    Value {
        /// The key.
        key: String,
        /// As it was written.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Paths {
    /// Whose a znode is follows from the path that it is below, and a directory of leaves holds nothing else.
    /// Formats whose leaves are read alike may have one root.
    fn check(&self) -> Result<(), ConfigError> {
        let formats = self.formats.iter().map(|(format, value)| (PathKey::Format(*format), value));
        let keys: Vec<_> = [(PathKey::Own, &self.own)].into_iter().chain(formats).collect();
        for (index, &(key, value)) in keys.iter().enumerate() {
            let this = path(&key.to_string(), value)?;
            for &(other_key, other) in &keys[..index] {
                let that = path(&other_key.to_string(), other)?;
                let may_be_one = match (key, other_key) {
                    (PathKey::Format(this), PathKey::Format(that)) => this.may_share_a_root(that),
                    _ => false,
                };
                let overlap = this == that && !may_be_one || this.is_below(&that) || that.is_below(&this);
                if overlap {
                    let (key, other_key) = (key.to_string(), other_key.to_string());
                    let (value, other) = (value.clone(), other.clone());
                    return Err(ConfigError::Overlap { key, value, other_key, other });
                }
            }
        }
        Ok(())
    }
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read or makes no sense.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(&text).map_err(|error| match error {
            ConfigError::Parse { reason, .. } => ConfigError::Parse { path: path.to_owned(), reason },
            other => other,
        })
    }

    /// Reads text.
    ///
    /// # Errors
    /// It makes no sense.
    pub fn parse(yaml: &str) -> Result<Config, ConfigError> {
        let config: Config = serde_saphyr::from_str(yaml).map_err(|error| ConfigError::Parse {
            path: PathBuf::from("the configuration"),
            reason: error.to_string(),
        })?;
        config.paths.check()?;
        config.fence_directory()?;
        config.check_imports()?;
        if !(Duration::from_secs(2)..=Duration::from_secs(3600)).contains(&config.zookeeper.session_timeout) {
            return Err(ConfigError::Value {
                key: "zookeeper.sessionTimeout".to_owned(),
                value: format!("{:?}", config.zookeeper.session_timeout),
                reason: "is not between 2s and 1h".to_owned(),
            });
        }
        if config.sessions.limit == 0 {
            return Err(ConfigError::Value {
                key: "sessions.limit".to_owned(),
                value: "0".to_owned(),
                reason: "leaves no session to publish with".to_owned(),
            });
        }
        let session_timeout = config.zookeeper.session_timeout;
        // A fifth more passes before the others look, and they need time to attach.
        if config.lease_duration() * 12 / 5 > session_timeout {
            return Err(ConfigError::Value {
                key: "leaderElection.leaseDuration".to_owned(),
                value: format!("{:?}", config.lease_duration()),
                reason: format!(
                    "is too long for zookeeper.sessionTimeout {session_timeout:?}: sessions would expire before \
                     another replica takes over; at most 5/12 of it"
                ),
            });
        }
        Ok(config)
    }

    /// Each Service says by its labels which import of which cluster it is of.
    fn check_imports(&self) -> Result<(), ConfigError> {
        let own = path("paths.own", &self.paths.own)?;
        let value = |key: &str, value: &str, reason: &str| ConfigError::Value {
            key: key.to_owned(),
            value: value.to_owned(),
            reason: reason.to_owned(),
        };
        if !self.imports.is_empty() && !is_label(&self.cluster) {
            let reason = "is no DNS label, and with imports it becomes a label of Services";
            return Err(value("cluster", &self.cluster, reason));
        }
        for (index, import) in self.imports.iter().enumerate() {
            import.check().map_err(|(key, reason)| {
                value("imports", &import.name, &format!("makes no sense: its {key} {reason}"))
            })?;
            if self.imports[..index].iter().any(|other| other.name == import.name) {
                return Err(value("imports", &import.name, "is the name of two of them"));
            }
            if import.root == own || import.root.is_below(&own) || own.is_below(&import.root) {
                return Err(value("imports", &import.name, "has a root that overlaps paths.own"));
            }
        }
        Ok(())
    }

    /// How long the Lease lasts without renewal.
    #[must_use]
    pub fn lease_duration(&self) -> Duration {
        self.leader_election.lease_duration.unwrap_or(self.zookeeper.session_timeout / 3)
    }

    /// Where the formats live.
    ///
    /// # Errors
    /// A path is none.
    pub fn roots(&self) -> Result<Roots, ConfigError> {
        let root = |(format, value): (&Format, &String)| {
            Ok((*format, path(&PathKey::Format(*format).to_string(), value)?))
        };
        self.paths.formats.iter().map(root).collect::<Result<_, _>>().map(Roots)
    }

    /// The directory of the fence.
    ///
    /// # Errors
    /// The path or the cluster's name is none.
    pub fn fence_directory(&self) -> Result<ZnodePath, ConfigError> {
        let own = path("paths.own", &self.paths.own)?;
        let bad = |reason: zk_wire::path::PathError| ConfigError::Value {
            key: "cluster".to_owned(),
            value: self.cluster.clone(),
            reason: format!("cannot be part of a path: {reason}"),
        };
        own.child(&self.cluster).and_then(|cluster| cluster.child("fence")).map_err(bad)
    }
}

fn path(key: &str, value: &str) -> Result<ZnodePath, ConfigError> {
    ZnodePath::new(value).map_err(|reason| ConfigError::Value {
        key: key.to_owned(),
        value: value.to_owned(),
        reason: format!("is no path: {reason}"),
    })
}

fn default_cluster() -> String {
    "kubernetes".to_owned()
}

fn default_session_timeout() -> Duration {
    Duration::from_secs(30)
}

fn from_text<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

/// `30s`, `1m 30s`, `500ms`.
fn duration<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let span: jiff::SignedDuration = from_text(deserializer)?;
    Duration::try_from(span).map_err(serde::de::Error::custom)
}

fn some_duration<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    duration(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = include_str!("../config/zoobridge.yaml");

    #[test]
    fn the_sample_parses_and_shows_the_defaults() {
        let config = Config::parse(SAMPLE).unwrap();
        let short = Config::parse("{zookeeper: {connect: zk}, rules: []}").unwrap();
        assert_eq!(config.zookeeper.session_timeout, short.zookeeper.session_timeout);
        assert_eq!(format!("{:?}", config.paths), format!("{:?}", short.paths));
        assert_eq!(format!("{:?}", config.sessions), format!("{:?}", short.sessions));
        assert_eq!(config.lease_duration(), short.lease_duration());
        assert_eq!(config.leader_election.lease, short.leader_election.lease);
        assert_eq!(config.leader_election.enabled, short.leader_election.enabled);
        assert_eq!(config.http.address, short.http.address);
        assert_eq!(config.fence_directory().unwrap().as_str(), "/zoobridge/kubernetes/fence");
    }

    /// An import with one key as given.
    fn import(given: &str) -> String {
        let mut import = String::new();
        for line in
            ["name: a", "format: curator", "root: /services", "namespace: legacy", "addresses: [10.0.0.0/8]"]
        {
            let is_given = given.split(':').next() == line.split(':').next();
            import += &if is_given { String::new() } else { format!("{line}, ") };
        }
        format!("{{zookeeper: {{connect: zk}}, rules: [], imports: [{{{import}{given}}}]}}")
            .replace(", }, {", "}, {")
    }

    #[test]
    fn what_makes_no_sense_is_told_with_its_place() {
        for (yaml, part) in [
            ("{rules: []}", "zookeeper"),
            ("{zookeeper: {connect: 'zk:x'}, rules: []}", "zk:x"),
            ("{zookeeper: {connect: zk, sessionTimeout: soon}, rules: []}", "soon"),
            ("{zookeeper: {connect: zk, sessionTimeout: 1s}, rules: []}", "sessionTimeout"),
            ("{zookeeper: {connect: zk}, rules: [], paths: {dubbo: dubbo}}", "paths.dubbo"),
            ("{zookeeper: {connect: zk}, rules: [], cluster: a/b}", "cluster"),
            ("{zookeeper: {connect: zk}, rules: [], sessions: {limit: 0}}", "sessions.limit"),
            (
                "{zookeeper: {connect: zk}, rules: [], leaderElection: {leaseDuration: 13s}}",
                "sessionTimeout 30s",
            ),
            ("{zookeeper: {connect: zk}, rules: [], http: {address: localhost}}", "localhost"),
            ("{zookeeper: {connect: zk}, rules: [], nonsense: 1}", "nonsense"),
            ("{zookeeper: {connect: zk}, rules: [{formats: [curato]}]}", "curato"),
            ("{zookeeper: {connect: zk}, rules: [], imports: [{name: a}]}", "format"),
            (&import("name: A b"), "DNS label"),
            (&import("namespace: ''"), "namespace"),
            (&import("addresses: []"), "nothing could be imported"),
            (&import("addresses: [10.0.0.1/8]"), "10.0.0.1/8"),
            (&import("ports: [9-8]"), "9-8"),
            (&import("maxServices: 0"), "maxServices"),
            (&import("root: services"), "starts with '/'"),
            (&import("root: /zoobridge/x"), "paths.own"),
            (&import("root: /"), "paths.own"),
            (&import("names: ['[a']"), "[a"),
            (&import("port: 80"), "port"),
            (
                &import("}, {name: a, format: dubbo, root: /dubbo, namespace: b, addresses: [10.0.0.0/8]"),
                "two of them",
            ),
            ("zookeeper: [", "line"),
        ] {
            let error = Config::parse(yaml).unwrap_err().to_string();
            assert!(error.contains(part), "{yaml}: {error}");
        }
    }

    #[test]
    fn paths_that_overlap_are_refused_with_both_keys() {
        for (paths, one, other) in [
            ("{curator: /dubbo}", "paths.curator", "paths.dubbo"),
            ("{curator: /}", "paths.curator", "paths.own"),
            ("{curator: /dubbo/services}", "paths.curator", "paths.dubbo"),
            ("{dubbo: /services/dubbo}", "paths.curator", "paths.dubbo"),
            ("{own: /services/zoobridge}", "paths.own", "paths.curator"),
            ("{curator: /zoobridge/kubernetes}", "paths.own", "paths.curator"),
            ("{own: /, dubbo: /dubbo}", "paths.own", "paths.curator"),
            ("{dubbo: /zoobridge}", "paths.own", "paths.dubbo"),
        ] {
            let yaml = format!("{{zookeeper: {{connect: zk}}, rules: [], paths: {paths}}}");
            let error = Config::parse(&yaml).unwrap_err().to_string();
            assert!(error.contains(one) && error.contains(other) && error.contains("overlap"), "{error}");
        }
        // A common beginning is no common path.
        let yaml =
            "{zookeeper: {connect: zk}, rules: [], paths: {curator: /reg/a, dubbo: /reg/ab, own: /reg/b}}";
        assert_eq!(Config::parse(yaml).unwrap().roots().unwrap().0[&Format::Dubbo].as_str(), "/reg/ab");
    }

    #[test]
    fn formats_that_are_read_alike_may_have_one_root() {
        let parse = |paths: &str| {
            Config::parse(&format!("{{zookeeper: {{connect: zk}}, rules: [], paths: {paths}}}"))
        };
        let roots = parse("{curator: /reg, spring: /reg}").unwrap().roots().unwrap().0;
        assert_eq!(roots[&Format::Curator], roots[&Format::Spring]);
        for paths in ["{spring: /services/spring}", "{nerve: /hosts}", "{serverset: /services}"] {
            let error = parse(paths).unwrap_err().to_string();
            assert!(error.contains("overlap"), "{paths}: {error}");
        }
        let error = parse("{nervous: /hosts}").unwrap_err().to_string();
        assert!(error.contains("no path \"nervous\"; there are: own, curator, dubbo"), "{error}");
    }

    #[test]
    fn a_path_that_is_none_is_told_with_its_rule() {
        for (path, rule) in [
            ("/services/", "does not end with '/'"),
            ("services", "starts with '/'"),
            ("//services", "no empty component"),
            ("/services/../x", "no '.' or '..'"),
            ("''", "not empty"),
        ] {
            for key in ["own", "curator", "dubbo"] {
                let yaml = format!("{{zookeeper: {{connect: zk}}, rules: [], paths: {{{key}: {path}}}}}");
                let error = Config::parse(&yaml).unwrap_err().to_string();
                assert!(error.contains(&format!("paths.{key}")) && error.contains(rule), "{error}");
            }
        }
    }
}
