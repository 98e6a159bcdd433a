//! From what is there under one Service's name to what should be.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::names;
use super::pack::{Members, pack};
use super::registry::{Backends, Registry, Source};
use super::state::{EndpointsThere, OurService, ServiceThere, SliceThere, State, Version};
use super::{Claim, Refused};
use crate::model::{Family, Known, ServiceKey};

/// One write. `was` is what it replaces: it is carried out only if that is what is there, and nothing if
/// there is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The Service.
    Service {
        /// What is there.
        was: Option<Version>,
        /// For which import.
        import: String,
        /// What it stands for.
        source: Source,
        /// Its port.
        port: u16,
    },
    /// A slice of it.
    Slice {
        /// What is there.
        was: Option<Version>,
        /// Its name.
        name: String,
        /// Its `addressType`.
        family: Family,
        /// Its port.
        port: u16,
        /// Its endpoints.
        members: Members,
        /// The Service's uid.
        service_uid: Arc<str>,
    },
    /// Its `Endpoints`.
    Endpoints {
        /// What is there.
        was: Option<Version>,
        /// All of them.
        backends: Backends,
        /// The Service's uid.
        service_uid: Arc<str>,
    },
    /// A slice goes.
    DeleteSlice {
        /// What is there.
        was: Version,
        /// Its name.
        name: String,
    },
    /// The `Endpoints` go.
    DeleteEndpoints {
        /// What is there.
        was: Version,
    },
    /// The Service goes.
    DeleteService {
        /// What is there.
        was: Version,
    },
}

/// What must be done under one Service's name, in this order, and what is refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// What appears first, what goes last.
    pub changes: Vec<Change>,
    /// What is not imported.
    pub refused: BTreeSet<Refused>,
}

/// Most of an `Endpoints` object; Kubernetes' own controller cuts there too.
const ENDPOINTS: usize = 1_000;

/// Plans the Service `key`. `claims` are the sources of which instances are registered and whose Services have
/// this name; `has_room` says whether an import may have one more Service, `is_virtual` whether an address is a
/// Service's own.
///
/// | there is | and | so |
/// |---|---|---|
/// | nothing | no claim | nothing |
/// | nothing | a claim | the first one gets the Service; with the next plan its endpoints |
/// | a Service that is not ours | | nothing; every claim is refused |
/// | ours | it is being deleted, or somebody gave it a selector | nothing |
/// | ours | its import is not read completely | nothing |
/// | ours | its import left the configuration, or its directory is gone | it goes |
/// | ours | its directory is there | its endpoints are those of its source, be it none |
#[must_use]
pub fn plan(
    key: &ServiceKey,
    claims: &BTreeMap<Claim, Backends>,
    imports: &[Registry],
    state: &State,
    has_room: impl Fn(usize) -> bool,
    is_virtual: impl Fn(IpAddr) -> bool,
) -> Plan {
    let mut plan = Plan::default();
    let winner = match &state.service {
        Some(ServiceThere::Foreign(_)) => {
            plan.refused.extend(claims.keys().map(|claim| Refused::Foreign(claim.source.clone())));
            return plan;
        }
        Some(ServiceThere::Ours(ours)) if ours.is_terminating => return plan,
        Some(ServiceThere::Ours(ours)) => plan.goes_on(key, ours, claims, imports, state, is_virtual),
        None => claims.iter().next().and_then(|(claim, backends)| {
            if !has_room(claim.import) {
                let limit = imports[claim.import].import().max_services;
                plan.refused.insert(Refused::TooManyServices { what: claim.source.clone(), limit });
                return None;
            }
            plan.service(None, claim, imports, backends, None);
            Some(claim.clone())
        }),
    };
    if let Some(winner) = winner {
        let others = claims.keys().filter(|claim| **claim != winner);
        plan.refused.extend(
            others.map(|claim| Refused::Taken { what: claim.source.clone(), by: winner.source.clone() }),
        );
    }
    plan
}

