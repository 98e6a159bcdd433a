//! Who a session's owner is to a server, and who the server is to it: digest, SASL, TLS; against ours.
#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

mod fake;

use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use tokio::io::AsyncWriteExt;
use zab::access::Rules;
use zab::access::secret::Secret;
use zab::config::{ClientAuth, Reattach, TlsSettings};
use zab::{Server, ServerConfig};
use zk_client::{
    AttachError, Auth, Certificate, Connector, Credentials, Events, Lost, Opening, Options, Permit,
    RequestError, SaslUser, Session, Tls, WatchSet, attach,
};
use zk_wire::acl::{Acl, Id, perms};
use zk_wire::codes::{CreateMode, ErrorCode, OpCode};
use zk_wire::digest_md5::directives;
use zk_wire::reply::Response;
use zk_wire::request::{Request, SaslToken};

use fake::{Fake, ID, NEW, read_frame, welcome};

/// An authority, and what it has signed for a name, as PEM.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

struct Signed {
    chain: String,
    key: String,
}

impl Authority {
    fn new(name: &str) -> Authority {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { issuer: Issuer::new(params, key), pem }
    }

    fn sign(&self, name: &str, purpose: ExtendedKeyUsagePurpose) -> Signed {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![purpose];
        let key = KeyPair::generate().unwrap();
        let chain = params.signed_by(&key, &self.issuer).unwrap().pem();
        Signed { chain, key: key.serialize_pem() }
    }

