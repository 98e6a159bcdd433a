//! Values that are written as text.

use std::time::Duration;

use serde::Deserialize;

pub(super) fn from_text<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

/// `30s`, `1m 30s`, `500ms`.
pub(super) fn duration<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let span: jiff::SignedDuration = from_text(deserializer)?;
    Duration::try_from(span).map_err(serde::de::Error::custom)
}

pub(super) fn some_duration<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    duration(deserializer).map(Some)
}
