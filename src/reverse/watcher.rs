//! Reads a registry, and goes on reading what changes.
//!
//! The session is for reading and holds nothing. The watch is set before anything is read, and an event only
//! says what to read again, so what was read last is never older than the event that was heard last. Whenever
//! events may have been lost, everything is read again, behind a `sync`; and so it is once in a while, should the watch
//! itself have been.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt, TryStreamExt};
use tokio::sync::mpsc;
use tokio::time::Instant;
use zk_client::{Connector, Credentials, Event, Events, Opening, Options, RequestError, Session, WatchSet};
use zk_wire::codes::AddWatchMode;

use super::plan::{Directory, Finding, Import, Leaf};
use crate::format::MAX_RECORD_BYTES;
use crate::model::ZnodePath;
use crate::session::{AttemptError, Ensemble, Leadership};

/// What happens to an import's registry.
#[derive(Debug)]
pub(super) enum Seen {
    /// Something was read.
    Found(usize, Finding),
    /// All of it was read once more, and this was heard up to then and not read yet.
    Audited(usize, Finding, Arc<BTreeSet<String>>),
    /// Everything is as it was last read, but nothing new is heard of for now.
    Away,
}

/// Why a connection is given up.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("{0}")]
    Attempt(#[from] AttemptError),
    #[error("{0}")]
    Request(#[from] RequestError),
    #[error("the connection was lost")]
    Lost,
    #[error("nobody listens any more")]
    Ended,
}

const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MOST: Duration = Duration::from_secs(5);
/// The longest list of names. A server sends lists beyond its jute.maxbuffer, which bounds what it takes.
const LIST_BYTES: usize = 64 << 20;
/// Reads under way.
const READS: usize = 256;
/// Events that are taken together.
const EVENTS: usize = 1_024;

/// Reads and watches for ever, and reads everything again each `audit`, more or less; ends when nobody listens any more.
pub(super) async fn watch(
    ensemble: Ensemble,
    imports: Vec<Import>,
    audit: Duration,
    seen: mpsc::Sender<Seen>,
) {
    let mut connector = ensemble.connector(0);
    let mut credentials = None;
    let mut pause = PAUSE_FIRST;
    loop {
        let mut connection = Connection {
            ensemble: &ensemble,
            imports: &imports,
            audit,
            seen: &seen,
            read_once: false,
            rootless: BTreeSet::new(),
        };
        let broken = match connection.run(&mut connector, &mut credentials).await {
            Err(Broken::Ended) => return,
            Err(broken) => broken,
            Ok(never) => match never {},
        };
        // What the server refuses to resume, it may give anew.
        if matches!(broken, Broken::Attempt(AttemptError::Attach(_))) {
            credentials = None;
        }
        pause = if connection.read_once { PAUSE_FIRST } else { (pause * 2).min(PAUSE_MOST) };
        tracing::warn!(?pause, "the registry is away, what is imported stays: {broken}");
        if seen.send(Seen::Away).await.is_err() {
            return;
        }
        tokio::time::sleep(pause).await;
    }
}

struct Connection<'w> {
    ensemble: &'w Ensemble,
    imports: &'w [Import],
    audit: Duration,
    seen: &'w mpsc::Sender<Seen>,
    read_once: bool,
    /// Imports whose root was not there.
    rootless: BTreeSet<usize>,
}

