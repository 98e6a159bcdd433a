//! What is read, written and refused below each child of the root, which Apache calls a namespace
//! (`READ_PER_NAMESPACE`, `WRITE_PER_NAMESPACE`, `QUOTA_EXCEEDED_ERROR_PER_NAMESPACE`, `QuotaMetricsUtils`).

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bytes::Bytes;
use zk_wire::multi::{MultiResult, MultiResults, ReadOp};
use zk_wire::reply::Response;
use zk_wire::request::Request;
use zk_wire::txn::Txn;

use super::metrics::{Metric, Value};
use super::stats::Spread;
use crate::tree::Tree;
use crate::tree::quota::{Excess, Limited};

/// So many namespaces are counted. Who makes more has no numbers of those: each would be a line of `mntr` for as
/// long as the server runs.
const MOST: usize = 1000;

/// Every read counts as if a Stat came along (`DataTree.STAT_OVERHEAD_BYTES`).
const STAT_BYTES: usize = 68;

/// Between two lines of the log about quotas.
const SILENCE: Duration = Duration::from_secs(1);

/// Counters since the start.
#[derive(Debug, Default)]
pub struct Namespaces {
    read: HashMap<Box<str>, Spread>,
    written: HashMap<Box<str>, Spread>,
    refused: HashMap<Box<str>, u64>,
    /// When an excess was logged last, and how many were not since.
    logged: Option<Duration>,
    not_logged: u64,
}

