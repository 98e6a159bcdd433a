//! Four-letter words. `tests/interop/operations` compares them with Apache's.

use zk_wire::codes::CreateMode;

use crate::place::Place;
use crate::wire::{Client, exists};

async fn ask(place: &Place, word: &str) -> String {
    ask_bytes(place, word.as_bytes()).await
}

async fn ask_bytes(place: &Place, bytes: &[u8]) -> String {
    let mut client = Client::dial(place.address).await;
    client.send_bytes(bytes).await;
    String::from_utf8(client.rest().await).unwrap()
}

async fn place(test: &str) -> Place {
    Place::ours(test, |config| config.words = vec!["*".to_owned()]).await
}

#[tokio::test]
async fn words_are_answered_and_the_connection_closed() {
    let place = place("words").await;
    assert_eq!(ask(&place, "ruok").await, "imok");
    assert_eq!(ask(&place, "ruok\n").await, "imok");
    assert_eq!(ask(&place, "isro").await, "rw");
    assert_eq!(ask(&place, "hash").await, "");
    assert_eq!(ask(&place, "crst").await, "Connection stats reset.\n");
}

#[tokio::test]
async fn srvr_and_mntr_tell_what_the_server_has() {
    let place = Place::ours("tell", |config| config.words = vec!["srvr".to_owned(), "mntr".to_owned()]).await;
    let mut client = place.client().await;
    let path = client.create(&place.path("e"), CreateMode::Ephemeral).await;
    client.call(exists(&path, true)).await.unwrap();
    let zxid = client.stat(&path).await.czxid;
    let srvr = ask(&place, "srvr").await;
    for line in [format!("Zxid: {zxid}"), "Mode: standalone".to_owned(), "Outstanding: 0".to_owned()] {
        assert!(srvr.lines().any(|found| found == line), "{line} in {srvr}");
    }
    let mntr = ask(&place, "mntr").await;
    for (key, value) in [
        ("zk_server_state", "standalone"),
        ("zk_global_sessions", "1"),
        ("zk_ephemerals_count", "1"),
        ("zk_watch_count", "1"),
        ("zk_znode_count", "7"),
        ("zk_outstanding_requests", "0"),
        ("zk_num_alive_connections", "2"),
        ("zk_connection_request_count", "2"),
        ("zk_cnt_dbinittime", "1"),
        // A session and its end, the znode of the test, this session and its znode.
        ("zk_sync_processor_request_queued", "5"),
        ("zk_cnt_updatelatency", "5"),
        ("zk_cnt_readlatency", "2"),
    ] {
        assert!(mntr.lines().any(|line| line == format!("{key}\t{value}")), "{key} {value} in {mntr}");
    }
}

#[tokio::test]
async fn a_word_that_is_not_allowed_says_so() {
    let place =
        Place::ours("forbidden", |config| config.words = vec!["ruok".to_owned(), "dump".to_owned()]).await;
    for word in ["stat", "mntr", "wchp", "cons", "srst", "hash"] {
        let expected = format!("{word} is not executed because it is not in the whitelist.\n");
        assert_eq!(ask(&place, word).await, expected);
    }
    assert_eq!(ask(&place, "ruok").await, "imok");
    assert!(ask(&place, "dump").await.starts_with("SessionTracker dump:\nSession Sets ("));
}

#[tokio::test]
async fn by_default_only_srvr_is_answered() {
    let place = Place::ours("default", |_| {}).await;
    assert!(ask(&place, "srvr").await.starts_with("Zookeeper version: 3.9."));
    assert!(ask(&place, "ruok").await.contains("not in the whitelist"));
}

#[tokio::test]
async fn what_clients_hold_and_watch_is_listed() {
    let place = place("lists").await;
    let mut client = place.client().await;
    let path = client.create(&place.path("e"), CreateMode::Ephemeral).await;
    client.call(exists(&path, true)).await.unwrap();
    client.call(exists(&place.path("absent"), true)).await.unwrap_err();
    let (session, other) = (client.session, place.path("absent"));
    assert_eq!(ask(&place, "wchs").await, "1 connections watching 2 paths\nTotal watches:2\n");
    assert_eq!(ask(&place, "wchp").await, format!("{other}\n\t{session}\n{path}\n\t{session}\n\n"));
    assert_eq!(ask(&place, "wchc").await, format!("{session}\n\t{other}\n\t{path}\n\n"));
    let dump = ask(&place, "dump").await;
    assert!(dump.contains(&format!("Sessions with Ephemerals (1):\n{session}:\n\t{path}\n")), "{dump}");
    let cons = ask(&place, "cons").await;
    // The session's begin, a create and two reads.
    assert!(cons.contains(&format!("[1](queued=0,recved=4,sent=4,sid={session},lop=EXIS,est=")), "{cons}");
    assert!(cons.contains("[0](queued=0,recved=1,sent=0)\n\n"), "{cons}");
    ask(&place, "crst").await;
    let cons = ask(&place, "cons").await;
    assert!(cons.contains(&format!("recved=0,sent=0,sid={session},lop=NA,est=")), "{cons}");
    assert!(cons.contains(",lzxid=0xffffffffffffffff,lresp=0,llat=0,minlat=0,avglat=0,maxlat=0)"), "{cons}");
}

#[tokio::test]
async fn counters_are_set_back_and_the_mask_is_kept() {
    let place = place("reset").await;
    assert_eq!(ask(&place, "srst").await, "Server stats reset.\n");
    let srvr = ask(&place, "srvr").await;
    assert!(srvr.contains("Latency min/avg/max: 0/0.0/0\nReceived: 1\nSent: 0\n"), "{srvr}");
    assert_eq!(ask(&place, "gtmk").await, "306");
    assert_eq!(ask_bytes(&place, b"stmk\0\0\0\0\0\0\0\x05").await, "5");
    assert_eq!(ask(&place, "gtmk").await, "5");
}

#[tokio::test]
async fn conf_names_what_is_in_force() {
    let place = place("conf").await;
    let conf = ask(&place, "conf").await;
    for line in [format!("clientPort={}", place.address.port()), "minSessionTimeout=6000".to_owned()] {
        assert!(conf.lines().any(|found| found == line), "{line} in {conf}");
    }
    let dirs = ask(&place, "dirs").await;
    let bytes: u64 = dirs.lines().next().unwrap().strip_prefix("datadir_size: ").unwrap().parse().unwrap();
    assert!(bytes > 0);
}
