//! The owner's side of a session: attach, ask, listen, detach or close.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use zk_wire::acl::Acl;
use zk_wire::codes::{AddWatchMode, CreateMode, ErrorCode, WatcherType};
use zk_wire::ids::Zxid;
use zk_wire::jute::DEFAULT_MAX_BUFFER;
use zk_wire::multi::{MultiResult, WriteOp};
use zk_wire::path;
use zk_wire::reply::{Response, WatcherEvent};
use zk_wire::request::{
    AddWatchRequest, CreateRequest, DeleteRequest, PathRequest, Request, SetDataRequest, WatchedRead,
    WatchesRequest,
};
use zk_wire::stat::Stat;

use crate::chroot::{Chroot, is_below, paths_mut};
use crate::credentials::{Credentials, Permit};
use crate::driver::{Ask, Driver, handshake};
use crate::error::{AttachError, Lost, MultiFailure, RequestError};
use crate::sasl::{self, SaslUser};
use crate::watches::WatchSet;

/// Which session to attach to.
#[derive(Debug, Clone)]
pub enum Opening {
    /// A new one.
    New {
        /// The timeout asked for; the server bounds it.
        timeout: Duration,
    },
    /// One that exists, with the watches that it had.
    Resume(Credentials, WatchSet),
}

/// How a connection behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// Identities, added before any other request.
    pub auth: Vec<Auth>,
    /// Who we are by SASL DIGEST-MD5, which is proven before all others.
    pub sasl: Option<SaslUser>,
    /// Prefix of all paths; empty for none. It must exist.
    pub chroot: String,
    /// The longest frame, in either direction, in bytes (`jute.maxbuffer`).
    pub max_frame: usize,
    /// Requests that may wait for their turn; further ones hold up whoever asks.
    pub queue: usize,
    /// Requests that may wait for their answer.
    pub in_flight: usize,
    /// How long the server may take to answer the first message. An owner with several servers, or with a
    /// session to save, derives it from the session timeout: connecting and all handshakes that may fail
    /// before one succeeds must fit into what is left of it.
    pub handshake: Duration,
    /// Events that may wait for the owner; beyond that he gets one [`Event::Overflow`], as soon as there is
    /// room for it.
    pub events: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            auth: Vec::new(),
            sasl: None,
            chroot: String::new(),
            max_frame: DEFAULT_MAX_BUFFER,
            queue: 1024,
            in_flight: 1024,
            handshake: Duration::from_secs(10),
            events: 64 * 1024,
        }
    }
}

/// An identity. Its `Debug` hides the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Auth {
    /// `digest`, …
    pub scheme: String,
    /// The credentials in that scheme's form, `user:password` for digest.
    pub secret: Bytes,
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth").field("scheme", &self.scheme).finish_non_exhaustive()
    }
}

/// What a connection reports without being asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A watch fired. Events outside the chroot are left out.
    Watch(WatcherEvent),
    /// Events were dropped, since the owner did not take them: read again whatever is watched.
    Overflow,
}

/// The events of one connection, in the server's order. It ends with the connection.
pub type Events = mpsc::Receiver<Event>;

/// One session on one connection. Dropping it drops the connection and leaves the session alive.
#[derive(Debug)]
pub struct Session {
    credentials: Credentials,
    resumed: bool,
    chroot: Chroot,
    last_zxid: Arc<AtomicI64>,
    asks: mpsc::Sender<Ask>,
    lost: watch::Receiver<Option<Lost>>,
    max_frame: usize,
    /// Tells the driver, whatever it is waiting for.
    _detach: DropGuard,
}

