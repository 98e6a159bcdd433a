//! Names of Services and slices.

use sha1::{Digest, Sha1};

use crate::model::{Family, MAX_LABEL as MAX, is_label};

/// Digits of the hash that tells changed names apart.
const HASH: usize = 10;

/// The name of the Service that stands for something registered under `source`. The same in every release.
///
/// What is a Service's name already stays as it is. Whatever must be changed gets a hash of all of it behind
/// it, and so does what looks like such a name: so two sources have the same name only if their hashes are
/// the same.
#[must_use]
pub fn service_name(source: &str) -> String {
    if is_service_name(source) && !has_hash(source) {
        return source.to_owned();
    }
    let mut name = String::new();
    for c in source.chars().map(|c| c.to_ascii_lowercase()) {
        match c {
            'a'..='z' | '0'..='9' => name.push(c),
            _ if name.ends_with('-') => {}
            _ => name.push('-'),
        }
        if name.len() == MAX - HASH - 1 {
            break;
        }
    }
    let name = name.trim_matches('-');
    let begins_well = name.starts_with(|c: char| c.is_ascii_lowercase());
    let name = if begins_well { name } else { &*format!("x-{name}") };
    let end = name.len().min(MAX - HASH - 1);
    format!("{}-{}", name[..end].trim_end_matches('-'), hash(source))
}

/// The name of one of a Service's slices. All of a Service's slices with the same family and port are
/// numbered.
#[must_use]
pub fn slice_name(service: &str, family: Family, port: u16, number: usize) -> String {
    let family = match family {
        Family::Ipv4 => "ipv4",
        Family::Ipv6 => "ipv6",
        Family::Fqdn => "fqdn",
    };
    format!("{service}-{family}-{port}-{number}")
}

/// Kubernetes' `ValidateServiceName`: a label as of RFC 1035, that is, it begins with a letter.
fn is_service_name(text: &str) -> bool {
    is_label(text) && text.starts_with(|c: char| c.is_ascii_lowercase())
}

fn has_hash(name: &str) -> bool {
    let is_hash = |text: &str| text.len() == HASH && text.bytes().all(|c| c.is_ascii_hexdigit());
    name.rsplit_once('-').is_some_and(|(_, last)| is_hash(last))
}

fn hash(source: &str) -> String {
    let digest = Sha1::digest(source.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>()[..HASH].to_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// These names must be the same in every release.
    #[test]
    fn names_are_exactly_these() {
        for (source, name) in [
            ("orders", "orders"),
            ("a-b-1", "a-b-1"),
            ("com.acme.OrderService", "com-acme-orderservice-18330ffe22"),
            ("com.acme.OrderService:1.0.0", "com-acme-orderservice-1-0-0-5eb43614f2"),
            ("com.acme.OrderService:1.0.0:g1", "com-acme-orderservice-1-0-0-g1-9014480fd3"),
            ("Orders", "orders-cded093321"),
            ("7up", "x-7up-d84072a3a9"),
            ("été", "t-64d0cbc5f0"),
            ("..", "x-9d891e731f"),
            ("orders-0123456789", "orders-0123456789-c437bd915f"),
        ] {
            assert_eq!(service_name(source), name, "{source}");
        }
    }

    #[test]
    fn what_differs_in_case_or_in_a_dot_has_another_name() {
        let sources = ["orders", "Orders", "a.b", "a-b", "a_b", "a..b", "com.acme.A:1", "com.acme.A::1"];
        let mut names = BTreeMap::new();
        for source in sources {
            assert_eq!(names.insert(service_name(source), source), None, "{source}");
        }
        // Nor does the name of one become that of another.
        let changed = service_name("a.b");
        assert_ne!(service_name(&changed), changed);
    }

    proptest! {
        #[test]
        fn every_name_is_one_that_kubernetes_takes(source in any::<String>()) {
            let name = service_name(&source);
            prop_assert!(is_service_name(&name), "{source:?} became {name:?}");
            prop_assert!(name == source || has_hash(&name));
            prop_assert!(slice_name(&name, Family::Ipv6, u16::MAX, 1_000_000).len() <= 253);
        }

        #[test]
        fn long_names_are_told_apart(source in "[a-z.]{60,300}", more in "[a-z]") {
            prop_assert_ne!(service_name(&source), service_name(&format!("{source}{more}")));
        }
    }
}
