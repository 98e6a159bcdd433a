//! Files that are not what was written: torn tails are cut, everything else is refused with its place.

use zk_wire::ids::Zxid;

use super::place::{Place, SMALL, bounds, log, snapshot};
use crate::storage::{StorageError, StorageOptions};

/// A log of five transactions, each synced, and where its records are.
fn five() -> (Place, Vec<u8>, Vec<usize>) {
    let place = Place::Memory(Default::default());
    let (mut storage, _) = place.open();
    (1..=5).for_each(|zxid| log(storage.as_mut(), [zxid]));
    drop(storage);
    let content = place.files().remove("log.1").unwrap();
    let bounds = bounds(&content);
    assert_eq!((bounds.len(), *bounds.last().unwrap()), (6, content.len()));
    (place, content, bounds)
}

#[test]
fn a_last_record_of_any_length_is_cut_and_the_log_goes_on() {
    let (_, content, bounds) = five();
    for place in Place::each() {
        for end in bounds[4]..bounds[5] {
            for padding in [0, 3, 100] {
                let place = place.another();
                let mut torn = content[..end].to_vec();
                torn.resize(end + padding, 0);
                place.put("log.1", &torn);
                let (mut storage, found) = place.open();
                assert_eq!(found.txns, [1, 2, 3, 4], "{end} + {padding}");
                log(storage.as_mut(), 5..=6);
                drop(storage);
                assert_eq!(place.open().1.txns, [1, 2, 3, 4, 5, 6], "{end} + {padding}");
            }
        }
    }
}

#[test]
fn bytes_of_a_write_that_never_ended_are_cut_wherever_the_disk_lost_a_part() {
    let (place, content, bounds) = five();
    for at in bounds[4]..bounds[5] {
        let mut torn = content.clone();
        torn[at] ^= 0xff;
        torn.resize(torn.len() + 64, 0);
        let place = place.without("log.1");
        place.put("log.1", &torn);
        assert_eq!(place.open().1.txns, [1, 2, 3, 4], "{at}");
        assert_eq!(place.files()["log.1"], content[..bounds[4]], "cut at once");
    }
}

#[test]
fn a_damaged_record_in_the_middle_is_refused_with_file_and_offset_whatever_byte_it_is() {
    let (place, content, bounds) = five();
    for damaged in 0..4 {
        for at in bounds[damaged]..bounds[damaged + 1] {
            let mut bad = content.clone();
            bad[at] ^= 0x01;
            let place = place.without("log.1");
            place.put("log.1", &bad);
            let error = place.refusal();
            let StorageError::Damaged { path, offset, next, source } = &error else {
                panic!("{at}: {error:?}")
            };
            assert_eq!(*path, place.path("log.1"));
            assert_eq!((*offset, *next), (bounds[damaged] as u64, bounds[damaged + 1] as u64), "{at}");
            assert!(source.is_some(), "{at}");
            assert_eq!(place.files()["log.1"], bad, "nothing is changed");
        }
    }
}

#[test]
fn zeros_in_the_middle_are_a_hole_and_refused() {
    let (place, mut content, bounds) = five();
    content[bounds[1]..bounds[3]].fill(0);
    let place = place.without("log.1");
    place.put("log.1", &content);
    let error = place.refusal();
    let StorageError::Damaged { offset, next, source: None, .. } = error else { panic!("{error:?}") };
    assert_eq!((offset, next), (bounds[1] as u64, bounds[3] as u64));
}

/// Five transactions in two syncs: what was not synced when the power failed may be there in any part.
#[test]
fn a_hole_is_cut_where_all_behind_it_was_to_share_its_sync_and_refused_where_anything_was_not() {
    let place = Place::Memory(Default::default());
    let (mut storage, _) = place.open();
    log(storage.as_mut(), 1..=2);
    log(storage.as_mut(), 3..=5);
    drop(storage);
    let content = place.files().remove("log.1").unwrap();
    let bounds = bounds(&content);
    for hole in 0..5 {
        for (from, to) in [(bounds[hole], bounds[hole + 1]), (bounds[hole] + 20, bounds[hole] + 30)] {
            let mut bad = content.clone();
            bad[from..to].fill(0);
            let place = place.without("log.1");
            place.put("log.1", &bad);
            if hole < 2 {
                let error = place.refusal();
                let StorageError::Damaged { offset, next, .. } = error else { panic!("{error:?}") };
                assert_eq!((offset, next), (bounds[hole] as u64, bounds[2] as u64));
            } else {
                assert_eq!(place.open().1.txns, (1..=hole as i64).collect::<Vec<_>>());
                let left = &place.files()["log.1"];
                assert_eq!(left[..bounds[hole]], content[..bounds[hole]]);
                assert!(left[bounds[hole]..].iter().all(|byte| *byte == 0));
            }
        }
    }
}

