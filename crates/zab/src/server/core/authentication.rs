//! Who a client is: `addauth`, SASL, certificates, and what is refused to whom has not said
//! (`ZooKeeperServer.processPacket`, `processSasl`, `AuthenticationHelper`).

use bytes::Bytes;
use sha2::{Digest, Sha256};
use zk_wire::codes::{ErrorCode, OpCode};
use zk_wire::ids::Zxid;
use zk_wire::reply::{ReplyHeader, Response};
use zk_wire::request::{AuthPacket, SaslToken};

use super::Core;
use crate::access::digest_md5::Step;
use crate::access::{Refusal, digest_md5};
use crate::tree::watches::ConnectionId;

impl Core {
    /// The peer has proven to hold the key of a trusted certificate.
    pub(super) fn certified(&mut self, id: ConnectionId, subject: &str) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.who.prove_certificate(subject);
        }
    }

    /// May the connection ask for this at all? If not it has been told and is closed.
    pub(super) fn admit(&mut self, id: ConnectionId, op: OpCode, xid: i32) -> bool {
        let Some(connection) = self.connections.get(&id) else {
            return false;
        };
        if matches!(op, OpCode::Auth | OpCode::Sasl) || connection.who.is_admitted() {
            return true;
        }
        tracing::warn!(connection = id.0, %op, "closing a connection that has none of the identities that are enforced");
        self.refuse_identity(id, xid, ErrorCode::SessionClosedRequireSaslAuth, &Response::Empty);
        false
    }

    pub(super) fn authenticate(&mut self, id: ConnectionId, xid: i32, packet: &AuthPacket) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        match connection.who.authenticate(&packet.scheme, packet.auth.as_deref()) {
            Ok(()) => self.answer_identity(id, xid, ErrorCode::Ok, &Response::Empty),
            Err(Refusal::Failed) => {
                tracing::warn!(connection = id.0, "closing a connection whose credentials are refused");
                self.refuse_identity(id, xid, ErrorCode::AuthFailed, &Response::Empty);
            }
            Err(Refusal::WrongEnsemble) => {
                tracing::warn!(connection = id.0, "closing a connection that wants another ensemble");
                self.stats.auth_failed += 1;
                self.close(id);
            }
        }
    }

    pub(super) fn sasl(&mut self, id: ConnectionId, xid: i32, token: &SaslToken) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let rules = connection.who.rules();
        let (allow_failed, required) = (rules.allow_sasl_failed, rules.requires_sasl());
        let Some(users) = &rules.sasl_users else {
            // Apache goes on, too: only what needs the identity is refused.
            tracing::warn!(
                connection = id.0,
                "a client tries SASL, and there are no users (java.security.auth.login.config)"
            );
            return self.answer_identity(id, xid, ErrorCode::Ok, &token_response(None));
        };
        let count = self.nonces;
        let nonce = || nonce(&self.config.security.nonce_key.0, id, count);
        let step = connection.sasl.step(token.token.as_deref().unwrap_or_default(), nonce, users);
        self.nonces += 1;
        match step {
            Ok(Step::Challenge(challenge)) => {
                self.answer_identity(id, xid, ErrorCode::Ok, &token_response(Some(challenge)));
            }
            Ok(Step::Proven { user, token }) => {
                connection.who.prove_sasl(&user);
                tracing::debug!(connection = id.0, user, "authenticated through SASL");
                self.answer_identity(id, xid, ErrorCode::Ok, &token_response(Some(token)));
            }
            Err(refusal) => self.sasl_refused(id, xid, refusal, allow_failed && !required, required),
        }
    }

    fn sasl_refused(
        &mut self,
        id: ConnectionId,
        xid: i32,
        refusal: digest_md5::Refusal,
        stays: bool,
        required: bool,
    ) {
        tracing::warn!(connection = id.0, %refusal, stays, "a client failed to authenticate through SASL");
        let nothing = token_response(None);
        match (stays, required) {
            (true, _) => {
                self.stats.auth_failed += 1;
                self.answer_identity(id, xid, ErrorCode::Ok, &nothing);
            }
            (false, true) => {
                self.refuse_identity(id, xid, ErrorCode::SessionClosedRequireSaslAuth, &nothing);
            }
            (false, false) => self.refuse_identity(id, xid, ErrorCode::AuthFailed, &nothing),
        }
    }

    /// At once and ahead of whatever waits, as on Apache; without a transaction.
    fn answer_identity(&mut self, id: ConnectionId, xid: i32, err: ErrorCode, response: &Response) {
        self.reply(id, ReplyHeader { xid, zxid: Zxid::ZERO, err }, response);
    }

    fn refuse_identity(&mut self, id: ConnectionId, xid: i32, err: ErrorCode, response: &Response) {
        self.stats.auth_failed += 1;
        self.answer_identity(id, xid, err, response);
        self.close(id);
    }
}

fn token_response(token: Option<String>) -> Response {
    Response::Token(SaslToken { token: token.map(Bytes::from) })
}

/// Unpredictable to whoever has not the key, and never the same twice.
fn nonce(key: &[u8; 32], id: ConnectionId, count: u64) -> String {
    let mut hash = Sha256::new();
    hash.update(key);
    hash.update(id.0.to_be_bytes());
    hash.update(count.to_be_bytes());
    base64::Engine::encode(&base64::engine::general_purpose::STANDARD_NO_PAD, hash.finalize())
}
