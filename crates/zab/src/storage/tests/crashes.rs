//! Power cuts: only what no sync covered may be lost, and only from the end.

use proptest::prelude::*;
use zk_wire::ids::Zxid;
use zk_wire::jute::Jute;

use super::place::{Place, SMALL, append, keep, log, logged, snapshot};
use crate::storage::{Storage, StorageOptions};

#[test]
fn a_crash_loses_what_was_not_synced_and_nothing_else() {
    let place = Place::Memory(Default::default());
    let Place::Memory(disk) = &place else { unreachable!() };
    let (mut storage, _) = place.open();
    log(storage.as_mut(), 1..=3);
    append(storage.as_mut(), 4..=5);
    disk.crash();
    assert!(storage.append(Zxid(6), &logged(6).to_bytes()).and_then(|()| storage.sync()).is_err());
    drop(storage);
    assert_eq!(place.open().1.txns, [1, 2, 3]);
}

#[test]
fn of_an_unsynced_batch_any_number_of_bytes_may_have_reached_the_disk() {
    let mut seen = std::collections::BTreeSet::new();
    // Without a wait for the disk a sync only writes, so that the bytes are under way when the power fails.
    let lazy = StorageOptions { force_sync: false, ..SMALL };
    for keep in 0..400 {
        let place = Place::Memory(Default::default());
        let Place::Memory(disk) = &place else { unreachable!() };
        log(place.open().0.as_mut(), 1..=3);
        let (mut storage, _) = place.try_open(lazy).unwrap();
        log(storage.as_mut(), 4..=4);
        drop(storage);
        // The name of the new log becomes durable with the lock's directory.
        disk.mount().sync_dir(&place.version_2()).unwrap();
        let (mut storage, _) = place.try_open(lazy).unwrap();
        log(storage.as_mut(), 5..=8);
        disk.mount().sync_dir(&place.version_2()).unwrap();
        disk.crash_keeping(keep);
        drop(storage);
        let txns = place.try_open(SMALL).map(|(_, found)| found.txns);
        if let Ok(txns) = txns {
            assert_eq!(txns, (1..=txns.len() as i64).collect::<Vec<_>>(), "{keep}");
            assert!(txns.len() >= 3, "{keep}: {txns:?}");
            seen.insert(txns.len());
        }
    }
    assert!(seen.len() > 3, "{seen:?}");
}

/// What a server does with its storage.
#[derive(Debug, Clone)]
enum Step {
    Append(u8),
    Sync,
    Snapshot,
    Purge,
    Reopen,
    Crash(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => (1..20u8).prop_map(Step::Append),
        4 => Just(Step::Sync),
        1 => Just(Step::Snapshot),
        1 => Just(Step::Purge),
        1 => Just(Step::Reopen),
        3 => prop_oneof![Just(0), 0..2_000usize, Just(usize::MAX)].prop_map(Step::Crash),
    ];
    proptest::collection::vec(step, 1..60)
}

/// A server's view of its storage: durable ≤ appended.
struct Model {
    place: Place,
    storage: Option<Box<dyn Storage>>,
    durable: i64,
    appended: i64,
}

impl Model {
    fn storage(&mut self) -> &mut dyn Storage {
        self.storage.as_deref_mut().unwrap()
    }

    fn take(&mut self, step: &Step, options: StorageOptions) {
        let Place::Memory(disk) = &self.place else { unreachable!() };
        match step {
            Step::Append(count) => {
                let first = self.appended + 1;
                self.appended += i64::from(*count);
                let last = self.appended;
                append(self.storage(), first..=last);
            }
            Step::Sync => {
                self.storage().sync().unwrap();
                self.durable = self.appended;
            }
            // As the server does: a snapshot is of what is committed, and so durable.
            Step::Snapshot => {
                let zxid = self.durable;
                snapshot(self.storage(), zxid).unwrap();
                self.durable = self.appended;
            }
            Step::Purge => self.storage().purger().purge(keep(3)).unwrap(),
            Step::Reopen => {
                self.storage = None;
                self.reopen(options);
            }
            Step::Crash(keep) => {
                disk.crash_keeping(*keep);
                self.storage = None;
                self.reopen(options);
            }
        }
    }

    /// Everything that was durable is there, without a gap, and nothing that was never appended.
    fn reopen(&mut self, options: StorageOptions) {
        let (storage, found) = self.place.try_open(options).unwrap();
        let base = found.snapshot.map_or(0, |(zxid, _)| zxid.0);
        let last = found.txns.last().copied().unwrap_or(base);
        assert_eq!(found.txns, (base + 1..=last).collect::<Vec<_>>());
        assert!(
            (self.durable..=self.appended).contains(&last),
            "{} <= {last} <= {}",
            self.durable,
            self.appended
        );
        (self.durable, self.appended) = (last, last);
        self.storage = Some(storage);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn whatever_happens_nothing_durable_is_lost(steps in steps(), padded: bool) {
        let options = StorageOptions { pre_alloc_bytes: if padded { 8192 } else { 0 }, ..SMALL };
        let mut model =
            Model { place: Place::Memory(Default::default()), storage: None, durable: 0, appended: 0 };
        model.reopen(options);
        for step in &steps {
            model.take(step, options);
        }
        model.take(&Step::Crash(0), options);
    }
}
