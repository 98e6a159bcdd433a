//! Kinds of refusals: reasons of Events, and labels of their metric.

/// Of which kind a refusal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// An annotation of ours that nobody knows.
    UnknownAnnotation,
    /// An annotation whose value makes no sense.
    BadAnnotation,
    /// A name or format that no rule grants.
    NotGranted,
    /// A parameter that no rule grants.
    ParameterNotGranted,
    /// Addresses of a kind that no rule grants.
    AddressNotGranted,
    /// There is no address of the kind that is asked for.
    AddressNotFound,
    /// A name instead of an address that is none, or that means something else to each consumer.
    HostNotAllowed,
    /// The port cannot be told.
    PortNotFound,
    /// Something in the slices is not published.
    EndpointsIgnored,
    /// It came from ZooKeeper.
    Imported,
    /// IPv6 addresses that break consumers.
    Ipv6NotAllowed,
    /// Others had registered instances under the name before.
    NameTaken,
    /// Others have registered instances under the name beside ours.
    NameShared,
    /// Somebody else has the znode, or another format the directory.
    Conflict,
    /// The list of a directory is about to be longer than consumers take.
    ListTooLong,
    /// ZooKeeper did not take it.
    Rejected,
    /// The sessions are full.
    OverBudget,
}

impl Reason {
    /// All of them.
    pub const ALL: &'static [Reason] = &[
        Reason::UnknownAnnotation,
        Reason::BadAnnotation,
        Reason::NotGranted,
        Reason::ParameterNotGranted,
        Reason::AddressNotGranted,
        Reason::AddressNotFound,
        Reason::HostNotAllowed,
        Reason::PortNotFound,
        Reason::EndpointsIgnored,
        Reason::Imported,
        Reason::Ipv6NotAllowed,
        Reason::NameTaken,
        Reason::NameShared,
        Reason::Conflict,
        Reason::ListTooLong,
        Reason::Rejected,
        Reason::OverBudget,
    ];

    /// One word in CamelCase, as Events have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Reason::UnknownAnnotation => "UnknownAnnotation",
            Reason::BadAnnotation => "BadAnnotation",
            Reason::NotGranted => "NotGranted",
            Reason::ParameterNotGranted => "ParameterNotGranted",
            Reason::AddressNotGranted => "AddressNotGranted",
            Reason::AddressNotFound => "AddressNotFound",
            Reason::HostNotAllowed => "HostNotAllowed",
            Reason::PortNotFound => "PortNotFound",
            Reason::EndpointsIgnored => "EndpointsIgnored",
            Reason::Imported => "Imported",
            Reason::Ipv6NotAllowed => "Ipv6NotAllowed",
            Reason::NameTaken => "NameTaken",
            Reason::NameShared => "NameShared",
            Reason::Conflict => "Conflict",
            Reason::ListTooLong => "ListTooLong",
            Reason::Rejected => "Rejected",
            Reason::OverBudget => "OverBudget",
        }
    }
}
