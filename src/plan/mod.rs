//! What should be in ZooKeeper, and the way there: pure functions over values.
//!
//! ```text
//!   Service ──annotations, rules──▶ publications ─┐
//!   EndpointSlices ──ready──▶ endpoints ──────────┴─desired─▶ leaves ─┐
//!   what we own ──────────────────────────────────────────────────────┴─diff─▶ changes ──▶ batches
//! ```
//!
//! What cannot be planned is a [`Refusal`] beside the plan, never a reason to stop.

mod batch;
mod cause;
mod desired;
mod diff;
mod explain;
mod others;
mod pattern;
mod policy;
mod publication;
mod reason;
mod rules;
mod template;
#[cfg(test)]
mod tests;
mod viewed;
#[cfg(test)]
mod views_test;
mod wishes;

pub use batch::{Op, Step, Steps, steps};
pub use cause::{Because, Cause, Evidence, causes};
pub use desired::{Desired, Drains, Given, Kept, Roots, desired};
pub use diff::{Changes, Held, diff};
pub use explain::{Explained, Fate, WhyNot, explain};
pub use others::{Beside, FilledAs, Others};
pub use pattern::{NamePattern, Pattern, PatternError};
pub(crate) use pattern::{anything, matches};
pub use policy::Policy;
pub use publication::{Asked, MOST_VIEWS, Publication, RuleMistake, annotations, publications};
pub use reason::Reason;
pub use rules::{Completed, Grant, Rule, Rules};
pub use template::{Template, TemplateError};
pub use viewed::Viewed;
pub use wishes::{BadWish, Draining, Wishes};

use crate::format::BadValue;
use crate::model::{AddressKind, Ignored, ReadyError, ServiceKey, ZnodePath};
use zk_wire::path::PathError;

/// Why something that was asked for is not published. Each becomes an Event on the Service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Refusal {
    /// An annotation of ours that nobody knows.
    #[error("there is no annotation zoobridge.io/{annotation}; there are: {known}")]
    UnknownAnnotation {
        /// As it was written.
        annotation: String,
        /// Those that exist.
        known: String,
    },
    /// An annotation whose value makes no sense.
    #[error("annotation zoobridge.io/{annotation}: {reason}")]
    BadAnnotation {
        /// As it was written.
        annotation: String,
        /// What is wrong with it.
        reason: BadValue,
    },
    /// No rule of the configuration allows it.
    #[error(
        "no rule grants {key} to publish {name:?} as {viewed}, {granted}; take another name or ask for a rule in \
         zoobridge.yaml"
    )]
    NotGranted {
        /// The Service.
        key: ServiceKey,
        /// What it wants to publish.
        viewed: Viewed,
        /// Under which name.
        name: String,
        /// Which names are granted, in words.
        granted: String,
    },
    /// No rule of the configuration allows this parameter.
    #[error(
        "no rule grants {key} to publish {name:?} as {viewed} with parameter {parameter:?}, which changes what its \
         consumers do; leave it out or ask for a rule with it in zoobridge.yaml"
    )]
    ParameterNotGranted {
        /// The Service.
        key: ServiceKey,
        /// What it wants to publish.
        viewed: Viewed,
        /// Under which name.
        name: String,
        /// With which parameter.
        parameter: Box<str>,
        /// Which annotation says so.
        annotation: Box<str>,
    },
    /// No rule of the configuration allows addresses of this kind.
    #[error(
        "no rule grants {key} to publish {name:?} as {viewed} with addresses of kind {kind}; ask for one with \
         that kind in zoobridge.yaml"
    )]
    AddressNotGranted {
        /// The Service.
        key: ServiceKey,
        /// What it wants to publish.
        viewed: Viewed,
        /// Under which name.
        name: String,
        /// With which addresses.
        kind: AddressKind,
    },
    /// The endpoints cannot be told.
    #[error("{viewed}: {reason}")]
    Endpoints {
        /// For what.
        viewed: Viewed,
        /// Why not.
        reason: ReadyError,
    },
    /// Something in its slices is no endpoint to publish.
    #[error("{viewed}: not published is {what}")]
    Ignored {
        /// In what.
        viewed: Viewed,
        /// What.
        what: Ignored,
    },
    /// It came from ZooKeeper.
    #[error("this Service was imported from ZooKeeper and is not published there again")]
    Imported,
    /// Dubbo consumers before 2.7 fail as a whole on one IPv6 provider.
    #[error(
        "{viewed}: IPv6 providers break consumers before 2.7; allow them by annotation zoobridge.io/{viewed}-ipv6"
    )]
    DubboIpv6 {
        /// Of what.
        viewed: Viewed,
    },
    /// Two formats, or two views, cannot fill one directory with instances of one service: consumers of either get
    /// those of both.
    #[error(
        "{viewed}: {directory} is filled already, by annotation zoobridge.io/{first} of the same Service; give it \
         another name"
    )]
    Twice {
        /// What is not written.
        viewed: Viewed,
        /// What is.
        first: Viewed,
        /// The directory.
        directory: ZnodePath,
    },
    /// Another Service fills it in another format.
    #[error(
        "{viewed}: {directory} is filled in another format, by another Service, and consumers of either would fail on the \
         other's instances; give it another name"
    )]
    OtherFormat {
        /// What is not written.
        viewed: Viewed,
        /// The directory.
        directory: ZnodePath,
    },
    /// The Service has more views than can be looked at.
    #[error(
        "the Service has {views} views, and only the first {MOST_VIEWS} by their names are published; publish the \
         others by Services of their own"
    )]
    TooManyViews {
        /// So many with a name.
        views: usize,
        /// The first annotation that is not looked at.
        annotation: String,
    },
    /// Others have registered instances where it is to be published, and nothing of ours was there before.
    #[error(
        "{viewed}: others have registered instances in {directory}, so {key} is not published there; it is when \
         theirs are gone, or when a rule in zoobridge.yaml grants the name with 'shared: true'"
    )]
    Taken {
        /// The Service.
        key: ServiceKey,
        /// As what.
        viewed: Viewed,
        /// The directory.
        directory: ZnodePath,
    },
    /// Others have registered instances beside ours, which stay.
    #[error(
        "{viewed}: others have registered instances in {directory}, beside those of {key}, which stay; but should \
         they all be lost while the bridge is away, they come back only if a rule in zoobridge.yaml grants the name \
         with 'shared: true'"
    )]
    Joined {
        /// The Service.
        key: ServiceKey,
        /// As what.
        viewed: Viewed,
        /// The directory.
        directory: ZnodePath,
    },
    /// Consumers are about to be unable to list a directory. All of it is published.
    #[error(
        "{viewed}: the names in {directory} have more than 512 KiB, and a consumer that takes 1 MiB, as Java's client \
         does, reads none of them when they have more than that; shorten them, publish fewer endpoints under the name, or \
         raise the consumers' jute.maxbuffer"
    )]
    ListTooLong {
        /// As what.
        viewed: Viewed,
        /// The directory.
        directory: ZnodePath,
    },
    /// Somebody else has the znode.
    #[error("{path} belongs to {holder}; it is published when that is gone")]
    Conflict {
        /// The znode.
        path: ZnodePath,
        /// A Service, or a session that is not ours.
        holder: String,
    },
    /// ZooKeeper did not take it.
    #[error("ZooKeeper refused {path}: {reason}")]
    Rejected {
        /// The znode.
        path: ZnodePath,
        /// Its answer.
        reason: String,
    },
    /// The byte budgets of all sessions are used up.
    #[error("{path} does not fit: {reason}")]
    OverBudget {
        /// The znode.
        path: ZnodePath,
        /// Which limit, and what to raise.
        reason: String,
    },
}

