//! HTTP for those who watch over a process: `/metrics`, `/live` and `/ready`.
//!
//! Nothing here asks anything outside the process. There is no authentication, and there are no secrets to
//! be had: bind a loopback address or use a NetworkPolicy to keep it to yourself.

mod pulse;

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::proto::MetricFamily;
use prometheus::{TEXT_FORMAT, TextEncoder};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use pulse::Pulse;

/// Why something is not live or not ready, in words that are constants, but for the names of ensembles.
pub type Reason = Cow<'static, str>;

/// What is watched over.
pub trait Subject: Send + Sync + 'static {
    /// Does its main loop go on? If not, only a restart helps.
    fn live(&self) -> impl Future<Output = Result<(), Reason>> + Send;

    /// Does it do what it is there for?
    fn ready(&self) -> impl Future<Output = Result<(), Reason>> + Send;

    /// What it counts.
    fn families(&self) -> impl Future<Output = Result<Vec<MetricFamily>, &'static str>> + Send;
}

/// A running HTTP server. Dropping it stops it without waiting.
#[derive(Debug)]
pub struct HttpServer {
    address: SocketAddr,
    _stop: DropGuard,
}

/// Why there is no HTTP server.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for metrics and health")]
pub struct HttpError {
    /// The address wanted.
    pub address: SocketAddr,
    /// Why not.
    #[source]
    pub source: std::io::Error,
}

impl HttpServer {
    /// Starts to serve; port 0 takes a free one.
    ///
    /// # Errors
    /// The address cannot be had.
    pub async fn start(address: SocketAddr, subject: impl Subject) -> Result<HttpServer, HttpError> {
        let failed = |source| HttpError { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let stop = CancellationToken::new();
        tracing::info!(%address, "serving /metrics, /live and /ready");
        let serving = axum::serve(listener, router(Arc::new(subject)));
        // It never ends by itself.
        tokio::spawn(stop.clone().run_until_cancelled_owned(serving.into_future()));
        Ok(HttpServer { address, _stop: stop.drop_guard() })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

fn router<S: Subject>(subject: Arc<S>) -> Router {
    let live = async |State(subject): State<Arc<S>>| health(subject.live().await);
    let ready = async |State(subject): State<Arc<S>>| health(subject.ready().await);
    let metrics = async |State(subject): State<Arc<S>>| text(subject.families().await);
    Router::new()
        .route("/live", get(live))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .with_state(subject)
}

fn health(health: Result<(), Reason>) -> Response {
    match health {
        Ok(()) => "ok\n".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

fn text(families: Result<Vec<MetricFamily>, &'static str>) -> Response {
    let families = match families {
        Ok(families) => families,
        Err(reason) => return health(Err(reason.into())),
    };
    match TextEncoder::new().encode_to_string(&families) {
        Ok(text) => ([(CONTENT_TYPE, TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}
