//! Many short byte strings in few allocations.

use std::num::NonZeroU16;
use std::ops::Range;

use super::numbered::Numbered;

/// Byte strings, each under the number that it was given when it came; the numbers of those that are gone are used
/// again. Nothing takes long to grow.
///
/// A string costs its length, 8 bytes that say where it is and, if it is no longer than 1 KiB, what rounds it up to
/// a multiple of 8, from 256 bytes on of 32. Strings of one such size lie together on pages of 16 KiB, whose ends are
/// shorter than one of them; a size's first page begins with 1 KiB. A longer string has an allocation of its own.
///
/// Strings that go leave their places to others of their size, and an empty page is given back. So that few strings
/// do not keep many pages, [`Slab::tidy`] empties a page into the others when an eighth of the places for a size
/// would be free without it, and half a page. Whatever came and went, more than that and one page is never lost;
/// fewer than two strings are moved for one that goes.
#[derive(Debug, Clone)]
pub(super) struct Slab {
    places: Numbered<Option<Place>>,
    pages: Numbered<Page>,
    /// By size in units; there are none of size zero.
    classes: Vec<Class>,
    /// A page that others of its size can take in.
    spare: Option<u32>,
}

/// Where a string is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    page: u32,
    /// Units in front of it.
    slot: u16,
    /// One more than its bytes, or [`LONG`].
    length: NonZeroU16,
}

/// All strings of one size.
#[derive(Debug, Clone)]
struct Class {
    strings: u64,
    pages: u64,
    /// The first page that has room.
    roomy: u32,
}

/// Strings of one size, or one long string.
#[derive(Debug)]
struct Page {
    /// Slots, each full, or free and beginning with the number of the next free one.
    bytes: Vec<u8>,
    /// Bytes of a slot.
    size: u16,
    /// How many are full.
    used: u16,
    /// The first free one.
    free: u16,
    /// Pages of the same size that have room too, if this one has.
    previous: u32,
    next: u32,
}

/// What sizes are multiples of.
const UNIT: usize = 8;
/// Up to here every multiple is a size; behind it every fourth is, so that there are not so many.
const FINE: usize = 1 << 8;
/// The longest string that shares a page.
const SHORT: usize = 1 << 10;
const PAGE: usize = 16 << 10;
/// The length of a string that has a page of its own, whatever it is.
const LONG: NonZeroU16 = NonZeroU16::MAX;
const NO_PAGE: u32 = u32::MAX;
const NO_SLOT: u16 = u16::MAX;

impl Default for Slab {
    fn default() -> Self {
        let classes = vec![Class { strings: 0, pages: 0, roomy: NO_PAGE }; SHORT / UNIT + 1];
        Slab { places: Numbered::default(), pages: Numbered::default(), classes, spare: None }
    }
}

impl Place {
    fn short(page: u32, slot: u16, bytes: usize) -> Place {
        Place { page, slot, length: NonZeroU16::MIN.saturating_add(bytes as u16) }
    }

    fn range(self, page: &Page) -> Range<usize> {
        if self.length == LONG {
            return 0..page.bytes.len();
        }
        let start = usize::from(self.slot) * UNIT;
        start..start + usize::from(self.length.get()) - 1
    }
}

impl Slab {
    /// The string of a number.
    pub(super) fn get(&self, number: u32) -> Option<&[u8]> {
        let place = (*self.places.get(number)?)?;
        let page = &self.pages[place.page];
        Some(&page.bytes[place.range(page)])
    }

    /// The string of a number, to be changed.
    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut [u8]> {
        let place = (*self.places.get(number)?)?;
        let page = &mut self.pages[place.page];
        let range = place.range(page);
        Some(&mut page.bytes[range])
    }

    /// Adds a string that consists of these parts.
    pub(super) fn insert(&mut self, parts: &[&[u8]]) -> u32 {
        let place = self.put(parts);
        self.places.add(Some(place))
    }

    /// Removes the string of a number.
    pub(super) fn remove(&mut self, number: u32) {
        if self.places.get(number).is_some_and(Option::is_some)
            && let Some(place) = self.places.take(number)
        {
            self.vacate(place);
        }
    }

