//! TLS: who is served on which port, and who a certificate makes of a client.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use zab::config::{ClientAuth, TlsSettings};
use zab::{Server, ServerConfig};
use zk_wire::acl::{Acl, Id, perms};
use zk_wire::codes::{CreateMode, ErrorCode};
use zk_wire::ids::SessionId;
use zk_wire::reply::Response;
use zk_wire::request::{CreateRequest, Request};

use crate::wire::{Client, connect_request, get};

/// An authority.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
}

/// What it has signed.
struct Signed {
    key: KeyPair,
    certificate: rcgen::Certificate,
}

impl Authority {
    fn new(name: &str) -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Authority { issuer: Issuer::new(params, key), certificate }
    }

    fn sign(&self, name: &str, purpose: ExtendedKeyUsagePurpose) -> Signed {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Acme, Inc.");
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![purpose];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Signed { key, certificate }
    }

    fn server(&self, name: &str) -> Signed {
        self.sign(name, ExtendedKeyUsagePurpose::ServerAuth)
    }

    fn client(&self, name: &str) -> Signed {
        self.sign(name, ExtendedKeyUsagePurpose::ClientAuth)
    }
}

impl Signed {
    fn write(&self, path: &Path) {
        std::fs::write(path, self.key.serialize_pem() + &self.certificate.pem()).unwrap();
    }
}

/// A server with a secure port and its authority.
struct Secure {
    authority: Authority,
    server: Server,
    dir: tempfile::TempDir,
}

impl Secure {
    async fn start(client_auth: ClientAuth, configure: impl FnOnce(&mut ServerConfig)) -> Secure {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new("authority");
        authority.server("first").write(&dir.path().join("key.pem"));
        std::fs::write(dir.path().join("trust.pem"), authority.certificate.pem()).unwrap();
        let mut config = ServerConfig::local(dir.path().join("data"));
        config.pre_alloc_bytes = 64 << 10;
        config.security.secure_address = Some("127.0.0.1:0".parse().unwrap());
        config.security.rules = Arc::new(zab::access::Rules { x509: true, ..Default::default() });
        let (key, trust) = (dir.path().join("key.pem"), dir.path().join("trust.pem"));
        config.security.tls = Some(TlsSettings::pem(key, trust, client_auth));
        configure(&mut config);
        let server = Server::start(config).await.unwrap();
        Secure { authority, server, dir }
    }

    fn address(&self) -> SocketAddr {
        self.server.secure_client_address().unwrap()
    }

    async fn dial(
        &self,
        who: Option<&Signed>,
    ) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        dial(self.address(), &self.authority, who).await
    }

    /// A client with a session.
    async fn client(&self, who: Option<&Signed>) -> Client {
        let mut client = Client::over(self.dial(who).await.unwrap());
        client.begin_session(10_000).await;
        client
    }

    /// Is such a client refused, at the latest with its first message? With TLS 1.3 it believes the handshake to
    /// be over before the server has seen its certificate.
    async fn refuses(&self, who: Option<&Signed>) -> bool {
        match self.dial(who).await {
            Err(_) => true,
            Ok(stream) => {
                let request = connect_request(10_000, SessionId::NONE, Bytes::from_static(&[0; 16]));
                Client::over(stream).connect(&request).await.is_none()
            }
        }
    }
}

async fn dial(
    address: SocketAddr,
    authority: &Authority,
    who: Option<&Signed>,
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.certificate.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match who {
        None => builder.with_no_client_auth(),
        Some(who) => {
            let key = PrivateKeyDer::try_from(who.key.serialize_der()).unwrap();
            builder.with_client_auth_cert(vec![who.certificate.der().clone()], key).unwrap()
        }
    };
    let socket = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, socket).await
}

async fn identities(client: &mut Client) -> Vec<(String, String)> {
    match client.call(Request::WhoAmI).await {
        Ok(Response::WhoAmI(infos)) => infos.into_iter().map(|info| (info.auth_scheme, info.user)).collect(),
        other => panic!("{other:?}"),
    }
}

fn ids(ids: &[(&str, &str)]) -> Vec<(String, String)> {
    ids.iter().map(|(scheme, id)| ((*scheme).to_owned(), (*id).to_owned())).collect()
}

