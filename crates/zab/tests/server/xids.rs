//! Which xid a reply carries: clients tell their requests by it, and not all use the reserved ones.

use zk_wire::ids::Zxid;
use zk_wire::request::{AuthPacket, PING_XID, Request, SetWatches};

use crate::place::Place;
use crate::wire::{Client, Message, exists};

async fn xid_of_reply(client: &mut Client, xid: i32, request: Request) -> i32 {
    let mut payload = Vec::new();
    request.encode(xid, &mut payload);
    client.send_frame(&payload).await;
    match client.message(request.op()).await {
        Message::Reply { xid, result: Ok(_), .. } => xid,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_reply_carries_the_xid_of_its_request() {
    let place = Place::new("xids").await;
    let mut client = place.client().await;
    for xid in [5, 5, 1, 0, -5, i32::MAX, i32::MIN] {
        assert_eq!(xid_of_reply(&mut client, xid, exists("/", false)).await, xid);
    }
}

#[tokio::test]
async fn credentials_and_watches_may_come_with_an_ordinary_xid_and_a_ping_is_answered_with_its_own() {
    let place = Place::new("reserved").await;
    let mut client = place.client().await;
    let credentials =
        AuthPacket { kind: 0, scheme: "digest".to_owned(), auth: Some(b"me:secret".to_vec().into()) };
    let watches = SetWatches { relative_zxid: Zxid(1 << 40), data: vec![], exist: vec![], child: vec![] };
    assert_eq!(xid_of_reply(&mut client, 7, Request::Auth(credentials)).await, 7);
    assert_eq!(xid_of_reply(&mut client, 8, Request::SetWatches(watches)).await, 8);
    assert_eq!(xid_of_reply(&mut client, 9, Request::Ping).await, PING_XID);
    assert_eq!(xid_of_reply(&mut client, 10, Request::CloseSession).await, 10);
    client.is_closed().await;
}
