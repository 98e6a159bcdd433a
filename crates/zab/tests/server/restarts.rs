//! What outlives the server's process.

use std::path::Path;
use std::time::Duration;

use zab::storage::{DiskStorage, StorageOptions};
use zab::tree::restore::Restoring;
use zk_client::{ConnectString, Connector, Events, Opening, Options, Permit, Session, WatchSet, attach};
use zk_wire::acl::Acl;
use zk_wire::codes::{CreateMode, ErrorCode};
use zk_wire::request::Request;

use crate::place::{Place, short_ticks};
use crate::wire::{create, delete, exists, set};

async fn attached(place: &Place, opening: Opening) -> (Session, Events) {
    let to: ConnectString = place.address.to_string().parse().unwrap();
    let stream = Connector::new(to, Duration::from_secs(5)).connect().await.unwrap();
    attach(stream, Permit::grant(), opening, Options::default()).await.unwrap()
}

#[tokio::test]
async fn sessions_ephemerals_data_and_counters_outlive_a_restart() {
    let mut place = Place::ours("restart", |_| {}).await;
    let (session, _events) = attached(&place, Opening::New { timeout: Duration::from_secs(30) }).await;
    let ephemeral =
        session.create(&place.path("e"), "mine", Acl::open(), CreateMode::Ephemeral).await.unwrap();
    let numbered = place.path("n-");
    session.create(&numbered, "", Acl::open(), CreateMode::PersistentSequential).await.unwrap();
    let read_only = vec![Acl::world(zk_wire::acl::perms::READ)];
    let guarded = session.create(&place.path("acl"), "", read_only, CreateMode::Persistent).await.unwrap();
    session.set(&ephemeral.0, "yours", 0).await.unwrap();
    let before = session.get(&ephemeral.0).await.unwrap();
    let root = session.exists(&place.root).await.unwrap();
    let credentials = session.credentials();
    drop(session);

    place.restart().await;
    let (session, _events) =
        attached(&place, Opening::Resume(credentials.clone(), WatchSet::default())).await;
    assert_eq!(session.credentials().id, credentials.id);
    assert_eq!(session.get(&ephemeral.0).await.unwrap(), before);
    assert_eq!(session.exists(&place.root).await.unwrap(), root);
    assert_eq!(session.ephemerals(&place.root).await.unwrap(), std::slice::from_ref(&ephemeral.0));
    assert_eq!(
        session.set(&guarded.0, "", -1).await,
        Err(zk_client::RequestError::Refused(ErrorCode::NoAuth))
    );
    let next = session.create(&numbered, "", Acl::open(), CreateMode::PersistentSequential).await.unwrap();
    assert_eq!(next.0, place.path("n-0000000003"));
    session.close().await.unwrap();

    place.restart().await;
    let (session, _events) = attached(&place, Opening::New { timeout: Duration::from_secs(30) }).await;
    assert_eq!(session.exists(&ephemeral.0).await.unwrap(), None, "closed is closed");
    assert!(session.credentials().id.0 > credentials.id.0);
}

#[tokio::test]
async fn zxids_go_on_behind_a_restart() {
    let mut place = Place::ours("zxids", |_| {}).await;
    let mut client = place.client().await;
    let path = client.create(&place.path("a"), CreateMode::Persistent).await;
    let before = client.stat(&path).await.czxid;
    for _ in 0..3 {
        place.restart().await;
    }
    let mut client = place.client().await;
    let path = client.create(&place.path("b"), CreateMode::Persistent).await;
    // One for the session, one for the create.
    assert_eq!(client.stat(&path).await.czxid.0, before.0 + 2);
}

#[tokio::test]
async fn a_session_that_nobody_resumes_expires_behind_a_restart() {
    let mut place = Place::ours("expire", short_ticks).await;
    let mut client = crate::wire::Client::with_session(place.address, 1_000).await;
    let path = client.create(&place.path("e"), CreateMode::Ephemeral).await;
    drop(client);
    place.restart().await;
    let mut witness = place.client().await;
    if witness.call(exists(&path, true)).await.is_ok() {
        witness.event().await;
    }
    assert_eq!(witness.call(exists(&path, false)).await, Err(ErrorCode::NoNode));
}

