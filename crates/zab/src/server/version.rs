//! What this server says it is.

/// The release of Apache ZooKeeper whose answers these are. Clients read three numbers here, and some decide by
/// them what they may ask for.
pub const APACHE: &str = "3.9.3";

/// `Version.getFullVersion`: Apache's release, ours behind it, and when this was built.
#[must_use]
pub fn full() -> String {
    format!("{APACHE}-zoobridge-{}, built on {}", env!("CARGO_PKG_VERSION"), env!("ZAB_BUILT"))
}
