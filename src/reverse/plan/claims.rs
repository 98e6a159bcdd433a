//! Which sources want which Service.

use std::collections::{BTreeMap, BTreeSet};

use super::names;
use super::registry::{Backends, Registry, Source};
use crate::model::{ServiceKey, ZnodePath};
use zk_wire::ids::SessionId;

/// A source of one of the imports. The first one in the configuration's order goes first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    /// The import's place in the configuration.
    pub import: usize,
    /// What it claims a Service for.
    pub source: Source,
}

/// All claims, by the Service that they are for.
#[derive(Debug, Default)]
pub struct Claims {
    by_service: BTreeMap<ServiceKey, BTreeMap<Claim, Backends>>,
    by_directory: BTreeMap<(usize, ZnodePath), BTreeSet<Source>>,
}

impl Claims {
    /// The claims for one Service.
    #[must_use]
    pub fn of(&self, key: &ServiceKey) -> &BTreeMap<Claim, Backends> {
        const NONE: &BTreeMap<Claim, Backends> = &BTreeMap::new();
        self.by_service.get(key).unwrap_or(NONE)
    }

    /// All Services that something claims.
    pub fn keys(&self) -> impl Iterator<Item = &ServiceKey> {
        self.by_service.keys()
    }

    /// A directory may look different now. Returns the Services that may do so too.
    pub fn update(
        &mut self,
        import: usize,
        registry: &Registry,
        directory: &ZnodePath,
        ours: impl Fn(SessionId) -> bool,
    ) -> BTreeSet<ServiceKey> {
        let now = registry.sources(directory, ours);
        let key = |source: &Source| {
            ServiceKey::new(&registry.import().namespace, &names::service_name(&source.service))
        };
        let mut changed = BTreeSet::new();
        let place = (import, directory.clone());
        let before = self.by_directory.remove(&place).unwrap_or_default();
        for source in before.iter().filter(|source| !now.contains_key(*source)) {
            let key = key(source);
            if let Some(claims) = self.by_service.get_mut(&key) {
                claims.remove(&Claim { import, source: source.clone() });
                if claims.is_empty() {
                    self.by_service.remove(&key);
                }
            }
            changed.insert(key);
        }
        if !now.is_empty() {
            self.by_directory.insert(place, now.keys().cloned().collect());
        }
        for (source, backends) in now {
            let key = key(&source);
            let claims = self.by_service.entry(key.clone()).or_default();
            let before = claims.insert(Claim { import, source }, backends.clone());
            if before != Some(backends) {
                changed.insert(key);
            }
        }
        changed
    }
}
