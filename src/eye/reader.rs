//! Reads a service's directory as a plain consumer does: list, and for Curator read every child.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use tokio_zookeeper::ZooKeeper;

/// A directory of leaves in one of the formats, as its consumers know it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Directory {
    /// `<base>/<service>`: the children's data is the instance.
    Curator(String),
    /// `<root>/<interface>/providers`: the children's names are the instances.
    Dubbo(String),
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
    client: Option<ZooKeeper>,
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const READ_TIMEOUT: Duration = Duration::from_secs(5);

impl Directory {
    /// The path to list.
    #[must_use]
    pub fn path(&self) -> &str {
        match self {
            Directory::Curator(path) | Directory::Dubbo(path) => path,
        }
    }
}

impl Reader {
    /// A consumer of the ensemble member at `address`; it connects at its first read.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Reader { address, client: None }
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
        let connecting = tokio::time::timeout(CONNECT_TIMEOUT, ZooKeeper::connect(&self.address));
        let (client, _events) = match connecting.await {
            Ok(Ok(connected)) => connected,
            Ok(Err(error)) => return Err(ReadError::Connection(self.address, error.to_string())),
            Err(_) => return Err(ReadError::Timeout(self.address, CONNECT_TIMEOUT)),
        };
        self.client = Some(client.clone());
        Ok(client)
    }
}

/// A Curator leaf that vanishes between list and read counts as absent, as it does for a consumer.
async fn read_directory(
    client: &ZooKeeper,
    directory: &Directory,
) -> Result<Result<BTreeSet<String>, ReadError>, tokio_zookeeper::error::Error> {
    let children = client.get_children(directory.path()).await?.unwrap_or_default();
    let Directory::Curator(base) = directory else {
        return Ok(children.iter().map(|child| dubbo_address(directory.path(), child)).collect());
    };
    let paths: Vec<String> = children.iter().map(|child| format!("{base}/{child}")).collect();
    let reads = futures::future::try_join_all(paths.iter().map(|path| client.get_data(path))).await?;
    let leaves = paths.iter().zip(reads).filter_map(|(path, read)| read.map(|(data, _)| (path, data)));
    Ok(leaves.map(|(path, data)| curator_address(path, &data)).collect())
}

#[derive(serde::Deserialize)]
struct CuratorInstance {
    address: String,
    port: u16,
}

fn curator_address(path: &str, data: &[u8]) -> Result<String, ReadError> {
    let unusable =
        |error: serde_json::Error| ReadError::Leaf { path: path.to_owned(), reason: error.to_string() };
    let CuratorInstance { address, port } = serde_json::from_slice(data).map_err(unusable)?;
    Ok(format!("{address}:{port}"))
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
        assert_eq!(curator_address("/services/orders/x", json).unwrap(), "10.1.2.3:8080");
        let name = "dubbo%3A%2F%2F10.1.2.3%3A20880%2Fcom.acme.OrderService%3Fanyhost%3Dtrue";
        assert_eq!(dubbo_address("/dubbo/x/providers", name).unwrap(), "10.1.2.3:20880");
    }

    #[test]
    fn a_leaf_that_no_consumer_could_use_is_named() {
        let error = curator_address("/services/orders/x", b"").unwrap_err();
        assert!(error.to_string().contains("/services/orders/x"), "{error}");
        assert!(dubbo_address("/dubbo/x/providers", "lock-1").is_err());
    }
}
