//! Which of a Service's addresses consumers get.

use std::fmt;

use serde::Deserialize;

/// The kinds of addresses. A Service asks for one by annotation, rules grant them by these names: pods are
/// behind what Kubernetes says of them, the others are what somebody wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AddressKind {
    /// Ready pods, as Kubernetes' own controller puts them into slices. What is published unless asked for
    /// otherwise, and the only kind that a rule grants unless it names others.
    Pod,
    /// Endpoints in slices that somebody else wrote: of a Service without a selector, or beside its pods. Not
    /// asked for: they are part of what a Service that asks for pods has.
    Custom,
    /// The node port, at the nodes that are ready.
    Node,
    /// What `status.loadBalancer` says.
    LoadBalancer,
    /// The Service's own address inside the cluster.
    ClusterIp,
    /// `spec.externalIPs`.
    ExternalIp,
    /// `spec.externalName`. Not asked for: it is all that a Service of that type has.
    ExternalName,
}

impl AddressKind {
    /// Those that a Service can ask for.
    pub const VIEWS: [AddressKind; 5] = [
        AddressKind::Pod,
        AddressKind::Node,
        AddressKind::LoadBalancer,
        AddressKind::ClusterIp,
        AddressKind::ExternalIp,
    ];

    /// What rules and annotations call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            AddressKind::Pod => "pod",
            AddressKind::Custom => "custom",
            AddressKind::Node => "node",
            AddressKind::LoadBalancer => "load-balancer",
            AddressKind::ClusterIp => "cluster-ip",
            AddressKind::ExternalIp => "external-ip",
            AddressKind::ExternalName => "external-name",
        }
    }
}

impl fmt::Display for AddressKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_rules() {
        for kind in AddressKind::VIEWS.into_iter().chain([AddressKind::Custom, AddressKind::ExternalName]) {
            assert_eq!(serde_saphyr::from_str::<AddressKind>(kind.name()).unwrap(), kind);
        }
    }
}
