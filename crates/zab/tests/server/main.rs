//! What the server promises its clients, over real sockets.
//!
//! With `ZOOBRIDGE_TEST_ZOOKEEPER=host:port` the tests that need no server of their own talk to that one, so
//! that they say of Apache's what they say of ours.
#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

mod aging;
mod creates;
mod hostile;
mod limits;
mod local_sessions;
mod multi;
mod place;
mod quotas;
mod reads_and_writes;
mod reattach;
mod restarts;
mod security;
mod sessions;
mod tls;
mod watches;
mod wire;
mod words;
mod xids;
