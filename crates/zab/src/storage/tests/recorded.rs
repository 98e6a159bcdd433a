//! Directories that Apache's servers wrote.

use std::path::{Path, PathBuf};

use zk_wire::ids::Zxid;

use super::place::Place;
use crate::storage::verify::Counting;
use crate::storage::{DiskStorage, Storage, StorageOptions};
use crate::tree::Tree;
use crate::tree::restore::Restoring;

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../zk-wire/tests/vectors")
}

/// A copy of a recorded directory, as far as `wanted` goes.
pub(super) fn recorded(name: &str, wanted: impl Fn(&str) -> bool) -> Place {
    let place = Place::directory();
    for entry in std::fs::read_dir(vectors().join(name)).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if wanted(&name) {
            place.put(&name, &std::fs::read(entry.path()).unwrap());
        }
    }
    place
}

fn recover(place: &Place) -> (DiskStorage, Tree, u64) {
    let Place::Directory(dir) = place else { unreachable!() };
    let mut counting = Counting::default();
    let (storage, last) =
        DiskStorage::open(dir.path(), dir.path(), StorageOptions::default(), &mut counting).unwrap();
    let (tree, mismatches) = counting.restoring.finish();
    assert_eq!((mismatches, tree.last_zxid()), (0, last));
    (storage, tree, counting.digests)
}

/// Directory, last transaction, digests behind the newest snapshot, digests from the very beginning.
const RECORDED: [(&str, i64, u64, u64); 5] = [
    ("standalone-3.8.0", 0x32, 5, 40),
    ("standalone-3.9.3", 0x32, 5, 41),
    ("trunc-3.9.3/new-leader", 0x1_0000_0002, 1, 2),
    ("trunc-3.9.3/old-leader-before", 0x1_0000_0003, 3, 3),
    ("trunc-3.9.3/old-leader-after", 0x1_0000_0002, 1, 2),
];

#[test]
fn every_digest_that_apache_logged_is_that_of_our_tree() {
    for (name, last, digests, from_the_start) in RECORDED {
        let (_storage, tree, compared) = recover(&recorded(name, |_| true));
        assert_eq!((tree.last_zxid(), compared), (Zxid(last), digests), "{name}");
        let oldest = |file: &str| !file.starts_with("snapshot.") || file == "snapshot.0";
        let (_storage, replayed, compared) = recover(&recorded(name, oldest));
        assert_eq!((replayed.last_zxid(), compared), (Zxid(last), from_the_start), "{name}");
        assert_eq!(replayed.digest(), tree.digest(), "{name}: the snapshot holds what the log says");
    }
}

#[test]
fn a_recorded_directory_goes_on_with_ours() {
    for (name, last, ..) in RECORDED {
        let place = recorded(name, |_| true);
        let (mut storage, tree, _) = recover(&place);
        storage.roll().unwrap();
        let sink = storage.snapshot_writer(tree.last_zxid()).unwrap();
        crate::net::snapshot_thread::write_snapshot(sink, &tree).unwrap();
        drop(storage);
        let (_storage, again, compared) = recover(&place);
        assert_eq!((again.last_zxid(), again.digest(), again.len()), (Zxid(last), tree.digest(), tree.len()));
        assert_eq!(again.sessions(), tree.sessions());
        assert_eq!(again.acl_entries(), tree.acl_entries());
        assert_eq!(compared, 1, "only that of our snapshot");
    }
}

/// What the old leader did when the new one told it TRUNC.
#[test]
fn a_recorded_truncation_is_repeated() {
    let place = recorded("trunc-3.9.3/old-leader-before", |_| true);
    let expected = recorded("trunc-3.9.3/old-leader-after", |name| name != "snapshot.100000002");
    let (_storage, after, _) = recover(&expected);
    let (mut storage, before, _) = recover(&place);
    assert!(before.last_zxid() > Zxid(0x1_0000_0002));
    let mut restoring = Restoring::default();
    storage.truncate(Zxid(0x1_0000_0002), &mut restoring).unwrap();
    let (tree, mismatches) = restoring.finish();
    assert_eq!(mismatches, 0);
    assert!(after.last_zxid() >= tree.last_zxid());
    assert_eq!(tree.last_zxid(), Zxid(0x1_0000_0002));
    let (ours, apaches) = (place.files(), expected.files());
    let log = &ours["log.100000001"];
    assert_eq!(*log, apaches["log.100000001"][..log.len()]);
}
