use super::*;
use crate::model::family::Families;
use crate::model::placement::Hints;
use crate::model::service::ServicePort;
use crate::model::slice::{SliceEndpoint, SlicePort};

const YES: Option<bool> = Some(true);
const NO: Option<bool> = Some(false);

fn service(ports: &[(&str, u16)]) -> Service {
    Service::sample(&[], ports.iter().map(|&(name, number)| ServicePort::tcp(name, number)).collect())
}

fn http() -> Service {
    service(&[("http", 80)])
}

fn endpoint(
    ip: &str,
    ready: Option<bool>,
    serving: Option<bool>,
    terminating: Option<bool>,
) -> SliceEndpoint {
    SliceEndpoint {
        ip: ip.parse().unwrap(),
        conditions: Conditions::new(ready, serving, terminating),
        placement: Placement::default(),
    }
}

fn with(ports: &[(&str, Option<u16>)], endpoints: Vec<SliceEndpoint>) -> Slice {
    let is_ipv6 = endpoints.iter().any(|endpoint| endpoint.ip.is_ipv6());
    Slice {
        writer: Writer::Controller,
        family: if is_ipv6 { Family::Ipv6 } else { Family::Ipv4 },
        ports: ports
            .iter()
            .map(|&(name, port)| SlicePort { name: name.into(), port, protocol: Protocol::Tcp })
            .collect(),
        endpoints: endpoints.into(),
        has_more_addresses: false,
    }
}

/// Endpoints that say no more than whether they are ready.
fn slice(ports: &[(&str, Option<u16>)], endpoints: &[(&str, Option<bool>)]) -> Slice {
    with(ports, endpoints.iter().map(|&(ip, ready)| endpoint(ip, ready, None, None)).collect())
}

const HTTP: [(&str, Option<u16>); 1] = [("http", Some(8080))];

fn view() -> View {
    View {
        port: PortChoice::Only,
        address: AddressKind::Pod,
        families: FamilyPolicy::default(),
        readiness: Readiness::default(),
    }
}

