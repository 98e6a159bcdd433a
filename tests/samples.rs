//! What a user copies from `config/` and `deploy/` is read by the code of today.
#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use std::path::{Path, PathBuf};

use kube_dev::KubeDev;
use serde_json::{Value, json};
use zab::ServerConfig;
use zoobridge::config::Config;

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name)
}

fn deployed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)
}

/// The documents of a manifest.
fn manifest(name: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(&std::fs::read_to_string(deployed(name)).unwrap()).unwrap()
}

fn of_kind<'a>(documents: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let found = documents.iter().find(|one| one["kind"] == kind && one["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("there is no {kind} {name}"))
}

fn bridge_config() -> Config {
    Config::load(&deployed("kustomize/bridge/zoobridge.yaml")).unwrap()
}

/// Group, resource, name if only one is meant, and verbs of each rule.
fn rights() -> Vec<(String, String, String, Vec<String>)> {
    let mut documents = manifest("kustomize/bridge/rbac.yaml");
    documents.extend(manifest("kustomize/imports/rbac.yaml"));
    documents.extend(manifest("kustomize/nodes/rbac.yaml"));
    documents.extend(manifest("kustomize/ensembles/rbac.yaml"));
    documents.extend(manifest("kustomize/operator/rbac.yaml"));
    let words = |rule: &Value, key: &str| -> Vec<String> {
        serde_json::from_value(rule.get(key).cloned().unwrap_or_else(|| json!([""]))).unwrap()
    };
    let one = |rule: &Value, key: &str| {
        let mut all = words(rule, key);
        assert_eq!(all.len(), 1, "{key} of {rule}");
        all.remove(0)
    };
    let roles = [
        ("ClusterRole", "zoobridge"),
        ("Role", "zoobridge"),
        ("Role", "zoobridge-imports"),
        ("ClusterRole", "zoobridge-nodes"),
        ("Role", "zoobridge-ensembles"),
        ("ClusterRole", "zoobridge-operator"),
        ("Role", "zoobridge-operator"),
        ("Role", "zoobridge-operator-imports"),
    ];
    roles
        .iter()
        .flat_map(|(kind, name)| of_kind(&documents, kind, name)["rules"].as_array().unwrap())
        .map(|rule| {
            let verbs = words(rule, "verbs");
            (one(rule, "apiGroups"), one(rule, "resources"), one(rule, "resourceNames"), verbs)
        })
        .collect()
}

#[test]
fn the_role_names_what_the_bridge_writes() {
    let Config { sessions, leader_election, .. } = bridge_config();
    assert!(leader_election.enabled, "there are two replicas");
    assert_eq!((&sessions.namespace, leader_election.namespace), (&None, None), "a Role has one namespace");
    let sample = Config::load(&sample("zoobridge.yaml")).unwrap();
    let secrets: Vec<_> = sample.each().iter().map(|one| one.sessions.secret().to_owned()).collect();
    assert_eq!(secrets[0], sessions.secret());
    for (resource, names) in [("secrets", secrets), ("leases", vec![leader_election.lease])] {
        let rights = rights();
        let named = rights.iter().filter(|right| right.1 == resource && !right.2.is_empty());
        // What the first one has, the bridge and its operators may.
        let mut expected: Vec<_> = names.iter().chain(&names[..1]).cloned().collect();
        let mut named: Vec<_> = named.map(|right| right.2.clone()).collect();
        expected.sort();
        named.sort();
        assert_eq!(named, expected, "{resource}");
    }
}

