//! JSON patches, and how large they may make an object.

use json_patch::{Patch, PatchOperation, patch};
use serde_json::Value;

use crate::error::ApiError;

/// As upstream (`maxJSONPatchOperations` in the API server's `handlers/patch.go`).
const MAX_OPERATIONS: usize = 10_000;
/// What copies may add up to: the limit of a request's body, or a few copies would fill the memory.
const MAX_COPIED_BYTES: usize = 3 << 20;
/// serde_json's limit for texts; deeper objects could not be read back by any client.
const MAX_DEPTH: usize = 128;

pub(super) fn apply(object: &mut Value, operations: &Value) -> Result<(), ApiError> {
    let Patch(operations) = serde_json::from_value(operations.clone())
        .map_err(|error| ApiError::bad_request(format!("this is no JSON patch: {error}")))?;
    if operations.len() > MAX_OPERATIONS {
        return Err(ApiError::too_large());
    }
    let mut copied = 0;
    for operation in operations {
        let added = match &operation {
            PatchOperation::Add(add) => Some((&add.path, Some(&add.value))),
            PatchOperation::Replace(replace) => Some((&replace.path, Some(&replace.value))),
            PatchOperation::Move(moved) => Some((&moved.path, object.pointer(moved.from.as_str()))),
            PatchOperation::Copy(copy) => {
                let value = object.pointer(copy.from.as_str());
                copied += value.map_or(0, |value| value.to_string().len());
                Some((&copy.path, value))
            }
            PatchOperation::Remove(_) | PatchOperation::Test(_) => None,
        };
        if copied > MAX_COPIED_BYTES {
            return Err(ApiError::too_large());
        }
        if added.is_some_and(|(path, value)| path.tokens().count() + value.map_or(0, depth) > MAX_DEPTH) {
            return Err(ApiError::unprocessable("the patch nests too deeply"));
        }
        // What fails here is not "no patch" but "not for this object".
        patch(object, &[operation]).map_err(|error| ApiError::unprocessable(error.to_string()))?;
    }
    Ok(())
}

/// Never deeper than a few times [`MAX_DEPTH`], because every addition is checked.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(list) => 1 + list.iter().map(depth).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}