#[tokio::test]
async fn a_certificate_is_an_identity_that_acls_can_name() {
    let secure = Secure::start(ClientAuth::Need, |_| {}).await;
    let (bob, eve) = (secure.authority.client("bob"), secure.authority.client("eve"));
    let (mut bob, mut eve) = (secure.client(Some(&bob)).await, secure.client(Some(&eve)).await);
    let name = "CN=bob,O=Acme\\, Inc.";
    assert_eq!(identities(&mut bob).await, ids(&[("ip", "127.0.0.1"), ("x509", name)]));
    let acl = vec![Acl { perms: perms::ALL, id: Id { scheme: "auth".to_owned(), id: String::new() } }];
    let request = CreateRequest { path: "/a".to_owned(), data: None, acl, mode: CreateMode::Persistent };
    bob.call(Request::Create(request)).await.unwrap();
    assert_eq!(eve.call(get("/a", false)).await, Err(ErrorCode::NoAuth));
    assert!(bob.call(get("/a", false)).await.is_ok());
    // Long messages cross many records.
    let data = vec![7; 900_000];
    bob.call(crate::wire::set("/a", &data, -1)).await.unwrap();
    assert_eq!(bob.data("/a").await, Some(data.into()));
}

/// What a socket does not take at once waits within TLS.
#[tokio::test]
async fn an_answer_that_is_read_late_arrives_whole() {
    let secure = Secure::start(ClientAuth::None, |_| {}).await;
    let mut client = secure.client(None).await;
    let data = vec![7; 1_000_000];
    client.call(crate::wire::create("/a", &data, CreateMode::Persistent)).await.unwrap();
    for round in 0..3 {
        for _ in 0..4 {
            client.send(&get("/a", false)).await;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        for _ in 0..4 {
            let frame = client.frame().await.expect("an answer");
            assert!(frame.len() > data.len(), "{round}");
        }
    }
}

#[tokio::test]
async fn a_certificate_may_be_super() {
    let rules = zab::access::Rules {
        x509: true,
        x509_super_user: Some("CN=root,O=Acme\\, Inc.".to_owned()),
        ..Default::default()
    };
    let secure = Secure::start(ClientAuth::Need, |config| config.security.rules = Arc::new(rules)).await;
    let root = secure.authority.client("root");
    let mut root = secure.client(Some(&root)).await;
    assert_eq!(identities(&mut root).await[1].0, "super");
}

#[tokio::test]
async fn who_shows_no_certificate_that_is_trusted_is_not_served() {
    let secure = Secure::start(ClientAuth::Need, |_| {}).await;
    let stranger = Authority::new("stranger").client("bob");
    let wrong_purpose = secure.authority.server("bob");
    assert!(secure.refuses(None).await);
    assert!(secure.refuses(Some(&stranger)).await);
    assert!(secure.refuses(Some(&wrong_purpose)).await);
    let mut plain = Client::dial(secure.address()).await;
    plain.send_frame(&[0; 44]).await;
    // An alert of TLS at most.
    assert!(plain.rest().await.len() < 16);
    let good = secure.authority.client("good");
    assert!(!secure.refuses(Some(&good)).await);
}

#[tokio::test]
async fn a_certificate_that_is_only_wanted_may_be_missing_but_not_wrong() {
    let secure = Secure::start(ClientAuth::Want, |_| {}).await;
    assert_eq!(identities(&mut secure.client(None).await).await, ids(&[("ip", "127.0.0.1")]));
    let bob = secure.authority.client("bob");
    assert_eq!(identities(&mut secure.client(Some(&bob)).await).await[1].0, "x509");
    let stranger = Authority::new("stranger").client("bob");
    assert!(secure.refuses(Some(&stranger)).await);
}

#[tokio::test]
async fn nobody_is_asked_for_a_certificate_if_none_is_wanted() {
    let secure = Secure::start(ClientAuth::None, |config| {
        if let Some(tls) = &mut config.security.tls {
            tls.trust_store = None;
        }
    })
    .await;
    let stranger = Authority::new("stranger").client("bob");
    for who in [None, Some(&stranger)] {
        assert_eq!(identities(&mut secure.client(who).await).await, ids(&[("ip", "127.0.0.1")]));
    }
}

/// As `openssl req -x509` makes them: an authority that is a client.
#[tokio::test]
async fn a_certificate_in_the_trust_store_is_trusted_whatever_it_is_for() {
    let alone = Authority::new("alone");
    let secure = Secure::start(ClientAuth::Need, |config| {
        if let Some(trust) = config.security.tls.as_mut().and_then(|tls| tls.trust_store.as_mut()) {
            std::fs::write(&trust.location, alone.certificate.pem()).unwrap();
        }
    })
    .await;
    let Authority { issuer, certificate } = alone;
    let key = KeyPair::from_pem(&issuer.key().serialize_pem()).unwrap();
    let who = Signed { key, certificate };
    assert_eq!(identities(&mut secure.client(Some(&who)).await).await[1].1, "CN=alone");
}

#[tokio::test]
async fn one_port_may_speak_both() {
    let secure = Secure::start(ClientAuth::Need, |config| config.security.port_unification = true).await;
    let address = secure.server.client_address();
    let bob = secure.authority.client("bob");
    let stream = dial(address, &secure.authority, Some(&bob)).await.unwrap();
    let mut client = Client::over(stream);
    client.begin_session(10_000).await;
    assert_eq!(identities(&mut client).await[1].0, "x509");
    let mut plain = Client::with_session(address, 10_000).await;
    assert_eq!(identities(&mut plain).await, ids(&[("ip", "127.0.0.1")]));
    let mut word = Client::dial(address).await;
    word.send_bytes(b"srvr").await;
    assert!(word.rest().await.starts_with(b"Zookeeper version"));
}

#[tokio::test]
async fn without_a_plain_port_there_is_only_the_secure_one() {
    let secure = Secure::start(ClientAuth::None, |config| config.security.plain_port = false).await;
    assert_eq!(secure.server.client_address(), secure.address());
    secure.client(None).await.is_served().await;
}

#[tokio::test]
async fn certificates_are_swapped_while_running() {
    let secure = Secure::start(ClientAuth::Need, |_| {}).await;
    let bob = secure.authority.client("bob");
    let mut before = secure.client(Some(&bob)).await;
    let shown = |stream: &tokio_rustls::client::TlsStream<TcpStream>| -> CertificateDer<'static> {
        stream.get_ref().1.peer_certificates().unwrap()[0].clone()
    };
    let second = secure.authority.server("second");
    // Half of a file first: the old key stays.
    let key = secure.dir.path().join("key.pem");
    std::fs::write(&key, "-----BEGIN PRIVATE KEY-----\n").unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_ne!(&shown(&secure.dial(Some(&bob)).await.unwrap()), second.certificate.der());
    second.write(&key);
    let mut swapped = false;
    for _ in 0..300 {
        swapped = &shown(&secure.dial(Some(&bob)).await.unwrap()) == second.certificate.der();
        if swapped {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(swapped, "the new certificate is shown");
    before.is_served().await;
    // And whom the new trust store does not know is not served any more.
    let other = Authority::new("other");
    std::fs::write(secure.dir.path().join("trust.pem"), other.certificate.pem()).unwrap();
    let mut refused = false;
    for _ in 0..300 {
        refused = secure.refuses(Some(&bob)).await;
        if refused {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(refused, "the old authority is forgotten");
    let alice = other.client("alice");
    secure.client(Some(&alice)).await.is_served().await;
}

#[tokio::test]
async fn who_does_not_shake_hands_holds_up_nobody_and_is_closed() {
    let secure = Secure::start(ClientAuth::None, |config| {
        if let Some(tls) = &mut config.security.tls {
            tls.handshake_limit = 2;
            tls.handshake_timeout = Duration::from_millis(500);
        }
    })
    .await;
    let mut silent = Client::dial(secure.address()).await;
    // One place is left.
    secure.client(None).await.is_served().await;
    let mut hesitant = Client::dial(secure.address()).await;
    hesitant.send_bytes(&[22, 3, 1, 0, 200, 1]).await;
    silent.is_closed().await;
    hesitant.is_closed().await;
    secure.client(None).await.is_served().await;
}

#[tokio::test]
async fn too_many_handshakes_are_refused() {
    let secure = Secure::start(ClientAuth::None, |config| {
        if let Some(tls) = &mut config.security.tls {
            tls.handshake_limit = 2;
            tls.handshake_timeout = Duration::from_secs(60);
        }
    })
    .await;
    let silent = [Client::dial(secure.address()).await, Client::dial(secure.address()).await];
    let mut third = Client::dial(secure.address()).await;
    third.is_closed().await;
    drop(silent);
    for _ in 0..300 {
        if secure.dial(None).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("places are given back");
}
