//! Digests of the tree at past transactions, as `hash` shows them (`DataTree.getDigestLog`).

use std::collections::VecDeque;

use zk_wire::digest::Digest;
use zk_wire::ids::Zxid;

/// One transaction in so many is kept (`DataTree.DIGEST_LOG_INTERVAL`).
const INTERVAL: i64 = 128;
/// So many are kept (`DataTree.DIGEST_LOG_LIMIT`).
const LIMIT: usize = 1024;

/// The tree's digests behind each transaction whose zxid is a multiple of 128; the last 1024 of them.
#[derive(Debug, Default)]
pub struct DigestLog(VecDeque<(Zxid, Digest)>);

impl DigestLog {
    /// The digest behind one more transaction.
    pub fn push(&mut self, zxid: Zxid, digest: Digest) {
        if zxid.0 % INTERVAL != 0 {
            return;
        }
        if self.0.len() == LIMIT {
            self.0.pop_front();
        }
        self.0.push_back((zxid, digest));
    }

    /// From the oldest to the newest.
    pub fn iter(&self) -> impl Iterator<Item = (Zxid, Digest)> + '_ {
        self.0.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_128_is_kept_and_no_more_than_1024() {
        let mut digests = DigestLog::default();
        for zxid in 1..=128 * 1030 {
            digests.push(Zxid(zxid), Digest::ZERO);
        }
        let kept: Vec<i64> = digests.iter().map(|(zxid, _)| zxid.0).collect();
        assert_eq!((kept.len(), kept[0], kept[1023]), (1024, 128 * 7, 128 * 1030));
    }
}
