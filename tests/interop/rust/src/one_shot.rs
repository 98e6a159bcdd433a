//! As clients before ZooKeeper 3.6 do it: a list that leaves a watch, and a new list when that fires.

use std::collections::BTreeSet;

use tokio_zookeeper::ZooKeeper;

use crate::{Seen, address};

/// Follows the directory; ends only with an error.
pub(crate) async fn follow(server: &str, directory: &str, mut seen: Seen) -> anyhow::Result<()> {
    let (client, _events) = ZooKeeper::connect(&server.parse()?).await?;
    loop {
        let Some((changed, children)) = client.with_watcher().get_children(directory).await? else {
            anyhow::bail!("there is no {directory}");
        };
        let mut addresses = BTreeSet::new();
        for child in children {
            // What is gone since it was listed is gone.
            if let Some((data, _)) = client.get_data(&format!("{directory}/{child}")).await? {
                addresses.insert(address(&data)?);
            }
        }
        seen.read(addresses)?;
        changed.await?;
    }
}
