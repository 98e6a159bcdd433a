//! The leaves that a Service should have.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use bytes::Bytes;

use super::Refusal;
use super::others::{Beside, FilledAs, Others, Verdict, endpoint};
use super::publication::{Asked, Publication, publications};
use super::rules::Rules;
use super::viewed::Viewed;
use super::wishes::{Draining, Wishes};
use crate::format::{Format, Instance, Leaf, NoIpv6, Registered, Target};
use crate::model::{
    AddressKind, Companion, Endpoint, Endpoints, Host, Ignored, Nodes, Placement, Service, Slice, ZnodePath,
    ready_hosts,
};

/// Where the formats live: `<root>/<name>/<leaf>` and the like. One without a root is not written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roots(pub BTreeMap<Format, ZnodePath>);

/// What should be there for one Service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Desired {
    /// Persistent znodes that consumers need beside the leaves. Of those that are directories there is one even
    /// without a leaf, since they are watched.
    pub companions: BTreeSet<Companion>,
    /// Leaves with their data.
    pub leaves: BTreeMap<ZnodePath, Bytes>,
    /// Of the directories, those that other formats may fill too, with the one that this Service wants.
    pub formats: BTreeMap<ZnodePath, Format>,
    /// Formats of which something cannot be told now, and what of them stays there: the slices may just be behind the
    /// Service, and a mistyped annotation must not take a Service's consumers away.
    pub undetermined: BTreeMap<Format, Kept>,
    /// Directories that the Service asks for and that no rule grants it: nothing stays there.
    pub denied: BTreeSet<ZnodePath>,
    /// What was asked for and is not published.
    pub refusals: BTreeSet<Refusal>,
    /// Endpoints of which consumers are told to let go, and since when.
    pub draining: Drains,
    /// When the next of them goes, though nothing else happens.
    pub wake: Option<Duration>,
    /// Leaves that are left out because others stand for their endpoints, with theirs.
    pub theirs: BTreeMap<ZnodePath, ZnodePath>,
    /// Is something left out only until it is known what others have there?
    pub waits: bool,
}

/// Half of what Java's client takes of a list (`CLIENT_MAX_PACKET_LENGTH_DEFAULT`), in bytes.
const LIST_BYTES: usize = 512 * 1024;
/// In a list each name has its length in front.
const LENGTH_BYTES: usize = 4;
/// What stays where it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    /// What stands for one of these, as long as it is ready.
    pub hosts: BTreeSet<Host>,
    /// What stands for a name: the Service has a selector, and nobody has written a slice for it yet.
    pub names: bool,
}

/// Since when endpoints drain. Times count from a moment that stays the same.
pub type Drains = BTreeMap<Endpoint, Duration>;

/// What a plan depends on beside the Service and its slices.
#[derive(Clone, Copy)]
pub struct Given<'a> {
    /// What administrators grant.
    pub rules: &'a Rules,
    /// Where formats live.
    pub roots: &'a Roots,
    /// All nodes; `None` if nobody watches them.
    pub nodes: Option<&'a Nodes>,
    /// What the last plan said of what drains.
    pub draining: &'a Drains,
    /// The time.
    pub now: Duration,
    /// Is there a leaf of ours here?
    pub is_there: &'a dyn Fn(&ZnodePath) -> bool,
    /// What is in this directory beside the Service's own leaves.
    pub beside: &'a dyn Fn(&ZnodePath) -> Beside<'a>,
}

impl Roots {
    /// Whose leaf is this? Of several formats that share a root, the first stands for all.
    #[must_use]
    pub fn format_of(&self, path: &ZnodePath) -> Option<Format> {
        self.0.iter().find(|(_, root)| path.is_below(root)).map(|(format, _)| *format)
    }

    /// What a leaf stands for, as far as its name tells.
    #[must_use]
    pub fn endpoint_of(&self, path: &ZnodePath) -> Option<(Format, Host)> {
        let format = self.format_of(path)?;
        Some((format, format.host(path.name())?))
    }

    /// What a leaf says of itself, as those who import it read it.
    #[must_use]
    pub fn registered(&self, path: &ZnodePath, data: &[u8]) -> Option<Registered> {
        let format = self.format_of(path)?;
        let below = path.as_str().strip_prefix(self.0.get(&format)?.as_str())?;
        let service = format.service_of(below.trim_start_matches('/').split('/').next()?)?;
        format.registered(&service, path.name(), data).ok()
    }

    /// The format that stands for all that have the same root.
    fn standing_for(&self, format: Format) -> Format {
        let root = self.0.get(&format);
        let first = self.0.iter().find(|(_, other)| Some(*other) == root);
        first.map_or(format, |(first, _)| *first)
    }
}

impl Kept {
    /// Does a leaf of this stay?
    #[must_use]
    pub fn has(&self, host: &Host) -> bool {
        self.hosts.contains(host) || self.names && matches!(host, Host::Name(_))
    }
}

