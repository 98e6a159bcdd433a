//! Who may do what: identities of connections against ACLs (`ZooKeeperServer.checkACL`,
//! `PrepRequestProcessor.fixupACL`, the authentication providers).
//!
//! [`Identities`] are what a connection has proven, [`Rules`] what the operator has said about it.

pub mod digest_md5;
pub mod distinguished_name;
pub mod jaas;
pub mod network;
pub mod rules;
pub mod secret;

use std::sync::Arc;

use zk_wire::acl::{Acl, Id, perms};
use zk_wire::codes::ErrorCode;
use zk_wire::reply::ClientInfo;

pub use rules::Rules;

/// The identities of a connection: its address, and what it has proven since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identities {
    ids: Vec<Id>,
    rules: Arc<Rules>,
}

/// Why credentials were not accepted; the connection must then be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The client is told so.
    Failed,
    /// The client wants another ensemble. It is not told, so that it tries another server
    /// (`EnsembleAuthenticationProvider`).
    WrongEnsemble,
}

/// Identities of one connection, and bytes of one of them. A client may prove as many as it likes, and each
/// is compared with each ACL.
const MAX_IDENTITIES: usize = 256;
const MAX_IDENTITY_BYTES: usize = 4096;

/// Room for hundreds of identities. Without a limit a small request could ask for any amount of work and
/// memory: each of its `auth` entries becomes all that the connection has proven.
const MAX_ACL_BYTES: usize = 16 << 10;

impl Identities {
    /// A connection from `address` that has proven nothing.
    #[must_use]
    pub fn of_address(address: std::net::IpAddr, rules: Arc<Rules>) -> Self {
        Identities { ids: vec![id("ip", network::text(address))], rules }
    }

    /// The server's own requests, which may do everything.
    #[must_use]
    pub fn internal() -> Self {
        Identities { ids: vec![id("super", "")], rules: Arc::default() }
    }

    /// Adds identities by scheme and credentials, as `addauth` sends them.
    ///
    /// # Errors
    /// The scheme is none that authenticates so, the credentials are wrong, or there are too many.
    pub fn authenticate(&mut self, scheme: &str, auth: Option<&[u8]>) -> Result<(), Refusal> {
        if !self.rules.has(scheme) {
            return Err(Refusal::Failed);
        }
        match (scheme, auth) {
            ("digest", Some(auth)) => self.prove_digest(&String::from_utf8_lossy(auth)),
            // The address is known already (`IPAuthenticationProvider`).
            ("ip", _) => Ok(()),
            // It was proven with the first bytes or not at all.
            ("x509", _) if self.ids.iter().any(|id| id.scheme == "x509") => Ok(()),
            ("ensemble", auth) => self.check_ensemble(auth.unwrap_or_default()),
            _ => Err(Refusal::Failed),
        }
    }

    /// The client has shown a certificate that is trusted, and holds its key (`X509AuthenticationProvider`).
    pub fn prove_certificate(&mut self, subject: &str) {
        if self.rules.x509_super_user.as_deref() == Some(subject) {
            self.add(id("super", subject));
        }
        self.add(id("x509", subject));
    }

