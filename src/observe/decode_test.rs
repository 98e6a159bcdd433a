use super::*;

#[test]
fn a_slice_is_decoded_with_kubernetes_defaults() {
    let object: SliceObject = serde_json::from_value(serde_json::json!({
        "metadata": {"name": "orders-x", "namespace": "shop", "labels": {SERVICE_NAME: "orders"}},
        "addressType": "IPv4",
        "endpoints": [
            {"addresses": ["10.0.0.1"], "targetRef": {"kind": "Pod"}},
            {"addresses": ["10.0.0.2"], "conditions": {"ready": false, "serving": null}},
            {"addresses": ["not-an-address"]},
            {"addresses": []},
        ],
        "ports": [
            {"name": "http", "port": 8080}, {"port": 70000}, {"port": 0}, {"port": 1, "protocol": "QUIC"},
        ],
    }))
    .unwrap();
    let (key, slice) = slice(&object).unwrap().unwrap();
    assert_eq!(key.to_string(), "shop/orders");
    let ready: Vec<_> = slice.endpoints.iter().map(|e| (e.ip.to_string(), e.conditions.ready)).collect();
    assert_eq!(ready, [("10.0.0.1".to_owned(), true), ("10.0.0.2".to_owned(), false)]);
    let ports: Vec<_> = slice.ports.iter().map(|port| (&*port.name, port.port)).collect();
    assert_eq!(ports, [("http", Some(8080)), ("", None), ("", None)]);
}

#[test]
fn slices_of_nobody_and_our_own_are_left_out() {
    let object = |labels: serde_json::Value| -> SliceObject {
        serde_json::from_value(serde_json::json!({
            "metadata": {"namespace": "shop", "name": "x", "labels": labels}, "addressType": "IPv4",
            "endpoints": null, "ports": null,
        }))
        .unwrap()
    };
    for nobody in [
        serde_json::json!(null),
        serde_json::json!({"a": "b"}),
        serde_json::json!({SERVICE_NAME: ""}),
        serde_json::json!({SERVICE_NAME: "x", MANAGED_BY: OUR_SLICES}),
    ] {
        assert_eq!(slice(&object(nobody.clone())), Ok(None), "{nobody}");
    }
    for somebody in [
        serde_json::json!({SERVICE_NAME: "x"}),
        serde_json::json!({SERVICE_NAME: "x", MANAGED_BY: "endpointslicemirroring-controller.k8s.io"}),
    ] {
        assert!(slice(&object(somebody.clone())).unwrap().is_some(), "{somebody}");
    }
}

#[test]
fn a_service_keeps_only_our_annotations() {
    let object: ServiceObject = serde_json::from_value(serde_json::json!({
        "metadata": {
            "name": "orders", "namespace": "shop", "uid": "u", "resourceVersion": "7",
            "creationTimestamp": "2023-11-14T22:13:20Z",
            "annotations": {"zoobridge.io/curator": "orders", "other/x": "y"},
        },
        "spec": {
            "ports": [
                {"name": "http", "port": 80, "targetPort": "http"},
                {"name": "dns", "port": 53, "protocol": "UDP"},
                {"name": "new", "port": 7, "protocol": "QUIC"},
            ],
            "ipFamilies": ["IPv4"],
        },
    }))
    .unwrap();
    let service = service(&object).unwrap();
    assert_eq!(service.annotations, [("curator".to_owned(), "orders".to_owned())].into());
    assert_eq!((service.created_ms, service.families.ipv4), (1_700_000_000_000, true));
    let ports: Vec<_> = service.ports.iter().map(|port| (&*port.name, port.port, port.protocol)).collect();
    assert_eq!(ports, [("http", 80, Protocol::Tcp), ("dns", 53, Protocol::Udp)]);
}

/// What is read of a slice of Service shop/orders with this in it.
fn read_slice_with(more: &serde_json::Value) -> Slice {
    let mut object = serde_json::json!({
        "metadata": {"name": "orders-x", "namespace": "shop", "labels": {SERVICE_NAME: "orders"}},
        "addressType": "IPv4",
    });
    for (name, value) in more.as_object().unwrap() {
        object[name] = value.clone();
    }
    slice(&serde_json::from_value(object).unwrap()).unwrap().unwrap().1
}