/// What should be there for a Service with these slices. A Service that does not exist has no leaves; one
/// that asks for nothing has none either.
#[must_use]
pub fn desired<'s, 'g: 's>(
    service: Option<&'s Service>,
    slices: impl Iterator<Item = &'s Slice> + Clone,
    given: &Given<'g>,
) -> Desired {
    let mut desired = Desired::default();
    let Some(service) = service else {
        return desired;
    };
    let Asked { wanted, denied, refusals, unclear } = publications(service, given.rules);
    desired.refusals.extend(refusals);
    let directory =
        |(format, target): &(Format, Box<dyn Target>)| target.directory(given.roots.0.get(format)?).ok();
    desired.denied.extend(denied.iter().filter_map(directory));
    for format in unclear {
        desired.keep_ready(format, service, slices.clone(), given);
    }
    let mut places = Places::new();
    for publication in &wanted {
        desired.add(service, slices.clone(), publication, &mut places, given);
    }
    desired
}

/// By whom a service in a directory is filled.
type Places = BTreeMap<(ZnodePath, String), Viewed>;

impl Roots {
    /// Is its root another one's as well?
    fn is_shared(&self, format: Format) -> bool {
        let root = self.0.get(&format);
        self.0.iter().any(|(other, of_other)| *other != format && Some(of_other) == root)
    }
}

impl Desired {
    fn add<'s, 'g: 's>(
        &mut self,
        service: &'s Service,
        slices: impl Iterator<Item = &'s Slice> + Clone,
        publication: &Publication,
        places: &mut Places,
        given: &Given<'g>,
    ) {
        let Publication { viewed, target, wishes, grant } = publication;
        let format = viewed.format;
        let roots = &given.roots.0;
        let (Some(root), Some(beside)) = (roots.get(&format), roots.get(&format.beside())) else { return };
        let directory = match target.directory(root) {
            Ok(directory) => directory,
            Err(reason) => {
                self.refusals.insert(Refusal::bad_name(&viewed.to_string(), target.name(), reason));
                return;
            }
        };
        // It is among the companions whatever follows, so that it is known what others do there.
        self.companions.insert(Companion::directory(directory.clone()));
        let place = (directory.clone(), target.service().into_owned());
        let first = places.entry(place).or_insert_with(|| viewed.clone());
        if first != viewed {
            let (viewed, first) = (viewed.clone(), first.clone());
            self.refusals.insert(Refusal::Twice { viewed, first, directory });
            // What it had there stays, but where the other one has a leaf of that name.
            self.keep_ready(format, service, slices, given);
            return;
        }
        let beside_it = (given.beside)(&directory);
        if given.roots.is_shared(format) {
            self.formats.insert(directory.clone(), format);
            if matches!(beside_it.filled, FilledAs::Only(other) if other != format) {
                self.refusals.insert(Refusal::OtherFormat { viewed: viewed.clone(), directory });
                return;
            }
        }
        let verdict = beside_it.verdict(grant.is_shared);
        let (key, at) = (service.key.clone(), directory.clone());
        let of = || viewed.clone();
        match verdict {
            Verdict::Refuse => {
                self.refusals.insert(Refusal::Taken { key, viewed: of(), directory: at });
                return;
            }
            Verdict::PublishAndTell => {
                self.refusals.insert(Refusal::Joined { key, viewed: of(), directory: at });
            }
            Verdict::Publish | Verdict::Wait => {}
        }
        let granted = |kind| grant.addresses.contains(&kind);
        let endpoints = match wishes.view.of(service, slices.clone(), given.nodes, granted) {
            Ok(endpoints) => endpoints,
            Err(reason) => {
                self.keep_ready(format, service, slices, given);
                self.refusals.insert(Refusal::Endpoints { viewed: of(), reason });
                return;
            }
        };
        let Endpoints { ready, draining, not_granted, ignored } = endpoints;
        // Of another type a moment ago, it had its name published. Kubernetes' controller writes a slice even if nothing
        // is ready, so before there is one, nothing is known of its pods.
        let had_a_name = wishes.view.address == AddressKind::Pod && !service.is_external_name();
        if had_a_name && service.has_selector && slices.clone().next().is_none() {
            self.undetermined.entry(given.roots.standing_for(format)).or_default().names = true;
        }
        if ignored.contains(&Ignored::LeftOver) {
            // They may still be right, and Kubernetes' own clients go on with them.
            self.keep_ready(format, service, slices.clone(), given);
        }
        self.refusals.extend(ignored.into_iter().map(|what| Refusal::Ignored { viewed: of(), what }));
        self.refusals.extend(not_granted.into_iter().map(|kind| {
            let (key, name) = (service.key.clone(), target.name().to_owned());
            Refusal::AddressNotGranted { key, viewed: of(), name, kind }
        }));
        let ports = ready.keys().map(|endpoint| endpoint.port).collect();
        let companions = match target.companions(&directory, beside, &ports) {
            Ok(companions) => companions,
            Err(reason) => {
                self.refusals.insert(Refusal::bad_name(&viewed.to_string(), target.name(), reason));
                return;
            }
        };
        // Without a grant others stand for nothing: whoever may write there could hide endpoints of ours.
        let others = beside_it.others.filter(|_| grant.is_shared);
        let leaves = Leaves {
            directory,
            viewed,
            target: &**target,
            wishes,
            created_ms: service.created_ms,
            roots: given.roots,
            theirs: others.map(Others::by_endpoint).unwrap_or_default(),
        };
        let mut found = BTreeMap::new();
        for (endpoint, placement) in ready {
            match leaves.of(&endpoint, placement, false) {
                Ok((path, data)) => match leaves.theirs(&path, &data) {
                    Some(theirs) => drop(self.theirs.insert(path, theirs.clone())),
                    None => drop(found.insert(path, data)),
                },
                Err(refusal) => drop(self.refusals.insert(refusal)),
            }
        }
        let is_first = || !found.keys().any(|path| (given.is_there)(path));
        let waits = verdict == Verdict::Wait
            || given.roots.is_shared(format) && beside_it.filled == FilledAs::NotKnown && is_first();
        if waits {
            self.waits = true;
            found.retain(|path, _| (given.is_there)(path));
            // A name that is to be replaced stays until its replacement may come.
            self.keep_ready(format, service, slices, given);
        }
        if !waits || !found.is_empty() {
            self.companions.extend(companions);
        }
        let names =
            found.keys().chain(beside_it.others.into_iter().flat_map(|others| others.instances.keys()));
        if names.map(|path| LENGTH_BYTES + path.name().len()).sum::<usize>() > LIST_BYTES {
            self.refusals.insert(Refusal::ListTooLong { viewed: of(), directory: leaves.directory.clone() });
        }
        self.leaves.extend(found);
        if let Some(policy) = wishes.drain {
            self.drain(policy, draining, &leaves, given);
        }
    }

    /// What was ready before is marked for its time. Of what never was, or was and is gone already, consumers need
    /// not hear: so it counts what is there, and not what slices say.
    fn drain(
        &mut self,
        Draining { grace, .. }: Draining,
        draining: BTreeMap<Endpoint, &Placement>,
        leaves: &Leaves<'_>,
        given: &Given<'_>,
    ) {
        for (endpoint, placement) in draining {
            let marked = [false, true].map(|is_draining| leaves.of(&endpoint, placement, is_draining));
            let [Ok((before, _)), Ok((path, data))] = marked else { continue };
            if leaves.theirs(&path, &data).is_some() {
                continue;
            }
            if !(given.is_there)(&before) && !(given.is_there)(&path) {
                continue;
            }
            let since = *given.draining.get(&endpoint).unwrap_or(&given.now);
            let until = since + grace;
            self.draining.insert(endpoint, since);
            if given.now < until {
                self.leaves.insert(path, data);
                self.wake = Some(self.wake.map_or(until, |wake| wake.min(until)));
            }
        }
    }

    /// Whatever is there of this format stays where its address or name is ready.
    fn keep_ready<'s>(
        &mut self,
        format: Format,
        service: &Service,
        slices: impl Iterator<Item = &'s Slice>,
        given: &Given<'_>,
    ) {
        let kept = self.undetermined.entry(given.roots.standing_for(format)).or_default();
        kept.hosts.extend(ready_hosts(service, slices, given.nodes));
    }
}

