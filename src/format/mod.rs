//! The bytes that consumers read. Each format has its file and says what it writes, byte by byte.
//!
//! A format maps one endpoint of one publication to one leaf: a name and its data. Pure and stable: the same
//! input gives the same bytes in every release, so that an upgrade writes nothing. Beside what it writes, each
//! file reads what others wrote in that format.
//!
//! Consumers of all of them resolve names, if an instance has one instead of an address; `docs/services.md` says when.
//!
//! A new format is a file that implements `Definition` and [`Target`], a variant of [`Format`], and its lines in
//! `Format::definition` and beside it.

mod bad_value;
mod curator;
mod definition;
mod dubbo;
mod dubbo3;
mod hostport;
mod instance;
mod name;
mod nerve;
mod registered;
mod serverset;
mod spring;

use bytes::Bytes;

pub use bad_value::BadValue;
use definition::Definition;
pub use definition::{Asking, BadAnnotation, NoIpv6, Target};
pub use dubbo::{DubboError, HARMLESS as HARMLESS_DUBBO_PARAMETERS};
pub use instance::{Drain, Instance};
pub use name::MAX_NAME_BYTES;
pub use registered::{MAX_RECORD_BYTES, Registered, Unreadable};

use crate::model::Host;

/// A leaf below a format's directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// The child's name, escaped as its consumers expect.
    pub name: String,
    /// Its data.
    pub data: Bytes,
}

/// The formats. Rules and annotations call them by their variants' names in lower case.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Curator x-discovery.
    Curator,
    /// Dubbo, one directory per interface.
    Dubbo,
    /// Dubbo 3, one directory per application.
    Dubbo3,
    /// Spring Cloud ZooKeeper.
    Spring,
    /// Twitter's ServerSets: Finagle, Linkerd 1, Aurora.
    Serverset,
    /// SmartStack.
    Nerve,
    /// `host:port`, as the name and as the data.
    Hostport,
}

impl Format {
    /// All of them.
    pub const ALL: [Format; 7] = [
        Format::Curator,
        Format::Dubbo,
        Format::Dubbo3,
        Format::Spring,
        Format::Serverset,
        Format::Nerve,
        Format::Hostport,
    ];

    fn definition(self) -> &'static dyn Definition {
        match self {
            Format::Curator => &curator::Format,
            Format::Dubbo => &dubbo::Format,
            Format::Dubbo3 => &dubbo3::Format,
            Format::Spring => &spring::Format,
            Format::Serverset => &serverset::Format,
            Format::Nerve => &nerve::Format,
            Format::Hostport => &hostport::Format,
        }
    }

    /// What rules and annotations call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Format::Curator => "curator",
            Format::Dubbo => "dubbo",
            Format::Dubbo3 => "dubbo3",
            Format::Spring => "spring",
            Format::Serverset => "serverset",
            Format::Nerve => "nerve",
            Format::Hostport => "hostport",
        }
    }

    /// Annotations that say how, beside [`Format::name`] and those that every format has.
    #[must_use]
    pub fn options(self) -> &'static [&'static str] {
        self.definition().options()
    }

    /// The annotation of [`Target::parameters`], if it has any.
    #[must_use]
    pub fn parameters_annotation(self) -> Option<&'static str> {
        match self {
            Format::Dubbo => Some("dubbo-parameters"),
            Format::Dubbo3 => Some("dubbo3-parameters"),
            _ => None,
        }
    }

    /// Where it lives, unless the configuration says otherwise.
    #[must_use]
    pub fn default_root(self) -> &'static str {
        self.definition().root()
    }

    /// The format below whose root its companions are, beside those in its own.
    #[must_use]
    pub fn beside(self) -> Format {
        self.definition().beside().unwrap_or(self)
    }

    /// May its root be that of `other`? Then the leaves of both must be read alike, since only their names tell
    /// what a leaf stands for.
    #[must_use]
    pub fn may_share_a_root(self, other: Format) -> bool {
        let are_instances = |format| matches!(format, Format::Curator | Format::Spring | Format::Dubbo3);
        self == other || are_instances(self) && are_instances(other)
    }

    /// How it can tell consumers to let go of an endpoint that is still there.
    #[must_use]
    pub fn drains(self) -> &'static [Drain] {
        self.definition().drains()
    }

    /// Has it a place for where an endpoint runs?
    #[must_use]
    pub fn has_topology(self) -> bool {
        self.definition().has_topology()
    }

    /// Can a Service be published under its own name, without an annotation?
    #[must_use]
    pub fn has_own_name(self) -> bool {
        self.definition().has_own_name()
    }

    /// The directories that a Service wants to fill.
    #[must_use]
    pub fn targets(self, asked: &Asking<'_>) -> Vec<Result<Box<dyn Target>, BadAnnotation>> {
        self.definition().targets(asked)
    }

    /// The address or name that a leaf's name gives; `None` if this format would not have written it.
    #[must_use]
    pub fn host(self, name: &str) -> Option<Host> {
        self.definition().host(name)
    }

    /// The name of the service or interface whose instances are below this child of the format's root; `None`
    /// if there are none.
    #[must_use]
    pub fn service_of(self, child: &str) -> Option<String> {
        self.definition().service_of(child)
    }

    /// Between a service's znode and its instances.
    #[must_use]
    pub fn between(self) -> Option<&'static str> {
        self.definition().between()
    }

    /// Is an instance what its znode's name says, and not the data?
    #[must_use]
    pub fn is_in_the_name(self) -> bool {
        self.definition().is_in_the_name()
    }

    /// Reads what somebody registered below [`Format::service_of`].
    ///
    /// # Errors
    /// See [`Unreadable`].
    pub fn registered(self, service: &str, name: &str, data: &[u8]) -> Result<Registered, Unreadable> {
        self.definition().registered(service, name, data)
    }
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that somebody else wrote, as far as a message needs it.
pub(crate) fn shortened(text: &str) -> String {
    /// Enough to recognize it, and short enough for an Event of 1 kB.
    const CHARACTERS: usize = 100;
    match text.char_indices().nth(CHARACTERS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
