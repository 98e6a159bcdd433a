//! Quotas: which subtrees have one, and the texts of limits and of what is used (`Quotas`, `StatsTrack`,
//! `DataTree`'s trie).
//!
//! A quota of `/a` is `/zookeeper/quota/a/zookeeper_limits`; what `/a` and everything below it uses is kept in
//! `zookeeper_stats` beside it. Its data changes with each create, delete and setData below `/a`, without a
//! transaction, version or digest of its own: every member counts for itself.

use std::collections::{BTreeMap, BTreeSet};

/// Where quotas are.
pub(super) const QUOTA: &str = "/zookeeper/quota";
const LIMITS: &str = "zookeeper_limits";
const STATS: &str = "zookeeper_stats";

/// The paths that have a quota.
#[derive(Debug, Clone, Default)]
pub struct Quotas {
    paths: BTreeSet<String>,
}

/// What a znode below `/zookeeper/quota` is for the path that it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuotaNode<'a> {
    /// Its existence is the quota.
    Limits(&'a str),
    /// What is used.
    Stats(&'a str),
}

/// The text of limits or of usage: `count=4,bytes=5=;byteHardLimit=10;countHardLimit=10`.
///
/// The odd `=` lets parsers of 3.4 read the first two.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StatsTrack {
    values: BTreeMap<String, i64>,
}

/// What a quota limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limited {
    /// The znodes of the subtree, its root included.
    Znodes,
    /// The bytes of their data.
    Bytes,
}

/// A limit, and what a write would make of what it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Excess {
    /// What is limited.
    pub of: Limited,
    /// How many there would be.
    pub would_be: i64,
    /// How many there may be.
    pub limit: i64,
    /// Is the write refused? A soft limit is only told of.
    pub is_hard: bool,
}

impl Quotas {
    /// `path` has a quota from now on.
    pub fn add(&mut self, path: &str) {
        self.paths.insert(path.to_owned());
    }

    /// It has none any more.
    pub fn remove(&mut self, path: &str) {
        self.paths.remove(path);
    }

    /// Has nothing a quota?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// The paths that have one, in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.paths.iter().map(String::as_str)
    }

    /// The longest path with a quota that `path` is, or is below.
    #[must_use]
    pub fn of<'a>(&self, path: &'a str) -> Option<&'a str> {
        if self.paths.is_empty() {
            return None;
        }
        let mut prefix = path;
        while !prefix.is_empty() {
            if self.paths.contains(prefix) {
                return Some(prefix);
            }
            prefix = &prefix[..prefix.rfind('/')?];
        }
        None
    }
}

impl<'a> QuotaNode<'a> {
    /// Is the znode of `path` one of these?
    #[must_use]
    pub fn of(path: &'a str) -> Option<Self> {
        let (about, name) = path.strip_prefix(QUOTA)?.rsplit_once('/')?;
        if !about.starts_with('/') {
            return None;
        }
        match name {
            LIMITS => Some(QuotaNode::Limits(about)),
            STATS => Some(QuotaNode::Stats(about)),
            _ => None,
        }
    }
}

/// Where the limits of `path` are.
#[must_use]
pub fn limits_path(path: &str) -> String {
    format!("{QUOTA}{path}/{LIMITS}")
}

/// Where what `path` uses is.
#[must_use]
pub fn stats_path(path: &str) -> String {
    format!("{QUOTA}{path}/{STATS}")
}

impl StatsTrack {
    /// Reads a text. Apache's server breaks on what is no number; here it counts as not there.
    #[must_use]
    pub fn parse(data: &[u8]) -> Self {
        let text = String::from_utf8_lossy(data);
        let pairs = text.split([',', ';']).filter_map(|pair| {
            let mut parts = pair.split('=');
            let (key, value) = (parts.next()?, parts.next()?);
            Some((key.to_owned(), value.parse().ok()?))
        });
        StatsTrack { values: pairs.collect() }
    }

    /// The text of `count` znodes with `bytes` of data.
    #[must_use]
    pub fn used(count: i64, bytes: i64) -> Self {
        StatsTrack { values: [("count".to_owned(), count), ("bytes".to_owned(), bytes)].into() }
    }

    /// More of both, or less.
    pub fn add(&mut self, count: i64, bytes: i64) {
        let (old_count, old_bytes) = (self.get("count"), self.get("bytes"));
        self.values.insert("count".to_owned(), old_count.saturating_add(count));
        self.values.insert("bytes".to_owned(), old_bytes.saturating_add(bytes));
    }

    /// -1: not there.
    fn get(&self, key: &str) -> i64 {
        self.values.get(key).copied().unwrap_or(-1)
    }

    /// The limit that this text sets, the hard one if there are two; -1 without one.
    #[must_use]
    pub fn limit(&self, of: Limited) -> i64 {
        let (soft, hard) = of.keys();
        if self.get(hard) > -1 { self.get(hard) } else { self.get(soft) }
    }

