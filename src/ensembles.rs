//! The ensembles of a process. Each has a bridge and an importer, with watches, sessions, Secret and fence of its own,
//! so that nothing that happens to one holds up another; all they share is who leads.
//!
//! ```text
//!             ┌──▶ Bridge, Importer ──▶ ensemble default
//!   Lease ────┤
//!             └──▶ Bridge, Importer ──▶ ensemble legacy ──failed──▶ a while later, again
//! ```

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use kube::Client;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{Instrument, Span};

use crate::apply::{Bridge, BridgeError, Instruments};
use crate::config::{Config, ConfigError};
use crate::observe::watch::observations;
use crate::plan::{Roots, Rules};
use crate::reverse::{ImportError, ImportStatus, Importer};
use crate::session::{CredentialStore, Leadership, PoolConfig, PoolError, PoolStart};

/// All ensembles of a configuration.
pub struct Ensembles(Vec<Arc<Ensemble>>);

/// One of them.
struct Ensemble {
    config: Config,
    pool: PoolConfig,
    roots: Roots,
    store: CredentialStore,
    rules: watch::Receiver<Rules>,
    client: Client,
    /// The one that the bridge runs in.
    namespace: String,
    instruments: Instruments,
    imports: watch::Sender<ImportStatus>,
    span: Span,
}

/// Why an ensemble's bridge and importer ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Bridge(#[from] BridgeError),
    #[error(transparent)]
    Imports(#[from] ImportError),
    #[error("the bridge panicked")]
    Panicked,
}

/// Before the first attempt after a failure, and the longest pause. A bridge that lasts so long begins with the first
/// again.
const AGAIN_FIRST: Duration = Duration::from_secs(1);
const AGAIN_MOST: Duration = Duration::from_secs(30);
const LASTING: Duration = Duration::from_secs(60);
/// How often it is told that a bridge has failed: whoever tells nothing hangs.
const TELL: Duration = Duration::from_secs(1);

impl Ensembles {
    /// Bridges that have not looked at anything yet, with rules that may change. `namespace` is the one that they run in,
    /// and `store` is where an ensemble's sessions are kept.
    ///
    /// # Errors
    /// The configuration makes no sense.
    pub fn new(
        config: &Config,
        rules: &watch::Receiver<Rules>,
        client: &Client,
        namespace: &str,
        store: impl Fn(&Config) -> CredentialStore,
    ) -> Result<Self, ConfigError> {
        let each = config.each();
        let are_several = each.len() > 1;
        let all = each.into_iter().map(|config| {
            let name = &config.ensemble;
            let span =
                if are_several { tracing::info_span!("bridge", ensemble = %name) } else { Span::none() };
            Ok(Arc::new(Ensemble {
                pool: PoolConfig {
                    ensemble: config.zookeeper.ensemble()?,
                    own: config.own()?,
                    records: config.history.records,
                    limit: config.sessions.limit,
                },
                roots: config.roots()?,
                store: store(&config),
                rules: rules.clone(),
                client: client.clone(),
                namespace: namespace.to_owned(),
                instruments: Instruments::of(name.clone()),
                imports: watch::Sender::default(),
                span,
                config,
            }))
        });
        all.collect::<Result<_, _>>().map(Ensembles)
    }

    /// What each tells of itself, the first one first.
    pub fn instruments(&self) -> impl Iterator<Item = &Instruments> {
        self.0.iter().map(|ensemble| &ensemble.instruments)
    }

    /// What the imports of each are doing, the first one first.
    pub fn imports(&self) -> impl Iterator<Item = watch::Receiver<ImportStatus>> {
        self.0.iter().map(|ensemble| ensemble.imports.subscribe())
    }

    /// Bridges all of them until stopped. One that fails is started again after a while, but for what only another
    /// process mends: that ends all.
    ///
    /// # Errors
    /// The first failure that ends all.
    pub async fn run(self, leadership: Leadership, stop: CancellationToken) -> anyhow::Result<()> {
        let ending = stop.child_token();
        let keeping = self.0.iter().map(|ensemble| async {
            let kept = self.keep(ensemble, &leadership, &ending).await;
            ending.cancel();
            kept
        });
        let kept = futures::future::join_all(keeping).await;
        Ok(kept.into_iter().collect::<Result<(), Ended>>()?)
    }

