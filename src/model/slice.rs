//! An EndpointSlice, as far as publishing its Service needs it.

use std::net::IpAddr;

use super::endpoint::Protocol;
use super::placement::Placement;

/// The endpoints and ports of one EndpointSlice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    /// Who writes it.
    pub writer: Writer,
    /// Its address family.
    pub family: Family,
    /// Its ports; each endpoint has all of them.
    pub ports: Box<[SlicePort]>,
    /// Its endpoints; none if they are names.
    pub endpoints: Box<[SliceEndpoint]>,
    /// Does an endpoint have more than one address? Only the first has a meaning.
    pub has_more_addresses: bool,
}

/// Who writes a slice, by its label `endpointslice.kubernetes.io/managed-by`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// Kubernetes' own controller, which puts the pods of a selector there. It removes what others write in its name.
    Controller,
    /// Somebody else: the controller that mirrors `Endpoints`, an operator, a person.
    Other,
}

/// `addressType` of a slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4 addresses.
    Ipv4,
    /// IPv6 addresses.
    Ipv6,
    /// Names; deprecated and without semantics.
    Fqdn,
}

/// One port of a slice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlicePort {
    /// The Service port's name; empty if it has none.
    pub name: Box<str>,
    /// The number at the pods; absent means "all ports".
    pub port: Option<u16>,
    /// Its protocol.
    pub protocol: Protocol,
}

/// One endpoint of a slice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SliceEndpoint {
    /// Its first address, the only one with a meaning.
    pub ip: IpAddr,
    /// Its conditions.
    pub conditions: Conditions,
    /// Where it runs.
    pub placement: Placement,
}

/// An endpoint's conditions with Kubernetes' defaults filled in: absent ready and serving mean yes, absent
/// terminating means no (`discovery/v1`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conditions {
    /// May traffic be sent to it? With `publishNotReadyAddresses` always.
    pub ready: bool,
    /// Is its readiness probe content, even while it terminates?
    pub serving: bool,
    /// Is its pod going away?
    pub terminating: bool,
}

impl Conditions {
    /// Fills in the defaults.
    #[must_use]
    pub fn new(ready: Option<bool>, serving: Option<bool>, terminating: Option<bool>) -> Self {
        Conditions {
            ready: ready.unwrap_or(true),
            serving: serving.unwrap_or(true),
            terminating: terminating.unwrap_or(false),
        }
    }
}
