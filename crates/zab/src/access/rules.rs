//! What the operator has said about identities: which schemes there are, and who is super.

use std::collections::BTreeMap;

use base64::Engine;
use sha1::Digest;
use sha1::digest::DynDigest;

use super::secret::Secret;

/// The settings of authentication and authorization. The default is Apache's: `digest` and `ip`, nobody super.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// `skipACL`: every ACL grants everything.
    pub skip_acl: bool,
    /// `DigestAuthenticationProvider.enabled`.
    pub digest: bool,
    /// `DigestAuthenticationProvider.digestAlg`.
    pub digest_algorithm: DigestAlgorithm,
    /// `DigestAuthenticationProvider.superDigest`: the digest identity that is super.
    pub super_digest: Option<Secret>,
    /// `authProvider.…=X509AuthenticationProvider`, or a secure port.
    pub x509: bool,
    /// `X509AuthenticationProvider.superUser`: the subject that is super.
    pub x509_super_user: Option<String>,
    /// `authProvider.…=SASLAuthenticationProvider`: ACLs may name SASL users.
    pub sasl: bool,
    /// The users of SASL DIGEST-MD5, if there is such an exchange.
    pub sasl_users: Option<BTreeMap<String, Secret>>,
    /// `superUser` and `superUser.…`: the SASL users that are super.
    pub sasl_super_users: Vec<String>,
    /// `letAnySaslUserDoX`: an ACL of this SASL user is for all of them.
    pub any_sasl_user: Option<String>,
    /// `allowSaslFailedClients`: who fails is served all the same, without that identity.
    pub allow_sasl_failed: bool,
    /// `authProvider.…=EnsembleAuthenticationProvider` with `ensembleAuthName`: the names of this ensemble;
    /// without any every name is right.
    pub ensemble: Option<Vec<String>>,
    /// `enforce.auth.schemes` or `sessionRequireClientSASLAuth`: an identity of one of them is needed for
    /// everything but authentication. Empty asks for nothing.
    pub enforced: Vec<String>,
}

/// A hash of the digest scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum DigestAlgorithm {
    Md5,
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl Default for Rules {
    fn default() -> Self {
        Rules {
            skip_acl: false,
            digest: true,
            digest_algorithm: DigestAlgorithm::Sha1,
            super_digest: None,
            x509: false,
            x509_super_user: None,
            sasl: false,
            sasl_users: None,
            sasl_super_users: Vec::new(),
            any_sasl_user: None,
            allow_sasl_failed: false,
            ensemble: None,
            enforced: Vec::new(),
        }
    }
}

impl Rules {
    /// Is there a provider for the scheme (`ProviderRegistry.getProvider`)?
    #[must_use]
    pub fn has(&self, scheme: &str) -> bool {
        match scheme {
            "ip" => true,
            "digest" => self.digest,
            "x509" => self.x509,
            "sasl" => self.sasl,
            "ensemble" => self.ensemble.is_some(),
            _ => false,
        }
    }

    /// Must a client authenticate through SASL (`AuthenticationHelper.isSaslAuthRequired`)?
    #[must_use]
    pub fn requires_sasl(&self) -> bool {
        self.enforced.iter().any(|scheme| scheme == "sasl")
    }
}

impl DigestAlgorithm {
    /// By the names of Java's `MessageDigest`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name.to_ascii_uppercase().as_str() {
            "MD5" => DigestAlgorithm::Md5,
            "SHA" | "SHA1" | "SHA-1" => DigestAlgorithm::Sha1,
            "SHA-224" | "SHA224" => DigestAlgorithm::Sha224,
            "SHA-256" | "SHA256" => DigestAlgorithm::Sha256,
            "SHA-384" | "SHA384" => DigestAlgorithm::Sha384,
            "SHA-512" | "SHA512" => DigestAlgorithm::Sha512,
            _ => return None,
        })
    }

    /// `user:password` to `user:base64(hash(user:password))`.
    #[must_use]
    pub fn identity(self, credentials: &str) -> String {
        let mut hash: Box<dyn DynDigest> = match self {
            DigestAlgorithm::Md5 => Box::new(md5::Md5::new()),
            DigestAlgorithm::Sha1 => Box::new(sha1::Sha1::new()),
            DigestAlgorithm::Sha224 => Box::new(sha2::Sha224::new()),
            DigestAlgorithm::Sha256 => Box::new(sha2::Sha256::new()),
            DigestAlgorithm::Sha384 => Box::new(sha2::Sha384::new()),
            DigestAlgorithm::Sha512 => Box::new(sha2::Sha512::new()),
        };
        hash.update(credentials.as_bytes());
        let user = credentials.split(':').next().unwrap_or_default();
        format!("{user}:{}", base64::engine::general_purpose::STANDARD.encode(hash.finalize()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SHA-1 recorded; the others from `openssl dgst -binary | base64`.
    #[test]
    fn a_digest_identity_is_that_of_apache() {
        for (name, expected) in [
            ("SHA1", "user:2Om+GBbT2q/tS6pdvACZbbm7/1A="),
            ("md5", "user:Hzrd7ep2WqeDwSX83aFeaA=="),
            ("SHA-256", "user:Fh8MmK6jIxqd61iqgh3Q7UZ5AQo6NbHt+ZWIwPHmup4="),
        ] {
            let algorithm = DigestAlgorithm::named(name).unwrap();
            assert_eq!(algorithm.identity("user:pw"), expected, "{name}");
        }
        assert_eq!(DigestAlgorithm::named("SHA3-256"), None);
        assert_eq!(DigestAlgorithm::Sha1.identity("a:b:c").split(':').next(), Some("a"));
    }
}