impl Connection<'_> {
    async fn run(
        &mut self,
        connector: &mut Connector,
        credentials: &mut Option<Credentials>,
    ) -> Result<std::convert::Infallible, Broken> {
        let opening = match credentials.clone() {
            Some(credentials) => Opening::Resume(credentials, WatchSet::default()),
            None => self.ensemble.new_session(),
        };
        // A session that holds nothing needs no leader.
        let permit = Leadership::Sole.permit();
        let options = Options { max_frame: LIST_BYTES, ..Options::default() };
        let (session, mut events) = self.ensemble.attach(connector, permit, opening, options).await?;
        *credentials = Some(session.credentials());
        let followed = self.follow(&session, &mut events).await;
        *credentials = Some(session.credentials());
        followed
    }

    async fn follow(
        &mut self,
        session: &Session,
        events: &mut Events,
    ) -> Result<std::convert::Infallible, Broken> {
        self.watch(session).await?;
        for (index, finding) in self.read_everything(session).await? {
            self.tell(Seen::Found(index, finding)).await?;
        }
        self.read_once = true;
        let mut audit = self.next_audit();
        loop {
            let heard = tokio::select! {
                event = events.recv() => Heard::of(event.ok_or(Broken::Lost)?).and_more(events, EVENTS),
                () = tokio::time::sleep_until(audit) => {
                    audit = self.next_audit();
                    self.audit(session, events).await?
                }
            };
            if heard.overflow {
                for (index, finding) in self.read_everything(session).await? {
                    self.tell(Seen::Found(index, finding)).await?;
                }
                continue;
            }
            for (index, import) in self.imports.iter().enumerate() {
                let finding = if self.rootless.contains(&index) {
                    read_all(session, import).await?
                } else {
                    read_some(session, import, &heard.paths).await?
                };
                if let Some(finding) = finding {
                    self.rootless.remove(&index);
                    self.tell(Seen::Found(index, finding)).await?;
                }
            }
        }
    }

    async fn watch(&self, session: &Session) -> Result<(), Broken> {
        for root in self.imports.iter().map(|import| &import.root).collect::<BTreeSet<_>>() {
            session.add_watch(root.as_str(), AddWatchMode::PersistentRecursive).await?;
        }
        Ok(())
    }

    /// Not when all others do who were started together.
    fn next_audit(&self) -> Instant {
        Instant::now() + self.audit.mul_f64(0.9 + 0.2 * fastrand::f64())
    }

    /// Watches and reads everything again. An event arrives before whatever was read behind it, so what has changed
    /// and was not heard of is what no watch told.
    async fn audit(&mut self, session: &Session, events: &mut Events) -> Result<Heard, Broken> {
        self.watch(session).await?;
        let found = self.read_everything(session).await?;
        let heard = Heard::default().and_more(events, usize::MAX);
        if !heard.overflow {
            let paths = Arc::new(heard.paths.clone());
            for (index, finding) in found {
                self.tell(Seen::Audited(index, finding, Arc::clone(&paths))).await?;
            }
        }
        Ok(heard)
    }

    /// What is registered below each import's root, by the import's place, behind everything that was committed.
    async fn read_everything(&mut self, session: &Session) -> Result<Vec<(usize, Finding)>, Broken> {
        session.sync("/").await?;
        let mut found = Vec::new();
        for (index, import) in self.imports.iter().enumerate() {
            match read_all(session, import).await? {
                Some(finding) => {
                    self.rootless.remove(&index);
                    found.push((index, finding));
                }
                // A mistake in the configuration, or an ensemble that has lost its data: no reason to delete.
                None => {
                    let (import, root) = (&import.name, &import.root);
                    if self.rootless.insert(index) {
                        tracing::warn!(import, %root, "there is no such root; what is imported stays until it appears");
                    }
                }
            }
        }
        Ok(found)
    }

    async fn tell(&self, seen: Seen) -> Result<(), Broken> {
        self.seen.send(seen).await.map_err(|_| Broken::Ended)
    }
}

/// What the watch has told of.
#[derive(Default)]
struct Heard {
    paths: BTreeSet<String>,
    /// Not all of it.
    overflow: bool,
}

impl Heard {
    /// This alone.
    fn of(event: Event) -> Self {
        let mut heard = Heard::default();
        heard.take(event);
        heard
    }

    /// And what is there already, up to so many paths.
    fn and_more(mut self, events: &mut Events, most: usize) -> Self {
        while self.paths.len() < most
            && let Ok(event) = events.try_recv()
        {
            self.take(event);
        }
        self
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Watch(event) => drop(self.paths.insert(event.path)),
            Event::Overflow => self.overflow = true,
        }
    }
}

