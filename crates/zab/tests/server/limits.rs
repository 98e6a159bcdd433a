//! Clients that want more than they may have. Each is held back or refused, and nobody else notices.

use bytes::Bytes;
use zk_wire::codes::{AddWatchMode, CreateMode, ErrorCode};
use zk_wire::ids::{SessionId, Zxid};
use zk_wire::reply::Response;
use zk_wire::request::{AddWatchRequest, Request, SetWatches};

use crate::place::Place;
use crate::wire::{Client, Message, connect_request, create, exists, get};

#[tokio::test]
async fn there_are_no_more_connections_than_may_be() {
    let place = Place::ours("connections", |config| config.limits.connections = 3).await;
    // The one that made the root may not have gone yet.
    let mut served = Vec::new();
    while served.len() < 3 {
        let mut client = Client::dial(place.address).await;
        let request = connect_request(10_000, SessionId::NONE, Bytes::from_static(&[0; 16]));
        if client.connect(&request).await.is_some() {
            served.push(client);
        }
    }
    for _ in 0..5 {
        Client::dial(place.address).await.is_closed().await;
    }
    for client in &mut served {
        client.is_served().await;
    }
    drop(served.pop());
    for _ in 0..500 {
        let mut client = Client::dial(place.address).await;
        let request = connect_request(10_000, SessionId::NONE, Bytes::from_static(&[0; 16]));
        if client.connect(&request).await.is_some() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("a place is given back");
}

#[tokio::test]
async fn a_client_that_says_nothing_goes_after_the_time_that_was_set() {
    let limit = std::time::Duration::from_millis(200);
    let place = Place::ours("silent", |config| config.limits.first_message = limit).await;
    let mut bystander = place.client().await;
    Client::dial(place.address).await.is_closed().await;
    bystander.is_served().await;
}

#[tokio::test]
async fn sessions_that_begin_too_fast_are_refused() {
    let place = Place::ours("throttle", |config| {
        config.limits.throttle.tokens = 5;
        config.limits.throttle.fill_time_ms = 3_600_000;
    })
    .await;
    let mut begun = Vec::new();
    let mut refused = 0;
    for _ in 0..8 {
        let mut client = Client::dial(place.address).await;
        let request = connect_request(10_000, SessionId::NONE, Bytes::from_static(&[0; 16]));
        match client.connect(&request).await {
            Some(_) => begun.push(client),
            None => refused += 1,
        }
    }
    // One made the root.
    assert_eq!((begun.len(), refused), (4, 4));
    for client in &mut begun {
        client.is_served().await;
    }
}

#[tokio::test]
async fn a_connection_has_no_more_watches_than_it_may() {
    let place = Place::ours("watches", |config| config.limits.watches_per_connection = 10).await;
    let (mut greedy, mut modest) = (place.client().await, place.client().await);
    for n in 0..10 {
        let watched = greedy.call(exists(&place.path(&n.to_string()), true)).await;
        assert_eq!(watched, Err(ErrorCode::NoNode));
    }
    assert_eq!(greedy.call(exists(&place.path("more"), true)).await, Err(ErrorCode::Throttled));
    assert_eq!(greedy.call(get(&place.root, true)).await, Err(ErrorCode::Throttled));
    let add = AddWatchRequest { path: place.root.clone(), mode: AddWatchMode::Persistent };
    assert_eq!(greedy.call(Request::AddWatch(add)).await, Err(ErrorCode::Throttled));
    assert!(greedy.call(get(&place.root, false)).await.is_ok());
    assert!(modest.call(get(&place.root, true)).await.is_ok());
}

/// It believes that it has them, so an error that nobody looks at is not enough.
#[tokio::test]
async fn a_client_that_cannot_have_its_watches_back_is_closed() {
    let place = Place::ours("back", |config| config.limits.watches = 10).await;
    let mut client = place.client().await;
    let paths = (0..11).map(|n| place.path(&n.to_string())).collect();
    let request = SetWatches { relative_zxid: Zxid(0), data: vec![], exist: paths, child: vec![] };
    assert_eq!(client.call(Request::SetWatches(request)).await, Err(ErrorCode::Throttled));
    client.is_closed().await;
    assert!(
        place
            .client()
            .await
            .call(exists(&place.path("a"), true))
            .await
            .is_err_and(|e| e == ErrorCode::NoNode)
    );
}

#[tokio::test]
async fn requests_beyond_the_limit_wait_and_are_all_answered() {
    let place = Place::ours("outstanding", |config| {
        config.limits.outstanding = 2;
        config.limits.large_request_bytes = 256 << 10;
    })
    .await;
    let mut bystander = place.client().await;
    let mut clients = Vec::new();
    for n in 0..4 {
        let mut client = place.client().await;
        for m in 0..20 {
            let path = place.path(&format!("{n}-{m}"));
            client.send(&create(&path, &vec![7; 100_000], CreateMode::Persistent)).await;
        }
        clients.push(client);
        bystander.is_served().await;
    }
    for client in &mut clients {
        for xid in 1..=20 {
            let message = client.message(zk_wire::codes::OpCode::Create).await;
            assert!(
                matches!(message, Message::Reply { xid: found, result: Ok(Response::Path(_)), .. } if found == xid)
            );
        }
    }
}

/// Its requests are under way as long as it does not read; the others must not wait for that.
#[tokio::test]
async fn a_client_that_does_not_read_takes_no_place_from_others() {
    let place = Place::ours("slow", |config| config.limits.outstanding = 4).await;
    let mut slow = place.client().await;
    let path = place.path("a");
    slow.call(create(&path, &vec![7; 500_000], CreateMode::Persistent)).await.unwrap();
    for _ in 0..100 {
        slow.send(&get(&path, false)).await;
    }
    let mut other = place.client().await;
    for _ in 0..100 {
        assert!(other.call(get(&path, false)).await.is_ok());
    }
}
