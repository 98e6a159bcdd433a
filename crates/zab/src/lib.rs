//! A ZooKeeper-compatible coordination server