impl Plan {
    /// A Service of ours; returns whose it is, if it stays.
    fn goes_on(
        &mut self,
        key: &ServiceKey,
        ours: &OurService,
        claims: &BTreeMap<Claim, Backends>,
        imports: &[Registry],
        state: &State,
        is_virtual: impl Fn(IpAddr) -> bool,
    ) -> Option<Claim> {
        let import = imports.iter().position(|registry| {
            registry.import().name == ours.import && *registry.import().namespace == *key.namespace
        });
        let Some(import) = import else {
            self.all_goes(ours, state);
            return None;
        };
        let registry = &imports[import];
        let source = ours.source.clone().filter(|source| {
            *names::service_name(&source.service) == *key.name
                && source.directory.is_below(&registry.import().root)
        });
        // Somebody changed what it stands for. If anything of this import wants the name, it gets it back.
        let claimed = || Some(claims.keys().find(|claim| claim.import == import)?.source.clone());
        let claim = Claim { import, source: source.or_else(claimed)? };
        match registry.exists(&claim.source.directory) {
            Known::Unknown => return Some(claim),
            Known::Known(false) => {
                self.all_goes(ours, state);
                return None;
            }
            Known::Known(true) => {}
        }
        if ours.has_selector {
            self.refused.insert(Refused::Selector(claim.source.clone()));
            return Some(claim);
        }
        let none = Backends::new();
        let mut backends = claims.get(&claim).unwrap_or(&none);
        let reachable: Backends;
        if let Some(ip) = backends.keys().map(SocketAddr::ip).find(|ip| is_virtual(*ip)) {
            self.refused.insert(Refused::Virtual { what: claim.source.clone(), ip });
            let real = backends.iter().filter(|(address, _)| !is_virtual(address.ip()));
            reachable = real.map(|(address, ready)| (*address, *ready)).collect();
            backends = &reachable;
        }
        let limited = limited(backends, registry.import().max_endpoints, state);
        if let Some(limited) = &limited {
            let limit = limited.len();
            let what = claim.source.clone();
            self.refused.insert(Refused::TooManyEndpoints { what, limit });
            backends = limited;
        }
        self.service(Some(ours), &claim, imports, backends, ours.port);
        self.slices(key, &ours.version.uid, backends, state);
        self.endpoints(&ours.version.uid, backends, registry.import().endpoints, state, &claim.source);
        Some(claim)
    }

    fn service(
        &mut self,
        ours: Option<&OurService>,
        claim: &Claim,
        imports: &[Registry],
        backends: &Backends,
        port: Option<u16>,
    ) {
        let import = imports[claim.import].import();
        let configured = import.service_port.map(std::num::NonZeroU16::get);
        let lowest = || backends.keys().map(|address| address.port()).min();
        let Some(wanted) = configured.or(port).or_else(lowest) else { return };
        let is_as_wanted =
            ours.is_some_and(|ours| ours.port == Some(wanted) && ours.source.as_ref() == Some(&claim.source));
        if !is_as_wanted {
            self.changes.push(Change::Service {
                was: ours.map(|ours| ours.version.clone()),
                import: import.name.clone(),
                source: claim.source.clone(),
                port: wanted,
            });
        }
    }

