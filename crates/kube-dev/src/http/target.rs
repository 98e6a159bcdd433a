//! Which object or list a path names.

use crate::error::ApiError;
use crate::kinds::Kind;

/// What a path names.
pub(super) struct Target {
    pub(super) kind: &'static Kind,
    /// Empty for all namespaces, and for cluster-wide kinds.
    pub(super) namespace: String,
    pub(super) name: Option<String>,
    pub(super) subresource: Option<String>,
}

/// `[namespaces/<namespace>/]<plural>[/<name>[/<subresource>]]`.
pub(super) fn target(group: &str, version: &str, rest: &[&str]) -> Result<Target, ApiError> {
    let (namespace, rest) = match rest {
        ["namespaces", namespace, rest @ ..]
            if !rest.is_empty() && !matches!(rest, ["status" | "finalize"]) =>
        {
            (*namespace, rest)
        }
        rest => ("", rest),
    };
    let (plural, name, subresource) = match rest {
        [plural] => (*plural, None, None),
        [plural, name] => (*plural, Some(*name), None),
        [plural, name, subresource] => (*plural, Some(*name), Some(*subresource)),
        _ => return Err(ApiError::no_such_path()),
    };
    let kind = Kind::find(group, version, plural).ok_or_else(ApiError::no_such_path)?;
    if kind.namespaced && namespace.is_empty() && name.is_some() {
        return Err(ApiError::no_such_path());
    }
    let known = match subresource {
        None => true,
        Some("status") => kind.has_status,
        Some("scale") => kind.has_scale,
        Some(_) => false,
    };
    if !known {
        return Err(ApiError::no_such_path());
    }
    let owned = |text: &str| text.to_owned();
    Ok(Target {
        kind,
        namespace: owned(namespace),
        name: name.map(owned),
        subresource: subresource.map(owned),
    })
}
