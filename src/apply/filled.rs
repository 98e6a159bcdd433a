//! In which format our own Services fill directories that several formats may fill: instances of Curator, of Spring
//! Cloud and of Dubbo 3 live below one root, and each one's readers fail on the payload of another. A pure value beside
//! the [`super::ledger::Ledger`].
//!
//! Who comes first stays, as long as a Service wants the directory in that format. After a change of leaders it is who
//! has leaves there; as long as that is not known, nobody else comes.

use std::collections::{BTreeMap, BTreeSet};

use super::wanted::Wanted;
use crate::format::Format;
use crate::model::{ServiceKey, ZnodePath};
use crate::plan::{Desired, FilledAs};

/// What is known of our Services' directories.
#[derive(Debug, Default)]
pub(super) struct Filled {
    directories: BTreeMap<ZnodePath, Directory>,
    wanted: Wanted,
    /// Has each Service of the first list said what it wants?
    all_planned: bool,
    /// Services for which something has changed.
    due: BTreeSet<ServiceKey>,
}

#[derive(Debug, Default)]
struct Directory {
    users: BTreeMap<ServiceKey, Format>,
    /// That of whoever came first with a leaf.
    format: Option<Format>,
}

impl Filled {
    /// What a Service finds. `has_ours` tells whether something of ours is there now.
    pub(super) fn found_by(&self, key: &ServiceKey, directory: &ZnodePath, has_ours: bool) -> FilledAs {
        let known = self.directories.get(directory);
        match known.and_then(|it| it.format) {
            Some(format) if known.is_some_and(|it| it.is_wanted_by_another_than(key, format)) => {
                FilledAs::Only(format)
            }
            None if has_ours && !self.all_planned => FilledAs::NotKnown,
            Some(_) | None => FilledAs::Any,
        }
    }

    /// This is what a Service wants now.
    pub(super) fn planned(&mut self, key: &ServiceKey, desired: &Desired) {
        for (path, format) in &desired.formats {
            let directory = self.directories.entry(path.clone()).or_default();
            directory.users.insert(key.clone(), *format);
        }
        for path in self.wanted.replace(key, desired.formats.keys().cloned().collect()) {
            if let Some(directory) = self.directories.get_mut(&path) {
                directory.users.remove(key);
            }
            self.settle(&path);
        }
        for (path, format) in &desired.formats {
            // It may have wanted another one until now.
            self.settle(path);
            let has_leaf = || desired.leaves.keys().any(|leaf| leaf.parent().as_ref() == Some(path));
            if let Some(directory) = self.directories.get_mut(path)
                && directory.format.is_none()
                && has_leaf()
            {
                directory.format = Some(*format);
                self.due.extend(directory.users.keys().filter(|user| *user != key).cloned());
            }
        }
    }

    /// Each Service of the first list has been planned: where nobody had leaves, whoever wants to may come.
    pub(super) fn all_planned(&mut self) {
        if !std::mem::replace(&mut self.all_planned, true) {
            let open = self.directories.values().filter(|directory| directory.format.is_none());
            self.due.extend(open.flat_map(|directory| directory.users.keys().cloned()));
        }
    }

    /// Services that are to be planned again.
    pub(super) fn take_due(&mut self) -> BTreeSet<ServiceKey> {
        std::mem::take(&mut self.due)
    }

    /// A Service has let go of a directory, or of a format.
    fn settle(&mut self, path: &ZnodePath) {
        let Some(directory) = self.directories.get_mut(path) else { return };
        if directory.users.is_empty() {
            self.directories.remove(path);
        } else if directory.format.is_some_and(|format| !directory.users.values().any(|it| *it == format)) {
            directory.format = None;
            self.due.extend(directory.users.keys().cloned());
        }
    }
}

