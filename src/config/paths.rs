//! `paths:`, where the formats and our own znodes live.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::ConfigError;
use crate::format::Format;
use crate::model::ZnodePath;
use crate::plan::Roots;

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

impl Default for Paths {
    fn default() -> Self {
        Paths::from(BTreeMap::new())
    }
}

impl Paths {
    /// Whose a znode is follows from the path that it is below, and a directory of leaves holds nothing else.
    /// Formats whose leaves are read alike may have one root.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
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

impl Paths {
    /// Where our own znodes are.
    pub(super) fn own(&self) -> Result<ZnodePath, ConfigError> {
        path("paths.own", &self.own)
    }

    /// Where the formats live.
    pub(super) fn roots(&self) -> Result<Roots, ConfigError> {
        let root = |(format, value): (&Format, &String)| {
            Ok((*format, path(&PathKey::Format(*format).to_string(), value)?))
        };
        self.formats.iter().map(root).collect::<Result<_, _>>().map(Roots)
    }
}

fn path(key: &str, value: &str) -> Result<ZnodePath, ConfigError> {
    ZnodePath::new(value).map_err(|reason| ConfigError::Value {
        key: key.to_owned(),
        value: value.to_owned(),
        reason: format!("is no path: {reason}"),
    })
}
