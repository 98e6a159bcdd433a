//! Who may resume a session: whoever can compute its password, as on Apache, or only its creator.

use bytes::Bytes;
use zab::ServerConfig;
use zab::config::{PasswordKind, Reattach};
use zk_wire::codes::{CreateMode, ErrorCode, OpCode};
use zk_wire::connect::ConnectResponse;
use zk_wire::password::derived_password;
use zk_wire::reply::Response;
use zk_wire::request::{AUTH_XID, AuthPacket, PathRequest, Request};

use crate::place::Place;
use crate::wire::{Client, Message, connect_request, exists};

fn identity(config: &mut ServerConfig) {
    config.sessions.reattach = Reattach::Identity;
}

fn keyed(config: &mut ServerConfig) {
    config.sessions.passwords = PasswordKind::Keyed;
}

fn auth(user: &str) -> Request {
    let auth = Some(Bytes::from(format!("{user}:pw")));
    Request::Auth(AuthPacket { kind: 0, scheme: "digest".to_owned(), auth })
}

async fn authenticated(place: &Place, user: &str) -> Client {
    let mut client = place.client().await;
    assert_eq!(client.call(auth(user)).await, Ok(Response::Empty));
    client
}

/// What everybody can do who may read the stat of an ephemeral: compute its session's password from its owner.
async fn thief(place: &Place, ephemeral: &str) -> (Client, ConnectResponse) {
    let mut stranger = place.client().await;
    let owner = stranger.stat(ephemeral).await.ephemeral_owner;
    let mut client = Client::dial(place.address).await;
    let password = Bytes::copy_from_slice(&derived_password(owner));
    let response = client.connect(&connect_request(10_000, owner, password)).await.expect("an answer");
    (client, response)
}

/// The attack, on any server with Apache's passwords.
#[tokio::test]
async fn a_stranger_who_reads_an_ephemerals_owner_can_end_its_session() {
    let place = Place::new("attack").await;
    let mut holder = authenticated(&place, "holder").await;
    let ephemeral = holder.create(&place.path("e"), CreateMode::Ephemeral).await;
    let (mut thief, response) = thief(&place, &ephemeral).await;
    assert_eq!(response.body.session_id, holder.session);
    assert_eq!(thief.call(Request::CloseSession).await, Ok(Response::Empty));
    holder.is_closed().await;
    let mut witness = place.client().await;
    assert_eq!(witness.call(exists(&ephemeral, false)).await, Err(ErrorCode::NoNode));
}

#[tokio::test]
async fn with_a_key_a_sessions_owner_tells_nobody_its_password() {
    let place = Place::ours("keyed", keyed).await;
    let mut holder = place.client().await;
    assert_ne!(holder.password, derived_password(holder.session).as_slice());
    let ephemeral = holder.create(&place.path("e"), CreateMode::Ephemeral).await;
    let (mut thief, response) = thief(&place, &ephemeral).await;
    assert_eq!(response, ConnectResponse::expired(Some(false)));
    thief.is_closed().await;
    holder.is_served().await;
    let (mut resumed, _) = holder.resume(place.address).await;
    assert_eq!(resumed.stat(&ephemeral).await.ephemeral_owner, holder.session);
}

#[tokio::test]
async fn a_key_outlives_restarts_and_ends_no_session_when_it_is_introduced() {
    let mut place = Place::ours("introduced", |_| {}).await;
    let mut old = place.client().await;
    let of_old = old.create(&place.path("old"), CreateMode::Ephemeral).await;
    place.stop().await;
    place.configure(keyed);
    place.start().await;
    let mut new = place.client().await;
    let of_new = new.create(&place.path("new"), CreateMode::Ephemeral).await;
    place.restart().await;
    for (client, ephemeral) in [(old, of_old), (new, of_new)] {
        let (mut resumed, _) = client.resume(place.address).await;
        assert_eq!(resumed.stat(&ephemeral).await.ephemeral_owner, client.session);
    }
}

