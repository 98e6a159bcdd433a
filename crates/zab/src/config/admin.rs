//! The keys of the AdminServer.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::ConfigError;
use super::registry::Group;
use super::registry::Treatment::{Honoured, Warned};
use super::settings::Setting;

pub(super) const KEYS: &[Group] = &[
    Group {
        treatment: Honoured,
        keys: &[
            "admin.enableServer",
            "admin.serverAddress",
            "admin.serverPort",
            "admin.commandURL",
            "admin.idleTimeout",
            "admin.rateLimiterIntervalInMS",
            "admin.snapshot.enabled",
        ],
    },
    Group {
        treatment: Warned("HTTP/1.1 is always spoken, as Apache's server does by default"),
        keys: &["admin.httpVersion"],
    },
    Group {
        treatment: Warned("a running server is never restored; stop it, and restore its directory"),
        keys: &["admin.restore.enabled"],
    },
];

/// What the AdminServer is like. Whoever embeds the server starts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminConfig {
    /// `admin.serverAddress` and `admin.serverPort`. Unlike Apache's, it is not reachable from elsewhere unless
    /// that is asked for.
    pub address: SocketAddr,
    /// Was the address or the port asked for? If not, a server can do without.
    pub is_asked_for: bool,
    /// `admin.commandURL`: what commands are below; begins with `/` and does not end so.
    pub command_url: String,
    /// `admin.idleTimeout`: a connection on which nothing moves for so long is closed.
    pub idle_timeout: Duration,
    /// `admin.rateLimiterIntervalInMS`: at most one snapshot in so long.
    pub snapshot_interval: Duration,
    /// `admin.snapshot.enabled`.
    pub snapshot_enabled: bool,
}

/// With the switch, which may be in any place.
pub(super) struct Admin {
    is_enabled: bool,
    config: AdminConfig,
}

impl Default for Admin {
    /// `JettyAdminServer`'s defaults, but for the address.
    fn default() -> Self {
        let config = AdminConfig {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            is_asked_for: false,
            command_url: "/commands".to_owned(),
            idle_timeout: Duration::from_secs(30),
            snapshot_interval: Duration::from_secs(300),
            snapshot_enabled: true,
        };
        Admin { is_enabled: true, config }
    }
}

impl Admin {
    /// False if this key is none of them.
    pub(super) fn set(&mut self, setting: &Setting) -> Result<bool, ConfigError> {
        let config = &mut self.config;
        match setting.name().strip_prefix("admin.") {
            Some("enableServer") => {
                self.is_enabled = setting.yes_or_no()?;
                config.is_asked_for |= self.is_enabled;
            }
            Some("serverAddress") => {
                config.address.set_ip(setting.address()?);
                config.is_asked_for = true;
            }
            Some("serverPort") => {
                config.address.set_port(setting.number(0, 65_535)? as u16);
                config.is_asked_for = true;
            }
            Some("commandURL") => config.command_url = command_url(setting)?,
            Some("idleTimeout") => {
                config.idle_timeout = Duration::from_millis(setting.number(1, 86_400_000)?)
            }
            Some("rateLimiterIntervalInMS") => {
                config.snapshot_interval = Duration::from_millis(setting.number(0, 1 << 31)?);
            }
            Some("snapshot.enabled") => config.snapshot_enabled = setting.yes_or_no()?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// What is wanted, if anything is.
    pub(super) fn wanted(self) -> Option<AdminConfig> {
        self.is_enabled.then_some(self.config)
    }
}

fn command_url(setting: &Setting) -> Result<String, ConfigError> {
    let url = setting.value.trim_end_matches('/');
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.' | '~');
    if !url.starts_with('/') || url.contains("//") || !url.chars().all(is_plain) {
        return Err(setting.invalid("a path is wanted, such as /commands"));
    }
    Ok(url.to_owned())
}
