use super::*;
use crate::format::Format;

const SAMPLE: &str = include_str!("../../config/zoobridge.yaml");

#[test]
fn the_sample_parses_and_shows_the_defaults() {
    let config = Config::parse(SAMPLE).unwrap();
    let short = Config::parse("{zookeeper: {connect: zk}, rules: []}").unwrap();
    assert_eq!(config.zookeeper.session_timeout, short.zookeeper.session_timeout);
    assert_eq!(format!("{:?}", config.paths), format!("{:?}", short.paths));
    assert_eq!(config.sessions.secret(), short.sessions.secret());
    assert_eq!(config.sessions.limit, short.sessions.limit);
    assert_eq!(config.lease_duration(), short.lease_duration());
    assert_eq!(config.leader_election.lease, short.leader_election.lease);
    assert_eq!(config.leader_election.enabled, short.leader_election.enabled);
    assert_eq!(config.http.address, short.http.address);
    assert_eq!(config.history.records, short.history.records);
    assert_eq!(config.policy, short.policy);
    assert_eq!(config.own().unwrap().fence.as_str(), "/zoobridge/kubernetes/fence");
    assert_eq!(config.rules.list[0].ensembles, config.rules.list[1].ensembles);
    assert!(config.imports[0].ensemble.is_default());
    let further =
        "{zookeeper: {connect: zk}, rules: [], ensembles: [{name: legacy, zookeeper: {connect: other}}]}";
    let (shown, defaults) = (config.each().remove(1), Config::parse(further).unwrap().each().remove(1));
    let told = |config: &Config| {
        let Config { paths, sessions, history, policy, zookeeper, .. } = config;
        format!("{paths:?} {sessions:?} {history:?} {policy:?} {:?}", zookeeper.session_timeout)
    };
    assert_eq!(told(&shown), told(&defaults));
}

/// A configuration with a second ensemble, of these further keys, and with this behind it.
fn further(more: &str, rest: &str) -> String {
    format!(
        "zookeeper: {{connect: 'zk-0,zk-1'}}\nrules: []\nensembles:\n- name: legacy\n  zookeeper: {{connect: zk}}\n  \
         {more}\n{rest}"
    )
}

#[test]
fn each_ensemble_has_what_its_keys_say_and_nothing_of_the_first() {
    let yaml = "{cluster: c, zookeeper: {connect: zk, sessionTimeout: 60s}, policy: create-only, \
        sessions: {secret: s, limit: 7}, paths: {curator: /first}, \
        rules: [{formats: [curator]}, {formats: [dubbo], ensembles: [legacy]}], \
        ensembles: [{name: legacy, zookeeper: {connect: 'other:1/a', sessionTimeout: 12s}}]}";
    let config = Config::parse(yaml).unwrap();
    let each = config.each();
    let [first, legacy] = &each[..] else { panic!("{each:?}") };
    assert_eq!([first, legacy].map(|one| one.ensemble.as_str()), ["default", "legacy"]);
    assert_eq!([first, legacy].map(|one| one.sessions.secret()), ["s", "s-legacy"]);
    assert_eq!([first, legacy].map(|one| one.sessions.limit), [7, 50]);
    assert_eq!([first, legacy].map(|one| one.policy), [Policy::CreateOnly, Policy::Sync]);
    let curator = |config: &Config| config.roots().unwrap().0[&Format::Curator].to_string();
    assert_eq!([first, legacy].map(curator), ["/first", "/services"]);
    assert_eq!(legacy.zookeeper.connect.to_string(), "other:1/a");
    // Both are led by one Lease, and of each the whole list of rules stays, so that their places do.
    assert_eq!([&config, first, legacy].map(Config::lease_duration), [Duration::from_secs(4); 3]);
    assert_eq!([first, legacy].map(|one| one.rules.list.len()), [2, 2]);
    assert_eq!(legacy.each().len(), 1);
    assert_eq!(legacy.each()[0].ensemble, legacy.ensemble);
}

