//! A ZooKeeper-compatible coordination server

pub mod storage;
