//! The client's side of SASL DIGEST-MD5, as `ZooKeeperSaslClient` speaks it: behind the first answer and ahead of
//! everything else, one token at a time.

use std::fmt;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf};
use zk_wire::codes::ErrorCode;
use zk_wire::digest_md5::{NONCE_COUNT, Proof, REALM, SERVICE, directives, quoted, same};
use zk_wire::jute::Reader;
use zk_wire::reply::ReplyHeader;
use zk_wire::request::{Request, SaslToken};

use crate::driver::{broken, exchange};
use crate::error::{AttachError, Lost};

/// A user of SASL DIGEST-MD5. Its `Debug` hides the password.
#[derive(Clone, PartialEq, Eq)]
pub struct SaslUser {
    /// The name that ACLs know.
    pub name: String,
    /// What proves it.
    pub password: String,
}

impl fmt::Debug for SaslUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SaslUser").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Proves to the server who we are, and has it prove that it knows the password, too.
pub(crate) async fn prove<S: AsyncRead + AsyncWrite>(
    reader: &mut ReadHalf<S>,
    writer: &mut WriteHalf<S>,
    input: &mut BytesMut,
    user: &SaslUser,
    client_nonce: &str,
    max_frame: usize,
) -> Result<(), AttachError> {
    let mut step = async |xid, token: Vec<u8>| {
        let request = Request::Sasl(SaslToken { token: Some(Bytes::from(token)) });
        let frame = exchange(reader, writer, input, |out| request.encode(xid, out), max_frame).await?;
        let mut answer = Reader::new(&frame);
        let header: ReplyHeader = answer.read().map_err(|error| broken(&error))?;
        match header.err {
            ErrorCode::Ok => {}
            ErrorCode::AuthFailed | ErrorCode::SessionClosedRequireSaslAuth => {
                return Err(AttachError::AuthFailed { scheme: "sasl".to_owned() });
            }
            code => return Err(Lost::EndedBy(code).into()),
        }
        let token: SaslToken = answer.read().map_err(|error| broken(&error))?;
        // A server without users answers this way, and one that lets in whoever fails (`allowSaslFailedClients`).
        token.token.ok_or(AttachError::Sasl("the server has no user of this name, or none at all"))
    };
    let challenge = step(1, Vec::new()).await?;
    let Response { text, rspauth } = respond(&challenge, user, client_nonce).map_err(AttachError::Sasl)?;
    let proof = step(2, text.into_bytes()).await?;
    let expected = format!("rspauth={rspauth}");
    match std::str::from_utf8(&proof) {
        Ok(proof) if same(proof, &expected) => Ok(()),
        _ => Err(AttachError::Sasl("the server does not know the password, and is not to be trusted")),
    }
}

/// A digest-response, and what the server must answer.
#[derive(Debug)]
struct Response {
    text: String,
    rspauth: String,
}

/// Answers a challenge (RFC 2831, 2.1.1 and 2.1.2).
fn respond(challenge: &[u8], user: &SaslUser, client_nonce: &str) -> Result<Response, &'static str> {
    let text = std::str::from_utf8(challenge).map_err(|_| "the challenge is not UTF-8")?;
    let challenge = directives(text)?;
    let get = |key: &str| challenge.get(key).map(String::as_str);
    let nonce = get("nonce").ok_or("the challenge has no nonce")?;
    if get("algorithm") != Some("md5-sess") {
        return Err("the challenge wants another algorithm than md5-sess");
    }
    if !get("qop").unwrap_or("auth").split(',').any(|qop| qop.trim() == "auth") {
        return Err("the challenge wants more than authentication");
    }
    let realm = get("realm").unwrap_or_default();
    let uri = format!("{SERVICE}/{REALM}");
    let proof = Proof {
        user: &user.name,
        realm,
        password: &user.password,
        nonce,
        client_nonce,
        uri: &uri,
        authorization: None,
    };
    let text = format!(
        "charset=utf-8,username={},realm={},nonce={},nc={NONCE_COUNT},cnonce={},digest-uri={},response={},qop=auth",
        quoted(&user.name),
        quoted(realm),
        quoted(nonce),
        quoted(client_nonce),
        quoted(&uri),
        proof.response()
    );
    Ok(Response { text, rspauth: proof.rspauth() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bob() -> SaslUser {
        SaslUser { name: "bob".to_owned(), password: "bobsecret".to_owned() }
    }

    #[test]
    fn a_password_is_not_shown() {
        assert_eq!(format!("{:?}", bob()), "SaslUser { name: \"bob\", .. }");
    }

    #[test]
    fn a_challenge_that_makes_no_sense_gets_no_response() {
        for (challenge, reason) in [
            (&b"\xff"[..], "the challenge is not UTF-8"),
            (b"nonce", "a directive has no value"),
            (b"algorithm=md5-sess", "the challenge has no nonce"),
            (b"nonce=\"n\"", "the challenge wants another algorithm than md5-sess"),
            (
                b"nonce=\"n\",algorithm=md5-sess,qop=\"auth-conf\"",
                "the challenge wants more than authentication",
            ),
        ] {
            assert_eq!(respond(challenge, &bob(), "c").unwrap_err(), reason);
        }
    }

    #[test]
    fn a_response_names_the_realm_and_nonce_of_the_challenge() {
        let challenge =
            b"realm=\"zk-sasl-md5\",nonce=\"a\\\"b\",qop=\"auth,auth-int\",charset=utf-8,algorithm=md5-sess";
        let Response { text, rspauth } = respond(challenge, &bob(), "c").unwrap();
        let said = directives(&text).unwrap();
        for (key, value) in [
            ("realm", "zk-sasl-md5"),
            ("nonce", "a\"b"),
            ("username", "bob"),
            ("digest-uri", "zookeeper/zk-sasl-md5"),
            ("qop", "auth"),
        ] {
            assert_eq!(said[key], value);
        }
        assert_eq!((said["response"].len(), rspauth.len()), (32, 32));
        assert!(!text.contains("bobsecret"));
    }
}
