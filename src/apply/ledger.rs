//! Who has which leaf, and what is in doubt: the bridge's memory as a pure value.
//!
//! ```text
//!   plan ──▶ Change ──(written)──▶ written ─┐
//!   events, lists, lost answers ──suspect───┼──(looked at)──▶ looked ──▶ Services to plan again
//! ```
//!
//! Level-triggered: an event never says what is there, only that it is worth a look. Four rules:
//! - a leaf has at most one holder, the Service that publishes it; others that want it wait for it;
//! - a leaf that is being written is not judged by what is heard meanwhile; it is looked at afterwards;
//! - a leaf is looked at once at a time, and a look during which something happened to it is void;
//! - whatever changes is planned again, and a plan that changes nothing costs nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;

use zk_wire::ids::SessionId;

use super::queue::Queue;
use crate::format::Format;
use crate::model::{Companion, Holds, Known, ServiceKey, ZnodePath};
use crate::plan::{Cause, Changes, Desired, Kept, Policy, Refusal, Roots, diff};
use crate::session::{Inherited, Look, Owned, Suspect};

/// The bridge's memory.
#[derive(Debug)]
pub(super) struct Ledger {
    roots: Roots,
    policy: Policy,
    leaves: BTreeMap<ZnodePath, Leaf>,
    accounts: BTreeMap<ServiceKey, Account>,
    /// Companions that are as they must be, with the Services that want them.
    companions: BTreeMap<ZnodePath, BTreeMap<Holds, BTreeSet<ServiceKey>>>,
    due: Queue,
    /// Leaves to look at that are neither being written nor looked at.
    suspects: BTreeSet<ZnodePath>,
    /// Services of the first list that have not been planned yet; `None` before it.
    unplanned: Option<BTreeSet<ServiceKey>>,
    /// Leaves that went without us, with the Services that had them, until those are planned again.
    lost: BTreeMap<ServiceKey, BTreeMap<ZnodePath, Cause>>,
    /// Does somebody have to compare the sessions' own lists with ours?
    wants_lists: bool,
    /// Counts writes and suspicions.
    generation: u64,
}

/// A leaf that we have, want, or must look at.
#[derive(Debug, Default)]
struct Leaf {
    there: There,
    holder: Option<ServiceKey>,
    waiting: BTreeSet<ServiceKey>,
    writing: bool,
    /// Something happened that only a look can settle.
    suspect: bool,
    /// Nothing was heard of it: it is an audit that looks.
    unheard: bool,
    /// The session whose answer was lost.
    via: Option<SessionId>,
    /// Somebody looks.
    looking: bool,
    /// The write or suspicion that came last: a look that began before it is void.
    generation: u64,
}

/// What is there, as far as we know.
#[derive(Debug, Default, PartialEq, Eq)]
enum There {
    #[default]
    Nothing,
    Ours(Owned),
    /// Somebody else's, with words for whose.
    Theirs(String),
}

/// One Service.
#[derive(Debug, Default)]
struct Account {
    /// Leaves of which it is the holder.
    leaves: BTreeSet<ZnodePath>,
    /// Leaves that it wants and somebody else has.
    waits: BTreeSet<ZnodePath>,
    companions: BTreeSet<Companion>,
    /// Of the last plan; see [`Desired::undetermined`].
    undetermined: BTreeMap<Format, Kept>,
    writing: bool,
    /// Writes in a row that have to be tried again.
    failures: u32,
    /// Will somebody call [`Ledger::retry`]?
    retry_armed: bool,
    /// As of the last plan, and of the last write.
    planned: BTreeSet<Refusal>,
    written: BTreeSet<Refusal>,
    reported: BTreeSet<Refusal>,
}

/// What is to be written for one Service.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) changes: Changes,
    /// What the Service has.
    pub(super) held: BTreeMap<ZnodePath, Owned>,
    /// What it had, and lost without us.
    pub(super) lost: BTreeMap<ZnodePath, Cause>,
}

