//! Directories that are only read: verified, backed up, and asked for the past.

use std::path::Path;

use zk_wire::codes::OpCode;
use zk_wire::ids::{SessionId, Zxid};

use super::place::{Place, log, snapshot};
use super::recorded::recorded;
use crate::storage::{
    Archive, ArchiveError, BackupError, DiskStorage, Moment, StorageError, StorageOptions, Verdict,
};
use crate::tree::Tree;
use crate::tree::diff::{Difference, DifferenceKind, diff};
use crate::tree::history::{Deed, DeedKind, Historian};
use crate::tree::restore::Restoring;

fn dir(place: &Place) -> &Path {
    let Place::Directory(dir) = place else { unreachable!() };
    dir.path()
}

fn archive(place: &Place) -> Archive {
    Archive::open(dir(place), dir(place))
}

fn tree_at(archive: &Archive, moment: Moment) -> Result<Tree, ArchiveError> {
    let mut restoring = Restoring::default();
    archive.restore(moment, &mut restoring)?;
    let (tree, mismatches) = restoring.finish();
    assert_eq!(mismatches, 0);
    Ok(tree)
}

#[test]
fn what_apache_wrote_is_verified_file_by_file() {
    for name in ["standalone-3.8.0", "standalone-3.9.3"] {
        let place = recorded(name, |_| true);
        let before = place.files();
        let verified = archive(&place).verify().unwrap();
        assert!(verified.is_good(), "{verified:?}");
        assert_eq!(verified.files.len(), 4);
        let (last, tree) = verified.state.as_ref().unwrap();
        assert_eq!((*last, tree.last_zxid(), verified.digests), (Zxid(0x32), Zxid(0x32), 5));
        assert_eq!(place.files(), before, "nothing is changed");
    }
}

#[test]
fn damage_is_told_with_its_place_and_a_torn_tail_is_none() {
    let place = recorded("standalone-3.9.3", |_| true);
    let good = place.files();
    let mut content = good["log.1"].clone();
    content[100] ^= 1;
    place.put("log.1", &content);
    let verified = archive(&place).verify().unwrap();
    assert!(!verified.is_good());
    let bad: Vec<_> =
        verified.files.iter().filter(|checked| matches!(checked.verdict, Verdict::Bad(_))).collect();
    assert!(
        matches!(&bad[..], [checked] if matches!(&checked.verdict,
            Verdict::Bad(StorageError::Damaged { path, .. }) if path.ends_with("log.1"))),
        "{bad:?}"
    );
    let torn = recorded("standalone-3.9.3", |_| true);
    let content = &torn.files()["log.2f"];
    let end = content.iter().rposition(|byte| *byte != 0).unwrap();
    torn.put("log.2f", &content[..end - 3]);
    let verified = archive(&torn).verify().unwrap();
    assert!(verified.is_good());
    assert_eq!(verified.state.unwrap().0, Zxid(0x31));
}

#[test]
fn a_digest_that_is_not_the_trees_is_found() {
    let place = recorded("standalone-3.9.3", |name| name != "snapshot.0");
    // The root's version, with all seals put right: only the digest tells.
    let content = place.files().remove("snapshot.2e").unwrap();
    let mut reader = zk_wire::snapshot::SnapshotReader::new(content.as_slice(), 1 << 20);
    let mut altered = zk_wire::snapshot::SnapshotWriter::new(Vec::new());
    let (mut sessions, mut acls, mut nodes, mut tail) = (vec![], vec![], vec![], None);
    while let Some(item) = reader.next_item().unwrap() {
        match item {
            zk_wire::snapshot::SnapshotItem::Session { id, timeout_ms } => sessions.push((id, timeout_ms)),
            zk_wire::snapshot::SnapshotItem::Acl { id, acl } => acls.push((id, acl)),
            zk_wire::snapshot::SnapshotItem::Node { path, data, acl, mut stat } => {
                stat.version += i32::from(path.is_empty());
                nodes.push((path, data, acl, stat));
            }
            zk_wire::snapshot::SnapshotItem::End(end) => tail = Some(end),
        }
    }
    altered.begin(&sessions, &acls).unwrap();
    for (path, data, acl, stat) in nodes {
        altered.node(&path, data.as_deref(), acl, &stat).unwrap();
    }
    place.put("snapshot.2e", &altered.finish(&tail.unwrap()).unwrap());
    let verified = archive(&place).verify().unwrap();
    assert!(verified.mismatches > 0 && !verified.is_good());
}

