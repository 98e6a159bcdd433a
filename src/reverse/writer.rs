//! Carries out the changes of one Service, in order, until one fails. A Service that is there and does not take
//! its port does not keep its endpoints from following.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Endpoints, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::objects::Identity;
use super::plan::{Change, Version};
use crate::api_error::said;
use crate::model::ServiceKey;
use crate::session::Leadership;

/// What a write left.
pub(super) enum Written {
    Service(Box<Service>),
    Slice(Box<EndpointSlice>),
    Endpoints(Box<Endpoints>),
    Gone,
}

/// Why a change was not carried out.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    /// What is there is not what was planned for.
    #[error("something else is there by now: {0}")]
    Conflict(String),
    /// The API server refused, or could not be reached.
    #[error("{0}")]
    Failed(String),
}

/// Owns the fields that we write.
const FIELD_MANAGER: &str = "zoobridge";
/// No object has it: the first revision of etcd is that of an empty store. To apply at this version creates
/// what is not there, and is a conflict with whatever is (`Store.Update`, `applyPatcher`); tests/controlplane
/// shows it on a real API server.
const NOTHING_THERE: &str = "1";
const TIMEOUT: Duration = Duration::from_secs(10);

/// Carries the changes out; says what each left, and what failed first.
pub(super) async fn write(
    client: Client,
    identity: Identity,
    leadership: Leadership,
    key: ServiceKey,
    changes: Vec<Change>,
) -> (ServiceKey, Vec<Written>, Option<WriteError>) {
    let (mut written, mut failed) = (Vec::new(), None);
    for change in &changes {
        leadership.acquired().await;
        let carried_out = tokio::time::timeout(TIMEOUT, carry_out(&client, &identity, &key, change));
        match carried_out.await.unwrap_or_else(|_| Err(WriteError::Failed("no answer in time".to_owned()))) {
            Ok(left) => written.push(left),
            Err(error) => {
                failed.get_or_insert(error);
                if !matches!(change, Change::Service { was: Some(_), .. }) {
                    break;
                }
            }
        }
    }
    (key, written, failed)
}

async fn carry_out(
    client: &Client,
    identity: &Identity,
    key: &ServiceKey,
    change: &Change,
) -> Result<Written, WriteError> {
    let body = || identity.body(key, change).unwrap_or_default();
    match change {
        Change::Service { was, .. } => {
            apply(client, key, &key.name, was.as_ref(), body()).await.map(Box::new).map(Written::Service)
        }
        Change::Slice { was, name, .. } => {
            apply(client, key, name, was.as_ref(), body()).await.map(Box::new).map(Written::Slice)
        }
        Change::Endpoints { was, .. } => {
            apply(client, key, &key.name, was.as_ref(), body()).await.map(Box::new).map(Written::Endpoints)
        }
        Change::DeleteService { was } => delete::<Service>(client, key, &key.name, was).await,
        Change::DeleteEndpoints { was } => delete::<Endpoints>(client, key, &key.name, was).await,
        Change::DeleteSlice { was, name } => delete::<EndpointSlice>(client, key, name, was).await,
    }
}

async fn apply<K>(
    client: &Client,
    key: &ServiceKey,
    name: &str,
    was: Option<&Version>,
    mut body: Value,
) -> Result<K, WriteError>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let metadata = &mut body["metadata"];
    match was {
        Some(Version { uid, resource_version }) => {
            metadata["uid"] = (&**uid).into();
            metadata["resourceVersion"] = (&**resource_version).into();
        }
        None => metadata["resourceVersion"] = NOTHING_THERE.into(),
    }
    let api = Api::<K>::namespaced(client.clone(), &key.namespace);
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    api.patch(name, &parameters, &Patch::Apply(&body)).await.map_err(|error| failed(&error))
}

pub(super) async fn delete<K>(
    client: &Client,
    key: &ServiceKey,
    name: &str,
    was: &Version,
) -> Result<Written, WriteError>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let preconditions = Preconditions {
        uid: Some(was.uid.to_string()),
        resource_version: Some(was.resource_version.to_string()),
    };
    let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    match Api::<K>::namespaced(client.clone(), &key.namespace).delete(name, &parameters).await {
        Ok(_) => Ok(Written::Gone),
        // The garbage collector was faster.
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(Written::Gone),
        Err(error) => Err(failed(&error)),
    }
}

fn failed(error: &kube::Error) -> WriteError {
    match error {
        kube::Error::Api(status) if status.code == 409 => WriteError::Conflict(said(error)),
        _ => WriteError::Failed(said(error)),
    }
}