    /// Puts these parts where `range` of a string is. It may come to another place by that.
    pub(super) fn splice(&mut self, number: u32, range: Range<usize>, parts: [&[u8]; 2]) {
        let Some(place) = self.places.get(number).copied().flatten() else {
            return;
        };
        let page = &mut self.pages[place.page];
        let old = place.range(page);
        let added: usize = parts.iter().map(|part| part.len()).sum();
        let bytes = old.len() - range.len() + added;
        let fits = class(bytes).is_some_and(|class| class * UNIT == usize::from(page.size));
        if fits || bytes == old.len() {
            if added != range.len() {
                page.bytes.copy_within(old.start + range.end..old.end, old.start + range.start + added);
                self.places[number] = Some(Place::short(place.page, place.slot, bytes));
            }
            write(&mut page.bytes[old.start + range.start..], &parts);
            return;
        }
        // Strings of another size are on other pages.
        let kept = std::mem::take(&mut page.bytes);
        let string = &kept[old];
        let new = self.put(&[&string[..range.start], parts[0], parts[1], &string[range.end..]]);
        self.pages[place.page].bytes = kept;
        self.vacate(place);
        self.places[number] = Some(new);
    }

    /// Gives a page back if the last string that went has left one to spare. `hash` may look at the string with
    /// which its bytes begin; `find` finds the number of a hash for which its second argument says that it is it.
    ///
    /// # Panics
    /// It finds none.
    pub(super) fn tidy(
        &mut self,
        hash: impl Fn(&[u8]) -> u64,
        find: impl Fn(u64, &dyn Fn(u32) -> bool) -> Option<u32>,
    ) {
        let Some(spare) = self.spare.take() else {
            return;
        };
        self.unlink(spare);
        let page = self.pages.take(spare);
        let class = &mut self.classes[usize::from(page.size) / UNIT];
        (class.strings, class.pages) = (class.strings - u64::from(page.used), class.pages - 1);
        // One step for all at a time: the machine then waits for the memory of several together.
        let bytes = |slot: u16| &page.bytes[usize::from(slot) * UNIT..][..usize::from(page.size)];
        let hashes: Vec<(u16, u64)> = page.slots().map(|slot| (slot, hash(bytes(slot)))).collect();
        let number = |(slot, hash)| {
            let is_there = |place: &Place| (place.page, place.slot) == (spare, slot);
            let is_it =
                |number| self.places.get(number).is_some_and(|place| place.as_ref().is_some_and(is_there));
            find(hash, &is_it).expect("every string has a number")
        };
        let numbers: Vec<u32> = hashes.into_iter().map(number).collect();
        for number in numbers {
            let place = self.places[number].expect("it was found there");
            self.places[number] = Some(self.put(&[&page.bytes[place.range(&page)]]));
        }
    }

    fn put(&mut self, parts: &[&[u8]]) -> Place {
        self.spare = None;
        let bytes = parts.iter().map(|part| part.len()).sum();
        let Some(class) = class(bytes) else {
            let page = Page { bytes: parts.concat(), ..Page::default() };
            return Place { page: self.pages.add(page), slot: 0, length: LONG };
        };
        self.classes[class].strings += 1;
        let number = match self.classes[class].roomy {
            NO_PAGE => self.add_page(class),
            number => number,
        };
        let page = &mut self.pages[number];
        let slot = page.fill(parts);
        if page.is_full() {
            self.unlink(number);
        }
        Place::short(number, slot, bytes)
    }

    fn vacate(&mut self, place: Place) {
        if place.length == LONG {
            self.pages.take(place.page);
            return;
        }
        let page = &mut self.pages[place.page];
        let was_full = page.is_full();
        page.empty(place.slot);
        let (used, slots) = (page.used, (PAGE / usize::from(page.size)) as u64);
        let class = &mut self.classes[usize::from(page.size) / UNIT];
        class.strings -= 1;
        let others = (class.pages - 1) * slots;
        if used == 0 {
            class.pages -= 1;
        }
        let is_spare = used > 0 && class.strings + (others / 8).max(slots / 2) <= others;
        self.spare = is_spare.then_some(place.page);
        if was_full {
            self.link(place.page);
        }
        if used == 0 {
            self.unlink(place.page);
            self.pages.take(place.page);
        }
    }

    fn add_page(&mut self, class: usize) -> u32 {
        // Most sizes have few strings in a small tree.
        let capacity = if self.classes[class].pages == 0 { SHORT } else { PAGE };
        let size = (class * UNIT) as u16;
        let page = self.pages.add(Page { bytes: Vec::with_capacity(capacity), size, ..Page::default() });
        self.classes[class].pages += 1;
        self.link(page);
        page
    }

    /// Room has come about in a page.
    fn link(&mut self, number: u32) {
        let page = &mut self.pages[number];
        let roomy = &mut self.classes[usize::from(page.size) / UNIT].roomy;
        let next = std::mem::replace(roomy, number);
        (page.previous, page.next) = (NO_PAGE, next);
        if next != NO_PAGE {
            self.pages[next].previous = number;
        }
    }

    /// A page has no room any more.
    fn unlink(&mut self, number: u32) {
        let Page { size, previous, next, .. } = self.pages[number];
        match previous {
            NO_PAGE => self.classes[usize::from(size) / UNIT].roomy = next,
            previous => self.pages[previous].next = next,
        }
        if next != NO_PAGE {
            self.pages[next].previous = previous;
        }
    }
}

