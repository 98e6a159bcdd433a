//! What the planner makes of Kubernetes' objects, held against what kube-proxy makes of them.
#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

mod kube_proxy;
