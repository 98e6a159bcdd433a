//! Why each endpoint of a Service is published, or is not.

use std::collections::{BTreeMap, BTreeSet};

use super::Refusal;
use super::desired::{Desired, Given};
use super::publication::{Publication, publications};
use super::rules::Completed;
use super::viewed::Viewed;
use crate::model::{AddressKind, Conditions, Endpoint, Host, Service, Slice, ZnodePath};

/// What becomes of one directory that a Service may fill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// In which format and view.
    pub viewed: Viewed,
    /// Under which name.
    pub name: String,
    /// Where; `None` if its format has no root or the name makes no path.
    pub directory: Option<ZnodePath>,
    /// The position of the first rule that grants its name.
    pub rule: Option<usize>,
    /// Each address of the Service's slices and of its own, and what becomes of it.
    pub endpoints: BTreeMap<Host, Fate>,
}

/// What becomes of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is published at these paths: more than one if slices have it with several ports.
    Published(Vec<ZnodePath>),
    /// It registers itself at these paths, and so it is not registered by us.
    Theirs(Vec<ZnodePath>),
    /// It is not.
    Not(WhyNot),
}

/// Why an endpoint is not published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WhyNot {
    /// Its pod is not ready.
    #[error("it is not ready")]
    NotReady,
    /// Its pod is going away.
    #[error("its pod is terminating")]
    Terminating,
    /// The Service is published with addresses of the other family.
    #[error("addresses of its family are not published")]
    Family,
    /// The Service is published at addresses of its own instead.
    #[error("the Service is published here at addresses of kind {0}")]
    OtherKind(AddressKind),
    /// Its slice has no such port.
    #[error("its slice has not the port that is published")]
    NoPort,
    /// The Service as a whole is refused; the reason is a refusal's.
    #[error("{0}")]
    Refused(String),
}

/// What becomes of every publication that is granted, of every endpoint. What is not granted, or makes no sense, is
/// among the refusals of `desired`.
#[must_use]
pub fn explain(service: &Service, slices: &[&Slice], given: &Given<'_>, desired: &Desired) -> Vec<Explained> {
    let wanted = publications(service, given.rules).wanted;
    let by = given.rules.complete(service);
    let of = |publication| of_publication(service, &by, slices, given, desired, publication);
    wanted.iter().map(of).collect()
}

fn of_publication(
    service: &Service,
    by: &Completed<'_>,
    slices: &[&Slice],
    given: &Given<'_>,
    desired: &Desired,
    Publication { viewed, target, wishes, grant }: &Publication,
) -> Explained {
    let (name, roots) = (target.name().to_owned(), given.roots);
    let directory = roots.0.get(&viewed.format).and_then(|root| target.directory(root).ok());
    let granted = |kind| grant.addresses.contains(&kind);
    let endpoints = wishes.view.of(service, slices.iter().copied(), given.nodes, granted);
    let ready =
        endpoints.map(|endpoints| endpoints.ready.into_keys().collect()).map_err(|reason| reason.to_string());
    let refused = desired.refusals.iter().find_map(|refusal| match refusal {
        Refusal::Taken { directory: taken, .. } if Some(taken) == directory.as_ref() => {
            Some("others have registered instances here; see what is refused")
        }
        Refusal::Twice { viewed: refused, .. } | Refusal::OtherFormat { viewed: refused, .. }
            if refused == viewed =>
        {
            Some("this directory is filled otherwise; see what is refused")
        }
        _ => None,
    });
    let ready = refused.map_or(ready, |reason| Err(reason.to_owned()));
    // Of a directory that has several services each has its own.
    let service_of = |path: &ZnodePath, data: &[u8]| roots.registered(path, data).map(|it| it.service);
    let is_its = |path: &ZnodePath, data: &[u8]| {
        refused.is_none() && service_of(path, data).is_none_or(|service| service == target.service())
    };
    let leaves = directory.iter().flat_map(|directory| {
        let here = desired.leaves.iter().filter(move |(leaf, _)| leaf.is_below(directory));
        here.filter(|(leaf, data)| is_its(leaf, data)).map(|(leaf, _)| leaf)
    });
    let mut published: BTreeMap<Host, Vec<ZnodePath>> = BTreeMap::new();
    for leaf in leaves {
        if let Some((_, host)) = roots.endpoint_of(leaf) {
            published.entry(host).or_default().push(leaf.clone());
        }
    }
    let is_here = |path: &ZnodePath| directory.as_ref().is_some_and(|directory| path.is_below(directory));
    let mut theirs: BTreeMap<Host, Vec<ZnodePath>> = BTreeMap::new();
    for (ours, of_others) in desired.theirs.iter().filter(|(path, _)| is_here(path)) {
        if let Some((_, host)) = roots.endpoint_of(ours) {
            theirs.entry(host).or_default().push(of_others.clone());
        }
    }
    let kind = if service.is_external_name() { AddressKind::ExternalName } else { wishes.view.address };
    let mut endpoints = BTreeMap::new();
    for endpoint in slices.iter().flat_map(|slice| slice.endpoints.iter()) {
        let host = Host::Ip(endpoint.ip);
        let fate = match (published.get(&host), theirs.get(&host)) {
            (Some(paths), _) => Fate::Published(paths.clone()),
            (None, Some(paths)) => Fate::Theirs(paths.clone()),
            (None, None) => Fate::Not(why_not(&host, endpoint.conditions, kind, &ready)),
        };
        // The one that says most: that it is ready in one slice counts for more than that it is not in another.
        let is_better = match (endpoints.get(&host), &fate) {
            (None, _) => true,
            (Some(Fate::Not(WhyNot::NotReady | WhyNot::Terminating)), Fate::Not(_)) => {
                endpoint.conditions.ready
            }
            _ => false,
        };
        if is_better {
            endpoints.insert(host, fate);
        }
    }
    // What is published and in no slice: other addresses of the Service.
    for (host, paths) in published {
        endpoints.entry(host).or_insert(Fate::Published(paths));
    }
    for (host, paths) in theirs {
        endpoints.entry(host).or_insert(Fate::Theirs(paths));
    }
    let rule = given.rules.granting(service, by, viewed, &name);
    Explained { viewed: viewed.clone(), name, directory, rule, endpoints }
}

