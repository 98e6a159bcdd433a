//! What is deleted, and what never is.

use super::place::{Place, log, snapshot};

/// A snapshot behind every second transaction.
fn with_snapshots(place: &Place, count: i64) -> Box<dyn crate::storage::Storage> {
    let (mut storage, _) = place.open();
    snapshot(storage.as_mut(), 0).unwrap();
    for n in 1..count {
        log(storage.as_mut(), 2 * n - 1..=2 * n);
        snapshot(storage.as_mut(), 2 * n).unwrap();
    }
    log(storage.as_mut(), 2 * count - 1..=2 * count);
    storage
}

#[test]
fn the_newest_snapshots_stay_with_the_logs_that_the_oldest_of_them_needs() {
    for place in Place::each() {
        let mut storage = with_snapshots(&place, 6);
        storage.purge(3).unwrap();
        drop(storage);
        // A log whose name is below the oldest snapshot's zxid may go on behind it.
        let expected = ["log.5", "log.7", "log.9", "log.b", "snapshot.6", "snapshot.8", "snapshot.a"];
        assert_eq!(place.names(), expected);
        for name in ["snapshot.a", "snapshot.8"] {
            assert_eq!(place.without("snapshot.a").without(name).open().1.txns.last(), Some(&12));
        }
    }
}

#[test]
fn fewer_than_three_are_never_retained() {
    for retain in 0..3 {
        let place = Place::Memory(Default::default());
        with_snapshots(&place, 6).purge(retain).unwrap();
        assert_eq!(place.names().iter().filter(|name| name.starts_with("snapshot")).count(), 3);
    }
}

#[test]
fn with_too_few_valid_snapshots_nothing_is_deleted() {
    let place = Place::Memory(Default::default());
    let storage = with_snapshots(&place, 4);
    drop(storage);
    // Two of the four are torn.
    for name in ["snapshot.6", "snapshot.2"] {
        let content = place.files().remove(name).unwrap();
        place.put(name, &content[..content.len() - 3]);
    }
    let before = place.names();
    place.open().0.purge(3).unwrap();
    assert_eq!(place.names(), before);
}

#[test]
fn a_snapshot_that_is_not_whole_does_not_count() {
    let place = Place::Memory(Default::default());
    drop(with_snapshots(&place, 6));
    let content = place.files().remove("snapshot.a").unwrap();
    place.put("snapshot.a", &content[..content.len() - 3]);
    place.open().0.purge(3).unwrap();
    let snapshots: Vec<_> = place.names().into_iter().filter(|name| name.starts_with("snapshot")).collect();
    assert_eq!(snapshots, ["snapshot.4", "snapshot.6", "snapshot.8", "snapshot.a"]);
}
