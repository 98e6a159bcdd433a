//! The server's configuration: Apache's `zoo.cfg` keys, checked before anything starts.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use zk_wire::jute::DEFAULT_MAX_BUFFER;

/// Everything a server needs to know, in its own units.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// `tickTime`: the unit of session expiry.
    pub tick_time: Duration,
    /// `dataDir`: snapshots, and logs unless `log_dir` says otherwise.
    pub data_dir: PathBuf,
    /// `dataLogDir`: transaction logs.
    pub log_dir: Option<PathBuf>,
    /// `clientPortAddress` and `clientPort`; port 0 takes a free one.
    pub client_address: SocketAddr,
    /// `maxClientCnxns`: connections per address; 0 is no limit.
    pub max_client_connections: usize,
    /// `minSessionTimeout`, in milliseconds; default two ticks.
    pub min_session_timeout_ms: i32,
    /// `maxSessionTimeout`, in milliseconds; default twenty ticks.
    pub max_session_timeout_ms: i32,
    /// `snapCount`: at most so many transactions between snapshots.
    pub snap_count: u32,
    /// `preAllocSize`: bytes by which the log file grows.
    pub pre_alloc_bytes: u64,
    /// `forceSync`: wait for the disk before a write is acknowledged.
    pub force_sync: bool,
    /// `autopurge.snapRetainCount`: snapshots kept; at least 3.
    pub snapshots_retained: usize,
    /// `jute.maxbuffer`: the longest message, in bytes.
    pub max_buffer: usize,
    /// `extendedTypesEnabled`: TTL znodes.
    pub extended_types: bool,
    /// `4lw.commands.whitelist`; `*` allows all.
    pub words: Vec<String>,
    /// `metricsProvider.httpHost` and `metricsProvider.httpPort`, if `metricsProvider.className` is Apache's
    /// for Prometheus. Whoever embeds the server serves them.
    pub metrics_address: Option<SocketAddr>,
    /// The byte in session ids that names the server.
    pub server_id: u8,
}

/// A configuration that cannot be, or one that must not be half honoured.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A line that is neither a comment nor `key=value`.
    #[error("{place}: {text:?} is not key=value")]
    NotAPair {
        /// File and line, or the option.
        place: String,
        /// The line.
        text: String,
    },
    /// A value that its key cannot have.
    #[error("{place}: {key}={value} makes no sense: {reason}")]
    Value {
        /// File and line, or the option.
        place: String,
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// What it should be.
        reason: &'static str,
    },
    /// A key of Apache's whose silent absence would be dangerous.
    #[error("{place}: {key} is not implemented: {reason}; remove it to start without it")]
    NotImplemented {
        /// File and line, or the option.
        place: String,
        /// The key.
        key: String,
        /// Why it is not only a warning.
        reason: &'static str,
    },
    /// A key that must be there.
    #[error("{0} is missing: set it in zoo.cfg or with --set {0}=…")]
    Missing(&'static str),
    /// Two keys that contradict each other.
    #[error(
        "minSessionTimeout ({min} ms) is above maxSessionTimeout ({max} ms): lower one or raise the other"
    )]
    Timeouts {
        /// The lower bound.
        min: i32,
        /// The upper bound.
        max: i32,
    },
}

/// A setting with the place it comes from, for errors.
struct Setting {
    place: String,
    key: String,
    value: String,
}

const DEFAULT_TICK: Duration = Duration::from_millis(3000);
const DEFAULT_CLIENT_PORT: u16 = 2181;
/// `PrometheusMetricsProvider`.
const DEFAULT_METRICS_PORT: u16 = 7000;

impl ServerConfig {
    /// A server on `data_dir` with Apache's defaults, on loopback and a free port.
    #[must_use]
    pub fn local(data_dir: PathBuf) -> Self {
        ServerConfig {
            tick_time: DEFAULT_TICK,
            data_dir,
            log_dir: None,
            client_address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            max_client_connections: 60,
            min_session_timeout_ms: 0,
            max_session_timeout_ms: 0,
            snap_count: 100_000,
            pre_alloc_bytes: 64 << 20,
            force_sync: true,
            snapshots_retained: 3,
            max_buffer: DEFAULT_MAX_BUFFER,
            extended_types: true,
            words: vec!["srvr".to_owned()],
            metrics_address: None,
            server_id: 1,
        }
        .with_derived_timeouts()
    }

