//! Names of services as parts of paths.

use zk_wire::path::{self, PathError};

use crate::model::ZnodePath;

/// Why something cannot be the name of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NameError {
    /// Not the name of a znode.
    #[error(transparent)]
    Znode(#[from] PathError),
    /// Longer than [`MAX_NAME_BYTES`].
    #[error("it has {0} bytes; at most {MAX_NAME_BYTES} are allowed")]
    TooLong(usize),
}

/// No service's name is longer. It is part of the path of each instance, and often of its data.
pub const MAX_NAME_BYTES: usize = 255;

/// One component.
pub(super) fn check_single(name: &str) -> Result<(), NameError> {
    check_length(name)?;
    Ok(path::validate_component(name)?)
}

/// One component or several, with a '/' between any two.
pub(super) fn check_nested(name: &str) -> Result<(), NameError> {
    check_length(name)?;
    Ok(name.split('/').try_for_each(path::validate_component)?)
}

/// The directory of a name that may have several components.
pub(super) fn below(root: &ZnodePath, name: &str) -> Result<ZnodePath, PathError> {
    name.split('/').try_fold(root.clone(), |directory, component| directory.child(component))
}

fn check_length(name: &str) -> Result<(), NameError> {
    match name.len() {
        bytes if bytes > MAX_NAME_BYTES => Err(NameError::TooLong(bytes)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_255_bytes_at_most_and_slashes_only_where_they_may_be() {
        assert_eq!(check_single(&"é".repeat(128)), Err(NameError::TooLong(256)));
        assert_eq!(check_single(&"x".repeat(255)), Ok(()));
        assert_eq!(check_single("a/b"), Err(NameError::Znode(PathError::Slash)));
        assert_eq!(check_nested("a/b"), Ok(()));
        for name in ["", "/", "/a", "a/", "a//b", "a/./b", "a/../b"] {
            assert!(check_nested(name).is_err(), "{name:?}");
        }
        assert!(NameError::TooLong(256).to_string().contains("255"));
    }
}
