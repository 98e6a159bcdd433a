//! Names that Kubernetes takes everywhere.

/// The longest label.
pub const MAX_LABEL: usize = 63;

/// A DNS label as of RFC 1123.
#[must_use]
pub fn is_label(text: &str) -> bool {
    let is_edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.len() <= MAX_LABEL
        && text.starts_with(is_edge)
        && text.ends_with(is_edge)
        && text.chars().all(|c| is_edge(c) || c == '-')
}
