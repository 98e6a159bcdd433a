//! Manifests: YAML with any number of documents.

use serde_json::Value;

use crate::error::ApiError;
use crate::kinds::Kind;
use crate::server::Api;
use crate::store::{Part, name_of};

/// Why a manifest could not be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Not YAML; the reason says where.
    #[error("the manifest does not parse: {0}")]
    Yaml(String),
    /// A document that is no object of a kind that exists here.
    #[error("document {index} is a {api_version:?} {kind:?}, which this API does not have")]
    Kind {
        /// Which document, counted from 1.
        index: usize,
        /// Its `apiVersion`.
        api_version: String,
        /// Its `kind`.
        kind: String,
    },
    /// A document that was refused.
    #[error("document {index} ({name}): {reason}")]
    Refused {
        /// Which document, counted from 1.
        index: usize,
        /// Its kind and name.
        name: String,
        /// Why.
        reason: String,
    },
}

pub(crate) fn apply(api: &Api, yaml: &str) -> Result<Vec<String>, ManifestError> {
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(yaml).map_err(|error| ManifestError::Yaml(error.to_string()))?;
    documents
        .into_iter()
        .filter(|document| !document.is_null())
        .enumerate()
        .map(|(index, document)| apply_one(api, index + 1, document))
        .collect()
}

fn apply_one(api: &Api, index: usize, mut document: Value) -> Result<String, ManifestError> {
    let text = |name: &str| document[name].as_str().unwrap_or_default().to_owned();
    let (api_version, kind_name) = (text("apiVersion"), text("kind"));
    let Some(kind) = Kind::of(&api_version, &kind_name) else {
        return Err(ManifestError::Kind { index, api_version, kind: kind_name });
    };
    let namespace = match (kind.namespaced, document["metadata"]["namespace"].as_str()) {
        (false, _) => String::new(),
        (true, namespace) => namespace.unwrap_or("default").to_owned(),
    };
    if kind.namespaced && document["metadata"].is_object() {
        document["metadata"]["namespace"] = namespace.clone().into();
    }
    let shown = format!("{}/{}", kind.kind.to_lowercase(), name_of(&document));
    let done = api.write(|store, stamp| {
        let name = name_of(&document).to_owned();
        match store.get(kind, &namespace, &name) {
            Err(_) => store.create(kind, &namespace, document, stamp).map(|_| "created"),
            Ok(before) => {
                let after = store.update(kind, &namespace, &name, Part::Main, stamp, |_| Ok(document))?;
                Ok(if after == before { "unchanged" } else { "configured" })
            }
        }
    });
    match done {
        Ok(done) => Ok(format!("{shown} {done}")),
        Err(ApiError { message, .. }) => Err(ManifestError::Refused { index, name: shown, reason: message }),
    }
}
