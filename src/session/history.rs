//! Why what was written was written: a bounded number of persistent znodes below our own path.
//!
//! A record is created in the transaction that it is about. So no leader change loses one, the record's own stat
//! tells zxid and time of the change, and a change that failed has none. A record that cannot be created costs the
//! record and not the change.
//!
//! Names are `<number, ten digits>-<subject>`; numbers rise, and only the holder of the fence gives them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use sha1::{Digest, Sha1};
use tracing::Instrument;
use zk_client::{MultiFailure, RequestError, Session};
use zk_wire::codes::{CreateMode, ErrorCode};
use zk_wire::multi::WriteOp;
use zk_wire::request::{CreateRequest, DeleteRequest};
use zk_wire::stat::Stat;

use super::directories;
use super::fence::Fence;
use super::slots::{Shared, lock};
use crate::model::ZnodePath;

/// A record to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Which Service it is about.
    pub subject: Subject,
    /// The record.
    pub data: Bytes,
}

/// Stands for a Service in the names of records: eight hexadecimal digits of a hash. Two Services may have one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject(u32);

/// A record that is about to be created.
#[derive(Debug)]
pub(super) struct Record {
    note: Note,
    number: u64,
    attempts: u32,
}

/// Which records there are.
#[derive(Debug)]
pub(super) struct Index {
    next: u64,
    /// Numbers of the records of each subject.
    of: BTreeMap<Subject, BTreeSet<u64>>,
    /// Subjects by what is to go first: of those that have the most records the one whose first is the oldest.
    order: BTreeSet<(Reverse<usize>, u64, Subject)>,
    records: usize,
}

/// Reads under way.
const READS: usize = 64;
/// How many records too many there may be: they are deleted together.
const SLACK: usize = 64;
/// How often a record is tried.
const ATTEMPTS: u32 = 3;

impl Subject {
    /// Of a Service, as `namespace/name`.
    #[must_use]
    pub fn of(service: &str) -> Self {
        let [a, b, c, d, ..] = <[u8; 20]>::from(Sha1::digest(service));
        Subject(u32::from_be_bytes([a, b, c, d]))
    }

    /// The records of this subject in a directory, oldest first. There may be others of the same hash among them.
    ///
    /// # Errors
    /// The connection was lost, or we may not read them.
    pub async fn records(
        self,
        session: &Session,
        directory: &ZnodePath,
    ) -> Result<Vec<(Bytes, Stat)>, RequestError> {
        let names = session.children(directory.as_str()).await?.unwrap_or_default().0;
        let mut numbers: Vec<_> = names
            .iter()
            .filter_map(|name| parse(name).filter(|(_, subject)| *subject == self).map(|(number, _)| number))
            .collect();
        numbers.sort_unstable();
        let reads = numbers
            .into_iter()
            .map(|number| async move { session.get(&format!("{directory}/{}", name(number, self))).await });
        let read: Vec<_> = futures::stream::iter(reads).buffered(READS).try_collect().await?;
        Ok(read.into_iter().flatten().collect())
    }
}

