//! Events on Services, when what is refused changes. Best effort: nothing waits for them.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::sync::Semaphore;
use tracing::Instrument;

use super::metrics::Told;
use crate::api_error::said;
use crate::metrics::CounterBy;
use crate::model::{ANNOTATION_PREFIX, EnsembleName, Service, ServiceKey};
use crate::plan::{Reason, Refusal};

/// Reports transitions.
#[derive(Clone)]
pub(crate) struct Events {
    recorder: Recorder,
    /// Events under way; further ones are dropped, and the log has them.
    room: Arc<Semaphore>,
    /// Those that are being written; the others wait for their turn.
    turn: Arc<Semaphore>,
    told: CounterBy<Told>,
    refusals: CounterBy<Reason>,
    /// What notes begin with.
    ensemble: String,
}

/// Ten thousand Services may be wrong at once, each in two ways; an Event has 1 kB.
const UNDER_WAY: usize = 20_000;
const AT_ONCE: usize = 16;
const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);
/// The API server's limit on a note, in bytes, less room for an ellipsis.
const NOTE_BYTES: usize = 1_000;

impl Events {
    /// Those of the first ensemble do not name it.
    pub(super) fn new(
        client: Client,
        ensemble: &EnsembleName,
        told: CounterBy<Told>,
        refusals: CounterBy<Reason>,
    ) -> Self {
        let ensemble = match ensemble.is_default() {
            true => String::new(),
            false => format!("ensemble {ensemble}: "),
        };
        let reporter =
            Reporter { controller: "zoobridge".to_owned(), instance: std::env::var("POD_NAME").ok() };
        let (room, turn) = (Arc::new(Semaphore::new(UNDER_WAY)), Arc::new(Semaphore::new(AT_ONCE)));
        Events { recorder: Recorder::new(client, reporter), room, turn, told, refusals, ensemble }
    }

    /// What is refused now and was not before, each as a warning; and once, that nothing is any more.
    pub(super) fn changed(&self, service: &Service, before: &BTreeSet<Refusal>, now: &BTreeSet<Refusal>) {
        for refusal in now.difference(before) {
            self.refusals.inc(refusal.reason());
            tracing::warn!(service = %service.key, reason = refusal.event_reason(), "{refusal}");
            self.publish(
                service,
                EventType::Warning,
                refusal.event_reason(),
                refusal.to_string(),
                Some(refusal),
            );
        }
        if now.is_empty() && !before.is_empty() {
            tracing::info!(service = %service.key, "all that was refused is published");
            let note = "everything that was asked for is published".to_owned();
            self.publish(service, EventType::Normal, "Published", note, None);
        }
    }

    /// The recorder counts an Event that differs from an earlier one in nothing but its note; so what it is
    /// about must be said in other fields too.
    fn publish(
        &self,
        service: &Service,
        type_: EventType,
        reason: &str,
        note: String,
        refusal: Option<&Refusal>,
    ) {
        let about = ObjectReference {
            field_path: refusal
                .and_then(Refusal::annotation)
                .map(|annotation| format!("metadata.annotations[{ANNOTATION_PREFIX}{annotation}]")),
            ..reference(&service.key, &service.uid, &service.resource_version)
        };
        let znode = refusal.and_then(Refusal::path).map(|path| ObjectReference {
            kind: Some("Znode".to_owned()),
            name: Some(path.to_string()),
            ..ObjectReference::default()
        });
        self.tell(about, znode, type_, reason, note);
    }

    /// An Event about an object, and what else it is about.
    pub(crate) fn tell(
        &self,
        about: ObjectReference,
        secondary: Option<ObjectReference>,
        type_: EventType,
        reason: &str,
        note: String,
    ) {
        let mut note = format!("{}{note}", self.ensemble);
        let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() else {
            return self.told.inc(Told::Dropped);
        };
        if note.len() > NOTE_BYTES {
            let end = (0..=NOTE_BYTES).rev().find(|&end| note.is_char_boundary(end)).unwrap_or(0);
            note.truncate(end);
            note.push('…');
        }
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(note),
            action: "Publish".to_owned(),
            secondary,
        };
        let (recorder, told, turn) = (self.recorder.clone(), self.told.clone(), Arc::clone(&self.turn));
        let publish = async move {
            let _permit = permit;
            let _turn = turn.acquire().await;
            let published = tokio::time::timeout(TIMEOUT, recorder.publish(&event, &about)).await;
            told.inc(if matches!(published, Ok(Ok(()))) { Told::Written } else { Told::Failed });
            match published {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!("cannot write an Event: {}", said(&error)),
                Err(_) => tracing::warn!("cannot write an Event: no answer within {TIMEOUT:?}"),
            }
        };
        tokio::spawn(publish.in_current_span());
    }
}

/// One state of a Service.
pub(crate) fn reference(key: &ServiceKey, uid: &str, resource_version: &str) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Service".to_owned()),
        namespace: Some(key.namespace.to_string()),
        name: Some(key.name.to_string()),
        uid: Some(uid.to_owned()),
        resource_version: Some(resource_version.to_owned()),
        field_path: None,
    }
}
