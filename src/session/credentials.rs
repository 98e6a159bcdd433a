//! Where the sessions' ids and passwords are kept, so that the next leader resumes them and no consumer
//! notices.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use serde::{Deserialize, Serialize};
use zk_client::{Credentials, Password};
use zk_wire::ids::{SessionId, Zxid};

use crate::api_error::said;
use crate::api_object::{delete_as_read, is_bare};

/// A place for credentials. Whoever can read it can end the sessions.
#[derive(Clone)]
pub struct CredentialStore(Place);

#[derive(Clone)]
enum Place {
    /// As long as this value lives.
    Memory(Arc<Mutex<Vec<Credentials>>>),
    /// A Secret.
    Secret {
        /// The Secrets of its namespace.
        api: Box<Api<Secret>>,
        /// Its name.
        name: String,
        last: Arc<Mutex<Last>>,
    },
}

/// The Secret as we last read or wrote it: what a write replaces.
#[derive(Default)]
struct Last {
    secret: Option<Secret>,
    /// What we have tried to write since then. An answer may be lost and the write come late.
    tried: Vec<ByteString>,
}

/// Why credentials could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// The API server refused, or could not be reached.
    #[error("cannot {verb} secret {name}: {reason}")]
    Api {
        /// read, write or remove
        verb: &'static str,
        /// The Secret.
        name: String,
        /// Its answer.
        reason: String,
    },
    /// No answer in time.
    #[error("no answer of the API server about the sessions' secret")]
    Timeout,
    /// Somebody else has written it meanwhile: another replica believes that it leads.
    #[error("secret {name} was changed by somebody else")]
    Conflict {
        /// The Secret.
        name: String,
    },
    /// Its content is not ours. The text does not repeat it.
    #[error("secret {name} does not hold sessions under {KEY}; remove that key to start new ones")]
    Content {
        /// The Secret.
        name: String,
    },
}

/// The key within the Secret.
const KEY: &str = "sessions.json";

/// A session as the Secret has it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    id: i64,
    password: String,
    timeout_ms: u64,
}

impl CredentialStore {
    /// An empty store in memory.
    #[must_use]
    pub fn memory() -> Self {
        CredentialStore(Place::Memory(Arc::default()))
    }

    /// A Secret of this name.
    #[must_use]
    pub fn secret(client: Client, namespace: &str, name: &str) -> Self {
        let api = Box::new(Api::namespaced(client, namespace));
        CredentialStore(Place::Secret { api, name: name.to_owned(), last: Arc::default() })
    }

    /// The sessions of the last leader; none if there was no leader yet.
    ///
    /// # Errors
    /// See [`CredentialError`].
    pub async fn load(&self) -> Result<Vec<Credentials>, CredentialError> {
        match &self.0 {
            Place::Memory(kept) => Ok(lock(kept).clone()),
            Place::Secret { api, name, last } => {
                let secret = api.get_opt(name).await.map_err(|error| failed("read", name, &error))?;
                let sessions = secret.as_ref().map_or(Ok(Vec::new()), |secret| decode(secret, name));
                *lock(last) = Last { secret, tried: Vec::new() };
                sessions
            }
        }
    }

    /// What [`CredentialStore::remove`] removes, as it was read last: the Secret, or what we have in it.
    #[must_use]
    pub fn remains(&self) -> Option<String> {
        let Place::Secret { last, .. } = &self.0 else { return None };
        lock(last).secret.as_ref().and_then(remains)
    }

    /// Removes the Secret if it is as it was read: all of it if we made it, and else what we have in it.
    ///
    /// # Errors
    /// See [`CredentialError`].
    pub async fn remove(&self) -> Result<(), CredentialError> {
        let Place::Secret { api, name, last } = &self.0 else { return Ok(()) };
        let Some(mut secret) = lock(last).secret.take() else { return Ok(()) };
        let removed = if is_ours(&secret) {
            delete_as_read(api, &secret.metadata).await
        } else if secret.data.as_mut().is_some_and(|data| data.remove(KEY).is_some()) {
            api.replace(name, &PostParams::default(), &secret).await.map(drop)
        } else {
            Ok(())
        };
        match removed {
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            Err(kube::Error::Api(status)) if status.is_conflict() => {
                Err(CredentialError::Conflict { name: name.clone() })
            }
            removed => removed.map_err(|error| failed("remove", name, &error)),
        }
    }

