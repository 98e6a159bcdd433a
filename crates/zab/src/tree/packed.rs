//! A znode's bytes in one allocation: what its stat and its ACL are, its path, its data.
//!
//! Most znodes are written once or seldom and have no children: of the 72 bytes of a stat and an ACL's key, they
//! need a dozen. So a head says which numbers differ from those of a new znode, and holds only these, each as
//! short as it is (LEB128, 7 bits a byte).

use zk_wire::ids::Zxid;
use zk_wire::stat::StatPersisted;

use super::acl_table::OPEN_ACL;

/// A znode but for its children.
#[derive(Debug, Clone, Default)]
pub(super) struct Packed(Box<[u8]>);

/// What the head's first byte says.
mod flag {
    /// Null and empty data are distinct.
    pub(super) const HAS_DATA: u8 = 1 << 0;
    /// An ACL that is not open to the world.
    pub(super) const ACL: u8 = 1 << 1;
    /// `mzxid`, `mtime`, `version`.
    pub(super) const SET: u8 = 1 << 2;
    /// `pzxid`, `cversion`.
    pub(super) const PARENT: u8 = 1 << 3;
    /// `aversion`.
    pub(super) const ACL_SET: u8 = 1 << 4;
    /// `ephemeral_owner`.
    pub(super) const OWNED: u8 = 1 << 5;
}

/// Flags, the head's length, and at most nine numbers; one of them is an `i64` of which no byte is saved.
const MAX_HEAD: usize = 2 + 9 * 10;

/// The head of a znode, as it is put together.
struct Head {
    bytes: [u8; MAX_HEAD],
    len: usize,
}

impl Head {
    fn of(path_bytes: usize, has_data: bool, acl: i64, stat: &StatPersisted) -> Head {
        let StatPersisted { czxid, mzxid, ctime, mtime, version, cversion, aversion, ephemeral_owner, pzxid } =
            *stat;
        let mut head = Head { bytes: [0; MAX_HEAD], len: 2 };
        let mut flags = if has_data { flag::HAS_DATA } else { 0 };
        head.number(path_bytes as u64);
        head.number(czxid.0 as u64);
        head.number(ctime as u64);
        if acl != OPEN_ACL {
            flags |= flag::ACL;
            head.number(zigzag(acl));
        }
        if (mzxid, mtime, version) != (czxid, ctime, 0) {
            flags |= flag::SET;
            head.number(zigzag(mzxid.0.wrapping_sub(czxid.0)));
            head.number(zigzag(mtime.wrapping_sub(ctime)));
            head.number(u64::from(version as u32));
        }
        if (pzxid, cversion) != (czxid, 0) {
            flags |= flag::PARENT;
            head.number(zigzag(pzxid.0.wrapping_sub(czxid.0)));
            head.number(u64::from(cversion as u32));
        }
        if aversion != 0 {
            flags |= flag::ACL_SET;
            head.number(u64::from(aversion as u32));
        }
        if ephemeral_owner != 0 {
            flags |= flag::OWNED;
            head.number(ephemeral_owner as u64);
        }
        head.bytes[0] = flags;
        head.bytes[1] = head.len as u8;
        head
    }

    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.bytes[self.len] = number as u8 | 0x80;
            self.len += 1;
            number >>= 7;
        }
        self.bytes[self.len] = number as u8;
        self.len += 1;
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Small numbers of either sign are short.
fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

/// The numbers of a head, one after the other.
struct Numbers<'a>(&'a [u8]);

impl Numbers<'_> {
    fn next(&mut self) -> u64 {
        let (mut number, mut shift) = (0, 0);
        while let [byte, rest @ ..] = self.0 {
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if *byte < 0x80 {
                break;
            }
        }
        number
    }
}

impl Packed {
    /// A znode of these parts.
    pub(super) fn new(path: &[u8], data: Option<&[u8]>, acl: i64, stat: &StatPersisted) -> Packed {
        let head = Head::of(path.len(), data.is_some(), acl, stat);
        Packed([head.bytes(), path, data.unwrap_or_default()].concat().into_boxed_slice())
    }

    fn flags(&self) -> u8 {
        self.0.first().copied().unwrap_or_default()
    }

    fn head_bytes(&self) -> usize {
        self.0.get(1).copied().map_or(0, usize::from)
    }

