//! Quantiles of each tenth of a second, and what they were in the median one.
//!
//! A machine that stops for a moment, once in a second, is what the quantiles of a whole run are about. Those of the
//! median tenth are about the server.

use std::time::{Duration, Instant};

use super::figures::Times;

/// What is asked of each tenth.
pub(super) const QUANTILES: [f64; 2] = [0.99, 0.999];
const TENTH: Duration = Duration::from_millis(100);

/// Latencies by when their answers came.
#[derive(Debug)]
pub(super) struct Tenths {
    times: Times,
    ends: Option<Instant>,
    ended: Vec<[Duration; QUANTILES.len()]>,
}

impl Tenths {
    pub(super) fn new() -> anyhow::Result<Tenths> {
        Ok(Tenths { times: Times::new()?, ends: None, ended: Vec::new() })
    }

    /// An answer came `now`, no earlier than the one before it, so long after it was due.
    pub(super) fn add(&mut self, now: Instant, time: Duration) {
        let ends = self.ends.get_or_insert(now + TENTH);
        while now >= *ends {
            // In a tenth without an answer everybody waited.
            let of = |quantile| match self.times.count() {
                0 => Duration::MAX,
                _ => self.times.quantile(quantile),
            };
            self.ended.push(QUANTILES.map(of));
            self.times.clear();
            *ends += TENTH;
        }
        self.times.add(time);
    }

    /// Each quantile's median over the tenths that have ended, if one has.
    pub(super) fn medians(&self) -> Option<[Duration; QUANTILES.len()]> {
        let median = |index: usize| {
            let mut all: Vec<_> = self.ended.iter().map(|of_tenth| of_tenth[index]).collect();
            all.sort_unstable();
            all[all.len() / 2]
        };
        (!self.ended.is_empty()).then(|| std::array::from_fn(median))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn one_bad_tenth_does_not_count_and_most_do() {
        let start = Instant::now();
        let medians = |bad: std::ops::Range<u32>| {
            let mut tenths = Tenths::new().unwrap();
            for n in 0..1_000 {
                let time = if bad.contains(&n) { 50 * MS } else { MS };
                tenths.add(start + n * MS, time);
            }
            tenths.medians().unwrap().map(|time| time.as_millis())
        };
        assert_eq!(medians(300..400), [1, 1]);
        assert_eq!(medians(200..900), [50, 50]);
    }

    #[test]
    fn a_tenth_without_an_answer_is_the_worst() {
        let start = Instant::now();
        let mut tenths = Tenths::new().unwrap();
        assert_eq!(tenths.medians(), None);
        tenths.add(start, MS);
        tenths.add(start + 999 * MS, MS);
        assert_eq!(tenths.medians(), Some([Duration::MAX; 2]));
    }
}
