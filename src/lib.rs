//! A two-way service-discovery bridge between Kubernetes and ZooKeeper.

pub mod cli;
pub mod eye;
pub mod telemetry;