/// What became of one leaf in a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    /// It is there, and ours.
    Ours(Owned),
    /// It is not there any more.
    Gone,
    /// It is not as we believed: there is a znode that we did not know, or none of ours.
    Moved,
    /// The answer of this session was lost.
    Unknown(SessionId),
}

/// Somebody else has changed what is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Drift {
    /// As we had heard.
    Heard,
    /// No watch told of it before an audit saw it.
    Unheard,
}

/// A leaf to look at.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Doubt {
    pub(super) suspect: Suspect,
    generation: u64,
}

/// Numbers for people.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) services: usize,
    pub(super) znodes: usize,
    pub(super) refused: usize,
    pub(super) pending: usize,
}

const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MOST: Duration = Duration::from_secs(30);

/// A Service that does not exist: it desires nothing, so what it holds is deleted.
pub(super) fn nobody() -> ServiceKey {
    ServiceKey::new("", "")
}

impl Ledger {
    /// Knows only what an earlier leader left in the sessions.
    pub(super) fn new(roots: Roots, inherited: Inherited) -> Self {
        let leaf = |owned| Leaf { there: There::Ours(owned), ..Leaf::default() };
        Ledger {
            roots,
            policy: Policy::default(),
            leaves: inherited.into_iter().map(|(path, owned)| (path, leaf(owned))).collect(),
            accounts: BTreeMap::new(),
            companions: BTreeMap::new(),
            due: Queue::default(),
            suspects: BTreeSet::new(),
            unplanned: None,
            lost: BTreeMap::new(),
            wants_lists: false,
            generation: 0,
        }
    }

    /// What may be written.
    pub(super) fn under(self, policy: Policy) -> Self {
        Ledger { policy, ..self }
    }

    /// The first list of Services is complete.
    pub(super) fn synced(&mut self, services: &BTreeSet<ServiceKey>) {
        self.unplanned = Some(services.clone());
        self.settle_inheritance();
    }

    /// Has each Service of the first list been planned?
    pub(super) fn all_planned(&self) -> bool {
        self.unplanned.as_ref().is_some_and(BTreeSet::is_empty)
    }

    /// This Service is worth a plan.
    pub(super) fn push(&mut self, key: ServiceKey) {
        let has_instances = self.accounts.get(&key).is_some_and(|account| !account.leaves.is_empty());
        self.due.push(key, !has_instances);
    }

    /// The next Service to plan: one that is not being written.
    pub(super) fn pop_due(&mut self) -> Option<ServiceKey> {
        let accounts = &self.accounts;
        self.due.pop(|key| accounts.get(key).is_none_or(|account| !account.writing))
    }

    /// What has to be written so that this Service has what it desires. From then on its leaves count as
    /// being written, until [`Ledger::written`].
    pub(super) fn plan(&mut self, key: &ServiceKey, desired: Desired) -> Option<Change> {
        let change = self.change(key, desired);
        if self.unplanned.as_mut().is_some_and(|unplanned| unplanned.remove(key)) {
            self.settle_inheritance();
        }
        change
    }

    fn change(&mut self, key: &ServiceKey, mut desired: Desired) -> Option<Change> {
        let undetermined = desired.undetermined.clone();
        let lost = self.lost.remove(key).unwrap_or_default();
        let waited = self.stop_waiting(key);
        let conflicts = self.claim(key, &mut desired);
        waited.iter().for_each(|path| self.drop_if_idle(path));
        let account = self.accounts.entry(key.clone()).or_default();
        account.undetermined = undetermined;
        account.planned = std::mem::take(&mut desired.refusals);
        account.planned.extend(conflicts);
        self.use_companions(key, &desired.companions);
        let held = self.held(key);
        let companions = &self.companions;
        let exists = |Companion { path, holds }: &Companion| {
            companions.get(path).is_some_and(|users| users.contains_key(holds))
        };
        let mut changes = diff(&Known::Known(desired), &held, &self.roots, exists);
        self.hand_over(key, &mut changes);
        // What stays may still change hands.
        self.policy.limit(&mut changes);
        let account = self.accounts.entry(key.clone()).or_default();
        if changes.is_empty() {
            account.written.clear();
            account.failures = 0;
            return None;
        }
        account.writing = true;
        self.generation += 1;
        for path in changes.touched() {
            account.leaves.insert(path.clone());
            let leaf = self.leaves.entry(path.clone()).or_default();
            leaf.holder = Some(key.clone());
            leaf.writing = true;
            leaf.generation = self.generation;
            self.suspects.remove(path);
        }
        Some(Change { changes, held, lost })
    }