    /// What this text says is used; -1 if it does not.
    #[must_use]
    pub fn usage(&self, of: Limited) -> i64 {
        self.get(of.keys().0)
    }

    /// The limit of this text that `used` and so much more are beyond. Only what changes is looked at
    /// (`ZooKeeperServer.checkQuota`).
    #[must_use]
    pub fn exceeded(&self, of: Limited, used: &StatsTrack, more: i64) -> Option<Excess> {
        let (limit, would_be) = (self.limit(of), used.usage(of).saturating_add(more));
        let is_hard = self.get(of.keys().1) > -1;
        (more != 0 && limit > -1 && would_be > limit).then_some(Excess { of, would_be, limit, is_hard })
    }
}

impl Limited {
    /// The keys of the soft limit, or of what is used, and of the hard limit.
    fn keys(self) -> (&'static str, &'static str) {
        match self {
            Limited::Znodes => ("count", "countHardLimit"),
            Limited::Bytes => ("bytes", "byteHardLimit"),
        }
    }
}

impl std::fmt::Display for StatsTrack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "count={},bytes={}", self.get("count"), self.get("bytes"))?;
        let mut others = self.values.iter().filter(|(key, _)| *key != "count" && *key != "bytes").peekable();
        if others.peek().is_some() {
            f.write_str("=")?;
        }
        others.try_for_each(|(key, value)| write!(f, ";{key}={value}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_apaches() {
        for (text, written) in [
            ("", "count=-1,bytes=-1"),
            ("count=4,bytes=5", "count=4,bytes=5"),
            (
                "count=4,bytes=5=;countHardLimit=10;byteHardLimit=9",
                "count=4,bytes=5=;byteHardLimit=9;countHardLimit=10",
            ),
            ("bytes=,count=x;;=", "count=-1,bytes=-1"),
        ] {
            assert_eq!(StatsTrack::parse(text.as_bytes()).to_string(), written, "{text:?}");
        }
        let mut used = StatsTrack::parse(b"count=1,bytes=10");
        used.add(2, -4);
        assert_eq!(used, StatsTrack::used(3, 6));
    }

    #[test]
    fn a_hard_limit_hides_the_soft_one_and_only_what_changes_is_looked_at() {
        use Limited::{Bytes, Znodes};
        let used = StatsTrack::used(3, 10);
        for (limits, of, more, excess) in [
            ("count=1,bytes=1", Znodes, 1, Some((4, 1, false))),
            ("count=1,bytes=1", Bytes, 1, Some((11, 1, false))),
            ("count=4,bytes=-1", Znodes, 1, None),
            ("count=-1,bytes=-1=;countHardLimit=3", Znodes, 1, Some((4, 3, true))),
            ("count=-1,bytes=-1=;countHardLimit=4", Znodes, 1, None),
            ("count=1,bytes=-1=;countHardLimit=4", Znodes, 1, None),
            ("count=9,bytes=-1=;countHardLimit=3", Znodes, 1, Some((4, 3, true))),
            ("count=-1,bytes=-1=;countHardLimit=1", Znodes, 0, None),
            ("count=-1,bytes=-1=;byteHardLimit=10", Bytes, 0, None),
            ("count=-1,bytes=-1=;byteHardLimit=10", Bytes, 1, Some((11, 10, true))),
            ("count=-1,bytes=-1=;byteHardLimit=5", Bytes, -1, Some((9, 5, true))),
            ("count=-1,bytes=-1=;byteHardLimit=0", Bytes, -10, None),
        ] {
            let found = StatsTrack::parse(limits.as_bytes()).exceeded(of, &used, more);
            let found = found.map(|excess| (excess.would_be, excess.limit, excess.is_hard));
            assert_eq!(found, excess, "{limits}, {more} more {of:?}");
        }
    }

    #[test]
    fn the_longest_path_counts_and_quotas_are_about_paths_below_theirs() {
        let mut quotas = Quotas::default();
        assert_eq!(quotas.of("/a/b"), None);
        quotas.add("/a");
        quotas.add("/a/b");
        for (path, found) in [("/a/b/c", Some("/a/b")), ("/a/bc", Some("/a")), ("/ab", None), ("/", None)] {
            assert_eq!(quotas.of(path), found, "{path}");
        }
        quotas.remove("/a/b");
        assert_eq!(quotas.of("/a/b"), Some("/a"));
        for (path, node) in [
            ("/zookeeper/quota/a/zookeeper_limits", Some(QuotaNode::Limits("/a"))),
            ("/zookeeper/quota/a/b/zookeeper_stats", Some(QuotaNode::Stats("/a/b"))),
            ("/zookeeper/quota/zookeeper_stats", None),
            ("/zookeeper/quotas/zookeeper_stats", None),
            ("/zookeeper/quota/a/x", None),
            ("/a/zookeeper_stats", None),
        ] {
            assert_eq!(QuotaNode::of(path), node, "{path}");
        }
    }
}
