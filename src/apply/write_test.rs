//! Transcripts: what is asked of the sessions, in order, and what becomes of it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;

use bytes::Bytes;
use zk_client::{Lost, RequestError};
use zk_wire::ids::Zxid;
use zk_wire::stat::Stat;

use super::*;
use crate::model::{Holds, ServiceKey};
use crate::plan::{Because, Changes, Roots};
use crate::session::{Note, OverBudget};

const A: SessionId = SessionId(1);

/// Answers from a script, and writes down what it was asked.
#[derive(Default)]
struct Script {
    said: Mutex<Vec<String>>,
    writes: Mutex<VecDeque<Result<(), WriteError>>>,
    stats: BTreeMap<ZnodePath, Stat>,
    refused: BTreeSet<Companion>,
    full: bool,
}

impl Script {
    fn say(&self, what: String) {
        self.said.lock().unwrap().push(what);
    }
}

impl Sessions for &Script {
    async fn place(&self, _: &ZnodePath) -> Result<SessionId, PlaceError> {
        if self.full { Err(OverBudget { sessions: 1 }.into()) } else { Ok(A) }
    }

    fn release(&self, _: SessionId, path: &ZnodePath) {
        self.say(format!("release {path}"));
    }

    fn leaf_acl(&self) -> &[Acl] {
        &[]
    }

    async fn ensure(&self, companion: &Companion) -> Result<Ensured, WriteError> {
        self.say(format!("ensure {}", companion.path));
        match self.refused.contains(companion) {
            true => Err(WriteError::Refused(RequestError::Refused(ErrorCode::NoAuth))),
            false => Ok(Ensured::default()),
        }
    }

    async fn stats(&self, _: SessionId, paths: &[ZnodePath]) -> Result<Vec<Option<Stat>>, WriteError> {
        Ok(paths.iter().map(|path| self.stats.get(path).copied()).collect())
    }

    async fn write(
        &self,
        _: SessionId,
        ops: Vec<WriteOp>,
        note: Option<Note>,
    ) -> Result<Vec<MultiResult>, WriteError> {
        let mut shown: Vec<_> = ops.iter().map(shown).collect();
        shown.extend(note.map(|note| told_in(&note)));
        self.say(format!("multi {}", shown.join(", ")));
        if let Some(Err(error)) = self.writes.lock().unwrap().pop_front() {
            return Err(error);
        }
        Ok(ops.iter().map(result).collect())
    }
}

fn shown(op: &WriteOp) -> String {
    match op {
        WriteOp::Create2(r) => format!("+{}", r.path),
        WriteOp::SetData(r) => format!("={} v{}", r.path, r.version),
        WriteOp::Delete(r) => format!("-{} v{}", r.path, r.version),
        other => format!("{other:?}"),
    }
}

fn result(op: &WriteOp) -> MultiResult {
    match op {
        WriteOp::Create2(r) => MultiResult::Create2(r.path.clone(), stat(9)),
        WriteOp::SetData(_) => MultiResult::SetData(stat(9)),
        _ => MultiResult::Delete,
    }
}

fn stat(czxid: i64) -> Stat {
    Stat { czxid: Zxid(czxid), ephemeral_owner: A, ..Stat::default() }
}

fn path(name: &str) -> ZnodePath {
    ZnodePath::new(&format!("/s/{name}")).unwrap()
}

fn directory(path: &str) -> Companion {
    Companion::directory(ZnodePath::new(path).unwrap())
}

fn change(creates: &[&str], sets: &[&str], gone: &[&str], replaced: &[&str]) -> Change {
    let data = |names: &[&str]| names.iter().map(|name| (path(name), Bytes::from("x"))).collect();
    let paths = |names: &[&str]| names.iter().map(|name| path(name)).collect();
    let held = [sets, gone, replaced].concat();
    let held = held.iter().map(|name| (path(name), Owned::new(&stat(1), Some(b"old")))).collect();
    Change {
        changes: Changes {
            companions: [directory("/s")].into(),
            creates: data(creates),
            sets: data(sets),
            gone: paths(gone),
            replaced: paths(replaced),
            swaps: BTreeMap::new(),
        },
        held,
        lost: BTreeMap::new(),
    }
}

/// A script in which everything that is held is there.
fn script(change: &Change) -> Script {
    let stats = change.held.keys().map(|path| (path.clone(), stat(1))).collect();
    Script { stats, ..Script::default() }
}

