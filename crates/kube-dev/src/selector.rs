//! Label and field selectors.

use serde_json::Value;

use crate::error::ApiError;

/// Which objects of a list or watch are meant.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<(String, bool, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
}

impl Selector {
    /// Parses the two query parameters.
    pub(crate) fn parse(labels: Option<&str>, fields: Option<&str>) -> Result<Self, ApiError> {
        let labels =
            split(labels.unwrap_or_default()).into_iter().map(requirement).collect::<Result<_, _>>()?;
        let fields = fields.unwrap_or_default().split(',').filter(|term| !term.is_empty());
        let fields = fields.map(field).collect::<Result<_, _>>()?;
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

impl Requirement {
    fn matches(&self, labels: &Value) -> bool {
        let label = |name: &String| labels[name.as_str()].as_str();
        match self {
            Requirement::In(name, values) => {
                label(name).is_some_and(|is| values.iter().any(|value| value == is))
            }
            Requirement::NotIn(name, values) => {
                !label(name).is_some_and(|is| values.iter().any(|value| value == is))
            }
            Requirement::Exists(name) => label(name).is_some(),
            Requirement::Absent(name) => label(name).is_none(),
        }
    }
}

/// Splits at commas outside parentheses.
fn split(text: &str) -> Vec<&str> {
    let (mut terms, mut depth, mut start) = (Vec::new(), 0, 0);
    for (index, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                terms.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms.retain(|term| !term.trim().is_empty());
    terms
}

fn requirement(term: &str) -> Result<Requirement, ApiError> {
    let term = term.trim();
    let pair = |name: &str, value: &str| (name.trim().to_owned(), vec![value.trim().to_owned()]);
    if let Some((name, value)) = term.split_once("!=") {
        let (name, values) = pair(name, value);
        return Ok(Requirement::NotIn(name, values));
    }
    if let Some((name, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
        let (name, values) = pair(name, value);
        return Ok(Requirement::In(name, values));
    }
    if let Some(name) = term.strip_prefix('!') {
        return Ok(Requirement::Absent(name.trim().to_owned()));
    }
    let Some((head, list)) = term.split_once('(') else {
        return Ok(Requirement::Exists(term.to_owned()));
    };
    let values = list.trim_end_matches(')').split(',').map(|value| value.trim().to_owned()).collect();
    let words: Vec<_> = head.split_whitespace().collect();
    match words.as_slice() {
        [name, "in"] => Ok(Requirement::In((*name).to_owned(), values)),
        [name, "notin"] => Ok(Requirement::NotIn((*name).to_owned(), values)),
        _ => Err(ApiError::bad_request(format!("unable to parse label selector {term:?}"))),
    }
}

fn field(term: &str) -> Result<(String, bool, String), ApiError> {
    let (path, equal, value) = if let Some((path, value)) = term.split_once("!=") {
        (path, false, value)
    } else if let Some((path, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
        (path, true, value)
    } else {
        return Err(ApiError::bad_request(format!("unable to parse field selector {term:?}")));
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
            "metadata": {"name": "a", "labels": {"app": "orders", "tier": "web"}},
            "spec": {"nodeName": "n1"},
        });
        for (labels, fields, expected) in [
            ("", "", true),
            ("app=orders", "", true),
            ("app==orders,tier!=db", "", true),
            ("app in (x, orders),tier notin (db)", "", true),
            ("app,!missing", "", true),
            ("missing", "", false),
            ("app!=orders", "", false),
            ("missing!=x", "", true),
            ("", "metadata.name=a,spec.nodeName!=n2", true),
            ("", "metadata.name=b", false),
        ] {
            let selector = Selector::parse(Some(labels), Some(fields)).unwrap();
            assert_eq!(selector.matches(&object), expected, "{labels} {fields}");
        }
        assert!(Selector::parse(Some("a b (c)"), None).is_err());
        assert!(Selector::parse(None, Some("name")).is_err());
    }
}
