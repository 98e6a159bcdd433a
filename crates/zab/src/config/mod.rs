//! The server's configuration: Apache's `zoo.cfg` keys, checked before anything starts.
//!
//! `settings` reads text, `registry` knows every key of Apache's and what becomes of it here, and
//! [`ServerConfig`] is what is true. Each area lists its keys beside its code: whoever implements one moves it to
//! [`Treatment::Honoured`] and takes it in `set`.

mod admin;
mod error;
mod general;
mod limits;
mod metrics;
mod registry;
mod security;
mod server;
mod sessions;
mod settings;
mod storage;
mod tls;

pub use admin::AdminConfig;
pub use error::ConfigError;
pub use limits::{Limits, ThrottleSettings};
pub use registry::{Group, Treatment, known};
pub use security::SecurityConfig;
pub use server::ServerConfig;
pub use sessions::{PasswordKind, ReaperConfig, Reattach, SessionRules};
pub use storage::StorageConfig;
pub use tls::{ClientAuth, Password, StoreKind, StoreSettings, TlsSettings};
