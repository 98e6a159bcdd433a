//! Which transaction may follow which.

use zk_wire::ids::Zxid;

/// Follows the zxids of a replay and notices when one is missing, as far as that can be seen: within an epoch
/// counters go up by one, and an epoch starts with counter one. That the tail of an earlier epoch is missing
/// cannot be seen.
#[derive(Debug)]
pub(super) struct Continuity {
    /// The snapshot's zxid; what it covers needs no continuity.
    base: Option<Zxid>,
    last: Zxid,
    /// May the first of all be any?
    trust_empty: bool,
    /// Is only the very next zxid good enough?
    strict: bool,
}

/// What to do with a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The snapshot has it.
    Skip,
    /// It is the next one.
    Apply,
    /// Something before it is missing.
    Gap,
    /// It is the first of all that are left, but not the first that ever was.
    NotTheBeginning,
}

impl Continuity {
    /// `base` is the snapshot's zxid; without one, `trust_empty` lets the first transaction be any.
    pub(super) fn new(base: Option<Zxid>, trust_empty: bool) -> Self {
        Continuity { base, last: base.unwrap_or(Zxid::ZERO), trust_empty, strict: false }
    }

    /// The last transaction there is.
    pub(super) fn last(&self) -> Zxid {
        self.last
    }

    /// Something unreadable comes between. It cannot be a lost transaction if the snapshot covers all in front
    /// of it, or if the very next transaction follows.
    pub(super) fn interrupted(&mut self) {
        self.strict = self.base.is_none_or(|base| self.last > base);
    }

    /// Takes the next transaction.
    pub(super) fn step(&mut self, zxid: Zxid) -> Step {
        if self.base.is_some_and(|base| zxid <= base && self.last == base) {
            return Step::Skip;
        }
        if !self.follows(zxid) {
            return match self.base {
                None if self.last == Zxid::ZERO => Step::NotTheBeginning,
                _ => Step::Gap,
            };
        }
        self.last = zxid;
        self.strict = false;
        Step::Apply
    }

    fn follows(&self, zxid: Zxid) -> bool {
        let next = self.last.next() == Some(zxid);
        if self.strict {
            return next;
        }
        let again = zxid == self.last;
        let new_epoch = zxid.epoch() > self.last.epoch() && zxid.counter() <= 1;
        match self.base {
            // Epoch 0 is a standalone server's, epoch 1 a new ensemble's.
            None if self.last == Zxid::ZERO => self.trust_empty || next || zxid == Zxid::new(1, 1),
            _ => next || again || new_epoch,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn zxid(epoch: i64, counter: i64) -> Zxid {
        Zxid(epoch << 32 | counter)
    }

    #[test]
    fn the_table_of_cases() {
        use Step::{Apply, Gap, NotTheBeginning, Skip};
        let cases = [
            (Some(zxid(0, 5)), zxid(0, 5), Skip),
            (Some(zxid(0, 5)), zxid(0, 6), Apply),
            (Some(zxid(0, 5)), zxid(0, 7), Gap),
            (Some(zxid(0, 5)), zxid(1, 1), Apply),
            (Some(zxid(0, 5)), zxid(1, 2), Gap),
            (Some(zxid(1, 0)), zxid(1, 1), Apply),
            (Some(zxid(1, 5)), zxid(4, 1), Apply),
            (None, zxid(0, 1), Apply),
            (None, zxid(1, 1), Apply),
            (None, zxid(0, 2), NotTheBeginning),
            (None, zxid(2, 1), NotTheBeginning),
        ];
        for (base, found, expected) in cases {
            assert_eq!(Continuity::new(base, false).step(found), expected, "{base:?} {found}");
        }
    }

    #[test]
    fn whoever_trusts_an_empty_tree_starts_anywhere_and_goes_on_without_gaps() {
        let mut order = Continuity::new(None, true);
        let steps = [70, 71, 73].map(|counter| order.step(zxid(3, counter)));
        assert_eq!(steps, [Step::Apply, Step::Apply, Step::Gap]);
    }

    #[test]
    fn a_zxid_may_come_twice_but_never_go_back() {
        let mut order = Continuity::new(Some(zxid(0, 5)), false);
        let steps = [6, 6, 7, 6, 5].map(|counter| order.step(zxid(0, counter)));
        assert_eq!(steps, [Step::Apply, Step::Apply, Step::Apply, Step::Gap, Step::Gap]);
        assert_eq!(order.last(), zxid(0, 7));
    }

    #[test]
    fn behind_an_interruption_only_the_very_next_will_do() {
        let after = |last, found| {
            let mut order = Continuity::new(Some(zxid(0, 5)), false);
            order.step(last);
            order.interrupted();
            order.step(found)
        };
        assert_eq!(after(zxid(0, 6), zxid(0, 7)), Step::Apply);
        assert_eq!(after(zxid(0, 6), zxid(0, 6)), Step::Gap);
        assert_eq!(after(zxid(0, 6), zxid(1, 1)), Step::Gap);
        assert_eq!(after(zxid(0, 5), zxid(1, 1)), Step::Apply, "the snapshot covers it");
    }
}