    /// Each address family and port has its own slices. Of slices without endpoints one stays, if there is no
    /// other.
    fn slices(&mut self, key: &ServiceKey, uid: &Arc<str>, backends: &Backends, state: &State) {
        let mut groups: BTreeMap<(Family, u16), (BTreeMap<String, Members>, Members)> = BTreeMap::new();
        for (name, slice) in &state.slices {
            if let (Some(port), Some(members)) = (slice.port, &slice.members) {
                let group = groups.entry((slice.family, port)).or_default();
                group.0.insert(name.clone(), members.clone());
            }
        }
        for (address, ready) in backends {
            groups.entry((family(address.ip()), address.port())).or_default().1.insert(address.ip(), *ready);
        }
        let mut keep = backends.is_empty();
        let mut wanted = BTreeSet::new();
        for ((family, port), (there, members)) in groups {
            let packed =
                pack(&there, &members, keep, |number| names::slice_name(&key.name, family, port, number));
            keep &= packed.is_empty();
            for (name, members) in packed {
                let was = state.slices.get(&name);
                let is_as_wanted = was.is_some_and(|was| was.is(family, port, &members, uid));
                // What has another family cannot be changed; it goes first.
                let is_in_the_way = was.is_some_and(|was| was.family != family);
                if !is_as_wanted && !is_in_the_way {
                    let (was, service_uid) = (was.map(|was| was.version.clone()), Arc::clone(uid));
                    let change =
                        Change::Slice { was, name: name.clone(), family, port, members, service_uid };
                    self.changes.push(change);
                }
                if !is_in_the_way {
                    wanted.insert(name);
                }
            }
        }
        for (name, slice) in state.slices.iter().filter(|(name, _)| !wanted.contains(*name)) {
            self.changes.push(Change::DeleteSlice { was: slice.version.clone(), name: name.clone() });
        }
    }

    fn endpoints(
        &mut self,
        uid: &Arc<str>,
        backends: &Backends,
        are_wanted: bool,
        state: &State,
        source: &Source,
    ) {
        let service_uid = Arc::clone(uid);
        let mut first: Vec<_> = backends.iter().map(|(address, ready)| (*address, *ready)).collect();
        first.sort_by_key(|(_, ready)| !ready);
        let wanted: Backends = first.into_iter().take(ENDPOINTS).collect();
        match &state.endpoints {
            None if are_wanted => {
                self.changes.push(Change::Endpoints { was: None, backends: wanted, service_uid });
            }
            Some(EndpointsThere::Foreign) if are_wanted => {
                self.refused.insert(Refused::ForeignEndpoints(source.clone()));
            }
            Some(EndpointsThere::Ours(version, found)) if are_wanted && found.as_ref() != Some(&wanted) => {
                let was = Some(version.clone());
                self.changes.push(Change::Endpoints { was, backends: wanted, service_uid });
            }
            Some(EndpointsThere::Ours(version, _)) if !are_wanted => {
                self.changes.push(Change::DeleteEndpoints { was: version.clone() });
            }
            _ => {}
        }
    }

    /// The Service goes first: then nobody resolves its name any more.
    fn all_goes(&mut self, ours: &OurService, state: &State) {
        self.changes.push(Change::DeleteService { was: ours.version.clone() });
        if let Some(EndpointsThere::Ours(version, _)) = &state.endpoints {
            self.changes.push(Change::DeleteEndpoints { was: version.clone() });
        }
        for (name, slice) in &state.slices {
            self.changes.push(Change::DeleteSlice { was: slice.version.clone(), name: name.clone() });
        }
    }
}

impl SliceThere {
    fn is(&self, family: Family, port: u16, members: &Members, service_uid: &Arc<str>) -> bool {
        self.family == family
            && self.port == Some(port)
            && self.members.as_ref() == Some(members)
            && self.service_uid.as_ref() == Some(service_uid)
    }

    fn has(&self, port: u16, ip: IpAddr) -> bool {
        self.port == Some(port) && self.members.as_ref().is_some_and(|members| members.contains_key(&ip))
    }
}

fn family(ip: IpAddr) -> Family {
    if ip.is_ipv4() { Family::Ipv4 } else { Family::Ipv6 }
}

/// As many as are allowed: those that are there already, then the lowest addresses.
fn limited(backends: &Backends, limit: usize, state: &State) -> Option<Backends> {
    if backends.len() <= limit {
        return None;
    }
    let is_there = |address: &std::net::SocketAddr| {
        state.slices.values().any(|slice| slice.has(address.port(), address.ip()))
    };
    let mut order: Vec<_> = backends.iter().map(|(address, ready)| (*address, *ready)).collect();
    order.sort_by_key(|(address, _)| !is_there(address));
    Some(order.into_iter().take(limit).collect())
}
