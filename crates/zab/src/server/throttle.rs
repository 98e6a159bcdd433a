//! How many sessions may begin or be resumed in a time (`BlueThrottle`): a bucket of tokens, and if asked for
//! refusals by chance before it is empty.

use std::time::Duration;

use crate::config::ThrottleSettings;

/// What a connection wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// A new session.
    New,
    /// One that it had.
    Resumed,
}

/// The bucket.
#[derive(Debug)]
pub struct ConnectionThrottle {
    settings: ThrottleSettings,
    max_tokens: u64,
    fill_count: u64,
    tokens: u64,
    filled: Duration,
    froze: Duration,
    drop: f64,
    random: u64,
}

impl ConnectionThrottle {
    /// A full bucket. `seed` makes chance.
    #[must_use]
    pub fn new(settings: ThrottleSettings, now: Duration, seed: u64) -> Self {
        let weight = u64::from(if settings.weighted { settings.new_session } else { 1 });
        let max_tokens = weight * u64::from(settings.tokens);
        let fill_count = weight * u64::from(settings.fill_count);
        let (filled, froze) = (now, now);
        ConnectionThrottle {
            settings,
            max_tokens,
            fill_count,
            tokens: max_tokens,
            filled,
            froze,
            drop: 0.0,
            random: seed,
        }
    }

    /// May one more begin? Takes its tokens.
    pub fn admit(&mut self, now: Duration, wanted: Wanted) -> bool {
        if self.max_tokens == 0 {
            return true;
        }
        let (settings, need) = (&self.settings, u64::from(self.cost(wanted)));
        let fill_time = u128::from(settings.fill_time_ms);
        let elapsed = now.saturating_sub(self.filled).as_millis();
        if elapsed > fill_time {
            let refill = elapsed.saturating_mul(u128::from(self.fill_count)) / fill_time.max(1);
            let refilled = u128::from(self.tokens).saturating_add(refill);
            self.tokens = u64::try_from(refilled).unwrap_or(u64::MAX).min(self.max_tokens);
            self.filled = now;
        }
        if self.is_refused_by_chance(now) || self.tokens < need {
            return false;
        }
        self.tokens -= need;
        true
    }

    fn cost(&self, wanted: Wanted) -> u32 {
        match (self.settings.weighted, wanted) {
            (false, _) => 1,
            (true, Wanted::New) => self.settings.new_session,
            (true, Wanted::Resumed) => self.settings.resumed_session,
        }
    }

    fn is_refused_by_chance(&mut self, now: Duration) -> bool {
        let Some(freeze_time) = self.settings.freeze_time_ms else {
            return false;
        };
        if now.saturating_sub(self.froze) > Duration::from_millis(u64::from(freeze_time)) {
            let missing = self.max_tokens - self.tokens;
            let few = (self.max_tokens as f64 * self.settings.decrease_ratio).round();
            if self.tokens == 0 {
                self.drop = (self.drop + self.settings.drop_increase).min(1.0);
            } else if missing as f64 <= few {
                self.drop = (self.drop - self.settings.drop_decrease).max(0.0);
            }
            self.froze = now;
        }
        self.chance() < self.drop
    }

    /// From zero to one (SplitMix64).
    fn chance(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.random;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) as f64 / u64::MAX as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn throttle(settings: ThrottleSettings) -> ConnectionThrottle {
        ConnectionThrottle::new(settings, Duration::ZERO, 7)
    }

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn admitted(throttle: &mut ConnectionThrottle, ms: u64, wanted: Wanted, tries: usize) -> usize {
        (0..tries).filter(|_| throttle.admit(at(ms), wanted)).count()
    }

    #[test]
    fn without_tokens_nothing_is_throttled() {
        assert_eq!(admitted(&mut throttle(ThrottleSettings::default()), 0, Wanted::New, 1000), 1000);
    }

    #[test]
    fn tokens_are_spent_and_come_back_with_time() {
        let settings =
            ThrottleSettings { tokens: 10, fill_time_ms: 100, fill_count: 2, ..Default::default() };
        let mut throttle = throttle(settings);
        assert_eq!(admitted(&mut throttle, 0, Wanted::New, 20), 10);
        assert_eq!(admitted(&mut throttle, 100, Wanted::New, 20), 0, "not before the time is over");
        assert_eq!(admitted(&mut throttle, 200, Wanted::Resumed, 20), 4);
        assert_eq!(admitted(&mut throttle, 1_000_000, Wanted::New, 20), 10);
    }

    #[test]
    fn a_resumed_session_may_cost_less() {
        let settings = ThrottleSettings { tokens: 10, weighted: true, ..Default::default() };
        assert_eq!(admitted(&mut throttle(settings.clone()), 0, Wanted::New, 100), 10);
        assert_eq!(admitted(&mut throttle(settings), 0, Wanted::Resumed, 100), 15);
    }

    #[test]
    fn chance_refuses_more_while_there_are_no_tokens_and_less_when_there_are() {
        let settings = ThrottleSettings {
            tokens: 1,
            fill_time_ms: 1_000_000,
            freeze_time_ms: Some(1),
            drop_increase: 0.1,
            drop_decrease: 0.1,
            decrease_ratio: 1.0,
            ..Default::default()
        };
        let mut throttle = throttle(settings);
        assert!(throttle.admit(at(0), Wanted::New));
        for ms in 1..=40 {
            assert!(!throttle.admit(at(ms), Wanted::New));
        }
        assert!((throttle.drop - 1.0).abs() < 1e-9, "{}", throttle.drop);
        throttle.tokens = 1;
        let refused = (41..=80).take_while(|ms| !throttle.admit(at(*ms), Wanted::New)).count();
        assert!((1..40).contains(&refused), "{refused}");
    }
}
