//! What is wrong with a configuration, and where.

use std::fmt;
use std::path::Path;

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Its line and column, both from 1; `None` if something is missing from the whole file.
    pub place: Option<Place>,
    /// The key, like `rules[0].formats`; empty for the whole file.
    pub key: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Line and column, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: u64,
    /// The column.
    pub column: u64,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Place { line, column }) = self.place {
            write!(f, "{line}:{column}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.reason)
    }
}

/// One line for each, as compilers write them.
pub(super) fn lines(file: Option<&Path>, mistakes: &[Mistake]) -> String {
    let line = |mistake: &Mistake| match file {
        Some(file) if mistake.place.is_some() => format!("{}:{mistake}", file.display()),
        Some(file) => format!("{}: {mistake}", file.display()),
        None => mistake.to_string(),
    };
    mistakes.iter().map(line).collect::<Vec<_>>().join("\n")
}