    /// Reads a `zoo.cfg` and overrides from the command line; the latter win. Keys that change nothing here
    /// are named in a warning.
    ///
    /// # Errors
    /// The file cannot be read, a line or value makes no sense, two keys contradict each other, or a security
    /// setting is not implemented.
    pub fn load(file: Option<&std::path::Path>, overrides: &[String]) -> Result<Self, ConfigError> {
        let mut settings = Vec::new();
        if let Some(path) = file {
            let text = std::fs::read_to_string(path)
                .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
            settings = parse(&text, &path.display().to_string())?;
        }
        for pair in overrides {
            settings.push(parse_pair(pair, format!("--set {pair}"))?);
        }
        Self::from_settings(&settings)
    }

    fn from_settings(settings: &[Setting]) -> Result<Self, ConfigError> {
        let mut config = Self::local(PathBuf::new());
        config.client_address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, DEFAULT_CLIENT_PORT));
        config.min_session_timeout_ms = 0;
        config.max_session_timeout_ms = 0;
        let mut metrics = Metrics::default();
        for setting in settings {
            if !metrics.set(setting)? {
                config.set(setting)?;
            }
        }
        config.metrics_address = metrics.is_wanted.then_some(metrics.address);
        if config.data_dir.as_os_str().is_empty() {
            return Err(ConfigError::Missing("dataDir"));
        }
        config = config.with_derived_timeouts();
        let (min, max) = (config.min_session_timeout_ms, config.max_session_timeout_ms);
        if min > max {
            return Err(ConfigError::Timeouts { min, max });
        }
        Ok(config)
    }

    fn set(&mut self, setting: &Setting) -> Result<(), ConfigError> {
        let key = setting.key.strip_prefix("zookeeper.").unwrap_or(&setting.key);
        match key {
            "tickTime" => self.tick_time = Duration::from_millis(setting.number(1, 3_600_000)?),
            "dataDir" => self.data_dir = setting.value.clone().into(),
            "dataLogDir" => self.log_dir = Some(setting.value.clone().into()),
            "clientPort" => self.client_address.set_port(setting.number(0, 65_535)? as u16),
            "clientPortAddress" => self.client_address.set_ip(setting.address()?),
            "maxClientCnxns" => self.max_client_connections = setting.number(0, 1 << 31)? as usize,
            "minSessionTimeout" => self.min_session_timeout_ms = setting.timeout()?,
            "maxSessionTimeout" => self.max_session_timeout_ms = setting.timeout()?,
            "snapCount" => self.snap_count = setting.number(2, 1 << 31)? as u32,
            "preAllocSize" => self.pre_alloc_bytes = setting.number(0, 1 << 21)? * 1024,
            "forceSync" => self.force_sync = setting.yes_or_no()?,
            "autopurge.snapRetainCount" => self.snapshots_retained = setting.number(3, 1 << 20)? as usize,
            "jute.maxbuffer" => self.max_buffer = setting.number(1024, 1 << 30)? as usize,
            "extendedTypesEnabled" => self.extended_types = setting.yes_or_no()?,
            "4lw.commands.whitelist" => {
                self.words = setting.value.split(',').map(|word| word.trim().to_owned()).collect();
            }
            _ => return setting.refuse_or_warn(key),
        }
        Ok(())
    }

    fn with_derived_timeouts(mut self) -> Self {
        let tick_ms = i32::try_from(self.tick_time.as_millis()).unwrap_or(i32::MAX);
        if self.min_session_timeout_ms == 0 {
            self.min_session_timeout_ms = tick_ms.saturating_mul(2);
        }
        if self.max_session_timeout_ms == 0 {
            self.max_session_timeout_ms = tick_ms.saturating_mul(20);
        }
        self
    }

    /// The session timeout in force for one that a client asks for, in milliseconds.
    #[must_use]
    pub fn negotiate(&self, asked_ms: i32) -> i32 {
        asked_ms.max(self.min_session_timeout_ms).min(self.max_session_timeout_ms)
    }

    /// May this four-letter word be answered?
    #[must_use]
    pub fn word_is_allowed(&self, word: &str) -> bool {
        self.words.iter().any(|allowed| allowed == "*" || allowed == word)
    }
}