    fn numbers(&self) -> Numbers<'_> {
        Numbers(self.0.get(2..self.head_bytes()).unwrap_or_default())
    }

    /// Its path.
    pub(super) fn path(&self) -> &[u8] {
        let bytes = self.numbers().next() as usize;
        &self.0[self.head_bytes()..][..bytes]
    }

    /// Its data.
    pub(super) fn data(&self) -> Option<&[u8]> {
        let behind = self.head_bytes() + self.numbers().next() as usize;
        (self.flags() & flag::HAS_DATA != 0).then(|| &self.0[behind..])
    }

    /// Bytes of its path and its data.
    pub(super) fn size(&self) -> usize {
        self.0.len() - self.head_bytes()
    }

    /// The key of its ACL, and its stat.
    pub(super) fn numbered(&self) -> (i64, StatPersisted) {
        let (flags, mut numbers) = (self.flags(), self.numbers());
        let has = |flag| flags & flag != 0;
        numbers.next();
        let czxid = numbers.next() as i64;
        let ctime = numbers.next() as i64;
        let acl = if has(flag::ACL) { unzigzag(numbers.next()) } else { OPEN_ACL };
        let (mut mzxid, mut mtime, mut version) = (czxid, ctime, 0);
        if has(flag::SET) {
            mzxid = czxid.wrapping_add(unzigzag(numbers.next()));
            mtime = ctime.wrapping_add(unzigzag(numbers.next()));
            version = numbers.next() as u32 as i32;
        }
        let (mut pzxid, mut cversion) = (czxid, 0);
        if has(flag::PARENT) {
            pzxid = czxid.wrapping_add(unzigzag(numbers.next()));
            cversion = numbers.next() as u32 as i32;
        }
        let aversion = if has(flag::ACL_SET) { numbers.next() as u32 as i32 } else { 0 };
        let ephemeral_owner = if has(flag::OWNED) { numbers.next() as i64 } else { 0 };
        let (czxid, mzxid, pzxid) = (Zxid(czxid), Zxid(mzxid), Zxid(pzxid));
        let stat =
            StatPersisted { czxid, mzxid, ctime, mtime, version, cversion, aversion, ephemeral_owner, pzxid };
        (acl, stat)
    }

    /// Another ACL and another stat.
    pub(super) fn renumber(&mut self, acl: i64, stat: &StatPersisted) {
        let head = Head::of(self.path().len(), self.data().is_some(), acl, stat);
        let old = self.head_bytes();
        if head.len == old {
            self.0[..old].copy_from_slice(head.bytes());
        } else {
            self.0 = [head.bytes(), &self.0[old..]].concat().into_boxed_slice();
        }
    }

    /// Other data, and another stat.
    pub(super) fn set(&mut self, data: Option<&[u8]>, stat: &StatPersisted) {
        let (acl, path) = (self.numbered().0, self.path());
        let head = Head::of(path.len(), data.is_some(), acl, stat);
        let (old, behind) = (self.head_bytes(), self.head_bytes() + path.len());
        let data = data.unwrap_or_default();
        if head.len == old && self.0.len() - behind == data.len() {
            self.0[..old].copy_from_slice(head.bytes());
            self.0[behind..].copy_from_slice(data);
        } else {
            self.0 = [head.bytes(), path, data].concat().into_boxed_slice();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number() -> impl Strategy<Value = i64> {
        prop_oneof![Just(0), Just(-1), Just(i64::MIN), Just(i64::MAX), -200..200i64, any::<i64>()]
    }

    fn small() -> impl Strategy<Value = i32> {
        prop_oneof![Just(0), Just(-1), Just(i32::MIN), Just(i32::MAX), any::<i32>()]
    }

    prop_compose! {
        fn stats()(
            [czxid, mzxid, ctime, mtime, ephemeral_owner, pzxid] in prop::array::uniform6(number()),
            [version, cversion, aversion] in prop::array::uniform3(small()),
            fresh in any::<bool>(),
        ) -> StatPersisted {
            let (czxid, mzxid, pzxid) = (Zxid(czxid), Zxid(mzxid), Zxid(pzxid));
            if fresh {
                return StatPersisted { czxid, mzxid: czxid, pzxid: czxid, ctime, mtime: ctime, ..Default::default() };
            }
            StatPersisted { czxid, mzxid, ctime, mtime, version, cversion, aversion, ephemeral_owner, pzxid }
        }
    }

    fn data() -> impl Strategy<Value = Option<Vec<u8>>> {
        prop::option::of(prop::collection::vec(any::<u8>(), 0..200))
    }

    proptest! {
        /// Whatever is packed is found again, and whatever it becomes.
        #[test]
        fn what_is_packed_is_there(
            path in "/[a-z]{0,300}",
            steps in prop::collection::vec((stats(), number(), prop::option::of(data())), 1..10),
        ) {
            let (mut stat, mut acl, first) = steps[0].clone();
            let mut data = first.flatten();
            let mut packed = Packed::new(path.as_bytes(), data.as_deref(), acl, &stat);
            for (new_stat, new_acl, new_data) in steps {
                stat = new_stat;
                match new_data {
                    Some(new_data) => {
                        data = new_data;
                        packed.set(data.as_deref(), &stat);
                    }
                    None => {
                        acl = new_acl;
                        packed.renumber(acl, &stat);
                    }
                }
                prop_assert_eq!(packed.path(), path.as_bytes());
                prop_assert_eq!(packed.data(), data.as_deref());
                prop_assert_eq!(packed.numbered(), (acl, stat));
                prop_assert_eq!(packed.size(), path.len() + data.as_ref().map_or(0, Vec::len));
            }
        }
    }

    #[test]
    fn the_head_of_a_new_znode_is_short() {
        let (zxid, time) = (Zxid(0x5_0001_0000), 1_764_000_000_000);
        let stat = StatPersisted {
            czxid: zxid,
            mzxid: zxid,
            pzxid: zxid,
            ctime: time,
            mtime: time,
            ..Default::default()
        };
        assert_eq!(Packed::new(b"/a", Some(b"data"), OPEN_ACL, &stat).head_bytes(), 14);
    }
}
