//! The same random requests to two servers must get the same answers and events: ours, and the one that
//! `ZOOBRIDGE_TEST_ZOOKEEPER=host:port` names, an Apache ZooKeeper on an empty directory with the settings of
//! [`settings`]; without
//! it, two of ours, which shows that the comparison itself finds nothing where nothing is.
//!
//! Zxids and session ids are compared as a bijection, times by what they must have in common with zxids.
//! `ZOOBRIDGE_TEST_SEED` is the first seed, `ZOOBRIDGE_TEST_SECONDS` how long to go on. A difference is
//! reduced to the fewest steps that still show it, and printed with its seed.
#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

mod compare;
mod random;
mod reduce;
mod shape;
mod side;
mod steps;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use zab::{Server, ServerConfig};

use reduce::{Kinds, Round, run};
use side::Side;

/// Steps of one round; each round has a subtree and sessions of its own.
const STEPS: usize = 150;
/// Rounds without another server.
const ROUNDS_OF_OURS: u64 = 12;

/// What every run must have seen, or it would prove little.
const KINDS: [&str; 19] = [
    "Ok (0)",
    "MarshallingError (-5)",
    "Unimplemented (-6)",
    "BadArguments (-8)",
    "NoNode (-101)",
    "NoAuth (-102)",
    "BadVersion (-103)",
    "NoChildrenForEphemerals (-108)",
    "NodeExists (-110)",
    "NotEmpty (-111)",
    "InvalidAcl (-114)",
    "AuthFailed (-115)",
    "NoWatcher (-121)",
    "ReconfigDisabled (-123)",
    "QuotaExceeded (-125)",
    "NodeCreated (1)",
    "NodeDeleted (2)",
    "NodeDataChanged (3)",
    "NodeChildrenChanged (4)",
];

/// What `tests/interop/differential` gives Apache's server too.
fn settings(config: &mut ServerConfig) {
    config.tick_time = Duration::from_secs(1);
    config.min_session_timeout_ms = 2_000;
    config.max_session_timeout_ms = 60_000;
    config.pre_alloc_bytes = 64 << 10;
    config.extended_types = true;
    config.enforce_quota = true;
    config.reaper.interval = Duration::from_secs(1_000_000);
}

async fn ours(configure: impl FnOnce(&mut ServerConfig)) -> (Server, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let mut config = ServerConfig::local(dir.path().to_owned());
    settings(&mut config);
    configure(&mut config);
    (Server::start(config).await.unwrap(), dir)
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number")))
}

#[tokio::test]
async fn the_same_requests_get_the_same_answers() {
    let (server, _dir) = ours(|_| {}).await;
    let (other, second) = match std::env::var("ZOOBRIDGE_TEST_ZOOKEEPER") {
        Ok(address) => (address.parse().unwrap(), None),
        Err(_) => {
            let second = ours(|_| {}).await;
            (second.0.client_address(), Some(second))
        }
    };
    let first = number("ZOOBRIDGE_TEST_SEED").unwrap_or(1);
    let seconds = number("ZOOBRIDGE_TEST_SECONDS");
    let began = Instant::now();
    let (mut done, mut kinds) = (0, Kinds::new());
    for seed in first.. {
        let enough = match seconds {
            Some(seconds) => began.elapsed().as_secs() >= seconds,
            None => done >= ROUNDS_OF_OURS,
        };
        if enough {
            break;
        }
        differ(seed, other, server.client_address(), &mut kinds).await;
        done += 1;
    }
    let steps = done * STEPS as u64;
    eprintln!("differential: seeds {first} to {}: {steps} steps, no difference", first + done - 1);
    eprintln!("differential: {kinds:?}");
    let missing: Vec<&&str> = KINDS.iter().filter(|kind| !kinds.contains_key(**kind)).collect();
    assert!(missing.is_empty(), "nothing was said about {missing:?}: these rounds show too little");
    drop(second);
}

async fn differ(seed: u64, other: SocketAddr, ours: SocketAddr, kinds: &mut Kinds) {
    let servers = || (Side::new(other), Side::new(ours));
    let whole = Round::whole(seed, STEPS);
    let Some((shown_by, first)) = run(&whole, servers(), kinds).await else {
        return;
    };
    eprintln!("differential: seed {seed} shows a difference; reducing it. At first:\n{first}");
    let (smallest, difference) = reduce::smallest(whole, shown_by, servers).await;
    panic!(
        "the servers differ with seed {seed}, {} of {STEPS} steps:\n{smallest}{difference}",
        smallest.len()
    );
}

/// A harness that finds nothing proves nothing: one setting is another, and one request shows it.
#[tokio::test]
async fn a_difference_is_found_and_reduced_to_what_shows_it() {
    let (left, _left_dir) = ours(|_| {}).await;
    let (right, _right_dir) = ours(|config| config.extended_types = false).await;
    let servers = || (Side::new(left.client_address()), Side::new(right.client_address()));
    let whole = Round::whole(7, STEPS);
    assert!(run(&whole, servers(), &mut Kinds::new()).await.is_some(), "no TTL znode in {STEPS} steps");
    let (smallest, difference) = reduce::smallest(whole, STEPS, servers).await;
    assert!(smallest.len() <= 2, "{smallest}{difference}");
    let text = format!("{smallest}{difference}");
    assert!(text.contains("WithTtl") && text.contains("Unimplemented"), "{text}");
}
