//! What a session promises, against our server; with `ZOOBRIDGE_TEST_ZOOKEEPER=host:port` against any other.
#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use std::time::Duration;

use zab::{Server, ServerConfig};
use zk_client::{
    AttachError, Auth, ConnectString, Connector, Credentials, Event, Events, Lost, Opening, Options, Permit,
    RequestError, Session, WatchSet, attach,
};
use zk_wire::acl::Acl;
use zk_wire::codes::{AddWatchMode, CreateMode, ErrorCode, EventType};
use zk_wire::ids::Zxid;
use zk_wire::multi::WriteOp;
use zk_wire::request::{CheckVersionRequest, CreateRequest};

/// A ZooKeeper to talk to, and a directory of this test's own in it.
struct Place {
    to: ConnectString,
    root: String,
    _server: Option<(Server, tempfile::TempDir)>,
}

impl Place {
    async fn new(test: &str) -> Place {
        let (to, server) = match std::env::var("ZOOBRIDGE_TEST_ZOOKEEPER") {
            Ok(other) => (other.parse().unwrap(), None),
            Err(_) => {
                let dir = tempfile::tempdir().unwrap();
                let server = Server::start(ServerConfig::local(dir.path().to_owned())).await.unwrap();
                (server.client_address().to_string().parse().unwrap(), Some((server, dir)))
            }
        };
        let place = Place { to, root: format!("/{test}-{}", std::process::id()), _server: server };
        let (session, _events) = place.open().await;
        session.create(&place.root, "", Acl::open(), CreateMode::Persistent).await.unwrap();
        session.close().await.unwrap();
        place
    }

    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.root)
    }

    async fn attach(&self, opening: Opening, options: Options) -> Result<(Session, Events), AttachError> {
        let stream = Connector::new(self.to.clone(), Duration::from_secs(5)).connect().await.unwrap();
        attach(stream, Permit::grant(), opening, options).await
    }

    async fn open(&self) -> (Session, Events) {
        self.attach(Opening::New { timeout: Duration::from_secs(8) }, Options::default()).await.unwrap()
    }

    async fn resume(&self, credentials: &Credentials) -> Result<(Session, Events), AttachError> {
        self.attach(Opening::Resume(credentials.clone(), WatchSet::default()), Options::default()).await
    }
}

async fn create(session: &Session, path: &str, mode: CreateMode) -> String {
    session.create(path, "x", Acl::open(), mode).await.unwrap().0
}

#[tokio::test]
async fn a_dropped_session_keeps_its_ephemerals_and_whoever_has_its_credentials_resumes_it() {
    let place = Place::new("resume").await;
    let (witness, _) = place.open().await;
    let (session, _) = place.open().await;
    let path = create(&session, &place.path("e"), CreateMode::Ephemeral).await;
    let before = witness.exists(&path).await.unwrap().unwrap();
    let credentials = session.credentials();
    drop(session);

    let (session, _) = place.resume(&credentials).await.unwrap();
    assert!(session.is_resumed());
    assert_eq!(session.credentials().id, credentials.id);
    assert_eq!(session.ephemerals(&place.root).await.unwrap(), std::slice::from_ref(&path));
    assert_eq!(witness.exists(&path).await.unwrap().unwrap(), before);

    session.close().await.unwrap();
    witness.sync("/").await.unwrap();
    assert_eq!(witness.exists(&path).await.unwrap(), None);
    assert!(
        matches!(place.resume(&credentials).await, Err(AttachError::Expired(id)) if id == credentials.id)
    );
}

#[tokio::test]
async fn a_second_holder_takes_the_session_and_the_first_loses_only_its_connection() {
    let place = Place::new("holders").await;
    let (first, _) = place.open().await;
    let path = create(&first, &place.path("e"), CreateMode::Ephemeral).await;
    let (second, _) = place.resume(&first.credentials()).await.unwrap();
    assert!(matches!(first.lost().await, Lost::Closed | Lost::Moved | Lost::Io(_)));
    assert!(matches!(first.exists(&path).await, Err(RequestError::NotSent(_))));
    assert!(second.exists(&path).await.unwrap().is_some());
}

