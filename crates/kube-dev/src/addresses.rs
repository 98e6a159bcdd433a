//! Addresses of pods and Services.

/// A /16 whose addresses are given out in turn.
#[derive(Debug, Clone)]
pub(crate) struct Addresses {
    network: [u8; 2],
    last: u16,
}

impl Addresses {
    pub(crate) fn new(network: [u8; 2]) -> Self {
        Addresses { network, last: 0 }
    }

    /// The next address that nobody uses; none if all are used.
    pub(crate) fn take(&mut self, is_used: impl Fn(&str) -> bool) -> Option<String> {
        let [a, b] = self.network;
        for _ in 0..=u16::MAX {
            self.last = self.last.wrapping_add(1);
            let [c, d] = self.last.to_be_bytes();
            let address = format!("{a}.{b}.{c}.{d}");
            // The first and the last address of a network are nobody's.
            if !matches!(self.last, 0 | u16::MAX) && !is_used(&address) {
                return Some(address);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_again_when_all_were_had() {
        let mut addresses = Addresses::new([10, 96]);
        let all: std::collections::BTreeSet<_> = (0..65_534).map(|_| addresses.take(|_| false)).collect();
        assert_eq!(all.len(), 65_534);
        assert!(
            !all.contains(&Some("10.96.0.0".to_owned())) && !all.contains(&Some("10.96.255.255".to_owned()))
        );
        assert_eq!(addresses.take(|_| false).as_deref(), Some("10.96.0.1"));
    }

    #[test]
    fn used_addresses_are_passed_over() {
        let mut addresses = Addresses::new([10, 96]);
        assert_eq!(addresses.take(|address| address != "10.96.1.0").as_deref(), Some("10.96.1.0"));
        assert_eq!(addresses.take(|address| address != "10.96.0.7").as_deref(), Some("10.96.0.7"));
        assert_eq!(addresses.take(|_| true), None);
    }
}
