//! Ranges of addresses, as administrators write them.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// All addresses with a common beginning: `10.0.0.0/8`, `fd00::/8`, or a single address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct Cidr {
    first: IpAddr,
    prefix: u8,
}

/// Why a text is no range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no range of addresses like 10.0.0.0/8 or fd00::/8: {reason}")]
pub struct CidrError {
    /// As it was written.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl Cidr {
    /// Is this address in it?
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.first, ip) {
            (IpAddr::V4(first), IpAddr::V4(ip)) => (u32::from(first) ^ u32::from(ip)) & self.mask_v4() == 0,
            (IpAddr::V6(first), IpAddr::V6(ip)) => (u128::from(first) ^ u128::from(ip)) & self.mask_v6() == 0,
            _ => false,
        }
    }

    fn mask_v4(&self) -> u32 {
        u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0)
    }

    fn mask_v6(&self) -> u128 {
        u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0)
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let error = |reason| CidrError { text: text.to_owned(), reason };
        let (first, prefix) = match text.split_once('/') {
            Some((first, prefix)) => (first, Some(prefix)),
            None => (text, None),
        };
        let first: IpAddr = first.parse().map_err(|_| error("it does not begin with an address"))?;
        let longest = if first.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix.map(str::parse) {
            None => longest,
            Some(Ok(prefix)) if prefix <= longest => prefix,
            Some(_) => return Err(error("the number of bits makes no sense")),
        };
        let cidr = Cidr { first, prefix };
        let is_first = match first {
            IpAddr::V4(ip) => u32::from(ip) & !cidr.mask_v4() == 0,
            IpAddr::V6(ip) => u128::from(ip) & !cidr.mask_v6() == 0,
        };
        if is_first { Ok(cidr) } else { Err(error("its address is not the first one of the range")) }
    }
}

impl TryFrom<String> for Cidr {
    type Error = CidrError;

    fn try_from(text: String) -> Result<Self, CidrError> {
        text.parse()
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_holds_what_begins_as_it_does() {
        for (range, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("10.1.2.3", "10.1.2.3", "10.1.2.4"),
            ("10.1.2.4/31", "10.1.2.5", "10.1.2.6"),
            ("0.0.0.0/0", "8.8.8.8", "::1"),
            ("fd00::/8", "fdff::1", "fe00::1"),
            ("::/0", "fd00::1", "10.0.0.1"),
        ] {
            let cidr: Cidr = range.parse().unwrap();
            assert!(cidr.contains(inside.parse().unwrap()), "{range} {inside}");
            assert!(!cidr.contains(outside.parse().unwrap()), "{range} {outside}");
        }
    }

    #[test]
    fn what_is_no_range_is_refused_with_its_text() {
        for text in ["", "10", "10.0.0.0/33", "10.0.0.0/x", "10.0.0.1/8", "fd00::1/64", "10.0.0.0/8/8", "/8"]
        {
            let error = text.parse::<Cidr>().unwrap_err().to_string();
            assert!(error.contains(&format!("{text:?}")), "{error}");
        }
    }
}