#[tokio::test]
async fn a_wrong_password_does_not_resume() {
    let place = Place::new("password").await;
    let (session, _) = place.open().await;
    let right = session.credentials();
    let wrong = Credentials { password: zk_client::Password::new(vec![7; 16]), ..right.clone() };
    assert!(matches!(place.resume(&wrong).await, Err(AttachError::Expired(_))));
    // Apache closes the holder's connection before it looks at the password; the session lives all the same.
    let (session, _) = place.resume(&right).await.unwrap();
    session.sync("/").await.unwrap();
}

#[tokio::test]
async fn pings_keep_an_idle_session_alive() {
    let place = Place::new("pings").await;
    let (session, _) =
        place.attach(Opening::New { timeout: Duration::from_secs(4) }, Options::default()).await.unwrap();
    let path = create(&session, &place.path("e"), CreateMode::Ephemeral).await;
    let (witness, _) = place.open().await;
    tokio::time::sleep(session.credentials().timeout * 2).await;
    assert!(witness.exists(&path).await.unwrap().is_some());
}

#[tokio::test]
async fn a_session_that_nobody_holds_expires_and_says_so() {
    let place = Place::new("expiry").await;
    let (session, _) =
        place.attach(Opening::New { timeout: Duration::from_secs(4) }, Options::default()).await.unwrap();
    let path = create(&session, &place.path("e"), CreateMode::Ephemeral).await;
    let credentials = session.credentials();
    drop(session);
    let (witness, _) = place.open().await;
    tokio::time::timeout(credentials.timeout * 4, async {
        while witness.exists(&path).await.unwrap().is_some() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await
    .expect("the ephemeral goes");
    assert!(matches!(place.resume(&credentials).await, Err(AttachError::Expired(_))));
}

#[tokio::test]
async fn a_multi_names_its_culprit_and_changes_nothing() {
    let place = Place::new("multi").await;
    let (session, _) = place.open().await;
    let taken = create(&session, &place.path("taken"), CreateMode::Persistent).await;
    let op = |path: &str| {
        WriteOp::Create(CreateRequest {
            path: path.to_owned(),
            data: None,
            acl: Acl::open(),
            mode: CreateMode::Persistent,
        })
    };
    let check = WriteOp::Check(CheckVersionRequest { path: taken.clone(), version: 0 });
    let failure = session
        .multi(vec![check, op(&place.path("new")), op(&taken), op(&place.path("other"))])
        .await
        .unwrap_err();
    let RequestError::Multi(failure) = failure else { panic!("{failure:?}") };
    assert_eq!((failure.index, failure.code, failure.results.len()), (2, ErrorCode::NodeExists, 4));
    assert_eq!(session.children(&place.root).await.unwrap().unwrap().0, ["taken"]);
}

#[tokio::test]
async fn requests_under_way_are_answered_in_order() {
    let place = Place::new("pipeline").await;
    let (session, _) = place.open().await;
    let prefix = place.path("n-");
    // Few enough that join_all polls them in this order.
    for _ in 0..150 {
        let creates = (0..20).map(|_| create(&session, &prefix, CreateMode::PersistentSequential));
        assert!(futures::future::join_all(creates).await.is_sorted());
    }
    assert_eq!(session.exists(&place.root).await.unwrap().unwrap().num_children, 3_000);
}

#[tokio::test]
async fn watches_that_are_resumed_report_what_changed_meanwhile() {
    let place = Place::new("watches").await;
    let (session, mut events) = place.open().await;
    session.add_watch(&place.root, AddWatchMode::PersistentRecursive).await.unwrap();
    let path = create(&session, &place.path("a"), CreateMode::Persistent).await;
    let Some(Event::Watch(event)) = events.recv().await else { panic!() };
    assert_eq!((event.kind, event.path.as_str()), (EventType::NodeCreated, path.as_str()));

    let credentials = session.credentials();
    drop(session);
    let (witness, _) = place.open().await;
    witness.set(&path, "y", -1).await.unwrap();
    let watches = WatchSet {
        data: vec![path.clone()],
        persistent_recursive: vec![place.root.clone()],
        ..WatchSet::default()
    };
    let (_session, mut events) =
        place.attach(Opening::Resume(credentials, watches), Options::default()).await.unwrap();
    let Some(Event::Watch(event)) = events.recv().await else { panic!() };
    assert_eq!((event.kind, event.path.as_str()), (EventType::NodeDataChanged, path.as_str()));
    create(&witness, &place.path("b"), CreateMode::Persistent).await;
    let Some(Event::Watch(event)) = events.recv().await else { panic!() };
    assert_eq!((event.kind, event.path), (EventType::NodeCreated, place.path("b")));
}

/// The next event is about this path.
async fn expect_event(events: &mut Events, path: &str) {
    let Some(Event::Watch(event)) = events.recv().await else { panic!() };
    assert_eq!(event.path, path);
}

#[tokio::test]
async fn a_persistent_watch_is_given_up_without_the_others_on_its_path() {
    let place = Place::new("giveup").await;
    let options = Options { chroot: place.root.clone(), ..Options::default() };
    let opening = Opening::New { timeout: Duration::from_secs(8) };
    let (session, mut events) = place.attach(opening, options).await.unwrap();
    for name in ["/a", "/b"] {
        create(&session, name, CreateMode::Persistent).await;
        session.add_watch(name, AddWatchMode::PersistentRecursive).await.unwrap();
    }
    session.add_watch("/a", AddWatchMode::Persistent).await.unwrap();
    session.remove_watch("/a", AddWatchMode::PersistentRecursive).await.unwrap();
    let again = session.remove_watch("/a", AddWatchMode::PersistentRecursive).await;
    assert_eq!(again, Err(RequestError::Refused(ErrorCode::NoWatcher)));

    create(&session, "/a/x", CreateMode::Persistent).await;
    session.set("/a/x", "y", -1).await.unwrap();
    create(&session, "/b/x", CreateMode::Persistent).await;
    // Of /a, the persistent watch is left: its children changed, and nothing about the child itself.
    expect_event(&mut events, "/a").await;
    expect_event(&mut events, "/b/x").await;

    session.remove_watch("/a", AddWatchMode::Persistent).await.unwrap();
    create(&session, "/a/y", CreateMode::Persistent).await;
    create(&session, "/b/y", CreateMode::Persistent).await;
    expect_event(&mut events, "/b/y").await;
}

#[tokio::test]
async fn a_new_session_registers_thousands_of_watches_at_once() {
    let place = Place::new("restore").await;
    let options = Options { chroot: place.root.clone(), ..Options::default() };
    let opening = Opening::New { timeout: Duration::from_secs(8) };
    let (session, mut events) = place.attach(opening, options).await.unwrap();
    create(&session, "/seen", CreateMode::Persistent).await;
    let paths: Vec<_> = (0..5_000).map(|n| format!("/service-{n:060}")).collect();
    let watches = WatchSet {
        data: vec!["/seen".to_owned()],
        persistent_recursive: paths.clone(),
        ..WatchSet::default()
    };
    session.restore_watches(&watches).await.unwrap();
    for path in [&paths[0], &paths[2_500], &paths[4_999]] {
        create(&session, path, CreateMode::Persistent).await;
        // What was there before is not reported.
        expect_event(&mut events, path).await;
    }
    session.set("/seen", "y", -1).await.unwrap();
    expect_event(&mut events, "/seen").await;
}

#[tokio::test]
async fn a_server_that_is_behind_does_not_answer_and_the_owner_can_tell() {
    let place = Place::new("behind").await;
    let (session, _) = place.open().await;
    let credentials = session.credentials();
    drop(session);
    let newer = Zxid(i64::MAX);
    let ahead = Credentials { last_zxid: newer, ..credentials.clone() };
    let error = place.resume(&ahead).await.unwrap_err();
    assert!(
        matches!(&error, AttachError::Lost(Lost::Unanswered { last_zxid }) if *last_zxid == newer),
        "{error:?}"
    );
    // An owner who gives up what he has seen is told whether the session is there.
    let (session, _) = place.resume(&Credentials { last_zxid: Zxid::ZERO, ..credentials }).await.unwrap();
    session.close().await.unwrap();
}

#[tokio::test]
async fn an_owner_who_takes_no_events_learns_that_some_are_missing() {
    let place = Place::new("overflow").await;
    let options = Options { events: 2, ..Options::default() };
    let (session, mut events) =
        place.attach(Opening::New { timeout: Duration::from_secs(8) }, options).await.unwrap();
    session.add_watch(&place.root, AddWatchMode::PersistentRecursive).await.unwrap();
    for _ in 0..10 {
        create(&session, &place.path("n-"), CreateMode::PersistentSequential).await;
    }
    assert!(matches!(events.recv().await, Some(Event::Watch(_))));
    assert!(matches!(events.recv().await, Some(Event::Watch(_))));
    assert_eq!(events.recv().await, Some(Event::Overflow));
}

#[tokio::test]
async fn identities_are_repeated_at_each_attach() {
    let place = Place::new("auth").await;
    let auth = Auth { scheme: "digest".to_owned(), secret: "bridge:secret".into() };
    assert!(!format!("{auth:?}").contains("secret\""));
    let options = Options { auth: vec![auth], ..Options::default() };
    let opening = Opening::New { timeout: Duration::from_secs(8) };
    let (session, _) = place.attach(opening, options.clone()).await.unwrap();
    let creator = Acl {
        perms: zk_wire::acl::perms::ALL,
        id: zk_wire::acl::Id { scheme: "auth".to_owned(), id: String::new() },
    };
    let path = place.path("mine");
    session.create(&path, "x", vec![creator], CreateMode::Persistent).await.unwrap();
    let (stranger, _) = place.open().await;
    assert_eq!(stranger.get(&path).await, Err(RequestError::Refused(ErrorCode::NoAuth)));
    let credentials = session.credentials();
    drop(session);
    let resume = Opening::Resume(credentials, WatchSet::default());
    let (session, _) = place.attach(resume, options).await.unwrap();
    assert!(session.get(&path).await.unwrap().is_some());
    session.delete(&path, -1).await.unwrap();
}

#[tokio::test]
async fn an_identity_that_no_server_knows_is_refused_by_name() {
    let place = Place::new("badauth").await;
    let options = Options {
        auth: vec![Auth { scheme: "nonsense".to_owned(), secret: "x".into() }],
        ..Options::default()
    };
    let error = place.attach(Opening::New { timeout: Duration::from_secs(8) }, options).await.unwrap_err();
    assert!(matches!(&error, AttachError::AuthFailed { scheme } if scheme == "nonsense"), "{error:?}");
}

#[tokio::test]
async fn a_chroot_is_invisible_to_its_owner() {
    let place = Place::new("chroot").await;
    let options = Options { chroot: place.root.clone(), ..Options::default() };
    let opening = Opening::New { timeout: Duration::from_secs(8) };
    let (session, mut events) = place.attach(opening, options).await.unwrap();
    session.add_watch("/", AddWatchMode::PersistentRecursive).await.unwrap();
    assert_eq!(create(&session, "/e", CreateMode::Ephemeral).await, "/e");
    let Some(Event::Watch(event)) = events.recv().await else { panic!() };
    assert_eq!(event.path, "/e");
    assert_eq!(session.ephemerals("/").await.unwrap(), ["/e"]);
    let (witness, _) = place.open().await;
    assert!(witness.exists(&place.path("e")).await.unwrap().is_some());
}

#[tokio::test]
async fn what_no_server_accepts_is_not_sent() {
    let place = Place::new("limits").await;
    let (session, _) = place.open().await;
    let long = session.create(&place.path("x"), vec![0; 2 << 20], Acl::open(), CreateMode::Persistent).await;
    assert!(matches!(long, Err(RequestError::TooLong { .. })));
    let path = session.delete("no-path", -1).await;
    assert!(matches!(path, Err(RequestError::Path { .. })));
    session.sync("/").await.unwrap();
}
