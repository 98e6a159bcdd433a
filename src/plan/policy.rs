//! What the bridge may do to leaves that are there.

use super::diff::Changes;

/// What may be written. Whatever it says, leaves go with the bridge's sessions, and what goes so is created again only
/// where an endpoint is ready.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// Everything: what is not ready any more goes.
    #[default]
    Sync,
    /// Creates and sets. What is not ready any more, and what has another name now, stays.
    UpsertOnly,
    /// Creates. What is there also stays as it is.
    CreateOnly,
}

impl Policy {
    /// Leaves out of changes what may not be done.
    pub fn limit(self, changes: &mut Changes) {
        if self >= Policy::UpsertOnly {
            changes.gone.clear();
            changes.replaced.clear();
            changes.swaps.clear();
        }
        if self >= Policy::CreateOnly {
            changes.sets.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Companion, ZnodePath};

    #[test]
    fn each_allows_less_than_the_one_before() {
        let path = |name: &str| ZnodePath::new(&format!("/s/{name}")).unwrap();
        let data = bytes::Bytes::new();
        let all = Changes {
            companions: [Companion::directory(path("d"))].into(),
            creates: [(path("c"), data.clone())].into(),
            sets: [(path("s"), data.clone())].into(),
            gone: [path("g")].into(),
            replaced: [path("r")].into(),
            swaps: [(path("r"), path("c"))].into(),
        };
        for (policy, left) in [
            (Policy::Sync, &["c", "s", "g", "r"][..]),
            (Policy::UpsertOnly, &["c", "s"]),
            (Policy::CreateOnly, &["c"]),
        ] {
            let mut changes = all.clone();
            policy.limit(&mut changes);
            assert_eq!(changes.touched().map(ZnodePath::name).collect::<Vec<_>>(), left, "{policy:?}");
            assert_eq!(changes.companions, all.companions);
            assert_eq!(changes.swaps.is_empty(), policy != Policy::Sync);
        }
    }
}
