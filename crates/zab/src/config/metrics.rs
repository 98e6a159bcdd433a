//! The keys of Apache's `metricsProvider`.

use std::net::{Ipv4Addr, SocketAddr};

use super::ConfigError;
use super::registry::Group;
use super::registry::Treatment::{Honoured, Refused, Warned};
use super::settings::Setting;

pub(super) const KEYS: &[Group] = &[
    Group {
        treatment: Honoured,
        keys: &["metricsProvider.className", "metricsProvider.httpHost", "metricsProvider.httpPort"],
    },
    Group {
        treatment: Refused { harmless: &[], why: "whoever set it relies on it" },
        keys: &["metricsProvider.httpsPort", "metricsProvider.ssl.*"],
    },
    Group {
        treatment: Warned("it concerns the JVM"),
        keys: &[
            "metricsProvider.exportJvmInfo",
            "metricsProvider.numWorkerThreads",
            "metricsProvider.maxQueueSize",
            "metricsProvider.workerShutdownTimeoutMs",
        ],
    },
];

/// `PrometheusMetricsProvider`.
const DEFAULT_PORT: u16 = 7000;

/// The address counts only with the class that has one.
pub(super) struct Metrics {
    is_wanted: bool,
    address: SocketAddr,
}

impl Default for Metrics {
    fn default() -> Self {
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, DEFAULT_PORT));
        Metrics { is_wanted: false, address }
    }
}

impl Metrics {
    /// False if this key is none of them.
    pub(super) fn set(&mut self, setting: &Setting) -> Result<bool, ConfigError> {
        match setting.name().strip_prefix("metricsProvider.") {
            Some("className") => self.is_wanted = is_for_prometheus(setting)?,
            Some("httpHost") => self.address.set_ip(setting.address()?),
            Some("httpPort") => self.address.set_port(setting.number(0, 65_535)? as u16),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Where they are served, if they are.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.is_wanted.then_some(self.address)
    }
}

fn is_for_prometheus(class: &Setting) -> Result<bool, ConfigError> {
    match class.value.strip_prefix("org.apache.zookeeper.metrics.") {
        Some("prometheus.PrometheusMetricsProvider") => Ok(true),
        Some("impl.DefaultMetricsProvider" | "impl.NullMetricsProvider") => Ok(false),
        _ => Err(class.invalid(
            "one of Apache's providers is wanted: prometheus.PrometheusMetricsProvider, \
             impl.DefaultMetricsProvider or impl.NullMetricsProvider, with its package",
        )),
    }
}
