//! What others have registered in the directories that Services of ours are published in, as a pure value beside the
//! [`super::ledger::Ledger`].
//!
//! ```text
//!   made sure of, with what is in it ──listed──┐
//!   events of others' znodes ──noticed─────────┴─▶ doubts ──(seen)──▶ others ──▶ Services to plan again
//! ```
//!
//! Level-triggered too: whatever is heard of a znode that is not ours, it is looked at once, and a look during which
//! something happened to it is void. Each directory has its one recursive watch anyway, so nothing else is watched.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::wanted::Wanted;
use crate::format::Registered;
use crate::model::{Holds, ServiceKey, ZnodePath};
use crate::plan::{Beside, Desired, FilledAs, Others, Roots};
use crate::session::Sighting;

/// What is known of others.
#[derive(Debug)]
pub(super) struct Neighbours {
    roots: Roots,
    /// Those that a Service has wanted since this process leads. They stay watched, and so they stay here.
    directories: BTreeMap<ZnodePath, Directory>,
    /// What each Service wants.
    wanted: Wanted,
    /// Znodes to look at, or that somebody looks at.
    doubts: BTreeMap<ZnodePath, Doubt>,
    queued: BTreeSet<ZnodePath>,
    /// Services for which something has changed.
    due: BTreeSet<ServiceKey>,
    /// Directories to be listed again.
    unlisted: BTreeSet<ZnodePath>,
}

#[derive(Debug, Default)]
struct Directory {
    users: BTreeSet<ServiceKey>,
    /// Has a Service of ours been published here ever since one wanted it?
    is_held: bool,
    /// Has it been listed, and has everything that was in it been seen?
    is_known: bool,
    /// What was in the list and has not been seen; `None` before there was one.
    unseen: Option<BTreeSet<ZnodePath>>,
    others: Others,
}

/// One znode that may be somebody else's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doubt {
    Queued,
    Looking,
    /// Something happened to it meanwhile.
    Void,
}

/// More instances of others are not remembered of one directory: consumers of a list take 1 MiB at most.
const MOST: usize = 10_000;
/// More znodes do not wait to be looked at.
const MOST_DOUBTS: usize = 100_000;

impl Neighbours {
    pub(super) fn new(roots: Roots) -> Self {
        Neighbours {
            roots,
            directories: BTreeMap::new(),
            wanted: Wanted::default(),
            doubts: BTreeMap::new(),
            queued: BTreeSet::new(),
            due: BTreeSet::new(),
            unlisted: BTreeSet::new(),
        }
    }

