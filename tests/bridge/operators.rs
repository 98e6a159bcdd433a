//! The operators' tools as an operator has them: the program, on both sides as they are.

use std::process::{Child, Stdio};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::ListParams;
use kube_dev::KubeDev;
use serde_json::Value;
use zk_wire::acl::Acl;
use zk_wire::codes::CreateMode;
use zoobridge::local::{Local, RunningBridge};

use crate::sides::Sides;
use crate::world::{DIRECTORY, World, service, session, slice, within};

const RULES: &str = "rules: [{services: [nobody], formats: [dubbo]}, {services: ['orders*', 'carts'], \
                     formats: [curator, dubbo, dubbo3], names: ['*'], addresses: [pod, custom]}]";

/// A configuration and a kubeconfig, as files.
pub(crate) struct Files {
    dir: tempfile::TempDir,
    /// The configuration but for its rules and imports.
    common: String,
}

/// A bridge as an operator has it: a process, with a Lease. It is killed with this.
pub(crate) struct Process(Option<Child>);

impl Files {
    pub(crate) fn new(kube: &KubeDev, zookeeper: std::net::SocketAddr) -> Files {
        Files::with(kube, zookeeper, RULES)
    }

    pub(crate) fn with(kube: &KubeDev, zookeeper: std::net::SocketAddr, rest: &str) -> Files {
        Files::of(kube, &format!("connect: '{zookeeper}'"), rest)
    }

