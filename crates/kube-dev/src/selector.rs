//! Label and field selectors.

mod label;

use serde_json::Value;

use crate::error::ApiError;
use crate::kinds::Kind;
use label::Requirement;

/// Which objects of a list or watch are meant.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selector {
    labels: Vec<Requirement>,
    /// Path, whether it has to be equal, and to what.
    fields: Vec<(String, bool, String)>,
}

impl Selector {
    /// Parses the two query parameters.
    ///
    /// # Errors
    /// 400: one does not parse, or the kind has no such field to select by.
    pub(crate) fn parse(kind: &Kind, labels: Option<&str>, fields: Option<&str>) -> Result<Self, ApiError> {
        let labels = label::parse(labels.unwrap_or_default())
            .map_err(|why| ApiError::bad_request(format!("unable to parse requirement: {why}")))?;
        let fields = fields.unwrap_or_default().split(',').filter(|term| !term.is_empty());
        let fields = fields.map(field).collect::<Result<Vec<_>, _>>()?;
        if let Some((path, ..)) = fields.iter().find(|(path, ..)| !selects_by(kind, path)) {
            return Err(ApiError::bad_request(format!("field label not supported: {path}")));
        }
        Ok(Selector { labels, fields })
    }

    pub(crate) fn matches(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        self.labels.iter().all(|requirement| requirement.matches(labels))
            && self.fields.iter().all(|(path, equal, value)| {
                let found = path.split('.').fold(object, |object, part| &object[part]);
                let found = match found {
                    Value::String(text) => text.clone(),
                    Value::Null => String::new(),
                    other => other.to_string(),
                };
                (found == *value) == *equal
            })
    }
}

/// Fields other than these cannot be selected by (`AddFieldLabelConversionFunc` upstream).
fn selects_by(kind: &Kind, path: &str) -> bool {
    let others: &[&str] = match kind.plural {
        "secrets" => &["type"],
        "namespaces" => &["status.phase"],
        "nodes" => &["spec.unschedulable"],
        "services" => &["spec.clusterIP", "spec.type"],
        "pods" => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
        "events" => &["reason", "reportingComponent", "reportingController", "type", "source"],
        _ => &[],
    };
    let is_regarded =
        kind.plural == "events" && (path.starts_with("involvedObject.") || path.starts_with("regarding."));
    matches!(path, "metadata.name" | "metadata.namespace") || others.contains(&path) || is_regarded
}

fn field(term: &str) -> Result<(String, bool, String), ApiError> {
    let (path, equal, value) = if let Some((path, value)) = term.split_once("!=") {
        (path, false, value)
    } else if let Some((path, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
        (path, true, value)
    } else {
        return Err(ApiError::bad_request(format!("invalid selector: can't understand {term:?}")));
    };
    Ok((path.to_owned(), equal, value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn selectors_mean_what_kubernetes_means() {
        let object = json!({
            "metadata": {"name": "a", "labels": {"app": "orders", "tier": "web", "size": "7", "a.b/c": "in"}},
            "spec": {"nodeName": "n1"},
        });
        for (labels, fields, expected) in [
            ("", "", true),
            ("app=orders", "", true),
            ("app==orders,tier!=db", "", true),
            (" app in (x, orders) , tier notin (db)", "", true),
            ("app in (x,orders),tier in (web)", "", true),
            ("app,!missing", "", true),
            ("missing", "", false),
            ("app!=orders", "", false),
            ("missing!=x", "", true),
            ("missing notin (x)", "", true),
            ("app=", "", false),
            ("app in ()", "", false),
            ("a.b/c=in", "", true),
            ("size>6,size<8", "", true),
            ("size>7", "", false),
            ("app>7", "", false),
            ("", "metadata.name=a,spec.nodeName!=n2", true),
            ("", "metadata.name=b", false),
        ] {
            let selector = Selector::parse(Kind::named("pods"), Some(labels), Some(fields)).unwrap();
            assert_eq!(selector.matches(&object), expected, "{labels} {fields}");
        }
        assert!(Selector::parse(Kind::named("pods"), None, Some("name")).is_err());
    }
}
