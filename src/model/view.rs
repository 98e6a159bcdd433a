//! Several views of one Service, each for an audience of its own: annotations with the view's name and a dot in front.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The name of one of a Service's views. Sorts behind the view that has none.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ViewName(Option<Arc<str>>);

/// What an annotation says, and which one that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said<'a> {
    /// As it was written, without `zoobridge.io/`.
    pub annotation: String,
    /// Its value.
    pub value: &'a str,
}

/// Leaves room for the longest annotation in the 63 characters that Kubernetes allows.
const MAX_NAME_BYTES: usize = 30;

impl ViewName {
    /// The view whose annotations have no name in front. What it says of how to publish, every view says that does not
    /// say otherwise.
    pub const UNNAMED: ViewName = ViewName(None);

    /// The view that an annotation is about, and what is left of it without the name; `None` if what stands before the
    /// dot cannot be a name: lower-case letters, digits and '-', 30 at most, no '-' at either end.
    #[must_use]
    pub fn of(annotation: &str) -> Option<(ViewName, &str)> {
        let Some((name, rest)) = annotation.split_once('.') else {
            return Some((ViewName::UNNAMED, annotation));
        };
        let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let is_name = (1..=MAX_NAME_BYTES).contains(&name.len())
            && name.chars().all(is_part)
            && !name.starts_with('-')
            && !name.ends_with('-');
        is_name.then(|| (ViewName(Some(name.into())), rest))
    }

    /// As people call it; `None` for the one without a name.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// An annotation of this view.
    #[must_use]
    pub fn annotation(&self, name: &str) -> String {
        match &self.0 {
            Some(view) => format!("{view}.{name}"),
            None => name.to_owned(),
        }
    }

    /// What this view alone says.
    #[must_use]
    pub fn own<'a>(&self, annotations: &'a BTreeMap<String, String>, name: &str) -> Option<Said<'a>> {
        let annotation = self.annotation(name);
        let value = annotations.get(&annotation)?;
        Some(Said { annotation, value })
    }

    /// What this view says, or what is said for all.
    #[must_use]
    pub fn said<'a>(&self, annotations: &'a BTreeMap<String, String>, name: &str) -> Option<Said<'a>> {
        self.own(annotations, name).or_else(|| ViewName::UNNAMED.own(annotations, name))
    }
}

impl fmt::Display for ViewName {
    /// For sentences like "in …".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(name) => write!(f, "view {name:?}"),
            None => f.write_str("the view without a name"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_view_is_what_stands_before_the_dot() {
        let of = |annotation| {
            ViewName::of(annotation).map(|(view, rest)| (view.name().map(str::to_owned), rest.to_owned()))
        };
        let found = |view: Option<&str>, rest: &str| Some((view.map(str::to_owned), rest.to_owned()));
        assert_eq!(of("curator-port"), found(None, "curator-port"));
        assert_eq!(of("outside.curator"), found(Some("outside"), "curator"));
        assert_eq!(of("a.b.c"), found(Some("a"), "b.c"));
        assert_eq!(of("9-a."), found(Some("9-a"), ""));
        let long = format!("{}.curator", "x".repeat(31));
        for none in [".curator", "-a.curator", "a-.curator", "A.curator", "a_b.curator", "é.curator", &long]
        {
            assert_eq!(of(none), None, "{none}");
        }
    }

    #[test]
    fn what_a_view_does_not_say_is_said_for_all() {
        let annotations: BTreeMap<_, _> = [("port", "http"), ("address", "pod"), ("outside.address", "node")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        let (outside, _) = ViewName::of("outside.x").unwrap();
        let said = |view: &ViewName, name| view.said(&annotations, name).map(|it| (it.annotation, it.value));
        assert_eq!(said(&outside, "address"), Some(("outside.address".to_owned(), "node")));
        assert_eq!(said(&outside, "port"), Some(("port".to_owned(), "http")));
        assert_eq!(said(&ViewName::UNNAMED, "address"), Some(("address".to_owned(), "pod")));
        assert_eq!(said(&outside, "drain"), None);
        assert_eq!(outside.own(&annotations, "port"), None);
    }
}
