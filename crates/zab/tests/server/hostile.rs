//! Bytes that no honest client sends. Whoever sends them is treated as Apache treats him; nobody else
//! notices.

use bytes::Bytes;
use zk_wire::codes::{CreateMode, ErrorCode, OpCode};
use zk_wire::ids::{SessionId, Zxid};
use zk_wire::jute::Jute;
use zk_wire::reply::{ReplyHeader, Response};
use zk_wire::request::{AuthPacket, CheckVersionRequest, Request, RequestHeader};

use crate::place::Place;
use crate::wire::{Client, Message, connect_request, create, get};

/// The header of a request of any operation, and a body.
fn payload(xid: i32, op: i32, body: &[u8]) -> Vec<u8> {
    let mut payload = RequestHeader { xid, op: OpCode(op) }.to_bytes();
    payload.extend_from_slice(body);
    payload
}

async fn header(client: &mut Client) -> ReplyHeader {
    let frame = client.frame().await.expect("a reply");
    assert_eq!(frame.len(), 16, "a header alone");
    zk_wire::jute::Reader::new(&frame).read().unwrap()
}

#[tokio::test]
async fn a_first_message_that_is_none_closes_the_connection() {
    let place = Place::new("first").await;
    let mut bystander = place.client().await;
    let valid = connect_request(10_000, SessionId::NONE, Bytes::from_static(&[0; 16])).to_bytes();
    let messages = [
        vec![],
        vec![0; 4],
        valid[..valid.len() - 2].to_vec(),
        [&valid[..24], &[0xff, 0xff, 0xff, 0xf0][..]].concat(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
    ];
    for message in messages {
        let mut client = Client::dial(place.address).await;
        client.send_frame(&message).await;
        client.is_closed().await;
    }
    bystander.is_served().await;
}

#[tokio::test]
async fn a_length_that_cannot_be_closes_the_connection() {
    let place = Place::new("length").await;
    let mut bystander = place.client().await;
    for length in [-1, i32::MIN, 0x0010_0000, i32::MAX, i32::from_be_bytes(*b"GET ")] {
        let mut stranger = Client::dial(place.address).await;
        stranger.send_bytes(&length.to_be_bytes()).await;
        stranger.is_closed().await;
        let mut client = place.client().await;
        client.send_bytes(&length.to_be_bytes()).await;
        client.is_closed().await;
    }
    bystander.is_served().await;
}

#[tokio::test]
async fn a_message_of_the_greatest_length_is_served() {
    let place = Place::new("long").await;
    let mut client = place.client().await;
    let path = place.path("a");
    let mut overhead = Vec::new();
    create(&path, b"", CreateMode::Persistent).encode(0, &mut overhead);
    let data = vec![7; zk_wire::jute::DEFAULT_MAX_BUFFER - overhead.len()];
    client.call(create(&path, &data, CreateMode::Persistent)).await.unwrap();
    assert_eq!(client.data(&path).await, Some(data.into()));
}

#[tokio::test]
async fn a_message_that_is_one_byte_longer_is_not() {
    let place = Place::new("longer").await;
    let mut stranger = Client::dial(place.address).await;
    let mut first = connect_request(10_000, SessionId::NONE, Bytes::from_static(&[0; 16])).to_bytes();
    first.resize(zk_wire::jute::DEFAULT_MAX_BUFFER + 1, 0);
    stranger.send_frame(&first).await;
    stranger.is_closed().await;
    let mut client = place.client().await;
    let mut ping = payload(-2, OpCode::Ping.0, b"");
    ping.resize(zk_wire::jute::DEFAULT_MAX_BUFFER + 1, 0);
    client.send_frame(&ping).await;
    client.is_closed().await;
}

#[tokio::test]
async fn a_client_that_leaves_within_a_message_leaves_no_trace() {
    let place = Place::new("torn").await;
    let mut bystander = place.client().await;
    let mut frame = Vec::new();
    create(&place.path("a"), b"x", CreateMode::Persistent).encode(1, &mut frame);
    for cut in [0, 3, 8, frame.len() - 1] {
        let mut client = place.client().await;
        let length = u32::try_from(frame.len()).unwrap().to_be_bytes();
        client.send_bytes(&[&length[..], &frame[..cut]].concat()).await;
        drop(client);
    }
    assert_eq!(bystander.names(&place.root).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_request_without_a_whole_header_closes_the_connection() {
    let place = Place::new("header").await;
    let mut bystander = place.client().await;
    for bytes in [&[][..], &[0; 7]] {
        let mut client = place.client().await;
        client.send_frame(bytes).await;
        client.is_closed().await;
    }
    bystander.is_served().await;
}

#[tokio::test]
async fn an_unknown_operation_is_unimplemented_and_closes_the_connection() {
    let place = Place::new("op").await;
    let mut bystander = place.client().await;
    for op in [10, 23, 99, 108, -12, i32::MAX, i32::MIN] {
        let mut client = place.client().await;
        client.send_frame(&payload(5, op, b"")).await;
        let expected = ReplyHeader { xid: 5, zxid: Zxid(-1), err: ErrorCode::Unimplemented };
        assert_eq!(header(&mut client).await, expected, "{op}");
        client.is_closed().await;
    }
    bystander.is_served().await;
}

/// ZOOKEEPER-2623.
#[tokio::test]
async fn a_check_outside_a_multi_is_unimplemented_and_closes_the_connection() {
    let place = Place::new("check").await;
    let mut bystander = place.client().await;
    let mut client = place.client().await;
    let check = Request::Check(CheckVersionRequest { path: place.root.clone(), version: 0 });
    let xid = client.send(&check).await;
    let expected = ReplyHeader { xid, zxid: Zxid(-1), err: ErrorCode::Unimplemented };
    assert_eq!(header(&mut client).await, expected);
    client.is_closed().await;
    bystander.is_served().await;
}

/// The bodies that make no sense for any operation that has one: nothing, and a string of negative length.
const SENSELESS: [&[u8]; 3] = [b"", &[0xff, 0xff, 0xff, 0xf0], &[0x7f, 0xff, 0xff, 0xff, 1, 2]];

#[tokio::test]
async fn a_body_that_makes_no_sense_is_a_marshalling_error_and_the_connection_goes_on() {
    let place = Place::new("body").await;
    let mut client = place.client().await;
    let with_body = [
        OpCode::Create,
        OpCode::Delete,
        OpCode::Exists,
        OpCode::GetData,
        OpCode::SetData,
        OpCode::GetAcl,
        OpCode::SetAcl,
        OpCode::GetChildren,
        OpCode::GetChildren2,
        OpCode::Multi,
        OpCode::Create2,
        OpCode::CheckWatches,
        OpCode::RemoveWatches,
        OpCode::CreateContainer,
        OpCode::CreateTtl,
        OpCode::MultiRead,
        OpCode::SetWatches,
        OpCode::SetWatches2,
        OpCode::AddWatch,
    ];
    for op in with_body {
        for body in SENSELESS {
            client.send_frame(&payload(9, op.0, body)).await;
            let reply = header(&mut client).await;
            assert_eq!((reply.xid, reply.err), (9, ErrorCode::MarshallingError), "{op} {body:?}");
        }
    }
    client.is_served().await;
}

#[tokio::test]
async fn a_multi_of_what_is_no_write_is_a_marshalling_error() {
    let place = Place::new("marshal").await;
    let mut client = place.client().await;
    for op in [OpCode::GetData, OpCode::Ping, OpCode::Multi, OpCode(77)] {
        let mut body = zk_wire::multi::MultiHeader { op, done: false, err: -1 }.to_bytes();
        body.extend_from_slice(&crate::wire::watched(&place.root, false).to_bytes());
        client.send_frame(&payload(9, OpCode::Multi.0, &body)).await;
        let reply = header(&mut client).await;
        assert_eq!((reply.xid, reply.err), (9, ErrorCode::MarshallingError), "{op}");
    }
    client.is_served().await;
}

/// On its own it is a bad argument; in a multi even the ops in front of it are not looked at.
#[tokio::test]
async fn a_multi_with_a_create_mode_that_does_not_exist_is_a_marshalling_error() {
    use zk_wire::multi::WriteOp;
    let place = Place::new("flags").await;
    let mut client = place.client().await;
    let request = |mode| crate::wire::create_request(&place.path("a"), b"", mode);
    for op in [WriteOp::Create, WriteOp::Create2, WriteOp::CreateContainer] {
        for mode in [7, -1] {
            let ops = vec![WriteOp::Create(request(CreateMode::Persistent)), op(request(CreateMode(mode)))];
            assert_eq!(client.call(Request::Multi(ops)).await, Err(ErrorCode::MarshallingError), "{mode}");
        }
    }
    assert_eq!(client.names(&place.root).await, Vec::<String>::new());
}

#[tokio::test]
async fn replies_keep_the_order_of_the_requests_also_where_one_makes_no_sense() {
    let place = Place::new("kept").await;
    let mut client = place.client().await;
    let mut expected = Vec::new();
    for n in 0..20 {
        expected.push(client.send(&create(&place.path(&n.to_string()), b"", CreateMode::Persistent)).await);
        client.send_frame(&payload(1_000 + n, OpCode::GetData.0, b"")).await;
        expected.push(1_000 + n);
        client.send_frame(&payload(2_000 + n, OpCode::SetData.0, b"")).await;
        expected.push(2_000 + n);
    }
    let mut xids = Vec::new();
    for _ in &expected {
        match client.message(OpCode::Create).await {
            Message::Reply { xid, .. } => xids.push(xid),
            event => panic!("{event:?}"),
        }
    }
    assert_eq!(xids, expected);
}

#[tokio::test]
async fn credentials_that_cannot_be_are_refused_and_close_the_connection() {
    let place = Place::new("auth").await;
    let mut bystander = place.client().await;
    let mut client = place.client().await;
    let packet = AuthPacket { kind: 0, scheme: "nonsense".to_owned(), auth: Some(Bytes::from_static(b"x")) };
    assert_eq!(client.call(Request::Auth(packet)).await, Err(ErrorCode::AuthFailed));
    client.is_closed().await;
    let mut client = place.client().await;
    client.send_frame(&payload(-4, OpCode::Auth.0, b"")).await;
    client.is_closed().await;
    bystander.is_served().await;
}

#[tokio::test]
async fn a_session_outlives_the_connection_that_broke_the_protocol() {
    let place = Place::new("outlives").await;
    let mut client = place.client().await;
    let path = client.create(&place.path("e"), CreateMode::Ephemeral).await;
    client.send_bytes(&[0xff; 4]).await;
    client.is_closed().await;
    let (mut again, _) = client.resume(place.address).await;
    assert_eq!(again.stat(&path).await.ephemeral_owner, client.session);
}

/// A client that asks and never reads must not hold up the others.
#[tokio::test]
async fn a_client_that_does_not_read_harms_nobody() {
    let place = Place::ours("deaf", |_| {}).await;
    let mut bystander = place.client().await;
    let path = place.path("big");
    bystander.call(create(&path, &[7; 1 << 19], CreateMode::Persistent)).await.unwrap();
    let mut deaf = place.client().await;
    for _ in 0..100 {
        deaf.send(&get(&path, false)).await;
    }
    for _ in 0..50 {
        bystander.is_served().await;
    }
    for _ in 0..100 {
        let Message::Reply { result: Ok(Response::Data(read)), .. } = deaf.message(OpCode::GetData).await
        else {
            panic!()
        };
        assert_eq!(read.stat.data_length, 1 << 19);
    }
}

/// Every `auth` entry becomes all identities of the connection, so a small request can ask for a transaction
/// that no log would hold (ZOOKEEPER-3496).
#[tokio::test]
async fn a_request_that_would_grow_beyond_the_log_is_refused_and_the_server_lives() {
    let place = Place::ours("grow", |_| {}).await;
    let mut bystander = place.client().await;
    let mut client = place.client().await;
    for n in 0..100 {
        let packet =
            AuthPacket { kind: 0, scheme: "digest".to_owned(), auth: Some(format!("u{n}:x").into()) };
        client.call(Request::Auth(packet)).await.unwrap();
    }
    let auth = |perms| zk_wire::acl::Acl {
        perms,
        id: zk_wire::acl::Id { scheme: "auth".to_owned(), id: String::new() },
    };
    let single = zk_wire::request::CreateRequest {
        acl: (0..20_000).map(auth).collect(),
        ..crate::wire::create_request(&place.path("a"), b"", CreateMode::Persistent)
    };
    assert_eq!(client.call(Request::Create(single)).await, Err(ErrorCode::InvalidAcl));
    let element = |n: usize| {
        zk_wire::multi::WriteOp::Create(zk_wire::request::CreateRequest {
            acl: vec![auth(31)],
            ..crate::wire::create_request(&place.path(&n.to_string()), b"", CreateMode::Persistent)
        })
    };
    let long = zk_wire::multi::WriteOp::Create(crate::wire::create_request(
        &place.path("long"),
        &[7; 500 << 10],
        CreateMode::Persistent,
    ));
    // Too long with all that the ACLs become; too long only together with the data.
    for multi in
        [(0..8_000).map(element).collect(), [long].into_iter().chain((0..400).map(element)).collect()]
    {
        assert_eq!(client.call(Request::Multi(multi)).await, Err(ErrorCode::BadArguments));
    }
    assert_eq!(bystander.names(&place.root).await, Vec::<String>::new());
    client.create(&place.path("after"), CreateMode::PersistentSequential).await;
    assert_eq!(bystander.names(&place.root).await, ["after0000000000"]);
}
