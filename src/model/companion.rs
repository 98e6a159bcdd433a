//! Persistent znodes beside the leaves, without which their consumers do not find them.

use bytes::Bytes;

use super::ZnodePath;

/// A persistent znode that must be there, with something in it. It is shared, by Services and with those who register
/// themselves, so it is never deleted, and what others wrote in it stays.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Companion {
    /// Where.
    pub path: ZnodePath,
    /// With what in it.
    pub holds: Holds,
}

/// What a companion must hold.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holds {
    /// Whatever: it is a directory. Made with no data.
    Anything,
    /// This, unless there is something already: the path follows from what it says, so that is the same.
    Content {
        /// What it says.
        data: Bytes,
        /// Leaves below this must not be there before it is.
        needed_below: ZnodePath,
    },
    /// A list with commas of which this is an item.
    Item(String),
}

impl Companion {
    /// A directory.
    #[must_use]
    pub fn directory(path: ZnodePath) -> Self {
        Companion { path, holds: Holds::Anything }
    }

    /// Below this no leaf may be written while the companion cannot be had.
    #[must_use]
    pub fn needed_below(&self) -> Option<&ZnodePath> {
        match &self.holds {
            Holds::Anything => Some(&self.path),
            Holds::Content { needed_below, .. } => Some(needed_below),
            Holds::Item(_) => None,
        }
    }
}

impl Holds {
    /// What must be written where there is this; `None` if nothing.
    #[must_use]
    pub fn instead_of(&self, found: &[u8]) -> Option<Bytes> {
        match self {
            Holds::Anything => None,
            Holds::Content { data, .. } => found.is_empty().then(|| data.clone()),
            Holds::Item(item) => {
                let item = item.as_bytes();
                if found.split(|&byte| byte == b',').any(|found| found.trim_ascii() == item) {
                    return None;
                }
                let separator: &[u8] = if found.is_empty() { b"" } else { b"," };
                Some([found, separator, item].concat().into())
            }
        }
    }

    /// What it is made with.
    #[must_use]
    pub fn initial(&self) -> Bytes {
        match self {
            Holds::Anything => Bytes::new(),
            Holds::Content { data, .. } => data.clone(),
            Holds::Item(item) => item.clone().into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_stays() {
        let item = Holds::Item("orders".to_owned());
        for (found, then) in [
            ("", Some("orders")),
            ("orders", None),
            ("shop,orders", None),
            ("shop, orders ,x", None),
            ("shop", Some("shop,orders")),
            ("orders-2,preorders", Some("orders-2,preorders,orders")),
        ] {
            assert_eq!(item.instead_of(found.as_bytes()), then.map(Bytes::from), "{found}");
        }
        let needed_below = ZnodePath::new("/services/orders").unwrap();
        let content = Holds::Content { data: "x".into(), needed_below };
        assert_eq!(content.instead_of(b""), Some("x".into()));
        assert_eq!(content.instead_of(b"y"), None);
        assert_eq!(Holds::Anything.instead_of(b""), None);
    }

    /// Whatever is found, once it has been written nothing more is to be.
    #[test]
    fn it_is_written_once() {
        for found in [&b""[..], b",", b",,a", b"a b", b"\xff"] {
            let item = Holds::Item("orders".to_owned());
            let then = item.instead_of(found).unwrap();
            assert_eq!(item.instead_of(&then), None);
            assert!(then.starts_with(found));
        }
        let item = Holds::Item("orders".to_owned());
        assert_eq!(item.instead_of(&item.initial()), None);
    }
}
