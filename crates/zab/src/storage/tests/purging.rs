//! What is deleted, and what never is.

use super::place::{Place, keep, log, snapshot};
use crate::storage::Retention;

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
        let storage = with_snapshots(&place, 6);
        storage.purger().purge(keep(3)).unwrap();
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
        with_snapshots(&place, 6).purger().purge(keep(retain)).unwrap();
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
    place.open().0.purger().purge(keep(3)).unwrap();
    assert_eq!(place.names(), before);
}

#[test]
fn a_snapshot_that_is_not_whole_does_not_count() {
    let place = Place::Memory(Default::default());
    drop(with_snapshots(&place, 6));
    let content = place.files().remove("snapshot.a").unwrap();
    place.put("snapshot.a", &content[..content.len() - 3]);
    place.open().0.purger().purge(keep(3)).unwrap();
    let snapshots: Vec<_> = place.names().into_iter().filter(|name| name.starts_with("snapshot")).collect();
    assert_eq!(snapshots, ["snapshot.4", "snapshot.6", "snapshot.8", "snapshot.a"]);
}

#[test]
fn on_an_almost_full_disk_only_the_newest_valid_snapshot_stays() {
    let place = Place::Memory(Default::default());
    let Place::Memory(disk) = &place else { unreachable!() };
    let storage = with_snapshots(&place, 6);
    let purger = storage.purger();
    let used: usize = disk.files().values().map(Vec::len).sum();
    // The newest ends well and is damaged all the same.
    let mut content = place.files().remove("snapshot.a").unwrap();
    content[40] ^= 1;
    place.put("snapshot.a", &content);
    disk.set_capacity(Some(used as u64 + 1000));
    let below = |min_free_bytes| Retention { snapshots: 5, min_free_bytes };
    purger.purge(below(1)).unwrap();
    assert_eq!(place.names().len(), 11, "a thousand bytes are enough");
    purger.purge(below(1001)).unwrap();
    assert_eq!(place.names(), ["log.7", "log.9", "log.b", "snapshot.8", "snapshot.a"]);
    drop(storage);
    let found = place.open().1;
    assert_eq!((found.snapshot.unwrap().0.0, found.txns), (8, vec![9, 10, 11, 12]));
}
