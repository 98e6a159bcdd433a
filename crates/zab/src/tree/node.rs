//! One znode.

use bytes::Bytes;
use zk_wire::digest::Digest;
use zk_wire::ids::SessionId;
use zk_wire::stat::{Stat, StatPersisted};

use super::children::Children;
use super::packed::Packed;

/// A znode, as it lies in the tree.
#[derive(Debug, Clone, Copy)]
pub struct Node<'a> {
    pub(super) packed: Packed<'a>,
    /// Its children, whose names [`Tree::children`](super::Tree::children) knows.
    pub children: &'a Children,
}

/// What a persisted `ephemeralOwner` means (`EphemeralType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// Nobody: stays until deleted.
    None,
    /// A session: goes with it.
    Session(SessionId),
    /// A container: goes when it has become empty.
    Container,
    /// A TTL in milliseconds: goes when empty and not set for that long.
    Ttl(i64),
}

/// The persisted `ephemeralOwner` of a container.
pub const CONTAINER_OWNER: i64 = i64::MIN;
const EXTENDED_MASK: i64 = 0xff00_0000_0000_0000_u64 as i64;
const TTL_MASK: i64 = 0x00ff_ffff_ffff;
/// The longest TTL, in milliseconds.
pub const MAX_TTL_MS: i64 = TTL_MASK;

impl Owner {
    /// Decodes a persisted `ephemeralOwner`.
    #[must_use]
    pub fn of(persisted: i64) -> Owner {
        match persisted {
            0 => Owner::None,
            CONTAINER_OWNER => Owner::Container,
            owner if owner & EXTENDED_MASK == EXTENDED_MASK => Owner::Ttl(owner & TTL_MASK),
            owner => Owner::Session(SessionId(owner)),
        }
    }

    /// Encodes it for logs and snapshots.
    #[must_use]
    pub fn persisted(self) -> i64 {
        match self {
            Owner::None => 0,
            Owner::Session(session) => session.0,
            Owner::Container => CONTAINER_OWNER,
            Owner::Ttl(ttl_ms) => EXTENDED_MASK | (ttl_ms & TTL_MASK),
        }
    }

    /// The session that owns it, if any.
    #[must_use]
    pub fn session(self) -> Option<SessionId> {
        match self {
            Owner::Session(session) => Some(session),
            Owner::None | Owner::Container | Owner::Ttl(_) => None,
        }
    }
}

/// The stat that clients see (`DataNode.copyStat`).
#[must_use]
pub fn client_stat(stat: &StatPersisted, data: Option<&[u8]>, children: usize) -> Stat {
    let num_children = i32::try_from(children).unwrap_or(i32::MAX);
    Stat {
        czxid: stat.czxid,
        mzxid: stat.mzxid,
        ctime: stat.ctime,
        mtime: stat.mtime,
        version: stat.version,
        cversion: stat.cversion.wrapping_mul(2).wrapping_sub(num_children),
        aversion: stat.aversion,
        ephemeral_owner: Owner::of(stat.ephemeral_owner).session().unwrap_or(SessionId::NONE),
        data_length: data.map_or(0, |data| i32::try_from(data.len()).unwrap_or(i32::MAX)),
        num_children,
        pzxid: stat.pzxid,
    }
}

impl<'a> Node<'a> {
    /// Its path.
    #[must_use]
    pub fn path(self) -> &'a str {
        // It was made of a `str`.
        std::str::from_utf8(self.packed.path()).unwrap_or_default()
    }

    /// Its data; null and empty are distinct.
    #[must_use]
    pub fn data(self) -> Option<&'a [u8]> {
        self.packed.content().1
    }

    /// Its data, copied.
    #[must_use]
    pub fn copied_data(self) -> Option<Bytes> {
        self.data().map(Bytes::copy_from_slice)
    }

    /// The key of its ACL in the [`AclTable`](super::acl_table::AclTable).
    #[must_use]
    pub fn acl(self) -> i64 {
        self.packed.content().0.acl
    }

    /// What is logged and snapshotted of its stat.
    #[must_use]
    pub fn persisted(self) -> StatPersisted {
        self.packed.content().0.stat
    }

    /// Both.
    #[must_use]
    pub fn acl_and_stat(self) -> (i64, StatPersisted) {
        let (numbers, _) = self.packed.content();
        (numbers.acl, numbers.stat)
    }

    /// The stat that clients see.
    #[must_use]
    pub fn stat(self) -> Stat {
        let (numbers, data) = self.packed.content();
        client_stat(&numbers.stat, data, self.children.len())
    }

    /// Its part of the tree's digest.
    #[must_use]
    pub fn digest(self) -> Digest {
        let (numbers, data) = self.packed.content();
        Digest::of_node(self.path(), data, &numbers.stat)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_encoded_as_apache_does() {
        let cases = [
            (Owner::None, 0),
            (Owner::Session(SessionId(0x0100_0000_0000_0001)), 0x0100_0000_0000_0001),
            (Owner::Container, i64::MIN),
            (Owner::Ttl(5_000), 0xff00_0000_0000_1388_u64 as i64),
        ];
        for (owner, persisted) in cases {
            assert_eq!((owner.persisted(), Owner::of(persisted)), (persisted, owner));
        }
    }

    #[test]
    fn clients_see_creates_and_deletes_in_cversion() {
        let stat =
            StatPersisted { cversion: 5, ephemeral_owner: CONTAINER_OWNER, ..StatPersisted::default() };
        let seen = client_stat(&stat, None, 3);
        assert_eq!((seen.cversion, seen.num_children, seen.ephemeral_owner), (7, 3, SessionId::NONE));
    }
}
