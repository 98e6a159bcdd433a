//! Puts what two independent observers saw into one order, so that a judge can compare it.
//!
//! The watch of the slices and the reads of the directory run beside each other. A slice's change is known
//! here a little after it happened, and the bridge may be faster than we are; so an endpoint may have come or
//! gone from a moment *before* we heard of it, and a read is judged only when whatever happened during it has
//! had time to be heard of.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::judge::{Bounds, Change, Judge};

/// How late the news of a change may be.
const SLACK: Duration = Duration::from_millis(500);

/// Facts and reads of one directory, on their way to its judge.
#[derive(Debug)]
pub struct Timeline {
    judge: Judge,
    known_since: Option<Duration>,
    now_ready: BTreeSet<String>,
    /// When we last heard of an endpoint, if that is less than [`SLACK`] ago.
    just_heard: BTreeMap<String, Duration>,
    /// In the order of their instants.
    facts: VecDeque<Fact>,
    reads: VecDeque<Read>,
}

#[derive(Debug)]
struct Fact {
    at: Duration,
    endpoint: String,
    change: Change,
}

#[derive(Debug)]
struct Read {
    began: Duration,
    ended: Duration,
    seen: BTreeSet<String>,
}

impl Timeline {
    /// A directory of which nothing is known.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Timeline {
            judge: Judge::new(bounds),
            known_since: None,
            now_ready: BTreeSet::new(),
            just_heard: BTreeMap::new(),
            facts: VecDeque::new(),
            reads: VecDeque::new(),
        }
    }

    /// At `at` we heard that exactly these are ready.
    pub fn heard(&mut self, at: Duration, ready: BTreeSet<String>) {
        self.known_since.get_or_insert(at);
        let earlier = at.saturating_sub(SLACK);
        self.just_heard.retain(|_, heard| *heard > earlier);
        let before = std::mem::replace(&mut self.now_ready, ready.clone());
        for endpoint in before.difference(&ready) {
            self.changed(at, endpoint, Change::MayVanish, Change::Gone);
        }
        for endpoint in ready.difference(&before) {
            self.changed(at, endpoint, Change::MayAppear, Change::Ready);
        }
    }

    /// A read lasted from `began` to `ended` and returned `seen`.
    pub fn read(&mut self, began: Duration, ended: Duration, seen: BTreeSet<String>) {
        self.reads.push_back(Read { began, ended, seen });
        self.settle(ended.saturating_sub(SLACK));
    }

    /// Judges every read that is left. The last ones are judged although news of them may be missing, so
    /// they must come from a time when nothing changed.
    pub fn close(mut self) -> Judge {
        self.settle(Duration::MAX);
        self.judge
    }

    /// What has been judged so far.
    #[must_use]
    pub fn judge(&self) -> &Judge {
        &self.judge
    }

    /// What is ready as far as we heard.
    #[must_use]
    pub fn now_ready(&self) -> &BTreeSet<String> {
        &self.now_ready
    }

    /// The endpoint may have changed before, but not before its last change, of which we heard in order.
    fn changed(&mut self, at: Duration, endpoint: &str, maybe: Change, surely: Change) {
        let last = self.just_heard.insert(endpoint.to_owned(), at).unwrap_or_default();
        self.fact(at.saturating_sub(SLACK).max(last), endpoint, maybe);
        self.fact(at, endpoint, surely);
    }

    fn fact(&mut self, at: Duration, endpoint: &str, change: Change) {
        let behind = self.facts.partition_point(|fact| fact.at <= at);
        self.facts.insert(behind, Fact { at, endpoint: endpoint.to_owned(), change });
    }

    fn settle(&mut self, until: Duration) {
        while let Some(read) = self.reads.pop_front_if(|read| read.ended <= until) {
            if let Some(since) = self.known_since.filter(|since| *since <= read.ended) {
                self.judge.knows(since);
            }
            while let Some(fact) = self.facts.pop_front_if(|fact| fact.at <= read.ended) {
                self.judge.change(fact.at, &fact.endpoint, fact.change);
            }
            self.judge.read(read.began, &read.seen);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { appear: Duration::from_secs(2), converge: Duration::from_secs(2) };

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn set(endpoints: &str) -> BTreeSet<String> {
        endpoints.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn a_delete_that_was_faster_than_the_news_of_it_is_no_miss() {
        let mut timeline = Timeline::new(BOUNDS);
        timeline.heard(ms(0), set("a b"));
        timeline.read(ms(100), ms(101), set("a b"));
        timeline.read(ms(2_000), ms(2_001), set("a"));
        timeline.heard(ms(2_010), set("a"));
        timeline.read(ms(2_020), ms(2_021), set("a"));
        let judge = timeline.close();
        assert_eq!((judge.fault_count(), judge.reads()), (0, 3));
    }

    #[test]
    fn a_miss_is_a_miss_also_when_something_else_changes() {
        let mut timeline = Timeline::new(BOUNDS);
        timeline.heard(ms(0), set("a b"));
        timeline.read(ms(100), ms(101), set("a b"));
        timeline.read(ms(2_000), ms(2_001), set("b"));
        timeline.heard(ms(2_010), set("a c"));
        assert_eq!(timeline.close().fault_count(), 1);
    }

    /// Facts and reads, in the order in which they are heard of: `heard <at> <ready>`, `read <at> <seen>`.
    fn faults(story: &str) -> Vec<String> {
        let mut timeline = Timeline::new(BOUNDS);
        for line in story.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let mut words = line.splitn(3, ' ');
            let (verb, at) = (words.next().unwrap(), words.next().unwrap().parse().unwrap());
            let endpoints = set(words.next().unwrap_or_default());
            match verb {
                "heard" => timeline.heard(ms(at), endpoints),
                "read" => timeline.read(ms(at), ms(at + 1), endpoints),
                other => panic!("{other:?}"),
            }
        }
        let judge = timeline.close();
        judge.faults().iter().map(|fault| format!("{} {}", fault.at.as_millis(), fault.kind)).collect()
    }

    const NONE: [&str; 0] = [];

    #[test]
    fn a_create_that_was_faster_than_the_news_of_it_is_no_ghost() {
        let story = "heard 0 a
                     read 9000 a
                     read 9504 a b
                     read 10000 a b
                     heard 10004 a b
                     read 10010 a b";
        assert_eq!(faults(story), NONE);
    }

    #[test]
    fn news_is_never_later_than_the_slack() {
        let story = "heard 0 a
                     read 9000 a
                     read 9499 a b
                     heard 10001 a b
                     read 10010 a b";
        assert_eq!(faults(story), [r#"9499 not equal in time; missing {}, extra {"b"}"#]);
    }

    #[test]
    fn an_endpoint_that_is_ready_for_a_moment_may_be_read_or_not() {
        for seen in ["", " b"] {
            let story = format!(
                "heard 0 a
                 read 1 a
                 heard 10000 a b
                 read 10020 a{seen}
                 heard 10050 a
                 read 10060 a{seen}
                 read 13000 a"
            );
            assert_eq!(faults(&story), NONE);
        }
    }

    #[test]
    fn an_endpoint_that_is_away_for_a_moment_may_be_read_or_not() {
        for seen in ["", " b"] {
            let story = format!(
                "heard 0 a b
                 read 1 a b
                 read 9900 a{seen}
                 heard 10000 a
                 read 10020 a{seen}
                 heard 10050 a b
                 read 10060 a{seen}
                 read 13000 a b"
            );
            assert_eq!(faults(&story), NONE);
        }
    }

    #[test]
    fn a_ghost_is_a_ghost_also_when_something_else_changes() {
        let story = "heard 0 a b
                     read 1 a b
                     heard 5000 a
                     heard 6000 a c
                     read 6100 a b c
                     heard 7000 a
                     read 7000 a b
                     heard 8000 a c
                     read 8100 a b c";
        assert_eq!(faults(story), ["8100 b was long gone and still there"]);
    }

    #[test]
    fn that_nothing_is_ready_is_news_too() {
        assert_eq!(faults("read 5000 a"), NONE);
        let story = "heard 0
                     read 2000 a
                     read 2001 a";
        assert_eq!(faults(story), [r#"2001 not equal in time; missing {}, extra {"a"}"#]);
    }
}
