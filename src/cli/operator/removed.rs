//! What goes, or would go, and what stays.

use std::collections::BTreeMap;
use std::io::Write as _;

use serde::Serialize;

use super::table::table;
use crate::model::ZnodePath;
use crate::session::{Kept, Leftovers, Own, What};

/// Of one bridge.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Removed {
    /// Was it done?
    done: bool,
    /// Sessions that are closed, with all that they hold.
    sessions: Vec<String>,
    /// What the bridge made in the registries.
    znodes: Vec<String>,
    /// Items that it added to lists.
    items: Vec<Item>,
    /// Its own znodes.
    own: Option<OwnZnodes>,
    /// In Kubernetes.
    objects: Vec<String>,
    kept: Vec<Stays>,
}

#[derive(Serialize)]
struct Item {
    item: String,
    of: String,
}

#[derive(Serialize)]
struct OwnZnodes {
    path: String,
    count: usize,
}

#[derive(Serialize)]
struct Stays {
    what: String,
    because: String,
}

impl Removed {
    /// What was or would be removed in ZooKeeper. `changed` is what stayed although it should not have.
    pub(super) fn new(own: &Own, left: &Leftovers, changed: &BTreeMap<ZnodePath, Kept>, done: bool) -> Self {
        let goes = |path: &&ZnodePath| !changed.contains_key(*path);
        let (mut znodes, mut items) = (Vec::new(), Vec::new());
        for What { path, items: some, .. } in left.made.iter().filter(|what| goes(&&what.path)) {
            match some {
                None => znodes.push(path.to_string()),
                Some((names, _)) => {
                    items.extend(names.iter().map(|name| Item { item: name.clone(), of: path.to_string() }))
                }
            }
        }
        let count = left.own.iter().chain(&left.last).filter(goes).count();
        let kept = left.kept.iter().chain(changed);
        Removed {
            done,
            sessions: Vec::new(),
            znodes,
            items,
            own: (count > 0).then(|| OwnZnodes { path: own.root.to_string(), count }),
            objects: Vec::new(),
            kept: kept
                .map(|(path, why)| Stays { what: path.to_string(), because: why.to_string() })
                .collect(),
        }
    }

    /// Sessions that are closed first.
    pub(super) fn with_sessions(self, sessions: impl IntoIterator<Item = String>) -> Self {
        Removed { sessions: sessions.into_iter().collect(), ..self }
    }

    /// Objects of Kubernetes that go, and those that stay with the reason.
    pub(super) fn with_objects(mut self, go: Vec<String>, stay: Vec<(String, String)>) -> Self {
        self.objects.extend(go);
        self.kept.extend(stay.into_iter().map(|(what, because)| Stays { what, because }));
        self
    }

    pub(super) fn human(&self) -> std::io::Result<()> {
        let Removed { done, sessions, znodes, items, own, objects, kept } = self;
        let (removed, closed) = if *done { ("removed", "closed") } else { ("would remove", "would close") };
        let row = |verb: &str, what: &str, which: String| [verb.to_owned(), what.to_owned(), which];
        let mut rows: Vec<_> = sessions.iter().map(|id| row(closed, "session", id.clone())).collect();
        rows.extend(znodes.iter().map(|path| row(removed, "znode", path.clone())));
        rows.extend(items.iter().map(|Item { item, of }| row(removed, "item", format!("{item} of {of}"))));
        rows.extend(own.iter().map(|it| row(removed, "own", format!("{} znodes of {}", it.count, it.path))));
        rows.extend(objects.iter().map(|object| row(removed, "object", object.clone())));
        rows.extend(kept.iter().map(|it| row("kept", "", format!("{}: {}", it.what, it.because))));
        table(["", "WHAT", "WHICH"], &rows)?;
        let mut out = std::io::stdout();
        if rows.len() == kept.len() {
            writeln!(out, "there is nothing to remove")?;
        } else if !done {
            writeln!(out, "nothing was done; --yes does it")?;
        }
        Ok(())
    }
}