    /// A write of this Service is over. `again` says that not all of it was carried out; then it is how long
    /// to wait before [`Ledger::retry`], unless somebody waits already. `lives` tells which sessions are still
    /// in the pool.
    pub(super) fn written(
        &mut self,
        key: &ServiceKey,
        companions: BTreeSet<Companion>,
        settled: &BTreeMap<ZnodePath, Settled>,
        refusals: BTreeSet<Refusal>,
        again: bool,
        lives: impl Fn(SessionId) -> bool,
    ) -> Option<Duration> {
        for Companion { path, holds } in companions {
            let users = self.companions.entry(path).or_default().entry(holds).or_default();
            users.insert(key.clone());
        }
        let account = self.accounts.get_mut(key)?;
        account.writing = false;
        account.written = refusals;
        account.failures = if again { account.failures + 1 } else { 0 };
        let delay = (again && !account.retry_armed)
            .then(|| (RETRY_FIRST * 2u32.pow(account.failures.min(10))).min(RETRY_MOST));
        account.retry_armed |= again;
        for path in account.leaves.clone() {
            let Some(leaf) = self.leaves.get_mut(&path).filter(|leaf| leaf.writing) else { continue };
            leaf.writing = false;
            match settled.get(&path) {
                Some(Settled::Ours(owned)) if lives(owned.session) => leaf.there = There::Ours(*owned),
                // Its session expired while the answer was under way.
                Some(Settled::Ours(_)) => {
                    leaf.there = There::Nothing;
                    self.due.push(key.clone(), true);
                }
                Some(Settled::Gone) => {
                    leaf.there = There::Nothing;
                    // What was heard meanwhile was this.
                    leaf.suspect = false;
                }
                Some(Settled::Moved) => leaf.suspect = true,
                Some(Settled::Unknown(session)) => {
                    leaf.suspect = true;
                    leaf.via = Some(*session);
                }
                // Not carried out.
                None => {}
            }
            self.settle(&path);
        }
        let account = self.accounts.get(key).into_iter();
        let mut leaves = account.flat_map(|account| &account.leaves).filter_map(|path| self.leaves.get(path));
        if !again && leaves.any(|leaf| !leaf.waiting.is_empty() && !leaf.suspect) {
            // Now it may hand over what has been replaced.
            self.push(key.clone());
        }
        delay
    }

    /// It is time to try again.
    pub(super) fn retry(&mut self, key: ServiceKey) {
        if let Some(account) = self.accounts.get_mut(&key) {
            account.retry_armed = false;
        }
        self.push(key);
    }

    /// Somebody, most often ourselves, deleted a znode in a directory of ours, or a companion.
    pub(super) fn deleted(&mut self, path: &str) {
        let holds = self.companions.remove(path);
        holds.into_iter().flatten().flat_map(|(_, users)| users).for_each(|key| self.push(key));
        self.doubt(path);
    }

    /// Somebody set the data of a znode in a directory of ours, or of a companion.
    pub(super) fn changed(&mut self, path: &str) {
        // A directory may hold anything.
        if self.companions.get(path).is_some_and(|holds| !holds.contains_key(&Holds::Anything)) {
            self.deleted(path);
        }
        if self.leaves.get(path).is_some_and(|leaf| leaf.writing || matches!(leaf.there, There::Ours(_))) {
            self.doubt(path);
        }
    }

