//! Address families, and which of them are published.

use std::net::IpAddr;

/// The families that a Service has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Families {
    /// IPv4.
    pub ipv4: bool,
    /// IPv6.
    pub ipv6: bool,
}

/// Which addresses of a Service with both families are published. With both, a pod is there twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FamilyPolicy {
    /// IPv4 if the Service has it, else IPv6.
    #[default]
    PreferIpv4,
    /// IPv6 if the Service has it, else IPv4.
    PreferIpv6,
    /// IPv4 and nothing else.
    Ipv4,
    /// IPv6 and nothing else.
    Ipv6,
    /// Whatever it has.
    Both,
}

impl FamilyPolicy {
    /// All of them, with what annotations call them.
    pub const ALL: [(&'static str, FamilyPolicy); 5] = [
        ("prefer-ipv4", FamilyPolicy::PreferIpv4),
        ("prefer-ipv6", FamilyPolicy::PreferIpv6),
        ("ipv4", FamilyPolicy::Ipv4),
        ("ipv6", FamilyPolicy::Ipv6),
        ("both", FamilyPolicy::Both),
    ];

    /// The families of a Service that has these which are published.
    #[must_use]
    pub fn of(self, Families { ipv4, ipv6 }: Families) -> Families {
        match self {
            FamilyPolicy::PreferIpv4 => Families { ipv4, ipv6: !ipv4 },
            FamilyPolicy::PreferIpv6 => Families { ipv4: !ipv6, ipv6 },
            FamilyPolicy::Ipv4 => Families { ipv4: true, ipv6: false },
            FamilyPolicy::Ipv6 => Families { ipv4: false, ipv6: true },
            FamilyPolicy::Both => Families { ipv4: true, ipv6: true },
        }
    }
}

impl Families {
    /// Is this address of one of them?
    #[must_use]
    pub fn has(self, ip: &IpAddr) -> bool {
        if ip.is_ipv4() { self.ipv4 } else { self.ipv6 }
    }
}
