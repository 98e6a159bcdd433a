use super::*;
use crate::config::registry::{Treatment, known};
use crate::config::{ServerConfig, settings};

/// Every key of Apache 3.9.5 on which security depends, as its server reads them: `zookeeper.…` properties,
/// `X509Util` with both its prefixes, `QuorumAuth`, `QuorumPeerConfig`, and those of the JVM that concern TLS
/// and logins.
const OF_APACHE: &[&str] = &[
    "DigestAuthenticationProvider.digestAlg",
    "DigestAuthenticationProvider.enabled",
    "DigestAuthenticationProvider.superDigest",
    "IPAuthenticationProvider.usexforwardedfor",
    "SASLAuthenticationProvider.superPassword",
    "X509AuthenticationProvider.superUser",
    "admin.forceHttps",
    "admin.needClientAuth",
    "admin.portUnification",
    "allowSaslFailedClients",
    "audit.enable",
    "audit.impl.class",
    "authProvider.1",
    "authProvider.sasl",
    "authProvider.x509",
    "client.certReload",
    "client.portUnification",
    "enableEagerACLCheck",
    "enforce.auth.enabled",
    "enforce.auth.schemes",
    "ensembleAuthName",
    "fips-mode",
    "kerberos.canonicalizeHostNames",
    "kerberos.minReLoginTimeMs",
    "kerberos.removeHostFromPrincipal",
    "kerberos.removeRealmFromPrincipal",
    "letAnySaslUserDoX",
    "netty.server.earlyDropSecureConnectionHandshakes",
    "netty.server.outstandingHandshake.limit",
    "portUnification",
    "quorum.auth.enableSasl",
    "quorum.auth.kerberos.servicePrincipal",
    "quorum.auth.learner.saslLoginContext",
    "quorum.auth.learnerRequireSasl",
    "quorum.auth.server.saslLoginContext",
    "quorum.auth.serverRequireSasl",
    "requireKerberosConfig",
    "sasl.serverconfig",
    "secureClientPort",
    "secureClientPortAddress",
    "security.auth_to_local",
    "sessionRequireClientSASLAuth",
    "skipACL",
    "ssl.allowReverseDnsLookup",
    "ssl.authProvider",
    "ssl.ciphersuites",
    "ssl.clientAuth",
    "ssl.clientHostnameVerification",
    "ssl.context.supplier.class",
    "ssl.crl",
    "ssl.enabledProtocols",
    "ssl.handshakeDetectionTimeoutMillis",
    "ssl.hostnameVerification",
    "ssl.keyStore.location",
    "ssl.keyStore.password",
    "ssl.keyStore.passwordPath",
    "ssl.keyStore.type",
    "ssl.ocsp",
    "ssl.protocol",
    "ssl.quorum.allowReverseDnsLookup",
    "ssl.quorum.ciphersuites",
    "ssl.quorum.clientAuth",
    "ssl.quorum.clientHostnameVerification",
    "ssl.quorum.context.supplier.class",
    "ssl.quorum.crl",
    "ssl.quorum.enabledProtocols",
    "ssl.quorum.handshakeDetectionTimeoutMillis",
    "ssl.quorum.hostnameVerification",
    "ssl.quorum.keyStore.location",
    "ssl.quorum.keyStore.password",
    "ssl.quorum.keyStore.passwordPath",
    "ssl.quorum.keyStore.type",
    "ssl.quorum.ocsp",
    "ssl.quorum.protocol",
    "ssl.quorum.trustStore.location",
    "ssl.quorum.trustStore.password",
    "ssl.quorum.trustStore.passwordPath",
    "ssl.quorum.trustStore.type",
    "ssl.sslProvider",
    "ssl.trustStore.location",
    "ssl.trustStore.password",
    "ssl.trustStore.passwordPath",
    "ssl.trustStore.type",
    "sslQuorum",
    "sslQuorumReloadCertFiles",
    "superUser",
    "superUser.2",
    "java.security.auth.login.config",
    "java.security.krb5.conf",
    "java.security.krb5.realm",
    "java.security.krb5.kdc",
    "javax.net.ssl.keyStore",
    "javax.net.ssl.trustStore",
    "jdk.tls.rejectClientInitiatedRenegotiation",
    "com.sun.net.ssl.checkRevocation",
    "com.sun.security.enableCRLDP",
    "sun.security.jgss.native",
];