impl Page {
    fn is_full(&self) -> bool {
        self.free == NO_SLOT && self.bytes.len() + usize::from(self.size) > PAGE
    }

    /// Fills a free slot. There is one, or room for one.
    fn fill(&mut self, parts: &[&[u8]]) -> u16 {
        let slot = match self.free {
            NO_SLOT => self.lengthen(),
            free => {
                self.free = self.free_behind(usize::from(free));
                free
            }
        };
        write(&mut self.bytes[usize::from(slot) * UNIT..], parts);
        self.used += 1;
        slot
    }

    /// One more slot.
    fn lengthen(&mut self) -> u16 {
        let (start, size) = (self.bytes.len(), usize::from(self.size));
        if start + size > self.bytes.capacity() {
            self.bytes.reserve_exact(PAGE - start);
        }
        self.bytes.resize(start + size, 0);
        (start / UNIT) as u16
    }

    /// Those that are full.
    fn slots(&self) -> impl Iterator<Item = u16> {
        let mut is_free = vec![false; self.bytes.len() / UNIT];
        let mut free = self.free;
        while free != NO_SLOT {
            let slot = usize::from(free);
            is_free[slot] = true;
            free = self.free_behind(slot);
        }
        let slots = (0..is_free.len()).step_by(usize::from(self.size) / UNIT);
        slots.filter(move |slot| !is_free[*slot]).map(|slot| slot as u16)
    }

    /// The next free one behind a free one.
    fn free_behind(&self, slot: usize) -> u16 {
        u16::from_le_bytes([self.bytes[slot * UNIT], self.bytes[slot * UNIT + 1]])
    }

    /// Frees a slot.
    fn empty(&mut self, slot: u16) {
        self.bytes[usize::from(slot) * UNIT..][..2].copy_from_slice(&self.free.to_le_bytes());
        self.free = slot;
        self.used -= 1;
    }
}

impl Default for Page {
    fn default() -> Self {
        Page { bytes: Vec::new(), size: 0, used: 0, free: NO_SLOT, previous: NO_PAGE, next: NO_PAGE }
    }
}

/// With room for what is still to come.
impl Clone for Page {
    fn clone(&self) -> Self {
        let mut bytes = Vec::with_capacity(self.bytes.capacity());
        bytes.extend_from_slice(&self.bytes);
        Page { bytes, ..*self }
    }
}

/// The size of a short string, in units.
fn class(bytes: usize) -> Option<usize> {
    let step = if bytes <= FINE { 1 } else { 4 };
    (bytes <= SHORT).then(|| bytes.div_ceil(UNIT).max(1).next_multiple_of(step))
}

