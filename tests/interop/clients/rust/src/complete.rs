//! zookeeper-client.

use std::time::Duration;

use anyhow::{bail, ensure};
use zookeeper_client::{
    Acl, Acls, AddWatchMode, AuthId, Client, CreateMode, Error, EventType, LockPrefix, MultiReadResult,
    MultiWriteError, Permission, SessionState,
};

use crate::{Server, Steps};

const OPEN: Acls<'static> = Acls::anyone_all();

pub(crate) async fn run(server: &Server, root: &str, steps: &mut Steps) -> anyhow::Result<()> {
    let client = connect(server).await?;
    client.create(root, b"", &CreateMode::Persistent.with_acls(OPEN)).await?;
    let place = |name: &str| format!("{root}/{name}");
    steps.step("zookeeper-client: modes", modes(server, &client, &place("modes"))).await;
    steps.step("zookeeper-client: transactions", transactions(&client, &place("transactions"))).await;
    steps.step("zookeeper-client: access", access(server, &client, &place("access"))).await;
    steps.step("zookeeper-client: watches", watches(&client, &place("watches"))).await;
    steps.step("zookeeper-client: counts", counts(&client, &place("counts"))).await;
    steps.step("zookeeper-client: lock", lock(server, &client, &place("lock"))).await;
    steps.step("zookeeper-client: many", many(&client, &place("many"))).await;
    steps.step("zookeeper-client: restart", restart(server, &place("restart"))).await;
    Ok(())
}

async fn connect(server: &Server) -> Result<Client, Error> {
    Client::connector().with_session_timeout(Duration::from_secs(30)).connect(&server.address).await
}

async fn create(client: &Client, path: &str, mode: CreateMode) -> Result<String, Error> {
    let (_, sequence) = client.create(path, b"x", &mode.with_acls(OPEN)).await?;
    match mode {
        CreateMode::PersistentSequential | CreateMode::EphemeralSequential => Ok(format!("{path}{sequence}")),
        _ => Ok(path.to_owned()),
    }
}

async fn modes(server: &Server, client: &Client, place: &str) -> anyhow::Result<()> {
    create(client, place, CreateMode::Persistent).await?;
    for (mode, name) in [
        (CreateMode::Persistent, "p"),
        (CreateMode::Ephemeral, "e"),
        (CreateMode::PersistentSequential, "ps-"),
        (CreateMode::EphemeralSequential, "es-"),
        (CreateMode::Container, "c"),
    ] {
        let path = create(client, &format!("{place}/{name}"), mode).await?;
        let stat = client.check_stat(&path).await?.expect("what was created");
        ensure!((stat.version, stat.cversion, stat.aversion, stat.data_length) == (0, 0, 0, 1), "{stat:?}");
        let owner = if path.contains("/e") { client.session_id().0 } else { 0 };
        ensure!(stat.ephemeral_owner == owner, "{path}: {stat:?}");
    }
    let ttl = CreateMode::Persistent.with_acls(OPEN).with_ttl(Duration::from_secs(3600));
    client.create(&format!("{place}/ttl"), b"", &ttl).await?;
    let mut names = client.list_children(place).await?;
    names.sort();
    ensure!(names == ["c", "e", "es-0000000003", "p", "ps-0000000002", "ttl"], "{names:?}");
    let inner = connect(server).await?.chroot(place.to_owned()).map_err(|_| anyhow::anyhow!("chroot"))?;
    ensure!(inner.get_data("/p").await?.0 == b"x");
    ensure!(matches!(client.set_data(&format!("{place}/p"), b"y", Some(7)).await, Err(Error::BadVersion)));
    ensure!(matches!(client.delete(place, None).await, Err(Error::NotEmpty)));
    ensure!(matches!(client.get_data(&format!("{place}/none")).await, Err(Error::NoNode)));
    ensure!(matches!(
        create(client, &format!("{place}/e/x"), CreateMode::Persistent).await,
        Err(Error::NoChildrenForEphemerals)
    ));
    Ok(())
}

async fn transactions(client: &Client, place: &str) -> anyhow::Result<()> {
    create(client, place, CreateMode::Persistent).await?;
    let a = format!("{place}/a");
    let mut writer = client.new_multi_writer();
    writer.add_create(&a, b"1", &CreateMode::Persistent.with_acls(OPEN))?;
    writer.add_check_version(&a, 0)?;
    writer.add_set_data(&a, b"2", Some(0))?;
    ensure!(writer.commit().await?.len() == 3);
    let mut writer = client.new_multi_writer();
    writer.add_set_data(&a, b"3", None)?;
    writer.add_check_version(&a, 9)?;
    match writer.commit().await {
        Err(MultiWriteError::OperationFailed { index: 1, source: Error::BadVersion }) => {}
        other => bail!("{other:?}"),
    }
    let mut reader = client.new_multi_reader();
    reader.add_get_data(&a)?;
    reader.add_get_children(place)?;
    reader.add_get_data(&format!("{place}/none"))?;
    let results = reader.commit().await?;
    ensure!(matches!(&results[0], MultiReadResult::Data { data, .. } if data == b"2"), "{results:?}");
    ensure!(
        matches!(&results[1], MultiReadResult::Children { children } if children == &["a"]),
        "{results:?}"
    );
    ensure!(matches!(&results[2], MultiReadResult::Error { err: Error::NoNode }), "{results:?}");
    let mut guarded = client.new_check_writer(&a, Some(1))?;
    guarded.add_delete(&a, None)?;
    guarded.commit().await?;
    ensure!(client.check_stat(&a).await?.is_none());
    Ok(())
}

