//! What is registered below one import's root, as far as it is known.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;

use zk_wire::ids::{SessionId, Zxid};
use zk_wire::stat::Stat;

use super::import::Import;
use crate::format::{MAX_RECORD_BYTES, Registered, Unreadable};
use crate::model::{Known, ZnodePath};

/// What one Service stands for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    /// The directory of its instances.
    pub directory: ZnodePath,
    /// Which of the services that have their instances there: the Curator name, or the Dubbo interface with
    /// version and group.
    pub service: String,
}

/// Where instances listen, and whether each is ready.
pub type Backends = BTreeMap<SocketAddr, bool>;

/// A znode where an instance may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// The session whose end deletes it; zero if none.
    pub owner: SessionId,
    /// The transaction that created it.
    pub czxid: Zxid,
    /// The instance, or why it is none that is let in; `None` for a directory.
    pub instance: Option<Result<Registered, String>>,
}

/// What a read of the registry found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// All directories with all their leaves.
    Everything {
        /// Those that could be read.
        directories: BTreeMap<ZnodePath, Directory>,
        /// Those that we may not read: what was known of them stays.
        unreadable: BTreeSet<ZnodePath>,
    },
    /// Some znodes as they are now; `None` where there is none.
    Some {
        /// Directories that are there, perhaps with leaves that are known already, or are not.
        directories: BTreeMap<ZnodePath, Option<String>>,
        /// Leaves.
        leaves: BTreeMap<ZnodePath, Option<Leaf>>,
    },
}

/// A directory of instances.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directory {
    /// The service or interface.
    pub service: String,
    /// Its znodes by name.
    pub leaves: BTreeMap<String, Leaf>,
}

/// Everything below one root. Unknown until it has been read completely; what is known stays when ZooKeeper is
/// away.
#[derive(Debug)]
pub struct Registry {
    import: Import,
    directories: Known<BTreeMap<ZnodePath, Directory>>,
    /// As of the last read of everything. Parts of them say nothing.
    unreadable: BTreeSet<ZnodePath>,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.directory, crate::format::shortened(&self.service))
    }
}

impl Leaf {
    /// What a znode of `service` with this name, stat and data stands for.
    #[must_use]
    pub fn read(import: &Import, service: &str, name: &str, stat: &Stat, data: &[u8]) -> Leaf {
        let length = usize::try_from(stat.data_length).unwrap_or(0);
        let registered = if length > MAX_RECORD_BYTES && !import.format.is_in_the_name() {
            Err(Unreadable::TooLong(length))
        } else {
            import.format.registered(service, name, data)
        };
        let instance = match registered {
            // Nested services, or a registration that is not finished.
            Err(_) if stat.num_children > 0 => None,
            Err(reason) => Some(Err(reason.to_string())),
            Ok(registered) => match import.admit(&registered, stat.ephemeral_owner == SessionId::default()) {
                Ok(()) => Some(Ok(registered)),
                Err(reason) => Some(Err(reason.to_string())),
            },
        };
        Leaf { owner: stat.ephemeral_owner, czxid: stat.czxid, instance }
    }

    /// Why it is none that is let in.
    #[must_use]
    pub fn refusal(&self) -> Option<&str> {
        self.instance.as_ref()?.as_ref().err().map(String::as_str)
    }
}

impl Registry {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(import: Import) -> Self {
        Registry { import, directories: Known::Unknown, unreadable: BTreeSet::new() }
    }

    /// Whose it is.
    #[must_use]
    pub fn import(&self) -> &Import {
        &self.import
    }

    /// Has it been read completely?
    #[must_use]
    pub fn is_known(&self) -> bool {
        matches!(self.directories, Known::Known(_))
    }

