//! The typed configuration.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use zk_wire::jute::DEFAULT_MAX_BUFFER;

use super::ConfigError;
use super::admin::{Admin, AdminConfig};
use super::limits::Limits;
use super::metrics::Metrics;
use super::registry::{Verdict, judge};
use super::security::{Security, SecurityConfig};
use super::sessions::{ReaperConfig, SessionRules};
use super::settings::{Setting, parse, parse_option};
use super::storage::StorageConfig;

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
    /// A sync of the log that takes longer is warned of and counted (`fsync.warningthresholdms`).
    pub slow_sync: Duration,
    /// `forceSync`: wait for the disk before a write is acknowledged.
    pub force_sync: bool,
    /// `autopurge.snapRetainCount`: snapshots kept; at least 3.
    pub snapshots_retained: usize,
    /// Logs and snapshots, further settings.
    pub storage: StorageConfig,
    /// `jute.maxbuffer`: the longest message, in bytes.
    pub max_buffer: usize,
    /// `extendedTypesEnabled`: TTL znodes.
    pub extended_types: bool,
    /// `reconfigEnabled`: says of a reconfiguration that one node has none, instead of that it is off.
    pub reconfig_enabled: bool,
    /// `enforceQuota`: a write beyond a hard quota is refused.
    pub enforce_quota: bool,
    /// What sessions may do.
    pub sessions: SessionRules,
    /// When containers and TTL znodes are deleted.
    pub reaper: ReaperConfig,
    /// `4lw.commands.whitelist`; `*` allows all.
    pub words: Vec<String>,
    /// `metricsProvider.httpHost` and `metricsProvider.httpPort`, if `metricsProvider.className` is Apache's
    /// for Prometheus. Whoever embeds the server serves them.
    pub metrics_address: Option<SocketAddr>,
    /// The AdminServer, if there is to be one. Whoever embeds the server starts it.
    pub admin: Option<AdminConfig>,
    /// The settings as they were read, for those who ask; secrets are not among them.
    pub initial: Vec<(String, String)>,
    /// The byte in session ids that names the server.
    pub server_id: u8,
    /// Who may connect, and what they may do.
    pub security: SecurityConfig,
    /// How much clients may ask for at once.
    pub limits: Limits,
}

const DEFAULT_TICK: Duration = Duration::from_millis(3000);
const DEFAULT_CLIENT_PORT: u16 = 2181;
/// `QuorumPeerConfig.MIN_SNAP_RETAIN_COUNT`.
const MIN_RETAINED: usize = 3;

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
            slow_sync: Duration::from_secs(1),
            force_sync: true,
            snapshots_retained: MIN_RETAINED,
            storage: StorageConfig::default(),
            max_buffer: DEFAULT_MAX_BUFFER,
            extended_types: true,
            reconfig_enabled: false,
            enforce_quota: false,
            sessions: SessionRules::default(),
            reaper: ReaperConfig::default(),
            words: vec!["srvr".to_owned()],
            metrics_address: None,
            admin: None,
            initial: Vec::new(),
            server_id: 1,
            security: SecurityConfig::default(),
            limits: Limits::default(),
        }
        .with_derived_timeouts()
    }

    /// Reads a `zoo.cfg` and overrides from the command line; the latter win. Keys that change nothing here
    /// are named in a warning.
    ///
    /// # Errors
    /// The file cannot be read, a line, key or value makes no sense, two keys contradict each other, or one
    /// must not be ignored.
    pub fn load(file: Option<&std::path::Path>, overrides: &[String]) -> Result<Self, ConfigError> {
        let mut settings = Vec::new();
        if let Some(path) = file {
            let text = std::fs::read_to_string(path)
                .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
            settings = parse(&text, &path.display().to_string())?;
        }
        for pair in overrides {
            let setting = parse_option(pair)?;
            settings.retain(|other| other.name() != setting.name());
            settings.push(setting);
        }
        Self::from_settings(&settings)
    }

    pub(super) fn from_settings(settings: &[Setting]) -> Result<Self, ConfigError> {
        let mut config = Self::local(PathBuf::new());
        config.client_address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, DEFAULT_CLIENT_PORT));
        config.min_session_timeout_ms = 0;
        config.max_session_timeout_ms = 0;
        let mut metrics = Metrics::default();
        let (mut admin, mut security) = (Admin::default(), Security::default());
        for setting in settings {
            let is_taken = judge(setting)? == Verdict::Ignore
                || metrics.set(setting)?
                || admin.set(setting)?
                || security.set(setting)?
                || config.storage.set(setting)?
                || config.limits.set(setting)?
                || config.set(setting)?;
            if !is_taken {
                return Err(setting.invalid("it is listed as honoured, and nobody takes it"));
            }
        }
        config.metrics_address = metrics.address();
        config.security = security.finish(settings)?;
        config.admin = admin.wanted();
        config.initial = settings.iter().map(Setting::shown).collect();
        if config.data_dir.as_os_str().is_empty() {
            return Err(ConfigError::Missing("dataDir"));
        }
        config = config.with_derived_timeouts();
        let (min, max) = (config.min_session_timeout_ms, config.max_session_timeout_ms);
        if min > max {
            let names = ["minSessionTimeout", "maxSessionTimeout", "tickTime"];
            let why = format!(
                "minSessionTimeout ({min} ms) is above maxSessionTimeout ({max} ms): lower one or raise the other"
            );
            return Err(ConfigError::Contradiction { places: places(settings, &names), why });
        }
        Ok(config)
    }

    /// False if this key is not one of these.
    fn set(&mut self, setting: &Setting) -> Result<bool, ConfigError> {
        match setting.name() {
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
            "fsync.warningthresholdms" => self.slow_sync = Duration::from_millis(setting.number(0, 1 << 31)?),
            "forceSync" => self.force_sync = setting.yes_or_no()?,
            "autopurge.snapRetainCount" => self.snapshots_retained = retained(setting)?,
            "jute.maxbuffer" => self.max_buffer = setting.number(1024, 1 << 30)? as usize,
            "extendedTypesEnabled" => self.extended_types = setting.yes_or_no()?,
            "enforceQuota" => self.enforce_quota = setting.yes_or_no()?,
            "reconfigEnabled" => self.reconfig_enabled = setting.yes_or_no()?,
            "4lw.commands.whitelist" => {
                self.words = setting.value.split(',').map(|word| word.trim().to_owned()).collect();
            }
            _ => return Ok(self.sessions.set(setting)? || self.reaper.set(setting)?),
        }
        Ok(true)
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

    /// May this four-letter word be answered? `srvr` always: Apache's own scripts ask it.
    #[must_use]
    pub fn word_is_allowed(&self, word: &str) -> bool {
        word == "srvr" || self.words.iter().any(|allowed| allowed == "*" || allowed == word)
    }
}

