//! `ensembles:`, those beside the first one, whose keys are those of the whole file.

use serde::Deserialize;

use super::{Config, ConfigError, History, Paths, Sessions, ZooKeeper};
use crate::model::{EnsembleName, ZnodePath};
use crate::plan::Policy;

/// One more ensemble. Its keys are those of the whole file, with the same defaults.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct FurtherEnsemble {
    /// What rules and imports call it.
    pub name: EnsembleName,
    /// Where it is.
    pub zookeeper: ZooKeeper,
    /// Where the formats and our own znodes live.
    #[serde(default)]
    pub paths: Paths,
    /// Where its sessions are kept. Its Secret is that of the first ensemble with its name behind it, by default.
    #[serde(default)]
    pub sessions: Sessions,
    /// What is kept about what was written.
    #[serde(default)]
    pub history: History,
    /// What may be done to leaves that are there.
    #[serde(default)]
    pub policy: Policy,
}

impl Config {
    /// The ensembles, the first one first: of each the configuration of a bridge that has it alone.
    #[must_use]
    pub fn each(&self) -> Vec<Config> {
        let mut leader_election = self.leader_election.clone();
        leader_election.lease_duration = Some(self.lease_duration());
        let first = Config {
            rules: self.rules.of(&self.ensemble),
            leader_election,
            ensembles: Vec::new(),
            ..self.clone()
        };
        let further = self.ensembles.iter().map(|further| {
            let FurtherEnsemble { name, zookeeper, paths, sessions, history, policy } = further.clone();
            let secret = || format!("{}-{name}", self.sessions.secret());
            Config {
                sessions: Sessions {
                    secret: Some(sessions.secret.clone().unwrap_or_else(secret)),
                    ..sessions
                },
                rules: self.rules.of(&name),
                zookeeper,
                paths,
                history,
                policy,
                ensemble: name,
                ..first.clone()
            }
        });
        std::iter::once(first.clone()).chain(further).collect()
    }

    /// What they are called, the first one first.
    pub fn names(&self) -> impl Iterator<Item = &EnsembleName> {
        std::iter::once(&self.ensemble).chain(self.ensembles.iter().map(|further| &further.name))
    }

    /// The key of one of the keys of an ensemble, by its place among all of them.
    pub(super) fn key_of(index: usize, key: &str) -> String {
        match index.checked_sub(1) {
            None => key.to_owned(),
            Some(further) => format!("ensembles[{further}].{key}"),
        }
    }

    /// What is wrong with what must differ, or does not refer to anything.
    pub(super) fn check_ensembles(&self) -> Vec<ConfigError> {
        let mut wrong = Vec::new();
        let each = self.each();
        for (index, this) in each.iter().enumerate() {
            for (other_index, other) in each[..index].iter().enumerate() {
                if this.ensemble == other.ensemble {
                    wrong.push(ConfigError::Value {
                        key: Config::key_of(index, "name"),
                        value: this.ensemble.to_string(),
                        reason: match other_index {
                            0 => "is what the first ensemble is called".to_owned(),
                            _ => "is the name of two of them".to_owned(),
                        },
                    });
                    continue;
                }
                let secret = |config: &Config| {
                    (config.sessions.namespace.clone(), config.sessions.secret().to_owned())
                };
                if secret(this) == secret(other) {
                    wrong.push(ConfigError::Value {
                        key: Config::key_of(index, "sessions.secret"),
                        value: this.sessions.secret().to_owned(),
                        reason: format!("is the Secret of ensemble {} too", other.ensemble),
                    });
                }
                wrong.extend(overlaps((index, this), (other_index, other)));
            }
        }
        let unknown = |key: String, name: &EnsembleName| {
            let names = || self.names().map(EnsembleName::as_str).collect::<Vec<_>>().join(", ");
            let is_known = self.names().any(|known| known == name);
            (!is_known).then(|| ConfigError::NoEnsemble { key, name: name.clone(), names: names() })
        };
        for (rule, names) in self.rules.list.iter().map(|rule| &rule.ensembles).enumerate() {
            let names = names.iter().enumerate();
            wrong.extend(
                names.filter_map(|(index, name)| unknown(format!("rules[{rule}].ensembles[{index}]"), name)),
            );
        }
        for (index, import) in self.imports.iter().enumerate() {
            wrong.extend(unknown(format!("imports[{index}].ensemble"), &import.ensemble));
        }
        wrong
    }
}

/// Two that are one ensemble must not write where the other one does, or read what the other one wrote. That they are
/// one can be told if they have a server in common.
fn overlaps((index, this): (usize, &Config), (other_index, other): (usize, &Config)) -> Vec<ConfigError> {
    if !this.zookeeper.connect.shares_a_server_with(&other.zookeeper.connect) {
        return Vec::new();
    }
    let imported = |config: &Config| -> Vec<(String, ZnodePath)> {
        let imports = config.imports.iter().enumerate();
        let of_it = imports.filter(|(_, import)| import.ensemble == config.ensemble);
        of_it.map(|(index, import)| (format!("imports[{index}].root"), import.root.clone())).collect()
    };
    let written = |index: usize, config: &Config| -> Vec<(String, ZnodePath)> {
        let keys = config.paths.all();
        keys.map(|(key, path)| (Config::key_of(index, &key), path)).collect()
    };
    let (these, those) = (written(index, this), written(other_index, other));
    let (read_here, read_there) = (imported(this), imported(other));
    let pairs = |of_this: &[(String, ZnodePath)], of_that: &[(String, ZnodePath)]| {
        let mut wrong = Vec::new();
        for (key, path) in of_this {
            let mut those =
                of_that.iter().filter(|(_, that)| overlap(&absolute(this, path), &absolute(other, that)));
            if let Some((other_key, that)) = those.next() {
                let at = |path: &ZnodePath, of: &Config| format!("{}{path}", of.zookeeper.connect);
                wrong.push(ConfigError::Overlap {
                    key: key.clone(),
                    value: at(path, this),
                    other_key: other_key.clone(),
                    other: at(that, other),
                });
            }
        }
        wrong
    };
    let wrong = [pairs(&these, &those), pairs(&read_here, &those), pairs(&these, &read_there)];
    wrong.into_iter().flatten().collect()
}

/// As the servers have it, but for the root.
fn absolute(config: &Config, path: &ZnodePath) -> String {
    format!("{}{path}", config.zookeeper.connect.chroot()).trim_end_matches('/').to_owned()
}

fn overlap(this: &str, that: &str) -> bool {
    let is_in = |one: &str, other: &str| {
        one.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    is_in(this, that) || is_in(that, this)
}