    /// Takes in what was read. Returns the directories that may look different now.
    ///
    /// Parts say nothing before everything is known: then they are about what a read of everything will find.
    pub fn found(&mut self, finding: Finding) -> BTreeSet<ZnodePath> {
        match (finding, &mut self.directories) {
            (Finding::Everything { directories: mut now, unreadable }, before) => {
                if let Known::Known(before) = before {
                    let stays = before.iter().filter(|(path, _)| unreadable.contains(*path));
                    now.extend(stays.map(|(path, directory)| (path.clone(), directory.clone())));
                }
                self.unreadable = unreadable;
                let mut changed: BTreeSet<_> = now.keys().cloned().collect();
                if let Known::Known(before) = before {
                    changed.extend(before.keys().cloned());
                    changed.retain(|directory| before.get(directory) != now.get(directory));
                }
                self.directories = Known::Known(now);
                changed
            }
            (Finding::Some { .. }, Known::Unknown) => BTreeSet::new(),
            (Finding::Some { directories, leaves }, Known::Known(known)) => {
                let mut changed = BTreeSet::new();
                let is_readable = |directory: &ZnodePath| !self.unreadable.contains(directory);
                for (path, service) in directories.into_iter().filter(|(path, _)| is_readable(path)) {
                    let is_changed = match service {
                        None => known.remove(&path).is_some(),
                        Some(_) if known.contains_key(&path) => false,
                        Some(service) => {
                            let directory = Directory { service, leaves: BTreeMap::new() };
                            known.insert(path.clone(), directory).is_none()
                        }
                    };
                    if is_changed {
                        changed.insert(path);
                    }
                }
                for (path, leaf) in leaves {
                    let Some(parent) = path.parent().filter(is_readable) else { continue };
                    let Some(directory) = known.get_mut(&parent) else { continue };
                    let is_changed = match leaf {
                        None => directory.leaves.remove(path.name()).is_some(),
                        Some(leaf) => {
                            let before = directory.leaves.insert(path.name().to_owned(), leaf.clone());
                            before != Some(leaf)
                        }
                    };
                    if is_changed {
                        changed.insert(parent);
                    }
                }
                changed
            }
        }
    }

    /// The sources of which an instance is registered in this directory, each with its instances. What `ours`
    /// says belongs to us came from Kubernetes and does not go back.
    ///
    /// Of two instances at the same address and port the one that was registered last counts.
    #[must_use]
    pub fn sources(&self, path: &ZnodePath, ours: impl Fn(SessionId) -> bool) -> BTreeMap<Source, Backends> {
        let Known::Known(directories) = &self.directories else { return BTreeMap::new() };
        let mut newest: BTreeMap<(&str, SocketAddr), (Zxid, bool)> = BTreeMap::new();
        for leaf in directories.get(path).into_iter().flat_map(|directory| directory.leaves.values()) {
            let Some(Ok(Registered { service, host, port, ready })) = &leaf.instance else { continue };
            // An import lets in no names.
            let Some(ip) = host.ip() else { continue };
            if leaf.owner != SessionId::default() && ours(leaf.owner) {
                continue;
            }
            let found = newest.entry((service, SocketAddr::new(ip, *port))).or_insert((leaf.czxid, *ready));
            if leaf.czxid > found.0 {
                *found = (leaf.czxid, *ready);
            }
        }
        let mut sources: BTreeMap<Source, Backends> = BTreeMap::new();
        for ((service, address), (_, ready)) in newest {
            let source = Source { directory: path.clone(), service: service.to_owned() };
            sources.entry(source).or_default().insert(address, ready);
        }
        sources
    }

    /// Is this directory there? It may be without instances.
    #[must_use]
    pub fn exists(&self, directory: &ZnodePath) -> Known<bool> {
        match &self.directories {
            Known::Unknown => Known::Unknown,
            Known::Known(directories) if directories.contains_key(directory) => Known::Known(true),
            Known::Known(_) if self.unreadable.contains(directory) => Known::Unknown,
            Known::Known(_) => Known::Known(false),
        }
    }

    /// How many znodes are no instance, or none that is let in.
    #[must_use]
    pub fn refused(&self) -> usize {
        let Known::Known(directories) = &self.directories else { return 0 };
        let leaves = directories.values().flat_map(|directory| directory.leaves.values());
        leaves.filter(|leaf| leaf.refusal().is_some()).count()
    }

