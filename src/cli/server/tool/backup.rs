//! Backups: made and restored.

use std::path::PathBuf;

use zab::storage::{Archive, Backup};

use super::Dirs;
use super::line::{Line, Lines};

/// What was typed.
#[derive(Debug, clap::Args)]
pub(super) struct BackupArgs {
    #[command(flatten)]
    dirs: Dirs,
    /// A directory that is empty or not there yet.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
}

/// What was typed.
#[derive(Debug, clap::Args)]
pub(super) struct RestoreArgs {
    #[command(flatten)]
    dirs: Dirs,
    /// The backup.
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
}

/// Makes a backup.
pub(super) fn back_up(args: &BackupArgs, lines: &mut Lines) -> anyhow::Result<()> {
    let made = args.dirs.archive()?.back_up(&args.to)?;
    tell(&made, "backup", lines)
}

/// Restores one into an empty directory.
pub(super) fn restore(args: &RestoreArgs, lines: &mut Lines) -> anyhow::Result<()> {
    let backup = Archive::open(&args.from, &args.from);
    let restored = backup.restore_backup(&args.dirs.dir, args.dirs.log_dir())?;
    tell(&restored, "restored", lines)
}

fn tell(backup: &Backup, what: &str, lines: &mut Lines) -> anyhow::Result<()> {
    for file in &backup.files {
        let crc = format!("{:08x}", file.crc);
        lines.tell(
            &Line::of("file").with("name", file.name.as_str()).with("bytes", file.bytes).with("crc32", crc),
        )?;
    }
    lines.tell(&Line::of(what).with("last", backup.last.to_string()).with("znodes", backup.znodes))
}