impl Namespaces {
    /// A read was answered; one that failed counts for nothing.
    pub fn read(&mut self, request: &Request, answer: &Response) {
        match (request, answer) {
            (Request::GetData(r), Response::Data(answer)) => self.count_read(&r.path, length(&answer.data)),
            (Request::Exists(r), Response::Stat(_)) => self.count_read(&r.path, 0),
            (Request::GetChildren(r), Response::Strings(answer)) => {
                self.count_read(&r.path, of_names(&answer.strings));
            }
            (Request::GetChildren2(r), Response::Children2(answer)) => {
                self.count_read(&r.path, of_names(&answer.children));
            }
            (Request::MultiRead(ops), Response::Multi(MultiResults(results))) => {
                for (ReadOp::GetData(r) | ReadOp::GetChildren(r), result) in ops.iter().zip(results) {
                    match result {
                        MultiResult::GetData(data, _) => self.count_read(&r.path, length(data)),
                        MultiResult::GetChildren(names) => self.count_read(&r.path, of_names(names)),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }

    /// A transaction was applied.
    pub fn written(&mut self, txn: &Txn) {
        match txn {
            Txn::Create(t) | Txn::Create2(t) => self.count_written(&t.path, length(&t.data)),
            Txn::CreateContainer(t) => self.count_written(&t.path, length(&t.data)),
            Txn::CreateTtl(t) => self.count_written(&t.path, length(&t.data)),
            Txn::SetData(t) | Txn::Reconfig(t) => self.count_written(&t.path, length(&t.data)),
            Txn::Delete(t) | Txn::DeleteContainer(t) => self.count_written(&t.path, 0),
            Txn::CloseSession(paths) => {
                for path in paths.iter().flatten() {
                    self.count_written(path, 0);
                }
            }
            Txn::Multi(parts) if !parts.iter().any(|part| matches!(part, Txn::Error(_))) => {
                for part in parts {
                    self.written(part);
                }
            }
            Txn::Multi(_) | Txn::SetAcl(_) | Txn::Check(_) | Txn::CreateSession(_) | Txn::Error(_) => {}
        }
    }

    /// A write went beyond a limit of the quota of `about`. The log has one line of this in a second, with the
    /// number of those that have none.
    pub fn exceeded(&mut self, about: &str, excess: Excess, now: Duration) {
        if excess.is_hard
            && let Some(count) = entry(&mut self.refused, about)
        {
            *count += 1;
        }
        if self.logged.is_some_and(|at| now.saturating_sub(at) < SILENCE) {
            self.not_logged += 1;
            return;
        }
        let Excess { of, would_be, limit, is_hard } = excess;
        let others = std::mem::take(&mut self.not_logged);
        self.logged = Some(now);
        tracing::warn!(path = about, ?of, would_be, limit, refused = is_hard, others, "a quota is exceeded");
    }

    /// All of these as metrics, and what quotas there are.
    #[must_use]
    pub fn metrics(&self, tree: &Tree) -> Vec<Metric> {
        let mut metrics = vec![
            Metric {
                name: "read_per_namespace",
                help: "Bytes of paths and answers of reads, each with a Stat.",
                value: Value::Summaries(sorted(&self.read)),
            },
            Metric {
                name: "write_per_namespace",
                help: "Bytes of paths and data of writes.",
                value: Value::Summaries(sorted(&self.written)),
            },
            Metric {
                name: "quota_exceeded_error_per_namespace",
                help: "Writes that a hard quota refused.",
                value: Value::Counters(sorted(&self.refused)),
            },
        ];
        metrics.extend(of_quotas(tree));
        metrics
    }

    fn count_read(&mut self, path: &str, bytes: usize) {
        if let Some(spread) = entry(&mut self.read, path) {
            spread.add((path.len() + bytes + STAT_BYTES) as u64);
        }
    }

    fn count_written(&mut self, path: &str, bytes: usize) {
        if let Some(spread) = entry(&mut self.written, path) {
            spread.add((path.len() + bytes) as u64);
        }
    }
}

/// What is allowed and used by namespace, of all its quotas together; a limit that is not set counts -1, as there.
fn of_quotas(tree: &Tree) -> [Metric; 4] {
    let mut sums: BTreeMap<&str, [i64; 4]> = BTreeMap::new();
    for (about, limits, used) in tree.quotas() {
        let Some(namespace) = namespace(about) else { continue };
        let numbers = [
            limits.limit(Limited::Znodes),
            limits.limit(Limited::Bytes),
            used.usage(Limited::Znodes),
            used.usage(Limited::Bytes),
        ];
        let sum = sums.entry(namespace).or_default();
        for (sum, number) in sum.iter_mut().zip(numbers) {
            *sum = sum.saturating_add(number);
        }
    }
    let gauges = |name, help, index: usize| Metric {
        name,
        help,
        value: Value::Gauges(
            sums.iter().take(MOST).map(|(key, sum)| ((*key).to_owned(), sum[index])).collect(),
        ),
    };
    [
        gauges("quota_count_limit_per_namespace", "Znodes that quotas allow.", 0),
        gauges("quota_bytes_limit_per_namespace", "Bytes that quotas allow.", 1),
        gauges("quota_count_usage_per_namespace", "Znodes below quotas.", 2),
        gauges("quota_bytes_usage_per_namespace", "Bytes below quotas.", 3),
    ]
}

/// The number of the namespace of `path`, if it has one and there is room.
fn entry<'a, T: Default>(counters: &'a mut HashMap<Box<str>, T>, path: &str) -> Option<&'a mut T> {
    let namespace = namespace(path)?;
    if !counters.contains_key(namespace) {
        if counters.len() == MOST {
            return None;
        }
        counters.insert(namespace.into(), T::default());
    }
    counters.get_mut(namespace)
}

/// The first part of a path (`PathUtils.getTopNamespace`); none of the root.
fn namespace(path: &str) -> Option<&str> {
    path.strip_prefix('/')?.split('/').next().filter(|name| !name.is_empty())
}

fn sorted<T: Copy>(counters: &HashMap<Box<str>, T>) -> Vec<(String, T)> {
    let mut sorted: Vec<(String, T)> =
        counters.iter().map(|(name, number)| (name.to_string(), *number)).collect();
    sorted.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    sorted
}

fn of_names(names: &[String]) -> usize {
    names.iter().map(String::len).sum()
}

fn length(data: &Option<Bytes>) -> usize {
    data.as_ref().map_or(0, Bytes::len)
}

#[cfg(test)]
mod tests {
    use zk_wire::codes::ErrorCode;
    use zk_wire::txn::{DeleteTxn, SetDataTxn};

    use super::*;

    fn set(path: &str, bytes: usize) -> Txn {
        Txn::SetData(SetDataTxn { path: path.to_owned(), data: Some(vec![0; bytes].into()), version: 1 })
    }

    fn written(counted: &Namespaces) -> Vec<(String, u64, u64)> {
        let numbers = |(name, spread): (String, Spread)| (name, spread.count(), spread.sum());
        sorted(&counted.written).into_iter().map(numbers).collect()
    }

    #[test]
    fn a_write_counts_for_the_child_of_the_root_with_its_path_and_data() {
        let mut counted = Namespaces::default();
        let delete = Txn::Delete(DeleteTxn { path: "/b/c".to_owned() });
        counted.written(&Txn::Multi(vec![set("/a/x", 3), delete]));
        counted.written(&Txn::Multi(vec![set("/a/x", 3), Txn::Error(ErrorCode::NoNode)]));
        counted.written(&Txn::CloseSession(Some(vec!["/a".to_owned()])));
        counted.written(&set("/", 9));
        assert_eq!(written(&counted), [("a".to_owned(), 2, 9), ("b".to_owned(), 1, 4)]);
    }

    #[test]
    fn clients_cannot_make_the_numbers_grow_for_ever() {
        let mut counted = Namespaces::default();
        for n in 0..=MOST {
            counted.written(&set(&format!("/n{n}"), 0));
        }
        counted.written(&set("/n0", 0));
        assert_eq!(counted.written.len(), MOST);
        assert_eq!(counted.written["n0"].count(), 2, "who is there still counts");
    }

    #[test]
    fn one_excess_in_a_second_is_logged_and_each_refusal_counted() {
        let mut counted = Namespaces::default();
        let hard = Excess { of: Limited::Znodes, would_be: 4, limit: 3, is_hard: true };
        for ms in [0, 10, 20, 1_010] {
            counted.exceeded("/a/b", hard, Duration::from_millis(ms));
        }
        counted.exceeded("/a/b", Excess { is_hard: false, ..hard }, Duration::from_millis(1_020));
        assert_eq!(sorted(&counted.refused), [("a".to_owned(), 4)]);
        assert_eq!((counted.logged, counted.not_logged), (Some(Duration::from_millis(1_010)), 1));
    }
}