async fn access(server: &Server, client: &Client, place: &str) -> anyhow::Result<()> {
    create(client, place, CreateMode::Persistent).await?;
    let mine = format!("{place}/mine");
    let owner = connect(server).await?;
    owner.auth("digest", b"me:secret").await?;
    owner.create(&mine, b"x", &CreateMode::Persistent.with_acls(Acls::creator_all())).await?;
    ensure!(matches!(client.get_data(&mine).await, Err(Error::NoAuth)));
    ensure!(matches!(client.set_data(&mine, b"y", None).await, Err(Error::NoAuth)));
    let (acls, _) = owner.get_acl(&mine).await?;
    ensure!(
        acls == [Acl::new(Permission::ALL, AuthId::new("digest", "me:016djjlksVQS5RgX3M7biBGyYwY="))],
        "{acls:?}"
    );
    let mut users: Vec<_> =
        owner.list_auth_users().await?.iter().map(|user| user.scheme().to_owned()).collect();
    users.sort();
    ensure!(users == ["digest", "ip"], "{users:?}");
    let stat = owner.set_acl(&mine, &[Acl::new(Permission::ALL, AuthId::anyone())], Some(0)).await?;
    ensure!(stat.aversion == 1);
    ensure!(client.get_data(&mine).await?.0 == b"x");
    Ok(())
}

async fn watches(client: &Client, place: &str) -> anyhow::Result<()> {
    create(client, place, CreateMode::Persistent).await?;
    let a = format!("{place}/a");
    let (none, soon) = client.check_and_watch_stat(&a).await?;
    ensure!(none.is_none());
    let (_, children) = client.list_and_watch_children(place).await?;
    let mut stays = client.watch(place, AddWatchMode::Persistent).await?;
    let mut deep = client.watch(place, AddWatchMode::PersistentRecursive).await?;
    create(client, &a, CreateMode::Persistent).await?;
    ensure!(soon.changed().await.event_type == EventType::NodeCreated);
    ensure!(children.changed().await.event_type == EventType::NodeChildrenChanged);
    ensure!(stays.changed().await.event_type == EventType::NodeChildrenChanged);
    let event = deep.changed().await;
    ensure!((event.event_type, event.path.as_str()) == (EventType::NodeCreated, a.as_str()));
    let (_, _, changed) = client.get_and_watch_data(&a).await?;
    client.set_data(&a, b"y", None).await?;
    ensure!(changed.changed().await.event_type == EventType::NodeDataChanged);
    ensure!(deep.changed().await.event_type == EventType::NodeDataChanged);
    let (_, _, removed) = client.get_and_watch_data(&a).await?;
    // They are removed on the server too.
    drop(removed);
    drop(deep);
    client.delete(&a, None).await?;
    ensure!(stays.changed().await.event_type == EventType::NodeChildrenChanged);
    Ok(())
}

async fn counts(client: &Client, place: &str) -> anyhow::Result<()> {
    create(client, place, CreateMode::Persistent).await?;
    create(client, &format!("{place}/日本語"), CreateMode::Ephemeral).await?;
    ensure!(client.count_descendants_number(place).await? == 1);
    ensure!(client.list_ephemerals(place).await? == [format!("{place}/日本語")]);
    client.sync(place).await?;
    ensure!(client.get_config().await?.0.is_empty());
    Ok(())
}

async fn lock(server: &Server, client: &Client, place: &str) -> anyhow::Result<()> {
    create(client, place, CreateMode::Persistent).await?;
    let other = connect(server).await?;
    let prefix = || LockPrefix::new_curator(place, "latch-");
    let first = client.lock(prefix()?, b"", OPEN).await?;
    let waiting = async {
        let second = other.lock(prefix()?, b"", OPEN).await?;
        second.create(&format!("{place}-done"), b"", &CreateMode::Persistent.with_acls(OPEN)).await?;
        anyhow::Ok(())
    };
    let letting_go = async {
        while client.list_children(place).await?.len() < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        ensure!(client.check_stat(&format!("{place}-done")).await?.is_none());
        drop(first);
        Ok(())
    };
    tokio::try_join!(waiting, letting_go)?;
    Ok(())
}

async fn many(client: &Client, place: &str) -> anyhow::Result<()> {
    create(client, place, CreateMode::Persistent).await?;
    let prefix = format!("{place}/n-");
    let options = CreateMode::PersistentSequential.with_acls(OPEN);
    let calls: Vec<_> = (0..2_000).map(|_| client.create(&prefix, b"", &options)).collect();
    for (expected, (_, sequence)) in futures::future::try_join_all(calls).await?.into_iter().enumerate() {
        ensure!(sequence.into_i64() == expected as i64, "{sequence} instead of {expected}");
    }
    ensure!(client.get_children(place).await?.1.num_children == 2_000);
    Ok(())
}

async fn restart(server: &Server, place: &str) -> anyhow::Result<()> {
    let client = connect(server).await?;
    create(&client, place, CreateMode::Persistent).await?;
    let ephemeral = create(&client, &format!("{place}/e"), CreateMode::Ephemeral).await?;
    let (_, soon) = client.check_and_watch_stat(&format!("{place}/soon")).await?;
    let mut deep = client.watch(place, AddWatchMode::PersistentRecursive).await?;
    let mut states = client.state_watcher();
    server.restart().await?;
    while states.state() != SessionState::SyncConnected {
        ensure!(!states.changed().await.is_terminated(), "the session has ended");
    }
    let stat = client.check_stat(&ephemeral).await?.expect("the ephemeral");
    ensure!(stat.ephemeral_owner == client.session_id().0);
    create(&client, &format!("{place}/soon"), CreateMode::Persistent).await?;
    ensure!(soon.changed().await.event_type == EventType::NodeCreated);
    while deep.changed().await.event_type == EventType::Session {}
    Ok(())
}