#[test]
fn a_file_that_is_no_log_is_refused() {
    let (place, content, _) = five();
    for at in 0..16 {
        let mut bad = content.clone();
        bad[at] ^= 0x01;
        let place = place.without("log.1");
        place.put("log.1", &bad);
        // The database's id is not looked at (`FileTxnLog.goToNextLog`).
        if at < 8 {
            let error = place.refusal();
            assert!(
                matches!(&error, StorageError::NotALog { path } if *path == place.path("log.1")),
                "{at}: {error}"
            );
        } else {
            assert_eq!(place.open().1.txns, [1, 2, 3, 4, 5]);
        }
    }
}

#[test]
fn a_log_without_records_at_the_end_is_removed() {
    let (place, content, _) = five();
    for empty in [&content[..16], &content[..7], &[], &[0; 100]] {
        let place = place.without("");
        place.put("log.6", empty);
        let (mut storage, found) = place.open();
        assert_eq!((found.txns, place.names()), (vec![1, 2, 3, 4, 5], vec!["log.1".to_owned()]));
        log(storage.as_mut(), 6..=6);
    }
}

#[test]
fn a_log_that_is_missing_between_others_is_a_gap() {
    for place in Place::each() {
        for zxids in [1..=2, 3..=4, 5..=6] {
            log(place.open().0.as_mut(), zxids);
        }
        let gap = place.without("log.3");
        let error = gap.refusal();
        let StorageError::Gap { path, offset: 16, last: Zxid(2), found: Zxid(5) } = &error else {
            panic!("{error:?}")
        };
        assert_eq!(*path, gap.path("log.5"));
    }
}

#[test]
fn a_torn_log_with_another_behind_it_is_refused_unless_the_next_transaction_follows() {
    let (place, content, bounds) = five();
    let second = Place::Memory(Default::default());
    log(second.try_open(StorageOptions { trust_empty: true, ..SMALL }).unwrap().0.as_mut(), 5..=7);
    let second = second.files().remove("log.5").unwrap();
    let place = place.without("log.1");
    place.put("log.1", &content[..bounds[5] - 3]);
    place.put("log.5", &second);
    assert_eq!(place.open().1.txns, [1, 2, 3, 4, 5, 6, 7]);
    let place = place.without("log.1");
    place.put("log.1", &content[..bounds[4] - 3]);
    let error = place.refusal();
    assert!(matches!(error, StorageError::Gap { last: Zxid(3), found: Zxid(5), .. }), "{error:?}");
}

#[test]
fn logs_that_do_not_start_at_the_beginning_need_a_snapshot() {
    for place in Place::each() {
        log(place.open().0.as_mut(), 1..=2);
        log(place.open().0.as_mut(), 3..=4);
        let place = place.without("log.1");
        let error = place.refusal();
        assert!(
            matches!(&error, StorageError::NoSnapshot { path, first: Zxid(3) } if path.ends_with("log.3")),
            "{error:?}"
        );
        let trusting = place.try_open(StorageOptions { trust_empty: true, ..SMALL }).unwrap();
        assert_eq!(trusting.1.txns, [3, 4]);
    }
}

#[test]
fn a_damaged_snapshot_is_passed_over_if_an_older_one_and_the_logs_cover_it() {
    for place in Place::each() {
        let (mut storage, _) = place.open();
        snapshot(storage.as_mut(), 0).unwrap();
        log(storage.as_mut(), 1..=3);
        snapshot(storage.as_mut(), 3).unwrap();
        log(storage.as_mut(), 4..=5);
        drop(storage);
        let good = place.files().remove("snapshot.3").unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x01;
            place.put("snapshot.3", &bad);
            let found = place.open().1;
            assert_eq!(found.snapshot.map(|(zxid, _)| zxid), Some(Zxid(0)), "{at}");
            assert_eq!(found.txns, [1, 2, 3, 4, 5], "{at}");
        }
    }
}

#[test]
fn a_damaged_snapshot_that_nothing_covers_is_refused() {
    let place = Place::Memory(Default::default());
    let (mut storage, _) = place.open();
    snapshot(storage.as_mut(), 0).unwrap();
    log(storage.as_mut(), 1..=3);
    snapshot(storage.as_mut(), 3).unwrap();
    drop(storage);
    let mut bad = place.files().remove("snapshot.3").unwrap();
    bad[30] ^= 0x01;
    place.put("snapshot.3", &bad);
    let error = place.without("log.1").refusal();
    assert!(matches!(error, StorageError::NotCovered { reached: Zxid(0), .. }), "{error:?}");
    let alone = place.without("log.1").without("snapshot.0");
    let error = alone.refusal();
    assert!(
        matches!(&error, StorageError::NoValidSnapshot { path, .. } if *path == alone.path("snapshot.3")),
        "{error:?}"
    );
}
