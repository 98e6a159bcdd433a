//! Access control lists.

use std::net::IpAddr;
use std::str::FromStr;

use crate::jute::{DecodeError, Jute, Reader, record};

/// Who: a scheme and an id within it (`org.apache.zookeeper.data.Id`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Id {
    /// `world`, `auth`, `digest`, `ip`, `x509`, `sasl`, `super`.
    pub scheme: String,
    /// The identity in that scheme's own form.
    pub id: String,
}

impl Jute for Id {
    /// A null reads as empty: it is as invalid in an ACL, and `auth` needs no id.
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut field = |name| -> Result<String, DecodeError> {
            let text: Option<String> =
                reader.read().map_err(|error: DecodeError| error.within("Id", name))?;
            Ok(text.unwrap_or_default())
        };
        Ok(Id { scheme: field("scheme")?, id: field("id")? })
    }

    fn write(&self, out: &mut Vec<u8>) {
        self.scheme.write(out);
        self.id.write(out);
    }
}

record! {
    /// Who may do what (`org.apache.zookeeper.data.ACL`).
    Acl {
        /// A union of the bits in [`perms`].
        perms: i32,
        /// Whom they are granted to.
        id: Id,
    }
}

/// The permission bits of [`Acl::perms`] (`ZooDefs.Perms`).
pub mod perms {
    /// Read data and list children.
    pub const READ: i32 = 1;
    /// Set data.
    pub const WRITE: i32 = 2;
    /// Create children.
    pub const CREATE: i32 = 4;
    /// Delete children.
    pub const DELETE: i32 = 8;
    /// Set ACLs.
    pub const ADMIN: i32 = 16;
    /// All of the above.
    pub const ALL: i32 = 31;

    /// The letters of the shell, in its order.
    const LETTERS: [(char, i32); 5] = [('c', CREATE), ('d', DELETE), ('r', READ), ('w', WRITE), ('a', ADMIN)];

    /// The bits of some letters; `None` if there are none, or one is none or comes twice.
    #[must_use]
    pub fn of(letters: &str) -> Option<i32> {
        let bits = letters.chars().try_fold(0, |bits, letter| {
            let (_, bit) = LETTERS.iter().find(|(known, _)| *known == letter)?;
            (bits & bit == 0).then_some(bits | bit)
        })?;
        (bits != 0).then_some(bits)
    }

    /// The letters of some bits.
    #[must_use]
    pub fn letters(bits: i32) -> String {
        LETTERS.iter().filter(|(_, bit)| bits & bit != 0).map(|(letter, _)| letter).collect()
    }
}

impl Acl {
    /// Anyone may do everything (`ZooDefs.Ids.OPEN_ACL_UNSAFE`).
    #[must_use]
    pub fn open() -> Vec<Acl> {
        vec![Acl::world(perms::ALL)]
    }

    /// Anyone may do `perms`.
    #[must_use]
    pub fn world(perms: i32) -> Acl {
        Acl { perms, id: Id { scheme: "world".to_owned(), id: "anyone".to_owned() } }
    }
}

/// Why a text is no entry of an ACL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is no entry of an ACL, which is scheme:id:perms as in zkCli's setAcl: {0}")]
pub struct AclError(&'static str);

impl FromStr for Acl {
    type Err = AclError;

    /// As `AclParser` reads it: the scheme ends at the first colon and the permissions begin behind the last one.
    fn from_str(text: &str) -> Result<Self, AclError> {
        let (scheme, rest) = text.split_once(':').ok_or(AclError("it has no colon"))?;
        let (id, letters) = rest.rsplit_once(':').ok_or(AclError("it has one colon only"))?;
        let perms =
            perms::of(letters).ok_or(AclError("its permissions are some of c, d, r, w, a, each once"))?;
        match (scheme, id) {
            ("world", "anyone") | ("auth", "") => {}
            ("world", _) => return Err(AclError("the id of world is anyone")),
            ("auth", _) => return Err(AclError("auth has no id")),
            ("digest", id) => match id.split_once(':') {
                Some((user, hash)) if !user.is_empty() && !hash.is_empty() && !hash.contains(':') => {}
                _ => return Err(AclError("the id of digest is user:hash")),
            },
            ("ip", id) if is_network(id) => {}
            ("ip", _) => return Err(AclError("the id of ip is an address, or address/bits")),
            ("sasl" | "x509", "") => return Err(AclError("it has no id")),
            ("sasl" | "x509", _) => {}
            _ => return Err(AclError("there are the schemes world, auth, digest, sasl, x509, ip")),
        }
        Ok(Acl { perms, id: Id { scheme: scheme.to_owned(), id: id.to_owned() } })
    }
}

fn is_network(id: &str) -> bool {
    let (address, bits) = id.split_once('/').map_or((id, None), |(address, bits)| (address, Some(bits)));
    let Ok(address) = address.parse::<IpAddr>() else { return false };
    let most = if address.is_ipv4() { 32 } else { 128 };
    bits.is_none_or(|bits| bits.parse::<u8>().is_ok_and(|bits| bits <= most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_as_the_shell_reads_them() {
        for (text, scheme, id, perms) in [
            ("world:anyone:r", "world", "anyone", perms::READ),
            ("auth::cdrwa", "auth", "", perms::ALL),
            ("digest:bob:aGFzaA==:cd", "digest", "bob:aGFzaA==", perms::CREATE | perms::DELETE),
            ("sasl:zk/host@REALM:w", "sasl", "zk/host@REALM", perms::WRITE),
            ("x509:CN=a:b,O=c:a", "x509", "CN=a:b,O=c", perms::ADMIN),
            ("ip:10.0.0.0/8:r", "ip", "10.0.0.0/8", perms::READ),
            ("ip:fd00::1:r", "ip", "fd00::1", perms::READ),
        ] {
            let expected = Acl { perms, id: Id { scheme: scheme.to_owned(), id: id.to_owned() } };
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_entry_is_told_why() {
        for (text, reason) in [
            ("world", "no colon"),
            ("world:anyone", "one colon"),
            ("world:me:r", "anyone"),
            ("world:anyone:", "permissions"),
            ("world:anyone:rr", "permissions"),
            ("world:anyone:x", "permissions"),
            ("auth:bob:r", "no id"),
            ("digest:bob:r", "user:hash"),
            ("ip:10.0.0.0/33:r", "address"),
            ("ip:host:r", "address"),
            ("sasl::r", "no id"),
            ("super:bob:r", "schemes"),
        ] {
            let error = text.parse::<Acl>().unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn permissions_are_letters() {
        for perms in 1..=perms::ALL {
            assert_eq!(perms::of(&perms::letters(perms)), Some(perms));
        }
        assert_eq!(perms::letters(perms::ALL), "cdrwa");
    }
}
