//! The tree of a past moment, what differs between two, and who did it.

use zab::storage::{Archive, Moment};
use zab::tree::Tree;
use zab::tree::diff::DifferenceKind;
use zab::tree::history::{Deed, DeedKind, Historian};
use zab::tree::node::Node;
use zab::tree::restore::Restoring;
use zk_wire::codes::OpCode;
use zk_wire::ids::{SessionId, Zxid};

use super::Dirs;
use super::dump::{with_data, with_stat};
use super::line::{Line, Lines};

/// What was typed.
#[derive(Debug, clap::Args)]
pub(super) struct TreeArgs {
    #[command(flatten)]
    dirs: Dirs,
    /// Which moment: now, 0x and a zxid, or a time such as 2026-01-31T12:00:00Z.
    #[arg(long, value_parser = super::moment, default_value = "now", value_name = "MOMENT")]
    at: Moment,
    /// Only this znode and what is below it.
    #[arg(long, default_value = "/", value_name = "ZNODE")]
    path: String,
    /// Print the znodes' data too, as base64; otherwise only how long it is.
    #[arg(long)]
    data: bool,
}

/// What was typed.
#[derive(Debug, clap::Args)]
pub(super) struct DiffArgs {
    #[command(flatten)]
    dirs: Dirs,
    /// The earlier moment: 0x and a zxid, or a time such as 2026-01-31T12:00:00Z.
    #[arg(long, value_parser = super::moment, value_name = "MOMENT")]
    from: Moment,
    /// The later moment.
    #[arg(long, value_parser = super::moment, default_value = "now", value_name = "MOMENT")]
    to: Moment,
    /// Only this znode and what is below it.
    #[arg(long, default_value = "/", value_name = "ZNODE")]
    path: String,
}

/// What was typed.
#[derive(Debug, clap::Args)]
pub(super) struct HistoryArgs {
    #[command(flatten)]
    dirs: Dirs,
    /// Only this znode and what is below it.
    #[arg(long, default_value = "/", value_name = "ZNODE")]
    path: String,
    /// Only who deleted what.
    #[arg(long)]
    deleted: bool,
    /// Only what came behind this moment; default: everything that the files reach back to.
    #[arg(long, value_parser = super::moment, value_name = "MOMENT")]
    since: Option<Moment>,
    /// Only what came up to this moment.
    #[arg(long, value_parser = super::moment, default_value = "now", value_name = "MOMENT")]
    until: Moment,
}

/// Lists the znodes of a moment.
pub(super) fn tree(args: &TreeArgs, lines: &mut Lines) -> anyhow::Result<()> {
    let tree = tree_at(&args.dirs.archive()?, args.at)?;
    lines.tell(&Line::of("state").with("zxid", tree.last_zxid().to_string()).with("znodes", tree.len()))?;
    tree.walk(|path, node| {
        let path = if path.is_empty() { "/" } else { path };
        if !is_below(path, &args.path) {
            return Ok(());
        }
        let line = with_data(Line::of("znode").with("path", path), node.data(), args.data);
        lines.tell(&with_stat(line.with("children", node.children.len()), &node.persisted()))
    })
}

/// Lists the znodes that differ.
pub(super) fn diff(args: &DiffArgs, lines: &mut Lines) -> anyhow::Result<()> {
    let archive = args.dirs.archive()?;
    let (earlier, later) = (tree_at(&archive, args.from)?, tree_at(&archive, args.to)?);
    let (from, to) = (earlier.last_zxid(), later.last_zxid());
    anyhow::ensure!(from <= to, "{from} is behind {to}: swap --from and --to");
    lines.tell(&Line::of("states").with("from", from.to_string()).with("to", to.to_string()))?;
    for difference in zab::tree::diff::diff(&earlier, &later) {
        if !is_below(&difference.path, &args.path) {
            continue;
        }
        let what = match difference.kind {
            DifferenceKind::Created => "created",
            DifferenceKind::Deleted => "deleted",
            DifferenceKind::Recreated => "recreated",
            DifferenceKind::Changed { data: true, acl: false } => "data",
            DifferenceKind::Changed { data: false, acl: true } => "acl",
            DifferenceKind::Changed { .. } => "data+acl",
        };
        let stat = later.get(&difference.path).map(Node::persisted);
        let line = Line::of(what)
            .with("path", difference.path.as_str())
            .with_some("czxid", stat.map(|stat| stat.czxid.to_string()))
            .with_some("mzxid", stat.map(|stat| stat.mzxid.to_string()))
            .with_some("version", stat.map(|stat| stat.version));
        lines.tell(&line)?;
    }
    Ok(())
}

/// Lists who did what.
pub(super) fn history(args: &HistoryArgs, lines: &mut Lines) -> anyhow::Result<()> {
    let archive = args.dirs.archive()?;
    let since = match args.since {
        Some(moment) => archive.resolve(moment)?,
        None => Zxid::ZERO,
    };
    let mut told = Ok(());
    let mut tell = |deed: Deed| {
        let wanted = deed.zxid > since
            && is_below(&deed.path, &args.path)
            && (!args.deleted || deed.kind == DeedKind::Deleted);
        if wanted && told.is_ok() {
            told = lines.tell(&deed_line(&deed));
        }
    };
    archive.replay(since, args.until, &mut Historian::new(&mut tell))?;
    told
}

fn deed_line(deed: &Deed) -> Line {
    let what = match deed.kind {
        DeedKind::Created => "created",
        DeedKind::DataSet => "data",
        DeedKind::AclSet => "acl",
        DeedKind::Deleted => "deleted",
    };
    Line::of(what)
        .with("path", deed.path.as_str())
        .with("zxid", deed.zxid.to_string())
        .with("time", super::time(deed.time_ms))
        .with(
            "by",
            if deed.session == SessionId::NONE { "server".to_owned() } else { deed.session.to_string() },
        )
        .with("op", op_name(deed.op))
        .with("cxid", deed.cxid)
}

/// As in Apache's `ZooDefs.OpCode`.
pub(super) fn op_name(op: OpCode) -> String {
    let Some(name) = op.name() else { return op.0.to_string() };
    let mut letters = name.chars();
    letters.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(letters).collect()
}

fn tree_at(archive: &Archive, moment: Moment) -> anyhow::Result<Tree> {
    let mut restoring = Restoring::default();
    archive.restore(moment, &mut restoring)?;
    Ok(restoring.finish().0)
}

fn is_below(path: &str, root: &str) -> bool {
    let root = root.trim_end_matches('/');
    path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_znode_is_below_itself_and_the_root_but_not_below_its_namesakes() {
        for (path, root, expected) in [
            ("/a/b", "/a", true),
            ("/a", "/a", true),
            ("/a", "/a/", true),
            ("/ab", "/a", false),
            ("/ab", "/", true),
            ("/", "/", true),
            ("/", "/a", false),
        ] {
            assert_eq!(is_below(path, root), expected, "{path} {root}");
        }
        assert_eq!(op_name(OpCode::CreateContainer), "createContainer");
        assert_eq!(op_name(OpCode(99)), "99");
    }
}
