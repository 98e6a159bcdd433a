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

impl schemars::JsonSchema for Paths {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Paths".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let Paths { own, formats } = Paths::default();
        let keys = [("own", own)]
            .into_iter()
            .chain(formats.iter().map(|(format, path)| (format.name(), path.clone())));
        let path = |(key, default): (&str, String)| {
            (key.to_owned(), serde_json::json!({"type": "string", "pattern": "^/", "default": default}))
        };
        let properties: serde_json::Map<_, _> = keys.map(path).collect();
        schemars::json_schema!({"type": "object", "properties": properties, "additionalProperties": false})
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
    pub(super) fn check(&self) -> Vec<ConfigError> {
        let formats = self.formats.iter().map(|(format, value)| (PathKey::Format(*format), value));
        let (mut wrong, mut paths) = (Vec::new(), Vec::new());
        for (key, value) in [(PathKey::Own, &self.own)].into_iter().chain(formats) {
            match path(&key.to_string(), value) {
                Ok(path) => paths.push((key, path)),
                Err(error) => wrong.push(error),
            }
        }
        for (index, (key, this)) in paths.iter().enumerate() {
            for (other_key, that) in &paths[..index] {
                let may_be_one = match (*key, *other_key) {
                    (PathKey::Format(this), PathKey::Format(that)) => this.may_share_a_root(that),
                    _ => false,
                };
                if this == that && !may_be_one || this.is_below(that) || that.is_below(this) {
                    let (key, other_key) = (key.to_string(), other_key.to_string());
                    let (value, other) = (this.to_string(), that.to_string());
                    wrong.push(ConfigError::Overlap { key, value, other_key, other });
                }
            }
        }
        wrong
    }
}

impl Paths {
    /// All that are paths, with their keys.
    pub(super) fn all(&self) -> impl Iterator<Item = (String, ZnodePath)> {
        let formats = self.formats.iter().map(|(format, value)| (PathKey::Format(*format), value));
        let all = [(PathKey::Own, &self.own)].into_iter().chain(formats);
        all.filter_map(|(key, value)| Some((key.to_string(), ZnodePath::new(value).ok()?)))
    }

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
