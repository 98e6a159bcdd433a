//! What is in Kubernetes under one Service's name.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::pack::Members;
use super::registry::{Backends, Source};
use crate::model::Family;

/// Which object, and in which state: the precondition of each write of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Distinguishes it from an earlier object of the same name.
    pub uid: Arc<str>,
    /// `metadata.resourceVersion`.
    pub resource_version: Arc<str>,
}

/// A Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceThere {
    /// Not written by us: never touched.
    Foreign(Version),
    /// Written by us, for an import.
    Ours(OurService),
}

/// A Service that we wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OurService {
    /// Which, and in which state.
    pub version: Version,
    /// The import's name.
    pub import: String,
    /// What it stands for; `None` if somebody made that unreadable.
    pub source: Option<Source>,
    /// Its port, if it has exactly one and that is as we write it.
    pub port: Option<u16>,
    /// Somebody gave it a selector, so Kubernetes writes its slices too.
    pub has_selector: bool,
    /// It is being deleted.
    pub is_terminating: bool,
}

/// A slice that we wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SliceThere {
    /// Which, and in which state.
    pub version: Version,
    /// Its `addressType`.
    pub family: Family,
    /// Its port, if it is as we write it.
    pub port: Option<u16>,
    /// Its endpoints; `None` if they are not as we write them.
    pub members: Option<Members>,
    /// The uid of the Service whose deletion removes it.
    pub service_uid: Option<Arc<str>>,
}

/// An `Endpoints` object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndpointsThere {
    /// Not written by us: never touched.
    Foreign,
    /// Written by us, with these; `None` if they are not as we write them.
    Ours(Version, Option<Backends>),
}

/// Everything under one Service's name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// The Service.
    pub service: Option<ServiceThere>,
    /// Our slices of it.
    pub slices: BTreeMap<String, SliceThere>,
    /// Its `Endpoints`.
    pub endpoints: Option<EndpointsThere>,
}