fn write(mut to: &mut [u8], parts: &[&[u8]]) {
    for part in parts {
        let (here, behind) = to.split_at_mut(part.len());
        here.copy_from_slice(part);
        to = behind;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::sample::Index;
    use std::collections::BTreeMap;

    /// What all pages hold, in bytes.
    fn held(slab: &Slab) -> usize {
        (0..).map_while(|page| slab.pages.get(page)).map(|page| page.bytes.capacity()).sum()
    }

    fn tidy<T>(slab: &mut Slab, expected: &BTreeMap<u32, T>) {
        slab.tidy(|_| 0, |_, is_it| expected.keys().copied().find(|number| is_it(*number)));
    }

    /// More than that is never held for strings of one size.
    fn most(strings: usize, size: usize) -> usize {
        (strings * size * 8 / 7) * 8 / 7 + 3 * PAGE
    }

    #[derive(Debug, Clone)]
    enum Step {
        Insert(Vec<u8>),
        Remove(Index),
        Splice(Index, [Index; 2], Vec<u8>),
        Clone,
    }

    /// Few sizes, so that pages come and go, and now and then any.
    fn string() -> impl Strategy<Value = Vec<u8>> {
        let length = prop_oneof![4 => 0..20usize, 6 => 990..1_040usize, 1 => 0..3_000usize];
        let bytes = |(length, first): (usize, u8)| (0..length).map(|n| first.wrapping_add(n as u8)).collect();
        (length, any::<u8>()).prop_map(bytes)
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            6 => string().prop_map(Step::Insert),
            5 => any::<Index>().prop_map(Step::Remove),
            4 => (any::<Index>(), any::<[Index; 2]>(), string())
                .prop_map(|(which, range, with)| Step::Splice(which, range, with)),
            1 => Just(Step::Clone),
        ];
        prop::collection::vec(step, 0..300)
    }

    fn pick(index: Index, of: &BTreeMap<u32, Vec<u8>>) -> Option<u32> {
        (!of.is_empty()).then(|| *of.keys().nth(index.index(of.len())).unwrap())
    }

    proptest! {
        /// Beside a map that is surely right.
        #[test]
        fn a_slab_keeps_what_it_is_given(steps in steps()) {
            let (mut slab, mut expected) = (Slab::default(), BTreeMap::<u32, Vec<u8>>::new());
            for step in steps {
                match step {
                    Step::Insert(string) => {
                        let (front, back) = string.split_at(string.len() / 3);
                        let replaced = expected.insert(slab.insert(&[front, &[], back]), string);
                        prop_assert_eq!(replaced, None);
                    }
                    Step::Remove(which) => {
                        if let Some(which) = pick(which, &expected) {
                            slab.remove(which);
                            expected.remove(&which);
                            prop_assert_eq!(slab.get(which), None);
                        }
                    }
                    Step::Splice(which, range, with) => {
                        if let Some(which) = pick(which, &expected) {
                            let string = expected.get_mut(&which).unwrap();
                            let mut ends = range.map(|end| end.index(string.len() + 1));
                            ends.sort_unstable();
                            let (front, back) = with.split_at(with.len() / 2);
                            slab.splice(which, ends[0]..ends[1], [front, back]);
                            string.splice(ends[0]..ends[1], with);
                        }
                    }
                    // From now on it is the copy that has to be right.
                    Step::Clone => slab = slab.clone(),
                }
                tidy(&mut slab, &expected);
                for (number, string) in &expected {
                    prop_assert_eq!(slab.get(*number), Some(&string[..]));
                }
            }
            for (number, string) in &expected {
                slab.get_mut(*number).unwrap().fill(7);
                prop_assert_eq!(slab.get(*number), Some(&vec![7; string.len()][..]));
                slab.remove(*number);
            }
            prop_assert_eq!(held(&slab), 0, "all memory is given back");
            prop_assert!(slab.classes.iter().all(|class| (class.strings, class.pages, class.roomy) == (0, 0, NO_PAGE)));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Strings of one size that come and go in any order leave no more memory than is promised, and few move.
        #[test]
        fn little_memory_is_lost(
            size in 100..=SHORT,
            rounds in prop::collection::vec((0..1_000usize, any::<u64>()), 1..6),
        ) {
            let (mut slab, mut expected) = (Slab::default(), BTreeMap::new());
            let (mut added, mut moved, mut removed) = (0_usize, 0, 0);
            for (wanted, mut random) in rounds {
                while expected.len() < wanted {
                    added += 1;
                    expected.insert(slab.insert(&[&vec![1; size - 8], &added.to_le_bytes()]), added);
                }
                while expected.len() > wanted {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let from = (random >> 33) as u32 % 1_000;
                    let number = *expected.range(from..).next().or(expected.iter().next()).unwrap().0;
                    slab.remove(number);
                    expected.remove(&number);
                    removed += 1;
                    moved += slab.spare.map_or(0, |page| usize::from(slab.pages[page].used));
                    prop_assert!(moved < 2 * removed, "{moved} moved, {removed} removed");
                    tidy(&mut slab, &expected);
                    let (held, most) = (held(&slab), most(expected.len(), class(size).unwrap() * UNIT));
                    prop_assert!(held <= most, "{held} of {most} for {}", expected.len());
                }
                for (number, added) in &expected {
                    let string = [vec![1; size - 8], added.to_le_bytes().to_vec()].concat();
                    prop_assert_eq!(slab.get(*number), Some(&string[..]));
                }
            }
        }
    }

    #[test]
    fn memory_is_little_more_than_the_strings_and_is_used_again() {
        const MANY: usize = 10_000;
        for length in [30, 134, 700, SHORT] {
            let (mut slab, string) = (Slab::default(), vec![1; length]);
            let numbers: Vec<u32> = (0..MANY).map(|_| slab.insert(&[&string])).collect();
            let needed = class(length).unwrap() * UNIT * MANY;
            let full = held(&slab);
            assert!(full <= needed + needed / 16 + PAGE, "{full} for {needed}");
            for number in numbers.iter().step_by(3) {
                slab.remove(*number);
            }
            for _ in numbers.iter().step_by(3) {
                slab.insert(&[&string]);
            }
            assert_eq!(held(&slab), full, "the places of those that went");
        }
    }

    #[test]
    fn few_strings_need_little() {
        let mut slab = Slab::default();
        for length in 1..=64 {
            slab.insert(&[&vec![0; length]]);
        }
        assert_eq!(held(&slab), 64 / UNIT * SHORT);
    }

    #[test]
    fn what_points_to_a_string_is_short() {
        assert_eq!((size_of::<Option<Place>>(), size_of::<Page>()), (8, 40));
    }
}
