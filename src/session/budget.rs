//! How much a session may hold.
//!
//! Closing a session is one transaction with the paths of all its ephemerals. Beyond `jute.maxbuffer`, 1 MiB
//! by default, it takes an Apache ensemble down (ZOOKEEPER-4306).

use crate::model::ZnodePath;

/// What a session is filled to before another one is opened, in bytes of [`ZnodePath::close_bytes`].
const PREFERRED: usize = 512 * 1024;
/// What it is filled to when no further session may be opened.
const MOST: usize = 900 * 1024;

/// Bytes reserved in one session. Reservations are made before the znode is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Budget {
    used: usize,
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
    /// Reserves room for a path.
    pub fn reserve(&mut self, path: &ZnodePath) {
        self.used += path.close_bytes();
    }

    /// Gives the room of a path back.
    pub fn release(&mut self, path: &ZnodePath) {
        self.used = self.used.saturating_sub(path.close_bytes());
    }

    /// Bytes reserved.
    #[must_use]
    pub fn used(self) -> usize {
        self.used
    }

    fn has_room(self, path: &ZnodePath, limit: usize) -> bool {
        self.used + path.close_bytes() <= limit
    }
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

/// The first session with room within the preferred budget; else a new one; else the emptiest one within
/// the highest budget.
pub(super) fn place(path: &ZnodePath, budgets: &[Budget], limit: usize) -> Placement {
    if let Some(index) = budgets.iter().position(|budget| budget.has_room(path, PREFERRED)) {
        return Placement::Into(index);
    }
    if budgets.len() < limit {
        return Placement::Open;
    }
    let emptiest = budgets.iter().enumerate().min_by_key(|(_, budget)| budget.used);
    match emptiest {
        Some((index, budget)) if budget.has_room(path, MOST) => Placement::Into(index),
        _ => Placement::Nowhere,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_fill_up_then_multiply_then_stretch_then_refuse() {
        let path = ZnodePath::new(&format!("/{}", "x".repeat(1_019))).unwrap();
        assert_eq!(path.close_bytes(), 1_024);
        let mut budgets = vec![Budget::default()];
        let (mut placed, mut at_open) = (0, Vec::new());
        loop {
            match place(&path, &budgets, 2) {
                Placement::Into(index) => budgets[index].reserve(&path),
                Placement::Open => {
                    at_open.push(placed);
                    budgets.push(Budget::default());
                    continue;
                }
                Placement::Nowhere => break,
            }
            placed += 1;
        }
        assert_eq!((at_open, placed), (vec![512], 1_800));
        assert!(budgets.iter().all(|budget| budget.used() == 900 * 1_024));
        budgets[1].release(&path);
        assert_eq!(place(&path, &budgets, 2), Placement::Into(1));
    }
}
