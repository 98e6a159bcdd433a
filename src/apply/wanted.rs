//! Which directories each Service wants.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{ServiceKey, ZnodePath};

/// Remembers it from plan to plan; a Service that wants nothing costs nothing.
#[derive(Debug, Default)]
pub(super) struct Wanted(BTreeMap<ServiceKey, BTreeSet<ZnodePath>>);

impl Wanted {
    /// A Service wants these now. What it wanted before and does not want any more, in order.
    pub(super) fn replace(&mut self, key: &ServiceKey, now: BTreeSet<ZnodePath>) -> Vec<ZnodePath> {
        let before = self.0.remove(key).unwrap_or_default();
        let left = before.difference(&now).cloned().collect();
        if !now.is_empty() {
            self.0.insert(key.clone(), now);
        }
        left
    }
}
