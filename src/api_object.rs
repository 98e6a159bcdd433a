//! Objects that the bridge has made in Kubernetes, for whoever removes them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::{DeleteParams, Preconditions};
use serde::de::DeserializeOwned;

/// Has it a name and nothing else of what others write about an object? So are our Secret and our Lease.
pub(crate) fn is_bare(metadata: &ObjectMeta) -> bool {
    let ObjectMeta { labels, annotations, owner_references, .. } = metadata;
    labels.iter().all(|labels| labels.is_empty())
        && annotations.iter().all(|annotations| annotations.is_empty())
        && owner_references.iter().all(Vec::is_empty)
}

/// Deletes an object if it is as it was read.
pub(crate) async fn delete_as_read<K>(api: &Api<K>, metadata: &ObjectMeta) -> Result<(), kube::Error>
where
    K: Clone + std::fmt::Debug + DeserializeOwned,
{
    let (uid, resource_version) = (metadata.uid.clone(), metadata.resource_version.clone());
    let preconditions = Some(Preconditions { uid, resource_version });
    let params = DeleteParams { preconditions, ..DeleteParams::default() };
    api.delete(metadata.name.as_deref().unwrap_or_default(), &params).await.map(drop)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

    use super::*;

    #[test]
    fn what_somebody_prepared_is_not_bare() {
        let labels = Some([("app".to_owned(), "zoobridge".to_owned())].into());
        let name = Some("zoobridge".to_owned());
        assert!(is_bare(&ObjectMeta {
            name: name.clone(),
            labels: Some([].into()),
            ..ObjectMeta::default()
        }));
        assert!(!is_bare(&ObjectMeta { name, labels: labels.clone(), ..ObjectMeta::default() }));
        assert!(!is_bare(&ObjectMeta { annotations: labels, ..ObjectMeta::default() }));
        let owners = Some(vec![OwnerReference::default()]);
        assert!(!is_bare(&ObjectMeta { owner_references: owners, ..ObjectMeta::default() }));
    }
}
