//! Who else may take away what we write: read at start-up from the ACLs that are there, whatever the templates say.
//!
//! What no ACL shows: on Apache whoever reads the stat of an ephemeral can compute its session's password and end the
//! session, and a super user may do everything.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt;
use sha1::{Digest, Sha1};
use zk_client::{Auth, RequestError, Session};
use zk_wire::acl::{Acl, perms};
use zk_wire::codes::ErrorCode;
use zk_wire::reply::Response;
use zk_wire::request::{PathRequest, Request};

use super::pool::WriteError;
use super::slots::{Shared, lock};
use crate::metrics::Label;
use crate::model::ZnodePath;

/// To whom but us something is open. The order is by how many that are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum OpenTo {
    Nobody,
    /// We may not read the ACL.
    Unknown,
    /// To identities that are named.
    Others,
    /// To everybody who reaches a server.
    Anyone,
}

impl Label for OpenTo {
    const NAME: &'static str = "open_to";
    const ALL: &'static [Self] = &[OpenTo::Nobody, OpenTo::Unknown, OpenTo::Others, OpenTo::Anyone];

    fn value(self) -> &'static str {
        match self {
            OpenTo::Nobody => "nobody",
            OpenTo::Unknown => "unknown",
            OpenTo::Others => "others",
            OpenTo::Anyone => "anyone",
        }
    }
}

/// How many are open to whom, with an example of each, in the order of the label's members.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Open {
    pub(super) counts: [usize; 4],
    examples: [Option<ZnodePath>; 4],
}

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Exposure {
    /// In which others may delete.
    pub(super) directories: Open,
    /// Which others may change.
    pub(super) leaves: Open,
    /// In which others may delete the fence, and stop our writes.
    pub(super) fence: OpenTo,
}

/// ACLs that are read at once: at start-up nobody is to wait for them.
const READS: usize = 64;

impl Open {
    fn add(&mut self, open_to: OpenTo, path: ZnodePath) {
        let index = open_to as usize;
        self.counts[index] += 1;
        self.examples[index].get_or_insert(path);
    }

    fn tell(&self, what: &str, key: &str) {
        for (&open_to, (&count, example)) in OpenTo::ALL.iter().zip(self.counts.iter().zip(&self.examples)) {
            let Some(example) = example else { continue };
            match open_to {
                OpenTo::Nobody => tracing::info!(count, "nobody else may {what}"),
                OpenTo::Unknown => tracing::warn!(count, %example, "it cannot be read who else may {what}"),
                OpenTo::Others => {
                    tracing::warn!(count, %example, "others, by their names, may {what} ({key})")
                }
                OpenTo::Anyone => {
                    tracing::warn!(count, %example, "anyone who reaches ZooKeeper may {what} ({key})");
                }
            }
        }
    }
}

impl Exposure {
    /// Says it to whoever reads the log.
    pub(super) fn tell(&self) {
        self.directories.tell("delete what is in our directories", "zookeeper.acls.parents");
        self.leaves.tell("change our znodes", "zookeeper.acls.leaves");
        match self.fence {
            OpenTo::Nobody => tracing::info!("nobody else may delete the fence"),
            open_to => tracing::warn!(
                open_to = open_to.value(),
                "others may delete the fence and so stop our writes (zookeeper.acls.own)"
            ),
        }
    }
}

impl Shared {
    /// Reads the ACL of each directory and leaf of ours: as many requests as there are znodes, some at a time.
    pub(super) async fn exposure(&self) -> Result<Exposure, WriteError> {
        let session = self.first().await?;
        let ours = self.ours(&session).await?;
        let leaves: Vec<_> = self.ephemerals().await?.into_iter().flat_map(|(_, paths)| paths).collect();
        let directories = lock(&self.watched).iter().cloned().collect();
        let fence = &self.config.own.fence;
        Ok(Exposure {
            directories: open(&session, directories, perms::DELETE, &ours).await?,
            leaves: open(&session, leaves, perms::WRITE, &ours).await?,
            fence: open_to(&session, fence, perms::DELETE, &ours).await?.unwrap_or(OpenTo::Unknown),
        })
    }