impl Shared {
    /// Finds out which records there are.
    pub(super) async fn load_history(&self, session: &Session) -> Result<(), RequestError> {
        let names = match session.children(self.config.own.history.as_str()).await {
            Ok(children) => children.unwrap_or_default().0,
            Err(RequestError::Refused(code)) => {
                tracing::warn!(path = %self.config.own.history, "no history is kept: {code}");
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let index = (self.config.records > 0).then(|| Index::new(names.iter().map(String::as_str)));
        *lock(&self.history) = index;
        Ok(())
    }

    /// Gives a record its number, if records are kept.
    pub(super) fn record(&self, note: Note) -> Option<Record> {
        let number = lock(&self.history).as_mut()?.number();
        Some(Record { note, number, attempts: 1 })
    }

    /// The op that creates a record.
    pub(super) fn create(&self, record: &Record) -> WriteOp {
        WriteOp::Create2(CreateRequest {
            path: format!("{}/{}", self.config.own.history, name(record.number, record.note.subject)),
            data: Some(record.note.data.clone()),
            acl: self.config.ensemble.acls.own.clone(),
            mode: CreateMode::Persistent,
        })
    }

    /// A record was refused. What may be tried instead; `None` if the change has to do without.
    pub(super) async fn another(&self, record: Record, code: ErrorCode, session: &Session) -> Option<Record> {
        let Record { note, number, attempts } = record;
        let directory = &self.config.own.history;
        let again = match code {
            _ if attempts == ATTEMPTS => None,
            // Somebody else's; ours have a number each.
            ErrorCode::NodeExists => self.record(note),
            ErrorCode::NoNode => {
                let acls = &self.config.ensemble.acls;
                let ensured = directories::ensure(session, directory, &acls.own, &acls.parents).await;
                ensured.is_ok().then_some(Record { note, number, attempts })
            }
            _ => None,
        };
        if again.is_none() {
            tracing::warn!(path = %directory, "a change is not recorded: {code}");
        }
        again.map(|again| Record { attempts: attempts + 1, ..again })
    }

    /// A record is there. Those that are too many go, without anybody waiting for that.
    pub(super) fn recorded(self: &Arc<Self>, record: &Record, session: &Arc<Session>) {
        let surplus = {
            let mut history = lock(&self.history);
            let Some(index) = history.as_mut() else { return };
            index.created(record.number, record.note.subject);
            if index.len() <= self.config.records + SLACK {
                return;
            }
            index.take_surplus(self.config.records)
        };
        let (shared, session) = (Arc::clone(self), Arc::clone(session));
        let delete = async move { shared.delete_records(&session, surplus).await };
        self.keepers.spawn(delete.in_current_span());
    }

    /// What cannot be deleted stays until the next leader looks.
    async fn delete_records(&self, session: &Session, mut names: Vec<String>) {
        while !names.is_empty() {
            let Some(check) = lock(&self.fence).as_ref().map(Fence::check) else { return };
            let delete = |name: &String| {
                WriteOp::Delete(DeleteRequest {
                    path: format!("{}/{name}", self.config.own.history),
                    version: -1,
                })
            };
            let ops = std::iter::once(check).chain(names.iter().map(delete)).collect();
            match session.multi(ops).await {
                Ok(_) => return,
                // It was gone.
                Err(RequestError::Multi(MultiFailure { index, .. })) if index > 0 => {
                    drop(names.remove(index - 1))
                }
                Err(error) => {
                    tracing::debug!("old records stay: {error}");
                    return;
                }
            }
        }
    }
}

impl Index {
    /// From the names of the records that are there. What is not a record is left alone.
    pub(super) fn new<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        let mut index = Index { next: 0, of: BTreeMap::new(), order: BTreeSet::new(), records: 0 };
        for (number, subject) in names.into_iter().filter_map(parse) {
            index.next = index.next.max(number + 1);
            index.created(number, subject);
        }
        index
    }

    /// A number that no record has had.
    pub(super) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    /// There is a record.
    pub(super) fn created(&mut self, number: u64, subject: Subject) {
        self.change(subject, |numbers| numbers.insert(number));
    }

    /// Records to delete so that no more than `limit` are left. They are forgotten.
    pub(super) fn take_surplus(&mut self, limit: usize) -> Vec<String> {
        let mut surplus = Vec::new();
        while self.records > limit
            && let Some(&(_, number, subject)) = self.order.first()
        {
            self.change(subject, |numbers| numbers.remove(&number));
            surplus.push(name(number, subject));
        }
        surplus
    }

    /// Records that are there.
    pub(super) fn len(&self) -> usize {
        self.records
    }

    fn change(&mut self, subject: Subject, change: impl FnOnce(&mut BTreeSet<u64>) -> bool) {
        let numbers = self.of.entry(subject).or_default();
        let place = |numbers: &BTreeSet<u64>| Some((Reverse(numbers.len()), *numbers.first()?, subject));
        let before = (place(numbers), numbers.len());
        change(numbers);
        let after = (place(numbers), numbers.len());
        if numbers.is_empty() {
            self.of.remove(&subject);
        }
        before.0.iter().for_each(|place| {
            self.order.remove(place);
        });
        self.order.extend(after.0);
        self.records = self.records + after.1 - before.1;
    }
}

pub(super) fn name(number: u64, Subject(subject): Subject) -> String {
    format!("{number:010}-{subject:08x}")
}

pub(super) fn parse(text: &str) -> Option<(u64, Subject)> {
    let (number, subject) = text.split_once('-')?;
    let parsed = (number.parse().ok()?, Subject(u32::from_str_radix(subject, 16).ok()?));
    (name(parsed.0, parsed.1) == text).then_some(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(index: &Index) -> Vec<(u32, Vec<u64>)> {
        index.of.iter().map(|(subject, numbers)| (subject.0, numbers.iter().copied().collect())).collect()
    }

    #[test]
    fn who_has_the_most_records_loses_the_oldest() {
        let mut index = Index::new([]);
        for subject in [1, 2, 2, 2, 3, 3, 1] {
            let number = index.number();
            index.created(number, Subject(subject));
        }
        assert_eq!(index.take_surplus(7), [""; 0]);
        assert_eq!(index.take_surplus(6), ["0000000001-00000002"]);
        // Now all have two, and the oldest of all goes.
        assert_eq!(index.take_surplus(4), ["0000000000-00000001", "0000000002-00000002"]);
        assert_eq!((index.len(), kept(&index)), (4, vec![(1, vec![6]), (2, vec![3]), (3, vec![4, 5])]));
        assert_eq!(index.take_surplus(0).len(), 4);
        assert_eq!((index.len(), index.number()), (0, 7));
    }

    #[test]
    fn the_next_leader_goes_on_with_what_is_there_and_leaves_strangers_alone() {
        let mut index = Index::new(["0000000041-0a0b0c0d", "notes", "41-0a0b0c0d", "0000000007-00000001"]);
        assert_eq!((index.len(), index.number()), (2, 42));
        assert_eq!(index.take_surplus(1), ["0000000007-00000001"]);
        assert_eq!(parse(&name(u64::MAX, Subject(7))), Some((u64::MAX, Subject(7))));
    }
}