    /// The client has proven through SASL that it is this user (`ZooKeeperServer.processSasl`).
    pub fn prove_sasl(&mut self, user: &str) {
        self.add(id("sasl", user));
        if self.rules.sasl_super_users.iter().any(|name| name == user) {
            self.add(id("super", ""));
        }
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> &[Id] {
        &self.ids
    }

    /// What the operator has said.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Schemes and names without what proves them, for `whoAmI`.
    #[must_use]
    pub fn infos(&self) -> Vec<ClientInfo> {
        let info = |id: &Id| ClientInfo {
            auth_scheme: id.scheme.clone(),
            user: self.user(id).unwrap_or_default().to_owned(),
        };
        self.ids.iter().map(info).collect()
    }

    /// The names without what proves them, separated by commas (`AuthUtil.getUsers`).
    #[must_use]
    pub fn users(&self) -> String {
        let names = self.ids.iter().filter_map(|id| self.user(id)).filter(|name| !name.trim().is_empty());
        names.collect::<Vec<_>>().join(",")
    }

    /// Has the connection an identity of the schemes that are enforced, if any are?
    #[must_use]
    pub fn is_admitted(&self) -> bool {
        let enforced = &self.rules.enforced;
        enforced.is_empty() || self.ids.iter().any(|id| enforced.contains(&id.scheme))
    }

    /// Does `acl` grant `perm`? An empty ACL grants everything.
    #[must_use]
    pub fn may(&self, perm: i32, acl: &[Acl]) -> bool {
        acl.is_empty()
            || self.rules.skip_acl
            || self.ids.iter().any(|id| id.scheme == "super")
            || acl.iter().any(|entry| entry.perms & perm != 0 && self.matches(&entry.id))
    }

    /// The ACL as it is stored: duplicates removed, `auth` replaced by who is asking.
    ///
    /// # Errors
    /// `InvalidAcl`: empty, an unknown scheme, an id that is not of its scheme's form, `auth` without an
    /// identity, or more than 16 KiB.
    pub fn fix_up(&self, acl: &[Acl]) -> Result<Vec<Acl>, ErrorCode> {
        let (mut fixed, mut bytes) = (Vec::new(), 0);
        for (index, entry) in acl.iter().enumerate() {
            if acl[..index].contains(entry) {
                continue;
            }
            let expanded = match entry.id.scheme.as_str() {
                "auth" => self.proven(entry.perms)?,
                _ if self.is_valid(&entry.id) => vec![entry.clone()],
                _ => return Err(ErrorCode::InvalidAcl),
            };
            bytes += encoded_length(&expanded);
            if bytes > MAX_ACL_BYTES {
                return Err(ErrorCode::InvalidAcl);
            }
            fixed.extend(expanded);
        }
        if fixed.is_empty() { Err(ErrorCode::InvalidAcl) } else { Ok(fixed) }
    }

    fn prove_digest(&mut self, credentials: &str) -> Result<(), Refusal> {
        let identity = self.rules.digest_algorithm.identity(credentials);
        if identity.len() > MAX_IDENTITY_BYTES || self.ids.len() >= MAX_IDENTITIES {
            return Err(Refusal::Failed);
        }
        if self.rules.super_digest.as_ref().is_some_and(|wanted| wanted.reveal() == identity) {
            self.add(id("super", ""));
        }
        self.add(id("digest", identity));
        Ok(())
    }

    fn check_ensemble(&self, name: &[u8]) -> Result<(), Refusal> {
        let names = self.rules.ensemble.as_deref().unwrap_or_default();
        let is_ours = name.is_empty() || names.is_empty() || names.iter().any(|n| n.as_bytes() == name);
        if is_ours { Ok(()) } else { Err(Refusal::WrongEnsemble) }
    }

    fn add(&mut self, id: Id) {
        if !self.ids.contains(&id) {
            self.ids.push(id);
        }
    }

    /// The name in an identity, if its scheme has a provider.
    fn user<'a>(&self, id: &'a Id) -> Option<&'a str> {
        match id.scheme.as_str() {
            "digest" => Some(id.id.split(':').next().unwrap_or_default()),
            scheme => self.rules.has(scheme).then_some(&id.id),
        }
    }

    fn matches(&self, wanted: &Id) -> bool {
        if wanted.scheme == "world" && wanted.id == "anyone" {
            return true;
        }
        self.rules.has(&wanted.scheme)
            && self.ids.iter().any(|id| id.scheme == wanted.scheme && self.is(&id.id, wanted))
    }

    /// `AuthenticationProvider.matches`.
    fn is(&self, id: &str, wanted: &Id) -> bool {
        match wanted.scheme.as_str() {
            "ip" => network::contains(&wanted.id, id),
            "sasl" => {
                id == "super" || id == wanted.id || self.rules.any_sasl_user.as_ref() == Some(&wanted.id)
            }
            "ensemble" => false,
            _ => id == wanted.id,
        }
    }

    /// `AuthenticationProvider.isValid`.
    fn is_valid(&self, id: &Id) -> bool {
        if id.scheme == "world" {
            return id.id == "anyone";
        }
        self.rules.has(&id.scheme)
            && match id.scheme.as_str() {
                "digest" => java_split_count(&id.id) == 2,
                "ip" => network::is_valid(&id.id),
                "x509" => distinguished_name::is_valid(&id.id),
                "sasl" => is_kerberos_name(&id.id),
                _ => false,
            }
    }

    /// The identities that were proven by credentials.
    fn proven(&self, perms: i32) -> Result<Vec<Acl>, ErrorCode> {
        let is_proven = |id: &&Id| matches!(id.scheme.as_str(), "digest" | "x509" | "sasl");
        let proven = self.ids.iter().filter(is_proven).filter(|id| self.rules.has(&id.scheme));
        let acl: Vec<Acl> = proven.map(|id| Acl { perms, id: id.clone() }).collect();
        if acl.is_empty() { Err(ErrorCode::InvalidAcl) } else { Ok(acl) }
    }
}

/// Bytes of the entries on the wire and in the log.
#[must_use]
pub fn encoded_length(acl: &[Acl]) -> usize {
    // Permissions and two lengths of four bytes each.
    acl.iter().map(|entry| 12 + entry.id.scheme.len() + entry.id.id.len()).sum()
}

/// The ACL as `getACL` shows it to somebody without ADMIN: hashes of passwords are masked.
#[must_use]
pub fn masked(acl: &[Acl]) -> Vec<Acl> {
    let mask = |entry: &Acl| match entry.id.id.split_once(':') {
        Some((user, _)) if entry.id.scheme == "digest" => {
            Acl { perms: entry.perms, id: id("digest", format!("{user}:x")) }
        }
        _ => entry.clone(),
    };
    acl.iter().map(mask).collect()
}

/// May the holder of these identities read the ACL at all (READ or ADMIN)?
#[must_use]
pub fn may_read_acl(who: &Identities, acl: &[Acl]) -> bool {
    who.may(perms::READ | perms::ADMIN, acl)
}

fn id(scheme: &str, id: impl Into<String>) -> Id {
    Id { scheme: scheme.to_owned(), id: id.into() }
}

/// The parts that `String.split(":")` gives: empty ones at the end do not count.
fn java_split_count(text: &str) -> usize {
    let text = text.trim_end_matches(':');
    if text.is_empty() { 0 } else { text.split(':').count() }
}

/// Does `KerberosName` accept this? Without a realm everything, with one at most one slash in front of it.
fn is_kerberos_name(name: &str) -> bool {
    match name.split_once('@') {
        None => true,
        Some((principal, realm)) => principal.matches('/').count() <= 1 && !realm.contains(['/', '@']),
    }
}

#[cfg(test)]
mod tests;
