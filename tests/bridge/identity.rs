//! Who the bridge is to ZooKeeper, what it lets others do there, and where it writes.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use zab::ServerConfig;
use zab::access::Rules;
use zab::access::secret::Secret;
use zab::config::{ClientAuth, Reattach, TlsSettings};
use zk_client::Session;
use zk_wire::acl::Acl;
use zk_wire::reply::Response;
use zk_wire::request::{PathRequest, Request};
use zoobridge::config::Config;
use zoobridge::local::RunningBridge;
use zoobridge::session::CredentialStore;

use crate::operators::Files;
use crate::scrape::Scraper;
use crate::sides::Sides;
use crate::wire::Wire;
use crate::world::{DIRECTORY, leaves, service, session, slice, until, within};

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
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

    /// A certificate for a name, and its key.
    fn sign(&self, name: &str, purpose: ExtendedKeyUsagePurpose) -> (String, String) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![purpose];
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    /// A client of this name that this authority has signed.
    fn write_client(&self, dir: &Path, name: &str) {
        let (chain, key) = self.sign(name, ExtendedKeyUsagePurpose::ClientAuth);
        std::fs::write(dir.join("tls.crt"), chain).unwrap();
        std::fs::write(dir.join("tls.key"), key).unwrap();
    }
}

/// A server that wants to know who comes, and a cluster with one Service.
struct Place {
    sides: Sides,
}

impl Place {
    /// The bridge's authority is to be trusted, as far as the server knows at first.
    async fn new(authority: &Authority, reattach: Reattach) -> Place {
        let dir = tempfile::tempdir().unwrap();
        let (chain, key) = authority.sign("zoo", ExtendedKeyUsagePurpose::ServerAuth);
        std::fs::write(dir.path().join("server.pem"), key + &chain).unwrap();
        std::fs::write(dir.path().join("trust.pem"), &authority.pem).unwrap();
        std::fs::write(dir.path().join("ca.crt"), &authority.pem).unwrap();
        let mut config = ServerConfig::local(dir.path().join("data"));
        config.sessions.reattach = reattach;
        config.security.secure_address = Some("127.0.0.1:0".parse().unwrap());
        config.security.rules = Arc::new(Rules {
            x509: true,
            sasl: true,
            sasl_users: Some([("bridge".to_owned(), Secret::new("sasl-secret"))].into()),
            ..Rules::default()
        });
        let (key, trust) = (dir.path().join("server.pem"), dir.path().join("trust.pem"));
        config.security.tls = Some(TlsSettings::pem(key, trust, ClientAuth::Need));
        let sides = Sides::with(config, dir).await;
        service(&sides.client, "orders", &[("curator", "")]).await;
        slice(&sides.client, "orders", &[1]).await;
        Place { sides }
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.sides.dir.path().join(name), text).unwrap();
    }

    /// A configuration whose section `zookeeper` has these keys besides; `DIR` is this place's.
    fn config(&self, connect: &str, more: &str) -> Config {
        let more = more.replace("DIR", &self.sides.dir.path().display().to_string());
        Config::parse(&format!(
            "{{cluster: test, zookeeper: {{connect: {connect}, sessionTimeout: 4s{more}}}, \
             rules: [{{formats: [curator, dubbo3], names: ['*'], addresses: [pod, custom]}}]}}"
        ))
        .unwrap()
    }

    async fn bridge(&self, config: &Config) -> RunningBridge {
        within(RunningBridge::start(config, self.sides.client.clone(), CredentialStore::memory()))
            .await
            .unwrap()
    }
}

/// The ACL of a znode, each entry as `scheme:id`.
async fn acl(eye: &Session, path: &str) -> Vec<String> {
    match eye.request(Request::GetAcl(PathRequest { path: path.to_owned() })).await.unwrap() {
        Response::Acl(read) => {
            read.acl.into_iter().map(|Acl { id, .. }| format!("{}:{}", id.scheme, id.id)).collect()
        }
        other => panic!("{other:?}"),
    }
}

async fn resumes(scraper: &Scraper) -> f64 {
    scraper.scrape().await.value("zoobridge_session_resumes_total")
}

