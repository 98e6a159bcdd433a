//! A znode as one byte string: flags, its path, what its stat and its ACL are, its data.
//!
//! Most znodes are written once or seldom and have no children: of the 72 bytes of a stat and an ACL's key, they
//! need eight to ten. So the flags say which numbers differ from those of a new znode, and only these are there,
//! each as short as it is (LEB128, 7 bits a byte).

use std::ops::Range;

use zk_wire::ids::Zxid;
use zk_wire::stat::StatPersisted;

use super::acl_table::OPEN_ACL;
use super::slab::Slab;

/// The bytes of a znode.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packed<'a>(&'a [u8]);

/// What there is to a znode but its path and its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Numbers {
    /// The key of its ACL.
    pub(super) acl: i64,
    pub(super) stat: StatPersisted,
    /// The number of its set of children, if it has any.
    pub(super) children: Option<u32>,
}

/// What the first byte says.
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
    /// The set of its children.
    pub(super) const CHILDREN: u8 = 1 << 6;
    /// A `ctime` of another age.
    pub(super) const OTHER_AGE: u8 = 1 << 7;
}

/// The age of a `ctime` that takes five bytes: milliseconds from the beginning of 2020, till 2054.
const AGE_BEGINS: i64 = 1_577_836_800_000;
const AGE_BYTES: usize = 5;

/// Flags, the path's length, a `ctime`, and at most ten other numbers.
const MAX_NUMBERS: usize = 1 + 11 * 10;

/// Numbers as bytes, as they are put together.
struct Writing {
    bytes: [u8; MAX_NUMBERS],
    len: usize,
}

