//! Durations, and what they are quoted as.

use std::fmt;
use std::time::Duration;

/// Samples of one quantity. All are kept: a benchmark has thousands, not millions.
#[derive(Debug, Default)]
pub(super) struct Latencies(Vec<Duration>);

/// What is quoted of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Quantiles {
    pub(super) p50: Duration,
    pub(super) p99: Duration,
    pub(super) max: Duration,
}

impl Latencies {
    pub(super) fn add(&mut self, sample: Duration) {
        self.0.push(sample);
    }

    /// The nearest-rank quantiles; all zero without samples.
    pub(super) fn quantiles(mut self) -> Quantiles {
        self.0.sort_unstable();
        let rank = |percent: usize| {
            let index = (self.0.len() * percent).div_ceil(100).max(1) - 1;
            self.0.get(index).copied().unwrap_or_default()
        };
        Quantiles { p50: rank(50), p99: rank(99), max: rank(100) }
    }
}

impl fmt::Display for Quantiles {
    /// `p50`, `p99` and `max` in milliseconds, in columns of nine.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for quantile in [self.p50, self.p99, self.max] {
            write!(f, "{:>9.2}", quantile.as_secs_f64() * 1e3)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_samples() {
        let ms = Duration::from_millis;
        let mut latencies = Latencies::default();
        (1..=200).rev().for_each(|sample| latencies.add(ms(sample)));
        assert_eq!(latencies.quantiles(), Quantiles { p50: ms(100), p99: ms(198), max: ms(200) });
        let mut one = Latencies::default();
        one.add(ms(7));
        assert_eq!(one.quantiles(), Quantiles { p50: ms(7), p99: ms(7), max: ms(7) });
    }
}
