//! Shell patterns of rules, and patterns of names in which something of a Service is filled in.

use serde::Deserialize;

use super::template::{Template, TemplateError};
use crate::model::Service;

/// A shell pattern: `*`, `?`, `[a-z]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String")]
pub struct Pattern(#[schemars(with = "String")] glob::Pattern);

/// A shell pattern of names in which something of the Service may be filled in: `{namespace}.*`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String")]
pub struct NamePattern(#[schemars(with = "String")] Template);

/// Why a string is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no pattern: {reason}")]
pub struct PatternError {
    /// As it was written.
    pub text: String,
    /// What is wrong with it.
    pub reason: String,
}

/// The pattern of everything.
pub(crate) fn anything() -> Vec<Pattern> {
    vec![Pattern(glob::Pattern::new("*").unwrap_or_default())]
}

/// Does one of them fit?
pub(crate) fn matches(patterns: &[Pattern], text: &str) -> bool {
    patterns.iter().any(|pattern| pattern.0.matches(text))
}

impl Pattern {
    /// As it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        self.0.as_str()
    }
}

impl TryFrom<String> for Pattern {
    type Error = PatternError;

    fn try_from(text: String) -> Result<Self, PatternError> {
        // To glob they are directories of any depth, which names do not have.
        let reason = if text.contains("**") {
            "'**' is not allowed; '*' fits any text".to_owned()
        } else {
            match glob::Pattern::new(&text) {
                Ok(pattern) => return Ok(Pattern(pattern)),
                Err(error) => error.msg.to_owned(),
            }
        };
        Err(PatternError { reason, text })
    }
}

impl NamePattern {
    /// Does a name of this Service fit?
    #[must_use]
    pub fn matches(&self, service: &Service, name: &str) -> bool {
        let filled = self.0.fill_with(service, glob::Pattern::escape);
        filled
            .and_then(|pattern| glob::Pattern::new(&pattern).ok())
            .is_some_and(|pattern| pattern.matches(name))
    }

    /// As it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        self.0.text()
    }
}

impl TryFrom<String> for NamePattern {
    type Error = PatternError;

    fn try_from(text: String) -> Result<Self, PatternError> {
        let bad = |text: &str, reason: String| PatternError { text: text.to_owned(), reason };
        let template =
            Template::try_from(text.clone()).map_err(|error: TemplateError| bad(&text, error.to_string()))?;
        for part in template.texts() {
            Pattern::try_from(part.to_owned()).map_err(|error| bad(&text, error.reason))?;
        }
        Ok(NamePattern(template))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(pattern: &str) -> NamePattern {
        serde_json::from_value(pattern.into()).unwrap()
    }

    #[test]
    fn a_name_fits_what_is_filled_in_and_nothing_more() {
        let service = Service::sample(&[], vec![]);
        let fits = |pattern, name| names(pattern).matches(&service, name);
        assert!(fits("{namespace}.*", "shop.orders") && fits("{namespace}.*", "shop."));
        assert!(!fits("{namespace}.*", "shop") && !fits("{namespace}.*", "shop-a.orders"));
        assert!(!fits("{namespace}.*", "xshop.orders") && !fits("{namespace}.{name}", "shopxorders"));
        assert!(fits("*-{name}-[0-9]", "a-orders-7") && !fits("*-{name}-[0-9]", "a-orders-x"));
        assert!(!fits("{label:nosuch}*", "anything"));
    }

    #[test]
    fn what_is_filled_in_is_no_pattern() {
        let mut service = Service::sample(&[], vec![]);
        service.labels.insert("app".to_owned(), "*".to_owned());
        assert!(names("{label:app}").matches(&service, "*"));
        assert!(!names("{label:app}").matches(&service, "orders"));
    }

    #[test]
    fn what_is_no_pattern_is_told() {
        for (text, part) in
            [("[a", "pattern"), ("{names}", "{namespace}"), ("a**", "'**'"), ("{name", "closed")]
        {
            let error = NamePattern::try_from(text.to_owned()).unwrap_err().to_string();
            assert!(error.contains(text) && error.contains(part), "{error}");
        }
        assert!(Pattern::try_from("**/a".to_owned()).is_err());
    }
}
