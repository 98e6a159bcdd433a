//! The sign of life of a loop.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// When a loop came round last.
#[derive(Debug)]
pub struct Pulse(Mutex<Instant>);

/// A loop that has not come round for so long hangs: none of its steps waits for anything.
const HANGS: Duration = Duration::from_secs(30);

impl Default for Pulse {
    /// It comes round now.
    fn default() -> Self {
        Pulse(Mutex::new(Instant::now()))
    }
}

impl Pulse {
    /// The loop comes round.
    pub fn beat(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Does the loop go on?
    #[must_use]
    pub fn goes_on(&self) -> bool {
        self.goes_on_at(Instant::now())
    }

    fn goes_on_at(&self, now: Instant) -> bool {
        now.saturating_duration_since(*self.0.lock().unwrap_or_else(PoisonError::into_inner)) < HANGS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_does_not_come_round_hangs() {
        let pulse = Pulse::default();
        let began = Instant::now();
        assert!(pulse.goes_on_at(began + HANGS / 2));
        assert!(!pulse.goes_on_at(began + HANGS * 2));
        pulse.beat();
        assert!(pulse.goes_on());
    }
}
