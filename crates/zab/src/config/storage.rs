//! The keys of logs and snapshots.

use super::ConfigError;
use super::registry::Group;
use super::registry::Treatment::Honoured;
use super::settings::Setting;
use crate::storage::{Retention, SnapshotCompression};

pub(super) const KEYS: &[Group] = &[
    Group {
        treatment: Honoured,
        keys: &[
            "snapSizeLimitInKb",
            "txnLogSizeLimitInKb",
            "snapshot.compression.method",
            "snapshot.trust.empty",
            "autopurge.purgeInterval",
        ],
    },
    // Ours.
    Group { treatment: Honoured, keys: &["snapshot.maxKbPerSecond", "autopurge.minFreeSpaceInMb"] },
];

/// What an operator may choose about logs and snapshots, besides what Apache's oldest keys say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StorageConfig {
    /// `snapSizeLimitInKb`, in bytes: at most so much is logged between snapshots; 0 is no limit.
    pub snap_size_limit: u64,
    /// `txnLogSizeLimitInKb`, in bytes: a longer log is followed by a new one.
    pub txn_log_size_limit: Option<u64>,
    /// `snapshot.compression.method`: `gz`, `snappy`, or nothing.
    pub snapshot_compression: SnapshotCompression,
    /// `snapshot.trust.empty`: may logs be replayed without any snapshot?
    pub trust_empty: bool,
    /// `autopurge.purgeInterval` other than 0: are old files deleted, behind each snapshot? Unlike Apache's
    /// server ours does so unless it is told not to; how many hours the key says does not matter.
    pub is_purging: bool,
    /// `snapshot.maxKbPerSecond`, in bytes per second: how fast a snapshot is written beside those who are
    /// served; 0 is no limit.
    pub snapshot_bytes_per_second: u64,
    /// `autopurge.minFreeSpaceInMb`, in bytes: with less free only the newest valid snapshot is kept, and what
    /// it needs; 0 switches that off. `None` is the default, which is off if purging is.
    pub min_free_bytes: Option<u64>,
}

impl Default for StorageConfig {
    fn default() -> Self {
        StorageConfig {
            // `SyncRequestProcessor.snapSizeInBytes`.
            snap_size_limit: 4 << 30,
            txn_log_size_limit: None,
            snapshot_compression: SnapshotCompression::Plain,
            trust_empty: false,
            is_purging: true,
            snapshot_bytes_per_second: 64 << 20,
            min_free_bytes: None,
        }
    }
}

/// Eight logs as they are pre-allocated by default.
const DEFAULT_MIN_FREE: u64 = 512 << 20;

impl StorageConfig {
    /// False if this key is not one of these.
    pub(super) fn set(&mut self, setting: &Setting) -> Result<bool, ConfigError> {
        match setting.name() {
            // As in Apache, -1 and 0 switch both limits off.
            "snapSizeLimitInKb" => self.snap_size_limit = kilobytes(setting)?.unwrap_or(0),
            "txnLogSizeLimitInKb" => self.txn_log_size_limit = kilobytes(setting)?,
            "snapshot.compression.method" => {
                self.snapshot_compression =
                    setting.value.parse().map_err(|reason| setting.invalid(reason))?;
            }
            "snapshot.trust.empty" => self.trust_empty = setting.yes_or_no()?,
            "autopurge.purgeInterval" => self.is_purging = setting.number(0, 1 << 20)? > 0,
            "snapshot.maxKbPerSecond" => {
                self.snapshot_bytes_per_second = setting.number(0, 1 << 30)? * 1024;
            }
            "autopurge.minFreeSpaceInMb" => {
                self.min_free_bytes = Some(setting.number(0, 1 << 30)? << 20);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// What is kept, with so many snapshots if purging is on.
    #[must_use]
    pub fn retention(&self, snapshots: usize) -> Retention {
        let by_default = if self.is_purging { DEFAULT_MIN_FREE } else { 0 };
        Retention {
            snapshots: if self.is_purging { snapshots } else { usize::MAX },
            min_free_bytes: self.min_free_bytes.unwrap_or(by_default),
        }
    }
}

fn kilobytes(setting: &Setting) -> Result<Option<u64>, ConfigError> {
    if setting.value == "-1" {
        return Ok(None);
    }
    let kilobytes = setting.number(0, 1 << 40)?;
    Ok((kilobytes > 0).then_some(kilobytes * 1024))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ServerConfig;

    fn storage(settings: &[&str]) -> Result<StorageConfig, String> {
        let mut all = vec!["dataDir=/x".to_owned()];
        all.extend(settings.iter().map(|setting| (*setting).to_owned()));
        ServerConfig::load(None, &all).map(|config| config.storage).map_err(|error| error.to_string())
    }

    #[test]
    fn limits_are_kilobytes_and_off_below_one() {
        let found = storage(&["snapSizeLimitInKb=8", "txnLogSizeLimitInKb=4"]).unwrap();
        assert_eq!((found.snap_size_limit, found.txn_log_size_limit), (8192, Some(4096)));
        for off in ["0", "-1"] {
            let limits = [format!("snapSizeLimitInKb={off}"), format!("txnLogSizeLimitInKb={off}")];
            let found = storage(&limits.each_ref().map(String::as_str)).unwrap();
            assert_eq!((found.snap_size_limit, found.txn_log_size_limit), (0, None));
        }
    }

    #[test]
    fn a_compression_that_nobody_knows_is_refused() {
        for (name, expected) in [
            ("gz", SnapshotCompression::Gzip),
            ("snappy", SnapshotCompression::Snappy),
            ("", SnapshotCompression::Plain),
        ] {
            let found = storage(&[&format!("snapshot.compression.method={name}")]).unwrap();
            assert_eq!(found.snapshot_compression, expected);
        }
        let error = storage(&["snapshot.compression.method=zstd"]).unwrap_err();
        assert!(error.contains("gz, snappy or nothing is wanted"), "{error}");
    }

    #[test]
    fn purging_is_on_unless_it_is_switched_off() {
        let kept = |settings: &[&str]| {
            let Retention { snapshots, min_free_bytes } = storage(settings).unwrap().retention(5);
            (snapshots, min_free_bytes)
        };
        assert_eq!(kept(&[]), (5, DEFAULT_MIN_FREE));
        assert_eq!(kept(&["autopurge.purgeInterval=24"]), (5, DEFAULT_MIN_FREE));
        assert_eq!(kept(&["autopurge.purgeInterval=0"]), (usize::MAX, 0));
        assert_eq!(
            kept(&["autopurge.purgeInterval=0", "autopurge.minFreeSpaceInMb=1"]),
            (usize::MAX, 1 << 20)
        );
    }
}
