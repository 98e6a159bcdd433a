//! Who may do what: identities of connections against ACLs (`ZKServer.checkACL`, `PrepRequestProcessor.fixupACL`).

use base64::Engine;
use sha1::{Digest, Sha1};
use zk_wire::acl::{Acl, Id, perms};
use zk_wire::codes::ErrorCode;

/// The identities of a connection: its address, and what it has proven since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identities(Vec<Id>);

impl Identities {
    /// A connection from `address` that has proven nothing.
    #[must_use]
    pub fn of_address(address: std::net::IpAddr) -> Self {
        Identities(vec![Id { scheme: "ip".to_owned(), id: address.to_string() }])
    }

    /// The server's own requests, which may do everything.
    #[must_use]
    pub fn internal() -> Self {
        Identities(vec![Id { scheme: "super".to_owned(), id: String::new() }])
    }

    /// Adds an identity by scheme and credentials.
    ///
    /// # Errors
    /// The scheme is unknown or the credentials have not its form; the connection must then be closed.
    pub fn authenticate(&mut self, scheme: &str, auth: &[u8]) -> Result<(), ErrorCode> {
        match scheme {
            "digest" => self.add(Id { scheme: scheme.to_owned(), id: digest_id(auth)? }),
            // The address is known already (`IPAuthenticationProvider`).
            "ip" => {}
            _ => return Err(ErrorCode::AuthFailed),
        }
        Ok(())
    }

    /// All of them, for `whoAmI`.
    #[must_use]
    pub fn all(&self) -> &[Id] {
        &self.0
    }

    /// Does `acl` grant `perm`? An empty ACL grants everything.
    #[must_use]
    pub fn may(&self, perm: i32, acl: &[Acl]) -> bool {
        acl.is_empty()
            || self.is_super()
            || acl.iter().any(|entry| entry.perms & perm != 0 && self.matches(&entry.id))
    }

    /// The ACL as it is stored: duplicates removed, `auth` replaced by who is asking.
    ///
    /// # Errors
    /// `InvalidAcl`: empty, an unknown scheme, an id that is not of its scheme's form, `auth` without an
    /// identity, or more than 16 KiB.
    pub fn fix_up(&self, acl: &[Acl]) -> Result<Vec<Acl>, ErrorCode> {
        let (mut fixed, mut bytes) = (Vec::new(), 0);
        for entry in acl {
            let expanded = match entry.id.scheme.as_str() {
                "auth" => self.proven(entry.perms)?,
                _ if is_valid(&entry.id) => vec![entry.clone()],
                _ => return Err(ErrorCode::InvalidAcl),
            };
            for entry in expanded {
                if !fixed.contains(&entry) {
                    bytes += encoded_length(std::slice::from_ref(&entry));
                    fixed.push(entry);
                }
                if bytes > MAX_ACL_BYTES {
                    return Err(ErrorCode::InvalidAcl);
                }
            }
        }
        if fixed.is_empty() { Err(ErrorCode::InvalidAcl) } else { Ok(fixed) }
    }

    fn add(&mut self, id: Id) {
        if !self.0.contains(&id) {
            self.0.push(id);
        }
    }

    fn is_super(&self) -> bool {
        self.0.iter().any(|id| id.scheme == "super")
    }

    fn matches(&self, wanted: &Id) -> bool {
        if wanted.scheme == "world" {
            return wanted.id == "anyone";
        }
        self.0.iter().filter(|id| id.scheme == wanted.scheme).any(|id| match wanted.scheme.as_str() {
            "ip" => in_network(&id.id, &wanted.id),
            _ => id.id == wanted.id,
        })
    }

    /// The identities that were proven by credentials.
    fn proven(&self, perms: i32) -> Result<Vec<Acl>, ErrorCode> {
        let proven: Vec<Acl> = self
            .0
            .iter()
            .filter(|id| id.scheme == "digest")
            .map(|id| Acl { perms, id: id.clone() })
            .collect();
        if proven.is_empty() { Err(ErrorCode::InvalidAcl) } else { Ok(proven) }
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
            Acl { perms: entry.perms, id: Id { scheme: "digest".to_owned(), id: format!("{user}:x") } }
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

/// `user:password` to `user:base64(sha1(user:password))` (`DigestAuthenticationProvider`).
fn digest_id(auth: &[u8]) -> Result<String, ErrorCode> {
    let text = std::str::from_utf8(auth).map_err(|_| ErrorCode::AuthFailed)?;
    let user = text.split(':').next().unwrap_or_default();
    let hash = base64::engine::general_purpose::STANDARD.encode(Sha1::digest(auth));
    Ok(format!("{user}:{hash}"))
}

/// Room for hundreds of identities. Without a limit a small request could ask for any amount of work and
/// memory: each of its `auth` entries becomes all that the connection has proven.
const MAX_ACL_BYTES: usize = 16 << 10;

fn is_valid(id: &Id) -> bool {
    match id.scheme.as_str() {
        "world" => id.id == "anyone",
        "digest" => id.id.split(':').count() == 2,
        "ip" => parse_network(&id.id).is_some(),
        _ => false,
    }
}

fn parse_network(text: &str) -> Option<(std::net::IpAddr, u32)> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits.parse::<u32>().ok()?)),
        None => (text, None),
    };
    let address: std::net::IpAddr = address.parse().ok()?;
    let width = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.unwrap_or(width);
    (bits <= width).then_some((address, bits))
}

