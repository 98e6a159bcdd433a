//! Who a client is and what that lets it do: `addauth`, SASL DIGEST-MD5, enforced schemes, events behind ACLs.

use std::sync::Arc;

use bytes::Bytes;
use md5::{Digest, Md5};
use zab::access::Rules;
use zab::access::rules::DigestAlgorithm;
use zab::access::secret::Secret;
use zk_wire::acl::{Acl, Id, perms};
use zk_wire::codes::{AddWatchMode, CreateMode, ErrorCode, EventType, OpCode};
use zk_wire::jute::Reader;
use zk_wire::reply::{ReplyHeader, Response};
use zk_wire::request::{AddWatchRequest, AuthPacket, CreateRequest, Request, SaslToken, SetAclRequest};

use crate::place::Place;
use crate::wire::{Client, Message, create, delete, exists, get, set};

fn auth(scheme: &str, credentials: &str) -> Request {
    let auth = Some(Bytes::from(credentials.to_owned()));
    Request::Auth(AuthPacket { kind: 0, scheme: scheme.to_owned(), auth })
}

fn create_for(path: &str, scheme: &str, id: &str) -> Request {
    let acl = vec![Acl { perms: perms::ALL, id: Id { scheme: scheme.to_owned(), id: id.to_owned() } }];
    let mode = CreateMode::Persistent;
    Request::Create(CreateRequest { path: path.to_owned(), data: Some("x".into()), acl, mode })
}

async fn with_rules(test: &str, rules: Rules) -> Place {
    Place::ours(test, |config| config.security.rules = Arc::new(rules)).await
}

fn sasl_rules() -> Rules {
    let users = [("bob", "bobsecret"), ("boss", "bosssecret")];
    Rules {
        sasl: true,
        sasl_users: Some(users.map(|(user, password)| (user.to_owned(), Secret::new(password))).into()),
        sasl_super_users: vec!["boss".to_owned()],
        ..Rules::default()
    }
}

