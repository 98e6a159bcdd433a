//! Four-letter words.

use zk_wire::codes::CreateMode;

use crate::place::Place;
use crate::wire::{Client, exists};

async fn ask(place: &Place, word: &str) -> String {
    let mut client = Client::dial(place.address).await;
    client.send_bytes(word.as_bytes()).await;
    String::from_utf8(client.rest().await).unwrap()
}

#[tokio::test]
async fn words_are_answered_and_the_connection_closed() {
    let place = Place::ours("words", |config| config.words = vec!["*".to_owned()]).await;
    assert_eq!(ask(&place, "ruok").await, "imok");
    assert_eq!(ask(&place, "ruok\n").await, "imok");
    assert_eq!(ask(&place, "isro").await, "rw");
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
        ("zk_znode_count", "6"),
        ("zk_outstanding_requests", "0"),
    ] {
        assert!(mntr.lines().any(|line| line == format!("{key}\t{value}")), "{key} {value} in {mntr}");
    }
}

#[tokio::test]
async fn a_word_that_is_not_allowed_or_not_there_says_so() {
    let place =
        Place::ours("forbidden", |config| config.words = vec!["ruok".to_owned(), "dump".to_owned()]).await;
    for word in ["srvr", "mntr", "wchp", "dump"] {
        let expected = format!("{word} is not executed because it is not in the whitelist.\n");
        assert_eq!(ask(&place, word).await, expected);
    }
    assert_eq!(ask(&place, "ruok").await, "imok");
}

#[tokio::test]
async fn by_default_only_srvr_is_answered() {
    let place = Place::ours("default", |_| {}).await;
    assert!(ask(&place, "srvr").await.starts_with("Zookeeper version: "));
    assert!(ask(&place, "ruok").await.contains("not in the whitelist"));
}
