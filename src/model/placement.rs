//! Where an endpoint runs, and for whom it is meant.

use std::sync::Arc;

use super::slice::Slice;

/// What a slice says of an endpoint beside its address. All of it may be absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Placement {
    /// Its node.
    pub node: Option<Arc<str>>,
    /// Its zone.
    pub zone: Option<Arc<str>>,
    /// Who should call it. A wish of the control plane's, by which nothing is left out here.
    pub hints: Option<Box<Hints>>,
}

/// Whose consumers an endpoint is meant for, sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hints {
    /// Those in these zones.
    pub zones: Vec<Arc<str>>,
    /// Those on these nodes.
    pub nodes: Vec<Arc<str>>,
}

/// What of that leaves tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Topology {
    /// The zone.
    pub zone: bool,
    /// The node.
    pub node: bool,
    /// The hints.
    pub hints: bool,
}

/// Of whatever is at no node.
pub(super) static NOWHERE: Placement = Placement { node: None, zone: None, hints: None };

impl Topology {
    /// What leaves tell of this, under Kubernetes' names and sorted by them.
    #[must_use]
    pub fn of(self, placement: &Placement) -> Vec<(&'static str, String)> {
        let Placement { node, zone, hints } = placement;
        let one = |asked: bool, name: &Option<Arc<str>>| {
            name.as_ref().filter(|_| asked).map(|name| name.to_string())
        };
        let list = |names: fn(&Hints) -> &Vec<Arc<str>>| {
            let names = hints.as_ref().filter(|_| self.hints).map(|hints| names(hints).join(","));
            names.filter(|names| !names.is_empty())
        };
        [
            ("forNodes", list(|hints| &hints.nodes)),
            ("forZones", list(|hints| &hints.zones)),
            ("node", one(self.node, node)),
            ("zone", one(self.zone, zone)),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
    }
}

impl Slice {
    /// Lets equal names of its endpoints be one: pods share zones and nodes.
    pub(crate) fn share_names(&mut self) {
        let mut names = std::collections::BTreeSet::<Arc<str>>::new();
        let mut share = |name: &mut Arc<str>| match names.get(name) {
            Some(known) => *name = known.clone(),
            None => drop(names.insert(name.clone())),
        };
        for Placement { node, zone, hints } in self.endpoints.iter_mut().map(|one| &mut one.placement) {
            let hints = hints.iter_mut().flat_map(|hints| hints.zones.iter_mut().chain(&mut hints.nodes));
            node.iter_mut().chain(zone).chain(hints).for_each(&mut share);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_asked_for_and_there_is_told() {
        let hints = Hints { zones: vec!["a".into(), "b".into()], nodes: vec![] };
        let placement =
            Placement { node: Some("n-1".into()), zone: Some("a".into()), hints: Some(Box::new(hints)) };
        let of = |zone, node, hints| Topology { zone, node, hints }.of(&placement);
        assert_eq!(of(false, false, false), []);
        assert_eq!(of(true, false, false), [("zone", "a".to_owned())]);
        let all = [("forZones", "a,b".to_owned()), ("node", "n-1".to_owned()), ("zone", "a".to_owned())];
        assert_eq!(of(true, true, true), all);
        assert_eq!(Topology { zone: true, node: true, hints: true }.of(&NOWHERE), []);
    }
}
