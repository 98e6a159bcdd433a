//! How much a session may hold.
//!
//! Closing a session is one transaction with the paths of all its ephemerals. Beyond `jute.maxbuffer`, 1 MiB
//! by default, it takes an Apache ensemble down (ZOOKEEPER-4306).

use std::collections::HashSet;

use crate::model::ZnodePath;

/// What a session is filled to before another one is opened, in bytes of [`ZnodePath::close_bytes`] and the
/// chroot in front of each path.
const PREFERRED: usize = 512 * 1024;
/// What it is filled to when no further session may be opened.
const MOST: usize = 900 * 1024;

/// Paths reserved in one session. Reservations are made before the znode is; making one twice, or giving
/// one back twice, changes nothing.
#[derive(Debug, Default)]
pub(super) struct Budget {
    used: usize,
    paths: HashSet<ZnodePath>,
}

/// No session has room.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "all {sessions} sessions hold 900 kB of paths; raise sessions.limit, and maxClientCnxns of the ensemble above it"
)]
pub struct OverBudget {
    /// How many there are.
    pub sessions: usize,
}

impl Budget {
    /// Reserves room for a path; `chroot` is the length of what the server has in front of it.
    pub(super) fn reserve(&mut self, path: &ZnodePath, chroot: usize) {
        if self.paths.insert(path.clone()) {
            self.used += cost(path, chroot);
        }
    }

    /// Gives the room of a path back.
    pub(super) fn release(&mut self, path: &ZnodePath, chroot: usize) {
        if self.paths.remove(path) {
            self.used -= cost(path, chroot);
        }
    }

    /// Bytes reserved.
    #[must_use]
    pub(super) fn used(&self) -> usize {
        self.used
    }
}

/// Bytes of a path in the transaction that closes its session.
pub(super) fn cost(path: &ZnodePath, chroot: usize) -> usize {
    path.close_bytes() + chroot
}

/// A session that a path could go into.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// Bytes reserved in it.
    pub(super) used: usize,
    /// Is it attached? One that is not would hold the path up.
    pub(super) attached: bool,
}

/// Where a new path goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Placement {
    /// Into the session at this position.
    Into(usize),
    /// Into a session that must be opened first.
    Open,
    /// Nowhere.
    Nowhere,
}

/// The first session with room within the preferred budget, an attached one if there is one; else a new one;
/// else the emptiest one within the highest budget.
pub(super) fn place(cost: usize, rooms: &[Room], limit: usize) -> Placement {
    let has_room = |room: &Room| room.used + cost <= PREFERRED;
    let attached = rooms.iter().position(|room| room.attached && has_room(room));
    if let Some(index) = attached.or_else(|| rooms.iter().position(has_room)) {
        return Placement::Into(index);
    }
    if rooms.len() < limit {
        return Placement::Open;
    }
    match rooms.iter().enumerate().min_by_key(|(_, room)| room.used) {
        Some((index, room)) if room.used + cost <= MOST => Placement::Into(index),
        _ => Placement::Nowhere,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rooms(used: &[usize]) -> Vec<Room> {
        used.iter().map(|&used| Room { used, attached: true }).collect()
    }

    #[test]
    fn sessions_fill_up_then_multiply_then_stretch_then_refuse() {
        let mut used = vec![0];
        let (mut placed, mut at_open) = (0, Vec::new());
        loop {
            match place(1_024, &rooms(&used), 2) {
                Placement::Into(index) => used[index] += 1_024,
                Placement::Open => {
                    at_open.push(placed);
                    used.push(0);
                    continue;
                }
                Placement::Nowhere => break,
            }
            placed += 1;
        }
        assert_eq!((at_open, placed), (vec![512], 1_800));
        assert_eq!(used, [900 * 1_024; 2]);
    }

    #[test]
    fn a_session_that_is_away_is_the_second_choice() {
        let away = Room { used: 0, attached: false };
        let there = Room { used: 100, attached: true };
        assert_eq!(place(10, &[away, there], 2), Placement::Into(1));
        assert_eq!(place(10, &[away], 1), Placement::Into(0));
        assert_eq!(place(10, &[away, Room { used: PREFERRED, ..there }], 9), Placement::Into(0));
    }

    #[test]
    fn a_path_counts_once_with_its_chroot() {
        let path = ZnodePath::new("/services/a").unwrap();
        let mut budget = Budget::default();
        budget.reserve(&path, 20);
        budget.reserve(&path, 20);
        assert_eq!(budget.used(), 4 + 11 + 20);
        budget.release(&path, 20);
        budget.release(&path, 20);
        assert_eq!(budget.used(), 0);
    }
}
