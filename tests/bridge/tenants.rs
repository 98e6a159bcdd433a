//! Tenants who speak for others: each abuse is refused, told, counted, and in nobody's way.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Event, Namespace, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use zoobridge::config::Config;
use zoobridge::http::Subject;
use zoobridge::local::Local;

use crate::population::{RULES, tenants};
use crate::world::{leaves, session, until, within};

async fn start(dir: &std::path::Path, rules: &str) -> Local {
    let options = kube_dev::Options { workloads: false, ..kube_dev::Options::default() };
    let yaml =
        format!("cluster: test\nzookeeper: {{connect: replaced, sessionTimeout: 10s}}\nrules:\n{rules}");
    Local::start(dir, options, Config::parse(&yaml).unwrap()).await.unwrap()
}

/// A Service of a namespace with one endpoint that Kubernetes' controller would have written.
async fn publish(local: &Local, name: &str, annotations: &[(&str, &str)], spec: Value) {
    let annotations: BTreeMap<_, _> =
        annotations.iter().map(|(name, value)| (format!("zoobridge.io/{name}"), *value)).collect();
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "annotations": annotations},
        "spec": spec,
    });
    let services: Api<Service> = Api::default_namespaced(local.client.clone());
    services.create(&PostParams::default(), &serde_json::from_value(service).unwrap()).await.unwrap();
    let manager = if spec.get("selector").is_some() { "endpointslice-controller.k8s.io" } else { "somebody" };
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": format!("{name}-1"), "labels": {
            "kubernetes.io/service-name": name, "endpointslice.kubernetes.io/managed-by": manager,
        }},
        "endpoints": [{"addresses": ["10.0.0.66"]}],
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    });
    let slices: Api<EndpointSlice> = Api::default_namespaced(local.client.clone());
    slices.create(&PostParams::default(), &serde_json::from_value(slice).unwrap()).await.unwrap();
}