async fn told(script: &Script, change: Change) -> (Vec<String>, Outcome) {
    let outcome = write(script, change, None).await;
    (std::mem::take(&mut *script.said.lock().unwrap()), outcome)
}

fn culprit(index: usize, code: ErrorCode) -> Result<(), WriteError> {
    Err(WriteError::Culprit { index, code })
}

#[tokio::test]
async fn what_appears_comes_before_what_goes() {
    let change = change(&["c"], &["s"], &["g"], &["r"]);
    let (said, outcome) = told(&script(&change), change).await;
    assert_eq!(
        said,
        [
            "ensure /s",
            "multi +/s/c, =/s/s v0",
            "multi -/s/g v0",
            "release /s/g",
            "multi -/s/r v0",
            "release /s/r"
        ]
    );
    assert_eq!(outcome.end, End::Done);
    assert_eq!(outcome.settled.len(), 4);
    assert_eq!(outcome.settled[&path("g")], Settled::Gone);
    assert!(matches!(outcome.settled[&path("c")], Settled::Ours(owned) if owned.czxid == Zxid(9)));
}

#[tokio::test]
async fn without_its_replacement_a_ready_endpoint_stays_and_what_is_gone_goes() {
    let change = change(&["c"], &[], &["g"], &["r"]);
    let script = Script { full: true, ..script(&change) };
    let (said, outcome) = told(&script, change).await;
    assert_eq!(said, ["ensure /s", "multi -/s/g v0", "release /s/g"]);
    assert_eq!(outcome.end, End::Again);
    assert!(matches!(outcome.refusals.first(), Some(Refusal::OverBudget { .. })));
}

#[tokio::test]
async fn a_culprit_is_taken_out_and_the_rest_is_sent_again() {
    let change = change(&["a", "b", "c"], &[], &[], &[]);
    let script = script(&change);
    script.writes.lock().unwrap().push_back(culprit(1, ErrorCode::NoAuth));
    let (said, outcome) = told(&script, change).await;
    assert_eq!(said, ["ensure /s", "multi +/s/a, +/s/b, +/s/c", "multi +/s/a, +/s/c", "release /s/b"]);
    assert_eq!((outcome.end, outcome.refusals.len(), outcome.settled.len()), (End::Again, 1, 2));
}