    /// Replaces what is kept. A change by somebody else since it was last read or written is a conflict; the
    /// Secret's other data, labels and owners stay.
    ///
    /// # Errors
    /// See [`CredentialError`].
    pub async fn save(&self, sessions: &[Credentials]) -> Result<(), CredentialError> {
        let (api, name, last) = match &self.0 {
            Place::Memory(kept) => {
                *lock(kept) = sessions.to_vec();
                return Ok(());
            }
            Place::Secret { api, name, last } => (api, name, last),
        };
        let before = lock(last).secret.clone();
        let exists = before.is_some();
        let mut secret = before.unwrap_or_else(|| Secret {
            metadata: ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() },
            ..Secret::default()
        });
        let content = ByteString(encode(sessions));
        secret.data.get_or_insert_default().insert(KEY.to_owned(), content.clone());
        lock(last).tried.push(content.clone());
        let written = match exists {
            true => api.replace(name, &PostParams::default(), &secret).await,
            false => api.create(&PostParams::default(), &secret).await,
        };
        match written {
            Ok(secret) => {
                *lock(last) = Last { secret: Some(secret), tried: Vec::new() };
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists() => {
                let now = api.get_opt(name).await.map_err(|error| failed("read", name, &error))?;
                adopt(last, now, &content, name)
            }
            Err(error) => {
                if matches!(&error, kube::Error::Api(status) if status.code == 404) {
                    // Somebody deleted it; the next attempt creates it.
                    lock(last).secret = None;
                }
                Err(failed("write", name, &error))
            }
        }
    }
}

fn remains(secret: &Secret) -> Option<String> {
    let ObjectMeta { namespace, name, .. } = &secret.metadata;
    let [namespace, name] = [namespace, name].map(|part| part.as_deref().unwrap_or_default());
    match is_ours(secret) {
        true => Some(format!("Secret {namespace}/{name}")),
        false if secret.data.as_ref()?.contains_key(KEY) => {
            Some(format!("{KEY} of Secret {namespace}/{name}"))
        }
        false => None,
    }
}

/// Has it nothing but what we write?
fn is_ours(secret: &Secret) -> bool {
    let keys = secret.data.iter().flat_map(BTreeMap::keys);
    is_bare(&secret.metadata) && keys.eq([KEY])
}

/// After a conflict: perhaps it was ourselves, and only the answer was lost.
fn adopt(
    last: &Mutex<Last>,
    now: Option<Secret>,
    content: &ByteString,
    name: &str,
) -> Result<(), CredentialError> {
    let found = now.as_ref().and_then(|secret| secret.data.as_ref()?.get(KEY)).cloned();
    let mut last = lock(last);
    let kept = last.secret.as_ref().and_then(|secret| secret.data.as_ref()?.get(KEY)).cloned();
    if found.is_some() && found == kept {
        // Somebody touched its labels; the sessions are as we left them.
        last.secret = now;
        let reason = "it was touched by somebody else".to_owned();
        return Err(CredentialError::Api { verb: "write", name: name.to_owned(), reason });
    }
    match found {
        Some(found) if last.tried.contains(&found) => {
            last.secret = now;
            if found == *content {
                return Ok(());
            }
            let reason = "an earlier write came late".to_owned();
            Err(CredentialError::Api { verb: "write", name: name.to_owned(), reason })
        }
        _ => Err(CredentialError::Conflict { name: name.to_owned() }),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for CredentialStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Memory(_) => f.write_str("Memory"),
            Place::Secret { name, .. } => write!(f, "Secret({name})"),
        }
    }
}

fn failed(verb: &'static str, name: &str, error: &kube::Error) -> CredentialError {
    CredentialError::Api { verb, name: name.to_owned(), reason: said(error) }
}

