//! How Dubbo's consumers take a provider's name apart, as models of their parsers: whatever parameters are accepted,
//! each of them reads what was meant.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use percent_encoding::percent_decode_str;
use proptest::prelude::*;

use super::*;

/// A provider as a consumer has it.
#[derive(Debug, PartialEq, Eq)]
struct Read {
    address: String,
    path: String,
    parameters: BTreeMap<String, String>,
}

fn decoded(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8().unwrap().into_owned()
}

/// Up to 2.7.5: decoded as a whole, and then cut (`URL.decode`, `URL.valueOf`).
fn up_to_2_7_5(name: &str) -> Read {
    let url = decoded(name);
    let (location, query) = url.split_once('?').unwrap();
    let parameters = query.split('&').map(|one| one.split_once('=').unwrap_or((one, one)));
    read(location, parameters.map(|(name, value)| (name.to_owned(), value.to_owned())))
}

/// From 2.7.8 on: cut where something encoded stands, and then decoded (`URLStrParser.parseEncodedStr`).
fn from_2_7_8(name: &str) -> Read {
    let (location, query) = name.split_once("%3F").unwrap();
    let query = query.replace("%3B", "%26");
    let parameters = query.split("%26").filter(|one| !one.is_empty());
    let parameters = parameters.map(|one| one.split_once("%3D").unwrap_or((one, one)));
    read(&decoded(location), parameters.map(|(name, value)| (decoded(name), decoded(value))))
}

/// From 3.0 on the same, without the first of these wherever it is (`stripOffVariableKeys`).
fn from_3_0(name: &str) -> Read {
    let mut name = name.to_owned();
    for stripped in ["timestamp%3D", "pid%3D"] {
        let Some(start) = name.find(stripped) else { continue };
        let rest = name[start..].find("%26").map_or("", |end| &name[start + end + "%26".len()..]);
        name = format!("{}{rest}", &name[..start]);
    }
    from_2_7_8(&name)
}

fn read(location: &str, parameters: impl Iterator<Item = (String, String)>) -> Read {
    let (protocol, rest) = location.split_once("://").unwrap();
    assert_eq!(protocol, "dubbo");
    let (address, path) = rest.split_once('/').unwrap();
    Read { address: address.to_owned(), path: path.to_owned(), parameters: parameters.collect() }
}

/// A text of what has a meaning to some parser, and of what has none.
fn text(pieces: std::ops::Range<usize>) -> impl Strategy<Value = String> {
    let pieces_of = [
        "a",
        "Z9",
        ".",
        "-",
        "_",
        "*",
        "~",
        "+",
        " ",
        "%",
        "%26",
        "%3D",
        "=",
        "&",
        ";",
        ":",
        "/",
        "?",
        "@",
        "#",
        ",",
        "pid",
        "timestamp",
        "pid=",
        "timestamp=",
        "é",
        "\u{1}",
        "$",
    ];
    prop::collection::vec(prop::sample::select(pieces_of.to_vec()), pieces).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, max_global_rejects: 100_000, ..ProptestConfig::default() })]

    #[test]
    fn what_is_accepted_is_read_as_it_was_meant_by_every_release(
        (version, group, application) in (text(0..3), text(0..3), text(1..3)),
        given in prop::collection::btree_map(text(1..3), text(1..4), 0..3),
        zone in text(0..3),
        last in 1u8..,
    ) {
        let key = format!("com.acme.rapid.A$B:{version}:{group}");
        let given: Vec<_> = given.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let accepted = Provider::new(&key, &application, &given.join("&"));
        prop_assume!(accepted.is_ok());
        let provider = accepted.unwrap();
        let address = SocketAddr::from(([10, 1, 2, last], 20880));
        let topology = [("zone", zone)];
        let endpoint =
            crate::model::Endpoint::tcp(&address.ip().to_string(), address.port());
        let instance = Instance { topology: &topology, ..Instance::new(&endpoint, 7) };
        let more = provider.of_instance(&instance);
        let name = provider.url(&address.to_string(), &more);
        let mut parameters = provider.parameters.clone();
        parameters.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let mut meant =
            Read { address: address.to_string(), path: provider.interface.clone(), parameters };
        prop_assert_eq!(&up_to_2_7_5(&name), &meant);
        prop_assert_eq!(&from_2_7_8(&name), &meant);
        for stripped in ["pid", "timestamp"] {
            meant.parameters.remove(stripped);
        }
        prop_assert_eq!(&from_3_0(&name), &meant);
    }
}

/// The models see what the rules are for: without them each of these would be read otherwise by somebody.
#[test]
fn what_is_refused_would_be_read_otherwise_by_some_release() {
    let name = |query: &str| form_encode(&format!("dubbo://10.1.2.3:1/a.B?{query}"));
    let of = |read: Read, parameter: &str| read.parameters.get(parameter).cloned();
    assert_eq!(of(from_2_7_8(&name("x=1;dynamic=false")), "dynamic").as_deref(), Some("false"));
    assert_eq!(of(up_to_2_7_5(&name("x=1&dynamic=false")), "dynamic").as_deref(), Some("false"));
    assert_eq!(of(from_3_0(&name("group=g&rapid=1&version=2")), "version"), None);
    assert_eq!(of(from_3_0(&name("a=x-pid=1&version=2")), "version"), None);
}
