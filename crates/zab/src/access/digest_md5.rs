//! The server's side of SASL DIGEST-MD5, as Java's provider speaks it towards ZooKeeper clients.

use std::collections::BTreeMap;

use zk_wire::digest_md5::{NONCE_COUNT, Proof, REALM, SERVICE, directives, same};

use super::secret::Secret;

/// Java's provider accepts no longer ones.
const MAX_RESPONSE_BYTES: usize = 4096;

/// One exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exchange {
    /// Nothing has been said.
    New,
    /// The challenge with this nonce has been sent.
    Challenged(String),
    /// It is over, one way or the other.
    Done,
}

/// What the server says next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// The challenge.
    Challenge(String),
    /// The client is who it says.
    Proven {
        /// The name of the user.
        user: String,
        /// The server's own proof.
        token: String,
    },
}

/// Why a client is not who it says. No message shows a digest.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A message that is none of the mechanism.
    #[error("the response makes no sense: {0}")]
    Malformed(&'static str),
    /// Nobody of that name.
    #[error("the user is unknown")]
    UnknownUser,
    /// The digests differ.
    #[error("the password is wrong")]
    WrongPassword,
    /// Another message behind the end.
    #[error("the exchange is over")]
    Over,
}

impl Exchange {
    /// Takes a token of the client. `nonce` must be unpredictable and never used before. A client that sends
    /// its response without having asked for a challenge gets one.
    ///
    /// # Errors
    /// The client has not proven who it is. The exchange is then over.
    pub fn step(
        &mut self,
        token: &[u8],
        nonce: impl FnOnce() -> String,
        users: &BTreeMap<String, Secret>,
    ) -> Result<Step, Refusal> {
        match std::mem::replace(self, Exchange::Done) {
            Exchange::New if token.is_empty() => {
                let nonce = nonce();
                let challenge = format!(
                    "realm=\"{REALM}\",nonce=\"{nonce}\",qop=\"auth\",charset=utf-8,algorithm=md5-sess"
                );
                *self = Exchange::Challenged(nonce);
                Ok(Step::Challenge(challenge))
            }
            Exchange::New => Err(Refusal::Malformed("it is not empty at the beginning")),
            Exchange::Challenged(nonce) => verify(token, &nonce, users),
            Exchange::Done => Err(Refusal::Over),
        }
    }
}