/// What follows a SASL token: the header, and the server's token if there is one.
async fn sasl(client: &mut Client, token: &[u8]) -> (ErrorCode, Option<String>) {
    let sent = client.send(&Request::Sasl(SaslToken { token: Some(token.to_vec().into()) })).await;
    let frame = client.frame().await.expect("an answer");
    let mut reader = Reader::new(&frame);
    let header: ReplyHeader = reader.read().unwrap();
    let answer: SaslToken = reader.read().unwrap();
    reader.finish().unwrap();
    assert_eq!((header.xid, header.zxid.0), (sent, 0));
    (header.err, answer.token.map(|token| String::from_utf8(token.to_vec()).unwrap()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The client's side of RFC 2831, written apart from the server's.
fn digest_response(challenge: &str, user: &str, password: &str) -> String {
    let nonce = challenge.split("nonce=\"").nth(1).unwrap().split('"').next().unwrap();
    let a1 = [&Md5::digest(format!("{user}:zk-sasl-md5:{password}"))[..], format!(":{nonce}:c").as_bytes()]
        .concat();
    let a2 = "AUTHENTICATE:zookeeper/zk-sasl-md5";
    let all = format!("{}:{nonce}:00000001:c:auth:{}", hex(&Md5::digest(a1)), hex(&Md5::digest(a2)));
    format!(
        "charset=utf-8,username=\"{user}\",realm=\"zk-sasl-md5\",nonce=\"{nonce}\",nc=00000001,cnonce=\"c\",\
         digest-uri=\"zookeeper/zk-sasl-md5\",maxbuf=65536,response={},qop=auth",
        hex(&Md5::digest(all))
    )
}

async fn log_in(client: &mut Client, user: &str, password: &str) -> ErrorCode {
    let (err, challenge) = sasl(client, b"").await;
    assert_eq!(err, ErrorCode::Ok);
    let (err, token) = sasl(client, digest_response(&challenge.unwrap(), user, password).as_bytes()).await;
    assert_eq!(token.is_some_and(|token| token.starts_with("rspauth=")), err == ErrorCode::Ok);
    err
}

#[tokio::test]
async fn a_sasl_user_is_an_identity_that_acls_can_name() {
    let place = with_rules("sasl", sasl_rules()).await;
    let (mut bob, mut stranger, mut boss) =
        (place.client().await, place.client().await, place.client().await);
    assert_eq!(log_in(&mut bob, "bob", "bobsecret").await, ErrorCode::Ok);
    assert_eq!(log_in(&mut boss, "boss", "bosssecret").await, ErrorCode::Ok);
    let (mine, auth) = (place.path("mine"), place.path("auth"));
    bob.call(create_for(&mine, "sasl", "bob")).await.unwrap();
    bob.call(create_for(&auth, "auth", "")).await.unwrap();
    for path in [&mine, &auth] {
        assert_eq!(stranger.call(get(path, false)).await, Err(ErrorCode::NoAuth));
        assert!(bob.call(get(path, false)).await.is_ok());
        assert!(boss.call(get(path, false)).await.is_ok(), "a super user");
    }
}

#[tokio::test]
async fn a_wrong_password_closes_the_connection_and_a_challenge_is_never_the_same() {
    let place = with_rules("wrong", sasl_rules()).await;
    let mut bystander = place.client().await;
    for (user, password) in [("bob", "bosssecret"), ("eve", "bobsecret")] {
        let mut client = place.client().await;
        assert_eq!(log_in(&mut client, user, password).await, ErrorCode::AuthFailed);
        client.is_closed().await;
    }
    let (mut a, mut b) = (place.client().await, place.client().await);
    let challenges = (sasl(&mut a, b"").await.1.unwrap(), sasl(&mut b, b"").await.1.unwrap());
    assert_ne!(challenges.0, challenges.1);
    // What was right for one connection is not for another.
    let stolen = digest_response(&challenges.0, "bob", "bobsecret");
    assert_eq!(sasl(&mut b, stolen.as_bytes()).await.0, ErrorCode::AuthFailed);
    bystander.is_served().await;
}

#[tokio::test]
async fn clients_whose_sasl_fails_may_be_let_in_without_the_identity() {
    let place = with_rules("let-in", Rules { allow_sasl_failed: true, ..sasl_rules() }).await;
    let mut client = place.client().await;
    let (_, challenge) = sasl(&mut client, b"").await;
    let response = digest_response(&challenge.unwrap(), "bob", "wrong");
    assert_eq!(sasl(&mut client, response.as_bytes()).await, (ErrorCode::Ok, None));
    assert_eq!(client.call(create_for(&place.path("a"), "auth", "")).await, Err(ErrorCode::InvalidAcl));
}

#[tokio::test]
async fn without_users_sasl_comes_to_nothing_as_on_apache() {
    let place = Place::new("no-users").await;
    let mut client = place.client().await;
    assert_eq!(sasl(&mut client, b"").await, (ErrorCode::Ok, None));
    client.is_served().await;
}

#[tokio::test]
async fn what_is_enforced_is_asked_of_everything_but_authentication() {
    let rules = Rules { enforced: vec!["sasl".to_owned(), "digest".to_owned()], ..sasl_rules() };
    let dir = tempfile::tempdir().unwrap();
    let mut config = zab::ServerConfig::local(dir.path().to_owned());
    config.security.rules = Arc::new(rules);
    let server = zab::Server::start(config).await.unwrap();
    for request in
        [get("/", false), create("/x", b"", CreateMode::Persistent), Request::Ping, Request::CloseSession]
    {
        let mut client = Client::with_session(server.client_address(), 10_000).await;
        assert_eq!(client.call(request).await, Err(ErrorCode::SessionClosedRequireSaslAuth));
        client.is_closed().await;
    }
    let mut bob = Client::with_session(server.client_address(), 10_000).await;
    assert_eq!(log_in(&mut bob, "bob", "bobsecret").await, ErrorCode::Ok);
    bob.is_served().await;
    let mut digest = Client::with_session(server.client_address(), 10_000).await;
    digest.call(auth("digest", "user:pw")).await.unwrap();
    digest.is_served().await;
    let mut failed = Client::with_session(server.client_address(), 10_000).await;
    assert_eq!(log_in(&mut failed, "bob", "wrong").await, ErrorCode::SessionClosedRequireSaslAuth);
    failed.is_closed().await;
}

#[tokio::test]
async fn the_super_digest_may_everything() {
    let digest = DigestAlgorithm::Sha256.identity("super:secret");
    let rules = Rules {
        digest_algorithm: DigestAlgorithm::Sha256,
        super_digest: Some(Secret::new(digest)),
        ..Rules::default()
    };
    let place = with_rules("super", rules).await;
    let (mut owner, mut root) = (place.client().await, place.client().await);
    owner.call(auth("digest", "user:pw")).await.unwrap();
    let path = place.path("a");
    owner.call(create_for(&path, "auth", "")).await.unwrap();
    assert_eq!(root.call(get(&path, false)).await, Err(ErrorCode::NoAuth));
    root.call(auth("digest", "super:secret")).await.unwrap();
    assert!(root.call(get(&path, false)).await.is_ok());
}

#[tokio::test]
async fn a_client_of_another_ensemble_is_closed_without_a_word() {
    let place =
        with_rules("ensemble", Rules { ensemble: Some(vec!["ours".to_owned()]), ..Rules::default() }).await;
    let mut client = place.client().await;
    client.call(auth("ensemble", "ours")).await.unwrap();
    client.send(&auth("ensemble", "theirs")).await;
    client.is_closed().await;
}

fn add_recursive(path: &str) -> Request {
    Request::AddWatch(AddWatchRequest { path: path.to_owned(), mode: AddWatchMode::PersistentRecursive })
}

/// CVE-2024-23944. On Apache, too.
#[tokio::test]
async fn a_watch_tells_nothing_of_znodes_that_its_owner_may_not_read() {
    let place = Place::new("leak").await;
    let (mut owner, mut watcher) = (place.client().await, place.client().await);
    owner.call(auth("digest", "user:pw")).await.unwrap();
    watcher.call(add_recursive(&place.root)).await.unwrap();
    let (hidden, below, open) = (place.path("hidden"), place.path("hidden/below"), place.path("open"));
    for path in [&hidden, &below] {
        owner.call(create_for(path, "auth", "")).await.unwrap();
    }
    owner.call(set(&below, b"y", -1)).await.unwrap();
    owner.call(delete(&below, -1)).await.unwrap();
    owner.call(delete(&hidden, -1)).await.unwrap();
    owner.create(&open, CreateMode::Persistent).await;
    assert_eq!(watcher.event().await, (EventType::NodeCreated, open.clone()));
    // What it learns follows the ACL of the moment.
    let hide = |perms| {
        Request::SetAcl(SetAclRequest { path: open.clone(), acl: vec![Acl::world(perms)], version: -1 })
    };
    owner.call(hide(perms::ALL & !perms::READ)).await.unwrap();
    owner.call(set(&open, b"y", -1)).await.unwrap();
    owner.call(hide(perms::ALL)).await.unwrap();
    owner.call(delete(&open, -1)).await.unwrap();
    assert_eq!(watcher.event().await, (EventType::NodeDeleted, open));
}

/// The parent's ACL decides about the news of its list of children.
#[tokio::test]
async fn the_list_of_a_hidden_parents_children_is_hidden_too() {
    let place = Place::new("list").await;
    let (mut owner, mut watcher) = (place.client().await, place.client().await);
    owner.call(auth("digest", "user:pw")).await.unwrap();
    let parent = owner.create(&place.path("parent"), CreateMode::Persistent).await;
    watcher.call(crate::wire::children(&parent, true)).await.unwrap();
    let acl = vec![Acl { perms: perms::ALL, id: Id { scheme: "auth".to_owned(), id: String::new() } }];
    owner.call(Request::SetAcl(SetAclRequest { path: parent.clone(), acl, version: -1 })).await.unwrap();
    owner.create(&format!("{parent}/child"), CreateMode::Persistent).await;
    let (events, _) = watcher.call_hearing(exists(&place.root, false)).await;
    assert_eq!(events, []);
}

#[tokio::test]
async fn who_am_i_shows_names_and_nothing_that_proves_them() {
    let place = Place::new("whoami").await;
    let mut client = place.client().await;
    client.call(auth("digest", "user:pw")).await.unwrap();
    let sent = client.send(&Request::WhoAmI).await;
    let message = client.message(OpCode::WhoAmI).await;
    let crate::wire::Message::Reply { xid, result: Ok(Response::WhoAmI(infos)), .. } = message else {
        panic!()
    };
    assert_eq!(xid, sent);
    let mut shown: Vec<_> = infos.into_iter().map(|info| (info.auth_scheme, info.user)).collect();
    shown.sort();
    assert_eq!(shown[0], ("digest".to_owned(), "user".to_owned()));
    assert_eq!((shown.len(), shown[1].0.as_str()), (2, "ip"));
}

/// Apache checks what it prepares before a setACL is applied against the old ACL (until 3.9.3 at least): who takes a
/// right away cannot rely on it for what comes next.
#[tokio::test]
async fn what_is_sent_behind_a_set_acl_is_checked_against_the_new_one() {
    let place = Place::ours("revoked", |_| {}).await;
    let mut client = place.client().await;
    for round in 0..50 {
        let path = client.create(&place.path(&format!("p{round}")), CreateMode::Persistent).await;
        let nobody = Acl { perms: 0, id: Id { scheme: "ip".to_owned(), id: "127.0.0.1".to_owned() } };
        client
            .send(&Request::SetAcl(SetAclRequest { path: path.clone(), acl: vec![nobody], version: -1 }))
            .await;
        client.send(&create(&format!("{path}/child"), b"", CreateMode::Persistent)).await;
        assert!(matches!(client.message(OpCode::SetAcl).await, Message::Reply { result: Ok(_), .. }));
        let refused = client.message(OpCode::Create).await;
        assert!(matches!(refused, Message::Reply { result: Err(ErrorCode::NoAuth), .. }), "{refused:?}");
    }
}
