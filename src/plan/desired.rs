//! The leaves that a Service should have.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use bytes::Bytes;

use super::Refusal;
use super::publication::{Asked, Publication, publications};
use super::rules::Rules;
use crate::format::{Format, Leaf, NoIpv6};
use crate::model::{Service, Slice, ZnodePath, ready, ready_addresses};

/// Where the formats live: `<root>/<name>/<leaf>` and the like. One without a root is not written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roots(pub BTreeMap<Format, ZnodePath>);

/// What should be there for one Service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Desired {
    /// Directories that must exist, even without a leaf: consumers watch them.
    pub directories: BTreeSet<ZnodePath>,
    /// Leaves with their data.
    pub leaves: BTreeMap<ZnodePath, Bytes>,
    /// Formats of which something cannot be told now, with the addresses that are ready. What is there stays
    /// there as long as its address is: the slices may just be behind the Service, and a mistyped
    /// annotation must not take a Service's consumers away.
    pub undetermined: BTreeMap<Format, BTreeSet<IpAddr>>,
    /// What was asked for and is not published.
    pub refusals: BTreeSet<Refusal>,
}

impl Roots {
    /// Whose leaf is this? Of several formats that share a root, the first stands for all.
    #[must_use]
    pub fn format_of(&self, path: &ZnodePath) -> Option<Format> {
        self.0.iter().find(|(_, root)| path.is_below(root)).map(|(format, _)| *format)
    }

    /// What a leaf stands for, as far as its name tells.
    #[must_use]
    pub fn endpoint_of(&self, path: &ZnodePath) -> Option<(Format, IpAddr)> {
        let format = self.format_of(path)?;
        Some((format, format.address(path.name())?))
    }

    /// Is its root another one's as well?
    fn is_shared(&self, format: Format) -> bool {
        let root = self.0.get(&format);
        self.0.iter().any(|(other, of_other)| *other != format && Some(of_other) == root)
    }

    /// The format that stands for all that have the same root.
    fn standing_for(&self, format: Format) -> Format {
        let root = self.0.get(&format);
        let first = self.0.iter().find(|(_, other)| Some(*other) == root);
        first.map_or(format, |(first, _)| *first)
    }
}

/// What should be there for a Service with these slices. A Service that does not exist has no leaves; one
/// that asks for nothing has none either.
#[must_use]
pub fn desired<'s>(
    service: Option<&Service>,
    slices: impl Iterator<Item = &'s Slice> + Clone,
    rules: &Rules,
    roots: &Roots,
) -> Desired {
    let mut desired = Desired::default();
    let Some(service) = service else {
        return desired;
    };
    let Asked { wanted, refusals, unclear } = publications(service, rules);
    desired.refusals.extend(refusals);
    for format in unclear {
        desired.keep_ready(roots.standing_for(format), service, slices.clone());
    }
    for publication in &wanted {
        desired.add(service, slices.clone(), publication, roots);
    }
    desired
}

impl Desired {
    fn add<'s>(
        &mut self,
        service: &Service,
        slices: impl Iterator<Item = &'s Slice> + Clone,
        Publication { format, target, port }: &Publication,
        roots: &Roots,
    ) {
        let Some(root) = roots.0.get(format) else { return };
        let directory = match target.directory(root) {
            Ok(directory) => directory,
            Err(reason) => {
                self.refusals.insert(Refusal::bad_name(format.name(), target.name(), reason));
                return;
            }
        };
        if !self.directories.insert(directory.clone()) && roots.is_shared(*format) {
            self.refusals.insert(Refusal::Twice { format: *format, directory });
            return;
        }
        let endpoints = match ready(service, port, slices.clone()) {
            Ok(endpoints) => endpoints,
            Err(reason) => {
                self.keep_ready(roots.standing_for(*format), service, slices);
                self.refusals.insert(Refusal::Endpoints { format: *format, reason });
                return;
            }
        };
        for endpoint in endpoints {
            match target.leaf(endpoint, service.created_ms) {
                Ok(leaf) => self.add_leaf(&directory, *format, leaf),
                Err(NoIpv6) => {
                    self.refusals.insert(Refusal::DubboIpv6);
                }
            }
        }
    }

    /// Whatever is there of this format stays where its address is ready.
    fn keep_ready<'s>(&mut self, format: Format, service: &Service, slices: impl Iterator<Item = &'s Slice>) {
        self.undetermined.entry(format).or_default().extend(ready_addresses(service, slices));
    }

    fn add_leaf(&mut self, directory: &ZnodePath, format: Format, Leaf { name, data }: Leaf) {
        match directory.child(&name) {
            Ok(path) => {
                self.leaves.insert(path, data);
            }
            Err(reason) => {
                self.refusals.insert(Refusal::bad_name(format.name(), &name, reason));
            }
        }
    }
}