fn encode(sessions: &[Credentials]) -> Vec<u8> {
    let records: Vec<_> = sessions
        .iter()
        .map(|session| Record {
            id: session.id.0,
            password: STANDARD.encode(session.password.expose()),
            timeout_ms: u64::try_from(session.timeout.as_millis()).unwrap_or(u64::MAX),
        })
        .collect();
    // Numbers and strings always have a JSON form.
    serde_json::to_vec(&records).unwrap_or_default()
}

/// The newest zxid is not kept: without it a resume may reach a server that is a little behind, which the
/// `sync` after every take-over makes good.
fn decode(secret: &Secret, name: &str) -> Result<Vec<Credentials>, CredentialError> {
    let content = || CredentialError::Content { name: name.to_owned() };
    // A Secret that an administrator has prepared.
    let Some(ByteString(json)) = secret.data.as_ref().and_then(|data| data.get(KEY)) else {
        return Ok(Vec::new());
    };
    let records: Vec<Record> = serde_json::from_slice(json).map_err(|_| content())?;
    records
        .into_iter()
        .map(|record| {
            Ok(Credentials {
                id: SessionId(record.id),
                password: Password::new(STANDARD.decode(record.password).map_err(|_| content())?),
                timeout: Duration::from_millis(record.timeout_ms),
                last_zxid: Zxid::ZERO,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(json: &[u8]) -> Secret {
        let data = BTreeMap::from([(KEY.to_owned(), ByteString(json.to_vec()))]);
        Secret { data: Some(data), ..Secret::default() }
    }

    #[test]
    fn a_conflict_with_ourselves_is_none() {
        let content = |text: &str| ByteString(text.as_bytes().to_vec());
        let tried = || Mutex::new(Last { secret: None, tried: vec![content("a"), content("b")] });
        assert!(adopt(&tried(), Some(secret(b"b")), &content("b"), "s").is_ok());
        let late = adopt(&tried(), Some(secret(b"a")), &content("b"), "s").unwrap_err();
        assert!(matches!(late, CredentialError::Api { .. }), "{late}");
        for foreign in [Some(secret(b"c")), Some(Secret::default()), None] {
            let error = adopt(&tried(), foreign, &content("b"), "s").unwrap_err();
            assert!(matches!(error, CredentialError::Conflict { .. }), "{error}");
        }
    }

    #[test]
    fn a_secret_with_something_of_others_is_not_removed_as_a_whole() {
        let ours = secret(b"[]");
        let mut others = ours.clone();
        others.data.as_mut().unwrap().insert("theirs".to_owned(), ByteString(Vec::new()));
        let mut prepared = ours.clone();
        prepared.metadata.labels = Some([("app".to_owned(), "zoobridge".to_owned())].into());
        for (secret, expected) in [
            (Some(ours), Some("Secret n/s")),
            (Some(others), Some("sessions.json of Secret n/s")),
            (Some(prepared), Some("sessions.json of Secret n/s")),
            (Some(Secret::default()), None),
            (None, None),
        ] {
            let secret = secret.map(|mut secret: Secret| {
                secret.metadata.namespace = Some("n".to_owned());
                secret.metadata.name = Some("s".to_owned());
                secret
            });
            assert_eq!(secret.as_ref().and_then(remains).as_deref(), expected);
        }
    }

    #[test]
    fn sessions_survive_the_secret() {
        let sessions = [Credentials {
            id: SessionId(-7),
            password: Password::new(vec![0xff; 16]),
            timeout: Duration::from_secs(30),
            last_zxid: Zxid::ZERO,
        }];
        assert_eq!(decode(&secret(&encode(&sessions)), "s").unwrap(), sessions);
    }

    #[test]
    fn a_secret_with_something_else_is_named_and_not_repeated() {
        for json in [&b"hunter2"[..], b"[{\"id\":1,\"password\":\"hunter2!\",\"timeoutMs\":1}]"] {
            let error = decode(&secret(json), "zoobridge-sessions").unwrap_err().to_string();
            assert!(error.contains("zoobridge-sessions") && !error.contains("hunter2"), "{error}");
        }
        assert_eq!(decode(&Secret::default(), "s").unwrap(), []);
    }
}
