//! From what we own to what should be there.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::desired::{Desired, Roots};
use crate::format::Format;
use crate::model::{Companion, Fingerprint, Host, Known, ZnodePath};

/// What is known of a leaf that we own.
pub trait Held {
    /// Stands for its data; `None` if that could not be read.
    fn fingerprint(&self) -> Option<Fingerprint>;
}

/// What must be done for one Service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Companions that must be made sure of.
    pub companions: BTreeSet<Companion>,
    /// Leaves to create.
    pub creates: BTreeMap<ZnodePath, Bytes>,
    /// Leaves whose data must change.
    pub sets: BTreeMap<ZnodePath, Bytes>,
    /// Leaves to delete: their endpoints are not ready any more.
    pub gone: BTreeSet<ZnodePath>,
    /// Leaves to delete once all the rest is done: their endpoints are ready, under other names.
    pub replaced: BTreeSet<ZnodePath>,
    /// Of those, the ones whose other name is created beside them: so both can be done at once.
    pub swaps: BTreeMap<ZnodePath, ZnodePath>,
}

impl Changes {
    /// Is nothing to be written?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.companions.is_empty()
            && self.creates.is_empty()
            && self.sets.is_empty()
            && self.gone.is_empty()
            && self.replaced.is_empty()
    }

    /// Every leaf that is created, set or deleted.
    pub fn touched(&self) -> impl Iterator<Item = &ZnodePath> {
        self.creates.keys().chain(self.sets.keys()).chain(&self.gone).chain(&self.replaced)
    }
}

/// The changes from `held` to `desired`. Companions that `exist` already need nothing. An unknown
/// desired state changes nothing.
#[must_use]
pub fn diff<L: Held>(
    desired: &Known<Desired>,
    held: &BTreeMap<ZnodePath, L>,
    roots: &Roots,
    exists: impl Fn(&Companion) -> bool,
) -> Changes {
    let Known::Known(desired) = desired else {
        return Changes::default();
    };
    let mut changes = Changes {
        companions: desired.companions.iter().filter(|companion| !exists(companion)).cloned().collect(),
        ..Changes::default()
    };
    for (path, data) in &desired.leaves {
        match held.get(path) {
            None => {
                changes.creates.insert(path.clone(), data.clone());
            }
            Some(leaf) if leaf.fingerprint() != Some(Fingerprint::of(data)) => {
                changes.sets.insert(path.clone(), data.clone());
            }
            Some(_) => {}
        }
    }
    let unwanted = held.keys().filter(|path| !desired.leaves.contains_key(*path));
    let mut unwanted = unwanted.filter(|path| !may_still_be_ready(desired, roots, path)).peekable();
    if unwanted.peek().is_some() {
        let ready = endpoints(desired.leaves.keys(), roots);
        let (replaced, gone) =
            unwanted.cloned().partition(|path| roots.endpoint_of(path).is_some_and(|it| ready.contains(&it)));
        (changes.replaced, changes.gone) = (replaced, gone);
        changes.swaps = swaps(&changes.replaced, &changes.creates, roots);
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
        gone: held.keys().cloned().collect(),
        replaced: BTreeSet::new(),
        swaps: BTreeMap::new(),
        ..changes
    }
}

/// Which leaf takes the place of which, in the same directory and for the same endpoint.
fn swaps(
    replaced: &BTreeSet<ZnodePath>,
    creates: &BTreeMap<ZnodePath, Bytes>,
    roots: &Roots,
) -> BTreeMap<ZnodePath, ZnodePath> {
    let place = |path: &ZnodePath| Some((path.parent()?, roots.endpoint_of(path)?));
    let mut creates: BTreeMap<_, _> =
        creates.keys().rev().filter_map(|path| Some((place(path)?, path.clone()))).collect();
    replaced.iter().filter_map(|old| Some((old.clone(), creates.remove(&place(old)?)?))).collect()
}

fn endpoints<'p>(paths: impl Iterator<Item = &'p ZnodePath>, roots: &Roots) -> BTreeSet<(Format, Host)> {
    paths.filter_map(|path| roots.endpoint_of(path)).collect()
}

/// Is this a leaf of a format that cannot be told now, and one that stays?
fn may_still_be_ready(desired: &Desired, roots: &Roots, path: &ZnodePath) -> bool {
    let Some((format, host)) = roots.endpoint_of(path) else { return false };
    if desired.denied.iter().any(|directory| path.is_below(directory)) {
        return false;
    }
    desired.undetermined.get(&format).is_some_and(|kept| kept.has(&host))
}