    /// The leaf at this path, if it is known.
    #[must_use]
    pub fn leaf(&self, path: &ZnodePath) -> Option<&Leaf> {
        let Known::Known(directories) = &self.directories else { return None };
        directories.get(&path.parent()?)?.leaves.get(path.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn import() -> Import {
        serde_saphyr::from_str(
            "{name: a, format: dubbo, root: /dubbo, namespace: legacy, addresses: [10.0.0.0/8]}",
        )
        .unwrap()
    }

    fn path(path: &str) -> ZnodePath {
        ZnodePath::new(path).unwrap()
    }

    fn leaf(url: &str, owner: i64, czxid: i64) -> Leaf {
        let stat = Stat { ephemeral_owner: SessionId(owner), czxid: Zxid(czxid), ..Stat::default() };
        Leaf::read(&import(), "a.B", &format!("dubbo%3A%2F%2F{url}"), &stat, b"")
    }

    fn everything(leaves: &[(&str, Leaf)]) -> Finding {
        let leaves = leaves.iter().map(|(name, leaf)| ((*name).to_owned(), leaf.clone())).collect();
        let directory = Directory { service: "a.B".to_owned(), leaves };
        let directories = BTreeMap::from([(path("/dubbo/a.B/providers"), directory)]);
        Finding::Everything { directories, unreadable: BTreeSet::new() }
    }

    fn shown(registry: &Registry) -> Vec<String> {
        let sources = registry.sources(&path("/dubbo/a.B/providers"), |session| session == SessionId(7));
        sources
            .iter()
            .flat_map(|(source, backends)| {
                backends.iter().map(|(address, ready)| format!("{} {address} {ready}", source.service))
            })
            .collect()
    }

    #[test]
    fn instances_are_told_apart_by_service_and_the_newest_counts() {
        let mut registry = Registry::new(import());
        registry.found(everything(&[
            ("1", leaf("10.0.0.1:1", 1, 1)),
            ("2", leaf("10.0.0.1:1%3Fweight%3D0", 1, 2)),
            ("3", leaf("10.0.0.1:1%3Fversion%3D2", 1, 3)),
            ("4", leaf("10.0.0.2:1", 7, 4)),
            ("5", leaf("11.0.0.1:1", 1, 5)),
            ("6", leaf("10.0.0.3:1", 0, 6)),
        ]));
        assert_eq!(shown(&registry), ["a.B 10.0.0.1:1 false", "a.B:2 10.0.0.1:1 true"]);
        assert_eq!(registry.refused(), 2);
    }

    #[test]
    fn unknown_says_nothing_until_everything_was_read() {
        let mut registry = Registry::new(import());
        let providers = path("/dubbo/a.B/providers");
        let part = |leaf| Finding::Some {
            directories: BTreeMap::new(),
            leaves: BTreeMap::from([(path("/dubbo/a.B/providers/1"), leaf)]),
        };
        assert!(registry.found(part(Some(leaf("10.0.0.1:1", 1, 1)))).is_empty());
        assert_eq!(registry.exists(&providers), Known::Unknown);
        assert_eq!(registry.found(everything(&[])), BTreeSet::from([providers.clone()]));
        assert_eq!(registry.exists(&providers), Known::Known(true));
        assert_eq!(registry.found(part(Some(leaf("10.0.0.1:1", 1, 1)))), BTreeSet::from([providers.clone()]));
        assert!(registry.found(part(Some(leaf("10.0.0.1:1", 1, 1)))).is_empty());
        assert_eq!(shown(&registry).len(), 1);
        assert_eq!(registry.found(part(None)).len(), 1);
        assert_eq!(shown(&registry), [""; 0]);
        let gone = Finding::Some {
            directories: BTreeMap::from([(providers.clone(), None)]),
            leaves: BTreeMap::new(),
        };
        assert_eq!(registry.found(gone).len(), 1);
        assert_eq!(registry.exists(&providers), Known::Known(false));
    }

    #[test]
    fn a_directory_that_we_may_not_read_stays_as_it_was_and_is_not_known_to_be_gone() {
        let mut registry = Registry::new(import());
        let providers = path("/dubbo/a.B/providers");
        let hidden = || Finding::Everything {
            directories: BTreeMap::new(),
            unreadable: BTreeSet::from([path("/dubbo/a.B/providers")]),
        };
        assert!(registry.found(hidden()).is_empty());
        assert_eq!(registry.exists(&providers), Known::Unknown);
        assert_eq!(registry.exists(&path("/dubbo/other/providers")), Known::Known(false));
        registry.found(everything(&[("1", leaf("10.0.0.1:1", 1, 1))]));
        assert!(registry.found(hidden()).is_empty());
        assert_eq!((shown(&registry).len(), registry.exists(&providers)), (1, Known::Known(true)));
        let gone = Finding::Some {
            directories: BTreeMap::new(),
            leaves: BTreeMap::from([(path("/dubbo/a.B/providers/1"), None)]),
        };
        assert!(registry.found(gone).is_empty());
        assert_eq!(shown(&registry).len(), 1);
    }

    #[test]
    fn a_znode_with_children_is_no_instance_and_nothing_to_complain_of() {
        let stat = Stat { num_children: 1, ..Stat::default() };
        assert_eq!(Leaf::read(&import(), "a.B", "nested", &stat, b"10.0.0.1").instance, None);
        assert!(Leaf::read(&import(), "a.B", "x", &Stat::default(), b"").refusal().is_some());
    }
}
