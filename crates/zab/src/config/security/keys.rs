//! The keys, and what becomes of each.

use crate::config::registry::Group;
use crate::config::registry::Treatment::{Honoured, Refused};

const RELIED_ON: &str = "whoever set it relies on it";
const KERBEROS: &str = "there is no Kerberos, and whoever set it relies on it";
const MEMBERS: &str = "this release serves one node, not an ensemble";
const JVM: &str = "it configures Java's TLS, and whoever set it relies on it";

pub(in crate::config) const KEYS: &[Group] = &[
    Group {
        treatment: Honoured,
        keys: &[
            "secureClientPort",
            "secureClientPortAddress",
            "client.portUnification",
            "client.certReload",
            "netty.server.outstandingHandshake.limit",
            "netty.server.earlyDropSecureConnectionHandshakes",
            "ssl.authProvider",
            "ssl.ciphersuites",
            "ssl.clientAuth",
            "ssl.enabledProtocols",
            "ssl.handshakeDetectionTimeoutMillis",
            "ssl.hostnameVerification",
            "ssl.keyStore.location",
            "ssl.keyStore.password",
            "ssl.keyStore.passwordPath",
            "ssl.keyStore.type",
            "ssl.protocol",
            "ssl.trustStore.location",
            "ssl.trustStore.password",
            "ssl.trustStore.passwordPath",
            "ssl.trustStore.type",
            "authProvider.*",
            "DigestAuthenticationProvider.enabled",
            "DigestAuthenticationProvider.superDigest",
            "DigestAuthenticationProvider.digestAlg",
            "X509AuthenticationProvider.superUser",
            "SASLAuthenticationProvider.superPassword",
            "superUser",
            "superUser.*",
            "ensembleAuthName",
            "enforce.auth.enabled",
            "enforce.auth.schemes",
            "sessionRequireClientSASLAuth",
            "allowSaslFailedClients",
            "letAnySaslUserDoX",
            "sasl.serverconfig",
            "java.security.auth.login.config",
            "skipACL",
            "enableEagerACLCheck",
            "audit.enable",
        ],
    },
    Group {
        treatment: Refused { harmless: &[], why: RELIED_ON },
        keys: &["ssl.context.supplier.class", "ssl.tcnative.ocsp.stapling"],
    },
    Group {
        treatment: Refused {
            harmless: &[],
            why: "Apache 3.9 does nothing about it, too; sessionRequireClientSASLAuth=true is what demands SASL",
        },
        keys: &["requireClientAuthScheme"],
    },
    Group {
        treatment: Refused { harmless: &["jdk"], why: "TLS is that of rustls, whatever is asked for" },
        keys: &["ssl.sslProvider"],
    },
    Group {
        treatment: Refused {
            harmless: &["org.apache.zookeeper.audit.slf4jauditlogger"],
            why: "there are no Java classes, and whoever set it relies on it",
        },
        keys: &["audit.impl.class"],
    },
    Group {
        treatment: Refused { harmless: &["false", "no"], why: "no certificate is checked for being revoked" },
        keys: &["ssl.crl", "ssl.ocsp"],
    },
    Group {
        treatment: Refused { harmless: &["false", "no"], why: "names of clients' hosts are not checked" },
        keys: &["ssl.clientHostnameVerification", "ssl.allowReverseDnsLookup"],
    },
    Group {
        treatment: Refused {
            harmless: &["false", "no"],
            why: "the cryptography here is not validated for FIPS",
        },
        keys: &["fips-mode"],
    },
    Group {
        treatment: Refused { harmless: &["false", "no"], why: RELIED_ON },
        keys: &[
            "admin.forceHttps",
            "admin.needClientAuth",
            "admin.portUnification",
            "IPAuthenticationProvider.usexforwardedfor",
        ],
    },
    Group {
        treatment: Refused { harmless: &["false", "no"], why: MEMBERS },
        keys: &[
            "portUnification",
            "quorum.auth.enableSasl",
            "quorum.auth.learnerRequireSasl",
            "quorum.auth.serverRequireSasl",
            "sslQuorum",
            "sslQuorumReloadCertFiles",
        ],
    },
    Group {
        treatment: Refused { harmless: &[], why: MEMBERS },
        keys: &[
            "ssl.quorum.*",
            "quorum.auth.kerberos.servicePrincipal",
            "quorum.auth.learner.saslLoginContext",
            "quorum.auth.server.saslLoginContext",
        ],
    },
    Group {
        treatment: Refused { harmless: &[], why: KERBEROS },
        keys: &["security.auth_to_local", "kerberos.*", "java.security.krb5.*", "sun.security.krb5.*"],
    },
    Group {
        treatment: Refused { harmless: &["false", "no"], why: KERBEROS },
        keys: &["requireKerberosConfig", "sun.security.jgss.native"],
    },
    Group {
        treatment: Refused { harmless: &["true"], why: JVM },
        keys: &["jdk.tls.rejectClientInitiatedRenegotiation"],
    },
    Group {
        treatment: Refused { harmless: &[], why: JVM },
        keys: &[
            "javax.net.ssl.*",
            "jdk.tls.server.*",
            "jdk.tls.disabledAlgorithms",
            "jdk.certpath.disabledAlgorithms",
            "com.sun.net.ssl.*",
            "com.sun.security.*",
        ],
    },
];