    /// A directory as a plan needs it. `has_ours` tells whether something of ours is there now, and `filled` in which
    /// format.
    pub(super) fn beside(&self, directory: &ZnodePath, has_ours: bool, filled: FilledAs) -> Beside<'_> {
        let known = self.directories.get(directory);
        Beside {
            is_held: has_ours || known.is_some_and(|it| it.is_held),
            others: known.filter(|it| it.is_known).map(|it| &it.others),
            filled,
        }
    }

    /// This is what a Service wants now.
    pub(super) fn planned(&mut self, key: &ServiceKey, desired: &Desired) {
        let directories = desired.companions.iter().filter(|companion| companion.holds == Holds::Anything);
        let wanted: BTreeSet<_> = directories.map(|companion| companion.path.clone()).collect();
        for path in &wanted {
            if let Some(directory) = self.directories.get_mut(path) {
                directory.users.insert(key.clone());
            } else {
                let directory = Directory { users: [key.clone()].into(), ..Directory::default() };
                self.directories.insert(path.clone(), directory);
            }
        }
        let mut last = "";
        for path in desired.leaves.keys() {
            if let Some((parent, _)) = path.as_str().rsplit_once('/')
                && std::mem::replace(&mut last, parent) != parent
                && let Some(directory) = self.directories.get_mut(parent)
            {
                directory.is_held = true;
            }
        }
        for path in self.wanted.replace(key, wanted) {
            if let Some(directory) = self.directories.get_mut(&path) {
                directory.users.remove(key);
                directory.is_held &= !directory.users.is_empty();
            }
        }
    }

    /// A directory was made sure of, and this was in it. `is_ours` tells which znodes are ours beyond doubt.
    pub(super) fn listed(
        &mut self,
        path: &ZnodePath,
        names: &[String],
        is_ours: impl Fn(&ZnodePath) -> bool,
    ) {
        let Some(directory) = self.directories.get_mut(path) else { return };
        directory.others.and_more = names.len() > MOST;
        // ZooKeeper has no name that is none.
        let listed = names.iter().take(MOST).filter_map(|name| path.child(name).ok());
        let mut strange: BTreeSet<_> = listed.filter(|path| !is_ours(path)).collect();
        // What was there before, or when somebody looked, may be gone: that is seen too, as events of it may have been
        // lost.
        strange.extend(directory.others.instances.keys().cloned());
        let prefix = format!("{path}/");
        let below = self.doubts.range::<str, _>((Bound::Included(prefix.as_str()), Bound::Unbounded));
        let below = below.map(|(path, _)| path).take_while(|path| path.as_str().starts_with(&prefix));
        strange.extend(below.filter(|below| below.parent().as_ref() == Some(path)).cloned());
        directory.unseen = Some(strange.clone());
        strange.into_iter().for_each(|path| self.doubt(path));
        self.come_to_know(path);
    }

    /// There is a znode that is not one of ours, or may not be, or it says something else.
    pub(super) fn noticed(&mut self, path: &str) {
        if let Some(path) = self.in_a_directory(path) {
            self.doubt(path);
        }
    }

    /// A znode is gone.
    pub(super) fn deleted(&mut self, path: &str) {
        let Some(path) = self.in_a_directory(path) else { return };
        if self.doubts.contains_key(&path) {
            // Who looks finds out.
            self.doubt(path);
        } else {
            self.settle(&path, None);
        }
    }

    /// At most so many znodes to look at. Each is told once, until [`Neighbours::seen`] or [`Neighbours::again`].
    pub(super) fn take_doubts(&mut self, most: usize) -> Vec<ZnodePath> {
        let mut taken = Vec::new();
        while taken.len() < most
            && let Some(path) = self.queued.pop_first()
        {
            self.doubts.insert(path.clone(), Doubt::Looking);
            taken.push(path);
        }
        taken
    }

    /// It could not be looked at.
    pub(super) fn again(&mut self, path: ZnodePath) {
        self.doubts.insert(path.clone(), Doubt::Queued);
        self.queued.insert(path);
    }

    /// What a look found.
    pub(super) fn seen(&mut self, path: ZnodePath, sighting: &Sighting) {
        match (self.doubts.get(&path).copied(), sighting) {
            (Some(Doubt::Looking), Sighting::Failed) | (Some(Doubt::Void), _) => return self.again(path),
            (Some(Doubt::Looking), _) => drop(self.doubts.remove(&path)),
            (Some(Doubt::Queued) | None, _) => return,
        }
        let instance = match sighting {
            Sighting::Theirs { is_ephemeral, data } => {
                let registered = self.roots.registered(&path, data);
                // A directory or a lock that somebody keeps in here is none.
                (*is_ephemeral || registered.is_some()).then_some(registered)
            }
            Sighting::Absent | Sighting::Ours | Sighting::Failed => None,
        };
        self.settle(&path, instance);
        let Some(parent) = path.parent() else { return };
        if let Some(unseen) = self.directories.get_mut(&parent).and_then(|it| it.unseen.as_mut()) {
            unseen.remove(&path);
            self.come_to_know(&parent);
        }
    }

    /// Services that are to be planned again.
    pub(super) fn take_due(&mut self) -> BTreeSet<ServiceKey> {
        std::mem::take(&mut self.due)
    }

    /// Directories that are to be listed again.
    pub(super) fn take_unlisted(&mut self) -> BTreeSet<ZnodePath> {
        std::mem::take(&mut self.unlisted)
    }

    /// Znodes that are to be looked at, or are being.
    pub(super) fn pending(&self) -> usize {
        self.doubts.len()
    }

    fn in_a_directory(&self, path: &str) -> Option<ZnodePath> {
        let (parent, _) = path.rsplit_once('/')?;
        self.directories.get(parent)?;
        ZnodePath::new(path).ok()
    }

    fn doubt(&mut self, path: ZnodePath) {
        let is_full = self.doubts.len() >= MOST_DOUBTS;
        let Some(directory) = path.parent().and_then(|parent| self.directories.get_mut(&parent)) else {
            return;
        };
        match self.doubts.get(&path).copied() {
            Some(Doubt::Looking) => drop(self.doubts.insert(path, Doubt::Void)),
            Some(Doubt::Queued | Doubt::Void) => {}
            None if is_full || directory.others.instances.len() >= MOST => {
                if !directory.others.instances.contains_key(&path) {
                    directory.others.and_more = true;
                }
                if let Some(unseen) = &mut directory.unseen {
                    unseen.remove(&path);
                }
            }
            None => self.again(path),
        }
    }

    /// This is an instance of somebody else, or none.
    fn settle(&mut self, path: &ZnodePath, instance: Option<Option<Registered>>) {
        let Some(parent) = path.parent() else { return };
        let Some(directory) = self.directories.get_mut(&parent) else { return };
        let instances = &mut directory.others.instances;
        let is_news = match instance {
            Some(registered) => {
                instances.insert(path.clone(), registered.clone()).is_none_or(|before| before != registered)
            }
            None => instances.remove(path).is_some(),
        };
        if !is_news {
            return;
        }
        self.due.extend(directory.users.iter().cloned());
        if directory.others.and_more && directory.others.instances.len() < MOST / 2 {
            self.unlisted.insert(parent);
        }
    }

    /// Is all of it known now?
    fn come_to_know(&mut self, path: &ZnodePath) {
        let Some(directory) = self.directories.get_mut(path) else { return };
        if directory.unseen.as_ref().is_some_and(BTreeSet::is_empty) {
            directory.unseen = None;
            if !std::mem::replace(&mut directory.is_known, true) {
                self.due.extend(directory.users.iter().cloned());
            }
        }
    }
}

#[cfg(test)]
#[path = "neighbours_test.rs"]
mod tests;
