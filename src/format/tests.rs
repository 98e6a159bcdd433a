//! What all formats keep.

use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::model::{Endpoint, Host, Protocol, Service, ViewName, ZnodePath};

fn service() -> Service {
    Service::sample(&[], vec![])
}

/// The one directory of this format for this value of its annotation.
fn target(format: Format, value: &str) -> Box<dyn Target> {
    let service = service();
    let mut targets = format.targets(&Asking { value, service: &service, view: &ViewName::UNNAMED });
    assert_eq!(targets.len(), 1);
    targets.remove(0).unwrap()
}

fn value(format: Format) -> &'static str {
    if matches!(format, Format::Dubbo | Format::Dubbo3) { "com.acme.Orders" } else { "orders" }
}

/// Names are of few characters, so that they resemble each other.
fn host() -> impl Strategy<Value = Host> {
    let name =
        prop_oneof!["[ab19]([ab9-]{0,3}[ab9])?(\\.[a-z]([a9-]{0,2}b)?){0,3}", "[a-z0-9]{1,63}\\.[a-z]{1,63}"];
    prop_oneof![any::<IpAddr>().prop_map(Host::Ip), name.prop_filter_map("a name", |name| Host::parse(&name))]
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    (host(), 1u16..).prop_map(|(host, port)| Endpoint { host, port, protocol: Protocol::Tcp })
}

fn topology() -> impl Strategy<Value = Vec<(&'static str, String)>> {
    let value = prop::option::of(prop::sample::select(vec!["a", "b", "eu-west-1a"]));
    let zone = |value: Option<&str>| value.map(|value| ("zone", value.to_owned()));
    let node = |value: Option<&str>| value.map(|value| ("node", value.to_owned()));
    (value.clone(), value).prop_map(move |(one, other)| zone(one).into_iter().chain(node(other)).collect())
}

fn is_mapped(host: &Host) -> bool {
    matches!(host, Host::Ip(IpAddr::V6(ip)) if ip.to_ipv4_mapped().is_some())
}

proptest! {
    /// What a format writes is a znode's name, it tells the address, and it is read as what it stands for.
    #[test]
    fn what_is_written_is_read(endpoint in endpoint()) {
        prop_assume!(!is_mapped(&endpoint.host));
        for format in Format::ALL {
            let Ok(leaf) = target(format, value(format)).leaf(&Instance::new(&endpoint, 7)) else { continue };
            prop_assert!(zk_wire::path::validate_component(&leaf.name).is_ok());
            prop_assert_eq!(format.host(&leaf.name), Some(endpoint.host.clone()));
            let read = format.registered(value(format), &leaf.name, &leaf.data);
            let expected = Registered {
                service: value(format).to_owned(),
                host: endpoint.host.clone(),
                port: endpoint.port,
                ready: true,
            };
            prop_assert_eq!(read, Ok(expected), "{}", format);
        }
    }

    /// Where an endpoint runs changes nothing of what a leaf stands for; one that drains is read as not ready.
    #[test]
    fn what_is_told_beside_the_address_is_read_past(endpoint in endpoint(), zone in any::<String>(), draining: bool) {
        prop_assume!(!is_mapped(&endpoint.host));
        let topology = [("zone", zone), ("node", "n-1".to_owned())];
        for format in Format::ALL {
            let target = target(format, value(format));
            for drain in format.drains().iter().map(Some).chain([None]).map(|drain| drain.copied()) {
                let is_draining = draining && drain.is_some();
                let topology = if format.has_topology() { &topology[..] } else { &[] };
                let instance = Instance { topology, drain, is_draining, ..Instance::new(&endpoint, 7) };
                let Ok(leaf) = target.leaf(&instance) else { continue };
                prop_assert!(zk_wire::path::validate_component(&leaf.name).is_ok());
                prop_assert_eq!(format.host(&leaf.name), Some(endpoint.host.clone()));
                let read = format.registered(value(format), &leaf.name, &leaf.data).unwrap();
                prop_assert_eq!((&read.host, read.port, read.ready), (&endpoint.host, endpoint.port, !is_draining));
            }
        }
    }

    /// Two endpoints never have one name, and one endpoint has the same leaf always.
    #[test]
    fn names_are_injective(one in endpoint(), other in endpoint()) {
        for format in Format::ALL {
            let leaf = |endpoint: &Endpoint| target(format, value(format)).leaf(&Instance::new(endpoint, 7)).ok();
            prop_assert_eq!(leaf(&one), leaf(&one));
            if one != other && leaf(&one).is_some() {
                prop_assert_ne!(leaf(&one).map(|leaf| leaf.name), leaf(&other).map(|leaf| leaf.name));
            }
        }
    }

    /// Consumers of these formats read a leaf once, or its name alone: what it says follows from the name.
    #[test]
    fn what_is_read_once_has_another_name_when_it_says_something_else(
        endpoint in endpoint(),
        one in topology(),
        other in topology(),
        (one_drains, other_drains) in any::<(bool, bool)>(),
    ) {
        for format in [Format::Dubbo, Format::Serverset, Format::Nerve, Format::Hostport] {
            let target = target(format, value(format));
            for drain in format.drains().iter().map(Some).chain([None]).map(|drain| drain.copied()) {
                let leaf = |topology: &[(&'static str, String)], is_draining: bool| {
                    let topology = if format.has_topology() { topology } else { &[] };
                    let is_draining = is_draining && drain.is_some();
                    target.leaf(&Instance { topology, drain, is_draining, ..Instance::new(&endpoint, 7) })
                };
                let (Ok(one), Ok(other)) = (leaf(&one, one_drains), leaf(&other, other_drains)) else { continue };
                prop_assert_eq!(one.name == other.name, one == other, "{} {:?} {:?}", format, one, other);
            }
        }
    }

    /// Whatever somebody registers, reading it ends.
    #[test]
    fn no_registration_panics(name in any::<String>(), data in prop::collection::vec(any::<u8>(), 0..200)) {
        let text = String::from_utf8_lossy(&data).into_owned();
        for format in Format::ALL {
            for name in [&name, &text, &format!("member_{text}"), &format!("base64_1_{text}_1"), &format!("{name}:1")] {
                let _ = format.registered("orders", name, &data);
                let _ = format.registered("orders", name, text.as_bytes());
                let _ = format.host(name);
                let _ = format.service_of(name);
            }
        }
    }

    /// Whatever an annotation says, there is a directory or a reason.
    #[test]
    fn no_annotation_panics(value in any::<String>()) {
        let service = service();
        let root = ZnodePath::new("/root").unwrap();
        let asking = Asking { value: &value, service: &service, view: &ViewName::UNNAMED };
        for format in Format::ALL {
            for target in format.targets(&asking).into_iter().flatten() {
                prop_assert!(target.directory(&root).is_ok_and(|directory| directory.is_below(&root)));
            }
        }
    }
}

#[test]
fn names_are_those_of_rules_and_annotations() {
    for format in Format::ALL {
        assert_eq!(serde_saphyr::from_str::<Format>(format.name()).unwrap(), format);
        assert!(ZnodePath::new(format.default_root()).is_ok());
        assert!(format.options().iter().all(|option| option.starts_with(&format!("{format}-"))));
    }
}

#[test]
fn a_service_is_published_under_its_own_name_where_it_names_none() {
    for format in Format::ALL.into_iter().filter(|format| format.has_own_name()) {
        assert_eq!(target(format, "").name(), "orders");
    }
}