/// Waits for an Event about a Service with this reason, and this in its message.
async fn until_told(local: &Local, name: &str, reason: &str, part: &str) {
    let events: Api<Event> = Api::default_namespaced(local.client.clone());
    within(async {
        loop {
            let all = events.list(&ListParams::default()).await.unwrap().items;
            if all.iter().any(|event| {
                event.involved_object.name.as_deref() == Some(name)
                    && event.reason.as_deref() == Some(reason)
                    && event.message.as_deref().is_some_and(|message| message.contains(part))
            }) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

async fn counted(local: &Local, reason: &str) -> f64 {
    let families = local.bridge.subject().families().await.unwrap();
    let refusals = families.iter().find(|family| family.name() == "zoobridge_refusals_total").unwrap();
    let of_reason =
        |metric: &&prometheus::proto::Metric| metric.get_label().iter().any(|label| label.value() == reason);
    refusals.get_metric().iter().find(of_reason).map_or(0.0, |metric| metric.get_counter().get_value())
}

/// A Service's name, annotations and spec; the reason of its Event, and a part of its text.
type Abuse<'a> = (&'a str, Vec<(&'a str, &'a str)>, Value, &'a str, &'a str);

#[tokio::test]
async fn nobody_speaks_for_somebody_else() {
    let dir = tempfile::tempdir().unwrap();
    let local = start(dir.path(), "- formats: [curator, dubbo, spring, serverset, nerve, hostport]\n").await;
    let eye = session(local.zookeeper()).await;
    let pods = || json!({"selector": {"app": "x"}, "ports": [{"name": "http", "port": 80}]});
    publish(&local, "victim", &[("curator", "default.victim"), ("dubbo", "default.Victim")], pods()).await;
    until(&eye, "/services/default.victim", &["10.0.0.66:8080"]).await;
    let before = leaves(&eye, "/dubbo/default.Victim/providers").await;
    assert_eq!(before.len(), 1);

    let mut bare = pods();
    bare.as_object_mut().unwrap().remove("selector");
    let mut external = pods();
    external["externalIPs"] = json!(["203.0.113.7"]);
    let named = |name: &str| json!({"type": "ExternalName", "externalName": name, "ports": [{"port": 443}]});
    let dubbo = |parameters| vec![("dubbo", "default.A"), ("dubbo-parameters", parameters)];
    let cases: Vec<Abuse> = vec![
        ("other-name", vec![("curator", "payments")], pods(), "NotGranted", "payments"),
        ("other-namespace", vec![("curator", "default-b.orders")], pods(), "NotGranted", "default-b.orders"),
        ("own-name", vec![("spring", "")], pods(), "NotGranted", "own-name"),
        ("interface", vec![("dubbo", "default.A,com.acme.Pay")], pods(), "NotGranted", "com.acme.Pay"),
        ("set", vec![("serverset", "web/prod/pay")], pods(), "NotGranted", "web/prod/pay"),
        ("dots", vec![("nerve", "default/../pay")], pods(), "BadAnnotation", ".."),
        ("filter", dubbo("weight=1&filter=evil"), pods(), "ParameterNotGranted", "filter"),
        ("router", dubbo("router=script"), pods(), "ParameterNotGranted", "router"),
        ("serialization", dubbo("serialization=java"), pods(), "ParameterNotGranted", "serialization"),
        ("method", dubbo("pay.mock=force:return"), pods(), "ParameterNotGranted", "pay.mock"),
        ("encoded", dubbo("%66ilter=x"), pods(), "ParameterNotGranted", "%66ilter"),
        ("class", dubbo("@class=evil.Gadget"), pods(), "ParameterNotGranted", "@class"),
        ("bare", vec![("curator", "default.bare")], bare, "AddressNotGranted", "custom"),
        (
            "external",
            vec![("curator", "default.external"), ("address", "external-ip")],
            external,
            "AddressNotGranted",
            "external-ip",
        ),
        ("node", vec![("curator", "default.node"), ("address", "node")], pods(), "AddressNotGranted", "node"),
        // Under a name that is granted for pods.
        (
            "alias",
            vec![("curator", "default.alias")],
            named("payments.example"),
            "AddressNotGranted",
            "external-name",
        ),
        (
            "alias-in-view",
            vec![("a.curator", "default.alias-in-view")],
            named("payments.example"),
            "AddressNotGranted",
            "a.curator with addresses of kind external-name",
        ),
        (
            "view-name",
            vec![("outside.curator", "payments")],
            pods(),
            "NotGranted",
            "\"payments\" as outside.curator",
        ),
        (
            "view-address",
            vec![
                ("curator", "default.view-address"),
                ("outside.curator", "default.view-address-ext"),
                ("outside.address", "cluster-ip"),
            ],
            pods(),
            "AddressNotGranted",
            "outside.curator with addresses of kind cluster-ip",
        ),
        (
            "view-parameter",
            vec![("outside.dubbo", "default.V"), ("outside.dubbo-parameters", "filter=evil")],
            pods(),
            "ParameterNotGranted",
            "outside.dubbo with parameter \"filter\"",
        ),
        (
            "view-twice",
            vec![("a.curator", "default.view-twice"), ("b.spring", "default.view-twice"), ("b.port", "80")],
            pods(),
            "Conflict",
            "zoobridge.io/a.curator",
        ),
        (
            "view-none",
            vec![("outsid.address", "pod")],
            pods(),
            "BadAnnotation",
            "zoobridge.io/outsid.curator",
        ),
        ("view-mad", vec![("Out.curator", "default.x")], pods(), "UnknownAnnotation", "Out.curator"),
    ];
    let many: Vec<_> = (0..50).map(|view| format!("v{view}.curator")).collect();
    let many = many.iter().map(|view| (&**view, "payments")).collect();
    let cases: Vec<_> =
        cases.into_iter().chain([("view-many", many, pods(), "BadAnnotation", "50 views")]).collect();
    for (name, annotations, spec, ..) in &cases {
        publish(&local, name, annotations, spec.clone()).await;
    }
    for (name, _, _, reason, part) in &cases {
        until_told(&local, name, reason, part).await;
    }
    // Of the fifty views eight are looked at.
    for (reason, times) in [("NotGranted", 14.0), ("ParameterNotGranted", 7.0), ("AddressNotGranted", 6.0)] {
        assert_eq!(counted(&local, reason).await, times, "{reason}");
    }
    // Of all that only what was granted is there: one interface of the Service that asked for two.
    let mut services = leaves(&eye, "/services").await;
    services.retain(|name| name != "default.victim" && !name.starts_with("default.view-"));
    for name in services {
        assert_eq!(leaves(&eye, &format!("/services/{name}")).await, [""; 0], "{name}");
    }
    assert_eq!(leaves(&eye, "/dubbo").await, ["default.A", "default.Victim"]);
    let providers = leaves(&eye, "/dubbo/default.A/providers").await;
    assert_eq!(providers.len(), 1);
    for word in ["filter", "router", "serialization", "mock", "%2566", "class"] {
        assert!(!providers[0].contains(word), "{providers:?}");
    }
    for root in ["/twitter/service", "/nerve/services"] {
        assert!(eye.children(root).await.unwrap().is_none_or(|(children, _)| children.is_empty()), "{root}");
    }
    assert_eq!(leaves(&eye, "/dubbo/default.Victim/providers").await, before);
    // What a Service asks for rightly is there, whatever its other view asks for.
    for (name, there) in [
        ("view-address", &["10.0.0.66:8080"][..]),
        ("view-address-ext", &[]),
        ("view-twice", &["10.0.0.66:8080"]),
    ] {
        assert_eq!(leaves(&eye, &format!("/services/default.{name}")).await, there, "{name}");
    }
    let instance = eye.get("/services/default.view-twice/10.0.0.66:8080").await.unwrap().unwrap().0;
    assert!(String::from_utf8_lossy(&instance).contains("\"payload\":null"), "the first of the two");

    // Who is granted it may; and what is granted no more goes.
    let rules = |yaml: &str| serde_json::from_value(serde_json::from_str(yaml).unwrap()).unwrap();
    local.bridge.rule(rules(r#"[{"formats": ["curator"], "names": ["payments"]}]"#));
    until(&eye, "/services/payments", &["10.0.0.66:8080"]).await;
    until(&eye, "/services/default.victim", &[]).await;
    local.bridge.rule(rules("[]"));
    until(&eye, "/services/payments", &[]).await;
    local.stop().await.unwrap();
}

/// Whoever may name any host is granted much; but neither whoever resolves the name, nor what the cluster calls so.
#[tokio::test]
async fn some_names_are_granted_to_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let rules = "- {services: ['n*'], formats: [curator, dubbo], names: ['*'], addresses: [external-name, load-balancer, pod]}\n";
    let local = start(dir.path(), rules).await;
    let eye = session(local.zookeeper()).await;
    let names = [
        ("127.0.0.1", "is an address"),
        ("169.254.169.254", "is an address"),
        ("10.96.0.1", "is an address"),
        ("2130706433", "is an address"),
        ("localhost", "whoever resolves it"),
        ("pay.localhost", "whoever resolves it"),
        ("payments", "no dot"),
        ("kubernetes.default", "inside a cluster"),
        ("pay.victim.svc", "inside a cluster"),
        ("pay.victim.svc.cluster.local", "inside a cluster"),
        ("0.pay.victim.svc.k8s.example", "inside a cluster"),
        ("etcd.cluster.local", "inside a cluster"),
    ];
    for (number, (external, _)) in names.iter().enumerate() {
        let name = format!("n{number}");
        let spec = json!({"type": "ExternalName", "externalName": external, "ports": [{"port": 443}]});
        publish(&local, &name, &[("curator", ""), ("dubbo", "a.B")], spec).await;
    }
    for (number, (_, part)) in names.iter().enumerate() {
        until_told(&local, &format!("n{number}"), "HostNotAllowed", part).await;
        assert_eq!(leaves(&eye, &format!("/services/n{number}")).await, [""; 0]);
    }
    assert_eq!(leaves(&eye, "/dubbo/a.B/providers").await, [""; 0]);
    // A balancer says nothing of these either.
    let spec =
        json!({"type": "LoadBalancer", "selector": {"app": "x"}, "ports": [{"name": "http", "port": 80}]});
    publish(&local, "n-balanced", &[("curator", ""), ("address", "load-balancer")], spec).await;
    let services: Api<Service> = Api::default_namespaced(local.client.clone());
    let ingress =
        json!([{"hostname": "localhost"}, {"hostname": "pay.victim.svc"}, {"hostname": "lb.example"}]);
    let status = Patch::Merge(json!({"status": {"loadBalancer": {"ingress": ingress}}}));
    services.patch_status("n-balanced", &PatchParams::default(), &status).await.unwrap();
    until(&eye, "/services/n-balanced", &["lb.example:80"]).await;
    until_told(&local, "n-balanced", "HostNotAllowed", "localhost").await;
    // One that is anybody's is published.
    let spec = json!({"type": "ExternalName", "externalName": "pay.example", "ports": [{"port": 443}]});
    publish(&local, "n-granted", &[("curator", "")], spec).await;
    until(&eye, "/services/n-granted", &["pay.example:443"]).await;
    local.stop().await.unwrap();
}

#[tokio::test]
async fn rules_speak_for_services_that_nobody_may_touch() {
    let dir = tempfile::tempdir().unwrap();
    let rules = "- {labels: {registry: [legacy]}, formats: [curator], annotations: {curator: '{namespace}.{name}'}}\n";
    let local = start(dir.path(), rules).await;
    let eye = session(local.zookeeper()).await;
    let pods = json!({"selector": {"app": "x"}, "ports": [{"name": "http", "port": 80}]});
    publish(&local, "orders", &[], pods).await;
    let label = |value: Option<&str>| Patch::Merge(json!({"metadata": {"labels": {"registry": value}}}));
    let services: Api<Service> = Api::default_namespaced(local.client.clone());
    services.patch("orders", &PatchParams::default(), &label(Some("legacy"))).await.unwrap();
    until(&eye, "/services/default.orders", &["10.0.0.66:8080"]).await;
    services.patch("orders", &PatchParams::default(), &label(None)).await.unwrap();
    until(&eye, "/services/default.orders", &[]).await;
    local.stop().await.unwrap();
}

/// The whole bridge under what `tests/planner/many.rs` plans.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "it takes minutes; .ci/long runs it"]
async fn ten_thousand_services_of_which_none_disturbs_another() {
    let dir = tempfile::tempdir().unwrap();
    let local = start(dir.path(), RULES).await;
    let eye = session(local.zookeeper()).await;
    let tenants = tenants(10_000, 200);
    let namespaces: Api<Namespace> = Api::all(local.client.clone());
    for name in tenants.iter().map(|tenant| &tenant.namespace).collect::<BTreeSet<_>>() {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        namespaces.create(&PostParams::default(), &serde_json::from_value(namespace).unwrap()).await.unwrap();
    }
    for tenant in &tenants {
        let services: Api<Service> = Api::namespaced(local.client.clone(), &tenant.namespace);
        let slices: Api<EndpointSlice> = Api::namespaced(local.client.clone(), &tenant.namespace);
        let (service, slice) = (tenant.service(), tenant.slice());
        services.create(&PostParams::default(), &serde_json::from_value(service).unwrap()).await.unwrap();
        slices.create(&PostParams::default(), &serde_json::from_value(slice).unwrap()).await.unwrap();
    }
    for tenant in &tenants {
        for leaf in &tenant.leaves {
            within(async {
                loop {
                    let is_there = match leaf.strip_suffix("/providers") {
                        Some(_) => leaves(&eye, leaf).await.len() == 1,
                        None => eye.exists(leaf).await.unwrap().is_some(),
                    };
                    if is_there {
                        return;
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            })
            .await;
        }
    }
    let expected: usize = tenants.iter().map(|tenant| tenant.leaves.len()).sum();
    assert_eq!(local.bridge.status().znodes, expected, "nothing else is there");
    let events: Api<Event> = Api::all(local.client.clone());
    let deadline = tokio::time::Instant::now() + Duration::from_secs(120);
    loop {
        let mut told = BTreeMap::<_, Vec<_>>::new();
        for event in events.list(&ListParams::default()).await.unwrap() {
            let about = event.involved_object;
            let key = (about.namespace.unwrap_or_default(), about.name.unwrap_or_default());
            told.entry(key)
                .or_default()
                .push((event.reason.unwrap_or_default(), event.message.unwrap_or_default()));
        }
        let lacks: Vec<_> = tenants
            .iter()
            .filter_map(|tenant| Some((tenant, tenant.refusal.as_ref()?)))
            .filter(|(tenant, (reason, part))| {
                let of = told.get(&(tenant.namespace.clone(), tenant.name.clone()));
                !of.is_some_and(|of| of.iter().any(|(one, note)| one == reason && note.contains(part)))
            })
            .map(|(tenant, refusal)| format!("{}/{}: {refusal:?}", tenant.namespace, tenant.name))
            .collect();
        if lacks.is_empty() {
            let unasked = tenants.iter().filter(|tenant| tenant.refusal.is_none());
            for tenant in unasked {
                let of = told.get(&(tenant.namespace.clone(), tenant.name.clone()));
                assert!(of.is_none(), "{}/{} has {of:?}", tenant.namespace, tenant.name);
            }
            break;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "{} lack an Event: {:?}",
            lacks.len(),
            &lacks[..lacks.len().min(5)]
        );
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    local.stop().await.unwrap();
}