#[test]
fn the_past_is_the_tree_behind_each_transaction() {
    let place = recorded("standalone-3.9.3", |_| true);
    let archive = archive(&place);
    for zxid in 1..=0x32 {
        // Each transaction's digest is compared on the way; from which snapshot makes no difference.
        let tree = tree_at(&archive, Moment::At(Zxid(zxid))).unwrap();
        assert_eq!(tree.last_zxid(), Zxid(zxid));
    }
    let at = |zxid| tree_at(&archive, Moment::At(Zxid(zxid))).unwrap();
    let mut created = Vec::new();
    let mut tell = |deed: Deed| created.push(deed);
    archive.restore(Moment::At(Zxid(0x2d)), &mut Historian::new(&mut tell)).unwrap();
    let first = created.iter().find(|deed| deed.kind == DeedKind::Created).unwrap().clone();
    let before = Zxid(first.zxid.0 - 1);
    assert_eq!(
        diff(&at(before.0), &at(first.zxid.0)),
        [Difference { path: first.path.clone(), kind: DifferenceKind::Created }]
    );
    let by_time = tree_at(&archive, Moment::Time(first.time_ms)).unwrap();
    assert!(by_time.get(&first.path).is_some() && by_time.last_zxid() >= first.zxid);
    assert!(matches!(tree_at(&archive, Moment::Time(1)), Err(ArchiveError::BeforeLogs(_))));
}

#[test]
fn whoever_deleted_a_znode_is_named_also_if_it_went_with_a_session() {
    let place = recorded("standalone-3.9.3", |_| true);
    let mut deeds = Vec::new();
    let mut tell = |deed: Deed| deeds.push(deed);
    // From the beginning, since only that is before everything.
    archive(&place.without("snapshot.2e")).restore(Moment::Now, &mut Historian::new(&mut tell)).unwrap();
    let deleted: Vec<&Deed> = deeds.iter().filter(|deed| deed.kind == DeedKind::Deleted).collect();
    assert!(deleted.iter().any(|deed| deed.op == OpCode::CloseSession && deed.path == "/e2"), "{deleted:?}");
    assert!(deleted.iter().any(|deed| deed.op == OpCode::Delete));
    assert!(deleted.iter().all(|deed| deed.session != SessionId::NONE && deed.time_ms > 0));
    assert!(deeds.iter().any(|deed| deed.kind == DeedKind::AclSet));
    let tree = tree_at(&archive(&place), Moment::Now).unwrap();
    let last = |path: &str| deeds.iter().rfind(|deed| deed.path == path).unwrap().kind;
    assert!(
        deleted.iter().all(|deed| tree.get(&deed.path).is_none() || last(&deed.path) != DeedKind::Deleted)
    );
}

#[test]
fn what_is_purged_cannot_be_asked_for() {
    let place = recorded("standalone-3.9.3", |name| name != "snapshot.0" && name != "log.1");
    let archive = archive(&place);
    let error = tree_at(&archive, Moment::At(Zxid(0x10))).unwrap_err();
    assert!(matches!(error, ArchiveError::TooEarly { oldest: Zxid(0x2e), .. }), "{error}");
}

