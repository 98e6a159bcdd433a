//! Four-letter words (`org.apache.zookeeper.server.command`).

use zk_wire::ids::Zxid;

use super::stats::Stats;
use crate::config::ServerConfig;

/// What the words tell of a server.
#[derive(Debug, Clone, Copy)]
pub struct View {
    /// Counters.
    pub stats: Stats,
    /// Connections, this one included.
    pub connections: usize,
    /// Proposals not yet committed.
    pub outstanding: usize,
    /// Sessions.
    pub sessions: usize,
    /// The last transaction applied.
    pub zxid: Zxid,
    /// Znodes.
    pub znodes: usize,
    /// Ephemeral znodes.
    pub ephemerals: usize,
    /// Watches.
    pub watches: usize,
    /// Bytes of paths and data.
    pub data_bytes: u64,
}

/// The words that exist here.
const WORDS: [&[u8; 4]; 4] = [b"isro", b"mntr", b"ruok", b"srvr"];

/// Is this the beginning of a word rather than a message's length? All of Apache's words count, so that the
/// ones not served get a sentence instead of a closed connection.
#[must_use]
pub fn is_word(first: [u8; 4]) -> bool {
    const APACHE: [&[u8; 4]; 17] = [
        b"conf", b"cons", b"crst", b"dirs", b"dump", b"envi", b"gtmk", b"ruok", b"stmk", b"srst", b"srvr",
        b"stat", b"wchc", b"wchp", b"wchs", b"mntr", b"isro",
    ];
    APACHE.contains(&&first)
}

/// The answer to a word.
#[must_use]
pub fn answer(word: &[u8; 4], config: &ServerConfig, view: &View) -> String {
    let name = String::from_utf8_lossy(word);
    if !config.word_is_allowed(&name) || !WORDS.contains(&word) {
        return format!("{name} is not executed because it is not in the whitelist.\n");
    }
    match word {
        b"ruok" => "imok".to_owned(),
        b"isro" => "rw".to_owned(),
        b"mntr" => mntr(view),
        _ => srvr(view),
    }
}

fn version() -> String {
    format!("zoobridge-{}", env!("CARGO_PKG_VERSION"))
}

fn srvr(view: &View) -> String {
    format!(
        "Zookeeper version: {}, built on \nReceived: {}\nSent: {}\nConnections: {}\nOutstanding: {}\nZxid: {}\nMode: standalone\nNode count: {}\n",
        version(),
        view.stats.received,
        view.stats.sent,
        view.connections,
        view.outstanding,
        view.zxid,
        view.znodes,
    )
}

fn mntr(view: &View) -> String {
    let lines = [
        ("version", version()),
        ("server_state", "standalone".to_owned()),
        ("packets_received", view.stats.received.to_string()),
        ("packets_sent", view.stats.sent.to_string()),
        ("num_alive_connections", view.connections.to_string()),
        ("outstanding_requests", view.outstanding.to_string()),
        ("global_sessions", view.sessions.to_string()),
        ("znode_count", view.znodes.to_string()),
        ("watch_count", view.watches.to_string()),
        ("ephemerals_count", view.ephemerals.to_string()),
        ("approximate_data_size", view.data_bytes.to_string()),
    ];
    lines.iter().map(|(key, value)| format!("zk_{key}\t{value}\n")).collect()
}
