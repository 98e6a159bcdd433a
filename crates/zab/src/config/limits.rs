//! How much clients may ask for at once.

use std::time::Duration;

use super::ConfigError;
use super::registry::Group;
use super::registry::Treatment::Honoured;
use super::settings::Setting;

pub(super) const KEYS: &[Group] = &[
    Group {
        treatment: Honoured,
        keys: &[
            "maxCnxns",
            "globalOutstandingLimit",
            "largeRequestMaxBytes",
            "largeRequestThreshold",
            "nio.sessionlessCnxnTimeout",
            "connection_throttle_tokens",
            "connection_throttle_fill_count",
            "connection_throttle_fill_time",
            "connection_throttle_freeze_time",
            "connection_throttle_decrease_ratio",
            "connection_throttle_drop_decrease",
            "connection_throttle_drop_increase",
            "connection_throttle_weight_enabled",
            "connection_throttle_global_session_weight",
            "connection_throttle_local_session_weight",
            "connection_throttle_renew_session_weight",
        ],
    },
    // Ours.
    Group { treatment: Honoured, keys: &["watches.maxTotal", "watches.maxPerConnection"] },
];

/// Limits on what clients make grow. Zero is no limit.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// `maxCnxns`: connections in all.
    pub connections: usize,
    /// `globalOutstandingLimit`: requests under way in all. A connection beyond it has one at a time.
    pub outstanding: usize,
    /// `largeRequestMaxBytes`: bytes of large requests under way in all. Apache closes connections beyond it;
    /// here they wait.
    pub large_request_bytes: usize,
    /// `largeRequestThreshold`: from how many bytes on a request is large.
    pub large_request_threshold: usize,
    /// `nio.sessionlessCnxnTimeout`: how long a connection may take to say who it is.
    pub first_message: Duration,
    /// `watches.maxTotal`: watches in all.
    pub watches: usize,
    /// `watches.maxPerConnection`.
    pub watches_per_connection: usize,
    /// `connection_throttle_…`.
    pub throttle: ThrottleSettings,
}

/// How many sessions may begin or be resumed in a time (`BlueThrottle`).
#[derive(Debug, Clone, PartialEq)]
pub struct ThrottleSettings {
    /// Tokens at most; zero throttles nothing.
    pub tokens: u32,
    /// Milliseconds in which `fill_count` tokens come.
    pub fill_time_ms: u32,
    /// See `fill_time_ms`.
    pub fill_count: u32,
    /// Milliseconds between two changes of the probability to refuse; `None` refuses nobody by chance.
    pub freeze_time_ms: Option<u32>,
    /// By how much that probability grows when there are no tokens.
    pub drop_increase: f64,
    /// By how much it shrinks when few are missing.
    pub drop_decrease: f64,
    /// The part of the tokens of which may be missing for that.
    pub decrease_ratio: f64,
    /// Do sessions cost different numbers of tokens?
    pub weighted: bool,
    /// What a new session costs.
    pub new_session: u32,
    /// What a local session costs.
    pub local_session: u32,
    /// What a resumed session costs.
    pub resumed_session: u32,
}

impl Default for Limits {
    /// Apache's, but for two: it has 1000 requests under way, of which each costs a Java object and a place in the
    /// queues of three threads, and does not limit large requests.
    fn default() -> Self {
        Limits {
            connections: 0,
            outstanding: 10_000,
            large_request_bytes: 100 << 20,
            large_request_threshold: 4096,
            first_message: Duration::from_secs(10),
            // At about 100 bytes each these are 1 GB in all.
            watches: 10_000_000,
            watches_per_connection: 1_000_000,
            throttle: ThrottleSettings::default(),
        }
    }
}

impl Default for ThrottleSettings {
    fn default() -> Self {
        ThrottleSettings {
            tokens: 0,
            fill_time_ms: 1,
            fill_count: 1,
            freeze_time_ms: None,
            drop_increase: 0.02,
            drop_decrease: 0.002,
            decrease_ratio: 0.0,
            weighted: false,
            new_session: 3,
            local_session: 1,
            resumed_session: 2,
        }
    }
}

impl Limits {
    /// False if this key is not one of these.
    pub(super) fn set(&mut self, setting: &Setting) -> Result<bool, ConfigError> {
        const MANY: u64 = 1 << 31;
        let throttle = &mut self.throttle;
        match setting.name() {
            "maxCnxns" => self.connections = setting.number(0, MANY)? as usize,
            "globalOutstandingLimit" => self.outstanding = setting.number(1, MANY)? as usize,
            "largeRequestMaxBytes" => self.large_request_bytes = setting.number(1, MANY)? as usize,
            "largeRequestThreshold" if setting.value == "-1" => self.large_request_threshold = usize::MAX,
            "largeRequestThreshold" => self.large_request_threshold = setting.number(1, MANY)? as usize,
            "nio.sessionlessCnxnTimeout" => {
                self.first_message = Duration::from_millis(setting.number(1, MANY)?);
            }
            "watches.maxTotal" => self.watches = setting.number(0, MANY)? as usize,
            "watches.maxPerConnection" => self.watches_per_connection = setting.number(0, MANY)? as usize,
            "connection_throttle_tokens" => throttle.tokens = setting.number(0, MANY)? as u32,
            "connection_throttle_fill_count" => throttle.fill_count = setting.number(1, MANY)? as u32,
            "connection_throttle_fill_time" => throttle.fill_time_ms = setting.number(1, MANY)? as u32,
            "connection_throttle_freeze_time" if setting.value == "-1" => throttle.freeze_time_ms = None,
            "connection_throttle_freeze_time" => {
                throttle.freeze_time_ms = Some(setting.number(0, MANY)? as u32);
            }
            "connection_throttle_decrease_ratio" => throttle.decrease_ratio = setting.share()?,
            "connection_throttle_drop_decrease" => throttle.drop_decrease = setting.share()?,
            "connection_throttle_drop_increase" => throttle.drop_increase = setting.share()?,
            "connection_throttle_weight_enabled" => throttle.weighted = setting.yes_or_no()?,
            "connection_throttle_global_session_weight" => {
                throttle.new_session = setting.number(1, MANY)? as u32;
            }
            "connection_throttle_local_session_weight" => {
                throttle.local_session = setting.number(1, MANY)? as u32;
            }
            "connection_throttle_renew_session_weight" => {
                throttle.resumed_session = setting.number(1, MANY)? as u32;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}
