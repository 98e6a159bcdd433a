//! The query parameters.

use serde::Deserialize;

use crate::error::ApiError;
use crate::selector::Selector;

/// The query parameters of all operations.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Query {
    pub(super) label_selector: Option<String>,
    pub(super) field_selector: Option<String>,
    pub(super) limit: Option<i64>,
    pub(super) r#continue: Option<String>,
    pub(super) watch: Option<String>,
    pub(super) resource_version: Option<String>,
    pub(super) timeout_seconds: Option<u64>,
    pub(super) allow_watch_bookmarks: Option<String>,
    pub(super) send_initial_events: Option<String>,
    pub(super) grace_period_seconds: Option<i64>,
    pub(super) dry_run: Option<String>,
    pub(super) field_manager: Option<String>,
    pub(super) force: Option<String>,
}

impl Query {
    pub(super) fn selector(&self) -> Result<Selector, ApiError> {
        Selector::parse(self.label_selector.as_deref(), self.field_selector.as_deref())
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

fn is_true(text: Option<&str>) -> bool {
    matches!(text, Some("true" | "1"))
}
