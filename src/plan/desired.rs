//! The leaves that a Service should have.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use bytes::Bytes;

use super::Refusal;
use super::publication::{Asked, Publication, Target, publications};
use super::rules::Rules;
use crate::format::{Format, Leaf};
use crate::model::{Service, Slice, ZnodePath, ready, ready_addresses};

/// Where the formats live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roots {
    /// `<curator>/<name>/<id>`.
    pub curator: ZnodePath,
    /// `<dubbo>/<interface>/providers/<url>`.
    pub dubbo: ZnodePath,
}

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
    /// Whose leaf is this?
    #[must_use]
    pub fn format_of(&self, path: &ZnodePath) -> Option<Format> {
        [(Format::Curator, &self.curator), (Format::Dubbo, &self.dubbo)]
            .into_iter()
            .find(|(_, root)| path.is_below(root))
            .map(|(format, _)| format)
    }

    /// What a leaf stands for, as far as its name tells.
    #[must_use]
    pub fn endpoint_of(&self, path: &ZnodePath) -> Option<(Format, IpAddr)> {
        let format = self.format_of(path)?;
        Some((format, format.address(path.name())?))
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
        desired.undetermined.insert(format, ready_addresses(service, slices.clone()));
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
        Publication { target, port }: &Publication,
        roots: &Roots,
    ) {
        let format = target.format();
        let directory = match directory(target, roots) {
            Ok(directory) => directory,
            Err(refusal) => {
                self.refusals.insert(refusal);
                return;
            }
        };
        self.directories.insert(directory.clone());
        let endpoints = match ready(service, port, slices.clone()) {
            Ok(endpoints) => endpoints,
            Err(reason) => {
                self.undetermined.insert(format, ready_addresses(service, slices));
                self.refusals.insert(Refusal::Endpoints { format, reason });
                return;
            }
        };
        for endpoint in endpoints {
            let leaf = match target {
                Target::Curator(curator) => curator.leaf(endpoint, service.created_ms),
                Target::Dubbo { ipv6: false, .. } if matches!(endpoint.ip, IpAddr::V6(_)) => {
                    self.refusals.insert(Refusal::DubboIpv6);
                    continue;
                }
                Target::Dubbo { provider, .. } => provider.leaf(endpoint),
            };
            self.add_leaf(&directory, format, leaf);
        }
    }

    fn add_leaf(&mut self, directory: &ZnodePath, format: Format, Leaf { name, data }: Leaf) {
        match directory.child(&name) {
            Ok(path) => {
                self.leaves.insert(path, data);
            }
            Err(reason) => {
                self.refusals.insert(Refusal::bad_name(&format.to_string(), &name, reason));
            }
        }
    }
}

fn directory(target: &Target, roots: &Roots) -> Result<ZnodePath, Refusal> {
    let refused = |reason| Refusal::bad_name(&target.format().to_string(), target.name(), reason);
    match target {
        Target::Curator(curator) => roots.curator.child(&curator.name).map_err(refused),
        Target::Dubbo { provider, .. } => roots
            .dubbo
            .child(&provider.directory())
            .and_then(|interface| interface.child("providers"))
            .map_err(refused),
    }
}
