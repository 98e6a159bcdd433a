//! Puts what two independent observers saw into one order, so that a judge can compare it.
//!
//! The watch of the slices and the reads of the directory run beside each other. A slice's change is known
//! here a little after it happened, and the bridge may be faster than we are; so an endpoint counts as gone
//! from a moment *before* we heard of it, and a read is judged only when whatever happened during it has
//! had time to be heard of.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use super::judge::{Bounds, Judge};

/// How late the news of a change may be.
const SLACK: Duration = Duration::from_millis(500);

/// Facts and reads of one directory, on their way to its judge.
#[derive(Debug)]
pub struct Timeline {
    judge: Judge,
    now_ready: BTreeSet<String>,
    facts: VecDeque<(Duration, BTreeSet<String>)>,
    reads: VecDeque<Read>,
}

#[derive(Debug)]
struct Read {
    began: Duration,
    ended: Duration,
    seen: BTreeSet<String>,
}

impl Timeline {
    /// A directory with nothing ready.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Timeline {
            judge: Judge::new(bounds),
            now_ready: BTreeSet::new(),
            facts: VecDeque::new(),
            reads: VecDeque::new(),
        }
    }

    /// At `at` we heard that exactly these are ready.
    pub fn heard(&mut self, at: Duration, ready: BTreeSet<String>) {
        if ready == self.now_ready {
            return;
        }
        let stayed: BTreeSet<_> = self.now_ready.intersection(&ready).cloned().collect();
        if stayed.len() < self.now_ready.len() {
            let earlier = at.saturating_sub(SLACK);
            // Facts stay in order: what came before cannot be later than this.
            for (at, set) in self.facts.iter_mut().rev().take_while(|(at, _)| *at > earlier) {
                *at = earlier;
                set.retain(|endpoint| ready.contains(endpoint));
            }
            self.facts.push_back((earlier, stayed));
        }
        self.facts.push_back((at, ready.clone()));
        self.now_ready = ready;
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

    fn settle(&mut self, until: Duration) {
        while let Some(read) = self.reads.pop_front_if(|read| read.ended <= until) {
            while let Some((at, ready)) = self.facts.pop_front_if(|(at, _)| *at <= read.ended) {
                self.judge.ready(at, &ready);
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
}
