//! Nothing that clients keep secret is in a log, however much of it is written.
#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.
#![allow(dead_code)] // The client is shared with other tests.

#[path = "server/wire.rs"]
mod wire;

use std::io::Write;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tracing_subscriber::fmt::MakeWriter;
use zab::access::Rules;
use zab::access::rules::DigestAlgorithm;
use zab::access::secret::Secret;
use zab::{Server, ServerConfig};
use zk_wire::acl::{Acl, Id, perms};
use zk_wire::codes::{CreateMode, ErrorCode};
use zk_wire::multi::WriteOp;
use zk_wire::request::{AuthPacket, Request, SaslToken, SetAclRequest};

use wire::{Client, create, create_request, get, set};

#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Log;

    fn make_writer(&'a self) -> Log {
        self.clone()
    }
}

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

/// The password or hash that must not be shown is recognised by this.
const HUSH: &str = "hush";

fn auth(scheme: &str, credentials: &str) -> Request {
    let auth = Some(Bytes::from(credentials.to_owned()));
    Request::Auth(AuthPacket { kind: 0, scheme: scheme.to_owned(), auth })
}

/// Waits for the end of the server's answers; whether it closes does not matter here.
async fn send(client: &mut Client, request: Request) {
    client.send(&request).await;
    let _ = client.frame().await;
}

#[tokio::test]
async fn neither_data_nor_credentials_are_in_the_log() {
    let log = Log::default();
    tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(log.clone()).init();
    let dir = tempfile::tempdir().unwrap();
    let mut config = ServerConfig::local(dir.path().to_owned());
    config.security.audit = true;
    let hash = DigestAlgorithm::Sha1.identity("user:hush-password");
    config.security.rules = Arc::new(Rules {
        sasl: true,
        sasl_users: Some([("bob".to_owned(), Secret::new("hush-sasl"))].into()),
        super_digest: Some(Secret::new(hash.clone())),
        ..Rules::default()
    });
    tracing::info!(?config, "what anybody may log");
    let server = Server::start(config.clone()).await.unwrap();
    let address = server.client_address();
    let mut client = Client::with_session(address, 10_000).await;

    client.call(auth("digest", "user:hush-password")).await.unwrap();
    let data = b"hush-data";
    let created = client.call(create("/a", data, CreateMode::Persistent)).await;
    assert!(created.is_ok());
    assert_eq!(client.data("/a").await, Some(Bytes::from_static(data)));
    client.call(set("/a", data, -1)).await.unwrap();
    assert_eq!(client.call(set("/a", data, 99)).await.unwrap_err(), ErrorCode::BadVersion);
    let ops = vec![WriteOp::Create(create_request("/a/b", data, CreateMode::Ephemeral))];
    client.call(Request::Multi(ops)).await.unwrap();
    let id = Id { scheme: "digest".to_owned(), id: hash.clone() };
    let acl = vec![Acl { perms: perms::ALL, id }];
    client
        .call(Request::SetAcl(SetAclRequest { path: "/a".to_owned(), acl: acl.clone(), version: -1 }))
        .await
        .unwrap();
    client
        .call(Request::SetAcl(SetAclRequest { path: "/none".to_owned(), acl, version: -1 }))
        .await
        .unwrap_err();

    // Whoever fails, or makes no sense.
    for request in [auth("nosuch", "hush-nosuch"), auth("hush-scheme", "x"), auth("x509", "hush-x509")] {
        send(&mut Client::with_session(address, 10_000).await, request).await;
    }
    for token in ["", "hush-token", "username=\"hush\",response=hush"] {
        let mut client = Client::with_session(address, 10_000).await;
        send(&mut client, Request::Sasl(SaslToken { token: Some(Bytes::new()) })).await;
        send(&mut client, Request::Sasl(SaslToken { token: Some(token.into()) })).await;
    }
    let mut stranger = Client::with_session(address, 10_000).await;
    assert_eq!(stranger.call(get("/a", false)).await, Err(ErrorCode::NoAuth));
    for frame in
        [&b"hush"[..], b"\0\0\0\x01\0\0\0\x01hush-frame", b"\0\0\0\x01\0\0\0\x64\0\0\0\0\0\0\0\x04hush"]
    {
        let mut client = Client::with_session(address, 10_000).await;
        client.send_frame(frame).await;
        let _ = client.frame().await;
    }
    let password = hex(&client.password);
    client.close().await;
    server.stop().await.unwrap();
    // Recovery reads all of it again.
    Server::start(config).await.unwrap().stop().await.unwrap();

    let text = log.text();
    assert!(text.contains("TRACE") || text.contains("DEBUG"), "the log is whole");
    assert!(
        text.contains("operation=create\tznode=/a\tznode_type=persistent\tresult=success"),
        "audit is on: {text}"
    );
    assert!(text.contains("acl=digest:user:x:cdrwa"), "{text}");
    let shown: Vec<&str> = text.lines().filter(|line| line.contains(HUSH)).collect();
    assert_eq!(shown, Vec::<&str>::new());
    let secret_hash = hash.split(':').nth(1).unwrap();
    assert!(!text.contains(secret_hash) && !text.contains(&password));
    let bytes = format!("{:?}", Bytes::from_static(b"hush").as_ref());
    let list = bytes.trim_matches(['[', ']']);
    assert!(!text.contains(list), "not as numbers either");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
