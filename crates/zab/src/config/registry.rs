//! Every key of Apache ZooKeeper 3.9, from `QuorumPeerConfig` and from where its server reads system properties,
//! with what becomes of it here. Keys of ours that Apache does not have are listed with those of their area.

use super::settings::Setting;
use super::{ConfigError, admin, general, limits, metrics, security, sessions, storage};

/// What becomes of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    /// It does what it does in Apache's server.
    Honoured,
    /// It is accepted with a warning, because it changes nothing here: this is why.
    Warned(&'static str),
    /// It stops the start, because whoever set it relies on it.
    Refused {
        /// Values, in lower case, that ask for nothing and are accepted.
        harmless: &'static [&'static str],
        /// Why it is not only a warning.
        why: &'static str,
    },
}

/// Keys that are treated alike. A key that ends in `.*` stands for all that begin so.
#[derive(Debug)]
pub struct Group {
    /// What becomes of them.
    pub treatment: Treatment,
    /// Without `zookeeper.`.
    pub keys: &'static [&'static str],
}

/// The keys of each area.
const AREAS: [&[Group]; 7] =
    [general::KEYS, storage::KEYS, sessions::KEYS, limits::KEYS, metrics::KEYS, admin::KEYS, security::KEYS];

/// All keys that are known, and what becomes of each.
pub fn known() -> impl Iterator<Item = (&'static str, Treatment)> {
    let groups = AREAS.into_iter().flatten();
    groups.flat_map(|group| group.keys.iter().map(|key| (*key, group.treatment)))
}

/// What is left to do for a setting.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is to be taken.
    Take,
    /// It changes nothing, and has been said to.
    Ignore,
}

/// What becomes of a setting.
///
/// # Errors
/// It must not be ignored, or it looks like a misspelt one.
pub(super) fn judge(setting: &Setting) -> Result<Verdict, ConfigError> {
    let Setting { place, key, value } = setting;
    match treatment(setting.name()) {
        Some(Treatment::Honoured) => Ok(Verdict::Take),
        Some(Treatment::Warned(why)) => {
            tracing::warn!(key, place, why, "this key changes nothing here");
            Ok(Verdict::Ignore)
        }
        Some(Treatment::Refused { harmless, .. })
            if harmless.contains(&value.to_ascii_lowercase().as_str()) =>
        {
            Ok(Verdict::Ignore)
        }
        Some(Treatment::Refused { why, .. }) => {
            Err(ConfigError::NotImplemented { place: place.clone(), key: key.clone(), reason: why })
        }
        None => match nearest(setting.name()) {
            Some(meant) => Err(ConfigError::Misspelt { place: place.clone(), key: key.clone(), meant }),
            None => {
                tracing::warn!(key, place, "nobody knows this key; it changes nothing");
                Ok(Verdict::Ignore)
            }
        },
    }
}

fn treatment(name: &str) -> Option<Treatment> {
    let is = |key: &str| match key.strip_suffix('*') {
        Some(prefix) => name.len() > prefix.len() && name.starts_with(prefix),
        None => name == key,
    };
    known().find(|(key, _)| is(key)).map(|(_, treatment)| treatment)
}

/// The key that may be meant: case aside, one slip apart if it is short, two or three if it is long.
fn nearest(name: &str) -> Option<&'static str> {
    let lower = name.to_lowercase();
    let slips = match name.len() {
        0..=5 => 1,
        6..=14 => 2,
        _ => 3,
    };
    let distances = known()
        .filter(|(key, _)| !key.ends_with('*'))
        .map(|(key, _)| (strsim::osa_distance(&key.to_lowercase(), &lower), key));
    distances.filter(|(distance, _)| *distance <= slips).min().map(|(_, key)| key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_listed_once() {
        let mut keys: Vec<&str> = known().map(|(key, _)| key).collect();
        let count = keys.len();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), count);
        assert!(count > 200, "{count}");
    }

    /// `docs/zoo-cfg.md`.
    fn page() -> String {
        let mut page = String::from(
            "# Keys of `zoo.cfg`\n\n\
             What becomes of every key of Apache ZooKeeper 3.9: those of `zoo.cfg`, and the system properties of its \
             server, which are given here without `zookeeper.`.\n\
             A key that is none of them stops the start if it looks like a misspelt one, and is named in a warning \
             otherwise.\n\
             The last keys of a group may be ours.\n\
             A test writes this page (`ZOO_CFG_PAGE=write cargo test -p zab --lib config`).\n",
        );
        let list = |keys: Vec<&str>| {
            let keys: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
            keys.join(", ")
        };
        let honoured = known().filter(|(_, treatment)| *treatment == Treatment::Honoured);
        page += &format!("\n## Honoured\n\n{}\n", list(honoured.map(|(key, _)| key).collect()));
        page += "\n## Accepted with a warning: they change nothing\n\n| keys | why |\n|---|---|\n";
        for group in AREAS.into_iter().flatten() {
            if let Treatment::Warned(why) = group.treatment {
                page += &format!("| {} | {why} |\n", list(group.keys.to_vec()));
            }
        }
        page += "\n## Refused: they stop the start\n\n| keys | unless | why |\n|---|---|---|\n";
        for group in AREAS.into_iter().flatten() {
            if let Treatment::Refused { harmless, why } = group.treatment {
                page += &format!("| {} | {} | {why} |\n", list(group.keys.to_vec()), list(harmless.to_vec()));
            }
        }
        page
    }

    #[test]
    fn the_page_says_what_becomes_of_every_key() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/zoo-cfg.md");
        if std::env::var_os("ZOO_CFG_PAGE").is_some() {
            std::fs::write(path, page()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap(), page(), "write it anew, as it says");
    }

    #[test]
    fn a_slip_is_noticed_and_a_stranger_is_not_corrected() {
        for (written, meant) in [
            ("tickTimes", "tickTime"),
            ("ticktime", "tickTime"),
            ("clientport", "clientPort"),
            ("dataLogdir", "dataLogDir"),
            ("autopurge.snapRetainCnt", "autopurge.snapRetainCount"),
            ("autopurge.purgeinterval", "autopurge.purgeInterval"),
            ("4lw.command.whitelist", "4lw.commands.whitelist"),
            ("ssl.keystore.location", "ssl.keyStore.location"),
            ("secureClientPrt", "secureClientPort"),
            ("snpaCount", "snapCount"),
        ] {
            assert_eq!(nearest(written), Some(meant), "{written}");
        }
        for stranger in ["owner", "my.company.setting", "kafka.listeners", "heap"] {
            assert_eq!(nearest(stranger), None, "{stranger}");
        }
    }
}
