//! Why a leaf is created, set or deleted, and which object of Kubernetes says so.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use super::desired::Roots;
use super::diff::Changes;
use crate::model::{Conditions, Kind, Origin, Service, Slice, ZnodePath};

/// Why a leaf is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// Created: its endpoint is ready.
    Ready,
    /// Created or set: somebody else had deleted or changed it.
    Repaired,
    /// Created: the session that held it had expired.
    SessionExpired,
    /// Set, or created beside its old name: what the Service says of it has changed.
    Changed,
    /// Deleted: its endpoint is not ready.
    NotReady,
    /// Set, so that consumers let go, or deleted: the pod of its endpoint is terminating.
    Terminating,
    /// Deleted: its endpoint is in no slice any more, and no address or name of the Service's own.
    NotListed,
    /// Deleted: the Service does not publish it any more, although its endpoint is ready.
    NotPublished,
    /// Deleted: its endpoint registers itself.
    RegistersItself,
    /// Deleted: its endpoint has another name now, which is there.
    Replaced,
    /// Deleted: the Service is gone.
    ServiceGone,
    /// Deleted: an earlier leader left it, and no Service wants it.
    Orphaned,
}

/// A cause, and the object whose state it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Because {
    /// Why.
    pub cause: Cause,
    /// Which object says so, as far as that is known.
    pub object: Option<Origin>,
}

/// What a Service's changes are judged by.
#[derive(Debug, Clone)]
pub struct Evidence<'a> {
    /// The Service, if it exists.
    pub service: Option<&'a Service>,
    /// Its slices.
    pub slices: Vec<(&'a Slice, &'a Origin)>,
    /// The last object that changed: of what is gone nothing else is left.
    pub news: Option<Origin>,
    /// Leaves that went without us.
    pub lost: BTreeMap<ZnodePath, Cause>,
    /// Leaves that others stand for; see [`super::Desired::theirs`].
    pub theirs: BTreeMap<ZnodePath, ZnodePath>,
}

/// Of each leaf that is written, why.
#[must_use]
pub fn causes(changes: &Changes, evidence: &Evidence<'_>, roots: &Roots) -> BTreeMap<ZnodePath, Because> {
    let mut causes = BTreeMap::new();
    let addresses = addresses(&evidence.slices);
    let of_slice = |path: &ZnodePath| {
        let (_, host) = roots.endpoint_of(path)?;
        addresses.get(&host.ip()?).copied()
    };
    let slice = |path: &ZnodePath| of_slice(path).map(|(_, origin)| origin.clone());
    let service = || evidence.service.map(Service::origin).or_else(|| evidence.news.clone());
    let renamed: BTreeSet<_> = changes.swaps.values().collect();
    for (paths, otherwise) in [(&changes.creates, Cause::Ready), (&changes.sets, Cause::Changed)] {
        for path in paths.keys() {
            let is_swapped = renamed.contains(path);
            let drains =
                of_slice(path).is_some_and(|(conditions, _)| conditions.terminating && !conditions.ready);
            let otherwise = match (drains, is_swapped) {
                (true, _) => Cause::Terminating,
                (false, true) => Cause::Changed,
                (false, false) => otherwise,
            };
            let cause = evidence.lost.get(path).copied().unwrap_or(otherwise);
            let object = if cause == Cause::Changed { service() } else { slice(path).or_else(service) };
            causes.insert(path.clone(), Because { cause, object });
        }
    }
    let gone = |path: &ZnodePath| match (evidence.service, of_slice(path)) {
        (None, _) if evidence.news.is_none() => Because { cause: Cause::Orphaned, object: None },
        (None, _) => Because { cause: Cause::ServiceGone, object: service() },
        (Some(_), _) if evidence.theirs.contains_key(path) => {
            Because { cause: Cause::RegistersItself, object: None }
        }
        (Some(_), Some((conditions, origin))) if !conditions.ready => {
            let cause = if conditions.terminating { Cause::Terminating } else { Cause::NotReady };
            Because { cause, object: Some(origin.clone()) }
        }
        (Some(_), Some(_)) => Because { cause: Cause::NotPublished, object: service() },
        (Some(_), None) => {
            let slice = evidence.news.clone().filter(|news| news.kind == Kind::EndpointSlice);
            Because { cause: Cause::NotListed, object: slice.or_else(service) }
        }
    };
    causes.extend(changes.gone.iter().map(|path| (path.clone(), gone(path))));
    let replaced = |path: &ZnodePath| match evidence.theirs.contains_key(path) {
        true => gone(path),
        false => Because { cause: Cause::Replaced, object: service() },
    };
    causes.extend(changes.replaced.iter().map(|path| (path.clone(), replaced(path))));
    causes
}