#[test]
fn p04_absent_conditions_mean_ready_serving_and_not_terminating() {
    let of = |conditions: serde_json::Value| {
        let endpoint = serde_json::json!([{"addresses": ["10.0.0.1"], "conditions": conditions}]);
        let Conditions { ready, serving, terminating } =
            read_slice_with(&serde_json::json!({"endpoints": endpoint})).endpoints[0].conditions;
        (ready, serving, terminating)
    };
    assert_eq!(of(serde_json::json!(null)), (true, true, false));
    assert_eq!(of(serde_json::json!({})), (true, true, false));
    assert_eq!(
        of(serde_json::json!({"ready": null, "serving": null, "terminating": null})),
        (true, true, false)
    );
    assert_eq!(of(serde_json::json!({"ready": false})), (false, true, false));
    assert_eq!(of(serde_json::json!({"serving": false, "terminating": true})), (true, false, true));
}

#[test]
fn p08_only_the_first_address_counts() {
    let endpoints = serde_json::json!([{"addresses": ["10.0.0.1", "10.0.0.2"]}, {"addresses": ["10.0.0.3"]}]);
    let slice = read_slice_with(&serde_json::json!({"endpoints": endpoints}));
    let addresses: Vec<_> = slice.endpoints.iter().map(|endpoint| endpoint.ip.to_string()).collect();
    assert_eq!(
        (addresses, slice.has_more_addresses),
        (vec!["10.0.0.1".to_owned(), "10.0.0.3".to_owned()], true)
    );
    // Zeros may lead, as in what Kubernetes once took.
    for (text, expected) in [
        ("010.000.0.08", Some("10.0.0.8")),
        ("10.0.0.256", None),
        ("10.0.0", None),
        ("10.0.0.1.1", None),
        ("+1.0.0.1", None),
        ("10..0.1", None),
    ] {
        assert_eq!(ip(text).map(|ip| ip.to_string()).as_deref(), expected, "{text}");
    }
}

#[test]
fn p14_a_port_without_a_name_and_one_with_an_empty_name_are_the_same() {
    for name in [serde_json::json!(null), serde_json::json!("")] {
        let slice = read_slice_with(&serde_json::json!({"ports": [{"name": name, "port": 80}]}));
        assert_eq!((&*slice.ports[0].name, slice.ports[0].port), ("", Some(80)));
    }
}

#[test]
fn p15_the_label_says_which_service_a_slice_belongs_to_and_nothing_else() {
    let of = |labels: serde_json::Value| {
        let object = serde_json::json!({
            "metadata": {
                "name": "orders-x", "namespace": "shop", "generateName": "orders-", "labels": labels,
                "ownerReferences": [{"kind": "Service", "name": "orders", "uid": "u"}],
            },
            "addressType": "IPv4",
        });
        slice(&serde_json::from_value(object).unwrap()).unwrap().map(|(service, _)| service.to_string())
    };
    assert_eq!(of(serde_json::json!({SERVICE_NAME: "payments"})).as_deref(), Some("shop/payments"));
    assert_eq!(of(serde_json::json!({})), None);
}

#[test]
fn p16_who_writes_a_slice_follows_from_its_label() {
    for (manager, expected) in [
        (serde_json::json!("endpointslice-controller.k8s.io"), Writer::Controller),
        (serde_json::json!("endpointslicemirroring-controller.k8s.io"), Writer::Other),
        (serde_json::json!("somebody"), Writer::Other),
        (serde_json::json!(null), Writer::Other),
    ] {
        let labels = serde_json::json!({SERVICE_NAME: "orders", MANAGED_BY: manager});
        let metadata = serde_json::json!({"name": "x", "namespace": "shop", "labels": labels});
        assert_eq!(read_slice_with(&serde_json::json!({"metadata": metadata})).writer, expected, "{manager}");
    }
}

#[test]
fn p17_labels_that_a_slice_has_from_its_service_do_not_make_it_ours() {
    let labels = serde_json::json!({
        SERVICE_NAME: "orders", MANAGED_BY: CONTROLLER, MANAGER: OURSELVES,
        "service.kubernetes.io/headless": "", "zoobridge.io/import": "legacy",
    });
    let metadata = serde_json::json!({"name": "x", "namespace": "shop", "labels": labels});
    assert_eq!(read_slice_with(&serde_json::json!({"metadata": metadata})).writer, Writer::Controller);
}

