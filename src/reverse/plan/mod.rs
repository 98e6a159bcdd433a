//! What should be in Kubernetes, and the way there: pure functions over values.
//!
//! ```text
//!   znodes ──read, admit──▶ Registry ──sources──▶ claims by Service name ─┐
//!   what is there under that name ────────────────────────────────────────┴─plan─▶ changes
//! ```

mod change;
mod claims;
mod import;
mod names;
mod pack;
mod registry;
mod state;
#[cfg(test)]
mod tests;

pub use change::{Change, Plan, plan};
pub use claims::{Claim, Claims};
pub use import::{Import, Inadmissible, PortError, PortRange};
pub use names::{service_name, slice_name};
pub use pack::{Members, SLICE_ENDPOINTS, pack};
pub use registry::{Backends, Directory, Finding, Leaf, Registry, Source};
pub use state::{EndpointsThere, OurService, ServiceThere, SliceThere, State, Version};

/// Why something that is registered is not imported.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Refused {
    /// Somebody has a Service of that name.
    #[error("{0} is not imported: this Service is not ours; it is imported when that is gone")]
    Foreign(Source),
    /// Somebody has `Endpoints` of that name.
    #[error("no Endpoints are written for {0}: those that are there are not ours")]
    ForeignEndpoints(Source),
    /// Something else is imported under that name.
    #[error("{what} is not imported: this Service stands for {by}")]
    Taken {
        /// What is registered.
        what: Source,
        /// What is imported.
        by: Source,
    },
    /// Somebody gave the Service a selector.
    #[error("{0} is not imported any more: this Service has a selector, so its slices are not ours alone")]
    Selector(Source),
    /// kube-proxy does not lead from one Service to another.
    #[error(
        "endpoint {ip} of {what} is not imported: it is the address of a Service, where no call would arrive"
    )]
    Virtual {
        /// What is registered.
        what: Source,
        /// The first of its addresses that is a Service's.
        ip: std::net::IpAddr,
    },
    /// The import has its fill.
    #[error("{what} is not imported: the import has {limit} Services, its maxServices")]
    TooManyServices {
        /// What is registered.
        what: Source,
        /// The limit.
        limit: usize,
    },
    /// The Service has its fill.
    #[error("not all endpoints of {what} are imported: the import's maxEndpoints is {limit}")]
    TooManyEndpoints {
        /// What is registered.
        what: Source,
        /// The limit.
        limit: usize,
    },
}

impl Refused {
    /// What is registered and refused.
    #[must_use]
    pub fn what(&self) -> &Source {
        match self {
            Refused::Foreign(what) | Refused::ForeignEndpoints(what) | Refused::Selector(what) => what,
            Refused::Taken { what, .. }
            | Refused::Virtual { what, .. }
            | Refused::TooManyServices { what, .. }
            | Refused::TooManyEndpoints { what, .. } => what,
        }
    }

    /// The reason of its Event, one word in CamelCase.
    #[must_use]
    pub fn event_reason(&self) -> &'static str {
        match self {
            Refused::Foreign(_) | Refused::ForeignEndpoints(_) => "NotOurs",
            Refused::Taken { .. } => "NameTaken",
            Refused::Selector(_) => "HasSelector",
            Refused::Virtual { .. } => "ServiceAddress",
            Refused::TooManyServices { .. } => "TooManyServices",
            Refused::TooManyEndpoints { .. } => "TooManyEndpoints",
        }
    }
}