    /// With these keys in the section `zookeeper`.
    pub(crate) fn of(kube: &KubeDev, zookeeper: &str, rest: &str) -> Files {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("kubeconfig"), kube.kubeconfig()).unwrap();
        let common = format!(
            "cluster: test\nzookeeper: {{sessionTimeout: 4s, {zookeeper}}}\nhttp: {{address: '127.0.0.1:0'}}\n"
        );
        let files = Files { dir, common };
        files.configure(rest);
        files
    }

    fn configure(&self, rest: &str) {
        let config = format!("{}{rest}\n", self.common);
        std::fs::write(self.dir.path().join("zoobridge.yaml"), config).unwrap();
    }

    pub(crate) fn bridge(&self) -> Process {
        let mut command = self.command(&["run"]);
        Process(Some(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()))
    }

    pub(crate) fn command(&self, args: &[&str]) -> std::process::Command {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_zoobridge"));
        command
            .args(args)
            .env("KUBECONFIG", self.dir.path().join("kubeconfig"))
            .env("ZOOBRIDGE_CONFIG", self.dir.path().join("zoobridge.yaml"));
        command
    }

    /// Its exit code, and what it printed.
    pub(crate) async fn run(&self, args: &[&str]) -> (i32, String) {
        let mut command = self.command(args);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let (out, err) =
            (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        (output.status.code().unwrap(), out + &err)
    }

    pub(crate) async fn json(&self, args: &[&str]) -> (i32, Value) {
        let (code, text) = self.run(&[args, &["--output", "json"]].concat()).await;
        (code, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
    }
}

impl Process {
    /// As its Deployment is scaled to 0.
    pub(crate) async fn stop(mut self) {
        let mut child = self.0.take().unwrap();
        std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
        let ended = tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap();
        assert!(ended.success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            drop(child.kill().and_then(|()| child.wait()));
        }
    }
}

/// `create 10.0.0.3:8080` and so on, in order.
fn writes(diff: &Value) -> Vec<String> {
    let name = |path: &str| path.rsplit('/').next().unwrap().to_owned();
    let one = |write: &Value| {
        format!("{} {}", write["op"].as_str().unwrap(), name(write["path"].as_str().unwrap()))
    };
    diff["writes"].as_array().unwrap().iter().map(one).collect()
}

#[tokio::test]
async fn diff_tells_what_the_bridge_then_writes() {
    let world = World::new().await;
    let files = Files::new(&world.local.kube, world.local.zookeeper());
    world.service("orders", &[("curator", "")]).await;
    world.slice("orders", &[1, 2]).await;
    world.until(DIRECTORY, &["10.0.0.1:8080", "10.0.0.2:8080"]).await;
    assert_eq!(files.run(&["diff"]).await, (0, "nothing to write\n".to_owned()));

    let (config, credentials) = (world.config(), world.credentials());
    let World { local, eye, dir } = world;
    local.bridge.kill().await;
    slice(&local.client, "orders", &[2, 3]).await;
    let (code, diff) = files.json(&["diff"]).await;
    assert_eq!(
        (code, writes(&diff)),
        (3, vec!["create 10.0.0.3:8080".to_owned(), "delete 10.0.0.1:8080".to_owned()])
    );
    assert_eq!(files.run(&["diff", "default/carts"]).await, (0, "nothing to write\n".to_owned()));
    let bridge = RunningBridge::start(&config, local.client.clone(), credentials).await.unwrap();
    let world = World { local: Local { bridge, ..local }, eye, dir };
    world.until(DIRECTORY, &["10.0.0.2:8080", "10.0.0.3:8080"]).await;
    assert_eq!(files.json(&["diff"]).await.0, 0);
    world.local.stop().await.unwrap();
}

#[tokio::test]
async fn plan_and_explain_say_why() {
    let world = World::new().await;
    let files = Files::new(&world.local.kube, world.local.zookeeper());
    world.service("orders", &[("curator", ""), ("nonsense", "1")]).await;
    world.service("stranger", &[("curator", "")]).await;
    world.slice("orders", &[1, 2]).await;
    world.eye.create("/services", "", Acl::open(), CreateMode::Persistent).await.ok();
    world.until(DIRECTORY, &["10.0.0.1:8080", "10.0.0.2:8080"]).await;
    let (code, plan) = files.json(&["plan"]).await;
    assert_eq!(code, 0);
    let services = plan["services"].as_array().unwrap();
    assert_eq!(services.len(), 2);
    assert_eq!(services[0]["service"], "default/orders");
    assert_eq!(services[0]["znodes"][0]["path"], format!("{DIRECTORY}/10.0.0.1:8080"));
    assert!(services[0]["znodes"][0]["data"].as_str().unwrap().contains("\"address\":\"10.0.0.1\""));
    assert_eq!(services[0]["refusals"][0]["reason"], "UnknownAnnotation");
    assert_eq!(services[1]["refusals"][0]["reason"], "NotGranted");

    // A provider of its own at the second address.
    let leaf = format!("{DIRECTORY}/10.0.0.9:8080");
    world.eye.create(&leaf, "a real provider", Acl::open(), CreateMode::Ephemeral).await.unwrap();
    world.slice("orders", &[1, 9]).await;
    world.event("orders", "Conflict").await;
    let (code, explained) = files.json(&["explain", "default/orders"]).await;
    assert_eq!(code, 0);
    let publication = &explained["publications"][0];
    assert_eq!((&publication["rule"], &publication["directory"]), (&"rules[1]".into(), &DIRECTORY.into()));
    let endpoints = publication["endpoints"].as_array().unwrap();
    assert_eq!((&endpoints[0]["published"], &endpoints[1]["published"]), (&true.into(), &false.into()));
    assert!(endpoints[0]["because"].as_str().unwrap().contains("zxid"), "{endpoints:?}");
    assert!(endpoints[1]["because"].as_str().unwrap().contains("not ours"), "{endpoints:?}");
    world.annotate("orders", "outside.curator", Some("orders-ext")).await;
    world.until("/services/orders-ext", &["10.0.0.1:8080", "10.0.0.9:8080"]).await;
    let (_, explained) = files.json(&["explain", "default/orders"]).await;
    let views = [0, 1].map(|at| &explained["publications"][at]["view"]);
    assert_eq!(views, [&serde_json::Value::Null, &"outside".into()]);
    let (_, text) = files.run(&["explain", "default/orders"]).await;
    assert!(text.contains("curator \"orders-ext\" in view \"outside\": granted by rules[1]"), "{text}");
    let (_, text) = files.run(&["explain", "default/stranger"]).await;
    assert!(text.contains("NotGranted"), "{text}");
    let (code, text) = files.run(&["explain", "default/nobody"]).await;
    assert_eq!((code, text.contains("there is no Service default/nobody")), (1, true), "{text}");
    world.local.stop().await.unwrap();
}

#[tokio::test]
async fn verify_notices_what_a_consumer_misses() {
    let world = World::new().await;
    let files = Files::new(&world.local.kube, world.local.zookeeper());
    world.service("orders", &[("curator", ""), ("dubbo", "com.acme.A")]).await;
    world.slice("orders", &[1, 2]).await;
    world.until(DIRECTORY, &["10.0.0.1:8080", "10.0.0.2:8080"]).await;
    let stranger = format!("{DIRECTORY}/by-itself");
    let data = r#"{"name":"orders","address":"10.9.9.9","port":1}"#;
    world.eye.create(&stranger, data, Acl::open(), CreateMode::Ephemeral).await.unwrap();
    let (code, verified) = files.json(&["verify"]).await;
    assert_eq!((code, verified.as_array().unwrap().len()), (0, 2), "{verified}");
    let curator = verified.as_array().unwrap().iter().find(|it| it["directory"] == DIRECTORY).unwrap();
    assert_eq!((&curator["seen"], &curator["foreign"][0]), (&2.into(), &"10.9.9.9:1".into()));

    let World { local, eye, dir: _dir } = world;
    local.bridge.kill().await;
    slice(&local.client, "orders", &[2, 3]).await;
    let (code, text) = files.run(&["verify", "--within", "1s", "default/orders"]).await;
    assert_eq!(code, 3, "{text}");
    for part in ["missing: 10.0.0.3:8080", "stale: 10.0.0.1:8080", "DIFFERS"] {
        assert!(text.contains(part), "{text}");
    }
    drop(eye);
}

#[tokio::test]
async fn what_dubbo_3_needs_beside_its_instances_is_told() {
    let world = World::new().await;
    let files = Files::new(&world.local.kube, world.local.zookeeper());
    let rules = serde_json::json!([{"formats": ["dubbo3"], "names": ["*"], "addresses": ["pod", "custom"]}]);
    world.local.bridge.rule(serde_json::from_value(rules).unwrap());
    world.service("carts", &[("dubbo3", "com.acme.A")]).await;
    world.slice("carts", &[1]).await;
    world.until("/services/carts", &["10.0.0.1:8080"]).await;
    assert_eq!(files.run(&["diff"]).await, (0, "nothing to write\n".to_owned()));
    let (code, verified) = files.json(&["verify"]).await;
    assert_eq!(
        (code, &verified[0]["directory"], &verified[0]["seen"]),
        (0, &"/services/carts".into(), &1.into())
    );
    let (_, explained) = files.json(&["explain", "default/carts"]).await;
    assert_eq!(explained["publications"][0]["rule"], "rules[1]");

    let [mapping, metadata] = ["/dubbo/mapping/com.acme.A", "/dubbo/metadata/carts"];
    let World { local, eye, dir: _dir } = world;
    local.bridge.kill().await;
    let revision = eye.children(metadata).await.unwrap().unwrap().0.remove(0);
    eye.delete(&format!("{metadata}/{revision}"), -1).await.unwrap();
    eye.set(mapping, "others", -1).await.unwrap();
    let (code, diff) = files.json(&["diff"]).await;
    assert_eq!(
        (code, writes(&diff)),
        (3, vec!["companion com.acme.A".to_owned(), format!("companion {revision}")])
    );
    let (_, plan) = files.json(&["plan"]).await;
    let companions = plan["services"][0]["companions"].as_array().unwrap();
    assert_eq!((&companions[0]["path"], &companions[0]["data"]), (&mapping.into(), &"carts".into()));
    assert!(companions[1]["data"].as_str().unwrap().contains(&revision));
}

#[tokio::test]
async fn status_tells_sessions_fence_and_counts() {
    let world = World::new().await;
    let files = Files::new(&world.local.kube, world.local.zookeeper());
    world.service("orders", &[("curator", "")]).await;
    world.slice("orders", &[1, 2]).await;
    world.until(DIRECTORY, &["10.0.0.1:8080", "10.0.0.2:8080"]).await;
    let owner = world.stats(DIRECTORY).await["10.0.0.1:8080"].ephemeral_owner;
    let (code, status) = files.json(&["status"]).await;
    assert_eq!(code, 0);
    assert_eq!(status["sessions"], serde_json::json!([{"id": owner.to_string(), "znodes": 2}]));
    assert!(status["fence"]["path"].as_str().unwrap().starts_with("/zoobridge/test/fence/"));
    assert_eq!(
        (&status["services"], &status["znodes"], &status["toWrite"]),
        (&1.into(), &2.into(), &0.into())
    );
    // This world has no election.
    assert_eq!(
        (&status["leader"]["lease"], &status["leader"]["holder"]),
        (&"default/zoobridge".into(), &Value::Null)
    );
    world.local.stop().await.unwrap();
}

#[tokio::test]
async fn a_dry_run_says_what_it_would_write_and_writes_nothing() {
    let Sides { server, kube, client, dir } = Sides::new().await;
    let files = Files::new(&kube, server.client_address());
    service(&client, "orders", &[("curator", "")]).await;
    slice(&client, "orders", &[1]).await;
    let log = dir.path().join("log");
    let mut command = files.command(&["run", "--dry-run"]);
    command.stderr(std::fs::File::create(&log).unwrap()).stdout(Stdio::null());
    let mut child = command.spawn().unwrap();
    let said = |part: &'static str| {
        let log = log.clone();
        async move {
            within(async {
                while !std::fs::read_to_string(&log).unwrap().contains(part) {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            })
            .await;
        }
    };
    said("10.0.0.1:8080").await;
    slice(&client, "orders", &[2]).await;
    said("10.0.0.2:8080").await;
    // Rules may change meanwhile.
    files.configure("rules: []");
    said("no rule grants default/orders").await;
    std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    let ended = tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap();
    assert!(ended.success());
    let eye = session(server.client_address()).await;
    assert_eq!(eye.children("/").await.unwrap().unwrap().0, ["zookeeper"]);
    let (secrets, leases) = (Api::<Secret>::all(client.clone()), Api::<Lease>::all(client));
    assert_eq!(secrets.list(&ListParams::default()).await.unwrap().items.len(), 0);
    assert_eq!(leases.list(&ListParams::default()).await.unwrap().items.len(), 0);
    kube.stop().await;
    server.stop().await.unwrap();
}

/// The boxes of `docs/operators.md`, in a world that has what they name.
#[tokio::test]
async fn the_commands_of_the_documentation_work() {
    let world = World::new().await;
    let files = Files::new(&world.local.kube, world.local.zookeeper());
    world.service("orders", &[("curator", "")]).await;
    world.slice("orders", &[1]).await;
    world.until(DIRECTORY, &["10.0.0.1:8080"]).await;
    let documentation = include_str!("../../docs/operators.md");
    let mut commands = 0;
    for block in documentation.split("```sh\n").skip(1) {
        for line in block.split("```").next().unwrap().lines() {
            let args: Vec<_> = line.split_whitespace().skip(1).collect();
            let (code, text) = files.run(&args).await;
            assert_eq!(code, 0, "{line}: {text}");
            assert!(!text.is_empty(), "{line}");
            commands += 1;
        }
    }
    assert!(commands >= 6, "{commands}");
    world.local.stop().await.unwrap();
}

#[tokio::test]
async fn history_tells_who_removed_an_endpoint_when_and_why() {
    let world = World::new().await;
    let files = Files::new(&world.local.kube, world.local.zookeeper());
    world.service("orders", &[("curator", "")]).await;
    world.slice("orders", &[1, 2]).await;
    world.until(DIRECTORY, &["10.0.0.1:8080", "10.0.0.2:8080"]).await;
    let created = world.stats(DIRECTORY).await["10.0.0.1:8080"].czxid;
    let slices: Api<k8s_openapi::api::discovery::v1::EndpointSlice> =
        Api::default_namespaced(world.local.client.clone());
    let unready = serde_json::json!({"endpoints": [
        {"addresses": ["10.0.0.1"]}, {"addresses": ["10.0.0.2"], "conditions": {"ready": false}},
    ]});
    let patch = kube::api::Patch::Merge(unready);
    let changed = slices.patch("orders-1", &kube::api::PatchParams::default(), &patch).await.unwrap();
    world.until(DIRECTORY, &["10.0.0.1:8080"]).await;
    // Another leader, and somebody who deletes a znode.
    let (config, credentials) = (world.config(), world.credentials());
    let World { local, eye, dir } = world;
    local.bridge.kill().await;
    let bridge = RunningBridge::start(&config, local.client.clone(), credentials).await.unwrap();
    let world = World { local: Local { bridge, ..local }, eye, dir };
    world.slice("orders", &[1, 3]).await;
    world.until(DIRECTORY, &["10.0.0.1:8080", "10.0.0.3:8080"]).await;
    world.eye.delete(&format!("{DIRECTORY}/10.0.0.1:8080"), -1).await.unwrap();
    world.until(DIRECTORY, &["10.0.0.1:8080", "10.0.0.3:8080"]).await;
    let services: Api<k8s_openapi::api::core::v1::Service> =
        Api::default_namespaced(world.local.client.clone());
    let service = services.get("orders").await.unwrap();
    services.delete("orders", &kube::api::DeleteParams::default()).await.unwrap();
    world.until(DIRECTORY, &[]).await;

    let (code, history) = files.json(&["history", "default/orders"]).await;
    assert_eq!(code, 0);
    let entries = history.as_array().unwrap();
    let shown: Vec<_> = entries
        .iter()
        .flat_map(|entry| entry["writes"].as_array().unwrap())
        .map(|written| {
            let znodes: Vec<_> = written["znodes"]
                .as_array()
                .unwrap()
                .iter()
                .map(|it| it.as_str().unwrap()[7..8].to_owned())
                .collect();
            format!(
                "{} {} {}",
                written["op"].as_str().unwrap(),
                written["cause"].as_str().unwrap(),
                znodes.join("+")
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            "create ready 1+2",
            "delete not-ready 2",
            "create ready 3",
            "create repaired 1",
            "delete service-gone 1+3",
        ]
    );
    assert_eq!(entries[0]["zxid"], created.to_string());
    let (removed, slice) = (&entries[1]["writes"][0], changed.metadata);
    assert_eq!(removed["directory"], DIRECTORY);
    assert_eq!(removed["object"]["kind"], "EndpointSlice");
    assert_eq!(removed["object"]["uid"].as_str(), slice.uid.as_deref());
    assert_eq!(removed["object"]["resourceVersion"].as_str(), slice.resource_version.as_deref());
    assert_eq!(entries[1]["object"]["uid"].as_str(), service.metadata.uid.as_deref());
    assert!(entries[1]["by"].as_str().unwrap().contains(&std::process::id().to_string()));
    assert_eq!(entries[4]["writes"][0]["object"]["kind"], "Service");
    let (_, other) = files.json(&["history", "default/carts"]).await;
    assert_eq!(other, serde_json::json!([]));
    world.local.stop().await.unwrap();
}

#[tokio::test]
async fn the_history_is_bounded_and_a_change_does_not_depend_on_it() {
    let world = World::new().await;
    let mut config = world.config();
    config.history.records = 3;
    let credentials = world.credentials();
    let World { local, eye, dir } = world;
    local.bridge.kill().await;
    let bridge = RunningBridge::start(&config, local.client.clone(), credentials).await.unwrap();
    let world = World { local: Local { bridge, ..local }, eye, dir };
    world.service("orders", &[("curator", "")]).await;
    let records = "/zoobridge/test/history";
    for round in 0..40u8 {
        let ready = [round % 2 + 1];
        world.slice("orders", &ready).await;
        world.until(DIRECTORY, &[&format!("10.0.0.{}:8080", ready[0])]).await;
    }
    within(async {
        // Each round creates one and deletes one; 64 too many go together.
        while world.leaves(records).await.len() > 3 + 64 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let there = world.leaves(records).await.len();
    assert!((3..80).contains(&there), "{there}");
    // Somebody removes all of it.
    for record in world.leaves(records).await {
        world.eye.delete(&format!("{records}/{record}"), -1).await.unwrap();
    }
    world.eye.delete(records, -1).await.unwrap();
    world.slice("orders", &[7]).await;
    world.until(DIRECTORY, &["10.0.0.7:8080"]).await;
    assert_eq!(world.leaves(records).await.len(), 2);
    world.local.stop().await.unwrap();
}
