//! Which requests a load consists of, and of which znodes they speak.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use bytes::Bytes;
use fastrand::Rng;
use zk_wire::acl::Acl;
use zk_wire::codes::CreateMode;
use zk_wire::request::{CreateRequest, DeleteRequest, Request, SetDataRequest, WatchedRead};

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// getData of a key.
    Get,
    /// setData of a key.
    Set,
    /// exists of a key.
    Exists,
    /// getChildren2 of a folder of keys.
    List,
    /// create of a znode that stays.
    Create,
    /// create of one that goes with its session.
    Ephemeral,
    /// delete of what this connection created first and still has.
    Delete,
}

/// All kinds, as they are typed and printed.
pub(super) const KINDS: [(Kind, &str); 7] = [
    (Kind::Get, "get"),
    (Kind::Set, "set"),
    (Kind::Exists, "exists"),
    (Kind::List, "list"),
    (Kind::Create, "create"),
    (Kind::Ephemeral, "ephemeral"),
    (Kind::Delete, "delete"),
];

impl Kind {
    pub(super) fn name(self) -> &'static str {
        KINDS[self as usize].1
    }
}

/// Kinds with their weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mix(Vec<(Kind, u32)>);

impl FromStr for Mix {
    type Err = String;

    /// `get=80,set=20`. A weight that is not there is 1.
    fn from_str(text: &str) -> Result<Mix, String> {
        let mut kinds = Vec::new();
        for part in text.split(',') {
            let (name, weight) = part.split_once('=').unwrap_or((part, "1"));
            let Some((kind, _)) = KINDS.iter().find(|(_, known)| *known == name.trim()) else {
                let known: Vec<_> = KINDS.iter().map(|(_, name)| *name).collect();
                return Err(format!("{name:?} is no kind of request; there are {}", known.join(", ")));
            };
            let weight = weight.trim().parse::<u16>().map_err(|_| format!("{weight:?} is no weight"))?;
            kinds.push((*kind, u32::from(weight)));
        }
        match kinds.iter().any(|(_, weight)| *weight > 0) {
            true => Ok(Mix(kinds)),
            false => Err("all weights are zero".to_owned()),
        }
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<_> = self.0.iter().map(|(kind, weight)| format!("{}={weight}", kind.name())).collect();
        f.write_str(&parts.join(","))
    }
}

impl Mix {
    fn draw(&self, rng: &mut Rng) -> Kind {
        let total: u32 = self.0.iter().map(|(_, weight)| weight).sum();
        let mut ticket = rng.u32(..total);
        for &(kind, weight) in &self.0 {
            if ticket < weight {
                return kind;
            }
            ticket -= weight;
        }
        Kind::Get
    }
}

/// Keys in a folder.
const FOLDER_KEYS: u32 = 100;

/// Where everything is, and what it holds.
pub(super) struct Layout {
    pub(super) root: String,
    pub(super) keys: u32,
    pub(super) value: Bytes,
    pub(super) watch: bool,
    acl: Vec<Acl>,
}

impl Layout {
    pub(super) fn new(root: String, keys: u32, value_bytes: usize, watch: bool) -> Layout {
        let value = (0..value_bytes).map(|_| fastrand::alphanumeric() as u8).collect();
        Layout { root, keys, value, watch, acl: Acl::open() }
    }

    fn folder(&self, folder: u32) -> String {
        format!("{}/k{folder:06}", self.root)
    }

    fn folders(&self) -> u32 {
        self.keys.div_ceil(FOLDER_KEYS)
    }

    fn key(&self, key: u32) -> String {
        format!("{}/k{:06}/{:02}", self.root, key / FOLDER_KEYS, key % FOLDER_KEYS)
    }

    fn own(&self, connection: usize, number: u32) -> String {
        format!("{}/c{connection:05}/n{number:09}", self.root)
    }

    /// Everything that must be there before the load begins, parents first.
    pub(super) fn made_first(&self, connections: usize) -> impl Iterator<Item = Request> {
        let folders = (0..self.folders()).map(|folder| self.create(self.folder(folder), Bytes::new()));
        let keys = (0..self.keys).map(|key| self.create(self.key(key), self.value.clone()));
        let own = (0..connections).map(move |n| self.create(format!("{}/c{n:05}", self.root), Bytes::new()));
        std::iter::once(self.create(self.root.clone(), Bytes::new())).chain(folders).chain(keys).chain(own)
    }