#[test]
fn ensembles_that_make_no_sense_are_told_with_their_places() {
    let import = "imports: [{name: a, ensemble: lagacy, format: curator, root: /a, namespace: b, \
                  addresses: [10.0.0.0/8]}]";
    let told = |yaml: &str| Config::parse(yaml).unwrap_err().to_string();
    for (yaml, expected) in [
        (
            further("", import),
            "7:21: imports[0].ensemble: there is no ensemble lagacy; there are: default, legacy",
        ),
        (further("paths: {own: zoo}", ""), "6:11: ensembles[0].paths.own: \"zoo\" is no path"),
        (
            further("paths: {own: /dubbo}", ""),
            "ensembles[0].paths.dubbo: \"/dubbo\" and ensembles[0].paths.own",
        ),
        (further("sessions: {limit: 0}", ""), "6:14: ensembles[0].sessions.limit: \"0\" leaves no session"),
        (further("history: {records: 20001}", ""), "ensembles[0].history.records"),
        (further("secret: a", ""), "6:3: ensembles[0].secret: unknown field `secret`"),
        (
            further("sessions: {secret: zoobridge-sessions}", ""),
            "6:14: ensembles[0].sessions.secret: \"zoobridge-sessions\" is the Secret of ensemble default too",
        ),
        (further("", "- {name: default, zookeeper: {connect: a}}"), "is what the first ensemble is called"),
        (
            further("", "- {name: legacy, zookeeper: {connect: a}}"),
            "ensembles[1].name: \"legacy\" is the name of two",
        ),
        (further("", "- {name: Legacy, zookeeper: {connect: a}}"), "\"Legacy\" is no DNS label"),
        (further("", "- {name: a}"), "7:3: ensembles[1]: missing field `zookeeper`"),
        (
            further("", "- {name: a, zookeeper: {connect: a, sessionTimeout: 1s}}"),
            "7:37: ensembles[1].zookeeper.sessionTimeout: \"1s\" is not between 2s and 1h",
        ),
        (
            further(
                "",
                "- {name: a, zookeeper: {connect: a, sessionTimeout: 10s}}\nleaderElection: {leaseDuration: 5s}",
            ),
            "is too long for ensembles[1].zookeeper.sessionTimeout 10s",
        ),
        (
            further(
                "paths: {own: /legacy}",
                &import.replace("lagacy", "legacy").replace("/a,", "/legacy/x,"),
            ),
            "imports[0].root: \"/legacy/x\" overlaps ensembles[0].paths.own",
        ),
    ] {
        let told = told(&yaml);
        assert!(told.contains(expected), "{yaml}\n{told}");
    }
    let rules = "{zookeeper: {connect: zk}, rules: [{formats: [curator], ensembles: [default, a]}]}";
    assert_eq!(told(rules), "1:78: rules[0].ensembles[1]: there is no ensemble a; there are: default");
    // A name that could not be read is not told a second time where it is used.
    let name =
        "{zookeeper: {connect: zk}, rules: [{formats: [curator], ensembles: [a]}], ensembles: [{name: a}]}";
    assert_eq!(told(name).lines().count(), 1, "{}", told(name));
}

#[test]
fn two_names_of_one_ensemble_must_not_write_where_the_other_does() {
    let parse = |connect: &str, paths: &str, rest: &str| {
        Config::parse(&format!(
            "{{zookeeper: {{connect: 'zk-0:2181,zk-1:2182/a'}}, rules: [], ensembles: [{{name: b, zookeeper: \
             {{connect: '{connect}'}}, paths: {{{paths}}}}}]{rest}}}"
        ))
    };
    let all = "own: /b/o, curator: /b/c, dubbo: /b/d, dubbo3: /b/c, spring: /b/c, serverset: /b/s, nerve: /b/n, \
               hostport: /b/h";
    for connect in ["zk-2:2181/a", "zk-0:2183/a", "zk-1:2182/b", "zk-0:2181/aa"] {
        assert!(parse(connect, "", "").is_ok(), "{connect}");
    }
    assert!(parse("ZK-1:2182/a", all, "").is_ok());
    let told = parse("zk-1:2182/a", "", "").unwrap_err().to_string();
    assert_eq!(told.lines().count(), 8, "{told}");
    assert!(
        told.contains(
            "ensembles[0].paths.own: \"zk-1:2182/a/zoobridge\" and paths.own: \"zk-0:2181,zk-1:2182/a/zoobridge\" \
             overlap"
        ),
        "{told}"
    );
    for (connect, paths, part) in [
        ("zk-0:2181", all.replace("/b/h", "/a"), "ensembles[0].paths.hostport"),
        ("zk-0:2181/a/services", all.to_owned(), "ensembles[0].paths.own"),
        ("zk-0:2181", all.replace("/b/h", "/a/dubbo/x"), "paths.dubbo"),
    ] {
        let told = parse(connect, &paths, "").unwrap_err().to_string();
        assert!(told.contains(part) && told.contains("overlap"), "{connect} {paths}: {told}");
    }
    // What one writes the other one must not take for a registry.
    let import = ", imports: [{name: a, ensemble: b, format: curator, root: /services/x, namespace: c, \
                  addresses: [10.0.0.0/8]}]";
    let told = parse("zk-0:2181/a", all, import).unwrap_err().to_string();
    assert!(told.contains("imports[0].root: \"zk-0:2181/a/services/x\" and paths.curator"), "{told}");
    assert!(parse("zk-0:2181/a", all, &import.replace("/services/x", "/b/c")).is_ok(), "its own it may");
}

