//! What the API server said, for people.

use std::error::Error;

/// The server's own sentence, or the chain of causes if it said nothing. `kube::Error` would repeat the whole
/// status in its Debug form.
#[must_use]
pub fn said(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error {
        return format!("{} ({})", status.message, status.code);
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
