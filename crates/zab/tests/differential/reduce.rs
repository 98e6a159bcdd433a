//! Rounds, and the smallest one that still shows a difference.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use zk_wire::acl::Acl;
use zk_wire::codes::CreateMode;
use zk_wire::request::{CreateRequest, Request};

use crate::compare::Comparison;
use crate::side::Side;
use crate::steps::{Action, Ask, Step, generate};

/// How long to look for something smaller.
const PATIENCE: Duration = Duration::from_secs(120);

/// Some of the steps of a seed.
#[derive(Clone)]
pub(crate) struct Round {
    seed: u64,
    count: usize,
    kept: BTreeSet<usize>,
}

impl Round {
    pub(crate) fn whole(seed: u64, count: usize) -> Self {
        Round { seed, count, kept: (0..count).collect() }
    }

    pub(crate) fn len(&self) -> usize {
        self.kept.len()
    }

    /// Up to the one that `run` says shows a difference; its first one, which makes the znodes, is none of these.
    fn first(self, steps: usize) -> Self {
        Round { kept: self.kept.into_iter().take(steps).collect(), ..self }
    }

    /// Its steps, on a znode that no other run has.
    fn steps(&self, root: &str) -> Vec<Step> {
        let all = generate(self.seed, root, self.count);
        let kept = |(index, step)| self.kept.contains(&index).then_some(step);
        all.into_iter().enumerate().filter_map(kept).collect()
    }
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in self.steps("~") {
            writeln!(f, "  client {}: {:?}", step.client, step.action)?;
        }
        Ok(())
    }
}

/// A name that is as long in every run, since lengths are compared.
fn fresh_root() -> String {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    let run = RUNS.fetch_add(1, Ordering::Relaxed);
    format!("/d{:06}-{run:06}", std::process::id())
}

/// How many messages of each kind the other server has sent.
pub(crate) type Kinds = BTreeMap<String, u64>;

/// Takes all steps on both servers. The difference, and how many steps it took to see it.
pub(crate) async fn run(round: &Round, servers: (Side, Side), kinds: &mut Kinds) -> Option<(usize, String)> {
    let (mut theirs, mut ours) = servers;
    // Its parent is the run's own too, so that even siblings get the same sequence numbers.
    let parent = fresh_root();
    let root = format!("{parent}/r");
    let create = |path: &String| {
        let (path, acl) = (path.clone(), Acl::open());
        Ask::Request(Request::Create(CreateRequest { path, data: None, acl, mode: CreateMode::Persistent }))
    };
    let begin = Step { client: 0, action: Action::Ask(vec![create(&parent), create(&root)]) };
    let mut comparison = Comparison::default();
    let mut found = None;
    for (index, step) in std::iter::once(begin).chain(round.steps(&root)).enumerate() {
        let (their, our) = tokio::join!(theirs.take(&step), ours.take(&step));
        for shape in their.iter().flat_map(|(_, shapes)| shapes).filter(|shape| !shape.kind.is_empty()) {
            *kinds.entry(shape.kind.clone()).or_default() += 1;
        }
        let ends = matches!(step.action, Action::Close { .. });
        if let Some(difference) = comparison.differ(their, our, ends) {
            found = Some((index, difference.replace(&root, "~")));
            break;
        }
    }
    tokio::join!(theirs.end(), ours.end());
    found
}

/// Takes steps away for as long as the servers still differ. So many steps showed it at first.
pub(crate) async fn smallest(
    mut round: Round,
    shown_by: usize,
    servers: impl Fn() -> (Side, Side),
) -> (Round, String) {
    let began = Instant::now();
    let Some((steps, mut difference)) = run(&round, servers(), &mut Kinds::new()).await else {
        let why = "  It did not show again: it depends on timing. The last of these steps showed it.\n";
        return (round.first(shown_by), why.to_owned());
    };
    round = round.first(steps);
    let mut chunk = round.kept.len().div_ceil(2);
    loop {
        let mut shrunk = false;
        let indices: Vec<usize> = round.kept.iter().copied().collect();
        for part in indices.chunks(chunk) {
            if began.elapsed() > PATIENCE {
                return (round, difference);
            }
            let mut candidate = round.clone();
            candidate.kept.retain(|index| !part.contains(index));
            if let Some((_, found)) = run(&candidate, servers(), &mut Kinds::new()).await {
                (round, difference, shrunk) = (candidate, found, true);
            }
        }
        if chunk == 1 && !shrunk {
            return (round, difference);
        }
        chunk = (chunk / 2).max(1);
    }
}
