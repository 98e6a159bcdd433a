//! The watches themselves: they go on for ever, back off on errors, and say what went wrong.

use std::fmt::Debug;

use futures::{Stream, StreamExt};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;

use crate::api_error::said;

use super::metrics::{WatchMetrics, Watched};
use super::objects::{NodeObject, ServiceObject, SliceObject};
use super::store::Observation;

/// The API server ends a watch after so long, and the watcher asks again from where it was. If it hears
/// nothing for 5 s more, not even the end, kube's watcher takes the connection for dead
/// (`next_with_idle_timeout`). That covers a watch once it is answered; a list, and the answer to the request
/// for a watch, are only limited by the client's `read_timeout`, which must be longer than this.
pub const WATCH_SECONDS: u32 = 60;

/// Watches Services and EndpointSlices of all namespaces, and Nodes if somebody needs them. Never ends.
pub fn observations(
    client: &Client,
    metrics: &WatchMetrics,
    nodes: bool,
) -> impl Stream<Item = Observation> + Send + use<> {
    let counted = |watched| Some((metrics.clone(), watched));
    let (services, slices) =
        (Api::<ServiceObject>::all(client.clone()), Api::<SliceObject>::all(client.clone()));
    let config = watcher::Config::default();
    let services = watch(services, config.clone(), counted(Watched::Service)).map(Observation::Service);
    let slices = watch(slices, config.clone(), counted(Watched::EndpointSlice)).map(Observation::Slice);
    let nodes = nodes.then(|| {
        let nodes = Api::<NodeObject>::all(client.clone());
        watch(nodes, config, counted(Watched::Node)).map(Observation::Node)
    });
    futures::stream::select(
        futures::stream::select(services, slices),
        nodes.map_or_else(|| futures::stream::pending().left_stream(), StreamExt::right_stream),
    )
}

/// Watches what `config` selects, and counts it there, if it is. Never ends.
pub(crate) fn watch<K>(
    api: Api<K>,
    config: watcher::Config,
    counted: Option<(WatchMetrics, Watched)>,
) -> impl Stream<Item = watcher::Event<K>> + Send + use<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    watcher(api, config.timeout(WATCH_SECONDS)).default_backoff().filter_map(move |event| {
        let seen = match event {
            Ok(event) => {
                if let Some((metrics, watched)) = &counted {
                    metrics.observed(*watched, &event);
                }
                Some(event)
            }
            Err(watcher::Error::WatchError(status)) if status.code == 410 => {
                tracing::debug!(kind = %K::kind(&()), "the watch is too old; listing again");
                None
            }
            Err(error) => {
                if let Some((metrics, watched)) = &counted {
                    metrics.failed(*watched);
                }
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