fn treatment(name: &str) -> Option<Treatment> {
    let is = |key: &str| key.strip_suffix('*').map_or(name == key, |prefix| name.starts_with(prefix));
    known().find(|(key, _)| is(key)).map(|(_, treatment)| treatment)
}

fn config(text: &str) -> Result<ServerConfig, ConfigError> {
    ServerConfig::from_settings(&settings::parse(&format!("dataDir=/x\n{text}"), "zoo.cfg")?)
}

#[test]
fn every_security_key_of_apache_is_implemented_or_stops_the_start() {
    for key in OF_APACHE {
        match treatment(key) {
            Some(Treatment::Honoured) => {}
            Some(Treatment::Refused { .. }) => {
                let error = config(&format!("{key}=something")).unwrap_err().to_string();
                assert!(error.starts_with(&format!("zoo.cfg:2: {key} is not implemented")), "{error}");
                let option = format!("zookeeper.{key}=something");
                let error = ServerConfig::load(None, &["dataDir=/x".to_owned(), option]).unwrap_err();
                assert!(error.to_string().contains("is not implemented"), "{error}");
            }
            other => panic!("{key}: {other:?}"),
        }
    }
    for (key, treatment) in KEYS.iter().flat_map(|group| group.keys.iter().map(|key| (key, group.treatment)))
    {
        assert!(!matches!(treatment, Treatment::Warned(_)), "{key} only warns");
    }
}

#[test]
fn a_key_that_only_old_texts_have_is_not_taken_for_protection() {
    let error = config("requireClientAuthScheme=sasl").unwrap_err().to_string();
    assert!(error.contains("sessionRequireClientSASLAuth=true"), "{error}");
}

