//! `zoobridge server tool`: what is in a data directory, now and in the past. Only `restore` writes into one, and
//! only into an empty one.

mod backup;
mod dump;
mod line;
mod past;
mod verify;

use std::path::PathBuf;

use anyhow::Context;
use jiff::Timestamp;
use zab::storage::{Archive, Moment};
use zk_wire::ids::Zxid;

use line::{Format, Lines};

/// What was typed.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
    /// How answers look.
    #[arg(long, value_enum, default_value = "text", global = true)]
    format: Format,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Prints each record of logs and each item of snapshots.
    Dump(dump::Args),
    /// Checks every checksum, and every digest by a replay. Exits with 1 unless all is well.
    Verify(Dirs),
    /// Copies a consistent state, also from under a running server, and checks the copy.
    Backup(backup::BackupArgs),
    /// Copies a backup into an empty data directory, and checks the copy.
    Restore(backup::RestoreArgs),
    /// Lists the znodes of a moment.
    Tree(past::TreeArgs),
    /// Lists the znodes that differ between two moments.
    Diff(past::DiffArgs),
    /// Lists who did what to which znode.
    History(past::HistoryArgs),
}

/// Where files are.
#[derive(Debug, clap::Args)]
struct Dirs {
    /// The server's dataDir, or a directory with files of one.
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Its dataLogDir, if that is another directory.
    #[arg(long, value_name = "DIR")]
    log_dir: Option<PathBuf>,
}

impl Dirs {
    fn log_dir(&self) -> &std::path::Path {
        self.log_dir.as_deref().unwrap_or(&self.dir)
    }

    fn archive(&self) -> anyhow::Result<Archive> {
        let archive = Archive::open(&self.dir, self.log_dir());
        let files = archive.snapshots()?.len() + archive.logs()?.len();
        anyhow::ensure!(files > 0, "there are neither snapshots nor logs in {}", self.dir.display());
        Ok(archive)
    }
}

/// Answers to standard output.
pub(super) fn run(Args { what, format }: Args) -> anyhow::Result<()> {
    let mut lines = Lines::new(format);
    let result = match what {
        What::Dump(args) => dump::run(&args, &mut lines),
        What::Verify(dirs) => verify::run(&dirs, &mut lines),
        What::Backup(args) => backup::back_up(&args, &mut lines),
        What::Restore(args) => backup::restore(&args, &mut lines),
        What::Tree(args) => past::tree(&args, &mut lines),
        What::Diff(args) => past::diff(&args, &mut lines),
        What::History(args) => past::history(&args, &mut lines),
    };
    // Whoever has read enough, as `head` does, has made no mistake.
    if lines.is_closed() {
        return Ok(());
    }
    result.and_then(|()| lines.flush())
}

/// `now`, a zxid as ZooKeeper prints them, or a time of RFC 3339.
fn moment(text: &str) -> anyhow::Result<Moment> {
    if text == "now" {
        return Ok(Moment::Now);
    }
    if let Some(digits) = text.strip_prefix("0x") {
        let zxid = i64::from_str_radix(digits, 16).context("a zxid is 0x and hexadecimal digits")?;
        return Ok(Moment::At(Zxid(zxid)));
    }
    let time: Timestamp =
        text.parse().context("wanted: now, 0x and a zxid, or a time such as 2026-01-31T12:00:00Z")?;
    Ok(Moment::Time(time.as_millisecond()))
}

/// A time in a log, in words.
fn time(time_ms: i64) -> String {
    Timestamp::from_millisecond(time_ms).map_or_else(|_| format!("{time_ms} ms"), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_zxids_times_or_now() {
        assert_eq!(moment("now").unwrap(), Moment::Now);
        assert_eq!(moment("0x10000000a").unwrap(), Moment::At(Zxid(0x1_0000_000a)));
        assert_eq!(moment("1970-01-01T00:00:01Z").unwrap(), Moment::Time(1000));
        for nonsense in ["", "12", "0x", "0xg", "yesterday"] {
            assert!(moment(nonsense).is_err(), "{nonsense}");
        }
    }
}
