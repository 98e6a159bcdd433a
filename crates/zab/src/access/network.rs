//! The `ip` scheme: addresses and networks as ACLs name them (`IPAuthenticationProvider`).
//!
//! Stricter than Rust's own parser where Apache is, and laxer where it is: no IPv4 inside IPv6, no zones, but
//! leading zeros.

/// An address with the number of its leading bits that count.
#[derive(Debug, PartialEq, Eq)]
struct Network {
    address: Address,
    bits: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Address {
    V4(u32),
    V6(u128),
}

/// Is `text` an address or `address/bits`?
#[must_use]
pub fn is_valid(text: &str) -> bool {
    Network::parse(text).is_some()
}

/// Is `address` in `network`?
#[must_use]
pub fn contains(network: &str, address: &str) -> bool {
    match (Network::parse(network), Address::parse(address)) {
        (Some(network), Some(address)) => network.contains(address),
        _ => false,
    }
}

/// An address as Java writes it: IPv6 without `::`.
#[must_use]
pub fn text(address: std::net::IpAddr) -> String {
    match address.to_canonical() {
        std::net::IpAddr::V4(address) => address.to_string(),
        std::net::IpAddr::V6(address) => {
            let segments: Vec<String> = address.segments().iter().map(|s| format!("{s:x}")).collect();
            segments.join(":")
        }
    }
}

impl Network {
    fn parse(text: &str) -> Option<Network> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(u32::try_from(bits.parse::<i32>().ok()?).ok()?)),
            None => (text, None),
        };
        let address = Address::parse(address)?;
        let width = match address {
            Address::V4(_) => 32,
            Address::V6(_) => 128,
        };
        let bits = bits.unwrap_or(width);
        (bits <= width).then_some(Network { address, bits })
    }

    fn contains(&self, address: Address) -> bool {
        match (self.address, address) {
            (Address::V4(network), Address::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - self.bits).unwrap_or(0);
                network & mask == address & mask
            }
            (Address::V6(network), Address::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - self.bits).unwrap_or(0);
                network & mask == address & mask
            }
            _ => false,
        }
    }
}

impl Address {
    fn parse(text: &str) -> Option<Address> {
        if text.contains(':') { v6(text).map(Address::V6) } else { v4(text).map(Address::V4) }
    }
}

fn v4(text: &str) -> Option<u32> {
    let mut address = 0;
    let mut parts = 0;
    for part in text.split('.') {
        parts += 1;
        let byte = part.parse::<i32>().ok().and_then(|byte| u8::try_from(byte).ok())?;
        if parts > 4 {
            return None;
        }
        address = address << 8 | u32::from(byte);
    }
    (parts == 4).then_some(address)
}

fn v6(text: &str) -> Option<u128> {
    let halves: Vec<&str> = text.split("::").collect();
    let (front, back) = match halves[..] {
        [all] => (segments(all)?, Vec::new()),
        [front, back] => (segments_or_none(front)?, segments_or_none(back)?),
        _ => return None,
    };
    let (given, is_whole) = (front.len() + back.len(), halves.len() == 1);
    if (is_whole && given != 8) || (!is_whole && given >= 8) {
        return None;
    }
    let zeros = vec![0; 8 - given];
    Some(
        front
            .iter()
            .chain(&zeros)
            .chain(&back)
            .fold(0, |address, segment| address << 16 | u128::from(*segment)),
    )
}

fn segments_or_none(text: &str) -> Option<Vec<u16>> {
    if text.is_empty() { Some(Vec::new()) } else { segments(text) }
}

/// At most eight are read, so that a long text costs nothing.
fn segments(text: &str) -> Option<Vec<u16>> {
    let segment =
        |part: &str| (1..=4).contains(&part.len()).then(|| u16::from_str_radix(part, 16).ok()).flatten();
    text.split(':').take(9).map(segment).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_those_of_apache() {
        for text in
            ["10.0.0.1", "10.0.0.0/8", "0.0.0.0/0", "::1", "1::/64", "1:2:3:4:5:6:7:8", "::", "010.0.0.1"]
        {
            assert!(is_valid(text), "{text}");
        }
        for text in [
            "",
            "10",
            "10.0.0",
            "10.0.0.256",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "10.0.0.0/",
            "1.2.3.4.5",
            "::ffff:1.2.3.4",
            "fe80::1%eth0",
            "1:2:3:4:5:6:7",
            "1:2:3:4:5:6:7:8::",
            "1::2::3",
            "12345::",
            ":1:2:3:4:5:6:7:8",
            "::/129",
        ] {
            assert!(!is_valid(text), "{text}");
        }
    }

    #[test]
    fn a_network_has_the_addresses_with_its_leading_bits() {
        let cases = [
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.0.0/16", "10.1.2.3", true),
            ("10.2.0.0/16", "10.1.2.3", false),
            ("0.0.0.0/0", "10.1.2.3", true),
            ("::/0", "10.1.2.3", false),
            ("::/0", "0:0:0:0:0:0:0:1", true),
            ("2001:db8::/33", "2001:db8:7fff:0:0:0:0:1", true),
            ("2001:db8::/33", "2001:db8:8000:0:0:0:0:1", false),
        ];
        for (network, address, inside) in cases {
            assert_eq!(contains(network, address), inside, "{network} {address}");
        }
    }

    #[test]
    fn addresses_are_written_as_java_does() {
        for (address, expected) in
            [("::1", "0:0:0:0:0:0:0:1"), ("10.1.2.3", "10.1.2.3"), ("::ffff:10.1.2.3", "10.1.2.3")]
        {
            assert_eq!(text(address.parse().unwrap()), expected);
        }
    }
}