impl Directory {
    fn is_wanted_by_another_than(&self, key: &ServiceKey, format: Format) -> bool {
        self.users.iter().any(|(user, it)| user != key && *it == format)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> ZnodePath {
        ZnodePath::new(text).unwrap()
    }

    fn directory() -> ZnodePath {
        path("/services/orders")
    }

    fn key(name: &str) -> ServiceKey {
        ServiceKey::new("shop", name)
    }

    /// A Service wants the directory in this format, with a leaf or without.
    fn plans(filled: &mut Filled, name: &str, format: Option<Format>, has_leaf: bool) -> Vec<String> {
        let formats = format.map(|format| (directory(), format)).into_iter().collect();
        let leaf = has_leaf.then(|| (path(&format!("/services/orders/{name}")), bytes::Bytes::new()));
        let desired = Desired { formats, leaves: leaf.into_iter().collect(), ..Desired::default() };
        filled.planned(&key(name), &desired);
        filled.take_due().into_iter().map(|key| key.name.to_string()).collect()
    }

    fn found(filled: &Filled, name: &str, has_ours: bool) -> FilledAs {
        filled.found_by(&key(name), &directory(), has_ours)
    }

    const CURATOR: Option<Format> = Some(Format::Curator);
    const SPRING: Option<Format> = Some(Format::Spring);

    #[test]
    fn who_comes_first_with_a_leaf_stays_and_then_the_next_one_comes() {
        let mut filled = Filled::default();
        filled.all_planned();
        assert_eq!(plans(&mut filled, "a", CURATOR, false), [""; 0]);
        assert_eq!(found(&filled, "b", false), FilledAs::Any, "nobody has a leaf");
        assert_eq!(plans(&mut filled, "b", SPRING, true), ["a"]);
        assert_eq!(found(&filled, "a", true), FilledAs::Only(Format::Spring));
        assert_eq!(found(&filled, "b", true), FilledAs::Any);
        assert_eq!(plans(&mut filled, "a", CURATOR, false), [""; 0]);
        assert_eq!(plans(&mut filled, "b", SPRING, false), [""; 0], "it has no endpoint for a while");
        assert_eq!(found(&filled, "a", false), FilledAs::Only(Format::Spring));
        assert_eq!(plans(&mut filled, "b", None, false), ["a"]);
        assert_eq!(found(&filled, "a", true), FilledAs::Any);
        assert_eq!(plans(&mut filled, "a", CURATOR, true), [""; 0]);
        assert_eq!(found(&filled, "b", true), FilledAs::Only(Format::Curator));
    }

    #[test]
    fn who_wants_another_format_alone_gets_it_at_once() {
        let mut filled = Filled::default();
        filled.all_planned();
        plans(&mut filled, "a", CURATOR, true);
        assert_eq!(found(&filled, "a", true), FilledAs::Any);
        plans(&mut filled, "a", SPRING, true);
        assert_eq!(found(&filled, "b", true), FilledAs::Only(Format::Spring));
        // Two in one format; one of them changes its mind.
        plans(&mut filled, "b", SPRING, true);
        assert_eq!(found(&filled, "b", true), FilledAs::Only(Format::Spring));
        assert_eq!(plans(&mut filled, "a", None, false), [""; 0]);
        assert_eq!(found(&filled, "b", true), FilledAs::Any);
    }

    /// The next leader finds leaves, and not in which format they are.
    #[test]
    fn what_is_there_is_waited_for_until_all_have_been_asked() {
        let mut filled = Filled::default();
        assert_eq!(found(&filled, "b", true), FilledAs::NotKnown);
        assert_eq!(found(&filled, "b", false), FilledAs::Any);
        assert_eq!(plans(&mut filled, "b", SPRING, false), [""; 0]);
        let mut other = Filled::default();
        plans(&mut other, "b", SPRING, false);
        // Whoever has leaves there says so,
        assert_eq!(plans(&mut filled, "a", CURATOR, true), ["b"]);
        filled.all_planned();
        assert_eq!(
            (found(&filled, "b", true), filled.take_due().len()),
            (FilledAs::Only(Format::Curator), 0)
        );
        // or nobody does.
        other.all_planned();
        assert_eq!(other.take_due(), [key("b")].into());
        assert_eq!(found(&other, "b", true), FilledAs::Any);
        other.all_planned();
        assert!(other.take_due().is_empty());
    }
}
