//! What consumers need of znodes, whatever is in them: kinds, data, and that directories stay (`docs/formats.md`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use kube::Client;
use zab::ServerConfig;
use zk_client::{RequestError, Session};
use zk_wire::acl::Acl;
use zk_wire::codes::{CreateMode, ErrorCode};
use zk_wire::ids::SessionId;
use zk_wire::reply::Response;
use zk_wire::request::{Request, WatchedRead};
use zk_wire::stat::Stat;
use zoobridge::config::Config;
use zoobridge::local::RunningBridge;
use zoobridge::session::CredentialStore;

use crate::sides::Sides;
use crate::world::{annotate, leaves, service, session, slice, until, within};

/// Directories that the bridge makes for the Service of this test, above that of its leaves too.
const DIRECTORIES: [&str; 23] = [
    "/dubbo",
    "/dubbo/com.acme.A%24B",
    "/dubbo/com.acme.A%24B/providers",
    "/dubbo/mapping",
    "/dubbo/metadata",
    "/dubbo/metadata/orders-dubbo",
    "/hosts",
    "/hosts/prod",
    "/hosts/prod/orders",
    "/nerve",
    "/nerve/services",
    "/nerve/services/prod",
    "/nerve/services/prod/orders",
    "/services",
    "/services/orders",
    "/services/orders-app",
    "/services/orders-dubbo",
    "/twitter",
    "/twitter/service",
    "/twitter/service/web",
    "/twitter/service/web/prod",
    "/twitter/service/web/prod/orders",
    // Not one of a format.
    "/zookeeper",
];
const MAPPING: &str = "/dubbo/mapping/com.acme.A";
const METADATA: &str = "/dubbo/metadata/orders-dubbo";

type Tree = BTreeMap<String, (Option<Bytes>, Stat)>;

/// What is below `/`, but for the bridge's own.
async fn tree(eye: &Session) -> Tree {
    let (mut tree, mut left) = (Tree::new(), leaves(eye, "/").await);
    left.retain(|name| name != "zoobridge");
    left.iter_mut().for_each(|name| name.insert(0, '/'));
    while let Some(path) = left.pop() {
        let read = Request::GetData(WatchedRead { path: path.clone(), watch: false });
        let Ok(Response::Data(read)) = eye.request(read).await else { continue };
        if path != "/zookeeper" {
            left.extend(leaves(eye, &path).await.iter().map(|name| format!("{path}/{name}")));
        }
        tree.insert(path, (read.data, read.stat));
    }
    tree
}

/// Each resumes the sessions of the one before.
async fn bridge(sides: &Sides, formats: &str) -> RunningBridge {
    let config = Config::parse(&format!(
        "{{cluster: test, zookeeper: {{connect: '{}', sessionTimeout: 4s}}, \
         rules: [{{formats: [{formats}], names: ['*'], addresses: [pod, custom]}}]}}",
        sides.zookeeper()
    ));
    let store = CredentialStore::secret(sides.client.clone(), "default", "zoobridge-sessions");
    RunningBridge::start(&config.unwrap(), sides.client.clone(), store).await.unwrap()
}

