//! Families of metrics, each made from constants.

use std::marker::PhantomData;

use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

/// A label whose values are known when this is compiled.
pub trait Label: Copy + 'static {
    /// Its name.
    const NAME: &'static str;
    /// All members.
    const ALL: &'static [Self];
    /// As Prometheus sees it.
    fn value(self) -> &'static str;
}

/// A counter for each member of a closed set. All are there from the start, as zero.
#[derive(Clone)]
pub struct CounterBy<L> {
    counters: IntCounterVec,
    label: PhantomData<L>,
}

/// Why a family can always be made and registered.
const CONSTANT: &str = "names are constants, valid and given once; a test registers them all";

/// A counter.
#[must_use]
pub fn counter(name: &str, help: &str) -> IntCounter {
    IntCounter::new(name, help).expect(CONSTANT)
}

/// A gauge.
#[must_use]
pub fn gauge(name: &str, help: &str) -> IntGauge {
    IntGauge::new(name, help).expect(CONSTANT)
}

/// A histogram of seconds: from half a millisecond, what a write takes at best, in steps of two to three, to a
/// minute, beyond which nobody waits.
#[must_use]
pub fn histogram(name: &str, help: &str) -> Histogram {
    const SECONDS: [f64; 16] =
        [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
    Histogram::with_opts(HistogramOpts::new(name, help).buckets(SECONDS.to_vec())).expect(CONSTANT)
}

/// Registers a family.
pub fn register(registry: &Registry, family: impl Collector + 'static) {
    registry.register(Box::new(family)).expect(CONSTANT);
}

/// Registers what the kernel knows of this process.
pub fn process(registry: &Registry) {
    register(registry, ProcessCollector::for_self());
}

impl<L: Label> CounterBy<L> {
    /// All members, at zero.
    #[must_use]
    pub fn new(name: &str, help: &str) -> Self {
        let counters = IntCounterVec::new(Opts::new(name, help), &[L::NAME]).expect(CONSTANT);
        for member in L::ALL {
            counters.with_label_values(&[member.value()]).reset();
        }
        CounterBy { counters, label: PhantomData }
    }

    /// One more.
    pub fn inc(&self, member: L) {
        self.add(member, 1);
    }

    /// So many more.
    pub fn add(&self, member: L, count: usize) {
        self.counters.with_label_values(&[member.value()]).inc_by(count as u64);
    }

    /// Registers the family.
    pub fn register(&self, registry: &Registry) {
        register(registry, self.counters.clone());
    }
}

/// A gauge for each member of a closed set. All are there from the start, as zero.
#[derive(Clone)]
pub struct GaugeBy<L> {
    gauges: IntGaugeVec,
    label: PhantomData<L>,
}

impl<L: Label> GaugeBy<L> {
    /// All members, at zero.
    #[must_use]
    pub fn new(name: &str, help: &str) -> Self {
        let gauges = IntGaugeVec::new(Opts::new(name, help), &[L::NAME]).expect(CONSTANT);
        for member in L::ALL {
            gauges.with_label_values(&[member.value()]).set(0);
        }
        GaugeBy { gauges, label: PhantomData }
    }

    /// So many there are.
    pub fn set(&self, member: L, count: usize) {
        self.gauges.with_label_values(&[member.value()]).set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Registers the family.
    pub fn register(&self, registry: &Registry) {
        register(registry, self.gauges.clone());
    }
}

impl<L> std::fmt::Debug for GaugeBy<L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GaugeBy").finish_non_exhaustive()
    }
}

impl<L> std::fmt::Debug for CounterBy<L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CounterBy").finish_non_exhaustive()
    }
}