/// An import with one key as given.
fn import(given: &str) -> String {
    let mut import = String::new();
    for line in
        ["name: a", "format: curator", "root: /services", "namespace: legacy", "addresses: [10.0.0.0/8]"]
    {
        let is_given = given.split(':').next() == line.split(':').next();
        import += &if is_given { String::new() } else { format!("{line}, ") };
    }
    format!("{{zookeeper: {{connect: zk}}, rules: [], imports: [{{{import}{given}}}]}}")
        .replace(", }, {", "}, {")
}

#[test]
fn what_makes_no_sense_is_told_with_its_place() {
    for (yaml, part) in [
        ("{rules: []}", "zookeeper"),
        ("{zookeeper: {connect: 'zk:x'}, rules: []}", "zk:x"),
        ("{zookeeper: {connect: zk, sessionTimeout: soon}, rules: []}", "soon"),
        ("{zookeeper: {connect: zk, sessionTimeout: 1s}, rules: []}", "sessionTimeout"),
        ("{zookeeper: {connect: zk}, rules: [], paths: {dubbo: dubbo}}", "paths.dubbo"),
        ("{zookeeper: {connect: zk}, rules: [], cluster: a/b}", "cluster"),
        ("{zookeeper: {connect: zk}, rules: [], sessions: {limit: 0}}", "sessions.limit"),
        ("{zookeeper: {connect: zk}, rules: [], history: {records: 20001}}", "history.records"),
        ("{zookeeper: {connect: zk}, rules: [], leaderElection: {leaseDuration: 13s}}", "sessionTimeout 30s"),
        ("{zookeeper: {connect: zk}, rules: [], http: {address: localhost}}", "localhost"),
        ("{zookeeper: {connect: zk}, rules: [], nonsense: 1}", "nonsense"),
        ("{zookeeper: {connect: zk}, rules: [{formats: [curato]}]}", "curato"),
        ("{zookeeper: {connect: zk}, rules: [], imports: [{name: a}]}", "format"),
        (&import("name: A b"), "DNS label"),
        (&import("namespace: ''"), "namespace"),
        (&import("addresses: []"), "nothing could be imported"),
        (&import("addresses: [10.0.0.1/8]"), "10.0.0.1/8"),
        (&import("ports: [9-8]"), "9-8"),
        (&import("maxServices: 0"), "maxServices"),
        (&import("root: services"), "starts with '/'"),
        (&import("root: /zoobridge/x"), "imports[0].root"),
        (&import("root: /"), "paths.own"),
        (&import("names: ['[a']"), "[a"),
        (&import("port: 80"), "port"),
        (
            &import("}, {name: a, format: dubbo, root: /dubbo, namespace: b, addresses: [10.0.0.0/8]"),
            "two of them",
        ),
        ("zookeeper: [", "line"),
    ] {
        let error = Config::parse(yaml).unwrap_err().to_string();
        assert!(error.contains(part), "{yaml}: {error}");
    }
}

#[test]
fn paths_that_overlap_are_refused_with_both_keys() {
    for (paths, one, other) in [
        ("{curator: /dubbo}", "paths.curator", "paths.dubbo"),
        ("{curator: /}", "paths.curator", "paths.own"),
        ("{curator: /dubbo/services}", "paths.curator", "paths.dubbo"),
        ("{dubbo: /services/dubbo}", "paths.curator", "paths.dubbo"),
        ("{own: /services/zoobridge}", "paths.own", "paths.curator"),
        ("{curator: /zoobridge/kubernetes}", "paths.own", "paths.curator"),
        ("{own: /, dubbo: /dubbo}", "paths.own", "paths.curator"),
        ("{dubbo: /zoobridge}", "paths.own", "paths.dubbo"),
    ] {
        let yaml = format!("{{zookeeper: {{connect: zk}}, rules: [], paths: {paths}}}");
        let error = Config::parse(&yaml).unwrap_err().to_string();
        assert!(error.contains(one) && error.contains(other) && error.contains("overlap"), "{error}");
    }
    // A common beginning is no common path.
    let yaml = "{zookeeper: {connect: zk}, rules: [], paths: {curator: /reg/a, dubbo: /reg/ab, own: /reg/b}}";
    assert_eq!(Config::parse(yaml).unwrap().roots().unwrap().0[&Format::Dubbo].as_str(), "/reg/ab");
}

