//! The bytes that consumers read. Each format has its file and says what it writes, byte by byte.
//!
//! A format maps one endpoint of one publication to one leaf: a name and its data. Pure and stable: the same
//! input gives the same bytes in every release, so that an upgrade writes nothing. Beside what it writes, each
//! file reads what others wrote in that format.

pub mod curator;
pub mod dubbo;
mod registered;

use std::net::IpAddr;

use bytes::Bytes;

pub use registered::{MAX_RECORD_BYTES, Registered, Unreadable};

/// A leaf below a format's directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// The child's name, escaped as its consumers expect.
    pub name: String,
    /// Its data.
    pub data: Bytes,
}

/// The formats, as rules name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Curator x-discovery.
    Curator,
    /// Dubbo, one directory per interface.
    Dubbo,
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

impl Format {
    /// The address that a leaf's name gives; `None` if this format would not have written it.
    #[must_use]
    pub fn address(self, name: &str) -> Option<IpAddr> {
        match self {
            Format::Curator => curator::address(name),
            Format::Dubbo => dubbo::address(name),
        }
    }

    /// The name of the service or interface whose instances are below this child of the format's root; `None`
    /// if there are none.
    #[must_use]
    pub fn service_of(self, child: &str) -> Option<String> {
        match self {
            Format::Curator => Some(child.to_owned()),
            Format::Dubbo => dubbo::interface(child),
        }
    }

    /// Between a service's znode and its instances.
    #[must_use]
    pub fn between(self) -> Option<&'static str> {
        match self {
            Format::Curator => None,
            Format::Dubbo => Some(dubbo::PROVIDERS),
        }
    }

    /// Is an instance what its znode's name says, and not the data?
    #[must_use]
    pub fn is_in_the_name(self) -> bool {
        self == Format::Dubbo
    }

    /// Reads what somebody registered below [`Format::service_of`].
    ///
    /// # Errors
    /// See [`Unreadable`].
    pub fn registered(self, service: &str, name: &str, data: &[u8]) -> Result<Registered, Unreadable> {
        match self {
            Format::Curator => curator::registered(service, data),
            Format::Dubbo => dubbo::registered(service, name),
        }
    }
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Format::Curator => "curator",
            Format::Dubbo => "dubbo",
        })
    }
}
