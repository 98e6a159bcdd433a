//! `http:`, metrics and health.

use std::net::{Ipv4Addr, SocketAddr};

use serde::Deserialize;

use super::value::from_text;

/// Metrics and health.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Http {
    /// Where to listen; port 0 takes a free one.
    #[serde(deserialize_with = "from_text")]
    #[schemars(with = "String")]
    pub address: SocketAddr,
}

impl Default for Http {
    fn default() -> Self {
        // The port that OpenTelemetry's exporters for Prometheus have.
        Http { address: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 9464)) }
    }
}
