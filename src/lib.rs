//! A two-way service-discovery bridge between Kubernetes and ZooKeeper.

pub mod admin;
pub mod api_error;
mod api_object;
pub mod apply;
pub mod cli;
pub mod config;
pub mod ensembles;
pub mod eye;
pub mod format;
pub mod http;
pub mod lease;
pub mod local;
pub mod metrics;
pub mod model;
pub mod observe;
pub mod plan;
pub mod reverse;
pub mod session;
pub mod telemetry;
