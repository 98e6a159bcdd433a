//! What the planner makes of Kubernetes' objects, held against what kube-proxy makes of them, and against the list of
//! what others got wrong.
#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

mod kube_proxy;
mod many;
mod pitfalls;
mod population;
