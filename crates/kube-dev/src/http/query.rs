//! The query parameters.

use axum::http::Uri;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::error::ApiError;
use crate::kinds::Kind;
use crate::selector::Selector;

/// The query parameters of all operations.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Query {
    pub(super) label_selector: Option<String>,
    pub(super) field_selector: Option<String>,
    #[serde(deserialize_with = "number")]
    pub(super) limit: Option<i64>,
    pub(super) r#continue: Option<String>,
    pub(super) watch: Option<String>,
    pub(super) resource_version: Option<String>,
    pub(super) timeout_seconds: Option<u64>,
    pub(super) allow_watch_bookmarks: Option<String>,
    pub(super) send_initial_events: Option<String>,
    pub(super) grace_period_seconds: Option<i64>,
    pub(super) propagation_policy: Option<String>,
    pub(super) dry_run: Option<String>,
    pub(super) field_manager: Option<String>,
    pub(super) force: Option<String>,
}

impl Query {
    /// # Errors
    /// 400: with the words of upstream, for the parameters that clients get wrong.
    pub(super) fn of(uri: &Uri) -> Result<Query, ApiError> {
        let query = axum::extract::Query::<Query>::try_from_uri(uri);
        query.map(|query| query.0).map_err(|error| {
            let text = error.body_text();
            ApiError::bad_request(text.find("strconv.").map_or(&*text, |at| &text[at..]))
        })
    }

    pub(super) fn selector(&self, kind: &Kind) -> Result<Selector, ApiError> {
        Selector::parse(kind, self.label_selector.as_deref(), self.field_selector.as_deref())
    }

    pub(super) fn selects(&self) -> bool {
        [&self.label_selector, &self.field_selector].into_iter().flatten().any(|text| !text.is_empty())
    }

    pub(super) fn is_watch(&self) -> bool {
        is_true(self.watch.as_deref())
    }

    pub(super) fn is_forced(&self) -> bool {
        is_true(self.force.as_deref())
    }

    pub(super) fn wants_bookmarks(&self) -> bool {
        is_true(self.allow_watch_bookmarks.as_deref())
    }

    pub(super) fn wants_initial_events(&self) -> bool {
        is_true(self.send_initial_events.as_deref())
    }
}

fn number<'de, D: Deserializer<'de>>(text: D) -> Result<Option<i64>, D::Error> {
    let text = String::deserialize(text)?;
    let invalid = |_| D::Error::custom(format!("strconv.ParseInt: parsing {text:?}: invalid syntax"));
    text.parse().map(Some).map_err(invalid)
}

fn is_true(text: Option<&str>) -> bool {
    matches!(text, Some("true" | "1"))
}
