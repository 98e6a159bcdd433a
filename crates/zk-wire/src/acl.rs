//! Access control lists.

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
