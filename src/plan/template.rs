//! `{namespace}.{name}`: texts in which something of a Service is filled in.

use crate::model::Service;

/// A text with `{namespace}`, `{name}` or `{label:KEY}` in it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Namespace,
    Name,
    Label(String),
}

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Nothing of a Service is called so.
    #[error("there is no {{{0}}}; there are: {{namespace}}, {{name}}, {{label:KEY}}")]
    Unknown(String),
    /// It opens and does not close.
    #[error("a '{{' is not closed")]
    Open,
}

impl Template {
    /// Fills in what it names of a Service; `None` if that has no such label.
    #[must_use]
    pub fn fill(&self, service: &Service) -> Option<String> {
        self.fill_with(service, |filled| filled.to_owned())
    }

    /// The same, but what is filled in is written as `escape` says.
    pub(super) fn fill_with(&self, service: &Service, escape: impl Fn(&str) -> String) -> Option<String> {
        let mut filled = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => filled += text,
                Part::Namespace => filled += &escape(&service.key.namespace),
                Part::Name => filled += &escape(&service.key.name),
                Part::Label(label) => filled += &escape(service.labels.get(label)?),
            }
        }
        Some(filled)
    }

    /// Does whoever labels the Service choose a part of it?
    #[must_use]
    pub fn has_labels(&self) -> bool {
        self.labels().next().is_some()
    }

    /// The labels that it fills in.
    pub(super) fn labels(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Label(label) => Some(label.as_str()),
            _ => None,
        })
    }

    /// As it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What of it is a text.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Text(text) => Some(text.as_str()),
            _ => None,
        })
    }
}

impl TryFrom<String> for Template {
    type Error = TemplateError;

    fn try_from(text: String) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut rest = text.as_str();
        while let Some((before, after)) = rest.split_once('{') {
            let (inside, behind) = after.split_once('}').ok_or(TemplateError::Open)?;
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(match (inside, inside.strip_prefix("label:")) {
                ("namespace", _) => Part::Namespace,
                ("name", _) => Part::Name,
                (_, Some(label)) if !label.is_empty() => Part::Label(label.to_owned()),
                _ => return Err(TemplateError::Unknown(crate::format::shortened(inside))),
            });
            rest = behind;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Template { text, parts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(text: &str) -> Result<Option<String>, TemplateError> {
        let mut service = Service::sample(&[], vec![]);
        service.labels.insert("app/tier".to_owned(), "web".to_owned());
        Template::try_from(text.to_owned()).map(|template| template.fill(&service))
    }

    #[test]
    fn what_it_names_is_filled_in() {
        let filled = |text| fill(text).unwrap().unwrap();
        assert_eq!(filled("{namespace}.{name}"), "shop.orders");
        assert_eq!(filled("a}{label:app/tier}/{name}"), "a}web/orders");
        assert_eq!(filled(""), "");
        assert_eq!(fill("{label:nosuch}"), Ok(None));
    }

    #[test]
    fn what_is_no_template_is_told_with_what_there_is() {
        assert_eq!(fill("{name"), Err(TemplateError::Open));
        for text in ["{uid}", "{}", "{label:}", "{{name}}"] {
            let error = fill(text).unwrap_err().to_string();
            assert!(error.contains("{namespace}, {name}, {label:KEY}"), "{error}");
        }
    }
}
