//! What goes when an object goes.

use std::sync::Arc;

use serde_json::Value;

use super::{Stamp, Store, at_revision, key};
use crate::events;
use crate::kinds::Kind;

impl Store {
    /// Removes an object at once. A namespace's objects go before it, whatever finalizers they have.
    pub(super) fn remove(
        &mut self,
        kind: &'static Kind,
        namespace: &str,
        name: &str,
        stamp: &Stamp,
    ) -> Option<Arc<Value>> {
        if kind.plural == "namespaces" {
            let inside: Vec<_> = self.objects.keys().filter(|(_, of, _)| of == name).cloned().collect();
            for (kind, namespace, name) in inside {
                self.remove(kind, &namespace, &name, stamp);
            }
        }
        let last = self.objects.remove(&key(kind, namespace, name))?;
        self.revision += 1;
        if let Some((other, _)) = events::twin(kind, &last)
            && let Some(twin) = self.objects.remove(&key(other, namespace, name))
        {
            self.forget(other, &twin);
        }
        let last = self.forget(kind, &last);
        self.collect_garbage(&last["metadata"]["uid"], stamp);
        Some(last)
    }

    fn forget(&mut self, kind: &'static Kind, last: &Value) -> Arc<Value> {
        let last = Arc::new(at_revision(last, self.revision));
        self.remember(kind, Some(Arc::clone(&last)), None);
        last
    }

    /// Deletes what only this object owned.
    fn collect_garbage(&mut self, owner: &Value, stamp: &Stamp) {
        let owners =
            |object: &Value| object["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
        let owned: Vec<_> = self
            .objects
            .iter()
            .filter(|(_, object)| owners(object).iter().any(|reference| reference["uid"] == *owner))
            .map(|(key, object)| (key.clone(), owners(object)))
            .collect();
        for ((kind, namespace, name), owners) in owned {
            let lives = |uid: &Value| self.objects.values().any(|object| object["metadata"]["uid"] == *uid);
            if !owners.iter().any(|reference| lives(&reference["uid"])) {
                // It may have gone with another of them.
                let _ = self.delete(kind, &namespace, &name, self.is_graceful(kind), stamp);
            }
        }
    }
}
