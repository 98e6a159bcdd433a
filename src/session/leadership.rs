//! Who may attach to the pool's sessions.

use tokio::sync::watch;
use tokio::time::Instant;
use zk_client::Permit;

/// Gives a [`Permit`] for each attach, as long as this process leads. One match decides; the pool never
/// makes a permit by itself.
#[derive(Debug, Clone)]
pub enum Leadership {
    /// There is one replica, and it leads.
    Sole,
    /// The holder of a Lease leads, until the instant that the elector tells.
    Lease(watch::Receiver<Option<Instant>>),
}

impl Leadership {
    /// Waits until this process leads, and permits one attach.
    pub async fn permit(&self) -> Permit {
        match self {
            Leadership::Sole => Permit::grant(),
            Leadership::Lease(until) => {
                let mut until = until.clone();
                let leads = |until: &Option<Instant>| until.is_some_and(|until| Instant::now() < until);
                let is_acquired = until.wait_for(leads).await.is_ok();
                if !is_acquired {
                    // The elector is gone, and with it the claim.
                    std::future::pending::<()>().await;
                }
                Permit::grant()
            }
        }
    }

    /// Does another process lead, or nobody yet?
    #[must_use]
    pub fn stands_by(&self) -> bool {
        matches!(self, Leadership::Lease(until) if until.borrow().is_none())
    }

    /// Waits until this process leads.
    pub async fn acquired(&self) {
        let _not_used: Permit = self.permit().await;
    }
}