#[tokio::test]
async fn a_server_that_is_dropped_without_a_stop_keeps_what_it_acknowledged() {
    let mut place = Place::ours("dropped", |_| {}).await;
    let mut expected = Vec::new();
    for round in 0..3 {
        let mut client = place.client().await;
        for n in 0..20 {
            let name = format!("{round}-{n:02}");
            client.create(&place.path(&name), CreateMode::Persistent).await;
            client.call(set(&place.path(&name), name.as_bytes(), 0)).await.unwrap();
            expected.push(name);
        }
        let gone = expected.remove(0);
        client.call(delete(&place.path(&gone), 1)).await.unwrap();
        // Requests under way when the server goes.
        for n in 0..20 {
            client.send(&create(&place.path(&format!("x{round}-{n}")), b"", CreateMode::Ephemeral)).await;
        }
        place.drop_and_start().await;
        let mut client = place.client().await;
        let mut found = client.names(&place.root).await;
        found.retain(|name| !name.starts_with('x'));
        assert_eq!(found, expected);
        let last = expected.last().unwrap();
        assert_eq!(client.data(&place.path(last)).await, Some(last.clone().into()));
    }
}

#[tokio::test]
async fn many_snapshots_and_restarts_give_the_same_tree() {
    let mut place = Place::ours("snapshots", |config| config.snap_count = 20).await;
    for round in 0..3 {
        let mut client = place.client().await;
        let path = client.create(&place.path(&format!("r{round}")), CreateMode::Persistent).await;
        for n in 0..60 {
            client.call(set(&path, &[n], -1)).await.unwrap();
        }
        let before = client.stat(&path).await;
        client.close().await;
        place.stop().await;
        assert_eq!(mismatches(place.dir()), 0);
        // That of the start and at least one more; of all those only three are retained.
        assert!((2..=3).contains(&snapshots(place.dir())), "{}", snapshots(place.dir()));
        place.start().await;
        assert_eq!(place.client().await.stat(&path).await, before);
    }
}

/// How many transactions of a directory end with another digest than the log says.
fn mismatches(dir: &Path) -> u64 {
    let mut restoring = Restoring::default();
    DiskStorage::open(dir, dir, StorageOptions::default(), &mut restoring).unwrap();
    restoring.finish().1
}

fn snapshots(dir: &Path) -> usize {
    let names = std::fs::read_dir(dir.join("version-2")).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().starts_with("snapshot.")).count()
}

#[tokio::test]
async fn what_a_raised_limit_let_in_comes_back_from_the_log() {
    let mut place = Place::ours("large", |config| config.max_buffer = 8 << 20).await;
    let mut client = place.client().await;
    let path = client.create(&place.path("a"), CreateMode::Persistent).await;
    let data = vec![7; 5 << 20];
    let op = zk_wire::multi::WriteOp::SetData(zk_wire::request::SetDataRequest {
        path: path.clone(),
        data: Some(data.clone().into()),
        version: 0,
    });
    client.call(Request::Multi(vec![op])).await.unwrap();
    // From the log first; the start writes a snapshot, so then from that.
    for _ in 0..2 {
        place.restart().await;
        assert_eq!(place.client().await.data(&path).await, Some(data.clone().into()));
    }
}

#[tokio::test]
async fn a_server_that_stops_closes_its_connections() {
    let mut place = Place::ours("stops", |_| {}).await;
    let (mut client, mut silent) = (place.client().await, crate::wire::Client::dial(place.address).await);
    client.create(&place.path("a"), CreateMode::Persistent).await;
    place.stop().await;
    client.is_closed().await;
    silent.is_closed().await;
}

#[tokio::test]
async fn two_servers_share_neither_a_directory_nor_a_port() {
    let place = Place::ours("two", |_| {}).await;
    let config = zab::ServerConfig::local(place.dir().to_owned());
    let Err(error) = zab::Server::start(config).await else { panic!("a directory has two servers") };
    assert!(matches!(&error, zab::StartError::Storage { dir, .. } if dir == place.dir()), "{error}");
    let other = tempfile::tempdir().unwrap();
    let config = zab::ServerConfig {
        client_address: place.address,
        ..zab::ServerConfig::local(other.path().to_owned())
    };
    let Err(error) = zab::Server::start(config).await else { panic!("a port has two servers") };
    assert!(matches!(error, zab::StartError::Listen { address, .. } if address == place.address), "{error}");
    place.client().await.is_served().await;
}
