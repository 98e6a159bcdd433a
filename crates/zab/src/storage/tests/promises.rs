//! Append, sync, roll, reopen, lock.

use zk_wire::ids::Zxid;
use zk_wire::jute::Jute;

use super::place::{Place, SMALL, append, bounds, log, logged};
use crate::storage::{DiskStorage, Operation, StorageError, StorageOptions};

#[test]
fn nothing_at_all_recovers_to_nothing() {
    for place in Place::each() {
        let (_storage, found) = place.open();
        assert_eq!(found, Default::default());
        assert_eq!(place.names(), Vec::<String>::new());
    }
}

#[test]
fn what_was_appended_and_synced_is_there_after_reopening() {
    for place in Place::each() {
        for round in 0..4 {
            let (mut storage, found) = place.open();
            assert_eq!(found.txns, (1..=round * 5).collect::<Vec<_>>());
            log(storage.as_mut(), round * 5 + 1..=round * 5 + 5);
        }
        assert_eq!(place.names(), ["log.1", "log.10", "log.6", "log.b"]);
    }
}

#[test]
fn a_log_is_a_header_and_records_padded_with_zeros() {
    for place in Place::each() {
        let (mut storage, _) = place.try_open(StorageOptions { pre_alloc_bytes: 1 << 16, ..SMALL }).unwrap();
        // The third shares its sync with the second, and says where that starts.
        log(storage.as_mut(), [1]);
        log(storage.as_mut(), 2..=3);
        let content = &place.files()["log.1"];
        assert_eq!(content.len(), 16 + (1 << 16));
        assert_eq!(content[..16], *b"ZKLG\0\0\0\x02\0\0\0\0\0\0\0\0");
        let bounds = bounds(content);
        let second = bounds[1] as u64;
        for (zxid, bounds) in (1..).zip(bounds.windows(2)) {
            let entry = &content[bounds[0] + 12..bounds[1] - 1];
            let mark = if zxid == 3 { second.to_be_bytes().to_vec() } else { vec![] };
            assert_eq!(entry, [logged(zxid).to_bytes(), mark].concat());
            assert_eq!(content[bounds[1] - 1], b'B');
        }
        assert_eq!(bounds.len(), 4);
        assert!(content[bounds[3]..].iter().all(|byte| *byte == 0));
    }
}

#[test]
fn a_roll_begins_a_new_log_at_the_next_append_and_syncs_the_old_one() {
    let place = Place::Memory(Default::default());
    let Place::Memory(disk) = &place else { unreachable!() };
    let (mut storage, _) = place.open();
    append(storage.as_mut(), 1..=2);
    storage.roll().unwrap();
    storage.roll().unwrap();
    append(storage.as_mut(), 3..=3);
    disk.crash();
    let (_storage, found) = place.open();
    assert_eq!((found.txns, place.names()), (vec![1, 2], vec!["log.1".to_owned()]));
}

#[test]
fn a_log_that_has_become_too_long_is_followed_by_another() {
    for place in Place::each() {
        let options = StorageOptions { txn_log_size_limit: Some(200), ..SMALL };
        let (mut storage, _) = place.try_open(options).unwrap();
        for zxid in 1..=9 {
            log(storage.as_mut(), [zxid]);
        }
        drop(storage);
        assert_eq!(place.names(), ["log.1", "log.4", "log.7"]);
        assert_eq!(place.open().1.txns, (1..=9).collect::<Vec<_>>());
    }
}

#[test]
fn an_entry_that_no_reader_would_accept_is_refused_and_the_log_goes_on() {
    for place in Place::each() {
        let (mut storage, _) = place.open();
        log(storage.as_mut(), 1..=1);
        let error = storage.append(Zxid(2), &[0; 8193]).unwrap_err();
        assert!(
            matches!(error, StorageError::EntryTooLong { zxid: Zxid(2), length: 8193, limit: 8192 }),
            "{error}"
        );
        log(storage.as_mut(), 2..=2);
        drop(storage);
        assert_eq!(place.open().1.txns, [1, 2]);
    }
}

