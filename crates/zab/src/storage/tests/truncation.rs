//! Dropping what an ensemble never committed.

use zk_wire::ids::Zxid;

use super::place::{Found, Place, log, snapshot};
use crate::storage::{Operation, StorageError};

fn ten(place: &Place) -> Box<dyn crate::storage::Storage> {
    let (mut storage, _) = place.open();
    snapshot(storage.as_mut(), 0).unwrap();
    log(storage.as_mut(), 1..=4);
    snapshot(storage.as_mut(), 4).unwrap();
    log(storage.as_mut(), 5..=7);
    storage.roll().unwrap();
    log(storage.as_mut(), 8..=10);
    storage
}

#[test]
fn everything_behind_a_transaction_goes_and_the_log_continues_there() {
    for last in 1..=10 {
        for place in Place::each() {
            let mut storage = ten(&place);
            let mut found = Found::default();
            storage.truncate(Zxid(last), &mut found).unwrap();
            let base = if last < 4 { 0 } else { 4 };
            assert_eq!(found.snapshot.unwrap().0, Zxid(base));
            assert_eq!(found.txns, (base + 1..=last).collect::<Vec<_>>());
            log(storage.as_mut(), last + 1..=last + 2);
            drop(storage);
            let again = place.open().1;
            assert_eq!(again.txns, (base + 1..=last + 2).collect::<Vec<_>>(), "{last}");
        }
    }
}

#[test]
fn a_transaction_that_is_not_there_changes_nothing() {
    for place in Place::each() {
        let mut storage = ten(&place);
        let before = place.files();
        let error = storage.truncate(Zxid(11), &mut Found::default()).unwrap_err();
        assert!(matches!(error, StorageError::NoSuchTxn { zxid: Zxid(11) }), "{error:?}");
        assert_eq!(place.files(), before);
    }
}

#[test]
fn a_crash_at_any_step_recovers_with_or_without_the_dropped_transactions() {
    let operations =
        [Operation::Remove, Operation::SyncDirectory, Operation::Truncate, Operation::Sync, Operation::Open];
    let mut failed = 0;
    for operation in operations {
        for after in 0..6 {
            let place = Place::Memory(Default::default());
            let Place::Memory(disk) = &place else { unreachable!() };
            let mut storage = ten(&place);
            disk.fail(operation, after, std::io::ErrorKind::Other);
            let result = storage.truncate(Zxid(3), &mut Found::default());
            failed += usize::from(result.is_err());
            drop(storage);
            disk.crash();
            let txns = place.open().1.txns;
            let last = *txns.last().unwrap();
            assert!((3..=10).contains(&last), "{operation} {after}: {txns:?}");
            assert!(result.is_err() || last == 3, "{operation} {after}: {txns:?}");
        }
    }
    assert!(failed > 10, "only {failed} of the faults were met");
}
