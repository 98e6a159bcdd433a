//! Nodes, as far as node ports need them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::placement::Placement;

/// One node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its addresses inside the cluster's network.
    pub addresses: Vec<IpAddr>,
    /// May balancers from outside send traffic to it? As Kubernetes' service controller sees it: it is ready, not
    /// about to go, and not excluded by its label.
    pub takes_traffic: bool,
    /// Its own name and zone.
    pub placement: Placement,
}

/// Nodes by their names.
pub type Nodes = BTreeMap<Arc<str>, Node>;