#[test]
fn formats_that_are_read_alike_may_have_one_root() {
    let parse =
        |paths: &str| Config::parse(&format!("{{zookeeper: {{connect: zk}}, rules: [], paths: {paths}}}"));
    let roots = parse("{curator: /reg, spring: /reg}").unwrap().roots().unwrap().0;
    assert_eq!(roots[&Format::Curator], roots[&Format::Spring]);
    for paths in ["{spring: /services/spring}", "{nerve: /hosts}", "{serverset: /services}"] {
        let error = parse(paths).unwrap_err().to_string();
        assert!(error.contains("overlap"), "{paths}: {error}");
    }
    let error = parse("{nervous: /hosts}").unwrap_err().to_string();
    assert!(error.contains("no path \"nervous\"; there are: own, curator, dubbo"), "{error}");
}

#[test]
fn a_path_that_is_none_is_told_with_its_rule() {
    for (path, rule) in [
        ("/services/", "does not end with '/'"),
        ("services", "starts with '/'"),
        ("//services", "no empty component"),
        ("/services/../x", "no '.' or '..'"),
        ("''", "not empty"),
    ] {
        for key in ["own", "curator", "dubbo"] {
            let yaml = format!("{{zookeeper: {{connect: zk}}, rules: [], paths: {{{key}: {path}}}}}");
            let error = Config::parse(&yaml).unwrap_err().to_string();
            assert!(error.contains(&format!("paths.{key}")) && error.contains(rule), "{error}");
        }
    }
}

#[test]
fn all_mistakes_are_told_at_once_with_their_places() {
    let yaml = "\
cluster: a/b
zookeeper:
  connect: zk
  sessionTimeout: 1s
paths:
  curator: services
  dubbo: /zoobridge
  nerve: /zoobridge
sessions:
  limit: -1
rules:
  - formats: [curato]
  - formats: [dubbo]
    name: ['a.*']
  - services: [a]
imports:
  - {name: a, format: curator, root: /a, namespace: B, addresses: [10.0.0.1/8]}
  - {name: a, format: curator, root: /a, namespace: B, addresses: [10.0.0.0/8]}
";
    let Err(ConfigError::Mistakes { mistakes, .. }) = Config::parse(yaml) else { panic!("it is taken") };
    let told: Vec<_> = mistakes.iter().map(Mistake::to_string).collect();
    let begin = [
        "1:1: cluster: \"a/b\"",
        "4:3: zookeeper.sessionTimeout: \"1s\"",
        "6:3: paths.curator: \"services\"",
        "7:3: paths.dubbo: \"/zoobridge\" and",
        "8:3: paths.nerve: \"/zoobridge\" and",
        "10:3: sessions.limit: invalid value: integer `-1`",
        "12:15: rules[0].formats[0]: unknown variant `curato`, expected one of `curator`",
        "14:5: rules[1].name: unknown field `name`, expected one of `namespaces`",
        "15:5: rules[2]: missing field `formats`",
        "17:68: imports[0].addresses[0]:",
    ];
    for begin in begin {
        assert!(told.iter().any(|told| told.starts_with(begin)), "there is no {begin}: {told:#?}");
    }
    assert!(mistakes.is_sorted_by_key(|mistake| mistake.place), "{told:#?}");
}

#[test]
fn what_is_missing_or_no_yaml_is_told_too() {
    let told = |yaml: &str| Config::parse(yaml).unwrap_err().to_string();
    assert_eq!(told("{}"), "missing field `zookeeper`");
    assert_eq!(told("zookeeper: {}\nrules: []"), "1:1: zookeeper: missing field `connect`");
    for yaml in ["", "rules", "[]", "a: [", "a: 1\na: 2", "? {a: b}\n: c"] {
        assert!(!told(yaml).is_empty(), "{yaml}");
    }
}

/// The committed file is what `zoobridge config schema` prints.
#[test]
fn the_schema_is_that_of_the_types() {
    let committed: serde_json::Value =
        serde_json::from_str(include_str!("../../config/zoobridge.schema.json")).unwrap();
    let now = Config::schema();
    assert_eq!(committed, now, "write it anew: zoobridge config schema > config/zoobridge.schema.json");
}
