//! Each record of logs, each item of snapshots.

use std::path::PathBuf;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use zab::storage::{Archive, ArchiveRecord};
use zk_wire::acl::Acl;
use zk_wire::snapshot::SnapshotItem;
use zk_wire::stat::StatPersisted;
use zk_wire::txn::Txn;

use super::line::{Line, Lines};

/// What was typed.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Files named log.ZXID or snapshot.ZXID, or directories with such files.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Print the znodes' data too, as base64; otherwise only how long it is.
    #[arg(long)]
    data: bool,
}

/// Prints them in the order in which they are given, directories by zxid, snapshots first.
pub(super) fn run(args: &Args, lines: &mut Lines) -> anyhow::Result<()> {
    for path in &args.paths {
        if path.is_dir() {
            let archive = Archive::open(path, path);
            let files = archive.snapshots()?.into_iter().rev().chain(archive.logs()?);
            for file in files {
                dump(&file.path, args.data, lines)?;
            }
        } else {
            dump(path, args.data, lines)?;
        }
    }
    Ok(())
}

fn dump(path: &std::path::Path, data: bool, lines: &mut Lines) -> anyhow::Result<()> {
    let dir = path.parent().unwrap_or(path);
    let archive = Archive::open(dir, dir);
    lines.tell(&Line::of("file").with("path", path.display().to_string()))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // What cannot be told any more is noticed behind the file.
    let mut told = Ok(());
    if name.starts_with("log.") {
        let end = archive.read_log(path, &mut |record| {
            for line in record_lines(&record, data) {
                told = std::mem::replace(&mut told, Ok(())).and_then(|()| lines.tell(&line));
            }
        })?;
        told?;
        lines.tell(&Line::of("end").with("offset", end.end).with_some("torn", end.torn))
    } else if name.starts_with("snapshot.") {
        archive.read_snapshot(path, &mut |item| {
            let line = item_line(&item, data);
            told = std::mem::replace(&mut told, Ok(())).and_then(|()| lines.tell(&line));
        })?;
        told
    } else {
        anyhow::bail!("{} is named neither log.ZXID nor snapshot.ZXID", path.display())
    }
}

/// The transaction, and behind it each part of a multi.
fn record_lines(record: &ArchiveRecord, data: bool) -> Vec<Line> {
    let header = &record.txn.header;
    let line = Line::of("txn")
        .with("offset", record.offset)
        .with("bytes", record.length)
        .with("zxid", header.zxid.to_string())
        .with("time", super::time(header.time_ms))
        .with("session", header.session.to_string())
        .with("cxid", header.cxid)
        .with_some("digest", record.txn.digest.map(|digest| digest.tree_digest.0));
    match &record.txn.txn {
        Txn::Multi(parts) => {
            let whole = txn_fields(line.with("parts", parts.len()), &record.txn.txn, data);
            let part = |txn| txn_fields(Line::of("part").with("zxid", header.zxid.to_string()), txn, data);
            std::iter::once(whole).chain(parts.iter().map(part)).collect()
        }
        txn => vec![txn_fields(line, txn, data)],
    }
}

