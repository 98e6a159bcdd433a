//! What an apply makes of an object, or why it may not.

use serde_json::Value;

use super::managed::{Entry, Managed, Owner, Writer, claim, owned, without_managed};
use super::set::FieldSet;
use super::shape::Place;
use super::walk::{compare, fields, merge, remove};
use crate::defaults::blank;
use crate::error::ApiError;
use crate::kinds::Kind;

/// What kubectl's client-side apply remembers; server-side apply by kubectl takes its fields over.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// An object with a configuration applied to it. `before` is the blank of its kind if there is none yet.
///
/// # Errors
/// 409: others own fields that the configuration wants otherwise, and it is not forced.
pub(crate) fn apply(
    kind: &'static Kind,
    before: &Value,
    config: &Value,
    writer: &Writer<'_>,
    force: bool,
) -> Result<Value, ApiError> {
    let place = Place::root(kind);
    let mut live = before.clone();
    if Managed::of(before).is_none_or(|managed| managed.0.is_empty()) {
        // Nobody owned anything, so what there is belongs to those that came before.
        claim(kind, &blank(kind), &mut live, &Writer { manager: "before-first-apply", ..*writer });
    }
    let mut managed = Managed::of(&live).unwrap_or_default();
    let live = without_managed(&live);
    let owner = Owner::of(kind, writer, true);
    let last = managed.get(&owner).cloned();
    managed.0.retain(|entry| !entry.owner.is(&owner));
    let merged = merge(&place, Some(&live), Some(config)).unwrap_or_default();
    let set = fields(&place, config);
    let time = last.as_ref().and_then(|last| last.time.clone());
    managed.0.push(Entry { owner: owner.clone(), time, set });
    let mut after = match last {
        Some(last) => prune(&place, &merged, &last.set, &managed),
        None => merged,
    };
    // Only now, because what cannot be owned must not be pruned with what was.
    for entry in managed.0.iter_mut().filter(|entry| entry.owner.is(&owner)) {
        entry.set = owned(kind, writer, &entry.set);
    }
    let changes = compare(&place, &live, &after);
    let changed = owned(kind, writer, &changes.set);
    let conflicts: Vec<_> = managed
        .0
        .iter()
        .filter(|entry| !entry.owner.is(&owner))
        .map(|entry| (&entry.owner, entry.set.intersection(&changed)))
        .filter(|(_, set)| !set.is_empty())
        .collect();
    let inherited =
        || if writer.manager == "kubectl" { last_applied(&place, &live) } else { FieldSet::default() };
    if !force && !conflicts.is_empty() {
        let inherited = inherited();
        let conflicts = conflicts.iter().map(|(owner, set)| (*owner, set.difference(&inherited)));
        let conflicts: Vec<_> = conflicts.filter(|(_, set)| !set.is_empty()).collect();
        if !conflicts.is_empty() {
            return Err(refusal(&conflicts));
        }
    }
    managed.lose(&changes, Some(&owner));
    if after != live {
        let ours = managed.0.iter_mut().filter(|entry| entry.owner.is(&owner));
        ours.for_each(|entry| entry.time = Some(writer.time.to_owned()));
    }
    managed.store(&mut after);
    Ok(after)
}

/// Removes what the manager applied last time and not this time, if nobody else owns it (`prune`).
fn prune(place: &Place, merged: &Value, last: &FieldSet, managed: &Managed) -> Value {
    let all = fields(place, merged).named();
    let left = |object: &Value| fields(place, object).named();
    let owned = managed.0.iter().fold(FieldSet::default(), |owned, entry| owned.union(&entry.set)).named();
    let pruned = remove(place, merged, &last.named());
    // What others own comes back, and so does what was only below something that was removed.
    let pruned = remove(place, merged, &all.difference(&left(&pruned).union(&owned)));
    remove(place, merged, &all.difference(&left(&pruned)).intersection(&last.named()))
}

/// The fields that client-side apply wrote and nobody changed since.
fn last_applied(place: &Place, live: &Value) -> FieldSet {
    let text = live["metadata"]["annotations"][LAST_APPLIED].as_str().unwrap_or_default();
    let Ok(last) = serde_json::from_str::<Value>(text) else { return FieldSet::default() };
    let changes = compare(place, &last, live);
    fields(place, &last).difference(&changes.set).difference(&changes.removed)
}

fn refusal(conflicts: &[(&Owner, FieldSet)]) -> ApiError {
    let mut conflicts: Vec<_> = conflicts.iter().map(|(owner, set)| (*owner, set.paths())).collect();
    conflicts.sort();
    let causes: Vec<_> = conflicts
        .iter()
        .flat_map(|(owner, paths)| {
            paths.iter().map(move |path| (format!("conflict with {owner}"), path.clone()))
        })
        .collect();
    let message = if let [(what, path)] = &causes[..] {
        format!("Apply failed with 1 conflict: {what}: {path}")
    } else {
        let of = |(owner, paths): &(&Owner, Vec<String>)| {
            let paths: String = paths.iter().map(|path| format!("\n- {path}")).collect();
            format!("conflicts with {owner}:{paths}")
        };
        let all: Vec<_> = conflicts.iter().map(of).collect();
        format!("Apply failed with {} conflicts: {}", causes.len(), all.join("\n"))
    };
    ApiError::fields_conflict(message, causes)
}
