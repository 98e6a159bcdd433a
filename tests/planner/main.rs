//! What the planner makes of Kubernetes' objects, held against what kube-proxy makes of them, and against the lists of
//! what others got wrong and of what consumers need.
#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

mod documented;
mod kube_proxy;
mod many;
mod population;
