//! `snapshot`: takes one, and streams it (`SnapshotCommand`).

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures::stream;
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use zab::access::Identities;
use zab::net::report::snapshot_file;
use zab::{AdminConfig, Reporter};
use zk_wire::acl::perms;

use super::commands::Command;
use super::finished;
use super::json::Object;

/// Snapshots for whoever may have all that is in the tree.
pub(super) struct Snapshots {
    is_enabled: bool,
    interval: Duration,
    last: Mutex<Option<Instant>>,
}

/// Longer than a snapshot of any tree that fits into memory takes.
const PATIENCE: Duration = Duration::from_secs(600);
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Read and sent at once.
const CHUNK: usize = 64 * 1024;

impl Snapshots {
    pub(super) fn new(config: &AdminConfig) -> Self {
        let (is_enabled, interval) = (config.snapshot_enabled, config.snapshot_interval);
        Snapshots { is_enabled, interval, last: Mutex::new(None) }
    }

    /// Takes a snapshot, and answers with the file unless `streaming=false`.
    pub(super) async fn answer(&self, reporter: &Reporter, arguments: &HashMap<String, String>) -> Response {
        let none = |status| finished(status, Command::Snapshot, Object::default());
        if !self.is_enabled {
            return none(StatusCode::SERVICE_UNAVAILABLE);
        }
        let tally = &reporter.facts.tally;
        if !self.is_allowed() {
            tally.snapshots_limited.fetch_add(1, Ordering::Relaxed);
            return none(StatusCode::TOO_MANY_REQUESTS);
        }
        let is_streaming = arguments.get("streaming").is_none_or(|asked| asked.eq_ignore_ascii_case("true"));
        match tokio::time::timeout(PATIENCE, taken(reporter)).await.ok().flatten() {
            Some((zxid, path)) => match sent(zxid, path, is_streaming).await {
                Ok(response) => response,
                Err(error) => {
                    tracing::warn!(%error, "a snapshot cannot be sent");
                    none(StatusCode::INTERNAL_SERVER_ERROR)
                }
            },
            None => none(StatusCode::INTERNAL_SERVER_ERROR),
        }
    }

    /// At most one in each interval.
    fn is_allowed(&self) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let is_allowed = last.is_none_or(|last| last.elapsed() >= self.interval);
        if is_allowed {
            *last = Some(Instant::now());
        }
        is_allowed
    }
}

/// Has a snapshot written that shows at least what is there now. One that is there already will do.
async fn taken(reporter: &Reporter) -> Option<(i64, PathBuf)> {
    let (dir, tally) = (reporter.facts.data_dir(), &reporter.facts.tally);
    let errors = tally.snapshot_errors.load(Ordering::Relaxed);
    let wanted = reporter.ask(|core| core.view().zxid.0).await?;
    loop {
        let looked_at = dir.clone();
        let found = tokio::task::spawn_blocking(move || snapshot_file(&looked_at)).await.ok()?;
        if let Some((zxid, path)) = found.filter(|(zxid, _)| *zxid >= wanted) {
            return Some((zxid, path));
        }
        if tally.snapshot_errors.load(Ordering::Relaxed) != errors {
            return None;
        }
        // While another is being written this does nothing.
        reporter.ask(|core| core.begin_snapshot()).await?;
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

async fn sent(zxid: i64, path: PathBuf, is_streaming: bool) -> std::io::Result<Response> {
    let file = File::open(path).await?;
    let size = file.metadata().await?.len();
    let headers = [("last_zxid", format!("0x{zxid:x}")), ("snapshot_size", size.to_string())];
    if !is_streaming {
        let answer = finished(StatusCode::OK, Command::Snapshot, Object::default());
        return Ok((headers, answer).into_response());
    }
    let chunks = stream::unfold(Some(file), async |file| {
        let mut file = file?;
        let mut chunk = Vec::with_capacity(CHUNK);
        match (&mut file).take(CHUNK as u64).read_to_end(&mut chunk).await {
            Ok(0) => None,
            Ok(_) => Some((Ok(chunk), Some(file))),
            Err(error) => Some((Err(error), None)),
        }
    });
    let of_body = [(CONTENT_TYPE, "application/octet-stream".to_owned()), (CONTENT_LENGTH, size.to_string())];
    Ok((headers, of_body, Body::from_stream(chunks)).into_response())
}

/// May whoever asks do everything with the root? `Authorization` is a scheme and its credentials; of `ip`, the
/// scheme alone.
pub(super) async fn authorize(
    reporter: &Reporter,
    address: IpAddr,
    headers: &HeaderMap,
) -> Result<(), (StatusCode, &'static str)> {
    let refused = |why| Err((StatusCode::UNAUTHORIZED, why));
    let Some(given) = headers.get(AUTHORIZATION) else {
        return refused("Auth info is missing for the command");
    };
    let mut words = given.to_str().unwrap_or_default().split(' ');
    let mut who = Identities::of_address(address, Arc::clone(&reporter.facts.config.security.rules));
    let is_proven = match (words.next(), words.next(), words.next()) {
        (Some("ip"), None, None) => true,
        (Some(scheme), Some(auth), None) => who.authenticate(scheme, Some(auth.as_bytes())).is_ok(),
        _ => false,
    };
    if !is_proven {
        return refused("Not authenticated");
    }
    let Some(acl) = reporter.ask(|core| core.root_acl()).await else {
        return Err((StatusCode::INTERNAL_SERVER_ERROR, "Error occurred during auth"));
    };
    let all = [perms::READ, perms::WRITE, perms::CREATE, perms::DELETE, perms::ADMIN];
    if all.iter().all(|&perm| who.may(perm, &acl)) {
        Ok(())
    } else {
        Err((StatusCode::FORBIDDEN, "Not authorized"))
    }
}