    /// Changes may not have been reported: everything is worth a look.
    pub(super) fn gap(&mut self) {
        self.wants_lists = true;
        let paths: Vec<_> = self.leaves.keys().cloned().collect();
        paths.iter().for_each(|path| self.doubt(path.as_str()));
        for (_, holds) in std::mem::take(&mut self.companions) {
            holds.into_values().flatten().for_each(|key| self.push(key));
        }
    }

    /// How many paths a turn of the audit has.
    pub(super) fn audited(&self) -> usize {
        self.leaves.len() + self.companions.len()
    }

    /// Has the next paths looked at as if something had been heard of them; companions are made sure of, watched and
    /// listed again. `after` is where the audit was, and the answer is where it is; `None` at the end of a turn, when
    /// the sessions' lists are wanted too.
    pub(super) fn audit(&mut self, after: Option<&ZnodePath>, most: usize) -> Option<ZnodePath> {
        let from = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let leaves = self.leaves.range::<ZnodePath, _>(from).map(|(path, _)| path).take(most);
        let companions = self.companions.range::<ZnodePath, _>(from).map(|(path, _)| path).take(most);
        let next: BTreeSet<ZnodePath> = leaves.chain(companions).cloned().collect();
        let mut last = None;
        for path in next.into_iter().take(most) {
            let is_quiet = |leaf: &Leaf| !leaf.suspect && !leaf.writing && !leaf.looking;
            let is_unheard = self.leaves.get(&path).is_some_and(is_quiet);
            self.deleted(path.as_str());
            if is_unheard && let Some(leaf) = self.leaves.get_mut(&path) {
                leaf.unheard = true;
            }
            last = Some(path);
        }
        self.wants_lists |= most > 0 && last.is_none();
        last
    }

    /// A session's connection is back: what waited for it need not wait any longer.
    pub(super) fn resumed(&mut self) {
        self.wants_lists = true;
        self.retry_now();
    }

    /// A session is gone, with all that it held.
    pub(super) fn expired(&mut self, session: SessionId) {
        let mut bereft = BTreeSet::new();
        for (path, leaf) in &mut self.leaves {
            if leaf.via == Some(session) {
                leaf.via = None;
            }
            if matches!(leaf.there, There::Ours(owned) if owned.session == session) {
                leaf.there = There::Nothing;
                bereft.insert(path.clone());
            }
        }
        for path in bereft {
            let Some(leaf) = self.leaves.get(&path) else { continue };
            let (holder, writing) = (leaf.holder.clone(), leaf.writing);
            if !writing {
                self.settle(&path);
            }
            // One that is being written is planned behind that.
            if let Some(holder) = holder {
                self.lost.entry(holder.clone()).or_default().insert(path, Cause::SessionExpired);
                self.push(holder);
            }
        }
        self.retry_now();
    }

    /// A session has exactly these ephemerals, or had them a moment ago. What differs is looked at.
    pub(super) fn listed(&mut self, session: SessionId, paths: Vec<ZnodePath>) {
        let listed: BTreeSet<_> = paths.into_iter().collect();
        let is_in = |leaf: &Leaf| matches!(leaf.there, There::Ours(owned) if owned.session == session);
        let missing: Vec<_> = self
            .leaves
            .iter()
            .filter(|(path, leaf)| is_in(leaf) && !listed.contains(*path))
            .map(|(path, _)| path.clone())
            .collect();
        missing.iter().for_each(|path| self.doubt(path.as_str()));
        for path in listed {
            if self.roots.format_of(&path).is_some() && !self.leaves.get(&path).is_some_and(is_in) {
                let leaf = self.leaves.entry(path.clone()).or_default();
                leaf.via.get_or_insert(session);
                self.doubt(path.as_str());
            }
        }
    }

