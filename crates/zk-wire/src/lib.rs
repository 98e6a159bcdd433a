//! ZooKeeper's records as plain values: jute, client protocol, transactions, digests.
//!
//! ```text
//!   bytes ──Reader──▶ ConnectRequest, Request, LoggedTxn …      values ──Jute::write──▶ bytes
//! ```
//!
//! The crate knows no socket, file, clock or runtime. Decoding never panics and never allocates more than a
//! small multiple of the bytes given. Names and order of records are upstream's (`zookeeper.jute`); numbers
//! outside a table survive as numbers.

pub mod acl;
pub mod codes;
pub mod connect;
pub mod digest;
pub mod digest_md5;
pub mod ids;
pub mod jute;
pub mod log_record;
pub mod multi;
pub mod password;
pub mod path;
pub mod reply;
pub mod request;
pub mod snap_stream;
pub mod snapshot;
pub mod stat;
pub mod txn;
