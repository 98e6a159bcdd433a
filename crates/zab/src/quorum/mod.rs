//! The broadcast phase of ZAB as a pure state machine (`Leader.propose`, `Leader.tryToCommit`): proposals in,
//! commands out. It knows no clock, socket or file.
//!
//! One server is a quorum of one: its proposals commit when its own log has them, on the same path as in
//! an ensemble. Order is data: a [`Command::Deliver`] comes only behind the acknowledgements of a quorum,
//! and in the order of the zxids.
//!
//! Relation of the positions: delivered ≤ proposed, logged ≤ proposed. It need not hold that delivered ≤
//! logged on one member, since a quorum may do without it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use zk_wire::ids::Zxid;
use zk_wire::txn::LoggedTxn;

/// A member of the ensemble (`myid`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sid(pub u8);

/// What the shell must do, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Append to the log, and report [`Engine::logged`] when it is durable.
    Persist(Arc<LoggedTxn>),
    /// A quorum has it: apply it.
    Deliver(Arc<LoggedTxn>),
}

/// A leader's view of its proposals.
#[derive(Debug)]
pub struct Engine {
    me: Sid,
    /// Up to which proposal each voter has everything in its log.
    acknowledged: BTreeMap<Sid, Zxid>,
    outstanding: VecDeque<Arc<LoggedTxn>>,
    proposed: Zxid,
    delivered: Zxid,
}

impl Engine {
    /// A leader whose log and tree end at `last`.
    #[must_use]
    pub fn new(me: Sid, voters: BTreeSet<Sid>, last: Zxid) -> Self {
        assert!(voters.contains(&me), "a leader votes");
        let acknowledged = voters.into_iter().map(|voter| (voter, Zxid::ZERO)).collect();
        Engine { me, acknowledged, outstanding: VecDeque::new(), proposed: last, delivered: last }
    }

    /// The zxid of the next proposal. When an epoch's counter is exhausted the next epoch begins.
    #[must_use]
    pub fn next_zxid(&self) -> Zxid {
        self.proposed.next().unwrap_or_else(|| Zxid::new(self.proposed.epoch() + 1, 1))
    }

    /// The last proposal.
    #[must_use]
    pub fn proposed(&self) -> Zxid {
        self.proposed
    }

    /// The last transaction delivered.
    #[must_use]
    pub fn delivered(&self) -> Zxid {
        self.delivered
    }

    /// Proposals not yet delivered.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.outstanding.len()
    }

    /// Proposes the transaction with [`Engine::next_zxid`].
    pub fn propose(&mut self, txn: LoggedTxn, commands: &mut Vec<Command>) {
        assert_eq!(txn.header.zxid, self.next_zxid(), "proposals are contiguous");
        self.proposed = txn.header.zxid;
        let txn = Arc::new(txn);
        self.outstanding.push_back(Arc::clone(&txn));
        commands.push(Command::Persist(txn));
        self.validate();
    }

    /// This member's log is durable up to `zxid`: that is its acknowledgement.
    pub fn logged(&mut self, zxid: Zxid, commands: &mut Vec<Command>) {
        self.acknowledged(self.me, zxid, commands);
    }

    /// A member has everything up to `zxid` in its log. Acknowledgements of non-voters do not count.
    pub fn acknowledged(&mut self, sid: Sid, zxid: Zxid, commands: &mut Vec<Command>) {
        let Some(acknowledged) = self.acknowledged.get_mut(&sid) else {
            return;
        };
        *acknowledged = zxid.max(*acknowledged);
        let committed = self.committed();
        while let Some(txn) = self.outstanding.pop_front_if(|txn| txn.header.zxid <= committed) {
            self.delivered = txn.header.zxid;
            commands.push(Command::Deliver(txn));
        }
        self.validate();
    }

    /// The highest position that more than half of the voters have reached.
    fn committed(&self) -> Zxid {
        let mut positions: Vec<Zxid> = self.acknowledged.values().copied().collect();
        positions.sort_unstable();
        positions[(positions.len() - 1) / 2]
    }

    fn validate(&self) {
        debug_assert!(
            self.delivered <= self.proposed,
            "delivered {} > proposed {}",
            self.delivered,
            self.proposed
        );
        debug_assert_eq!(self.outstanding.is_empty(), self.delivered == self.proposed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zk_wire::codes::{ErrorCode, OpCode};
    use zk_wire::ids::SessionId;
    use zk_wire::txn::{Txn, TxnHeader};

    fn txn(zxid: Zxid) -> LoggedTxn {
        let header = TxnHeader { session: SessionId(1), cxid: 0, zxid, time_ms: 0, op: OpCode::Error };
        LoggedTxn { header, txn: Txn::Error(ErrorCode::NoNode), digest: None }
    }

    fn engine(voters: u8) -> Engine {
        Engine::new(Sid(1), (1..=voters).map(Sid).collect(), Zxid::new(1, 0))
    }

    #[test]
    fn one_server_delivers_what_its_own_log_has() {
        let (mut engine, mut commands) = (engine(1), Vec::new());
        let (a, b) = (txn(Zxid::new(1, 1)), txn(Zxid::new(1, 2)));
        engine.propose(a.clone(), &mut commands);
        engine.propose(b.clone(), &mut commands);
        let (a, b) = (Arc::new(a), Arc::new(b));
        assert_eq!(commands, [Command::Persist(a.clone()), Command::Persist(b.clone())]);
        commands.clear();
        engine.logged(Zxid::new(1, 1), &mut commands);
        assert_eq!(commands, [Command::Deliver(a)]);
        commands.clear();
        engine.logged(Zxid::new(1, 2), &mut commands);
        assert_eq!(commands, [Command::Deliver(b)]);
    }

    #[test]
    fn three_servers_need_two_acknowledgements_and_keep_the_order() {
        let (mut engine, mut commands) = (engine(3), Vec::new());
        let (a, b) = (txn(Zxid::new(1, 1)), txn(Zxid::new(1, 2)));
        engine.propose(a.clone(), &mut commands);
        engine.propose(b.clone(), &mut commands);
        let (a, b) = (Arc::new(a), Arc::new(b));
        commands.clear();
        engine.logged(Zxid::new(1, 2), &mut commands);
        engine.acknowledged(Sid(9), Zxid::new(1, 2), &mut commands);
        assert_eq!(commands, []);
        engine.acknowledged(Sid(2), Zxid::new(1, 1), &mut commands);
        assert_eq!(commands, [Command::Deliver(a)]);
        engine.acknowledged(Sid(3), Zxid::new(1, 2), &mut commands);
        assert_eq!(commands.last(), Some(&Command::Deliver(b)));
    }

    #[test]
    fn an_exhausted_counter_begins_the_next_epoch() {
        let engine = Engine::new(Sid(1), BTreeSet::from([Sid(1)]), Zxid::new(3, u32::MAX));
        assert_eq!(engine.next_zxid(), Zxid::new(4, 1));
    }
}