fn why_not(
    host: &Host,
    conditions: Conditions,
    kind: AddressKind,
    ready: &Result<BTreeSet<Endpoint>, String>,
) -> WhyNot {
    match ready {
        _ if !conditions.ready && conditions.terminating => WhyNot::Terminating,
        _ if !conditions.ready => WhyNot::NotReady,
        Err(reason) => WhyNot::Refused(reason.clone()),
        Ok(_) if kind != AddressKind::Pod => WhyNot::OtherKind(kind),
        Ok(ready) if ready.iter().any(|endpoint| endpoint.host == *host) => {
            WhyNot::Refused("its format does not take it; see what is refused".to_owned())
        }
        Ok(ready) if ready.iter().any(|endpoint| endpoint.host.is_ipv6() != host.is_ipv6()) => WhyNot::Family,
        Ok(_) => WhyNot::NoPort,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Format;
    use crate::model::{Family, Placement, Protocol, ServicePort, SliceEndpoint, SlicePort, Writer};
    use crate::plan::{Beside, Drains, Roots, Rules, desired};

    fn slice(family: Family, port: &str, endpoints: &[(&str, bool, bool)]) -> Slice {
        let endpoint = |&(ip, ready, terminating): &(&str, bool, bool)| SliceEndpoint {
            ip: ip.parse().unwrap(),
            conditions: Conditions::new(Some(ready), None, Some(terminating)),
            placement: Placement::default(),
        };
        Slice {
            writer: Writer::Controller,
            has_more_addresses: false,
            family,
            ports: [SlicePort { name: port.into(), port: Some(8080), protocol: Protocol::Tcp }].into(),
            endpoints: endpoints.iter().map(endpoint).collect(),
        }
    }

    #[test]
    fn each_endpoint_has_its_reason() {
        let port = ServicePort::tcp("http", 80);
        let service = Service::sample(&[("curator", ""), ("hostport", "x")], vec![port]);
        let rules: Rules = serde_saphyr::from_str(
            "[{services: [other], formats: [curator]}, {formats: [curator], names: [orders]}]",
        )
        .unwrap();
        let roots = Roots(Format::ALL.map(|it| (it, ZnodePath::new(it.default_root()).unwrap())).into());
        let slices = [
            slice(Family::Ipv4, "http", &[("10.0.0.1", true, false), ("10.0.0.2", false, false)]),
            slice(Family::Ipv4, "http", &[("10.0.0.3", false, true), ("10.0.0.1", false, true)]),
            slice(Family::Ipv4, "admin", &[("10.0.0.4", true, false)]),
            slice(Family::Ipv6, "http", &[("fd00::1", true, false)]),
        ];
        let slices: Vec<&Slice> = slices.iter().collect();
        let none = Drains::new();
        let given = Given {
            rules: &rules,
            roots: &roots,
            nodes: None,
            draining: &none,
            now: std::time::Duration::ZERO,
            is_there: &|_| false,
            beside: &|_| Beside::nobody(),
        };
        let desired = desired(Some(&service), slices.iter().copied(), &given);
        let explained = explain(&service, &slices, &given, &desired);
        let [curator] = explained.as_slice() else { panic!("{explained:?}") };
        assert_eq!(
            (curator.viewed.format, &*curator.name, curator.rule),
            (Format::Curator, "orders", Some(1))
        );
        let path = ZnodePath::new("/services/orders/10.0.0.1:8080").unwrap();
        let fates: Vec<_> =
            curator.endpoints.iter().map(|(ip, fate)| (ip.to_string(), fate.clone())).collect();
        assert_eq!(
            fates,
            [
                ("10.0.0.1".to_owned(), Fate::Published(vec![path])),
                ("10.0.0.2".to_owned(), Fate::Not(WhyNot::NotReady)),
                ("10.0.0.3".to_owned(), Fate::Not(WhyNot::Terminating)),
                ("10.0.0.4".to_owned(), Fate::Not(WhyNot::NoPort)),
                ("fd00::1".to_owned(), Fate::Not(WhyNot::Family)),
            ]
        );
    }
}
