//! Carries an election out, with retries, until it is lost.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::election::{Election, Move};
use crate::api_error::said;

/// A candidate at work.
pub struct Elector {
    api: Api<Lease>,
    name: String,
    election: Election,
    started: Instant,
    /// Until when this candidate leads.
    until: watch::Sender<Option<Instant>>,
}

/// Why a leader leads no more.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// Another one has the Lease.
    #[error("lease {name} was taken by {holder}")]
    Taken {
        /// The Lease.
        name: String,
        /// Who has it now.
        holder: String,
    },
    /// It could not be renewed in time.
    #[error("lease {name} could not be renewed for {after:?}")]
    NotRenewed {
        /// The Lease.
        name: String,
        /// For how long.
        after: Duration,
    },
}

impl Elector {
    /// A candidate for the Lease of this name; and until when it leads, now and later.
    #[must_use]
    pub fn new(
        client: Client,
        namespace: &str,
        name: &str,
        election: Election,
    ) -> (Self, watch::Receiver<Option<Instant>>) {
        let (until, until_rx) = watch::channel(None);
        let api = Api::namespaced(client, namespace);
        (Elector { api, name: name.to_owned(), election, started: Instant::now(), until }, until_rx)
    }

    /// Stands for election until stopped. Fails only after having led.
    ///
    /// # Errors
    /// See [`LeaseError`]; from then on nothing may be done in the leader's name.
    pub async fn run(&mut self, stop: &CancellationToken) -> Result<(), LeaseError> {
        let timing = self.election.timing();
        let mut waits_for = None;
        loop {
            // Others count from when they see this renewal, which is later.
            let began = Instant::now();
            let until = *self.until.borrow();
            let late = began + timing.patience();
            let attempt =
                tokio::time::timeout_at(until.map_or(late, |until| until.min(late)), self.attempt());
            let attempt = tokio::select! {
                attempt = attempt => attempt,
                () = stop.cancelled() => return Ok(()),
            };
            match attempt {
                Ok(Ok(None)) => {
                    if until.is_none() {
                        tracing::info!(lease = self.name, me = self.election.me(), "leading");
                    }
                    self.until.send_replace(Some(began + timing.deadline()));
                }
                Ok(Ok(Some(holder))) if until.is_some() => {
                    self.until.send_replace(None);
                    return Err(LeaseError::Taken { name: self.name.clone(), holder });
                }
                Ok(Ok(Some(holder))) => {
                    if waits_for.as_ref() != Some(&holder) {
                        tracing::info!(lease = self.name, %holder, "standing by");
                    }
                    waits_for = Some(holder);
                }
                Ok(Err(error)) => {
                    tracing::warn!(lease = self.name, "cannot claim or renew: {}", said(&error));
                }
                Err(_) => tracing::warn!(lease = self.name, "the API server does not answer"),
            }
            let until = *self.until.borrow();
            let next = (began + timing.retry()).min(until.unwrap_or(began + timing.retry()));
            tokio::select! {
                () = tokio::time::sleep_until(next) => {}
                () = stop.cancelled() => return Ok(()),
            }
            if until.is_some_and(|until| Instant::now() >= until) {
                self.until.send_replace(None);
                return Err(LeaseError::NotRenewed { name: self.name.clone(), after: timing.deadline() });
            }
        }
    }

    /// Lets go of the Lease, if we have it, so that nobody has to wait. Call it when the sessions are let go of.
    pub async fn release(&mut self) {
        let released = tokio::time::timeout(self.election.timing().patience(), self.try_release()).await;
        match released {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(lease = self.name, "cannot let go: {}", said(&error)),
            Err(_) => tracing::warn!(lease = self.name, "cannot let go: the API server does not answer"),
        }
    }

    /// Who leads, if it is not us.
    async fn attempt(&mut self) -> Result<Option<String>, kube::Error> {
        let lease = self.api.get_opt(&self.name).await?;
        let decision = self.election.decide(lease.as_ref(), self.started.elapsed(), Timestamp::now());
        // A conflict is an error as any other: the next look tells who has it.
        match (decision, lease) {
            (Move::Wait(holder), _) => return Ok(Some(holder)),
            (Move::Create(spec), _) => {
                let metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
                self.api.create(&PostParams::default(), &Lease { metadata, spec: Some(spec) }).await?
            }
            (Move::Replace(spec), lease) => self.replace(lease.unwrap_or_default(), spec).await?,
        };
        Ok(None)
    }

    /// Fails if somebody else has written it since it was read.
    async fn replace(&self, lease: Lease, spec: LeaseSpec) -> Result<Lease, kube::Error> {
        let lease = Lease { spec: Some(spec), ..lease };
        self.api.replace(&self.name, &PostParams::default(), &lease).await
    }

    async fn try_release(&self) -> Result<(), kube::Error> {
        let Some(lease) = self.api.get_opt(&self.name).await? else { return Ok(()) };
        let released = lease.spec.as_ref().and_then(|spec| self.election.released(spec));
        if let Some(spec) = released {
            self.replace(lease, spec).await?;
        }
        Ok(())
    }
}
