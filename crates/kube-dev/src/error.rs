//! Refusals, as Kubernetes' `Status` objects.

use axum::http::Method;
use serde_json::{Value, json};

use crate::kinds::Kind;

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(crate) code: u16,
    /// Empty if the server has no word for it.
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    /// What the refusal is about; null if there is nothing to say.
    pub(crate) details: Value,
}

/// A field that is out of range: which, upstream's word for the reason, and what is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FieldError {
    field: String,
    reason: &'static str,
    message: String,
}

impl FieldError {
    pub(crate) fn required(field: impl Into<String>, why: &str) -> Self {
        let message =
            if why.is_empty() { "Required value".to_owned() } else { format!("Required value: {why}") };
        FieldError { field: field.into(), reason: "FieldValueRequired", message }
    }

    pub(crate) fn invalid(field: impl Into<String>, value: &Value, why: &str) -> Self {
        let message = format!("Invalid value: {value}: {why}");
        FieldError { field: field.into(), reason: "FieldValueInvalid", message }
    }

    pub(crate) fn duplicate(field: impl Into<String>, value: &Value) -> Self {
        let message = format!("Duplicate value: {value}");
        FieldError { field: field.into(), reason: "FieldValueDuplicate", message }
    }

    fn unsupported(field: &str, value: &str, supported: &str) -> Self {
        let message = format!("Unsupported value: {value}: supported values: {supported}");
        FieldError { field: field.to_owned(), reason: "FieldValueNotSupported", message }
    }

    fn cause(&self) -> Value {
        json!({"reason": self.reason, "message": self.message, "field": self.field})
    }
}

