//! Whatever JSON comes: the answer is a success or a 4xx Status, and everything else goes on.

use std::collections::BTreeSet;

use axum::http::{Method, Request};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::cluster::{Cluster, prompt};

/// An object of each kind that has most of what this API looks at.
fn objects() -> Vec<(&'static str, Value)> {
    let template = json!({
        "metadata": {"labels": {"app": "mad"}, "annotations": {"kube-dev/ready": "true"}},
        "spec": {"containers": [{
            "name": "c", "image": "i", "ports": [{"name": "http", "containerPort": 8080}],
            "resources": {"limits": {"cpu": 1}}, "env": [{"name": "A", "value": "b"}],
        }]},
    });
    let spec = json!({
        "replicas": 2, "selector": {"matchLabels": {"app": "mad"}}, "serviceName": "mad",
        "template": template,
    });
    let condition = json!({"type": "Ready", "status": "True"});
    let pod = json!({"spec": template["spec"], "status": {
        "phase": "Running", "podIP": "10.0.0.9", "startTime": "2026-01-01T00:00:00Z",
        "conditions": [condition],
    }});
    let service = json!({"spec": {
        "selector": {"app": "mad"}, "clusterIP": "10.96.7.7", "type": "ClusterIP",
        "ports": [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}],
    }});
    let slice = json!({
        "addressType": "IPv4", "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
        "endpoints": [{"addresses": ["10.0.0.9"], "conditions": {"ready": true}, "targetRef": {"uid": "u"}}],
    });
    let event = json!({
        "regarding": {"name": "s"}, "note": "n", "reason": "r", "type": "Normal", "action": "a",
        "eventTime": "2026-01-01T00:00:00.000000Z", "reportingController": "c/x",
    });
    let secret = json!({"data": {"a": "YQ=="}, "stringData": {"b": "c"}, "type": "Opaque"});
    let lease = json!({"spec": {
        "holderIdentity": "h", "leaseDurationSeconds": 5, "renewTime": "2026-01-01T00:00:00.000000Z",
    }});
    vec![
        ("api/v1/namespaces", json!({"status": {"phase": "Active"}})),
        ("api/v1/nodes", json!({"spec": {"podCIDRs": ["10.0.0.0/24"]}, "status": {"capacity": {"cpu": 4}}})),
        ("api/v1/services", service),
        (
            "api/v1/endpoints",
            json!({"subsets": [{"addresses": [{"ip": "10.0.0.9"}], "ports": [{"port": 80}]}]}),
        ),
        ("api/v1/pods", pod),
        ("api/v1/configmaps", json!({"data": {"a": "b"}})),
        ("api/v1/secrets", secret),
        ("api/v1/serviceaccounts", json!({"imagePullSecrets": [{"name": "a"}]})),
        ("api/v1/events", json!({"involvedObject": {"name": "s"}, "message": "m", "count": 3})),
        ("apis/events.k8s.io/v1/events", event),
        ("apis/apps/v1/deployments", json!({"spec": spec, "status": {"replicas": 1}})),
        ("apis/apps/v1/replicasets", json!({"spec": spec})),
        ("apis/apps/v1/statefulsets", json!({"spec": spec})),
        ("apis/discovery.k8s.io/v1/endpointslices", slice),
        ("apis/coordination.k8s.io/v1/leases", lease),
    ]
    .into_iter()
    .map(|(path, mut object)| {
        object["metadata"] = json!({
            "name": "mad", "labels": {"app": "mad"}, "annotations": {"a": "b"}, "finalizers": [],
            "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": "u"}],
            "resourceVersion": "", "generateName": "mad-", "uid": "", "creationTimestamp": null,
            "deletionTimestamp": null, "generation": 1,
        });
        object["spec"]["madness"] = json!({"a": [1]});
        (path, object)
    })
    .collect()
}

/// Where all objects of a path are, in a namespace if they are in one.
fn place(path: &str, namespace: &str) -> String {
    let (group, plural) = path.rsplit_once('/').unwrap();
    if matches!(plural, "namespaces" | "nodes") {
        format!("/{path}")
    } else {
        format!("/{group}/namespaces/{namespace}/{plural}")
    }
}

