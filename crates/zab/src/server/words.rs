//! Four-letter words (`org.apache.zookeeper.server.command`): which there are, and how their answers look.
//! Dashboards parse them, so they have Apache's form to the byte.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use jiff::Timestamp;
use zk_wire::codes::OpCode;
use zk_wire::digest::Digest;
use zk_wire::ids::{SessionId, Zxid};

use super::inspect::{ConnectionView, SessionsView, View, WatchesView};
use super::metrics::Metric;
use super::stats::millis;
use super::version;

/// All of Apache's words.
pub const WORDS: [&[u8; 4]; 18] = [
    b"conf", b"cons", b"crst", b"dirs", b"dump", b"envi", b"gtmk", b"hash", b"isro", b"mntr", b"ruok",
    b"srst", b"srvr", b"stat", b"stmk", b"wchc", b"wchp", b"wchs",
];

/// Is this the beginning of a word rather than a message's length?
#[must_use]
pub fn is_word(first: [u8; 4]) -> bool {
    WORDS.contains(&&first)
}

/// The answer to a word that is not in `4lw.commands.whitelist`.
#[must_use]
pub fn not_allowed(word: &str) -> String {
    format!("{word} is not executed because it is not in the whitelist.\n")
}

/// `srvr`.
#[must_use]
pub fn srvr(view: &View) -> String {
    format!("Zookeeper version: {}\n{}", version::full(), counters(view))
}

/// `stat`.
#[must_use]
pub fn stat(view: &View, connections: &[ConnectionView]) -> String {
    let clients: String = connections.iter().map(|one| connection(one, true)).collect();
    format!("Zookeeper version: {}\nClients:\n{clients}\n{}", version::full(), counters(view))
}

/// `cons`.
#[must_use]
pub fn cons(connections: &[ConnectionView]) -> String {
    let clients: String = connections.iter().map(|one| connection(one, false)).collect();
    format!("{clients}\n")
}

/// `mntr`.
#[must_use]
pub fn mntr(metrics: &[Metric]) -> String {
    let mut text = format!("zk_version\t{}\nzk_server_state\tstandalone\n", version::full());
    for (key, number) in metrics.iter().flat_map(Metric::numbers) {
        let _ = writeln!(text, "zk_{key}\t{number}");
    }
    text
}

/// `dump`.
#[must_use]
pub fn dump(sessions: &SessionsView, connections: &[ConnectionView]) -> String {
    let mut text = String::from("SessionTracker dump:\n");
    let count: usize = sessions.expiry.iter().map(|(_, ids)| ids.len()).sum();
    let _ = writeln!(text, "Session Sets ({})/({count}):", sessions.expiry.len());
    for (at, ids) in &sessions.expiry {
        let _ = writeln!(text, "{} expire at {}:", ids.len(), date(sessions, *at));
        ids.iter().for_each(|id| text.push_str(&format!("\t{id}\n")));
    }
    let _ =
        writeln!(text, "ephemeral nodes dump:\nSessions with Ephemerals ({}):", sessions.ephemerals.len());
    for (id, paths) in &sessions.ephemerals {
        let _ = writeln!(text, "{id}:");
        paths.iter().for_each(|path| text.push_str(&format!("\t{path}\n")));
    }
    // A connection lives as long as its session; without one, until the first message must have come.
    let of_session =
        |id: SessionId| sessions.expiry.iter().find(|(_, ids)| ids.contains(&id)).map(|(at, _)| *at);
    let mut sets: std::collections::BTreeMap<Duration, Vec<&ConnectionView>> =
        std::collections::BTreeMap::new();
    for one in connections {
        let at = one.session.and_then(of_session).unwrap_or(sessions.uptime);
        sets.entry(at).or_default().push(one);
    }
    let _ = writeln!(text, "Connections dump:\nConnections Sets ({})/({}):", sets.len(), connections.len());
    for (at, set) in sets {
        let _ = writeln!(text, "{} expire at {}:", set.len(), date(sessions, at));
        for one in set {
            let (address, id) = (java_address(one.peer.address), one.session.unwrap_or(SessionId::NONE));
            let _ = writeln!(text, "\tip: /{address} sessionId: {id}");
        }
    }
    text
}

