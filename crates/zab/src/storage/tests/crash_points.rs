//! Whatever the storage does to the disk is interrupted, everywhere: by a power cut after which any part of what
//! was not synced is there, and by errors. Nothing that was synced is lost, and nothing is refused.

use std::collections::BTreeMap;
use std::io::ErrorKind;

use proptest::prelude::*;

use super::place::{Found, Place, SMALL, append, keep, snapshot};
use crate::storage::{MemoryDisk, Operation, Storage, StorageOptions, Strike};

/// What a server does with its storage.
#[derive(Debug, Clone, Copy)]
enum Step {
    Append(u8),
    Sync,
    Snapshot,
    Purge,
    Reopen,
}

fn steps(length: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1..6u8).prop_map(Step::Append),
        5 => Just(Step::Sync),
        2 => Just(Step::Snapshot),
        1 => Just(Step::Purge),
        1 => Just(Step::Reopen),
    ];
    proptest::collection::vec(step, 1..length)
}

/// What the clients were told: synced ≤ appended.
#[derive(Debug, Default, Clone, Copy)]
struct Told {
    synced: i64,
    appended: i64,
}

/// Everything that was synced is there, without a gap, and nothing that was never appended.
fn check(found: &Found, told: Told) -> i64 {
    let base = found.snapshot.map_or(0, |(zxid, _)| zxid.0);
    let last = found.txns.last().copied().unwrap_or(base);
    assert_eq!(found.txns, (base + 1..=last).collect::<Vec<_>>());
    assert!((told.synced..=told.appended).contains(&last), "{last} of {told:?}");
    last
}

/// Does the steps until one fails that ends a server.
fn run(place: &Place, steps: &[Step], options: StorageOptions, told: &mut Told) {
    let Ok((mut storage, _)) = place.try_open(options) else { return };
    for step in steps {
        let failed = match step {
            Step::Append(count) => (0..*count).any(|_| {
                told.appended += 1;
                try_append(storage.as_mut(), told.appended).is_err()
            }),
            Step::Sync => {
                let synced = storage.sync();
                if synced.is_ok() {
                    told.synced = told.appended;
                }
                synced.is_err()
            }
            // As the server does: a snapshot is of what is committed. One that fails disturbs nobody, if it was
            // not the log that failed.
            Step::Snapshot => {
                let rolled = storage.roll();
                if rolled.is_ok() {
                    told.synced = told.appended;
                    let _ = snapshot(storage.as_mut(), told.synced);
                }
                rolled.is_err()
            }
            Step::Purge => {
                let _ = storage.purger().purge(keep(3));
                false
            }
            Step::Reopen => {
                if storage.sync().is_err() {
                    return;
                }
                told.synced = told.appended;
                drop(storage);
                match place.try_open(options) {
                    Ok((again, _)) => storage = again,
                    Err(_) => return,
                }
                false
            }
        };
        if failed {
            return;
        }
    }
}

fn try_append(storage: &mut dyn Storage, zxid: i64) -> Result<(), crate::storage::StorageError> {
    use zk_wire::jute::Jute;
    storage.append(zk_wire::ids::Zxid(zxid), &super::place::logged(zxid).to_bytes())
}

/// How often which operation was hit.
type Hits = BTreeMap<String, u64>;

/// Interrupts a history at each of its operations.
fn everywhere(steps: &[Step], options: StorageOptions, seed: u64, hits: &mut Hits) {
    let whole = MemoryDisk::new();
    let mut told = Told::default();
    run(&Place::Memory(whole.clone()), steps, options, &mut told);
    check(&Place::Memory(whole.clone()).try_open(options).unwrap().1, told);
    for at in 0..whole.changes() {
        for how in [
            Strike::Crash(seed ^ at),
            Strike::Crash(!seed ^ at),
            Strike::Error(ErrorKind::Other),
            Strike::Error(ErrorKind::StorageFull),
        ] {
            let disk = MemoryDisk::new();
            let place = Place::Memory(disk.clone());
            disk.strike(at, how);
            let mut told = Told::default();
            run(&place, steps, options, &mut told);
            let Some(struck) = disk.struck() else { continue };
            *hits.entry(struck.to_string()).or_default() += 1;
            // A failed sync leaves it to chance what is there, and then the power may fail too.
            if matches!(how, Strike::Error(_)) && (seed ^ at).is_multiple_of(2) {
                disk.crash_at_random(seed ^ at);
            }
            recover_everywhere(&disk, options, told, seed, hits);
        }
    }
}