fn shown<'a>(endpoints: impl IntoIterator<Item = &'a Endpoint>) -> String {
    endpoints.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn see<'s>(view: &View, service: &'s Service, slices: &'s [Slice]) -> Result<Endpoints<'s>, ReadyError> {
    view.of(service, slices.iter(), None, |_| true)
}

/// What is ready of a Service that asks for nothing in particular.
fn ready(slices: &[Slice]) -> String {
    shown(see(&view(), &http(), slices).unwrap().ready.keys())
}

fn draining(slices: &[Slice]) -> String {
    shown(see(&view(), &http(), slices).unwrap().draining.keys())
}

fn ignored(slices: &[Slice]) -> Vec<Ignored> {
    see(&view(), &http(), slices).unwrap().ignored.into_iter().collect()
}

fn with_readiness(readiness: Readiness, slices: &[Slice]) -> String {
    shown(see(&View { readiness, ..view() }, &http(), slices).unwrap().ready.keys())
}

fn error(choice: PortChoice, service: &Service, slices: &[Slice]) -> ReadyError {
    see(&View { port: choice, ..view() }, service, slices).unwrap_err()
}

// The pitfalls of EndpointSlices, by their numbers in `docs/endpointslices.md`.

#[test]
fn p01_an_endpoint_in_two_slices_is_one_and_slices_change_independently() {
    let (one, other) =
        (slice(&HTTP, &[("10.0.0.1", YES)]), slice(&HTTP, &[("10.0.0.1", YES), ("10.0.0.2", YES)]));
    assert_eq!(ready(&[one.clone(), other.clone()]), "10.0.0.1:8080 10.0.0.2:8080");
    assert_eq!(ready(&[other]), "10.0.0.1:8080 10.0.0.2:8080");
    assert_eq!(ready(&[one]), "10.0.0.1:8080");
}

#[test]
fn p02_endpoints_are_told_apart_by_address_and_port_and_who_lives_counts_more_than_who_goes() {
    let two_ports =
        [slice(&HTTP, &[("10.0.0.1", YES)]), slice(&[("http", Some(9090))], &[("10.0.0.1", YES)])];
    assert_eq!(ready(&two_ports), "10.0.0.1:8080 10.0.0.1:9090");
    let (new, old) = (endpoint("10.0.0.1", YES, YES, NO), endpoint("10.0.0.1", NO, YES, YES));
    for endpoints in [vec![new.clone(), old.clone()], vec![old.clone(), new.clone()]] {
        let slices = [with(&HTTP, endpoints)];
        assert_eq!((ready(&slices), draining(&slices)), ("10.0.0.1:8080".to_owned(), String::new()));
    }
    // The new pod is not ready yet, and the old one is called ready since the Service publishes what is not.
    let unready = endpoint("10.0.0.1", NO, NO, NO);
    let ghost = endpoint("10.0.0.1", YES, YES, YES);
    assert_eq!(ready(&[with(&HTTP, vec![ghost]), with(&HTTP, vec![unready])]), "");
}

#[test]
fn p05_ready_alone_decides_whether_an_endpoint_is_called() {
    let endpoints = vec![
        endpoint("10.0.0.1", YES, NO, NO),
        endpoint("10.0.0.2", NO, YES, NO),
        endpoint("10.0.0.3", NO, YES, YES),
        endpoint("10.0.0.4", None, NO, YES),
    ];
    assert_eq!(ready(&[with(&HTTP, endpoints)]), "10.0.0.1:8080 10.0.0.4:8080");
}

#[test]
fn p06_a_pod_that_terminates_stays_in_its_slice_and_is_not_ready() {
    let endpoints = vec![
        endpoint("10.0.0.1", NO, YES, YES),
        endpoint("10.0.0.2", YES, YES, NO),
        endpoint("10.0.0.3", NO, NO, YES),
    ];
    let slices = [with(&HTTP, endpoints)];
    assert_eq!((ready(&slices), draining(&slices)), ("10.0.0.2:8080".to_owned(), "10.0.0.1:8080".to_owned()));
}

#[test]
fn p07_what_is_published_though_not_ready_is_ready_unless_serving_is_asked_for() {
    let endpoints = vec![
        endpoint("10.0.0.1", YES, NO, NO),
        endpoint("10.0.0.2", YES, YES, YES),
        endpoint("10.0.0.3", YES, YES, NO),
    ];
    let slices = [with(&HTTP, endpoints)];
    assert_eq!(ready(&slices), "10.0.0.1:8080 10.0.0.2:8080 10.0.0.3:8080");
    assert_eq!(with_readiness(Readiness::Serving, &slices), "10.0.0.3:8080");
}

#[test]
fn p08_an_endpoint_with_several_addresses_is_told_of() {
    let slices = [Slice { has_more_addresses: true, ..slice(&HTTP, &[("10.0.0.1", YES)]) }];
    assert_eq!(
        (ready(&slices), ignored(&slices)),
        ("10.0.0.1:8080".to_owned(), vec![Ignored::MoreAddresses])
    );
}

#[test]
fn p09_each_family_has_its_own_slices_and_names_are_told_of() {
    let slices = [
        slice(&HTTP, &[("10.0.0.1", YES)]),
        slice(&HTTP, &[("fd00::1", YES)]),
        Slice { family: Family::Fqdn, ..slice(&HTTP, &[]) },
    ];
    assert_eq!((ready(&slices), ignored(&slices)), ("10.0.0.1:8080".to_owned(), vec![Ignored::Names]));
    let (ipv4, ipv6) = ("10.0.0.1:8080", "[fd00::1]:8080");
    let both = format!("{ipv4} {ipv6}");
    for (has_ipv4, has_ipv6, expected) in [
        (true, false, [ipv4, ipv4, ipv4, ipv6, &both]),
        (false, true, [ipv6, ipv6, ipv4, ipv6, &both]),
        (true, true, [ipv4, ipv6, ipv4, ipv6, &both]),
    ] {
        let service = Service { families: Families { ipv4: has_ipv4, ipv6: has_ipv6 }, ..http() };
        let seen = FamilyPolicy::ALL.map(|(_, families)| {
            shown(see(&View { families, ..view() }, &service, &slices).unwrap().ready.keys())
        });
        assert_eq!(seen, expected, "IPv4 {has_ipv4}, IPv6 {has_ipv6}");
    }
}

#[test]
fn p11_a_placeholder_has_nothing_and_is_no_mistake() {
    assert_eq!(ready(&[slice(&[], &[])]), "");
    assert_eq!(ready(&[slice(&[], &[]), slice(&HTTP, &[("10.0.0.1", YES)])]), "10.0.0.1:8080");
    assert_eq!(ready(&[]), "");
}

#[test]
fn p12_a_slice_without_ports_needs_a_number_from_the_service() {
    let (none, all) = (slice(&[], &[("10.0.0.1", YES)]), slice(&[("http", None)], &[("10.0.0.1", YES)]));
    let in_no_slice = ReadyError::PortInNoSlice { wanted: "http".to_owned() };
    for slices in [[none.clone()], [all]] {
        assert_eq!(error(PortChoice::Only, &http(), &slices), in_no_slice);
    }
    assert_eq!(error(PortChoice::Only, &service(&[]), std::slice::from_ref(&none)), ReadyError::NoPort);
    assert_eq!(
        error(PortChoice::Named("http".to_owned()), &service(&[]), std::slice::from_ref(&none)),
        ReadyError::NoPort
    );
    let numbered = View { port: PortChoice::Numbered(7), ..view() };
    assert_eq!(shown(see(&numbered, &service(&[]), &[none]).unwrap().ready.keys()), "10.0.0.1:7");
}

#[test]
fn p13_a_named_port_has_the_number_that_each_slice_says() {
    let slices = [
        slice(&HTTP, &[("10.0.0.1", YES)]),
        slice(&[("admin", Some(1)), ("http", Some(9090))], &[("10.0.0.2", YES)]),
        // Pods without such a port are in a slice without it.
        slice(&[("admin", Some(1))], &[("10.0.0.3", YES)]),
    ];
    assert_eq!(ready(&slices), "10.0.0.1:8080 10.0.0.2:9090");
}

#[test]
fn p16_slices_of_others_count_and_are_of_another_kind() {
    let slices = [
        slice(&HTTP, &[("10.0.0.1", YES)]),
        Slice { writer: Writer::Other, ..slice(&HTTP, &[("10.0.0.2", YES)]) },
    ];
    assert_eq!(ready(&slices), "10.0.0.1:8080 10.0.0.2:8080");
    let http = http();
    let pods_only = view().of(&http, slices.iter(), None, |kind| kind == AddressKind::Pod).unwrap();
    assert_eq!(shown(pods_only.ready.keys()), "10.0.0.1:8080");
    assert_eq!(pods_only.not_granted, [AddressKind::Custom].into());
    let mine = Service { has_selector: false, ..http.clone() };
    let none = view().of(&mine, slices[1..].iter(), None, |kind| kind == AddressKind::Pod).unwrap();
    assert_eq!((none.ready.len(), none.not_granted), (0, [AddressKind::Custom].into()));
}

#[test]
fn p18_an_external_name_has_no_endpoints_whatever_slices_are_left() {
    let external = Service { r#type: ServiceType::ExternalName, ..http() };
    let left = [slice(&HTTP, &[("10.0.0.1", YES)])];
    let no_name = ReadyError::NoAddress(AddressKind::ExternalName);
    assert_eq!(error(PortChoice::Only, &external, &left), no_name);
    assert!(ready_hosts(&external, &left, None).is_empty());
    let external = named("orders.example");
    let seen = see(&view(), &external, &left).unwrap();
    assert_eq!((shown(seen.ready.keys()), seen.ignored), ("orders.example:80".to_owned(), [].into()));
    assert_eq!(ready_hosts(&external, &left, None), [Host::parse("orders.example").unwrap()].into());
}

#[test]
fn p19_slices_that_are_left_of_a_selector_are_told_of() {
    let slices = [
        slice(&HTTP, &[("10.0.0.1", YES)]),
        Slice { writer: Writer::Other, ..slice(&HTTP, &[("10.0.0.2", YES)]) },
    ];
    let service = Service { has_selector: false, ..http() };
    let seen = see(&view(), &service, &slices).unwrap();
    assert_eq!(
        (shown(seen.ready.keys()), seen.ignored),
        ("10.0.0.2:8080".to_owned(), [Ignored::LeftOver].into())
    );
    assert_eq!(ready_hosts(&service, &slices, None).len(), 2, "what is there may stay");
}

#[test]
fn p27_hints_leave_nobody_out() {
    let hint = |zone: &str| Some(Box::new(Hints { zones: vec![zone.into()], nodes: vec![] }));
    let mut slices = [slice(&HTTP, &[("10.0.0.1", YES), ("10.0.0.2", YES)])];
    slices[0].endpoints[0].placement.hints = hint("a");
    slices[0].endpoints[1].placement.hints = hint("b");
    assert_eq!(ready(&slices), "10.0.0.1:8080 10.0.0.2:8080");
    let service = http();
    let seen = see(&view(), &service, &slices).unwrap();
    let told = seen
        .ready
        .values()
        .map(|placement| crate::model::Topology { zone: false, node: false, hints: true }.of(placement));
    assert_eq!(
        told.collect::<Vec<_>>(),
        [vec![("forZones", "a".to_owned())], vec![("forZones", "b".to_owned())]]
    );
}

#[test]
fn where_nothing_is_ready_the_proxy_calls_what_terminates_and_serves_by_family() {
    let going = |ip| endpoint(ip, NO, YES, YES);
    let slices = [
        with(
            &HTTP,
            vec![going("10.0.0.1"), endpoint("10.0.0.2", NO, NO, YES), endpoint("10.0.0.3", NO, NO, NO)],
        ),
        with(&HTTP, vec![going("fd00::1"), endpoint("fd00::2", YES, YES, NO)]),
    ];
    let service = Service { families: Families { ipv4: true, ipv6: true }, ..http() };
    let seen = |readiness| {
        let view = View { readiness, families: FamilyPolicy::Both, ..view() };
        let endpoints = see(&view, &service, &slices).unwrap();
        (shown(endpoints.ready.keys()), shown(endpoints.draining.keys()))
    };
    let strings = |ready: &str, draining: &str| (ready.to_owned(), draining.to_owned());
    assert_eq!(seen(Readiness::Ready), strings("[fd00::2]:8080", "10.0.0.1:8080 [fd00::1]:8080"));
    assert_eq!(seen(Readiness::Proxy), strings("10.0.0.1:8080 [fd00::2]:8080", "[fd00::1]:8080"));
}

#[test]
fn pods_on_the_host_network_share_an_address() {
    let slices = [
        with(&HTTP, vec![endpoint("192.168.0.1", NO, YES, YES)]),
        with(&[("http", Some(9090))], vec![endpoint("192.168.0.1", YES, YES, NO)]),
    ];
    let expected = ("192.168.0.1:9090".to_owned(), "192.168.0.1:8080".to_owned());
    assert_eq!((ready(&slices), draining(&slices)), expected);
}

#[test]
fn ports_that_cannot_be_told_are_refused_by_name() {
    let two = service(&[("http", 80), ("admin", 81)]);
    let slices = [slice(&HTTP, &[("10.0.0.1", None)])];
    let error = |choice| error(choice, &two, &slices);
    assert!(matches!(error(PortChoice::Only), ReadyError::SeveralPorts { .. }));
    assert!(matches!(error(PortChoice::Named("grpc".into())), ReadyError::NoSuchPort { .. }));
    assert!(matches!(error(PortChoice::Named("admin".into())), ReadyError::PortInNoSlice { .. }));
    let numbered = View { port: PortChoice::Numbered(80), ..view() };
    assert_eq!(shown(see(&numbered, &two, &slices).unwrap().ready.keys()), "10.0.0.1:8080");
    let unready = [slice(&[], &[("10.0.0.1", NO)])];
    assert_eq!(shown(see(&numbered, &two, &unready).unwrap().ready.keys()), "");
}

#[test]
fn a_udp_port_beside_a_tcp_port_is_not_looked_at() {
    let udp = |name: &str, port| ServicePort { protocol: Protocol::Udp, ..ServicePort::tcp(name, port) };
    let mut dns = service(&[]);
    dns.ports = vec![udp("dns", 53), ServicePort::tcp("dns-tcp", 53)];
    let mut slices = [slice(&[("dns", Some(5353)), ("dns-tcp", Some(5353))], &[("10.0.0.1", None)])];
    slices[0].ports[0].protocol = Protocol::Udp;
    for choice in [PortChoice::Only, PortChoice::Numbered(53), PortChoice::Named("dns-tcp".into())] {
        let view = View { port: choice, ..view() };
        assert_eq!(shown(see(&view, &dns, &slices).unwrap().ready.keys()), "10.0.0.1:5353", "{}", view.port);
    }
    let no_such = error(PortChoice::Named("dns".into()), &dns, &slices).to_string();
    assert!(no_such.contains("no TCP port \"dns\"") && no_such.contains("dns (UDP), dns-tcp"), "{no_such}");
    dns.ports.pop();
    for choice in [PortChoice::Only, PortChoice::Numbered(53), PortChoice::Named("dns".into())] {
        let no_tcp = ReadyError::NoTcpPort { ports: "dns (UDP)".to_owned() };
        assert_eq!(error(choice, &dns, &slices), no_tcp);
    }
    let mut udp_only = slices.clone();
    udp_only[0].ports = [SlicePort { name: "http".into(), port: Some(8080), protocol: Protocol::Udp }].into();
    assert!(matches!(error(PortChoice::Only, &http(), &udp_only), ReadyError::PortInNoSlice { .. }));
}

fn nodes() -> Nodes {
    let node = |name: &str, addresses: &[&str], takes_traffic| {
        let addresses = addresses.iter().map(|ip| ip.parse().unwrap()).collect();
        let placement = Placement { node: Some(name.into()), zone: Some("a".into()), hints: None };
        (name.into(), Node { addresses, takes_traffic, placement })
    };
    [
        node("n-1", &["192.168.0.1", "192.168.9.1", "fd01::1"], true),
        node("n-2", &["192.168.0.2", "fd01::2"], true),
        node("n-3", &["192.168.0.3"], false),
    ]
    .into()
}

fn points(hosts: &[&str]) -> Vec<Point> {
    hosts.iter().map(|host| Point::at(Host::parse(host).unwrap())).collect()
}

/// Every way to reach a Service, with one ready pod behind it at the second node, or with none.
#[test]
fn a_service_is_seen_at_the_addresses_that_it_asks_for() {
    let mut service = http();
    service.r#type = ServiceType::LoadBalancer;
    service.families = Families { ipv4: true, ipv6: true };
    service.ports[0].node_port = Some(30080);
    service.points = [
        (AddressKind::ClusterIp, points(&["10.96.0.1", "fd02::1"])),
        (AddressKind::LoadBalancer, points(&["203.0.113.1", "lb.example"])),
        (AddressKind::ExternalIp, points(&["198.51.100.1"])),
    ]
    .into();
    let mut pod = endpoint("10.0.0.1", YES, YES, NO);
    pod.placement.node = Some("n-2".into());
    let (some, none) = ([with(&HTTP, vec![pod])], [with(&HTTP, vec![endpoint("10.0.0.1", NO, NO, NO)])]);
    let nodes = nodes();
    let seen = |service: &Service, families, address, slices: &[Slice]| {
        let view = View { address, families, ..view() };
        view.of(service, slices.iter(), Some(&nodes), |_| true).map(|seen| shown(seen.ready.keys()))
    };
    let local = Service { is_local: true, ..service.clone() };
    for (service, families, address, expected) in [
        (&service, FamilyPolicy::PreferIpv4, AddressKind::Pod, "10.0.0.1:8080"),
        (&service, FamilyPolicy::PreferIpv4, AddressKind::Node, "192.168.0.1:30080 192.168.0.2:30080"),
        (&local, FamilyPolicy::PreferIpv4, AddressKind::Node, "192.168.0.2:30080"),
        (&local, FamilyPolicy::Both, AddressKind::Node, "192.168.0.2:30080"),
        (&service, FamilyPolicy::PreferIpv4, AddressKind::LoadBalancer, "203.0.113.1:80 lb.example:80"),
        (&service, FamilyPolicy::Both, AddressKind::LoadBalancer, "203.0.113.1:80 lb.example:80"),
        (&service, FamilyPolicy::Both, AddressKind::ClusterIp, "10.96.0.1:80"),
        (&service, FamilyPolicy::PreferIpv4, AddressKind::ExternalIp, "198.51.100.1:80"),
    ] {
        assert_eq!(seen(service, families, address, &some), Ok(expected.to_owned()), "{address}");
        assert_eq!(seen(service, families, address, &none), Ok(String::new()), "{address}");
        let view = View { address, families, ..view() };
        let denied = view.of(service, some.iter(), Some(&nodes), |_| false).unwrap();
        assert_eq!((denied.ready.len(), denied.not_granted), (0, [address].into()));
    }
    assert_eq!(seen(&service, FamilyPolicy::Ipv6, AddressKind::Node, &some), Ok(String::new()));
}

/// An ExternalName Service.
fn named(name: &str) -> Service {
    let host = crate::model::HostName::of_service(name).map(Host::Name);
    let points = [(AddressKind::ExternalName, vec![Point { host, broken: vec![] }])].into();
    Service { r#type: ServiceType::ExternalName, points, ..http() }
}

#[test]
fn an_external_name_is_there_while_it_is_granted_and_can_be_called() {
    let none: [Slice; 0] = [];
    let seen = |service: &Service, view: &View, granted: &dyn Fn(AddressKind) -> bool| {
        let seen = view.of(service, none.iter(), None, granted)?;
        Ok((shown(seen.ready.keys()), seen.not_granted))
    };
    let external_name = |kind| kind == AddressKind::ExternalName;
    let orders = named("orders.example.");
    assert_eq!(seen(&orders, &view(), &external_name), Ok(("orders.example:80".to_owned(), [].into())));
    // What is granted by default is not this; and nothing else is either.
    for kind in AddressKind::VIEWS.into_iter().chain([AddressKind::Custom]) {
        let denied = seen(&orders, &view(), &|granted| granted == kind);
        assert_eq!(denied, Ok((String::new(), [AddressKind::ExternalName].into())), "{kind}");
    }
    for address in AddressKind::VIEWS.into_iter().filter(|kind| *kind != AddressKind::Pod) {
        let none = Err(ReadyError::NoAddress(address));
        assert_eq!(seen(&orders, &View { address, ..view() }, &|_| true), none);
    }
    // Its port is the Service's, or what the annotation says.
    let numbered = View { port: PortChoice::Numbered(443), ..view() };
    let bare = Service { ports: vec![], ..orders.clone() };
    assert_eq!(seen(&bare, &numbered, &external_name).unwrap().0, "orders.example:443");
    assert_eq!(seen(&bare, &view(), &external_name), Err(ReadyError::NoPort));
    let two = Service { ports: service(&[("http", 80), ("admin", 81)]).ports, ..orders.clone() };
    assert!(matches!(seen(&two, &view(), &external_name), Err(ReadyError::SeveralPorts { .. })));
    let admin = View { port: PortChoice::Named("admin".to_owned()), ..view() };
    assert_eq!(seen(&two, &admin, &external_name).unwrap().0, "orders.example:81");
    // Some names are published whatever is granted to nobody.
    for name in ["10.0.0.1", "127.0.0.1", "localhost", "kubernetes.default", "pay.other.svc", "a:80", "a.b/c"]
    {
        assert!(matches!(seen(&named(name), &view(), &|_| true), Err(ReadyError::Host(_))), "{name}");
        assert!(ready_hosts(&named(name), &none, None).is_empty(), "{name}");
    }
}

#[test]
fn each_point_of_a_balancer_counts_as_it_says() {
    let mut service = Service { r#type: ServiceType::LoadBalancer, ..http() };
    service.ports.push(ServicePort::tcp("admin", 81));
    let local = crate::model::HostName::of_service("localhost").map(Host::Name);
    let mut balancer = points(&["203.0.113.1", "a.lb.example", "b.lb.example"]);
    balancer[1].broken = vec![80];
    balancer.push(Point { host: local.clone(), broken: vec![] });
    service.points = [(AddressKind::LoadBalancer, balancer)].into();
    let slices = [slice(&[("http", Some(8080)), ("admin", Some(8081))], &[("10.0.0.1", YES)])];
    let seen = |port: &str| {
        let port = PortChoice::Named(port.to_owned());
        let seen =
            see(&View { address: AddressKind::LoadBalancer, port, ..view() }, &service, &slices).unwrap();
        (shown(seen.ready.keys()), seen.ignored)
    };
    let (broken, host) =
        (Ignored::Broken(Host::parse("a.lb.example").unwrap()), Ignored::Host(local.unwrap_err()));
    assert_eq!(seen("http"), ("203.0.113.1:80 b.lb.example:80".to_owned(), [broken, host.clone()].into()));
    assert_eq!(seen("admin"), ("203.0.113.1:81 a.lb.example:81 b.lb.example:81".to_owned(), [host].into()));
    let hosts = ready_hosts(&service, &slices, None);
    assert_eq!(hosts.len(), 4, "{hosts:?}");
}

#[test]
fn an_address_that_is_not_there_is_told_by_its_kind() {
    let (plain, slices) = (http(), [slice(&HTTP, &[("10.0.0.1", YES)])]);
    let no_address = ReadyError::NoAddress;
    let pending = Service { r#type: ServiceType::LoadBalancer, ..http() };
    // kube-proxy leaves headless Services out altogether.
    let headless =
        Service { points: [(AddressKind::ExternalIp, points(&["198.51.100.1"]))].into(), ..http() };
    for (service, address, expected) in [
        (&plain, AddressKind::Node, Err(ReadyError::NoNodePort("http".to_owned()))),
        (&plain, AddressKind::LoadBalancer, Err(no_address(AddressKind::LoadBalancer))),
        (&plain, AddressKind::ClusterIp, Err(no_address(AddressKind::ClusterIp))),
        (&plain, AddressKind::ExternalIp, Err(no_address(AddressKind::ExternalIp))),
        (&headless, AddressKind::ExternalIp, Err(no_address(AddressKind::ExternalIp))),
        (&pending, AddressKind::LoadBalancer, Ok(0)),
    ] {
        let view = View { address, ..view() };
        let seen = view.of(service, slices.iter(), Some(&nodes()), |_| true).map(|seen| seen.ready.len());
        assert_eq!(seen, expected, "{address}");
    }
    let mut with_port = http();
    with_port.ports[0].node_port = Some(30080);
    let view = View { address: AddressKind::Node, ..view() };
    assert_eq!(view.of(&with_port, slices.iter(), None, |_| true), Err(ReadyError::NodesUnknown));
}
