//! From a connect string to a TCP stream. Names are resolved at each attempt, since a StatefulSet's members
//! change their addresses.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use tokio::net::TcpStream;
use zk_wire::path::{self, PathError};

/// The port of ZooKeeper's clients.
const DEFAULT_PORT: u16 = 2181;

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

/// Connects to one server after the other, starting behind the one tried last.
#[derive(Debug)]
pub struct Connector {
    to: ConnectString,
    next: usize,
    timeout: Duration,
}

impl Connector {
    /// A connector that gives each address `timeout`.
    #[must_use]
    pub fn new(to: ConnectString, timeout: Duration) -> Self {
        Connector { to, next: 0, timeout }
    }

    /// Tries every address of every server once.
    ///
    /// # Errors
    /// None of them accepted.
    pub async fn connect(&mut self) -> Result<TcpStream, ConnectError> {
        let mut last = (String::new(), String::new());
        for _ in 0..self.to.servers.len() {
            let (host, port) = &self.to.servers[self.next % self.to.servers.len()];
            self.next += 1;
            match self.connect_to(host, *port).await {
                Ok(stream) => return Ok(stream),
                Err(reason) => last = (format!("{host}:{port}"), reason),
            }
        }
        let (last, reason) = last;
        Err(ConnectError { servers: self.to.to_string(), last, reason })
    }

    async fn connect_to(&self, host: &str, port: u16) -> Result<TcpStream, String> {
        let timed_out = |_| format!("no answer within {:?}", self.timeout);
        let resolving = tokio::time::timeout(self.timeout, tokio::net::lookup_host((host, port)));
        let addresses = resolving.await.map_err(timed_out)?.map_err(|error| error.to_string())?;
        let mut reason = "the name has no address".to_owned();
        for address in addresses {
            match tokio::time::timeout(self.timeout, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    stream.set_nodelay(true).map_err(|error| error.to_string())?;
                    return Ok(stream);
                }
                Ok(Err(error)) => reason = error.to_string(),
                Err(elapsed) => reason = timed_out(elapsed),
            }
        }
        Err(reason)
    }
}

#[cfg(test)]
mod tests {
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
}