fn txn_fields(line: Line, txn: &Txn, data: bool) -> Line {
    let line = line.with("op", super::past::op_name(txn.op()));
    match txn {
        Txn::Create(t) | Txn::Create2(t) => {
            let line = line.with("path", t.path.as_str()).with("ephemeral", t.ephemeral);
            with_data(line, t.data.as_deref(), data)
                .with("acl", acl_text(&t.acl))
                .with("parent_cversion", t.parent_cversion)
        }
        Txn::CreateContainer(t) => with_data(line.with("path", t.path.as_str()), t.data.as_deref(), data)
            .with("acl", acl_text(&t.acl))
            .with("parent_cversion", t.parent_cversion),
        Txn::CreateTtl(t) => with_data(line.with("path", t.path.as_str()), t.data.as_deref(), data)
            .with("acl", acl_text(&t.acl))
            .with("parent_cversion", t.parent_cversion)
            .with("ttl_ms", t.ttl_ms),
        Txn::Delete(t) | Txn::DeleteContainer(t) => line.with("path", t.path.as_str()),
        Txn::SetData(t) | Txn::Reconfig(t) => {
            with_data(line.with("path", t.path.as_str()), t.data.as_deref(), data).with("version", t.version)
        }
        Txn::SetAcl(t) => {
            line.with("path", t.path.as_str()).with("acl", acl_text(&t.acl)).with("version", t.version)
        }
        Txn::Check(t) => line.with("path", t.path.as_str()).with("version", t.version),
        Txn::CreateSession(t) => line.with("timeout_ms", t.timeout_ms),
        Txn::CloseSession(paths) => line.with_some("paths", paths.clone()),
        Txn::Error(code) => line.with("error", code.to_string()),
        Txn::Multi(_) => line,
    }
}

fn item_line(item: &SnapshotItem, data: bool) -> Line {
    match item {
        SnapshotItem::Session { id, timeout_ms } => {
            Line::of("session").with("id", id.to_string()).with("timeout_ms", *timeout_ms)
        }
        SnapshotItem::Acl { id, acl } => Line::of("acl").with("id", *id).with("acl", acl_text(acl)),
        SnapshotItem::Node { path, data: content, acl, stat } => {
            let path = if path.is_empty() { "/" } else { path };
            let line = with_data(Line::of("znode").with("path", path), content.as_deref(), data);
            with_stat(line.with("acl", *acl), stat)
        }
        SnapshotItem::End(tail) => Line::of("end")
            .with_some("digest_at", tail.digest.map(|(zxid, _)| zxid.to_string()))
            .with_some("digest", tail.digest.map(|(_, digest)| digest.tree_digest.0))
            .with_some("last_zxid", tail.last_zxid.map(|zxid| zxid.to_string())),
    }
}

/// How long the data is, and if asked for what it is.
pub(super) fn with_data(line: Line, content: Option<&[u8]>, data: bool) -> Line {
    line.with_some("data_bytes", content.map(<[u8]>::len))
        .with_some("data", content.filter(|_| data).map(|content| BASE64_STANDARD.encode(content)))
}

/// What the file holds of the stat.
pub(super) fn with_stat(line: Line, stat: &StatPersisted) -> Line {
    line.with("czxid", stat.czxid.to_string())
        .with("mzxid", stat.mzxid.to_string())
        .with("pzxid", stat.pzxid.to_string())
        .with("ctime", super::time(stat.ctime))
        .with("mtime", super::time(stat.mtime))
        .with("version", stat.version)
        .with("cversion", stat.cversion)
        .with("aversion", stat.aversion)
        .with_some("owner", (stat.ephemeral_owner != 0).then(|| format!("{:#x}", stat.ephemeral_owner)))
}

/// As `getAcl` of Apache's shell has them; a digest is a secret and only named.
fn acl_text(acl: &[Acl]) -> String {
    let entry = |entry: &Acl| {
        let letters = "rwcda".char_indices();
        let perms: String =
            letters.filter(|(bit, _)| entry.perms & 1 << bit != 0).map(|(_, letter)| letter).collect();
        let id = match entry.id.scheme.as_str() {
            "digest" => entry.id.id.split(':').next().unwrap_or_default(),
            _ => &entry.id.id,
        };
        format!("{}:{id}:{perms}", entry.id.scheme)
    };
    acl.iter().map(entry).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use zk_wire::acl::Id;

    #[test]
    fn the_secret_of_a_digest_is_not_told() {
        let id = Id { scheme: "digest".to_owned(), id: "bob:2a4=".to_owned() };
        assert_eq!(acl_text(&[Acl { perms: 31, id }, Acl::world(1)]), "digest:bob:rwcda,world:anyone:r");
    }
}
