//! Where the sessions' ids and passwords are kept, so that the next leader resumes them and no consumer
//! notices.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
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

/// A place for credentials. Whoever can read it can end the sessions.
#[derive(Clone)]
pub enum CredentialStore {
    /// As long as this value lives.
    Memory(Arc<Mutex<Vec<Credentials>>>),
    /// A Secret.
    Secret {
        /// The Secrets of its namespace.
        api: Box<Api<Secret>>,
        /// Its name.
        name: String,
    },
}

/// Why credentials could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// The API server refused, or could not be reached.
    #[error("cannot {verb} secret {name}")]
    Api {
        /// read or write
        verb: &'static str,
        /// The Secret.
        name: String,
        /// Its answer.
        #[source]
        source: Box<kube::Error>,
    },
    /// Somebody else has written it meanwhile: another replica believes that it leads.
    #[error("secret {name} was changed by somebody else")]
    Conflict {
        /// The Secret.
        name: String,
    },
    /// Its content is not ours. The text does not repeat it.
    #[error("secret {name} does not hold sessions; delete it to start new ones")]
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
        CredentialStore::Memory(Arc::default())
    }

    /// A Secret of this name.
    #[must_use]
    pub fn secret(client: Client, namespace: &str, name: &str) -> Self {
        CredentialStore::Secret { api: Box::new(Api::namespaced(client, namespace)), name: name.to_owned() }
    }

    /// The sessions of the last leader; none if there was no leader yet.
    ///
    /// # Errors
    /// See [`CredentialError`].
    pub async fn load(&self) -> Result<Vec<Credentials>, CredentialError> {
        match self {
            CredentialStore::Memory(kept) => Ok(kept.lock().unwrap_or_else(PoisonError::into_inner).clone()),
            CredentialStore::Secret { api, name } => {
                match api.get_opt(name).await.map_err(|error| failed("read", name, error))? {
                    Some(secret) => decode(&secret, name),
                    None => Ok(Vec::new()),
                }
            }
        }
    }

    /// Replaces what is kept; a change by somebody else since it was read is a conflict.
    ///
    /// # Errors
    /// See [`CredentialError`].
    pub async fn save(&self, sessions: &[Credentials]) -> Result<(), CredentialError> {
        let (api, name) = match self {
            CredentialStore::Memory(kept) => {
                *kept.lock().unwrap_or_else(PoisonError::into_inner) = sessions.to_vec();
                return Ok(());
            }
            CredentialStore::Secret { api, name } => (api, name),
        };
        let before = api.get_opt(name).await.map_err(|error| failed("read", name, error))?;
        let resource_version = before.as_ref().and_then(|secret| secret.metadata.resource_version.clone());
        let secret = Secret {
            metadata: ObjectMeta { name: Some(name.clone()), resource_version, ..ObjectMeta::default() },
            data: Some(BTreeMap::from([(KEY.to_owned(), ByteString(encode(sessions)))])),
            ..Secret::default()
        };
        let written = match before {
            Some(_) => api.replace(name, &PostParams::default(), &secret).await,
            None => api.create(&PostParams::default(), &secret).await,
        };
        match written {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists() => {
                Err(CredentialError::Conflict { name: name.clone() })
            }
            Err(error) => Err(failed("write", name, error)),
        }
    }
}

impl fmt::Debug for CredentialStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CredentialStore::Memory(_) => f.write_str("Memory"),
            CredentialStore::Secret { name, .. } => write!(f, "Secret({name})"),
        }
    }
}

fn failed(verb: &'static str, name: &str, source: kube::Error) -> CredentialError {
    CredentialError::Api { verb, name: name.to_owned(), source: Box::new(source) }
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
    let Some(ByteString(json)) = secret.data.as_ref().and_then(|data| data.get(KEY)) else {
        return Err(content());
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
        assert!(decode(&Secret::default(), "s").is_err());
    }
}