#[tokio::test]
async fn what_exists_is_set_aside_at_once_however_much_it_is() {
    let names: Vec<_> = (0..200).map(|n| format!("n{n:03}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let change = change(&names, &[], &[], &[]);
    let mut script = script(&change);
    script.stats = names[1..].iter().map(|name| (path(name), stat(5))).collect();
    script.writes.lock().unwrap().push_back(culprit(1, ErrorCode::NodeExists));
    let (said, outcome) = told(&script, change).await;
    let multis: Vec<_> = said.iter().filter(|line| line.starts_with("multi")).collect();
    assert_eq!((multis.len(), multis[1].as_str()), (2, "multi +/s/n000"));
    let moved = outcome.settled.values().filter(|settled| **settled == Settled::Moved).count();
    // A look follows for each; there is nothing to try again.
    assert_eq!((moved, outcome.end), (199, End::Done));
}

#[tokio::test]
async fn a_lost_answer_is_unknown_and_nothing_is_deleted_after_it() {
    let change = change(&["c"], &[], &["g"], &[]);
    let script = script(&change);
    script.writes.lock().unwrap().push_back(Err(WriteError::Unknown(Lost::Closed)));
    let (said, outcome) = told(&script, change).await;
    assert_eq!(said, ["ensure /s", "multi +/s/c"]);
    assert_eq!(outcome.settled, BTreeMap::from([(path("c"), Settled::Unknown(A))]));
    assert_eq!(outcome.end, End::Again);
}

#[tokio::test]
async fn what_was_not_sent_is_as_it_was() {
    let change = change(&["c"], &[], &["g"], &[]);
    let script = script(&change);
    script.writes.lock().unwrap().push_back(Err(WriteError::NotSent(Lost::Closed)));
    let (said, outcome) = told(&script, change).await;
    assert_eq!(said, ["ensure /s", "multi +/s/c", "release /s/c"]);
    assert_eq!((outcome.settled.len(), outcome.end), (0, End::Again));
}

#[tokio::test]
async fn what_a_stranger_has_replaced_is_not_deleted() {
    let change = change(&[], &["s"], &["g"], &[]);
    let mut script = script(&change);
    script.stats.insert(path("g"), stat(7));
    script.stats.remove(&path("s"));
    let (said, outcome) = told(&script, change).await;
    assert_eq!(said, ["ensure /s"]);
    assert_eq!(outcome.settled, BTreeMap::from([(path("g"), Settled::Moved), (path("s"), Settled::Moved)]));
}

#[tokio::test]
async fn a_directory_that_is_refused_blocks_only_what_is_below_it() {
    let mut change = change(&["c"], &[], &["g"], &[]);
    let other = ZnodePath::new("/other/o").unwrap();
    change.changes.companions.insert(directory("/other"));
    change.changes.creates.insert(other.clone(), Bytes::new());
    let script = Script { refused: [directory("/other")].into(), ..script(&change) };
    let (said, outcome) = told(&script, change).await;
    assert_eq!(said, ["ensure /other", "ensure /s", "multi +/s/c", "multi -/s/g v0", "release /s/g"]);
    assert!(!outcome.settled.contains_key(&other));
    assert_eq!((outcome.refusals.len(), outcome.end), (1, End::Again));
}

/// `o` gets the name `c`, as whoever has both in one directory is told once.
fn swap() -> Change {
    let mut change = change(&["c"], &[], &[], &["o"]);
    change.changes.swaps = [(path("o"), path("c"))].into();
    change
}

#[tokio::test]
async fn a_leaf_gets_another_name_in_one_transaction() {
    let change = swap();
    let script = script(&change);
    let (said, outcome) = told(&script, change).await;
    assert_eq!(said, ["ensure /s", "multi +/s/c, -/s/o v0", "release /s/o"]);
    assert_eq!((outcome.settled[&path("o")], outcome.end), (Settled::Gone, End::Done));
    assert!(matches!(outcome.settled[&path("c")], Settled::Ours(_)));
}

#[tokio::test]
async fn a_name_that_is_not_to_be_had_leaves_the_old_one() {
    for (code, more) in [(ErrorCode::NodeExists, &[][..]), (ErrorCode::NoAuth, &[])] {
        let change = swap();
        let script = script(&change);
        script.writes.lock().unwrap().push_back(culprit(0, code));
        let (said, outcome) = told(&script, change).await;
        let expected = ["ensure /s", "multi +/s/c, -/s/o v0", "release /s/c"];
        assert_eq!(said, [&expected[..], more].concat(), "{code}");
        assert!(!outcome.settled.contains_key(&path("o")));
    }
}

#[tokio::test]
async fn an_old_name_that_is_gone_does_not_hold_up_the_new_one() {
    let change = swap();
    let script = script(&change);
    script.writes.lock().unwrap().push_back(culprit(1, ErrorCode::BadVersion));
    let (said, outcome) = told(&script, change).await;
    assert_eq!(said, ["ensure /s", "multi +/s/c, -/s/o v0", "multi +/s/c"]);
    assert_eq!(outcome.settled[&path("o")], Settled::Moved);
    let change = swap();
    let gone = Script::default();
    let (said, outcome) = told(&gone, change).await;
    assert_eq!(said, ["ensure /s", "multi +/s/c"]);
    assert_eq!(outcome.settled[&path("o")], Settled::Moved);
}

#[tokio::test]
async fn an_answer_that_is_lost_puts_both_names_in_doubt() {
    let change = swap();
    let script = script(&change);
    script.writes.lock().unwrap().push_back(Err(WriteError::Unknown(Lost::Closed)));
    let (_, outcome) = told(&script, change).await;
    for name in ["c", "o"] {
        assert_eq!(outcome.settled[&path(name)], Settled::Unknown(A), "{name}");
    }
}

#[tokio::test]
async fn what_refers_to_content_that_cannot_be_had_is_not_written() {
    let mut change = change(&["c"], &["s"], &["g"], &[]);
    let content = |needed_below: &str| {
        let needed_below = ZnodePath::new(needed_below).unwrap();
        let holds = Holds::Content { data: "x".into(), needed_below };
        Companion { path: ZnodePath::new("/beside/content").unwrap(), holds }
    };
    let holds = Holds::Item { item: "a".to_owned(), leaves: ZnodePath::new("/s").unwrap() };
    let item = Companion { path: ZnodePath::new("/beside/list").unwrap(), holds };
    for (refused, writes) in [
        (content("/s"), &["multi -/s/g v0"][..]),
        (content("/elsewhere"), &["multi +/s/c, =/s/s v0", "multi -/s/g v0"]),
        (item, &["multi +/s/c, =/s/s v0", "multi -/s/g v0"]),
    ] {
        change.changes.companions = [directory("/s"), refused.clone()].into();
        let script = Script { refused: [refused].into(), ..script(&change) };
        let again =
            Change { changes: change.changes.clone(), held: change.held.clone(), lost: BTreeMap::new() };
        let (said, outcome) = told(&script, again).await;
        let written: Vec<_> = said.iter().filter(|said| said.starts_with("multi")).collect();
        assert_eq!(written, writes);
        assert_eq!((outcome.refusals.len(), outcome.end), (1, End::Again));
    }
}

#[tokio::test]
async fn a_directory_that_was_removed_is_made_again_once() {
    let mut change = change(&["c"], &[], &[], &[]);
    change.changes.companions.clear();
    let script = script(&change);
    script.writes.lock().unwrap().extend([culprit(0, ErrorCode::NoNode), culprit(0, ErrorCode::NoNode)]);
    let (said, outcome) = told(&script, change).await;
    assert_eq!(said, ["multi +/s/c", "ensure /s", "multi +/s/c", "release /s/c"]);
    assert_eq!((outcome.refusals.len(), outcome.end), (1, End::Again));
}

#[tokio::test]
async fn an_ex_leader_stops_at_once() {
    let change = change(&["c"], &[], &["g"], &[]);
    let script = script(&change);
    script.writes.lock().unwrap().push_back(Err(WriteError::Fenced));
    let (said, outcome) = told(&script, change).await;
    assert_eq!(said, ["ensure /s", "multi +/s/c", "release /s/c"]);
    assert_eq!(outcome.end, End::Fenced);
}

#[test]
fn multis_are_bounded_in_bytes_and_ops_and_lose_nothing() {
    let op = |n: usize, size: usize| Placed {
        op: Op::Create(ZnodePath::new(&format!("/n{n}")).unwrap(), vec![0; size].into()),
        version: -1,
    };
    let small: Vec<_> = (0..1_200).map(|n| op(n, 1)).collect();
    let sizes: Vec<_> = batches(small).iter().map(Vec::len).collect();
    assert_eq!(sizes, [500, 500, 200]);
    let large: Vec<_> = (0..9).map(|n| op(n, 100_000)).collect();
    let sizes: Vec<_> = batches(large).iter().map(Vec::len).collect();
    assert_eq!(sizes, [2, 2, 2, 2, 1]);
}

/// `create ready c`, of each group of writes.
fn told_in(note: &Note) -> String {
    let record: super::super::record::Record = serde_json::from_slice(&note.data).unwrap();
    let one =
        |it: &super::super::record::Written| format!("{:?} {:?} {}", it.op, it.cause, it.znodes.join("+"));
    record.writes.iter().map(one).collect::<Vec<_>>().join("; ")
}

#[tokio::test]
async fn each_transaction_has_its_record() {
    use crate::plan::Cause::{Changed, NotReady, Ready, Replaced};
    let mut all = change(&["a", "b", "n", "there"], &[], &["g"], &["o"]);
    all.changes.swaps = [(path("o"), path("n"))].into();
    let causes =
        [("a", Ready), ("b", Ready), ("n", Changed), ("there", Ready), ("g", NotReady), ("o", Replaced)];
    let causes = causes.map(|(name, cause)| (path(name), Because { cause, object: None })).into();
    let roots = Roots(BTreeMap::new());
    let key = ServiceKey::new("shop", "orders");
    let notes = Notes::new(&key, None, "me".into(), &all.changes, causes, &roots);
    let script = script(&all);
    script.writes.lock().unwrap().push_back(culprit(2, ErrorCode::NodeExists));
    write(&script, all, Some(notes)).await;
    let said = std::mem::take(&mut *script.said.lock().unwrap());
    let multis: Vec<_> = said.iter().filter(|line| line.starts_with("multi")).collect();
    assert_eq!(
        multis,
        [
            "multi +/s/a, +/s/b, +/s/there, +/s/n, -/s/o v0, Create Ready a+b+there; Create Changed n; Delete Replaced o",
            "multi +/s/a, +/s/b, +/s/n, -/s/o v0, Create Ready a+b; Create Changed n; Delete Replaced o",
            "multi -/s/g v0, Delete NotReady g",
        ]
    );
}