/// `wchs`.
#[must_use]
pub fn wchs(watches: &WatchesView) -> String {
    let (connections, paths) = (watches.by_session.len(), watches.by_path.len());
    format!("{connections} connections watching {paths} paths\nTotal watches:{}\n", watches.total())
}

/// `wchc`.
#[must_use]
pub fn wchc(watches: &WatchesView) -> String {
    let mut text = String::new();
    for (id, paths) in &watches.by_session {
        let _ = writeln!(text, "{id}");
        paths.iter().for_each(|path| text.push_str(&format!("\t{path}\n")));
    }
    text + "\n"
}

/// `wchp`.
#[must_use]
pub fn wchp(watches: &WatchesView) -> String {
    let mut text = String::new();
    for (path, ids) in &watches.by_path {
        let _ = writeln!(text, "{path}");
        ids.iter().for_each(|id| text.push_str(&format!("\t{id}\n")));
    }
    text + "\n"
}

/// `hash`.
#[must_use]
pub fn hash(digests: &[(Zxid, Digest)]) -> String {
    digests.iter().map(|(zxid, digest)| format!("{:x}: {}\n", zxid.0, digest.0)).collect()
}

/// `dirs`.
#[must_use]
pub fn dirs(data_bytes: i64, log_bytes: i64) -> String {
    format!("datadir_size: {data_bytes}\nlogdir_size: {log_bytes}\n")
}

/// Lines of `key=value`, as in `conf` and `envi`.
#[must_use]
pub fn pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, String)>) -> String {
    pairs.into_iter().map(|(key, value)| format!("{key}={value}\n")).collect()
}

/// `ServerStats.toString`, and the number of znodes.
fn counters(view: &View) -> String {
    let View { stats, connections, outstanding, zxid, znodes, .. } = view;
    let (latency, received, sent) = (stats.latency, stats.received, stats.sent);
    let (min, mean, max) = (latency.min(), java_double(latency.mean()), latency.max());
    format!(
        "Latency min/avg/max: {min}/{mean}/{max}\nReceived: {received}\nSent: {sent}\nConnections: {connections}\n\
         Outstanding: {outstanding}\nZxid: {zxid}\nMode: standalone\nNode count: {znodes}\n"
    )
}

/// `ServerCnxn.dumpConnectionInfo`, and the end of the line.
fn connection(one: &ConnectionView, brief: bool) -> String {
    let ConnectionView { peer, is_read, outstanding, stats, session, timeout_ms } = one;
    let (address, interest) = (java_address(peer.address), interest_ops(*is_read));
    let (received, sent) = (stats.received, stats.sent);
    let mut line = format!(" /{address}[{interest}](queued={outstanding},recved={received},sent={sent}");
    if let Some(session) = session.filter(|_| !brief) {
        let (op, zxid, at, took) = last_answer(one);
        let _ = write!(line, ",sid={session},lop={op},est={},to={timeout_ms}", stats.established_ms);
        if let Some(xid) = stats.last_xid {
            let _ = write!(line, ",lcxid=0x{xid:x}");
        }
        let _ = write!(line, ",lzxid=0x{zxid:x},lresp={at},llat={took}");
        let (min, max) = (stats.latency.min(), stats.latency.max());
        let _ = write!(line, ",minlat={min},avglat={},maxlat={max}", mean_latency(one));
    }
    line + ")\n"
}

/// The name of the last operation, its zxid, when it was answered and how long it took; in milliseconds.
#[must_use]
pub fn last_answer(one: &ConnectionView) -> (&'static str, i64, u64, u64) {
    one.stats.last.map_or(("NA", -1, 0, 0), |last| {
        (operation(last.op), last.zxid.0, millis(last.at), millis(last.latency))
    })
}