async fn at_rest(bridge: &RunningBridge, znodes: usize) {
    within(async {
        while bridge.status().znodes != znodes || bridge.status().pending > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

fn split(tree: &Tree) -> (Tree, Tree) {
    tree.clone().into_iter().partition(|(_, (_, stat))| stat.ephemeral_owner == SessionId::NONE)
}

#[tokio::test]
async fn every_znode_is_of_the_kind_and_has_the_data_that_consumers_need() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = ServerConfig::local(dir.path().to_owned());
    config.reaper.interval = Duration::from_millis(20);
    let sides = Sides::with(config, dir).await;
    let eye = session(sides.zookeeper()).await;
    let bridge = bridge(&sides, "curator, dubbo, dubbo3, spring, serverset, nerve, hostport").await;
    let all = [
        ("curator", ""),
        ("dubbo", "com.acme.A$B"),
        ("dubbo3", "com.acme.A"),
        ("dubbo3-application", "orders-dubbo"),
        ("spring", "orders-app"),
        ("serverset", "web/prod/orders"),
        ("nerve", "prod/orders"),
        ("hostport", "prod/orders"),
    ];
    service(&sides.client, "orders", &all).await;
    slice(&sides.client, "orders", &[1, 2]).await;
    at_rest(&bridge, 14).await;

    let there = tree(&eye).await;
    let (persistent, ephemeral) = split(&there);
    // In a directory of leaves there are leaves and nothing else: one child that cannot be read hides all others from
    // some consumers.
    let parents: BTreeSet<_> = ephemeral.keys().map(|path| path.rsplit_once('/').unwrap().0).collect();
    assert_eq!((ephemeral.len(), parents.len()), (14, 7));
    assert!(persistent.keys().all(|path| !parents.contains(path.rsplit_once('/').unwrap().0)));
    // Each came with what it says, at once, and was not touched since.
    for (path, (_, stat)) in &there {
        assert_eq!((stat.czxid, stat.version), (stat.mzxid, 0), "{path}");
    }
    // Data without a length end some consumers.
    let revision = leaves(&eye, METADATA).await.remove(0);
    let metadata = format!("{METADATA}/{revision}");
    let directories: Vec<_> =
        persistent.keys().filter(|path| ![MAPPING, &metadata].contains(&&***path)).collect();
    assert_eq!(directories, DIRECTORIES);
    for path in directories.iter().filter(|path| **path != "/zookeeper") {
        assert_eq!(persistent[*path].0, Some(Bytes::new()), "{path}");
    }
    assert_eq!(persistent[MAPPING].0.as_deref(), Some(&b"orders-dubbo"[..]));
    for (path, (data, _)) in &ephemeral {
        let is_empty = path.contains("/providers/");
        assert_eq!(data.as_ref().map(Bytes::is_empty), Some(is_empty), "{path}");
    }

    // Other parameters are another revision; consumers may not have read the one before yet.
    annotate(&sides.client, "orders", "dubbo3-parameters", Some("weight=7")).await;
    within(async {
        while leaves(&eye, METADATA).await.len() != 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    // Nothing is ready; and a server that removes empty containers removes one, and none of ours.
    slice(&sides.client, "orders", &[]).await;
    at_rest(&bridge, 0).await;
    for (path, mode) in [("/box", CreateMode::Container), ("/box/one", CreateMode::Persistent)] {
        eye.create(path, "", Acl::open(), mode).await.unwrap();
    }
    eye.delete("/box/one", -1).await.unwrap();
    within(async {
        while eye.exists("/box").await.unwrap().is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let then = tree(&eye).await;
    for (path, (data, stat)) in &persistent {
        let (data_then, stat_then) = &then[path];
        assert_eq!((data, stat.czxid, stat.mzxid), (data_then, stat_then.czxid, stat_then.mzxid), "{path}");
    }
    assert_eq!(then.len(), persistent.len() + 1);
    bridge.stop().await.unwrap();
    sides.stop().await;
}

/// As Dubbo's providers do (`MetadataServiceNameMapping.map`).
async fn join(stranger: &Session, application: &str) {
    loop {
        let joined = match stranger.get(MAPPING).await.unwrap() {
            None => {
                let created =
                    stranger.create(MAPPING, application.to_owned(), Acl::open(), CreateMode::Persistent);
                created.await.map(|_| ())
            }
            Some((list, stat)) => {
                let list = String::from_utf8(list.to_vec()).unwrap();
                stranger.set(MAPPING, format!("{list},{application}"), stat.version).await.map(|_| ())
            }
        };
        match joined {
            Ok(()) => return,
            Err(RequestError::Refused(ErrorCode::BadVersion | ErrorCode::NodeExists | ErrorCode::NoNode)) => {
                tokio::task::yield_now().await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

async fn publish(client: &Client, number: usize) {
    let name = format!("orders-{number}");
    service(client, &name, &[("dubbo3", "com.acme.A")]).await;
    slice(client, &name, &[1]).await;
}

#[tokio::test]
async fn of_those_who_write_a_mapping_at_the_same_time_none_is_lost() {
    const EACH: usize = 20;
    let sides = Sides::new().await;
    let bridge = bridge(&sides, "dubbo3").await;
    let stranger = session(sides.zookeeper()).await;
    for directory in ["/dubbo", "/dubbo/mapping"] {
        stranger.create(directory, "", Acl::open(), CreateMode::Persistent).await.unwrap();
    }
    let theirs = async {
        for number in 0..EACH {
            join(&stranger, &format!("legacy-{number}")).await;
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let ours = futures::future::join_all((0..EACH).map(|number| publish(&sides.client, number)));
    tokio::join!(theirs, ours);
    at_rest(&bridge, EACH).await;
    let list = stranger.get(MAPPING).await.unwrap().unwrap().0;
    let list = String::from_utf8(list.to_vec()).unwrap();
    let items: BTreeSet<_> = list.split(',').map(str::to_owned).collect();
    let names = |prefix: &str| (0..EACH).map(|number| format!("{prefix}-{number}")).collect::<Vec<_>>();
    let expected: BTreeSet<_> = [names("legacy"), names("orders")].concat().into_iter().collect();
    assert_eq!(items, expected);
    assert_eq!(list.split(',').count(), 2 * EACH, "none is there twice: {list}");
    bridge.stop().await.unwrap();
    sides.stop().await;
}

/// Consumers of the one fail on the payload of the other. Who was first stays first behind another leader.
#[tokio::test]
async fn two_services_do_not_fill_one_directory_in_two_formats() {
    let sides = Sides::new().await;
    let eye = session(sides.zookeeper()).await;
    let first = bridge(&sides, "curator, spring").await;
    // Its name comes behind the other one's, so the next leader does not plan it first for that.
    service(&sides.client, "orders", &[("curator", "shop")]).await;
    slice(&sides.client, "orders", &[1]).await;
    until(&eye, "/services/shop", &["10.0.0.1:8080"]).await;
    service(&sides.client, "carts", &[("spring", "shop")]).await;
    slice(&sides.client, "carts", &[2]).await;
    at_rest(&first, 1).await;
    within(async {
        while first.status().refused != 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let before = eye.exists("/services/shop/10.0.0.1:8080").await.unwrap();
    first.kill().await;
    let second = bridge(&sides, "curator, spring").await;
    within(async {
        while !second.status().settled || second.status().refused != 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    until(&eye, "/services/shop", &["10.0.0.1:8080"]).await;
    assert_eq!(eye.exists("/services/shop/10.0.0.1:8080").await.unwrap(), before);
    // And then it lets go.
    annotate(&sides.client, "orders", "curator", None).await;
    until(&eye, "/services/shop", &["10.0.0.2:8080"]).await;
    let (data, _) = eye.get("/services/shop/10.0.0.2:8080").await.unwrap().unwrap();
    assert!(data.windows(7).any(|bytes| bytes == b"\"@class"), "{data:?}");
    // Who is alone changes its format in place.
    let before = eye.exists("/services/shop/10.0.0.2:8080").await.unwrap().unwrap();
    for (annotation, value) in [("curator", Some("shop")), ("spring", None)] {
        annotate(&sides.client, "carts", annotation, value).await;
    }
    within(async {
        while eye
            .get("/services/shop/10.0.0.2:8080")
            .await
            .unwrap()
            .is_none_or(|(data, _)| data.windows(7).any(|bytes| bytes == b"\"@class"))
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(eye.exists("/services/shop/10.0.0.2:8080").await.unwrap().unwrap().czxid, before.czxid);
    second.stop().await.unwrap();
    sides.stop().await;
}
