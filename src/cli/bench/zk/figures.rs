//! What a run has measured: as a table for people, as JSON for programs.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};
use zk_wire::codes::ErrorCode;

use super::process::Used;

/// How long something took, again and again. Three significant digits, in nanoseconds.
#[derive(Debug, Clone)]
pub(super) struct Times(Histogram<u64>);

/// A longer time counts as this one.
const LONGEST_NS: u64 = 600_000_000_000;
const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];

impl Times {
    pub(super) fn new() -> anyhow::Result<Times> {
        Ok(Times(Histogram::new_with_bounds(1, LONGEST_NS, 3)?))
    }

    pub(super) fn add(&mut self, time: Duration) {
        self.0.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(LONGEST_NS));
    }

    pub(super) fn count(&self) -> u64 {
        self.0.len()
    }

    /// The time that this share of all did not exceed.
    pub(super) fn quantile(&self, quantile: f64) -> Duration {
        Duration::from_nanos(self.0.value_at_quantile(quantile))
    }

    pub(super) fn clear(&mut self) {
        self.0.reset();
    }

    fn quantiles_us(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let us = |ns: u64| ns as f64 / 1e3;
        let quantiles = QUANTILES.map(|(name, quantile)| (name, us(self.0.value_at_quantile(quantile))));
        quantiles.into_iter().chain([("max", us(self.0.max()))])
    }
}

/// The figures of one run.
pub(super) struct Figures {
    /// What was asked for.
    pub(super) what: String,
    /// How long it was measured.
    pub(super) elapsed: Duration,
    /// Named histograms; the first counts as the total.
    pub(super) times: Vec<(&'static str, Times)>,
    /// Answers that were errors.
    pub(super) errors: BTreeMap<ErrorCode, u64>,
    /// Watch events that came.
    pub(super) events: u64,
    /// What else is worth a line: name, number, unit.
    pub(super) further: Vec<(&'static str, f64, &'static str)>,
    /// What the server's process used meanwhile, where it was named.
    pub(super) used: Option<Used>,
}

impl Figures {
    pub(super) fn print(&self, as_json: bool) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        match as_json {
            true => writeln!(out, "{}", self.json())?,
            false => self.table(&mut out)?,
        }
        Ok(())
    }

    fn per_second(&self, times: &Times) -> f64 {
        times.count() as f64 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    fn operations(&self) -> u64 {
        self.times.first().map_or(0, |(_, times)| times.count())
    }

    fn json(&self) -> Value {
        let times = self.times.iter().map(|(name, times)| {
            let mut row = json!({"count": times.count(), "per_second": self.per_second(times)});
            for (quantile, us) in times.quantiles_us() {
                row[format!("{quantile}_us")] = json!(us);
            }
            ((*name).to_owned(), row)
        });
        let further = self
            .further
            .iter()
            .map(|(name, number, unit)| ((*name).to_owned(), json!({"value": number, "unit": unit})));
        let errors = self.errors.iter().map(|(code, count)| (code.to_string(), json!(count)));
        json!({
            "what": self.what,
            "seconds": self.elapsed.as_secs_f64(),
            "times": times.collect::<serde_json::Map<_, _>>(),
            "errors": errors.collect::<serde_json::Map<_, _>>(),
            "events": self.events,
            "further": further.collect::<serde_json::Map<_, _>>(),
            "server": self.used.map(|used| json!({
                "cpu_seconds": used.cpu.as_secs_f64(),
                "cpu_seconds_per_million": used.cpu_per_million(self.operations()),
                "resident_bytes": used.resident_bytes,
            })),
        })
    }

    fn table(&self, out: &mut impl Write) -> anyhow::Result<()> {
        writeln!(out, "{}, {:.1} s", self.what, self.elapsed.as_secs_f64())?;
        let columns: String = QUANTILES.iter().map(|(name, _)| format!("{name:>10}")).collect();
        writeln!(out, "{:<10}{:>12}{:>12}{columns}{:>10}  (microseconds)", "", "count", "per second", "max")?;
        for (name, times) in self.times.iter().filter(|(_, times)| times.count() > 0) {
            let quantiles: String = times.quantiles_us().map(|(_, us)| format!("{us:>10.0}")).collect();
            writeln!(out, "{name:<10}{:>12}{:>12.0}{quantiles}", times.count(), self.per_second(times))?;
        }
        for (name, number, unit) in &self.further {
            writeln!(out, "{name}: {number:.3} {unit}")?;
        }
        if self.events > 0 {
            writeln!(out, "watch events: {}", self.events)?;
        }
        for (code, count) in &self.errors {
            writeln!(out, "errors: {count} of {code}")?;
        }
        if let Some(used) = self.used {
            writeln!(
                out,
                "server: {:.2} s of CPU, {:.2} s per million, {:.1} MB resident",
                used.cpu.as_secs_f64(),
                used.cpu_per_million(self.operations()),
                used.resident_bytes as f64 / 1e6,
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_say_what_was_measured() {
        let mut times = Times::new().unwrap();
        (1..=1_000).for_each(|us| times.add(Duration::from_micros(us)));
        let figures = Figures {
            what: "a test".to_owned(),
            elapsed: Duration::from_secs(2),
            times: vec![("all", times.clone()), ("get", Times::new().unwrap())],
            errors: BTreeMap::from([(ErrorCode::NoNode, 3)]),
            events: 0,
            further: vec![("waited", 1.5, "ms")],
            used: Some(Used { cpu: Duration::from_secs(1), resident_bytes: 1_000_000 }),
        };
        let json = figures.json();
        assert_eq!(json["times"]["all"]["per_second"], 500.0);
        let p99 = json["times"]["all"]["p99_us"].as_f64().unwrap();
        assert!((985.0..=995.0).contains(&p99), "{p99}");
        assert_eq!(json["errors"]["NoNode (-101)"], 3);
        assert_eq!(json["server"]["cpu_seconds_per_million"], 1_000.0);
        let mut table = Vec::new();
        figures.table(&mut table).unwrap();
        let table = String::from_utf8(table).unwrap();
        assert!(table.contains("errors: 3 of NoNode (-101)") && !table.contains("get"), "{table}");
    }
}