/// As in Apache, fewer than [`MIN_RETAINED`] are not an error.
fn retained(setting: &Setting) -> Result<usize, ConfigError> {
    let asked = setting.number(0, 1 << 20)? as usize;
    if asked < MIN_RETAINED {
        tracing::warn!(asked, kept = MIN_RETAINED, place = setting.place, "fewer snapshots are never kept");
    }
    Ok(asked.max(MIN_RETAINED))
}

/// Where the settings among these are, in their order.
pub(super) fn places(settings: &[Setting], names: &[&str]) -> String {
    let wanted = settings.iter().filter(|setting| names.contains(&setting.name()));
    wanted.map(|setting| setting.place.as_str()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::{collection, sample};

    use super::*;
    use crate::config::registry::{Treatment, known};

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
        assert!(config.word_is_allowed("mntr") && !config.word_is_allowed("stat"));
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
                "dataDir=/x\nssl.crl=true",
                "ssl.crl is not implemented: no certificate is checked for being revoked",
            ),
            ("dataDir=/x\nserver.1=a:1:2", "server.1 is not implemented: this release serves one node"),
            (
                "dataDir=/x\nminSessionTimeout=9\nmaxSessionTimeout=8",
                "zoo.cfg:2, zoo.cfg:3: minSessionTimeout (9 ms) is above maxSessionTimeout (8 ms)",
            ),
            ("dataDir=/x\nticktime=1", "zoo.cfg:2: there is no key ticktime: is tickTime meant?"),
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

    #[test]
    fn what_asks_for_nothing_is_accepted() {
        let text = "dataDir=/x\nsslQuorum=false\npeerType=participant\nstandaloneEnabled=true\nenforceQuota=FALSE\n\
                    initLimit=5\nnobody.knows.this=1\nautopurge.snapRetainCount=1";
        assert_eq!(config(text).unwrap().snapshots_retained, 3);
    }

    #[test]
    fn what_is_listed_as_honoured_is_taken() {
        for (key, _) in known().filter(|(_, treatment)| *treatment == Treatment::Honoured) {
            for value in ["1", "true", "nonsense"] {
                let setting = Setting { place: String::new(), key: key.to_owned(), value: value.to_owned() };
                if let Err(error) = ServerConfig::from_settings(&[setting]) {
                    assert!(!error.to_string().contains("nobody takes it"), "{key}");
                }
            }
        }
    }

    /// What a key may be followed by: what some keys take, what is nearly that, and anything.
    fn value() -> impl Strategy<Value = String> {
        let near = [
            "",
            "0",
            "1",
            "-1",
            "2",
            "60000",
            "2147483648",
            "99999999999999999999",
            "0.5",
            "NaN",
            "true",
            "yes",
            "no",
            "x509",
            "sasl,digest",
            ",",
            "*",
            "127.0.0.1",
            "::1",
            "localhost",
            "/nowhere",
            "TLSv1.3",
            "JKS",
            "PEM",
            "want",
            "identity",
            "random",
            "gz",
            "super:x",
        ];
        prop_oneof![3 => sample::select(near.to_vec()).prop_map(str::to_owned), 1 => "[^\r\n]{0,20}"]
    }

    proptest! {
        #[test]
        fn whatever_stands_behind_a_key_is_read_or_refused_at_its_place(
            pairs in collection::vec((sample::select(known().map(|(key, _)| key).collect::<Vec<_>>()), value()), 0..6),
        ) {
            let lines = pairs.iter().map(|(key, value)| format!("{key}={value}\n"));
            let text = format!("dataDir=/nowhere\n{}", lines.collect::<String>());
            if let Err(error) = config(&text) {
                let error = error.to_string();
                let place = (2..=pairs.len() + 1).any(|line| error.contains(&format!("zoo.cfg:{line}")));
                prop_assert!(place, "{text}\n{error}");
            }
        }
    }
}