    /// Are the sessions' lists wanted? Asked once.
    pub(super) fn take_wants_lists(&mut self) -> bool {
        std::mem::take(&mut self.wants_lists)
    }

    /// The sessions' lists are wanted, again if somebody failed to get them.
    pub(super) fn want_lists(&mut self) {
        self.wants_lists = true;
    }

    /// At most so many leaves to look at. Each is told once, until [`Ledger::looked`].
    pub(super) fn take_doubts(&mut self, most: usize) -> Vec<Doubt> {
        let mut doubts = Vec::new();
        while doubts.len() < most
            && let Some(path) = self.suspects.pop_first()
        {
            let Some(leaf) = self.leaves.get_mut(&path) else { continue };
            leaf.looking = true;
            let believed = if let There::Ours(owned) = leaf.there { Some(owned) } else { None };
            let suspect = Suspect { path, believed, via: leaf.via };
            doubts.push(Doubt { suspect, generation: leaf.generation });
        }
        doubts
    }

    /// What a look found, if it is that somebody else has changed what is ours.
    pub(super) fn looked(&mut self, doubt: &Doubt, look: Look) -> Option<Drift> {
        let path = &doubt.suspect.path;
        let leaf = self.leaves.get_mut(path)?;
        leaf.looking = false;
        if leaf.writing {
            return None;
        }
        let found = match look {
            _ if leaf.generation != doubt.generation => None,
            Look::Failed => None,
            Look::Absent => Some(There::Nothing),
            Look::Ours(owned) => Some(There::Ours(owned)),
            Look::Theirs(whose) => Some(There::Theirs(whose)),
        };
        let Some(found) = found else {
            self.queue_suspect(path);
            self.drop_if_idle(path);
            return None;
        };
        leaf.suspect = false;
        leaf.via = None;
        let drift = if std::mem::take(&mut leaf.unheard) { Drift::Unheard } else { Drift::Heard };
        let before = std::mem::replace(&mut leaf.there, found);
        let is_changed = before != leaf.there;
        let holder = leaf.holder.clone();
        let was_ours = is_changed && matches!(before, There::Ours(_));
        self.settle(path);
        // What it left as it was, because this was in doubt, it can do now.
        if let Some(holder) = holder {
            if was_ours {
                self.lost.entry(holder.clone()).or_default().insert(path.clone(), Cause::Repaired);
            }
            self.push(holder);
        }
        was_ours.then_some(drift)
    }

    /// What is refused now, if that is news for the Service's owners: before, and now.
    pub(super) fn report(&mut self, key: &ServiceKey) -> Option<(BTreeSet<Refusal>, BTreeSet<Refusal>)> {
        let account = self.accounts.get_mut(key)?;
        let now: BTreeSet<_> = account.planned.union(&account.written).cloned().collect();
        if now == account.reported {
            return None;
        }
        Some((std::mem::replace(&mut account.reported, now.clone()), now))
    }

    /// Is this leaf there and ours, as far as we know?
    pub(super) fn has(&self, path: &ZnodePath) -> bool {
        self.leaves.get(path).is_some_and(|leaf| leaf.suspect || matches!(leaf.there, There::Ours(_)))
    }

    /// Is any leaf in this directory ours, as far as we know?
    pub(super) fn has_any_in(&self, directory: &ZnodePath) -> bool {
        let prefix = format!("{directory}/");
        let below = self.leaves.range::<str, _>((Bound::Included(prefix.as_str()), Bound::Unbounded));
        below.take_while(|(path, _)| path.as_str().starts_with(&prefix)).any(|(path, leaf)| {
            matches!(leaf.there, There::Ours(_)) && path.as_str().rfind('/') == Some(prefix.len() - 1)
        })
    }

    /// Is this leaf ours, as far as we know?
    pub(super) fn is_ours(&self, path: &str) -> bool {
        self.leaves.get(path).is_some_and(|leaf| matches!(leaf.there, There::Ours(_)))
    }