fn anything() -> impl Strategy<Value = Value> {
    let text =
        select(vec!["", "x", "mad", "-1", "None", "ExternalName", "10.96.0.1", "ä/ /", "True", "http"]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-2_i64..3).prop_map(Value::from),
        Just(json!(2_147_483_647)),
        any::<f64>().prop_map(Value::from),
        text.prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        Just("x".repeat(300).into()),
    ];
    let name =
        select(vec!["metadata", "spec", "labels", "name", "ports", "port", "$patch", "ip", "a", "uid", ""]);
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name.clone(), inner, 0..4)
                .prop_map(|map| map.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()),
        ]
    })
}

/// Everything in a value that could be something else, as JSON pointers.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(map) => map.iter().for_each(|(name, value)| {
            let name = name.replace('~', "~0").replace('/', "~1");
            places(value, &format!("{at}/{name}"), found);
        }),
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(n, value)| places(value, &format!("{at}/{n}"), found));
        }
        _ => {}
    }
}

/// An object in which up to three things are something else.
fn spoiled(object: Value) -> impl Strategy<Value = Value> {
    prop::collection::vec((any::<Index>(), anything()), 0..4).prop_map(move |changes| {
        let mut object = object.clone();
        for (index, value) in changes {
            let mut found = Vec::new();
            places(&object, "", &mut found);
            if let Some(place) = object.pointer_mut(&found[index.index(found.len())]) {
                *place = value;
            }
        }
        object
    })
}

fn operations(object: &Value) -> impl Strategy<Value = Value> + use<> {
    let mut paths = vec!["/metadata/labels/x".to_owned(), "/spec/-".to_owned(), "nonsense".to_owned()];
    places(object, "", &mut paths);
    let op = select(vec!["add", "remove", "replace", "move", "copy", "test", "bogus"]);
    let operation = (op, select(paths.clone()), select(paths), anything())
        .prop_map(|(op, path, from, value)| json!({"op": op, "path": path, "from": from, "value": value}));
    prop::collection::vec(operation, 0..6).prop_map(Value::from)
}

#[derive(Debug, Clone)]
struct Write {
    method: Method,
    /// Below the collection: the object, or its subresource.
    rest: &'static str,
    media_type: &'static str,
    path: &'static str,
    body: Value,
}

fn write() -> impl Strategy<Value = Write> {
    let how = select(vec![
        (Method::POST, "application/json"),
        (Method::PUT, "application/json"),
        (Method::PATCH, "application/merge-patch+json"),
        (Method::PATCH, "application/strategic-merge-patch+json"),
        (Method::PATCH, "application/json-patch+json"),
        (Method::DELETE, "application/json"),
    ]);
    let part = prop_oneof![6 => Just("/mad"), 1 => Just("/mad/status"), 1 => Just("/mad/scale")];
    (select(objects()), how, part).prop_flat_map(|((path, object), (method, media_type), part)| {
        let scale = json!({"kind": "Scale", "metadata": {"name": "mad"}, "spec": {"replicas": 3}});
        let options = json!({"preconditions": {"uid": "u"}, "gracePeriodSeconds": 0, "dryRun": []});
        let object = match (part, &method) {
            // Another one, by its `generateName`.
            (_, &Method::POST) => {
                let mut object = object;
                object["metadata"]["name"] = Value::Null;
                object
            }
            (_, &Method::DELETE) => options,
            ("/mad/scale", _) => scale,
            _ => object,
        };
        let body = match media_type {
            "application/json-patch+json" => prop_oneof![operations(&object), anything()].boxed(),
            _ => prop_oneof![6 => spoiled(object), 1 => anything()].boxed(),
        };
        let rest = if method == Method::POST { "" } else { part };
        body.prop_map(move |body| Write { method: method.clone(), rest, media_type, path, body })
    })
}

/// The API lists everything, as objects and as tables.
async fn lists_everything(cluster: &Cluster) {
    for (path, _) in objects() {
        for accept in ["application/json", "application/json;as=Table;v=v1;g=meta.k8s.io"] {
            let request = Request::get(format!("/{path}")).header("accept", accept).body(Vec::new()).unwrap();
            cluster.client.request::<Value>(request).await.unwrap();
        }
    }
}