#[test]
fn the_readme_says_what_each_right_is_for() {
    let readme = std::fs::read_to_string(deployed("README.md")).unwrap();
    let rows: Vec<_> = readme
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` |"))
        .map(|(right, rest)| (right.to_owned(), rest.split('|').next().unwrap().trim().to_owned()))
        .collect();
    let expected: Vec<_> = rights()
        .into_iter()
        .map(|(group, resource, name, verbs)| {
            let resource = if group.is_empty() { resource } else { format!("{resource}.{group}") };
            (if name.is_empty() { resource } else { format!("{resource}/{name}") }, verbs.join(", "))
        })
        .collect();
    assert_eq!(rows, expected);
}

#[test]
fn the_workloads_find_their_configuration_and_each_other() {
    let (bridge, server) =
        (manifest("kustomize/bridge/deployment.yaml"), manifest("kustomize/server/statefulset.yaml"));
    let bridge = &of_kind(&bridge, "Deployment", "zoobridge")["spec"]["template"]["spec"];
    let zookeeper = &of_kind(&server, "StatefulSet", "zookeeper")["spec"]["template"]["spec"];
    let uninstall = manifest("kustomize/operator/uninstall.yaml");
    let uninstall = &of_kind(&uninstall, "Job", "zoobridge-uninstall")["spec"];
    assert_eq!(uninstall["suspend"], true, "nothing is uninstalled unasked");
    let uninstall = &uninstall["template"]["spec"];
    assert_eq!(uninstall["volumes"], bridge["volumes"]);
    for (pod, file) in [(bridge, "zoobridge.yaml"), (uninstall, "zoobridge.yaml"), (zookeeper, "zoo.cfg")] {
        let container = &pod["containers"][0];
        assert_eq!(container["image"], concat!("zoobridge:", env!("CARGO_PKG_VERSION")));
        let path = format!("{}/{file}", mount(container, "config"));
        assert!(container["args"].as_array().unwrap().contains(&path.into()), "{}", container["args"]);
    }

    let zoo_cfg = ServerConfig::load(Some(&deployed("kustomize/server/zoo.cfg")), &[]).unwrap();
    let container = &zookeeper["containers"][0];
    assert_eq!(zoo_cfg.data_dir, Path::new(mount(container, "data")));
    assert_eq!(
        container["ports"][0],
        json!({"name": "client", "containerPort": zoo_cfg.client_address.port()})
    );
    let service = &of_kind(&server, "Service", "zookeeper")["spec"]["ports"][0];
    assert_eq!(service["targetPort"], "client");
    assert_eq!(bridge_config().zookeeper.connect.to_string(), format!("zookeeper:{}", service["port"]));
}

fn mount<'a>(container: &'a Value, volume: &str) -> &'a str {
    let mounts = container["volumeMounts"].as_array().unwrap();
    mounts.iter().find(|mount| mount["name"] == volume).unwrap()["mountPath"].as_str().unwrap()
}

#[test]
fn the_image_is_built_with_the_toolchain_of_the_repository() {
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    let toolchain = read(&sample("../rust-toolchain.toml"));
    let channel =
        toolchain.lines().find_map(|line| line.strip_prefix("channel = ")).unwrap().trim_matches('"');
    let dockerfile = read(&deployed("Dockerfile"));
    for line in [format!("FROM rust:{channel}-alpine AS build"), format!("ENV RUSTUP_TOOLCHAIN={channel}")] {
        assert!(dockerfile.lines().any(|found| found == line), "there is no {line}");
    }
}

#[test]
fn configurations_of_the_bridge_are_read() {
    for name in ["zoobridge.yaml", "demo/zoobridge.yaml"] {
        Config::load(&sample(name)).unwrap();
    }
}

#[test]
fn zoo_cfg_is_read_and_what_is_commented_out_is_the_default() {
    let path = sample("zoo.cfg");
    let config = ServerConfig::load(Some(&path), &[]).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let defaults: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# "))
        .filter(|line| line.split_once('=').is_some_and(|(key, _)| !key.contains(' ')))
        .filter(|line| !line.starts_with("dataLogDir"))
        .map(str::to_owned)
        .collect();
    assert!(defaults.len() >= 9, "{defaults:?}");
    let with_defaults = ServerConfig::load(Some(&path), &defaults).unwrap();
    // What was read, and that it was asked for, does differ.
    let in_force = |mut config: ServerConfig| {
        config.initial.clear();
        if let Some(admin) = &mut config.admin {
            admin.is_asked_for = false;
        }
        format!("{config:?}")
    };
    assert_eq!(in_force(config), in_force(with_defaults));
}

#[tokio::test]
async fn manifests_of_the_demo_are_taken() {
    let kube = KubeDev::start(kube_dev::Options::default()).await.unwrap();
    for name in ["demo/orders.yaml", "demo/payments.yaml"] {
        kube.apply_manifests(&std::fs::read_to_string(sample(name)).unwrap()).unwrap();
    }
    kube.stop().await;
}

/// `docs/annotations.md` has a row for each annotation, and none for what is none.
#[test]
fn every_annotation_is_documented() {
    let text = std::fs::read_to_string(sample("../docs/annotations.md")).unwrap();
    let section = text.split("\n## ").find(|section| section.starts_with("Annotations")).unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let documented: std::collections::BTreeSet<_> = rows.collect();
    assert_eq!(documented, zoobridge::plan::annotations().into_iter().collect());
}

/// What is granted without a word is the same in the bridge, in its documentation and at the door.
#[test]
fn harmless_parameters_are_the_same_everywhere() {
    let policy = std::fs::read_to_string(deployed("kustomize/admission/policy.yaml")).unwrap();
    let list = policy.split("!(name in [").nth(1).unwrap().split(']').next().unwrap();
    let at_the_door: Vec<_> = list.split(',').map(|name| name.trim().trim_matches('\'')).collect();
    assert_eq!(at_the_door, zoobridge::format::HARMLESS_DUBBO_PARAMETERS);
    let text = std::fs::read_to_string(sample("../docs/annotations.md")).unwrap();
    let row = text.lines().find(|line| line.starts_with("| a parameter of a Dubbo URL")).unwrap();
    let documented: Vec<_> =
        row.split('|').nth(2).unwrap().split(',').map(|name| name.trim().trim_matches('`')).collect();
    assert_eq!(documented, zoobridge::format::HARMLESS_DUBBO_PARAMETERS);
}