/// Checks a digest-response (RFC 2831, 2.1.2) and answers with rspauth (2.1.3).
fn verify(token: &[u8], nonce: &str, users: &BTreeMap<String, Secret>) -> Result<Step, Refusal> {
    if token.len() > MAX_RESPONSE_BYTES {
        return Err(Refusal::Malformed("it is too long"));
    }
    let text = std::str::from_utf8(token).map_err(|_| Refusal::Malformed("it is not UTF-8"))?;
    let directives = directives(text).map_err(Refusal::Malformed)?;
    let get = |key: &'static str| directives.get(key).map(String::as_str);
    let must = |key: &'static str, why| get(key).ok_or(Refusal::Malformed(why));
    let user = must("username", "username is missing")?;
    let client_nonce = must("cnonce", "cnonce is missing")?;
    let response = must("response", "response is missing")?;
    let uri = must("digest-uri", "digest-uri is missing")?;
    let realm = get("realm").unwrap_or_default();
    if must("nonce", "nonce is missing")? != nonce {
        return Err(Refusal::Malformed("the nonce is not that of the challenge"));
    }
    if must("nc", "nc is missing")? != NONCE_COUNT {
        return Err(Refusal::Malformed("nc is not 1"));
    }
    if realm != REALM && !realm.is_empty() {
        return Err(Refusal::Malformed("the realm is not that of the challenge"));
    }
    if get("qop").unwrap_or("auth") != "auth" {
        return Err(Refusal::Malformed("qop is not auth"));
    }
    let mut service = uri.split('/');
    if !service.next().is_some_and(|name| name.eq_ignore_ascii_case(SERVICE))
        || !service.next().is_some_and(|host| host.eq_ignore_ascii_case(REALM))
    {
        return Err(Refusal::Malformed("the digest-uri is of another service"));
    }
    let authorization = get("authzid").filter(|id| !id.is_empty());
    let password = users.get(user).ok_or(Refusal::UnknownUser)?.reveal();
    let proof = Proof { user, realm, password, nonce, client_nonce, uri, authorization };
    if !same(&proof.response(), response) {
        return Err(Refusal::WrongPassword);
    }
    Ok(Step::Proven { user: user.to_owned(), token: format!("rspauth={}", proof.rspauth()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users() -> BTreeMap<String, Secret> {
        [("bob", "bobsecret"), ("jürgen", "pässword")].map(|(u, p)| (u.to_owned(), Secret::new(p))).into()
    }

    fn challenged() -> Exchange {
        let mut exchange = Exchange::New;
        let step = exchange.step(b"", || "N".to_owned(), &users());
        assert!(matches!(step, Ok(Step::Challenge(_))));
        exchange
    }

    fn answer(exchange: &mut Exchange, response: &str) -> Result<Step, Refusal> {
        exchange.step(response.as_bytes(), String::new, &users())
    }

    /// What a client that knows the password sends.
    fn response(user: &str, password: &str, uri: &str) -> String {
        let proof =
            Proof { user, realm: REALM, password, nonce: "N", client_nonce: "C", uri, authorization: None };
        format!(
            "charset=utf-8,username=\"{user}\",realm=\"{REALM}\",nonce=\"N\",nc=00000001,cnonce=\"C\",\
             digest-uri=\"{uri}\",maxbuf=65536,response={},qop=auth",
            proof.response()
        )
    }

    const URI: &str = "zookeeper/zk-sasl-md5";

    #[test]
    fn who_knows_the_password_is_proven_and_learns_that_the_server_knows_it_too() {
        for (user, password) in [("bob", "bobsecret"), ("jürgen", "pässword")] {
            let mut exchange = challenged();
            match answer(&mut exchange, &response(user, password, URI)) {
                Ok(Step::Proven { user: proven, token }) => {
                    assert_eq!(proven, user);
                    assert!(token.starts_with("rspauth=") && token.len() == 40);
                }
                other => panic!("{other:?}"),
            }
            assert_eq!(answer(&mut exchange, ""), Err(Refusal::Over));
        }
    }

    #[test]
    fn whoever_does_not_is_refused_and_so_is_what_makes_no_sense() {
        let good = response("bob", "bobsecret", URI);
        let cases = [
            (response("bob", "wrong", URI), Refusal::WrongPassword),
            (response("eve", "bobsecret", URI), Refusal::UnknownUser),
            (
                response("bob", "bobsecret", "imap/zk-sasl-md5"),
                Refusal::Malformed("the digest-uri is of another service"),
            ),
            (
                response("bob", "bobsecret", "zookeeper"),
                Refusal::Malformed("the digest-uri is of another service"),
            ),
            (
                good.replace("nonce=\"N\"", "nonce=\"M\""),
                Refusal::Malformed("the nonce is not that of the challenge"),
            ),
            (good.replace("nc=00000001", "nc=00000002"), Refusal::Malformed("nc is not 1")),
            (good.replace("qop=auth", "qop=auth-conf"), Refusal::Malformed("qop is not auth")),
            (format!("{good},username=\"bob\""), Refusal::Malformed("a directive comes twice")),
            (String::new(), Refusal::Malformed("username is missing")),
            ("username".to_owned(), Refusal::Malformed("a directive has no value")),
            ("username=\"bob".to_owned(), Refusal::Malformed("a quoted value does not end")),
            ("username=\"bob\\".to_owned(), Refusal::Malformed("a quoted value does not end")),
            ("x".repeat(MAX_RESPONSE_BYTES + 1), Refusal::Malformed("it is too long")),
        ];
        for (response, expected) in cases {
            assert_eq!(answer(&mut challenged(), &response), Err(expected), "{response}");
        }
        let mut exchange = Exchange::New;
        assert!(answer(&mut exchange, &good).is_err());
        assert_eq!(exchange, Exchange::Done);
    }
}