/// Each address with the slice that says most of it: that it is ready counts for more than that it is not.
fn addresses<'a>(slices: &[(&'a Slice, &'a Origin)]) -> HashMap<IpAddr, (Conditions, &'a Origin)> {
    let mut addresses: HashMap<IpAddr, (Conditions, &Origin)> = HashMap::new();
    for (slice, origin) in slices {
        for endpoint in &slice.endpoints {
            let known = addresses.get(&endpoint.ip);
            if known.is_none_or(|(known, _)| endpoint.conditions.ready && !known.ready) {
                addresses.insert(endpoint.ip, (endpoint.conditions, origin));
            }
        }
    }
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Format;
    use crate::model::{Family, Placement, SliceEndpoint, Writer};

    fn origin(kind: Kind, name: &str) -> Origin {
        Origin { kind, name: name.into(), uid: "u".into(), resource_version: "7".into() }
    }

    fn path(last: u8) -> ZnodePath {
        ZnodePath::new(&format!("/services/orders/10.0.0.{last}:80")).unwrap()
    }

    #[test]
    fn each_write_has_its_cause_and_its_object() {
        let endpoint = |last: u8, ready, terminating| SliceEndpoint {
            ip: [10, 0, 0, last].into(),
            conditions: Conditions::new(Some(ready), None, Some(terminating)),
            placement: Placement::default(),
        };
        let slice = |endpoints: &[SliceEndpoint]| Slice {
            writer: Writer::Controller,
            has_more_addresses: false,
            family: Family::Ipv4,
            ports: Box::default(),
            endpoints: endpoints.into(),
        };
        let (a, b) = (
            slice(&[endpoint(1, true, false), endpoint(2, false, false), endpoint(3, false, true)]),
            slice(&[endpoint(2, true, false), endpoint(4, true, false), endpoint(5, true, false)]),
        );
        let (in_a, in_b) = (origin(Kind::EndpointSlice, "a"), origin(Kind::EndpointSlice, "b"));
        let service = Service::sample(&[], Vec::new());
        let gone_slice = origin(Kind::EndpointSlice, "c");
        let evidence = Evidence {
            service: Some(&service),
            slices: vec![(&a, &in_a), (&b, &in_b)],
            news: Some(gone_slice.clone()),
            lost: BTreeMap::from([(path(4), Cause::SessionExpired)]),
            theirs: BTreeMap::from([(path(10), path(11))]),
        };
        let data = |last: u8| (path(last), bytes::Bytes::new());
        let changes = Changes {
            companions: BTreeSet::new(),
            creates: [data(1), data(4), data(6)].into(),
            sets: [data(5)].into(),
            gone: [path(2), path(3), path(9), path(10)].into(),
            replaced: [path(7), path(8)].into(),
            swaps: [(path(7), path(6))].into(),
        };
        let roots = Roots([(Format::Curator, ZnodePath::new("/services").unwrap())].into());
        let of = |cause, object: &Origin| Because { cause, object: Some(object.clone()) };
        let found: Vec<_> = causes(&changes, &evidence, &roots).into_iter().collect();
        assert_eq!(
            found,
            [
                (path(10), Because { cause: Cause::RegistersItself, object: None }),
                (path(1), of(Cause::Ready, &in_a)),
                (path(2), of(Cause::NotPublished, &service.origin())),
                (path(3), of(Cause::Terminating, &in_a)),
                (path(4), of(Cause::SessionExpired, &in_b)),
                (path(5), of(Cause::Changed, &service.origin())),
                (path(6), of(Cause::Changed, &service.origin())),
                (path(7), of(Cause::Replaced, &service.origin())),
                (path(8), of(Cause::Replaced, &service.origin())),
                (path(9), of(Cause::NotListed, &gone_slice)),
            ]
        );
        let news = origin(Kind::Service, "orders");
        let evidence =
            Evidence { service: None, slices: Vec::new(), news: Some(news.clone()), ..evidence.clone() };
        let evidence = Evidence { lost: BTreeMap::new(), ..evidence };
        let changes = Changes { gone: [path(1)].into(), ..Changes::default() };
        assert_eq!(causes(&changes, &evidence, &roots)[&path(1)], of(Cause::ServiceGone, &news));
        let evidence = Evidence { news: None, ..evidence };
        assert_eq!(causes(&changes, &evidence, &roots)[&path(1)].cause, Cause::Orphaned);
    }
}