#[tokio::test]
async fn only_who_proves_the_creators_identities_resumes_a_session() {
    let place = Place::ours("identity", identity).await;
    let mut holder = authenticated(&place, "holder").await;
    let ephemeral = holder.create(&place.path("e"), CreateMode::Ephemeral).await;
    for attempt in [None, Some("stranger")] {
        let (mut thief, response) = thief(&place, &ephemeral).await;
        assert_eq!(response.body.session_id, holder.session, "its password is right");
        if let Some(user) = attempt {
            assert_eq!(thief.call(auth(user)).await, Ok(Response::Empty));
        }
        assert_eq!(thief.call(Request::CloseSession).await, Err(ErrorCode::AuthFailed));
        thief.is_closed().await;
        holder.is_served().await;
    }
    // The holder itself, with another connection: as soon as it has said who it is.
    let (mut second, _) = holder.resume(place.address).await;
    holder.is_served().await;
    assert_eq!(second.call(auth("holder")).await, Ok(Response::Empty));
    second.is_served().await;
    holder.is_closed().await;
    assert_eq!(second.stat(&ephemeral).await.ephemeral_owner, second.session);
}

#[tokio::test]
async fn who_sends_everything_at_once_is_served_as_well() {
    let place = Place::ours("once", identity).await;
    let mut holder = authenticated(&place, "holder").await;
    let ephemeral = holder.create(&place.path("e"), CreateMode::Ephemeral).await;
    let mut second = Client::dial(place.address).await;
    let request = connect_request(10_000, holder.session, holder.password.clone());
    second.connect(&request).await.unwrap();
    second.send(&auth("holder")).await;
    let asked = second.send(&exists(&ephemeral, false)).await;
    for (op, expected) in [(OpCode::Auth, AUTH_XID), (OpCode::Exists, asked)] {
        match second.message(op).await {
            Message::Reply { xid, result, .. } => assert_eq!((xid, result.is_ok()), (expected, true)),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn who_may_resume_a_session_is_known_behind_a_restart_and_forgotten_with_the_session() {
    let mut place = Place::ours("kept", identity).await;
    let mut holder = authenticated(&place, "one").await;
    holder.call(auth("two")).await.unwrap();
    let ephemeral = holder.create(&place.path("e"), CreateMode::Ephemeral).await;
    for _ in 0..2 {
        place.restart().await;
        for attempt in [&[][..], &["one"], &["two"]] {
            let (mut thief, _) = thief(&place, &ephemeral).await;
            for user in attempt {
                assert_eq!(thief.call(auth(user)).await, Ok(Response::Empty));
            }
            assert_eq!(thief.call(Request::CloseSession).await, Err(ErrorCode::AuthFailed), "{attempt:?}");
        }
    }
    let (mut second, _) = holder.resume(place.address).await;
    for user in ["two", "one"] {
        assert_eq!(second.call(auth(user)).await, Ok(Response::Empty));
    }
    let mine = second.call(Request::GetEphemerals(PathRequest { path: "/".to_owned() })).await;
    let Ok(Response::Strings(mine)) = mine else { panic!("{mine:?}") };
    assert_eq!(mine.strings, [ephemeral], "what the server keeps there is its own");
    let mut witness = place.client().await;
    let owners = "/zookeeper/session-owners";
    assert_eq!(witness.call(crate::wire::children(owners, false)).await, Err(ErrorCode::NoAuth));
    assert_eq!(witness.stat("/zookeeper").await.num_children, 3);
    second.close().await;
    let count = witness.call(Request::GetAllChildrenNumber(PathRequest { path: "/zookeeper".into() })).await;
    assert_eq!(count, Ok(Response::Number(3)), "config, quota, and no owner of a session");
}

#[tokio::test]
async fn a_session_whose_creator_has_proven_nothing_is_resumed_by_its_password() {
    let place = Place::ours("nobody", identity).await;
    let mut holder = place.client().await;
    let ephemeral = holder.create(&place.path("e"), CreateMode::Ephemeral).await;
    let (mut second, _) = holder.resume(place.address).await;
    assert_eq!(second.stat(&ephemeral).await.ephemeral_owner, holder.session);
}