fn in_network(address: &str, network: &str) -> bool {
    let (Ok(address), Some((network, bits))) = (address.parse::<std::net::IpAddr>(), parse_network(network))
    else {
        return false;
    };
    match (address, network) {
        (std::net::IpAddr::V4(a), std::net::IpAddr::V4(n)) => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            a.to_bits() & mask == n.to_bits() & mask
        }
        (std::net::IpAddr::V6(a), std::net::IpAddr::V6(n)) => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            a.to_bits() & mask == n.to_bits() & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acl(perms: i32, scheme: &str, id: &str) -> Acl {
        Acl { perms, id: Id { scheme: scheme.to_owned(), id: id.to_owned() } }
    }

    fn who(auth: Option<&str>) -> Identities {
        let mut who = Identities::of_address("10.1.2.3".parse().unwrap());
        if let Some(auth) = auth {
            who.authenticate("digest", auth.as_bytes()).unwrap();
        }
        who
    }

    /// Recorded: `user:pw`.
    const USER_PW: &str = "user:2Om+GBbT2q/tS6pdvACZbbm7/1A=";

    #[test]
    fn a_digest_identity_is_that_of_apache() {
        assert_eq!(who(Some("user:pw")).all()[1].id, USER_PW);
        assert_eq!(who(None).authenticate("kerberos", b"x"), Err(ErrorCode::AuthFailed));
    }

    #[test]
    fn what_acls_grant() {
        let cases = [
            (acl(1, "world", "anyone"), None, true),
            (acl(2, "world", "anyone"), None, false),
            (acl(1, "digest", USER_PW), None, false),
            (acl(1, "digest", USER_PW), Some("user:pw"), true),
            (acl(1, "digest", USER_PW), Some("user:other"), false),
            (acl(1, "ip", "10.1.2.3"), None, true),
            (acl(1, "ip", "10.1.0.0/16"), None, true),
            (acl(1, "ip", "10.2.0.0/16"), None, false),
            (acl(1, "ip", "0.0.0.0/0"), None, true),
            (acl(1, "ip", "::/0"), None, false),
        ];
        for (entry, auth, granted) in cases {
            assert_eq!(
                who(auth).may(perms::READ, std::slice::from_ref(&entry)),
                granted,
                "{entry:?} {auth:?}"
            );
        }
        assert!(who(None).may(perms::WRITE, &[]));
        assert!(Identities::internal().may(perms::ADMIN, &[acl(1, "digest", "x:y")]));
    }

    #[test]
    fn what_fix_up_makes_of_acls() {
        let twice = [acl(1, "world", "anyone"), acl(1, "world", "anyone")];
        assert_eq!(who(None).fix_up(&twice), Ok(twice[..1].to_vec()));
        assert_eq!(who(Some("user:pw")).fix_up(&[acl(31, "auth", "")]), Ok(vec![acl(31, "digest", USER_PW)]));
        let invalid = [
            vec![],
            vec![acl(31, "auth", "")],
            vec![acl(1, "world", "me")],
            vec![acl(1, "digest", "nocolon")],
            vec![acl(1, "ip", "10.0.0.0/33")],
            vec![acl(1, "nosuch", "x")],
            (0..1_000).map(|perms| acl(perms, "ip", "10.0.0.0/8")).collect(),
        ];
        for acl in invalid {
            assert_eq!(who(None).fix_up(&acl), Err(ErrorCode::InvalidAcl), "{acl:?}");
        }
    }

    #[test]
    fn hashes_are_masked() {
        assert_eq!(masked(&[acl(1, "digest", USER_PW)]), [acl(1, "digest", "user:x")]);
    }
}
