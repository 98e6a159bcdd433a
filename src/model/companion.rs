//! Persistent znodes beside the leaves, without which their consumers do not find them.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::ZnodePath;

/// A persistent znode that must be there, with something in it. It is shared, by Services and with those who register
/// themselves, so no bridge deletes it while it runs, and what others wrote in it stays.
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
    Item {
        /// The item.
        item: String,
        /// The leaves of whom it names.
        leaves: ZnodePath,
    },
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
            Holds::Item { .. } => None,
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
            Holds::Item { item, .. } => {
                let item = item.as_bytes();
                if items(found).any(|found| found.trim_ascii() == item) {
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
            Holds::Item { item, .. } => item.clone().into(),
        }
    }
}

/// A list with commas without these items. What is left is as it was.
#[must_use]
pub fn without(list: &[u8], unwanted: &BTreeSet<&str>) -> Vec<u8> {
    let unwanted = |item: &[u8]| unwanted.iter().any(|unwanted| unwanted.as_bytes() == item.trim_ascii());
    items(list).filter(|item| !unwanted(item)).collect::<Vec<_>>().join(&b',')
}

fn items(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|&byte| byte == b',')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn orders() -> Holds {
        let leaves = ZnodePath::new("/services/orders").unwrap();
        Holds::Item { item: "orders".to_owned(), leaves }
    }

    #[test]
    fn an_item_goes_and_the_others_stay_as_they_are() {
        for (list, then) in [
            ("orders", ""),
            ("shop,orders", "shop"),
            ("orders,shop", "shop"),
            ("a, orders ,b,preorders", "a,b,preorders"),
            ("orders, a,orders", " a"),
            ("shop", "shop"),
            ("", ""),
        ] {
            assert_eq!(without(list.as_bytes(), &BTreeSet::from(["orders"])), then.as_bytes(), "{list}");
        }
    }

    #[test]
    fn what_others_wrote_stays() {
        let item = orders();
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
            let item = orders();
            let then = item.instead_of(found).unwrap();
            assert_eq!(item.instead_of(&then), None);
            assert!(then.starts_with(found));
        }
        let item = orders();
        assert_eq!(item.instead_of(&item.initial()), None);
    }
}