    /// Is it no news that there is this znode: because it is ours, or because we are just creating it?
    pub(super) fn expects(&self, path: &str) -> bool {
        self.leaves.get(path).is_some_and(|leaf| match leaf.there {
            There::Nothing => leaf.writing,
            There::Ours(_) => !leaf.writing,
            There::Theirs(_) => false,
        })
    }

    /// A Service that does not exist any more is forgotten as soon as it has nothing.
    pub(super) fn forget(&mut self, key: &ServiceKey) {
        let has_nothing = |account: &Account| account.leaves.is_empty() && !account.writing;
        if self.accounts.get(key).is_some_and(has_nothing) {
            for path in self.stop_waiting(key) {
                self.drop_if_idle(&path);
            }
            self.use_companions(key, &BTreeSet::new());
            self.accounts.remove(key);
        }
    }

    pub(super) fn counts(&self) -> Counts {
        let accounts = || self.accounts.values();
        Counts {
            services: self
                .accounts
                .iter()
                .filter(|(key, account)| !account.leaves.is_empty() && **key != nobody())
                .count(),
            znodes: self.leaves.values().filter(|leaf| matches!(leaf.there, There::Ours(_))).count(),
            refused: accounts().filter(|account| !account.reported.is_empty()).count(),
            pending: self.due.len()
                + self.leaves.values().filter(|leaf| leaf.suspect || leaf.looking).count()
                + accounts().filter(|account| account.writing || account.failures > 0).count(),
        }
    }

    /// What this Service has in ZooKeeper.
    fn held(&self, key: &ServiceKey) -> BTreeMap<ZnodePath, Owned> {
        let leaves = self.accounts.get(key).into_iter().flat_map(|account| &account.leaves);
        let owned = |path: &ZnodePath| match self.leaves.get(path)?.there {
            There::Ours(owned) => Some((path.clone(), owned)),
            _ => None,
        };
        leaves.filter_map(owned).collect()
    }

    /// Takes what is free, waits for what is not, and leaves out of the plan what the Service does not have
    /// or what nobody knows of yet.
    fn claim(&mut self, key: &ServiceKey, desired: &mut Desired) -> Vec<Refusal> {
        let (mut conflicts, mut waits, mut claimed) = (Vec::new(), BTreeSet::new(), Vec::new());
        let mut unknown = Vec::new();
        desired.leaves.retain(|path, _| {
            let Some(leaf) = self.leaves.get_mut(path) else { return true };
            let is_unknown = leaf.there == There::Nothing && leaf.suspect;
            let whose = match (&leaf.holder, &leaf.there) {
                (_, There::Theirs(whose)) => Some(whose.clone()),
                (Some(holder), _) if holder == key => {
                    unknown.extend(leaf.suspect.then(|| path.clone()));
                    return !leaf.suspect;
                }
                (None, There::Nothing) if !is_unknown => return true,
                // The look tells whoever waits.
                (None, There::Nothing) => {
                    unknown.push(path.clone());
                    None
                }
                (holder, There::Ours(_))
                    if holder.as_ref().is_none_or(|holder| *holder == nobody()) && !leaf.writing =>
                {
                    claimed.push((path.clone(), leaf.holder.replace(key.clone())));
                    return true;
                }
                (Some(holder), there) if *holder != nobody() => {
                    let is_there = matches!(there, There::Ours(_)) && !leaf.writing && !leaf.suspect;
                    unknown.extend((!is_there).then(|| path.clone()));
                    Some(format!("Service {holder}"))
                }
                _ => {
                    unknown.push(path.clone());
                    Some("an earlier leader, and is being removed".to_owned())
                }
            };
            leaf.waiting.insert(key.clone());
            waits.insert(path.clone());
            conflicts.extend(whose.map(|holder| Refusal::Conflict { path: path.clone(), holder }));
            false
        });
        // Until it is known whether the new leaf of an endpoint is there, the old one stays.
        for (format, host) in unknown.iter().filter_map(|path| self.roots.endpoint_of(path)) {
            desired.undetermined.entry(format).or_default().hosts.insert(host);
        }
        for (path, before) in claimed {
            if let Some(account) = before.and_then(|before| self.accounts.get_mut(&before)) {
                account.leaves.remove(&path);
            }
            self.accounts.entry(key.clone()).or_default().leaves.insert(path);
        }
        self.accounts.entry(key.clone()).or_default().waits = waits;
        conflicts
    }