/// Everything below an import's root; `None` if there is no root, or none that we may read.
async fn read_all(session: &Session, import: &Import) -> Result<Option<Finding>, RequestError> {
    let children = match session.children(import.root.as_str()).await {
        Ok(Some((children, _))) => children,
        Ok(None) | Err(RequestError::Refused(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let directories: Vec<_> = children
        .iter()
        .filter_map(|child| {
            let (path, service) = directory(import, child)?;
            Some(read_directory(session, import, path, service).boxed())
        })
        .collect();
    let found: Vec<_> = futures::stream::iter(directories).buffer_unordered(16).try_collect().await?;
    let (mut directories, mut unreadable) = (BTreeMap::new(), BTreeSet::new());
    for (path, found) in found {
        match found {
            There::Directory(directory) => drop(directories.insert(path, directory)),
            There::Nothing => {}
            There::Hidden => {
                let import = &import.name;
                tracing::warn!(import, %path, "we may not read this directory; what is imported from it stays");
                unreadable.insert(path);
            }
        }
    }
    Ok(Some(Finding::Everything { directories, unreadable }))
}

/// The directory of a child of the root, if it is one that the import wants.
fn directory(import: &Import, child: &str) -> Option<(ZnodePath, String)> {
    let service = import.format.service_of(child).filter(|service| import.wants(service))?;
    let path = import.root.child(child).ok()?;
    match import.format.between() {
        None => Some((path, service)),
        Some(between) => Some((path.child(between).ok()?, service)),
    }
}

/// What is at the path of a directory.
enum There {
    Nothing,
    /// Something that we may not read.
    Hidden,
    Directory(Directory),
}

async fn read_directory(
    session: &Session,
    import: &Import,
    path: ZnodePath,
    service: String,
) -> Result<(ZnodePath, There), RequestError> {
    let names = match session.children(path.as_str()).await {
        Ok(Some((names, _))) => names,
        Ok(None) => return Ok((path, There::Nothing)),
        Err(RequestError::Refused(_)) => return Ok((path, There::Hidden)),
        Err(error) => return Err(error),
    };
    let paths = names.iter().filter_map(|name| path.child(name).ok());
    let reads = paths.map(|leaf| read_named(session, import, &service, leaf).boxed()).collect::<Vec<_>>();
    let leaves: Vec<_> = futures::stream::iter(reads).buffer_unordered(READS).try_collect().await?;
    let leaves: BTreeMap<_, _> = leaves.into_iter().flatten().collect();
    Ok((path, There::Directory(Directory { service, leaves })))
}

async fn read_named(
    session: &Session,
    import: &Import,
    service: &str,
    path: ZnodePath,
) -> Result<Option<(String, Leaf)>, RequestError> {
    let leaf = read_leaf(session, import, service, &path).await?;
    Ok(leaf.map(|leaf| (path.name().to_owned(), leaf)))
}

async fn read_leaf(
    session: &Session,
    import: &Import,
    service: &str,
    path: &ZnodePath,
) -> Result<Option<Leaf>, RequestError> {
    // Asked first: what is too long to look at is not fetched.
    let Some(stat) = session.exists(path.as_str()).await? else { return Ok(None) };
    let is_long = usize::try_from(stat.data_length).is_ok_and(|length| length > MAX_RECORD_BYTES);
    let (data, stat) = if import.format.is_in_the_name() || is_long {
        (bytes::Bytes::new(), stat)
    } else {
        match session.get(path.as_str()).await {
            Ok(Some(read)) => read,
            Ok(None) => return Ok(None),
            // What we may not read is no instance; the rest goes on.
            Err(RequestError::Refused(_)) => (bytes::Bytes::new(), stat),
            Err(error) => return Err(error),
        }
    };
    Ok(Some(Leaf::read(import, service, path.name(), &stat, &data)))
}

/// What is at these paths now, as far as the import is concerned.
async fn read_some(
    session: &Session,
    import: &Import,
    paths: &BTreeSet<String>,
) -> Result<Option<Finding>, RequestError> {
    let mut directories = BTreeMap::new();
    let mut leaves = BTreeMap::new();
    for path in paths.iter().filter_map(|path| ZnodePath::new(path).ok()) {
        let Some(below) = path.as_str().strip_prefix(import.root.as_str().trim_end_matches('/')) else {
            continue;
        };
        let child = below.trim_start_matches('/').split('/').next().unwrap_or_default();
        let Some((at, service)) = directory(import, child) else { continue };
        if path == at {
            let is_there = session.exists(at.as_str()).await?.is_some();
            directories.insert(at, is_there.then_some(service));
        } else if path.parent().as_ref() == Some(&at) {
            let leaf = read_leaf(session, import, &service, &path).await?;
            if leaf.is_some() {
                // It cannot be there without its directory, whatever was read of that before.
                directories.insert(at, Some(service));
            }
            leaves.insert(path, leaf);
        }
    }
    let is_empty = directories.is_empty() && leaves.is_empty();
    Ok((!is_empty).then_some(Finding::Some { directories, leaves }))
}