impl Writing {
    fn new() -> Writing {
        Writing { bytes: [0; MAX_NUMBERS], len: 0 }
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

    fn fixed(&mut self, bytes: &[u8]) {
        self.bytes[self.len..][..bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
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

/// Numbers, one after the other.
struct Reading<'a>(&'a [u8]);

impl Reading<'_> {
    fn number(&mut self) -> u64 {
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

    fn fixed<const N: usize>(&mut self) -> u64 {
        let mut bytes = [0; 8];
        if let Some((fixed, rest)) = self.0.split_first_chunk::<N>() {
            bytes[..N].copy_from_slice(fixed);
            self.0 = rest;
        }
        u64::from_le_bytes(bytes)
    }
}

impl Numbers {
    /// The flags that say which there are, but for that of data, and those.
    fn write(&self) -> (u8, Writing) {
        let Numbers { acl, stat, children } = *self;
        let StatPersisted { czxid, mzxid, ctime, mtime, version, cversion, aversion, ephemeral_owner, pzxid } =
            stat;
        let (mut flags, mut out) = (0, Writing::new());
        out.number(czxid.0 as u64);
        let age = ctime.wrapping_sub(AGE_BEGINS) as u64;
        if age >> (8 * AGE_BYTES) == 0 {
            out.fixed(&age.to_le_bytes()[..AGE_BYTES]);
        } else {
            flags |= flag::OTHER_AGE;
            out.fixed(&ctime.to_le_bytes());
        }
        if let Some(children) = children {
            flags |= flag::CHILDREN;
            out.number(u64::from(children));
        }
        if acl != OPEN_ACL {
            flags |= flag::ACL;
            out.number(zigzag(acl));
        }
        if (mzxid, mtime, version) != (czxid, ctime, 0) {
            flags |= flag::SET;
            out.number(zigzag(mzxid.0.wrapping_sub(czxid.0)));
            out.number(zigzag(mtime.wrapping_sub(ctime)));
            out.number(u64::from(version as u32));
        }
        if (pzxid, cversion) != (czxid, 0) {
            flags |= flag::PARENT;
            out.number(zigzag(pzxid.0.wrapping_sub(czxid.0)));
            out.number(u64::from(cversion as u32));
        }
        if aversion != 0 {
            flags |= flag::ACL_SET;
            out.number(u64::from(aversion as u32));
        }
        if ephemeral_owner != 0 {
            flags |= flag::OWNED;
            out.number(ephemeral_owner as u64);
        }
        (flags, out)
    }

    fn read(flags: u8, from: &mut Reading<'_>) -> Numbers {
        let has = |flag| flags & flag != 0;
        let czxid = from.number() as i64;
        let ctime = if has(flag::OTHER_AGE) {
            from.fixed::<8>() as i64
        } else {
            AGE_BEGINS + from.fixed::<AGE_BYTES>() as i64
        };
        let children = has(flag::CHILDREN).then(|| from.number() as u32);
        let acl = if has(flag::ACL) { unzigzag(from.number()) } else { OPEN_ACL };
        let (mut mzxid, mut mtime, mut version) = (czxid, ctime, 0);
        if has(flag::SET) {
            mzxid = czxid.wrapping_add(unzigzag(from.number()));
            mtime = ctime.wrapping_add(unzigzag(from.number()));
            version = from.number() as u32 as i32;
        }
        let (mut pzxid, mut cversion) = (czxid, 0);
        if has(flag::PARENT) {
            pzxid = czxid.wrapping_add(unzigzag(from.number()));
            cversion = from.number() as u32 as i32;
        }
        let aversion = if has(flag::ACL_SET) { from.number() as u32 as i32 } else { 0 };
        let ephemeral_owner = if has(flag::OWNED) { from.number() as i64 } else { 0 };
        let (czxid, mzxid, pzxid) = (Zxid(czxid), Zxid(mzxid), Zxid(pzxid));
        let stat =
            StatPersisted { czxid, mzxid, ctime, mtime, version, cversion, aversion, ephemeral_owner, pzxid };
        Numbers { acl, stat, children }
    }
}

fn data_flag(data: Option<&[u8]>) -> u8 {
    if data.is_some() { flag::HAS_DATA } else { 0 }
}

/// Adds a znode, whose number is its string's.
pub(super) fn insert(slab: &mut Slab, path: &[u8], data: Option<&[u8]>, numbers: &Numbers) -> u32 {
    let (flags, numbers) = numbers.write();
    let mut head = Writing::new();
    head.fixed(&[flags | data_flag(data)]);
    head.number(path.len() as u64);
    slab.insert(&[head.bytes(), path, numbers.bytes(), data.unwrap_or_default()])
}

/// Changes the numbers of a znode, and its data if there is other.
pub(super) fn update(
    slab: &mut Slab,
    znode: u32,
    data: Option<Option<&[u8]>>,
    change: impl FnOnce(&mut Numbers),
) {
    let Some(old) = Packed::of(slab, znode) else {
        return;
    };
    let (mut numbers, range) = old.numbers_at();
    change(&mut numbers);
    let (mut flags, numbers) = numbers.write();
    match data {
        None => {
            flags |= old.flags() & flag::HAS_DATA;
            slab.splice(znode, range, [numbers.bytes(), &[]]);
        }
        Some(data) => {
            flags |= data_flag(data);
            let range = range.start..old.0.len();
            slab.splice(znode, range, [numbers.bytes(), data.unwrap_or_default()]);
        }
    }
    if let Some([first, ..]) = slab.get_mut(znode) {
        *first = flags;
    }
}

impl<'a> Packed<'a> {
    /// The znode of a number.
    pub(super) fn of(slab: &'a Slab, znode: u32) -> Option<Packed<'a>> {
        slab.get(znode).map(Packed)
    }

    /// The path of the znode with which these bytes begin.
    pub(super) fn path_in(bytes: &'a [u8]) -> &'a [u8] {
        Packed(bytes).path()
    }

    fn flags(self) -> u8 {
        self.0.first().copied().unwrap_or_default()
    }

    /// Its path, and what is behind it.
    fn split(self) -> (&'a [u8], &'a [u8]) {
        let mut reading = Reading(self.0.get(1..).unwrap_or_default());
        let bytes = reading.number() as usize;
        reading.0.split_at(bytes)
    }

    /// Its numbers, and where they are.
    fn numbers_at(self) -> (Numbers, Range<usize>) {
        let (_, behind) = self.split();
        let mut reading = Reading(behind);
        let numbers = Numbers::read(self.flags(), &mut reading);
        (numbers, self.0.len() - behind.len()..self.0.len() - reading.0.len())
    }

    /// Its path.
    pub(super) fn path(self) -> &'a [u8] {
        self.split().0
    }

    /// Its numbers and its data.
    pub(super) fn content(self) -> (Numbers, Option<&'a [u8]>) {
        let (numbers, range) = self.numbers_at();
        (numbers, (self.flags() & flag::HAS_DATA != 0).then(|| &self.0[range.end..]))
    }

    /// The number of its set of children, if it has any.
    pub(super) fn children(self) -> Option<u32> {
        if self.flags() & flag::CHILDREN == 0 {
            return None;
        }
        self.numbers_at().0.children
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number() -> impl Strategy<Value = i64> {
        prop_oneof![
            Just(0),
            Just(-1),
            Just(i64::MIN),
            Just(i64::MAX),
            -200..200i64,
            AGE_BEGINS - 2..AGE_BEGINS + 2,
            AGE_BEGINS + (1 << 40) - 2..AGE_BEGINS + (1 << 40) + 2,
            any::<i64>()
        ]
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

    prop_compose! {
        fn numbers()(stat in stats(), acl in number(), children in any::<Option<u32>>()) -> Numbers {
            Numbers { acl, stat, children }
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
            mut data in data(),
            mut expected in numbers(),
            steps in prop::collection::vec((numbers(), prop::option::of(data())), 0..10),
        ) {
            let mut slab = Slab::default();
            let znode = insert(&mut slab, path.as_bytes(), data.as_deref(), &expected);
            for (numbers, new_data) in std::iter::once((expected, None)).chain(steps) {
                let other = new_data.as_ref().map(Option::as_deref);
                update(&mut slab, znode, other, |old| {
                    assert_eq!(*old, expected);
                    *old = numbers;
                });
                expected = numbers;
                data = new_data.unwrap_or(data);
                let packed = Packed::of(&slab, znode).unwrap();
                prop_assert_eq!(packed.path(), path.as_bytes());
                prop_assert_eq!(packed.content(), (expected, data.as_deref()));
                prop_assert_eq!(packed.children(), expected.children);
            }
        }
    }

    #[test]
    fn the_numbers_of_a_new_znode_are_short() {
        let (zxid, time) = (Zxid(0x5_0001_0000), 1_764_000_000_000);
        let stat = StatPersisted {
            czxid: zxid,
            mzxid: zxid,
            pzxid: zxid,
            ctime: time,
            mtime: time,
            ..Default::default()
        };
        let mut slab = Slab::default();
        let numbers = Numbers { acl: OPEN_ACL, stat, children: None };
        let znode = insert(&mut slab, b"/a", Some(b"data"), &numbers);
        assert_eq!(slab.get(znode).unwrap().len(), "/a".len() + "data".len() + 12);
    }
}
