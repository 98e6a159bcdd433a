//! The kinds that exist here.

use serde_json::Value;

/// A kind of object.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Kind {
    /// Empty for the core group.
    pub(crate) group: &'static str,
    pub(crate) version: &'static str,
    pub(crate) plural: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) short: &'static [&'static str],
    pub(crate) namespaced: bool,
    /// Is `status` written through its own subresource only?
    pub(crate) has_status: bool,
    pub(crate) has_scale: bool,
}

const fn kind(
    group: &'static str,
    version: &'static str,
    plural: &'static str,
    kind: &'static str,
    short: &'static [&'static str],
) -> Kind {
    Kind { group, version, plural, kind, short, namespaced: true, has_status: false, has_scale: false }
}

const fn status(kind: Kind) -> Kind {
    Kind { has_status: true, ..kind }
}

const fn scaled(kind: Kind) -> Kind {
    Kind { has_status: true, has_scale: true, ..kind }
}

const fn cluster(kind: Kind) -> Kind {
    Kind { namespaced: false, ..kind }
}

/// All of them.
pub(crate) static KINDS: [Kind; 15] = [
    cluster(status(kind("", "v1", "namespaces", "Namespace", &["ns"]))),
    cluster(status(kind("", "v1", "nodes", "Node", &["no"]))),
    status(kind("", "v1", "services", "Service", &["svc"])),
    kind("", "v1", "endpoints", "Endpoints", &["ep"]),
    status(kind("", "v1", "pods", "Pod", &["po"])),
    kind("", "v1", "configmaps", "ConfigMap", &["cm"]),
    kind("", "v1", "secrets", "Secret", &[]),
    kind("", "v1", "serviceaccounts", "ServiceAccount", &["sa"]),
    kind("", "v1", "events", "Event", &["ev"]),
    kind("events.k8s.io", "v1", "events", "Event", &["ev"]),
    scaled(kind("apps", "v1", "deployments", "Deployment", &["deploy"])),
    scaled(kind("apps", "v1", "replicasets", "ReplicaSet", &["rs"])),
    scaled(kind("apps", "v1", "statefulsets", "StatefulSet", &["sts"])),
    kind("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", &[]),
    kind("coordination.k8s.io", "v1", "leases", "Lease", &[]),
];

impl Kind {
    /// `v1`, `apps/v1`.
    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// What of an object is counted in `metadata.generation`; none if nothing is.
    pub(crate) fn counted(&self, object: &Value) -> Option<Value> {
        match self.plural {
            "pods" | "deployments" | "replicasets" | "statefulsets" => Some(object["spec"].clone()),
            "endpointslices" => {
                let mut object = object.clone();
                object["metadata"].take();
                Some(object)
            }
            _ => None,
        }
    }

    /// The kind with this plural in this group.
    pub(crate) fn find(group: &str, version: &str, plural: &str) -> Option<&'static Kind> {
        KINDS.iter().find(|kind| kind.group == group && kind.version == version && kind.plural == plural)
    }

    /// The kind that a manifest names.
    pub(crate) fn of(api_version: &str, name: &str) -> Option<&'static Kind> {
        KINDS.iter().find(|kind| kind.kind == name && kind.api_version() == api_version)
    }

    /// The kind with this plural, in whatever group.
    pub(crate) fn named(plural: &str) -> &'static Kind {
        // Only called with names from the table above; a test calls it with all that are used.
        KINDS.iter().find(|kind| kind.plural == plural).unwrap_or(&KINDS[0])
    }
}