/// The keys of Apache's `metricsProvider`. The address counts only with the class that has one.
struct Metrics {
    is_wanted: bool,
    address: SocketAddr,
}

impl Default for Metrics {
    fn default() -> Self {
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, DEFAULT_METRICS_PORT));
        Metrics { is_wanted: false, address }
    }
}

impl Metrics {
    /// False if this key is none of them.
    fn set(&mut self, setting: &Setting) -> Result<bool, ConfigError> {
        let key = setting.key.strip_prefix("zookeeper.").unwrap_or(&setting.key);
        match key.strip_prefix("metricsProvider.") {
            Some("className") => self.is_wanted = setting.is_for_prometheus()?,
            Some("httpHost") => self.address.set_ip(setting.address()?),
            Some("httpPort") => self.address.set_port(setting.number(0, 65_535)? as u16),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl Setting {
    fn is_for_prometheus(&self) -> Result<bool, ConfigError> {
        match self.value.strip_prefix("org.apache.zookeeper.metrics.") {
            Some("prometheus.PrometheusMetricsProvider") => Ok(true),
            Some("impl.DefaultMetricsProvider" | "impl.NullMetricsProvider") => Ok(false),
            _ => Err(self.invalid(
                "one of Apache's providers is wanted: prometheus.PrometheusMetricsProvider, \
                 impl.DefaultMetricsProvider or impl.NullMetricsProvider, with its package",
            )),
        }
    }

    fn invalid(&self, reason: &'static str) -> ConfigError {
        let Setting { place, key, value } = self;
        ConfigError::Value { place: place.clone(), key: key.clone(), value: value.clone(), reason }
    }

    fn number(&self, min: u64, max: u64) -> Result<u64, ConfigError> {
        let number: u64 = self.value.parse().map_err(|_| self.invalid("a whole number is wanted"))?;
        if (min..=max).contains(&number) {
            Ok(number)
        } else {
            Err(self.invalid("the number is out of range"))
        }
    }

    /// -1 means the default, as in Apache.
    fn timeout(&self) -> Result<i32, ConfigError> {
        if self.value == "-1" {
            return Ok(0);
        }
        Ok(i32::try_from(self.number(1, i32::MAX as u64)?).unwrap_or(i32::MAX))
    }

    fn yes_or_no(&self) -> Result<bool, ConfigError> {
        match self.value.as_str() {
            "yes" | "true" => Ok(true),
            "no" | "false" => Ok(false),
            _ => Err(self.invalid("yes or no is wanted")),
        }
    }

    fn address(&self) -> Result<IpAddr, ConfigError> {
        if self.value == "localhost" {
            return Ok(Ipv4Addr::LOCALHOST.into());
        }
        self.value.parse().map_err(|_| self.invalid("an IP address is wanted"))
    }

    /// What would weaken an operator's intent stops the start; the rest is said once.
    fn refuse_or_warn(&self, key: &str) -> Result<(), ConfigError> {
        let is = |prefixes: &[&str]| prefixes.iter().any(|prefix| key.starts_with(prefix));
        let reason = if is(&[
            "ssl",
            "secureClientPort",
            "sasl",
            "authProvider",
            "quorum.",
            "client.portUnification",
            "enforce.auth",
            "sessionRequireClientSASLAuth",
            "requireClientAuthScheme",
            "DigestAuthenticationProvider",
            "X509AuthenticationProvider",
            "kerberos",
            "enforceQuota",
            "audit.enable",
            "fips-mode",
            "metricsProvider.ssl",
            "metricsProvider.httpsPort",
        ]) {
            "whoever set it relies on it"
        } else if is(&["server.", "group.", "weight.", "peerType", "dynamicConfigFile", "standaloneEnabled"])
        {
            "this release serves one node, not an ensemble"
        } else {
            tracing::warn!(key = self.key, place = self.place, "this key changes nothing here");
            return Ok(());
        };
        Err(ConfigError::NotImplemented { place: self.place.clone(), key: self.key.clone(), reason })
    }
}

/// Java properties as far as `zoo.cfg` uses them: comments, `key=value`, spaces around both.
fn parse(text: &str, file: &str) -> Result<Vec<Setting>, ConfigError> {
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    let pairs = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with(['#', '!']));
    pairs.map(|(number, line)| parse_pair(line, format!("{file}:{number}"))).collect()
}

fn parse_pair(text: &str, place: String) -> Result<Setting, ConfigError> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok(Setting { place, key: key.trim().to_owned(), value: value.trim().to_owned() })
        }
        _ => Err(ConfigError::NotAPair { place, text: text.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Result<ServerConfig, ConfigError> {
        ServerConfig::from_settings(&parse(text, "zoo.cfg")?)
    }

    #[test]
    fn keys_of_apache_are_read() {
        let text = "# sample\ntickTime=2000\n dataDir = /var/zk \nclientPort=2182\nclientPortAddress=127.0.0.1\n\
                    maxSessionTimeout=60000\npreAllocSize=64\nforceSync=no\n4lw.commands.whitelist=ruok, mntr\n";
        let config = config(text).unwrap();
        assert_eq!(config.data_dir, PathBuf::from("/var/zk"));
        assert_eq!(config.client_address, "127.0.0.1:2182".parse().unwrap());
        assert_eq!(
            (config.negotiate(1), config.negotiate(10_000), config.negotiate(1 << 20)),
            (4_000, 10_000, 60_000)
        );
        assert_eq!((config.pre_alloc_bytes, config.force_sync), (65_536, false));
        assert!(config.word_is_allowed("mntr") && !config.word_is_allowed("srvr"));
    }

    #[test]
    fn what_makes_no_sense_is_named_with_its_place() {
        let cases = [
            ("tickTime=2000", "dataDir is missing"),
            (
                "dataDir=/x\ntickTime=soon",
                "zoo.cfg:2: tickTime=soon makes no sense: a whole number is wanted",
            ),
            (
                "dataDir=/x\nclientPort=70000",
                "zoo.cfg:2: clientPort=70000 makes no sense: the number is out of range",
            ),
            ("dataDir=/x\nnonsense", "zoo.cfg:2: \"nonsense\" is not key=value"),
            (
                "dataDir=/x\nssl.clientAuth=need",
                "ssl.clientAuth is not implemented: whoever set it relies on it",
            ),
            ("dataDir=/x\nserver.1=a:1:2", "server.1 is not implemented: this release serves one node"),
            (
                "dataDir=/x\nminSessionTimeout=9\nmaxSessionTimeout=8",
                "minSessionTimeout (9 ms) is above maxSessionTimeout (8 ms)",
            ),
        ];
        for (text, expected) in cases {
            let error = config(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
    }

    #[test]
    fn metrics_are_served_where_apache_would_and_only_if_asked_for() {
        let class = |name: &str| {
            format!("dataDir=/x\nmetricsProvider.className=org.apache.zookeeper.metrics.{name}\n")
        };
        let prometheus = class("prometheus.PrometheusMetricsProvider");
        for (text, expected) in [
            ("dataDir=/x\nmetricsProvider.httpPort=7001".to_owned(), None),
            (class("impl.DefaultMetricsProvider"), None),
            (prometheus.clone(), Some("0.0.0.0:7000")),
            (
                format!("metricsProvider.httpPort=0\n{prometheus}metricsProvider.httpHost=::1"),
                Some("[::1]:0"),
            ),
        ] {
            let address = config(&text).unwrap().metrics_address;
            assert_eq!(address, expected.map(|address| address.parse().unwrap()), "{text}");
        }
        for (text, expected) in [
            (class("x.Mine"), "one of Apache's providers is wanted"),
            (format!("{prometheus}metricsProvider.httpsPort=7001"), "httpsPort is not implemented"),
            (format!("{prometheus}metricsProvider.httpPort=x"), "a whole number is wanted"),
        ] {
            let error = config(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn the_command_line_wins() {
        let overrides = ["dataDir=/a".to_owned(), "tickTime=100".to_owned()];
        let config = ServerConfig::load(None, &overrides).unwrap();
        assert_eq!((config.tick_time, config.min_session_timeout_ms), (Duration::from_millis(100), 200));
    }
}