    /// The same backwards, with what each connection has created.
    pub(super) fn deleted_last(&self, created: &[Range<u32>]) -> impl Iterator<Item = Request> {
        let own = created.iter().enumerate().flat_map(move |(connection, numbers)| {
            let left = numbers.clone().map(move |number| self.own(connection, number));
            left.chain(std::iter::once(format!("{}/c{connection:05}", self.root)))
        });
        let keys = (0..self.keys).map(|key| self.key(key));
        let folders = (0..self.folders()).map(|folder| self.folder(folder));
        let paths = own.chain(keys).chain(folders).chain(std::iter::once(self.root.clone()));
        paths.map(|path| Request::Delete(DeleteRequest { path, version: -1 }))
    }

    fn create(&self, path: String, data: Bytes) -> Request {
        self.create_as(path, data, CreateMode::Persistent)
    }

    fn create_as(&self, path: String, data: Bytes, mode: CreateMode) -> Request {
        Request::Create(CreateRequest { path, data: Some(data), acl: self.acl.clone(), mode })
    }

    /// The next request of a connection that has created these of its znodes.
    pub(super) fn draw(
        &self,
        mix: &Mix,
        connection: usize,
        created: &mut Range<u32>,
        rng: &mut Rng,
    ) -> (Kind, Request) {
        let kind = match mix.draw(rng) {
            Kind::Delete if Range::is_empty(created) => Kind::Create,
            kind => kind,
        };
        let read = |path| WatchedRead { path, watch: self.watch };
        let request = match kind {
            Kind::Get => Request::GetData(read(self.key(rng.u32(..self.keys)))),
            Kind::Exists => Request::Exists(read(self.key(rng.u32(..self.keys)))),
            Kind::List => Request::GetChildren2(read(self.folder(rng.u32(..self.folders())))),
            Kind::Set => Request::SetData(SetDataRequest {
                path: self.key(rng.u32(..self.keys)),
                data: Some(self.value.clone()),
                version: -1,
            }),
            Kind::Create | Kind::Ephemeral => {
                let path = self.own(connection, created.end);
                created.end += 1;
                let mode = if kind == Kind::Create { CreateMode::Persistent } else { CreateMode::Ephemeral };
                self.create_as(path, self.value.clone(), mode)
            }
            Kind::Delete => {
                let path = self.own(connection, created.start);
                created.start += 1;
                Request::Delete(DeleteRequest { path, version: -1 })
            }
        };
        (kind, request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_is_read_as_it_is_typed() {
        let mix: Mix = "get=3, set".parse().unwrap();
        assert_eq!(mix.0, [(Kind::Get, 3), (Kind::Set, 1)]);
        for wrong in ["", "got=1", "get=x", "get=0,set=0", "get=-1"] {
            assert!(wrong.parse::<Mix>().is_err(), "{wrong}");
        }
        for (index, (kind, _)) in KINDS.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
        }
    }

    #[test]
    fn requests_are_drawn_by_their_weights_and_deletes_take_what_was_created() {
        let layout = Layout::new("/r".to_owned(), 250, 10, false);
        let (mut rng, mut created) = (Rng::with_seed(7), 0..0);
        let mix: Mix = "create=1,delete=3".parse().unwrap();
        let mut there = std::collections::BTreeSet::new();
        for _ in 0..1_000 {
            match layout.draw(&mix, 3, &mut created, &mut rng).1 {
                Request::Create(r) => assert!(there.insert(r.path)),
                Request::Delete(r) => assert!(there.remove(&r.path)),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(there.len(), created.len());
        let mix: Mix = "get=9,set=1".parse().unwrap();
        let gets = (0..10_000).filter(|_| layout.draw(&mix, 0, &mut (0..0), &mut rng).0 == Kind::Get).count();
        assert!((8_500..9_500).contains(&gets), "{gets}");
    }

    #[test]
    fn what_is_made_first_is_deleted_last() {
        let layout = Layout::new("/r".to_owned(), 250, 10, false);
        let path = |request| match request {
            Request::Create(r) => r.path,
            Request::Delete(r) => r.path,
            other => panic!("{other:?}"),
        };
        let made: Vec<_> = layout.made_first(2).map(path).collect();
        assert_eq!(made.len(), 1 + 3 + 250 + 2);
        let mut deleted: Vec<_> = layout.deleted_last(&[0..0, 0..0]).map(path).collect();
        let last = deleted.last().cloned();
        deleted.sort();
        let mut sorted = made.clone();
        sorted.sort();
        assert_eq!((deleted, last), (sorted, Some("/r".to_owned())));
        assert_eq!(layout.deleted_last(&[4..6, 0..0]).map(path).next().unwrap(), "/r/c00000/n000000004");
    }
}
