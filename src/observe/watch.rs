//! The watches themselves: they go on for ever, back off on errors, and say what went wrong.

use std::fmt::Debug;

use futures::{Stream, StreamExt};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;

use crate::api_error::said;

use super::metrics::{WatchMetrics, Watched};
use super::objects::{ServiceObject, SliceObject};
use super::store::Observation;

/// The API server ends a watch after so long, and the watcher asks again from where it was. If it hears
/// nothing for 5 s more, not even the end, kube's watcher takes the connection for dead
/// (`next_with_idle_timeout`). That covers a watch once it is answered; a list, and the answer to the request
/// for a watch, are only limited by the client's `read_timeout`, which must be longer than this.
pub const WATCH_SECONDS: u32 = 60;

/// Watches Services and EndpointSlices of all namespaces. Never ends.
pub fn observations(
    client: &Client,
    metrics: &WatchMetrics,
) -> impl Stream<Item = Observation> + Send + use<> {
    let watched = |watched| (client.clone(), metrics.clone(), watched);
    let services = watch::<ServiceObject>(watched(Watched::Service)).map(Observation::Service);
    let slices = watch::<SliceObject>(watched(Watched::EndpointSlice)).map(Observation::Slice);
    futures::stream::select(services, slices)
}

fn watch<K>(
    (client, metrics, watched): (Client, WatchMetrics, Watched),
) -> impl Stream<Item = watcher::Event<K>> + Send
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let config = watcher::Config::default().timeout(WATCH_SECONDS);
    watcher(Api::<K>::all(client), config).default_backoff().filter_map(move |event| {
        let seen = match event {
            Ok(event) => {
                metrics.observed(watched, &event);
                Some(event)
            }
            Err(watcher::Error::WatchError(status)) if status.code == 410 => {
                tracing::debug!(kind = %K::kind(&()), "the watch is too old; listing again");
                None
            }
            Err(error) => {
                metrics.failed(watched);
                tracing::warn!(kind = %K::kind(&()), "cannot watch, trying again: {}", reason(&error));
                None
            }
        };
        std::future::ready(seen)
    })
}

/// Why a watch broke, in the API server's words where it said something.
fn reason(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(error) => format!("the list failed: {}", said(error)),
        watcher::Error::WatchStartFailed(error) => format!("the watch did not start: {}", said(error)),
        watcher::Error::WatchFailed(error) => format!("the watch failed: {}", said(error)),
        watcher::Error::WatchError(status) => format!("{} ({})", status.message, status.code),
        watcher::Error::NoResourceVersion => error.to_string(),
    }
}
