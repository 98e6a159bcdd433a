//! As clients since ZooKeeper 3.6 can do it: one watch that stays, on the whole subtree, and each leaf read once.

use std::collections::BTreeMap;

use zookeeper_client::{AddWatchMode, Client, Error, EventType};

use crate::{Seen, address};

/// Follows the directory; ends only with an error.
pub(crate) async fn follow(server: &str, directory: &str, mut seen: Seen) -> anyhow::Result<()> {
    let client = Client::connect(server).await?;
    let mut changes = client.watch(directory, AddWatchMode::PersistentRecursive).await?;
    let mut leaves = BTreeMap::new();
    for child in client.list_children(directory).await? {
        read(&client, &format!("{directory}/{child}"), &mut leaves).await?;
    }
    loop {
        seen.read(leaves.values().cloned().collect())?;
        let event = changes.changed().await;
        match event.event_type {
            EventType::NodeDeleted => drop(leaves.remove(event.path.as_str())),
            EventType::NodeCreated | EventType::NodeDataChanged if event.path != directory => {
                read(&client, &event.path, &mut leaves).await?;
            }
            EventType::Session => anyhow::bail!("the session is {:?}", event.session_state),
            _ => {}
        }
    }
}

async fn read(client: &Client, path: &str, leaves: &mut BTreeMap<String, String>) -> anyhow::Result<()> {
    match client.get_data(path).await {
        Ok((data, _)) => drop(leaves.insert(path.to_owned(), address(&data)?)),
        // Its deletion is told too.
        Err(Error::NoNode) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}
