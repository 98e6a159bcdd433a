//! What cannot be run, reported once and not at every look.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::error::ApiError;
use crate::store::{name_of, namespace_of};

/// The objects that failed: at the last look, and at this one.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    known: BTreeSet<String>,
    now: BTreeSet<String>,
}

impl Complaints {
    /// Reports the failure of an object that did not fail before. Returns whether it did.
    pub(super) fn hear(&mut self, object: &Value, result: Result<(), ApiError>) -> bool {
        let Err(error) = result else { return false };
        let (kind, namespace, name) = (&object["kind"], namespace_of(object), name_of(object));
        let place = format!("{kind} {namespace}/{name}");
        let is_new = !self.known.contains(&place) && self.now.insert(place.clone());
        self.now.insert(place);
        if is_new {
            tracing::warn!(%kind, namespace, name, error = error.message, "cannot run an object");
        }
        is_new
    }

    /// Forgets the objects that did not fail again.
    pub(super) fn end_of_pass(&mut self) {
        self.known = std::mem::take(&mut self.now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_failure_is_reported_again_only_after_a_success() {
        let mut complaints = Complaints::default();
        let object = |name: &str| json!({"kind": "Pod", "metadata": {"name": name, "namespace": "default"}});
        let failed = || Err(ApiError::bad_request("no"));
        let reported: Vec<_> = [failed(), failed(), Ok(()), failed()]
            .into_iter()
            .map(|result| {
                let reported = complaints.hear(&object("a"), result);
                complaints.end_of_pass();
                reported
            })
            .collect();
        assert_eq!(reported, [true, false, false, true]);
        assert!(complaints.hear(&object("b"), failed()));
    }
}