#[test]
fn p25_who_an_endpoint_stands_for_is_not_asked() {
    let read = |target: serde_json::Value| {
        read_slice_with(&serde_json::json!({"endpoints": [{"addresses": ["10.0.0.1"], "targetRef": target}]}))
    };
    let without = read(serde_json::json!(null));
    assert_eq!(without.endpoints.len(), 1);
    for target in [serde_json::json!({"kind": "Pod", "name": "orders-1"}), serde_json::json!("nonsense")] {
        assert_eq!(read(target), without);
    }
}

#[test]
fn p28_node_zone_and_hints_may_be_absent() {
    let endpoints = serde_json::json!([
        {"addresses": ["10.0.0.1"]},
        {"addresses": ["10.0.0.2"], "nodeName": null, "zone": null, "hints": null},
        {"addresses": ["10.0.0.3"], "nodeName": "", "zone": "z".repeat(254), "hints": {"forZones": []}},
        {
            "addresses": ["10.0.0.4"], "nodeName": "n-1", "zone": "a",
            "hints": {"forZones": [{"name": "b"}, {"name": "a"}, {"name": "a"}, {}], "forNodes": null},
        },
    ]);
    let slice = read_slice_with(&serde_json::json!({"endpoints": endpoints}));
    for endpoint in &slice.endpoints[..3] {
        assert_eq!(endpoint.placement, Placement::default());
    }
    let hints = Hints { zones: vec!["a".into(), "b".into()], nodes: vec![] };
    let placement =
        Placement { node: Some("n-1".into()), zone: Some("a".into()), hints: Some(Box::new(hints)) };
    assert_eq!(slice.endpoints[3].placement, placement);
    let Some(hints) = &slice.endpoints[3].placement.hints else { panic!("no hints") };
    let zone = slice.endpoints[3].placement.zone.as_ref().unwrap();
    assert!(Arc::ptr_eq(zone, &hints.zones[0]), "equal names are one");
}