    /// Returns what it waited for: that may not be worth remembering any more.
    fn stop_waiting(&mut self, key: &ServiceKey) -> BTreeSet<ZnodePath> {
        let waits = self.accounts.get_mut(key).map(|account| std::mem::take(&mut account.waits));
        let waits = waits.unwrap_or_default();
        for path in &waits {
            if let Some(leaf) = self.leaves.get_mut(path) {
                leaf.waiting.remove(key);
            }
        }
        waits
    }

    /// What this Service lets go of and another one waits for changes hands instead of going. What is replaced
    /// does so only when its replacement is there: the heir may delete it at once.
    fn hand_over(&mut self, key: &ServiceKey, changes: &mut Changes) {
        let Changes { creates, gone, replaced, .. } = changes;
        for (paths, may_change_hands) in [(gone, true), (replaced, creates.is_empty())] {
            paths.retain(|path| {
                let Some(leaf) = self.leaves.get_mut(path) else { return true };
                if !may_change_hands {
                    return leaf.waiting.is_empty();
                }
                let Some(heir) = leaf.waiting.pop_first() else { return true };
                leaf.holder = Some(heir.clone());
                if let Some(account) = self.accounts.get_mut(key) {
                    account.leaves.remove(path);
                }
                let account = self.accounts.entry(heir.clone()).or_default();
                account.waits.remove(path);
                account.leaves.insert(path.clone());
                self.due.push(heir, true);
                false
            });
        }
    }

    /// The Service wants exactly these companions. Those that nobody wants any more stay, and stay watched:
    /// consumers may watch them too.
    fn use_companions(&mut self, key: &ServiceKey, wanted: &BTreeSet<Companion>) {
        let account = self.accounts.entry(key.clone()).or_default();
        let before = std::mem::replace(&mut account.companions, wanted.clone());
        for companion in before.union(wanted) {
            let users = self.companions.get_mut(&companion.path);
            if let Some(users) = users.and_then(|holds| holds.get_mut(&companion.holds)) {
                if wanted.contains(companion) {
                    users.insert(key.clone())
                } else {
                    users.remove(key)
                };
            }
        }
    }

    /// Once every Service of the first list has been planned: what none of them has claimed gets an heir.
    fn settle_inheritance(&mut self) {
        if !self.all_planned() {
            return;
        }
        self.wants_lists = true;
        let left: Vec<_> = self
            .leaves
            .iter()
            .filter(|(_, leaf)| leaf.holder.is_none() && matches!(leaf.there, There::Ours(_)))
            .map(|(path, _)| path.clone())
            .collect();
        for path in left {
            self.settle(&path);
        }
    }

    /// Who has to decide about a leaf of ours that nobody holds: a Service that waits for it, one that has
    /// another leaf for the same endpoint and must not lose this one before that is there, one that might
    /// want it if only that could be told; else nobody, who deletes it.
    fn heir(&self, path: &ZnodePath) -> ServiceKey {
        if let Some(waiting) = self.leaves.get(path).and_then(|leaf| leaf.waiting.first()) {
            return waiting.clone();
        }
        let Some(endpoint @ (format, _)) = &self.roots.endpoint_of(path) else { return nobody() };
        let may_want =
            |account: &Account| account.undetermined.get(format).is_some_and(|kept| kept.has(&endpoint.1));
        let has_another = |account: &Account| {
            account.leaves.iter().any(|leaf| self.roots.endpoint_of(leaf).as_ref() == Some(endpoint))
        };
        let services = || self.accounts.iter().filter(|(key, _)| **key != nobody());
        let heir = services().find(|(_, account)| has_another(account));
        let heir = heir.or_else(|| services().find(|(_, account)| may_want(account)));
        heir.map_or_else(nobody, |(key, _)| key.clone())
    }