    async fn keep(
        &self,
        ensemble: &Arc<Ensemble>,
        leadership: &Leadership,
        stop: &CancellationToken,
    ) -> Result<(), Ended> {
        let mut delays = delays();
        loop {
            let began = Instant::now();
            let bridging = Arc::clone(ensemble).bridge(leadership.clone(), stop.child_token());
            let bridging = AbortOnDropHandle::new(tokio::spawn(bridging.instrument(ensemble.span.clone())));
            let Err(ended) = bridging.await.unwrap_or(Err(Ended::Panicked)) else { return Ok(()) };
            if stop.is_cancelled() || self.ends_all(ensemble, &ended, leadership) {
                return Err(ended);
            }
            if began.elapsed() > LASTING {
                delays = self::delays();
            }
            let delay = delays.next().unwrap_or(AGAIN_MOST);
            let (name, reason) = (&ensemble.config.ensemble, anyhow::Error::from(ended));
            tracing::error!(ensemble = %name, ?delay, "the bridge has failed and is started again: {reason:#}");
            let again = tokio::time::sleep(delay);
            if stop.run_until_cancelled(ensemble.tell_of_failure(again)).await.is_none() {
                return Ok(());
            }
            ensemble.instruments.restarted();
        }
    }

    /// Is there nobody who would be held up if the process ended, or must it end?
    fn ends_all(&self, failed: &Arc<Ensemble>, ended: &Ended, leadership: &Leadership) -> bool {
        let mut others = self.0.iter().filter(|other| !Arc::ptr_eq(other, failed));
        match ended {
            // A new process stands by, or tries again; that is what it is for.
            _ if self.0.len() == 1 => true,
            // Without a Lease only the fence tells that another process leads. With one, somebody else has taken over
            // this ensemble alone: another cluster of our name, most often.
            Ended::Bridge(BridgeError::Fenced) => matches!(leadership, Leadership::Sole),
            // Where we reach nobody, another replica may.
            Ended::Bridge(BridgeError::Pool(error)) if matches!(**error, PoolError::Unreachable(_)) => {
                !others.any(|other| other.instruments.status().borrow().attached > 0)
            }
            _ => false,
        }
    }
}

impl Ensemble {
    /// Both directions. When one ends, the other does: what one of them cannot mend, to begin anew may.
    async fn bridge(self: Arc<Self>, leadership: Leadership, stop: CancellationToken) -> Result<(), Ended> {
        tracing::info!(zookeeper = %self.config.zookeeper.connect, "starting");
        let pool = PoolStart {
            config: self.pool.clone(),
            store: self.store.clone(),
            leadership: leadership.clone(),
        };
        let (client, instruments) = (self.client.clone(), self.instruments.clone());
        let importer = Importer::new(
            &self.config,
            self.pool.ensemble.clone(),
            client.clone(),
            leadership,
            &self.namespace,
            instruments.clone(),
            self.imports.clone(),
        );
        let audit = self.config.zookeeper.audit_interval;
        let bridge = Bridge::new(
            self.rules.clone(),
            self.roots.clone(),
            client.clone(),
            pool,
            audit,
            instruments.clone(),
        );
        let bridge = bridge.under(self.config.policy);
        let (pool, nodes) = (bridge.pool(), bridge.needs_nodes());
        let forward = async {
            let observe = || observations(&client, &instruments.watches, nodes);
            let ended = bridge.run(observe, stop.clone()).await;
            stop.cancel();
            ended
        };
        let reverse = async {
            let ended = importer.run(pool, stop.clone()).await;
            stop.cancel();
            ended
        };
        let (forward, reverse) = tokio::join!(forward, reverse);
        forward?;
        Ok(reverse?)
    }

    async fn tell_of_failure(&self, until: impl Future<Output = ()>) {
        let mut until = std::pin::pin!(until);
        let mut tell = tokio::time::interval(TELL);
        loop {
            tokio::select! {
                () = &mut until => return,
                _ = tell.tick() => self.instruments.failed(),
            }
        }
    }
}

fn delays() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(AGAIN_FIRST)
        .with_max_delay(AGAIN_MOST)
        .without_max_times()
        .with_jitter()
        .build()
}
