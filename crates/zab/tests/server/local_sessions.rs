//! Sessions that are known to their server only, until they create an ephemeral.

use zab::ServerConfig;
use zk_wire::codes::{CreateMode, ErrorCode};
use zk_wire::connect::ConnectResponse;
use zk_wire::multi::{MultiResult, MultiResults, WriteOp};
use zk_wire::reply::Response;
use zk_wire::request::Request;

use crate::place::{Place, short_ticks};
use crate::wire::{Client, connect_request, create, create_request, exists};

fn local(config: &mut ServerConfig) {
    config.sessions.local = true;
}

fn upgrading(config: &mut ServerConfig) {
    local(config);
    config.sessions.upgrading = true;
}

async fn resume(place: &Place, client: &Client) -> ConnectResponse {
    let mut other = Client::dial(place.address).await;
    other.connect(&connect_request(10_000, client.session, client.password.clone())).await.unwrap()
}

#[tokio::test]
async fn a_local_session_costs_no_transaction() {
    let place = Place::ours("free", local).await;
    let mut client = place.client().await;
    let path = client.create(&place.path("a"), CreateMode::Persistent).await;
    let before = client.stat(&path).await.czxid;
    for _ in 0..3 {
        place.client().await.close().await;
    }
    let path = client.create(&place.path("b"), CreateMode::Persistent).await;
    let after = client.stat(&path).await.czxid;
    assert_eq!(after.0, before.0 + 1);
}

#[tokio::test]
async fn a_local_session_owns_no_ephemeral() {
    let place = Place::ours("none", local).await;
    let mut client = place.client().await;
    for mode in [CreateMode::Ephemeral, CreateMode::EphemeralSequential] {
        let refused = client.call(create(&place.path("e"), b"", mode)).await;
        assert_eq!(refused, Err(ErrorCode::EphemeralOnLocalSession));
    }
    let element = |name: &str, mode| WriteOp::Create(create_request(&place.path(name), b"", mode));
    let multi = vec![element("p", CreateMode::Persistent), element("e", CreateMode::Ephemeral)];
    let errors = [ErrorCode::Ok, ErrorCode::EphemeralOnLocalSession].map(MultiResult::Error);
    let refused = Ok(Response::Multi(MultiResults(errors.to_vec())));
    assert_eq!(client.call(Request::Multi(multi)).await, refused);
    assert_eq!(client.names(&place.root).await, Vec::<String>::new());
}

#[tokio::test]
async fn the_first_ephemeral_makes_a_local_session_one_like_all_others() {
    let mut place = Place::ours("upgrade", upgrading).await;
    let (mut first, mut second) = (place.client().await, place.client().await);
    let path = first.create(&place.path("e"), CreateMode::Ephemeral).await;
    let element = WriteOp::Create(create_request(&place.path("m"), b"", CreateMode::Ephemeral));
    second.call(Request::Multi(vec![element])).await.unwrap();
    let third = place.client().await;
    for (client, path) in [(&mut first, &path), (&mut second, &place.path("m"))] {
        assert_eq!(client.stat(path).await.ephemeral_owner, client.session);
    }
    place.restart().await;
    for client in [&first, &second] {
        let (mut resumed, response) = client.resume(place.address).await;
        assert_eq!(response.body.session_id, client.session);
        resumed.is_served().await;
    }
    assert_eq!(resume(&place, &third).await, ConnectResponse::expired(Some(false)), "it was local");
    let (resumed, _) = first.resume(place.address).await;
    resumed.close().await;
    let mut witness = place.client().await;
    assert_eq!(witness.call(exists(&path, false)).await, Err(ErrorCode::NoNode));
}

#[tokio::test]
async fn a_local_session_moves_and_expires_as_others_do() {
    let place = Place::ours("moves", |config| {
        short_ticks(config);
        local(config);
    })
    .await;
    let mut first = Client::with_session(place.address, 60_000).await;
    let (mut second, _) = first.resume(place.address).await;
    first.is_closed().await;
    second.is_served().await;
    let mut short = Client::with_session(place.address, 100).await;
    short.is_closed().await;
    assert_eq!(resume(&place, &short).await, ConnectResponse::expired(Some(false)));
    second.close().await;
    assert_eq!(resume(&place, &first).await, ConnectResponse::expired(Some(false)));
}

#[tokio::test]
async fn the_end_of_a_local_session_is_answered_behind_what_was_asked_before() {
    let place = Place::ours("end", local).await;
    let mut client = place.client().await;
    for name in ["a", "b", "c"] {
        client.send(&create(&place.path(name), b"", CreateMode::Persistent)).await;
    }
    client.send(&Request::CloseSession).await;
    let mut xids = Vec::new();
    while let Some(frame) = client.frame().await {
        xids.push(i32::from_be_bytes(frame[..4].try_into().unwrap()));
    }
    assert_eq!(xids, [1, 2, 3, 4]);
    assert_eq!(place.client().await.names(&place.root).await, ["a", "b", "c"]);
}
