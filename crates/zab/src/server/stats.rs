//! Counters of a server, as `srvr` and `mntr` show them.

/// Counters since the start.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stats {
    /// Messages received.
    pub received: u64,
    /// Messages sent.
    pub sent: u64,
    /// Bytes of messages received.
    pub received_bytes: u64,
    /// First messages: requests for a session, new or resumed.
    pub connect_requests: u64,
    /// Credentials that were refused.
    pub auth_failed: u64,
    /// Sessions that have expired.
    pub expired: u64,
}
