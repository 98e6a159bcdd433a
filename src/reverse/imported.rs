//! The Services that a bridge has imported, for whoever removes it.

use k8s_openapi::api::core::v1::Service;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};

use super::objects::Identity;
use super::plan::{ServiceThere, Version};
use super::writer::{WriteError, delete};
use crate::api_error::said;
use crate::config::Config;
use crate::model::ServiceKey;

/// Services that are ours, as they were read. Their slices and `Endpoints` are owned by them, so the garbage collector
/// takes those away.
#[derive(Debug)]
pub struct Imported(Vec<(ServiceKey, Version)>);

/// Why imported Services could not be found or removed.
#[derive(Debug, thiserror::Error)]
pub enum ImportedError {
    /// They cannot be listed.
    #[error("cannot list Services: {0}")]
    List(String),
    /// One cannot be deleted.
    #[error("cannot delete Service {service}: {reason}")]
    Delete {
        /// Which.
        service: ServiceKey,
        /// Why.
        reason: String,
    },
}

impl Imported {
    /// Those of the bridge of this configuration, which runs in this namespace.
    ///
    /// # Errors
    /// They cannot be listed.
    pub async fn find(client: &Client, config: &Config, namespace: &str) -> Result<Imported, ImportedError> {
        Self::of(client, &Identity::of(config, namespace)).await
    }

    /// Those of this bridge.
    pub(super) async fn of(client: &Client, identity: &Identity) -> Result<Imported, ImportedError> {
        let services = Api::<Service>::all(client.clone());
        let listed = services.list(&ListParams::default().labels(&identity.selector())).await;
        let listed = listed.map_err(|error| ImportedError::List(said(&error)))?;
        let ours = listed.into_iter().filter_map(|service| {
            let ServiceThere::Ours(ours) = identity.service(&service) else { return None };
            Some((ServiceKey::new(&service.namespace()?, &service.name_any()), ours.version))
        });
        Ok(Imported(ours.collect()))
    }

    /// Which they are.
    pub fn services(&self) -> impl Iterator<Item = &ServiceKey> {
        self.0.iter().map(|(service, _)| service)
    }

    /// Deletes them. One that somebody has changed since it was read is an error.
    ///
    /// # Errors
    /// See [`ImportedError`]. Those before it are deleted.
    pub async fn delete(&self, client: &Client) -> Result<(), ImportedError> {
        for (service, version) in &self.0 {
            delete::<Service>(client, service, &service.name, version).await.map_err(
                |error: WriteError| ImportedError::Delete {
                    service: service.clone(),
                    reason: error.to_string(),
                },
            )?;
        }
        Ok(())
    }
}
