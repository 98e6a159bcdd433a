//! What others have registered where a Service is to be published.
//!
//! Whoever finds a directory that others have filled must not speak beside them unasked: their consumers would get
//! endpoints that nobody there knows of. But whoever was there first stays: a stranger who comes later, or whoever
//! may write to ZooKeeper, must not be able to take a Service's endpoints away.

use std::collections::{BTreeMap, HashMap};

use crate::format::{Format, Registered};
use crate::model::{Host, ZnodePath};

/// The instances of others in one directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Others {
    /// Each with what it says of itself, as far as that can be read.
    pub instances: BTreeMap<ZnodePath, Option<Registered>>,
    /// Are there more than are remembered?
    pub and_more: bool,
}

/// One directory, as a Service that is to be published there finds it.
#[derive(Debug, Clone, Copy)]
pub struct Beside<'a> {
    /// Have we published here before, and wanted to ever since?
    pub is_held: bool,
    /// What others have there; `None` as long as that is not known.
    pub others: Option<&'a Others>,
    /// What our other Services have there.
    pub filled: FilledAs,
}

/// In which format our other Services fill a directory, where several are possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilledAs {
    /// It may be filled in any.
    Any,
    /// In this one.
    Only(Format),
    /// Some do, and it is not known in which.
    NotKnown,
}

/// What follows for a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is filled.
    Publish,
    /// So too; but it would not be if we came now.
    PublishAndTell,
    /// What is there of ours stays. Nothing else comes before it is known what others have.
    Wait,
    /// It belongs to others.
    Refuse,
}

static NOBODY: Others = Others { instances: BTreeMap::new(), and_more: false };

impl Others {
    /// Is there anybody?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.instances.is_empty() && !self.and_more
    }

    /// What stands for which endpoint of which service, with the first path of several.
    pub(super) fn by_endpoint(&self) -> HashMap<(&str, &Host, u16), &ZnodePath> {
        let readable = self.instances.iter().filter_map(|(path, it)| Some((path, it.as_ref()?)));
        // Of several the one that is inserted last stays.
        readable.rev().map(|(path, it)| (endpoint(it), path)).collect()
    }
}

/// What two registrations must have in common to be of one endpoint.
pub(super) fn endpoint(registered: &Registered) -> (&str, &Host, u16) {
    (&registered.service, &registered.host, registered.port)
}

impl Beside<'_> {
    /// Where nobody else is.
    #[must_use]
    pub fn nobody() -> Self {
        Beside { is_held: false, others: Some(&NOBODY), filled: FilledAs::Any }
    }

    /// | others | ours before them | shared | |
    /// |---|---|---|---|
    /// | none | | | publish |
    /// | some | | yes | publish, but for what they stand for |
    /// | some | yes | no | publish, and tell |
    /// | some | no | no | refuse |
    /// | unknown | yes | no | publish: whatever there is, nothing else would follow |
    /// | unknown | no, or shared | | wait |
    pub(super) fn verdict(self, is_shared: bool) -> Verdict {
        match (self.others, self.is_held, is_shared) {
            (None, true, false) => Verdict::Publish,
            (None, ..) => Verdict::Wait,
            (Some(others), ..) if others.is_empty() => Verdict::Publish,
            (Some(_), _, true) => Verdict::Publish,
            (Some(_), true, false) => Verdict::PublishAndTell,
            (Some(_), false, false) => Verdict::Refuse,
        }
    }
}

#[cfg(test)]
#[path = "others_test.rs"]
mod tests;
