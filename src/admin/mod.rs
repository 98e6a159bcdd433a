//! The AdminServer: Apache's commands over HTTP (`JettyAdminServer`). Its answers are JSON in Jackson's form.
//!
//! Whoever reaches it may read what `4lw.commands.whitelist=*` would show, and set counters back; only a
//! snapshot asks for credentials. So it listens on loopback unless the configuration says otherwise.

mod commands;
mod json;
mod listener;
mod snapshot;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{ConnectInfo, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use zab::{AdminConfig, Reporter};

use commands::Command;
use json::Object;
use listener::{Limited, Peer};
use snapshot::Snapshots;

/// A running AdminServer. Dropping it stops it without waiting.
#[derive(Debug)]
pub struct AdminServer {
    address: SocketAddr,
    _stop: DropGuard,
}

/// Why there is no AdminServer.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address} for the AdminServer: is another server running there? \
     (admin.serverAddress, admin.serverPort; admin.enableServer=false does without)"
)]
pub struct AdminError {
    /// The address wanted.
    pub address: SocketAddr,
    /// Why not.
    #[source]
    pub source: std::io::Error,
}

struct Admin {
    reporter: Reporter,
    config: AdminConfig,
    snapshots: Snapshots,
}

impl AdminServer {
    /// Starts to serve; port 0 takes a free one.
    ///
    /// # Errors
    /// The address cannot be had.
    pub async fn start(config: AdminConfig, reporter: Reporter) -> Result<AdminServer, AdminError> {
        let address = config.address;
        let failed = |source| AdminError { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let stop = CancellationToken::new();
        tracing::info!(%address, url = config.command_url, "serving the commands of the AdminServer");
        let listener = Limited::new(listener, config.idle_timeout);
        let snapshots = Snapshots::new(&config);
        let router =
            Router::new().fallback(answer).with_state(Arc::new(Admin { reporter, config, snapshots }));
        let serving = axum::serve(listener, router.into_make_service_with_connect_info::<Peer>());
        // It never ends by itself.
        tokio::spawn(stop.clone().run_until_cancelled_owned(serving.into_future()));
        Ok(AdminServer { address, _stop: stop.drop_guard() })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// `CommandServlet`.
async fn answer(
    State(admin): State<Arc<Admin>>,
    ConnectInfo(Peer(peer)): ConnectInfo<Peer>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    arguments: Result<Query<HashMap<String, String>>, QueryRejection>,
) -> Response {
    let Some(rest) = uri.path().strip_prefix(admin.config.command_url.as_str()) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let name = match rest {
        "" | "/" => return links(&admin.config.command_url).into_response(),
        _ => match rest.strip_prefix('/') {
            Some(name) => name,
            None => return StatusCode::NOT_FOUND.into_response(),
        },
    };
    let Query(arguments) = arguments.unwrap_or_default();
    let Some(command) = Command::named(name) else {
        return refusal(StatusCode::OK, name, &format!("Unknown command: {name}"));
    };
    let is_read = method == Method::GET || method == Method::HEAD;
    match command {
        Command::Restore | Command::Snapshot => {
            if let Err((status, why)) = snapshot::authorize(&admin.reporter, peer.ip(), &headers).await {
                return refusal(status, name, why);
            }
            match command {
                Command::Snapshot if is_read => admin.snapshots.answer(&admin.reporter, &arguments).await,
                // As if `admin.restore.enabled` were false.
                Command::Restore if method == Method::POST => {
                    finished(StatusCode::SERVICE_UNAVAILABLE, command, Object::default())
                }
                _ => StatusCode::METHOD_NOT_ALLOWED.into_response(),
            }
        }
        _ if !is_read => StatusCode::METHOD_NOT_ALLOWED.into_response(),
        _ => match command.run(&admin.reporter, &arguments).await {
            Some(object) => finished(StatusCode::OK, command, object),
            None => {
                refusal(StatusCode::OK, name, "This ZooKeeper instance is not currently serving requests")
            }
        },
    }
}

/// `CommandResponse.toMap`: an error that is among the data stays where it is.
fn finished(status: StatusCode, command: Command, mut object: Object) -> Response {
    object.put_if_absent("command", command.name());
    object.put_if_absent("error", serde_json::Value::Null);
    text(status, &object)
}

fn refusal(status: StatusCode, name: &str, why: &str) -> Response {
    text(status, &Object::default().with("command", name).with("error", why))
}

fn text(status: StatusCode, object: &Object) -> Response {
    (status, [(CONTENT_TYPE, "application/json")], object.to_text()).into_response()
}

fn links(url: &str) -> Response {
    let link = |name: &str| format!("<a href=\"{url}/{name}\">{name}</a>\n<br/>\n");
    let links: String = commands::names().map(link).collect();
    Response::new(Body::from(links))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use zab::{Server, ServerConfig};

    struct Place {
        admin: AdminServer,
        _server: Server,
        _dir: tempfile::TempDir,
    }

    async fn place(change: impl FnOnce(&mut AdminConfig)) -> Place {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(ServerConfig::local(dir.path().to_owned())).await.unwrap();
        let settings = ["dataDir=/x".to_owned(), "admin.serverPort=0".to_owned()];
        let mut config = ServerConfig::load(None, &settings).unwrap().admin.unwrap();
        change(&mut config);
        let admin = AdminServer::start(config, server.reporter()).await.unwrap();
        Place { admin, _server: server, _dir: dir }
    }

    impl Place {
        /// The head and the body of an answer.
        async fn ask(&self, method: &str, path: &str, headers: &str) -> (String, Vec<u8>) {
            let mut socket = TcpStream::connect(self.admin.address()).await.unwrap();
            let request =
                format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
            socket.write_all(request.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            socket.read_to_end(&mut answer).await.unwrap();
            let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
            let body = answer.split_off(end + 4);
            (String::from_utf8(answer).unwrap(), body)
        }

        async fn get(&self, path: &str) -> (u16, String) {
            let (head, body) = self.ask("GET", path, "").await;
            (status(&head), String::from_utf8(body).unwrap())
        }
    }

    fn status(head: &str) -> u16 {
        head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    #[tokio::test]
    async fn every_command_answers_with_its_name_and_no_error() {
        let place = place(|_| {}).await;
        let (code, links) = place.get("/commands").await;
        assert_eq!((code, links.lines().count()), (200, 2 * commands::names().count()));
        for name in commands::names().filter(|name| !["snapshot", "restore"].contains(name)) {
            let (code, body) = place.get(&format!("/commands/{name}?traceMask=7")).await;
            let object: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert_eq!((code, object["command"].as_str()), (200, Some(name)), "{body}");
            let error = (name == "leader").then_some("server is not initialized");
            assert_eq!(object["error"].as_str(), error, "{body}");
        }
        assert_eq!(
            place.get("/commands/ruok").await,
            (200, "{\n  \"command\" : \"ruok\",\n  \"error\" : null\n}".to_owned())
        );
        assert!(place.get("/commands/gtmk").await.1.contains("\"tracemask\" : 7,"));
    }

    #[tokio::test]
    async fn what_is_no_command_says_so() {
        let place = place(|config| config.command_url = "/zk".to_owned()).await;
        let (code, body) = place.get("/zk/nosuch").await;
        assert_eq!(code, 200);
        assert!(body.contains("\"error\" : \"Unknown command: nosuch\""), "{body}");
        let (_, body) = place.get("/zk/stmk?traceMask=x").await;
        assert!(body.contains("setTraceMask requires long traceMask argument, got x"), "{body}");
        for path in ["/", "/commands/ruok", "/zkx/ruok"] {
            assert_eq!(place.get(path).await.0, 404, "{path}");
        }
        for method in ["POST", "PUT", "TRACE"] {
            assert_eq!(status(&place.ask(method, "/zk/stat_reset", "").await.0), 405, "{method}");
        }
    }

    #[tokio::test]
    async fn a_snapshot_is_for_who_may_have_all_of_it_and_not_too_often() {
        let place = place(|_| {}).await;
        assert_eq!(place.get("/commands/snapshot").await.0, 401);
        for (given, code) in [("digest", 401), ("nosuch x", 401), ("digest a b c", 401)] {
            let headers = format!("Authorization: {given}\r\n");
            assert_eq!(status(&place.ask("GET", "/commands/snapshot", &headers).await.0), code, "{given}");
        }
        let (head, body) = place.ask("GET", "/commands/snapshot", "Authorization: ip\r\n").await;
        assert_eq!(status(&head), 200, "{head}");
        assert!(head.contains("last_zxid: 0x0\r\n"), "{head}");
        assert!(head.contains(&format!("snapshot_size: {}\r\n", body.len())), "{head}");
        assert_eq!(&body[..4], b"ZKSN");
        let (head, _) = place.ask("GET", "/commands/snapshot", "Authorization: ip\r\n").await;
        assert_eq!(status(&head), 429);
        let (head, _) = place.ask("POST", "/commands/restore", "Authorization: ip\r\n").await;
        assert_eq!(status(&head), 503);
    }

    #[tokio::test]
    async fn a_connection_that_is_idle_is_closed() {
        let place = place(|config| config.idle_timeout = Duration::from_millis(50)).await;
        for sent in ["", "GET /commands/ruok HT"] {
            let mut socket = TcpStream::connect(place.admin.address()).await.unwrap();
            socket.write_all(sent.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            let ended = tokio::time::timeout(Duration::from_secs(20), socket.read_to_end(&mut answer)).await;
            assert!(ended.is_ok(), "{sent:?}");
        }
    }
}