/// In whole milliseconds, rounded down.
#[must_use]
pub fn mean_latency(one: &ConnectionView) -> u64 {
    one.stats.latency.sum().checked_div(one.stats.latency.count()).unwrap_or(0)
}

/// What Java's selector would wait for: reading, or nothing any more.
#[must_use]
pub fn interest_ops(is_read: bool) -> u8 {
    u8::from(is_read)
}

/// The four letters of an operation (`FinalRequestProcessor`).
fn operation(op: Option<OpCode>) -> &'static str {
    match op {
        None => "SESS",
        Some(op) => match op {
            OpCode::Ping => "PING",
            OpCode::Multi => "MULT",
            OpCode::MultiRead => "MLTR",
            OpCode::Create | OpCode::Create2 | OpCode::CreateTtl | OpCode::CreateContainer => "CREA",
            OpCode::Delete | OpCode::DeleteContainer => "DELE",
            OpCode::SetData => "SETD",
            OpCode::Reconfig => "RECO",
            OpCode::SetAcl => "SETA",
            OpCode::CloseSession => "CLOS",
            OpCode::Sync => "SYNC",
            OpCode::Check => "CHEC",
            OpCode::Exists => "EXIS",
            OpCode::GetData => "GETD",
            OpCode::SetWatches => "SETW",
            OpCode::SetWatches2 => "STW2",
            OpCode::AddWatch => "ADDW",
            OpCode::GetAcl => "GETA",
            OpCode::GetChildren | OpCode::GetChildren2 => "GETC",
            OpCode::GetAllChildrenNumber => "GETACN",
            OpCode::CheckWatches => "CHKW",
            OpCode::RemoveWatches => "REMW",
            OpCode::WhoAmI => "HOMI",
            OpCode::GetEphemerals => "GETE",
            _ => "NA",
        },
    }
}

/// `java.net.InetSocketAddress.toString` behind its `/`: an IPv6 address has all its groups.
#[must_use]
pub fn java_address(address: SocketAddr) -> String {
    match address.ip() {
        IpAddr::V4(ip) => format!("{ip}:{}", address.port()),
        IpAddr::V6(ip) => {
            let groups = ip.segments().map(|group| format!("{group:x}"));
            format!("[{}]:{}", groups.join(":"), address.port())
        }
    }
}

/// `Double.toString`: at least one digit behind the point, and an exponent from ten million on.
#[must_use]
pub fn java_double(number: f64) -> String {
    if number.abs() < 1e7 {
        return format!("{number:?}");
    }
    let text = format!("{number:E}");
    match text.split_once('E') {
        Some((mantissa, exponent)) if !mantissa.contains('.') => format!("{mantissa}.0E{exponent}"),
        _ => text,
    }
}

/// `java.util.Date.toString`, in UTC.
fn date(sessions: &SessionsView, at: Duration) -> String {
    let (at, now) = (i64::try_from(at.as_millis()), i64::try_from(sessions.uptime.as_millis()));
    let ms = sessions.wall_ms.saturating_add(at.unwrap_or(i64::MAX)).saturating_sub(now.unwrap_or(0));
    Timestamp::from_millisecond(ms).unwrap_or_default().strftime("%a %b %d %H:%M:%S UTC %Y").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_addresses_and_dates_look_as_java_writes_them() {
        for (number, text) in
            [(0.0, "0.0"), (1.3636, "1.3636"), (12.0, "12.0"), (1e7, "1.0E7"), (12_345_678.5, "1.23456785E7")]
        {
            assert_eq!(java_double(number), text);
        }
        for (address, text) in [("127.0.0.1:7", "127.0.0.1:7"), ("[::1]:7", "[0:0:0:0:0:0:0:1]:7")] {
            assert_eq!(java_address(address.parse().unwrap()), text);
        }
        let sessions = SessionsView {
            expiry: Vec::new(),
            ephemerals: Vec::new(),
            uptime: Duration::from_secs(5),
            wall_ms: 1_795_418_650_000,
        };
        assert_eq!(date(&sessions, Duration::from_secs(11)), "Mon Nov 23 07:24:16 UTC 2026");
    }
}
