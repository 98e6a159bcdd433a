//! The keys of sessions, containers and quotas.

use std::time::Duration;

use super::ConfigError;
use super::registry::Group;
use super::registry::Treatment::Honoured;
use super::settings::Setting;

pub(super) const KEYS: &[Group] = &[Group {
    treatment: Honoured,
    keys: &[
        "localSessionsEnabled",
        "localSessionsUpgradingEnabled",
        "session.reattach",
        "session.passwords",
        "znode.container.checkIntervalMs",
        "znode.container.maxPerMinute",
        "znode.container.maxNeverUsedIntervalMs",
        "enforceQuota",
    ],
}];

/// What sessions may do, and who may resume them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SessionRules {
    /// `localSessionsEnabled`: a session is known to its server only, and costs no transaction, until it creates
    /// an ephemeral.
    pub local: bool,
    /// `localSessionsUpgradingEnabled`: then it becomes a session like all others; otherwise the create fails.
    pub upgrading: bool,
    /// `session.reattach`, which Apache does not have.
    pub reattach: Reattach,
    /// `session.passwords`, which Apache does not have.
    pub passwords: PasswordKind,
}

/// Who may resume a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reattach {
    /// Whoever has its password, as on Apache.
    #[default]
    Password,
    /// Who, beyond that, proves every identity that the session's connections have proven before.
    Identity,
}

/// What the passwords of sessions follow from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PasswordKind {
    /// From the session's id alone, as on Apache: a server of either kind resumes the other's sessions, and so
    /// does anybody who reads an id in a Stat.
    #[default]
    Derived,
    /// From a random key in the data directory too.
    Keyed,
}

/// When containers and TTL znodes are deleted (`ContainerManager`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReaperConfig {
    /// `znode.container.checkIntervalMs`: between two searches.
    pub interval: Duration,
    /// `znode.container.maxPerMinute`: how many are deleted in a minute, evenly.
    pub max_per_minute: u32,
    /// `znode.container.maxNeverUsedIntervalMs`: how long a container that never had a child stays; `None` for
    /// ever.
    pub never_used: Option<Duration>,
}

impl Default for ReaperConfig {
    /// Apache 3.9's.
    fn default() -> Self {
        ReaperConfig { interval: Duration::from_secs(60), max_per_minute: 10_000, never_used: None }
    }
}

impl SessionRules {
    /// False if this key is none of them.
    pub(super) fn set(&mut self, setting: &Setting) -> Result<bool, ConfigError> {
        match setting.name() {
            "localSessionsEnabled" => self.local = setting.yes_or_no()?,
            "localSessionsUpgradingEnabled" => self.upgrading = setting.yes_or_no()?,
            "session.reattach" => {
                self.reattach = match setting.value.as_str() {
                    "password" => Reattach::Password,
                    "identity" => Reattach::Identity,
                    _ => return Err(setting.invalid("password or identity is wanted")),
                }
            }
            "session.passwords" => {
                self.passwords = match setting.value.as_str() {
                    "derived" => PasswordKind::Derived,
                    "keyed" => PasswordKind::Keyed,
                    _ => return Err(setting.invalid("derived or keyed is wanted")),
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl ReaperConfig {
    /// False if this key is none of them.
    pub(super) fn set(&mut self, setting: &Setting) -> Result<bool, ConfigError> {
        let millis = |min| Ok::<_, ConfigError>(Duration::from_millis(setting.number(min, i32::MAX as u64)?));
        match setting.name() {
            "znode.container.checkIntervalMs" => self.interval = millis(1)?,
            "znode.container.maxPerMinute" => {
                self.max_per_minute = u32::try_from(setting.number(1, 60_000)?).unwrap_or(60_000);
            }
            "znode.container.maxNeverUsedIntervalMs" => {
                self.never_used = Some(millis(0)?).filter(|interval| !interval.is_zero());
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}
