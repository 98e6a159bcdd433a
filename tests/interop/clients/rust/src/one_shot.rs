//! tokio-zookeeper: the calls of ZooKeeper 3.4. It does not come back when its server has been away.

use anyhow::{Context, ensure};
use futures::StreamExt;
use tokio_zookeeper::error::{Check, Create, Delete, Multi, SetData};
use tokio_zookeeper::{Acl, CreateMode, MultiResponse, WatchedEventType, ZooKeeper};

use crate::{Server, Steps};

pub(crate) async fn run(server: &Server, root: &str, steps: &mut Steps) -> anyhow::Result<()> {
    let (client, events) = ZooKeeper::connect(&server.address.parse()?).await?;
    create(&client, root, CreateMode::Persistent).await?;
    let place = |name: &str| format!("{root}/{name}");
    steps.step("tokio-zookeeper: modes", modes(&client, &place("modes"))).await;
    steps.step("tokio-zookeeper: transactions", transactions(&client, &place("transactions"))).await;
    steps.step("tokio-zookeeper: watches", watches(&client, events, &place("watches"))).await;
    Ok(())
}

async fn create(client: &ZooKeeper, path: &str, mode: CreateMode) -> anyhow::Result<String> {
    Ok(client.create(path, &b"x"[..], Acl::open_unsafe(), mode).await??)
}

async fn modes(client: &ZooKeeper, place: &str) -> anyhow::Result<()> {
    create(client, place, CreateMode::Persistent).await?;
    let mut made = Vec::new();
    for (mode, name) in [
        (CreateMode::Persistent, "p"),
        (CreateMode::Ephemeral, "e"),
        (CreateMode::PersistentSequential, "ps-"),
        (CreateMode::EphemeralSequential, "es-"),
        (CreateMode::Container, "c"),
    ] {
        made.push(create(client, &format!("{place}/{name}"), mode).await?);
    }
    let mut names = client.get_children(place).await?.context("the children")?;
    names.sort();
    ensure!(names == ["c", "e", "es-0000000003", "p", "ps-0000000002"], "{names:?}");
    for path in made {
        let (data, stat) = client.get_data(&path).await?.context("the data")?;
        ensure!(data == b"x" && stat.version == 0);
        ensure!((stat.ephemeral_owner != 0) == path.contains("/e"), "{path}: {stat:?}");
    }
    let path = format!("{place}/p");
    ensure!(client.set_data(&path, Some(0), "grün".as_bytes()).await??.version == 1);
    let refused = client.set_data(&path, Some(0), &b"y"[..]).await?;
    ensure!(matches!(refused, Err(SetData::BadVersion { expected: 0 })), "{refused:?}");
    let refused = client.create(&path, &b""[..], Acl::open_unsafe(), CreateMode::Persistent).await?;
    ensure!(matches!(refused, Err(Create::NodeExists)), "{refused:?}");
    let refused = client.delete(place, None).await?;
    ensure!(matches!(refused, Err(Delete::NotEmpty)), "{refused:?}");
    ensure!(client.get_acl(&path).await??.0 == Acl::open_unsafe());
    ensure!(client.set_acl(&path, Acl::read_unsafe(), Some(0)).await??.aversion == 1);
    ensure!(client.exists(&format!("{place}/none")).await?.is_none());
    client.delete(&format!("{place}/e"), Some(0)).await??;
    Ok(())
}

async fn transactions(client: &ZooKeeper, place: &str) -> anyhow::Result<()> {
    create(client, place, CreateMode::Persistent).await?;
    let a = format!("{place}/a");
    let results = client
        .multi()
        .create(&a, &b"1"[..], Acl::open_unsafe(), CreateMode::Persistent)
        .check(&a, 0)
        .set_data(&a, Some(0), &b"2"[..])
        .run()
        .await?;
    ensure!(matches!(&results[0], Ok(MultiResponse::Create(path)) if *path == a), "{results:?}");
    ensure!(matches!(&results[2], Ok(MultiResponse::SetData(stat)) if stat.version == 1), "{results:?}");
    let results = client.multi().delete(&a, None).check(&a, 9).delete(place, None).run().await?;
    ensure!(matches!(results[0], Err(Multi::RolledBack)), "{results:?}");
    ensure!(matches!(results[1], Err(Multi::Check { source: Check::NoNode })), "{results:?}");
    ensure!(matches!(results[2], Err(Multi::Skipped)), "{results:?}");
    ensure!(client.exists(&a).await?.is_some());
    Ok(())
}

async fn watches(
    client: &ZooKeeper,
    events: impl futures::Stream<Item = tokio_zookeeper::WatchedEvent>,
    place: &str,
) -> anyhow::Result<()> {
    create(client, place, CreateMode::Persistent).await?;
    let a = format!("{place}/a");
    let (soon, none) = client.with_watcher().exists(&a).await?;
    ensure!(none.is_none());
    let (children, _) = client.with_watcher().get_children(place).await?.context("the children")?;
    create(client, &a, CreateMode::Persistent).await?;
    ensure!(soon.await?.event_type == WatchedEventType::NodeCreated);
    ensure!(children.await?.event_type == WatchedEventType::NodeChildrenChanged);
    let (changed, ..) = client.with_watcher().get_data(&a).await?.context("the data")?;
    client.set_data(&a, None, &b"y"[..]).await??;
    ensure!(changed.await?.event_type == WatchedEventType::NodeDataChanged);
    client.watch().exists(&a).await?;
    client.delete(&a, None).await??;
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        if (event.event_type, event.path.as_str()) == (WatchedEventType::NodeDeleted, a.as_str()) {
            return Ok(());
        }
    }
    anyhow::bail!("the events end")
}
