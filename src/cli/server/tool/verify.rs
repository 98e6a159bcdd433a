//! Is everything as it was written?

use zab::storage::Verdict;

use super::Dirs;
use super::line::{Line, Lines};

/// A line per file, and one about the whole. An error if anything is wrong.
pub(super) fn run(dirs: &Dirs, lines: &mut Lines) -> anyhow::Result<()> {
    let verified = dirs.archive()?.verify()?;
    for checked in &verified.files {
        let path = checked.file.path.display().to_string();
        let line = match &checked.verdict {
            Verdict::Snapshot { znodes, holds } => Line::of("snapshot")
                .with("path", path)
                .with("znodes", *znodes)
                .with_some("holds", holds.map(|zxid| zxid.to_string())),
            Verdict::Log { txns, range, torn } => Line::of("log")
                .with("path", path)
                .with("txns", *txns)
                .with_some("first", range.map(|(first, _)| first.to_string()))
                .with_some("last", range.map(|(_, last)| last.to_string()))
                .with_some("torn", torn.clone()),
            Verdict::Bad(error) => Line::of("bad").with("path", path).with("why", reasons(error)),
        };
        lines.tell(&line)?;
    }
    let line = Line::of(if verified.is_good() { "good" } else { "bad" })
        .with("digests", verified.digests)
        .with("mismatches", verified.mismatches);
    let line = match &verified.state {
        Ok((last, tree)) => line.with("last", last.to_string()).with("znodes", tree.len()),
        Err(error) => line.with("why", reasons(error)),
    };
    lines.tell(&line)?;
    anyhow::ensure!(verified.is_good(), "{} is not as it was written", dirs.dir.display());
    Ok(())
}

fn reasons(error: &dyn std::error::Error) -> String {
    let mut reasons = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        reasons = format!("{reasons}: {error}");
        source = error.source();
    }
    reasons
}
