//! Snapshots: whole or not there.

use bytes::Bytes;
use zk_wire::acl::Acl;
use zk_wire::digest::{Digest, TxnDigest};
use zk_wire::ids::{SessionId, Zxid};
use zk_wire::stat::StatPersisted;

use super::place::{Found, Place, SMALL, keep, log, snapshot};
use crate::storage::{Operation, SnapshotCompression, StorageError, StorageOptions};

#[test]
fn a_snapshot_is_recovered_with_all_that_it_holds_and_only_what_is_behind_it_is_replayed() {
    for place in Place::each() {
        let (mut storage, _) = place.open();
        log(storage.as_mut(), 1..=3);
        snapshot(storage.as_mut(), 3).unwrap();
        log(storage.as_mut(), 4..=5);
        drop(storage);
        let expected = Found {
            sessions: vec![(SessionId(7), 5_000)],
            acls: vec![(1, vec![Acl::world(1)])],
            nodes: vec![(String::new(), None), ("/a".to_owned(), Some(Bytes::from_static(b"3")))],
            snapshot: Some((Zxid(3), Some((Zxid(3), TxnDigest::new(Digest(3)))))),
            txns: vec![4, 5],
        };
        assert_eq!(place.open().1, expected);
        assert_eq!(place.without("log.1").open().1, expected, "older logs are not needed");
    }
}

#[test]
fn a_snapshot_may_be_older_than_the_log_is_when_it_is_finished() {
    for place in Place::each() {
        let (mut storage, _) = place.open();
        log(storage.as_mut(), 1..=3);
        storage.roll().unwrap();
        let mut sink = storage.snapshot_writer(Zxid(2)).unwrap();
        sink.begin(&[], &[]).unwrap();
        log(storage.as_mut(), 4..=5);
        sink.node("", None, -1, &StatPersisted::default()).unwrap();
        sink.finish(None, Zxid(5)).unwrap();
        drop(storage);
        let found = place.open().1;
        assert_eq!((found.snapshot, found.txns), (Some((Zxid(2), None)), vec![3, 4, 5]));
    }
}

#[test]
fn a_snapshot_that_is_not_finished_leaves_nothing() {
    for place in Place::each() {
        let (mut storage, _) = place.open();
        log(storage.as_mut(), 1..=3);
        for steps in 0..3 {
            let mut sink = storage.snapshot_writer(Zxid(3)).unwrap();
            if steps > 0 {
                sink.begin(&[], &[]).unwrap();
            }
            if steps > 1 {
                sink.node("", None, -1, &StatPersisted::default()).unwrap();
            }
            drop(sink);
            assert_eq!(place.names(), ["log.1"], "{steps}");
        }
        snapshot(storage.as_mut(), 3).unwrap();
    }
}

#[test]
fn a_snapshot_that_cannot_be_written_leaves_what_was_there() {
    for operation in [Operation::Create, Operation::Write, Operation::Sync, Operation::Rename] {
        let place = Place::Memory(Default::default());
        let Place::Memory(disk) = &place else { unreachable!() };
        let (mut storage, _) = place.open();
        log(storage.as_mut(), 1..=3);
        snapshot(storage.as_mut(), 3).unwrap();
        log(storage.as_mut(), 4..=5);
        storage.roll().unwrap();
        disk.fail(operation, 0, std::io::ErrorKind::Other);
        let error = snapshot(storage.as_mut(), 5).unwrap_err();
        assert!(
            matches!(&error, StorageError::Io { operation: failed, .. } if *failed == operation),
            "{error}"
        );
        assert_eq!(place.names(), ["log.1", "log.4", "snapshot.3"]);
        // The log is not concerned.
        log(storage.as_mut(), 6..=6);
        drop(storage);
        disk.crash();
        let found = place.open().1;
        assert_eq!((found.snapshot.unwrap().0, found.txns), (Zxid(3), vec![4, 5, 6]), "{operation}");
    }
}

#[test]
fn a_crash_while_a_snapshot_is_written_leaves_the_older_one() {
    for keep in [0, 10, usize::MAX] {
        let place = Place::Memory(Default::default());
        let Place::Memory(disk) = &place else { unreachable!() };
        let (mut storage, _) = place.open();
        log(storage.as_mut(), 1..=3);
        snapshot(storage.as_mut(), 3).unwrap();
        log(storage.as_mut(), 4..=5);
        let mut sink = storage.snapshot_writer(Zxid(5)).unwrap();
        sink.begin(&[], &[]).unwrap();
        for n in 0..10_000 {
            sink.node(&format!("/{n}"), Some(&[7; 100]), -1, &StatPersisted::default()).unwrap();
        }
        // Others sync the directory meanwhile, so that the unfinished name is durable.
        storage.roll().unwrap();
        log(storage.as_mut(), 6..=6);
        assert!(place.names().contains(&"tmp.snapshot.5".to_owned()));
        disk.crash_keeping(keep);
        assert!(sink.finish(None, Zxid(6)).is_err());
        drop(storage);
        let found = place.open().1;
        assert_eq!((found.snapshot.unwrap().0, found.txns), (Zxid(3), vec![4, 5, 6]));
        assert_eq!(place.names(), ["log.1", "log.4", "log.6", "snapshot.3"]);
    }
}

#[test]
fn a_finished_snapshot_outlives_a_crash() {
    let place = Place::Memory(Default::default());
    let Place::Memory(disk) = &place else { unreachable!() };
    let (mut storage, _) = place.open();
    log(storage.as_mut(), 1..=3);
    snapshot(storage.as_mut(), 3).unwrap();
    disk.crash();
    let found = place.open().1;
    assert_eq!((found.snapshot.unwrap().0, found.txns), (Zxid(3), vec![]));
}

#[test]
fn compressed_snapshots_are_as_good_as_plain_ones_and_damage_is_found_at_any_byte() {
    for compression in [SnapshotCompression::Gzip, SnapshotCompression::Snappy] {
        let options = StorageOptions { snapshot_compression: compression, ..SMALL };
        for place in Place::each() {
            let (mut storage, _) = place.try_open(options).unwrap();
            for n in 0..3 {
                snapshot(storage.as_mut(), n).unwrap();
                log(storage.as_mut(), [n + 1]);
            }
            storage.purger().purge(keep(3)).unwrap();
            let name = format!("snapshot.2{}", compression.extension());
            drop(storage);
            // How it is written next does not matter.
            let whole = place.open().1;
            assert_eq!((whole.snapshot.unwrap().0, whole.txns.as_slice()), (Zxid(2), [3].as_slice()));
            let good = place.files().remove(&name).unwrap();
            let mut found_damaged = 0;
            for at in 0..good.len() {
                let mut bad = good.clone();
                bad[at] ^= 0x01;
                place.put(&name, &bad);
                let found = place.open().1;
                // Some bits mean nothing, or mean the same: a copy of zeros from elsewhere.
                if found != whole {
                    assert_eq!(found.txns, [2, 3], "{name} {at}");
                    found_damaged += 1;
                }
            }
            assert!(found_damaged > good.len() * 3 / 4, "{found_damaged} of {}", good.len());
            for len in 0..good.len() {
                place.put(&name, &good[..len]);
                assert_eq!(place.open().1.txns, [2, 3], "{name} cut at {len}");
            }
        }
    }
}
