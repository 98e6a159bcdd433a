//! What one annotation asks for.

use std::fmt;

use crate::format::Format;
use crate::model::ViewName;

/// A format, in one of a Service's views.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Viewed {
    /// The view.
    pub view: ViewName,
    /// The format.
    pub format: Format,
}

impl fmt::Display for Viewed {
    /// The annotation that asks for it, without its prefix: `curator`, `outside.curator`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.view.annotation(self.format.name()))
    }
}