#[test]
fn what_belongs_together_must_be_there() {
    let sasl = "authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider";
    for (text, expected) in [
        ("secureClientPortAddress=::1", "secureClientPort is not"),
        ("secureClientPort=1", "ssl.keyStore.location is missing"),
        ("client.portUnification=true", "ssl.keyStore.location is missing"),
        ("secureClientPort=1\nssl.keyStore.location=/k", "ssl.trustStore.location is missing"),
        ("enforce.auth.enabled=true", "enforce.auth.schemes is missing"),
        ("enforce.auth.enabled=true\nenforce.auth.schemes=digest,sasl", "the scheme sasl is enforced"),
        ("sessionRequireClientSASLAuth=true", "the scheme sasl is enforced"),
        ("sasl.serverconfig=Other", "java.security.auth.login.config is missing"),
        ("SASLAuthenticationProvider.superPassword=x", "java.security.auth.login.config is missing"),
        ("authProvider.1=com.acme.Mine", "one of Apache's providers is wanted"),
        ("ssl.enabledProtocols=TLSv1.1", "TLSv1.2 and TLSv1.3 are what there is"),
        ("ssl.keyStore.type=BCFKS", "JKS, PKCS12 or PEM is wanted"),
        ("ssl.clientAuth=maybe", "none, want or need is wanted"),
        ("ssl.authProvider=mine", "no other provider than x509"),
        ("DigestAuthenticationProvider.digestAlg=SHA3-256", "one of MD5"),
        ("skipACL=maybe", "yes or no is wanted"),
    ] {
        let error = config(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
    assert!(
        config(&format!("sessionRequireClientSASLAuth=true\n{sasl}")).unwrap().security.rules.requires_sasl()
    );
}

#[test]
fn tls_is_put_together() {
    let text = "secureClientPort=2281\nsecureClientPortAddress=127.0.0.1\nssl.keyStore.location=/k.pem\n\
                ssl.keyStore.password=secret\nssl.trustStore.location=/t\nssl.trustStore.passwordPath=/p\n\
                ssl.protocol=TLSv1.2\nssl.ciphersuites=A, B\nssl.hostnameVerification=true\nclient.certReload=no";
    let security = config(text).unwrap().security;
    assert_eq!(security.secure_address, Some("127.0.0.1:2281".parse().unwrap()));
    assert!(!security.plain_port && security.rules.x509);
    let tls = security.tls.unwrap();
    assert_eq!((tls.client_auth, tls.tls12, tls.tls13, tls.reload), (ClientAuth::Need, true, false, false));
    assert_eq!(
        (tls.key_store.kind, tls.key_store.password),
        (StoreKind::Pem, Password::Inline(Secret::new("secret")))
    );
    let trust = tls.trust_store.unwrap();
    assert_eq!((trust.kind, trust.password), (StoreKind::Java, Password::File("/p".into())));
    assert_eq!(tls.cipher_suites, Some(vec!["A".to_owned(), "B".to_owned()]));
    let both =
        config(&format!("{text}\nclientPort=2181\nssl.enabledProtocols=TLSv1.3,TLSv1.2")).unwrap().security;
    assert!(both.plain_port && both.tls.is_some_and(|tls| tls.tls12 && tls.tls13));
    let by_default = config(&text.replace("ssl.protocol=TLSv1.2", "")).unwrap().security;
    assert!(by_default.tls.is_some_and(|tls| !tls.tls12 && tls.tls13));
    let none = config("ssl.keyStore.location=/k.pem").unwrap().security;
    assert!(none.tls.is_none() && none.plain_port);
}

#[test]
fn users_are_those_of_the_login_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jaas.conf");
    let class = "org.apache.zookeeper.server.auth.DigestLoginModule";
    std::fs::write(&path, format!("Server {{ {class} required user_super=a user_bob=b; }};")).unwrap();
    let login = format!("java.security.auth.login.config={}", path.display());
    let users = |text: &str| {
        let rules = config(&format!("{login}\n{text}")).unwrap().security.rules;
        let users = rules.sasl_users.clone().unwrap();
        users.into_iter().map(|(user, password)| (user, password.reveal().to_owned())).collect::<Vec<_>>()
    };
    let pairs =
        |pairs: [(&str, &str); 2]| pairs.map(|(user, password)| (user.to_owned(), password.to_owned()));
    assert_eq!(users(""), pairs([("bob", "b"), ("super", "a")]));
    assert_eq!(users("SASLAuthenticationProvider.superPassword=c"), pairs([("bob", "b"), ("super", "c")]));
    for (contents, expected) in [
        ("Client { x.Y required; };", "there is no section \"Server\""),
        (
            "Server { com.sun.security.auth.module.Krb5LoginModule required; };",
            "Krb5LoginModule is not implemented",
        ),
        ("Server {", "the file ends"),
    ] {
        std::fs::write(&path, contents).unwrap();
        let error = config(&login).unwrap_err().to_string();
        assert!(error.starts_with("zoo.cfg:2: ") && error.contains(expected), "{error}");
    }
    std::fs::remove_file(&path).unwrap();
    assert!(config(&login).is_err());
}

#[test]
fn nothing_that_is_shown_has_a_secret_in_it() {
    let text = "secureClientPort=1\nssl.clientAuth=none\nssl.keyStore.location=/k\nssl.keyStore.password=hush\n\
                ssl.trustStore.password=hush\nDigestAuthenticationProvider.superDigest=super:hush";
    assert!(!format!("{:?}", config(text).unwrap()).contains("hush"));
    let error = config("DigestAuthenticationProvider.superDigest=hush").unwrap_err();
    assert!(!error.to_string().contains("hush") && !format!("{error:?}").contains("hush"));
}
