//! Reads a service's directory as a plain consumer does: list, and but for Dubbo read every child.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use tokio_zookeeper::{ZooKeeper, ZooKeeperBuilder};

/// A directory of leaves in one of the formats, as its consumers know it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Directory {
    /// `<base>/<service>`: the children's data is the instance.
    Curator(String),
    /// `<root>/<interface>/providers`: the children's names are the instances.
    Dubbo(String),
    /// `<root>/<path>`: the children's data is the member.
    Serverset(String),
    /// `<root>/<path>`: the children's data is the backend.
    Nerve(String),
    /// `<root>/<path>`: the children's data is `host:port`.
    Hostport(String),
}

/// One leaf, as its consumers take it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instance {
    /// `ip:port`, as the leaf has it.
    pub address: String,
    /// Does it want traffic? Not if it is disabled, out of service or without weight.
    pub offered: bool,
    /// The session that holds it; 0 for none.
    pub owner: i64,
}

/// Why a read gave nothing. The next read connects again.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No connection, or it broke.
    #[error("the consumer's client has no connection to {0}: {1}")]
    Connection(SocketAddr, String),
    /// No answer in time.
    #[error("no answer from {0} within {1:?}")]
    Timeout(SocketAddr, Duration),
    /// A leaf that no consumer could use.
    #[error("a consumer cannot use {path}: {reason}")]
    Leaf {
        /// The leaf.
        path: String,
        /// Why not.
        reason: String,
    },
}

/// A consumer that connects when it must and reads when asked.
pub struct Reader {
    address: SocketAddr,
    session_timeout: Duration,
    client: Option<ZooKeeper>,
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const READ_TIMEOUT: Duration = Duration::from_secs(5);

impl Directory {
    /// The path to list.
    #[must_use]
    pub fn path(&self) -> &str {
        match self {
            Directory::Curator(path)
            | Directory::Dubbo(path)
            | Directory::Serverset(path)
            | Directory::Nerve(path)
            | Directory::Hostport(path) => path,
        }
    }
}

impl Reader {
    /// A consumer of the ensemble member at `address`; it connects at its first read.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Reader { address, session_timeout: Duration::ZERO, client: None }
    }

    /// The same, asking for this session timeout instead of the server's least, in whole milliseconds.
    #[must_use]
    pub fn asking_for(self, session_timeout: Duration) -> Self {
        Reader { session_timeout, ..self }
    }

    /// The `ip:port` of every instance in the directory; empty if there is no such directory.
    ///
    /// # Errors
    /// The connection failed, or a leaf is unusable. The connection is then given up.
    pub async fn read(&mut self, directory: &Directory) -> Result<BTreeSet<String>, ReadError> {
        let client = self.connected().await?;
        let result = match tokio::time::timeout(READ_TIMEOUT, read_directory(&client, directory)).await {
            Ok(Ok(seen)) => return seen,
            Ok(Err(error)) => Err(ReadError::Connection(self.address, error.to_string())),
            Err(_) => Err(ReadError::Timeout(self.address, READ_TIMEOUT)),
        };
        self.client = None;
        result
    }

    /// Every leaf of the directory by its name; none if there is no such directory.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub async fn instances(
        &mut self,
        directory: &Directory,
    ) -> Result<BTreeMap<String, Instance>, ReadError> {
        let client = self.connected().await?;
        let result = match tokio::time::timeout(READ_TIMEOUT, read_instances(&client, directory)).await {
            Ok(Ok(seen)) => return seen,
            Ok(Err(error)) => Err(ReadError::Connection(self.address, error.to_string())),
            Err(_) => Err(ReadError::Timeout(self.address, READ_TIMEOUT)),
        };
        self.client = None;
        result
    }

    /// Deletes the first leaf of the directory and reads it in the same breath: the read is queued right
    /// behind the delete, so that nobody can repair in between. Returns the leaf and what was read. For
    /// showing that a check notices.
    ///
    /// # Errors
    /// The connection failed, or there is no leaf.
    pub async fn delete_one_and_read(
        &mut self,
        directory: &Directory,
    ) -> Result<(String, BTreeSet<String>), ReadError> {
        let client = self.connected().await?;
        let lost =
            |error: tokio_zookeeper::error::Error| ReadError::Connection(self.address, error.to_string());
        let children = client.get_children(directory.path()).await.map_err(lost)?.unwrap_or_default();
        let Some(child) = children.first() else {
            let (path, reason) = (directory.path().to_owned(), "it has no leaf".to_owned());
            return Err(ReadError::Leaf { path, reason });
        };
        let path = format!("{}/{child}", directory.path());
        let (deleted, read) = tokio::join!(client.delete(&path, None), read_directory(&client, directory));
        if let Err(error) = deleted.map_err(lost)? {
            return Err(ReadError::Leaf { path, reason: error.to_string() });
        }
        Ok((path, read.map_err(lost)??))
    }

    async fn connected(&mut self) -> Result<ZooKeeper, ReadError> {
        if let Some(client) = &self.client {
            return Ok(client.clone());
        }
        let mut builder = ZooKeeperBuilder::default();
        builder.set_timeout(self.session_timeout);
        let connecting = tokio::time::timeout(CONNECT_TIMEOUT, builder.connect(&self.address));
        let (client, _events) = match connecting.await {
            Ok(Ok(connected)) => connected,
            Ok(Err(error)) => return Err(ReadError::Connection(self.address, error.to_string())),
            Err(_) => return Err(ReadError::Timeout(self.address, CONNECT_TIMEOUT)),
        };
        self.client = Some(client.clone());
        Ok(client)
    }
}

