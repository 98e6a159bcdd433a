//! From a connect string to a stream, by TLS if wanted. Names are resolved at each attempt, since a StatefulSet's members
//! change their addresses.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;
use zk_wire::path::{self, PathError};

use crate::tls::Tls;

/// The port of ZooKeeper's clients.
const DEFAULT_PORT: u16 = 2181;

/// A connection to a server, plain or by TLS.
pub type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// `host:port,host:port/chroot`, as every ZooKeeper client takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectString {
    servers: Vec<(String, u16)>,
    chroot: String,
}

/// Why a string is no connect string.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectStringError {
    /// No server in it.
    #[error("{0:?} names no server; write host:port[,host:port…][/chroot]")]
    NoServer(String),
    /// A port that is none.
    #[error("{0:?} has no port from 1 to 65535 behind its last ':'")]
    Port(String),
    /// A chroot that is no path.
    #[error("the chroot {chroot:?} is no path: {reason}")]
    Chroot {
        /// What was written.
        chroot: String,
        /// The rule it breaks.
        reason: PathError,
    },
}

/// Why no server could be reached.
#[derive(Debug, thiserror::Error)]
#[error("no ZooKeeper server of {servers} can be reached; the last, {last}, said: {reason}")]
pub struct ConnectError {
    /// All of them.
    pub servers: String,
    /// The one tried last.
    pub last: String,
    /// Its error.
    pub reason: String,
}

impl ConnectString {
    /// The prefix below which the session works; empty for none.
    #[must_use]
    pub fn chroot(&self) -> &str {
        &self.chroot
    }

    /// Do both name one server? Then they are of one ensemble.
    #[must_use]
    pub fn shares_a_server_with(&self, other: &ConnectString) -> bool {
        let is_same = |(host, port): &(String, u16), (other_host, other_port): &(String, u16)| {
            port == other_port && host.eq_ignore_ascii_case(other_host)
        };
        self.servers.iter().any(|server| other.servers.iter().any(|one| is_same(server, one)))
    }
}

impl FromStr for ConnectString {
    type Err = ConnectStringError;

    fn from_str(text: &str) -> Result<Self, ConnectStringError> {
        let (servers, chroot) = text.split_at(text.find('/').unwrap_or(text.len()));
        let servers: Vec<_> = servers
            .split(',')
            .map(str::trim)
            .filter(|server| !server.is_empty())
            .map(parse_server)
            .collect::<Result<_, _>>()?;
        if servers.is_empty() {
            return Err(ConnectStringError::NoServer(text.to_owned()));
        }
        let chroot = if chroot == "/" { "" } else { chroot };
        if !chroot.is_empty() {
            path::validate(chroot)
                .map_err(|reason| ConnectStringError::Chroot { chroot: chroot.to_owned(), reason })?;
        }
        Ok(ConnectString { servers, chroot: chroot.to_owned() })
    }
}

impl fmt::Display for ConnectString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (host, port)) in self.servers.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            match host.contains(':') {
                true => write!(f, "{comma}[{host}]:{port}")?,
                false => write!(f, "{comma}{host}:{port}")?,
            }
        }
        f.write_str(&self.chroot)
    }
}

fn parse_server(server: &str) -> Result<(String, u16), ConnectStringError> {
    let (host, port) = match server.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (server, None),
    };
    let port = match port {
        None => DEFAULT_PORT,
        Some(port) => match port.parse() {
            Ok(port) if port > 0 => port,
            _ => return Err(ConnectStringError::Port(server.to_owned())),
        },
    };
    Ok((host.trim_start_matches('[').trim_end_matches(']').to_owned(), port))
}

/// No address gets less than this, so that a short round does not fail for a slow handshake.
const LEAST: Duration = Duration::from_millis(200);

/// Connects to one server after the other, starting behind the one tried last: whether that one refused,
/// closed or was lost, it is tried again when all others have had their turn. Keep one for each session.
#[derive(Debug)]
pub struct Connector {
    to: ConnectString,
    round: Duration,
    next: usize,
    /// Of each server, the address tried last.
    last: Vec<Option<SocketAddr>>,
    tls: Option<Tls>,
}

impl Connector {
    /// A connector that gives each round over all servers this long: a server gets its share of what is left,
    /// and so does each address of a server's name, but none less than 200 ms. What a server does not use is
    /// for those behind it.
    #[must_use]
    pub fn new(to: ConnectString, round: Duration) -> Self {
        let last = vec![None; to.servers.len()];
        Connector { to, round, next: 0, last, tls: None }
    }

