//! Who owns which field, and what follows from it: server-side apply.
//!
//! ```text
//!   apply:  merge ──▶ prune what the manager no longer applies ──▶ compare ──▶ conflicts, or the new owners
//!   other writes:                                                  compare ──▶ the new owners
//! ```
//!
//! The algorithms are those of `sigs.k8s.io/structured-merge-diff` v6 (`merge/update.go`, `typed/`) and of
//! `k8s.io/apimachinery/pkg/util/managedfields`. Everything here is pure.

mod apply;
mod managed;
mod set;
mod shape;
mod walk;

pub(crate) use apply::apply;
pub(crate) use managed::{Writer, claim, same_but_for_times};
