//! What the bridge would write: its own ledger, plans and writer, on a tree in memory.
//!
//! ```text
//!   Store ──┐                       ┌──▶ writes, by Service
//!   Tree  ──┴─▶ Ledger ⇄ Imagined ──┴──▶ refusals
//! ```
//!
//! `plan`, `diff`, `explain` and `run --dry-run` ask it, so that they cannot say anything else than the daemon
//! does. It comes to rest: each plan is carried out at once, and what fails is not tried again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use zk_wire::ids::SessionId;

use super::filled::Filled;
use super::imagined::{Imagined, Write};
use super::ledger::{Ledger, nobody};
use super::neighbours::Neighbours;
use super::write::{End, write};
use crate::model::{Known, ServiceKey, ZnodePath};
use crate::observe::Store;
use crate::plan::{Desired, Drains, Explained, Given, Policy, Refusal, Roots, Rules, desired, explain};
use crate::session::Tree;

/// A bridge that only imagines its writes.
#[derive(Debug)]
pub struct Rehearsal {
    rules: Rules,
    roots: Roots,
    ledger: Ledger,
    neighbours: Neighbours,
    filled: Filled,
    imagined: Imagined,
    /// Of Services, what drains. Time stands still here: nothing has drained long enough.
    draining: HashMap<ServiceKey, Drains>,
    nothing: Drains,
    is_synced: bool,
}

/// What a rehearsal came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rehearsed {
    /// In the order in which it would be written; `None` for what no Service wants any more.
    pub writes: Vec<(Option<ServiceKey>, Write)>,
    /// What is refused now, of each Service of which that has changed.
    pub refusals: BTreeMap<ServiceKey, BTreeSet<Refusal>>,
}

impl Rehearsal {
    /// A bridge that has taken over these sessions, in this tree.
    #[must_use]
    pub fn new(rules: Rules, roots: Roots, tree: Tree, ours: BTreeSet<SessionId>) -> Self {
        let ledger = Ledger::new(roots.clone(), tree.ephemerals(&ours));
        Rehearsal {
            rules,
            neighbours: Neighbours::new(roots.clone()),
            filled: Filled::default(),
            roots,
            ledger,
            imagined: Imagined::new(tree, ours),
            draining: HashMap::new(),
            nothing: Drains::new(),
            is_synced: false,
        }
    }

    /// It may do no more than this allows.
    #[must_use]
    pub fn under(self, policy: Policy) -> Self {
        Rehearsal { ledger: self.ledger.under(policy), ..self }
    }

    /// These Services may look different now.
    pub fn observed(&mut self, changed: impl IntoIterator<Item = ServiceKey>) {
        changed.into_iter().for_each(|key| self.ledger.push(key));
    }

    /// Other rules count from now on: every Service may look different.
    pub fn rule(&mut self, rules: Rules, store: &Store) {
        self.rules = rules;
        if self.is_synced {
            self.observed(store.keys());
        }
    }

    /// What should be there for a Service.
    #[must_use]
    pub fn desired(&self, store: &Store, key: &ServiceKey) -> Desired {
        match store.get(key) {
            Known::Known((service, slices)) => {
                self.given(store, key, |given| desired(service, slices.into_iter(), given))
            }
            Known::Unknown => Desired::default(),
        }
    }

    /// What becomes of its endpoints; `None` if there is no such Service.
    #[must_use]
    pub fn explain(&self, store: &Store, key: &ServiceKey) -> Option<Vec<Explained>> {
        let Known::Known((Some(service), slices)) = store.get(key) else { return None };
        let desired = self.desired(store, key);
        Some(self.given(store, key, |given| explain(service, &slices, given, &desired)))
    }

    fn given<T>(&self, store: &Store, key: &ServiceKey, with: impl FnOnce(&Given<'_>) -> T) -> T {
        let is_there = |path: &ZnodePath| self.ledger.has(path);
        let beside = |directory: &ZnodePath| {
            let has_ours = self.ledger.has_any_in(directory);
            self.neighbours.beside(directory, has_ours, self.filled.found_by(key, directory, has_ours))
        };
        with(&Given {
            rules: &self.rules,
            roots: &self.roots,
            nodes: store.nodes(),
            draining: self.draining.get(key).unwrap_or(&self.nothing),
            now: Duration::ZERO,
            is_there: &is_there,
            beside: &beside,
        })
    }

    /// Plans and imagines until nothing is left to do. Before the store knows everything that is nothing.
    pub async fn settle(&mut self, store: &Store) -> Rehearsed {
        let mut rehearsed = Rehearsed::default();
        if !store.is_synced() {
            return rehearsed;
        }
        let mut touched = BTreeSet::new();
        if !std::mem::replace(&mut self.is_synced, true) {
            let all: BTreeSet<_> = store.keys().collect();
            self.ledger.synced(&all);
            self.observed(all);
        }
        loop {
            if let Some(key) = self.ledger.pop_due() {
                self.plan(store, &key, &mut rehearsed.writes).await;
                touched.insert(key);
                continue;
            }
            let doubts = self.ledger.take_doubts(usize::MAX);
            for doubt in &doubts {
                let look = self.imagined.look(&doubt.suspect.path);
                self.ledger.looked(doubt, look);
            }
            let strange = self.neighbours.take_doubts(usize::MAX);
            for path in &strange {
                self.neighbours.seen(path.clone(), &self.imagined.see(path));
            }
            if self.ledger.all_planned() {
                self.filled.all_planned();
            }
            let mut due = self.neighbours.take_due();
            due.append(&mut self.filled.take_due());
            let has_news = !doubts.is_empty() || !strange.is_empty() || !due.is_empty();
            self.observed(due);
            if self.ledger.take_wants_lists() {
                for (session, paths) in self.imagined.ephemerals() {
                    self.ledger.listed(session, paths);
                }
            } else if !has_news {
                break;
            }
        }
        for key in touched {
            if let Some((_, now)) = self.ledger.report(&key) {
                rehearsed.refusals.insert(key, now);
            }
        }
        rehearsed
    }

    async fn plan(&mut self, store: &Store, key: &ServiceKey, writes: &mut Vec<(Option<ServiceKey>, Write)>) {
        let desired = self.desired(store, key);
        self.draining.insert(key.clone(), desired.draining.clone());
        self.neighbours.planned(key, &desired);
        self.filled.planned(key, &desired);
        let Some(change) = self.ledger.plan(key, desired) else { return };
        let outcome = write(&self.imagined, change, None).await;
        let again = outcome.end == End::Again;
        self.ledger.written(key, outcome.companions, &outcome.settled, outcome.refusals, again, |_| true);
        for (directory, names) in &outcome.listed {
            self.neighbours.listed(directory, names, |path| self.ledger.expects(path.as_str()));
        }
        let whose = (*key != nobody()).then(|| key.clone());
        writes.extend(self.imagined.take_writes().into_iter().map(|write| (whose.clone(), write)));
    }
}

#[cfg(test)]
#[path = "rehearsal_test.rs"]
mod tests;