const ALL_FILES: &str = ", digestFile: DIR/digest, saslFile: DIR/sasl, tls: {caFile: DIR/ca.crt, \
                         certFile: DIR/tls.crt, keyFile: DIR/tls.key, serverName: zoo}, \
                         acls: {leaves: ['auth::cdrwa', 'world:anyone:r']}";

/// Everything is renewed while the bridge runs: its certificate, by another authority, and the server's trust with it;
/// and it is known by one more name. The server gives a session only to who proves all that was proven before.
#[tokio::test]
async fn what_changes_in_the_files_counts_from_the_next_connection_on_and_no_session_is_lost() {
    let old = Authority::new("old");
    let place = Place::new(&old, Reattach::Identity).await;
    old.write_client(place.sides.dir.path(), "bridge");
    place.write("digest", "one:secret\n");
    place.write("sasl", "bridge:sasl-secret\n");
    let wire = Wire::to(place.sides.server.secure_client_address().unwrap()).await;
    let config = place.config(&wire.address.to_string(), ALL_FILES);
    let bridge = place.bridge(&config).await;
    let scraper = Scraper::new(bridge.subject()).await;
    let eye = session(place.sides.zookeeper()).await;
    let (first, second) = (format!("{DIRECTORY}/10.0.0.1:8080"), format!("{DIRECTORY}/10.0.0.2:8080"));
    until(&eye, DIRECTORY, &["10.0.0.1:8080"]).await;
    let before = eye.exists(&first).await.unwrap().unwrap();
    let names = |acl: Vec<String>| -> Vec<String> {
        acl.iter()
            .map(|id| {
                id.rsplit_once(':').filter(|_| id.starts_with("digest:")).map_or(&**id, |(user, _)| user)
            })
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(
        names(acl(&eye, &first).await),
        ["x509:CN=bridge", "sasl:bridge", "digest:one", "world:anyone"]
    );

    let new = Authority::new("new");
    new.write_client(place.sides.dir.path(), "bridge");
    place.write("trust.pem", &new.pem);
    place.write("digest", "one:secret\ntwo:secret\n");
    // The server looks every second.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let resumed = resumes(&scraper).await;
    wire.cut().await;
    within(async {
        while resumes(&scraper).await <= resumed {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    slice(&place.sides.client, "orders", &[1, 2]).await;
    until(&eye, DIRECTORY, &["10.0.0.1:8080", "10.0.0.2:8080"]).await;
    assert_eq!(
        names(acl(&eye, &second).await),
        ["x509:CN=bridge", "sasl:bridge", "digest:one", "digest:two", "world:anyone"]
    );
    let after = eye.exists(&first).await.unwrap().unwrap();
    assert_eq!((after.czxid, after.ephemeral_owner), (before.czxid, before.ephemeral_owner));
    let scrape = scraper.scrape().await;
    assert_eq!(scrape.value("zoobridge_session_expiries_total"), 0.0);

    // What cannot be used leaves what was.
    place.write("tls.key", "nonsense");
    place.write("sasl", "");
    let resumed = resumes(&scraper).await;
    wire.cut().await;
    within(async {
        while resumes(&scraper).await <= resumed {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    bridge.stop().await.unwrap();
}

#[tokio::test]
async fn whoever_is_not_believed_tries_until_he_is() {
    let place = Place::new(&Authority::new("authority"), Reattach::default()).await;
    place.write("sasl", "bridge:wrong");
    let config = place.config(&place.sides.zookeeper().to_string(), ", saslFile: DIR/sasl");
    let bridge = tokio::spawn({
        let client = place.sides.client.clone();
        async move { RunningBridge::start(&config, client, CredentialStore::memory()).await }
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!bridge.is_finished(), "it waits for the right password");
    let eye = session(place.sides.zookeeper()).await;
    assert!(leaves(&eye, DIRECTORY).await.is_empty());
    place.write("sasl", "bridge:sasl-secret");
    let bridge = within(bridge).await.unwrap().unwrap();
    until(&eye, DIRECTORY, &["10.0.0.1:8080"]).await;
    bridge.stop().await.unwrap();
}

#[tokio::test]
async fn templates_are_the_acls_of_what_is_created_and_the_bridge_says_who_else_may_delete() {
    let place = Place::new(&Authority::new("authority"), Reattach::default()).await;
    place.write("sasl", "bridge:sasl-secret");
    let address = place.sides.zookeeper().to_string();
    let eye = session(place.sides.zookeeper()).await;
    let leaf = format!("{DIRECTORY}/10.0.0.1:8080");
    let fence = "/zoobridge/test/fence";
    for (more, of_leaf, of_parent, of_fence, directories, znodes) in [
        ("", &["world:anyone"][..], &["world:anyone"][..], &["world:anyone"][..], "anyone", "anyone"),
        // What is there stays as it is, but for what is our own; what is created from now on does not.
        (
            ", saslFile: DIR/sasl, acls: {leaves: ['auth::cdrwa', 'ip:10.0.0.0/8:w', 'world:anyone:r'], parents: \
             ['sasl:bridge:cdrwa', 'world:anyone:r']}",
            &["sasl:bridge", "ip:10.0.0.0/8", "world:anyone"],
            &["world:anyone"],
            &["sasl:bridge", "world:anyone"],
            "anyone",
            "others",
        ),
    ] {
        let config = place.config(&address, more);
        let bridge = place.bridge(&config).await;
        let scraper = Scraper::new(bridge.subject()).await;
        until(&eye, DIRECTORY, &["10.0.0.1:8080"]).await;
        assert_eq!(acl(&eye, &leaf).await, of_leaf);
        assert_eq!(acl(&eye, DIRECTORY).await, of_parent);
        assert_eq!(acl(&eye, fence).await, of_fence);
        within(async {
            loop {
                let scrape = scraper.scrape().await;
                let count =
                    |family: &str, open_to: &str| scrape.value(&format!("{family}{{open_to=\"{open_to}\"}}"));
                if count("zoobridge_open_znodes", znodes) == 1.0 {
                    assert_eq!(count("zoobridge_open_directories", directories), 1.0);
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        slice(&place.sides.client, "orders", &[]).await;
        until(&eye, DIRECTORY, &[]).await;
        bridge.stop().await.unwrap();
        slice(&place.sides.client, "orders", &[1]).await;
    }
}

#[tokio::test]
async fn what_dubbo_3_keeps_beside_leaves_gets_the_acl_of_directories() {
    let place = Place::new(&Authority::new("authority"), Reattach::default()).await;
    place.write("sasl", "bridge:sasl-secret");
    service(&place.sides.client, "prices", &[("dubbo3", "a.Prices")]).await;
    slice(&place.sides.client, "prices", &[1]).await;
    let eye = session(place.sides.zookeeper()).await;
    let templates = ", saslFile: DIR/sasl, acls: {parents: ['sasl:bridge:cdrwa', 'world:anyone:r']}";
    let config = place.config(&place.sides.zookeeper().to_string(), templates);
    let bridge = place.bridge(&config).await;
    until(&eye, "/services/prices", &["10.0.0.1:8080"]).await;
    let revision = leaves(&eye, "/dubbo/metadata/prices").await.remove(0);
    for path in ["/dubbo/mapping/a.Prices", &format!("/dubbo/metadata/prices/{revision}"), "/services/prices"]
    {
        assert_eq!(acl(&eye, path).await, ["sasl:bridge", "world:anyone"], "{path}");
    }
    bridge.stop().await.unwrap();
}

#[tokio::test]
async fn a_chroot_holds_everything() {
    let place = Place::new(&Authority::new("authority"), Reattach::default()).await;
    let eye = session(place.sides.zookeeper()).await;
    let config = place.config(&format!("{}/a/b", place.sides.zookeeper()), "");
    for directory in ["/a", "/a/b"] {
        eye.create(directory, "", Acl::open(), zk_wire::codes::CreateMode::Persistent).await.unwrap();
    }
    let bridge = place.bridge(&config).await;
    until(&eye, &format!("/a/b{DIRECTORY}"), &["10.0.0.1:8080"]).await;
    assert_eq!(leaves(&eye, "/").await, ["a", "zookeeper"]);
    assert_eq!(leaves(&eye, "/a/b").await, ["services", "zoobridge"]);
    // A watch reports what somebody else does, and the bridge repairs it.
    eye.delete(&format!("/a/b{DIRECTORY}/10.0.0.1:8080"), -1).await.unwrap();
    until(&eye, &format!("/a/b{DIRECTORY}"), &["10.0.0.1:8080"]).await;
    bridge.stop().await.unwrap();
}

/// What the bridge can do as itself its operators can: by each proof alone and by all, below a chroot, where nobody else
/// may even read, and where a session is given only to who proves all that was proven before.
#[tokio::test]
async fn the_operators_tools_prove_what_the_bridge_proves() {
    const TLS: &str =
        "tls: {caFile: DIR/ca.crt, certFile: DIR/tls.crt, keyFile: DIR/tls.key, serverName: zoo}";
    const ALL: &str = "digestFile: DIR/digest, saslFile: DIR/sasl, ";
    let authority = Authority::new("authority");
    let place = Place::new(&authority, Reattach::Identity).await;
    authority.write_client(place.sides.dir.path(), "bridge");
    place.write("digest", "one:secret\n");
    place.write("sasl", "bridge:sasl-secret\n");
    let eye = session(place.sides.zookeeper()).await;
    let (plain, secure) = (place.sides.zookeeper(), place.sides.server.secure_client_address().unwrap());
    for (chroot, address, proofs, acl, reads_anonymously) in [
        ("/all", secure, format!("{ALL}{TLS}"), "sasl:bridge:cdrwa", false),
        ("/certificate", secure, TLS.to_owned(), "x509:CN=bridge:cdrwa", true),
        ("/sasl", plain, "saslFile: DIR/sasl".to_owned(), "sasl:bridge:cdrwa", false),
        ("/digest", plain, "digestFile: DIR/digest".to_owned(), "auth::cdrwa", false),
    ] {
        eye.create(chroot, "", Acl::open(), zk_wire::codes::CreateMode::Persistent).await.unwrap();
        let proofs = proofs.replace("DIR", &place.sides.dir.path().display().to_string());
        let zookeeper = format!(
            "connect: '{address}{chroot}', {proofs}, acls: {{leaves: ['{acl}'], parents: ['{acl}'], own: ['{acl}']}}"
        );
        let rules = "rules: [{formats: [curator], names: ['*'], addresses: [pod, custom]}]";
        let files = Files::of(&place.sides.kube, &zookeeper, rules);
        let run = async |args: &[&str]| {
            let (code, text) = files.run(args).await;
            assert_eq!(code, 0, "{chroot} {args:?}: {text}");
            text
        };
        let bridge = files.bridge();
        let (code, verified) = files.json(&["verify"]).await;
        assert_eq!((code, &verified[0]["seen"]), (0, &1.into()), "{chroot}: {verified}");
        let (code, text) = files.run(&["verify", "--anonymous", "--within", "0s"]).await;
        assert_eq!(code == 0, reads_anonymously, "{chroot}: {text}");
        assert!(run(&["history", "default/orders"]).await.contains("10.0.0.1:8080"), "{chroot}");
        assert!(run(&["status"]).await.contains("/zoobridge/test/fence/"), "{chroot}");
        assert_eq!(run(&["diff"]).await, "nothing to write\n", "{chroot}");
        assert!(run(&["explain", "default/orders"]).await.contains("zxid"), "{chroot}");
        // It dies, and with its session what it published.
        drop(bridge);
        within(async {
            while files.run(&["gc", "--owner", "test", "--yes"]).await.0 != 0 {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        })
        .await;
        assert_eq!(leaves(&eye, chroot).await, [""; 0], "{chroot}");
        let bridge = files.bridge();
        let (code, verified) = files.json(&["verify", "--within", "20s"]).await;
        assert_eq!((code, &verified[0]["seen"]), (0, &1.into()), "{chroot}: {verified}");
        bridge.stop().await;
        assert!(run(&["uninstall", "--yes"]).await.contains("closed"), "{chroot}");
        assert_eq!(leaves(&eye, chroot).await, [""; 0], "{chroot}");
    }
}
