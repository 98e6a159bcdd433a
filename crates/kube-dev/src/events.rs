//! Events have one store and two groups: what is written in one is read in both.

use serde_json::Value;

use crate::kinds::Kind;

/// Fields that have other names in the core group (first) than in `events.k8s.io`
/// (`pkg/apis/events/v1/conversion.go` upstream).
const FIELDS: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("count", "deprecatedCount"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("source", "deprecatedSource"),
];

/// The same Event as the other group has it; none for other kinds.
pub(crate) fn twin(kind: &Kind, event: &Value) -> Option<(&'static Kind, Value)> {
    if kind.plural != "events" {
        return None;
    }
    let group = if kind.group.is_empty() { "events.k8s.io" } else { "" };
    let other = Kind::find(group, "v1", "events")?;
    let mut twin = event.clone();
    let fields = twin.as_object_mut()?;
    fields.insert("apiVersion".to_owned(), other.api_version().into());
    for (core, new) in FIELDS {
        let (from, to) = if kind.group.is_empty() { (core, new) } else { (new, core) };
        // What is unknown in one group cannot shadow what the other means by that name.
        fields.remove(to);
        if let Some(value) = fields.remove(from) {
            fields.insert(to.to_owned(), value);
        }
    }
    Some((other, twin))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_twin_of_the_twin_is_the_event() {
        let core = Kind::named("events");
        let event = json!({
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}, "message": "m", "reason": "R",
            "involvedObject": {"name": "s"}, "reportingComponent": "c", "count": 2,
        });
        let (new, twin_of_event) = twin(core, &event).unwrap();
        assert_eq!(
            twin_of_event,
            json!({
                "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"}, "note": "m",
                "reason": "R", "regarding": {"name": "s"}, "reportingController": "c", "deprecatedCount": 2,
            })
        );
        assert_eq!(twin(new, &twin_of_event).unwrap(), (core, event));
        assert_eq!(twin(Kind::named("pods"), &json!({})), None);
    }
}
