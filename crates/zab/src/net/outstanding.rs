//! Requests under way in all connections together: how many, and how many bytes of large ones. A connection
//! beyond either waits and is not read (`ZooKeeperServer.shouldThrottle`).

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use crate::config::Limits;

/// The room that all connections share.
#[derive(Debug)]
pub struct Outstanding {
    requests: Semaphore,
    /// In units of [`UNIT`] bytes.
    large: Semaphore,
    large_units: u32,
    threshold: usize,
}

const UNIT: usize = 1024;

/// What one connection has of it; given back when dropped.
#[derive(Debug)]
pub struct Share {
    all: Arc<Outstanding>,
    entered: AtomicU64,
    answered: AtomicU64,
    /// Places held; a connection that has nothing under way needs none.
    held: AtomicUsize,
    /// Which requests are large, and of how many units.
    large: Mutex<VecDeque<(u64, u32)>>,
    has_large: AtomicUsize,
}

impl Outstanding {
    /// Nothing is under way.
    #[must_use]
    pub fn new(limits: &Limits) -> Arc<Self> {
        let units =
            (limits.large_request_bytes / UNIT).clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        Arc::new(Outstanding {
            requests: Semaphore::new(limits.outstanding.min(Semaphore::MAX_PERMITS)),
            large: Semaphore::new(units),
            large_units: u32::try_from(units).unwrap_or(u32::MAX),
            threshold: limits.large_request_threshold,
        })
    }

    /// The share of a new connection.
    #[must_use]
    pub fn share(self: &Arc<Self>) -> Arc<Share> {
        Arc::new(Share {
            all: Arc::clone(self),
            entered: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            held: AtomicUsize::new(0),
            large: Mutex::default(),
            has_large: AtomicUsize::new(0),
        })
    }
}

impl Share {
    /// Waits until a request of so many bytes may be under way, too.
    pub async fn enter(&self, bytes: usize) {
        let number = self.entered.load(Ordering::Relaxed);
        if bytes >= self.all.threshold {
            let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).min(self.all.large_units);
            // Never closed.
            if let Ok(permit) = self.all.large.acquire_many(units).await {
                permit.forget();
                self.large().push_back((number, units));
                self.has_large.fetch_add(1, Ordering::Relaxed);
            }
        }
        let permit = match self.all.requests.try_acquire() {
            Ok(permit) => Some(permit),
            Err(_) if self.answered.load(Ordering::Relaxed) == number => None,
            Err(_) => self.all.requests.acquire().await.ok(),
        };
        if let Some(permit) = permit {
            permit.forget();
            self.held.fetch_add(1, Ordering::Relaxed);
        }
        self.entered.fetch_add(1, Ordering::Relaxed);
    }

    /// Enters if that needs no waiting and the request is not large.
    pub fn try_enter(&self, bytes: usize) -> bool {
        if bytes >= self.all.threshold {
            return false;
        }
        let Ok(permit) = self.all.requests.try_acquire() else {
            return false;
        };
        permit.forget();
        self.held.fetch_add(1, Ordering::Relaxed);
        self.entered.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// One of them has been answered.
    pub fn leave(&self) {
        let answered = self.answered.fetch_add(1, Ordering::Relaxed) + 1;
        let less = |held: usize| held.checked_sub(1);
        if self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok() {
            self.all.requests.add_permits(1);
        }
        if self.has_large.load(Ordering::Relaxed) > 0 {
            self.release_large(|number| number < answered);
        }
    }

    fn release_large(&self, is_over: impl Fn(u64) -> bool) {
        let mut large = self.large();
        while let Some((_, units)) = large.pop_front_if(|(number, _)| is_over(*number)) {
            self.has_large.fetch_sub(1, Ordering::Relaxed);
            self.all.large.add_permits(units as usize);
        }
    }

    fn large(&self) -> std::sync::MutexGuard<'_, VecDeque<(u64, u32)>> {
        self.large.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.all.requests.add_permits(self.held.swap(0, Ordering::Relaxed));
        self.release_large(|_| true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outstanding(requests: usize, large_bytes: usize) -> Arc<Outstanding> {
        let limits = Limits {
            outstanding: requests,
            large_request_bytes: large_bytes,
            large_request_threshold: 2 * UNIT,
            ..Limits::default()
        };
        Outstanding::new(&limits)
    }

    /// Does it enter without waiting?
    async fn enters(share: &Share, bytes: usize) -> bool {
        tokio::select! {
            biased;
            () = share.enter(bytes) => true,
            () = std::future::ready(()) => false,
        }
    }

    #[tokio::test]
    async fn beyond_the_limit_each_connection_has_one_at_a_time() {
        let all = outstanding(2, UNIT);
        let (a, b) = (all.share(), all.share());
        assert!(enters(&a, 1).await && enters(&a, 1).await);
        assert!(!enters(&a, 1).await);
        assert!(enters(&b, 1).await && !enters(&b, 1).await);
        b.leave();
        assert!(enters(&b, 1).await && !enters(&b, 1).await);
        a.leave();
        assert!(enters(&a, 1).await && !enters(&a, 1).await);
    }

    #[tokio::test]
    async fn large_requests_share_their_bytes_and_small_ones_do_not_wait_for_them() {
        let all = outstanding(100, 10 * UNIT);
        let (a, b) = (all.share(), all.share());
        assert!(enters(&a, 6 * UNIT).await);
        assert!(!enters(&b, 6 * UNIT).await && enters(&b, 4 * UNIT).await && enters(&b, UNIT).await);
        a.leave();
        assert!(enters(&a, 6 * UNIT).await);
        // One that is larger than all of it takes all of it.
        for _ in 0..2 {
            b.leave();
        }
        assert!(!enters(&b, 100 * UNIT).await);
        a.leave();
        assert!(enters(&b, 100 * UNIT).await);
    }

    #[tokio::test]
    async fn whoever_does_not_want_to_wait_enters_only_where_there_is_room() {
        let all = outstanding(2, 10 * UNIT);
        let (a, b) = (all.share(), all.share());
        assert!(!a.try_enter(2 * UNIT), "large ones wait their turn");
        assert!(a.try_enter(1) && a.try_enter(1));
        assert!(!a.try_enter(1) && !b.try_enter(1));
        a.leave();
        assert!(b.try_enter(1));
    }

    #[tokio::test]
    async fn a_connection_that_ends_gives_everything_back() {
        let all = outstanding(1, 10 * UNIT);
        let a = all.share();
        assert!(enters(&a, 10 * UNIT).await);
        let b = all.share();
        assert!(enters(&b, 1).await && !enters(&b, 1).await);
        drop(a);
        assert!(enters(&b, 10 * UNIT).await);
        assert_eq!(all.requests.available_permits(), 0);
        drop(b);
        assert_eq!((all.requests.available_permits(), all.large.available_permits()), (1, 10));
    }
}
