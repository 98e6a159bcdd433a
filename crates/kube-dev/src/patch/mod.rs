//! Patches: JSON (RFC 6902), merge (RFC 7386), and Kubernetes' strategic merge.

mod json;
mod order;
mod strategic;

use serde_json::Value;

use crate::error::ApiError;

/// Applies a patch of a media type.
///
/// # Errors
/// 400: it is no patch. 413, 422: it cannot be applied to this object. 415: no such media type.
pub(crate) fn apply(media_type: &str, before: &Value, patch: &Value) -> Result<Value, ApiError> {
    let mut after = before.clone();
    match media_type {
        "application/merge-patch+json" if patch.is_object() => json_patch::merge(&mut after, patch),
        "application/strategic-merge-patch+json" if patch.is_object() => {
            strategic::merge(&mut after, patch).map_err(ApiError::bad_request)?;
        }
        "application/merge-patch+json" | "application/strategic-merge-patch+json" => {
            return Err(ApiError::bad_request("the patch is not an object"));
        }
        "application/json-patch+json" => json::apply(&mut after, patch)?,
        _ => {
            let known = ["json-patch", "merge-patch", "strategic-merge-patch"];
            let known = known.map(|patch| format!("application/{patch}+json"));
            return Err(ApiError::media_type(&known.join(", ")));
        }
    }
    if after.is_object() { Ok(after) } else { Err(ApiError::unprocessable("the patch leaves no object")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_no_patch_is_refused() {
        let before = json!({"a": 1});
        assert_eq!(apply("application/json-patch+json", &before, &json!({"op": 1})).unwrap_err().code, 400);
        let failing = json!([{"op": "test", "path": "/a", "value": 2}]);
        assert_eq!(apply("application/json-patch+json", &before, &failing).unwrap_err().code, 422);
        assert_eq!(apply("application/apply-patch+yaml", &before, &json!({})).unwrap_err().code, 415);
        assert_eq!(apply("application/merge-patch+json", &before, &json!([])).unwrap_err().code, 400);
        assert_eq!(apply("application/merge-patch+json", &before, &json!({"a": null})).unwrap(), json!({}));
    }
}