#[test]
fn a_backup_is_restored_into_an_empty_directory_and_nowhere_else() {
    for name in ["standalone-3.8.0", "standalone-3.9.3"] {
        let place = recorded(name, |_| true);
        let root = tempfile::tempdir().unwrap();
        let (dest, target) = (root.path().join("backup"), root.path().join("data"));
        let made = archive(&place).back_up(&dest).unwrap();
        assert_eq!(made.last, Zxid(0x32));
        assert_eq!(made.files.len(), 3, "{made:?}");
        assert!(matches!(archive(&place).back_up(&dest), Err(BackupError::NotEmpty(_))));
        let backup = Archive::open(&dest, &dest);
        let restored = backup.restore_backup(&target, &target).unwrap();
        assert_eq!((restored.last, restored.znodes), (made.last, made.znodes));
        assert!(matches!(backup.restore_backup(&target, &target), Err(BackupError::NotEmpty(_))));
        let mut restoring = Restoring::default();
        let (_storage, last) =
            DiskStorage::open(&target, &target, StorageOptions::default(), &mut restoring).unwrap();
        let expected = tree_at(&archive(&place), Moment::Now).unwrap();
        assert_eq!((last, restoring.finish().0.digest()), (made.last, expected.digest()));
        // A data directory is no backup.
        let error =
            archive(&place).restore_backup(&root.path().join("x"), &root.path().join("x")).unwrap_err();
        assert!(matches!(error, BackupError::NotABackup(_)), "{error}");
    }
}

#[test]
fn a_backup_that_was_altered_is_not_restored() {
    let place = recorded("standalone-3.9.3", |_| true);
    let root = tempfile::tempdir().unwrap();
    let dest = root.path().join("backup");
    let made = archive(&place).back_up(&dest).unwrap();
    for (n, file) in made.files.iter().enumerate() {
        let path = dest.join("version-2").join(&file.name);
        let good = std::fs::read(&path).unwrap();
        let target = root.path().join(format!("data{n}"));
        let mut bad = good.clone();
        // In the middle, and in what nobody looks at: the id of the database.
        for at in [good.len() / 2, 15] {
            bad.clone_from(&good);
            bad[at] ^= 1;
            std::fs::write(&path, &bad).unwrap();
            let error = Archive::open(&dest, &dest).restore_backup(&target, &target).unwrap_err();
            assert!(matches!(&error, BackupError::Altered(altered) if *altered == path), "{error}");
            assert!(!target.exists());
        }
        std::fs::write(&path, &good).unwrap();
    }
    std::fs::remove_file(dest.join("zoobridge-backup")).unwrap();
    let target = root.path().join("data");
    let error = Archive::open(&dest, &dest).restore_backup(&target, &target).unwrap_err();
    assert!(matches!(error, BackupError::NotABackup(_)), "{error}");
}

/// The tail of the newest log is always under way while a server runs.
#[test]
fn a_backup_of_a_running_servers_directory_ends_with_the_last_whole_record() {
    let place = recorded("standalone-3.9.3", |_| true);
    let content = place.files().remove("log.2f").unwrap();
    let end = content.iter().rposition(|byte| *byte != 0).unwrap();
    place.put("log.2f", &content[..end - 3]);
    let root = tempfile::tempdir().unwrap();
    let made = archive(&place).back_up(&root.path().join("backup")).unwrap();
    assert_eq!(made.last, Zxid(0x31));
    assert_eq!(place.files()["log.2f"], content[..end - 3], "the original is left alone");
}

#[test]
fn a_snapshot_without_the_log_that_it_needs_makes_no_backup() {
    let place = Place::directory();
    let (mut storage, _) = place.open();
    log(storage.as_mut(), 1..=3);
    snapshot(storage.as_mut(), 3).unwrap();
    drop(storage);
    // It says that it holds effects of transactions that no log has.
    let (storage, _) = place.open();
    let mut sink = storage.snapshot_writer(Zxid(3)).unwrap();
    sink.begin(&[], &[]).unwrap();
    sink.node("", None, -1, &Default::default()).unwrap();
    sink.finish(None, Zxid(5)).unwrap();
    drop(storage);
    let root = tempfile::tempdir().unwrap();
    let error = archive(&place).back_up(&root.path().join("backup")).unwrap_err();
    assert!(matches!(error, BackupError::Incomplete { last: Zxid(3), needed: Zxid(5) }), "{error}");
}