    /// The ids by which ACLs know us.
    async fn ours(&self, session: &Session) -> Result<BTreeSet<(String, String)>, WriteError> {
        let proofs = self.config.ensemble.identity.proofs().await.unwrap_or_default();
        let mut ours: BTreeSet<_> = proofs.auth.iter().filter_map(digest_id).collect();
        ours.extend(proofs.sasl.map(|user| ("sasl".to_owned(), user.name)));
        match session.request(Request::WhoAmI).await {
            Ok(Response::WhoAmI(infos)) => {
                // Of digest it tells the user only, and of ip what anybody at our address is.
                let whole = infos.into_iter().filter(|info| matches!(&*info.auth_scheme, "sasl" | "x509"));
                ours.extend(whole.map(|info| (info.auth_scheme, info.user)));
            }
            // Servers before 3.7 do not know it.
            Ok(_) | Err(RequestError::Refused(_)) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(ours)
    }
}

/// `user:base64(SHA-1(user:password))` (`DigestAuthenticationProvider.generateDigest`).
fn digest_id(auth: &Auth) -> Option<(String, String)> {
    let user = auth.secret.split(|byte| *byte == b':').next()?;
    let hash = STANDARD.encode(Sha1::digest(&auth.secret));
    Some((auth.scheme.clone(), format!("{}:{hash}", String::from_utf8_lossy(user))))
}

async fn open(
    session: &Session,
    paths: Vec<ZnodePath>,
    perms: i32,
    ours: &BTreeSet<(String, String)>,
) -> Result<Open, WriteError> {
    let looks = paths.into_iter().map(|path| async move {
        let open_to = open_to(session, &path, perms, ours).await?;
        Ok::<_, WriteError>((open_to, path))
    });
    let mut looks = futures::stream::iter(looks).buffer_unordered(READS);
    let mut open = Open::default();
    while let Some(looked) = looks.next().await {
        // What is gone is open to nobody.
        if let (Some(open_to), path) = looked? {
            open.add(open_to, path);
        }
    }
    Ok(open)
}

/// To whom a znode is open; `None` if it is gone.
async fn open_to(
    session: &Session,
    path: &ZnodePath,
    perms: i32,
    ours: &BTreeSet<(String, String)>,
) -> Result<Option<OpenTo>, WriteError> {
    match session.request(Request::GetAcl(PathRequest { path: path.to_string() })).await {
        Ok(Response::Acl(read)) => Ok(Some(judge(&read.acl, perms, ours))),
        Err(RequestError::Refused(ErrorCode::NoNode)) => Ok(None),
        Ok(_) | Err(RequestError::Refused(_)) => Ok(Some(OpenTo::Unknown)),
        Err(error) => Err(error.into()),
    }
}

/// Whom but us an ACL gives a permission, or the right to take it.
fn judge(acl: &[Acl], perms: i32, ours: &BTreeSet<(String, String)>) -> OpenTo {
    let others = acl.iter().filter(|entry| entry.perms & (perms | perms::ADMIN) != 0).filter_map(|entry| {
        let id = (entry.id.scheme.clone(), entry.id.id.clone());
        match &*id.0 {
            "world" => Some(OpenTo::Anyone),
            _ if ours.contains(&id) => None,
            _ => Some(OpenTo::Others),
        }
    });
    others.max().unwrap_or(OpenTo::Nobody)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acl_is_judged_by_the_widest_that_it_lets_in_beside_us() {
        let digest = Auth { scheme: "digest".to_owned(), secret: "user:pw".into() };
        let ours = BTreeSet::from([
            digest_id(&digest).unwrap(),
            ("sasl".to_owned(), "bridge".to_owned()),
            ("x509".to_owned(), "CN=bridge".to_owned()),
        ]);
        // `printf user:pw | openssl dgst -sha1 -binary | base64`
        for (acl, expected) in [
            (&[][..], OpenTo::Nobody),
            (&["world:anyone:cdrwa"], OpenTo::Anyone),
            (&["world:anyone:crw", "sasl:bridge:cdrwa"], OpenTo::Nobody),
            (&["world:anyone:a"], OpenTo::Anyone),
            (&["digest:user:2Om+GBbT2q/tS6pdvACZbbm7/1A=:cdrwa", "x509:CN=bridge:d"], OpenTo::Nobody),
            (&["digest:user:AAAAGBbT2q/tS6pdvACZbbm7/1A=:d", "world:anyone:r"], OpenTo::Others),
            (&["ip:10.0.0.0/8:d"], OpenTo::Others),
            (&["sasl:other:cr"], OpenTo::Nobody),
        ] {
            let acl: Vec<Acl> = acl.iter().map(|text| text.parse().unwrap()).collect();
            assert_eq!(judge(&acl, perms::DELETE, &ours), expected, "{acl:?}");
        }
    }
}