/// The leaves of one directory.
struct Leaves<'a> {
    directory: ZnodePath,
    viewed: &'a Viewed,
    target: &'a dyn Target,
    wishes: &'a Wishes,
    created_ms: i64,
    roots: &'a Roots,
    /// What others stand for.
    theirs: HashMap<(&'a str, &'a Host, u16), &'a ZnodePath>,
}

impl Leaves<'_> {
    /// Who else stands for the endpoint of this leaf: theirs and ours are read alike.
    fn theirs(&self, path: &ZnodePath, data: &[u8]) -> Option<&ZnodePath> {
        if self.theirs.is_empty() {
            return None;
        }
        let ours = self.roots.registered(path, data)?;
        self.theirs.get(&endpoint(&ours)).copied()
    }

    fn of(
        &self,
        endpoint: &Endpoint,
        placement: &Placement,
        is_draining: bool,
    ) -> Result<(ZnodePath, Bytes), Refusal> {
        let topology =
            if self.viewed.format.has_topology() { self.wishes.topology.of(placement) } else { Vec::new() };
        let instance = Instance {
            endpoint,
            created_ms: self.created_ms,
            topology: &topology,
            drain: self.wishes.drain.map(|drain| drain.by),
            is_draining,
        };
        let Leaf { name, data } = self
            .target
            .leaf(&instance)
            .map_err(|NoIpv6| Refusal::DubboIpv6 { viewed: self.viewed.clone() })?;
        match self.directory.child(&name) {
            Ok(path) => Ok((path, data)),
            Err(reason) => Err(Refusal::bad_name(&self.viewed.to_string(), &name, reason)),
        }
    }
}