/// A Deployment gets pods, and its Service gets their endpoints.
async fn runs_workloads(cluster: &Cluster, name: &str) {
    let manifest = format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\n\
         spec: {{selector: {{matchLabels: {{app: {name}}}}}, \
         template: {{metadata: {{labels: {{app: {name}}}}}, \
         spec: {{containers: [{{name: c, image: i}}]}}}}}}\n---\n\
         apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\n\
         spec: {{selector: {{app: {name}}}, ports: [{{port: 80}}]}}\n"
    );
    cluster.dev.apply_manifests(&manifest).unwrap();
    let slices = format!(
        "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices\
         ?watch=1&labelSelector=kubernetes.io/service-name%3D{name}"
    );
    let mut watch = cluster.watch(&slices).await;
    while watch.next().await.1["endpoints"][0]["conditions"]["ready"] != true {}
    for path in ["apis/apps/v1/deployments", "api/v1/services"] {
        let path = format!("{}/{name}", place(path, "default"));
        let (code, answer) = cluster.send(Method::DELETE, &path, "application/json", "").await;
        assert_eq!(code, 200, "{answer}");
    }
}

async fn survives(cluster: &Cluster, case: usize, writes: &[Write]) -> BTreeSet<u16> {
    let namespace = format!("mad-{case}");
    let object = json!({"metadata": {"name": namespace}});
    cluster.json(Method::POST, "/api/v1/namespaces", &object).await;
    for (path, object) in objects() {
        let (code, answer) = cluster.json(Method::POST, &place(path, &namespace), &object).await;
        // What is cluster-wide is there from the first case on; the Events of both groups are the same.
        assert!(code == 201 || code == 409, "{path}: {answer}");
    }
    let mut codes = BTreeSet::new();
    for Write { method, rest, media_type, path, body } in writes {
        let path = format!("{}{rest}", place(path, &namespace));
        let (code, answer) = cluster.send(method.clone(), &path, media_type, body.to_string()).await;
        let is_good = match code {
            200 | 201 => true,
            400..500 => answer["kind"] == "Status" && answer["code"] == code,
            _ => false,
        };
        assert!(is_good, "{method} {path} {media_type} {body}: {code} {answer}");
        codes.insert(code);
    }
    lists_everything(cluster).await;
    runs_workloads(cluster, &format!("probe-{case}")).await;
    let (code, answer) = cluster
        .send(Method::DELETE, &format!("/api/v1/namespaces/{namespace}"), "application/json", "")
        .await;
    assert_eq!(code, 200, "{answer}");
    codes
}

#[test]
fn the_api_and_its_controllers_survive_any_json() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let cluster = runtime.block_on(Cluster::start(kube_dev::Options { pod_limit: 3, ..prompt() }));
    let config = Config { cases: 96, failure_persistence: None, ..Config::default() };
    let codes = std::cell::RefCell::new(BTreeSet::new());
    let case = std::cell::Cell::new(0);
    TestRunner::new(config)
        .run(&prop::collection::vec(write(), 1..24), |writes| {
            case.set(case.get() + 1);
            codes.borrow_mut().extend(runtime.block_on(survives(&cluster, case.get(), &writes)));
            Ok(())
        })
        .unwrap();
    // Dozens of writes are accepted, and hundreds refused for either reason: the JSON is neither too mad nor
    // too sane to reach what is behind the first check.
    let codes = codes.into_inner();
    assert!(codes.is_superset(&[200, 201, 400, 422].into()), "{codes:?}");
}

/// The two that the review found, and their like.
#[test]
fn objects_that_once_ended_the_controllers_do_not() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let cluster = runtime.block_on(Cluster::start(prompt()));
    let wrong = |path: &str, spoil: fn(&mut Value)| {
        let mut object = objects().into_iter().find(|(is, _)| *is == path).unwrap().1;
        spoil(&mut object);
        (place(path, "default"), object)
    };
    for (path, object) in [
        wrong("api/v1/secrets", |secret| secret["data"] = json!("x")),
        wrong("apis/apps/v1/deployments", |d| d["spec"]["template"]["metadata"]["labels"] = json!("x")),
        wrong("apis/apps/v1/deployments", |d| d["spec"]["template"]["metadata"] = json!(5)),
        wrong("apis/apps/v1/deployments", |d| d["spec"] = json!([])),
        wrong("apis/apps/v1/deployments", |d| d["metadata"]["labels"] = json!("x")),
        wrong("api/v1/services", |service| service["spec"]["ports"] = json!({"port": 80})),
        wrong("api/v1/services", |service| service["spec"]["clusterIP"] = json!(5)),
        wrong("api/v1/pods", |pod| pod["status"] = json!("Running")),
    ] {
        let (code, status) = runtime.block_on(cluster.json(Method::POST, &path, &object));
        assert_eq!((code, &status["reason"]), (400, &json!("BadRequest")), "{path} {object}: {status}");
    }
    runtime.block_on(runs_workloads(&cluster, "probe"));
}
