//! Which files there are, by name (`Util`, `FileSnap`, `FileTxnLog`).

use std::path::{Path, PathBuf};

use zk_wire::ids::Zxid;
use zk_wire::snap_stream::SnapshotCompression;

use super::disk::Files;
use super::error::StorageError;

/// The two places of a server's files; they may be the same.
#[derive(Debug, Clone)]
pub(super) struct Directories {
    /// `<dataDir>/version-2`.
    pub(super) snapshots: PathBuf,
    /// `<dataLogDir>/version-2`.
    pub(super) logs: PathBuf,
}

/// A file whose name ends with a zxid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ZxidFile {
    pub(super) zxid: Zxid,
    pub(super) path: PathBuf,
    /// What a second extension says, as snapshots may have it.
    pub(super) compression: SnapshotCompression,
}

impl Directories {
    pub(super) fn new(data_dir: &Path, log_dir: &Path) -> Self {
        Directories { snapshots: data_dir.join(VERSION), logs: log_dir.join(VERSION) }
    }

    /// Creates what is missing and refuses files in the wrong place (`FileTxnSnapLog.checkLogDir`).
    pub(super) fn prepare(&self, files: &Files) -> Result<(), StorageError> {
        files.create_dirs(&self.snapshots)?;
        files.create_dirs(&self.logs)?;
        if self.snapshots == self.logs {
            return Ok(());
        }
        refuse_any(list(files, &self.logs, SNAPSHOT)?, "dataLogDir")?;
        refuse_any(list(files, &self.snapshots, LOG)?, "dataDir")
    }

    /// The lock files, one per directory.
    pub(super) fn locks(&self) -> Vec<PathBuf> {
        let mut directories = vec![&self.snapshots, &self.logs];
        directories.dedup();
        directories.iter().map(|dir| dir.join(LOCK)).collect()
    }

    /// All logs, oldest first.
    pub(super) fn logs(&self, files: &Files) -> Result<Vec<ZxidFile>, StorageError> {
        let mut logs = list(files, &self.logs, LOG)?;
        logs.retain(|log| log.compression == SnapshotCompression::Plain);
        Ok(logs)
    }

    /// All snapshots, newest first, compressed ones too.
    pub(super) fn snapshots(&self, files: &Files) -> Result<Vec<ZxidFile>, StorageError> {
        let mut snapshots = list(files, &self.snapshots, SNAPSHOT)?;
        snapshots.reverse();
        Ok(snapshots)
    }

    /// Removes what unfinished snapshots left behind.
    pub(super) fn remove_unfinished(&self, files: &Files) -> Result<(), StorageError> {
        for name in files.list(&self.snapshots)? {
            if name.starts_with(UNFINISHED) {
                files.remove(&self.snapshots.join(name))?;
            }
        }
        Ok(())
    }

    /// What a snapshot's name says of its compression.
    pub(super) fn compression(path: &Path) -> SnapshotCompression {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let found = SnapshotCompression::ALL.into_iter().rev();
        let mut found = found.filter(|compression| name.ends_with(compression.extension()));
        found.next().unwrap_or_default()
    }

    pub(super) fn log(&self, first: Zxid) -> PathBuf {
        self.logs.join(format!("{LOG}{:x}", first.0))
    }

    pub(super) fn snapshot(&self, zxid: Zxid, compression: SnapshotCompression) -> PathBuf {
        self.snapshots.join(format!("{SNAPSHOT}{:x}{}", zxid.0, compression.extension()))
    }

    /// Where a snapshot is written. Apache takes anything that starts with "snapshot." for one, so the mark
    /// is in front.
    pub(super) fn unfinished_snapshot(&self, zxid: Zxid) -> PathBuf {
        self.snapshots.join(format!("{UNFINISHED}{:x}", zxid.0))
    }
}

fn refuse_any(files: Vec<ZxidFile>, kind: &'static str) -> Result<(), StorageError> {
    match files.into_iter().next() {
        None => Ok(()),
        Some(file) => Err(StorageError::Misplaced { path: file.path, kind }),
    }
}

/// The files of one kind, by zxid.
fn list(files: &Files, dir: &Path, prefix: &str) -> Result<Vec<ZxidFile>, StorageError> {
    let mut found: Vec<ZxidFile> =
        files.list(dir)?.iter().filter_map(|name| parse(dir, prefix, name)).collect();
    found.sort_by(|a, b| (a.zxid, &b.path).cmp(&(b.zxid, &a.path)));
    Ok(found)
}

fn parse(dir: &Path, prefix: &str, name: &str) -> Option<ZxidFile> {
    let rest = name.strip_prefix(prefix)?;
    let compression = match rest.rsplit_once('.') {
        None => SnapshotCompression::Plain,
        Some((_, extension)) => {
            extension.parse().ok().filter(|found| *found != SnapshotCompression::Plain)?
        }
    };
    let digits = rest.strip_suffix(compression.extension())?;
    // `from_str_radix` would also take a sign, and fails without any digit.
    if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    Some(ZxidFile { zxid: Zxid(i64::from_str_radix(digits, 16).ok()?), path: dir.join(name), compression })
}

const VERSION: &str = "version-2";
const LOG: &str = "log.";
const SNAPSHOT: &str = "snapshot.";
const UNFINISHED: &str = "tmp.snapshot.";
const LOCK: &str = "zab.lock";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_zxids_in_hexadecimal() {
        use SnapshotCompression::{Gzip, Plain, Snappy};
        let cases = [
            ("snapshot.10000000d", Some((0x1_0000_000d, Plain))),
            ("snapshot.0", Some((0, Plain))),
            ("snapshot.32.gz", Some((0x32, Gzip))),
            ("snapshot.32.snappy", Some((0x32, Snappy))),
            ("snapshot.32.", None),
            ("snapshot..gz", None),
            ("snapshot.32.tmp", None),
            ("snapshot.", None),
            ("snapshot.-1", None),
            ("snapshot.+1", None),
            ("snapshot.ffffffffffffffff", None),
            ("tmp.snapshot.1", None),
            ("log.1", None),
        ];
        for (name, expected) in cases {
            let file = parse(Path::new("/d"), SNAPSHOT, name);
            assert_eq!(file.map(|file| (file.zxid.0, file.compression)), expected, "{name}");
        }
    }
}