/// The box of `docs/ensembles.md`, and the overlay that `deploy/README.md` shows for other names.
#[test]
fn what_is_said_of_several_ensembles_is_so() {
    let boxes = |path: PathBuf| -> Vec<String> {
        let text = std::fs::read_to_string(path).unwrap();
        text.split("```yaml\n").skip(1).map(|it| it.split("```").next().unwrap().to_owned()).collect()
    };
    let config = Config::parse(&boxes(sample("../docs/ensembles.md"))[0]).unwrap();
    let each = config.each();
    let secrets: Vec<_> = each.iter().map(|one| one.sessions.secret()).collect();
    assert_eq!(secrets, ["zoobridge-sessions", "zoobridge-sessions-legacy"]);
    assert_eq!(config.imports[0].ensemble, each[1].ensemble);

    let overlays = boxes(deployed("README.md"));
    let overlay = overlays.iter().find(|overlay| overlay.contains("kustomize/ensembles")).unwrap();
    let overlay: Value = serde_saphyr::from_str(overlay).unwrap();
    let patch = &overlay["patches"][0];
    let documents = manifest("kustomize/ensembles/rbac.yaml");
    let role = of_kind(&documents, "Role", patch["target"]["name"].as_str().unwrap());
    let ops: Value = serde_saphyr::from_str(patch["patch"].as_str().unwrap()).unwrap();
    let replaced = role.pointer(ops[0]["path"].as_str().unwrap()).unwrap();
    assert_eq!(replaced, &json!([each[1].sessions.secret()]));
    assert_eq!(ops[0]["value"], json!(["zoobridge-sessions-shop", "zoobridge-sessions-old"]));
}
