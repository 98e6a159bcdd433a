//! Znodes as the plan speaks of them.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use zk_wire::path::{self, PathError};

/// A valid path. Cheap to copy: it is kept in several places.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct ZnodePath(Arc<str>);

impl ZnodePath {
    /// Checks a path.
    ///
    /// # Errors
    /// ZooKeeper would not accept it.
    pub fn new(path: &str) -> Result<Self, PathError> {
        path::validate(path).map(|()| ZnodePath(path.into()))
    }

    /// The child `name` of this znode.
    ///
    /// # Errors
    /// ZooKeeper would not accept the name.
    pub fn child(&self, name: &str) -> Result<Self, PathError> {
        path::validate_component(name)?;
        let parent = self.0.trim_end_matches('/');
        Ok(ZnodePath(format!("{parent}/{name}").into()))
    }

    /// The znode above; `None` for the root.
    #[must_use]
    pub fn parent(&self) -> Option<ZnodePath> {
        path::parent(&self.0).map(|parent| ZnodePath(parent.into()))
    }

    /// Is it a descendant of `ancestor`?
    #[must_use]
    pub fn is_below(&self, ancestor: &ZnodePath) -> bool {
        let ancestor = ancestor.0.trim_end_matches('/');
        self.0.strip_prefix(ancestor).is_some_and(|rest| rest.len() > 1 && rest.starts_with('/'))
    }

    /// Its last component.
    #[must_use]
    pub fn name(&self) -> &str {
        path::name(&self.0)
    }

    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What it costs in the transaction that closes its session: a length and the path.
    #[must_use]
    pub fn close_bytes(&self) -> usize {
        4 + self.0.len()
    }
}

impl TryFrom<String> for ZnodePath {
    type Error = PathError;

    fn try_from(path: String) -> Result<Self, PathError> {
        ZnodePath::new(&path)
    }
}

impl Borrow<str> for ZnodePath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ZnodePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ZnodePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// Stands for a znode's data where only equality counts. Means nothing outside this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// The fingerprint of these bytes.
    #[must_use]
    pub fn of(data: &[u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        data.hash(&mut hasher);
        Fingerprint(hasher.finish())
    }
}