    /// Starts with this server, counted from zero and beyond the last from the first again. Connectors that
    /// start one behind the other spread over all servers, and over the addresses of a single name.
    #[must_use]
    pub fn starting_at(self, index: usize) -> Self {
        Connector { next: index, ..self }
    }

    /// From the next round on, speaks TLS with these keys, or none. A handshake is part of an address's share.
    pub fn secure(&mut self, tls: Option<Tls>) {
        self.tls = tls;
    }

    /// Tries every address of every server once: one round.
    ///
    /// # Errors
    /// None of them accepted.
    pub async fn connect(&mut self) -> Result<Stream, ConnectError> {
        let end = Instant::now() + self.round;
        let count = self.to.servers.len();
        let mut last = (String::new(), String::new());
        for left in (1..=count).rev() {
            let (lap, index) = (self.next / count, self.next % count);
            self.next = self.next.wrapping_add(1);
            match self.connect_to(index, lap, Instant::now() + share(end, left)).await {
                Ok(stream) => return Ok(stream),
                Err(reason) => {
                    let (host, port) = &self.to.servers[index];
                    last = (format!("{host}:{port}"), reason);
                }
            }
        }
        let (last, reason) = last;
        Err(ConnectError { servers: self.to.to_string(), last, reason })
    }

    async fn connect_to(&mut self, index: usize, lap: usize, end: Instant) -> Result<Stream, String> {
        let (host, port) = &self.to.servers[index];
        let resolving = timeout_at(end, tokio::net::lookup_host((host.as_str(), *port)));
        let addresses = resolving
            .await
            .map_err(|_| "the name was not resolved in time".to_owned())?
            .map_err(|error| error.to_string())?;
        let addresses = in_turn(addresses.collect(), self.last[index], lap);
        let mut reason = "the name has no address".to_owned();
        for (tried, address) in addresses.iter().enumerate() {
            self.last[index] = Some(*address);
            let share = share(end, addresses.len() - tried);
            match timeout(share, open(*address, host, self.tls.as_ref())).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => reason = error,
                Err(_) => reason = format!("no answer within {} ms", share.as_millis()),
            }
        }
        Err(reason)
    }
}

async fn open(address: SocketAddr, host: &str, tls: Option<&Tls>) -> Result<Stream, String> {
    let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    match tls {
        None => Ok(Either::Left(stream)),
        Some(tls) => Ok(Either::Right(Box::new(tls.connect(host, stream).await?))),
    }
}

fn share(end: Instant, parts: usize) -> Duration {
    let left = end.saturating_duration_since(Instant::now());
    (left / u32::try_from(parts).unwrap_or(u32::MAX)).max(LEAST)
}

