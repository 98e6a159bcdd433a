//! Counters of a server and of its connections, as `srvr`, `mntr` and `cons` show them.

use std::time::Duration;

use hdrhistogram::Histogram;
use zk_wire::codes::{EventType, OpCode};
use zk_wire::ids::Zxid;

/// Longer ones are counted as this.
const LONGEST_MS: u64 = 600_000;

/// Counters since the start; those that Apache's `srst` sets back are marked.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stats {
    /// Messages received. Set back.
    pub received: u64,
    /// Messages sent. Set back.
    pub sent: u64,
    /// From request to answer, of all requests. Set back.
    pub latency: Spread,
    /// The same of what only reads. Set back.
    pub read_latency: Spread,
    /// The same of what is logged. Set back.
    pub update_latency: Spread,
    /// Bytes of answers to requests. Set back.
    pub response_size: Spread,
    /// Bytes of the last of them. Set back.
    pub last_response_size: Option<u64>,
    /// Bytes of messages received.
    pub received_bytes: u64,
    /// Bytes of events sent.
    pub watch_bytes: u64,
    /// First messages: requests for a session, new or resumed.
    pub connect_requests: u64,
    /// Those of them that named a session that there was.
    pub revalidated: u64,
    /// Credentials that were refused.
    pub auth_failed: u64,
    /// Sessions that have expired.
    pub expired: u64,
    /// Transactions that were logged.
    pub proposed: u64,
    /// Watches that each change fired, by its kind.
    pub fired: Fired,
}

/// Connections that each change was told to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fired {
    /// Of a znode that was created.
    pub created: Spread,
    /// Of one that was deleted.
    pub deleted: Spread,
    /// Of new data.
    pub changed: Spread,
    /// Of a list of children.
    pub children: Spread,
}

/// The least, the greatest and the sum of what was counted (`AvgMinMaxCounter`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spread {
    count: u64,
    sum: u64,
    min: u64,
    max: u64,
}

/// So many of a hundred were not above this.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quantiles {
    /// 50 of 100.
    pub p50: u64,
    /// 90 of 100.
    pub p90: u64,
    /// 95 of 100.
    pub p95: u64,
    /// 99 of 100.
    pub p99: u64,
    /// 999 of 1000.
    pub p999: u64,
}

/// How values are distributed, to two digits.
#[derive(Debug)]
pub struct Distribution(Histogram<u64>);

/// Counters of one connection; `crst` sets back all but the first.
#[derive(Debug, Clone, Copy, Default)]
pub struct ConnectionStats {
    /// When it was accepted, in milliseconds since 1970.
    pub established_ms: i64,
    /// Messages received.
    pub received: u64,
    /// Messages sent.
    pub sent: u64,
    /// The last answer, if there was one.
    pub last: Option<LastAnswer>,
    /// From request to answer.
    pub latency: Spread,
    /// The client's last xid that is not a reserved one.
    pub last_xid: Option<i32>,
}

/// The last answer on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastAnswer {
    /// What was asked for; none of a session that began.
    pub op: Option<OpCode>,
    /// The state that it shows.
    pub zxid: Zxid,
    /// When, since the server started.
    pub at: Duration,
    /// How long it took.
    pub latency: Duration,
}

impl Fired {
    /// The one for this kind of event.
    pub fn by(&mut self, kind: EventType) -> &mut Spread {
        match kind {
            EventType::NodeCreated => &mut self.created,
            EventType::NodeDeleted => &mut self.deleted,
            EventType::NodeDataChanged => &mut self.changed,
            _ => &mut self.children,
        }
    }
}

impl Spread {
    /// So many, with their sum, the least and the greatest.
    #[must_use]
    pub fn of(count: u64, sum: u64, min: u64, max: u64) -> Self {
        if count == 0 { Spread::default() } else { Spread { count, sum, min, max } }
    }

    /// One more.
    pub fn add(&mut self, value: u64) {
        self.min = if self.count == 0 { value } else { self.min.min(value) };
        self.max = self.max.max(value);
        self.sum = self.sum.saturating_add(value);
        self.count += 1;
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// All together.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// The least; 0 of none.
    #[must_use]
    pub fn min(&self) -> u64 {
        self.min
    }

    /// The greatest; 0 of none.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.max
    }

    /// The mean, to four digits behind the point; 0 of none.
    #[must_use]
    pub fn mean(&self) -> f64 {
        if self.count == 0 {
            return 0.0;
        }
        (self.sum as f64 / self.count as f64 * 10_000.0).round() / 10_000.0
    }
}

impl Default for Distribution {
    fn default() -> Self {
        Distribution(Histogram::new_with_bounds(1, LONGEST_MS, 2).expect("the bounds are constants"))
    }
}

impl Distribution {
    /// One more.
    pub fn add(&mut self, value: u64) {
        self.0.saturating_record(value);
    }

    /// Of all since the start, or since it was set back.
    #[must_use]
    pub fn quantiles(&self) -> Quantiles {
        let at = |quantile| self.0.value_at_quantile(quantile);
        Quantiles { p50: at(0.5), p90: at(0.9), p95: at(0.95), p99: at(0.99), p999: at(0.999) }
    }

    /// As if nothing had been.
    pub fn reset(&mut self) {
        self.0.reset();
    }
}

impl Stats {
    /// `srst`.
    pub fn reset(&mut self) {
        let kept = *self;
        *self = Stats { auth_failed: kept.auth_failed, ..Stats::default() };
    }

    /// A request has been answered.
    pub fn answered(&mut self, is_logged: bool, took: Duration) {
        let took = millis(took);
        self.latency.add(took);
        let of_its_kind = if is_logged { &mut self.update_latency } else { &mut self.read_latency };
        of_its_kind.add(took);
    }

    /// An answer of so many bytes is sent.
    pub fn responded(&mut self, bytes: u64) {
        self.response_size.add(bytes);
        self.last_response_size = Some(bytes);
    }
}

impl ConnectionStats {
    /// `crst`.
    pub fn reset(&mut self) {
        *self = ConnectionStats { established_ms: self.established_ms, ..ConnectionStats::default() };
    }

    /// A request has been answered; the answer to a session's begin has no xid.
    pub fn answered(&mut self, xid: Option<i32>, last: LastAnswer) {
        if let Some(xid) = xid.filter(|xid| *xid >= 0) {
            self.last_xid = Some(xid);
        }
        self.latency.add(millis(last.latency));
        self.last = Some(last);
    }
}

/// Whole milliseconds.
#[must_use]
pub fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_has_the_least_the_greatest_and_the_mean() {
        let mut spread = Spread::default();
        assert_eq!((spread.min(), spread.mean(), spread.max()), (0, 0.0, 0));
        for value in [7, 1, 3] {
            spread.add(value);
        }
        assert_eq!((spread.min(), spread.mean(), spread.max(), spread.count()), (1, 3.6667, 7, 3));
    }
}
