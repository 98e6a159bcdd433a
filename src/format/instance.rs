//! One endpoint, as a leaf shows it.

use serde::Deserialize;
use sha1::{Digest, Sha1};

use crate::model::Endpoint;

/// What a leaf tells of one endpoint. With nothing but an endpoint and a time it is what it has always been:
/// the rest is there only for those who ask for it.
#[derive(Debug, Clone, Copy)]
pub struct Instance<'a> {
    /// Where consumers connect to.
    pub endpoint: &'a Endpoint,
    /// When its Service was created, in milliseconds since 1970: records that need a time need one that stays.
    pub created_ms: i64,
    /// Where it runs, by the names that Kubernetes has for that.
    pub topology: &'a [(&'static str, String)],
    /// How consumers are told that an endpoint is not to be called any more, and is not gone yet.
    pub drain: Option<Drain>,
    /// Are they told so of this one?
    pub is_draining: bool,
}

/// What tells consumers that they should let go of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Drain {
    /// A weight of 0: called only where no other is left.
    Weight,
    /// A mark that it is out of service.
    Disable,
}

/// Digits of [`Instance::topology_digits`]. With these the name of a ServerSet's IPv4 member is still a 64-bit number.
pub(super) const TOPOLOGY_DIGITS: usize = 4;

impl<'a> Instance<'a> {
    /// Only what every leaf tells.
    #[must_use]
    pub fn new(endpoint: &'a Endpoint, created_ms: i64) -> Instance<'a> {
        Instance { endpoint, created_ms, topology: &[], drain: None, is_draining: false }
    }

    /// Is it marked like this?
    #[must_use]
    pub fn is_marked(&self, drain: Drain) -> bool {
        self.is_draining && self.drain == Some(drain)
    }

    /// Four digits of a hash of the topology, nothing if there is none: for the name of a leaf that consumers read once
    /// and remember by its name.
    pub(super) fn topology_digits(&self) -> String {
        if self.topology.is_empty() {
            return String::new();
        }
        let mut hash = Sha1::new();
        for (name, value) in self.topology {
            hash.update(format!("{name}={value}\n"));
        }
        let [a, b, c, d, ..] = <[u8; 20]>::from(hash.finalize());
        let most = 10u32.pow(TOPOLOGY_DIGITS as u32);
        format!("{:0TOPOLOGY_DIGITS$}", u32::from_be_bytes([a, b, c, d]) % most)
    }
}
