//! What an administrator writes, in `zoobridge.yaml`. `config/zoobridge.yaml` is the annotated sample.

mod document;
mod ensembles;
mod error;
mod history;
mod http;
mod mistake;
mod paths;
mod reload;
mod replicas;
#[cfg(test)]
mod tests;
mod value;
mod zookeeper;

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use crate::model::{EnsembleName, is_label};
use crate::plan::{Policy, Roots, Rule, RuleMistake, Rules};
use crate::reverse::plan::Import;
use crate::session::Own;

use document::Document;
pub use ensembles::FurtherEnsemble;
pub use error::ConfigError;
pub use history::History;
pub use http::Http;
pub use mistake::{Mistake, Place};
pub use paths::Paths;
pub use reload::{Reload, ReloadMetrics};
pub use replicas::{LeaderElection, Sessions};
pub use zookeeper::ZooKeeper;

/// The whole configuration, with defaults for whatever was not written.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Config {
    /// Names this cluster in ZooKeeper: part of our own paths.
    #[serde(default = "default_cluster")]
    pub cluster: String,
    /// Which ensemble the keys below are of, but for `ensembles`: the first one, unless [`Config::each`] says so.
    #[serde(skip)]
    pub ensemble: EnsembleName,
    /// The ensemble.
    pub zookeeper: ZooKeeper,
    /// Where the formats and our own znodes live.
    #[serde(default)]
    pub paths: Paths,
    /// Where sessions are kept so that a restart resumes them.
    #[serde(default)]
    pub sessions: Sessions,
    /// What is kept about what was written.
    #[serde(default)]
    pub history: History,
    /// Which of several replicas leads.
    #[serde(default)]
    pub leader_election: LeaderElection,
    /// Where metrics and health are served.
    #[serde(default)]
    pub http: Http,
    /// What may be done to leaves that are there.
    #[serde(default)]
    pub policy: Policy,
    /// Who may publish what.
    #[schemars(with = "Vec<Rule>")]
    pub rules: Rules,
    /// What is registered and becomes Services.
    #[serde(default)]
    pub imports: Vec<Import>,
    /// Further ensembles.
    #[serde(default)]
    pub ensembles: Vec<FurtherEnsemble>,
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read or makes no sense.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let read = Self::read(&text);
        read.map(|(config, _)| config)
            .map_err(|mistakes| ConfigError::Mistakes { file: Some(path.to_owned()), mistakes })
    }

    /// Reads text.
    ///
    /// # Errors
    /// It makes no sense.
    pub fn parse(yaml: &str) -> Result<Config, ConfigError> {
        let read = Self::read(yaml).map_err(|mistakes| ConfigError::Mistakes { file: None, mistakes });
        read.map(|(config, _)| config)
    }

    /// The JSON Schema of the file. It holds for whatever [`Config::parse`] takes.
    #[must_use]
    pub fn schema() -> serde_json::Value {
        let mut schema = schemars::schema_for!(Config);
        schema.insert("title".to_owned(), "zoobridge.yaml".into());
        let mut schema = schema.to_value();
        write_durations(&mut schema);
        schema
    }

    /// All mistakes, in the order of their places.
    fn read(yaml: &str) -> Result<(Config, Document), Vec<Mistake>> {
        let document = Document::parse(yaml).map_err(|mistake| vec![mistake])?;
        let (config, mut mistakes) = document.read::<Config>();
        let wrong = config.as_ref().map(Config::check).unwrap_or_default();
        for error in wrong {
            let keys = error.keys();
            // What follows from a value that could not be read says nothing.
            let is_in = |part: &str, key: &str| {
                part.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('['))
            };
            let follows = |key: &str| mistakes.iter().any(|mistake| is_in(&mistake.key, key));
            if keys.iter().any(|key| follows(key)) {
                continue;
            }
            let key = keys.first().map(|&key| key.to_owned()).unwrap_or_default();
            let text = error.to_string();
            let reason = text.strip_prefix(&format!("{key}: ")).unwrap_or(&text).to_owned();
            mistakes.push(Mistake { place: document.place(&key), key, reason });
        }
        mistakes.sort_by_key(|mistake| mistake.place);
        match config {
            Some(config) if mistakes.is_empty() => Ok((config, document)),
            _ => Err(mistakes),
        }
    }

    /// What is wrong with values that could be read.
    fn check(&self) -> Vec<ConfigError> {
        let mut wrong = Vec::new();
        wrong.extend(self.own().err());
        let first = (&self.zookeeper, &self.paths, &self.sessions, &self.history);
        let further = self.ensembles.iter().map(|it| (&it.zookeeper, &it.paths, &it.sessions, &it.history));
        for (index, (zookeeper, paths, sessions, history)) in [first].into_iter().chain(further).enumerate() {
            let checked = paths.check().into_iter();
            let checked = checked.chain(history.check().err()).chain(zookeeper.check().err());
            let checked = checked.chain(sessions.check().err());
            wrong.extend(checked.map(|error| error.with_keys(|key| Config::key_of(index, key))));
        }
        wrong.extend(self.check_ensembles());
        wrong.extend(self.check_imports());
        wrong.extend(self.check_lease());
        for RuleMistake { rule, annotation, reason } in self.rules.mistakes() {
            let key = format!("rules[{rule}].annotations.{annotation}");
            let value =
                self.rules.list[rule].annotations.get(&annotation).map_or("", |template| template.text());
            wrong.push(ConfigError::Value { key, value: value.to_owned(), reason });
        }
        wrong
    }

    fn check_lease(&self) -> Option<ConfigError> {
        let shortest = self.session_timeouts().enumerate().min_by_key(|(_, timeout)| *timeout);
        let (index, session_timeout) = shortest?;
        // A fifth more passes before the others look, and they need time to attach.
        (self.lease_duration() * 12 / 5 > session_timeout).then(|| {
            let of = Config::key_of(index, "zookeeper.sessionTimeout");
            ConfigError::Value {
                key: "leaderElection.leaseDuration".to_owned(),
                value: format!("{:?}", self.lease_duration()),
                reason: format!(
                    "is too long for {of} {session_timeout:?}: sessions would expire before another replica \
                     takes over; at most 5/12 of it"
                ),
            }
        })
    }

    /// Of all ensembles.
    fn session_timeouts(&self) -> impl Iterator<Item = Duration> {
        let further = self.ensembles.iter().map(|further| further.zookeeper.session_timeout);
        std::iter::once(self.zookeeper.session_timeout).chain(further)
    }

    /// Each Service says by its labels which import of which cluster it is of.
    fn check_imports(&self) -> Vec<ConfigError> {
        let mut wrong = Vec::new();
        let mut value = |key: String, value: &str, reason: &str| {
            wrong.push(ConfigError::Value { key, value: value.to_owned(), reason: reason.to_owned() });
        };
        if !self.imports.is_empty() && !is_label(&self.cluster) {
            let reason = "is no DNS label, and with imports it becomes a label of Services";
            value("cluster".to_owned(), &self.cluster, reason);
        }
        for (index, import) in self.imports.iter().enumerate() {
            let key = |name: &str| format!("imports[{index}].{name}");
            if let Err((name, reason)) = import.check() {
                value(key(name), &import.name, &format!("makes no sense: its {name} {reason}"));
            }
            if self.imports[..index].iter().any(|other| other.name == import.name) {
                value(key("name"), &import.name, "is the name of two of them");
            }
            let further = self.ensembles.iter().position(|further| further.name == import.ensemble);
            let paths = further.map_or(&self.paths, |index| &self.ensembles[index].paths);
            let Ok(own) = paths.own() else { continue };
            if import.root == own || import.root.is_below(&own) || own.is_below(&import.root) {
                let of = Config::key_of(further.map_or(0, |index| index + 1), "paths.own");
                value(key("root"), import.root.as_str(), &format!("overlaps {of}"));
            }
        }
        wrong
    }

    /// How long the Lease lasts without renewal: as long as the shortest of the session timeouts bears.
    #[must_use]
    pub fn lease_duration(&self) -> Duration {
        let shortest = || self.session_timeouts().min().unwrap_or(self.zookeeper.session_timeout);
        self.leader_election.lease_duration.unwrap_or_else(|| shortest() / 3)
    }

    /// Where the formats live.
    ///
    /// # Errors
    /// A path is none.
    pub fn roots(&self) -> Result<Roots, ConfigError> {
        self.paths.roots()
    }

    /// Our own directories.
    ///
    /// # Errors
    /// The path or the cluster's name is none.
    pub fn own(&self) -> Result<Own, ConfigError> {
        self.own_of(&self.cluster)
    }

    /// The directories of the bridge of this cluster, whichever is ours.
    ///
    /// # Errors
    /// The path or the cluster's name is none.
    pub fn own_of(&self, cluster: &str) -> Result<Own, ConfigError> {
        Own::new(&self.paths.own()?, cluster).map_err(|reason| ConfigError::Value {
            key: "cluster".to_owned(),
            value: cluster.to_owned(),
            reason: format!("cannot be part of a path: {reason}"),
        })
    }
}

/// Defaults of times, as they are written in the file.
fn write_durations(schema: &mut serde_json::Value) {
    let part = |value: &serde_json::Value, name| value.get(name).and_then(serde_json::Value::as_u64);
    if let (Some(seconds), Some(0)) = (part(schema, "secs"), part(schema, "nanos")) {
        *schema = format!("{seconds}s").into();
        return;
    }
    match schema {
        serde_json::Value::Object(map) => map.values_mut().for_each(write_durations),
        serde_json::Value::Array(list) => list.iter_mut().for_each(write_durations),
        _ => {}
    }
}

fn default_cluster() -> String {
    "kubernetes".to_owned()
}