#[test]
fn every_type_of_service_is_read() {
    let read = |spec: serde_json::Value, status: serde_json::Value| {
        let object = serde_json::json!({
            "metadata": {"name": "orders", "namespace": "shop"}, "spec": spec, "status": status,
        });
        service(&serde_json::from_value(object).unwrap()).unwrap()
    };
    let none = serde_json::json!({});
    let headless = read(serde_json::json!({"clusterIP": "None", "clusterIPs": ["None"]}), none.clone());
    assert_eq!((headless.r#type, headless.has_selector), (ServiceType::ClusterIp, false));
    assert!(headless.points.is_empty());
    let spec = serde_json::json!({
        "type": "LoadBalancer", "selector": {"app": "orders"}, "clusterIPs": ["10.96.0.1", "fd00::1"],
        "ipFamilies": ["IPv4", "IPv6"], "externalIPs": ["198.51.100.1", "nonsense"],
        "externalTrafficPolicy": "Local", "ports": [{"port": 80, "nodePort": 30080}],
    });
    let ingress = serde_json::json!([
        {"ip": "203.0.113.1", "ipMode": "VIP"},
        {"hostname": "lb.example", "ip": null, "ports": [
            {"port": 80, "protocol": "TCP", "error": "NoRoom"}, {"port": 81, "protocol": "TCP"},
            {"port": 82, "protocol": "UDP", "error": "NoUdp"}, {"port": 0, "error": "x"}, {"port": 83, "error": ""},
        ]},
        {"ip": "203.0.113.2", "hostname": "both.example", "ipMode": "Proxy"},
        {"hostname": "localhost"}, {"hostname": ""}, {},
    ]);
    let balanced = read(spec, serde_json::json!({"loadBalancer": {"ingress": ingress}}));
    assert_eq!((balanced.r#type, balanced.has_selector), (ServiceType::LoadBalancer, true));
    assert!(balanced.is_local);
    let broken: Vec<_> =
        balanced.points(AddressKind::LoadBalancer).iter().map(|point| &*point.broken).collect();
    assert_eq!(broken, [&[][..], &[80], &[], &[]]);
    assert_eq!(balanced.families, Families { ipv4: true, ipv6: true });
    assert_eq!(balanced.ports[0].node_port, Some(30080));
    let shown = |service: &Service| -> Vec<String> {
        let host = |point: &Point| {
            point.host.as_ref().map_or_else(|it| format!("{}!", it.text), |it| it.to_string())
        };
        let points = service.points.iter();
        points
            .map(|(kind, points)| format!("{kind} {}", points.iter().map(host).collect::<Vec<_>>().join(" ")))
            .collect()
    };
    assert_eq!(
        shown(&balanced),
        [
            "load-balancer 203.0.113.1 lb.example 203.0.113.2 localhost!",
            "cluster-ip 10.96.0.1 fd00::1",
            "external-ip 198.51.100.1"
        ]
    );
    let nodes = read(serde_json::json!({"type": "NodePort", "selector": {}}), none.clone());
    assert_eq!((nodes.r#type, nodes.has_selector), (ServiceType::NodePort, false));
    let spec = serde_json::json!({
        "type": "ExternalName", "externalName": "orders.example.", "clusterIPs": ["10.96.0.1"],
        "externalIPs": ["198.51.100.1"],
    });
    let external = read(spec, serde_json::json!({"loadBalancer": {"ingress": [{"ip": "203.0.113.1"}]}}));
    assert!(external.is_external_name());
    assert_eq!(shown(&external), ["external-name orders.example"], "what it had as another type is left out");
    for (name, expected) in [("10.0.0.1", "external-name 10.0.0.1!"), ("", "external-name !")] {
        let external = read(serde_json::json!({"type": "ExternalName", "externalName": name}), none.clone());
        assert_eq!(shown(&external), [expected]);
    }
    assert!(read(serde_json::json!({"type": "ExternalName"}), none.clone()).points.is_empty());
    // Of another type the name says nothing.
    assert!(read(serde_json::json!({"externalName": "orders.example"}), none).points.is_empty());
}

/// Each field of a well-formed object, with the name under which it is reported.
const FIELDS: [(&str, &str); 15] = [
    ("/metadata", "metadata"),
    ("/metadata/name", "metadata.name"),
    ("/metadata/namespace", "metadata.namespace"),
    ("/metadata/resourceVersion", "metadata.resourceVersion"),
    ("/metadata/labels", "metadata.labels"),
    ("/addressType", "addressType"),
    ("/endpoints", "endpoints"),
    ("/endpoints/0", "endpoints"),
    ("/endpoints/0/addresses", "endpoints.addresses"),
    ("/endpoints/0/addresses/0", "endpoints.addresses"),
    ("/endpoints/0/conditions", "endpoints.conditions"),
    ("/endpoints/0/conditions/ready", "endpoints.conditions.ready"),
    ("/ports", "ports"),
    ("/ports/0/port", "ports.port"),
    ("/ports/0/protocol", "ports.protocol"),
];

fn whole_slice() -> serde_json::Value {
    serde_json::json!({
        "metadata": {
            "namespace": "shop", "name": "orders-x", "resourceVersion": "7",
            "labels": {SERVICE_NAME: "orders"},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": true}}],
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    })
}

fn read_list(objects: &[serde_json::Value]) -> Vec<SliceObject> {
    let text = serde_json::to_string(&serde_json::json!({"metadata": {}, "items": objects})).unwrap();
    serde_json::from_str::<kube::core::ObjectList<SliceObject>>(&text).unwrap().items
}

#[test]
fn an_object_with_a_field_of_a_wrong_type_is_named_and_costs_no_other() {
    for (pointer, field) in FIELDS {
        let mut broken = whole_slice();
        *broken.pointer_mut(pointer).unwrap() = serde_json::json!({"x": [{"y": 1}]});
        if matches!(pointer, "/metadata" | "/endpoints/0" | "/endpoints/0/conditions" | "/metadata/labels") {
            *broken.pointer_mut(pointer).unwrap() = serde_json::json!("x");
        }
        let objects = read_list(&[broken, whole_slice()]);
        let error = slice(&objects[0]).unwrap_err();
        assert_eq!((error.kind, error.field), ("EndpointSlice", field), "{pointer}");
        let has_no_name = matches!(pointer, "/metadata" | "/metadata/name" | "/metadata/namespace");
        assert_eq!(slice_name(&objects[0]).err(), has_no_name.then_some(error.clone()), "{pointer}");
        if !pointer.starts_with("/metadata") {
            assert!(error.to_string().contains("shop/orders-x"), "{error}");
        }
        assert!(slice(&objects[1]).unwrap().is_some());
    }
}

#[test]
fn null_in_any_field_is_its_absence() {
    for (pointer, _) in FIELDS {
        let mut with_null = whole_slice();
        *with_null.pointer_mut(pointer).unwrap() = serde_json::json!(null);
        let objects = read_list(&[with_null, whole_slice()]);
        let needs_name = matches!(pointer, "/metadata" | "/metadata/name" | "/metadata/namespace");
        assert_eq!(slice(&objects[0]).is_err(), needs_name, "{pointer}");
        assert!(slice(&objects[1]).unwrap().is_some());
    }
    for null_spec in [
        serde_json::json!({"ports": null, "ipFamilies": null, "type": null}),
        serde_json::json!({"ports": [{"name": null, "port": 80, "protocol": null}]}),
        serde_json::json!(null),
    ] {
        let metadata = serde_json::json!({
            "namespace": "shop", "name": "orders", "annotations": null, "labels": null, "uid": null,
            "creationTimestamp": null, "resourceVersion": null,
        });
        let object = serde_json::json!({"metadata": metadata, "spec": null_spec});
        let object: ServiceObject = serde_json::from_value(object).unwrap();
        assert!(service(&object).is_ok());
    }
}

#[test]
fn a_malformed_service_is_named() {
    for (metadata, spec, field) in [
        (serde_json::json!({"annotations": {"a": 1}}), serde_json::json!({}), "metadata.annotations"),
        (
            serde_json::json!({"creationTimestamp": "soon"}),
            serde_json::json!({}),
            "metadata.creationTimestamp",
        ),
        (serde_json::json!({}), serde_json::json!("x"), "spec"),
        (serde_json::json!({}), serde_json::json!({"ports": {}}), "spec.ports"),
        (serde_json::json!({}), serde_json::json!({"ports": [{"port": "http"}]}), "spec.ports.port"),
        (serde_json::json!({}), serde_json::json!({"ports": [{"port": 0}]}), "spec.ports.port"),
        (serde_json::json!({}), serde_json::json!({"ipFamilies": [4]}), "spec.ipFamilies"),
    ] {
        let mut object = serde_json::json!({"metadata": metadata, "spec": spec});
        object["metadata"]["namespace"] = "shop".into();
        object["metadata"]["name"] = "orders".into();
        let object: ServiceObject = serde_json::from_value(object).unwrap();
        let error = service(&object).unwrap_err();
        assert_eq!((error.kind, &*error.name, error.field), ("Service", "shop/orders", field));
        assert_eq!(service_key(&object).unwrap().to_string(), "shop/orders");
    }
}

#[test]
fn a_watch_event_with_a_malformed_object_is_still_an_event() {
    let mut broken = whole_slice();
    broken["endpoints"] = "x".into();
    for text in [
        format!(r#"{{"type": "MODIFIED", "object": {broken}}}"#),
        format!(r#"{{"object": {broken}, "type": "MODIFIED"}}"#),
    ] {
        let event: kube::core::WatchEvent<SliceObject> = serde_json::from_str(&text).unwrap();
        let kube::core::WatchEvent::Modified(object) = event else { panic!("{event:?}") };
        // The watcher goes on from there.
        assert_eq!(object.metadata.known.resource_version.as_deref(), Some("7"));
        assert_eq!(slice(&object).unwrap_err().field, "endpoints");
    }
}

#[test]
fn an_address_of_another_family_than_the_slice_says_is_left_out() {
    for (family, address, expected) in
        [("IPv4", "fd00::1", 0), ("IPv6", "10.0.0.1", 0), ("IPv6", "fd00::1", 1), ("FQDN", "10.0.0.1", 0)]
    {
        let mut object = whole_slice();
        object["addressType"] = family.into();
        object["endpoints"][0]["addresses"] = serde_json::json!([address, "10.0.0.9"]);
        let (_, slice) = slice(&read_list(&[object])[0]).unwrap().unwrap();
        assert_eq!(slice.endpoints.len(), expected, "{family} {address}");
    }
}