impl Refusal {
    /// Of which kind it is.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Refusal::UnknownAnnotation { .. } => Reason::UnknownAnnotation,
            Refusal::BadAnnotation { .. } | Refusal::TooManyViews { .. } => Reason::BadAnnotation,
            Refusal::NotGranted { .. } => Reason::NotGranted,
            Refusal::ParameterNotGranted { .. } => Reason::ParameterNotGranted,
            Refusal::AddressNotGranted { .. } => Reason::AddressNotGranted,
            Refusal::Endpoints { reason, .. } => match reason {
                ReadyError::NoAddress(_) | ReadyError::NoNodePort(_) | ReadyError::NodesUnknown => {
                    Reason::AddressNotFound
                }
                ReadyError::Host(_) => Reason::HostNotAllowed,
                _ => Reason::PortNotFound,
            },
            Refusal::Ignored { what: Ignored::Host(_), .. } => Reason::HostNotAllowed,
            Refusal::Ignored { .. } => Reason::EndpointsIgnored,
            Refusal::Imported => Reason::Imported,
            Refusal::DubboIpv6 { .. } => Reason::Ipv6NotAllowed,
            Refusal::Twice { .. } | Refusal::OtherFormat { .. } => Reason::Conflict,
            Refusal::Taken { .. } => Reason::NameTaken,
            Refusal::Joined { .. } => Reason::NameShared,
            Refusal::Conflict { .. } => Reason::Conflict,
            Refusal::ListTooLong { .. } => Reason::ListTooLong,
            Refusal::Rejected { .. } => Reason::Rejected,
            Refusal::OverBudget { .. } => Reason::OverBudget,
        }
    }

    /// The reason of its Event, one word in CamelCase.
    #[must_use]
    pub fn event_reason(&self) -> &'static str {
        self.reason().name()
    }

    /// The annotation that asks for what is refused, without its prefix; `None` if that is one znode.
    #[must_use]
    pub fn annotation(&self) -> Option<String> {
        match self {
            Refusal::UnknownAnnotation { annotation, .. } | Refusal::BadAnnotation { annotation, .. } => {
                Some(annotation.clone())
            }
            Refusal::ParameterNotGranted { annotation, .. } => Some(annotation.to_string()),
            Refusal::TooManyViews { annotation, .. } => Some(annotation.clone()),
            Refusal::NotGranted { viewed, .. }
            | Refusal::AddressNotGranted { viewed, .. }
            | Refusal::Endpoints { viewed, .. }
            | Refusal::Ignored { viewed, .. }
            | Refusal::Twice { viewed, .. }
            | Refusal::Taken { viewed, .. }
            | Refusal::Joined { viewed, .. }
            | Refusal::OtherFormat { viewed, .. }
            | Refusal::ListTooLong { viewed, .. }
            | Refusal::DubboIpv6 { viewed } => Some(viewed.to_string()),
            Refusal::Imported
            | Refusal::Conflict { .. }
            | Refusal::Rejected { .. }
            | Refusal::OverBudget { .. } => None,
        }
    }

    /// The znode that is refused, or the directory that others have filled; `None` if it is about more than one.
    #[must_use]
    pub fn path(&self) -> Option<&ZnodePath> {
        match self {
            Refusal::Conflict { path, .. }
            | Refusal::Rejected { path, .. }
            | Refusal::OverBudget { path, .. } => Some(path),
            Refusal::Taken { directory, .. }
            | Refusal::Joined { directory, .. }
            | Refusal::ListTooLong { directory, .. } => Some(directory),
            _ => None,
        }
    }

    fn bad_name(annotation: &str, name: &str, reason: PathError) -> Self {
        Refusal::BadAnnotation {
            annotation: annotation.to_owned(),
            reason: BadValue::Name { name: name.to_owned(), reason: reason.to_string() },
        }
    }
}
