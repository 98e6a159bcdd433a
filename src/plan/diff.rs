//! From what we own to what should be there.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::desired::{Desired, Roots};
use crate::model::{Fingerprint, Known, ZnodePath};

/// What is known of a leaf that we own.
pub trait Held {
    /// Stands for its data.
    fn fingerprint(&self) -> Fingerprint;
}

/// What must be done for one Service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Directories that must exist.
    pub directories: BTreeSet<ZnodePath>,
    /// Leaves to create.
    pub creates: BTreeMap<ZnodePath, Bytes>,
    /// Leaves whose data must change.
    pub sets: BTreeMap<ZnodePath, Bytes>,
    /// Leaves to delete.
    pub deletes: BTreeSet<ZnodePath>,
}

impl Changes {
    /// Is nothing to be written?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.directories.is_empty()
            && self.creates.is_empty()
            && self.sets.is_empty()
            && self.deletes.is_empty()
    }
}

/// The changes from `held` to `desired`. Directories that `exist` already need nothing. An unknown
/// desired state changes nothing.
#[must_use]
pub fn diff<L: Held>(
    desired: &Known<Desired>,
    held: &BTreeMap<ZnodePath, L>,
    roots: &Roots,
    exists: impl Fn(&ZnodePath) -> bool,
) -> Changes {
    let Known::Known(desired) = desired else {
        return Changes::default();
    };
    let mut changes = Changes {
        directories: desired.directories.iter().filter(|directory| !exists(directory)).cloned().collect(),
        ..Changes::default()
    };
    for (path, data) in &desired.leaves {
        match held.get(path) {
            None => {
                changes.creates.insert(path.clone(), data.clone());
            }
            Some(leaf) if leaf.fingerprint() != Fingerprint::of(data) => {
                changes.sets.insert(path.clone(), data.clone());
            }
            Some(_) => {}
        }
    }
    for path in held.keys().filter(|path| !desired.leaves.contains_key(*path)) {
        if !may_still_be_ready(desired, roots, path) {
            changes.deletes.insert(path.clone());
        }
    }
    if cfg!(feature = "delete-first") && !changes.is_empty() {
        return start_over(changes, desired, held);
    }
    changes
}

/// What a naive bridge does: whenever something changed, it clears the Service's leaves and writes them anew.
fn start_over<L>(changes: Changes, desired: &Desired, held: &BTreeMap<ZnodePath, L>) -> Changes {
    Changes {
        creates: desired.leaves.clone(),
        sets: BTreeMap::new(),
        deletes: held.keys().cloned().collect(),
        ..changes
    }
}

/// Is this a leaf of a format that cannot be told now, with an address that is ready?
fn may_still_be_ready(desired: &Desired, roots: &Roots, path: &ZnodePath) -> bool {
    let Some(format) = roots.format_of(path) else { return false };
    let Some(ready) = desired.undetermined.get(&format) else { return false };
    format.address(path.name()).is_some_and(|address| ready.contains(&address))
}
