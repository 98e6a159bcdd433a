//! How fast an audit goes round.
//!
//! Watches are told of everything, as long as whoever keeps them makes no mistake. An audit reads again what they are
//! about, however quiet they are: a turn takes the interval, whatever there is to read, so it never comes in a burst.

use std::time::Duration;

use crate::model::ZnodePath;

/// Where the audit is.
#[derive(Debug)]
pub(super) struct Audit {
    every: Duration,
    /// What was read last in this turn.
    pub(super) after: Option<ZnodePath>,
    /// What is due and was not read, in parts of one.
    credit: f64,
    /// Up to when that is known.
    now: Duration,
}

/// How often something may be read.
const TICK: Duration = Duration::from_secs(1);
/// The shortest interval is as smooth as this allows.
const TICKS: u32 = 10;

impl Audit {
    /// Each turn takes this long.
    pub(super) fn every(every: Duration) -> Self {
        Audit { every, after: None, credit: 0.0, now: Duration::ZERO }
    }

    /// How often to ask for [`Audit::share`].
    pub(super) fn tick(&self) -> Duration {
        TICK.min(self.every / TICKS).max(Duration::from_millis(1))
    }

    /// How many of `all` are to be read at `now`. Those of a time in which nobody asked are not made up for in one go.
    pub(super) fn share(&mut self, all: usize, now: Duration) -> usize {
        let passed = now.saturating_sub(self.now).min(self.tick() * 2);
        self.now = now;
        #[allow(clippy::cast_precision_loss)] // It is about a pace.
        let all = all as f64;
        self.credit += all * passed.as_secs_f64() / self.every.as_secs_f64();
        let share = self.credit.trunc();
        self.credit -= share;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // At most a few times `all`.
        let share = share as usize;
        share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_takes_the_interval_however_much_there_is() {
        for all in [0, 1, 7, 599, 600, 150_000] {
            let mut audit = Audit::every(Duration::from_secs(600));
            assert_eq!(audit.tick(), Duration::from_secs(1));
            let shares: Vec<_> = (1..=600).map(|now| audit.share(all, Duration::from_secs(now))).collect();
            let read: usize = shares.iter().sum();
            assert!(read.abs_diff(all) <= 1, "{read} of {all}");
            assert!(shares.iter().all(|&share| share <= all / 600 + 1), "a burst of {all}");
        }
    }

    #[test]
    fn what_was_not_asked_for_is_not_made_up_for_in_a_burst() {
        let mut audit = Audit::every(Duration::from_secs(600));
        assert_eq!(audit.share(6_000, Duration::from_secs(300)), 20);
        assert_eq!(audit.share(6_000, Duration::from_secs(301)), 10);
    }
}