impl ApiError {
    pub(crate) fn not_found(kind: &Kind, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{} {name:?} not found", qualified(kind))).about(
            kind.plural,
            kind,
            name,
        )
    }

    pub(crate) fn no_such_path() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource").about_nothing()
    }

    pub(crate) fn exists(kind: &Kind, name: &str) -> Self {
        let message = format!("{} {name:?} already exists", qualified(kind));
        Self::new(409, "AlreadyExists", message).about(kind.plural, kind, name)
    }

    pub(crate) fn conflict(kind: &Kind, name: &str) -> Self {
        let why =
            "the object has been modified; please apply your changes to the latest version and try again";
        Self::precondition(kind, name, why)
    }

    /// Something that the writer counted on is not so.
    pub(crate) fn precondition(kind: &Kind, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} {name:?}: {why}", qualified(kind));
        Self::new(409, "Conflict", message).about(kind.plural, kind, name)
    }

    /// Another object has that name now, or had it.
    pub(crate) fn other_uid(kind: &Kind, name: &str, given: &str, uid: &Value) -> Self {
        let uid = uid.as_str().unwrap_or_default();
        Self::precondition(
            kind,
            name,
            &format!("Precondition failed: UID in precondition: {given}, UID in object meta: {uid}"),
        )
    }

    /// The same for a DELETE, which says it otherwise.
    pub(crate) fn deletes_other(kind: &Kind, name: &str, what: &str, given: &str, found: &Value) -> Self {
        let (short, found) =
            (what.strip_prefix("Resource").unwrap_or(what), found.as_str().unwrap_or_default());
        let end = if short == "UID" {
            "The object might have been deleted and then recreated"
        } else {
            "The object might have been modified"
        };
        let why = format!(
            "the {what} in the precondition ({given}) does not match the {what} in record ({found}). {end}"
        );
        let message =
            format!("Operation cannot be fulfilled on {} {name:?}: {why}", with_group(kind.kind, kind));
        Self::new(409, "Conflict", message).about(kind.kind, kind, name)
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// What upstream does not count among the client's mistakes, although it is one.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(500, "", message)
    }

    pub(crate) fn other_namespace() -> Self {
        let message = "the namespace of the provided object does not match the namespace sent on the request";
        Self::bad_request(message)
    }

    /// An object with fields that are out of range; at least one.
    pub(crate) fn invalid(kind: &Kind, name: &str, errors: &[FieldError]) -> Self {
        let what = all(errors);
        let message = format!("{} {name:?} is invalid: {what}", with_group(kind.kind, kind));
        let mut error = Self::new(422, "Invalid", message).about(kind.kind, kind, name);
        error.details["causes"] = errors.iter().map(FieldError::cause).collect();
        error
    }

    pub(crate) fn gone(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    pub(crate) fn media_type(accepted: &str) -> Self {
        let message = "the body of the request was in an unknown format - accepted media types include";
        Self::new(415, "UnsupportedMediaType", format!("{message}: {accepted}"))
    }

    pub(crate) fn method() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(405, "MethodNotAllowed", message).about_nothing()
    }

    pub(crate) fn too_large() -> Self {
        Self::new(413, "RequestEntityTooLarge", "the request, or what it makes, is larger than 3 MiB")
    }

    /// A patch that cannot be applied to this object.
    pub(crate) fn unprocessable(message: impl Into<String>) -> Self {
        Self::new(422, "Invalid", message)
    }

    pub(crate) fn no_address() -> Self {
        Self::new(500, "InternalError", "all cluster addresses are in use")
    }

    pub(crate) fn no_manager() -> Self {
        Self::options("PatchOptions", FieldError::required("fieldManager", "is required for apply patch"))
    }

    pub(crate) fn no_force() -> Self {
        let (reason, message) =
            ("FieldValueForbidden", "Forbidden: may not be specified for non-apply patch".to_owned());
        Self::options("PatchOptions", FieldError { field: "force".to_owned(), reason, message })
    }

    pub(crate) fn no_dry_run(method: &Method, given: &str) -> Self {
        let kind = match *method {
            Method::POST => "CreateOptions",
            Method::PUT => "UpdateOptions",
            Method::PATCH => "PatchOptions",
            _ => "DeleteOptions",
        };
        Self::options(kind, FieldError::unsupported("dryRun", &format!("[{given:?}]"), "\"All\""))
    }

    pub(crate) fn no_policy(given: &str) -> Self {
        let supported = r#""Foreground", "Background", "Orphan", "nil""#;
        Self::options(
            "DeleteOptions",
            FieldError::unsupported("propagationPolicy", &format!("{given:?}"), supported),
        )
    }

    /// Others own fields that an apply wants otherwise: who (as a text), and which path.
    pub(crate) fn fields_conflict(message: String, causes: Vec<(String, String)>) -> Self {
        let cause = |(message, field)| FieldError { field, reason: "FieldManagerConflict", message }.cause();
        let causes: Vec<_> = causes.into_iter().map(cause).collect();
        ApiError { details: json!({"causes": causes}), ..Self::new(409, "Conflict", message) }
    }

    /// A query parameter that is out of range.
    fn options(kind: &str, error: FieldError) -> Self {
        let message = format!("{kind}.meta.k8s.io \"\" is invalid: {}", all(std::slice::from_ref(&error)));
        let details = json!({"group": "meta.k8s.io", "kind": kind, "causes": [error.cause()]});
        ApiError { details, ..Self::new(422, "Invalid", message) }
    }

    fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        ApiError { code, reason, message: message.into(), details: Value::Null }
    }

    fn about(self, what: &str, kind: &Kind, name: &str) -> Self {
        ApiError { details: details(what, kind, name), ..self }
    }

    fn about_nothing(self) -> Self {
        ApiError { details: json!({}), ..self }
    }

    /// The `Status` that says so.
    pub(crate) fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "code": self.code,
        });
        if !self.reason.is_empty() {
            status["reason"] = self.reason.into();
        }
        if !self.details.is_null() {
            status["details"] = self.details.clone();
        }
        status
    }
}

/// What a `Status` is about.
pub(crate) fn details(what: &str, kind: &Kind, name: &str) -> Value {
    let mut details = json!({"kind": what});
    for (field, text) in [("name", name), ("group", kind.group)] {
        if !text.is_empty() {
            details[field] = text.into();
        }
    }
    details
}

fn all(errors: &[FieldError]) -> String {
    let texts: Vec<_> = errors.iter().map(|error| format!("{}: {}", error.field, error.message)).collect();
    if let [one] = &texts[..] { one.clone() } else { format!("[{}]", texts.join(", ")) }
}

fn qualified(kind: &Kind) -> String {
    with_group(kind.plural, kind)
}

fn with_group(what: &str, kind: &Kind) -> String {
    if kind.group.is_empty() { what.to_owned() } else { format!("{what}.{}", kind.group) }
}
