//! What Prometheus and a kubelet are told.

use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::api::DeleteParams;
use tokio::sync::watch;
use zab::{Server, ServerConfig};
use zoobridge::apply::Instruments;
use zoobridge::http::HttpServer;
use zoobridge::local::RunningBridge;
use zoobridge::metrics::ServerSubject;
use zoobridge::session::{CredentialStore, Leadership};

use crate::scrape::{Scrape, Scraper};
use crate::sides::{kubernetes, server_at};
use crate::world::{DIRECTORY, World, config, end_session, service, session, slice, until, within};

/// Scrapes until it is as it should be. Values that never fall are checked on the way.
async fn until_scrape(scraper: &Scraper, reached: impl Fn(&Scrape) -> bool) -> Scrape {
    let mut last = scraper.scrape().await;
    let looking = async {
        while !reached(&last) {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let next = scraper.scrape().await;
            for (name, before) in last.counters() {
                assert!(next.value(name) >= before, "{name} fell");
            }
            last = next;
        }
    };
    let timed_out = tokio::time::timeout(Duration::from_secs(20), looking).await.is_err();
    assert!(!timed_out, "{last:?}");
    last
}

async fn until_ready(scraper: &Scraper) {
    within(async {
        while scraper.get("/ready").await.0 != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// Kind and name of each family, but for those of the process.
fn families(scrape: &Scrape) -> Vec<String> {
    let ours = scrape.types.iter().filter(|(name, _)| !name.starts_with("process_"));
    ours.map(|(name, kind)| format!("{kind} {name}")).collect()
}

#[tokio::test]
async fn a_bridges_families_are_these_from_the_start() {
    let scraper = Scraper::new(Instruments::default().subject()).await;
    let scrape = scraper.scrape().await;
    assert_eq!(
        families(&scrape),
        [
            "counter zoobridge_audit_finds_total",
            "gauge zoobridge_config_refused",
            "counter zoobridge_config_reloads_total",
            "gauge zoobridge_config_restart_needed",
            "counter zoobridge_events_total",
            "gauge zoobridge_leading",
            "counter zoobridge_looks_total",
            "counter zoobridge_malformed_objects_total",
            "counter zoobridge_multis_total",
            "gauge zoobridge_open_directories",
            "gauge zoobridge_open_znodes",
            "counter zoobridge_ops_total",
            "gauge zoobridge_pending",
            "counter zoobridge_plans_total",
            "counter zoobridge_refusals_total",
            "gauge zoobridge_refused_services",
            "counter zoobridge_repairs_total",
            "counter zoobridge_restarts_total",
            "gauge zoobridge_services",
            "counter zoobridge_session_attach_failures_total",
            "counter zoobridge_session_expiries_total",
            "counter zoobridge_session_losses_total",
            "counter zoobridge_session_moves_total",
            "counter zoobridge_session_resumes_total",
            "gauge zoobridge_sessions",
            "gauge zoobridge_sessions_attached",
            "histogram zoobridge_slice_to_znode_seconds",
            "gauge zoobridge_synced",
            "counter zoobridge_watch_errors_total",
            "counter zoobridge_watch_events_total",
            "counter zoobridge_watch_lists_total",
            "histogram zoobridge_write_duration_seconds",
            "counter zoobridge_writes_total",
            "gauge zoobridge_znodes",
        ]
    );
    assert!(scrape.value("process_resident_memory_bytes") > 0.0);
}

#[tokio::test]
async fn values_move_with_what_happens() {
    let world = World::new().await;
    let scraper = Scraper::new(world.local.bridge.subject()).await;
    until_ready(&scraper).await;
    world.service("orders", &[("curator", "")]).await;
    world.service("stranger", &[("curator", "")]).await;
    world.slice("orders", &[1, 2]).await;
    world.until(DIRECTORY, &["10.0.0.1:8080", "10.0.0.2:8080"]).await;
    world.slice("orders", &[2]).await;
    world.until(DIRECTORY, &["10.0.0.2:8080"]).await;
    world.event("stranger", "NotGranted").await;
    let scrape = until_scrape(&scraper, |scrape| {
        scrape.value("zoobridge_znodes") == 1.0
            && scrape.value("zoobridge_pending") == 0.0
            && scrape.value("zoobridge_events_total{result=\"written\"}") == 1.0
    })
    .await;
    for (sample, expected) in [
        ("zoobridge_leading", 1.0),
        ("zoobridge_synced", 1.0),
        ("zoobridge_services", 1.0),
        ("zoobridge_refused_services", 1.0),
        ("zoobridge_sessions", 1.0),
        ("zoobridge_sessions_attached", 1.0),
        ("zoobridge_ops_total{kind=\"create\"}", 2.0),
        ("zoobridge_ops_total{kind=\"set\"}", 0.0),
        ("zoobridge_ops_total{kind=\"delete\"}", 1.0),
        ("zoobridge_multis_total{result=\"culprit\"}", 0.0),
        ("zoobridge_writes_total{outcome=\"again\"}", 0.0),
        ("zoobridge_writes_total{outcome=\"fenced\"}", 0.0),
        ("zoobridge_watch_errors_total{kind=\"Service\"}", 0.0),
        ("zoobridge_watch_events_total{kind=\"Service\"}", 2.0),
        ("zoobridge_watch_events_total{kind=\"EndpointSlice\"}", 2.0),
        ("zoobridge_session_expiries_total", 0.0),
    ] {
        assert_eq!(scrape.value(sample), expected, "{sample}");
    }
    for kind in ["Service", "EndpointSlice"] {
        // Once as it leads; once before, if that came to its end.
        let lists = scrape.value(&format!("zoobridge_watch_lists_total{{kind=\"{kind}\"}}"));
        assert!((1.0..=2.0).contains(&lists), "{kind}: {lists}");
    }
    let written = scrape.value("zoobridge_writes_total{outcome=\"done\"}");
    assert_eq!(scrape.value("zoobridge_write_duration_seconds_count"), written);
    assert!(scrape.value("zoobridge_plans_total") >= written && written >= 2.0);
    assert_eq!(scrape.value("zoobridge_slice_to_znode_seconds_count"), 2.0, "each event changed a znode");
    assert!(scrape.value("zoobridge_slice_to_znode_seconds_sum") > 0.0);

    world.eye.set(&format!("{DIRECTORY}/10.0.0.2:8080"), "nonsense", -1).await.unwrap();
    until_scrape(&scraper, |scrape| {
        scrape.value("zoobridge_repairs_total") == 1.0
            && scrape.value("zoobridge_looks_total{result=\"ours\"}") >= 1.0
            && scrape.value("zoobridge_ops_total{kind=\"set\"}") == 1.0
    })
    .await;
    end_session(&world.config(), world.credentials().load().await.unwrap().remove(0)).await;
    until_scrape(&scraper, |scrape| {
        scrape.value("zoobridge_session_expiries_total") == 1.0
            && scrape.value("zoobridge_session_losses_total") >= 1.0
            && scrape.value("zoobridge_ops_total{kind=\"create\"}") == 3.0
            && scrape.value("zoobridge_sessions_attached") == 1.0
    })
    .await;
    assert_eq!(scraper.get("/live").await, (200, "ok\n".to_owned()));
    let services: Api<Service> = Api::default_namespaced(world.local.client.clone());
    services.delete("orders", &DeleteParams::default()).await.unwrap();
    until_scrape(&scraper, |scrape| scrape.value("zoobridge_services") == 0.0).await;
}

#[tokio::test]
async fn no_label_has_a_value_that_somebody_wrote() {
    let world = World::new().await;
    let scraper = Scraper::new(world.local.subject()).await;
    // Of the embedded server's metrics those by child of the root have names that clients gave, as Apache's have.
    let labels = |scrape: &Scrape| {
        let mut labels = scrape.labels();
        labels.retain(|name, _| !name.contains("_per_namespace"));
        labels
    };
    let expected = labels(&scraper.scrape().await);
    world.service("orders", &[("curator", "label\"}} 1\nx")]).await;
    world.service("orders-a", &[("curator", ""), ("nonsense", "{a=\"b\"}")]).await;
    world.service("orders-b", &[("curator", ""), ("port", "nosuch")]).await;
    world.service("stranger", &[("curator", "")]).await;
    for name in ["orders", "orders-a", "orders-b", "stranger"] {
        world.slice(name, &[1]).await;
    }
    world.until("/services/orders-a", &["10.0.0.1:8080"]).await;
    world.event("orders-b", "PortNotFound").await;
    let scrape = until_scrape(&scraper, |scrape| scrape.value("zoobridge_refused_services") == 4.0).await;
    assert_eq!(labels(&scrape), expected, "all values of all labels are there from the start");
    let closed = [
        ("zoobridge_audit_finds_total direction", &["forward", "reverse"][..]),
        ("zoobridge_config_reloads_total result", &["applied", "refused"]),
        ("zoobridge_events_total result", &["dropped", "failed", "written"]),
        ("zoobridge_looks_total result", &["absent", "failed", "ours", "theirs"]),
        (
            "zoobridge_multis_total result",
            &["culprit", "done", "expired", "fenced", "not_sent", "refused", "unknown"],
        ),
        ("zoobridge_open_directories open_to", &["anyone", "nobody", "others", "unknown"]),
        ("zoobridge_open_znodes open_to", &["anyone", "nobody", "others", "unknown"]),
        ("zoobridge_ops_total kind", &["create", "delete", "other", "set"]),
        (
            "zoobridge_refusals_total reason",
            &[
                "AddressNotFound",
                "AddressNotGranted",
                "BadAnnotation",
                "Conflict",
                "EndpointsIgnored",
                "HostNotAllowed",
                "Imported",
                "Ipv6NotAllowed",
                "ListTooLong",
                "NameShared",
                "NameTaken",
                "NotGranted",
                "OverBudget",
                "ParameterNotGranted",
                "PortNotFound",
                "Rejected",
                "UnknownAnnotation",
            ],
        ),
        ("zoobridge_watch_errors_total kind", &["EndpointSlice", "Node", "Service"]),
        ("zoobridge_watch_events_total kind", &["EndpointSlice", "Node", "Service"]),
        ("zoobridge_watch_lists_total kind", &["EndpointSlice", "Node", "Service"]),
        ("zoobridge_writes_total outcome", &["again", "done", "fenced"]),
    ];
    let (quantiles, expected): (Vec<_>, Vec<_>) = expected
        .iter()
        .map(|(label, all)| (label.as_str(), all.iter().map(String::as_str).collect::<Vec<_>>()))
        .partition(|(label, _)| label.ends_with(" quantile"));
    // The server's summaries.
    assert!(quantiles.iter().all(|(_, all)| *all == ["0.5", "0.9", "0.99"]), "{quantiles:?}");
    let closed: Vec<(&str, Vec<&str>)> = closed.iter().map(|&(label, all)| (label, all.to_vec())).collect();
    assert_eq!(expected, closed);
}

#[tokio::test]
async fn a_bridge_is_ready_when_everything_that_was_there_is_published() {
    let dir = tempfile::tempdir().unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (_kube, client) = kubernetes().await;
    service(&client, "orders", &[("curator", "")]).await;
    slice(&client, "orders", &[1]).await;
    let mut config = config();
    config.zookeeper.connect = free.to_string().parse().unwrap();
    let store = CredentialStore::secret(client.clone(), "default", "zoobridge-sessions");
    let bridge = RunningBridge::stand_by(&config, client, store, Leadership::Sole).unwrap();
    let scraper = Scraper::new(bridge.subject()).await;
    // It knows everything, and there is nowhere to write it.
    let scrape = until_scrape(&scraper, |scrape| {
        scrape.value("zoobridge_synced") == 1.0
            && scrape.value("zoobridge_session_attach_failures_total") >= 1.0
    })
    .await;
    assert_eq!(scrape.value("zoobridge_leading"), 0.0);
    assert_eq!(scraper.get("/ready").await, (503, "the sessions are not taken over yet\n".to_owned()));
    assert_eq!(scraper.get("/live").await.0, 200, "nobody is helped by a restart");
    let server = server_at(free, dir.path()).await;
    until_ready(&scraper).await;
    let eye = session(free).await;
    until(&eye, DIRECTORY, &["10.0.0.1:8080"]).await;
    // A session that is away is not ready to publish, and no reason to start again.
    server.stop().await.unwrap();
    within(async {
        while scraper.get("/ready").await != (503, "a session is not attached\n".to_owned()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(scraper.get("/live").await.0, 200);
    let _server = server_at(free, dir.path()).await;
    until_ready(&scraper).await;
    assert_eq!(scraper.scrape().await.value("zoobridge_session_resumes_total"), 1.0);
    bridge.stop().await.unwrap();
}

#[tokio::test]
async fn a_bridge_without_an_api_server_is_live_and_not_ready() {
    let (kube, client) = kubernetes().await;
    kube.stop().await;
    let store = CredentialStore::secret(client.clone(), "default", "zoobridge-sessions");
    let bridge = RunningBridge::stand_by(&config(), client, store, Leadership::Sole).unwrap();
    let scraper = Scraper::new(bridge.subject()).await;
    let scrape = until_scrape(&scraper, |scrape| {
        scrape.value("zoobridge_watch_errors_total{kind=\"Service\"}") >= 1.0
            && scrape.value("zoobridge_watch_errors_total{kind=\"EndpointSlice\"}") >= 1.0
    })
    .await;
    assert_eq!(scrape.value("zoobridge_synced"), 0.0);
    let missing = "Services and EndpointSlices are not listed yet\n".to_owned();
    assert_eq!(scraper.get("/ready").await, (503, missing));
    assert_eq!(scraper.get("/live").await, (200, "ok\n".to_owned()));
    bridge.stop().await.unwrap();
}

#[tokio::test]
async fn a_replica_that_stands_by_is_ready_once_it_knows_everything() {
    let world = World::new().await;
    let (_until, until) = watch::channel(None);
    let client = world.local.client.clone();
    let second =
        RunningBridge::stand_by(&world.config(), client, world.credentials(), Leadership::Lease(until))
            .unwrap();
    let scraper = Scraper::new(second.subject()).await;
    until_ready(&scraper).await;
    let scrape = scraper.scrape().await;
    for (sample, expected) in
        [("zoobridge_synced", 1.0), ("zoobridge_leading", 0.0), ("zoobridge_sessions", 0.0)]
    {
        assert_eq!(scrape.value(sample), expected, "{sample}");
    }
    second.stop().await.unwrap();
}

#[tokio::test]
async fn a_server_has_apaches_names_and_reads_its_sizes_when_asked() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(ServerConfig::local(dir.path().to_owned())).await.unwrap();
    let scraper = Scraper::new(ServerSubject::new(server.reporter())).await;
    assert_eq!(scraper.get("/ready").await, (200, "ok\n".to_owned()));
    assert_eq!(scraper.get("/live").await.0, 200);
    let before = scraper.scrape().await;
    let there = families(&before);
    for family in [
        "gauge approximate_data_size",
        "gauge auth_failed_count",
        "counter bytes_received_count",
        "counter connection_request_count",
        "gauge ephemerals_count",
        "summary fsynctime",
        "gauge global_sessions",
        "gauge num_alive_connections",
        "gauge outstanding_requests",
        "gauge packets_received",
        "gauge packets_sent",
        "summary snapshottime",
        "counter stale_sessions_expired",
        "gauge uptime",
        "gauge watch_count",
        "gauge znode_count",
    ] {
        assert!(there.iter().any(|found| found == family), "{family}");
    }
    let eye = session(server.client_address()).await;
    let (acl, mode) = (zk_wire::acl::Acl::open(), zk_wire::codes::CreateMode::Ephemeral);
    eye.create("/a", "data", acl, mode).await.unwrap();
    eye.add_watch("/a", zk_wire::codes::AddWatchMode::Persistent).await.unwrap();
    let after = scraper.scrape().await;
    for (sample, more) in [
        ("znode_count", 1.0),
        ("ephemerals_count", 1.0),
        // It is one of data and one of children.
        ("watch_count", 2.0),
        ("approximate_data_size", 6.0),
        ("num_alive_connections", 1.0),
        ("global_sessions", 1.0),
        ("connection_request_count", 1.0),
        // The session and the znode.
        ("fsynctime_count", 2.0),
        ("packets_received", 3.0),
        ("packets_sent", 3.0),
        ("outstanding_requests", 0.0),
        ("auth_failed_count", 0.0),
        ("stale_sessions_expired", 0.0),
    ] {
        assert_eq!(after.value(sample) - before.value(sample), more, "{sample}");
    }
    assert!(after.value("bytes_received_count") > before.value("bytes_received_count"));
    // A server that is gone is told as one.
    server.stop().await.unwrap();
    for path in ["/live", "/ready", "/metrics"] {
        assert_eq!(scraper.get(path).await, (503, "the server does not answer\n".to_owned()), "{path}");
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_and_one_that_is_let_go_is_free() {
    let http = HttpServer::start("127.0.0.1:0".parse().unwrap(), Instruments::default().subject());
    let http = http.await.unwrap();
    let address = http.address();
    let error = HttpServer::start(address, Instruments::default().subject()).await.unwrap_err();
    assert!(error.to_string().contains(&address.to_string()), "{error}");
    drop(http);
    within(async {
        while HttpServer::start(address, Instruments::default().subject()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
