//! The passwords of sessions: what follows from the id alone, as on Apache, or from a key too. Pure.

use std::collections::BTreeSet;
use std::fmt;

use sha2::{Digest, Sha256};
use zk_wire::ids::SessionId;
use zk_wire::password::derived_password;

/// What passwords follow from.
#[derive(Debug, Default)]
pub enum Passwords {
    /// From the id alone: a checksum, which everybody can compute who reads the id in a Stat.
    #[default]
    Derived,
    /// From a key too.
    Keyed(SessionKey),
}

/// A key, and the sessions that were there before it, which keep their passwords.
pub struct SessionKey {
    /// Random.
    pub key: [u8; 32],
    /// Their passwords follow from their ids until they end.
    pub derived: BTreeSet<SessionId>,
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionKey(and {} sessions from before it)", self.derived.len())
    }
}

impl Passwords {
    /// The password of a session.
    #[must_use]
    pub fn of(&self, session: SessionId) -> [u8; 16] {
        match self {
            Passwords::Keyed(key) if !key.derived.contains(&session) => key.password(session),
            _ => derived_password(session),
        }
    }

    /// Is this the password of the session? Takes as long wherever it differs.
    #[must_use]
    pub fn is_right(&self, session: SessionId, presented: Option<&[u8]>) -> bool {
        let expected = self.of(session);
        let presented = presented.unwrap_or_default();
        let differences = expected.iter().zip(presented).fold(0, |found, (a, b)| found | (a ^ b));
        presented.len() == expected.len() && differences == 0
    }
}

impl SessionKey {
    /// A hash of key and id, both of fixed length, cut in half.
    fn password(&self, session: SessionId) -> [u8; 16] {
        let hash = Sha256::new().chain_update(self.key).chain_update(session.0.to_be_bytes()).finalize();
        let mut password = [0; 16];
        password.copy_from_slice(&hash[..16]);
        password
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: SessionId = SessionId(1);
    const NEW: SessionId = SessionId(2);

    fn keyed(byte: u8) -> Passwords {
        Passwords::Keyed(SessionKey { key: [byte; 32], derived: [OLD].into() })
    }

    #[test]
    fn without_a_key_whoever_knows_the_id_knows_the_password_and_with_one_not() {
        assert!(Passwords::Derived.is_right(NEW, Some(&derived_password(NEW))));
        assert!(!keyed(7).is_right(NEW, Some(&derived_password(NEW))));
        assert!(keyed(7).is_right(NEW, Some(&keyed(7).of(NEW))));
        assert!(!keyed(8).is_right(NEW, Some(&keyed(7).of(NEW))));
        assert_ne!(keyed(7).of(NEW), keyed(7).of(SessionId(3)));
    }

    #[test]
    fn a_session_from_before_the_key_keeps_its_password() {
        assert!(keyed(7).is_right(OLD, Some(&derived_password(OLD))));
    }

    #[test]
    fn nothing_but_the_whole_password_is_right() {
        let right = keyed(7).of(NEW);
        for wrong in [None, Some(&[][..]), Some(&right[..15]), Some(&[right.as_slice(), &[0]].concat()[..])] {
            assert!(!keyed(7).is_right(NEW, wrong), "{wrong:?}");
        }
    }
}