/// Addresses in the order in which they are tried: those behind the last one first. Resolvers change the
/// order at will, so it is ours. Without a last one, it starts at `offset`.
fn in_turn(mut addresses: Vec<SocketAddr>, last: Option<SocketAddr>, offset: usize) -> Vec<SocketAddr> {
    addresses.sort_unstable();
    addresses.dedup();
    let count = addresses.len().max(1);
    let first = match last {
        Some(last) => addresses.partition_point(|address| *address <= last),
        None => offset,
    };
    addresses.rotate_left(first % count);
    addresses
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    #[test]
    fn connect_strings_are_read_as_other_clients_read_them() {
        for (text, shown, chroot) in [
            ("zk", "zk:2181", ""),
            ("zk-0:2182, zk-1", "zk-0:2182,zk-1:2181", ""),
            ("zk:1/", "zk:1", ""),
            ("zk:1/a/b", "zk:1/a/b", "/a/b"),
            ("[::1]:2181", "[::1]:2181", ""),
            ("[::1]", "[::1]:2181", ""),
        ] {
            let parsed: ConnectString = text.parse().unwrap();
            assert_eq!((parsed.to_string().as_str(), parsed.chroot()), (shown, chroot), "{text}");
        }
    }

    #[test]
    fn what_is_no_connect_string_is_refused_by_name() {
        for text in ["", ",", "/a", "zk:0", "zk:x", "zk:70000", "zk:1/a/", "zk:1//a"] {
            assert!(text.parse::<ConnectString>().is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn every_server_is_tried_and_the_last_error_is_told() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = listener.local_addr().unwrap();
        let closed = {
            let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            gone.local_addr().unwrap()
        };
        let both = format!("{closed},{open}").parse().unwrap();
        Connector::new(both, Duration::from_secs(5)).connect().await.unwrap();
        let error = Connector::new(closed.to_string().parse().unwrap(), Duration::from_secs(5))
            .connect()
            .await
            .unwrap_err();
        assert!(error.to_string().contains(&closed.to_string()), "{error}");
    }

    fn peer(stream: &Stream) -> SocketAddr {
        let Either::Left(stream) = stream else { panic!("no TLS was wanted") };
        stream.peer_addr().unwrap()
    }

    async fn listeners(count: usize) -> (Vec<TcpListener>, String) {
        let mut listeners = Vec::new();
        for _ in 0..count {
            listeners.push(TcpListener::bind("127.0.0.1:0").await.unwrap());
        }
        let addresses: Vec<_> = listeners.iter().map(|l| l.local_addr().unwrap().to_string()).collect();
        (listeners, addresses.join(","))
    }

    #[tokio::test]
    async fn each_attempt_takes_the_next_server_from_where_it_was_told_to_start() {
        let (listeners, all) = listeners(3).await;
        for (start, expected) in [(0, [0, 1, 2, 0]), (1, [1, 2, 0, 1]), (5, [2, 0, 1, 2])] {
            let mut connector =
                Connector::new(all.parse().unwrap(), Duration::from_secs(5)).starting_at(start);
            for server in expected {
                let to = peer(&connector.connect().await.unwrap());
                assert_eq!(to, listeners[server].local_addr().unwrap(), "from {start}");
            }
        }
        // A server that refuses has had its turn too.
        let [first, second, third] = listeners.try_into().unwrap();
        drop(second);
        let mut connector = Connector::new(all.parse().unwrap(), Duration::from_secs(5));
        for server in [&first, &third, &first, &third] {
            let to = peer(&connector.connect().await.unwrap());
            assert_eq!(to, server.local_addr().unwrap());
        }
    }

    #[test]
    fn the_addresses_of_a_name_take_turns_whatever_the_resolver_does() {
        let address = |n: u8| SocketAddr::from(([10, 0, 0, n], 2181));
        let resolved = |ns: &[u8]| ns.iter().copied().map(address).collect::<Vec<_>>();
        for (found, last, offset, expected) in [
            (&[3, 1, 2][..], None, 0, &[1, 2, 3][..]),
            (&[3, 1, 2], None, 1, &[2, 3, 1]),
            (&[3, 1, 2], None, 5, &[3, 1, 2]),
            (&[2, 3, 1], Some(1), 5, &[2, 3, 1]),
            (&[1, 2, 3], Some(3), 0, &[1, 2, 3]),
            (&[5, 1, 9], Some(3), 0, &[5, 9, 1]),
            (&[1, 1, 2], Some(1), 0, &[2, 1]),
            (&[], Some(1), 0, &[]),
        ] {
            assert_eq!(
                in_turn(resolved(found), last.map(address), offset),
                resolved(expected),
                "{found:?} behind {last:?}"
            );
        }
    }

    /// A server that does not answer, since its backlog is full.
    fn stuck() -> (TcpListener, Vec<std::net::TcpStream>) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let connect = || std::net::TcpStream::connect_timeout(&address, Duration::from_millis(100)).ok();
        let waiting = std::iter::from_fn(connect).collect();
        (listener, waiting)
    }

    #[tokio::test(start_paused = true)]
    async fn a_round_over_servers_that_do_not_answer_takes_as_long_as_was_given() {
        let servers: Vec<_> = (0..4).map(|_| stuck()).collect();
        let all: Vec<_> = servers.iter().map(|(l, _)| l.local_addr().unwrap().to_string()).collect();
        for (round, taken) in [(8_000, 8_000), (100, 800)] {
            let mut connector = Connector::new(all.join(",").parse().unwrap(), Duration::from_millis(round));
            let began = Instant::now();
            let error = connector.connect().await.unwrap_err();
            assert!(error.to_string().contains("no answer within"), "{error}");
            // The clock's grain is a millisecond; each timer may be one late.
            let late = began.elapsed().as_millis() - taken;
            assert!(late <= 8, "{late} ms");
        }
    }
}