/// A leaf that vanishes between list and read counts as absent, as it does for a consumer.
async fn read_directory(
    client: &ZooKeeper,
    directory: &Directory,
) -> Result<Result<BTreeSet<String>, ReadError>, tokio_zookeeper::error::Error> {
    if let Directory::Dubbo(path) = directory {
        // Its consumers read nothing but the list.
        let children = client.get_children(path).await?.unwrap_or_default();
        return Ok(children.iter().map(|child| dubbo_address(path, child)).collect());
    }
    let instances = read_instances(client, directory).await?;
    Ok(instances.map(|instances| instances.into_values().map(|instance| instance.address).collect()))
}

async fn read_instances(
    client: &ZooKeeper,
    directory: &Directory,
) -> Result<Result<BTreeMap<String, Instance>, ReadError>, tokio_zookeeper::error::Error> {
    let children = client.get_children(directory.path()).await?.unwrap_or_default();
    let paths: Vec<String> = children.iter().map(|child| format!("{}/{child}", directory.path())).collect();
    let reads = futures::future::try_join_all(paths.iter().map(|path| client.get_data(path))).await?;
    let leaves = children.into_iter().zip(reads).filter_map(|(child, read)| read.map(|read| (child, read)));
    let instance = |(child, (data, stat)): (String, (Vec<u8>, tokio_zookeeper::Stat))| {
        let (address, offered) = instance(directory, &child, &data)?;
        Ok((child, Instance { address, offered, owner: stat.ephemeral_owner }))
    };
    Ok(leaves.map(instance).collect())
}

/// Address, and whether it wants traffic.
fn instance(directory: &Directory, child: &str, data: &[u8]) -> Result<(String, bool), ReadError> {
    let path = || format!("{}/{child}", directory.path());
    match directory {
        Directory::Curator(_) => curator_instance(&path(), data),
        Directory::Dubbo(directory) => Ok((dubbo_address(directory, child)?, dubbo_is_offered(child))),
        Directory::Serverset(_) => {
            let Member { service_endpoint: Host { host, port }, status } = parsed(&path(), data)?;
            Ok((format!("{host}:{port}"), status == "ALIVE"))
        }
        Directory::Nerve(_) => {
            let Backend { host, port, weight } = parsed(&path(), data)?;
            Ok((format!("{host}:{port}"), weight != Some(0)))
        }
        Directory::Hostport(_) => match std::str::from_utf8(data) {
            Ok(address) if address.contains(':') => Ok((address.trim().to_owned(), true)),
            _ => Err(ReadError::Leaf { path: path(), reason: "its data is no host:port".to_owned() }),
        },
    }
}

