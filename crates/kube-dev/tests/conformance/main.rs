//! kube-dev answers as a real control plane does.
//!
//! Each test is a scenario: requests, and the transcript of their answers. The transcripts of a real plane are in
//! `recorded/`; a difference is a failure.
//!
//! | variable | meaning |
//! |---|---|
//! | `CONFORMANCE_KUBECONFIG` | run against the cluster that this file leads to instead of kube-dev |
//! | `CONFORMANCE_REFRESH` | with it: write what that cluster answers to `recorded/` |
//! | `CONFORMANCE_KUBECTL` | the kubectl for the ignored tests, which need one |
//!
//! `./run` has the words for each.
#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

mod apply;
mod kubectl;
mod normal;
mod reads;
mod refusals;
mod transcript;
mod writes;
