//! Which strings name a znode (`PathUtils.validatePath`).

/// Why a string is not a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It has no characters.
    #[error("a path is not empty")]
    Empty,
    /// It does not start with `/`.
    #[error("a path starts with '/'")]
    NotAbsolute,
    /// It ends with `/` and is not the root.
    #[error("a path does not end with '/'")]
    TrailingSlash,
    /// `//`.
    #[error("a path has no empty component")]
    EmptyComponent,
    /// `.` or `..`.
    #[error("a path has no '.' or '..' component")]
    Relative,
    /// A `/` in what should be one component.
    #[error("a component has no '/'")]
    Slash,
    /// U+0000-001F, 007F-009F, D800-F8FF, FFF0-FFFF, or beyond the basic plane.
    #[error("a path has no character U+{0:04X}")]
    Character(u32),
}

/// Checks a path.
///
/// # Errors
/// The first rule that it breaks.
pub fn validate(path: &str) -> Result<(), PathError> {
    if path.is_empty() {
        return Err(PathError::Empty);
    }
    let Some(rest) = path.strip_prefix('/') else {
        return Err(PathError::NotAbsolute);
    };
    if rest.is_empty() {
        return Ok(());
    }
    if rest.ends_with('/') {
        return Err(PathError::TrailingSlash);
    }
    rest.split('/').try_for_each(validate_component)
}

/// Checks one name between slashes.
///
/// # Errors
/// The first rule that it breaks.
pub fn validate_component(name: &str) -> Result<(), PathError> {
    match name {
        "" => return Err(PathError::EmptyComponent),
        "." | ".." => return Err(PathError::Relative),
        _ if name.contains('/') => return Err(PathError::Slash),
        _ => {}
    }
    match name.chars().find(|&c| !is_allowed(c)) {
        Some(c) => Err(PathError::Character(c.into())),
        None => Ok(()),
    }
}

/// The parent of a path; `None` for the root. The path must be valid.
#[must_use]
pub fn parent(path: &str) -> Option<&str> {
    match path.rfind('/')? {
        0 if path.len() == 1 => None,
        0 => Some("/"),
        slash => Some(&path[..slash]),
    }
}

/// The last component of a path; empty for the root.
#[must_use]
pub fn name(path: &str) -> &str {
    path.rfind('/').map_or(path, |slash| &path[slash + 1..])
}

fn is_allowed(c: char) -> bool {
    !matches!(u32::from(c), 0..=0x1f | 0x7f..=0x9f | 0xd800..=0xf8ff | 0xfff0..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_of_validate_path() {
        let cases = [
            ("/", Ok(())),
            ("/a/b", Ok(())),
            ("/a/...", Ok(())),
            ("/\u{e9}", Ok(())),
            ("", Err(PathError::Empty)),
            ("a", Err(PathError::NotAbsolute)),
            ("/a/", Err(PathError::TrailingSlash)),
            ("//", Err(PathError::TrailingSlash)),
            ("/a//b", Err(PathError::EmptyComponent)),
            ("/a/../b", Err(PathError::Relative)),
            ("/a/.", Err(PathError::Relative)),
            ("/a\0", Err(PathError::Character(0))),
            ("/a\u{1f}", Err(PathError::Character(0x1f))),
            ("/\u{f8ff}", Err(PathError::Character(0xf8ff))),
            ("/\u{1f600}", Err(PathError::Character(0x1f600))),
        ];
        for (path, expected) in cases {
            assert_eq!(validate(path), expected, "{path:?}");
        }
    }

    #[test]
    fn parent_and_name_split_a_path() {
        for (path, expected) in [("/", (None, "")), ("/a", (Some("/"), "a")), ("/a/b", (Some("/a"), "b"))] {
            assert_eq!((parent(path), name(path)), expected);
        }
    }
}