#[derive(serde::Deserialize)]
struct CuratorInstance {
    address: String,
    port: u16,
    enabled: Option<bool>,
    #[serde(default)]
    payload: serde_json::Value,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Member {
    service_endpoint: Host,
    status: String,
}

#[derive(serde::Deserialize)]
struct Host {
    host: String,
    port: u16,
}

#[derive(serde::Deserialize)]
struct Backend {
    host: String,
    port: u16,
    weight: Option<i64>,
}

fn parsed<T: serde::de::DeserializeOwned>(path: &str, data: &[u8]) -> Result<T, ReadError> {
    serde_json::from_slice(data)
        .map_err(|error| ReadError::Leaf { path: path.to_owned(), reason: error.to_string() })
}

/// Spring's load balancer takes what says `UP`, or nothing.
fn curator_instance(path: &str, data: &[u8]) -> Result<(String, bool), ReadError> {
    let CuratorInstance { address, port, enabled, payload } = parsed(path, data)?;
    let status = payload["metadata"]["instance_status"].as_str().unwrap_or("UP");
    Ok((format!("{address}:{port}"), enabled != Some(false) && status == "UP"))
}

/// Dubbo's load balancers leave out what has no weight, its directories what is disabled.
fn dubbo_is_offered(child: &str) -> bool {
    let url = percent_encoding::percent_decode_str(child).decode_utf8_lossy().into_owned();
    let query = url.split_once('?').map(|(_, query)| query).unwrap_or_default();
    !query.split('&').any(|parameter| matches!(parameter, "weight=0" | "enabled=false" | "disabled=true"))
}

fn dubbo_address(directory: &str, child: &str) -> Result<String, ReadError> {
    let unusable =
        |reason: &str| ReadError::Leaf { path: format!("{directory}/{child}"), reason: reason.to_owned() };
    let url = percent_encoding::percent_decode_str(child)
        .decode_utf8()
        .map_err(|_| unusable("its name is not an encoded URL"))?;
    let rest = url.split_once("://").ok_or_else(|| unusable("its name is not a URL"))?.1;
    let address = rest.split(['/', '?']).next().unwrap_or(rest);
    Ok(address.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_where_consumers_look_for_them() {
        let json = br#"{"name":"orders","id":"x","address":"10.1.2.3","port":8080,"sslPort":null}"#;
        let curator = Directory::Curator("/services/orders".to_owned());
        assert_eq!(instance(&curator, "x", json).unwrap(), ("10.1.2.3:8080".to_owned(), true));
        let name = "dubbo%3A%2F%2F10.1.2.3%3A20880%2Fcom.acme.OrderService%3Fanyhost%3Dtrue";
        assert_eq!(dubbo_address("/dubbo/x/providers", name).unwrap(), "10.1.2.3:20880");
    }

    #[test]
    fn a_leaf_that_no_consumer_could_use_is_named() {
        let curator = Directory::Curator("/services/orders".to_owned());
        let error = instance(&curator, "x", b"").unwrap_err();
        assert!(error.to_string().contains("/services/orders/x"), "{error}");
        assert!(dubbo_address("/dubbo/x/providers", "lock-1").is_err());
    }

    #[test]
    fn what_wants_no_traffic_is_told() {
        let path = || "/x".to_owned();
        let dubbo = |query: &str| format!("dubbo%3A%2F%2F10.1.2.3%3A20880%2Fa.B%3F{query}");
        let spring = r#"{"address":"10.1.2.3","port":1,"payload":{"metadata":{"instance_status":"DOWN"}}}"#;
        for (directory, child, data, offered) in [
            (Directory::Curator(path()), "x".to_owned(), spring, false),
            (
                Directory::Curator(path()),
                "x".to_owned(),
                r#"{"address":"10.1.2.3","port":1,"enabled":false}"#,
                false,
            ),
            (Directory::Dubbo(path()), dubbo("anyhost%3Dtrue%26weight%3D0"), "", false),
            (Directory::Dubbo(path()), dubbo("anyhost%3Dtrue%26weight%3D10"), "", true),
            (
                Directory::Serverset(path()),
                "member_1".to_owned(),
                r#"{"serviceEndpoint":{"host":"10.1.2.3","port":1},"status":"STOPPING"}"#,
                false,
            ),
            (Directory::Nerve(path()), "x_1".to_owned(), r#"{"host":"10.1.2.3","port":1,"weight":0}"#, false),
            (Directory::Nerve(path()), "x_1".to_owned(), r#"{"host":"10.1.2.3","port":1}"#, true),
            (Directory::Hostport(path()), "x".to_owned(), "10.1.2.3:1", true),
        ] {
            let (address, told) = instance(&directory, &child, data.as_bytes()).unwrap();
            assert_eq!((address.starts_with("10.1.2.3:"), told), (true, offered), "{directory:?} {data}");
        }
    }
}
