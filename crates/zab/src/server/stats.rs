//! Counters of a server, as `srvr` and `mntr` show them.

/// Counters since the start.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stats {
    /// Messages received.
    pub received: u64,
    /// Messages sent.
    pub sent: u64,
}
