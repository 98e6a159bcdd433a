//! What a user copies from `config/` and `deploy/` is read by the code of today.
#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use std::path::{Path, PathBuf};

use kube_dev::KubeDev;
use zab::ServerConfig;
use zoobridge::config::Config;

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name)
}

#[test]
fn configurations_that_are_deployed_are_read() {
    Config::load(&sample("../deploy/kustomize/bridge/zoobridge.yaml")).unwrap();
    ServerConfig::load(Some(&sample("../deploy/kustomize/server/zoo.cfg")), &[]).unwrap();
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
    assert_eq!(format!("{config:?}"), format!("{with_defaults:?}"));
}

#[tokio::test]
async fn manifests_of_the_demo_are_taken() {
    let kube = KubeDev::start(kube_dev::Options::default()).await.unwrap();
    for name in ["demo/orders.yaml", "demo/payments.yaml"] {
        kube.apply_manifests(&std::fs::read_to_string(sample(name)).unwrap()).unwrap();
    }
    kube.stop().await;
}
