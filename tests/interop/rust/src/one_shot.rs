//! As clients before ZooKeeper 3.6 do it: a list that leaves a watch, and a new list when that fires. All leaves are
//! asked for at once, as Curator's caches do.

use std::collections::BTreeSet;

use futures::future::try_join_all;
use tokio_zookeeper::ZooKeeper;

use crate::{Seen, address};

/// Follows the directory; ends only with an error.
pub(crate) async fn follow(server: &str, directory: &str, mut seen: Seen) -> anyhow::Result<()> {
    let (client, _events) = ZooKeeper::connect(&server.parse()?).await?;
    loop {
        let Some((changed, children)) = client.with_watcher().get_children(directory).await? else {
            anyhow::bail!("there is no {directory}");
        };
        let paths: Vec<_> = children.into_iter().map(|child| format!("{directory}/{child}")).collect();
        let found = try_join_all(paths.iter().map(|path| client.get_data(path))).await?;
        // What is gone since it was listed is gone.
        let addresses = found.into_iter().flatten().map(|(data, _)| address(&data));
        seen.read(addresses.collect::<Result<BTreeSet<_>, _>>()?)?;
        changed.await?;
    }
}
