//! One ZooKeeper session whose owner can detach it, hand it over and resume it.
//!
//! ```text
//!   Connector ──stream──▶ attach(Permit, Opening) ──▶ Session, Events
//!   owner ──Request──▶ Session ──queue──▶ driver task ──frames──▶ server
//!   server ──frames──▶ driver task ──▶ replies in order, watch events
//! ```
//!
//! Promises, which no other client makes together:
//! - a [`Session`] is exactly one connection. It never reconnects by itself: each [`attach`] costs one
//!   [`Permit`], so a process that has lost its leadership cannot steal a session back;
//! - dropping a `Session` leaves the session alive at the server, with its ephemerals, until its timeout.
//!   Only [`Session::close`] ends it;
//! - [`Credentials`] go in and out: whoever has them can resume the session, in this process or another;
//! - a request whose connection is lost says whether it was [never sent](RequestError::NotSent) or
//!   [may have been carried out](RequestError::Unknown);
//! - an expired session is [`AttachError::Expired`] and nothing else is. A server that says so in answer to a
//!   request ends the connection ([`Lost::EndedBy`]), and the next attach tells;
//! - identities are proven ahead of everything else, also when a session is resumed: TLS before the first byte, SASL
//!   before the first request, then those of `addauth`;
//! - an answer fits its request, a multi's op by op, or the connection is lost.
//!
//! Bytes from the server never panic and never make us allocate beyond [`Options::max_frame`].

mod chroot;
mod connector;
mod credentials;
mod driver;
mod error;
mod relay;
mod sasl;
mod session;
mod tls;
mod watches;

pub use connector::{ConnectError, ConnectString, ConnectStringError, Connector, Stream};
pub use credentials::{Credentials, Password, Permit};
pub use error::{AttachError, Lost, MultiFailure, RequestError};
pub use relay::relay;
pub use sasl::SaslUser;
pub use session::{Auth, Event, Events, Opening, Options, Session, attach};
pub use tls::{Certificate, Tls, TlsError};
pub use watches::WatchSet;