    /// Something happened to this leaf.
    fn doubt(&mut self, path: &str) {
        let Some((path, _)) = self.leaves.get_key_value(path) else { return };
        let path = path.clone();
        if let Some(leaf) = self.leaves.get_mut(&path) {
            self.generation += 1;
            leaf.generation = self.generation;
            leaf.suspect = true;
            leaf.unheard = false;
        }
        self.queue_suspect(&path);
    }

    /// A suspect is looked at as soon as nobody writes it or looks already.
    fn queue_suspect(&mut self, path: &ZnodePath) {
        if self.leaves.get(path).is_some_and(|leaf| leaf.suspect && !leaf.writing && !leaf.looking) {
            self.suspects.insert(path.clone());
        }
    }

    /// Puts a leaf that is not being written where it belongs, after something about it has changed.
    fn settle(&mut self, path: &ZnodePath) {
        let is_settled = self.all_planned();
        let Some(leaf) = self.leaves.get_mut(path) else { return };
        if leaf.suspect {
            self.queue_suspect(path);
            return;
        }
        match &leaf.there {
            There::Ours(_) if leaf.holder.is_none() => {
                // Before all Services have been planned, somebody may still claim it.
                if is_settled {
                    let heir = self.heir(path);
                    self.give(path, heir);
                }
            }
            // Who waits may have kept an old leaf until it is known that this one is there.
            There::Ours(_) => self.push_waiting(path),
            There::Nothing | There::Theirs(_) => {
                let is_theirs = leaf.there != There::Nothing;
                if let Some(holder) = leaf.holder.take() {
                    if let Some(account) = self.accounts.get_mut(&holder) {
                        account.leaves.remove(path);
                    }
                    if is_theirs {
                        // It waits from now on; its next plan says so.
                        if let (Some(leaf), Some(account)) =
                            (self.leaves.get_mut(path), self.accounts.get_mut(&holder))
                        {
                            leaf.waiting.insert(holder.clone());
                            account.waits.insert(path.clone());
                        }
                        self.push(holder);
                    }
                }
                self.push_waiting(path);
                self.drop_if_idle(path);
            }
        }
    }

    fn push_waiting(&mut self, path: &ZnodePath) {
        let waiting = self.leaves.get(path).map(|leaf| leaf.waiting.clone());
        waiting.into_iter().flatten().for_each(|key| self.push(key));
    }

    fn give(&mut self, path: &ZnodePath, heir: ServiceKey) {
        if let Some(leaf) = self.leaves.get_mut(path) {
            leaf.holder = Some(heir.clone());
        }
        self.accounts.entry(heir.clone()).or_default().leaves.insert(path.clone());
        self.due.push(heir, false);
    }

    /// A leaf of which nothing is known and that nobody wants need not be remembered.
    fn drop_if_idle(&mut self, path: &ZnodePath) {
        let is_idle = |leaf: &Leaf| {
            !leaf.writing
                && !leaf.suspect
                && !leaf.looking
                && leaf.waiting.is_empty()
                && leaf.holder.is_none()
                && !matches!(leaf.there, There::Ours(_))
        };
        if self.leaves.get(path).is_some_and(is_idle) {
            self.leaves.remove(path);
        }
    }

    /// Services that wait before they try again need not.
    fn retry_now(&mut self) {
        let failed = self.accounts.iter().filter(|(_, account)| account.failures > 0);
        for key in failed.map(|(key, _)| key.clone()).collect::<Vec<_>>() {
            self.push(key);
        }
    }
}

#[cfg(test)]
#[path = "ledger_test.rs"]
mod tests;
