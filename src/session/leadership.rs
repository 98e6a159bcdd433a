//! Who may attach to the pool's sessions.

use zk_client::Permit;

/// Gives a [`Permit`] for each attach, as long as this process leads. One match decides; the pool never
/// makes a permit by itself.
#[derive(Debug, Clone)]
pub enum Leadership {
    /// There is one replica, and it leads.
    Sole,
}

impl Leadership {
    /// Waits until this process leads, and permits one attach.
    pub async fn permit(&self) -> Permit {
        match self {
            Leadership::Sole => Permit::grant(),
        }
    }
}
