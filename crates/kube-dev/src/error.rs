//! Refusals, as Kubernetes' `Status` objects.

use axum::http::Method;
use serde_json::{Value, json};

use crate::kinds::Kind;

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(crate) code: u16,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    /// What the refusal is about; null if there is nothing to say.
    pub(crate) details: Value,
}

impl ApiError {
    pub(crate) fn not_found(kind: &Kind, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{} {name:?} not found", qualified(kind)))
    }

    pub(crate) fn no_such_path() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource".to_owned())
    }

    pub(crate) fn exists(kind: &Kind, name: &str) -> Self {
        Self::new(409, "AlreadyExists", format!("{} {name:?} already exists", qualified(kind)))
    }

    pub(crate) fn conflict(kind: &Kind, name: &str) -> Self {
        let why =
            "the object has been modified; please apply your changes to the latest version and try again";
        Self::precondition(kind, name, why)
    }

    /// Something that the writer counted on is not so.
    pub(crate) fn precondition(kind: &Kind, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} {name:?}: {why}", qualified(kind));
        Self::new(409, "Conflict", message)
    }

    /// Another object has that name now, or had it.
    pub(crate) fn other_uid(kind: &Kind, name: &str, given: &str, uid: &Value) -> Self {
        let why = format!("the UID in the precondition ({given}) does not match the UID in record ({uid})");
        Self::precondition(kind, name, &why)
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message.into())
    }

    pub(crate) fn other_namespace() -> Self {
        let message = "the namespace of the provided object does not match the namespace sent on the request";
        Self::bad_request(message)
    }

    pub(crate) fn invalid(kind: &Kind, name: &str, what: &str) -> Self {
        Self::new(422, "Invalid", format!("{} {name:?} is invalid: {what}", kind.kind))
    }

    pub(crate) fn gone(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message.into())
    }

    pub(crate) fn media_type(given: &str) -> Self {
        Self::new(
            415,
            "UnsupportedMediaType",
            format!("the body of the request was in an unknown format: {given:?}"),
        )
    }

    pub(crate) fn method() -> Self {
        Self::new(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource".to_owned(),
        )
    }

    pub(crate) fn too_large() -> Self {
        Self::new(
            413,
            "RequestEntityTooLarge",
            "the request, or what it makes, is larger than 3 MiB".to_owned(),
        )
    }

    /// A patch that cannot be applied to this object.
    pub(crate) fn unprocessable(message: impl Into<String>) -> Self {
        Self::new(422, "Invalid", message.into())
    }

    pub(crate) fn no_address() -> Self {
        Self::new(500, "InternalError", "all cluster addresses are in use".to_owned())
    }

    /// A query parameter that is out of range.
    fn options(kind: &str, field: &str, reason: &str, message: &str) -> Self {
        let cause = json!({"reason": reason, "message": message, "field": field});
        let details = json!({"group": "meta.k8s.io", "kind": kind, "causes": [cause]});
        let message = format!("{kind}.meta.k8s.io \"\" is invalid: {field}: {message}");
        ApiError { details, ..Self::new(422, "Invalid", message) }
    }

    pub(crate) fn no_manager() -> Self {
        let message = "Required value: is required for apply patch";
        Self::options("PatchOptions", "fieldManager", "FieldValueRequired", message)
    }

    pub(crate) fn no_dry_run(method: &Method, given: &str) -> Self {
        let kind = match *method {
            Method::POST => "CreateOptions",
            Method::PUT => "UpdateOptions",
            Method::PATCH => "PatchOptions",
            _ => "DeleteOptions",
        };
        Self::options(
            kind,
            "dryRun",
            "FieldValueNotSupported",
            &format!("Unsupported value: [{given:?}]: supported values: \"All\""),
        )
    }

    /// Others own fields that an apply wants otherwise: who (as a text), and which path.
    pub(crate) fn fields_conflict(message: String, causes: Vec<(String, String)>) -> Self {
        let cause =
            |(message, field)| json!({"reason": "FieldManagerConflict", "message": message, "field": field});
        let causes: Vec<_> = causes.into_iter().map(cause).collect();
        ApiError { details: json!({"causes": causes}), ..Self::new(409, "Conflict", message) }
    }

    fn new(code: u16, reason: &'static str, message: String) -> Self {
        ApiError { code, reason, message, details: Value::Null }
    }

    /// The `Status` that says so.
    pub(crate) fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        });
        if !self.details.is_null() {
            status["details"] = self.details.clone();
        }
        status
    }
}

fn qualified(kind: &Kind) -> String {
    if kind.group.is_empty() { kind.plural.to_owned() } else { format!("{}.{}", kind.plural, kind.group) }
}