/// Interrupts the recovery too, once, at each of its operations; then it must succeed, and go on.
fn recover_everywhere(disk: &MemoryDisk, options: StorageOptions, told: Told, seed: u64, hits: &mut Hits) {
    for at in 0.. {
        let copy = disk.copy();
        copy.strike(at, Strike::Crash(seed.rotate_left(7) ^ at));
        let place = Place::Memory(copy.clone());
        let interrupted = place.try_open(options);
        let struck = copy.struck().filter(|_| interrupted.is_err());
        drop(interrupted);
        copy.strike(u64::MAX, Strike::Error(ErrorKind::Other));
        let (mut storage, found) = place.try_open(options).unwrap();
        let last = check(&found, told);
        append(storage.as_mut(), last + 1..=last + 2);
        storage.sync().unwrap();
        drop(storage);
        copy.crash();
        assert_eq!(
            check(&place.try_open(options).unwrap().1, Told { synced: last + 2, appended: last + 2 }),
            last + 2
        );
        match struck {
            Some(struck) => *hits.entry(format!("{struck}, recovering")).or_default() += 1,
            None => return,
        }
    }
}

fn options(padded: bool) -> StorageOptions {
    StorageOptions { pre_alloc_bytes: if padded { 8192 } else { 0 }, txn_log_size_limit: Some(600), ..SMALL }
}

/// Each kind of operation that a history has is hit, and none is missed by an accident of the test.
#[test]
fn every_kind_of_operation_is_interrupted() {
    use Step::{Append, Purge, Reopen, Snapshot, Sync};
    let steps = [
        Append(3),
        Sync,
        Snapshot,
        Append(2),
        Sync,
        Snapshot,
        Append(1),
        Sync,
        Snapshot,
        Append(4),
        Sync,
        Snapshot,
        Purge,
        Append(2),
        Reopen,
        Append(5),
        Sync,
    ];
    let mut hits = Hits::new();
    for padded in [false, true] {
        for seed in 0..4 {
            everywhere(&steps, options(padded), seed, &mut hits);
        }
    }
    for operation in [
        Operation::CreateDirectory,
        Operation::Create,
        Operation::Write,
        Operation::Allocate,
        Operation::Sync,
        Operation::SyncDirectory,
        Operation::Rename,
        Operation::Remove,
    ] {
        assert!(hits.get(&operation.to_string()).is_some_and(|hits| *hits >= 4), "{operation}: {hits:?}");
    }
    for operation in [Operation::Truncate, Operation::Sync, Operation::Remove, Operation::SyncDirectory] {
        let name = format!("{operation}, recovering");
        assert!(hits.get(&name).is_some_and(|hits| *hits > 0), "{name}: {hits:?}");
    }
}

/// A disk that is full ends the server, and what was told before is there.
#[test]
fn a_disk_that_fills_up_at_any_byte_loses_nothing() {
    let mut refused = 0;
    for capacity in (0..1_800).step_by(3) {
        let disk = MemoryDisk::new();
        disk.set_capacity(Some(capacity));
        let place = Place::Memory(disk.clone());
        let mut told = Told::default();
        let steps = [Step::Append(1), Step::Sync, Step::Append(2), Step::Sync].repeat(4);
        run(&place, &steps, SMALL, &mut told);
        refused += u64::from(told.synced < 12);
        disk.set_capacity(None);
        if capacity % 2 == 1 {
            disk.crash_at_random(capacity);
        }
        check(&place.open().1, told);
    }
    assert!((100..600).contains(&refused), "{refused}");
}

/// Few where everybody waits for them; `.ci/long` asks for more.
fn histories() -> u32 {
    std::env::var("ZAB_CRASH_HISTORIES").map_or(8, |count| count.parse().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(histories()))]

    #[test]
    fn wherever_a_history_is_interrupted_nothing_synced_is_lost_and_nothing_is_refused(
        steps in steps(12),
        padded: bool,
        seed: u64,
    ) {
        everywhere(&steps, options(padded), seed, &mut Hits::new());
    }
}