/// Attaches to a session over a fresh stream. Must be called within a tokio runtime.
///
/// # Errors
/// See [`AttachError`]; only `Expired` means that the session is gone.
pub async fn attach<S>(
    stream: S,
    permit: Permit,
    opening: Opening,
    options: Options,
) -> Result<(Session, Events), AttachError>
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let Permit { .. } = permit;
    let (mut reader, mut writer) = tokio::io::split(stream);
    let (resumed, watches, seen) = match &opening {
        Opening::New { .. } => (false, WatchSet::default(), Zxid::ZERO),
        Opening::Resume(credentials, watches) => (true, watches.clone(), credentials.last_zxid),
    };
    let greeting = async {
        let (credentials, mut rest) = handshake(&mut reader, &mut writer, opening, options.max_frame).await?;
        if let Some(user) = &options.sasl {
            let nonce = uuid::Uuid::new_v4().simple().to_string();
            sasl::prove(&mut reader, &mut writer, &mut rest, user, &nonce, options.max_frame).await?;
        }
        Ok::<_, AttachError>((credentials, rest))
    };
    let (credentials, rest) =
        tokio::time::timeout(options.handshake, greeting).await.map_err(|_| Lost::Silent)??;

    let chroot = Chroot::new(&options.chroot);
    let last_zxid = Arc::new(AtomicI64::new(seen.0));
    let (asks, asks_rx) = mpsc::channel(options.queue.max(1));
    let (events_tx, events) = mpsc::channel(options.events.max(1));
    let (lost_tx, lost) = watch::channel(None);
    let detached = CancellationToken::new();
    let mut driver = Driver::new(
        reader,
        writer,
        rest,
        &credentials,
        &options,
        chroot.clone(),
        Arc::clone(&last_zxid),
        asks_rx,
        detached.clone(),
        events_tx,
    );
    driver.greet(&options.auth, watches.requests(seen, &chroot, options.max_frame));
    tokio::spawn(async move {
        let lost = driver.run().await;
        tracing::debug!(%lost, "connection ended");
        lost_tx.send_replace(Some(lost));
    });
    let session = Session {
        credentials,
        resumed,
        chroot,
        last_zxid,
        asks,
        lost,
        max_frame: options.max_frame,
        _detach: detached.drop_guard(),
    };
    if !options.auth.is_empty() {
        session.confirm_auth(&options.auth).await?;
    }
    Ok((session, events))
}

impl Session {
    /// What it takes to resume this session, with the newest zxid seen so far.
    #[must_use]
    pub fn credentials(&self) -> Credentials {
        Credentials { last_zxid: Zxid(self.last_zxid.load(Ordering::Acquire)), ..self.credentials.clone() }
    }

