//! The server's metrics for Prometheus, under Apache's names and of Apache's kinds
//! (`PrometheusMetricsProvider`). A summary of Apache's that has a median has none here, only its sum and count.

use prometheus::Registry;
use prometheus::proto::{self, MetricFamily, MetricType};
use zab::Reporter;
use zab::server::metrics::{Metric, Number, Value};
use zab::server::stats::{Quantiles, Spread};

use super::process;
use crate::http::{Reason, Subject};

/// A server, as whoever watches over it sees it.
#[derive(Debug)]
pub struct ServerSubject {
    reporter: Reporter,
    process: Registry,
}

const SILENT: &str = "the server does not answer";

impl ServerSubject {
    /// Looks at a server.
    #[must_use]
    pub fn new(reporter: Reporter) -> Self {
        let registry = Registry::new();
        process(&registry);
        ServerSubject { reporter, process: registry }
    }

    async fn metrics(&self) -> Result<Vec<Metric>, &'static str> {
        self.reporter.report().await.map(|report| report.metrics).ok_or(SILENT)
    }
}

impl Subject for ServerSubject {
    /// Its one task answers.
    async fn live(&self) -> Result<(), Reason> {
        Ok(self.metrics().await.map(drop)?)
    }

    /// A server that runs serves: it listens only when it has recovered.
    async fn ready(&self) -> Result<(), Reason> {
        Ok(self.metrics().await.map(drop)?)
    }

    async fn families(&self) -> Result<Vec<MetricFamily>, &'static str> {
        // A set has no members yet on a server that nobody has used, and the encoder refuses a family without any.
        let mut families: Vec<MetricFamily> = self
            .metrics()
            .await?
            .iter()
            .map(family)
            .filter(|family| !family.get_metric().is_empty())
            .collect();
        families.extend(self.process.gather());
        families.sort_by(|a, b| a.name().cmp(b.name()));
        Ok(families)
    }
}

fn family(metric: &Metric) -> MetricFamily {
    let (kind, metrics) = match &metric.value {
        Value::Gauge(number) => (MetricType::GAUGE, vec![gauge(*number)]),
        Value::Gauges(members) => (MetricType::GAUGE, keyed(members, |number| gauge(Number::Whole(*number)))),
        Value::Counters(members) => (MetricType::COUNTER, keyed(members, |count| counter(*count))),
        Value::Summaries(members) => (MetricType::SUMMARY, keyed(members, |spread| summary(spread, &[]))),
        Value::Counter(count) => (MetricType::COUNTER, vec![counter(*count)]),
        Value::Summary(spread) => (MetricType::SUMMARY, vec![summary(spread, &[])]),
        Value::Distribution(spread, quantiles) => {
            let Quantiles { p50, p90, p99, .. } = *quantiles;
            (MetricType::SUMMARY, vec![summary(spread, &[(0.5, p50), (0.9, p90), (0.99, p99)])])
        }
    };
    let mut family = MetricFamily::default();
    family.set_name(metric.name.to_owned());
    family.set_help(metric.help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

fn gauge(number: Number) -> proto::Metric {
    let mut value = proto::Gauge::default();
    value.set_value(match number {
        Number::Whole(number) => number as f64,
        Number::Fraction(number) => number,
    });
    let mut metric = proto::Metric::default();
    metric.set_gauge(value);
    metric
}

/// The members of a set; Apache's label is `key`.
fn keyed<T>(members: &[(String, T)], value: impl Fn(&T) -> proto::Metric) -> Vec<proto::Metric> {
    let member = |(key, number): &(String, T)| {
        let mut label = proto::LabelPair::default();
        label.set_name("key".to_owned());
        label.set_value(key.clone());
        let mut metric = value(number);
        metric.set_label(vec![label]);
        metric
    };
    members.iter().map(member).collect()
}

fn counter(count: u64) -> proto::Metric {
    let mut value = proto::Counter::default();
    value.set_value(count as f64);
    let mut metric = proto::Metric::default();
    metric.set_counter(value);
    metric
}

/// Of nothing, quantiles are no numbers, as in Apache's answer.
fn summary(spread: &Spread, quantiles: &[(f64, u64)]) -> proto::Metric {
    let quantile = |&(quantile, value): &(f64, u64)| {
        let mut one = proto::Quantile::default();
        one.set_quantile(quantile);
        one.set_value(if spread.count() == 0 { f64::NAN } else { value as f64 });
        one
    };
    let mut value = proto::Summary::default();
    value.set_sample_count(spread.count());
    value.set_sample_sum(spread.sum() as f64);
    value.set_quantile(quantiles.iter().map(quantile).collect());
    let mut metric = proto::Metric::default();
    metric.set_summary(value);
    metric
}