    fn client(&self, name: &str) -> Signed {
        self.sign(name, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn tls(&self, who: Option<&Signed>, server_name: Option<&str>) -> Tls {
        let certificate = who.map(|who| Certificate { chain: who.chain.as_bytes(), key: who.key.as_bytes() });
        Tls::from_pem(self.pem.as_bytes(), certificate, server_name).unwrap()
    }
}

/// A server that knows bob by his password and whomever the authority has signed. Its certificate is for "zoo".
struct Place {
    server: Server,
    authority: Authority,
    _dir: tempfile::TempDir,
}

impl Place {
    async fn new(configure: impl FnOnce(&mut ServerConfig)) -> Place {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new("authority");
        let own = authority.sign("zoo", ExtendedKeyUsagePurpose::ServerAuth);
        std::fs::write(dir.path().join("key.pem"), own.key + &own.chain).unwrap();
        std::fs::write(dir.path().join("trust.pem"), &authority.pem).unwrap();
        let mut config = ServerConfig::local(dir.path().join("data"));
        config.pre_alloc_bytes = 64 << 10;
        config.security.secure_address = Some("127.0.0.1:0".parse().unwrap());
        config.security.rules = Arc::new(Rules {
            x509: true,
            sasl: true,
            sasl_users: Some([("bob".to_owned(), Secret::new("bob\"secret"))].into()),
            ..Rules::default()
        });
        let (key, trust) = (dir.path().join("key.pem"), dir.path().join("trust.pem"));
        config.security.tls = Some(TlsSettings::pem(key, trust, ClientAuth::Want));
        configure(&mut config);
        let server = Server::start(config).await.unwrap();
        Place { server, authority, _dir: dir }
    }

    fn connector(&self, tls: Option<Tls>) -> Connector {
        let to = match tls {
            Some(_) => self.server.secure_client_address().unwrap(),
            None => self.server.client_address(),
        };
        let mut connector = Connector::new(to.to_string().parse().unwrap(), Duration::from_secs(5));
        connector.secure(tls);
        connector
    }

    async fn attach(
        &self,
        tls: Option<Tls>,
        opening: Opening,
        options: Options,
    ) -> Result<(Session, Events), AttachError> {
        let stream = self.connector(tls).connect().await.unwrap();
        attach(stream, Permit::grant(), opening, options).await
    }
}

fn begin() -> Opening {
    Opening::New { timeout: Duration::from_secs(8) }
}

fn resume(credentials: &Credentials) -> Opening {
    Opening::Resume(credentials.clone(), WatchSet::default())
}

fn sasl(password: &str) -> Options {
    let user = SaslUser { name: "bob".to_owned(), password: password.to_owned() };
    Options { sasl: Some(user), ..Options::default() }
}

async fn identities(session: &Session) -> Vec<(String, String)> {
    match session.request(Request::WhoAmI).await.unwrap() {
        Response::WhoAmI(infos) => infos.into_iter().map(|info| (info.auth_scheme, info.user)).collect(),
        other => panic!("{other:?}"),
    }
}

fn ids(ids: &[(&str, &str)]) -> Vec<(String, String)> {
    ids.iter().map(|(scheme, id)| ((*scheme).to_owned(), (*id).to_owned())).collect()
}

#[tokio::test]
async fn a_sasl_user_is_proven_before_anything_is_asked() {
    let place = Place::new(|_| {}).await;
    let (bob, _events) = place.attach(None, begin(), sasl("bob\"secret")).await.unwrap();
    let mine = vec![Acl { perms: perms::ALL, id: Id { scheme: "sasl".to_owned(), id: "bob".to_owned() } }];
    bob.create("/mine", "x", mine, CreateMode::Persistent).await.unwrap();
    assert!(bob.get("/mine").await.unwrap().is_some());
    let (eve, _events) = place.attach(None, begin(), Options::default()).await.unwrap();
    assert_eq!(eve.get("/mine").await, Err(RequestError::Refused(ErrorCode::NoAuth)));
    let refused = place.attach(None, begin(), sasl("wrong")).await.unwrap_err();
    assert!(matches!(&refused, AttachError::AuthFailed { scheme } if scheme == "sasl"), "{refused:?}");
    assert!(!format!("{refused:?}{refused}").contains("wrong"));
}

#[tokio::test]
async fn a_server_that_asks_for_nobody_proves_nobody() {
    let place = Place::new(|config| config.security.rules = Arc::default()).await;
    let refused = place.attach(None, begin(), sasl("bob\"secret")).await.unwrap_err();
    assert!(matches!(refused, AttachError::Sasl(_)), "{refused:?}");
}

/// Whoever stands between us and the server can ask for a proof, too; but he has none.
#[tokio::test]
async fn a_server_that_does_not_know_the_password_gets_no_session() {
    let (client, stream) = tokio::io::duplex(1 << 16);
    let mut server = Fake(stream);
    server.0.write_all(&welcome(30_000, ID)).await.unwrap();
    let token = |text: &str| Response::Token(SaslToken { token: Some(text.to_owned().into()) });
    let challenge = "realm=\"zk-sasl-md5\",nonce=\"N\",qop=\"auth\",charset=utf-8,algorithm=md5-sess";
    let answering = async {
        read_frame(&mut server.0).await;
        server.answer(OpCode::Sasl, ErrorCode::Ok, &token(challenge)).await;
        let rspauth = format!("rspauth={}", "0".repeat(32));
        server.answer(OpCode::Sasl, ErrorCode::Ok, &token(&rspauth)).await
    };
    let (attached, asked) = tokio::join!(attach(client, Permit::grant(), NEW, sasl("pw")), answering);
    assert!(matches!(attached, Err(AttachError::Sasl(_))), "{attached:?}");
    let Request::Sasl(SaslToken { token: Some(response) }) = asked else { panic!("{asked:?}") };
    let said = directives(std::str::from_utf8(&response).unwrap()).unwrap();
    assert_eq!((said["username"].as_str(), said["nonce"].as_str()), ("bob", "N"));
}

#[tokio::test]
async fn a_server_that_closes_during_the_exchange_is_a_lost_connection() {
    let (client, mut server) = tokio::io::duplex(1 << 16);
    server.write_all(&welcome(30_000, ID)).await.unwrap();
    let answering = async {
        read_frame(&mut server).await;
        drop(server);
    };
    let (attached, ()) = tokio::join!(attach(client, Permit::grant(), NEW, sasl("pw")), answering);
    assert!(matches!(attached, Err(AttachError::Lost(Lost::Closed))), "{attached:?}");
}

#[tokio::test]
async fn a_certificate_says_who_we_are_and_who_the_server_is() {
    let place = Place::new(|_| {}).await;
    let bob = place.authority.client("bob");
    let tls = place.authority.tls(Some(&bob), Some("zoo"));
    let (session, _events) = place.attach(Some(tls), begin(), Options::default()).await.unwrap();
    assert_eq!(identities(&session).await, ids(&[("ip", "127.0.0.1"), ("x509", "CN=bob")]));
    // More than a socket takes at once, both ways.
    let data = vec![7; 900_000];
    session.create("/a", data.clone(), Acl::open(), CreateMode::Persistent).await.unwrap();
    let sets = (0..8).map(|_| session.set("/a", data.clone(), -1));
    futures::future::try_join_all(sets).await.unwrap();
    let gets = futures::future::try_join_all((0..8).map(|_| session.get("/a"))).await.unwrap();
    assert!(gets.iter().all(|got| got.as_ref().is_some_and(|(got, _)| *got == data)));
    // By its address the server's certificate does not know it, and another authority knows nobody.
    let unnamed = place.authority.tls(Some(&bob), None);
    let strange = Authority::new("strange").tls(None, Some("zoo"));
    for (tls, reason) in [(unnamed, "not valid for name"), (strange, "UnknownIssuer")] {
        let error = place.connector(Some(tls)).connect().await.unwrap_err().to_string();
        assert!(error.contains("TLS") && error.contains(reason), "{error}");
    }
}

#[tokio::test]
async fn a_server_without_tls_is_told_as_such_and_in_time() {
    let place = Place::new(|_| {}).await;
    let mut connector =
        Connector::new(place.server.client_address().to_string().parse().unwrap(), Duration::from_secs(2));
    connector.secure(Some(place.authority.tls(None, Some("zoo"))));
    connector.connect().await.unwrap_err();
}

/// `session.reattach=identity` gives a session only to who proves all that its connections have proven.
#[tokio::test]
async fn whoever_resumes_proves_every_identity_first() {
    let place = Place::new(|config| config.sessions.reattach = Reattach::Identity).await;
    let bob = place.authority.client("bob");
    let digest = Auth { scheme: "digest".to_owned(), secret: "bob:pw".into() };
    let all = Options { auth: vec![digest], ..sasl("bob\"secret") };
    let tls = || Some(place.authority.tls(Some(&bob), Some("zoo")));
    let (session, _events) = place.attach(tls(), begin(), all.clone()).await.unwrap();
    let own = vec![Acl { perms: perms::ALL, id: Id { scheme: "auth".to_owned(), id: String::new() } }];
    session.create("/e", "", own, CreateMode::Ephemeral).await.unwrap();
    let credentials = session.credentials();
    drop(session);
    for (tls, options) in
        [(None, all.clone()), (tls(), sasl("bob\"secret")), (tls(), Options { sasl: None, ..all.clone() })]
    {
        let refused = place.attach(tls, resume(&credentials), options).await;
        let session = match refused {
            Err(_) => continue,
            Ok((session, _)) => session,
        };
        assert!(session.exists("/e").await.is_err(), "somebody else has the session");
    }
    let (resumed, _events) = place.attach(tls(), resume(&credentials), all).await.unwrap();
    let stat = resumed.exists("/e").await.unwrap().unwrap();
    assert_eq!(stat.ephemeral_owner, credentials.id);
}

#[test]
fn keys_that_cannot_be_used_are_told_without_being_shown() {
    let authority = Authority::new("authority");
    let (bob, eve) = (authority.client("bob"), authority.client("eve"));
    let tls = |ca: &str, chain: &str, key: &str, name: Option<&str>| {
        let certificate = Certificate { chain: chain.as_bytes(), key: key.as_bytes() };
        Tls::from_pem(ca.as_bytes(), Some(certificate), name).unwrap_err().to_string()
    };
    for (error, reason) in [
        (tls("", &bob.chain, &bob.key, None), "no certificate of an authority"),
        (tls(&authority.pem, "", &bob.key, None), "no certificate of the client"),
        (tls(&authority.pem, &bob.chain, &bob.chain, None), "no private key"),
        (tls(&authority.pem, &bob.chain, &eve.key, None), "do not go together"),
        (tls(&authority.pem, &bob.chain, &bob.key, Some("a b")), "no name of a server"),
    ] {
        assert!(error.contains(reason) && !error.contains("PRIVATE"), "{error}");
    }
}

/// A client that knows neither TLS nor SASL is who we are, by a connection that is passed on; one that does not know
/// which session timeout to ask for is not let in.
#[tokio::test]
async fn another_client_is_let_in_by_a_number_and_is_who_we_are() {
    let place = Place::new(|_| {}).await;
    let bob = place.authority.client("bob");
    let tls = || Some(place.authority.tls(Some(&bob), Some("zoo")));
    let digest = Auth { scheme: "digest".to_owned(), secret: "bob:pw".into() };
    let all = Options { auth: vec![digest], ..sasl("bob\"secret") };
    let number = Duration::from_millis(1_234_567_891);
    let asking = |timeout| Opening::New { timeout };
    for (proofs, expected) in
        [(&all, &["ip", "x509", "sasl", "digest"][..]), (&Options::default(), &["ip", "x509"])]
    {
        let server = place.connector(tls()).connect().await.unwrap();
        let (client, other) = tokio::io::duplex(1 << 16);
        let relayed = zk_client::relay(other, server, number, Duration::from_secs(8), proofs);
        let asked = async {
            let attached = attach(client, Permit::grant(), asking(number), Options::default()).await;
            let (session, _events) = attached.unwrap();
            let credentials = session.credentials();
            assert_eq!(credentials.timeout, Duration::from_secs(8), "not what it asked for");
            assert!(credentials.password.expose().is_empty());
            let mut schemes: Vec<_> =
                identities(&session).await.into_iter().map(|(scheme, _)| scheme).collect();
            schemes.sort_by_key(|scheme| expected.iter().position(|expected| expected == scheme));
            assert_eq!(schemes, expected);
            // More than the way takes at once.
            session.create("/a", vec![7; 300_000], Acl::open(), CreateMode::Persistent).await.unwrap();
            assert_eq!(session.get("/a").await.unwrap().unwrap().0.len(), 300_000);
            session.delete("/a", -1).await.unwrap();
            session.close().await.unwrap();
        };
        let (relayed, ()) = tokio::join!(relayed, asked);
        relayed.unwrap();
    }
    let (session, _events) = place.attach(None, begin(), all.clone()).await.unwrap();
    let stranger = Credentials { timeout: number, ..session.credentials() };
    for opening in [asking(Duration::from_millis(1_234_567_892)), resume(&stranger)] {
        let server = place.connector(tls()).connect().await.unwrap();
        let (client, other) = tokio::io::duplex(1 << 16);
        let relayed = zk_client::relay(other, server, number, Duration::from_secs(8), &all);
        let asked = attach(client, Permit::grant(), opening, Options::default());
        let (relayed, asked) = tokio::join!(relayed, asked);
        assert!(matches!(relayed, Err(AttachError::Lost(Lost::Protocol(_)))), "{relayed:?}");
        assert!(asked.is_err());
    }
    let server = place.connector(tls()).connect().await.unwrap();
    let (client, other) = tokio::io::duplex(1 << 16);
    let wrong = sasl("wrong");
    let relayed = zk_client::relay(other, server, number, Duration::from_secs(8), &wrong);
    let asked = attach(client, Permit::grant(), asking(number), Options::default());
    let (relayed, asked) = tokio::join!(relayed, asked);
    assert!(matches!(relayed, Err(AttachError::AuthFailed { .. })), "{relayed:?}");
    assert!(asked.is_err());
}