    /// Did this session exist before?
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.resumed
    }

    /// Completes when the connection is lost, and says why.
    pub async fn lost(&self) -> Lost {
        let mut lost = self.lost.clone();
        match lost.wait_for(Option::is_some).await {
            Ok(lost) => lost.clone().unwrap_or(Lost::Detached),
            Err(_) => Lost::Detached,
        }
    }

    /// Ends the session at the server: its ephemerals go. The only thing that does.
    ///
    /// # Errors
    /// The connection was lost; whether the session ended is then unknown, but it ends by its timeout.
    pub async fn close(self) -> Result<(), RequestError> {
        self.ask(&Request::CloseSession).await.map(|_| ())
    }

    /// Sends one request and waits for its answer. Several may be under way; they are sent and answered in
    /// the order in which they got their place in the queue.
    ///
    /// Pings, identities and the session's end are not for this method.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn request(&self, mut request: Request) -> Result<Response, RequestError> {
        if matches!(request, Request::Ping | Request::Auth(_) | Request::CloseSession) {
            return Err(RequestError::Reserved(request.op()));
        }
        for path in paths_mut(&mut request) {
            check_path(path)?;
        }
        self.chroot.request(&mut request);
        self.ask(&request).await
    }

    /// Sends a request with the server's paths and waits for its answer.
    async fn ask(&self, request: &Request) -> Result<Response, RequestError> {
        let (reply, answer) = oneshot::channel();
        let ask = Ask::encode(request, self.max_frame, reply)?;
        if self.asks.send(ask).await.is_err() {
            return Err(RequestError::NotSent(self.lost().await));
        }
        match answer.await {
            Ok(answer) => answer,
            // The driver is gone without a word, as when its runtime shuts down.
            Err(_) => Err(RequestError::Unknown(self.lost().await)),
        }
    }

    /// Creates a znode; returns its path, which has a number appended in sequential modes, and its stat.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn create(
        &self,
        path: &str,
        data: impl Into<Bytes>,
        acl: Vec<Acl>,
        mode: CreateMode,
    ) -> Result<(String, Stat), RequestError> {
        let create = CreateRequest { path: path.to_owned(), data: Some(data.into()), acl, mode };
        let request = if mode == CreateMode::Container {
            Request::CreateContainer(create)
        } else {
            Request::Create2(create)
        };
        match self.request(request).await? {
            Response::Create2(created) => Ok((created.path, created.stat)),
            _ => Err(unexpected()),
        }
    }

    /// Deletes a znode at a version; -1 for any.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn delete(&self, path: &str, version: i32) -> Result<(), RequestError> {
        self.request(Request::Delete(DeleteRequest { path: path.to_owned(), version })).await.map(|_| ())
    }

    /// Replaces the data at a version; -1 for any.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn set(&self, path: &str, data: impl Into<Bytes>, version: i32) -> Result<Stat, RequestError> {
        let set = SetDataRequest { path: path.to_owned(), data: Some(data.into()), version };
        match self.request(Request::SetData(set)).await? {
            Response::Stat(set) => Ok(set.stat),
            _ => Err(unexpected()),
        }
    }

    /// Data and stat; `None` if there is no such znode.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn get(&self, path: &str) -> Result<Option<(Bytes, Stat)>, RequestError> {
        match absent(self.request(Request::GetData(unwatched(path))).await)? {
            Some(Response::Data(read)) => Ok(Some((read.data.unwrap_or_default(), read.stat))),
            Some(_) => Err(unexpected()),
            None => Ok(None),
        }
    }

    /// The stat; `None` if there is no such znode.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn exists(&self, path: &str) -> Result<Option<Stat>, RequestError> {
        match absent(self.request(Request::Exists(unwatched(path))).await)? {
            Some(Response::Stat(read)) => Ok(Some(read.stat)),
            Some(_) => Err(unexpected()),
            None => Ok(None),
        }
    }

    /// Names of the children and the stat; `None` if there is no such znode.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn children(&self, path: &str) -> Result<Option<(Vec<String>, Stat)>, RequestError> {
        match absent(self.request(Request::GetChildren2(unwatched(path))).await)? {
            Some(Response::Children2(read)) => Ok(Some((read.children, read.stat))),
            Some(_) => Err(unexpected()),
            None => Ok(None),
        }
    }

    /// Carries out all ops or none.
    ///
    /// # Errors
    /// [`RequestError::Multi`] names the op that failed.
    pub async fn multi(&self, ops: Vec<WriteOp>) -> Result<Vec<MultiResult>, RequestError> {
        let results = match self.request(Request::Multi(ops)).await? {
            Response::Multi(results) => results.0,
            _ => return Err(unexpected()),
        };
        // The ops before the culprit say Ok (0), those behind it RuntimeInconsistency.
        let culprit = results.iter().enumerate().find_map(|(index, result)| match result {
            MultiResult::Error(code) if !matches!(*code, ErrorCode::Ok | ErrorCode::RuntimeInconsistency) => {
                Some((index, *code))
            }
            _ => None,
        });
        match culprit {
            None if results.iter().any(|result| matches!(result, MultiResult::Error(_))) => {
                Err(RequestError::Refused(ErrorCode::RuntimeInconsistency))
            }
            None => Ok(results),
            Some((index, code)) => Err(RequestError::Multi(MultiFailure { index, code, results })),
        }
    }

    /// Waits until this server has applied everything that its leader had committed.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn sync(&self, path: &str) -> Result<(), RequestError> {
        self.request(Request::Sync(PathRequest { path: path.to_owned() })).await.map(|_| ())
    }

    /// Adds a persistent watch; the path need not exist. The watch lives in this connection.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn add_watch(&self, path: &str, mode: AddWatchMode) -> Result<(), RequestError> {
        self.request(Request::AddWatch(AddWatchRequest { path: path.to_owned(), mode })).await.map(|_| ())
    }

    /// Removes the persistent watch of one mode on a path. Events that are under way still arrive.
    ///
    /// Servers before 3.9 cannot tell the kinds apart; there it removes every watch of this connection on the
    /// path.
    ///
    /// # Errors
    /// See [`RequestError`]; `Refused(NoWatcher)` if there was none.
    pub async fn remove_watch(&self, path: &str, mode: AddWatchMode) -> Result<(), RequestError> {
        let kind = match mode {
            AddWatchMode::Persistent => WatcherType::Persistent,
            AddWatchMode::PersistentRecursive => WatcherType::PersistentRecursive,
            _ => return Err(RequestError::Refused(ErrorCode::BadArguments)),
        };
        let request = WatchesRequest { path: path.to_owned(), kind };
        match self.request(Request::RemoveWatches(request)).await {
            // `WatcherType.fromInt` fails as decoding does.
            Err(RequestError::Refused(ErrorCode::MarshallingError)) => self.remove_watches(path).await,
            removed => removed.map(|_| ()),
        }
    }

    /// Registers many watches at once, as a resume does: for a new session that takes the place of an expired
    /// one. One-shot watches report what changes from now on, that is, since the newest transaction that this
    /// session has seen. After an error some of the watches may be registered.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn restore_watches(&self, watches: &WatchSet) -> Result<(), RequestError> {
        watches.paths().try_for_each(|path| check_path(path))?;
        if self.credentials().last_zxid == Zxid::ZERO && !watches.is_empty() {
            // The first answer of any kind tells what is now.
            match self.exists("/").await {
                Ok(_) | Err(RequestError::Refused(_)) => {}
                Err(error) => return Err(error),
            }
        }
        let seen = self.credentials().last_zxid;
        for request in watches.requests(seen, &self.chroot, self.max_frame) {
            self.ask(&request).await?;
        }
        Ok(())
    }

    /// Removes every watch of this connection on a path.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn remove_watches(&self, path: &str) -> Result<(), RequestError> {
        let request = WatchesRequest { path: path.to_owned(), kind: WatcherType::Any };
        self.request(Request::RemoveWatches(request)).await.map(|_| ())
    }

    /// The session's own ephemerals at a prefix or below it, in no order.
    ///
    /// # Errors
    /// See [`RequestError`]; servers before 3.6 answer `Unimplemented`.
    pub async fn ephemerals(&self, prefix: &str) -> Result<Vec<String>, RequestError> {
        match self.request(Request::GetEphemerals(PathRequest { path: prefix.to_owned() })).await? {
            Response::Strings(mut paths) => {
                // Servers compare characters, not components.
                paths.strings.retain(|path| is_below(path, prefix));
                Ok(paths.strings)
            }
            _ => Err(unexpected()),
        }
    }

    /// Servers answer a bad identity with AuthFailed and close; a request behind it shows which it was.
    async fn confirm_auth(&self, auth: &[Auth]) -> Result<(), AttachError> {
        match self.request(Request::Exists(unwatched("/"))).await {
            Err(RequestError::Refused(ErrorCode::AuthFailed | ErrorCode::SessionClosedRequireSaslAuth)) => {
                let scheme = auth.iter().map(|a| a.scheme.as_str()).collect::<Vec<_>>().join(", ");
                Err(AttachError::AuthFailed { scheme })
            }
            Err(RequestError::NotSent(lost) | RequestError::Unknown(lost)) => Err(lost.into()),
            _ => Ok(()),
        }
    }
}

fn check_path(path: &str) -> Result<(), RequestError> {
    match path::validate(path) {
        Err(reason) if !is_sequential_parent(path) => {
            Err(RequestError::Path { path: path.to_owned(), reason })
        }
        _ => Ok(()),
    }
}

fn unwatched(path: &str) -> WatchedRead {
    WatchedRead { path: path.to_owned(), watch: false }
}

/// Sequential creates may end with a slash: the number becomes the name.
fn is_sequential_parent(path: &str) -> bool {
    path.strip_suffix('/').is_some_and(|parent| path::validate(parent).is_ok())
}

fn absent(result: Result<Response, RequestError>) -> Result<Option<Response>, RequestError> {
    match result {
        Ok(response) => Ok(Some(response)),
        Err(RequestError::Refused(ErrorCode::NoNode)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The driver decodes by the request's own kind, so this cannot happen; it is an error all the same.
fn unexpected() -> RequestError {
    RequestError::Unknown(Lost::Protocol("an answer of another kind".to_owned()))
}