#[test]
fn a_sync_of_nothing_costs_nothing() {
    let place = Place::Memory(Default::default());
    let Place::Memory(disk) = &place else { unreachable!() };
    let (mut storage, _) = place.open();
    storage.sync().unwrap();
    let before = disk.syncs();
    append(storage.as_mut(), 1..=100);
    storage.sync().unwrap();
    storage.sync().unwrap();
    assert_eq!(disk.syncs(), before + 1, "a batch shares one sync");
}

#[test]
fn without_force_sync_the_disk_is_not_waited_for() {
    let place = Place::Memory(Default::default());
    let Place::Memory(disk) = &place else { unreachable!() };
    let (mut storage, _) = place.try_open(StorageOptions { force_sync: false, ..SMALL }).unwrap();
    log(storage.as_mut(), 1..=3);
    assert_eq!(disk.syncs(), 0);
}

#[test]
fn a_failed_write_or_sync_is_final() {
    for operation in [Operation::Write, Operation::Sync, Operation::SyncDirectory, Operation::Create] {
        let place = Place::Memory(Default::default());
        let Place::Memory(disk) = &place else { unreachable!() };
        let (mut storage, _) = place.open();
        log(storage.as_mut(), 1..=2);
        storage.roll().unwrap();
        disk.fail(operation, 0, std::io::ErrorKind::Other);
        let appended = storage.append(Zxid(3), &logged(3).to_bytes());
        let error = appended.and_then(|()| storage.sync()).unwrap_err();
        assert!(
            matches!(&error, StorageError::Io { operation: failed, .. } if *failed == operation),
            "{error}"
        );
        // The disk would do it now, but what it holds is unknown.
        for error in [storage.append(Zxid(4), &logged(4).to_bytes()), storage.sync(), storage.roll()]
            .map(Result::unwrap_err)
        {
            assert!(matches!(error, StorageError::Failed), "{error}");
        }
        drop(storage);
        disk.crash();
        assert_eq!(place.open().1.txns, [1, 2], "{operation}");
    }
}

#[test]
fn a_full_disk_is_no_error_before_a_write_fails() {
    let place = Place::Memory(Default::default());
    let Place::Memory(disk) = &place else { unreachable!() };
    let (mut storage, _) = place.try_open(StorageOptions { pre_alloc_bytes: 1 << 16, ..SMALL }).unwrap();
    disk.fail(Operation::Allocate, 0, std::io::ErrorKind::StorageFull);
    log(storage.as_mut(), 1..=2);
    drop(storage);
    assert_eq!(place.open().1.txns, [1, 2]);
}

#[test]
fn a_directory_has_one_owner_at_a_time() {
    for place in Place::each() {
        let (storage, _) = place.open();
        let error = place.refusal();
        assert!(
            matches!(&error, StorageError::Locked { path } if *path == place.path("zab.lock")),
            "{error}"
        );
        drop(storage);
        place.open();
    }
}

#[test]
fn logs_and_snapshots_in_directories_of_their_own_do_not_mix() {
    let (data, logs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let open = |data: &tempfile::TempDir, logs: &tempfile::TempDir| {
        DiskStorage::open(data.path(), logs.path(), SMALL, &mut super::place::Found::default())
    };
    let (mut storage, _) = open(&data, &logs).unwrap();
    log(&mut storage, 1..=2);
    super::place::snapshot(&mut storage, 2).unwrap();
    log(&mut storage, 3..=3);
    drop(storage);
    let listed = |dir: &tempfile::TempDir| {
        let names = std::fs::read_dir(dir.path().join("version-2")).unwrap();
        let mut names: Vec<_> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(listed(&data), ["snapshot.2", "zab.lock"]);
    assert_eq!(listed(&logs), ["log.1", "log.3", "zab.lock"]);
    assert_eq!(open(&data, &logs).unwrap().1, Zxid(3));
    let Err(error) = open(&logs, &data) else { panic!("swapped directories are taken") };
    assert!(matches!(&error, StorageError::Misplaced { .. }), "{error}");
}
