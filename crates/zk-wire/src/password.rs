//! Session passwords as Apache derives them.

use crate::ids::SessionId;

/// The password of a session: 16 bytes that follow from its id
/// (`ZooKeeperServer.generatePasswd`: `java.util.Random` seeded with the id xor a constant).
///
/// It is a checksum, not a secret: every `Stat` of an ephemeral shows the id.
#[must_use]
pub fn derived_password(session: SessionId) -> [u8; 16] {
    const SUPER_SECRET: i64 = 0xB341_5C00;
    const MULTIPLIER: u64 = 0x5_DEEC_E66D;
    const MASK: u64 = (1 << 48) - 1;
    let mut state = ((session.0 ^ SUPER_SECRET) as u64 ^ MULTIPLIER) & MASK;
    let mut password = [0; 16];
    for chunk in password.chunks_exact_mut(4) {
        state = state.wrapping_mul(MULTIPLIER).wrapping_add(0xB) & MASK;
        chunk.copy_from_slice(&((state >> 16) as u32).to_le_bytes());
    }
    password
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded from a 3.9.3 server.
    #[test]
    fn the_password_of_a_recorded_session() {
        let expected = 0x0e3e_3bc1_8331_77a5_9c92_0071_04dd_68a6_u128.to_be_bytes();
        assert_eq!(derived_password(SessionId(0x0100_0017_6614_0000)), expected);
    }
}
